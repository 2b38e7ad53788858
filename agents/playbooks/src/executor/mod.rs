//! The executor: takes approved plans from the bus, and brings each action through its life. The only code that changes an
//! AWS account.
//!
//! An action is one subject of the bus, moved by compare-and-set: whoever moves it to itself works on it, for as long as it
//! holds it; before each call it is held anew. So of any number of executors one works, and one that was overtaken stops
//! before its next call.

mod alerts;
mod audit;
mod orders;
mod perform;
mod record;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use trailwarden_bus::{Bus, Error as BusError, Outgoing, Published, Sequence, Stored, Subject};
use trailwarden_core::plan::Playbook;
use trailwarden_core::response::approval::Registry;
use trailwarden_core::response::audit::Note;
use trailwarden_core::response::life::{Event, Fault, Life, Misfit, Work};
use trailwarden_core::response::limits::{Ledger, Limits};
use trailwarden_core::time::{DAY_MS, SECOND_MS, Timestamp};
use trailwarden_runtime::{Clock, failpoint};

use crate::aws::{Aws, Scope};
use crate::keys::SigningKey;
use crate::value::Known;
use crate::{CaseContext, Step, calls, permissions};
use audit::AuditLog;
use perform::{Held, Performance};

pub use audit::{AuditError, Verified, verify_audit, verify_lines};
pub use orders::LEASE_MS_MAX;
pub(crate) use perform::unbuilt;
pub use record::Record;
pub use service::{Config, Deps, consumer, run};

/// How long an action is held without a sign of life; longer than one call may take.
const HOLD_MS: i64 = 60 * SECOND_MS;
/// It is held anew when less than this is left.
const HOLD_LEFT_MS: i64 = 40 * SECOND_MS;
/// Words in subjects.
const LIFE: &str = "life";
const ORDER: &str = "order";
const NONCE: &str = "nonce";
/// Others that may move an action at the same moment before we give up.
const RACES_MAX: usize = 16;

/// Why an executor could not go on. What it was at is where it was, and goes on later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutorError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Ours, or somebody wrote into the stream.
    #[error("the record of action {key} cannot be read: {why}")]
    Record { key: String, why: String },
}

impl ExecutorError {
    /// Whether trying the same again can help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Bus(error) | Self::Audit(AuditError::Bus(error)) => error.is_transient(),
            Self::Audit(AuditError::Raced) => true,
            Self::Audit(AuditError::Unreadable(_)) | Self::Record { .. } => false,
        }
    }
}

/// What an executor is set to.
pub struct Settings {
    pub tenant: String,
    /// Unlike that of any other process, and of this one's earlier lives.
    pub name: String,
    pub registry: Registry,
    pub limits: Limits,
    /// The organisation's, where its policies are changed; without it they are not.
    pub management_account: Option<String>,
    /// Principals that are active in a day, as the limits count them.
    pub active_principals: usize,
}

/// An executor at work.
pub struct Executor {
    settings: Settings,
    bus: Arc<dyn Bus>,
    aws: Arc<dyn Aws>,
    clock: Clock,
    audit: AuditLog,
    /// Actions that are not at their end, as last seen.
    open: Mutex<BTreeMap<String, Record>>,
    /// Actions whose work ended in an error of the bus.
    unsure: Mutex<BTreeSet<String>>,
    /// Containments of the last day.
    ledger: Mutex<Ledger>,
}

/// What became of a step of an action's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something was done.
    Moved,
    /// Nothing is due yet, or the action has ended.
    Idle,
    /// Another executor works on it.
    Elsewhere,
}

impl Executor {
    pub fn new(settings: Settings, bus: Arc<dyn Bus>, aws: Arc<dyn Aws>, key: Arc<SigningKey>, clock: Clock) -> Self {
        let audit = AuditLog::new(Arc::clone(&bus), &settings.tenant, key);
        Self {
            settings,
            bus,
            aws,
            clock,
            audit,
            open: Mutex::default(),
            unsure: Mutex::default(),
            ledger: Mutex::default(),
        }
    }

    /// An action as the bus holds it.
    ///
    /// # Errors
    /// [`ExecutorError::Bus`], or a record that cannot be read.
    pub async fn record(&self, key: &str) -> Result<Option<(Record, Sequence)>, ExecutorError> {
        let stored = self.bus.last(&self.life_subject(key)).await?;
        stored.map(|stored| read(key, &stored)).transpose()
    }

