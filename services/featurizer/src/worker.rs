//! One partition's worker: takes batches one by one through the fence.
//!
//! The fence decides, the partition's method measures; this only reads, publishes, commits, and never gives up.

mod batch;
mod cache;
mod epochs;
mod health;
mod rebuild;
mod task;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use trailwarden_bus::{Bus, CLAIM, Consumer, Delivery, Error as BusError, Stored, Stream, Subject};
use trailwarden_core::activity::Activity;
use trailwarden_core::api::Vocabulary;
use trailwarden_core::baseline::Epoch;
use trailwarden_core::fence::{Action, Attempt, Record};
use trailwarden_core::time::Timestamp;
use trailwarden_proto::wire;
use trailwarden_runtime::backoff::Backoff;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::{failpoint, pace, telemetry};

use crate::partition::{Changes, Loaded, Method, Needs, Outcome};
use crate::store::{Error as StoreError, PartitionKey, WindowStore};
use cache::Cache;
use task::Task;

pub use epochs::{Epochs, Named};
pub use health::Health;

/// Says that an output's payload names dead places.
const DEAD: &str = "Tw-Dead";

/// Unacknowledged for so long, a batch is given to somebody again.
const ACK_WAIT: Duration = Duration::from_secs(3);
/// How often the broker is told that work goes on: a lost word or two does no harm.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Wait for the next batch before looking whether to stop.
const PATIENCE: Duration = Duration::from_secs(5);
/// Deliveries after which the broker gives up a batch, and says so.
const DELIVERIES_MAX: u32 = 32;
/// Steps of the fence before somebody else may try: only racing workers need more than a few.
const STEPS_MAX: usize = 32;
/// Before a batch that was handed back after too many steps comes again.
const RACE_DELAY: Duration = Duration::from_millis(200);

