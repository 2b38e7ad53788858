//! What the client sends and believes, against a service that writes down what it is sent.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use trailwarden_playbooks::aws::{
    Aws, AwsError, BaseCredentials, Client, Credentials, Request, Scope, Secret, Settings,
};

use crate::bench::{ACCOUNT, Bench};

const TOKEN: &str = "SESSIONTOKENSESSIONTOKEN";

/// Answers `AssumeRole` with credentials, and everything else with an error that repeats the session's token.
async fn service() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = String::new();
            while !is_whole(&request) {
                let mut piece = [0; 4_096];
                let read = stream.read(&mut piece).await.expect("a request");
                request.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
            let (status, body) = if request.contains("Action=AssumeRole") {
                let credentials = format!(
                    "<Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>SECRET</SecretAccessKey><SessionToken>{TOKEN}\
                     </SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
                );
                let result = format!("<AssumeRoleResult>{credentials}</AssumeRoleResult>");
                ("200 OK", format!("<AssumeRoleResponse>{result}</AssumeRoleResponse>"))
            } else {
                let error =
                    format!("<Error><Code>SignatureDoesNotMatch</Code><Message>you sent {TOKEN}</Message></Error>");
                ("403 Forbidden", format!("<ErrorResponse>{error}</ErrorResponse>"))
            };
            kept.lock().expect("nobody panics with it").push(request);
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.expect("it listens");
        }
    });
    (address, heard)
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn settings(endpoint: &str) -> Settings {
    Settings {
        external_id: Some("id-of-ours".to_owned()),
        partition: "aws".to_owned(),
        region: "eu-west-1".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        base: BaseCredentials::Given(Credentials {
            access_key_id: "AKIA1".to_owned(),
            secret_access_key: Secret::new("OWNSECRET"),
            session_token: None,
        }),
    }
}

#[tokio::test]
async fn a_call_is_made_as_the_accounts_role_narrowed_to_the_action_and_named_after_the_case() {
    let (address, heard) = service().await;
    let bench = Bench::new().await;
    let client = Client::new(settings(&address), bench.clock.read()).expect("a client");
    let policy = r#"{"Statement":[]}"#.to_owned();
    let scope =
        |account: &str| Scope { account: account.to_owned(), case: "c1".to_owned(), session_policy: policy.clone() };
    let parameters = json!({ "UserName": "alice", "PolicyName": "p" });
    let own = str::to_owned;
    let request = Request { service: own("iam"), operation: own("GetUserPolicy"), parameters, region: None };
    for account in [ACCOUNT, ACCOUNT, "444455556666"] {
        let refused = client.call(&scope(account), &request).await.expect_err("it refuses");
        assert!(matches!(&refused, AwsError::Denied { code, .. } if code == "SignatureDoesNotMatch"), "{refused}");
        assert!(!refused.to_string().contains(TOKEN), "{refused}");
    }
    let heard = heard.lock().expect("nobody panics with it").clone();
    let assumed: Vec<&String> = heard.iter().filter(|request| request.contains("Action=AssumeRole")).collect();
    // Once for each account's scope; the first is kept.
    assert_eq!((assumed.len(), heard.len()), (2, 5));
    for (request, account) in assumed.iter().zip([ACCOUNT, "444455556666"]) {
        let role = format!("RoleArn=arn%3Aaws%3Aiam%3A%3A{account}%3Arole%2FTrailwardenExecutor");
        for part in [
            role.as_str(),
            "ExternalId=id-of-ours",
            "SourceIdentity=trailwarden-c1",
            "RoleSessionName=trailwarden-c1",
            "Policy=%7B%22Statement%22%3A%5B%5D%7D",
            "DurationSeconds=900",
            "Credential=AKIA1/",
        ] {
            assert!(request.contains(part), "{part}: {request}");
        }
    }
    for request in heard.iter().filter(|request| request.contains("Action=GetUserPolicy")) {
        assert!(request.contains("Credential=ASIA1/") && request.contains(TOKEN), "{request}");
        assert!(!request.contains("SECRET"), "{request}");
    }
}

#[tokio::test]
async fn keys_go_to_no_place_where_others_read_them() {
    let bench = Bench::new().await;
    for endpoint in ["http://aws.example", "ftp://127.0.0.1", "https://user:word@aws.example", "no address"] {
        let refused = Client::new(settings(endpoint), bench.clock.read());
        assert!(matches!(refused, Err(AwsError::Invalid { .. })), "{endpoint}");
    }
    let client = Client::new(settings("http://127.0.0.1:1"), bench.clock.read()).expect("a client");
    let scope = Scope { account: "12".to_owned(), case: "c1".to_owned(), session_policy: String::new() };
    let own = str::to_owned;
    let request = Request { service: own("iam"), operation: own("GetUserPolicy"), parameters: json!({}), region: None };
    let refused = client.call(&scope, &request).await;
    assert!(matches!(refused, Err(AwsError::Invalid { .. })), "an account that is none");
    let unanswered = client.call(&Scope { account: ACCOUNT.to_owned(), ..scope }, &request).await;
    assert!(unanswered.is_err_and(|error| error.is_transient()), "nobody listens there");
}
