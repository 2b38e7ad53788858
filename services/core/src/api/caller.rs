//! What a record says about its caller's program and place, in few classes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who wrote a user agent, as far as it can be told. A caller can write anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum AgentFamily {
    AwsCli,
    Boto,
    JavaSdk,
    GoSdk,
    JavascriptSdk,
    OtherSdk,
    Terraform,
    CloudFormation,
    Console,
    Browser,
    AwsService,
    Other,
    Empty,
}

/// What a word in a user agent means, lower-case. Where several occur the earliest row decides: a tool names
/// the SDK it is built on after itself.
const AGENT_WORDS: &[(&[u8], AgentFamily)] = &[
    (b"terraform", AgentFamily::Terraform),
    (b"opentofu", AgentFamily::Terraform),
    (b"cloudformation", AgentFamily::CloudFormation),
    (b"aws-cli", AgentFamily::AwsCli),
    (b"s3console", AgentFamily::Console),
    (b"awsconsole", AgentFamily::Console),
    (b"aws-console", AgentFamily::Console),
    (b"aws signin", AgentFamily::Console),
    (b"aws-internal", AgentFamily::AwsService),
    (b"aws internal", AgentFamily::AwsService),
    (b"boto", AgentFamily::Boto),
    (b"aws-sdk-python", AgentFamily::Boto),
    (b"aws-sdk-java", AgentFamily::JavaSdk),
    (b"aws-sdk-js", AgentFamily::JavascriptSdk),
    (b"aws-sdk-nodejs", AgentFamily::JavascriptSdk),
    (b"aws-amplify", AgentFamily::JavascriptSdk),
    (b"aws-sdk-go", AgentFamily::GoSdk),
    (b"aws-sdk-", AgentFamily::OtherSdk),
    (b"awspowershell", AgentFamily::OtherSdk),
    (b"rusoto", AgentFamily::OtherSdk),
    (b"mozilla/", AgentFamily::Browser),
    (b"opera/", AgentFamily::Browser),
];

impl AgentFamily {
    pub const ALL: &'static [AgentFamily] = &[
        Self::AwsCli,
        Self::Boto,
        Self::JavaSdk,
        Self::GoSdk,
        Self::JavascriptSdk,
        Self::OtherSdk,
        Self::Terraform,
        Self::CloudFormation,
        Self::Console,
        Self::Browser,
        Self::AwsService,
        Self::Other,
        Self::Empty,
    ];

    /// How much of a user agent is looked at.
    pub const BYTES_MAX: usize = 1024;

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwsCli => "aws_cli",
            Self::Boto => "boto",
            Self::JavaSdk => "java_sdk",
            Self::GoSdk => "go_sdk",
            Self::JavascriptSdk => "javascript_sdk",
            Self::OtherSdk => "other_sdk",
            Self::Terraform => "terraform",
            Self::CloudFormation => "cloud_formation",
            Self::Console => "console",
            Self::Browser => "browser",
            Self::AwsService => "aws_service",
            Self::Other => "other",
            Self::Empty => "empty",
        }
    }

    /// Reads `userAgent`. Words count only where they begin, so `notboto` is not boto; case does not matter.
    pub fn of(user_agent: &str) -> Self {
        let bytes = user_agent.as_bytes();
        let bytes = &bytes[..bytes.len().min(Self::BYTES_MAX)];
        let bytes = trim(bytes);
        if bytes.is_empty() || bytes == b"-" {
            return Self::Empty;
        }
        if let Some(family) = of_service_host(bytes) {
            return family;
        }
        first_word_row(bytes).map_or(Self::Other, |row| AGENT_WORDS[row].1)
    }
}

/// Without white space and without the brackets that CloudTrail puts around some agents.
fn trim(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.trim_ascii();
    let inner = bytes.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    inner.unwrap_or(bytes).trim_ascii()
}

