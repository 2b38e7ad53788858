//! The case builder: one worker a tenant that folds all partitions' signals and has the shards log what follows.
//!
//! Its state is nothing but the fold of what the signal streams hold, so it is rebuilt by reading them from the beginning: nothing else
//! is stored. What follows from batches that were acknowledged was logged before they were, all of it, so folding them
//! again is silent; that costs no look at a log, and what the streams no longer hold cannot make a case look new.
//! From there on every entry is compared with what its log says.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use trailwarden_bus::{Sequence, Stored};
use trailwarden_proto::{v1, wire};
use trailwarden_runtime::failpoint;

use crate::docket::Entry;
use crate::fold::{Fold, Refused};
use crate::site::Site;
use crate::supervision::{Failure, Fate, Handle, Policy, Work, Worker};

/// Events of each partition that wait for their turn from which on partitions that are ahead of another are held back: some
/// batches' worth, so that they hardly ever wait where all go on alike.
const WAITING_A_PARTITION: usize = 2_048;
/// Of all partitions together.
const WAITING_FROM_MAX: usize = 32_768;
/// Deaths of the builder over one batch, after which the batch is left out.
const STRIKES_MAX: u32 = 2;

/// How long to wait for the answer whether all is folded.
const LEVEL_PATIENCE: Duration = Duration::from_secs(5);

/// How the builder is looked after. A batch is done once all that follows is logged; a broker that is away for longer
/// than the deadline costs a fold from the beginning, which is when there is nothing else to do.
pub(crate) const POLICY: Policy = Policy {
    mailbox_max: 1_024,
    deadline: Duration::from_secs(300),
    restarts_max: 5,
    window: Duration::from_secs(600),
};

/// What the builder is asked for.
pub(crate) enum Request {
    /// How far a partition has been folded.
    Where { partition: u16 },
    /// Fold this message.
    Fold {
        partition: u16,
        message: Stored,
        /// The message before it on its subject, where whoever asks has read them one after the other.
        follows: Option<Sequence>,
        /// Whether it may not be held back any longer.
        is_urgent: bool,
    },
    /// Whether all that is acknowledged has been folded.
    Level,
    /// The stream holds nothing of the partition after `after` up to `until`.
    Nothing { partition: u16, after: Sequence, until: Sequence },
}

/// What the builder answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All up to here has been folded, and what followed is logged.
    At(Sequence),
    /// Between the message and what was folded others are missing; they come after this sequence.
    Behind(Sequence),
    /// Others have to come first; try again.
    Hold,
}

/// How far each partition is acknowledged, as far as that is known.
#[derive(Debug)]
pub(crate) struct Floors(Mutex<Vec<Floor>>);

#[derive(Clone, Copy, Debug, Default)]
struct Floor {
    acknowledged: Option<Sequence>,
    /// Nothing is acknowledged beyond it.
    is_whole: bool,
}

impl Floors {
    pub(crate) fn new(partitions: u16) -> Self {
        Self(Mutex::new(vec![Floor::default(); usize::from(partitions)]))
    }

    fn held(&self) -> MutexGuard<'_, Vec<Floor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn raise(&self, partition: u16, to: Sequence) {
        if let Some(floor) = self.held().get_mut(usize::from(partition)) {
            floor.acknowledged = floor.acknowledged.max(Some(to));
        }
    }

    /// All that is acknowledged has been folded, and what follows is logged.
    pub(crate) fn complete(&self, partition: u16) {
        if let Some(floor) = self.held().get_mut(usize::from(partition)) {
            floor.is_whole = true;
        }
    }

    pub(crate) fn of(&self, partition: u16) -> Option<Sequence> {
        self.held().get(usize::from(partition))?.acknowledged
    }

    pub(crate) fn is_whole(&self, partition: u16) -> bool {
        self.held().get(usize::from(partition)).is_some_and(|floor| floor.is_whole)
    }

    /// Whether this holds of all partitions.
    pub(crate) fn are_whole(&self) -> bool {
        self.held().iter().all(|floor| floor.is_whole)
    }

    /// Whether it is known of all partitions.
    pub(crate) fn are_known(&self) -> bool {
        self.held().iter().all(|floor| floor.acknowledged.is_some())
    }

    fn all(&self) -> Option<Vec<Sequence>> {
        self.held().iter().map(|floor| floor.acknowledged).collect()
    }
}

