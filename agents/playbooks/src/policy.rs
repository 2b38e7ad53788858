//! The policy documents that steps put in place.

use serde_json::{Value, json};
use trailwarden_core::time::{SECOND_MS, Timestamp};

use crate::call::Target;

/// The role that the executor assumes in each account; denials except it, or nothing could be undone.
pub(crate) const EXECUTOR_ROLE: &str = "TrailwardenExecutor";

pub(crate) fn deny_all() -> String {
    document(json!({
        "Sid": "TrailwardenQuarantine",
        "Effect": "Deny",
        "Action": "*",
        "Resource": "*",
    }))
}

/// What AWS' own AWSCompromisedKeyQuarantineV3 denies, as far as a rehearsal needs it.
pub(crate) fn quarantine() -> String {
    const DENIED: &str = include_str!("../data/quarantine.txt");
    let actions: Vec<&str> = DENIED.lines().filter(|line| !line.starts_with('#')).collect();
    document(json!({ "Sid": "Quarantine", "Effect": "Deny", "Action": actions, "Resource": "*" }))
}

/// Denies whatever is asked with a token issued before `time`, rounded up to a whole second.
pub(crate) fn deny_older_sessions(time: Timestamp) -> String {
    let into_second_ms = time.as_millis().rem_euclid(SECOND_MS);
    let up_ms = if into_second_ms == 0 { 0 } else { SECOND_MS - into_second_ms };
    document(json!({
        "Sid": "TrailwardenRevokeSessions",
        "Effect": "Deny",
        "Action": "*",
        "Resource": "*",
        "Condition": { "DateLessThan": { "aws:TokenIssueTime": time.plus_ms(up_ms).to_string() } },
    }))
}

/// A trust policy under which nobody can assume the role.
pub(crate) fn trust_nobody() -> String {
    document(json!({
        "Sid": "TrailwardenLock",
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity"],
    }))
}

/// A bucket policy that keeps objects, versions and their protection from everybody but the executor.
pub(crate) fn keep_objects(target: &Target<'_>) -> String {
    let bucket = format!("arn:{}:s3:::{}", target.partition(), target.name);
    let account = if target.account.is_empty() { "*" } else { target.account };
    document(json!({
        "Sid": "TrailwardenProtect",
        "Effect": "Deny",
        "Principal": "*",
        "Action": [
            "s3:DeleteBucket",
            "s3:DeleteObject",
            "s3:DeleteObjectVersion",
            "s3:PutBucketVersioning",
            "s3:PutLifecycleConfiguration",
        ],
        "Resource": [bucket, format!("{bucket}/*")],
        "Condition": except_executor(target, account),
    }))
}

/// A service control policy that stops a whole account but for the executor.
pub(crate) fn stop_account(target: &Target<'_>) -> String {
    document(json!({
        "Sid": "TrailwardenQuarantine",
        "Effect": "Deny",
        "Action": "*",
        "Resource": "*",
        "Condition": except_executor(target, "*"),
    }))
}

fn except_executor(target: &Target<'_>, account: &str) -> Value {
    let executor = format!("arn:{}:iam::{account}:role/{EXECUTOR_ROLE}", target.partition());
    json!({ "ArnNotLike": { "aws:PrincipalArn": executor } })
}

fn document(statement: Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}
