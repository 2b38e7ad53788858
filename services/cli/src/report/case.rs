//! One case in full: what happened, who, why for and against, what to do, and the evidence.

use std::collections::BTreeMap;

use maud::{Markup, html};
use trailwarden_core::case::Signal;
use trailwarden_core::detection::RuleIndex;
use trailwarden_core::negotiation::{Reason, Role, Route};

use crate::figures::{self, count, counted};
use crate::findings::{Finding, Findings};
use crate::lines::brain_text;
use crate::report::evidence::{Exhibits, Room};
use crate::report::{cases, id, plan, principal, sentence, severity_chip, technique, text, verdict_chip, verdict_word};

/// Distinct values listed of one attribute.
const VALUES_MAX: usize = 6;
const REASONS_MAX: usize = 40;

pub(super) fn article(findings: &Findings, finding: &Finding, number: usize, room: &mut Room) -> Markup {
    let (case, judgement) = (&finding.case, &finding.judgement);
    let exhibits = Exhibits::choose(finding, number, room);
    html! {
        article id={ "case-" (number) } class={ "case edge-" (judgement.severity) } {
            header {
                p.overline {
                    span { "Case " (number) }
                    (severity_chip(judgement.severity)) (verdict_chip(judgement.verdict))
                    span.muted { (figures::period(case.first_event_time, case.last_event_time)) " · " (cases::lasting(finding)) }
                }
                h3 { (principal(finding)) span.muted { " in " (id(&case.account)) } }
                p.summary { (sentence(&judgement.summary)) }
            }
            div.columns {
                div { h4 { "Who" } (who(finding)) }
                div { h4 { "Decision" } (decision(finding)) }
            }
            (for_and_against(finding, &exhibits))
            (techniques(finding, &exhibits))
            (plan::section(finding))
            (exhibits.section(findings, room))
            (fired(findings, finding))
            p.fine {
                "Case " code { (figures::short_id(&case.id)) } " · answered by " (brains(finding))
                " · SHA-256 of the frozen evidence " (id(&judgement.evidence_digest))
            }
        }
    }
}

fn who(finding: &Finding) -> Markup {
    let signals = &finding.case.signals;
    html! {
        dl.facts {
            (values("Principal", signals, |signal| Some(&signal.principal)))
            (words("Kind", signals, |signal| figures::principal_kind(signal.principal_kind)))
            (values("Credential", signals, |signal| Some(&signal.session)))
            (words("Obtained as", signals, |signal| figures::credential(signal.credential)))
            (words("MFA", signals, |signal| figures::mfa(signal.mfa)))
            (values("Session name", signals, |signal| Some(&signal.session_name)))
            (values("Source", signals, |signal| Some(&signal.source)))
            (values("User agent", signals, |signal| Some(&signal.user_agent)))
            (values("Region", signals, |signal| Some(&signal.region)))
        }
    }
}

