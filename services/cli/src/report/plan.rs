//! What is proposed for a case: steps, the exact calls, and how each is taken back.

use maud::{Markup, html};
use trailwarden_core::plan::{Action, Mode, Tier};
use trailwarden_playbooks::{Call, Step, Undo, cli_text};

use crate::figures;
use crate::findings::Finding;
use crate::report::{block, id, sentence};
use crate::untrusted;

/// Characters of one call that are shown; policy documents stay well below.
const CALL_CHARS_MAX: usize = 16 * 1024;

pub(super) fn section(finding: &Finding) -> Markup {
    let actions = &finding.judgement.plan.actions;
    html! {
        h4 { "Proposed response" }
        @if actions.is_empty() {
            p.muted { "No step of the menu fits what the evidence names." }
        } @else {
            p.muted { "Prepared, not carried out. Best step first." }
            ol.plan {
                @for (at, action) in actions.iter().enumerate() {
                    li { (step(action, finding.steps.get(at))) }
                }
            }
        }
    }
}

fn step(action: &Action, step: Option<&Step>) -> Markup {
    let target = &action.target;
    html! {
        p.step {
            strong { (title(action)) } " "
            (figures::resource_kind(target.kind)) " " (id(&target.id))
            @if !target.account.is_empty() { " in account " (id(&target.account)) }
            @if !target.region.is_empty() { ", " (id(&target.region)) }
            span.tags { span.tag { (approval(action.tier)) } span.tag { (mode(action.mode)) } }
        }
        @if let Some(step) = step {
            @if !step.captured_first.is_empty() { (calls("First kept, so that the step can be taken back", &step.captured_first)) }
            @for call in &step.calls { (exact_call(call)) }
            dl.facts {
                dt { "Affects" } dd { (sentence(step.blast_radius)) }
                dt { "Undo" }
                dd {
                    @match &step.undo {
                        Undo::Words(words) => (sentence(words)),
                        Undo::Calls(undo) => (calls("The calls that take it back", undo)),
                    }
                }
                @for note in &step.notes { dt { "Note" } dd { (sentence(note)) } }
            }
        }
    }
}

fn calls(summary: &str, calls: &[Call]) -> Markup {
    html! {
        details {
            summary { (summary) }
            @for call in calls { div.command { (block(&cli_text(call), CALL_CHARS_MAX)) } }
        }
    }
}

fn exact_call(call: &Call) -> Markup {
    let json = untrusted::visible_json(&serde_json::to_string_pretty(call).unwrap_or_default());
    html! {
        div.command { (block(&cli_text(call), CALL_CHARS_MAX)) }
        details { summary { "The same call as JSON" } (block(&json, CALL_CHARS_MAX)) }
    }
}

/// `Disable access key`.
fn title(action: &Action) -> String {
    let words = action.playbook.as_str().replace('_', " ");
    let (first, rest) = words.split_at(1);
    format!("{}{rest}:", first.to_uppercase())
}

fn approval(tier: Tier) -> &'static str {
    match tier {
        Tier::T0 => "T0, needs nobody",
        Tier::T1 => "T1, narrow and reversible",
        Tier::T2 => "T2, one approver",
        Tier::T3 => "T3, two approvers",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::DryRun => "dry run",
        Mode::Approval => "waits for approval",
        Mode::Auto => "automatic",
    }
}
