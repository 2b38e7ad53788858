//! The featurizer as a process: a worker for each partition, and `FeatureService` for whoever asks.

mod query;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use trailwarden_bus::{Bus, Consumer, Stream, Subject};
use trailwarden_core::api::Vocabulary;
use trailwarden_core::baseline;
use trailwarden_proto::v1::DESCRIPTORS;
use trailwarden_proto::v1::feature_service_server::FeatureServiceServer;
use trailwarden_runtime::Clock;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::Readiness;
use trailwarden_runtime::serve::{self, DRAIN_DEFAULT, MESSAGE_BYTES_MAX, Server, serve};

use crate::store::{PartitionKey, WindowStore};
use crate::worker::{self, Context, Epochs, Health, Measure, Measuring, Worker};
use query::Query;

/// Before a worker that ended by a mistake of ours is started again.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// How a featurizer works.
#[derive(Clone, Debug)]
pub struct Config {
    pub tenant: String,
    /// Of the deployment, fixed for its life.
    pub partitions: u16,
    /// Those that this process pulls; usually all, since whoever is there shares them.
    pub owned: Vec<u16>,
    /// Whether sequences go with the features, for networks.
    pub with_sequences: bool,
    pub baseline: baseline::Limits,
}

/// Its outside world.
pub struct Deps {
    pub bus: Arc<dyn Bus>,
    pub store: Arc<dyn WindowStore>,
    pub listener: TcpListener,
    pub vocabulary: Arc<Vocabulary>,
    pub clock: Clock,
    pub readiness: Readiness,
    pub metrics: Metrics,
}

/// Why a featurizer ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operator's.
    #[error("partition {partition} is none of {partitions}")]
    Partition { partition: u16, partitions: u16 },
    #[error(transparent)]
    Serve(#[from] serve::Error),
}

/// The durable consumer that all featurizers share for a partition.
pub fn consumer(tenant: &str, partition: u16) -> Consumer {
    worker::consumer(&Subject::partition(Stream::Activity, tenant, partition), partition)
}

/// Works until `shutdown`, then finishes the batches at hand. Waits for the bus and the store however long they take.
///
/// # Errors
/// When the configuration cannot be, or the listener fails.
pub async fn run(config: Config, deps: Deps, shutdown: CancellationToken) -> Result<(), Error> {
    if let Some(partition) = config.owned.iter().copied().find(|partition| *partition >= config.partitions) {
        return Err(Error::Partition { partition, partitions: config.partitions });
    }
    let Deps { bus, store, listener, vocabulary, clock, readiness, metrics } = deps;
    let measure: Arc<dyn Measure> = Arc::new(Measuring { vocabulary, with_sequences: config.with_sequences });
    let epochs = Arc::new(Epochs::new(Arc::clone(&bus), &config.tenant, config.baseline, metrics.clone()));
    let health = Health::new(&config.owned, readiness.clone());
    let context = Context { bus, store, measure, epochs, health, metrics: metrics.clone() };

    let query = Query::new(context.clone(), config.tenant.clone(), config.partitions, clock);
    let service = FeatureServiceServer::new(query)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let server = Server {
        listener,
        routes: Routes::new(service),
        names: vec!["trailwarden.v1.FeatureService"],
        descriptors: DESCRIPTORS,
        readiness: readiness.clone(),
        metrics,
        drain: DRAIN_DEFAULT,
    };

    // Everything ends when one thing fails.
    let stop = shutdown.child_token();
    let _stopped = stop.clone().drop_guard();
    let mut workers = JoinSet::new();
    for partition in config.owned {
        let key = PartitionKey { tenant: config.tenant.clone(), partition };
        workers.spawn(keep(context.clone(), key, stop.clone()));
    }
    let following = stop.clone();
    let epochs = Arc::clone(&context.epochs);
    workers.spawn(async move { epochs.follow(&following).await });

    let served = serve(server, stop.clone()).await;
    readiness.set(false);
    stop.cancel();
    while workers.join_next().await.is_some() {}
    Ok(served?)
}

/// Keeps a partition's worker alive: one that panics outside of the guarded work is started anew.
async fn keep(context: Context, key: PartitionKey, stop: CancellationToken) {
    // A first look, so that a process that starts late does not fall back behind the epoch of those before it.
    if let Err(error) = context.epochs.refresh().await {
        context.metrics.failed("epoch", &error);
    }
    loop {
        let worker = Worker::new(context.clone(), key.clone());
        // A task of its own, since a panic ends the task that it happens in.
        let Err(error) = tokio::spawn(worker.run(stop.clone())).await else { return };
        tracing::error!(partition = key.partition, %error, "a worker ended and is started again");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RESTART_AFTER) => {}
        }
    }
}
