//! A worker's shell around the fence, one observable step at a time.

use trailwarden_core::fence::{Action, Attempt, Record, Sequence, Tail, relay};

use super::{Epoch, Fence, Mistake, Output, POISON, Request, Stage, States, Stored, World, epoch_of, folded, name_of};

/// What a worker knows of the batch that it is at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Work {
    input: Sequence,
    attempt: Attempt,
    /// The epoch for new work.
    epoch: Epoch,
    /// The store as it was read last.
    read: Stored,
    /// This worker has buried the poisoned record itself.
    buried: bool,
    /// Acknowledged too early.
    early: bool,
    todo: Todo,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Todo {
    /// As the fence said.
    Do(Action),
    /// Find out where the output subject ends.
    LookUp,
    /// Rebuilding: read the states as they should be at `cursor`, and fold the next input into them.
    Fold { cursor: Record, until: Tail },
    /// Rebuilding: commit what was folded.
    Keep { cursor: Record, to: Stored, until: Tail },
}

impl Work {
    pub(crate) fn new(input: Sequence, name: usize, fence: &Fence) -> Self {
        let todo = match fence.stage {
            Stage::Stateful => Todo::Do(Action::Read),
            Stage::Relay => Todo::LookUp,
        };
        let epoch = b"ab"[name];
        let attempt = Attempt::new(input);
        Self { input, attempt, epoch, read: Stored::default(), buried: false, early: false, todo }
    }

    pub(crate) fn input(&self) -> Sequence {
        self.input
    }

    pub fn is_rebuilding(&self) -> bool {
        matches!(self.todo, Todo::Keep { .. })
    }

    pub(crate) fn forget(&mut self, forget: &impl Fn(&mut States)) {
        forget(&mut self.read.states);
        if let Todo::Keep { to, .. } = &mut self.todo {
            forget(&mut to.states);
        }
    }

    /// The write that comes next, if it is one.
    pub(crate) fn request(&self, fence: &Fence) -> Option<Request> {
        let guarded = fence.mistake != Some(Mistake::CommitUnguarded);
        match &self.todo {
            Todo::Do(Action::Publish { .. }) if self.must_bury(fence) || self.acknowledges_now(fence) => None,
            Todo::Do(Action::Commit { .. }) if self.acknowledges_now(fence) => None,
            &Todo::Do(Action::Publish { expected, previous_input }) => {
                let expected = (fence.mistake != Some(Mistake::PublishUnguarded)).then_some(expected);
                let from = self.read.states.clone();
                let output = Output { sequence: 0, input: self.input, previous_input, epoch: self.epoch, from };
                Some(Request::Publish { expected, output })
            }
            Todo::Do(Action::Commit { from, to }) => {
                let own = fence.mistake == Some(Mistake::CommitOwnEpoch);
                let epoch = if own { self.epoch } else { epoch_of(&to.epoch) };
                let states = folded(&self.read.states, self.input, epoch);
                let to = Stored { record: to.clone(), states };
                Some(Request::Commit { from: guarded.then(|| from.clone()), to })
            }
            Todo::Keep { cursor, to, .. } => {
                Some(Request::Commit { from: guarded.then(|| cursor.clone()), to: to.clone() })
            }
            _ => None,
        }
    }

    fn must_bury(&self, fence: &Fence) -> bool {
        self.input == POISON && !self.buried && fence.mistake != Some(Mistake::BuryAfterPublish)
    }

    fn acknowledges_now(&self, fence: &Fence) -> bool {
        !self.early
            && matches!(
                (&self.todo, fence.mistake),
                (Todo::Do(Action::Publish { .. }), Some(Mistake::AcknowledgeBeforePublish))
                    | (Todo::Do(Action::Commit { .. }), Some(Mistake::AcknowledgeBeforeCommit))
            )
    }

