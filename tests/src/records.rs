//! CloudTrail records for the suites: made up here, by number, so that every run makes the same ones.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

pub const ACCOUNT: &str = "111122223333";

/// 2026-03-02T08:00:00Z, a Monday.
const START_S: u64 = 1_772_438_400;

/// The id of record number `n`.
pub fn event_id(n: u64) -> String {
    format!("{:08x}-5eed-4000-8000-{:012x}", n >> 24, n)
}

/// Ordinary work, one event each 7 s: record `n` of an account whose few roles look at what they own.
pub fn quiet(n: u64) -> Value {
    const CALLS: [(&str, &str); 5] = [
        ("ec2", "DescribeInstances"),
        ("s3", "ListBuckets"),
        ("cloudwatch", "GetMetricData"),
        ("sts", "GetCallerIdentity"),
        ("lambda", "ListFunctions20150331"),
    ];
    let (service, call) = CALLS[(n % CALLS.len() as u64) as usize];
    let role = ["inventory", "metrics", "backup"][(n % 3) as usize];
    let mut record = by_role(n, role, service, call);
    record["readOnly"] = json!(true);
    record
}

/// A user's stolen key at work: it makes itself a way back in, takes what it wants, and turns the log off.
/// Records `first` to `first + 5`, a few seconds apart.
pub fn intrusion(first: u64) -> Vec<Value> {
    let steps = [
        ("iam", "CreateUser", json!({"userName": "support-temp"})),
        (
            "iam",
            "AttachUserPolicy",
            json!({"userName": "support-temp", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
        ),
        ("iam", "CreateAccessKey", json!({"userName": "support-temp"})),
        ("cloudtrail", "StopLogging", json!({"name": "organisation-trail"})),
        ("cloudtrail", "DeleteTrail", json!({"name": "organisation-trail"})),
    ];
    let record = |(n, (service, call, parameters)): (u64, (&str, &str, Value))| {
        let mut record = by_user(n, "deploy-legacy", service, call);
        record["requestParameters"] = parameters;
        record["readOnly"] = json!(false);
        record
    };
    (first..).zip(steps).map(record).collect()
}

fn by_role(n: u64, role: &str, service: &str, call: &str) -> Value {
    let mut record = bare(n, service, call);
    record["userIdentity"] = json!({
        "type": "AssumedRole",
        "principalId": format!("AROASUITE{role}:{role}-task"),
        "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{role}-task"),
        "accountId": ACCOUNT,
        "accessKeyId": format!("ASIASUITE{:07}", n / 500),
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "principalId": format!("AROASUITE{role}"),
                "arn": format!("arn:aws:iam::{ACCOUNT}:role/{role}"),
                "accountId": ACCOUNT,
                "userName": role
            },
            "attributes": {"mfaAuthenticated": "false", "creationDate": "2026-03-02T07:59:00Z"}
        }
    });
    record
}

fn by_user(n: u64, user: &str, service: &str, call: &str) -> Value {
    let mut record = bare(n, service, call);
    record["sourceIPAddress"] = json!("203.0.113.77");
    record["userAgent"] = json!("python-requests/2.31.0");
    record["userIdentity"] = json!({
        "type": "IAMUser",
        "principalId": "AIDASUITEDEPLOYLEGACY",
        "arn": format!("arn:aws:iam::{ACCOUNT}:user/{user}"),
        "accountId": ACCOUNT,
        "accessKeyId": "AKIASUITEEXAMPLE",
        "userName": user
    });
    record
}

fn bare(n: u64, service: &str, call: &str) -> Value {
    json!({
        "eventVersion": "1.09",
        "eventTime": time(START_S + 7 * n),
        "eventSource": format!("{service}.amazonaws.com"),
        "eventName": call,
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "198.51.100.20",
        "userAgent": "aws-sdk-go-v2/1.30.3",
        "requestParameters": null,
        "responseElements": null,
        "requestID": format!("request-{n}"),
        "eventID": event_id(n),
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management"
    })
}

fn time(epoch_s: u64) -> String {
    trailwarden_core::time::Timestamp::from_millis(epoch_s as i64 * 1000).to_string()
}

/// `{"Records": [...]}`, as CloudTrail delivers it.
pub fn document(records: &[Value]) -> Vec<u8> {
    serde_json::to_vec(&json!({ "Records": records })).unwrap()
}

/// A record a line.
pub fn lines(records: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        serde_json::to_writer(&mut bytes, record).unwrap();
        bytes.push(b'\n');
    }
    bytes
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Writes `before`, then `chunk` `times` times, then `after`, without holding more than the chunk.
pub fn write_repeated(path: &Path, before: &[u8], chunk: &[u8], times: u64, after: &[u8]) {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    file.write_all(before).unwrap();
    for _ in 0..times {
        file.write_all(chunk).unwrap();
    }
    file.write_all(after).unwrap();
    file.flush().unwrap();
}

/// The same, compressed into one gzip member.
pub fn write_repeated_gzip(path: &Path, before: &[u8], chunk: &[u8], times: u64, after: &[u8]) {
    let file = BufWriter::new(File::create(path).unwrap());
    let mut encoder = GzEncoder::new(file, Compression::default());
    encoder.write_all(before).unwrap();
    for _ in 0..times {
        encoder.write_all(chunk).unwrap();
    }
    encoder.write_all(after).unwrap();
    encoder.finish().unwrap().flush().unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_numbered_dated_and_distinct() {
        assert_eq!(quiet(0)["eventTime"], "2026-03-02T08:00:00Z");
        assert_eq!(quiet(1)["eventTime"], "2026-03-02T08:00:07Z");
        let ids: std::collections::BTreeSet<String> = [0, 1, 1 << 24, 1 << 40].map(event_id).into();
        assert_eq!(ids.len(), 4);
        assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
        assert_eq!(intrusion(10)[4]["eventID"], event_id(14));
    }
}
