use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use trailwarden_bus::{
    Bus, Consumer, DeadLetter, Error as BusError, Lag, Layout, Memory, Outgoing, Published, Sequence, Stored, Stream,
    Subject, Subscription,
};
use trailwarden_core::activity::{Activity, Observation};
use trailwarden_core::partition::partition_of;
use trailwarden_core::record::RecordView;
use trailwarden_core::time::Timestamp;
use trailwarden_proto::v1::collector_service_client::CollectorServiceClient;
use trailwarden_proto::{v1, wire};
use trailwarden_runtime::telemetry::{Telemetry, quiet};

use super::documents::{Documents, RECORDS_MAX};
use super::*;
use crate::{Input, Options, collect};

const TENANT: &str = "default";
const PARTITIONS: u16 = 4;

/// Keeps the activity alone; a call named `Boom` is more than it can bear.
struct Plain;

impl Observe for Plain {
    fn observe<'a>(&self, _: &RecordView<'a>, activity: Activity<'a>) -> Observation<'a> {
        assert_ne!(activity.call, "Boom");
        Observation { activity, links: Vec::new(), matches: Vec::new(), details: None }
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::parse("2026-03-01T12:00:00Z").unwrap()
}

pub(super) fn record(id: &str, user: &str) -> String {
    format!(
        r#"{{"eventTime":"2026-03-01T11:59:00Z","eventSource":"iam.amazonaws.com","eventName":"ListUsers","eventID":"{id}","recipientAccountId":"111122223333","userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/{user}","accountId":"111122223333","userName":"{user}"}}}}"#
    )
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn reader() -> Reader {
    Reader::new(Arc::new(Plain), Arc::default(), Limits::default(), PARTITIONS)
}

fn read(documents: &[Vec<u8>]) -> Documents {
    reader().read(documents, now())
}

fn reasons(documents: &Documents) -> Vec<(u32, u32, &str)> {
    documents.rejected.iter().map(|one| (one.document, one.record, one.reason.as_str())).collect()
}

#[test]
fn a_document_gives_what_its_file_gives() {
    let (a, b, c) = (record("a", "mia"), record("b", "mia"), record("c", "leo"));
    let quoted = serde_json::to_string(&b).unwrap();
    let documents: Vec<Vec<u8>> = [
        a.clone(),
        format!(r#"{{"Records":[{a},{b}]}}"#),
        format!("[{a},{b},{c}]"),
        format!("{a}\n{b}\nnonsense\n{c}\n"),
        format!("\u{feff}{a}\n\n{b}"),
        format!(r#"{{"version":"0","detail-type":"x","detail":{a}}}"#),
        format!(r#"{{"Events":[{{"EventId":"b","CloudTrailEvent":{quoted}}}]}}"#),
        format!(r#"{{"Records":[{a},{{"eventName":,}},{b}]}}"#),
        format!(r#"{{"Records":[{a},{}"#, &b[..50]),
        r#"{"Records":[]}"#.into(),
        r#"{"digestStartTime":"x"}"#.into(),
        r#"{"eventName":"X"}"#.into(),
        "  ".into(),
        "plain text\nand more".into(),
    ]
    .into_iter()
    .map(String::into_bytes)
    .chain([gzip(&format!(r#"{{"Records":[{a},{c}]}}"#)), gzip(&a)[..60].to_vec()])
    .chain([[a.as_bytes(), b"\n\xff\xfe\n", b.as_bytes()].concat()])
    .collect();
    for document in documents {
        let options = Options { limits: Limits::default(), threads: NonZeroUsize::MIN, now: now() };
        let input = Input::Memory { name: "x".into(), bytes: Cow::Owned(document.clone()) };
        let collected = collect(&[input], &options, &Plain, &|_| {}).unwrap();
        let mut events = BTreeSet::new();
        let summary = collected.in_order(|event| events.extend([event.activity.event_id.to_owned()])).unwrap();
        let text = String::from_utf8_lossy(&document).into_owned();

        let found = read(&[document]);
        let ids = found.routed.iter().map(|one| one.observation.activity.as_ref().unwrap().event_id.clone());
        assert_eq!(ids.collect::<BTreeSet<_>>(), events, "{text}");
        let mut counts = BTreeMap::<&str, u64>::new();
        for (document, _, reason) in reasons(&found) {
            assert_eq!(document, 0);
            *counts.entry(reason).or_default() += 1;
        }
        let expected = summary.rejected.iter().chain(&summary.set_aside).map(|(reason, count)| (reason.name(), *count));
        assert_eq!(counts, expected.collect(), "{text}");
    }
}

#[test]
fn a_defect_costs_its_document_alone() {
    let boom = record("boom", "mia").replace("ListUsers", "Boom");
    let documents =
        [record("a", "mia"), format!("[{},{boom},{}]", record("b", "mia"), record("c", "mia")), record("d", "leo")];
    let found = read(&documents.map(String::into_bytes));
    assert_eq!(found.routed.len(), 3);
    assert_eq!(reasons(&found), [(1, 0, "defect")]);
}

#[test]
fn a_request_takes_so_many_records_and_says_where_it_stopped() {
    let many = |count: usize, from: usize| {
        let records: Vec<String> = (0..count).map(|number| record(&(from + number).to_string(), "mia")).collect();
        format!("[{}]", records.join(",")).into_bytes()
    };
    let found = read(&[many(RECORDS_MAX - 1, 0), many(5, RECORDS_MAX), b"{".to_vec()]);
    assert_eq!(found.routed.len(), RECORDS_MAX);
    assert_eq!(reasons(&found), [(1, 2, "too_many_records"), (2, 1, "too_many_records")]);
}

#[test]
fn a_bomb_is_refused_and_what_a_request_inflates_to_is_bounded() {
    let bomb = gzip(&" ".repeat(40 << 20));
    let found = read(&[bomb, gzip(&record("a", "mia")), record("b", "mia").into_bytes()]);
    assert_eq!(found.routed.len(), 1);
    assert!(reasons(&found).contains(&(0, 0, "inflated_too_large")), "{:?}", reasons(&found));
    assert!(reasons(&found).contains(&(1, 0, "inflated_too_large")), "{:?}", reasons(&found));
}

#[test]
fn forged_texts_are_cut_to_what_a_message_holds() {
    let long = "é".repeat(200 << 10);
    let forged =
        |id: &str| record(id, "mia").replace(r#""eventName""#, &format!(r#""userAgent":"{long}","eventName""#));
    let ids = ["a".to_owned(), format!("{long}1"), format!("{long}2")];
    let found = read(&ids.map(|id| forged(&id).into_bytes()));
    assert_eq!((found.cut, found.routed.len()), (3, 3), "{:?}", reasons(&found));
    assert!(found.routed.iter().all(|one| one.bytes < 16 << 10));
    let ids: BTreeSet<_> =
        found.routed.iter().map(|one| &one.observation.activity.as_ref().unwrap().event_id).collect();
    assert!(ids.len() == 3 && ids.iter().filter(|id| id.starts_with("cut:")).count() == 2, "{ids:?}");
}

struct Running {
    telemetry: Telemetry,
    address: SocketAddr,
    stop: CancellationToken,
    service: JoinHandle<Result<(), Error>>,
}

pub(super) fn config(tick: Duration) -> Config {
    Config {
        tenant: TENANT.into(),
        partitions: PARTITIONS,
        batch_events_max: 3,
        linger_max: Duration::from_millis(1),
        tick,
        limits: Limits::default(),
    }
}

async fn start(bus: Arc<dyn Bus>, tick: Duration) -> Running {
    let telemetry = quiet("collector").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let deps = Deps {
        bus,
        listener,
        observe: Arc::new(Plain),
        rules: Arc::default(),
        clock: Arc::new(now),
        readiness: Readiness::default(),
        metrics: telemetry.metrics().clone(),
    };
    let stop = CancellationToken::new();
    Running { telemetry, address, service: tokio::spawn(run(config(tick), deps, stop.clone())), stop }
}

impl Running {
    /// Asserts that the page of measures has these lines.
    fn measured(&self, lines: &[&str]) {
        let page = self.telemetry.metrics_text();
        lines.iter().for_each(|line| assert!(page.lines().any(|own| own == *line), "{line} is missing\n{page}"));
    }

    async fn client(&self) -> CollectorServiceClient<Channel> {
        CollectorServiceClient::connect(format!("http://{}", self.address)).await.unwrap()
    }

    /// The answers to requests on a connection of their own.
    async fn ingest(&self, requests: Vec<v1::IngestRequest>) -> Result<Vec<v1::IngestResponse>, tonic::Status> {
        let mut answers = self.client().await.ingest(tokio_stream::iter(requests)).await?.into_inner();
        let mut all = Vec::new();
        while let Some(answer) = answers.message().await? {
            all.push(answer);
        }
        Ok(all)
    }

    async fn end(self) {
        self.stop.cancel();
        self.service.await.unwrap().unwrap();
    }
}

pub(super) fn request(sequence: u64, lane: v1::Lane, documents: &[String]) -> v1::IngestRequest {
    let documents = documents.iter().map(|text| Bytes::from(text.clone())).collect();
    v1::IngestRequest { sequence, stream: "s".into(), documents, lane: lane.into() }
}

async fn memory() -> Memory {
    let bus = Memory::default();
    bus.set_up(&Layout::single(TENANT, PARTITIONS)).await.unwrap();
    bus
}

/// Event ids in a stream, in order of partition and sequence; each stands in its own partition.
async fn stored(bus: &dyn Bus, stream: Stream) -> Vec<String> {
    let mut ids = Vec::new();
    for partition in 0..PARTITIONS {
        for message in bus.read(&Subject::partition(stream, TENANT, partition), 0, 1_000).await.unwrap() {
            let batch: v1::ActivityBatch = wire::unpack(&message.payload).unwrap();
            assert!(batch.observations.len() <= 3);
            for activity in batch.observations.iter().map(|one| one.activity.as_ref().unwrap()) {
                assert_eq!(partition_of(&activity.account, &activity.principal, PARTITIONS), partition);
                ids.push(activity.event_id.clone());
            }
        }
    }
    ids
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_is_stored() {
    let bus = memory().await;
    let running = start(Arc::new(bus.clone()), Duration::from_secs(3_600)).await;
    let records: Vec<String> =
        (0..20).map(|number| record(&format!("e{number:02}"), &format!("u{}", number % 7))).collect();
    let first = request(1, v1::Lane::Live, &records[..15]);
    let second =
        request(2, v1::Lane::Live, &[records[15].clone(), "nonsense".into(), records[15].clone(), records[16].clone()]);
    let third = request(3, v1::Lane::Live, &records[17..]);
    let answers = running.ingest(vec![first.clone(), second.clone(), third]).await.unwrap();
    let told: Vec<_> = answers.iter().map(|answer| (answer.sequence, answer.accepted)).collect();
    assert_eq!(told, [(1, 15), (2, 2), (3, 3)]);
    assert_eq!(answers[1].duplicates, ["e15"]);
    let rejected = v1::RejectedRecord { document: 1, record: 0, reason: "not_cloudtrail".into() };
    assert_eq!(answers[1].rejected, [rejected]);
    let names = |numbers: std::ops::Range<u32>| numbers.map(|number| format!("e{number:02}")).collect::<Vec<_>>();
    assert_eq!(sorted(stored(&bus, Stream::Activity).await), names(0..20));

    // Sent again over another connection: all is known, nothing is stored twice.
    let again = running.ingest(vec![first, second]).await.unwrap();
    assert_eq!((again[0].accepted, again[0].duplicates.len()), (0, 15));
    assert_eq!((again[1].accepted, again[1].duplicates.len()), (0, 3));
    assert_eq!(stored(&bus, Stream::Activity).await.len(), 20);

    let broken = running.ingest(vec![request(1, v1::Lane::Unspecified, &records)]).await.unwrap_err();
    assert_eq!(broken.code(), tonic::Code::InvalidArgument);
    running.measured(&[
        "trailwarden_events_total{role=\"collector\"} 20",
        "trailwarden_duplicates_total{role=\"collector\"} 19",
        "trailwarden_rejects_total{reason=\"not_cloudtrail\",role=\"collector\"} 2",
    ]);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_goes_its_own_way_and_is_news_when_it_comes_live() {
    let bus = memory().await;
    let running = start(Arc::new(bus.clone()), Duration::from_millis(1)).await;
    let records = ["a", "b", "c"].map(|id| record(id, "mia"));
    let answers = running.ingest(vec![request(1, v1::Lane::Backfill, &records)]).await.unwrap();
    assert_eq!(answers[0].accepted, 3);
    let again = running.ingest(vec![request(1, v1::Lane::Backfill, &records)]).await.unwrap();
    assert_eq!((again[0].accepted, again[0].duplicates.len()), (0, 3));
    assert_eq!(stored(&bus, Stream::Backfill).await, ["a", "b", "c"]);
    // It moves no clock either.
    assert_eq!(bus.depth(Stream::Activity).await.unwrap(), 0);
    let live = running.ingest(vec![request(1, v1::Lane::Live, &records[1..])]).await.unwrap();
    assert_eq!((live[0].accepted, live[0].duplicates.len()), (2, 0));
    assert_eq!(stored(&bus, Stream::Activity).await, ["b", "c"]);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_ids_are_its_own() {
    let bus = memory().await;
    let running = start(Arc::new(bus.clone()), Duration::from_secs(3_600)).await;
    let elsewhere = record("a", "mia").replace("111122223333", "444455556666");
    let first = request(1, v1::Lane::Live, &[record("a", "mia"), record("a", "leo"), record("a", "mia")]);
    let answers = running.ingest(vec![first]).await.unwrap();
    assert_eq!(answers[0].accepted, 2);
    assert_eq!(answers[0].duplicates, ["a"]);
    let second = request(2, v1::Lane::Live, &[record("a", "ann"), elsewhere, record("a", "leo")]);
    let answers = running.ingest(vec![second]).await.unwrap();
    assert_eq!(answers[0].accepted, 2);
    assert_eq!(answers[0].duplicates, ["a"]);
    assert_eq!(stored(&bus, Stream::Activity).await, ["a"; 4]);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_principals_events_stay_in_order() {
    let bus = memory().await;
    let running = start(Arc::new(bus.clone()), Duration::from_secs(3_600)).await;
    let requests =
        (0..40).map(|number| request(number + 1, v1::Lane::Live, &[record(&format!("e{number:02}"), "mia")]));
    running.ingest(requests.collect()).await.unwrap();
    let expected: Vec<String> = (0..40).map(|number| format!("e{number:02}")).collect();
    assert_eq!(stored(&bus, Stream::Activity).await, expected);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_partitions_are_told_the_time_once() {
    let bus = memory().await;
    let running = start(Arc::new(bus.clone()), Duration::from_millis(1)).await;
    running.ingest(vec![request(1, v1::Lane::Live, &[record("a", "mia")])]).await.unwrap();
    let own = partition_of("111122223333", "arn:aws:iam::111122223333:user/mia", PARTITIONS);
    let seen = Timestamp::parse("2026-03-01T11:59:00Z").unwrap().as_millis();
    for partition in 0..PARTITIONS {
        let consumer = Consumer {
            stream: Stream::Activity,
            name: format!("test-{partition}"),
            filter: Subject::partition(Stream::Activity, TENANT, partition).to_string(),
            in_flight_max: 1,
            ack_wait: Duration::from_secs(60),
            deliveries_max: 1,
            idle_max: None,
        };
        let mut messages = bus.subscribe(&consumer).await.unwrap();
        let first = messages.next(Duration::from_secs(30)).await.unwrap().unwrap();
        let batch: v1::ActivityBatch = wire::unpack(&first.message().payload).unwrap();
        let expected = if partition == own { (1, 0) } else { (0, seen) };
        assert_eq!((batch.observations.len(), batch.watermark_ms), expected);
    }
    running.end().await;
    // The clock stood still, so no further tick would have moved anything.
    for partition in 0..PARTITIONS {
        let subject = Subject::partition(Stream::Activity, TENANT, partition);
        assert_eq!(bus.read(&subject, 0, 100).await.unwrap().len(), 1, "{partition}");
    }
}

/// Takes nothing until it was asked so often.
pub(super) struct Full {
    pub(super) refusals: AtomicUsize,
    inner: Memory,
}

pub(super) async fn full(refusals: usize) -> Arc<Full> {
    Arc::new(Full { refusals: AtomicUsize::new(refusals), inner: memory().await })
}

#[async_trait]
impl Bus for Full {
    async fn publish(&self, subject: &Subject, message: Outgoing) -> Result<Published, BusError> {
        let left = self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => Err(BusError::Full { stream: "x".into() }),
            Err(_) => self.inner.publish(subject, message).await,
        }
    }

    async fn ping(&self) -> Result<(), BusError> {
        self.inner.ping().await
    }

    async fn read(&self, subject: &Subject, after: Sequence, most: usize) -> Result<Vec<Stored>, BusError> {
        self.inner.read(subject, after, most).await
    }

    async fn set_up(&self, _: &Layout) -> Result<(), BusError> {
        unreachable!()
    }
    async fn last(&self, _: &Subject) -> Result<Option<Stored>, BusError> {
        unreachable!()
    }
    async fn subscribe(&self, _: &Consumer) -> Result<Box<dyn Subscription>, BusError> {
        unreachable!()
    }
    async fn lag(&self, _: Stream, _: &str) -> Result<Lag, BusError> {
        unreachable!()
    }
    async fn depth(&self, _: Stream) -> Result<u64, BusError> {
        unreachable!()
    }
    async fn bury(&self, _: &DeadLetter) -> Result<(), BusError> {
        unreachable!()
    }
    async fn dead_letters(&self, _: Sequence, _: usize) -> Result<Vec<(Sequence, DeadLetter)>, BusError> {
        unreachable!()
    }
    async fn put_object(&self, _: &str, _: Bytes) -> Result<(), BusError> {
        unreachable!()
    }
    async fn object(&self, _: &str) -> Result<Option<Bytes>, BusError> {
        unreachable!()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_holds_the_source_back_and_loses_nothing() {
    let full = full(6).await;
    let running = start(Arc::clone(&full) as Arc<dyn Bus>, Duration::from_secs(3_600)).await;
    let requests = (0..9).map(|number| {
        let ids = (0..20).map(|event| record(&format!("e{:03}", number * 20 + event), &format!("u{}", event % 5)));
        request(number + 1, v1::Lane::Live, &ids.collect::<Vec<_>>())
    });
    let answers = running.ingest(requests.collect()).await.unwrap();
    assert!(answers.len() == 9 && answers.iter().all(|answer| answer.accepted == 20));
    let expected: Vec<String> = (0..180).map(|number| format!("e{number:03}")).collect();
    assert_eq!(sorted(stored(&*full, Stream::Activity).await), expected);
    running.measured(&["trailwarden_errors_total{reason=\"publish\",role=\"collector\"} 6"]);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_tells_a_client_that_its_records_are_not_durable() {
    let full = full(usize::MAX).await;
    let running = start(Arc::clone(&full) as Arc<dyn Bus>, Duration::from_secs(3_600)).await;
    let mut client = running.client().await;
    // Stays open behind the request.
    let requests = futures::StreamExt::chain(
        tokio_stream::iter([request(1, v1::Lane::Live, &[record("a", "mia")])]),
        tokio_stream::pending(),
    );
    let mut answers = client.ingest(requests).await.unwrap().into_inner();
    while full.refusals.load(Ordering::SeqCst) == usize::MAX {
        tokio::task::yield_now().await;
    }
    running.stop.cancel();
    assert_eq!(answers.message().await.unwrap_err().code(), tonic::Code::Unavailable);
    drop((answers, client));
    running.end().await;
}
