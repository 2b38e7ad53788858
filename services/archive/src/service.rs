//! The archive as a service: three streams, each on its way into its table.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::object_store::ObjectStore;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use trailwarden_bus::{Bus, Consumer, Subscription};
use trailwarden_core::baseline::Limits;
use trailwarden_runtime::Clock;
use trailwarden_runtime::backoff::Backoff;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::Readiness;

use crate::Error;
use crate::epochs::{EVERY_MS, Epochs};
use crate::lane::{Bounds, IN_FLIGHT_MAX, Lane, Surroundings};
use crate::table::Table;

/// How long a message may be held before the broker gives it out again: a flush's age and time to write it.
const WRITING: Duration = Duration::from_secs(30);
/// How long a look at the stream waits; in between, time's own work is done and the end is noticed.
const PATIENCE: Duration = Duration::from_millis(250);

/// What is archived, and how often.
#[derive(Clone, Debug)]
pub struct Config {
    pub tenant: String,
    pub partitions: u16,
    pub baseline: Limits,
    /// Rows that end a flush. More make larger files, and take more memory: about 0.5 KiB each.
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

/// The durable consumers that carry all tables, for whoever asks how far they are.
pub fn consumers(tenant: &str) -> [Consumer; 3] {
    Table::ALL.map(|table| consumer(table, tenant, Duration::ZERO))
}

/// Archives until `shutdown`, then writes what is held, or gives it back.
///
/// # Errors
/// When trying again cannot help: a damaged position, rows that do not fit. What passes is waited for.
pub fn run(config: Config, deps: Deps, shutdown: CancellationToken) -> BoxFuture<'static, Result<(), Error>> {
    // Boxed here, or the writers' half would be compiled again in the crate that awaits it.
    Box::pin(Service { config, deps, shutdown, joined: AtomicUsize::new(0) }.run())
}

struct Service {
    config: Config,
    deps: Deps,
    shutdown: CancellationToken,
    /// Tables that are joined to their streams.
    joined: AtomicUsize,
}

impl Service {
    async fn run(self) -> Result<(), Error> {
        let [activities, signals, cases] = Table::ALL.map(|table| self.carry(table));
        tokio::try_join!(activities, signals, cases)?;
        self.deps.readiness.set(false);
        Ok(())
    }

    async fn carry(&self, table: Table) -> Result<(), Error> {
        // Three lanes that failed together shall not come back together.
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
        if self.joined.fetch_add(1, Ordering::Relaxed) + 1 == Table::ALL.len() {
            self.deps.readiness.set(true);
        }
        while !self.shutdown.is_cancelled() {
            match self.step(&mut lane, &mut *subscription).await {
                Ok(()) if backoff.attempts() > 0 => {
                    backoff.reset();
                    self.deps.readiness.set(self.joined.load(Ordering::Relaxed) == Table::ALL.len());
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
            Table::Signals | Table::Cases => None,
        };
        let (bus, objects) = (Arc::clone(&self.deps.bus), Arc::clone(&self.deps.objects));
        let metrics = self.deps.metrics.clone();
        let lane = Lane::open(table, tenant, *partitions, Surroundings { bus, objects, metrics }, bounds, fold).await?;
        Ok((lane, self.deps.bus.subscribe(&consumer).await?))
    }

    fn epochs(&self) -> Epochs {
        let (bus, objects) = (Arc::clone(&self.deps.bus), Arc::clone(&self.deps.objects));
        Epochs { objects, bus, tenant: self.config.tenant.clone(), metrics: self.deps.metrics.clone() }
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
