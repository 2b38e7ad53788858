//! `run`: one role of a deployment, or all of them, in this process, until it is told to stop.
//!
//! Every role is a function of its outside world. Here the outside world is made: the bus, the store, the listeners, the
//! clock. Start order does not matter; a role that misses something waits for it and says that it is not ready.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trailwarden_bus::{Bus, Connection, Consumer, JetStream, Layout, Memory};
use trailwarden_core::case::Case;
use trailwarden_core::negotiation::exchange::Ask;
use trailwarden_core::negotiation::{Judgement, Negotiation};
use trailwarden_council::Judged;
use trailwarden_featurizer::store::{Error as StoreError, MemoryStore, RedisStore, Servers, WindowStore};
use trailwarden_pipeline::weigh;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::Readiness;
use trailwarden_runtime::roster::Roster;
use trailwarden_runtime::status::{self, Status};
use trailwarden_runtime::telemetry::{self, Telemetry};
use trailwarden_runtime::usage::Meter;
use trailwarden_runtime::{Clock, failpoint, pace, shutdown};

use crate::command::{Surroundings, tell};
use crate::config::{Config, LogFormat};
use crate::executor;
use crate::findings::Finding;
use crate::lines::write_case;
use crate::models;
use crate::notify;
use crate::sampling::{Sampling, Subject};
use crate::scan::{Scanner, ServiceObserver};
use crate::untrusted::addresses;

/// Activities of one batch: large enough that the cost of a message hardly shows, small enough to be done again.
const BATCH_EVENTS_MAX: usize = 1_024;
/// How long a batch waits for company when there is much to do.
const LINGER_MAX: Duration = Duration::from_millis(20);
/// How often a partition without events is told how far event time has come.
const TICK: Duration = Duration::from_secs(1);
/// How long the last measures and spans may take on their way out.
const EXPORT_DEADLINE: Duration = Duration::from_secs(5);
/// Between two exports of measures.
const EXPORT_EVERY: Duration = Duration::from_secs(15);

/// A part of the system that runs as a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Every role that is built
    All,
    /// Takes records in over gRPC
    Collector,
    /// Measures activities against their principals' windows
    Featurizer,
    /// Scores what was measured
    Scorer,
    /// Keeps everything as Parquet and folds the baselines
    Archive,
    /// Gathers signals into cases and judges them
    Council,
    /// Tells people of cases, responses and the system's own health
    Notify,
    /// Carries approved plans out; does nothing unless `executor.mode` says so
    Executor,
    /// Shows cases in a browser (not built yet)
    Console,
}

impl Role {
    const BUILT: [Self; 7] =
        [Self::Collector, Self::Featurizer, Self::Scorer, Self::Archive, Self::Council, Self::Notify, Self::Executor];

    const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Collector => "collector",
            Self::Featurizer => "featurizer",
            Self::Scorer => "scorer",
            Self::Archive => "archive",
            Self::Council => "council",
            Self::Notify => "notify",
            Self::Executor => "executor",
            Self::Console => "console",
        }
    }
}

/// What `run` was asked for.
#[derive(Debug)]
pub struct RunRequest {
    pub roles: Vec<Role>,
    pub config: Option<PathBuf>,
    /// A failpoint and the pass at which the process dies there, for tests.
    pub die_at: Option<(String, u64)>,
    /// Events a second that a featurizer measures at most, for benches.
    pub pace: Option<u32>,
}