/// `cloudformation.amazonaws.com`: where a service calls for somebody, the agent is its host name.
fn of_service_host(bytes: &[u8]) -> Option<AgentFamily> {
    let host = strip_suffix_ignoring_case(bytes, b".amazonaws.com")?;
    if !host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(byte)) {
        return None;
    }
    let first = host.split(|byte| *byte == b'.').next().unwrap_or(host);
    Some(if first.eq_ignore_ascii_case(b"cloudformation") {
        AgentFamily::CloudFormation
    } else if first.eq_ignore_ascii_case(b"console") || first.eq_ignore_ascii_case(b"signin") {
        AgentFamily::Console
    } else {
        AgentFamily::AwsService
    })
}

/// The earliest row of [`AGENT_WORDS`] whose word begins a word of `bytes`; one pass over the text.
fn first_word_row(bytes: &[u8]) -> Option<usize> {
    let mut best: Option<usize> = None;
    let mut in_word = false;
    for (at, byte) in bytes.iter().enumerate() {
        let begins = !in_word;
        in_word = byte.is_ascii_alphanumeric();
        let first = byte.to_ascii_lowercase();
        if !begins || !b"abcmorst".contains(&first) {
            continue;
        }
        let rest = &bytes[at..];
        let rows = &AGENT_WORDS[..best.unwrap_or(AGENT_WORDS.len())];
        // The first letter tells most words apart without a comparison.
        let fits = |word: &[u8]| word[0] == first && starts_with_ignoring_case(rest, word);
        best = rows.iter().position(|(word, _)| fits(word)).or(best);
    }
    best
}

fn starts_with_ignoring_case(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

fn strip_suffix_ignoring_case<'a>(bytes: &'a [u8], suffix: &[u8]) -> Option<&'a [u8]> {
    let at = bytes.len().checked_sub(suffix.len())?;
    bytes[at..].eq_ignore_ascii_case(suffix).then_some(&bytes[..at])
}

/// Where a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceClass {
    /// A service's host name, or `AWS Internal`.
    AwsService,
    PrivateAddress,
    PublicAddress,
    Unknown,
}

impl SourceClass {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwsService => "aws_service",
            Self::PrivateAddress => "private_address",
            Self::PublicAddress => "public_address",
            Self::Unknown => "unknown",
        }
    }

    /// Reads `sourceIPAddress`. Private is every range that no packet from the internet can carry as its
    /// source (RFC 1918, 6598, 3927, 1122, 4193, 4291). A dotted address that only anonymising can have made
    /// (`225.01.00.16`, `30.*.0.210`) counts by its first two parts.
    pub fn of(source: &str) -> Self {
        let source = source.trim();
        if let Ok(address) = source.parse::<IpAddr>() {
            return of_address(address);
        }
        if let Some([first, second, ..]) = dotted_parts(source) {
            return match (first.parse(), second.parse()) {
                (Ok(a), Ok(b)) => of_address(Ipv4Addr::new(a, b, 0, 1).into()),
                (Ok(a), Err(_)) => of_address(Ipv4Addr::new(a, 0, 0, 1).into()),
                _ => Self::Unknown,
            };
        }
        let of_service = source.eq_ignore_ascii_case("AWS Internal")
            || strip_suffix_ignoring_case(source.as_bytes(), b".amazonaws.com").is_some();
        if of_service { Self::AwsService } else { Self::Unknown }
    }
}

fn of_address(address: IpAddr) -> SourceClass {
    let private = match address.to_canonical() {
        IpAddr::V4(v4) if v4.is_unspecified() => return SourceClass::Unknown,
        IpAddr::V6(v6) if v6.is_unspecified() => return SourceClass::Unknown,
        IpAddr::V4(v4) => is_private(v4),
        IpAddr::V6(v6) => is_local(v6),
    };
    if private { SourceClass::PrivateAddress } else { SourceClass::PublicAddress }
}

fn is_private(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    address.is_private() || address.is_loopback() || address.is_link_local() || is_shared
}

fn is_local(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
}

/// The four parts of what looks like an IPv4 address, valid or not.
fn dotted_parts(source: &str) -> Option<[&str; 4]> {
    let mut parts = source.split('.');
    let four = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let is_part =
        |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'*');
    (parts.next().is_none() && four.iter().all(is_part)).then_some(four)
}

