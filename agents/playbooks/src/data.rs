//! Steps that protect stored data and keys.

use serde_json::{Value, json};

use crate::call::{Call, Target, captured, kept};
use crate::{Step, Undo, policy};

/// A call on the target bucket, refused by S3 when the bucket belongs to another account than the record says.
fn s3(target: &Target<'_>, operation: &'static str, parameters: Value) -> Call {
    let mut call = target.call("s3", operation, parameters);
    call.parameters["Bucket"] = json!(target.name);
    if !target.account.is_empty() {
        call.parameters["ExpectedBucketOwner"] = json!(target.account);
    }
    call
}

pub(crate) fn block_public_s3(target: &Target<'_>) -> Step {
    let block_all = json!({
        "BlockPublicAcls": true,
        "IgnorePublicAcls": true,
        "BlockPublicPolicy": true,
        "RestrictPublicBuckets": true,
    });
    let put_block =
        |block: Value| s3(target, "PutPublicAccessBlock", json!({ "PublicAccessBlockConfiguration": block }));
    Step {
        captured_first: vec![
            s3(target, "GetPublicAccessBlock", json!({}))
                .keeping(&[kept("public_access_block", "PublicAccessBlockConfiguration")]),
            s3(target, "GetBucketAcl", json!({})).keeping(&[kept("access_control_policy", "@")]),
        ],
        calls: vec![put_block(block_all), s3(target, "PutBucketAcl", json!({ "ACL": "private" }))],
        undo: Undo::Calls(vec![
            put_block(captured("public_access_block")),
            s3(target, "PutBucketAcl", json!({ "AccessControlPolicy": captured("access_control_policy") })),
        ]),
        blast_radius: "one bucket: whoever reads or writes it without signing in, or by a public policy",
        notes: vec![
            "A bucket that had no public access block gets it removed on undo (DeletePublicAccessBlock).",
            "Where object ownership disables access lists, S3 refuses the second call, and it is not needed.",
        ],
    }
}

pub(crate) fn protect_s3_data(target: &Target<'_>) -> Step {
    let put_versioning = |status: Value| {
        let parameters = json!({ "VersioningConfiguration": { "Status": status } });
        s3(target, "PutBucketVersioning", parameters)
    };
    let put_policy = |document: Value| s3(target, "PutBucketPolicy", json!({ "Policy": document }));
    Step {
        captured_first: vec![
            s3(target, "GetBucketVersioning", json!({})).keeping(&[kept("versioning_status", "Status")]),
            s3(target, "GetBucketPolicy", json!({})).keeping(&[kept("bucket_policy", "Policy")]),
        ],
        calls: vec![put_versioning(json!("Enabled")), put_policy(json!(policy::keep_objects(target)))],
        undo: Undo::Calls(vec![put_policy(captured("bucket_policy")), put_versioning(captured("versioning_status"))]),
        blast_radius: "one bucket: whoever deletes or expires objects in it",
        notes: vec![
            "Where the bucket has a policy, the statement is added to those it has; the call alone would replace them.",
            "A bucket without a policy loses this one on undo (DeleteBucketPolicy); versioning that was never on can \
             only be suspended.",
        ],
    }
}

pub(crate) fn unshare_snapshot(target: &Target<'_>) -> Step {
    let attribute = json!({ "SnapshotId": target.name, "Attribute": "createVolumePermission" });
    let mut restore = attribute.clone();
    restore["OperationType"] = json!("add");
    restore["UserIds"] = captured("shared_with_accounts");
    Step {
        captured_first: vec![target.call("ec2", "DescribeSnapshotAttribute", attribute.clone()).keeping(&[
            kept("shared_with_accounts", "CreateVolumePermissions[].UserId"),
            kept("shared_with_groups", "CreateVolumePermissions[].Group"),
        ])],
        calls: vec![target.call("ec2", "ResetSnapshotAttribute", attribute)],
        undo: Undo::Calls(vec![target.call("ec2", "ModifySnapshotAttribute", restore)]),
        blast_radius: "every other account that may use this snapshot",
        notes: vec![
            "Undoing shares it with the same accounts again; making it public again is for a person.",
            "Copies that were already taken stay with whoever took them.",
        ],
    }
}

pub(crate) fn unshare_image(target: &Target<'_>) -> Step {
    let attribute = json!({ "ImageId": target.name, "Attribute": "launchPermission" });
    let mut restore = attribute.clone();
    restore["OperationType"] = json!("add");
    restore["UserIds"] = captured("shared_with_accounts");
    Step {
        captured_first: vec![target.call("ec2", "DescribeImageAttribute", attribute.clone()).keeping(&[
            kept("shared_with_accounts", "LaunchPermissions[].UserId"),
            kept("shared_with_groups", "LaunchPermissions[].Group"),
        ])],
        calls: vec![target.call("ec2", "ResetImageAttribute", attribute)],
        undo: Undo::Calls(vec![target.call("ec2", "ModifyImageAttribute", restore)]),
        blast_radius: "every other account that may launch this image",
        notes: vec![
            "Undoing shares it with the same accounts again; making it public again is for a person.",
            "Copies that were already taken stay with whoever took them.",
        ],
    }
}

pub(crate) fn unshare_db_snapshot(target: &Target<'_>) -> Step {
    let snapshot = json!({ "DBSnapshotIdentifier": target.name });
    let modify = |direction: &str| {
        let mut parameters = json!({ "DBSnapshotIdentifier": target.name, "AttributeName": "restore" });
        parameters[direction] = captured("shared_with");
        target.call("rds", "ModifyDBSnapshotAttribute", parameters)
    };
    Step {
        captured_first: vec![
            target
                .call("rds", "DescribeDBSnapshotAttributes", snapshot)
                .keeping(&[kept("shared_with", "DBSnapshotAttributesResult.DBSnapshotAttributes[].AttributeValues[]")]),
        ],
        calls: vec![modify("ValuesToRemove")],
        undo: Undo::Calls(vec![modify("ValuesToAdd")]),
        blast_radius: "every other account that may restore this snapshot",
        notes: vec![
            "A cluster's snapshot has calls of its own (ModifyDBClusterSnapshotAttribute).",
            "Copies that were already taken stay with whoever took them.",
        ],
    }
}

/// An alias names a key only to `DescribeKey`, and may point elsewhere by now; the two calls want the key.
pub(crate) fn rescue_kms(target: &Target<'_>) -> Step {
    let is_alias = target.id.starts_with("alias/") || target.id.contains(":alias/");
    let key = if is_alias { captured("key_id") } else { json!(target.id) };
    let read = target.call("kms", "DescribeKey", json!({ "KeyId": target.id }));
    Step {
        captured_first: vec![
            read.keeping(&[kept("key_id", "KeyMetadata.KeyId"), kept("key_state", "KeyMetadata.KeyState")]),
        ],
        calls: vec![
            target.call("kms", "CancelKeyDeletion", json!({ "KeyId": key })),
            target.call("kms", "EnableKey", json!({ "KeyId": key })),
        ],
        undo: Undo::Words("nothing: scheduling the deletion again (kms ScheduleKeyDeletion) is for the key's owner"),
        blast_radius: "none: the key works again",
        notes: vec!["A key that is disabled but not to be deleted needs the second call only."],
    }
}
