//! The council as a service: actors in a system of their own, the case service beside it.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::System;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;
use trailwarden_bus::{Bus, Consumer};
use trailwarden_core::case;
use trailwarden_core::detection::RuleSet;
use trailwarden_proto::v1::DESCRIPTORS;
use trailwarden_proto::v1::case_service_server::{CaseServiceServer, SERVICE_NAME};
use trailwarden_runtime::Clock;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::{self, Readiness};
use trailwarden_runtime::roster::Roster;
use trailwarden_runtime::serve::{self, DRAIN_DEFAULT, MESSAGE_BYTES_MAX, Server, serve};

use crate::Judge;
use crate::api::Cases;
use crate::builder::{self, Builder, Floors};
use crate::door::{Approvers, Door};
use crate::drive::{self, Driver};
use crate::fold::Ground;
use crate::follow::Follower;
use crate::log::CaseLogs;
use crate::panel::Panel;
use crate::shard::{self, Bench, SHARDS, Shard, Shards};
use crate::site::Site;
use crate::supervision::{Escalation, Handle, supervise};
use crate::view::{Bounds, View};

/// How the council works.
#[derive(Clone, Debug)]
pub struct Config {
    pub tenant: String,
    pub partitions: u16,
    pub cases: case::Limits,
}

/// The council's outside world.
pub struct Deps {
    pub bus: Arc<dyn Bus>,
    pub listener: TcpListener,
    pub rules: Arc<RuleSet>,
    /// The operator's own accounts.
    pub accounts: BTreeSet<String>,
    pub judge: Arc<dyn Judge>,
    /// Asked about what is grave enough; `None`: the deterministic brains judge everything.
    pub panel: Option<Panel>,
    /// Whose orders are passed on; `None`: nobody's are.
    pub approvers: Option<Approvers>,
    pub clock: Clock,
    pub readiness: Readiness,
    pub metrics: Metrics,
    /// Where what the actors are at is seen.
    pub roster: Roster,
}

/// Why the council ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Ours: start the process anew.
    #[error("the council cannot go on")]
    Escalated(#[from] Escalation),
    /// The operator's.
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// The machine's.
    #[error("no thread for the actors")]
    Thread(#[source] std::io::Error),
    /// Ours.
    #[error("the actors' thread died")]
    Died,
}

/// How often to look whether the builder has caught up.
const READY_LOOK: Duration = Duration::from_millis(100);

/// The durable consumer of a partition's signals.
pub fn consumer(tenant: &str, partition: u16) -> Consumer {
    drive::consumer(tenant, partition)
}

/// Gathers signals into cases, judges them, logs what it finds and answers about it, until `shutdown`.
///
/// # Errors
/// See [`Error`].
pub async fn run(config: Config, deps: Deps, shutdown: CancellationToken) -> Result<(), Error> {
    let Deps { bus, listener, rules, accounts, judge, panel, approvers, clock, readiness, metrics, roster } = deps;
    let view = Arc::new(View::new(Bounds::default()));
    let logs = CaseLogs::new(bus.clone(), &config.tenant, metrics.clone());
    // Whatever ends first ends the rest.
    let all = shutdown.child_token();
    let caught_up = watch::Sender::new(false);
    let follower = Follower {
        bus: bus.clone(),
        tenant: config.tenant.clone(),
        name: format!("council-view-{}", clock().as_millis()),
        view: view.clone(),
        caught_up: caught_up.clone(),
    };
    let following = tokio::spawn(follower.run(all.clone()));
    let door = Arc::new(Door::new(&config.tenant, approvers, logs.clone(), clock.clone(), metrics.clone()));
    let keeping = tokio::spawn(door.clone().keep(all.clone()));
    let cases = Cases { view, logs: logs.clone(), clock, watchers: Arc::default(), door };
    let service = CaseServiceServer::new(cases)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let server = Server {
        listener,
        routes: Routes::new(service),
        names: vec![SERVICE_NAME],
        descriptors: DESCRIPTORS,
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        drain: DRAIN_DEFAULT,
    };
    let serving = tokio::spawn(guarded(serve(server, all.clone()), all.clone().drop_guard()));
    let ground = Ground { partitions: config.partitions, rules: rules.clone(), accounts, cases: config.cases };
    let bench = Bench { judge, logs, rules, panel, stop: all.clone(), metrics: metrics.clone() };
    let office = Office { tenant: config.tenant, ground, bench, bus, readiness, caught_up, metrics, roster };
    let acting = act(office, all.clone()).await;
    all.cancel();
    let _ = following.await;
    let _ = keeping.await;
    let served = serving.await.map_err(|_| Error::Died)?;
    acting?;
    Ok(served?)
}

/// Cancels by its guard when it ends.
async fn guarded<T>(work: impl Future<Output = T>, _guard: DropGuard) -> T {
    work.await
}

/// Runs the actors on a thread of their own, since an actix system is a thread's.
async fn act(office: Office, shutdown: CancellationToken) -> Result<(), Error> {
    let (done, ended) = oneshot::channel();
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    let actors = move || {
        let _default = tracing::dispatcher::set_default(&dispatch);
        let result = System::new().block_on(office.run(shutdown));
        // Nobody is left to tell when the process ends at once.
        let _ = done.send(result);
    };
    let thread = std::thread::Builder::new().name("council".to_owned()).spawn(actors).map_err(Error::Thread)?;
    let result = ended.await.unwrap_or(Err(Error::Died));
    // It has nothing left to do but to end.
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    result
}

/// What the actors work with.
pub(crate) struct Office {
    pub(crate) tenant: String,
    pub(crate) ground: Ground,
    pub(crate) bench: Bench,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) readiness: Readiness,
    pub(crate) caught_up: watch::Sender<bool>,
    pub(crate) metrics: Metrics,
    pub(crate) roster: Roster,
}