/// Batches that the builder died over; outlives it.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    at: Option<(u16, Sequence)>,
    strikes: BTreeMap<(u16, Sequence), u32>,
}

/// Whether the builder has folded all that is acknowledged.
pub(crate) async fn is_level(builder: &Handle<Builder>) -> bool {
    matches!(builder.ask(Request::Level, LEVEL_PATIENCE).await, Ok(Answer::At(_)))
}

#[derive(Clone, Copy, Debug, Default)]
struct Position {
    sequence: Sequence,
    /// The input that the latest batch was made from; a batch names that of the one before it.
    input: Sequence,
}

/// Folds signals of all partitions.
pub(crate) struct Builder {
    site: Site,
    fold: Fold,
    positions: Vec<Position>,
    /// Acknowledged when this builder began: what is folded in silence, before anything else.
    silent: Option<Vec<Sequence>>,
}

impl Builder {
    pub(crate) fn new(site: Site) -> Self {
        {
            let mut suspects = site.suspects.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = suspects.at.take() {
                *suspects.strikes.entry(at).or_default() += 1;
            }
        }
        let positions = vec![Position::default(); usize::from(site.ground.partitions)];
        Self { fold: Fold::new(&site.ground), positions, silent: None, site }
    }

    fn position(&mut self, partition: u16) -> Option<&mut Position> {
        self.positions.get_mut(usize::from(partition))
    }

    /// Whether what is acknowledged has been folded; until then nothing else is.
    fn is_level(&mut self) -> bool {
        if self.silent.is_none() {
            self.silent = self.site.floors.all();
        }
        let Some(silent) = &self.silent else { return false };
        self.positions.iter().zip(silent).all(|(position, floor)| position.sequence >= *floor)
    }

    fn is_at_floor(&self, partition: u16) -> bool {
        let at = usize::from(partition);
        let floor = self.silent.as_ref().and_then(|silent| silent.get(at));
        floor.zip(self.positions.get(at)).is_some_and(|(floor, position)| position.sequence >= *floor)
    }

    /// Waiting events from which on those that are ahead wait too, in their streams.
    fn waiting_from(&self) -> usize {
        WAITING_A_PARTITION.saturating_mul(self.positions.len()).min(WAITING_FROM_MAX)
    }

    /// Whether a partition has come so far ahead of another that the other goes first.
    fn has_to_wait(&self, partition: u16, is_silent: bool) -> bool {
        let slowest = self.fold.slowest();
        // Before all is level, one that has come to its floor cannot go on before this one does.
        slowest != partition && !(is_silent && self.is_at_floor(slowest))
    }

    fn is_silent(&self, partition: u16, sequence: Sequence) -> bool {
        let floor = self.silent.as_ref().and_then(|silent| silent.get(usize::from(partition)));
        floor.is_some_and(|floor| sequence <= *floor)
    }

