//! Made-up activities, a bus that carries them, and a store that dies when told to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::object_store::memory::InMemory;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use tokio::sync::Semaphore;
use trailwarden_bus::{Bus, Consumer, Layout, Memory, Outgoing, Stream, Subject, Subscription};
use trailwarden_core::feature::Feature;
use trailwarden_core::time::{HOUR_MS, MINUTE_MS, Timestamp};
use trailwarden_proto::{v1, wire};
use trailwarden_runtime::metrics::Metrics;

use crate::lane::{Bounds, Lane, Surroundings};
use crate::query::{Archive, Limits};
use crate::table::Table;

pub(super) const TENANT: &str = "default";
pub(super) const PARTITIONS: u16 = 4;
/// 2026-01-31T00:00:00Z.
pub(super) const MIDNIGHT: Timestamp = Timestamp::from_millis(1_769_817_600_000);

pub(super) fn activity(number: u64, at: Timestamp) -> v1::Activity {
    let account = if number.is_multiple_of(3) { "111122223333" } else { "444455556666" };
    v1::Activity {
        event_id: format!("event-{number:06}"),
        event_time_ms: at.as_millis(),
        account: account.to_owned(),
        region: "eu-west-1".to_owned(),
        service: "s3".to_owned(),
        call: if number.is_multiple_of(2) { "GetObject" } else { "PutObject" }.to_owned(),
        principal: format!("arn:aws:iam::{account}:user/u{}", number % 7),
        principal_kind: v1::PrincipalKind::IamUser.into(),
        session: format!("AKIA{:012}", number % 7),
        credential: v1::Credential::LongTermKey.into(),
        source: format!("198.51.100.{}", number % 5),
        user_agent: "aws-cli/2.17".to_owned(),
        error_code: number.is_multiple_of(10).then(|| "AccessDenied".to_owned()),
        read_only: Some(number.is_multiple_of(2)),
        ..v1::Activity::default()
    }
}

pub(super) fn measured(activity: v1::Activity) -> v1::MeasuredEvent {
    let mut features = v1::FeatureVector { known: vec![0; Feature::COUNT.div_ceil(8)], values: vec![2.5] };
    let column = Feature::Principal1h as usize;
    features.known[column / 8] |= 1 << (column % 8);
    let observation = v1::Observation { activity: Some(activity), ..v1::Observation::default() };
    v1::MeasuredEvent { observation: Some(observation), features: Some(features), ..v1::MeasuredEvent::default() }
}

/// Batches of some events each, a minute an event, over days and partitions; the last of each ten is a tick without any.
pub(super) fn batches(count: u64, events: u64) -> Vec<(u16, v1::FeatureBatch)> {
    let batch = |number: u64| {
        let events = if number % 10 == 9 { 0 } else { events };
        let events = (0..events).map(|event| {
            let number = number * 100 + event;
            measured(activity(number, MIDNIGHT.plus_ms(number as i64 * MINUTE_MS / 2)))
        });
        let events = events.collect();
        let batch = v1::FeatureBatch { input_sequence: number + 1, events, ..v1::FeatureBatch::default() };
        ((number % u64::from(PARTITIONS)) as u16, batch)
    };
    (0..count).map(batch).collect()
}

pub(super) async fn bus() -> Arc<Memory> {
    bus_at(Timestamp::from_millis(1_000)).await
}

/// Its clock begins there.
pub(super) async fn bus_at(start: Timestamp) -> Arc<Memory> {
    let clock = Arc::new(AtomicI64::new(start.as_millis()));
    // Every message at a time of its own, as on a broker.
    let bus = Memory::with_clock(Arc::new(move || Timestamp::from_millis(clock.fetch_add(1, Ordering::Relaxed))));
    bus.set_up(&Layout::single(TENANT, PARTITIONS)).await.unwrap();
    Arc::new(bus)
}