/// The distinct values of an attribute, the most frequent first.
fn distinct<'a>(signals: &'a [Signal], of: impl Fn(&'a Signal) -> &'a str) -> Vec<(&'a str, u64)> {
    let mut counts = BTreeMap::<&str, u64>::new();
    for signal in signals {
        let value = of(signal);
        if !value.is_empty() {
            *counts.entry(value).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    counts
}

fn values<'a>(label: &str, signals: &'a [Signal], of: impl Fn(&'a Signal) -> Option<&'a String>) -> Markup {
    let found = distinct(signals, |signal| of(signal).map_or("", String::as_str));
    html! {
        @if !found.is_empty() {
            dt { (label) }
            dd {
                @for (value, times) in found.iter().take(VALUES_MAX) {
                    div { (id(value)) @if found.len() > 1 { span.muted { " ×" (count(*times)) } } }
                }
                @if found.len() > VALUES_MAX { div.muted { "and " (count((found.len() - VALUES_MAX) as u64)) " more" } }
            }
        }
    }
}

fn words<'a>(label: &str, signals: &'a [Signal], of: impl Fn(&'a Signal) -> &'a str) -> Markup {
    let found = distinct(signals, of);
    html! {
        @if !found.is_empty() {
            dt { (label) }
            dd { @for (at, (word, _)) in found.iter().enumerate() { @if at > 0 { ", " } (word) } }
        }
    }
}

fn decision(finding: &Finding) -> Markup {
    let judgement = &finding.judgement;
    let by_rules_alone = (judgement.probability - judgement.probability_deterministic).abs() >= 0.005;
    html! {
        dl.facts {
            dt { "Verdict" }
            dd { (verdict_word(judgement.verdict)) ", " (judgement.severity) " if true" }
            dt { "Probability" }
            dd {
                (meter(judgement.probability))
                @if by_rules_alone {
                    div.muted { (figures::probability(judgement.probability_deterministic)) " without any model’s part" }
                }
            }
            dt { "Route" }
            dd {
                @match &judgement.route {
                    Route::Closed => "Closed without a person.",
                    Route::Automatic => "A narrow, reversible step may be taken without a person.",
                    Route::Person { why } => { "To a person: " (sentence(why)) },
                }
            }
            dt { "Would change it" }
            dd {
                @match &judgement.counterfactual {
                    Some(change) => (sentence(change)),
                    None => span.muted { "No single change of the evidence that was tried gives another verdict." },
                }
            }
        }
    }
}

fn meter(probability: f64) -> Markup {
    let percent = if probability.is_finite() { probability.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
    html! {
        span.meter aria-hidden="true" { span style=(format!("width:{percent:.1}%")) {} }
        " " (figures::probability(probability)) " an attack"
    }
}

fn for_and_against(finding: &Finding, exhibits: &Exhibits<'_>) -> Markup {
    let reasons = &finding.judgement.reasons;
    let widest = reasons.iter().map(|reason| reason.weight.abs()).filter(|w| w.is_finite()).fold(0.0, f64::max);
    let side = |attack: bool| {
        let of_side: Vec<&Reason> = reasons.iter().filter(|reason| (reason.weight >= 0.0) == attack).collect();
        html! {
            @if of_side.is_empty() {
                p.muted { (if attack { "Nothing speaks for an attack." } else { "Nothing speaks for an innocent cause." }) }
            }
            ul class=(if attack { "reasons for" } else { "reasons against" }) {
                @for reason in of_side.iter().take(REASONS_MAX) { (reason_line(reason, widest, exhibits)) }
            }
            @if of_side.len() > REASONS_MAX { p.muted { "and " (of_side.len() - REASONS_MAX) " weaker ones" } }
        }
    };
    html! {
        div.columns.scales {
            div { h4 { "For an attack" } (side(true)) }
            div { h4 { "Against" } (side(false)) }
        }
        @if !finding.judgement.rejected.is_empty() {
            h4 { "Claims that did not survive the check" }
            ul.rejected {
                @for claim in &finding.judgement.rejected {
                    li {
                        (role(claim.role)) " claimed " (id(&claim.predicate)) ": "
                        em { (text(&claim.finding, 240)) }
                    }
                }
            }
        }
    }
}

fn reason_line(reason: &Reason, widest: f64, exhibits: &Exhibits<'_>) -> Markup {
    let share = if widest > 0.0 && reason.weight.is_finite() { reason.weight.abs() / widest * 100.0 } else { 0.0 };
    html! {
        li {
            div.claim {
                span { (sentence(&reason.text)) }
                span.weight { (figures::weight(reason.weight)) }
            }
            div.bar aria-hidden="true" { span style=(format!("width:{share:.1}%")) {} }
            div.fine {
                (reason.role.map_or("established by code", role))
                " " (exhibits.references(&reason.event_ids))
            }
        }
    }
}

fn techniques(finding: &Finding, exhibits: &Exhibits<'_>) -> Markup {
    let techniques = &finding.judgement.techniques;
    html! {
        @if !techniques.is_empty() {
            h4 { "ATT&CK techniques" }
            ul.techniques {
                @for shown in techniques { li { (technique(&shown.id)) " " (exhibits.references(&shown.event_ids)) } }
            }
        }
    }
}

/// The rules that matched, why a match matters, and what innocent work looks the same.
fn fired(findings: &Findings, finding: &Finding) -> Markup {
    let mut times = BTreeMap::<RuleIndex, u64>::new();
    for rule in finding.case.signals.iter().flat_map(|signal| &signal.detections) {
        *times.entry(*rule).or_default() += 1;
    }
    let mut fired: Vec<_> = times.iter().filter_map(|(index, times)| Some((findings.rule(*index)?, *times))).collect();
    fired.sort_by(|a, b| b.0.severity.cmp(&a.0.severity).then(b.1.cmp(&a.1)).then(a.0.title.cmp(&b.0.title)));
    html! {
        @if !fired.is_empty() {
            details.fired {
                summary { "What fired: " (counted(fired.len() as u64, "rule")) ", why each matters, known innocent causes" }
                dl {
                    @for (rule, times) in fired {
                        dt { (severity_chip(rule.severity)) " " (text(&rule.title, 160)) span.muted { " ×" (count(times)) } }
                        dd {
                            (text(&rule.description, 600))
                            @if !rule.false_positives.is_empty() {
                                div.muted {
                                    "Innocent causes: "
                                    @for (at, cause) in rule.false_positives.iter().enumerate() {
                                        @if at > 0 { "; " }
                                        (text(cause, 240))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn brains(finding: &Finding) -> Markup {
    let brains = &finding.judgement.brains;
    let first = brains.first().map(|(_, brain)| brain);
    html! {
        @match first {
            None => "code alone",
            Some(first) if brains.iter().all(|(_, brain)| brain == first) => {
                (text(&brain_text(first), 80)) " brains in all roles"
            },
            Some(_) => {
                @for (at, (role_of, brain)) in brains.iter().enumerate() {
                    @if at > 0 { ", " }
                    (role(*role_of)) ": " (text(&brain_text(brain), 80))
                }
            },
        }
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Analysis => "analysis",
        Role::Context => "context",
        Role::Sceptic => "sceptic",
        Role::Judge => "judge",
        Role::Responder => "responder",
        Role::Reporter => "reporter",
    }
}