    /// The fence's answer to where the subject ends.
    fn decided(&self, tail: Option<Tail>, fence: &Fence) -> Action {
        match (fence.stage, tail) {
            (Stage::Relay, tail) => relay(self.input, tail.as_ref()),
            (Stage::Stateful, Some(tail)) if fence.mistake == Some(Mistake::IgnorePredecessor) => {
                self.attempt.refused(Some(Tail { previous_input: self.read.record.input, ..tail }))
            }
            (Stage::Stateful, tail) => self.attempt.refused(tail),
        }
    }

    fn published(&self, output: Sequence, fence: &Fence) -> Action {
        match fence.stage {
            Stage::Relay => Action::Acknowledge,
            Stage::Stateful => self.attempt.published(output, &name_of(self.epoch)),
        }
    }
}

impl World {
    /// Lets a worker do what comes next.
    pub(crate) fn step(&mut self, name: usize, fence: &Fence) {
        let Some(mut work) = self.workers[name].take() else { return };
        if work.acknowledges_now(fence) {
            self.acknowledge(work.input);
            work.early = true;
        } else if matches!(work.todo, Todo::Do(Action::Publish { .. })) && work.must_bury(fence) {
            self.buried = true;
            work.buried = true;
            if fence.mistake == Some(Mistake::SkipPoison) {
                work.todo = Todo::Do(Action::Acknowledge);
            }
        } else if work.todo == Todo::Do(Action::Acknowledge) {
            if work.input == POISON && fence.mistake == Some(Mistake::BuryAfterPublish) {
                self.buried = true;
            }
            self.acknowledge(work.input);
            return;
        } else {
            work.todo = self.next(&mut work, fence);
        }
        self.workers[name] = Some(work);
    }

    fn next(&mut self, work: &mut Work, fence: &Fence) -> Todo {
        let request = work.request(fence);
        match (work.todo.clone(), request) {
            (_, Some(Request::Publish { expected, output })) => match self.publish(expected, output, fence) {
                Some(sequence) => Todo::Do(work.published(sequence, fence)),
                None => Todo::LookUp,
            },
            (Todo::Keep { until, .. }, Some(Request::Commit { from, to })) => {
                let cursor = to.record.clone();
                let won = self.commit(from.as_ref(), to, fence);
                match won && cursor.output < until.output {
                    true => Todo::Fold { cursor, until },
                    false => Todo::Do(work.attempt.rebuilt()),
                }
            }
            (_, Some(Request::Commit { from, to })) => {
                let won = self.commit(from.as_ref(), to, fence);
                Todo::Do(work.attempt.committed(won))
            }
            (Todo::LookUp, None) => Todo::Do(work.decided(self.tail(), fence)),
            (Todo::Do(Action::Rebuild { from, until }), None) | (Todo::Fold { cursor: from, until }, None) => {
                self.fold(work, from, until, fence)
            }
            (_, None) => {
                work.read = self.store.clone();
                let record = Some(work.read.record.clone()).filter(|record| *record != Record::default());
                Todo::Do(work.attempt.read(record))
            }
        }
    }

    /// Reads what the store holds and folds the next input of the chain into it.
    fn fold(&self, work: &Work, cursor: Record, until: Tail, fence: &Fence) -> Todo {
        let next = self.subject().iter().find(|output| output.input > cursor.input && output.sequence <= until.output);
        match next {
            Some(output) if self.store.record == cursor && fence.mistake != Some(Mistake::SkipRebuild) => {
                let own = fence.mistake == Some(Mistake::RebuildOwnEpoch);
                let epoch = if own { work.epoch } else { output.epoch };
                let record = Record { input: output.input, output: output.sequence, epoch: name_of(epoch) };
                let to = Stored { record, states: folded(&self.store.states, output.input, epoch) };
                Todo::Keep { cursor, to, until }
            }
            // Somebody else is at it, or what the chain knew has outlived its time.
            _ => Todo::Do(work.attempt.rebuilt()),
        }
    }
}