pub(super) async fn publish(bus: &Memory, batches: &[(u16, v1::FeatureBatch)]) {
    for (partition, batch) in batches {
        let subject = Subject::partition(Stream::Feature, TENANT, *partition);
        bus.publish(&subject, Outgoing { payload: wire::pack(batch), ..Outgoing::default() }).await.unwrap();
    }
}

/// A consumer of its own is given everything from the beginning: more than any broker gives out again.
pub(super) async fn consumer(bus: &Memory, table: Table, name: &str) -> Box<dyn Subscription> {
    let consumer =
        Consumer { name: name.to_owned(), ..crate::service::consumer(table, TENANT, Duration::from_secs(600)) };
    bus.subscribe(&consumer).await.unwrap()
}

pub(super) fn bounds(events_max: usize) -> Bounds {
    Bounds { events_max, after: Duration::from_secs(3_600), gap_patience: Duration::from_secs(3_600) }
}

pub(super) fn surroundings(bus: &Arc<Memory>, objects: &Arc<dyn ObjectStore>) -> Surroundings {
    let (bus, metrics) = (Arc::clone(bus) as Arc<dyn Bus>, Metrics::nowhere());
    Surroundings { bus, objects: Arc::clone(objects), metrics, writing: Arc::new(Semaphore::new(1)) }
}

pub(super) async fn lane(
    bus: &Arc<Memory>,
    objects: &Arc<dyn ObjectStore>,
    table: Table,
    events_max: usize,
) -> Result<Lane, crate::Error> {
    Lane::open(table, TENANT, PARTITIONS, surroundings(bus, objects), bounds(events_max), None).await
}

/// Everything that is there now, and a flush at the end.
pub(super) async fn drain(lane: &mut Lane, subscription: &mut dyn Subscription) -> Result<(), crate::Error> {
    while let Some(delivery) = subscription.next(Duration::ZERO).await? {
        lane.take(delivery).await?;
    }
    lane.flush().await
}

pub(super) fn open(objects: &Arc<dyn ObjectStore>) -> Archive {
    Archive::open(Arc::clone(objects), Limits::default()).unwrap()
}

/// Event ids in order, doubled ones as often as they stand there.
pub(super) async fn ids(objects: &Arc<dyn ObjectStore>) -> Vec<String> {
    let answer = Archive::open(Arc::clone(objects), Limits { rows_max: 1_000_000, ..Limits::default() }).unwrap();
    let answer = answer.query("SELECT metadata_uid FROM activities ORDER BY metadata_uid").await.unwrap();
    answer.rows.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect()
}

pub(super) fn ids_of(batches: &[(u16, v1::FeatureBatch)]) -> Vec<String> {
    let events = batches.iter().flat_map(|(_, batch)| &batch.events);
    let ids = events.filter_map(|event| Some(event.observation.as_ref()?.activity.as_ref()?.event_id.clone()));
    let mut ids: Vec<String> = ids.collect();
    ids.sort_unstable();
    ids
}

pub(super) async fn files(objects: &Arc<dyn ObjectStore>, prefix: &str) -> Vec<String> {
    let found: Vec<ObjectMeta> = objects.list(Some(&Path::from(prefix))).try_collect().await.unwrap();
    let mut files: Vec<String> = found.into_iter().map(|meta| meta.location.to_string()).collect();
    files.sort_unstable();
    files
}

pub(super) fn hours(count: i64) -> Timestamp {
    MIDNIGHT.plus_ms(count * HOUR_MS)
}

/// A store in memory after whose `puts_left` writes nothing is written any more: the process is dead.
#[derive(Debug)]
pub(super) struct Dying {
    inner: Arc<dyn ObjectStore>,
    puts_left: AtomicI64,
}

impl Dying {
    pub(super) fn after(puts: i64, inner: &Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(Self { inner: Arc::clone(inner), puts_left: AtomicI64::new(puts) })
    }
}

pub(super) fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

impl fmt::Display for Dying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dying")
    }
}

#[async_trait]
impl ObjectStore for Dying {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if self.puts_left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(StoreError::Generic { store: "dying", source: "dead".into() });
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(StoreError::Generic { store: "dying", source: "no parts".into() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
