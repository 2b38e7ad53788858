//! What people are told of responses: a step that was done, failed or was taken back, and whatever waits for a person.
//!
//! An alert is raised before what it tells of is stored, under an id that stays. So whoever dies in between leaves it to
//! the next, who raises the same again, which the bus holds as one.

use trailwarden_bus::{Bus, Error as BusError, Outgoing, Sequence, Subject};
use trailwarden_core::alert::{Alert, Kind, Receipt, Step, StepState};
use trailwarden_core::level::Severity;
use trailwarden_core::plan::Playbook;
use trailwarden_core::response::life::State;
use trailwarden_core::response::limits::is_containment;
use trailwarden_core::time::Timestamp;
use trailwarden_proto::convert::alert_to_wire;
use trailwarden_proto::v1::{CaseTransition, TransitionKind};
use trailwarden_proto::wire;

use super::{Executor, ExecutorError, Record, describe};

/// What an alert repeats of a case.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct About {
    id: String,
    account: String,
    principal: String,
    verdict: String,
    severity: Option<Severity>,
    score: Option<f64>,
    receipt: Receipt,
}

impl About {
    /// As the latest entry of the case's log says; an order may also be about a case that nobody knows.
    async fn read(bus: &dyn Bus, tenant: &str, case: &str) -> Result<Self, BusError> {
        let unknown = Self { id: case.to_owned(), ..Self::default() };
        let Some(stored) = bus.last(&Subject::case(tenant, case)).await? else {
            return Ok(unknown);
        };
        let Ok(entry) = wire::unpack::<CaseTransition>(&stored.payload) else {
            return Ok(unknown);
        };
        let is_judgement = matches!(entry.kind(), TransitionKind::Judged | TransitionKind::Closed);
        let Some(known) = entry.case else { return Ok(unknown) };
        let receipt = Receipt {
            event: Some(Timestamp::from_millis(known.last_event_time_ms)),
            judged: is_judgement.then_some(stored.stored_at),
            ..Receipt::default()
        };
        Ok(Self {
            account: known.account,
            principal: known.principal,
            verdict: known.verdict,
            severity: known.severity.parse().ok(),
            score: Some(known.score),
            receipt,
            ..unknown
        })
    }

    /// `id`: of what happened, within responses.
    fn alert(self, id: &str, kind: Kind, at: Timestamp) -> Alert {
        // Somebody who is nowhere named is told of by the case.
        let principal = if self.principal.is_empty() { self.id.clone() } else { self.principal };
        let severity = self.severity.unwrap_or(Severity::High);
        let severity = if kind == Kind::CallAdministrator { severity.max(Severity::High) } else { severity };
        Alert {
            account: self.account,
            case: Some(self.id),
            verdict: self.verdict,
            score: self.score,
            receipt: self.receipt,
            ..Alert::new(format!("response:{id}"), kind, severity, at, &principal)
        }
    }
}

/// What a move of an action's life is worth telling: its arrival in a state that it was not in before.
fn of_move(before: State, record: &Record, why: &str, about: About, now: Timestamp) -> Option<Alert> {
    let (playbook, state) = (record.action.playbook, record.life.state);
    let (kind, told, word) = match state {
        _ if state == before => return None,
        State::Intent | State::Applied => return None,
        State::Verified => (done(playbook), StepState::Done, "verified"),
        State::Undone => (done(playbook), StepState::Undone, "undone"),
        State::Failed => (Kind::CallAdministrator, StepState::Failed, "failed"),
    };
    let about = About { account: record.action.target.account.clone(), ..about };
    let what = describe(record);
    let mut alert = about.alert(&format!("{}:{word}", record.key), kind, now);
    alert.ended = state == State::Undone;
    alert.receipt.acted = Some(now);
    alert.what = match state {
        State::Failed => format!("{what} failed: {why}"),
        _ if record.life.is_released() => format!("{what}: {why}"),
        _ => what,
    };
    alert.steps = vec![step(record, told)];
    Some(alert.bounded())
}

const fn done(playbook: Playbook) -> Kind {
    match playbook {
        Playbook::PreserveLogs => Kind::BackUpLogs,
        playbook if is_containment(playbook) => Kind::Block,
        _ => Kind::Respond,
    }
}

fn step(record: &Record, state: StepState) -> Step {
    let action = &record.action;
    Step { playbook: action.name().to_owned(), target: action.target.id.clone(), state }
}

impl Executor {
    /// Tells of a move before it is stored.
    pub(super) async fn tell_move(
        &self,
        before: State,
        record: &Record,
        why: &str,
        now: Timestamp,
    ) -> Result<(), ExecutorError> {
        if before == record.life.state {
            return Ok(());
        }
        let about = About::read(self.bus.as_ref(), &self.settings.tenant, &record.case).await?;
        match of_move(before, record, why, about, now) {
            Some(alert) => self.raise(&alert).await,
            None => Ok(()),
        }
    }

    /// Tells that a person is needed: the order at `sequence` was refused, or does not suffice. `part`: what it is of, such
    /// as a step's key.
    pub(super) async fn call_administrator(
        &self,
        case: &str,
        (sequence, part): (Sequence, &str),
        why: &str,
    ) -> Result<(), ExecutorError> {
        let about = About::read(self.bus.as_ref(), &self.settings.tenant, case).await?;
        let part: String = part.chars().take(16).collect();
        let alert = about.alert(&format!("order:{sequence}:{part}"), Kind::CallAdministrator, (self.clock)());
        self.raise(&Alert { what: why.to_owned(), ..alert }.bounded()).await
    }

    async fn raise(&self, alert: &Alert) -> Result<(), ExecutorError> {
        let payload = wire::pack(&alert_to_wire(alert));
        let message = Outgoing { payload, id: Some(alert.id.clone()), ..Outgoing::default() };
        match self.bus.publish(&Subject::raised(&self.settings.tenant), message).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_transient() => Err(error.into()),
            // A response does not wait for its alert; the audit log tells of it too.
            Err(error) => {
                tracing::error!(alert = alert.id, %error, "an alert could not be raised");
                Ok(())
            }
        }
    }
}
