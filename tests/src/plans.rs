//! A council's word, for tests that need no council.

use serde_json::json;
use trailwarden_bus::{Bus, Outgoing, Subject};
use trailwarden_core::plan::Action;
use trailwarden_proto::v1::{Case, CaseTransition, TransitionKind};
use trailwarden_proto::wire;

/// Logs a plan for a case, as a council that planned these steps by itself.
pub async fn plan(bus: &dyn Bus, tenant: &str, case: &str, actions: &[Action]) {
    let step = |action: &Action| {
        json!({
            "playbook": action.name(), "target": action.target.id, "target_kind": action.target.kind,
            "account": action.target.account, "region": action.target.region, "owner": action.owner,
        })
    };
    let line_json = json!({ "plan": actions.iter().map(step).collect::<Vec<_>>() }).to_string();
    let known = Case { id: case.to_owned(), line_json, ..Case::default() };
    let entry = CaseTransition { number: 1, case: Some(known), kind: TransitionKind::Judged.into(), sequence: 0 };
    let message = Outgoing { payload: wire::pack(&entry), ..Outgoing::default() };
    bus.publish(&Subject::case(tenant, case), message).await.expect("stored");
}
