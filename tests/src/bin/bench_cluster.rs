//! Throughput, latency and cost of a deployment on this machine: real broker (each message synced), real store, every role a
//! process of its own. Ends with one line of JSON.
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up fails")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints its figures")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use trailwarden_bus::{Consumer, Stored, Stream, Subject};
use trailwarden_lab::generate::{Setting, Settings, generate};
use trailwarden_proto::v1::{ActivityBatch, SignalBatch};
use trailwarden_proto::wire::{pack, unpack};
use trailwarden_tests::cluster::{
    Cluster, Feed, GROWTH_MAX, Memory, PARTITIONS, ROLES, Record, Servers, TENANT, cpu_seconds, growth, records_below,
    whole,
};

/// How many times the events that are measured go before them: until then indices, caches and allocators fill up to their
/// bounds.
const PAST: u64 = 3;
/// Events a second at which latency is measured.
const PACE: usize = 3_000;
const PACED_S: usize = 20;
const STREAMS: usize = 4;
const A_REQUEST: usize = 500;
/// Of the run that scales: more than three can share evenly.
const SCALED_PARTITIONS: u16 = 24;
const SCALED_RUNS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(600);
/// Each featurizer measures so many events a second at most.
const CAP_EVENTS_PER_S: u32 = 3_000;
/// Events a batch of that run: few, so that a capped featurizer never holds a batch for long while others are idle.
const SCALED_BATCH: usize = 100;

type Figures = serde_json::Map<String, serde_json::Value>;

fn main() {
    let events: u64 = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().unwrap());
    // `flow` or `scale` alone; both otherwise.
    let part = std::env::args().nth(2);
    let is_asked = |name: &str| part.as_deref().is_none_or(|part| part == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut figures = Figures::new();
    if is_asked("flow") {
        figures.extend(runtime.block_on(flow(events)));
    }
    if is_asked("scale") {
        figures.extend(runtime.block_on(scale(events / 10)));
    }
    println!("{}", serde_json::Value::Object(figures));
}

/// A deployment fed as fast as it takes events, then at a fixed pace. Before what is measured goes [`PAST`] times as much of the
/// same organisation's past, so that most of what there is to know of it is known. How much is learned meanwhile shows in the bytes
/// of the epoch.
async fn flow(events: u64) -> Figures {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::new((PAST + 1) * events + (PACE * PACED_S) as u64, 42);
    settings.setting = Setting::Hard;
    generate(&settings, folder.path()).unwrap();
    let records = records_below(&folder.path().join("AWSLogs"));
    let (past, rest) = records.split_at((PAST * events) as usize);
    let (bulk, paced) = rest.split_at(events as usize);

    let servers = Servers { stream_bytes_max: 2 << 30, flush_s: 60, ..Servers::default() };
    let mut cluster = Cluster::on(servers).await;
    cluster.run_all();
    feed_streams(&cluster, past, "past", A_REQUEST).await;
    cluster.worked_off(&["featurizer", "scorer", "council"], &["archive"]).await;
    let known_before = known_bytes(&cluster).await;

    let batches_before = cluster.bus.depth(Stream::Activity).await.unwrap();
    let before = costs(&mut cluster);
    let memory = Memory::watch(processes(&mut cluster));
    let started = Instant::now();
    feed_streams(&cluster, bulk, "bulk", A_REQUEST).await;
    let taken_in = started.elapsed();
    cluster.worked_off(&["featurizer", "scorer"], &[]).await;
    let scored = started.elapsed();
    // The archive writes what it was given later; the council logs before it acknowledges.
    cluster.worked_off(&["council"], &["archive"]).await;
    let elapsed = started.elapsed();
    let held = memory.quarters();
    let grown: BTreeMap<&str, f64> = held.iter().map(|(name, quarters)| (*name, growth(*quarters))).collect();
    let known = [known_before, known_bytes(&cluster).await];
    let after = costs(&mut cluster);
    let batches = (cluster.bus.depth(Stream::Activity).await.unwrap() - batches_before) as f64;

    let latencies = pace(&cluster, paced).await;
    let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or_default();
    let done = bulk.len() as f64;
    let by_role: BTreeMap<&str, f64> =
        before.iter().map(|(role, cpu)| (*role, (after[role] - cpu) / done * 1e6)).collect();
    figures(json!({
            "events": bulk.len(),
            "events_per_s": done / elapsed.as_secs_f64(),
            "scored_per_s": done / scored.as_secs_f64(),
            "ingested_per_s": done / taken_in.as_secs_f64(),
            "p50_ms": at(0.5),
            "p99_ms": at(0.99),
            "signals_timed": latencies.len(),
            "cpu_s_per_million_events": by_role,
            "events_a_batch": done / batches,
            "case_entries": cluster.bus.depth(Stream::Case).await.unwrap(),
            "resident_mib_max_by_quarter": held,
            "memory_growth": grown,
            // Of the roles. Broker and store hold what is kept for days, such as the ids of events, and say so above.
            "memory_flat": ROLES.iter().all(|role| grown[role] <= GROWTH_MAX),
            "epoch_bytes_before_and_after": known,
    }))
}

