//! What is told of: entries of cases' logs, scored events, and what roles raise. Wire types end here.

use serde::Deserialize;
use trailwarden_bus::Stored;
use trailwarden_core::alert::{self, Alert, Kind, Receipt, Step, StepState};
use trailwarden_core::level::{Severity, Verdict};
use trailwarden_core::plan::{Mode, Tier};
use trailwarden_core::time::Timestamp;
use trailwarden_proto::v1::{self, CaseTransition, SignalBatch, TransitionKind};
use trailwarden_proto::{Invalid, convert, wire};

/// What a role raised.
///
/// # Errors
/// When the message is no alert.
pub(crate) fn raised(stored: &Stored) -> Result<Vec<Alert>, Invalid> {
    Ok(vec![convert::alert(wire::unpack::<v1::Alert>(&stored.payload)?)?])
}

/// What an entry of a case's log is worth telling: each judgement that does not clear the case.
///
/// # Errors
/// When the message is no entry.
pub(crate) fn transition(stored: &Stored) -> Result<Vec<Alert>, Invalid> {
    let entry: CaseTransition = wire::unpack(&stored.payload)?;
    let is_judgement = match entry.kind() {
        TransitionKind::Judged => true,
        // A case that closes says again what was said when it was judged, unless it never was.
        TransitionKind::Closed => entry.number == 1,
        TransitionKind::Merged | TransitionKind::Labelled | TransitionKind::Unspecified => false,
    };
    let Some(case) = entry.case.filter(|case| is_judgement && case.verdict != Verdict::Benign.as_str()) else {
        return Ok(Vec::new());
    };
    // Whatever it is that a severity cannot be read off, a person should look at it.
    let severity = case.severity.parse().unwrap_or(Severity::High);
    let Line { mut reasons, plan } = serde_json::from_str(&case.line_json).unwrap_or_default();
    reasons.sort_by(|one, other| other.weight.total_cmp(&one.weight));
    let for_it = reasons.into_iter().filter(|reason| reason.weight > 0.0);
    let id = format!("case:{}:{}", case.id, entry.number);
    let alert = Alert {
        account: case.account,
        case: Some(case.id),
        score: Some(case.score),
        verdict: case.verdict,
        reasons: for_it.map(|reason| reason.text).take(alert::REASONS_MAX).collect(),
        steps: plan.into_iter().map(Action::step).collect(),
        receipt: Receipt {
            event: Some(Timestamp::from_millis(case.last_event_time_ms)),
            judged: Some(stored.stored_at),
            ..Receipt::default()
        },
        ..Alert::new(id, Kind::Case, severity, stored.stored_at, &case.principal)
    };
    Ok(vec![alert.bounded()])
}

/// The part of a case's line that an alert repeats.
#[derive(Default, Deserialize)]
struct Line {
    #[serde(default)]
    reasons: Vec<Reason>,
    #[serde(default)]
    plan: Vec<Action>,
}

#[derive(Deserialize)]
struct Reason {
    text: String,
    weight: f64,
}

#[derive(Deserialize)]
struct Action {
    playbook: String,
    target: String,
    tier: Tier,
    mode: Mode,
}

impl Action {
    fn step(self) -> Step {
        let state = match (self.mode, self.tier) {
            (Mode::Approval, Tier::T3) => StepState::Waits { approvers: 2 },
            (Mode::Approval, Tier::T0 | Tier::T1 | Tier::T2) => StepState::Waits { approvers: 1 },
            // What is carried out is told of by who carries it out.
            (Mode::DryRun | Mode::Auto, _) => StepState::Proposed,
        };
        Step { playbook: self.playbook, target: self.target, state }
    }
}