impl Office {
    /// Runs within an actix system until shutdown, or until the actors give up.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let (escalate, mut escalations) = mpsc::channel(1);
        let shards = (0..SHARDS).map(|number| {
            let bench = self.bench.clone();
            let factory = move || Shard::new(bench.clone());
            let name = format!("negotiation {number}");
            supervise(&name, shard::policy(&self.bench), factory, escalate.clone(), &self.roster)
        });
        let shards = Shards::new(shards.collect(), &self.bench);
        let partitions = self.ground.partitions;
        let site = Site {
            tenant: self.tenant,
            ground: self.ground,
            bus: self.bus,
            shards: shards.clone(),
            floors: Arc::new(Floors::new(partitions)),
            suspects: Arc::new(Mutex::default()),
            metrics: self.metrics,
        };
        let builder = {
            let site = site.clone();
            supervise("case builder", builder::POLICY, move || Builder::new(site.clone()), escalate, &self.roster)
        };
        // The drivers end when this does, whatever ends it.
        let stop = shutdown.child_token();
        let _guard = stop.clone().drop_guard();
        let drivers: Vec<_> = (0..site.ground.partitions)
            .map(|partition| {
                let (site, builder, shutdown) = (site.clone(), builder.clone(), stop.clone());
                let driver = Driver { partition, site, builder, shutdown, latest: Mutex::default() };
                tokio::spawn(driver.run())
            })
            .collect();
        let (bus, metrics) = (site.bus.clone(), site.metrics.clone());
        let readying = ready(self.readiness.clone(), bus, metrics, builder.clone(), self.caught_up, stop.clone());
        let readying = tokio::spawn(readying);
        let escalation = tokio::select! {
            () = shutdown.cancelled() => None,
            escalation = escalations.recv() => escalation,
        };
        stop.cancel();
        self.readiness.set(false);
        for driver in drivers {
            if driver.await.is_err() {
                tracing::error!("a driver died");
            }
        }
        let _ = readying.await;
        builder.stop().await;
        shards.stop().await;
        escalation.map_or(Ok(()), |escalation| Err(escalation.into()))
    }
}

/// Says that the council is ready, once all that was acknowledged is folded and all that was logged can be listed, and for as
/// long as the broker answers.
async fn ready(
    readiness: Readiness,
    bus: Arc<dyn Bus>,
    metrics: Metrics,
    builder: Handle<Builder>,
    caught_up: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let waiting = async {
        let _ = caught_up.subscribe().wait_for(|caught_up| *caught_up).await;
        while !builder::is_level(&builder).await {
            tokio::time::sleep(READY_LOOK).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = waiting => {}
    }
    let ping = move || {
        let bus = bus.clone();
        async move { bus.ping().await }
    };
    readiness::follow(readiness, metrics, "broker", ping, stop).await;
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
