//! The evidence of a case: its signals in time, those that say the same in a row as one line, each to be unfolded.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use maud::{Markup, html};
use trailwarden_core::case::Signal;
use trailwarden_core::level::Level;

use crate::figures::{self, Outcome, count};
use crate::findings::{Finding, Findings};
use crate::report::{EVIDENCE_ROWS_MAX, block, id, text};
use crate::untrusted;
use crate::words::Words;

/// Rows of all cases together; each case has at least [`ROWS_OF_A_CASE_MIN`] of its own.
const ROWS_MAX: usize = 8_000;
const ROWS_OF_A_CASE_MIN: usize = 20;
/// Characters of request parameters in the whole report.
const PARAMETERS_CHARS_MAX: usize = 8 << 20;
/// Indentation can blow a nested document up; beyond this it is shown as it was written.
const PRETTY_BYTES_MAX: usize = 16 * 1024;
const CHIPS_MAX: usize = 4;
const RESOURCES_MAX: usize = 3;
/// Stretches of evidence listed for one reason.
const REFERENCES_MAX: usize = 6;

/// What is left of the report's size.
pub(super) struct Room {
    rows: usize,
    parameters_chars: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { rows: ROWS_MAX, parameters_chars: PARAMETERS_CHARS_MAX }
    }
}

/// The signals of one case that the report shows, and the numbers they are cited by.
pub(super) struct Exhibits<'a> {
    finding: &'a Finding,
    case_number: usize,
    /// Places of the shown signals in the case, ascending.
    shown: Vec<usize>,
    places: BTreeMap<&'a str, usize>,
}

impl<'a> Exhibits<'a> {
    /// Takes what reasons and techniques cite first, then by level, score and time.
    pub(super) fn choose(finding: &'a Finding, case_number: usize, room: &mut Room) -> Self {
        let signals = &finding.case.signals;
        let judgement = &finding.judgement;
        let cited: BTreeSet<&str> = judgement
            .reasons
            .iter()
            .flat_map(|reason| &reason.event_ids)
            .chain(judgement.techniques.iter().flat_map(|technique| &technique.event_ids))
            .map(String::as_str)
            .collect();
        let mut shown: Vec<usize> = (0..signals.len()).collect();
        shown.sort_by(|a, b| {
            let (x, y) = (&signals[*a], &signals[*b]);
            let (cites_x, cites_y) = (cited.contains(x.event_id.as_str()), cited.contains(y.event_id.as_str()));
            cites_y.cmp(&cites_x).then(y.level.cmp(&x.level)).then(y.score.total_cmp(&x.score)).then(a.cmp(b))
        });
        shown.truncate(EVIDENCE_ROWS_MAX.min(room.rows.max(ROWS_OF_A_CASE_MIN)));
        shown.sort_unstable();
        room.rows = room.rows.saturating_sub(shown.len());
        let places = signals.iter().enumerate().map(|(at, signal)| (signal.event_id.as_str(), at)).collect();
        Self { finding, case_number, shown, places }
    }

    /// `E1 E4–9`, each a link to its row.
    pub(super) fn references(&self, event_ids: &[String], w: &Words) -> Markup {
        let mut places: Vec<usize> = event_ids
            .iter()
            .filter_map(|id| self.places.get(id.as_str()).copied())
            .filter(|place| self.shown.binary_search(place).is_ok())
            .collect();
        places.sort_unstable();
        places.dedup();
        let stretches: Vec<&[usize]> = places.chunk_by(|a, b| a + 1 == *b).collect();
        let linked: usize = stretches.iter().take(REFERENCES_MAX).map(|stretch| stretch.len()).sum();
        let more = event_ids.len().saturating_sub(linked);
        html! {
            @if !event_ids.is_empty() {
                span.refs {
                    @for stretch in stretches.iter().take(REFERENCES_MAX) {
                        a href={ "#c" (self.case_number) "e" (stretch[0] + 1) } { (numbers(stretch)) } " "
                    }
                    @if more > 0 { ((w.more)(more as u64)) }
                }
            }
        }
    }

    pub(super) fn section(&self, findings: &Findings, room: &mut Room, w: &Words) -> Markup {
        let shown = self.shown.len() as u64;
        let total = self.finding.signals();
        html! {
            h4 { (w.evidence) }
            @if total > shown {
                p.notice { ((w.strongest_signals)(shown, total, total - shown)) }
            }
            div.scroll {
                table.grid.evidence {
                    thead {
                        tr {
                            th.no { (w.number) } th.time { (w.time) } th.call { (w.call) } th.outcome { (w.outcome) }
                            th.source { (w.source) } th { (w.touched) } th.detections { (w.detections) }
                        }
                    }
                    @for run in runs(&self.finding.case.signals, &self.shown) {
                        (self.run_rows(findings, &self.shown[run], room, w))
                    }
                }
            }
        }
    }

