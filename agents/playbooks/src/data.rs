//! Steps that protect stored data and keys.

use serde_json::{Value, json};

use crate::call::{Call, Derived, Expect, Kept, Target, When, captured, kept};
use crate::{Step, Undo, policy, told_of};

/// A call on the target bucket, refused by S3 when the bucket belongs to another account than the record says.
fn s3(target: &Target<'_>, operation: &'static str, parameters: Value) -> Call {
    let mut call = target.call("s3", operation, parameters);
    call.parameters["Bucket"] = json!(target.name);
    if !target.account.is_empty() {
        call.parameters["ExpectedBucketOwner"] = json!(target.account);
    }
    call
}

/// What S3 says where object ownership disables access lists.
const NO_ACCESS_LISTS: &str = "AccessControlListNotSupported";

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
                .keeping(&[kept("public_access_block", "PublicAccessBlockConfiguration")])
                .tolerating(&["NoSuchPublicAccessBlockConfiguration"]),
            s3(target, "GetBucketAcl", json!({})).keeping(&[kept("access_control_policy", "@")]),
        ],
        calls: vec![
            put_block(block_all.clone()),
            s3(target, "PutBucketAcl", json!({ "ACL": "private" })).tolerating(&[NO_ACCESS_LISTS]),
        ],
        verify: vec![
            s3(target, "GetPublicAccessBlock", json!({}))
                .tolerating(&["NoSuchPublicAccessBlockConfiguration"])
                .shows("PublicAccessBlockConfiguration", Expect::Equals(block_all.clone())),
        ],
        undo: Undo::Calls(vec![
            put_block(captured("public_access_block")).when(When::Known("public_access_block".into())),
            s3(target, "DeletePublicAccessBlock", json!({})).when(When::Unknown("public_access_block".into())),
            s3(target, "PutBucketAcl", json!({ "AccessControlPolicy": captured("access_control_policy") }))
                .tolerating(&[NO_ACCESS_LISTS]),
        ]),
        blast_radius: "one bucket: whoever reads or writes it without signing in, or by a public policy".into(),
        notes: told_of([
            "A bucket that had no public access block gets it removed on undo.",
            "Where object ownership disables access lists, S3 refuses the second call, and it is not needed.",
        ]),
        ..Step::blank()
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
            s3(target, "GetBucketVersioning", json!({}))
                .keeping(&[Kept { unset: Some("Suspended"), ..kept("versioning_status", "Status") }]),
            s3(target, "GetBucketPolicy", json!({}))
                .keeping(&[kept("bucket_policy", "Policy")])
                .tolerating(&["NoSuchBucketPolicy"]),
        ],
        calls: vec![put_versioning(json!("Enabled")), put_policy(captured("protecting_policy"))],
        derived: vec![Derived {
            name: "protecting_policy",
            from: "bucket_policy",
            adding: policy::keep_objects(target),
        }],
        verify: vec![
            s3(target, "GetBucketVersioning", json!({})).shows("Status", Expect::Equals(json!("Enabled"))),
            s3(target, "GetBucketPolicy", json!({}))
                .tolerating(&["NoSuchBucketPolicy"])
                .shows("Policy", Expect::Statements(policy::keep_objects(target))),
        ],
        undo: Undo::Calls(vec![
            put_policy(captured("bucket_policy")).when(When::Known("bucket_policy".into())),
            s3(target, "DeleteBucketPolicy", json!({})).when(When::Unknown("bucket_policy".into())),
            put_versioning(captured("versioning_status")).when(When::Known("versioning_status".into())),
            put_versioning(json!("Suspended")).when(When::Unknown("versioning_status".into())),
        ]),
        blast_radius: "one bucket: whoever deletes or expires objects in it".into(),
        notes: told_of([
            "The statement is added to those that the bucket's policy has.",
            "A bucket without a policy loses this one on undo; versioning that was never on can only be suspended.",
        ]),
        ..Step::blank()
    }
}

