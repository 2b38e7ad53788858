//! The table of cases: one line each, most urgent first.

use maud::{Markup, html};

use crate::figures;
use crate::findings::{Finding, Findings};
use crate::report::{principal, severity_chip, technique, text, verdict_chip};
use crate::words::Words;

const SUMMARY_CHARS_MAX: usize = 320;
/// Techniques named in a row.
const TECHNIQUES_MAX: usize = 3;

pub(super) fn section(findings: &Findings, shown: &[&Finding], w: &Words) -> Markup {
    let total = findings.tally.total;
    html! {
        section #cases {
            h2 { (w.cases_head) }
            @if shown.is_empty() {
                (nothing(findings, w))
            } @else {
                @if total > shown.len() as u64 {
                    @let named = shown.len() as u64;
                    p.notice { ((w.most_urgent)(named, total, total - named)) }
                }
                div.scroll {
                    table.grid.cases {
                        thead {
                            tr {
                                th { "#" } th { (w.severity) } th { (w.verdict) } th.num { (w.is_attack) } th { (w.who) } th { (w.when) }
                                th { (w.what_happened) } th { (w.techniques) }
                            }
                        }
                        tbody {
                            @for (at, finding) in shown.iter().enumerate() { (row(finding, at + 1, w)) }
                        }
                    }
                }
            }
        }
    }
}

fn row(finding: &Finding, number: usize, w: &Words) -> Markup {
    let summary = w.language.summary(&finding.judgement.summary);
    let (case, judgement) = (&finding.case, &finding.judgement);
    html! {
        tr {
            td.num data-label=(w.case) { div { a href={ "#case-" (number) } { (number) } } }
            td data-label=(w.severity) { div { (severity_chip(judgement.severity, w)) } }
            td data-label=(w.verdict) { div { (verdict_chip(judgement.verdict, w)) } }
            td.num data-label=(w.is_attack) { div { (figures::probability(judgement.probability)) } }
            td.who data-label=(w.who) { div { strong { (principal(finding)) } br; code { (text(&case.account, 32)) } } }
            td.when data-label=(w.when) {
                div { (figures::minute(case.first_event_time)) br; span.muted { (lasting(finding, w)) } }
            }
            td.what data-label=(w.what) { div { a href={ "#case-" (number) } { bdi { (text(&summary, SUMMARY_CHARS_MAX)) } } } }
            td data-label=(w.techniques) { div { (techniques(finding, w)) } }
        }
    }
}

fn techniques(finding: &Finding, w: &Words) -> Markup {
    let all = &finding.judgement.techniques;
    html! {
        @for (at, shown) in all.iter().take(TECHNIQUES_MAX).enumerate() {
            @if at > 0 { br; }
            (technique(&shown.id))
        }
        @if all.len() > TECHNIQUES_MAX { br; span.muted { ((w.more)((all.len() - TECHNIQUES_MAX) as u64)) } }
    }
}

/// `14 min, 23 signals`.
pub(super) fn lasting(finding: &Finding, w: &Words) -> String {
    let case = &finding.case;
    let millis = case.last_event_time.since_ms(case.first_event_time);
    let signals = (w.signals)(finding.signals());
    if millis == 0 { signals } else { format!("{}, {signals}", (w.duration)(millis)) }
}

fn nothing(findings: &Findings, w: &Words) -> Markup {
    let events = findings.input.events;
    if events == 0 {
        return html! { p.notice { (w.no_cases) } };
    }
    let raised = findings.levels.raised();
    html! {
        div.notice {
            p { strong { (w.no_cases_head) } (w.when_a_case_opens) }
            ul {
                li { ((w.looked_for)(findings.rules.len() as u64, events)) }
                li {
                    @if raised == 0 { (w.none_raised) } @else { ((w.raised_alone)(raised)) }
                }
                li { (w.not_looked_for) }
                @if findings.rejected() > 0 { li { ((w.unread)(findings.rejected())) } }
            }
        }
    }
}
