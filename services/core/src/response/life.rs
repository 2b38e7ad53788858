//! The life of one action, from the intent to an outcome: INTENT -> APPLIED -> VERIFIED -> UNDONE | FAILED.
//!
//! A [`Life`] is what is stored; [`Life::due`] says from it alone what is next and when, [`Life::handle`] takes what came of
//! it. Whoever executes stores the life before it begins the work that the life asks for. So after a crash the stored life
//! tells how far things can have come, and [`Event::Taken`] makes whoever takes over look at AWS before it goes on.

use serde::{Deserialize, Serialize};

use super::hold::Joined;
use crate::time::{MINUTE_MS, SECOND_MS, Timestamp};

/// When what was applied is read back, after the applying. IAM shows a change after 3 to 4 s, and attackers race it.
pub const READ_BACK_MS: [i64; 3] = [0, 10 * SECOND_MS, 60 * SECOND_MS];
/// How long, and how often, it is looked whether a verified step still stands.
pub const WATCH_MS: i64 = 30 * MINUTE_MS;
pub const WATCH_EVERY_MS: i64 = 5 * MINUTE_MS;
/// How often a step that somebody took away is applied again.
pub const REAPPLIES_MAX: u32 = 2;
/// Tries of one piece of work that fails for a while, and of an undo: an undo that is given up leaves a person with it.
pub const TRIES_MAX: u32 = 6;
pub const UNDO_TRIES_MAX: u32 = 12;
/// Pause before the first try anew; doubled with each, at most the second.
const PAUSE_MS: i64 = SECOND_MS;
const PAUSE_MAX_MS: i64 = MINUTE_MS;
/// Lines of evidence that are kept; the first and the latest are.
const EVIDENCE_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    Intent,
    Applied,
    Verified,
    Undone,
    Failed,
}

/// How an action ended, or stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    DoneVerified,
    Failed,
    Undone,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Read the prior state, look whether the step stands already, and check that the inverse can be made of it.
    Capture,
    /// Say that the effect is wanted, to all that want the same ([`super::hold`]); nothing is applied before.
    Join,
    /// Nobody knows whether it was applied: read.
    Inspect,
    Apply,
    ReadBack,
    Undo,
    /// Read whether the prior state is back.
    CheckUndone,
}

/// What came of the work, or was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The prior state is stored and the inverse can be made. `already`: the step stands without us.
    Captured {
        already: bool,
    },
    Joined(Joined),
    Applied,
    /// Of [`Work::Inspect`] and [`Work::ReadBack`].
    Stands(bool),
    UndoApplied,
    /// Of [`Work::Undo`] and [`Work::CheckUndone`]: others hold the effect still, so it stays.
    Released(String),
    /// Of [`Work::CheckUndone`].
    IsBack(bool),
    /// The work failed; what it did before it failed may stand.
    Failed(Fault, String),
    UndoAsked(String),
    Renewed {
        until: Timestamp,
    },
    /// Another process goes on with this life: the one before may have died at any point of its work.
    Taken,
}

/// Why work failed, by what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Trying again later.
    Transient,
    /// The target is not there any more.
    Gone,
    /// The step's other way, where it has one.
    Conflict,
    /// Nothing: denied, refused, not possible.
    Final,
}

/// A line of what was seen and done, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub at: Timestamp,
    pub text: String,
}

/// What kind of step lives here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nature {
    /// Whether there are calls that undo it.
    pub reversible: bool,
    /// Whether there is another way, should the first be refused.
    pub alternative: bool,
    /// Whether an undo that somebody died over is made again, whatever a look says: of several effects, one that is gone says
    /// nothing of the others.
    #[serde(default)]
    pub undoes_again: bool,
}

