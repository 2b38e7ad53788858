//! A world around the fence for a model checker: one partition's three batches, a broker, a store of states that may
//! forget, two workers that may die or be slow anywhere, all of it one small step at a time.
//!
//! The decisions are those of `trailwarden_core::fence` itself; what is modelled is what the shell does between them.
//! States are the list of inputs folded into them, each with its epoch, so that a wrong state is seen at once.

use stateright::{Model, Property};
use trailwarden_core::fence::{Record, Sequence, Tail};

mod property;
mod worker;

pub use worker::{Todo, Work};

/// The partition's inputs; others' lie between them in the stream.
pub const INPUTS: [Sequence; 3] = [3, 5, 6];
/// A batch that cannot be worked on: its record is buried, and its output is empty.
pub const POISON: Sequence = 5;
/// The outputs' stream is shared too.
const STRIDE: Sequence = 2;

/// Inputs folded so far, each with the epoch it was worked on with.
pub type States = Vec<(Sequence, Epoch)>;
/// Each worker takes its own epoch for new work, as when one has heard of a newer one.
pub type Epoch = u8;

/// How much goes wrong at most, beside crashes and redeliveries, which have no bound.
#[derive(Clone, Copy, Debug)]
pub struct Fence {
    pub stage: Stage,
    /// Times that the store goes back to any earlier commit, or to nothing.
    pub rollbacks_max: u8,
    /// Times that all outputs outlive their time.
    pub expiries_max: u8,
    /// Requests that are given up as lost and take effect later all the same.
    pub late_max: u8,
    /// What the shell gets wrong.
    pub mistake: Option<Mistake>,
}

/// Whose protocol it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// With states: `Attempt`.
    Stateful,
    /// Without: `relay`.
    Relay,
}

/// Planted mistakes, each of which the check must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    AcknowledgeBeforePublish,
    AcknowledgeBeforeCommit,
    /// Publishes without an expected sequence.
    PublishUnguarded,
    /// Publishes with a message id, and takes "stored before" for "stored".
    PublishById,
    /// Commits whatever the store's record is.
    CommitUnguarded,
    /// Takes an output of its input for one that follows its record, whatever came between.
    IgnorePredecessor,
    /// Commits the states as it computed them, though the output that stands was computed with another epoch.
    CommitOwnEpoch,
    /// Rebuilds with its own epoch.
    RebuildOwnEpoch,
    /// Takes the states for rebuilt without having done it.
    SkipRebuild,
    /// Gives out the empty output before the record is buried.
    BuryAfterPublish,
    /// Buries the record, and leaves its place in the chain empty.
    SkipPoison,
}

/// An output as its subject holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    pub sequence: Sequence,
    pub input: Sequence,
    pub previous_input: Sequence,
    pub epoch: Epoch,
    /// The states that it was computed from.
    pub from: States,
}

/// What the store of states holds in one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stored {
    pub record: Record,
    pub states: States,
}

/// A write that is on its way to the broker or to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    Publish { expected: Option<Sequence>, output: Output },
    Commit { from: Option<Record>, to: Stored },
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Inputs given out at least once.
    pub given: usize,
    /// The one that is given out and not acknowledged: there is never a second.
    pub pending: Option<Sequence>,
    pub acknowledged: Vec<Sequence>,
    /// All outputs ever stored.
    pub outputs: Vec<Output>,
    /// So many of them have outlived their time.
    pub expired: usize,
    pub store: Stored,
    /// What the store may go back to: all that was ever committed. Empty once it may not any more.
    pub snapshots: Vec<Stored>,
    pub late: Option<Request>,
    pub buried: bool,
    pub workers: [Option<Work>; 2],
    pub rollbacks: u8,
    pub expiries: u8,
    pub lates: u8,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The broker gives a worker the next input, or once more the one that was not acknowledged in time.
    Deliver(usize),
    /// The worker does what comes next.
    Step(usize),
    /// The worker forgets all.
    Crash(usize),
    /// The worker's write gets no answer in time, so it gives up; the write is still on its way.
    Forsake(usize),
    /// That write arrives.
    Arrive,
    /// The store goes back to one of its snapshots.
    RollBack(usize),
    /// The store forgets all.
    Flush,
    /// All outputs outlive their time.
    Expire,
}

impl Model for Fence {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            given: 0,
            pending: None,
            acknowledged: Vec::new(),
            outputs: Vec::new(),
            expired: 0,
            store: Stored::default(),
            snapshots: Vec::new(),
            late: None,
            buried: false,
            workers: [None, None],
            rollbacks: 0,
            expiries: 0,
            lates: 0,
        }]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        world.orderly(events);
        for (name, work) in world.workers.iter().enumerate() {
            let Some(work) = work else { continue };
            events.push(Event::Crash(name));
            if self.late_max > world.lates && world.late.is_none() && work.request(self).is_some() {
                events.push(Event::Forsake(name));
            }
        }
        if self.rollbacks_max > world.rollbacks {
            let others = world.snapshots.iter().enumerate().filter(|(_, snapshot)| **snapshot != world.store);
            events.extend(others.map(|(place, _)| Event::RollBack(place)));
            if world.store != Stored::default() {
                events.push(Event::Flush);
            }
        }
        if self.expiries_max > world.expiries && world.may_expire() {
            events.push(Event::Expire);
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut world = world.clone();
        match event {
            Event::Deliver(name) => world.deliver(name, self),
            Event::Step(name) => world.step(name, self),
            Event::Crash(name) => world.workers[name] = None,
            Event::Forsake(name) => {
                world.late = world.workers[name].take()?.request(self);
                world.lates += 1;
            }
            Event::Arrive => match world.late.take()? {
                Request::Publish { expected, output } => {
                    world.publish(expected, output, self);
                }
                Request::Commit { from, to } => {
                    world.commit(from.as_ref(), to, self);
                }
            },
            Event::RollBack(place) => {
                world.store = world.snapshots[place].clone();
                world.has_forgotten(self);
            }
            Event::Flush => {
                world.store = Stored::default();
                world.has_forgotten(self);
            }
            Event::Expire => world.expire(),
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        property::all()
    }
}

