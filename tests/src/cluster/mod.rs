//! A deployment on this machine: a real broker, a real store, and the roles as processes of their own, all on free
//! loopback ports. What is started here is stopped here, by id.

mod feed;
mod memory;
mod outputs;
mod process;
mod recording;
mod replay;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use trailwarden_archive::query::{Archive, Limits};
use trailwarden_bus::{Bus, Connection, Consumer, JetStream, Lag, Layout, Outgoing, Stream, Subject};
use trailwarden_core::time::{DAY_MS, Timestamp};
use trailwarden_proto::v1::{ActivityBatch, FeatureBatch};
use trailwarden_proto::wire::{pack, unpack};
use trailwarden_servers::{Nats, NatsOptions, Valkey, ValkeyOptions, free_port};

pub use feed::{Feed, Record, feed_disturbed, last_time, organisation, records_below};
pub use memory::{GROWTH_MAX, Memory, Quarters, growth};
pub use outputs::{Measured, Outputs, Signal, all, outputs, whole};
pub use process::{Process, cpu_seconds, resident_bytes};
pub use recording::{Batch, Recording};
pub use replay::{Replayed, replayed};

/// Roles in the order that data passes them.
pub const ROLES: [&str; 5] = ["collector", "featurizer", "scorer", "archive", "council"];
/// Roles that work on what collectors have published.
pub const WORKERS: [&str; 4] = ["featurizer", "scorer", "archive", "council"];
pub const TENANT: &str = "default";
pub const PARTITIONS: u16 = 4;

/// Nothing here may take longer; a hang is a failure, not a wait.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The servers that a deployment stands on.
#[derive(Clone, Copy, Debug)]
pub struct Servers {
    /// Members of the broker; as many copies of every stream.
    pub brokers: usize,
    /// Whether the store has a replica to fail over to.
    pub replica: bool,
    pub partitions: u16,
    /// Brokers set it aside on the disk, for each of the large streams.
    pub stream_bytes_max: u64,
    /// The archive writes at least so often.
    pub flush_s: u32,
}

impl Default for Servers {
    fn default() -> Self {
        Self { brokers: 1, replica: false, partitions: PARTITIONS, stream_bytes_max: 256 << 20, flush_s: 1 }
    }
}

pub struct Cluster {
    pub folder: TempDir,
    pub brokers: Vec<Nats>,
    pub valkey: Valkey,
    pub replica: Option<Valkey>,
    pub partitions: u16,
    pub bus: Arc<dyn Bus>,
    layout: Layout,
    /// Variables of every role that is started from now on.
    pub environment: Vec<(String, String)>,
    ports: BTreeMap<&'static str, u16>,
    processes: BTreeMap<String, Process>,
}

impl Cluster {
    /// Servers and streams, without roles.
    pub async fn start() -> Self {
        Self::on(Servers::default()).await
    }

    pub async fn on(servers: Servers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = NatsOptions { sync_always: true, ..NatsOptions::default() };
        let brokers = match servers.brokers {
            1 => vec![Nats::with(&options)],
            members => Nats::cluster(members, &options),
        };
        let valkey = Valkey::start();
        let replica = servers.replica.then(|| {
            let replica = Valkey::with(&ValkeyOptions { replica_of: Some(valkey.port()), ..ValkeyOptions::default() });
            replica.wait_for_copy();
            replica
        });
        let connection = Connection { url: addresses(brokers.iter().map(Nats::url)), tenant: TENANT.to_owned() };
        let bus = JetStream::connect(connection).await.unwrap();
        let layout = Layout {
            replicas: servers.brokers,
            stream_bytes_max: servers.stream_bytes_max,
            ..Layout::single(TENANT, servers.partitions)
        };
        set_up(&bus, &layout).await;
        let ports = ROLES.into_iter().chain(["status"]).map(|role| (role, free_port())).collect();
        let (bus, partitions) = (Arc::new(bus), servers.partitions);
        let (environment, processes) = (Vec::new(), BTreeMap::new());
        let cluster = Self { folder, brokers, valkey, replica, partitions, bus, layout, environment, ports, processes };
        cluster.write_configuration(servers.flush_s);
        cluster
    }

