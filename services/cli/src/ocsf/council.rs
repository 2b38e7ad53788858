//! A case as a running council tells it.

use serde_json::Value;
use trailwarden_core::language::Language;
use trailwarden_core::time::Timestamp;
use trailwarden_proto::v1::{Case, CaseState, CaseTransition, TransitionKind};

use super::{Change, Label, Line, Standing, detection_finding};

/// The finding of a case as it stands; with an entry of the log of cases, of that change.
pub fn of_case(case: &Case, entry: Option<&CaseTransition>) -> Value {
    // A case too large for its message comes without its line, and another version's may be no line of ours.
    let line = Line::read(case.line_json.as_bytes()).unwrap_or_else(|_| without_line(case));
    // Findings are read by machines, whatever language a council writes in.
    let line = line.retold(Language::English);
    detection_finding(&line, &standing(case, entry), None)
}

fn standing<'a>(case: &'a Case, entry: Option<&CaseTransition>) -> Standing<'a> {
    let is_merged = case.state() == CaseState::Merged;
    let change = match entry.map(CaseTransition::kind) {
        _ if is_merged => Change::Closed,
        _ if case.label.is_some() => Change::Updated,
        Some(TransitionKind::Judged) if case.revision > 1 => Change::Updated,
        // That no more events join a case says nothing of what a person made of it.
        Some(TransitionKind::Closed) => Change::Updated,
        _ => Change::Created,
    };
    let state = match case.state() {
        CaseState::Open => Some("open"),
        CaseState::Closed => Some("closed"),
        CaseState::Merged => Some("merged"),
        CaseState::Unspecified => None,
    };
    Standing {
        change,
        state: state.map(|state| (state, case.revision)),
        merged_into: is_merged.then_some(case.merged_into.as_str()),
        label: case.label.as_ref().map(|label| Label {
            verdict: label.verdict.parse().ok(),
            note: &label.note,
            author: &label.author,
            at: Timestamp::from_millis(label.at_ms),
        }),
        entry: entry.map(|entry| (entry.sequence, entry.number)),
    }
}

fn without_line(case: &Case) -> Line<'static> {
    Line {
        case_id: case.id.clone().into(),
        account: case.account.clone().into(),
        principal: case.principal.clone().into(),
        session: case.session.clone().into(),
        first_event_time: Timestamp::from_millis(case.first_event_time_ms),
        last_event_time: Timestamp::from_millis(case.last_event_time_ms),
        event_ids: case.event_ids.iter().cloned().map(Into::into).collect(),
        score: case.score,
        verdict: case.verdict.parse().ok(),
        severity: case.severity.parse().ok(),
        is_cut: true,
        ..Line::default()
    }
}
