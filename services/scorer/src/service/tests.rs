use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Channel;
use trailwarden_bus::{Consumer, DeadLetter, Layout, Memory, Outgoing, Stored, Subscription};
use trailwarden_core::feature::{Feature, FeatureVector, SCHEMA_VERSION};
use trailwarden_core::gather::first_look;
use trailwarden_core::sequence::Sequence;
use trailwarden_proto::convert::{Rules, features_to_wire, level_to_wire};
use trailwarden_proto::v1;
use trailwarden_proto::v1::scorer_service_client::ScorerServiceClient;
use trailwarden_proto::wire::{Chain, pack, unpack};
use trailwarden_runtime::telemetry::{Telemetry, quiet};

use super::look::Poison;
use super::*;

const TENANT: &str = "default";
const PARTITIONS: u16 = 2;

fn rules() -> Arc<RuleSet> {
    let yaml = "title: Loud\nid: loud\nlogsource: {product: aws, service: cloudtrail}\n\
                detection: {call: {eventName: Loud}, condition: call}\nlevel: high";
    Arc::new(RuleSet::load(&[("rules.yml", yaml)]).unwrap())
}

fn model() -> Arc<Scorer> {
    Arc::new(Scorer::builtin().unwrap())
}

/// Of an account with history, or without.
fn vector(history: bool, seed: u32) -> FeatureVector {
    let mut vector = FeatureVector::default();
    for (column, value) in vector.columns_mut().iter_mut().enumerate() {
        *value = ((column as u32 * 7 + seed * 13) % 5) as f32;
    }
    if !history {
        vector.set(Feature::ApiRarityAccount, f32::NAN);
    }
    vector
}

fn event(id: &str, matched: &[u32], links: usize, vector: &FeatureVector) -> v1::MeasuredEvent {
    let node = |text: &str| Some(v1::Node { kind: Some(v1::node::Kind::Session(text.to_owned())) });
    v1::MeasuredEvent {
        observation: Some(v1::Observation {
            activity: Some(v1::Activity {
                event_id: id.to_owned(),
                principal_kind: v1::PrincipalKind::Role.into(),
                credential: v1::Credential::TemporaryKey.into(),
                ..v1::Activity::default()
            }),
            links: (0..links).map(|link| v1::Link { parent: node("a"), child: node(&link.to_string()) }).collect(),
            matches: matched.iter().map(|rule| v1::RuleMatch { rule: *rule, counted: Vec::new() }).collect(),
            details: None,
        }),
        features: Some(features_to_wire(vector)),
        ..v1::MeasuredEvent::default()
    }
}

fn batch(events: Vec<v1::MeasuredEvent>, watermark_ms: i64) -> v1::FeatureBatch {
    v1::FeatureBatch {
        events,
        rules: vec!["foreign".into(), "loud".into()],
        watermark_ms,
        previous_watermark_ms: watermark_ms - 1,
        feature_schema: SCHEMA_VERSION,
        ..v1::FeatureBatch::default()
    }
}

#[test]
fn what_is_worth_keeping_goes_on_as_it_came() {
    let rules = rules();
    let unknown = vector(false, 0);
    let mut events = vec![
        event("matched", &[1], 0, &unknown),
        event("linked", &[], 1, &unknown),
        event("plain", &[], 0, &unknown),
        event("of a rule that is not here", &[0], 0, &unknown),
    ];
    events.extend((0..60).map(|seed| event(&format!("scored{seed}"), &[], 0, &vector(true, seed))));
    let scorer = model();
    let stage = Stage::new(Arc::clone(&rules), BTreeSet::new(), Some(Arc::clone(&scorer)));
    let signals = stage.signals(&pack(&batch(events.clone(), 7))).unwrap();
    assert_eq!((signals.scored, signals.watermark_ms, signals.previous_watermark_ms), (64, 7, 6));
    assert_eq!((signals.model.as_str(), signals.feature_schema), (scorer.name(), SCHEMA_VERSION));

    let known = Rules::new(&rules);
    let expected = events.into_iter().filter_map(|event| {
        let observation = event.observation.unwrap();
        let features = trailwarden_proto::convert::features(event.features.as_ref().unwrap()).unwrap();
        let learned = scorer.probability(&features, Sequence::default);
        let told = known.observation(&observation, &signals.rules).unwrap();
        let look = first_look(&rules, &BTreeSet::new(), &told, &features, learned);
        look.is_kept.then(|| v1::ScoredEvent {
            features: event.features,
            learned,
            score: look.score,
            level: level_to_wire(look.level).into(),
            observation: Some(observation.clone()),
        })
    });
    assert_eq!(signals.events, expected.collect::<Vec<_>>());
    let ids: Vec<&str> = signals.events.iter().map(id).collect();
    assert_eq!(ids[..2], ["matched", "linked"]);
    assert!(!ids.contains(&"plain") && !ids.contains(&"of a rule that is not here"), "{ids:?}");
    assert!(signals.events[0].score > 0.0 && signals.events[0].level > v1::Level::None as i32);
}