    fn write_configuration(&self, flush_s: u32) {
        let stores = std::iter::once(&self.valkey).chain(&self.replica).map(Valkey::url);
        let mut text = format!(
            "[run]\npartitions = {}\n[bus]\nurl = \"{}\"\n[windows]\nurl = \"{}\"\n[archive]\nlocation = \"{}\"\nflush_s = {flush_s}\n\
             [features]\nwarm_up_h = 24\n[listen]\n",
            self.partitions,
            addresses(self.brokers.iter().map(Nats::url)),
            addresses(stores),
            self.folder.path().join("archive").display(),
        );
        for role in ["collector", "featurizer", "scorer", "council"] {
            text.push_str(&format!("{role} = \"{}\"\n", self.address(role)));
        }
        std::fs::write(self.configuration(), text).unwrap();
    }

    pub fn configuration(&self) -> std::path::PathBuf {
        self.folder.path().join("trailwarden.toml")
    }

    pub fn address(&self, role: &str) -> String {
        format!("127.0.0.1:{}", self.ports[role])
    }

    /// A broker without memory in the place of the only one, with its streams made.
    pub async fn renew_broker(&mut self) {
        self.brokers[0].renew();
        set_up(self.bus.as_ref(), &self.layout).await;
    }

    /// Publishes batches to their subjects, in order.
    pub async fn publish(&self, batches: &[Batch]) {
        for (subject, payload) in batches {
            let subject = Subject::parse(subject).unwrap();
            let message = Outgoing { payload: payload.clone(), ..Outgoing::default() };
            patiently(async || self.bus.publish(&subject, message.clone()).await).await;
        }
    }

