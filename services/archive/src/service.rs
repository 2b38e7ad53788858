//! The archive as a service: three streams, each on its way into its table, and history.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::object_store::ObjectStore;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use trailwarden_bus::{Bus, Consumer, Subscription};
use trailwarden_core::baseline::{Epoch, Limits};
use trailwarden_runtime::Clock;
use trailwarden_runtime::backoff::Backoff;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::Readiness;

use crate::Error;
use crate::epochs::{EVERY_MS, Epochs};
use crate::history::{History, IDS_MAX, Learned};
use crate::lane::{Bounds, IN_FLIGHT_MAX, Lane, Surroundings};
use crate::table::Table;

/// How long a message may be held before the broker gives it out again: a flush's age and time to write it.
const WRITING: Duration = Duration::from_secs(30);
/// How long a look at the stream waits; in between, time's own work is done and the end is noticed.
const PATIENCE: Duration = Duration::from_millis(250);

/// Attempts to open history before live epochs go out without it.
const HISTORY_ATTEMPTS: u32 = 6;
/// How long what cannot mend itself is left alone.
const MENDED_EVERY: Duration = Duration::from_secs(30);

/// What is archived, and how often.
#[derive(Clone, Debug)]
pub struct Config {
    pub tenant: String,
    pub partitions: u16,
    pub baseline: Limits,
    /// Rows that end a flush. More make larger files; what they take in memory has a bound of its own.
    pub flush_events_max: usize,
    /// Age that ends a flush. Longer makes larger files, seen later.
    pub flush_after: Duration,
}

/// The world around the archive.
pub struct Deps {
    pub bus: Arc<dyn Bus>,
    pub objects: Arc<dyn ObjectStore>,
    pub clock: Clock,
    pub readiness: Readiness,
    pub metrics: Metrics,
}

/// The durable consumer that carries a table. One for all partitions: their order within the stream is what epochs are
/// folded in and what the names of files rest on.
pub fn consumer(table: Table, tenant: &str, flush_after: Duration) -> Consumer {
    let stream = table.stream();
    Consumer {
        stream,
        name: format!("archive-{}", table.name()),
        filter: format!("tw.{}.{tenant}.>", stream.word()),
        in_flight_max: IN_FLIGHT_MAX,
        ack_wait: flush_after.saturating_mul(2) + WRITING,
        // Giving up is for messages that kill their reader; here they are held while a store does not answer.
        deliveries_max: u32::MAX,
        idle_max: None,
    }
}

/// The durable consumers that carry what is live, for whoever asks how far they are. How much history waits is the depth
/// of its stream, and nobody's delay.
pub fn consumers(tenant: &str) -> [Consumer; 3] {
    Table::IN_ORDER.map(|table| consumer(table, tenant, Duration::ZERO))
}

/// Archives until `shutdown`, then writes what is held, or gives it back.
///
/// # Errors
/// When trying again cannot help: a damaged position, rows that do not fit. What passes is waited for.
pub fn run(config: Config, deps: Deps, shutdown: CancellationToken) -> BoxFuture<'static, Result<(), Error>> {
    // Boxed here, or the writers' half would be compiled again in the crate that awaits it.
    let learned = Arc::new(Learned::new(None));
    let writing = Arc::new(Semaphore::new(1));
    Box::pin(Service { config, deps, shutdown, joined: AtomicUsize::new(0), learned, writing }.run())
}

struct Service {
    config: Config,
    deps: Deps,
    shutdown: CancellationToken,
    /// Tables that are joined to their streams.
    joined: AtomicUsize,
    learned: Arc<Learned>,
    writing: Arc<Semaphore>,
}

impl Service {
    async fn run(self) -> Result<(), Error> {
        let [activities, signals, cases] = Table::IN_ORDER.map(|table| self.carry(table));
        tokio::try_join!(activities, signals, cases, self.carry_history())?;
        self.deps.readiness.set(false);
        Ok(())
    }

    async fn carry(&self, table: Table) -> Result<(), Error> {
        // Lanes that failed together shall not come back together.
        let mut backoff = Backoff::new(table as u64);
        let (mut lane, mut subscription) = loop {
            match self.join(table).await {
                Ok(joined) => break joined,
                Err(error) => wait(table, error, &mut backoff, &self.deps.metrics, &self.shutdown).await?,
            }
            if self.shutdown.is_cancelled() {
                return Ok(());
            }
        };
        if self.joined.fetch_add(1, Ordering::Relaxed) + 1 == Table::IN_ORDER.len() {
            self.deps.readiness.set(true);
        }
        while !self.shutdown.is_cancelled() {
            match self.step(&mut lane, &mut *subscription).await {
                Ok(()) if backoff.attempts() > 0 => {
                    backoff.reset();
                    self.deps.readiness.set(self.joined.load(Ordering::Relaxed) == Table::IN_ORDER.len());
                }
                Ok(()) => {}
                Err(error) => {
                    self.deps.readiness.set(false);
                    wait(table, error, &mut backoff, &self.deps.metrics, &self.shutdown).await?;
                }
            }
        }
        if let Err(error) = lane.flush().await {
            tracing::warn!(table = table.name(), %error, "could not write what was held; it is given back");
        }
        lane.hand_back().await;
        Ok(())
    }