/// Events of a batch whose score alone is worth telling.
///
/// # Errors
/// When the message is no batch.
pub(crate) fn signals(stored: &Stored) -> Result<Vec<Alert>, Invalid> {
    let batch: SignalBatch = wire::unpack(&stored.payload)?;
    let delivered = stored.headers.get(wire::TAKEN).and_then(|taken| taken.parse().ok()).map(Timestamp::from_millis);
    let mut alerts = Vec::new();
    for event in batch.events {
        let Some(severity) = alert::of_score(event.score) else { continue };
        let Some(activity) = event.observation.and_then(|observation| observation.activity) else { continue };
        let at = Timestamp::from_millis(activity.event_time_ms);
        let id = format!("event:{}", activity.event_id);
        let alert = Alert {
            what: format!("{}:{}", activity.service, activity.call),
            score: Some(event.score),
            account: activity.account,
            receipt: Receipt { event: Some(at), delivered, scored: Some(stored.stored_at), ..Receipt::default() },
            ..Alert::new(id, Kind::Anomaly, severity, at, &activity.principal)
        };
        alerts.push(alert.bounded());
    }
    Ok(alerts)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;

    fn stored(payload: Bytes) -> Stored {
        let headers = BTreeMap::from([(wire::TAKEN.to_owned(), "5000".to_owned())]);
        let stored_at = Timestamp::from_millis(9_000);
        Stored { subject: "tw.case.default.c1".to_owned(), sequence: 7, payload, headers, stored_at }
    }

    fn entry(kind: TransitionKind, number: u32, verdict: &str, line_json: &str) -> Stored {
        let case = v1::Case {
            id: "c1".to_owned(),
            account: "111122223333".to_owned(),
            principal: "ada".to_owned(),
            verdict: verdict.to_owned(),
            severity: "critical".to_owned(),
            score: 0.9,
            last_event_time_ms: 1_000,
            line_json: line_json.to_owned(),
            ..v1::Case::default()
        };
        stored(wire::pack(&CaseTransition { sequence: 0, number, case: Some(case), kind: kind.into() }))
    }

    #[test]
    fn a_judgement_is_told_with_its_reasons_and_steps() {
        let line = r#"{"other": 1, "reasons": [{"text": "faint", "weight": 0.1}, {"text": "against", "weight": -2.0}, {"text": "heavy", "weight": 3.0}],
            "plan": [{"playbook": "p1", "target": "t", "tier": "T1", "mode": "dry_run", "calls": []}, {"playbook": "p2", "target": "t", "tier": "T3", "mode": "approval"}]}"#;
        let alerts = transition(&entry(TransitionKind::Judged, 1, "malicious", line)).expect("an entry");
        let [alert] = &alerts[..] else { panic!("{alerts:?}") };
        assert_eq!((&alert.id[..], alert.kind, alert.severity), ("case:c1:1", Kind::Case, Severity::Critical));
        assert_eq!(alert.reasons, ["heavy", "faint"]);
        let states: Vec<StepState> = alert.steps.iter().map(|step| step.state).collect();
        assert_eq!(states, [StepState::Proposed, StepState::Waits { approvers: 2 }]);
        let at = |ms| Some(Timestamp::from_millis(ms));
        assert_eq!(alert.receipt, Receipt { event: at(1_000), judged: at(9_000), ..Receipt::default() });
        // A line that cannot be read costs its details and not the alert.
        let bare = transition(&entry(TransitionKind::Judged, 1, "malicious", "{")).expect("an entry");
        assert_eq!((bare.len(), bare[0].reasons.len()), (1, 0));
    }

    #[test]
    fn what_says_nothing_new_is_not_told() {
        for (kind, number, verdict, told) in [
            (TransitionKind::Judged, 2, "suspicious", 1),
            (TransitionKind::Judged, 1, "insufficient", 1),
            (TransitionKind::Judged, 1, "benign", 0),
            (TransitionKind::Closed, 1, "malicious", 1),
            (TransitionKind::Closed, 2, "malicious", 0),
            (TransitionKind::Labelled, 3, "malicious", 0),
            (TransitionKind::Merged, 2, "malicious", 0),
        ] {
            let alerts = transition(&entry(kind, number, verdict, "{}")).expect("an entry");
            assert_eq!(alerts.len(), told, "{kind:?} {number} {verdict}");
        }
        assert!(transition(&stored(Bytes::from_static(b"junk"))).is_err());
        assert!(raised(&stored(Bytes::from_static(b"junk"))).is_err());
    }

    #[test]
    fn scores_from_caution_on_are_told_with_their_times() {
        let event = |id: &str, score| {
            let activity = v1::Activity {
                event_id: id.to_owned(),
                event_time_ms: 1_000,
                service: "iam".to_owned(),
                call: "CreateUser".to_owned(),
                ..v1::Activity::default()
            };
            let observation = v1::Observation { activity: Some(activity), ..v1::Observation::default() };
            v1::ScoredEvent { observation: Some(observation), score, ..v1::ScoredEvent::default() }
        };
        let events = vec![
            event("a", 0.7),
            event("b", 0.71),
            event("c", 0.95),
            v1::ScoredEvent { score: 1.0, ..v1::ScoredEvent::default() },
        ];
        let batch = SignalBatch { events, ..SignalBatch::default() };
        let alerts = signals(&stored(wire::pack(&batch))).expect("a batch");
        let told: Vec<_> = alerts.iter().map(|alert| (&alert.id[..], alert.severity, &alert.what[..])).collect();
        assert_eq!(
            told,
            [("event:b", Severity::Medium, "iam:CreateUser"), ("event:c", Severity::High, "iam:CreateUser")]
        );
        let at = |ms| Some(Timestamp::from_millis(ms));
        let receipt = Receipt { event: at(1_000), delivered: at(5_000), scored: at(9_000), ..Receipt::default() };
        assert_eq!(alerts[0].receipt, receipt);
    }
}