    fn fold(&mut self, partition: u16, message: Stored, follows: Option<Sequence>, is_urgent: bool) -> Work<Answer> {
        let is_level = self.is_level();
        let Some(position) = self.position(partition).copied() else {
            return answer(Answer::Hold);
        };
        let sequence = message.sequence;
        if sequence <= position.sequence {
            return answer(Answer::At(position.sequence));
        }
        let is_silent = self.is_silent(partition, sequence);
        if !is_level && !is_silent {
            // Its own partition first; then it waits for those of the others.
            let is_own_level = self.is_at_floor(partition);
            return answer(if is_own_level { Answer::Hold } else { Answer::Behind(position.sequence) });
        }
        let batch = self.read(partition, &message);
        let is_next = follows == Some(position.sequence)
            || batch
                .as_ref()
                .is_some_and(|batch| position.input > 0 && batch.previous_input_sequence == position.input);
        if !is_next {
            return answer(Answer::Behind(position.sequence));
        }
        if !is_urgent && self.fold.waiting() > self.waiting_from() && self.has_to_wait(partition, is_silent) {
            return answer(Answer::Hold);
        }
        let Some(batch) = batch else {
            // What came before the next one is told by who reads them in order.
            self.advance(partition, Position { sequence, input: 0 });
            let site = self.site.clone();
            return Box::pin(async move {
                site.bury_batch(partition, message).await;
                Answer::At(sequence)
            });
        };
        let (scored, signals) = (u64::from(batch.scored), batch.events.len() as u64);
        let site = self.site.clone();
        let mut stopwatch = site.metrics.stopwatch();
        let (entries, refused) = self.push(partition, sequence, batch);
        stopwatch.lap("fold");
        if is_silent {
            return answer(Answer::At(sequence));
        }
        failpoint::hit("council.gathered");
        let waited = waited(&message);
        let site = self.site.clone();
        Box::pin(async move {
            let mut stopwatch = site.metrics.stopwatch();
            for refused in refused {
                site.bury_event(partition, sequence, refused).await;
            }
            site.log(entries).await;
            stopwatch.lap("log");
            site.metrics.batch(scored);
            site.metrics.signals(signals);
            waited.into_iter().for_each(|delay| site.metrics.signal_delay(delay));
            failpoint::hit("council.logged");
            Answer::At(sequence)
        })
    }

    /// `None` for a batch that cannot be read, or that the builder died over before.
    fn read(&self, partition: u16, message: &Stored) -> Option<v1::SignalBatch> {
        let place = (partition, message.sequence);
        let suspects = self.site.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        if suspects.strikes.get(&place).is_some_and(|strikes| *strikes >= STRIKES_MAX) {
            return None;
        }
        drop(suspects);
        wire::unpack(&message.payload).ok()
    }

    fn push(&mut self, partition: u16, sequence: Sequence, batch: v1::SignalBatch) -> (Vec<Entry>, Vec<Refused>) {
        self.suspect(Some((partition, sequence)));
        let (input, previous) = (batch.input_sequence, batch.previous_input_sequence);
        let before = self.position(partition).map_or(0, |position| position.input);
        if before != previous && before > 0 {
            tracing::warn!(partition, sequence, "signals between two batches are no longer there");
        }
        self.advance(partition, Position { sequence, input });
        let out = self.fold.push(partition, batch);
        self.suspect(None);
        out
    }

    fn advance(&mut self, partition: u16, to: Position) {
        if let Some(position) = self.position(partition) {
            *position = to;
        }
    }

    fn suspect(&self, at: Option<(u16, Sequence)>) {
        self.site.suspects.lock().unwrap_or_else(PoisonError::into_inner).at = at;
    }
}

/// From when the broker took a batch's activities in to when it took their signals in, both by its clock.
fn waited(message: &Stored) -> Option<Duration> {
    let taken_ms: i64 = message.headers.get(wire::TAKEN)?.parse().ok()?;
    let waited_ms = message.stored_at.as_millis().checked_sub(taken_ms)?;
    u64::try_from(waited_ms).ok().map(Duration::from_millis)
}

fn answer(answer: Answer) -> Work<Answer> {
    Box::pin(std::future::ready(answer))
}

impl Worker for Builder {
    type Request = Request;
    type Answer = Answer;

    fn begin(&mut self, request: Request) -> Work<Answer> {
        match request {
            Request::Where { partition } => {
                answer(Answer::At(self.position(partition).map_or(0, |position| position.sequence)))
            }
            Request::Level if self.is_level() => answer(Answer::At(0)),
            Request::Level => answer(Answer::Hold),
            Request::Nothing { partition, after, until } => match self.position(partition) {
                Some(position) if position.sequence == after => {
                    position.sequence = until.max(after);
                    answer(Answer::At(position.sequence))
                }
                // Built anew since this was found out: what lies before `after` is missing here.
                position => answer(Answer::Behind(position.map_or(0, |position| position.sequence))),
            },
            Request::Fold { partition, message, follows, is_urgent } => {
                self.fold(partition, message, follows, is_urgent)
            }
        }
    }

    fn failed(&mut self, _: Failure) -> Fate {
        // What was to be logged is lost with the work. The fold knows it still, from the beginning.
        Fate::Ends
    }
}