    /// When something is due next, and of which action.
    pub fn next_due(&self) -> Option<(Timestamp, String)> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let due = open.iter().filter_map(|(key, record)| {
            let (at, _) = record.life.due()?;
            let is_ours = record.holder == self.settings.name;
            Some((if is_ours { at } else { at.max(record.held_until) }, key.clone()))
        });
        due.min()
    }

    /// Does what an action's life asks for now, if it is due and nobody else does.
    ///
    /// # Errors
    /// [`ExecutorError`]; the action stays as it is stored, and whoever goes on reads AWS first.
    pub async fn step(&self, key: &str) -> Result<Turn, ExecutorError> {
        let Some((mut record, sequence)) = self.record(key).await? else {
            return Ok(Turn::Idle);
        };
        self.see(&record);
        let now = (self.clock)();
        let Some((at, _)) = record.life.due() else {
            return Ok(Turn::Idle);
        };
        if at.since_ms(now) > 0 {
            return Ok(Turn::Idle);
        }
        if record.holder == self.settings.name {
            // What of our own work came about before it failed is as unknown.
            if self.unsure.lock().unwrap_or_else(PoisonError::into_inner).contains(key) {
                let _ = record.life.handle(Event::Taken, now);
            }
        } else {
            if record.held_until.since_ms(now) > 0 {
                return Ok(Turn::Elsewhere);
            }
            // Whoever held it before may have died at any point of its work.
            let _ = record.life.handle(Event::Taken, now);
        }
        record.life.begin(now);
        let Some((_, work)) = record.life.due().filter(|(at, _)| at.since_ms(now) <= 0) else {
            return Ok(Turn::Idle);
        };
        record.holder.clone_from(&self.settings.name);
        record.held_until = now.plus_ms(HOLD_MS);
        let Some(sequence) = self.store(&record, sequence).await? else {
            return Ok(Turn::Elsewhere);
        };
        let turn = self.work(record, sequence, work).await;
        let mut unsure = self.unsure.lock().unwrap_or_else(PoisonError::into_inner);
        if turn.is_err() {
            unsure.insert(key.to_owned())
        } else {
            unsure.remove(key)
        };
        turn
    }

    async fn work(&self, record: Record, sequence: Sequence, work: Work) -> Result<Turn, ExecutorError> {
        let key = record.key.clone();
        let step = spelled(&record);
        let context = CaseContext { case_id: &record.case, reference_time: record.reference_time };
        let account = match (record.action.playbook, &self.settings.management_account) {
            (Playbook::ScpQuarantine, Some(management)) => management,
            _ => &record.action.target.account,
        };
        let scope = Scope {
            account: account.clone(),
            case: record.case.clone(),
            session_policy: permissions::session_policy(&step, &record.action, &context),
        };
        if matches!(work, Work::Apply | Work::Undo) {
            let what = if work == Work::Apply { "applying" } else { "undoing" };
            self.note("executor", what, &record.case, &key, &describe(&record), false).await?;
        }
        if work == Work::Apply && self.settings.limits.kill_switch {
            let event = Event::Failed(Fault::Final, "the kill switch is on".to_owned());
            return self.came(record, sequence, event).await;
        }
        let (by_alternative, known) = (record.life.by_alternative, record.known.clone());
        let mut hold = Hold { executor: self, record, sequence, failed: None };
        let mut performance =
            Performance { aws: self.aws.as_ref(), scope, step: &step, by_alternative, known, held: &mut hold };
        failpoint::hit("executor.held");
        let event = performance.perform(work).await;
        failpoint::hit("executor.performed");
        let known = performance.known;
        if let Some(error) = hold.failed {
            return Err(error);
        }
        let (mut record, sequence) = (hold.record, hold.sequence);
        let Some(event) = event else {
            return Ok(Turn::Elsewhere);
        };
        record.known = known;
        self.came(record, sequence, event).await
    }

    /// Takes what came of the work, writes it down and stores it.
    async fn came(&self, mut record: Record, sequence: Sequence, event: Event) -> Result<Turn, ExecutorError> {
        let now = (self.clock)();
        let (before, told) = (record.life.state, record.life.evidence.len());
        if record.life.handle(event, now).is_err() {
            tracing::error!(action = record.key, "work came to an end that the action's life does not know");
            return Ok(Turn::Idle);
        }
        let lines: Vec<&str> = record.life.evidence.iter().skip(told).map(|line| line.text.as_str()).collect();
        let ended = record.life.due().is_none();
        let what = format!("{:?}", record.life.state).to_lowercase();
        if !lines.is_empty() {
            let detail = format!("{}: {}", describe(&record), lines.join("; "));
            self.note("executor", &what, &record.case, &record.key, &detail, ended).await?;
        }
        failpoint::hit("executor.noted");
        self.tell_move(before, &record, lines.last().copied().unwrap_or_default(), now).await?;
        failpoint::hit("executor.told");
        // An order to undo does not wait for somebody who may have died since.
        record.held_until = if record.life.is_at_rest() { now } else { now.plus_ms(HOLD_MS) };
        match self.store(&record, sequence).await? {
            Some(_) => Ok(Turn::Moved),
            None => Ok(Turn::Elsewhere),
        }
    }

    /// Brings an action into being; `false` when it is there already.
    async fn create(&self, record: &Record) -> Result<bool, ExecutorError> {
        let created = self.store(record, 0).await?.is_some();
        if created {
            let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.add(&record.action, record.begun_at);
        }
        Ok(created)
    }

    /// Moves an action by an order, whoever holds it.
    async fn order(&self, key: &str, event: &Event) -> Result<Result<(), Misfit>, ExecutorError> {
        for _ in 0..RACES_MAX {
            let Some((mut record, sequence)) = self.record(key).await? else {
                return Ok(Err(Misfit::Ended));
            };
            let (before, now) = (record.life.state, (self.clock)());
            if let Err(misfit) = record.life.handle(event.clone(), now) {
                return Ok(Err(misfit));
            }
            self.tell_move(before, &record, "", now).await?;
            if self.store(&record, sequence).await?.is_some() {
                return Ok(Ok(()));
            }
        }
        Err(BusError::Refused { subject: self.life_subject(key).to_string(), expected: 0 }.into())
    }

    /// The new sequence; `None` when somebody else moved it.
    async fn store(&self, record: &Record, expected: Sequence) -> Result<Option<Sequence>, ExecutorError> {
        let unwritable =
            |error: serde_json::Error| ExecutorError::Record { key: record.key.clone(), why: error.to_string() };
        let payload = Bytes::from(serde_json::to_vec(record).map_err(unwritable)?);
        let message = Outgoing { payload, expected: Some(expected), ..Outgoing::default() };
        match self.bus.publish(&self.life_subject(&record.key), message).await {
            Ok(Published::Stored(sequence) | Published::Duplicate(sequence)) => {
                self.see(record);
                Ok(Some(sequence))
            }
            Err(BusError::Refused { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers how an action stands.
    fn see(&self, record: &Record) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if record.life.due().is_some() {
            open.insert(record.key.clone(), record.clone());
        } else {
            open.remove(&record.key);
        }
    }

    /// Remembers what a message of the past says; the containments in it count too.
    fn see_later(&self, record: &Record) {
        let is_new = !self.open.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&record.key);
        if is_new && (self.clock)().since_ms(record.begun_at) < DAY_MS {
            self.ledger.lock().unwrap_or_else(PoisonError::into_inner).add(&record.action, record.begun_at);
        }
        self.see(record);
    }

    async fn note(
        &self,
        actor: &str,
        what: &str,
        case: &str,
        action: &str,
        detail: &str,
        seal: bool,
    ) -> Result<(), ExecutorError> {
        let own = str::to_owned;
        let note =
            Note { actor: own(actor), what: own(what), case: own(case), action: own(action), detail: own(detail) };
        Ok(self.audit.append(&note, seal, (self.clock)()).await?)
    }

    fn life_subject(&self, key: &str) -> Subject {
        Subject::action(&self.settings.tenant, LIFE, key)
    }
}

fn read(key: &str, stored: &Stored) -> Result<(Record, Sequence), ExecutorError> {
    let record = serde_json::from_slice(&stored.payload)
        .map_err(|error| ExecutorError::Record { key: key.to_owned(), why: error.to_string() })?;
    Ok((record, stored.sequence))
}

fn spelled(record: &Record) -> Step {
    calls(&record.action, &CaseContext { case_id: &record.case, reference_time: record.reference_time })
}

fn describe(record: &Record) -> String {
    let target = &record.action.target;
    format!("{} on {} of account {}", record.action.playbook.as_str(), target.id, target.account)
}

/// Holds an action while its work is done.
struct Hold<'a> {
    executor: &'a Executor,
    record: Record,
    sequence: Sequence,
    failed: Option<ExecutorError>,
}

#[async_trait]
impl Held for Hold<'_> {
    async fn hold(&mut self, known: &Known) -> bool {
        let now = (self.executor.clock)();
        let without_password = known.iter().filter(|(name, _)| *name != "new_password");
        let kept: BTreeMap<String, Value> =
            without_password.map(|(name, value)| (name.clone(), value.clone())).collect();
        if kept == self.record.known && self.record.held_until.since_ms(now) > HOLD_LEFT_MS {
            return true;
        }
        self.record.known = kept;
        self.record.held_until = now.plus_ms(HOLD_MS);
        match self.executor.store(&self.record, self.sequence).await {
            Ok(Some(sequence)) => {
                self.sequence = sequence;
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.failed = Some(error);
                false
            }
        }
    }
}

/// A life for an action that begins now.
fn begun(step: &Step, lease_until: Timestamp, now: Timestamp) -> Life {
    use trailwarden_core::response::life::Nature;
    let nature = Nature { reversible: matches!(step.undo, crate::Undo::Calls(_)), alternative: step.instead.is_some() };
    Life::new(nature, lease_until, now)
}
