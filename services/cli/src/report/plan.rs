//! What is proposed for a case: steps, the exact calls, and how each is taken back.

use maud::{Markup, html};
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_playbooks::{Call, Step, Undo, cli_text, told};

use crate::findings::Finding;
use crate::report::{block, id, sentence};
use crate::untrusted;
use crate::words::Words;

/// Characters of one call that are shown; policy documents stay well below.
const CALL_CHARS_MAX: usize = 16 * 1024;

pub(super) fn section(finding: &Finding, w: &Words) -> Markup {
    let actions = &finding.actions;
    html! {
        h4 { (w.response) }
        @if actions.is_empty() {
            p.muted { (w.no_step) }
        } @else {
            p.muted { (w.prepared) }
            ol.plan {
                @for (at, action) in actions.iter().enumerate() {
                    li { (step(action, finding.steps.get(at), w)) }
                }
            }
        }
    }
}

fn step(action: &Action, step: Option<&Step>, w: &Words) -> Markup {
    let say = |text: &str| sentence(told(text, w.language));
    let target = &action.target;
    html! {
        p.step {
            strong { (title(action, w)) ":" } " "
            ((w.resource_kind)(target.kind)) " " (id(&target.id))
            @if !target.account.is_empty() { (w.in_account.0) (id(&target.account)) (w.in_account.1) }
            @if !target.region.is_empty() { ", " (id(&target.region)) }
            span.tags { span.tag { ((w.tier)(action.tier)) } span.tag { ((w.mode)(action.mode)) } }
        }
        @if let Some(step) = step {
            @if !step.captured_first.is_empty() { (calls(w.kept_first, &step.captured_first)) }
            @for call in &step.calls { (exact_call(call, w)) }
            dl.facts {
                dt { (w.affects) } dd { (say(&step.blast_radius)) }
                dt { (w.undo) }
                dd {
                    @match &step.undo {
                        Undo::Words(words) => (say(words)),
                        Undo::Calls(undo) => (calls(w.undo_calls, undo)),
                    }
                }
                @for note in &step.notes { dt { (w.note) } dd { (say(note)) } }
            }
        }
    }
}

/// The menu's in words, the operator's by its name.
fn title(action: &Action, w: &Words) -> String {
    match action.playbook {
        Playbook::Own => action.name().to_owned(),
        known => (w.playbook)(known),
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

fn exact_call(call: &Call, w: &Words) -> Markup {
    let json = untrusted::visible_json(&serde_json::to_string_pretty(call).unwrap_or_default());
    html! {
        div.command { (block(&cli_text(call), CALL_CHARS_MAX)) }
        details { summary { (w.as_json) } (block(&json, CALL_CHARS_MAX)) }
    }
}
