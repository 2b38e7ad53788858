//! What a case's plan says of a finding: the remediation in words, and the things it would act on.

use serde_json::{Value, json};
use trailwarden_core::plan::{Mode, Tier};

use super::Line;
use super::bounds::Bounds;
use super::evidence::account;
use crate::line::{Call, Step};

/// Steps of a plan that a finding tells, and exact calls of one step.
const STEPS_MAX: usize = 16;
const CALLS_MAX: usize = 8;

/// The plan as a person reads it, with the exact calls; `None` where nothing is proposed.
pub(super) fn remediation(plan: &[Step<'_>], bounds: &mut Bounds) -> Option<Value> {
    let steps = bounds.first(plan, STEPS_MAX).iter().enumerate();
    let told: Vec<String> = steps.map(|(at, step)| format!("{}. {}", at + 1, told(step, bounds))).collect();
    (!told.is_empty()).then(|| json!({ "desc": told.join("\n") }))
}

fn told(step: &Step<'_>, bounds: &mut Bounds) -> String {
    let head = format!(
        "{} on {} (tier {}, {})",
        bounds.name(&step.playbook),
        bounds.required(&step.target),
        tier(step.tier),
        mode(step.mode).replace('_', " "),
    );
    let calls: Vec<String> = bounds.first(&step.calls, CALLS_MAX).iter().map(|call| exact(call, bounds)).collect();
    if calls.is_empty() { head } else { format!("{head}: {}", calls.join(", then ")) }
}

fn exact(call: &Call<'_>, bounds: &mut Bounds) -> String {
    let parameters = bounds.text(&call.parameters.to_string());
    format!("{}:{} {parameters}", bounds.name(&call.service), bounds.name(&call.operation))
}

/// As lines name it.
fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::T0 => "T0",
        Tier::T1 => "T1",
        Tier::T2 => "T2",
        Tier::T3 => "T3",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::DryRun => "dry_run",
        Mode::Approval => "approval",
        Mode::Auto => "auto",
    }
}

/// The plan for a machine; its calls stand in the case's line.
pub(super) fn steps(plan: &[Step<'_>], bounds: &mut Bounds) -> Vec<Value> {
    let steps = bounds.first(plan, STEPS_MAX).iter();
    steps
        .map(|step| {
            json!({
                "playbook": bounds.name(&step.playbook),
                "target": bounds.name(&step.target),
                "tier": tier(step.tier),
                "mode": mode(step.mode),
            })
        })
        .collect()
}

/// The account that is affected, then what the plan would act on, each once.
pub(super) fn resources(line: &Line<'_>, bounds: &mut Bounds) -> Vec<Value> {
    let owner = |bounds: &mut Bounds| account(&line.account, bounds).map(|account| json!({ "account": account }));
    let mut resources = Vec::new();
    if !line.account.is_empty() {
        resources.push(json!({
            "uid": bounds.name(&line.account), "type": "AWS account", "role_id": 3, "role": "Affected",
        }));
    }
    for step in bounds.first(&line.plan, STEPS_MAX) {
        if step.target.is_empty() || step.target == line.account {
            continue;
        }
        let resource =
            json!({ "uid": bounds.name(&step.target), "role_id": 4, "role": "Related", "owner": owner(bounds) });
        if !resources.contains(&resource) {
            resources.push(resource);
        }
    }
    resources
}
