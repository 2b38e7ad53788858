//! One task a partition and lane: gathers what comes, seals it, and publishes batch after batch, in order.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::Instrument;
use trailwarden_bus::{Bus, Outgoing, Published, Stream, Subject};
use trailwarden_core::time::Timestamp;
use trailwarden_proto::status::{Fault, Retry, status};
use trailwarden_proto::{v1, wire};
use trailwarden_runtime::backoff::Backoff;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::{Clock, failpoint, telemetry};

use super::Config;
use super::batch::{Pace, Part, Sealed, Waiting};

/// Parts that may wait for one partition before requests wait instead.
const PARTS_MAX: usize = 64;
/// Batches that are on their way to the broker at once, over all partitions.
const PUBLISHES_MAX: usize = 64;

enum Message {
    Part(Part),
    Tick(Timestamp),
}

/// The way to all partitions.
#[derive(Clone)]
pub(super) struct Batcher {
    live: Arc<[mpsc::Sender<Message>]>,
    backfill: Arc<[mpsc::Sender<Message>]>,
}

impl Batcher {
    /// Starts the tasks. They end once every clone of the batcher is gone and what was sent is published, or, after
    /// `shutdown`, once the broker does not take it.
    pub(super) fn start(
        config: &Config,
        bus: &Arc<dyn Bus>,
        (clock, metrics): (&Clock, &Metrics),
        shutdown: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(PUBLISHES_MAX));
        let mut lane = |stream| {
            let senders = (0..config.partitions).map(|number| {
                let (sender, queue) = mpsc::channel(PARTS_MAX);
                let partition = Partition {
                    number,
                    subject: Subject::partition(stream, &config.tenant, number),
                    events_max: config.batch_events_max,
                    linger_max: config.linger_max,
                    bus: Arc::clone(bus),
                    permits: Arc::clone(&permits),
                    clock: Arc::clone(clock),
                    metrics: metrics.clone(),
                    shutdown: shutdown.clone(),
                    queue,
                    watermark: None,
                    watermark_before: None,
                    due: None,
                };
                tasks.spawn(partition.run());
                sender
            });
            senders.collect()
        };
        Self { live: lane(Stream::Activity), backfill: lane(Stream::Backfill) }
    }

    /// Hands a part to its partition; waits while that has enough to do.
    pub(super) async fn send(&self, lane: v1::Lane, partition: u16, part: Part) -> Result<(), Status> {
        let lane = if lane == v1::Lane::Backfill { &self.backfill } else { &self.live };
        let sent = match lane.get(usize::from(partition)) {
            Some(queue) => queue.send(Message::Part(part)).await.is_ok(),
            None => false,
        };
        let ended = || status(Fault::Us, Retry::Later, "the partition's task has ended");
        sent.then_some(()).ok_or_else(ended)
    }

    /// Tells all live partitions how far event time has come. One whose queue is full hears the next.
    pub(super) fn tick(&self, at: Timestamp) {
        for queue in self.live.iter() {
            let _ = queue.try_send(Message::Tick(at));
        }
    }
}

struct Partition {
    number: u16,
    subject: Subject,
    events_max: usize,
    linger_max: Duration,
    bus: Arc<dyn Bus>,
    permits: Arc<Semaphore>,
    clock: Clock,
    metrics: Metrics,
    shutdown: CancellationToken,
    queue: mpsc::Receiver<Message>,
    /// As the partition has been told it, by a batch's events or by a tick.
    watermark: Option<Timestamp>,
    /// The same, when the tick before came.
    watermark_before: Option<Timestamp>,
    /// A tick that came while a batch was being gathered.
    due: Option<Timestamp>,
}

impl Partition {
    async fn run(mut self) {
        let (mut waiting, mut pace) = (Waiting::default(), Pace::default());
        while let Some(message) = self.queue.recv().await {
            match message {
                Message::Tick(at) => self.tick(at).await,
                Message::Part(part) => waiting.push(part),
            }
            while !waiting.is_empty() {
                self.gather(&mut waiting, pace.linger(self.linger_max)).await;
                let sealed = waiting.seal(self.number, self.events_max);
                pace.learn(sealed.receipts.len());
                self.watermark = self.watermark.max(sealed.latest);
                self.publish(sealed).await;
                if let Some(at) = self.due.take() {
                    self.tick(at).await;
                }
            }
        }
    }