/// One action's life as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    pub state: State,
    nature: Nature,
    phase: Phase,
    /// The work is not begun before.
    not_before: Timestamp,
    tries: u32,
    reapplied: u32,
    applied_at: Timestamp,
    verified_at: Timestamp,
    /// When it is undone by itself; `None` for what cannot be undone.
    pub lease_until: Option<Timestamp>,
    /// Whether the other way is taken.
    pub by_alternative: bool,
    /// What was captured showed that the step stood.
    #[serde(default)]
    already: bool,
    /// It has joined those that hold the effect, and has to leave them.
    #[serde(default)]
    held: bool,
    /// The effect stands by nobody of ours: it is watched and never undone. Then this is the lease it would have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    foreign: Option<Foreign>,
    /// Who asked for it to be undone while it was joining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unwanted_by: Option<String>,
    /// It has left what others hold still.
    #[serde(default)]
    released: bool,
    pub evidence: Vec<Evidence>,
}

/// What stands by nobody of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Foreign {
    lease_until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Work(Work),
    ReadBack(u8),
    Watch,
    Leased,
    /// Undoing, or checking it; ends as the state says.
    Undoing {
        work: Work,
        ends: State,
    },
    Done,
}

/// The life has ended, or what happened does not belong to what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("the action has ended")]
    Ended,
    #[error("nothing can undo this step")]
    Irreversible,
    #[error("this is not what was asked for")]
    Unasked,
}

impl Life {
    pub fn new(nature: Nature, lease_until: Timestamp, now: Timestamp) -> Self {
        Self {
            state: State::Intent,
            nature,
            phase: Phase::Work(Work::Capture),
            not_before: now,
            tries: 0,
            reapplied: 0,
            applied_at: now,
            verified_at: now,
            lease_until: nature.reversible.then_some(lease_until),
            by_alternative: false,
            already: false,
            held: false,
            foreign: None,
            unwanted_by: None,
            released: false,
            evidence: Vec::new(),
        }
    }

    /// Whether it is among those that hold the effect, as far as is stored: it leaves them before it undoes anything.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Whether what it captured showed that the step stood.
    pub fn stood_already(&self) -> bool {
        self.already
    }

    /// Whether it ended with its effect standing, since others hold that still.
    pub fn is_released(&self) -> bool {
        self.released
    }

