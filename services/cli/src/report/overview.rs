//! The first screen: the bottom line, and what was and was not read.

use std::collections::BTreeMap;

use maud::{Markup, html};
use trailwarden_core::level::{Level, Verdict};
use trailwarden_core::time::HOUR_MS;

use crate::figures::{self, count};
use crate::findings::{Finding, Findings};
use crate::report::{id, principal, text, verdict_chip};
use crate::words::Words;

const SUMMARY_CHARS_MAX: usize = 480;
/// Names listed in one breath.
const LISTED_MAX: usize = 12;

pub(super) fn masthead(findings: &Findings, urgent: &[&Finding], w: &Words) -> Markup {
    html! {
        header.masthead {
            div.wrap {
                p.brand { strong { "Trailwarden" } " " (w.brand) }
                h1 { (bottom_line(findings, urgent, w)) }
                p.lead { (under_the_line(findings, urgent, w)) }
                ul.verdicts {
                    @for verdict in Verdict::ALL.iter().rev() {
                        @let cases = findings.tally.with_verdict(*verdict);
                        li class={ "ver-" (verdict) @if cases == 0 { " zero" } } {
                            span.figure { (count(cases)) }
                            span { (w.language.verdict(*verdict)) }
                        }
                    }
                }
            }
        }
    }
}

fn bottom_line(findings: &Findings, urgent: &[&Finding], w: &Words) -> Markup {
    let [malicious, suspicious, undecided] =
        [Verdict::Malicious, Verdict::Suspicious, Verdict::Insufficient].map(|v| findings.tally.with_verdict(v));
    html! {
        @match (findings.input.events, urgent.first()) {
            (0, _) => (w.nothing_to_judge),
            (_, None) => ((w.no_cause)(findings.input.events)),
            (_, Some(first)) if malicious > 0 => {
                ((w.attacks)(malicious)) (w.begin_with.0) (principal(first)) (w.begin_with.1)
            },
            (_, Some(first)) if suspicious > 0 => {
                ((w.need_a_look)(suspicious)) (w.begin_with.0) (principal(first)) (w.begin_with.1)
            },
            _ if undecided > 0 => ((w.undecided)(undecided)),
            _ => ((w.benign_alone)(findings.tally.total)),
        }
    }
}

fn under_the_line(findings: &Findings, urgent: &[&Finding], w: &Words) -> Markup {
    let input = &findings.input;
    let worth_telling = urgent.first().filter(|first| first.judgement.verdict >= Verdict::Suspicious);
    html! {
        @match worth_telling {
            Some(first) => {
                bdi { (text(&w.language.summary(&first.judgement.summary), SUMMARY_CHARS_MAX)) } " "
                a href="#case-1" { (w.why_and_what_to_do) }
            },
            None if input.events == 0 => (w.says_nothing),
            None => (w.no_proof),
        }
    }
}

pub(super) fn section(findings: &Findings, w: &Words) -> Markup {
    let input = &findings.input;
    let rejected = findings.rejected();
    html! {
        section #overview {
            h2 { (w.what_was_read) }
            dl.figures {
                div { dt { (w.events_judged) } dd { (count(input.events)) } }
                div { dt { (w.files) } dd { (count(input.files)) } }
                div { dt { (w.accounts_head) } dd { (count(input.accounts.len() as u64)) } }
                div { dt { (w.principals_head) } dd { (count(input.principals)) } }
                div { dt { (w.duplicates) } dd { (count(input.duplicates)) } }
                div.alarming[rejected > 0] { dt { (w.rejected_head) } dd { (count(rejected)) } }
            }
            (coverage(findings, w))
            div.columns {
                div { h3 { (w.events_by_level) } (levels(findings, w)) }
                div { h3 { (w.not_judged) } (not_judged(findings, w)) }
            }
        }
    }
}

