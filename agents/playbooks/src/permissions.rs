//! Which permissions a step needs: the session policy that narrows the executor's role to one action, and the policy file
//! of a playbook.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use trailwarden_core::plan::own::OwnPlaybook;
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::resource::{Resource, ResourceKind};
use trailwarden_core::time::Timestamp;

use crate::call::Target;
use crate::{Call, CaseContext, Step, Undo, calls};

/// IAM's names for what an operation needs, where it is not called as the operation is; an operation may need several.
fn actions(call: &Call) -> Vec<String> {
    let names: &[&str] = match (call.service, call.operation) {
        ("s3", "PutPublicAccessBlock" | "DeletePublicAccessBlock") => &["PutBucketPublicAccessBlock"],
        ("s3", "GetPublicAccessBlock") => &["GetBucketPublicAccessBlock"],
        ("s3", "PutObject") => &["PutObject", "PutObjectLegalHold"],
        // Tags are set while it is made.
        ("ec2", "CreateSecurityGroup") => &["CreateSecurityGroup", "CreateTags"],
        ("ec2", "CreateSnapshots") => &["CreateSnapshots", "CreateTags"],
        (_, same) => &[same],
    };
    names.iter().map(|name| format!("{}:{name}", call.service)).collect()
}

/// All calls that a step can make: captures, applying, looking, undoing.
pub(crate) fn every_call(step: &Step) -> Vec<&Call> {
    let mut all: Vec<&Call> = step.captured_first.iter().chain(&step.calls).collect();
    if let Undo::Calls(undo) = &step.undo {
        all.extend(undo);
    }
    let checks = step.verify.iter().chain(step.instead.iter().flat_map(|instead| &instead.verify));
    all.extend(checks.map(|check| &check.read.call));
    all.extend(step.instead.iter().flat_map(|instead| instead.calls.iter().chain(&instead.undo)));
    let lookups: Vec<&Call> = all.iter().filter_map(|call| call.unless.as_ref()).map(|lookup| &lookup.call).collect();
    all.extend(lookups);
    all
}

/// The ARN that a call can be narrowed to; `*` where the service knows no narrower one for it, or the step makes the
/// resource itself.
fn resource(call: &Call, target: &Target<'_>) -> Vec<String> {
    let parameter = |name: &str| call.parameters.get(name).and_then(Value::as_str);
    let (partition, account) = (target.partition(), target.account);
    let region = call.region.as_deref().unwrap_or("*");
    // Paths stand between the kind and the name, and the record may not tell them.
    let iam = |kind: &str, name: &str| {
        vec![
            format!("arn:{partition}:iam::{account}:{kind}/{name}"),
            format!("arn:{partition}:iam::{account}:{kind}/*/{name}"),
        ]
    };
    let everything = || vec!["*".to_owned()];
    // A playbook of the operator's may call a service that its target is no part of.
    let is_named_by_target = match call.service {
        "lambda" => target.kind == ResourceKind::Function,
        "kms" => target.kind == ResourceKind::KmsKey,
        "cloudtrail" => target.kind == ResourceKind::Trail,
        "guardduty" => target.kind == ResourceKind::Detector,
        "rds" => target.kind == ResourceKind::DbSnapshot,
        _ => true,
    };
    match call.service {
        _ if account.is_empty() || !is_named_by_target => everything(),
        "iam" => match (parameter("UserName"), parameter("RoleName")) {
            (Some(user), _) => iam("user", user),
            (_, Some(role)) => iam("role", role),
            // The owner of a key is only known when it was looked up.
            _ if call.operation == "GetAccessKeyLastUsed" => everything(),
            _ => vec![format!("arn:{partition}:iam::{account}:user/*")],
        },
        "s3" => match parameter("Bucket") {
            Some(bucket) if call.operation == "PutObject" => vec![format!("arn:{partition}:s3:::{bucket}/*")],
            Some(bucket) => vec![format!("arn:{partition}:s3:::{bucket}")],
            None => everything(),
        },
        "lambda" => match target.id.starts_with("arn:") {
            true => vec![target.id.to_owned()],
            false => vec![format!("arn:{partition}:lambda:{region}:{account}:function:{}", target.name)],
        },
        "kms" => match target.id.starts_with("arn:") && !target.id.contains(":alias/") {
            true => vec![target.id.to_owned()],
            false => vec![format!("arn:{partition}:kms:{region}:{account}:key/*")],
        },
        "cloudtrail" => match target.id.starts_with("arn:") {
            true => vec![target.id.to_owned()],
            false => vec![format!("arn:{partition}:cloudtrail:{region}:{account}:trail/{}", target.name)],
        },
        "guardduty" => vec![format!("arn:{partition}:guardduty:{region}:{account}:detector/{}", target.name)],
        "rds" => vec![format!("arn:{partition}:rds:{region}:{account}:snapshot:{}", target.name)],
        _ => everything(),
    }
}

/// Characters that AWS takes of a session policy.
pub(crate) const SESSION_POLICY_MAX: usize = 2_048;

