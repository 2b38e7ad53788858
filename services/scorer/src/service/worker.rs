//! One task a partition: feature batches in, signal batches out, one at a time and each exactly once.
//!
//! The scorer keeps nothing: where the output subject ends tells what is done, and a publication that names where it
//! must end cannot be made twice, by whomever.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use trailwarden_bus::{
    Bus, Consumer, DeadLetter, Delivery, Error as BusError, Outgoing, Published, Stored, Stream, Subject,
};
use trailwarden_core::fence::{Action, Sequence, Tail, relay};
use trailwarden_proto::wire::{self, Chain, TAKEN};
use trailwarden_proto::{Invalid, v1};
use trailwarden_runtime::backoff::Backoff;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::{failpoint, telemetry};

use super::look::{Poison, Stage};

/// How long a subscription waits for a message before it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
/// Unacknowledged for so long, a batch is given to another scorer; progress is told while a batch waits for the broker.
const ACK_WAIT: Duration = Duration::from_secs(3);
/// Deliveries after which the broker gives up.
const DELIVERIES_MAX: u32 = 1_000;
/// Deliveries after which a batch is taken to kill whoever works on it.
const DELIVERIES_SUSPECT: u64 = 100;

/// The scorer's task for one partition.
pub(super) struct Worker {
    pub(super) partition: u16,
    pub(super) input: Subject,
    pub(super) output: Subject,
    pub(super) stage: Arc<Stage>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) metrics: Metrics,
    pub(super) shutdown: CancellationToken,
}

/// The durable consumer that all scorers share for a partition.
pub(super) fn consumer(input: &Subject, partition: u16) -> Consumer {
    Consumer {
        stream: Stream::Feature,
        name: format!("scorer-p{partition:03}"),
        filter: input.to_string(),
        in_flight_max: 1,
        ack_wait: ACK_WAIT,
        deliveries_max: DELIVERIES_MAX,
        idle_max: None,
    }
}

/// What the worker knows of where its output ends.
enum Ends {
    Unknown,
    At(Option<Tail>),
}

/// Why a batch was not finished.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("the latest output names no place in the chain: {0}")]
    Chain(#[from] Invalid),
    /// The operator's.
    #[error("the latest output names an input of a stream that was made anew; make the streams after it anew too")]
    Foreign,
}

impl Worker {
    /// Works until `shutdown`, through whatever the broker does.
    pub(super) async fn run(self) {
        let consumer = consumer(&self.input, self.partition);
        let mut backoff = Backoff::new(self.partition.into());
        let mut ends = Ends::Unknown;
        while !self.shutdown.is_cancelled() {
            let error = match self.bus.subscribe(&consumer).await {
                Err(error) => error,
                Ok(mut messages) => loop {
                    let next = tokio::select! {
                        biased;
                        () = self.shutdown.cancelled() => return,
                        next = messages.next(PATIENCE) => next,
                    };
                    match next {
                        Ok(Some(delivery)) => self.deliver(delivery, &mut ends).await,
                        Ok(None) => {}
                        Err(error) => break error,
                    }
                    backoff.reset();
                },
            };
            self.wait("pull", &error, &mut backoff).await;
        }
    }

    async fn deliver(&self, delivery: Box<dyn Delivery>, ends: &mut Ends) {
        let Stored { sequence, subject, headers, .. } = delivery.message();
        if delivery.deliveries() > 1 {
            self.metrics.redelivered(subject, *sequence, delivery.deliveries());
        }
        let span = tracing::debug_span!("batch", partition = self.partition, sequence, events = tracing::field::Empty);
        telemetry::extract(headers).attach(&span);
        self.batch(delivery, ends).instrument(span).await;
    }

    /// Takes one batch to its end: published, or found published, and acknowledged. Only a shutdown ends it earlier.
    async fn batch(&self, delivery: Box<dyn Delivery>, ends: &mut Ends) {
        let mut backoff = Backoff::new(self.partition.into());
        let mut made = None;
        loop {
            let failure = match self.step(delivery.as_ref(), ends, &mut made).await {
                Ok(()) => break,
                Err(failure) => failure,
            };
            *ends = Ends::Unknown;
            if self.shutdown.is_cancelled() {
                let _ = delivery.hand_back(Duration::ZERO).await;
                return;
            }
            // If the broker cannot be told, it gives the batch to another; the chain bears that.
            let _ = delivery.progress().await;
            self.wait("batch", &failure, &mut backoff).await;
        }
        let mut stopwatch = self.metrics.stopwatch();
        match delivery.ack().await {
            Ok(()) => stopwatch.lap("acknowledge"),
            // It comes again, and is found done.
            Err(error) => self.metrics.failed("acknowledge", &error),
        }
    }

