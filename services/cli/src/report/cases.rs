//! The table of cases: one line each, most urgent first.

use maud::{Markup, html};

use crate::figures;
use crate::findings::{Finding, Findings};
use crate::report::{principal, severity_chip, technique, text, verdict_chip};

const SUMMARY_CHARS_MAX: usize = 320;
/// Techniques named in a row.
const TECHNIQUES_MAX: usize = 3;

pub(super) fn section(findings: &Findings, shown: &[&Finding], total: u64) -> Markup {
    html! {
        section #cases {
            h2 { "Cases" }
            @if shown.is_empty() {
                (nothing(findings))
            } @else {
                @if total > shown.len() as u64 {
                    p.notice {
                        "The " (shown.len()) " most urgent of " (figures::count(total)) " cases stand here; the other "
                        (figures::count(total - shown.len() as u64)) " are in the file that " code { "--cases FILE" } " writes."
                    }
                }
                div.scroll {
                    table.grid.cases {
                        thead {
                            tr {
                                th { "#" } th { "Severity" } th { "Verdict" } th.num { "Attack?" } th { "Who" } th { "When" }
                                th { "What happened" } th { "Techniques" }
                            }
                        }
                        tbody {
                            @for (at, finding) in shown.iter().enumerate() { (row(finding, at + 1)) }
                        }
                    }
                }
            }
        }
    }
}

fn row(finding: &Finding, number: usize) -> Markup {
    let (case, judgement) = (&finding.case, &finding.judgement);
    html! {
        tr {
            td.num data-label="Case" { div { a href={ "#case-" (number) } { (number) } } }
            td data-label="Severity" { div { (severity_chip(judgement.severity)) } }
            td data-label="Verdict" { div { (verdict_chip(judgement.verdict)) } }
            td.num data-label="Attack?" { div { (figures::probability(judgement.probability)) } }
            td.who data-label="Who" { div { strong { (principal(finding)) } br; code { (text(&case.account, 32)) } } }
            td.when data-label="When" {
                div { (figures::minute(case.first_event_time)) br; span.muted { (lasting(finding)) } }
            }
            td.what data-label="What" { div { a href={ "#case-" (number) } { bdi { (text(&judgement.summary, SUMMARY_CHARS_MAX)) } } } }
            td data-label="Techniques" { div { (techniques(finding)) } }
        }
    }
}

fn techniques(finding: &Finding) -> Markup {
    let all = &finding.judgement.techniques;
    html! {
        @for (at, shown) in all.iter().take(TECHNIQUES_MAX).enumerate() {
            @if at > 0 { br; }
            (technique(&shown.id))
        }
        @if all.len() > TECHNIQUES_MAX { br; span.muted { "+" (all.len() - TECHNIQUES_MAX) " more" } }
    }
}

/// `14 min, 23 signals`.
pub(super) fn lasting(finding: &Finding) -> String {
    let case = &finding.case;
    let millis = case.last_event_time.since_ms(case.first_event_time);
    let signals = figures::counted(finding.signals(), "signal");
    if millis == 0 { signals } else { format!("{}, {signals}", figures::duration(millis)) }
}

fn nothing(findings: &Findings) -> Markup {
    if findings.input.events == 0 {
        return html! { p.notice { "No cases, because there was nothing to judge." } };
    }
    let raised = findings.levels.raised();
    html! {
        div.notice {
            p { strong { "No cases." } " A case opens where a rule, a correlation or a first-seen fact marks an activity." }
            ul {
                li {
                    "Looked for: " (figures::counted(findings.rules.len() as u64, "rule")) " over "
                    (figures::counted(findings.input.events, "event")) ", and what each principal and account did for the first time."
                }
                li {
                    @if raised == 0 { "No event reached the level caution." }
                    @else { (figures::counted(raised, "event")) " reached caution or above without adding up to a case." }
                }
                li {
                    "Not looked for: anything CloudTrail was not told to record (data events are off by default), trails and regions "
                    "that were not given, and what a principal’s habit hides when these logs are the first that Trailwarden sees of it."
                }
                @if findings.rejected() > 0 {
                    li { (figures::counted(findings.rejected(), "record")) " could not be read and were not judged: see above." }
                }
            }
        }
    }
}
