//! AWS Signature Version 4 of one POST request; nothing else is asked of AWS here.
//! Source: AWS IAM User Guide, "Create a signed AWS API request".

use ring::{digest, hmac};
use serde::Deserialize;
use trailwarden_core::time::Timestamp;

use crate::secret::Secret;

/// What a request is signed with. Those of a role end after hours: a client is then made anew, over the same transport.
#[derive(Clone, Debug, Deserialize)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Option<Secret>,
}

/// What is signed.
pub struct ToSign<'a> {
    /// Host as the `Host` header says it, with the port unless it is the scheme's own.
    pub host: &'a str,
    /// Path as it stands in the request line, each segment encoded once.
    pub path: &'a str,
    pub content_type: Option<&'a str>,
    pub body: &'a [u8],
    pub region: &'a str,
    pub service: &'a str,
    pub at: Timestamp,
}

/// Headers to add: name in small letters, value.
pub fn headers(credentials: &Credentials, request: &ToSign<'_>) -> Vec<(&'static str, String)> {
    let time = basic_time(request.at);
    let token = credentials.session_token.as_ref().map(Secret::reveal);
    // In the order of their names, as the canonical form wants them.
    let signed: Vec<(&str, &str)> = [
        ("content-type", request.content_type),
        ("host", Some(request.host)),
        ("x-amz-date", Some(&time)),
        ("x-amz-security-token", token),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?.trim())))
    .collect();
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical =
        format!("POST\n{}\n\n{lines}\n{names}\n{}", encoded(request.path, true), hex(sha256(request.body).as_ref()));

    let day = time.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(sha256(canonical.as_bytes()).as_ref()));
    let secret = format!("AWS4{}", credentials.secret_access_key.reveal());
    let key = [day, request.region, request.service, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| hmac_sha256(&key, part.as_bytes()));
    let signature = hex(&hmac_sha256(&key, to_sign.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        credentials.access_key_id
    );
    let token = token.map(|token| ("x-amz-security-token", token.to_owned()));
    [("authorization", authorization), ("x-amz-date", time)].into_iter().chain(token).collect()
}

/// Percent-encodes all but the unreserved characters of RFC 3986; `/` stays where `paths` says so.
pub fn encoded(text: &str, paths: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' if paths => out.push('/'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `20150830T123600Z`.
fn basic_time(at: Timestamp) -> String {
    let whole_second = Timestamp::from_millis(at.as_millis().div_euclid(1_000) * 1_000);
    whole_second.to_string().chars().filter(|c| c.is_ascii_alphanumeric()).collect()
}

fn sha256(data: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, data)
}

fn hmac_sha256(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}

/// Two small letters a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The session token of AWS's published test suite.
    const SUITE_TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
    const EXAMPLE: &str = "example.amazonaws.com";

    /// The first three are post-vanilla, post-x-www-form-urlencoded (without its length header) and
    /// post-sts-header-before of the published suite; the others, whose paths hold what must be encoded twice, are what
    /// botocore 1.44.5 signs.
    #[test]
    fn signs_as_the_published_suite_and_botocore_do() {
        let check = |host, path, content_type, body: &[u8], token: Option<&str>, (service, region), signature: &str| {
            let credentials = Credentials {
                access_key_id: "AKIDEXAMPLE".to_owned(),
                secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
                session_token: token.map(Secret::new),
            };
            let at = Timestamp::parse("2015-08-30T12:36:00.789Z").expect("a time");
            let headers = headers(&credentials, &ToSign { host, path, content_type, body, region, service, at });
            assert!(headers[0].1.ends_with(&format!("Signature={signature}")), "{path}: {}", headers[0].1);
            assert_eq!(headers[1].1, "20150830T123600Z");
        };
        let suite = ("service", "us-east-1");
        check(EXAMPLE, "/", None, b"", None, suite, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
        let form = Some("application/x-www-form-urlencoded");
        let signature = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
        check(EXAMPLE, "/", form, b"Param1=value1", None, suite, signature);
        let signature = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead";
        check(EXAMPLE, "/", None, b"", Some(SUITE_TOKEN), suite, signature);
        let json = Some("application/json");
        check(
            "bedrock-runtime.eu-west-1.amazonaws.com",
            "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse",
            json,
            br#"{"a":1}"#,
            Some("TOKEN"),
            ("bedrock", "eu-west-1"),
            "75df72e430e49f5b59e730314ca7ed34d81a6826efbe60b547a7b7092eeb8b91",
        );
        check(
            "127.0.0.1:8080",
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A111122223333%3Ainference-profile%2Fx/converse",
            json,
            br#"{"a":1}"#,
            None,
            ("bedrock", "us-east-1"),
            "f685ab906066093396bd3594913145e5cc0ef93cf7e11d3befd91766e515bb92",
        );
    }
}
