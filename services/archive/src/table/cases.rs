//! Rows of `cases`: one a transition. The latest of a case has the largest `sequence`.

use trailwarden_core::time::Timestamp;
use trailwarden_proto::v1;

use super::Kind::{Number, Real, Text, Time};
use super::{Definition, Origin, day, number};
use crate::page::{Cell, Pages};

/// In the order in which [`add`] fills them.
pub(super) const COLUMNS: &[Definition] = &[
    Definition::new("time", Time, "time: when the transition was logged"),
    Definition::new("case_id", Text, "finding_info.uid").looked_up(),
    Definition::new("number", Number, "ours: place in the case's own log, from 1"),
    Definition::new("kind", Text, "ours: judged, closed, merged or labelled"),
    Definition::new("cloud_account_uid", Text, "cloud.account.uid"),
    Definition::new("actor_user_uid", Text, "actor.user.uid: the principal").looked_up(),
    Definition::new("actor_session_uid", Text, "actor.session.uid").looked_up(),
    Definition::new("first_event_time", Time, "finding_info.first_seen_time"),
    Definition::new("last_event_time", Time, "finding_info.last_seen_time"),
    Definition::new("events", Number, "count: events that made it"),
    Definition::new("event_ids", Text, "finding_info.related_events[].uid, with spaces between"),
    Definition::new("score", Real, "confidence_score"),
    Definition::new("verdict", Text, "verdict"),
    Definition::new("severity", Text, "severity"),
    Definition::new("state", Text, "status: open, closed or merged"),
    Definition::new("revision", Number, "ours: judgements so far"),
    Definition::new("merged_into", Text, "ours: the case in which it went on"),
    Definition::new("label", Text, "ours: verdict by a person"),
    Definition::new("label_author", Text, "ours"),
    Definition::new("line_json", Text, "ours: the whole case, as `scan --cases` writes it"),
    Definition::new("sequence", Number, "ours: place in the log of all cases"),
];

pub(super) fn add(pages: &mut Pages, transition: &v1::CaseTransition, origin: Origin) {
    let nothing = v1::Case::default();
    let case = transition.case.as_ref().unwrap_or(&nothing);
    let event_ids = case.event_ids.join(" ");
    let label = case.label.as_ref();
    let cells = [
        Cell::Time(origin.stored_at),
        Cell::Text(&case.id),
        number(transition.number),
        Cell::Text(kind(transition.kind)),
        Cell::Text(&case.account),
        Cell::Text(&case.principal),
        Cell::Text(&case.session),
        Cell::Time(Timestamp::from_millis(case.first_event_time_ms)),
        Cell::Time(Timestamp::from_millis(case.last_event_time_ms)),
        number(case.event_ids.len() as u64),
        Cell::Text(&event_ids),
        Cell::Real(Some(case.score)),
        Cell::Text(&case.verdict),
        Cell::Text(&case.severity),
        Cell::Text(state(case.state)),
        number(case.revision),
        Cell::Text(&case.merged_into),
        Cell::Text(label.map_or("", |label| &label.verdict)),
        Cell::Text(label.map_or("", |label| &label.author)),
        Cell::Text(&case.line_json),
        number(origin.sequence),
    ];
    pages.add("", &day(origin.stored_at), &cells);
}

fn kind(kind: i32) -> &'static str {
    use v1::TransitionKind as Wire;
    match Wire::try_from(kind) {
        Ok(Wire::Judged) => "judged",
        Ok(Wire::Closed) => "closed",
        Ok(Wire::Merged) => "merged",
        Ok(Wire::Labelled) => "labelled",
        Ok(Wire::Unspecified) | Err(_) => "",
    }
}

fn state(state: i32) -> &'static str {
    use v1::CaseState as Wire;
    match Wire::try_from(state) {
        Ok(Wire::Open) => "open",
        Ok(Wire::Closed) => "closed",
        Ok(Wire::Merged) => "merged",
        Ok(Wire::Unspecified) | Err(_) => "",
    }
}