impl World {
    /// What happens without anything going wrong, redeliveries included.
    fn orderly(&self, events: &mut Vec<Event>) {
        let something_to_give = self.pending.is_some() || self.given < INPUTS.len();
        for (name, work) in self.workers.iter().enumerate() {
            match work {
                Some(_) => events.push(Event::Step(name)),
                None if something_to_give => events.push(Event::Deliver(name)),
                None => {}
            }
        }
        if self.late.is_some() {
            events.push(Event::Arrive);
        }
    }

    fn deliver(&mut self, name: usize, fence: &Fence) {
        let input = *self.pending.get_or_insert_with(|| {
            self.given += 1;
            INPUTS[self.given - 1]
        });
        self.workers[name] = Some(Work::new(input, name, fence));
    }

    pub(crate) fn acknowledge(&mut self, input: Sequence) {
        if self.pending == Some(input) {
            self.pending = None;
            self.acknowledged.push(input);
        }
    }

    /// Outputs that are still there.
    pub(crate) fn subject(&self) -> &[Output] {
        &self.outputs[self.expired..]
    }

    pub(crate) fn tail(&self) -> Option<Tail> {
        self.subject().last().map(Output::as_tail)
    }

    /// Where the broker stored it; `None` when it refused.
    pub(crate) fn publish(&mut self, expected: Option<Sequence>, output: Output, fence: &Fence) -> Option<Sequence> {
        if fence.mistake == Some(Mistake::PublishById) {
            let before = self.subject().iter().find(|stored| stored.input == output.input);
            if let Some(before) = before {
                return Some(before.sequence);
            }
        }
        let ends = self.subject().last().map_or(0, |output| output.sequence);
        if expected.is_some_and(|expected| expected != ends) {
            return None;
        }
        let sequence = self.outputs.last().map_or(0, |output| output.sequence) + STRIDE;
        self.outputs.push(Output { sequence, ..output });
        Some(sequence)
    }

    /// Whether the store took it.
    pub(crate) fn commit(&mut self, from: Option<&Record>, to: Stored, fence: &Fence) -> bool {
        if from.is_some_and(|from| *from != self.store.record) {
            return false;
        }
        if fence.rollbacks_max > self.rollbacks && !self.snapshots.contains(&to) {
            self.snapshots.push(to.clone());
            // One order whatever the history, so that equal worlds are equal.
            self.snapshots.sort_by(|a, b| a.rank().cmp(&b.rank()));
        }
        self.store = to;
        true
    }

    fn has_forgotten(&mut self, fence: &Fence) {
        self.rollbacks += 1;
        if self.rollbacks == fence.rollbacks_max {
            self.snapshots.clear();
        }
    }

    /// Latest input whose output has outlived its time, and with it the input itself: it was stored earlier, and both
    /// are kept for equally long.
    pub(crate) fn horizon(&self) -> Sequence {
        self.outputs[..self.expired].last().map_or(0, |output| output.input)
    }

    /// Outputs are kept for days, so nobody is at work on an input as old as the latest of them, and nothing that
    /// concerns it is on its way. (A worker gives an attempt up long before.)
    fn may_expire(&self) -> bool {
        let Some(last) = self.subject().last() else { return false };
        let old = |input: Sequence| input <= last.input;
        let late_is_old = self.late.as_ref().is_some_and(|request| match request {
            Request::Publish { output, .. } => old(output.input),
            Request::Commit { to, .. } => old(to.record.input),
        });
        !late_is_old && !self.workers.iter().flatten().any(|work| old(work.input()))
    }

    /// What was folded that long ago has left every window: nothing of it lives in any state.
    fn expire(&mut self) {
        self.expiries += 1;
        self.expired = self.outputs.len();
        let horizon = self.horizon();
        let forget = |states: &mut States| states.retain(|(input, _)| *input > horizon);
        forget(&mut self.store.states);
        self.snapshots.iter_mut().for_each(|snapshot| forget(&mut snapshot.states));
        self.outputs.iter_mut().for_each(|output| forget(&mut output.from));
        self.workers.iter_mut().flatten().for_each(|work| work.forget(&forget));
        match &mut self.late {
            Some(Request::Publish { output, .. }) => forget(&mut output.from),
            Some(Request::Commit { to, .. }) => forget(&mut to.states),
            None => {}
        }
        if let Some(pending) = self.pending
            && pending <= horizon
        {
            // The broker cannot give out what it does not have any more.
            self.acknowledge(pending);
        }
    }
}

impl Output {
    fn as_tail(&self) -> Tail {
        let epoch = name_of(self.epoch);
        Tail { output: self.sequence, input: self.input, previous_input: self.previous_input, epoch }
    }
}

impl Stored {
    fn rank(&self) -> (Sequence, Sequence, &str, &States) {
        (self.record.input, self.record.output, &self.record.epoch, &self.states)
    }
}

pub(crate) fn name_of(epoch: Epoch) -> String {
    char::from(epoch).to_string()
}

pub(crate) fn epoch_of(name: &str) -> Epoch {
    name.bytes().next().expect("every output and every commit names its epoch")
}

/// What one input adds to the states: a poisoned one, nothing.
pub(crate) fn folded(states: &States, input: Sequence, epoch: Epoch) -> States {
    let mut states = states.clone();
    if input != POISON {
        states.push((input, epoch));
    }
    states
}
