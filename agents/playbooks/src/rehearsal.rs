//! What a step would deny, for whoever asks what that would have blocked in the past.

use serde_json::Value;
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::resource::ResourceKind;

use crate::call::Target;
use crate::{CaseContext, calls, policy};

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
    let target = &action.target;
    let disables_key = match action.playbook {
        Playbook::DisableAccessKey | Playbook::DisableCreatedCredentials => true,
        Playbook::Own if target.kind == ResourceKind::AccessKey => {
            calls(action, case).calls.iter().any(|call| call.operation == "UpdateAccessKey")
        }
        _ => false,
    };
    if disables_key {
        return Some(Denial { policy: policy::deny_all(), whose: Whose::Key(target.id.clone()) });
    }
    let kind = match target.kind {
        ResourceKind::User => "user",
        ResourceKind::Role => "role",
        _ => return None,
    };
    let puts = |operation: &str| matches!(operation, "PutUserPolicy" | "PutRolePolicy");
    let step = calls(action, case);
    let put = step.calls.iter().find(|call| puts(call.operation))?;
    let policy = put.parameters.get("PolicyDocument").and_then(Value::as_str)?.to_owned();
    let arn = match target.id.starts_with("arn:") {
        true => target.id.clone(),
        false => format!("arn:{}:iam::{}:{kind}/{}", Target::new(action, case).partition(), target.account, target.id),
    };
    Some(Denial { policy, whose: Whose::Principal(arn) })
}
