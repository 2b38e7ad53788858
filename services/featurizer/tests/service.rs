//! The featurizer as a process, with bus and store in memory: measures what comes, answers who asks, stops when told.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use trailwarden_bus::{Bus, Consumer, Layout, Memory, Outgoing, Stream, Subject};
use trailwarden_core::api::Vocabulary;
use trailwarden_core::baseline::Limits;
use trailwarden_core::feature::{Feature, SCHEMA_VERSION};
use trailwarden_core::partition::partition_of;
use trailwarden_core::time::Timestamp;
use trailwarden_featurizer::service::{self, Config, Deps};
use trailwarden_featurizer::store::MemoryStore;
use trailwarden_proto::v1::feature_service_client::FeatureServiceClient;
use trailwarden_proto::{convert, v1, wire};
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::Readiness;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const PARTITIONS: u16 = 4;

fn activity(id: &str, seconds: i64) -> v1::Activity {
    v1::Activity {
        event_id: id.to_owned(),
        event_time_ms: NOW.plus_ms(seconds * 1_000).as_millis(),
        account: "111122223333".to_owned(),
        region: "eu-west-1".to_owned(),
        service: "iam".to_owned(),
        call: "ListUsers".to_owned(),
        principal: "a".to_owned(),
        principal_kind: v1::PrincipalKind::Role.into(),
        session: "ASIA1".to_owned(),
        credential: v1::Credential::TemporaryKey.into(),
        source: "198.51.100.7".to_owned(),
        user_agent: "aws-cli/2".to_owned(),
        ..v1::Activity::default()
    }
}

async fn send(bus: &Memory, partition: u16, activities: &[v1::Activity]) {
    let observations = activities
        .iter()
        .map(|activity| v1::Observation { activity: Some(activity.clone()), ..v1::Observation::default() })
        .collect();
    let payload = wire::pack(&v1::ActivityBatch { observations, ..v1::ActivityBatch::default() });
    let subject = Subject::partition(Stream::Activity, "default", partition);
    bus.publish(&subject, Outgoing { payload, ..Outgoing::default() }).await.expect("in memory");
}

#[tokio::test]
async fn it_measures_answers_and_stops() {
    let bus = Memory::with_clock(Arc::new(|| NOW));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let readiness = Readiness::default();
    let config = Config {
        tenant: "default".to_owned(),
        partitions: PARTITIONS,
        owned: (0..PARTITIONS).collect(),
        with_sequences: false,
        baseline: Limits::default(),
    };
    let deps = Deps {
        bus: Arc::new(bus.clone()),
        store: Arc::new(MemoryStore::default()),
        listener,
        vocabulary: Arc::new(Vocabulary::builtin()),
        clock: Arc::new(|| NOW),
        readiness: readiness.clone(),
        metrics: Metrics::nowhere(),
    };
    let stop = CancellationToken::new();
    let mut watch = readiness.watch();
    let running = tokio::spawn(service::run(config, deps, stop.clone()));

    // The streams come after it: it waits for them.
    assert!(!readiness.is_ready());
    bus.set_up(&Layout::single("default", PARTITIONS)).await.expect("in memory");
    watch.wait_for(|ready| *ready).await.expect("it runs");

    let partition = partition_of("111122223333", "a", PARTITIONS);
    send(&bus, partition, &[activity("1", 0), activity("2", 1), activity("2", 1)]).await;
    let consumer = Consumer {
        stream: Stream::Feature,
        name: "test".to_owned(),
        filter: Subject::partition(Stream::Feature, "default", partition).to_string(),
        in_flight_max: 1,
        ack_wait: Duration::from_secs(60),
        deliveries_max: 1,
        idle_max: None,
    };
    let mut outputs = bus.subscribe(&consumer).await.expect("in memory");
    let output = outputs.next(Duration::from_secs(30)).await.expect("in memory").expect("an output");
    let batch: v1::FeatureBatch = wire::unpack(&output.message().payload).expect("ours");
    assert_eq!((batch.events.len(), batch.duplicates, batch.input_sequence), (2, 1, 1));
    // The next output comes after the first was committed.
    send(&bus, partition, &[]).await;
    output.ack().await.expect("in memory");
    outputs.next(Duration::from_secs(30)).await.expect("in memory").expect("an output");

    let mut client = FeatureServiceClient::connect(address).await.expect("it listens");
    let asked = v1::MeasureRequest { activities: vec![activity("1", 2), activity("3", 3)] };
    for _ in 0..2 {
        let answer = client.measure(asked.clone()).await.expect("it answers").into_inner();
        let counts = answer
            .features
            .iter()
            .map(|features| convert::features(features).expect("features").get(Feature::Principal10s).expect("known"));
        // Two came before; asking adds nothing, and what was asked along neither.
        assert_eq!(counts.collect::<Vec<_>>(), [3.0, 3.0]);
        assert_eq!(answer.epochs, ["", ""]);
    }
    let described = client.describe(v1::DescribeRequest {}).await.expect("it answers").into_inner();
    assert_eq!((described.feature_schema, described.features.len()), (SCHEMA_VERSION, Feature::COUNT));
    let too_many = v1::MeasureRequest { activities: vec![activity("1", 2); 257] };
    assert_eq!(client.measure(too_many).await.expect_err("refused").code(), Code::InvalidArgument);
    let wrong = v1::Activity { principal_kind: 99, ..activity("1", 2) };
    let refused = client.measure(v1::MeasureRequest { activities: vec![wrong] }).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);

    drop(client);
    stop.cancel();
    running.await.expect("no panic").expect("an orderly end");
    assert!(!readiness.is_ready());
    let lag = bus.lag(Stream::Activity, &format!("featurizer-p{partition:03}")).await.expect("in memory");
    assert_eq!((lag.pending, lag.in_flight), (0, 0));
}

#[tokio::test]
async fn a_partition_that_is_none_is_refused() {
    let config = Config {
        tenant: "default".to_owned(),
        partitions: 2,
        owned: vec![0, 2],
        with_sequences: false,
        baseline: Limits::default(),
    };
    let deps = Deps {
        bus: Arc::new(Memory::default()),
        store: Arc::new(MemoryStore::default()),
        listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port"),
        vocabulary: Arc::new(Vocabulary::builtin()),
        clock: Arc::new(|| NOW),
        readiness: Readiness::default(),
        metrics: Metrics::nowhere(),
    };
    let refused = service::run(config, deps, CancellationToken::new()).await;
    assert!(matches!(refused, Err(service::Error::Partition { partition: 2, .. })), "{refused:?}");
}