/// The network a source belongs to, as history remembers it: IPv4 /24 (`203.0.113`), IPv6 /48 (`2001:db8:1`,
/// trailing groups of zeros left out, so that `2001:db8::1` and `2001:db8:0:1::1` agree), or the name itself.
pub fn source_network(source: &str) -> &str {
    if let Some([a, b, c, _]) = dotted_parts(source) {
        return &source[..a.len() + b.len() + c.len() + 2];
    }
    let is_ipv6 = source.len() <= IPV6_BYTES_MAX && source.contains(':') && source.parse::<Ipv6Addr>().is_ok();
    if !is_ipv6 {
        return source;
    }
    if let Some(at) = source.rfind(':').filter(|_| source.contains('.')) {
        // An IPv4 address written as IPv6.
        return source_network(&source[at + 1..]);
    }
    let mut end = 0;
    let mut at = 0;
    for group in source.split(':').take(3) {
        if group.is_empty() {
            break;
        }
        at += group.len();
        if group.bytes().any(|byte| byte != b'0') {
            end = at;
        }
        at += 1;
    }
    if end == 0 { source } else { &source[..end] }
}

/// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
const IPV6_BYTES_MAX: usize = 45;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn families() {
        use AgentFamily::*;
        for (agent, expect) in [
            ("", Empty),
            ("  ", Empty),
            ("-", Empty),
            ("[]", Empty),
            ("aws-cli/2.13.5 Python/3.11.4 Linux/5.15.0-1040-aws exe/x86_64 prompt/off", AwsCli),
            ("[aws-cli/2.17.32 md/awscrt#0.21.2 ua/2.0 os/linux]", AwsCli),
            ("aws-cli/1.17.9 Python/3.6.0 Windows/10 botocore/1.14.9", AwsCli),
            ("Boto3/1.28.17 Python/3.10.12 Linux/5.15 Botocore/1.31.17", Boto),
            ("CloudCustodian(x)/0.9.2 Python/3.8.3 exec-env/AWS_Lambda Botocore/1.1", Boto),
            ("aws-sdk-java/1.11.0", JavaSdk),
            ("aws-sdk-go-v2/1.17.0 os/linux lang/go/1.18.10", GoSdk),
            ("AWS-SDK-Go/1.40.9 (go1.15.8; linux; amd64)", GoSdk),
            ("aws-sdk-nodejs/2.1 linux/v14", JavascriptSdk),
            ("aws-sdk-js/3.400.0 os/linux", JavascriptSdk),
            ("Mozilla/5.0 (X11) aws-sdk-js/2.1 callback", JavascriptSdk),
            ("aws-sdk-rust/1.0 os/linux", OtherSdk),
            ("awslambda-worker/1.0 rusoto/0.47.0 rust/1.56.1 linux", OtherSdk),
            ("AWSPowerShell/4.1 .NET_Core/6.0", OtherSdk),
            ("APN/1.0 HashiCorp/1.0 Terraform/1.11.0 (+https://www.terraform.io) aws-sdk-go/1.4", Terraform),
            ("cloudformation.amazonaws.com", CloudFormation),
            ("console.amazonaws.com", Console),
            ("console.ec2.amazonaws.com", Console),
            ("signin.amazonaws.com", Console),
            ("[S3Console/0.4, aws-internal/3 aws-sdk-java/1.11.1030]", Console),
            ("AWS Signin, aws-internal/3 aws-sdk-java/1.11", Console),
            ("aws-internal/3 aws-sdk-java/1.12.101 OpenJDK", AwsService),
            ("AWS Internal", AwsService),
            ("lambda.amazonaws.com", AwsService),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/119.0.0.0", Browser),
            ("Mozilla", Other),
            ("Go-http-client/1.1", Other),
            ("python-requests/2.22.0", Other),
            ("notboto/1", Other),
            ("evil lambda.amazonaws.com", Other),
            ("Java/11.0.8", Other),
            ("é boto3", Boto),
        ] {
            assert_eq!(AgentFamily::of(agent), expect, "{agent}");
        }
        let late = format!("{} boto3", "x".repeat(AgentFamily::BYTES_MAX));
        assert_eq!(AgentFamily::of(&late), Other);
    }

    #[test]
    fn every_word_can_be_found() {
        for (word, family) in AGENT_WORDS {
            let agent = String::from_utf8(word.to_ascii_uppercase()).expect("ASCII");
            assert_eq!(AgentFamily::of(&agent), *family, "{agent}");
        }
    }

    #[test]
    fn classes_and_networks() {
        use SourceClass::*;
        for (source, class, network) in [
            ("203.0.113.7", PublicAddress, "203.0.113"),
            ("10.1.2.3", PrivateAddress, "10.1.2"),
            ("172.31.0.9", PrivateAddress, "172.31.0"),
            ("172.32.0.9", PublicAddress, "172.32.0"),
            ("192.168.1.1", PrivateAddress, "192.168.1"),
            ("100.64.0.1", PrivateAddress, "100.64.0"),
            ("100.128.0.1", PublicAddress, "100.128.0"),
            ("127.0.0.1", PrivateAddress, "127.0.0"),
            ("169.254.169.254", PrivateAddress, "169.254.169"),
            ("0.0.0.0", Unknown, "0.0.0"),
            ("225.01.00.16", PublicAddress, "225.01.00"),
            ("10.01.00.16", PrivateAddress, "10.01.00"),
            ("30.*.0.210", PublicAddress, "30.*.0"),
            ("999.1.1.1", Unknown, "999.1.1"),
            ("1.2.3", Unknown, "1.2.3"),
            ("1.2.3.4.5", Unknown, "1.2.3.4.5"),
            ("1.2.3.example", Unknown, "1.2.3.example"),
            ("2001:db8:1:2::5", PublicAddress, "2001:db8:1"),
            ("2001:db8::1", PublicAddress, "2001:db8"),
            ("2001:db8:0:1::1", PublicAddress, "2001:db8"),
            ("2001:0:1::1", PublicAddress, "2001:0:1"),
            ("2600:1f18::", PublicAddress, "2600:1f18"),
            ("fd00:1:2:3::4", PrivateAddress, "fd00:1:2"),
            ("fe80::1", PrivateAddress, "fe80"),
            ("::1", PrivateAddress, "::1"),
            ("::", Unknown, "::"),
            ("::ffff:203.0.113.7", PublicAddress, "203.0.113"),
            ("::ffff:10.0.0.7", PrivateAddress, "10.0.0"),
            ("config.amazonaws.com", AwsService, "config.amazonaws.com"),
            ("AWS Internal", AwsService, "AWS Internal"),
            ("evil.example", Unknown, "evil.example"),
            ("a:b:c:d", Unknown, "a:b:c:d"),
            ("...", Unknown, "..."),
            ("", Unknown, ""),
        ] {
            assert_eq!(SourceClass::of(source), class, "{source}");
            assert_eq!(source_network(source), network, "{source}");
        }
    }

    /// One group of an IPv6 address, zero half of the time.
    fn group() -> impl Strategy<Value = u16> {
        prop_oneof![Just(0), any::<u16>()]
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in any::<String>(), near in "[0-9a-f:.*\\[\\] ]{0,48}") {
            for text in [&text, &near] {
                AgentFamily::of(text);
                SourceClass::of(text);
                prop_assert!(text.contains(source_network(text)));
            }
        }

        #[test]
        fn neighbours_share_a_network(
            high in [group(), group(), group()],
            a in [group(), group(), group(), group(), group()],
            b in [group(), group(), group(), group(), group()],
        ) {
            let address = |low: [u16; 5]| {
                Ipv6Addr::new(high[0] | 1, high[1], high[2], low[0], low[1], low[2], low[3], low[4]).to_string()
            };
            let (one, other) = (address(a), address(b));
            prop_assert_eq!(source_network(&one), source_network(&other));
        }
    }
}
