//! A partition with its bus and store in memory, and scripts of what goes wrong.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use trailwarden_bus::{
    Bus, Consumer, DeadLetter, Delivery, Error as BusError, Lag, Layout, Memory, Outgoing, Published, Stored, Stream,
    Subject, Subscription,
};
use trailwarden_core::activity::Activity;
use trailwarden_core::api::Vocabulary;
use trailwarden_core::baseline::{Baseline, Epoch, Limits};
use trailwarden_core::fence::{Record, Tail};
use trailwarden_core::hash::hash64;
use trailwarden_core::time::{HOUR_MS, MINUTE_MS, Timestamp};
use trailwarden_proto::{v1, wire};
use trailwarden_runtime::readiness::Readiness;
use trailwarden_runtime::telemetry::{Telemetry, quiet};

use crate::partition::{Changes, Loaded, Needs, Outcome as Measured};
use crate::store::{Error as StoreError, Finding, MemoryStore, PartitionKey, Snapshot, WindowStore};
use crate::worker::{Context, Epochs, Health, Measure, Measuring, Worker};

pub(super) const TENANT: &str = "t";
pub(super) const START: Timestamp = Timestamp::from_millis(1_700_000_400_000);
/// Deliveries of one message before a test is taken to hang.
const DELIVERIES_MAX: usize = 64;

pub(super) fn activity(id: &str, principal: &str, minutes: i64, call: &str) -> v1::Activity {
    v1::Activity {
        event_id: id.to_owned(),
        event_time_ms: START.plus_ms(minutes * MINUTE_MS).as_millis(),
        account: "111122223333".to_owned(),
        region: "eu-west-1".to_owned(),
        service: "iam".to_owned(),
        call: call.to_owned(),
        principal: principal.to_owned(),
        principal_kind: v1::PrincipalKind::Role.into(),
        session: format!("ASIA{principal}"),
        credential: v1::Credential::TemporaryKey.into(),
        source: "198.51.100.7".to_owned(),
        user_agent: "aws-cli/2".to_owned(),
        ..v1::Activity::default()
    }
}

pub(super) fn wire_batch(activities: &[v1::Activity], tick_minutes: i64) -> v1::ActivityBatch {
    let observation =
        |activity: &v1::Activity| v1::Observation { activity: Some(activity.clone()), ..v1::Observation::default() };
    let watermark_ms = if tick_minutes == 0 { 0 } else { START.plus_ms(tick_minutes * MINUTE_MS).as_millis() };
    v1::ActivityBatch {
        id: activities.first().map(|activity| activity.event_id.clone()).unwrap_or_default(),
        observations: activities.iter().map(observation).collect(),
        rules: vec!["rule".to_owned()],
        watermark_ms,
    }
}

pub(super) fn batch(activities: &[v1::Activity], tick_minutes: i64) -> Bytes {
    wire::pack(&wire_batch(activities, tick_minutes))
}

pub(super) fn whole(content: &'static [u8]) -> Bytes {
    Bytes::from_static(content)
}

/// All that a run leaves behind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) outputs: Vec<(Bytes, std::collections::BTreeMap<String, String>)>,
    pub(super) letters: Vec<DeadLetter>,
    pub(super) store: (Option<Record>, Loaded),
}

pub(super) struct World {
    pub(super) bus: Memory,
    pub(super) store: MemoryStore,
    pub(super) inputs: Vec<Stored>,
    /// The store after each input, as the first to finish it left it.
    past: Arc<Mutex<Vec<Snapshot>>>,
    telemetry: Telemetry,
}

impl World {
    pub(super) async fn new(inputs: Vec<Bytes>) -> Self {
        let bus = Memory::with_clock(Arc::new(|| START.plus_ms(48 * HOUR_MS)));
        bus.set_up(&Layout::single(TENANT, 1)).await.expect("in memory");
        let subject = Subject::partition(Stream::Activity, TENANT, 0);
        for payload in inputs {
            let message = Outgoing { payload, ..Outgoing::default() };
            bus.publish(&subject, message).await.expect("in memory");
        }
        let inputs = bus.read(&subject, 0, 1_000).await.expect("in memory");
        let telemetry = quiet("featurizer").expect("no exporter");
        Self { bus, store: MemoryStore::default(), inputs, past: Arc::default(), telemetry }
    }

    pub(super) fn worker(&self, script: &Arc<Script>) -> Worker {
        let bus: Arc<dyn Bus> = Arc::new(Faulty { inner: self.bus.clone(), script: Arc::clone(script) });
        let store = Arc::new(Faulty { inner: self.store.clone(), script: Arc::clone(script) });
        let metrics = self.telemetry.metrics().clone();
        let limits = Limits { warm_up_h: 1, ..Limits::default() };
        let epochs = Arc::new(Epochs::new(Arc::clone(&bus), TENANT, limits, metrics.clone()));
        let health = Health::new(&[0], Readiness::default());
        let measuring = Measuring { vocabulary: Arc::new(Vocabulary::builtin()), with_sequences: true };
        Worker::new(Context { bus, store, measure: Arc::new(Poisoned(measuring)), epochs, health, metrics }, key())
    }