    /// As [`Service::carry`], for what comes in no order. Nothing that is wrong with history ends what is live: it is tried
    /// again, and meanwhile waits in its stream.
    async fn carry_history(&self) -> Result<(), Error> {
        let mut backoff = Backoff::new(Table::History as u64);
        let (mut history, mut subscription) = loop {
            match self.join_history().await {
                Ok(joined) => break joined,
                Err(error) => self.put_off(error, &mut backoff).await,
            }
            if backoff.attempts() == HISTORY_ATTEMPTS {
                self.go_on_without_history();
            }
            if self.shutdown.is_cancelled() {
                return Ok(());
            }
        };
        while !self.shutdown.is_cancelled() {
            let step = async {
                // While it cannot be written, no more is taken.
                if !history.is_full()
                    && let Some(delivery) = subscription.next(PATIENCE).await?
                {
                    history.take(delivery).await?;
                }
                history.tend().await
            };
            match step.await {
                Ok(()) => backoff.reset(),
                // What is live goes on, so the role is ready as it was.
                Err(error) => self.put_off(error, &mut backoff).await,
            }
        }
        if let Err(error) = history.flush().await {
            tracing::warn!(%error, "could not write what was held of history; it is given back");
        }
        history.hand_back().await;
        Ok(())
    }

    /// Waits before history is tried again, whatever is wrong.
    async fn put_off(&self, error: Error, backoff: &mut Backoff) {
        if let Err(error) = wait(Table::History, error, backoff, &self.deps.metrics, &self.shutdown).await {
            tracing::error!(%error, "history cannot be archived; it waits in its stream until this is mended");
            let delay = backoff.next_delay().max(MENDED_EVERY);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// Live epochs wait for what history taught, so as not to take it back; but not for ever.
    fn go_on_without_history(&self) {
        let is_new = self.learned.send_if_modified(|learned| {
            let is_unknown = learned.is_none();
            learned.get_or_insert_with(|| Arc::new(Epoch::new(self.config.baseline)));
            is_unknown
        });
        if is_new {
            tracing::warn!("what history taught cannot be read; epochs go out without it until it can");
        }
    }

    async fn join_history(&self) -> Result<(History, Box<dyn Subscription>), Error> {
        let Config { tenant, baseline, flush_events_max, flush_after, .. } = &self.config;
        let consumer = consumer(Table::History, tenant, *flush_after);
        let bounds = Bounds { events_max: *flush_events_max, after: *flush_after, gap_patience: Duration::ZERO };
        let (bus, objects) = (Arc::clone(&self.deps.bus), Arc::clone(&self.deps.objects));
        let around =
            Surroundings { bus, objects, metrics: self.deps.metrics.clone(), writing: Arc::clone(&self.writing) };
        let history = History::open(around, bounds, *baseline, Arc::clone(&self.learned), IDS_MAX).await?;
        Ok((history, self.deps.bus.subscribe(&consumer).await?))
    }

    async fn join(&self, table: Table) -> Result<(Lane, Box<dyn Subscription>), Error> {
        let Config { tenant, partitions, baseline, flush_events_max, flush_after } = &self.config;
        let consumer = consumer(table, tenant, *flush_after);
        let bounds = Bounds {
            events_max: *flush_events_max,
            after: *flush_after,
            gap_patience: consumer.ack_wait.saturating_mul(2),
        };
        let fold = match table {
            Table::Activities => Some(self.epochs().recover(*baseline).await?),
            Table::Signals | Table::Cases | Table::History => None,
        };
        let (bus, objects) = (Arc::clone(&self.deps.bus), Arc::clone(&self.deps.objects));
        let metrics = self.deps.metrics.clone();
        let around = Surroundings { bus, objects, metrics, writing: Arc::clone(&self.writing) };
        let lane = Lane::open(table, tenant, *partitions, around, bounds, fold).await?;
        Ok((lane, self.deps.bus.subscribe(&consumer).await?))
    }

    fn epochs(&self) -> Epochs {
        let (bus, objects) = (Arc::clone(&self.deps.bus), Arc::clone(&self.deps.objects));
        let (tenant, metrics) = (self.config.tenant.clone(), self.deps.metrics.clone());
        Epochs { objects, bus, tenant, metrics, history: self.learned.subscribe() }
    }

    async fn step(&self, lane: &mut Lane, subscription: &mut dyn Subscription) -> Result<(), Error> {
        if let Some(delivery) = subscription.next(PATIENCE).await? {
            lane.take(delivery).await?;
        }
        lane.tend().await?;
        if let Some(mut fold) = lane.fold.take() {
            let published = self.epochs().publish(&mut fold, (self.deps.clock)(), EVERY_MS).await;
            lane.fold = Some(fold);
            published?;
        }
        Ok(())
    }
}

/// Waits before the next try.
///
/// # Errors
/// The error itself, where trying again cannot help.
async fn wait(
    table: Table,
    error: Error,
    backoff: &mut Backoff,
    metrics: &Metrics,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let passes = error.is_transient() || matches!(error, Error::Bus(trailwarden_bus::Error::Missing { .. }));
    if !passes {
        return Err(error);
    }
    let delay = backoff.next_delay();
    metrics.retrying(table.name(), backoff.attempts(), delay, &error);
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = shutdown.cancelled() => {}
    }
    Ok(())
}
