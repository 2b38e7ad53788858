//! Buckets and their objects.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{capitals, hex, one, pick, uuid};
use crate::generate::call::Call;
use crate::generate::world::Account;

plain! {
    read list_buckets = "s3" "ListBuckets";
}

/// What a bucket is asked about.
const QUESTIONS: &[(&str, &str)] = &[
    ("GetBucketLocation", "location"),
    ("GetBucketAcl", "acl"),
    ("GetBucketPolicy", "policy"),
    ("GetBucketVersioning", "versioning"),
    ("GetBucketEncryption", "encryption"),
    ("GetBucketPublicAccessBlock", "publicAccessBlock"),
    ("GetBucketLogging", "logging"),
    ("GetBucketTagging", "tagging"),
    ("GetBucketLifecycle", "lifecycle"),
    ("GetBucketReplication", "replication"),
    ("GetBucketObjectLockConfiguration", "object-lock"),
    ("GetBucketPolicyStatus", "policyStatus"),
];

/// One of the questions that consoles, scanners and intruders ask about a bucket.
pub(in crate::generate) fn bucket_question(account: &Account, rng: &mut ChaCha8Rng) -> Call {
    let bucket = pick(rng, &account.buckets).to_owned();
    let (name, part) = one(QUESTIONS, rng);
    bucket_read(account, name, part, &bucket)
}

/// Where a bucket is.
pub(in crate::generate) fn bucket_location(account: &Account, rng: &mut ChaCha8Rng) -> Call {
    let bucket = pick(rng, &account.buckets).to_owned();
    bucket_read(account, "GetBucketLocation", "location", &bucket)
}

/// Whether a bucket keeps old versions.
pub(in crate::generate) fn bucket_versioning(account: &Account, _: &mut ChaCha8Rng, bucket: &str) -> Call {
    bucket_read(account, "GetBucketVersioning", "versioning", bucket)
}

fn bucket_read(account: &Account, name: &'static str, part: &str, bucket: &str) -> Call {
    let mut request = serde_json::Map::new();
    request.insert("bucketName".to_owned(), bucket.into());
    request.insert("Host".to_owned(), host(account, bucket).into());
    request.insert(part.to_owned(), "".into());
    Call::read("s3", name)
        .with(serde_json::Value::Object(request))
        .on("AWS::S3::Bucket", format!("arn:aws:s3:::{bucket}"))
}

fn host(account: &Account, bucket: &str) -> String {
    format!("{bucket}.s3.{}.amazonaws.com", account.regions[0])
}

/// A key under one of the prefixes that such buckets have.
pub(in crate::generate) fn object_key(rng: &mut ChaCha8Rng) -> String {
    const FOLDERS: &[&str] =
        &["exports", "reports", "customers", "invoices", "logs", "backups", "raw", "curated", "uploads", "archive"];
    const ENDINGS: &[&str] = &["csv", "json.gz", "parquet", "pdf", "sql.gz", "zip", "avro", "txt"];
    let (folder, ending) = (one(FOLDERS, rng), one(ENDINGS, rng));
    match rng.random_range(0..3) {
        0 => format!("{folder}/2026/{:02}/part-{:05}.{ending}", rng.random_range(1..4), rng.random_range(0..9999)),
        1 => format!("{folder}/{}.{ending}", uuid(rng)),
        _ => format!(
            "{folder}/dt=2026-0{}-{:02}/{}.{ending}",
            rng.random_range(1..4),
            rng.random_range(1..29),
            hex(rng, 8)
        ),
    }
}