fn figures(object: serde_json::Value) -> Figures {
    match object {
        serde_json::Value::Object(figures) => figures,
        other => panic!("{other} holds no names"),
    }
}

/// Events a second of one and of three featurizers that are capped to the same rate each, over the same batches.
async fn scale(events: u64) -> Figures {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(events, 43);
    settings.setting = Setting::Hard;
    generate(&settings, folder.path()).unwrap();
    let records = records_below(&folder.path().join("AWSLogs"));
    let servers = Servers { partitions: SCALED_PARTITIONS, stream_bytes_max: 1 << 30, ..Servers::default() };
    let mut source = Cluster::on(servers).await;
    source.run("collector", None);
    feed_streams(&source, &records, "bulk", A_REQUEST).await;
    let batches: Vec<_> = whole(source.bus.as_ref(), Stream::Activity).await.into_iter().flat_map(cut).collect();
    drop(source);
    let a_batch = records.len() as f64 / batches.len() as f64;
    let (mut one, mut three) = (Vec::new(), Vec::new());
    for _ in 0..SCALED_RUNS {
        one.push(a_batch * capped(servers, &batches, 1).await);
        three.push(a_batch * capped(servers, &batches, 3).await);
    }
    let (one, three) = (median(one), median(three));
    figures(json!({
        "featurizers_capped_to_per_s": CAP_EVENTS_PER_S,
        "one_featurizer_per_s": one,
        "three_featurizers_per_s": three,
        "three_to_one": three / one,
    }))
}

/// A batch as several, by subject.
fn cut(stored: Stored) -> Vec<(String, bytes::Bytes)> {
    let batch: ActivityBatch = unpack(&stored.payload).unwrap();
    let parts = batch.observations.chunks(SCALED_BATCH).enumerate().map(|(place, observations)| ActivityBatch {
        id: format!("{}:{place}", batch.id),
        observations: observations.to_vec(),
        rules: batch.rules.clone(),
        watermark_ms: 0,
    });
    parts.map(|part| (stored.subject.clone(), pack(&part))).collect()
}