    /// Gives out each message until it is acknowledged; a worker that dies has a successor.
    pub(super) async fn run(&self, script: &Arc<Script>) {
        let mut worker = self.worker(script);
        let stop = CancellationToken::new();
        for message in &self.inputs {
            let acknowledged = Arc::new(AtomicBool::new(false));
            for deliveries in 1..=DELIVERIES_MAX {
                assert!(deliveries < DELIVERIES_MAX, "input {} is never done", message.sequence);
                let delivery = Box::new(Given {
                    message: message.clone(),
                    script: Arc::clone(script),
                    acknowledged: Arc::clone(&acknowledged),
                });
                let died = tokio::select! {
                    _ = worker.deliver(delivery, &stop) => false,
                    () = script.crashed() => true,
                };
                if died {
                    worker = self.worker(script);
                }
                if acknowledged.load(Ordering::Relaxed) {
                    break;
                }
            }
            self.past.lock().expect("no panic").push(self.store.snapshot());
        }
    }

    /// Asserts that the page of measures has these lines.
    pub(super) fn measured(&self, lines: &[&str]) {
        let page = self.telemetry.metrics_text();
        lines.iter().for_each(|line| assert!(page.lines().any(|own| own == *line), "{line} is missing\n{page}"));
    }

    pub(super) async fn announce(&self, baseline: &Baseline) {
        let content = baseline.epoch().to_bytes();
        let digest = Sha256::digest(&content);
        let name = format!("epoch/{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        self.bus.put_object(&name, content.into()).await.expect("in memory");
        let message = Outgoing { payload: name.into(), ..Outgoing::default() };
        self.bus.publish(&Subject::whole(Stream::Epoch, TENANT), message).await.expect("in memory");
    }

    pub(super) async fn tail(&self) -> Tail {
        let last = self.bus.last(&Subject::partition(Stream::Feature, TENANT, 0)).await.expect("in memory");
        let last = last.expect("there");
        wire::Chain::read(&last.headers).expect("ours").tail(last.sequence)
    }

    pub(super) async fn state(&self) -> (Option<Record>, Loaded) {
        let needs = Needs { principals: ["a", "b", "c"].map(hash64).into(), ids: std::collections::BTreeMap::new() };
        // Damage that no later batch ran into.
        self.store.read(&key(), &needs).await.unwrap_or_default()
    }

    pub(super) async fn outcome(&self) -> Outcome {
        let outputs = self.bus.read(&Subject::partition(Stream::Feature, TENANT, 0), 0, 1_000).await;
        let outputs = outputs.expect("in memory").into_iter().map(|stored| (stored.payload, stored.headers)).collect();
        let letters = self.bus.dead_letters(0, 1_000).await.expect("in memory");
        let mut letters: Vec<DeadLetter> = letters.into_iter().map(|(_, letter)| letter).collect();
        letters.sort_by_key(|letter| (letter.sequence, letter.place));
        Outcome { outputs, letters, store: self.state().await }
    }
}

fn key() -> PartitionKey {
    PartitionKey { tenant: TENANT.to_owned(), partition: 0 }
}

/// The product's method, except that it cannot bear some records.
struct Poisoned(Measuring);

impl Measure for Poisoned {
    fn needs(&self, activities: &[Activity<'_>]) -> Needs {
        self.0.needs(activities)
    }

    fn work(
        &self,
        loaded: Loaded,
        epoch: &Epoch,
        activities: &[Activity<'_>],
        tick: Option<Timestamp>,
        stored_at: Timestamp,
    ) -> (Vec<Measured>, Changes) {
        assert!(activities.iter().all(|activity| activity.call != "Poison"), "poisoned");
        self.0.work(loaded, epoch, activities, tick, stored_at)
    }
}

/// What goes wrong at one call to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The process dies before the call, or after it and before it knows what came of it.
    CrashBefore,
    CrashAfter,
    /// The call fails, with or without having been done.
    FailBefore,
    FailAfter,
    /// The store forgets everything, or everything since an input (by place), before the call.
    Flush,
    Restore(usize),
    /// A state becomes unreadable.
    Damage,
}

pub(super) struct Script {
    at: usize,
    fault: Fault,
    calls: AtomicUsize,
    crashed: Notify,
    /// Tells how often a call gives way to others.
    seed: Option<u64>,
    store: MemoryStore,
    past: Arc<Mutex<Vec<Snapshot>>>,
}

impl Script {
    pub(super) fn new(world: &World, at: usize, fault: Fault) -> Self {
        let (store, past) = (world.store.clone(), Arc::clone(&world.past));
        Self { at, fault, calls: AtomicUsize::new(0), crashed: Notify::new(), seed: None, store, past }
    }