    /// Takes what is there and what comes within `linger`, up to a full batch.
    async fn gather(&mut self, waiting: &mut Waiting, linger: Duration) {
        let until = Instant::now() + linger;
        while !waiting.fills(self.events_max) {
            match timeout_at(until, self.queue.recv()).await {
                Ok(Some(Message::Part(part))) => waiting.push(part),
                // The batch goes first: it may move the clock itself.
                Ok(Some(Message::Tick(at))) => self.due = Some(at),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Publishes a batch and tells those who wait for it. A broker that is full or away is asked again: what came in stays
    /// here, and what would come waits at its source.
    async fn publish(&self, sealed: Sealed) {
        let Sealed { batch, receipts, latest, links } = sealed;
        let events = batch.observations.len();
        let span = tracing::debug_span!("batch", partition = self.number, sequence = tracing::field::Empty, events);
        links.attach(&span);
        let mut outgoing = Outgoing { payload: wire::pack(&batch), id: Some(batch.id), ..Outgoing::default() };
        span.in_scope(|| telemetry::inject(&mut outgoing.headers));
        let mut stopwatch = self.metrics.stopwatch();
        match self.until_stored(outgoing).instrument(span).await {
            Ok(()) => {
                stopwatch.lap("publish");
                self.metrics.batch(events as u64);
                // History that is taken in after the fact is late by nature.
                if let Some(latest) = latest.filter(|_| self.subject.stream == Stream::Activity) {
                    let delay_ms = (self.clock)().since_ms(latest);
                    self.metrics.event_delay(Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0)));
                }
                receipts.iter().for_each(|(receipt, records)| receipt.durable(*records));
            }
            Err(refusal) => receipts.iter().for_each(|(receipt, _)| receipt.failed(refusal.clone())),
        }
    }

    async fn until_stored(&self, outgoing: Outgoing) -> Result<(), Status> {
        let mut backoff = Backoff::new(self.number.into());
        loop {
            let error = match self.try_publish(outgoing.clone()).await {
                Ok(Published::Stored(sequence) | Published::Duplicate(sequence)) => {
                    tracing::Span::current().record("sequence", sequence);
                    failpoint::hit("collector.published");
                    return Ok(());
                }
                Err(error) => error,
            };
            let mends = error.is_transient() || matches!(error, trailwarden_bus::Error::Missing { .. });
            if !mends {
                self.metrics.failed("publish", &error);
                return Err(status(Fault::Us, Retry::Never, error));
            }
            let delay = backoff.next_delay();
            self.metrics.retrying("publish", backoff.attempts(), delay, &error);
            tokio::select! {
                () = sleep(delay) => {}
                () = self.shutdown.cancelled() => return Err(status(Fault::Peer, Retry::Later, error)),
            }
        }
    }

    async fn try_publish(&self, outgoing: Outgoing) -> Result<Published, trailwarden_bus::Error> {
        // Nobody closes it; without a permit it would only be less orderly.
        let _permit = self.permits.acquire().await;
        self.bus.publish(&self.subject, outgoing).await
    }

    /// An empty batch, for a partition whose clock stands still: it has had nothing since the tick before, or late events
    /// alone. The cases of all partitions wait for the clock that is furthest behind.
    async fn tick(&mut self, at: Timestamp) {
        let moved = std::mem::replace(&mut self.watermark_before, self.watermark) != self.watermark;
        if moved || self.watermark >= Some(at) {
            return;
        }
        let id = format!("tick-{}-{}", self.number, at.as_millis());
        let batch = v1::ActivityBatch { id: id.clone(), watermark_ms: at.as_millis(), ..v1::ActivityBatch::default() };
        let outgoing = Outgoing { payload: wire::pack(&batch), id: Some(id), ..Outgoing::default() };
        match self.try_publish(outgoing).await {
            Ok(_) => (self.watermark, self.watermark_before) = (Some(at), Some(at)),
            Err(error) => self.metrics.missed("publish", &error),
        }
    }
}

/// How far event time has come, as this collector has seen it.
#[derive(Debug, Default)]
pub(super) struct Watermark(Mutex<Option<(Timestamp, Timestamp)>>);

impl Watermark {
    /// An event of `event_time` was seen when the clock was at `now`.
    pub(super) fn see(&self, event_time: Timestamp, now: Timestamp) {
        let mut latest = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if latest.is_none_or(|seen| moved_on(seen, now) < event_time) {
            *latest = Some((event_time, now));
        }
    }

    /// The greatest event time seen, moved on with the clock since then, and not ahead of the clock.
    pub(super) fn at(&self, now: Timestamp) -> Option<Timestamp> {
        let latest = *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        latest.map(|seen| moved_on(seen, now).min(now))
    }
}

fn moved_on((event_time, seen_at): (Timestamp, Timestamp), now: Timestamp) -> Timestamp {
    event_time.plus_ms(now.since_ms(seen_at).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_moves_on_with_the_clock_and_never_back() {
        let at = Timestamp::from_millis;
        let watermark = Watermark::default();
        assert_eq!(watermark.at(at(9_000)), None);
        watermark.see(at(1_000), at(5_000));
        assert_eq!(watermark.at(at(5_000)), Some(at(1_000)));
        assert_eq!(watermark.at(at(5_700)), Some(at(1_700)));
        watermark.see(at(1_500), at(5_700));
        assert_eq!(watermark.at(at(5_700)), Some(at(1_700)));
        watermark.see(at(2_000), at(5_700));
        assert_eq!(watermark.at(at(5_800)), Some(at(2_100)));
        // A clock that is set back.
        assert_eq!(watermark.at(at(5_000)), Some(at(2_000)));
        // An event from ahead is known, and told when its time comes.
        watermark.see(at(9_000), at(6_000));
        assert_eq!([watermark.at(at(6_000)), watermark.at(at(7_000))], [Some(at(6_000)), Some(at(7_000))]);
    }
}