fn coverage(findings: &Findings, w: &Words) -> Markup {
    let input = &findings.input;
    html! {
        @if let (Some(first), Some(last)) = (input.first_event_time, input.last_event_time) {
            p {
                (w.events_span.0) strong { ((w.period)(first, last)) } " (" ((w.duration)(last.since_ms(first))) ")" (w.events_span.1)
                @if let Some(gap) = longest_gap(findings, w) { ". " (gap) } @else { "." }
            }
        }
        @if !input.accounts.is_empty() {
            p.muted {
                ((w.accounts_named)(input.accounts.len() as u64))
                @for (at, account) in input.accounts.iter().take(LISTED_MAX).enumerate() {
                    @if at > 0 { ", " }
                    (id(if account.is_empty() { w.not_named } else { account }))
                }
                @if input.accounts.len() > LISTED_MAX {
                    " " ((w.and_more)((input.accounts.len() - LISTED_MAX) as u64))
                }
            }
        }
    }
}

/// Time in which nothing was logged may be quiet or may be blind; either way the reader should know.
fn longest_gap(findings: &Findings, w: &Words) -> Option<String> {
    let width_ms = findings.histogram.width_ms();
    let starts: Vec<_> = findings.histogram.buckets().map(|(start, _)| start).collect();
    let (from, to) = starts
        .windows(2)
        .map(|pair| (pair[0].plus_ms(width_ms), pair[1]))
        .max_by_key(|(from, to)| (to.since_ms(*from), std::cmp::Reverse(*from)))?;
    let gap_ms = to.since_ms(from);
    (gap_ms >= HOUR_MS).then(|| (w.gap)(&(w.duration)(gap_ms), &(w.period)(from, to)))
}

fn levels(findings: &Findings, w: &Words) -> Markup {
    let total = findings.levels.total().max(1);
    html! {
        table.bars {
            @for level in Level::ALL.iter().rev() {
                @let events = findings.levels.of(*level);
                tr {
                    th scope="row" { ((w.level)(*level)) }
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

fn not_judged(findings: &Findings, w: &Words) -> Markup {
    let input = &findings.input;
    html! {
        @if input.rejected.is_empty() && input.set_aside.is_empty() && input.duplicates == 0 {
            p {
                (if input.events == 0 { w.nothing_given } else { w.all_read })
            }
        } @else {
            table.plain {
                @if input.duplicates > 0 {
                    tr { th scope="row" { (w.duplicate_rows) } td.num { (count(input.duplicates)) } }
                }
                (reasons(w.set_aside_rows, &input.set_aside))
                (reasons(w.rejected_rows, &input.rejected))
            }
            @if !input.rejected_listed.is_empty() {
                details {
                    summary { (w.where_they_stand) }
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
pub(super) fn planted(findings: &Findings, shown: &[&Finding], w: &Words) -> Markup {
    html! {
        @if let Some(planted) = &findings.planted {
            section #planted {
                h2 { (w.planted_head) }
                p.muted.above { (w.planted_note) }
                div.scroll {
                    table.grid {
                        thead { tr { th { (w.attack) } th { (w.techniques) } th.num { (w.events_planted) } th.num { (w.in_a_case) } th { (w.found_as) } } }
                        tbody {
                            @for attack in planted {
                                tr {
                                    td { (text(&attack.name, 120)) }
                                    td.muted {
                                        @for (at, technique) in attack.techniques.iter().enumerate() { @if at > 0 { ", " } (id(technique)) }
                                    }
                                    td.num { (count(attack.events)) }
                                    td.num { (count(attack.events_found)) }
                                    td { (found_as(attack.case_ids.as_slice(), shown, w)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn found_as(case_ids: &[String], shown: &[&Finding], w: &Words) -> Markup {
    html! {
        @if case_ids.is_empty() { strong { (w.missed) } }
        @for case_id in case_ids {
            @match shown.iter().position(|finding| finding.case.id == *case_id) {
                Some(at) => {
                    a href={ "#case-" (at + 1) } { ((w.case_number)(&(at + 1).to_string())) } " " (verdict_chip(shown[at].judgement.verdict, w)) " "
                },
                None => { (w.case) " " (id(figures::short_id(case_id))) " " },
            }
        }
    }
}
