//! The first screen: the bottom line, and what was and was not read.

use std::collections::BTreeMap;

use maud::{Markup, html};
use trailwarden_core::level::{Level, Verdict};
use trailwarden_core::time::HOUR_MS;

use crate::figures::{self, count, counted};
use crate::findings::{Finding, Findings};
use crate::report::{id, principal, text, verdict_chip, verdict_word};

const SUMMARY_CHARS_MAX: usize = 480;
/// Names listed in one breath.
const LISTED_MAX: usize = 12;

pub(super) fn masthead(findings: &Findings, urgent: &[&Finding]) -> Markup {
    html! {
        header.masthead {
            div.wrap {
                p.brand { strong { "Trailwarden" } " CloudTrail report" }
                h1 { (bottom_line(findings, urgent)) }
                p.lead { (under_the_line(findings, urgent)) }
                ul.verdicts {
                    @for verdict in Verdict::ALL.iter().rev() {
                        @let cases = findings.tally.with_verdict(*verdict);
                        li class={ "ver-" (verdict) @if cases == 0 { " zero" } } {
                            span.figure { (count(cases)) }
                            span { (verdict_word(*verdict)) }
                        }
                    }
                }
            }
        }
    }
}

fn bottom_line(findings: &Findings, urgent: &[&Finding]) -> Markup {
    let [malicious, suspicious, undecided] =
        [Verdict::Malicious, Verdict::Suspicious, Verdict::Insufficient].map(|v| findings.tally.with_verdict(v));
    html! {
        @match (findings.input.events, urgent.first()) {
            (0, _) => "There was nothing to judge: no event could be read.",
            (_, None) => { "None of the " (counted(findings.input.events, "event")) " gave cause for a case." },
            (_, Some(first)) if malicious > 0 => {
                (counted(malicious, "case")) (if malicious == 1 { " is an attack" } else { " are attacks" })
                ", as far as the evidence goes. Begin with " (principal(first)) "."
            },
            (_, Some(first)) if suspicious > 0 => {
                (counted(suspicious, "case")) (if suspicious == 1 { " needs" } else { " need" })
                " a person’s look. Begin with " (principal(first)) "."
            },
            _ if undecided > 0 => {
                (counted(undecided, "case")) " could not be decided; none looks like an attack."
            },
            _ => { "No case looks like an attack; " (counted(findings.tally.total, "case")) " proved benign." },
        }
    }
}

fn under_the_line(findings: &Findings, urgent: &[&Finding]) -> Markup {
    let input = &findings.input;
    let worth_telling = urgent.first().filter(|first| first.judgement.verdict >= Verdict::Suspicious);
    html! {
        @match worth_telling {
            Some(first) => {
                bdi { (text(&first.judgement.summary, SUMMARY_CHARS_MAX)) } " "
                a href="#case-1" { "Why, and what to do" }
            },
            None if input.events == 0 => {
                "This says nothing about any account. Below stands what was set aside or rejected, and why."
            },
            None => {
                "This is what the rules, correlations and first-seen checks found in these events. It is not proof that nothing "
                "happened: calls that were not logged, or logs that were not given, cannot be seen here."
            },
        }
    }
}

pub(super) fn section(findings: &Findings) -> Markup {
    let input = &findings.input;
    let rejected = findings.rejected();
    html! {
        section #overview {
            h2 { "What was read" }
            dl.figures {
                div { dt { "Events judged" } dd { (count(input.events)) } }
                div { dt { "Files" } dd { (count(input.files)) } }
                div { dt { "Accounts" } dd { (count(input.accounts.len() as u64)) } }
                div { dt { "Principals" } dd { (count(input.principals)) } }
                div { dt { "Duplicates" } dd { (count(input.duplicates)) } }
                div.alarming[rejected > 0] { dt { "Rejected" } dd { (count(rejected)) } }
            }
            (coverage(findings))
            div.columns {
                div { h3 { "Events by level" } (levels(findings)) }
                div { h3 { "Not judged, and why" } (not_judged(findings)) }
            }
        }
    }
}

fn coverage(findings: &Findings) -> Markup {
    let input = &findings.input;
    html! {
        @if let (Some(first), Some(last)) = (input.first_event_time, input.last_event_time) {
            p {
                "The events span " strong { (figures::period(first, last)) } " (" (figures::duration(last.since_ms(first))) ")"
                @if let Some(gap) = longest_gap(findings) { ". " (gap) } @else { "." }
            }
        }
        @if !input.accounts.is_empty() {
            p.muted {
                (if input.accounts.len() == 1 { "Account " } else { "Accounts " })
                @for (at, account) in input.accounts.iter().take(LISTED_MAX).enumerate() {
                    @if at > 0 { ", " }
                    (id(if account.is_empty() { "(not named)" } else { account }))
                }
                @if input.accounts.len() > LISTED_MAX {
                    " and " (count((input.accounts.len() - LISTED_MAX) as u64)) " more"
                }
            }
        }
    }
}

