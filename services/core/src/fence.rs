//! The fence: exactly-once work on one partition, whatever crashes, comes again or is done by two at once.
//!
//! A batch with input sequence `i` is worked on in five steps: (1) read the partition's record and states; (2) compute; (3) publish the
//! output, which the broker refuses unless the output subject still ends where the record says; (4) commit states and
//! record by compare-and-set; (5) acknowledge. Each output names its input and the input before it, so the outputs of
//! a partition are a chain that tells what was done, whatever the store of states has forgotten.
//!
//! This is the decision alone: [`Attempt`] says what to do next and is told what came of it. Reading, publishing and
//! committing are the shell's. A model checker walks it through every interleaving (`tests/tests/fence_model.rs`). It rests on
//! one thing about time: nobody works on an input for as long as outputs are kept, so the shell gives an attempt up long before.

/// Place of a message in its stream, from 1; 0 stands before the first.
pub type Sequence = u64;

/// What the store of states holds about a partition beside the states; committed with them in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// Latest input whose effects the states hold.
    pub input: Sequence,
    /// Where the output of that input stands.
    pub output: Sequence,
    /// Baseline epoch that the partition rests on; empty before the first.
    pub epoch: String,
}

/// The latest message of the output subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tail {
    /// Where it stands.
    pub output: Sequence,
    /// The input that it was made from.
    pub input: Sequence,
    /// The input before that one in this partition.
    pub previous_input: Sequence,
    /// The epoch that it was computed with.
    pub epoch: String,
}

/// What the shell has to do next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read the record with the states that the batch needs; answer [`Attempt::read`].
    Read,
    /// Compute with the states that were read; publish, expecting the output subject to end at `expected`;
    /// answer [`Attempt::published`] or [`Attempt::refused`]. Publish without a message id: a broker that knows the id says
    /// "stored" of somebody else's output, whose predecessor and epoch may be others.
    Publish { expected: Sequence, previous_input: Sequence },
    /// Commit the states as computed *with this epoch* (compute again if it is not the one that was used) if the
    /// stored record still equals `from`; answer [`Attempt::committed`].
    Commit { from: Record, to: Record },
    /// The store has forgotten: bring its states from `from` to the end of the chain by working on the inputs after `from.input` up to
    /// `until` once more with the epochs that their outputs name, publishing nothing. Then answer [`Attempt::rebuilt`].
    Rebuild { from: Record, until: Tail },
    /// All is done: tell the broker.
    Acknowledge,
}

/// What a stateless stage has to do with an input, given where its output subject ends: it has no record but the chain itself.
/// A refused publication means that the subject has moved on: look again and ask again.
pub fn relay(input: Sequence, tail: Option<&Tail>) -> Action {
    let (ends, done) = tail.map_or((0, 0), |tail| (tail.output, tail.input));
    match input <= done {
        true => Action::Acknowledge,
        false => Action::Publish { expected: ends, previous_input: done },
    }
}

/// One batch on its way through the fence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    input: Sequence,
    /// As read last.
    record: Record,
}

impl Attempt {
    /// Begins with an input; [`Action::Read`] comes first.
    pub fn new(input: Sequence) -> Self {
        Self { input, record: Record::default() }
    }

    /// The store's record, `None` when it holds nothing of the partition.
    pub fn read(&mut self, record: Option<Record>) -> Action {
        self.record = record.unwrap_or_default();
        match self.input <= self.record.input {
            true => Action::Acknowledge,
            false => self.publish(self.record.output),
        }
    }

    /// The broker took the output, computed with `epoch`.
    pub fn published(&self, output: Sequence, epoch: &str) -> Action {
        let to = Record { input: self.input, output, epoch: epoch.to_owned() };
        Action::Commit { from: self.record.clone(), to }
    }

