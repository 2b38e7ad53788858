//! Steps against users, roles and their credentials.

use serde_json::{Value, json};

use crate::call::{Call, Check, Expect, Target, captured, kept, supplied};
use crate::{Instead, Step, Undo, policy, told_of};

fn iam(operation: &'static str, parameters: Value) -> Call {
    Call::global("iam", operation, parameters)
}

pub(crate) const TAG_KEY: &str = "trailwarden:case";

const TELLS: &str = "The alert channels are told as well.";

pub(crate) fn tag_user(target: &Target<'_>) -> Step {
    let tags = json!([{ "Key": TAG_KEY, "Value": target.case }]);
    Step {
        calls: vec![iam("TagUser", json!({ "UserName": target.name, "Tags": tags }))],
        verify: vec![
            iam("ListUserTags", json!({ "UserName": target.name }))
                .shows("Tags[]", Expect::Contains(json!({ "Key": TAG_KEY, "Value": target.case }))),
        ],
        undo: Undo::Calls(vec![iam("UntagUser", json!({ "UserName": target.name, "TagKeys": [TAG_KEY] }))]),
        blast_radius: "none: one tag on one user".into(),
        notes: told_of([TELLS]),
        ..Step::blank()
    }
}

pub(crate) fn tag_role(target: &Target<'_>) -> Step {
    let tags = json!([{ "Key": TAG_KEY, "Value": target.case }]);
    Step {
        calls: vec![iam("TagRole", json!({ "RoleName": target.name, "Tags": tags }))],
        verify: vec![
            iam("ListRoleTags", json!({ "RoleName": target.name }))
                .shows("Tags[]", Expect::Contains(json!({ "Key": TAG_KEY, "Value": target.case }))),
        ],
        undo: Undo::Calls(vec![iam("UntagRole", json!({ "RoleName": target.name, "TagKeys": [TAG_KEY] }))]),
        blast_radius: "none: one tag on one role".into(),
        notes: told_of([TELLS]),
        ..Step::blank()
    }
}

/// Without an owner the key's is looked up: IAM would otherwise take the executor for the user that is meant.
pub(crate) fn disable_access_key(target: &Target<'_>) -> Step {
    let (captured_first, owner) = match target.owner {
        Some(owner) => (vec![], json!(owner)),
        None => {
            let lookup = iam("GetAccessKeyLastUsed", json!({ "AccessKeyId": target.name }));
            (vec![lookup.keeping(&[kept("user_name", "UserName")])], captured("user_name"))
        }
    };
    let update = |status: &str| {
        let parameters = json!({ "UserName": owner, "AccessKeyId": target.name, "Status": status });
        iam("UpdateAccessKey", parameters)
    };
    let mut notes =
        told_of(["The key is never deleted. Temporary credentials made with it live on until they expire."]);
    if target.name.starts_with("ASIA") {
        notes.push("This is a temporary key, which has no status: revoke the role's sessions instead.".into());
    }
    Step {
        captured_first,
        calls: vec![update("Inactive")],
        verify: vec![iam("ListAccessKeys", json!({ "UserName": owner })).shows(
            "AccessKeyMetadata[]",
            Expect::Contains(json!({ "AccessKeyId": target.name, "Status": "Inactive" })),
        )],
        undo: Undo::Calls(vec![update("Active")]),
        blast_radius: "whatever uses this one access key".into(),
        notes,
        ..Step::blank()
    }
}

/// The read that shows a managed policy on the user.
fn attached(target: &Target<'_>, policy_arn: &str) -> Check {
    iam("ListAttachedUserPolicies", json!({ "UserName": target.name }))
        .shows("AttachedPolicies[].PolicyArn", Expect::Contains(json!(policy_arn)))
}

/// The read that shows an inline policy on the role.
fn role_policy(target: &Target<'_>, name: &str, document: &str) -> Check {
    iam("GetRolePolicy", json!({ "RoleName": target.name, "PolicyName": name }))
        .shows("PolicyDocument", Expect::Statements(document.to_owned()))
}

pub(crate) fn quarantine_user_soft(target: &Target<'_>) -> Step {
    let arn = format!("arn:{}:iam::aws:policy/AWSCompromisedKeyQuarantineV3", target.partition());
    let parameters = json!({ "UserName": target.name, "PolicyArn": arn });
    Step {
        calls: vec![iam("AttachUserPolicy", parameters.clone())],
        verify: vec![attached(target, &arn)],
        undo: Undo::Calls(vec![iam("DetachUserPolicy", parameters)]),
        blast_radius: "one user: the calls most often abused".into(),
        notes: told_of([
            "A tourniquet: among others sts:AssumeRole, cloudtrail:StopLogging, secretsmanager:GetSecretValue and \
             s3:PutObject stay allowed.",
        ]),
        ..Step::blank()
    }
}

