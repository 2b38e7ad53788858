//! AWS Signature Version 4 of one request.
//! Source: AWS IAM User Guide, "Create a signed AWS API request".

use reqwest::Url;
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

impl Credentials {
    /// What an error must not repeat.
    pub fn secrets(&self) -> Vec<&Secret> {
        self.session_token.iter().chain([&self.secret_access_key]).collect()
    }
}

/// What is signed.
#[derive(Clone, Copy)]
pub struct ToSign<'a> {
    pub method: &'a str,
    /// Host as the `Host` header says it: [`host`].
    pub host: &'a str,
    /// Path as it stands in the request line, each segment encoded once.
    pub path: &'a str,
    /// `acl` or `a=b&c`, names and values encoded.
    pub query: &'a str,
    /// Further headers to sign, as they are sent: name in small letters, value.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
    pub region: &'a str,
    pub service: &'a str,
    pub at: Timestamp,
}

/// Headers to add: name in small letters, value.
pub fn headers(credentials: &Credentials, request: &ToSign<'_>) -> Vec<(&'static str, String)> {
    let time = basic_time(request.at);
    let body_digest = hex(sha256(request.body).as_ref());
    let token = credentials.session_token.as_ref().map(|token| ("x-amz-security-token", token.reveal().to_owned()));
    let is_s3 = request.service == "s3";
    let content = is_s3.then(|| ("x-amz-content-sha256", body_digest.clone()));
    let added: Vec<_> = [("x-amz-date", time.clone())].into_iter().chain(token).chain(content).collect();
    let mut signed: Vec<(&str, &str)> = added.iter().map(|(name, value)| (*name, value.trim())).collect();
    signed.extend(request.headers.iter().map(|(name, value)| (*name, value.trim())));
    signed.push(("host", request.host));
    signed.sort_unstable();
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    // Every service but S3 wants the path encoded once more.
    let path = if is_s3 { request.path.to_owned() } else { encoded(request.path, true) };
    let query = canonical_query(request.query);
    let canonical = format!("{}\n{path}\n{query}\n{lines}\n{names}\n{body_digest}", request.method);

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
    [("authorization", authorization)].into_iter().chain(added).collect()
}

/// What the `Host` header of a request to `url` says: the port stands there unless it is the scheme's own.
pub fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn canonical_query(query: &str) -> String {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let mut parts: Vec<String> =
        parts.map(|part| if part.contains('=') { part.to_owned() } else { format!("{part}=") }).collect();
    parts.sort_unstable();
    parts.join("&")
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

/// sha256 of bytes.
pub fn sha256(data: &[u8]) -> digest::Digest {
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

    const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

    fn check(request: &ToSign<'_>, token: Option<&str>, signature: &str) {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(Secret::new),
        };
        let headers = headers(&credentials, request);
        assert!(headers[0].1.ends_with(&format!("Signature={signature}")), "{}: {}", request.path, headers[0].1);
        assert_eq!(headers[1].1, "20150830T123600Z");
    }

    /// A POST of the suite.
    fn post<'a>(headers: &'a [(&'a str, &'a str)], body: &'a [u8]) -> ToSign<'a> {
        let at = Timestamp::parse("2015-08-30T12:36:00.789Z").expect("a time");
        let (host, path, region, service) = (EXAMPLE, "/", "us-east-1", "service");
        ToSign { method: "POST", host, path, query: "", headers, body, region, service, at }
    }

    /// Post-vanilla, post-x-www-form-urlencoded (without its length header) and post-sts-header-before.
    #[test]
    fn signs_as_the_published_suite_does() {
        check(&post(&[], b""), None, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let signature = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
        check(&post(&form, b"Param1=value1"), None, signature);
        let signature = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead";
        check(&post(&[], b""), Some(SUITE_TOKEN), signature);
    }

    /// As botocore 1.44.5 signs: paths that hold what must be encoded twice (S3's once), other methods, queries.
    #[test]
    fn signs_as_botocore_does() {
        let bedrock = ToSign {
            host: "bedrock-runtime.eu-west-1.amazonaws.com",
            path: "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse",
            service: "bedrock",
            region: "eu-west-1",
            ..post(JSON, br#"{"a":1}"#)
        };
        check(&bedrock, Some("TOKEN"), "75df72e430e49f5b59e730314ca7ed34d81a6826efbe60b547a7b7092eeb8b91");
        let path = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A111122223333%3Ainference-profile%2Fx/converse";
        let local = ToSign { host: "127.0.0.1:8080", path, service: "bedrock", ..post(JSON, br#"{"a":1}"#) };
        check(&local, None, "f685ab906066093396bd3594913145e5cc0ef93cf7e11d3befd91766e515bb92");
        let function = ToSign {
            method: "PUT",
            host: "lambda.eu-west-1.amazonaws.com",
            path: "/2017-10-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A111122223333%3Afunction%3Af/concurrency",
            service: "lambda",
            region: "eu-west-1",
            ..post(JSON, br#"{"ReservedConcurrentExecutions":0}"#)
        };
        check(&function, Some("TOKEN"), "6d5305ba822e9db25a1dec7614a72c23aa746d24fe165969663519d68546a51d");
        let owned = [("content-type", "application/xml"), ("x-amz-expected-bucket-owner", "111122223333")];
        let bucket = ToSign {
            method: "PUT",
            host: "s3.eu-west-1.amazonaws.com",
            path: "/a-b.c",
            query: "acl",
            service: "s3",
            region: "eu-west-1",
            ..post(&owned, b"<x/>")
        };
        check(&bucket, Some("TOKEN"), "2723caaa418b104cd3e1b26a3fd1a2810ab2541fbe42f1d8092e85e08a3c4474");
        let permission = ToSign {
            method: "DELETE",
            path: "/f/policy/s%20t",
            query: "Qualifier=b%2F&A=1",
            headers: &[],
            body: b"",
            ..function
        };
        check(&permission, None, "4bfad0ba82a14f805984ba25109b2a925c65814469c8012ba535a429aca1ed49");
    }
}
