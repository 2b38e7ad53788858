//! The scorer as a service: one task a partition over the bus, and the model for whoever asks.

mod api;
mod look;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use trailwarden_bus::{Bus, Consumer, Stream, Subject};
use trailwarden_core::detection::RuleSet;
use trailwarden_proto::v1::DESCRIPTORS;
use trailwarden_proto::v1::scorer_service_server::ScorerServiceServer;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::{self, Readiness};
use trailwarden_runtime::serve::{self, DRAIN_DEFAULT, MESSAGE_BYTES_MAX, Server, serve};

use self::api::Api;
use self::look::Stage;
use self::worker::Worker;
use crate::Scorer;

/// What to score.
#[derive(Clone, Debug)]
pub struct Config {
    pub tenant: String,
    /// Fixed for the life of a deployment.
    pub partitions: u16,
    /// Partitions to pull; others may pull them too.
    pub owned: Vec<u16>,
}

/// The world outside.
pub struct Deps {
    pub bus: Arc<dyn Bus>,
    pub listener: TcpListener,
    /// Without one, events are worth what their detections are.
    pub scorer: Option<Arc<Scorer>>,
    pub rules: Arc<RuleSet>,
    /// Accounts of the operator's: what is shared with one of them is not shared outside.
    pub accounts: BTreeSet<String>,
    pub readiness: Readiness,
    pub metrics: Metrics,
}

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operator's.
    #[error("`owned` names partition {0}, and there are {1}")]
    Config(u16, u16),
    /// The operator's: the address, or the machine.
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// Ours.
    #[error("a task ended in a defect")]
    Defect(#[source] tokio::task::JoinError),
}

/// The durable consumer that all scorers share for a partition.
pub fn consumer(tenant: &str, partition: u16) -> Consumer {
    worker::consumer(&Subject::partition(Stream::Feature, tenant, partition), partition)
}

/// Scores until `shutdown`, then finishes the batches at hand.
///
/// # Errors
/// When the configuration cannot be, the listener fails, or a task panics.
pub async fn run(config: Config, deps: Deps, shutdown: CancellationToken) -> Result<(), Error> {
    let Config { tenant, partitions, owned } = config;
    if let Some(foreign) = owned.iter().find(|partition| **partition >= partitions) {
        return Err(Error::Config(*foreign, partitions));
    }
    let Deps { bus, listener, scorer, rules, accounts, readiness, metrics } = deps;
    let stage = Arc::new(Stage::new(rules, accounts, scorer));
    // A task that fails ends the others as an operator would.
    let stop = shutdown.child_token();
    let mut tasks = JoinSet::new();
    for partition in owned {
        let worker = Worker {
            partition,
            input: Subject::partition(Stream::Feature, &tenant, partition),
            output: Subject::partition(Stream::Signal, &tenant, partition),
            stage: Arc::clone(&stage),
            bus: Arc::clone(&bus),
            metrics: metrics.clone(),
            shutdown: stop.clone(),
        };
        tasks.spawn(worker.run());
    }
    let ping = move || {
        let bus = Arc::clone(&bus);
        async move { bus.ping().await }
    };
    tasks.spawn(readiness::follow(readiness.clone(), metrics.clone(), "broker", ping, stop.clone()));

    let service = ScorerServiceServer::new(Api::new(stage))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let names = vec!["trailwarden.v1.ScorerService"];
    let server = Server {
        listener,
        routes: Routes::new(service),
        names,
        descriptors: DESCRIPTORS,
        readiness,
        metrics,
        drain: DRAIN_DEFAULT,
    };
    let serving = async {
        let served = serve(server, stop.clone()).await;
        stop.cancel();
        served
    };
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
    let (served, supervised) = tokio::join!(serving, supervising);
    served?;
    supervised
}