    /// Until the batch's output is in the chain.
    async fn step(
        &self,
        delivery: &dyn Delivery,
        ends: &mut Ends,
        made: &mut Option<v1::SignalBatch>,
    ) -> Result<(), Failure> {
        let message = delivery.message();
        loop {
            let tail = match ends {
                Ends::At(tail) => tail.clone(),
                Ends::Unknown => self.tail().await?,
            };
            let (expected, previous_input) = match relay(message.sequence, tail.as_ref()) {
                Action::Publish { expected, previous_input } => (expected, previous_input),
                // Whatever else: there is nothing to publish, if the subject says so itself.
                _ => {
                    let (fresh, is_done) = self.check_done(message).await?;
                    *ends = Ends::At(fresh);
                    if is_done {
                        return Ok(());
                    }
                    continue;
                }
            };
            let signals = match made.take() {
                Some(signals) => signals,
                None => {
                    let mut stopwatch = self.metrics.stopwatch();
                    let signals = self.signals(delivery).await?;
                    stopwatch.lap("compute");
                    tracing::Span::current().record("events", signals.scored);
                    failpoint::hit("scorer.computed");
                    signals
                }
            };
            let signals = made.insert(signals);
            (signals.input_sequence, signals.previous_input_sequence) = (message.sequence, previous_input);
            let mut stopwatch = self.metrics.stopwatch();
            match self.publish(message, signals, expected).await {
                Ok(Published::Stored(output)) => {
                    stopwatch.lap("publish");
                    self.metrics.batch(signals.scored.into());
                    self.metrics.signals(signals.events.len() as u64);
                    failpoint::hit("scorer.published");
                    let (input, epoch) = (message.sequence, String::new());
                    *ends = Ends::At(Some(Tail { output, input, previous_input, epoch }));
                    return Ok(());
                }
                // Somebody was faster: look again, and decide again.
                Ok(Published::Duplicate(_)) | Err(BusError::Refused { .. }) => *ends = Ends::Unknown,
                Err(error @ BusError::Invalid { .. }) if !signals.events.is_empty() => {
                    *made = Some(self.bury(message, "refused", &error.to_string()).await?);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What the batch gives; nothing, once it is among the dead letters, where it cannot be worked on.
    async fn signals(&self, delivery: &dyn Delivery) -> Result<v1::SignalBatch, Failure> {
        let message = delivery.message();
        if delivery.deliveries() > DELIVERIES_SUSPECT {
            return self.bury(message, "undone", "whoever works on it does not finish").await;
        }
        // Awaited in place, on a thread of the runtime: 1,024 events cost trees about 4 ms, for which other partitions have the
        // other threads. Networks, which cost a hundred times as much, see few of them.
        let payload = match self.bus.content(message).await {
            Ok(Some(payload)) => payload,
            Ok(None) => return self.bury(message, "missing", "the object that holds it is gone").await,
            // A name that cannot be, or an object that is damaged: no trying again will mend it.
            Err(BusError::Invalid { what }) => return self.bury(message, "missing", &what).await,
            Err(error) => return Err(error.into()),
        };
        match self.stage.signals(&payload) {
            Ok(signals) => Ok(signals),
            Err(poison) => self.bury(message, poison.name(), &poison_reason(&poison)).await,
        }
    }

    async fn bury(&self, message: &Stored, reason: &'static str, why: &str) -> Result<v1::SignalBatch, Failure> {
        let letter = DeadLetter {
            subject: message.subject.clone(),
            sequence: message.sequence,
            place: None,
            reason: why.to_owned(),
            payload: message.payload.clone(),
        };
        self.bus.bury(&letter).await?;
        self.metrics.buried(reason, why, &message.subject, message.sequence, None);
        // What time it was before is all that is known of what time it is.
        let last = self.bus.last(&self.output).await?;
        let last = last.and_then(|last| wire::unpack::<v1::SignalBatch>(&last.payload).ok());
        Ok(self.stage.nothing(last.map_or(0, |last| last.watermark_ms)))
    }

    async fn publish(
        &self,
        message: &Stored,
        signals: &v1::SignalBatch,
        expected: Sequence,
    ) -> Result<Published, BusError> {
        let mut headers = telemetry::hand_on(&message.headers);
        headers.extend(message.headers.get_key_value(TAKEN).map(|(name, at)| (name.clone(), at.clone())));
        let (input, previous_input) = (message.sequence, signals.previous_input_sequence);
        Chain { input, previous_input, epoch: String::new() }.write(&mut headers);
        // Without an id: what it expects makes it unique, for longer than a broker remembers ids.
        let outgoing = Outgoing { payload: wire::pack(signals), id: None, expected: Some(expected), headers };
        self.bus.publish(&self.output, outgoing).await
    }

    /// Where the output ends, and whether that tells that a message is done with. A stream that was made anew numbers its
    /// messages from 1 again, and what is new must not be taken for what was done long since.
    async fn check_done(&self, message: &Stored) -> Result<(Option<Tail>, bool), Failure> {
        let Some(last) = self.bus.last(&self.output).await? else { return Ok((None, false)) };
        let tail = Chain::read(&last.headers)?.tail(last.sequence);
        let is_done = message.sequence <= tail.input;
        if is_done && message.stored_at > last.stored_at {
            return Err(Failure::Foreign);
        }
        Ok((Some(tail), is_done))
    }

    async fn tail(&self) -> Result<Option<Tail>, Failure> {
        let Some(last) = self.bus.last(&self.output).await? else { return Ok(None) };
        Ok(Some(Chain::read(&last.headers)?.tail(last.sequence)))
    }

    async fn wait(&self, what: &'static str, error: &(dyn Error + Sync), backoff: &mut Backoff) {
        // Shorter than the broker's patience with a batch, so that progress is told in time.
        let wait = backoff.next_delay().min(ACK_WAIT / 2);
        self.metrics.retrying(what, backoff.attempts(), wait, error);
        tokio::select! {
            () = sleep(wait) => {}
            () = self.shutdown.cancelled() => {}
        }
    }
}

fn poison_reason(poison: &Poison) -> String {
    format!("scorer: {poison}")
}