/// Batches a second of so many featurizers while every one of them has work: until half of the batches are done, since
/// partitions are of different size and the largest is worked off alone at the end.
async fn capped(servers: Servers, batches: &[(String, bytes::Bytes)], featurizers: usize) -> f64 {
    let mut cluster = Cluster::on(servers).await;
    let names = ["featurizer", "second", "third"];
    for name in &names[..featurizers] {
        cluster.run_paced("featurizer", name, CAP_EVENTS_PER_S);
    }
    // Joined to their consumers first: starting up is not what is measured.
    cluster.worked_off(&["featurizer"], &[]).await;
    // Partitions beside each other: a broker that syncs each message must not be slower than those who work on them.
    let mut partitions: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for batch in batches {
        partitions.entry(&batch.0).or_default().push(batch.clone());
    }
    join_all(partitions.values().map(|batches| cluster.publish(batches))).await;
    let before = cluster.bus.depth(Stream::Feature).await.unwrap();
    assert!(before < batches.len() as u64 / 4, "too few batches to measure a rate: {before} of {}", batches.len());
    let started = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    loop {
        looks.tick().await;
        let done = cluster.bus.depth(Stream::Feature).await.unwrap();
        if done >= (before + batches.len() as u64) / 2 {
            return (done - before) as f64 / started.elapsed().as_secs_f64();
        }
        assert!(started.elapsed() < PATIENCE, "{done} of {} batches", batches.len());
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// As several sources deliver: each its part of every stretch of time.
async fn feed_streams(cluster: &Cluster, records: &[Record], name: &str, a_request: usize) {
    let mut parts = vec![Vec::new(); STREAMS];
    for (place, chunk) in records.chunks(a_request).enumerate() {
        parts[place % STREAMS].extend_from_slice(chunk);
    }
    let feeds = parts.iter().enumerate().map(|(place, part)| {
        let stream = format!("{name}{place}");
        async move { feed(cluster, part, &stream, a_request).await }
    });
    join_all(feeds).await;
}

async fn feed(cluster: &Cluster, records: &[Record], stream: &str, records_a_request: usize) {
    let feed = Feed { address: cluster.address("collector"), stream: stream.to_owned(), records_a_request };
    feed.send(records).await;
}

/// Sends at a fixed pace; milliseconds from each acknowledgement to the signals of its records, sorted.
async fn pace(cluster: &Cluster, records: &[Record]) -> Vec<f64> {
    let seen = Seen::default();
    let watchers: Vec<_> =
        (0..PARTITIONS).map(|partition| tokio::spawn(watch(cluster.bus.clone(), partition, seen.clone()))).collect();
    watching(cluster).await;
    let a_request = PACE / 20;
    let mut acknowledged = BTreeMap::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    for (place, chunk) in records.chunks(a_request).enumerate() {
        ticks.tick().await;
        feed(cluster, chunk, &format!("paced{place}"), a_request).await;
        let now = Instant::now();
        acknowledged.extend(chunk.iter().map(|record| (record.event_id.clone(), now)));
    }
    cluster.worked_off(&["scorer", "council"], &[]).await;
    watchers.iter().for_each(tokio::task::JoinHandle::abort);
    let seen = seen.lock().unwrap();
    let timed = acknowledged.iter().filter_map(|(id, acknowledged)| {
        Some(seen.get(id)?.saturating_duration_since(*acknowledged).as_secs_f64() * 1e3)
    });
    let mut latencies: Vec<f64> = timed.collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}

/// When each signal came out of the scorers.
type Seen = Arc<Mutex<BTreeMap<String, Instant>>>;

fn watcher(partition: u16) -> String {
    format!("bench-p{partition:03}")
}

async fn watch(bus: Arc<dyn trailwarden_bus::Bus>, partition: u16, seen: Seen) {
    let consumer = Consumer {
        stream: Stream::Signal,
        name: watcher(partition),
        filter: Subject::partition(Stream::Signal, TENANT, partition).to_string(),
        in_flight_max: 256,
        ack_wait: Duration::from_secs(60),
        deliveries_max: 10,
        idle_max: Some(Duration::from_secs(60)),
    };
    let mut subscription = bus.subscribe(&consumer).await.unwrap();
    loop {
        let Some(delivery) = subscription.next(Duration::from_secs(1)).await.unwrap() else { continue };
        let now = Instant::now();
        let batch: SignalBatch = unpack(&delivery.message().payload).unwrap();
        for event in batch.events {
            let activity = event.observation.and_then(|observation| observation.activity);
            seen.lock().unwrap().entry(activity.unwrap().event_id).or_insert(now);
        }
        delivery.ack().await.unwrap();
    }
}

/// Waits until the watchers have seen all that there was before.
async fn watching(cluster: &Cluster) {
    let started = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    for partition in 0..PARTITIONS {
        while !matches!(cluster.bus.lag(Stream::Signal, &watcher(partition)).await, Ok(lag) if lag.is_idle()) {
            looks.tick().await;
            assert!(started.elapsed() < PATIENCE, "partition {partition} is not watched");
        }
    }
}

/// CPU seconds so far, by role and server.
fn costs(cluster: &mut Cluster) -> BTreeMap<&'static str, f64> {
    processes(cluster).into_iter().map(|(name, id)| (name, cpu_seconds(id))).collect()
}

/// Roles and servers.
fn processes(cluster: &mut Cluster) -> Vec<(&'static str, u32)> {
    let mut processes: Vec<_> = ROLES.into_iter().map(|role| (role, cluster.process(role).id())).collect();
    processes.extend([("nats", cluster.brokers[0].process_id()), ("store", cluster.valkey.process_id())]);
    processes
}

/// Bytes of the latest epoch: how much is known of the organisation.
async fn known_bytes(cluster: &Cluster) -> usize {
    let announced = cluster.bus.last(&Subject::whole(Stream::Epoch, TENANT)).await.unwrap();
    let Some(announced) = announced else { return 0 };
    let name = String::from_utf8_lossy(&announced.payload).into_owned();
    cluster.bus.object(&name).await.unwrap().map_or(0, |epoch| epoch.len())
}
