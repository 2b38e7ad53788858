//! What a step would deny, for whoever asks what that would have blocked in the past.

use serde_json::{Value, json};
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::resource::ResourceKind;

use crate::call::Target;
use crate::{Call, CaseContext, calls, policy};

/// A policy that a step puts in place, and whose calls it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub policy: String,
    pub whose: Whose,
}

/// Whose calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All of a principal: its ARN.
    Principal(String),
    /// Those with one access key.
    Key(String),
}

/// The denial of a step that takes calls away from a user, a role or a key; `None` for other steps.
pub fn denial(action: &Action, case: &CaseContext<'_>) -> Option<Denial> {
    let (target, step) = (&action.target, calls(action, case));
    let puts: Vec<(&Call, String)> = step.calls.iter().filter_map(|call| Some((call, put(call)?))).collect();
    let disables_key = match action.playbook {
        Playbook::DisableAccessKey | Playbook::DisableCreatedCredentials => true,
        Playbook::Own if target.kind == ResourceKind::AccessKey => {
            step.calls.iter().any(|call| call.operation == "UpdateAccessKey")
        }
        _ => false,
    };
    // The operator's may deny somebody else than its target, such as a key's owner.
    let named = |name: &str| puts.iter().find_map(|(call, _)| call.parameters.get(name)?.as_str());
    let whose = match target.kind {
        ResourceKind::User => Some(("user", target.id.as_str())),
        ResourceKind::Role => Some(("role", target.id.as_str())),
        _ => named("UserName").map(|user| ("user", user)).or_else(|| Some(("role", named("RoleName")?))),
    };
    let (kind, id) = match whose.filter(|_| !puts.is_empty()) {
        Some(whose) => whose,
        None if disables_key => {
            return Some(Denial { policy: policy::deny_all(), whose: Whose::Key(target.id.clone()) });
        }
        None => return None,
    };
    // Of a key that is disabled too, all calls are its owner's: that tells rather too much.
    let policy =
        if disables_key { policy::deny_all() } else { joined(puts.into_iter().map(|(_, policy)| policy).collect())? };
    let arn = match id.starts_with("arn:") {
        true => id.to_owned(),
        false => format!("arn:{}:iam::{}:{kind}/{id}", Target::new(action, case).partition(), target.account),
    };
    Some(Denial { policy, whose: Whose::Principal(arn) })
}

/// The policy that a call puts on a user or a role.
fn put(call: &Call) -> Option<String> {
    let text = |name: &str| call.parameters.get(name).and_then(Value::as_str);
    match call.operation {
        "PutUserPolicy" | "PutRolePolicy" => text("PolicyDocument").map(str::to_owned),
        "AttachUserPolicy" => match text("PolicyArn")?.rsplit('/').next()? {
            "AWSDenyAll" => Some(policy::deny_all()),
            // The earlier versions deny less.
            "AWSCompromisedKeyQuarantine" | "AWSCompromisedKeyQuarantineV2" | "AWSCompromisedKeyQuarantineV3" => {
                Some(policy::quarantine())
            }
            _ => None,
        },
        _ => None,
    }
}

/// Several policies as one with the statements of all.
fn joined(mut policies: Vec<String>) -> Option<String> {
    if policies.len() < 2 {
        return policies.pop();
    }
    let read = policies.iter().filter_map(|policy| serde_json::from_str::<Value>(policy).ok());
    let statements: Vec<Value> = read
        .flat_map(|policy| match policy["Statement"].clone() {
            Value::Array(statements) => statements,
            one => vec![one],
        })
        .collect();
    Some(json!({ "Version": "2012-10-17", "Statement": statements }).to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use trailwarden_core::resource::Resource;
    use trailwarden_core::response::rehearsal::{PastCall, rehearse};
    use trailwarden_core::time::Timestamp;

    use super::*;
    use crate::load_own;

    const CASE: CaseContext<'static> = CaseContext { case_id: "c1", reference_time: Timestamp::from_millis(0) };

    fn target(kind: ResourceKind, id: &str) -> Resource {
        let (account, region) = ("111122223333".to_owned(), String::new());
        Resource { kind, account, region, id: id.to_owned(), created: false }
    }

    fn blocked(denial: &Denial, actions: &[&str]) -> u64 {
        let call = |action: &&str| PastCall {
            action: (*action).to_owned(),
            resource: "*".to_owned(),
            principal: "arn:aws:iam::111122223333:user/alice".to_owned(),
            token_issued_at: None,
            suspected: false,
            failed: false,
        };
        rehearse(&denial.policy, &actions.iter().map(call).collect::<Vec<_>>()).expect("reads").legitimate_blocked
    }

    #[test]
    fn a_quarantine_that_aws_keeps_is_rehearsed_by_what_it_denies() {
        let soft = Action::proposed(Playbook::QuarantineUserSoft, target(ResourceKind::User, "alice"));
        let denial = denial(&soft, &CASE).expect("it denies");
        assert_eq!(denial.whose, Whose::Principal("arn:aws:iam::111122223333:user/alice".to_owned()));
        let calls =
            ["ec2:RunInstances", "lightsail:CreateInstances", "kms:CreateGrant", "sts:AssumeRole", "s3:PutObject"];
        assert_eq!(blocked(&denial, &calls), 3);
    }

    #[test]
    fn all_that_an_operators_playbook_denies_is_rehearsed_whomever_it_is_about() {
        let yaml = include_str!("../../../tests/fixtures/playbooks/lock_user.yml")
            .replacen("target: user", "target: access_key", 1)
            .replace("UserName: \"${target}\"", "UserName: \"${owner}\"")
            .replacen(
                "checks:",
                "  - call: iam PutUserPolicy\n    with: {UserName: \"${owner}\", PolicyName: b, PolicyDocument: \
                 '{\"Statement\":[{\"Effect\":\"Deny\",\"Action\":\"s3:*\",\"Resource\":\"*\"}]}'}\nchecks:",
                1,
            )
            .replacen("\"Action\":\"*\"", "\"Action\":\"ec2:*\"", 1);
        let own = load_own(&yaml).unwrap_or_else(|flaws| panic!("{flaws:?}"));
        let lock = Action::of_own(Arc::new(own), target(ResourceKind::AccessKey, "AKIAEXAMPLE")).owned_by("alice");
        let denial = denial(&lock, &CASE).expect("it denies");
        assert_eq!(denial.whose, Whose::Principal("arn:aws:iam::111122223333:user/alice".to_owned()));
        assert_eq!(blocked(&denial, &["ec2:RunInstances", "s3:GetObject", "iam:ListUsers"]), 2);
        // Whose policy it is turns out only in AWS, so of a key that is disabled too its own calls are looked at.
        let both = include_str!("../../../tests/fixtures/playbooks/retire_key.yml")
            .replacen("tier: T1", "tier: T2", 1)
            .replacen(
                "checks:",
                "  - call: iam PutUserPolicy\n    with: {UserName: \"${kept.user}\", PolicyName: b, PolicyDocument: \
                 '{\"Statement\":[{\"Effect\":\"Deny\",\"Action\":\"s3:*\",\"Resource\":\"*\"}]}'}\nchecks:",
                1,
            );
        let own = load_own(&both).unwrap_or_else(|flaws| panic!("{flaws:?}"));
        let retire = Action::of_own(Arc::new(own), target(ResourceKind::AccessKey, "AKIAEXAMPLE"));
        assert_eq!(
            super::denial(&retire, &CASE).map(|denial| denial.whose),
            Some(Whose::Key("AKIAEXAMPLE".to_owned()))
        );
    }
}