    /// Waits until so many events were measured.
    pub async fn measured_at_least(&self, events: usize) {
        let started = tokio::time::Instant::now();
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        loop {
            looks.tick().await;
            let mut measured = 0;
            for partition in 0..self.partitions {
                let batches = all(self.bus.as_ref(), &Subject::partition(Stream::Feature, TENANT, partition)).await;
                measured += batches
                    .iter()
                    .map(|batch| unpack::<FeatureBatch>(&batch.payload).unwrap().events.len())
                    .sum::<usize>();
            }
            if measured >= events {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{measured} of {events} were measured\n{}", self.told());
        }
    }

    /// From here on the replica hears nothing: what the primary acknowledges dies with it.
    ///
    /// # Panics
    /// When there is no replica, or it does not listen.
    pub fn cut_off_replica(&self) {
        self.replica.as_ref().unwrap().pause();
        // A socket would go on to fill, and be read when the replica wakes.
        let closed = self.valkey.ask("CLIENT KILL TYPE replica");
        assert!(closed.starts_with(":1"), "{closed}");
    }

    /// The store's replica takes over, without what it had not heard yet.
    ///
    /// # Panics
    /// When there is no replica (any more).
    pub fn fail_over(&mut self) {
        let replica = self.replica.take().unwrap();
        self.valkey.kill();
        replica.resume();
        assert!(replica.ask("REPLICAOF NO ONE").starts_with("+OK"));
        self.valkey = replica;
    }

    /// Waits until a role has ended by itself.
    pub async fn end_of(&mut self, role: &str) -> ExitStatus {
        let started = tokio::time::Instant::now();
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            if let Some(status) = self.process(role).ended() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "{role} goes on\n{}", self.told());
        }
    }

    /// Starts a role, to die at a failpoint if one is named (`featurizer.published:3`).
    pub fn run(&mut self, role: &'static str, die_at: Option<&str>) {
        self.run_named(role, role, die_at);
    }

    /// Starts one more process of a role.
    pub fn run_named(&mut self, role: &'static str, name: &str, die_at: Option<&str>) {
        let die_at: Vec<&str> = die_at.into_iter().flat_map(|failpoint| ["--die-at", failpoint]).collect();
        let process = Process::start(self, role, name, &die_at);
        self.processes.insert(name.to_owned(), process);
    }

    /// Starts a process of a role that measures so many events a second at most.
    pub fn run_paced(&mut self, role: &'static str, name: &str, events_per_s: u32) {
        let process = Process::start(self, role, name, &["--pace", &events_per_s.to_string()]);
        self.processes.insert(name.to_owned(), process);
    }

    pub fn run_all(&mut self) {
        ROLES.into_iter().for_each(|role| self.run(role, None));
    }

    pub fn has(&self, name: &str) -> bool {
        self.processes.contains_key(name)
    }

    pub fn process(&mut self, role: &str) -> &mut Process {
        self.processes.get_mut(role).unwrap()
    }

    /// Lets event time pass everywhere, so that every case ends, and waits until all of it is worked off.
    pub async fn drain(&self, last: Timestamp) {
        let later = last.plus_ms(2 * DAY_MS);
        for partition in 0..self.partitions {
            let batch = ActivityBatch { watermark_ms: later.as_millis(), ..ActivityBatch::default() };
            let subject = Subject::partition(Stream::Activity, TENANT, partition);
            let tick = Outgoing { payload: pack(&batch), ..Outgoing::default() };
            patiently(async || self.bus.publish(&subject, tick.clone()).await).await;
        }
        self.worked_off(&["featurizer", "scorer", "council"], &[]).await;
    }

    /// Waits until roles have acknowledged all that there is, one after the other, and others were at least given it.
    pub async fn worked_off(&self, acknowledged: &[&str], given: &[&str]) {
        for (roles, is_done) in [(acknowledged, Lag::is_idle as fn(&Lag) -> bool), (given, |lag| lag.pending == 0)] {
            for role in roles {
                for (stream, consumer) in self.consumers(role) {
                    self.idle(stream, &consumer, is_done).await;
                }
            }
        }
    }

    fn consumers(&self, role: &str) -> Vec<(Stream, String)> {
        let each = |consumer: fn(&str, u16) -> Consumer| {
            (0..self.partitions).map(|partition| consumer(TENANT, partition)).collect::<Vec<_>>()
        };
        let consumers = match role {
            "featurizer" => each(trailwarden_featurizer::service::consumer),
            "scorer" => each(trailwarden_scorer::service::consumer),
            "council" => each(trailwarden_council::service::consumer),
            "archive" => trailwarden_archive::service::consumers(TENANT).to_vec(),
            other => panic!("{other} consumes nothing"),
        };
        consumers.into_iter().map(|consumer| (consumer.stream, consumer.name)).collect()
    }

    /// Rows of a table of the archive by their ids, each once or more, as soon as there are `rows` different ones.
    pub async fn archived(&self, table: &str, id: &str, rows: usize) -> (usize, usize) {
        let started = tokio::time::Instant::now();
        let mut looks = tokio::time::interval(Duration::from_millis(200));
        let question = format!("SELECT count(*), count(DISTINCT {id}) FROM {table}");
        loop {
            looks.tick().await;
            let objects = trailwarden_archive::open(&self.archive().to_string_lossy(), false, &[]).unwrap();
            let archive = Archive::open(objects, Limits::default()).unwrap();
            let answer = archive.query(&question).await.unwrap();
            let number = |column: usize| answer.rows[0][column].as_u64().unwrap() as usize;
            let (all, different) = (number(0), number(1));
            if different >= rows {
                return (all, different);
            }
            assert!(started.elapsed() < PATIENCE, "{different} of {rows} {table} are archived\n{}", self.told());
        }
    }

    /// Waits until a stream holds nothing.
    pub async fn emptied(&self, stream: Stream) {
        let started = tokio::time::Instant::now();
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        while !matches!(self.bus.depth(stream).await, Ok(0)) {
            looks.tick().await;
            assert!(started.elapsed() < PATIENCE, "{} is not emptied\n{}", stream.word(), self.told());
        }
    }

    async fn idle(&self, stream: Stream, consumer: &str, is_done: fn(&Lag) -> bool) {
        let started = tokio::time::Instant::now();
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        loop {
            looks.tick().await;
            let lag = self.bus.lag(stream, consumer).await;
            if lag.as_ref().is_ok_and(is_done) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{consumer} does not end: {lag:?}\n{}", self.told());
        }
    }

    /// SIGTERM to every role; how each ended.
    pub fn stop_all(&mut self) -> Vec<(String, Option<i32>)> {
        self.processes.iter_mut().map(|(role, process)| (role.clone(), process.stop())).collect()
    }

    /// What the roles said, for the message of a failed test.
    pub fn told(&self) -> String {
        self.processes.values().map(Process::told).collect()
    }

    pub fn log_path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    pub fn archive(&self) -> std::path::PathBuf {
        self.folder.path().join("archive")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Asks the broker until it answers: members die in these tests, and a client elsewhere asks again too.
pub async fn patiently<T>(mut ask: impl AsyncFnMut() -> Result<T, trailwarden_bus::Error>) -> T {
    let started = tokio::time::Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    loop {
        looks.tick().await;
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(error.is_transient() && started.elapsed() < PATIENCE, "{error}"),
        }
    }
}

fn addresses(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join(",")
}

/// Sets the streams up as soon as the broker answers: a connection is made in the background, and several members elect
/// a leader first.
async fn set_up(bus: &dyn Bus, layout: &Layout) {
    let started = tokio::time::Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    while let Err(error) = bus.set_up(layout).await {
        looks.tick().await;
        assert!(started.elapsed() < PATIENCE, "{error}");
    }
}
