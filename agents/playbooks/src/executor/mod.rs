//! The executor: takes approved plans from the bus, and brings each action through its life. The only code that changes an
//! AWS account.
//!
//! An action is one subject of the bus, moved by compare-and-set: whoever moves it to itself works on it, for as long as it
//! holds it; before each call it is held anew. So of any number of executors one works, and one that was overtaken stops
//! before its next call.

mod alerts;
mod audit;
mod begin;
mod history;
mod holds;
mod orders;
mod perform;
mod plans;
mod record;
mod service;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use trailwarden_bus::{Bus, Error as BusError, Outgoing, Published, Sequence, Stored, Subject};
use trailwarden_core::plan::own::OwnPlaybook;
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::response::approval::Registry;
use trailwarden_core::response::audit::Note;
use trailwarden_core::response::digest;
use trailwarden_core::response::hold::Left;
use trailwarden_core::response::life::{Event, Fault, Life, Misfit, Work};
use trailwarden_core::response::limits::{Ledger, Limits, is_containment};
use trailwarden_core::response::refusals::Refusals;
use trailwarden_core::time::{DAY_MS, MINUTE_MS, SECOND_MS, Timestamp};
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::{Clock, failpoint};

use crate::aws::{Aws, Scope};
use crate::keys::SigningKey;
use crate::value::Known;
use crate::{CaseContext, GoodTrail, Step, calls, permissions};
use audit::AuditLog;
use perform::{Held, Performance};

pub use audit::{AuditError, verify_audit, verify_lines};
pub use history::{Acted, History, Ordered, Proposed, history};
pub use orders::LEASE_MS_MAX;
pub(crate) use perform::unbuilt;
pub use record::Record;
pub use service::{Config, Deps, consumer, run};

/// How long an action is held without a sign of life; longer than one call may take.
const HOLD_MS: i64 = 60 * SECOND_MS;
/// The same for what is only looked at, which nobody can do twice: who dies over it is followed soon, so that somebody looks
/// again while attackers race the step.
const READ_HOLD_MS: i64 = 5 * SECOND_MS;
/// It is held anew when less than this is left.
const HOLD_LEFT_MS: i64 = 40 * SECOND_MS;
/// A word in subjects.
const LIFE: &str = "life";
/// An action that could not go on is let rest for so long, then for twice as long, at most the second; others go on.
const SETBACK_MS: i64 = 2 * SECOND_MS;
const SETBACK_MAX_MS: i64 = MINUTE_MS;
/// Who have to agree to what is done to the protected.
const PERSONS_OF_PROTECTED: usize = 2;
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
    /// Playbooks of the operator's; no others are carried out.
    pub own: Vec<Arc<OwnPlaybook>>,
    /// What trails should be: what a step of the council's may be given.
    pub trails: Vec<GoodTrail>,
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
    /// Actions whose work ended in an error, such as the bus's: what of it came about is unknown.
    setbacks: Mutex<BTreeMap<String, Setback>>,
    /// Containments of the last day.
    ledger: Mutex<Ledger>,
    /// What may still be written down of orders that nobody signed.
    refusals: Mutex<Refusals>,
    metrics: Metrics,
}

#[derive(Clone, Copy, Debug, Default)]
struct Setback {
    tries: u32,
    until: Timestamp,
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
    pub fn new(
        settings: Settings,
        bus: Arc<dyn Bus>,
        aws: Arc<dyn Aws>,
        key: Arc<SigningKey>,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        let audit = AuditLog::new(Arc::clone(&bus), &settings.tenant, key);
        let refusals = Mutex::new(Refusals::new(clock()));
        Self {
            settings,
            bus,
            aws,
            clock,
            audit,
            open: Mutex::default(),
            setbacks: Mutex::default(),
            ledger: Mutex::default(),
            refusals,
            metrics,
        }
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn setbacks(&self) -> MutexGuard<'_, BTreeMap<String, Setback>> {
        self.setbacks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An action as the bus holds it.
    ///
    /// # Errors
    /// [`ExecutorError::Bus`], or a record that cannot be read.
    pub async fn record(&self, key: &str) -> Result<Option<(Record, Sequence)>, ExecutorError> {
        let stored = self.bus.last(&self.life_subject(key)).await?;
        stored.map(|stored| read(key, &stored)).transpose()
    }

    /// When something is due next, and of which action. One that could not go on does not keep the others waiting.
    pub fn next_due(&self) -> Option<(Timestamp, String)> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let setbacks = self.setbacks();
        let due = open.iter().filter_map(|(key, record)| {
            let (at, _) = record.life.due()?;
            let is_ours = record.holder == self.settings.name;
            let at = if is_ours { at } else { at.max(record.held_until) };
            Some((setbacks.get(key).map_or(at, |setback| at.max(setback.until)), key.clone()))
        });
        due.min()
    }

