//! Alerts. What comes in is bounded as well as checked: whoever can write to the bus can raise one.

use trailwarden_core::alert::{Alert, Receipt, Step, StepState};
use trailwarden_core::time::Timestamp;

use crate::Invalid;
use crate::v1::{self, AlertStepState};

/// An alert off the wire.
///
/// # Errors
/// When it has no id, or its kind, its severity or a step's state is no word of ours.
pub fn alert(wire: v1::Alert) -> Result<Alert, Invalid> {
    let wrong = |field, what| Invalid::Field { field, what };
    if wire.id.is_empty() {
        return Err(wrong("alert.id", "is missing"));
    }
    let kind = wire.kind.parse().map_err(|_| wrong("alert.kind", "is no kind of alert"))?;
    let severity = wire.severity.parse().map_err(|_| wrong("alert.severity", "is no severity"))?;
    let receipt = wire.receipt.unwrap_or_default();
    let named = |text: String| Some(text).filter(|text| !text.is_empty());
    let alert = Alert {
        id: wire.id,
        kind,
        severity,
        at: Timestamp::from_millis(wire.at_ms),
        account: wire.account,
        principal: wire.principal,
        case: named(wire.case_id),
        ended: wire.ended,
        seen: wire.seen,
        limit: wire.limit,
        score: wire.score,
        what: wire.what,
        verdict: wire.verdict,
        reasons: wire.reasons,
        steps: wire.steps.into_iter().map(step).collect::<Result<_, _>>()?,
        steps_more: wire.steps_more,
        receipt: Receipt {
            event: receipt.event_ms.map(Timestamp::from_millis),
            delivered: receipt.delivered_ms.map(Timestamp::from_millis),
            scored: receipt.scored_ms.map(Timestamp::from_millis),
            judged: receipt.judged_ms.map(Timestamp::from_millis),
            acted: receipt.acted_ms.map(Timestamp::from_millis),
        },
        only: named(wire.only_channel),
    };
    Ok(alert.bounded())
}

fn step(wire: v1::AlertStep) -> Result<Step, Invalid> {
    let state = match wire.state() {
        AlertStepState::Proposed => StepState::Proposed,
        AlertStepState::Waits => StepState::Waits { approvers: u8::try_from(wire.approvers).unwrap_or(u8::MAX) },
        AlertStepState::Done => StepState::Done,
        AlertStepState::Failed => StepState::Failed,
        AlertStepState::Undone => StepState::Undone,
        AlertStepState::Unspecified => {
            return Err(Invalid::Field { field: "alert.steps.state", what: "is no state of a step" });
        }
    };
    Ok(Step { playbook: wire.playbook, target: wire.target, state })
}

/// An alert for the wire.
pub fn alert_to_wire(alert: &Alert) -> v1::Alert {
    let receipt = &alert.receipt;
    v1::Alert {
        id: alert.id.clone(),
        kind: alert.kind.as_str().to_owned(),
        severity: alert.severity.as_str().to_owned(),
        at_ms: alert.at.as_millis(),
        account: alert.account.clone(),
        principal: alert.principal.clone(),
        case_id: alert.case.clone().unwrap_or_default(),
        ended: alert.ended,
        seen: alert.seen,
        limit: alert.limit,
        score: alert.score,
        what: alert.what.clone(),
        verdict: alert.verdict.clone(),
        reasons: alert.reasons.clone(),
        steps: alert.steps.iter().map(step_to_wire).collect(),
        steps_more: alert.steps_more,
        receipt: Some(v1::AlertReceipt {
            event_ms: receipt.event.map(Timestamp::as_millis),
            delivered_ms: receipt.delivered.map(Timestamp::as_millis),
            scored_ms: receipt.scored.map(Timestamp::as_millis),
            judged_ms: receipt.judged.map(Timestamp::as_millis),
            acted_ms: receipt.acted.map(Timestamp::as_millis),
        }),
        only_channel: alert.only.clone().unwrap_or_default(),
    }
}

fn step_to_wire(step: &Step) -> v1::AlertStep {
    let (state, approvers) = match step.state {
        StepState::Proposed => (AlertStepState::Proposed, 0),
        StepState::Waits { approvers } => (AlertStepState::Waits, approvers),
        StepState::Done => (AlertStepState::Done, 0),
        StepState::Failed => (AlertStepState::Failed, 0),
        StepState::Undone => (AlertStepState::Undone, 0),
    };
    v1::AlertStep {
        playbook: step.playbook.clone(),
        target: step.target.clone(),
        state: state.into(),
        approvers: approvers.into(),
    }
}

#[cfg(test)]
mod tests {
    use trailwarden_core::alert::Kind;
    use trailwarden_core::level::Severity;

    use super::*;

    #[test]
    fn an_alert_comes_back_as_it_went_and_nonsense_is_refused() {
        let states = [
            StepState::Proposed,
            StepState::Waits { approvers: 2 },
            StepState::Done,
            StepState::Failed,
            StepState::Undone,
        ];
        let at = |ms| Some(Timestamp::from_millis(ms));
        let sent = Alert {
            account: "111122223333".to_owned(),
            case: Some("10703b6e".to_owned()),
            ended: true,
            seen: 7,
            limit: 5,
            score: Some(0.75),
            what: "iam:PutUserPolicy".to_owned(),
            verdict: "malicious".to_owned(),
            reasons: vec!["because".to_owned()],
            steps: states.map(|state| Step { playbook: "p".to_owned(), target: "t".to_owned(), state }).into(),
            steps_more: 3,
            receipt: Receipt { event: at(1), delivered: at(2), scored: at(3), judged: at(4), acted: None },
            only: Some("mail".to_owned()),
            ..Alert::new("case:1", Kind::Case, Severity::High, Timestamp::from_millis(5), "ada")
        };
        let wire = alert_to_wire(&sent);
        assert_eq!(alert(wire.clone()).expect("it is one"), sent);
        for (broken, field) in [
            (v1::Alert { id: String::new(), ..wire.clone() }, "alert.id"),
            (v1::Alert { kind: "noise".to_owned(), ..wire.clone() }, "alert.kind"),
            (v1::Alert { severity: "huge".to_owned(), ..wire.clone() }, "alert.severity"),
            (v1::Alert { steps: vec![v1::AlertStep::default()], ..wire.clone() }, "alert.steps.state"),
        ] {
            let refused = alert(broken).expect_err("it is none").to_string();
            assert!(refused.contains(field), "{refused}");
        }
        let hostile = v1::Alert { principal: "\u{1b}]0;x\u{7}".repeat(900), ..wire };
        assert!(alert(hostile).expect("it is one").principal.chars().count() <= 128);
    }
}
