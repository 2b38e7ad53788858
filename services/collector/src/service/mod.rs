//! The collector as a service: records come in over gRPC, and go out as batches of one partition each.
//!
//! A request is answered when the broker has all its records, so a client that sends again what was not answered loses
//! nothing; what comes twice by that is told apart downstream.

mod batch;
mod batcher;
mod documents;
mod ingest;
mod receipt;
mod recent;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use trailwarden_bus::Bus;
use trailwarden_core::detection::RuleSet;
use trailwarden_proto::v1::DESCRIPTORS;
use trailwarden_proto::v1::collector_service_server::CollectorServiceServer;
use trailwarden_runtime::Clock;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::{self, Readiness};
use trailwarden_runtime::serve::{self, DRAIN_DEFAULT, MESSAGE_BYTES_MAX, Server, serve};

use self::batcher::{Batcher, Watermark};
use self::documents::Reader;
use self::ingest::Ingest;
use crate::{Limits, Observe};

/// How to collect.
#[derive(Clone, Debug)]
pub struct Config {
    pub tenant: String,
    /// Fixed for the life of a deployment.
    pub partitions: u16,
    pub batch_events_max: usize,
    /// How long a batch waits at most for company, when there is much to do.
    pub linger_max: Duration,
    /// How often partitions without events are told how far event time has come.
    pub tick: Duration,
    /// Bounds on a document.
    pub limits: Limits,
}

/// The world outside.
pub struct Deps {
    pub bus: Arc<dyn Bus>,
    pub listener: TcpListener,
    pub observe: Arc<dyn Observe + Send + Sync>,
    /// Those that `observe` evaluates.
    pub rules: Arc<RuleSet>,
    pub clock: Clock,
    pub readiness: Readiness,
    pub metrics: Metrics,
}

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operator's.
    #[error("`{0}` must be greater than 0")]
    Config(&'static str),
    /// The operator's: the address, or the machine.
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// Ours.
    #[error("a task ended in a defect")]
    Defect(#[source] tokio::task::JoinError),
}

/// Collects until `shutdown`, then publishes what it has taken.
///
/// # Errors
/// When the configuration cannot be, the listener fails, or a task panics.
pub async fn run(config: Config, deps: Deps, shutdown: CancellationToken) -> Result<(), Error> {
    let is_zero = [
        ("partitions", config.partitions == 0),
        ("batch_events_max", config.batch_events_max == 0),
        ("tick", config.tick.is_zero()),
    ];
    if let Some((name, _)) = is_zero.into_iter().find(|(_, is_zero)| *is_zero) {
        return Err(Error::Config(name));
    }
    let Deps { bus, listener, observe, rules, clock, readiness, metrics } = deps;
    // A task that fails ends the others as an operator would.
    let stop = shutdown.child_token();
    let mut tasks = JoinSet::new();
    let batcher = Batcher::start(&config, &bus, (&clock, &metrics), &stop, &mut tasks);
    let watermark = Arc::new(Watermark::default());
    tasks.spawn(tick(config.tick, batcher.clone(), Arc::clone(&watermark), Arc::clone(&clock), stop.clone()));
    let ping = move || {
        let bus = Arc::clone(&bus);
        async move { bus.ping().await }
    };
    tasks.spawn(readiness::follow(readiness.clone(), metrics.clone(), "broker", ping, stop.clone()));

    let reader = Reader::new(observe, rules, config.limits, config.partitions);
    let service =
        CollectorServiceServer::new(Ingest::new(reader, batcher, watermark, (clock, metrics.clone()), stop.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let names = vec!["trailwarden.v1.CollectorService"];
    let server = Server {
        listener,
        routes: Routes::new(service),
        names,
        descriptors: DESCRIPTORS,
        readiness,
        metrics,
        drain: DRAIN_DEFAULT,
    };
    let serving = serve(server, stop.clone());
    let supervising = async {
        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            if let Err(defect) = ended {
                stop.cancel();
                outcome = Err(Error::Defect(defect));
            }
        }
        outcome
    };
    let serving = async {
        let served = serving.await;
        stop.cancel();
        served
    };
    let (served, supervised) = tokio::join!(serving, supervising);
    served?;
    supervised
}

async fn tick(every: Duration, batcher: Batcher, watermark: Arc<Watermark>, clock: Clock, stop: CancellationToken) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Some(at) = watermark.at(clock()) {
            batcher.tick(at);
        }
    }
}