    pub(super) fn yielding(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) async fn crashed(&self) {
        self.crashed.notified().await;
    }

    async fn call<T, E>(&self, failed: impl Fn() -> E, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let fault = if number == self.at { self.fault } else { Fault::None };
        if let Some(seed) = self.seed {
            let dice = hash64(&format!("{seed} {number}")) % 5;
            for _ in 0..dice {
                tokio::task::yield_now().await;
            }
        }
        match fault {
            Fault::CrashBefore => self.die().await,
            Fault::FailBefore => return Err(failed()),
            Fault::Flush => self.store.flush(),
            Fault::Restore(place) => {
                if let Some(snapshot) = self.past.lock().expect("no panic").get(place) {
                    self.store.restore(snapshot);
                }
            }
            Fault::Damage => self.store.damage(&key(), hash64("a"), &[255; 40]),
            _ => {}
        }
        let result = call.await;
        match fault {
            Fault::CrashAfter => self.die().await,
            Fault::FailAfter => Err(failed()),
            _ => result,
        }
    }

    async fn die(&self) -> ! {
        self.crashed.notify_one();
        std::future::pending().await
    }
}

struct Faulty<T> {
    inner: T,
    script: Arc<Script>,
}

fn no_broker() -> BusError {
    BusError::Unavailable { what: "scripted".to_owned() }
}

fn no_store() -> StoreError {
    StoreError::Unavailable("scripted".to_owned())
}

#[async_trait]
impl WindowStore for Faulty<MemoryStore> {
    async fn read(&self, key: &PartitionKey, needs: &Needs) -> Result<(Option<Record>, Loaded), StoreError> {
        self.script.call(no_store, self.inner.read(key, needs)).await
    }

    async fn commit(
        &self,
        key: &PartitionKey,
        from: &Record,
        to: &Record,
        changes: &Changes,
    ) -> Result<bool, StoreError> {
        self.script.call(no_store, self.inner.commit(key, from, to, changes)).await
    }

    async fn clear(&self, key: &PartitionKey) -> Result<(), StoreError> {
        self.script.call(no_store, self.inner.clear(key)).await
    }

    async fn check(&self) -> Result<Vec<Finding>, StoreError> {
        self.inner.check().await
    }
}

#[async_trait]
impl Bus for Faulty<Memory> {
    async fn set_up(&self, layout: &Layout) -> Result<(), BusError> {
        self.inner.set_up(layout).await
    }

    async fn publish(&self, subject: &Subject, message: Outgoing) -> Result<Published, BusError> {
        self.script.call(no_broker, self.inner.publish(subject, message)).await
    }

    async fn last(&self, subject: &Subject) -> Result<Option<Stored>, BusError> {
        self.script.call(no_broker, self.inner.last(subject)).await
    }

    async fn read(&self, subject: &Subject, after: u64, messages_max: usize) -> Result<Vec<Stored>, BusError> {
        self.script.call(no_broker, self.inner.read(subject, after, messages_max)).await
    }

    async fn subscribe(&self, consumer: &Consumer) -> Result<Box<dyn Subscription>, BusError> {
        self.inner.subscribe(consumer).await
    }

    async fn lag(&self, stream: Stream, consumer: &str) -> Result<Lag, BusError> {
        self.inner.lag(stream, consumer).await
    }

    async fn depth(&self, stream: Stream) -> Result<u64, BusError> {
        self.inner.depth(stream).await
    }

    async fn bury(&self, letter: &DeadLetter) -> Result<(), BusError> {
        self.script.call(no_broker, self.inner.bury(letter)).await
    }

    async fn dead_letters(&self, after: u64, letters_max: usize) -> Result<Vec<(u64, DeadLetter)>, BusError> {
        self.inner.dead_letters(after, letters_max).await
    }

    async fn put_object(&self, name: &str, content: Bytes) -> Result<(), BusError> {
        self.script.call(no_broker, self.inner.put_object(name, content)).await
    }

    async fn object(&self, name: &str) -> Result<Option<Bytes>, BusError> {
        self.script.call(no_broker, self.inner.object(name)).await
    }

    async fn ping(&self) -> Result<(), BusError> {
        self.inner.ping().await
    }
}

/// A message that was given out.
struct Given {
    message: Stored,
    script: Arc<Script>,
    acknowledged: Arc<AtomicBool>,
}

#[async_trait]
impl Delivery for Given {
    fn message(&self) -> &Stored {
        &self.message
    }

    fn deliveries(&self) -> u64 {
        1
    }

    async fn ack(self: Box<Self>) -> Result<(), BusError> {
        let acknowledge = async {
            self.acknowledged.store(true, Ordering::Relaxed);
            Ok(())
        };
        self.script.call(no_broker, acknowledge).await
    }

    async fn hand_back(self: Box<Self>, _: Duration) -> Result<(), BusError> {
        Ok(())
    }

    async fn progress(&self) -> Result<(), BusError> {
        Ok(())
    }
}
