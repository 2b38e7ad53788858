//! One case in full: what happened, who, why for and against, what to do, and the evidence.

use std::collections::BTreeMap;

use maud::{Markup, html};
use trailwarden_core::case::Signal;
use trailwarden_core::detection::RuleIndex;
use trailwarden_core::negotiation::Reason;
use trailwarden_core::negotiation::said::Said;

use crate::figures::{self, count};
use crate::findings::{Finding, Findings};
use crate::line::{speaks_for, undercut};
use crate::lines::brain_text;
use crate::report::evidence::{Exhibits, Room};
use crate::report::{cases, id, plan, principal, sentence, severity_chip, technique, text, verdict_chip};
use crate::words::Words;

/// Distinct values listed of one attribute.
const VALUES_MAX: usize = 6;
const REASONS_MAX: usize = 40;

pub(super) fn article(findings: &Findings, finding: &Finding, number: usize, room: &mut Room, w: &Words) -> Markup {
    let (case, judgement) = (&finding.case, &finding.judgement);
    let exhibits = Exhibits::choose(finding, number, room);
    html! {
        article id={ "case-" (number) } class={ "case edge-" (judgement.severity) } {
            header {
                p.overline {
                    span { ((w.case_number)(&number.to_string())) }
                    (severity_chip(judgement.severity, w)) (verdict_chip(judgement.verdict, w))
                    span.muted { ((w.period)(case.first_event_time, case.last_event_time)) " · " (cases::lasting(finding, w)) }
                }
                h3 { (principal(finding)) span.muted { (w.in_account.0) (id(&case.account)) (w.in_account.1) } }
                p.summary { (sentence(&w.language.summary(&judgement.summary))) }
            }
            div.columns {
                div { h4 { (w.who) } (who(finding, w)) }
                div { h4 { (w.decision) } (decision(finding, w)) }
            }
            (for_and_against(finding, &exhibits, w))
            (not_counted(finding, &exhibits, w))
            (techniques(finding, &exhibits, w))
            (plan::section(finding, w))
            (exhibits.section(findings, room, w))
            (fired(findings, finding, w))
            p.fine {
                (w.case) " " code { (figures::short_id(&case.id)) } " · " (w.answered_by) " " (brains(finding, w))
                " · " (w.digest) " " (id(&judgement.evidence_digest))
            }
        }
    }
}