    /// The broker refused the output, since the subject ends elsewhere: at `tail`, or has nothing.
    pub fn refused(&self, tail: Option<Tail>) -> Action {
        let Some(tail) = tail else {
            // All outputs have outlived their time, which is twice that of any window: there is nothing to bring back.
            return if self.record.output == 0 { Action::Read } else { self.publish(0) };
        };
        let record = &self.record;
        if tail.input == self.input && tail.previous_input == record.input {
            // Published before, by whoever crashed or is slow; the states are still to be committed.
            let to = Record { input: self.input, output: tail.output, epoch: tail.epoch };
            return Action::Commit { from: record.clone(), to };
        }
        if tail.input > record.input {
            // The chain knows of more than the store does. That this input is part of it does not help the next one.
            return Action::Rebuild { from: record.clone(), until: tail };
        }
        if tail.output == record.output {
            // Refused, and yet as it should be: somebody's message came and went between two looks.
            return Action::Read;
        }
        // The broker has lost outputs that the states rest on. What is gone is gone; the chain goes on and shows the gap.
        self.publish(tail.output)
    }

    /// Whether the commit found the record as it was read.
    pub fn committed(&self, won: bool) -> Action {
        if won { Action::Acknowledge } else { Action::Read }
    }

    /// The store has been brought up to the chain, or somebody else is at it.
    pub fn rebuilt(&self) -> Action {
        Action::Read
    }

    fn publish(&self, expected: Sequence) -> Action {
        Action::Publish { expected, previous_input: self.record.input }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(input: Sequence, output: Sequence) -> Record {
        Record { input, output, epoch: "e".into() }
    }

    fn tail(output: Sequence, input: Sequence, previous_input: Sequence) -> Tail {
        Tail { output, input, previous_input, epoch: "e".into() }
    }

    #[test]
    fn the_plain_way() {
        let mut attempt = Attempt::new(7);
        assert_eq!(attempt.read(Some(record(4, 2))), Action::Publish { expected: 2, previous_input: 4 });
        assert_eq!(attempt.published(3, "e"), Action::Commit { from: record(4, 2), to: record(7, 3) });
        assert_eq!(attempt.committed(true), Action::Acknowledge);
    }

    #[test]
    fn what_is_done_is_acknowledged_alone() {
        assert_eq!(Attempt::new(7).read(Some(record(7, 3))), Action::Acknowledge);
        assert_eq!(Attempt::new(7).read(Some(record(9, 4))), Action::Acknowledge);
    }

    #[test]
    fn a_refusal_tells_what_happened() {
        let mut attempt = Attempt::new(7);
        attempt.read(Some(record(4, 2)));
        let cases = [
            // Published, not committed.
            (Some(tail(3, 7, 4)), Action::Commit { from: record(4, 2), to: record(7, 3) }),
            // The store rolled back: behind this input's predecessor, or behind later ones too.
            (Some(tail(5, 7, 6)), Action::Rebuild { from: record(4, 2), until: tail(5, 7, 6) }),
            (Some(tail(3, 6, 4)), Action::Rebuild { from: record(4, 2), until: tail(3, 6, 4) }),
            (Some(tail(9, 12, 7)), Action::Rebuild { from: record(4, 2), until: tail(9, 12, 7) }),
            // Outputs outlived their time, or were lost.
            (None, Action::Publish { expected: 0, previous_input: 4 }),
            (Some(tail(1, 3, 2)), Action::Publish { expected: 1, previous_input: 4 }),
            (Some(tail(2, 4, 3)), Action::Read),
        ];
        for (ends, action) in cases {
            assert_eq!(attempt.refused(ends.clone()), action, "{ends:?}");
        }
        assert_eq!(attempt.committed(false), Action::Read);
    }

    #[test]
    fn a_stateless_stage_follows_its_own_outputs() {
        assert_eq!(relay(3, None), Action::Publish { expected: 0, previous_input: 0 });
        assert_eq!(relay(3, Some(&tail(8, 2, 1))), Action::Publish { expected: 8, previous_input: 2 });
        assert_eq!(relay(3, Some(&tail(8, 3, 1))), Action::Acknowledge);
    }
}
