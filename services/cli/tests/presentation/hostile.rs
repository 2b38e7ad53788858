//! Findings in which every text that a log can carry is an attack on the reader.

use trailwarden::findings::{Finding, Findings, Planted, Reject};
use trailwarden_core::case::Signal;
use trailwarden_core::level::{Level, Severity, Verdict};
use trailwarden_core::negotiation::predicate::Predicate;
use trailwarden_core::negotiation::said::{Change, Counterfactual, Said, Summary};
use trailwarden_core::negotiation::{Brain, Reason, RejectedClaim, Role, Technique};
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::resource::ResourceKind;

use crate::sample;

/// Markup, a link, an image and a mention as Markdown has them, a terminal escape, a direction override, a title change, invisible tags, stacked marks, a quote.
pub(crate) const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>`|[a](http://evil.example)![b](x)<https://evil.example> www.evil.example @all #1 **c**\u{1b}[31m\u{1b}]0;owned\u{7}\u{202e}txt\u{9b}2J\u{200b}\u{e0041}Z\u{301}\u{301}\u{301}\u{301}\r\n";

/// One case with [`HOSTILE`] and a long name in every place.
pub(crate) fn findings() -> Findings {
    let mut findings = sample::with_cases(sample::findings(), vec![finding()]);
    findings.version = HOSTILE.into();
    findings.input.accounts = vec![HOSTILE.into()];
    findings.input.rejected = [(HOSTILE.to_owned(), 1)].into();
    findings.input.set_aside = [(HOSTILE.to_owned(), 1)].into();
    findings.input.rejected_listed = vec![Reject { place: HOSTILE.into(), reason: HOSTILE.into() }];
    findings.planted = Some(vec![Planted {
        name: HOSTILE.into(),
        techniques: vec![HOSTILE.into()],
        events: 3,
        events_found: 2,
        case_ids: vec![HOSTILE.into(), "unknown\u{202e}".into()],
    }]);
    for rule in &mut findings.rules {
        rule.title = HOSTILE.into();
        rule.description = HOSTILE.into();
        rule.false_positives = vec![HOSTILE.into()];
    }
    findings
}

fn signal() -> Signal {
    let long = format!("{HOSTILE}{}", "x".repeat(10_240));
    let mut signal =
        sample::signal(1, sample::time("2024-07-30T21:31:21Z"), ("iam", "X"), Level::Critical, &[0, 1, 999]);
    for text in [&mut signal.service, &mut signal.call, &mut signal.session, &mut signal.region, &mut signal.event_id] {
        *text = HOSTILE.into();
    }
    for text in [
        &mut signal.principal,
        &mut signal.account,
        &mut signal.session_name,
        &mut signal.source,
        &mut signal.user_agent,
    ] {
        *text = long.clone();
    }
    signal.error_code = Some(HOSTILE.into());
    signal.details.error_message = HOSTILE.into();
    signal.details.parameters = format!("{{\"name\":{}}}", serde_json::to_string(HOSTILE).expect("text"));
    signal.details.resources = vec![sample::resource(ResourceKind::User, HOSTILE, true)];
    signal
}

fn finding() -> Finding {
    let mut signals = vec![signal(), signal()];
    signals[1].details.parameters = format!("not JSON {HOSTILE}");
    let mut finding = sample::finding(HOSTILE, signals, Verdict::Malicious, Severity::Critical, f64::NAN);
    let judgement = &mut finding.judgement;
    judgement.summary = Summary::Written(format!("{HOSTILE}{}", "y".repeat(10_240)));
    judgement.reasons = [2.0, -1.0, f64::INFINITY, f64::NAN]
        .map(|weight| Reason {
            said: Said::Claim { predicate: Predicate::RootUse, detections: vec![HOSTILE.into()] },
            weight,
            event_ids: vec![HOSTILE.into(), "absent".into()],
            role: None,
        })
        .into();
    judgement.rejected = vec![RejectedClaim { role: Role::Judge, predicate: HOSTILE.into(), finding: HOSTILE.into() }];
    judgement.techniques = vec![Technique { id: HOSTILE.into(), event_ids: vec![HOSTILE.into()] }];
    judgement.counterfactual = Some(Counterfactual::Gives {
        change: Change::WithoutDetection(HOSTILE.into()),
        verdict: Verdict::Benign,
        severity: Severity::Low,
    });
    judgement.brains = vec![(Role::Judge, Brain::Llm(HOSTILE.into())), (Role::Sceptic, Brain::Recorded)];
    judgement.evidence_digest = HOSTILE.into();
    judgement.plan.actions =
        vec![Action::proposed(Playbook::TagUser, sample::resource(ResourceKind::User, HOSTILE, false))];
    Finding::new(finding.case, finding.judgement, vec![])
}