/// Time in which nothing was logged may be quiet or may be blind; either way the reader should know.
fn longest_gap(findings: &Findings) -> Option<String> {
    let width_ms = findings.histogram.width_ms();
    let starts: Vec<_> = findings.histogram.buckets().map(|(start, _)| start).collect();
    let (from, to) = starts
        .windows(2)
        .map(|pair| (pair[0].plus_ms(width_ms), pair[1]))
        .max_by_key(|(from, to)| (to.since_ms(*from), std::cmp::Reverse(*from)))?;
    let gap_ms = to.since_ms(from);
    (gap_ms >= HOUR_MS).then(|| {
        format!(
            "The longest stretch without any event is {}, {}; quiet and unlogged look the same here",
            figures::duration(gap_ms),
            figures::period(from, to)
        ) + "."
    })
}

fn levels(findings: &Findings) -> Markup {
    let total = findings.levels.total().max(1);
    html! {
        table.bars {
            @for level in Level::ALL.iter().rev() {
                @let events = findings.levels.of(*level);
                tr {
                    th scope="row" { (if *level == Level::None { "not raised" } else { level.as_str() }) }
                    td.num { (count(events)) }
                    td.bar aria-hidden="true" {
                        span class={ "lev-" (level) } style={ "width:" (bar_percent(events, total)) "%" } {}
                    }
                }
            }
        }
    }
}

/// A share as a bar's width; what exists at all stays visible.
fn bar_percent(part: u64, total: u64) -> String {
    let percent = part as f64 * 100.0 / total as f64;
    format!("{:.2}", if part == 0 { 0.0 } else { percent.max(0.6) })
}

fn not_judged(findings: &Findings) -> Markup {
    let input = &findings.input;
    html! {
        @if input.rejected.is_empty() && input.set_aside.is_empty() && input.duplicates == 0 {
            p {
                @if input.events == 0 { "Nothing was given that holds events." } @else { "Everything that was given was read and judged." }
            }
        } @else {
            table.plain {
                @if input.duplicates > 0 {
                    tr { th scope="row" { "Duplicate, seen under the same event id" } td.num { (count(input.duplicates)) } }
                }
                (reasons("Set aside: ", &input.set_aside))
                (reasons("Rejected: ", &input.rejected))
            }
            @if !input.rejected_listed.is_empty() {
                details {
                    summary { "Where they stand" }
                    ul.places {
                        @for reject in &input.rejected_listed {
                            li { (id(&reject.place)) " " (text(&reject.reason, 160)) }
                        }
                    }
                }
            }
        }
    }
}

fn reasons(prefix: &str, reasons: &BTreeMap<String, u64>) -> Markup {
    html! {
        @for (reason, records) in reasons {
            tr { th scope="row" { (prefix) (text(reason, 160)) } td.num { (count(*records)) } }
        }
    }
}

/// For a demo: each planted attack and the case that found it.
pub(super) fn planted(findings: &Findings, shown: &[&Finding]) -> Markup {
    html! {
        @if let Some(planted) = &findings.planted {
            section #planted {
                h2 { "Planted against found" }
                p.muted.above { "These logs were generated, so the truth is known." }
                div.scroll {
                    table.grid {
                        thead { tr { th { "Attack" } th { "Techniques" } th.num { "Events planted" } th.num { "In a case" } th { "Found as" } } }
                        tbody {
                            @for attack in planted {
                                tr {
                                    td { (text(&attack.name, 120)) }
                                    td.muted {
                                        @for (at, technique) in attack.techniques.iter().enumerate() { @if at > 0 { ", " } (id(technique)) }
                                    }
                                    td.num { (count(attack.events)) }
                                    td.num { (count(attack.events_found)) }
                                    td { (found_as(attack.case_ids.as_slice(), shown)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn found_as(case_ids: &[String], shown: &[&Finding]) -> Markup {
    html! {
        @if case_ids.is_empty() { strong { "missed" } }
        @for case_id in case_ids {
            @match shown.iter().position(|finding| finding.case.id == *case_id) {
                Some(at) => {
                    a href={ "#case-" (at + 1) } { "case " (at + 1) } " " (verdict_chip(shown[at].judgement.verdict)) " "
                },
                None => { "case " (id(figures::short_id(case_id))) " " },
            }
        }
    }
}
