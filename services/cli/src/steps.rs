//! A step as a person reads it: the exact calls, in their order.

use trailwarden_playbooks::{Call, Step, Undo, cli_text};

use crate::untrusted::visible;

/// Characters of one shown call.
const CALL_CHARS_MAX: usize = 8_000;

/// What is read first, called, looked at and taken back, a line each; then whom it touches and what to know.
pub(crate) fn lines(step: &Step) -> Vec<String> {
    let mut lines = calls("reads", &step.captured_first);
    lines.extend(calls("calls", &step.calls));
    if let Some(instead) = &step.instead {
        lines.extend(calls("or", &instead.calls));
    }
    lines.extend(calls("checks", step.verify.iter().map(|check| &check.read.call)));
    match &step.undo {
        Undo::Calls(undo) => lines.extend(calls("undo", undo)),
        Undo::Words(words) => lines.push(line("undo", words)),
    }
    lines.push(line("affects", &step.blast_radius));
    lines.extend(step.notes.iter().map(|note| line("note", note)));
    lines
}

fn line(title: &str, text: &str) -> String {
    format!("   {title:<7} {}", visible(text, CALL_CHARS_MAX))
}

fn calls<'c>(title: &str, calls: impl IntoIterator<Item = &'c Call>) -> Vec<String> {
    let titles = std::iter::once(title).chain(std::iter::repeat(""));
    titles.zip(calls).map(|(title, call)| line(title, &cli_text(call))).collect()
}