    /// How it stands; `None` while that is open.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Intent | State::Applied => None,
            State::Verified => Some(Outcome::DoneVerified),
            State::Undone => Some(Outcome::Undone),
            State::Failed => Some(Outcome::Failed),
        }
    }

    /// What is next and when; `None` at the end.
    pub fn due(&self) -> Option<(Timestamp, Work)> {
        let work = match self.phase {
            Phase::Work(work) | Phase::Undoing { work, .. } => work,
            Phase::ReadBack(_) | Phase::Watch => Work::ReadBack,
            Phase::Leased => return self.lease_until.map(|end| (end, Work::Undo)),
            Phase::Done => return None,
        };
        let in_lease = matches!(self.phase, Phase::Watch).then_some(self.lease_until).flatten();
        match in_lease {
            Some(end) if end <= self.not_before => Some((end, Work::Undo)),
            _ => Some((self.not_before, work)),
        }
    }

    /// Whether nothing is half done: whoever goes on need not know who was at it before.
    pub fn is_at_rest(&self) -> bool {
        matches!(self.phase, Phase::ReadBack(_) | Phase::Watch | Phase::Leased | Phase::Done)
    }

    /// Whether undoing it can be asked for.
    pub fn can_be_undone(&self) -> bool {
        let is_nothing_ours = self.phase == Phase::Work(Work::Capture) || self.foreign.is_some();
        self.phase != Phase::Done && (self.nature.reversible || is_nothing_ours)
    }

    /// To be called when the work of [`Self::due`] begins, before the life is stored: a lease that ends turns to undoing.
    pub fn begin(&mut self, now: Timestamp) {
        if matches!(self.phase, Phase::Leased | Phase::Watch)
            && let Some(end) = self.lease_until.filter(|end| *end <= now)
        {
            self.note(now, format!("the lease ended at {end}"));
            self.undo(State::Undone, now);
        }
    }

    /// Takes what happened.
    ///
    /// # Errors
    /// [`Misfit`], and nothing has changed.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Result<(), Misfit> {
        if self.phase == Phase::Done {
            return Err(Misfit::Ended);
        }
        match (self.phase, event) {
            (_, Event::Taken) => self.taken(now),
            (_, Event::UndoAsked(by)) => return self.undo_asked(&by, now),
            (_, Event::Renewed { until }) => return self.renew(until, now),
            (Phase::Work(Work::Capture), Event::Captured { already }) => self.captured(already, now),
            (Phase::Work(Work::Join), Event::Joined(joined)) => self.joined(joined, now),
            (Phase::Work(Work::Apply), Event::Applied) | (Phase::Work(Work::Inspect), Event::Stands(true)) => {
                self.applied(now);
            }
            (Phase::Work(Work::Inspect), Event::Stands(false)) => {
                // The tries of applying go on.
                let tries = self.tries;
                self.go(Phase::Work(Work::Apply), now);
                self.tries = tries;
            }
            (Phase::ReadBack(nth), Event::Stands(stands)) => self.read_back(nth, stands, now),
            (Phase::Watch, Event::Stands(true)) => self.watched(now),
            (Phase::Watch, Event::Stands(false)) => match self.foreign {
                Some(foreign) => self.vanished(foreign, now),
                None => self.apply_again(now),
            },
            (Phase::Undoing { ends, .. }, Event::Released(why)) => {
                self.note(now, why);
                self.released = true;
                self.end(ends);
            }
            (Phase::Undoing { work: Work::Undo, ends }, Event::UndoApplied) => {
                let tries = self.tries;
                self.go(Phase::Undoing { work: Work::CheckUndone, ends }, now);
                self.tries = tries;
            }
            (Phase::Undoing { work: Work::CheckUndone, ends }, Event::IsBack(true)) => {
                self.note(now, "the prior state is back");
                self.end(ends);
            }
            (Phase::Undoing { work: Work::CheckUndone, ends }, Event::IsBack(false)) => {
                self.retry_undo(ends, "the prior state is not back", now);
            }
            (_, Event::Failed(fault, why)) => self.failed(fault, &why, now),
            _ => return Err(Misfit::Unasked),
        }
        Ok(())
    }

    fn go(&mut self, phase: Phase, not_before: Timestamp) {
        (self.phase, self.not_before, self.tries) = (phase, not_before, 0);
    }

    fn end(&mut self, state: State) {
        (self.state, self.phase) = (state, Phase::Done);
    }

    fn undo(&mut self, ends: State, now: Timestamp) {
        self.go(Phase::Undoing { work: Work::Undo, ends }, now);
    }

    /// Keeps the first half of the lines and the latest of the rest.
    fn note(&mut self, at: Timestamp, text: impl Into<String>) {
        if self.evidence.len() >= EVIDENCE_MAX {
            self.evidence.remove(EVIDENCE_MAX / 2);
        }
        self.evidence.push(Evidence { at, text: text.into() });
    }

    fn taken(&mut self, now: Timestamp) {
        match self.phase {
            Phase::Work(Work::Apply) => {
                self.note(now, "taken over while it was applied: AWS is read first");
                self.go(Phase::Work(Work::Inspect), now);
            }
            Phase::Undoing { work: Work::Undo, .. } if self.nature.undoes_again => {
                self.note(now, "taken over while it was undone: it is undone again");
            }
            Phase::Undoing { work: Work::Undo, ends } => {
                self.note(now, "taken over while it was undone: AWS is read first");
                let tries = self.tries;
                self.go(Phase::Undoing { work: Work::CheckUndone, ends }, now);
                self.tries = tries;
            }
            _ => {}
        }
    }

    fn captured(&mut self, already: bool, now: Timestamp) {
        self.already = already;
        if !already {
            self.note(now, "the prior state is kept, and the inverse can be made of it");
        }
        match (self.nature.reversible, already) {
            (true, _) => self.go(Phase::Work(Work::Join), now),
            (false, true) => self.watch_foreign(now),
            (false, false) => self.go(Phase::Work(Work::Apply), now),
        }
    }

    fn joined(&mut self, joined: Joined, now: Timestamp) {
        self.held = joined == Joined::Held;
        match (joined, self.unwanted_by.take()) {
            (Joined::Held, Some(_)) => self.undo(State::Undone, now),
            (Joined::Held, None) if self.already => {
                self.note(now, "a step of another case put it there: both hold it, and the last of them takes it back");
                self.stands_from(now);
            }
            (Joined::Held, None) => self.go(Phase::Work(Work::Apply), now),
            (Joined::Foreign, Some(_)) => self.end(State::Undone),
            (Joined::Foreign, None) => self.watch_foreign(now),
            (Joined::Full, _) => {
                self.note(now, "nothing was applied: too many steps hold the same effect");
                self.end(State::Failed);
            }
        }
    }

    /// Watches what nobody of ours put there.
    fn watch_foreign(&mut self, now: Timestamp) {
        self.note(now, "it stood already, and no step of ours put it there: it is watched, and will not be undone");
        self.foreign = Some(Foreign { lease_until: self.lease_until.take() });
        (self.state, self.verified_at) = (State::Verified, now);
        self.go(Phase::Watch, now.plus_ms(WATCH_EVERY_MS));
    }

    /// What others had put there is gone: the step is wanted still, so from here on it is ours.
    fn vanished(&mut self, foreign: Foreign, now: Timestamp) {
        if foreign.lease_until.is_some_and(|end| end <= now) {
            self.note(now, "it is gone, and the time that it was wanted for is over");
            self.phase = Phase::Done;
        } else if self.reapplied < REAPPLIES_MAX {
            self.reapplied += 1;
            self.note(now, "whoever had put it there took it away: it is captured anew and applied");
            (self.foreign, self.lease_until, self.state) = (None, foreign.lease_until, State::Intent);
            self.go(Phase::Work(Work::Capture), now);
        } else {
            self.give_up("it does not stay: somebody takes it away each time", now);
        }
    }

    fn applied(&mut self, now: Timestamp) {
        self.note(now, "applied");
        self.stands_from(now);
    }

    fn stands_from(&mut self, now: Timestamp) {
        (self.state, self.applied_at) = (State::Applied, now);
        self.go(Phase::ReadBack(0), now);
    }

    fn read_back(&mut self, nth: u8, stands: bool, now: Timestamp) {
        // The first look may come before AWS shows it.
        if !stands && nth > 0 {
            self.apply_again(now);
            return;
        }
        self.note(now, if stands { "read back: it stands" } else { "read back: not to be seen yet" });
        let next = usize::from(nth) + 1;
        match READ_BACK_MS.get(next) {
            Some(after) => self.go(Phase::ReadBack(nth + 1), self.applied_at.plus_ms(*after).max(now)),
            None => {
                (self.state, self.verified_at) = (State::Verified, now);
                self.go(Phase::Watch, now.plus_ms(WATCH_EVERY_MS));
            }
        }
    }

    fn watched(&mut self, now: Timestamp) {
        if now.since_ms(self.verified_at) < WATCH_MS {
            self.go(Phase::Watch, now.plus_ms(WATCH_EVERY_MS));
            return;
        }
        self.note(now, "the watch is over");
        if self.lease_until.is_some() {
            self.go(Phase::Leased, now);
        } else {
            self.phase = Phase::Done;
        }
    }

    fn apply_again(&mut self, now: Timestamp) {
        if self.reapplied < REAPPLIES_MAX {
            self.reapplied += 1;
            self.note(now, "somebody took it away: it is applied again");
            self.state = State::Applied;
            self.go(Phase::Work(Work::Apply), now);
        } else {
            self.give_up("it does not stay: somebody takes it away each time", now);
        }
    }

    /// Fails; what may stand of it is taken back first.
    fn give_up(&mut self, why: &str, now: Timestamp) {
        self.note(now, why);
        if self.nature.reversible && self.foreign.is_none() {
            self.undo(State::Failed, now);
        } else {
            self.end(State::Failed);
        }
    }

    fn undo_asked(&mut self, by: &str, now: Timestamp) -> Result<(), Misfit> {
        if !self.can_be_undone() {
            return Err(Misfit::Irreversible);
        }
        match self.phase {
            Phase::Work(Work::Capture) if !self.by_alternative => {
                self.note(now, format!("stopped by {by} before anything was applied"));
                self.end(State::Undone);
            }
            // Whether it is among those that hold the effect is only known once it has joined them.
            Phase::Work(Work::Join) => {
                self.note(now, format!("{by} asks for it to be undone"));
                self.unwanted_by = Some(by.to_owned());
            }
            Phase::Watch if self.foreign.is_some() => {
                self.note(now, format!("{by} wants it no more; nothing of it is ours to take back"));
                self.end(State::Undone);
            }
            // It is on its way, and ends as it was going to.
            Phase::Undoing { .. } => {}
            _ => {
                self.note(now, format!("{by} asks for it to be undone"));
                self.undo(State::Undone, now);
            }
        }
        Ok(())
    }

    fn renew(&mut self, until: Timestamp, now: Timestamp) -> Result<(), Misfit> {
        match (self.phase, self.lease_until) {
            (Phase::Undoing { .. }, _) => Err(Misfit::Unasked),
            (_, None) => Err(Misfit::Irreversible),
            (_, Some(end)) if until <= end => Err(Misfit::Unasked),
            _ => {
                self.note(now, format!("the lease is renewed until {until}"));
                self.lease_until = Some(until);
                Ok(())
            }
        }
    }

    fn failed(&mut self, fault: Fault, why: &str, now: Timestamp) {
        match (self.phase, fault) {
            (Phase::Undoing { ends, .. }, Fault::Gone) => {
                self.note(now, format!("the target is gone, and with it what was applied: {why}"));
                self.end(ends);
            }
            (Phase::Undoing { ends, .. }, _) => self.retry_undo(ends, why, now),
            (Phase::Work(Work::Apply), Fault::Transient) if self.tries_left() => {
                // Whether it arrived is unknown.
                let tries = self.tries + 1;
                self.note(now, format!("failed for now: {why}"));
                self.go(Phase::Work(Work::Inspect), now.plus_ms(pause(tries)));
                self.tries = tries;
            }
            (phase, Fault::Transient) if self.tries_left() => {
                let tries = self.tries + 1;
                self.note(now, format!("failed for now: {why}"));
                self.go(phase, now.plus_ms(pause(tries)));
                self.tries = tries;
            }
            // That it cannot be looked at is no reason to take back what was seen to stand: who throttles our reads would
            // undo it. Its lease ends it.
            (Phase::Watch, Fault::Transient) => {
                self.note(now, format!("whether it still stands cannot be seen: {why}"));
                self.watched(now);
            }
            (Phase::Work(Work::Capture), _) if !self.by_alternative => {
                self.note(now, format!("nothing was applied: {why}"));
                self.end(State::Failed);
            }
            (Phase::Work(Work::Apply), Fault::Conflict) if self.nature.alternative && !self.by_alternative => {
                // Its effect is another, which may stand already.
                self.note(now, format!("refused ({why}): the other way is taken"));
                (self.by_alternative, self.held) = (true, false);
                self.go(Phase::Work(Work::Capture), now);
            }
            (_, Fault::Gone) => {
                self.note(now, format!("the target is gone: {why}"));
                self.give_up("what was applied to it is taken back where it stands", now);
            }
            _ => self.give_up(why, now),
        }
    }

    fn tries_left(&self) -> bool {
        self.tries < TRIES_MAX
    }

    fn retry_undo(&mut self, ends: State, why: &str, now: Timestamp) {
        let tries = self.tries + 1;
        if tries >= UNDO_TRIES_MAX {
            self.note(now, format!("undoing is given up, a person has to look: {why}"));
            self.end(State::Failed);
            return;
        }
        self.note(now, format!("undoing: {why}"));
        self.go(Phase::Undoing { work: Work::Undo, ends }, now.plus_ms(pause(tries)));
        self.tries = tries;
    }
}

fn pause(tries: u32) -> i64 {
    (PAUSE_MS << tries.saturating_sub(1).min(6)).min(PAUSE_MAX_MS)
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