pub(crate) fn unshare_snapshot(target: &Target<'_>) -> Step {
    let attribute = json!({ "SnapshotId": target.name, "Attribute": "createVolumePermission" });
    let modify = |direction: &str, members: &str, kept: &'static str| {
        let mut parameters = attribute.clone();
        parameters["OperationType"] = json!(direction);
        parameters[members] = captured(kept);
        target.call("ec2", "ModifySnapshotAttribute", parameters).when(When::Known(kept.into()))
    };
    Step {
        captured_first: vec![target.call("ec2", "DescribeSnapshotAttribute", attribute.clone()).keeping(&[
            kept("shared_with_accounts", "CreateVolumePermissions[].UserId"),
            kept("shared_with_groups", "CreateVolumePermissions[].Group"),
        ])],
        calls: vec![
            modify("remove", "UserIds", "shared_with_accounts"),
            modify("remove", "GroupNames", "shared_with_groups"),
        ],
        verify: vec![
            target
                .call("ec2", "DescribeSnapshotAttribute", attribute.clone())
                .shows("CreateVolumePermissions", Expect::Nothing),
        ],
        undo: Undo::Calls(vec![modify("add", "UserIds", "shared_with_accounts")]),
        blast_radius: "every other account that may use this snapshot".into(),
        notes: told_of([
            "Undoing shares it with the same accounts again; making it public again is for a person.",
            "Copies that were already taken stay with whoever took them.",
        ]),
        ..Step::blank()
    }
}

pub(crate) fn unshare_image(target: &Target<'_>) -> Step {
    let attribute = json!({ "ImageId": target.name, "Attribute": "launchPermission" });
    let modify = |direction: &str, members: &str, kept: &'static str| {
        let mut parameters = attribute.clone();
        parameters["OperationType"] = json!(direction);
        parameters[members] = captured(kept);
        target.call("ec2", "ModifyImageAttribute", parameters).when(When::Known(kept.into()))
    };
    Step {
        captured_first: vec![target.call("ec2", "DescribeImageAttribute", attribute.clone()).keeping(&[
            kept("shared_with_accounts", "LaunchPermissions[].UserId"),
            kept("shared_with_groups", "LaunchPermissions[].Group"),
            kept("shared_with_organizations", "LaunchPermissions[].OrganizationArn"),
            kept("shared_with_units", "LaunchPermissions[].OrganizationalUnitArn"),
        ])],
        calls: vec![
            modify("remove", "UserIds", "shared_with_accounts"),
            modify("remove", "UserGroups", "shared_with_groups"),
            modify("remove", "OrganizationArns", "shared_with_organizations"),
            modify("remove", "OrganizationalUnitArns", "shared_with_units"),
        ],
        verify: vec![
            target.call("ec2", "DescribeImageAttribute", attribute.clone()).shows("LaunchPermissions", Expect::Nothing),
        ],
        undo: Undo::Calls(vec![
            modify("add", "UserIds", "shared_with_accounts"),
            modify("add", "OrganizationArns", "shared_with_organizations"),
            modify("add", "OrganizationalUnitArns", "shared_with_units"),
        ]),
        blast_radius: "every other account that may launch this image".into(),
        notes: told_of([
            "Undoing shares it with the same accounts again; making it public again is for a person.",
            "Copies that were already taken stay with whoever took them.",
        ]),
        ..Step::blank()
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
        verify: vec![
            target
                .call("rds", "DescribeDBSnapshotAttributes", json!({ "DBSnapshotIdentifier": target.name }))
                .shows("DBSnapshotAttributesResult.DBSnapshotAttributes[].AttributeValues[]", Expect::Nothing),
        ],
        undo: Undo::Calls(vec![modify("ValuesToAdd")]),
        blast_radius: "every other account that may restore this snapshot".into(),
        notes: told_of([
            "A cluster's snapshot has calls of its own (ModifyDBClusterSnapshotAttribute).",
            "Copies that were already taken stay with whoever took them.",
        ]),
        ..Step::blank()
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
            target
                .call("kms", "CancelKeyDeletion", json!({ "KeyId": key }))
                .when(When::Is("key_state".into(), "PendingDeletion".into())),
            target.call("kms", "EnableKey", json!({ "KeyId": key })),
        ],
        verify: vec![
            target
                .call("kms", "DescribeKey", json!({ "KeyId": target.id }))
                .shows("KeyMetadata.KeyState", Expect::Equals(json!("Enabled"))),
        ],
        undo: Undo::Words(
            "nothing: scheduling the deletion again (kms ScheduleKeyDeletion) is for the key's owner".into(),
        ),
        blast_radius: "none: the key works again".into(),
        notes: vec![],
        ..Step::blank()
    }
}