pub(crate) fn quarantine_user_hard(target: &Target<'_>) -> Step {
    let managed = format!("arn:{}:iam::aws:policy/AWSDenyAll", target.partition());
    let attachment = json!({ "UserName": target.name, "PolicyArn": managed });
    let name = target.label("Quarantine");
    Step {
        calls: vec![iam(
            "PutUserPolicy",
            json!({ "UserName": target.name, "PolicyName": name, "PolicyDocument": policy::deny_all() }),
        )],
        verify: vec![
            iam("GetUserPolicy", json!({ "UserName": target.name, "PolicyName": name }))
                .shows("PolicyDocument", Expect::Statements(policy::deny_all())),
        ],
        undo: Undo::Calls(vec![iam("DeleteUserPolicy", json!({ "UserName": target.name, "PolicyName": name }))]),
        instead: Some(Instead {
            calls: vec![iam("AttachUserPolicy", attachment.clone())],
            verify: vec![attached(target, &managed)],
            undo: vec![iam("DetachUserPolicy", attachment)],
        }),
        blast_radius: "one user: everything it does, with every key and in the console".into(),
        notes: told_of([
            "Where the quota for inline policies is full, AWSDenyAll is attached instead (AttachUserPolicy).",
            "Sessions of roles that the user has assumed live on.",
        ]),
        ..Step::blank()
    }
}

fn put_role_policy(target: &Target<'_>, name: &str, document: String) -> (Vec<Call>, Undo) {
    let put = json!({ "RoleName": target.name, "PolicyName": name, "PolicyDocument": document });
    let delete = json!({ "RoleName": target.name, "PolicyName": name });
    (vec![iam("PutRolePolicy", put)], Undo::Calls(vec![iam("DeleteRolePolicy", delete)]))
}

pub(crate) fn revoke_role_sessions(target: &Target<'_>) -> Step {
    let document = policy::deny_older_sessions(target.reference_time);
    let (calls, undo) = put_role_policy(target, &target.label("RevokeSessions"), document.clone());
    Step {
        calls,
        verify: vec![role_policy(target, &target.label("RevokeSessions"), &document)],
        undo,
        blast_radius: "every session of one role issued before the named time; workloads sign in anew".into(),
        notes: told_of([
            "Who may assume the role can do so again at once: lock its trust too if that is the attacker.",
        ]),
        ..Step::blank()
    }
}

pub(crate) fn disable_created_role(target: &Target<'_>) -> Step {
    let (calls, undo) = put_role_policy(target, &target.label("Quarantine"), policy::deny_all());
    Step {
        calls,
        verify: vec![role_policy(target, &target.label("Quarantine"), &policy::deny_all())],
        undo,
        blast_radius: "one role that the incident created: all its sessions".into(),
        notes: vec![],
        ..Step::blank()
    }
}

pub(crate) fn lock_role_trust(target: &Target<'_>) -> Step {
    let update = |document: Value| {
        let parameters = json!({ "RoleName": target.name, "PolicyDocument": document });
        iam("UpdateAssumeRolePolicy", parameters)
    };
    let read = iam("GetRole", json!({ "RoleName": target.name }));
    Step {
        captured_first: vec![read.keeping(&[kept("trust_policy", "Role.AssumeRolePolicyDocument")])],
        calls: vec![update(json!(policy::trust_nobody()))],
        verify: vec![
            iam("GetRole", json!({ "RoleName": target.name }))
                .shows("Role.AssumeRolePolicyDocument", Expect::Statements(policy::trust_nobody())),
        ],
        undo: Undo::Calls(vec![update(captured("trust_policy"))]),
        blast_radius: "one role: nobody and nothing can assume it".into(),
        notes: told_of(["Sessions that exist live on: revoke them too."]),
        ..Step::blank()
    }
}

pub(crate) fn remove_console_login(target: &Target<'_>) -> Step {
    let user = json!({ "UserName": target.name });
    Step {
        captured_first: vec![
            iam("GetLoginProfile", user.clone()),
            iam("ListMFADevices", user.clone()).keeping(&[kept("mfa_devices", "MFADevices")]),
        ],
        calls: vec![iam("DeleteLoginProfile", user)],
        verify: vec![
            iam("GetLoginProfile", json!({ "UserName": target.name }))
                .tolerating(&["NoSuchEntity"])
                .shows("LoginProfile.UserName", Expect::Nothing),
        ],
        undo: Undo::Calls(vec![iam(
            "CreateLoginProfile",
            json!({
                "UserName": target.name,
                "Password": supplied("new_password"),
                "PasswordResetRequired": true,
            }),
        )]),
        blast_radius: "one user: signing in to the console".into(),
        notes: told_of([
            "Console sessions that exist live on until they expire.",
            "MFA devices enrolled during the incident stay: a person deactivates them (iam DeactivateMFADevice).",
        ]),
        ..Step::blank()
    }
}