calls! {
    read list_objects[bucket] = "s3" "ListObjects" |account, rng| {
        "bucketName": bucket, "Host": host(account, bucket), "list-type": "2", "encoding-type": "url",
        "max-keys": "1000",
    } @ "AWS::S3::Bucket" { format!("arn:aws:s3:::{bucket}") } + data;
    read head_object[bucket, key] = "s3" "HeadObject" |account, rng| {
        "bucketName": bucket, "key": key, "Host": host(account, bucket),
    } @ "AWS::S3::Object" { format!("arn:aws:s3:::{bucket}/{key}") } + data;
    read get_object[bucket, key] = "s3" "GetObject" |account, rng| {
        "bucketName": bucket, "key": key, "Host": host(account, bucket),
    } @ "AWS::S3::Object" { format!("arn:aws:s3:::{bucket}/{key}") } + data;
    write put_object[bucket, key] = "s3" "PutObject" |account, rng| {
        "bucketName": bucket, "key": key, "Host": host(account, bucket),
    } => {"x-amz-server-side-encryption": "AES256"} @ "AWS::S3::Object" { format!("arn:aws:s3:::{bucket}/{key}") } + data;
    write copy_object[bucket, key, from] = "s3" "CopyObject" |account, rng| {
        "bucketName": bucket, "key": key, "Host": host(account, bucket), "x-amz-copy-source": format!("{from}/{key}"),
    } => {"x-amz-server-side-encryption": "AES256"} @ "AWS::S3::Object" { format!("arn:aws:s3:::{bucket}/{key}") } + data;
    write copy_with_own_key[bucket, key] = "s3" "CopyObject" |account, rng| {
        "bucketName": bucket, "key": key, "Host": host(account, bucket), "x-amz-copy-source": format!("{bucket}/{key}"),
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
    } => {"x-amz-server-side-encryption-customer-algorithm": "AES256"}
        @ "AWS::S3::Object" { format!("arn:aws:s3:::{bucket}/{key}") } + data;
    write delete_object[bucket, key] = "s3" "DeleteObject" |account, rng| {
        "bucketName": bucket, "key": key, "Host": host(account, bucket),
    } @ "AWS::S3::Object" { format!("arn:aws:s3:::{bucket}/{key}") } + data;
    write delete_objects[bucket] = "s3" "DeleteObjects" |account, rng| {
        "bucketName": bucket, "Host": host(account, bucket), "delete": "",
    } @ "AWS::S3::Bucket" { format!("arn:aws:s3:::{bucket}") } + data;
    write lifecycle[bucket, days] = "s3" "PutBucketLifecycle" |account, rng| {
        "bucketName": bucket, "Host": host(account, bucket), "lifecycle": "",
        "LifecycleConfiguration": {"Rule": {"ID": format!("expire-{days}d"), "Status": "Enabled",
            "Expiration": {"Days": days.parse::<u32>().unwrap_or(7)}, "Filter": {"Prefix": ""}}},
    } @ "AWS::S3::Bucket" { format!("arn:aws:s3:::{bucket}") };
    write versioning[bucket, status] = "s3" "PutBucketVersioning" |account, rng| {
        "bucketName": bucket, "Host": host(account, bucket), "versioning": "",
        "VersioningConfiguration": {"Status": status},
    } @ "AWS::S3::Bucket" { format!("arn:aws:s3:::{bucket}") };
    write bucket_policy[bucket, trusted] = "s3" "PutBucketPolicy" |account, rng| {
        "bucketName": bucket, "Host": host(account, bucket), "policy": "",
        "bucketPolicy": {"Version": "2012-10-17", "Statement": [{
            "Sid": format!("Share{}", capitals(rng, 4)), "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{trusted}:root")}, "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")]}]},
    } @ "AWS::S3::Bucket" { format!("arn:aws:s3:::{bucket}") };
    write replication[bucket, target] = "s3" "PutBucketReplication" |account, rng| {
        "bucketName": bucket, "Host": host(account, bucket), "replication": "",
        "ReplicationConfiguration": {"Role": format!("arn:aws:iam::{}:role/replication", account.id),
            "Rule": {"Status": "Enabled", "Priority": 1, "Destination": {"Bucket": format!("arn:aws:s3:::{target}")}}},
    } @ "AWS::S3::Bucket" { format!("arn:aws:s3:::{bucket}") };
}