fn id(event: &v1::ScoredEvent) -> &str {
    &event.observation.as_ref().unwrap().activity.as_ref().unwrap().event_id
}

#[test]
fn what_cannot_be_worked_on_is_poison() {
    let stage = Stage::new(rules(), BTreeSet::new(), None);
    let good = || batch(vec![event("e", &[1], 0, &vector(true, 1))], 7);
    assert!(stage.signals(&pack(&good())).is_ok());
    type Change = fn(&mut v1::FeatureBatch);
    let cases: [Change; 6] = [
        |batch| batch.feature_schema += 1,
        |batch| batch.events[0].observation = None,
        |batch| batch.events[0].features = None,
        |batch| batch.events[0].features.as_mut().unwrap().values.push(1.0),
        |batch| batch.events[0].sequence = vec![1; 7],
        |batch| batch.rules.clear(),
    ];
    for (number, change) in cases.into_iter().enumerate() {
        let mut bad = good();
        change(&mut bad);
        assert!(matches!(stage.signals(&pack(&bad)), Err(Poison::Invalid(_))), "{number}");
    }
    assert!(matches!(stage.signals(b"nonsense"), Err(Poison::Invalid(_))));
}

struct Running {
    telemetry: Telemetry,
    address: SocketAddr,
    stop: CancellationToken,
    service: JoinHandle<Result<(), Error>>,
}

async fn start(bus: &Memory, scorer: Option<Arc<Scorer>>) -> Running {
    let telemetry = quiet("scorer").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = Config { tenant: TENANT.into(), partitions: PARTITIONS, owned: (0..PARTITIONS).collect() };
    let deps = Deps {
        bus: Arc::new(bus.clone()),
        listener,
        scorer,
        rules: rules(),
        accounts: BTreeSet::new(),
        readiness: Readiness::default(),
        metrics: telemetry.metrics().clone(),
    };
    let stop = CancellationToken::new();
    Running { telemetry, address, service: tokio::spawn(run(config, deps, stop.clone())), stop }
}

impl Running {
    async fn client(&self) -> ScorerServiceClient<Channel> {
        ScorerServiceClient::connect(format!("http://{}", self.address)).await.unwrap()
    }

    /// Stops it; its page of measures.
    async fn end(self) -> String {
        self.stop.cancel();
        self.service.await.unwrap().unwrap();
        self.telemetry.metrics_text()
    }
}

async fn memory() -> Memory {
    let bus = Memory::default();
    bus.set_up(&Layout::single(TENANT, PARTITIONS)).await.unwrap();
    bus
}

async fn publish(bus: &Memory, partition: u16, payload: Bytes) {
    let headers = BTreeMap::from([("traceparent".to_owned(), "00-1-2-01".to_owned())]);
    let outgoing = Outgoing { payload, headers, ..Outgoing::default() };
    bus.publish(&Subject::partition(Stream::Feature, TENANT, partition), outgoing).await.unwrap();
}

async fn outputs(bus: &Memory, partition: u16) -> Box<dyn Subscription> {
    let consumer = Consumer {
        stream: Stream::Signal,
        name: format!("test-p{partition:03}"),
        filter: Subject::partition(Stream::Signal, TENANT, partition).to_string(),
        in_flight_max: 1,
        ack_wait: Duration::from_secs(60),
        deliveries_max: 1,
        idle_max: None,
    };
    bus.subscribe(&consumer).await.unwrap()
}