    /// Does what an action's life asks for now, if it is due and nobody else does.
    ///
    /// # Errors
    /// [`ExecutorError`]; the action stays as it is stored, and whoever goes on reads AWS first.
    pub async fn step(&self, key: &str) -> Result<Turn, ExecutorError> {
        let turn = self.step_now(key).await;
        let mut setbacks = self.setbacks();
        match turn {
            Ok(Turn::Moved | Turn::Idle) => {
                setbacks.remove(key);
            }
            // What of our work is unknown stays so.
            Ok(Turn::Elsewhere) => {}
            Err(_) => {
                let setback = setbacks.entry(key.to_owned()).or_default();
                let pause_ms = (SETBACK_MS << setback.tries.min(6)).min(SETBACK_MAX_MS);
                *setback = Setback { tries: setback.tries.saturating_add(1), until: (self.clock)().plus_ms(pause_ms) };
            }
        }
        turn
    }

    async fn step_now(&self, key: &str) -> Result<Turn, ExecutorError> {
        let Some((mut record, sequence)) = self.record(key).await? else {
            return Ok(Turn::Idle);
        };
        self.see(&record);
        if let Some(why) = foreign(&record) {
            // Once for as long as this process tries.
            if !self.setbacks().contains_key(key) {
                self.note("executor", "refused", &record.case, key, &why, false).await?;
                self.call_administrator(&record.case, (sequence, key), &why).await?;
            }
            return Err(ExecutorError::Record { key: key.to_owned(), why });
        }
        let now = (self.clock)();
        let Some((at, _)) = record.life.due() else {
            return Ok(Turn::Idle);
        };
        if at.since_ms(now) > 0 {
            return Ok(Turn::Idle);
        }
        if record.holder == self.settings.name {
            // What of our own work came about before it failed is as unknown. Who was overtaken by an order does what it says:
            // an undo that was asked for meanwhile was not begun, and a look would find what is only on its way.
            let setback = self.setbacks().get(key).copied();
            let is_applying = matches!(record.life.due(), Some((_, Work::Apply)));
            if setback.is_some_and(|setback| setback.tries > 0 || is_applying) {
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
        record.held_until = now.plus_ms(if work == Work::ReadBack { READ_HOLD_MS } else { HOLD_MS });
        let Some(sequence) = self.store(&record, sequence).await? else {
            return Ok(Turn::Elsewhere);
        };
        self.work(record, sequence, work).await
    }

    async fn work(&self, mut record: Record, sequence: Sequence, work: Work) -> Result<Turn, ExecutorError> {
        let (key, step) = (record.key.clone(), spelled(&record));
        if work == Work::Join {
            let joined = self.join(&mut record, &step).await?;
            failpoint::hit("executor.joined");
            return self.came(record, sequence, Event::Joined(joined)).await;
        }
        let others = self.left_to(&record, work).await?;
        if matches!(work, Work::Apply | Work::Undo) && others.is_none() {
            let what = if work == Work::Apply { "applying" } else { "undoing" };
            self.note("executor", what, &record.case, &key, &describe(&record), false).await?;
        }
        if work == Work::Apply && self.settings.limits.kill_switch {
            let event = Event::Failed(Fault::Final, "the kill switch is on".to_owned());
            return self.came(record, sequence, event).await;
        }
        if let Some(why) = others.clone().filter(|_| !record.life.by_alternative) {
            return self.came(record, sequence, Event::Released(why)).await;
        }
        let scope = self.scope(&record, &step);
        let is_undoing = matches!(work, Work::Undo | Work::CheckUndone);
        // What the other way would have put there, and did not, is not ours to take back.
        let by_alternative = record.life.by_alternative && (!is_undoing || record.life.is_held());
        let (known, is_read) = (record.known.clone(), work == Work::ReadBack);
        let is_guarded = work == Work::Apply
            && is_containment(record.action.playbook)
            && record.approvers.len() < PERSONS_OF_PROTECTED;
        let is_barred = |name: &str| is_guarded && self.settings.limits.is_protected(name);
        let is_whole = work == Work::Capture && record.action.own.is_some();
        let mut hold = Hold { executor: self, record, sequence, is_read, failed: None };
        let mut performance = Performance {
            aws: self.aws.as_ref(),
            scope,
            step: &step,
            by_alternative,
            known,
            held: &mut hold,
            is_barred: &is_barred,
            is_whole,
        };
        failpoint::hit("executor.held");
        let event = match others {
            None => performance.perform(work).await,
            Some(why) => performance.undo_first_way().await.map(|done| done.err().unwrap_or(Event::Released(why))),
        };
        failpoint::hit("executor.performed");
        let known = performance.known;
        if let Some(error) = hold.failed {
            return Err(error);
        }
        let (mut record, sequence) = (hold.record, hold.sequence);
        let Some(event) = event else {
            return Ok(self.overtaken(&record.key));
        };
        record.known = known;
        self.came(record, sequence, event).await
    }

    /// Before an effect is taken back, and before it is looked whether it is: why it stays, where others hold it still.
    async fn left_to(&self, record: &Record, work: Work) -> Result<Option<String>, ExecutorError> {
        if !matches!(work, Work::Undo | Work::CheckUndone) || !record.life.is_held() {
            return Ok(None);
        }
        match self.leave(record).await? {
            Left::Last => Ok(None),
            Left::Others(keys) => {
                failpoint::hit("executor.left");
                Ok(Some(format!("it stays: case {} holds it still", self.cases_of(&keys).await?)))
            }
        }
    }

    fn scope(&self, record: &Record, step: &Step) -> Scope {
        let context = CaseContext { case_id: &record.case, reference_time: record.reference_time };
        let account = match (record.action.playbook, &self.settings.management_account) {
            (Playbook::ScpQuarantine, Some(management)) => management,
            _ => &record.action.target.account,
        };
        Scope {
            account: account.clone(),
            case: record.case.clone(),
            session_policy: permissions::session_policy(step, &record.action, &context),
        }
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
        if ended {
            self.forget(&record).await?;
        }
        // An order to undo does not wait for somebody who may have died since.
        record.held_until = if record.life.is_at_rest() { now } else { now.plus_ms(HOLD_MS) };
        match self.store(&record, sequence).await? {
            Some(_) => Ok(Turn::Moved),
            None => Ok(self.overtaken(&record.key)),
        }
    }

    /// Somebody moved the action while it was worked on, such as by an order: what came of the work is not stored, so whoever
    /// goes on, and be it we, reads AWS first.
    fn overtaken(&self, key: &str) -> Turn {
        self.setbacks().entry(key.to_owned()).or_default();
        Turn::Elsewhere
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
            self.touch(&record).await?;
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
            self.setbacks().remove(&record.key);
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
        ends: bool,
    ) -> Result<(), ExecutorError> {
        let [actor, what, case, action, detail] = [actor, what, case, action, detail].map(str::to_owned);
        Ok(self.audit.append(&Note { actor, what, case, action, detail, ends }, (self.clock)()).await?)
    }

    /// Whether an action is of the menu, or of a playbook that this executor was given, word for word.
    fn is_known(&self, action: &Action) -> bool {
        match (action.playbook, &action.own) {
            (Playbook::Own, Some(own)) => self.settings.own.contains(own),
            (Playbook::Own, None) | (_, Some(_)) => false,
            (_, None) => true,
        }
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

/// Why this version leaves an action alone: it would make other calls than those that were signed, and undo others.
fn foreign(record: &Record) -> Option<String> {
    let is_signed = record.calls.is_empty() || record.calls == calls_digest(&spelled(record));
    let why = "its calls are not those that were signed, since another version began it: it is left as it stands, and a \
               person has to look";
    (!is_signed).then(|| format!("{}: {why}", describe(record)))
}

/// sha256 of what a step calls and looks for; its words for people may change.
fn calls_digest(step: &Step) -> String {
    let undo = match &step.undo {
        crate::Undo::Calls(calls) => calls.as_slice(),
        crate::Undo::Words(_) => &[],
    };
    let all = (&step.captured_first, &step.derived, &step.calls, &step.instead, &step.verify, undo);
    // Calls are always JSON.
    digest(&serde_json::to_vec(&all).unwrap_or_default())
}

fn describe(record: &Record) -> String {
    let target = &record.action.target;
    format!("{} on {} of account {}", record.action.name(), target.id, target.account)
}

/// Holds an action while its work is done.
struct Hold<'a> {
    executor: &'a Executor,
    record: Record,
    sequence: Sequence,
    /// What is only read may be read by others at the same time; whose answer is stored first counts.
    is_read: bool,
    failed: Option<ExecutorError>,
}

#[async_trait]
impl Held for Hold<'_> {
    async fn hold(&mut self, known: &Known) -> bool {
        let now = (self.executor.clock)();
        let without_password = known.iter().filter(|(name, _)| *name != "new_password");
        let kept: BTreeMap<String, Value> =
            without_password.map(|(name, value)| (name.clone(), value.clone())).collect();
        let is_fresh = self.is_read || self.record.held_until.since_ms(now) > HOLD_LEFT_MS;
        if kept == self.record.known && is_fresh {
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
fn begun(step: &Step, action: &Action, lease_until: Timestamp, now: Timestamp) -> Life {
    use trailwarden_core::response::life::Nature;
    let nature = Nature {
        reversible: matches!(step.undo, crate::Undo::Calls(_)),
        alternative: step.instead.is_some(),
        undoes_again: action.own.is_some(),
    };
    Life::new(nature, lease_until, now)
}