/// Runs until a signal comes or a role fails for good.
pub fn run(request: RunRequest, clock: Clock, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let mut roles = roles(&request.roles)?;
    let config = Config::load(request.config.as_deref(), surroundings.environment.iter().cloned())?;
    if config.notify.channels.is_empty() && roles.contains(&Role::Notify) {
        if request.roles.contains(&Role::Notify) {
            bail!(
                "the role `notify` has nobody to tell: no channel is configured; `trailwarden config print` shows how, at [notify]"
            );
        }
        roles.retain(|role| *role != Role::Notify);
    }
    let is_whole = request.roles.is_empty() || request.roles.contains(&Role::All);
    if is_whole && executor::is_on(&config) && !roles.contains(&Role::Executor) {
        roles.push(Role::Executor);
    }
    if let Some((name, nth)) = &request.die_at {
        failpoint::arm(name, *nth);
    }
    if let Some(events_per_s) = request.pace {
        pace::cap(events_per_s);
    }
    let scanner = Arc::new(Scanner::from_config(config.clone())?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start")?;
    let outcome = runtime.block_on(serve(&roles, &config, scanner, clock, surroundings));
    // What still runs after the drain is not waited for a second time.
    runtime.shutdown_background();
    outcome
}

/// The roles asked for, each once; the unbuilt are refused.
fn roles(asked: &[Role]) -> Result<Vec<Role>> {
    let mut roles: Vec<Role> = match asked.is_empty() || asked.contains(&Role::All) {
        // The executor joins where the configuration lets it do something.
        true => Role::BUILT.into_iter().filter(|role| *role != Role::Executor).collect(),
        false => asked.to_vec(),
    };
    roles.sort_unstable();
    roles.dedup();
    if let Some(role) = roles.iter().find(|role| !Role::BUILT.contains(role)) {
        bail!(
            "the role `{}` is not built yet; `run` has: all, collector, featurizer, scorer, archive, council, notify, executor",
            role.name()
        );
    }
    Ok(roles)
}

async fn serve(
    roles: &[Role],
    config: &Config,
    scanner: Arc<Scanner>,
    clock: Clock,
    surroundings: &Surroundings<'_>,
) -> Result<ExitCode> {
    let name = if roles.len() == 1 { roles[0].name() } else { Role::All.name() };
    let telemetry = telemetry(name, config)?;
    let stop = shutdown::on_signals().context("could not listen for signals")?;
    let world = World::connect(config, clock, telemetry.metrics().clone(), &stop).await?;
    let listener = listen(&config.listen.status).await?;
    let mut running = Running::default();
    for role in roles {
        running.start(*role, config, &scanner, &world, surroundings).await?;
    }
    let rosters = running.rosters.clone();
    let page = Status { roles: running.readiness.clone(), page: telemetry.page(), rosters };
    let until = stop.clone();
    running.tasks.spawn(async move { ("status", status::serve(listener, page, until).await.map_err(Into::into)) });
    let sampling = Sampling {
        bus: Arc::clone(&world.bus),
        clock: Arc::clone(&world.clock),
        metrics: world.metrics.clone(),
        subjects: std::mem::take(&mut running.subjects),
        rosters: std::mem::take(&mut running.rosters),
        tenant: config.run.tenant.clone(),
        place: place(surroundings),
        usage: Meter::default(),
    };
    let until = stop.clone();
    running.tasks.spawn(async move {
        sampling.run(until).await;
        ("sampling", Ok(()))
    });
    announce(name, config, roles);
    let failed = running.until_stopped(&stop, Duration::from_secs(config.run.drain_s)).await;
    if let Err(error) = telemetry.shutdown(EXPORT_DEADLINE).await {
        tell(&format!("trailwarden: the last measures were not exported: {error}\n"));
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Scanner {
    /// A finding as the council keeps it.
    fn told(&self, finding: Finding) -> Judged {
        let mut line = Vec::new();
        // Writing into memory fails only where a value cannot be written as JSON, and a finding holds none such.
        if let Err(error) = write_case(&mut line, &finding, self.rules().rules(), self.language()) {
            tracing::error!(case = finding.case.id, %error, "case cannot be written as a line");
            line.clear();
        }
        let line_json = String::from_utf8_lossy(&line).trim_end().to_owned();
        Judged { case: finding.case, judgement: finding.judgement, line_json }
    }
}

impl trailwarden_council::Judge for Scanner {
    fn weigh(&self, case: &mut Case) {
        if let Some(scorer) = self.shared_scorer() {
            weigh(case, &scorer);
        }
    }

    fn judge(&self, case: Case) -> Judged {
        self.told(self.finding(case))
    }

    fn open(&self, case: &Case) -> (Negotiation, Vec<Ask>) {
        self.opened(case)
    }

    fn tell(&self, case: Case, judgement: Judgement) -> Judged {
        self.told(self.found(case, judgement))
    }
}

/// What all roles of this process share.
struct World {
    bus: Arc<dyn Bus>,
    store: Arc<dyn WindowStore>,
    clock: Clock,
    metrics: Metrics,
    stop: CancellationToken,
}

impl World {
    async fn connect(config: &Config, clock: Clock, metrics: Metrics, stop: &CancellationToken) -> Result<Self> {
        let bus: Arc<dyn Bus> = match &config.bus.url {
            Some(url) => {
                let connection = Connection { url: url.clone(), tenant: config.run.tenant.clone() };
                Arc::new(
                    JetStream::connect(connection).await.with_context(|| format!("the bus at {}", addresses(url)))?,
                )
            }
            None => {
                tracing::warn!("no bus is configured: everything stays in this process and nothing outlives it");
                // Its clock is what tells which events lie in the future.
                let bus = Memory::with_clock(Arc::clone(&clock));
                bus.set_up(&Layout::in_memory(&config.run.tenant, config.run.partitions))
                    .await
                    .context("the bus in memory")?;
                Arc::new(bus)
            }
        };
        let store: Arc<dyn WindowStore> = match &config.windows.url {
            Some(_) => Arc::new(redis(config, Arc::clone(&clock)).context("the window store")?),
            None => Arc::new(MemoryStore::default()),
        };
        Ok(Self { bus, store, clock, metrics, stop: stop.clone() })
    }
}

/// The window store that a configuration names.
pub fn redis(config: &Config, clock: Clock) -> Result<RedisStore, StoreError> {
    let urls = config.windows.url.iter().flat_map(|urls| urls.split(',')).map(|url| url.trim().to_owned());
    RedisStore::new(Servers { urls: urls.collect(), cluster: config.windows.cluster }, clock)
}

/// The streams that a configuration wants.
pub fn layout(config: &Config) -> Layout {
    Layout {
        replicas: config.bus.replicas,
        kept: Duration::from_secs(config.bus.kept_h * 3_600),
        stream_bytes_max: config.bus.stream_mib_max << 20,
        ..Layout::single(&config.run.tenant, config.run.partitions)
    }
}

/// The roles at work in this process.
#[derive(Default)]
struct Running {
    tasks: JoinSet<(&'static str, Result<()>)>,
    readiness: Vec<(&'static str, Readiness)>,
    subjects: Vec<Subject>,
    rosters: Vec<Roster>,
}

impl Running {
    async fn start(
        &mut self,
        role: Role,
        config: &Config,
        scanner: &Arc<Scanner>,
        world: &World,
        surroundings: &Surroundings<'_>,
    ) -> Result<()> {
        let readiness = Readiness::default();
        self.readiness.push((role.name(), readiness.clone()));
        let (tenant, partitions) = (config.run.tenant.clone(), config.run.partitions);
        let owned: Vec<u16> = (0..partitions).collect();
        let (bus, clock, stop) = (Arc::clone(&world.bus), Arc::clone(&world.clock), world.stop.clone());
        let metrics = world.metrics.of(role.name());
        let subject =
            Subject::new(readiness.clone(), consumers(role, config), metrics.clone(), role == Role::Collector);
        self.subjects.push(subject);
        match role {
            Role::Collector => {
                use trailwarden_collector::service::{Config as Own, Deps, run};
                let own = Own {
                    tenant,
                    partitions,
                    batch_events_max: BATCH_EVENTS_MAX,
                    linger_max: LINGER_MAX,
                    tick: TICK,
                    limits: config.limits(),
                };
                let listener = listen(&config.listen.collector).await?;
                let observe = Arc::new(ServiceObserver(Arc::clone(scanner)));
                let deps = Deps { bus, listener, observe, rules: scanner.shared_rules(), clock, readiness, metrics };
                self.spawn(role, async move { run(own, deps, stop).await.map_err(Into::into) });
            }
            Role::Featurizer => {
                use trailwarden_featurizer::service::{Config as Own, Deps, run};
                let with_sequences = scanner.uses_networks();
                let own = Own { tenant, partitions, owned, with_sequences, baseline: scanner.baseline_limits() };
                let listener = listen(&config.listen.featurizer).await?;
                let (store, vocabulary) = (Arc::clone(&world.store), scanner.shared_vocabulary());
                let deps = Deps { bus, store, listener, vocabulary, clock, readiness, metrics };
                self.spawn(role, async move { run(own, deps, stop).await.map_err(Into::into) });
            }
            Role::Scorer => {
                use trailwarden_scorer::service::{Config as Own, Deps, run};
                let own = Own { tenant, partitions, owned };
                let listener = listen(&config.listen.scorer).await?;
                let (rules, accounts) = (scanner.shared_rules(), scanner.own_accounts());
                let deps = Deps { bus, listener, scorer: scanner.shared_scorer(), rules, accounts, readiness, metrics };
                self.spawn(role, async move { run(own, deps, stop).await.map_err(Into::into) });
            }
            Role::Council => {
                use trailwarden_council::service::{Config as Own, Deps, run};
                let listener = listen(&config.listen.council).await?;
                let (rules, accounts) = (scanner.shared_rules(), scanner.own_accounts());
                let judge = Arc::clone(scanner) as Arc<dyn trailwarden_council::Judge>;
                let environment = &surroundings.environment;
                let around =
                    models::Surroundings { tenant: &tenant, environment, clock: &clock, bus: Some(bus.clone()) };
                let panel = models::panel(&config.council, around).await.context("the council's model")?;
                let own = Own { tenant, partitions, cases: scanner.case_limits() };
                let roster = Roster::new(metrics.clone());
                self.rosters.push(roster.clone());
                let approvers = executor::approvers(config)?;
                let deps =
                    Deps { bus, listener, rules, accounts, judge, panel, approvers, clock, readiness, metrics, roster };
                self.spawn(role, async move { run(own, deps, stop).await.map_err(Into::into) });
            }
            Role::Archive => {
                use trailwarden_archive::service::{Config as Own, Deps, run};
                let own = Own {
                    tenant,
                    partitions,
                    baseline: scanner.baseline_limits(),
                    flush_events_max: config.archive.flush_events,
                    flush_after: Duration::from_secs(config.archive.flush_s),
                };
                let objects = trailwarden_archive::open(&config.archive.location, true, &surroundings.environment)
                    .context("the archive")?;
                let deps = Deps { bus, objects, clock, readiness, metrics };
                self.spawn(role, async move { run(own, deps, stop).await.map_err(Into::into) });
            }
            Role::Notify => self.notify(config, world, readiness, surroundings)?,
            Role::Executor => self.executor(config, world, readiness, surroundings)?,
            // `roles` refuses what is not built, and spells out `all`.
            Role::All | Role::Console => {}
        }
        Ok(())
    }

    fn notify(
        &mut self,
        config: &Config,
        world: &World,
        readiness: Readiness,
        surroundings: &Surroundings<'_>,
    ) -> Result<()> {
        use trailwarden_notify::service::{Deps, run};
        let (own, bus, clock) = (notify::role(config)?, Arc::clone(&world.bus), Arc::clone(&world.clock));
        let mut channels = Vec::new();
        for spec in &config.notify.channels {
            channels.push(notify::open(config, spec, Arc::clone(&bus), &clock, surroundings)?);
        }
        let (metrics, stop) = (world.metrics.of(Role::Notify.name()), world.stop.clone());
        let deps = Deps { bus, channels, clock, readiness, metrics };
        self.spawn(Role::Notify, async move { run(own, deps, stop).await.map_err(Into::into) });
        Ok(())
    }

    fn executor(
        &mut self,
        config: &Config,
        world: &World,
        readiness: Readiness,
        surroundings: &Surroundings<'_>,
    ) -> Result<()> {
        let stop = world.stop.clone();
        if !executor::is_on(config) {
            tracing::info!("executor.mode is dry_run: nothing is ever called");
            readiness.set(true);
            self.spawn(Role::Executor, async move {
                stop.cancelled().await;
                Ok(())
            });
            return Ok(());
        }
        let (bus, clock) = (Arc::clone(&world.bus), Arc::clone(&world.clock));
        let watched = (readiness, world.metrics.of(Role::Executor.name()));
        let world = executor::world(config, &surroundings.environment, bus, clock, watched);
        let (own, deps) = world.context("the executor")?;
        self.spawn(Role::Executor, async move {
            trailwarden_playbooks::executor::run(own, deps, stop).await.map_err(Into::into)
        });
        Ok(())
    }

    fn spawn(&mut self, role: Role, work: impl Future<Output = Result<()>> + Send + 'static) {
        self.tasks.spawn(async move { (role.name(), work.await) });
    }

    /// Waits for the signal to stop, or for a role that ends without it; then lets all finish within `drain`.
    /// Whether something failed.
    async fn until_stopped(mut self, stop: &CancellationToken, drain: Duration) -> bool {
        let mut failed = false;
        tokio::select! {
            // Told to stop, roles end at once: that is no failure.
            biased;
            () = stop.cancelled() => {}
            ended = self.tasks.join_next() => {
                // Whoever watches this process starts all its roles anew, which is simpler to reason about than half of them.
                failed = true;
                if let Some(ended) = ended {
                    tell_end(ended);
                }
                stop.cancel();
            }
        }
        let drained = tokio::time::timeout(drain, async {
            while let Some(ended) = self.tasks.join_next().await {
                failed |= tell_end(ended);
            }
        });
        if drained.await.is_err() {
            tracing::error!(drain_s = drain.as_secs(), left = self.tasks.len(), "roles did not end in time");
            failed = true;
        }
        failed
    }
}

/// The durable consumers of a role.
fn consumers(role: Role, config: &Config) -> Vec<Consumer> {
    let tenant = &config.run.tenant;
    let of_partition: fn(&str, u16) -> Consumer = match role {
        Role::Featurizer => trailwarden_featurizer::service::consumer,
        Role::Scorer => trailwarden_scorer::service::consumer,
        Role::Council => trailwarden_council::service::consumer,
        Role::Archive => return trailwarden_archive::service::consumers(tenant).into(),
        // Its routes were checked when the configuration was read.
        Role::Notify => {
            let router = config.notify.router();
            return router.map(|router| trailwarden_notify::service::consumers(tenant, &router)).unwrap_or_default();
        }
        Role::Executor if executor::is_on(config) => return vec![trailwarden_playbooks::executor::consumer(tenant)],
        Role::All | Role::Collector | Role::Executor | Role::Console => return Vec::new(),
    };
    (0..config.run.partitions).map(|partition| of_partition(tenant, partition)).collect()
}

/// Logs how a role ended; whether it failed.
fn tell_end(ended: Result<(&'static str, Result<()>), tokio::task::JoinError>) -> bool {
    match ended {
        Ok((role, Ok(()))) => {
            tracing::info!(role, "role ended");
            false
        }
        Ok((role, Err(error))) => {
            tracing::error!(role, error = format!("{error:#}"), "role failed");
            true
        }
        Err(panic) => {
            tracing::error!(error = panic.to_string(), "role panicked");
            true
        }
    }
}

/// Which machine or pod this is.
fn place(surroundings: &Surroundings<'_>) -> String {
    let host = surroundings.environment.iter().find(|(name, _)| name == "HOSTNAME");
    let host = host.and_then(|(_, value)| value.to_str()).filter(|value| !value.is_empty());
    host.unwrap_or("localhost").to_owned()
}

async fn listen(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("could not listen on {address}"))
}

fn telemetry(role: &'static str, config: &Config) -> Result<Telemetry> {
    let own = &config.telemetry;
    let format = match own.format {
        LogFormat::Json => telemetry::Format::Json,
        LogFormat::Text => telemetry::Format::Text,
    };
    let told = telemetry::Config {
        role,
        version: env!("CARGO_PKG_VERSION"),
        otlp: own.otlp.clone(),
        filter: own.log.clone(),
        format,
        export_every: EXPORT_EVERY,
    };
    telemetry::start(told).context("telemetry")
}

/// Says where everything answers, for a person who has just started it.
fn announce(name: &str, config: &Config, roles: &[Role]) {
    let own = &config.listen;
    let address = |role: &Role| match role {
        Role::Collector => Some(&own.collector),
        Role::Featurizer => Some(&own.featurizer),
        Role::Scorer => Some(&own.scorer),
        Role::Council => Some(&own.council),
        _ => None,
    };
    let mut text = format!("trailwarden {} runs: {name}\n", env!("CARGO_PKG_VERSION"));
    for role in roles {
        if let Some(address) = address(role) {
            text.push_str(&format!("  {:<11}grpc://{address}\n", role.name()));
        }
    }
    text.push_str(&format!("  {:<11}http://{}/ready, /metrics, /actors\n", "status", own.status));
    tell(&text);
}