async fn next(outputs: &mut Box<dyn Subscription>) -> (Stored, v1::SignalBatch) {
    let delivery = outputs.next(Duration::from_secs(60)).await.unwrap().unwrap();
    let message = delivery.message().clone();
    delivery.ack().await.unwrap();
    let signals = unpack(&message.payload).unwrap();
    (message, signals)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_holds_over_poison() {
    let bus = memory().await;
    let poison = Bytes::from_static(b"nonsense");
    for (number, payload) in [
        pack(&batch(vec![event("a", &[1], 0, &vector(false, 1))], 100)),
        poison.clone(),
        pack(&batch(Vec::new(), 200)),
        pack(&v1::FeatureBatch { feature_schema: 1, ..batch(Vec::new(), 300) }),
        pack(&batch(vec![event("b", &[1], 0, &vector(false, 1))], 400)),
    ]
    .into_iter()
    .enumerate()
    {
        // In between, messages of another partition, so that the sequences have gaps.
        publish(&bus, 1, pack(&batch(Vec::new(), number as i64))).await;
        publish(&bus, 0, payload).await;
    }
    let running = start(&bus, None).await;
    let mut outputs = outputs(&bus, 0).await;
    let mut found = Vec::new();
    for _ in 0..5 {
        let (message, signals) = next(&mut outputs).await;
        let chain = Chain::read(&message.headers).unwrap();
        assert_eq!((chain.input, chain.previous_input), (signals.input_sequence, signals.previous_input_sequence));
        assert_eq!(message.headers["traceparent"], "00-1-2-01");
        found.push((chain.input, chain.previous_input, signals.watermark_ms, signals.events.len()));
    }
    assert_eq!(found, [(2, 0, 100, 1), (4, 2, 100, 0), (6, 4, 200, 0), (8, 6, 200, 0), (10, 8, 400, 1)]);
    let dead: Vec<DeadLetter> = bus.dead_letters(0, 10).await.unwrap().into_iter().map(|(_, letter)| letter).collect();
    let told: Vec<_> = dead.iter().map(|letter| (letter.sequence, letter.place)).collect();
    assert_eq!((told, &dead[0].payload), (vec![(4, None), (8, None)], &poison));
    assert!(dead[1].reason.contains("version 1"), "{}", dead[1].reason);
    let page = running.end().await;
    for line in [
        "trailwarden_events_total{role=\"scorer\"} 2",
        "trailwarden_signals_total{role=\"scorer\"} 2",
        "trailwarden_dead_letters_total{reason=\"invalid\",role=\"scorer\"} 2",
    ] {
        assert!(page.lines().any(|own| own == line), "{line} is missing\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_is_not_published_again() {
    let bus = memory().await;
    let made = |number: i64| pack(&batch(vec![event(&number.to_string(), &[1], 0, &vector(false, 1))], number));
    for number in 1..=40 {
        publish(&bus, 0, made(number)).await;
    }
    // The first was published by one that died before it could acknowledge.
    let mut headers = BTreeMap::new();
    Chain { input: 1, previous_input: 0, epoch: String::new() }.write(&mut headers);
    let payload = pack(&v1::SignalBatch { input_sequence: 1, watermark_ms: 1, ..v1::SignalBatch::default() });
    let output = Subject::partition(Stream::Signal, TENANT, 0);
    bus.publish(&output, Outgoing { payload, headers, ..Outgoing::default() }).await.unwrap();
    // Two take turns, so what each remembers of the chain is stale.
    let running = [start(&bus, None).await, start(&bus, None).await];
    let mut outputs = outputs(&bus, 0).await;
    for number in 1..=40 {
        let (_, signals) = next(&mut outputs).await;
        assert_eq!((signals.input_sequence, signals.previous_input_sequence), (number, number - 1));
        assert_eq!(signals.watermark_ms, number as i64);
    }
    for running in running {
        running.end().await;
    }
    assert_eq!(bus.read(&output, 0, 100).await.unwrap().len(), 40);
    assert!(bus.dead_letters(0, 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_is_told_the_same_as_the_stream() {
    let bus = memory().await;
    let running = start(&bus, Some(model())).await;
    let mut client = running.client().await;
    let vectors = [vector(true, 3), vector(false, 3), vector(true, 4)];
    let features: Vec<_> = vectors.iter().map(features_to_wire).collect();
    let ask = |features| v1::ScoreRequest { feature_schema: SCHEMA_VERSION, features };
    let told = client.score(ask(features.clone())).await.unwrap().into_inner();
    let probabilities: Vec<_> = told.scores.iter().map(|score| score.probability).collect();
    assert_eq!(probabilities, vectors.each_ref().map(|vector| model().probability(vector, Sequence::default)));
    assert_eq!((told.model.as_str(), probabilities[1]), (model().name(), None));

    let ask_why = |features| v1::ExplainRequest { feature_schema: SCHEMA_VERSION, features };
    let why = client.explain(ask_why(Some(features[0].clone()))).await.unwrap().into_inner();
    let names: Vec<_> = why.reasons.iter().map(|reason| (reason.feature.as_str(), reason.weight)).collect();
    let expected = model().reasons(&vectors[0]);
    assert_eq!(names, expected.iter().map(|one| (one.feature.definition().name, one.weight)).collect::<Vec<_>>());
    assert_eq!(why.probability, probabilities[0]);

    let code = |outcome: Result<tonic::Response<v1::ScoreResponse>, tonic::Status>| outcome.unwrap_err().code();
    assert_eq!(code(client.score(ask(vec![features[0].clone(); 1_025])).await), Code::InvalidArgument);
    let bad = v1::FeatureVector { known: vec![1], values: Vec::new() };
    assert_eq!(code(client.score(ask(vec![bad])).await), Code::InvalidArgument);
    let foreign = v1::ScoreRequest { feature_schema: SCHEMA_VERSION + 1, features: Vec::new() };
    assert_eq!(code(client.score(foreign).await), Code::FailedPrecondition);
    assert_eq!(client.explain(ask_why(None)).await.unwrap_err().code(), Code::InvalidArgument);
    drop(client);
    running.end().await;

    let running = start(&bus, None).await;
    assert_eq!(code(running.client().await.score(ask(features)).await), Code::FailedPrecondition);
    running.end().await;
}
