//! Steps against a whole account.

use serde_json::json;

use crate::call::{Call, Expect, Target, captured, kept};
use crate::{Step, Undo, policy, told_of};

/// The target is the account's number, never the action's id: an organisation's root or unit has an id too.
pub(crate) fn scp_quarantine(target: &Target<'_>) -> Step {
    let organizations = |operation, parameters| Call::global("organizations", operation, parameters);
    let attachment = || json!({ "PolicyId": captured("policy_id"), "TargetId": target.account });
    let create = json!({
        "Name": target.label("Quarantine"),
        "Description": format!("Trailwarden quarantine, case {}", target.case),
        "Type": "SERVICE_CONTROL_POLICY",
        "Content": policy::stop_account(target),
    });
    // The label's characters cannot end the text that they stand in.
    let found = format!("Policies[?Name=='{}'].Id", target.label("Quarantine"));
    let mut notes = told_of([
        "Called from the organisation's management account or its delegate, which no such policy reaches.",
        "Service-linked roles and what services do for themselves go on.",
    ]);
    if target.account.is_empty() {
        notes.push("The record names no account: AWS refuses the second call.".into());
    }
    Step {
        calls: vec![
            organizations("CreatePolicy", create)
                .keeping(&[kept("policy_id", "Policy.PolicySummary.Id")])
                .unless(organizations("ListPolicies", json!({ "Filter": "SERVICE_CONTROL_POLICY" })), found),
            organizations("AttachPolicy", attachment()).tolerating(&["DuplicatePolicyAttachmentException"]),
        ],
        verify: vec![
            organizations("ListTargetsForPolicy", json!({ "PolicyId": captured("policy_id") }))
                .shows("Targets[].TargetId", Expect::Contains(json!(target.account))),
        ],
        undo: Undo::Calls(vec![
            organizations("DetachPolicy", attachment()),
            organizations("DeletePolicy", json!({ "PolicyId": captured("policy_id") })),
        ]),
        blast_radius: "an account: every user, role and root in it".into(),
        notes,
        ..Step::blank()
    }
}