fn who(finding: &Finding, w: &Words) -> Markup {
    let signals = &finding.case.signals;
    html! {
        dl.facts {
            (values(w.principal, w, signals, |signal| Some(&signal.principal)))
            (words(w.kind, signals, |signal| (w.principal_kind)(signal.principal_kind)))
            (values(w.credential_head, w, signals, |signal| Some(&signal.session)))
            (words(w.obtained_as, signals, |signal| (w.credential)(signal.credential)))
            (words("MFA", signals, |signal| (w.mfa)(signal.mfa)))
            (values(w.session_name, w, signals, |signal| Some(&signal.session_name)))
            (values(w.source, w, signals, |signal| Some(&signal.source)))
            (values(w.user_agent, w, signals, |signal| Some(&signal.user_agent)))
            (values(w.region, w, signals, |signal| Some(&signal.region)))
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

fn values<'a>(label: &str, w: &Words, signals: &'a [Signal], of: impl Fn(&'a Signal) -> Option<&'a String>) -> Markup {
    let found = distinct(signals, |signal| of(signal).map_or("", String::as_str));
    html! {
        @if !found.is_empty() {
            dt { (label) }
            dd {
                @for (value, times) in found.iter().take(VALUES_MAX) {
                    div { (id(value)) @if found.len() > 1 { span.muted { " ×" (count(*times)) } } }
                }
                @if found.len() > VALUES_MAX { div.muted { ((w.and_more)((found.len() - VALUES_MAX) as u64)) } }
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

fn decision(finding: &Finding, w: &Words) -> Markup {
    let judgement = &finding.judgement;
    let by_rules_alone = (judgement.probability - judgement.probability_deterministic).abs() >= 0.005;
    html! {
        dl.facts {
            dt { (w.verdict) }
            dd { ((w.verdict_told)(w.language.verdict(judgement.verdict), w.language.severity(judgement.severity))) }
            dt { (w.probability) }
            dd {
                (meter(judgement.probability, w))
                @if by_rules_alone {
                    div.muted { ((w.without_models)(&figures::probability(judgement.probability_deterministic))) }
                }
            }
            dt { (w.route) }
            dd {
                (sentence(&w.language.route(&judgement.route)))
            }
            dt { (w.would_change_it) }
            dd {
                @match &judgement.counterfactual {
                    Some(found) => (sentence(&w.language.counterfactual(found))),
                    None => span.muted { (w.no_change) },
                }
            }
        }
    }
}

fn meter(probability: f64, w: &Words) -> Markup {
    let percent = if probability.is_finite() { probability.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
    html! {
        span.meter aria-hidden="true" { span style=(format!("width:{percent:.1}%")) {} }
        " " ((w.attack_probability)(&figures::probability(probability)))
    }
}

fn for_and_against(finding: &Finding, exhibits: &Exhibits<'_>, w: &Words) -> Markup {
    let reasons: Vec<&Reason> = finding.judgement.reasons.iter().filter(|reason| counts(reason)).collect();
    let widest = reasons.iter().map(|reason| reason.weight.abs()).filter(|w| w.is_finite()).fold(0.0, f64::max);
    let side = |attack: bool| {
        let of_side: Vec<&Reason> =
            reasons.iter().copied().filter(|reason| speaks_for(reason.weight, Some(&reason.said)) == attack).collect();
        html! {
            @if of_side.is_empty() {
                p.muted { (if attack { w.nothing_for } else { w.nothing_against }) }
            }
            ul class=(if attack { "reasons for" } else { "reasons against" }) {
                @for reason in of_side.iter().take(REASONS_MAX) { (reason_line(reason, widest, exhibits, w)) }
            }
            @if of_side.len() > REASONS_MAX { p.muted { ((w.weaker)((of_side.len() - REASONS_MAX) as u64)) } }
        }
    };
    html! {
        div.columns.scales {
            div { h4 { (w.for_an_attack) } (side(true)) }
            div { h4 { (w.against) } (side(false)) }
        }
    }
}

/// Whether a reason was weighed; what was set aside stands apart.
fn counts(reason: &Reason) -> bool {
    !matches!(reason.said, Said::SetAside { .. })
}

/// Claims that another one undercut, and those that the evidence does not carry.
fn not_counted(finding: &Finding, exhibits: &Exhibits<'_>, w: &Words) -> Markup {
    let judgement = &finding.judgement;
    let set_aside: Vec<&Reason> = judgement.reasons.iter().filter(|reason| !counts(reason)).collect();
    html! {
        @if !set_aside.is_empty() {
            h4 { (w.set_aside) }
            ul.rejected {
                @for reason in set_aside {
                    li { (sentence(&undercut(&reason.said, w.language))) " " (exhibits.references(&reason.event_ids, w)) }
                }
            }
        }
        @if !judgement.rejected.is_empty() {
            h4 { (w.rejected) }
            ul.rejected {
                @for claim in &judgement.rejected {
                    li {
                        (w.language.role(claim.role)) (w.claimed.0) (id(&claim.predicate)) (w.claimed.1)
                        em { (text(&w.language.finding(&claim.finding), 240)) }
                    }
                }
            }
        }
    }
}

fn reason_line(reason: &Reason, widest: f64, exhibits: &Exhibits<'_>, w: &Words) -> Markup {
    let share = if widest > 0.0 && reason.weight.is_finite() { reason.weight.abs() / widest * 100.0 } else { 0.0 };
    html! {
        li {
            div.claim {
                span { (sentence(&w.language.reason(&reason.said))) }
                span.weight { ((w.weight)(reason.weight)) }
            }
            div.bar aria-hidden="true" { span style=(format!("width:{share:.1}%")) {} }
            div.fine {
                (reason.role.map_or(w.by_code, |role| w.language.role(role)))
                " " (exhibits.references(&reason.event_ids, w))
            }
        }
    }
}

fn techniques(finding: &Finding, exhibits: &Exhibits<'_>, w: &Words) -> Markup {
    let techniques = &finding.judgement.techniques;
    html! {
        @if !techniques.is_empty() {
            h4 { (w.attack_techniques) }
            ul.techniques {
                @for shown in techniques { li { (technique(&shown.id)) " " (exhibits.references(&shown.event_ids, w)) } }
            }
        }
    }
}

/// The rules that matched, why a match matters, and what innocent work looks the same.
fn fired(findings: &Findings, finding: &Finding, w: &Words) -> Markup {
    let mut times = BTreeMap::<RuleIndex, u64>::new();
    for rule in finding.case.signals.iter().flat_map(|signal| &signal.detections) {
        *times.entry(*rule).or_default() += 1;
    }
    let mut fired: Vec<_> = times.iter().filter_map(|(index, times)| Some((findings.rule(*index)?, *times))).collect();
    fired.sort_by(|a, b| b.0.severity.cmp(&a.0.severity).then(b.1.cmp(&a.1)).then(a.0.title.cmp(&b.0.title)));
    html! {
        @if !fired.is_empty() {
            details.fired {
                summary { ((w.what_fired)(fired.len() as u64)) }
                dl {
                    @for (rule, times) in fired {
                        dt { (severity_chip(rule.severity, w)) " " (text(&rule.title, 160)) span.muted { " ×" (count(times)) } }
                        dd {
                            (text(&rule.description, 600))
                            @if !rule.false_positives.is_empty() {
                                div.muted {
                                    (w.innocent_causes)
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

fn brains(finding: &Finding, w: &Words) -> Markup {
    let brains = &finding.judgement.brains;
    let first = brains.first().map(|(_, brain)| brain);
    html! {
        @match first {
            None => (w.code_alone),
            Some(first) if brains.iter().all(|(_, brain)| brain == first) => {
                (w.all_roles.0) (text(&brain_text(first), 80)) (w.all_roles.1)
            },
            Some(_) => {
                @for (at, (role_of, brain)) in brains.iter().enumerate() {
                    @if at > 0 { ", " }
                    (w.language.role(*role_of)) ": " (text(&brain_text(brain), 80))
                }
            },
        }
    }
}