    fn run_rows(&self, findings: &Findings, run: &[usize], room: &mut Room, w: &Words) -> Markup {
        let signals = &self.finding.case.signals;
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            return html! {};
        };
        let (first, last) = (&signals[*first], &signals[*last]);
        let records = run.len() as u64;
        html! {
            tbody class={ "row-" (first.level) } {
                tr {
                    td.no data-label=(w.number) {
                        div {
                            @for place in run { span id={ "c" (self.case_number) "e" (place + 1) } {} }
                            (numbers(run))
                        }
                    }
                    td.time data-label=(w.time) {
                        div {
                            (self.clock(first))
                            @if records > 1 { br; span.muted { (w.until) } (self.clock(last)) }
                        }
                    }
                    td.call data-label=(w.call) {
                        div {
                            (id(&format!("{}:", first.service))) wbr; (id(&first.call))
                            @if records > 1 { " " strong { "×" (count(records)) } }
                        }
                    }
                    td data-label=(w.outcome) { div { (outcome(first, w)) } }
                    td data-label=(w.source) { div { (id(&first.source)) } }
                    td data-label=(w.touched) { div { (touched(signals, run, w)) } }
                    td data-label=(w.detections) { div { (detections(findings, first, w)) } }
                }
                tr.more {
                    td colspan="7" {
                        details {
                            summary {
                                @if records == 1 { (w.one_record) } @else { ((w.records_shown)(records)) }
                            }
                            @for place in run { (record(&signals[*place], place + 1, room, w)) }
                        }
                    }
                }
            }
        }
    }

    /// The time of day; with its day where that is not the case's first.
    fn clock(&self, signal: &Signal) -> Markup {
        let first_day = figures::parts(self.finding.case.first_event_time).map(|(day, _)| day);
        match figures::parts(signal.event_time) {
            Some((day, clock)) => html! { @if Some(&day) != first_day.as_ref() { span.day { (day) } " " } (clock) },
            None => html! { (signal.event_time) },
        }
    }
}

/// `E4` or `E4–9`, counted from one.
fn numbers(stretch: &[usize]) -> String {
    match stretch {
        [] => String::new(),
        [only] => format!("E{}", only + 1),
        [first, .., last] => format!("E{}–{}", first + 1, last + 1),
    }
}

/// Ranges of `shown` whose signals follow one another and say the same.
fn runs(signals: &[Signal], shown: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for at in 0..shown.len() {
        match runs.last_mut() {
            Some(run) if shown[at] == shown[at - 1] + 1 && alike(&signals[shown[at - 1]], &signals[shown[at]]) => {
                run.end = at + 1;
            }
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

fn alike(a: &Signal, b: &Signal) -> bool {
    a.service == b.service
        && a.call == b.call
        && a.error_code == b.error_code
        && a.principal == b.principal
        && a.session == b.session
        && a.source == b.source
        && a.level == b.level
        && a.detections == b.detections
}

fn outcome(signal: &Signal, w: &Words) -> Markup {
    html! {
        @match figures::outcome(signal) {
            Outcome::Succeeded => (w.succeeded),
            Outcome::Denied(code) => { span.denied { (w.denied) } br; (id(code)) },
            Outcome::Failed(code) => { span.failed { (w.failed) } br; (id(code)) },
        }
    }
}

fn touched(signals: &[Signal], run: &[usize], w: &Words) -> Markup {
    let mut resources: Vec<_> = run.iter().flat_map(|place| &signals[*place].details.resources).collect();
    resources.sort();
    resources.dedup();
    // What came into being says most.
    resources.sort_by_key(|resource| !resource.created);
    html! {
        @for resource in resources.iter().take(RESOURCES_MAX) {
            div {
                span.muted { (if resource.created { w.created } else { "" }) ((w.resource_kind)(resource.kind)) } " " (id(&resource.id))
            }
        }
        @if resources.len() > RESOURCES_MAX { div.muted { ((w.more)((resources.len() - RESOURCES_MAX) as u64)) } }
    }
}

fn detections(findings: &Findings, signal: &Signal, w: &Words) -> Markup {
    html! {
        @if !signal.detections.is_empty() {
            ul.chips {
            @for index in signal.detections.iter().take(CHIPS_MAX) {
                @match findings.rule(*index) {
                    Some(rule) => li class={ "sev-" (rule.severity) } { (text(&rule.title, 90)) },
                    None => li { "rule " (index.0) },
                }
            }
            @if signal.detections.len() > CHIPS_MAX { li.muted { ((w.more)((signal.detections.len() - CHIPS_MAX) as u64)) } }
            }
        }
    }
}

fn record(signal: &Signal, number: usize, room: &mut Room, w: &Words) -> Markup {
    html! {
        div.record {
            p {
                strong { "E" (number) } " " (signal.event_time) " · " (w.event_id) " " (id(&signal.event_id))
                " · " (w.score) " " (format!("{:.2}", signal.score))
                @if signal.level != Level::None { " · " ((w.level)(signal.level)) }
                @if !signal.account.is_empty() { " · " (w.account) " " (id(&signal.account)) }
                @if !signal.region.is_empty() { " · " (id(&signal.region)) }
                @if !signal.session.is_empty() { " · " (w.credential_label) " " (id(&signal.session)) }
                @if !signal.user_agent.is_empty() { " · " (w.agent) " " (id(&signal.user_agent)) }
            }
            @if !signal.details.error_message.is_empty() {
                p { (w.aws_answered) (text(&signal.details.error_message, 1_024)) }
            }
            (parameters(signal, room, w))
        }
    }
}

fn parameters(signal: &Signal, room: &mut Room, w: &Words) -> Markup {
    let raw = signal.details.parameters.as_str();
    if raw.is_empty() || raw == "null" {
        return html! {};
    }
    let pretty = serde_json::from_str::<serde_json::Value>(raw)
        .ok()
        .and_then(|value| serde_json::to_string_pretty(&value).ok())
        .map(|pretty| untrusted::visible_json(&pretty))
        .filter(|pretty| pretty.len() <= PRETTY_BYTES_MAX);
    let shown = pretty.as_deref().unwrap_or(raw);
    if shown.len() > room.parameters_chars {
        return html! { p.muted { (w.left_out) } };
    }
    room.parameters_chars -= shown.len();
    html! { (block(shown, PRETTY_BYTES_MAX)) }
}