/// The policy under which a step, and nothing but it, can be done. One that is longer than [`SESSION_POLICY_MAX`] is AWS's to
/// refuse, and the executor's before it begins: leaving names out of it would make it wide.
pub(crate) fn session_policy(step: &Step, action: &Action, case: &CaseContext<'_>) -> String {
    let target = Target::new(action, case);
    let mut by_resources: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
    for call in every_call(step) {
        by_resources.entry(resource(call, &target)).or_default().extend(actions(call));
    }
    let statements: Vec<Value> = by_resources
        .into_iter()
        .map(|(resources, actions)| json!({ "Effect": "Allow", "Action": actions, "Resource": resources }))
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

/// The permissions that the executor's role needs for a playbook, whatever its target: least privilege, to be attached to
/// the role in each account.
pub fn playbook_policy(name: &str) -> Option<Value> {
    let mut needed = BTreeSet::new();
    for playbook in Playbook::ALL.iter().filter(|playbook| playbook.as_str() == name) {
        for owner in [None, Some("owner".to_owned())] {
            let step = calls(&Action { owner, ..sample(*playbook) }, &SAMPLE_CASE);
            needed.extend(every_call(&step).into_iter().flat_map(actions));
        }
    }
    (!needed.is_empty()).then(|| policy_of(&needed))
}

/// The same for a playbook of the operator's.
pub fn own_policy(own: &Arc<OwnPlaybook>) -> Value {
    let step = calls(&Action::of_own(Arc::clone(own), sample_target(own.answers.target)), &SAMPLE_CASE);
    policy_of(&every_call(&step).into_iter().flat_map(actions).collect())
}

fn policy_of(needed: &BTreeSet<String>) -> Value {
    let statement = json!({
        "Sid": "TrailwardenExecutor",
        "Effect": "Allow",
        "Action": needed,
        "Resource": "*",
    });
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

/// A playbook against a target that stands for any.
pub(crate) fn sample_step(playbook: Playbook) -> Step {
    calls(&sample(playbook), &SAMPLE_CASE)
}

const SAMPLE_CASE: CaseContext<'static> = CaseContext { case_id: "sample", reference_time: Timestamp::from_millis(0) };

fn sample(playbook: Playbook) -> Action {
    Action::proposed(playbook, sample_target(playbook.target_kind()))
}

fn sample_target(kind: ResourceKind) -> Resource {
    Resource {
        kind,
        account: "111122223333".to_owned(),
        region: "us-east-1".to_owned(),
        id: "sample".to_owned(),
        created: false,
    }
}

#[cfg(test)]
mod tests {
    use trailwarden_core::resource::ResourceKind;

    use super::*;

    /// What each playbook needs, read by people: a change here is a change of what customers have to grant.
    const POLICIES: &str = include_str!("../data/policies.json");

    #[test]
    fn each_playbook_needs_exactly_what_its_file_says() {
        let names: BTreeSet<_> = Playbook::ALL.iter().map(|playbook| playbook.as_str()).collect();
        let needed: BTreeMap<&str, Value> = names
            .into_iter()
            .map(|name| {
                let policy = playbook_policy(name).expect("a playbook");
                (name, policy["Statement"][0]["Action"].clone())
            })
            .collect();
        let filed: BTreeMap<&str, Value> = serde_json::from_str(POLICIES).expect("JSON");
        assert_eq!(needed, filed, "{}", serde_json::to_string_pretty(&needed).expect("JSON"));
        assert_eq!(playbook_policy("other"), None);
    }

    /// As long as AWS lets names be, in the partition with the longest ARNs.
    #[test]
    fn the_longest_names_find_room_in_a_session_policy() {
        for playbook in Playbook::ALL {
            let longest = match playbook.target_kind() {
                ResourceKind::Function => {
                    format!("arn:aws-us-gov:lambda:us-gov-east-1:111122223333:function:{}", "f".repeat(64))
                }
                ResourceKind::Trail => {
                    format!("arn:aws-us-gov:cloudtrail:us-gov-east-1:111122223333:trail/{}", "t".repeat(128))
                }
                ResourceKind::Snapshot | ResourceKind::DbSnapshot => "s".repeat(255),
                ResourceKind::Role => {
                    format!("arn:aws-us-gov:iam::111122223333:role/{}/{}", "p".repeat(510), "r".repeat(64))
                }
                ResourceKind::AccessKey => "A".repeat(128),
                _ => "n".repeat(64),
            };
            let mut action = sample(*playbook).owned_by("u".repeat(64));
            (action.target.id, action.target.region) = (longest, "us-gov-east-1".to_owned());
            let policy = session_policy(&calls(&action, &SAMPLE_CASE), &action, &SAMPLE_CASE);
            assert!(policy.len() <= SESSION_POLICY_MAX, "{playbook:?}: {}", policy.len());
        }
    }

    #[test]
    fn a_session_can_do_its_one_action_on_its_one_target() {
        for playbook in Playbook::ALL {
            let action = sample(*playbook).owned_by("alice");
            let step = calls(&action, &SAMPLE_CASE);
            let policy = session_policy(&step, &action, &SAMPLE_CASE);
            assert!(policy.len() <= SESSION_POLICY_MAX, "{playbook:?}: {}", policy.len());
            let wide = policy.contains(r#""Resource":["*"]"#);
            let narrow = matches!(
                playbook,
                Playbook::QuarantineUserHard
                    | Playbook::LockRoleTrust
                    | Playbook::BlockPublicS3
                    | Playbook::FreezeLambda
            );
            assert!(!(narrow && wide), "{playbook:?}: {policy}");
        }
        let action = sample(Playbook::QuarantineUserHard);
        let policy = session_policy(&calls(&action, &SAMPLE_CASE), &action, &SAMPLE_CASE);
        assert_eq!(
            policy,
            r#"{"Statement":[{"Action":["iam:AttachUserPolicy","iam:DeleteUserPolicy","iam:DetachUserPolicy","iam:GetUserPolicy","iam:ListAttachedUserPolicies","iam:PutUserPolicy"],"Effect":"Allow","Resource":["arn:aws:iam::111122223333:user/sample","arn:aws:iam::111122223333:user/*/sample"]}],"Version":"2012-10-17"}"#
        );
    }
}