/// How activities are measured; a parameter so that tests can let it fail.
pub trait Measure: Send + Sync + 'static {
    /// What of the store the activities need.
    fn needs(&self, activities: &[Activity<'_>]) -> Needs;

    /// See [`Method::work`].
    fn work(
        &self,
        loaded: Loaded,
        epoch: &Epoch,
        activities: &[Activity<'_>],
        tick: Option<Timestamp>,
        stored_at: Timestamp,
    ) -> (Vec<Outcome>, Changes);
}

/// The product's own method.
#[derive(Clone, Debug)]
pub struct Measuring {
    pub vocabulary: Arc<Vocabulary>,
    pub with_sequences: bool,
}

impl Measure for Measuring {
    fn needs(&self, activities: &[Activity<'_>]) -> Needs {
        Needs::of(activities)
    }

    fn work(
        &self,
        loaded: Loaded,
        epoch: &Epoch,
        activities: &[Activity<'_>],
        tick: Option<Timestamp>,
        stored_at: Timestamp,
    ) -> (Vec<Outcome>, Changes) {
        let method = Method { vocabulary: &self.vocabulary, with_sequences: self.with_sequences };
        method.work(loaded, epoch, activities, tick, stored_at)
    }
}

/// What the workers of a process share.
#[derive(Clone)]
pub struct Context {
    pub bus: Arc<dyn Bus>,
    pub store: Arc<dyn WindowStore>,
    pub measure: Arc<dyn Measure>,
    pub epochs: Arc<Epochs>,
    pub health: Health,
    pub metrics: Metrics,
}

/// Why an attempt ended early. Whoever is at fault, it is tried again.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the latest output of the partition is not ours: {0}")]
    Foreign(String),
    #[error("the object {0} is missing")]
    Unclaimed(String),
    #[error("this should not be: {0}")]
    Stuck(String),
}

impl Failure {
    /// For measures.
    fn name(&self) -> &'static str {
        match self {
            Self::Bus(_) => "bus",
            Self::Store(_) => "store",
            Self::Foreign(_) => "foreign",
            Self::Unclaimed(_) => "missing",
            Self::Stuck(_) => "stuck",
        }
    }

    /// Whether it is likely to go away by itself.
    fn is_transient(&self) -> bool {
        match self {
            Self::Bus(error) => error.is_transient() || matches!(error, BusError::Refused { .. }),
            Self::Store(error) => matches!(error, StoreError::Unavailable(_)),
            Self::Foreign(_) | Self::Unclaimed(_) | Self::Stuck(_) => false,
        }
    }
}

/// How the work on a delivered batch ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Done,
    HandBack(Duration),
}

/// The durable consumer that all featurizers share for a partition.
pub(crate) fn consumer(input: &Subject, partition: u16) -> Consumer {
    Consumer {
        stream: Stream::Activity,
        name: format!("featurizer-p{partition:03}"),
        filter: input.to_string(),
        in_flight_max: 1,
        ack_wait: ACK_WAIT,
        deliveries_max: DELIVERIES_MAX,
        idle_max: None,
    }
}

/// One partition's worker.
pub struct Worker {
    context: Context,
    key: PartitionKey,
    input: Subject,
    output: Subject,
    cache: Cache,
}

impl Worker {
    pub fn new(context: Context, key: PartitionKey) -> Self {
        let input = Subject::partition(Stream::Activity, &key.tenant, key.partition);
        let output = Subject::partition(Stream::Feature, &key.tenant, key.partition);
        Self { context, key, input, output, cache: Cache::default() }
    }

    /// Works until `shutdown`, then finishes the batch at hand.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut backoff = Backoff::new(self.key.partition.into());
        while !shutdown.is_cancelled() {
            match self.pull(&shutdown, &mut backoff).await {
                Ok(()) => return,
                Err(error) => self.complain(&Failure::Bus(error)),
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(backoff.next_delay()) => {}
            }
        }
    }

    async fn pull(&mut self, shutdown: &CancellationToken, backoff: &mut Backoff) -> Result<(), BusError> {
        let mut subscription = self.context.bus.subscribe(&consumer(&self.input, self.key.partition)).await?;
        self.context.health.well(self.key.partition);
        loop {
            let next = tokio::select! {
                // A batch that has come is not dropped for the sake of stopping.
                biased;
                next = subscription.next(PATIENCE) => next?,
                () = shutdown.cancelled() => return Ok(()),
            };
            backoff.reset();
            if let Some(delivery) = next {
                self.deliver(delivery, shutdown).await?;
            }
            if shutdown.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Works on a delivery, telling the broker all the while that work goes on.
    async fn deliver(&mut self, delivery: Box<dyn Delivery>, shutdown: &CancellationToken) -> Result<(), BusError> {
        failpoint::hit("featurizer.read");
        let Stored { subject, sequence, headers, .. } = delivery.message();
        if delivery.deliveries() > 1 {
            self.context.metrics.redelivered(subject, *sequence, delivery.deliveries());
        }
        let (partition, events) = (self.key.partition, tracing::field::Empty);
        let span = tracing::debug_span!("batch", partition, sequence, events);
        telemetry::extract(headers).attach(&span);
        let end = {
            let work = self.work(delivery.message(), delivery.deliveries(), shutdown).instrument(span);
            let progress = async {
                loop {
                    tokio::time::sleep(PROGRESS_EVERY).await;
                    if let Err(error) = delivery.progress().await {
                        tracing::debug!(%error, "cannot tell the broker that work goes on");
                    }
                }
            };
            tokio::select! {
                end = work => end,
                () = progress => End::HandBack(Duration::ZERO),
            }
        };
        match end {
            End::Done => {
                let mut stopwatch = self.context.metrics.stopwatch();
                delivery.ack().await?;
                stopwatch.lap("acknowledge");
                Ok(())
            }
            End::HandBack(delay) => delivery.hand_back(delay).await,
        }
    }

    /// Tries until it is done, or until it is time to stop.
    async fn work(&mut self, message: &Stored, deliveries: u64, shutdown: &CancellationToken) -> End {
        let mut backoff = Backoff::new(self.key.partition.into());
        loop {
            match self.attempt(message, deliveries).await {
                Ok(done) => {
                    self.context.health.well(self.key.partition);
                    return if done { End::Done } else { End::HandBack(RACE_DELAY) };
                }
                Err(Failure::Store(StoreError::Corrupt { key, what })) => {
                    tracing::error!(key, what, "state cannot be read, it is built anew");
                    self.cache.clear();
                    if let Err(error) = self.context.store.clear(&self.key).await {
                        self.complain(&Failure::Store(error));
                    }
                }
                Err(failure) => self.complain(&failure),
            }
            tokio::select! {
                () = shutdown.cancelled() => return End::HandBack(Duration::ZERO),
                () = tokio::time::sleep(backoff.next_delay()) => {}
            }
        }
    }

    fn complain(&self, failure: &Failure) {
        self.context.health.ill(self.key.partition);
        self.context.metrics.failed(failure.name(), failure);
        if !failure.is_transient() {
            tracing::error!(partition = self.key.partition, "a batch cannot be worked on until this is mended");
        }
    }

    /// What was committed. Of the states one is looked at: over many batches that shows how large they are, and costs
    /// next to nothing.
    fn tell(&self, (events, duplicates): (u64, u64), to: &Record, changes: &Changes) {
        let metrics = &self.context.metrics;
        metrics.batch(events);
        metrics.duplicates(duplicates);
        let place = usize::try_from(to.input).unwrap_or_default().checked_rem(changes.live.len());
        if let Some(state) = place.and_then(|place| changes.live.values().nth(place)) {
            metrics.state_size(state.pack().len() as u64);
        }
    }

    /// Takes a message through the fence, once. Whether it is done with; if not, others are at it.
    async fn attempt(&mut self, message: &Stored, deliveries: u64) -> Result<bool, Failure> {
        let mut attempt = Attempt::new(message.sequence);
        let mut task = Task::open(self, message, deliveries).await?;
        let mut action = Action::Read;
        let metrics = self.context.metrics.clone();
        let mut stopwatch = metrics.stopwatch();
        for _ in 0..STEPS_MAX {
            action = match action {
                Action::Read => {
                    let record = task.load(self).await?;
                    stopwatch.lap("read");
                    let next = attempt.read(record);
                    if next == Action::Acknowledge {
                        self.check_done(message).await?;
                    }
                    next
                }
                Action::Publish { expected, previous_input } => {
                    task.measure(self, previous_input).await?;
                    stopwatch.lap("compute");
                    pace::keep(task.events()).await;
                    failpoint::hit("featurizer.computed");
                    let published = task.publish(self, expected).await;
                    stopwatch.lap("publish");
                    match published {
                        Ok(output) => {
                            failpoint::hit("featurizer.published");
                            attempt.published(output, task.epoch())
                        }
                        Err(Failure::Bus(BusError::Refused { .. })) => attempt.refused(task.look(self).await?),
                        Err(failure) => return Err(failure),
                    }
                }
                Action::Commit { from, to } => {
                    stopwatch.skip();
                    let won = task.commit(self, &from, &to).await?;
                    stopwatch.lap("commit");
                    if won {
                        failpoint::hit("featurizer.committed");
                    }
                    attempt.committed(won)
                }
                Action::Rebuild { from, until } => {
                    let rebuilding = metrics.stopwatch();
                    let inputs = self.rebuild(from, &until).await?;
                    metrics.rebuilt(self.key.partition, inputs, rebuilding.elapsed());
                    stopwatch.skip();
                    attempt.rebuilt()
                }
                Action::Acknowledge => return Ok(true),
            };
        }
        Ok(false)
    }

    /// A message that the record says is done is acknowledged on the chain's word alone: streams that were made anew number
    /// their messages from 1 again, and the store knows nothing of it.
    async fn check_done(&self, message: &Stored) -> Result<(), Failure> {
        let Some(last) = self.context.bus.last(&self.output).await? else { return Err(self.stale()) };
        let chain = wire::Chain::read(&last.headers).map_err(|error| Failure::Foreign(error.to_string()))?;
        if chain.input < message.sequence {
            return Err(self.stale());
        }
        if message.stored_at > last.stored_at {
            return Err(Failure::Foreign("it names inputs of a stream that was made anew".to_owned()));
        }
        Ok(())
    }

    /// States that rest on what the chain does not hold.
    fn stale(&self) -> Failure {
        let what = "it rests on a stream that is no longer there".to_owned();
        Failure::Store(StoreError::Corrupt { key: self.key.to_string(), what })
    }

    /// Reads the record and what a batch needs; what the cache holds of it is not read.
    async fn read(&mut self, needs: &Needs) -> Result<(Option<Record>, Loaded), StoreError> {
        let lacking = self.cache.lacking(needs);
        let (record, mut loaded) = self.context.store.read(&self.key, &lacking).await?;
        if self.cache.is_of(record.as_ref()) {
            self.cache.take(needs, &mut loaded.live);
            return Ok((record, loaded));
        }
        // Somebody else has been here, or the store has forgotten.
        self.cache.clear();
        match lacking == *needs {
            true => Ok((record, loaded)),
            false => self.context.store.read(&self.key, needs).await,
        }
    }

    /// A payload, wherever it is.
    async fn payload(&self, message: &Stored) -> Result<Bytes, Failure> {
        let unclaimed = || Failure::Unclaimed(message.headers.get(CLAIM).cloned().unwrap_or_default());
        match self.context.bus.content(message).await {
            Ok(content) => content.ok_or_else(unclaimed),
            // A name that cannot be, or an object that is damaged: no trying again will mend it.
            Err(BusError::Invalid { .. }) => Err(unclaimed()),
            Err(error) => Err(error.into()),
        }
    }
}
