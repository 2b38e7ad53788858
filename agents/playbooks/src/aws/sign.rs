//! AWS Signature Version 4 of any request made here.
//! Source: AWS IAM User Guide, "Create a signed AWS API request".

use ring::{digest, hmac};
use trailwarden_core::time::Timestamp;

use super::Credentials;

/// What is signed.
pub(super) struct ToSign<'a> {
    pub(super) method: &'a str,
    /// Host as the `Host` header says it.
    pub(super) host: &'a str,
    /// Path as it stands in the request line, each segment encoded once.
    pub(super) path: &'a str,
    /// `acl` or `a=b&c`, names and values encoded.
    pub(super) query: &'a str,
    /// Further headers to sign, names in small letters.
    pub(super) headers: &'a [(String, String)],
    pub(super) body: &'a [u8],
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) at: Timestamp,
}

/// Headers to add: name in small letters, value.
pub(super) fn headers(credentials: &Credentials, request: &ToSign<'_>) -> Vec<(String, String)> {
    let time = basic_time(request.at);
    let body_digest = hex(sha256(request.body).as_ref());
    let mut added = vec![("x-amz-date".to_owned(), time.clone())];
    if let Some(token) = &credentials.session_token {
        added.push(("x-amz-security-token".to_owned(), token.clone()));
    }
    let is_s3 = request.service == "s3";
    if is_s3 {
        added.push(("x-amz-content-sha256".to_owned(), body_digest.clone()));
    }
    let mut signed: Vec<(&str, &str)> =
        added.iter().chain(request.headers).map(|(n, v)| (n.as_str(), v.trim())).collect();
    signed.push(("host", request.host));
    signed.sort_unstable();
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    // Every service but S3 wants the path encoded once more.
    let path = if is_s3 { request.path.to_owned() } else { encoded(request.path, true) };
    let canonical =
        format!("{}\n{path}\n{}\n{lines}\n{names}\n{body_digest}", request.method, canonical_query(request.query));
    let day = time.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(sha256(canonical.as_bytes()).as_ref()));
    let secret = format!("AWS4{}", credentials.secret_access_key);
    let key = [day, request.region, request.service, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| hmac_sha256(&key, part.as_bytes()));
    let signature = hex(&hmac_sha256(&key, to_sign.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        credentials.access_key_id
    );
    added.push(("authorization".to_owned(), authorization));
    added
}

fn canonical_query(query: &str) -> String {
    let mut parts: Vec<String> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| if part.contains('=') { part.to_owned() } else { format!("{part}=") })
        .collect();
    parts.sort_unstable();
    parts.join("&")
}

/// Percent-encodes all but the unreserved characters of RFC 3986; `/` stays where `paths` says so.
pub(super) fn encoded(text: &str, paths: bool) -> String {
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

pub(super) fn sha256(data: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, data)
}

fn hmac_sha256(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first is post-x-www-form-urlencoded of AWS's published suite; all are what botocore 1.44.5 signs.
    #[test]
    fn signs_as_the_published_suite_and_botocore_do() {
        let check = |(method, host, path, query),
                     headers: &[(&str, &str)],
                     body: &[u8],
                     token: Option<&str>,
                     place,
                     expect: &str| {
            let (service, region) = place;
            let credentials = Credentials {
                access_key_id: "AKIDEXAMPLE".to_owned(),
                secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
                session_token: token.map(str::to_owned),
                expires_at: None,
            };
            let at = Timestamp::parse("2015-08-30T12:36:00.789Z").expect("a time");
            let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let to_sign = ToSign { method, host, path, query, headers: &headers, body, region, service, at };
            let added = super::headers(&credentials, &to_sign);
            let (_, authorization) = added.last().expect("an authorization");
            assert!(authorization.ends_with(&format!("Signature={expect}")), "{path}: {authorization}");
        };
        check(
            ("POST", "example.amazonaws.com", "/", ""),
            &[("content-type", "application/x-www-form-urlencoded")],
            b"Param1=value1",
            None,
            ("service", "us-east-1"),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        );
        let function = "/2017-10-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A111122223333%3Afunction%3Af/concurrency";
        check(
            ("PUT", "lambda.eu-west-1.amazonaws.com", function, ""),
            &[("content-type", "application/json")],
            br#"{"ReservedConcurrentExecutions":0}"#,
            Some("TOKEN"),
            ("lambda", "eu-west-1"),
            "6d5305ba822e9db25a1dec7614a72c23aa746d24fe165969663519d68546a51d",
        );
        check(
            ("PUT", "s3.eu-west-1.amazonaws.com", "/a-b.c", "acl"),
            &[("content-type", "application/xml"), ("x-amz-expected-bucket-owner", "111122223333")],
            b"<x/>",
            Some("TOKEN"),
            ("s3", "eu-west-1"),
            "2723caaa418b104cd3e1b26a3fd1a2810ab2541fbe42f1d8092e85e08a3c4474",
        );
        check(
            ("DELETE", "lambda.eu-west-1.amazonaws.com", "/f/policy/s%20t", "Qualifier=b%2F&A=1"),
            &[],
            b"",
            None,
            ("lambda", "eu-west-1"),
            "4bfad0ba82a14f805984ba25109b2a925c65814469c8012ba535a429aca1ed49",
        );
    }
}
