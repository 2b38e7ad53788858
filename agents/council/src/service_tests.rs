use std::collections::BTreeMap;

use bytes::Bytes;
use trailwarden_bus::{Bus, Consumer, Layout, Memory, Outgoing, Sequence, Stream, Subject};
use trailwarden_core::feature::{FeatureVector, SCHEMA_VERSION};
use trailwarden_core::time::{MINUTE_MS, Timestamp};
use trailwarden_proto::v1::{CaseTransition, TransitionKind};
use trailwarden_proto::{convert, v1, wire};

use super::*;
use crate::builder::{Answer, Request};
use crate::fixtures::Counting;
use crate::mortal::Mortal;
use crate::supervision::Worker;

const PARTITIONS: u16 = 4;
const GRAVE: &str = "00000000-0000-4000-8000-000000000001";
const ODD: &str = "00000000-0000-4000-8000-000000000002";

fn rules() -> Arc<RuleSet> {
    let rule = |id: &str, level: &str| {
        format!(
            "title: {level}\nid: {id}\nstatus: experimental\ndescription: For tests.\ntags:\n  - attack.t1098.001\nlogsource:\n  product: aws\n  service: cloudtrail\ndetection:\n  selection:\n    eventName: Call{level}\n  condition: selection\nlevel: {level}\ntrailwarden:\n  predicate: root_use\n"
        )
    };
    let text = [rule(GRAVE, "critical"), rule(ODD, "medium")].join("---\n");
    Arc::new(RuleSet::load(&[("test.yml", &text)]).expect("valid rules"))
}

fn at_ms(minute: i64) -> i64 {
    28_333_333 * MINUTE_MS + minute * MINUTE_MS
}

/// An event of a session on which a rule fires.
fn event(id: &str, minute: i64, session: &str, rule: u32) -> v1::ScoredEvent {
    let activity = v1::Activity {
        event_id: id.into(),
        event_time_ms: at_ms(minute),
        account: "111122223333".into(),
        service: "iam".into(),
        call: "CreateUser".into(),
        principal: format!("arn:aws:sts::111122223333:assumed-role/{session}"),
        principal_kind: v1::PrincipalKind::Role.into(),
        session: session.into(),
        credential: v1::Credential::TemporaryKey.into(),
        ..v1::Activity::default()
    };
    let matches = vec![v1::RuleMatch { rule, counted: Vec::new() }];
    v1::ScoredEvent {
        observation: Some(v1::Observation { activity: Some(activity), matches, ..v1::Observation::default() }),
        features: Some(convert::features_to_wire(&FeatureVector::default())),
        learned: None,
        score: 0.5,
        level: v1::Level::Critical.into(),
    }
}

fn linked(mut event: v1::ScoredEvent, parent: &str, child: &str) -> v1::ScoredEvent {
    let node = |name: &str| Some(v1::Node { kind: Some(v1::node::Kind::Session(name.into())) });
    let link = v1::Link { parent: node(parent), child: node(child) };
    event.observation.as_mut().expect("set").links.push(link);
    event
}

/// A partition's batches by (minute of the clock after it, events).
fn batches(steps: Vec<(i64, Vec<v1::ScoredEvent>)>) -> Vec<v1::SignalBatch> {
    let mut before = -1;
    let batch = |(number, (minute, events)): (u64, (i64, Vec<v1::ScoredEvent>))| {
        let previous_watermark_ms = at_ms(std::mem::replace(&mut before, minute));
        v1::SignalBatch {
            input_sequence: number * 10 + 10,
            previous_input_sequence: number * 10,
            events,
            rules: vec![GRAVE.into(), ODD.into()],
            watermark_ms: at_ms(minute),
            previous_watermark_ms,
            feature_schema: SCHEMA_VERSION,
            ..v1::SignalBatch::default()
        }
    };
    (0..).zip(steps).map(batch).collect()
}

/// Two sessions of which a late link tells that they are one attacker, a quiet case, and an idle partition.
fn story() -> Vec<Vec<v1::SignalBatch>> {
    let (grave, odd) = (0, 1);
    vec![
        batches(vec![
            (0, vec![event("a1", 0, "a", odd)]),
            (6, vec![event("a2", 5, "a", grave), event("a3", 6, "a", odd)]),
            (50, vec![]),
            (200, vec![]),
        ]),
        batches(vec![
            (2, vec![event("b1", 2, "b", grave)]),
            (10, vec![linked(event("b2", 10, "b", grave), "a", "b")]),
            (200, vec![]),
        ]),
        batches(vec![(3, vec![event("c1", 3, "c", odd)]), (100, vec![event("d1", 100, "d", odd)]), (200, vec![])]),
        batches(vec![(1, vec![]), (60, vec![]), (200, vec![])]),
    ]
}

fn payload(batch: &v1::SignalBatch) -> Outgoing {
    Outgoing { payload: wire::pack(batch), ..Outgoing::default() }
}

async fn memory() -> Memory {
    let bus = Memory::default();
    bus.set_up(&Layout { kept: Duration::from_secs(1_000_000), ..Layout::in_memory("default", PARTITIONS) })
        .await
        .expect("set up");
    bus
}

fn signals(partition: usize) -> Subject {
    Subject::partition(Stream::Signal, "default", partition as u16)
}

/// Waits until all that was published is acknowledged.
async fn done(bus: &Memory) {
    for partition in 0..PARTITIONS {
        let name = format!("council-p{partition:03}");
        // A consumer that is not there yet has acknowledged nothing.
        while bus.lag(Stream::Signal, &name).await.map_or(true, |lag| !lag.is_idle()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn office(bus: Arc<dyn Bus>, readiness: Readiness) -> Office {
    let rules = rules();
    let logs = CaseLogs::new(bus.clone(), "default", Metrics::nowhere());
    let ground = Ground {
        partitions: PARTITIONS,
        rules: rules.clone(),
        accounts: BTreeSet::new(),
        cases: case::Limits::default(),
    };
    let (caught_up, metrics, stop) = (watch::Sender::new(true), Metrics::nowhere(), CancellationToken::new());
    let bench = Bench { judge: Arc::new(Counting), logs, rules, panel: None, stop, metrics: metrics.clone() };
    let roster = Roster::new(metrics.clone());
    Office { tenant: "default".into(), ground, bench, bus, readiness, caught_up, metrics, roster }
}

/// One life of the council, which ends without any clean-up as soon as `until` does.
fn live(bus: Arc<dyn Bus>, until: impl Future<Output = ()>) {
    System::new().block_on(async {
        tokio::time::pause();
        tokio::select! {
            ended = office(bus, Readiness::default()).run(CancellationToken::new()) => panic!("ended: {ended:?}"),
            () = until => {}
        }
    });
}

/// All case logs, by case: number, kind, event ids and where it went on.
type Logs = BTreeMap<String, Vec<(u32, TransitionKind, Vec<String>, String)>>;

async fn logs(bus: &Memory) -> Logs {
    by_case(&entries(bus).await)
}

fn by_case(entries: &[CaseTransition]) -> Logs {
    let mut logs = Logs::new();
    for entry in entries {
        let case = entry.case.clone().expect("every entry has its case");
        logs.entry(case.id).or_default().push((entry.number, entry.kind(), case.event_ids, case.merged_into));
    }
    logs
}

async fn entries(bus: &Memory) -> Vec<CaseTransition> {
    let consumer = Consumer {
        stream: Stream::Case,
        name: "look".into(),
        filter: "tw.case.default.>".into(),
        in_flight_max: 10_000,
        ack_wait: Duration::from_secs(1),
        deliveries_max: 1_000,
        idle_max: None,
    };
    let mut subscription = bus.subscribe(&consumer).await.expect("subscribed");
    let mut entries = Vec::new();
    while let Some(delivery) = subscription.next(Duration::ZERO).await.expect("next") {
        entries.push(crate::log::read("", delivery.message().sequence, &delivery.message().payload).expect("readable"));
    }
    entries
}

fn block<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(work)
}

/// Publishes the story in an order of partitions, waiting after each batch if asked to.
async fn publish(bus: &Memory, order: &[usize], one_by_one: bool) {
    let story = story();
    let mut next = vec![0; story.len()];
    for partition in order.iter().copied().chain((0..story.len()).cycle().take(40)) {
        let Some(batch) = story[partition].get(next[partition]) else { continue };
        next[partition] += 1;
        bus.publish(&signals(partition), payload(batch)).await.expect("published");
        if one_by_one {
            done(bus).await;
        }
    }
}

fn undisturbed() -> Logs {
    let bus = block(memory());
    block(publish(&bus, &[], false));
    live(Arc::new(bus.clone()), done(&bus));
    block(logs(&bus))
}

#[test]
fn a_story_ends_in_its_logs() {
    use TransitionKind::{Closed, Judged, Merged};
    let logs = undisturbed();
    let told: Vec<(Vec<_>, Vec<String>)> = logs
        .values()
        .map(|log| {
            let kinds = log.iter().map(|(number, kind, ..)| (*number, *kind)).collect();
            (kinds, log.last().expect("not empty").2.clone())
        })
        .collect();
    let has = |kinds: &[(u32, TransitionKind)], events: &[&str]| {
        let found = told.iter().any(|(k, e)| k == kinds && e.iter().map(String::as_str).eq(events.iter().copied()));
        assert!(found, "{kinds:?} {events:?} is not in {told:#?}");
    };
    has(&[(1, Judged), (2, Judged), (3, Closed)], &["a1", "b1", "a2", "a3", "b2"]);
    has(&[(1, Judged), (2, Merged)], &["b1"]);
    has(&[(1, Closed)], &["c1"]);
    has(&[(1, Closed)], &["d1"]);
    assert_eq!(told.len(), 4);
    let merged = logs.values().find(|log| log.len() == 2).expect("there is one");
    assert!(logs[&merged[1].3].len() == 3, "it names the case that it went on in");
}

#[test]
fn interleaving_does_not_matter() {
    let expected = undisturbed();
    for order in [[0, 0, 0, 0, 1, 1], [3, 2, 1, 0, 3, 2], [2, 2, 2, 1, 1, 1], [1, 3, 1, 3, 1, 3]] {
        let bus = block(memory());
        live(Arc::new(bus.clone()), publish(&bus, &order, true));
        assert_eq!(block(logs(&bus)), expected, "{order:?}");
    }
}

#[test]
fn dying_at_any_step_changes_no_log() {
    let expected = undisturbed();
    let mut deaths = 0;
    for operations in 0.. {
        let bus = block(memory());
        block(publish(&bus, &[], false));
        // Two deaths in a row, the second at another place, and then a life to the end.
        let mut died = false;
        for operations in [operations, operations / 2] {
            let mortal = Arc::new(Mortal::new(&bus, operations));
            let end = mortal.died.clone();
            live(mortal, async {
                tokio::select! {
                    () = end.cancelled() => died = true,
                    () = done(&bus) => {}
                }
            });
        }
        live(Arc::new(bus.clone()), done(&bus));
        assert_eq!(block(logs(&bus)), expected, "died after {operations} operations");
        deaths += u32::from(died);
        if !died {
            break;
        }
    }
    assert!(deaths > 20, "{deaths} steps to die at");
}

/// A request that its caller repeats may reach a builder that was built anew and has folded nothing yet.
#[tokio::test]
async fn a_builder_built_anew_is_not_told_that_nothing_is_missing() {
    let Office { tenant, ground, bench, bus, metrics, .. } = office(Arc::new(memory().await), Readiness::default());
    let (floors, shards) = (Arc::new(Floors::new(PARTITIONS)), Shards::new(Vec::new(), &bench));
    let mut builder = Builder::new(Site { tenant, ground, bus, shards, floors, suspects: Arc::default(), metrics });
    let mut nothing = async |after| builder.begin(Request::Nothing { partition: 0, after, until: 9 }).await;
    assert_eq!(nothing(5).await, Answer::Behind(0));
    assert_eq!(nothing(0).await, Answer::At(9));
    assert_eq!(nothing(0).await, Answer::Behind(9), "said twice, it is behind nothing any more");
}

/// More waits than is read at once, behind a message of another partition.
#[test]
fn a_council_that_comes_back_to_a_long_queue_goes_on_where_it_was() {
    const WAITING: i64 = 200;
    let event = |minute: i64| event(&format!("e{minute}"), minute, "x", 0);
    let long = batches((0..WAITING).map(|minute| (minute, vec![event(minute)])).chain([(400, vec![])]).collect());
    let others = batches(vec![(0, vec![]), (400, vec![])]);
    let say = async |bus: &Memory, partition, batch: &v1::SignalBatch| {
        bus.publish(&signals(partition), payload(batch)).await.expect("published");
    };
    let mut found = Vec::new();
    for is_interrupted in [false, true] {
        let bus = block(memory());
        block(async {
            say(&bus, 0, &long[0]).await;
            for partition in 1..4 {
                say(&bus, partition, &others[0]).await;
            }
        });
        if is_interrupted {
            live(Arc::new(bus.clone()), done(&bus));
        }
        block(async {
            for partition in 1..4 {
                say(&bus, partition, &others[1]).await;
            }
            for batch in &long[1..] {
                say(&bus, 0, batch).await;
            }
        });
        live(Arc::new(bus.clone()), done(&bus));
        found.push(block(logs(&bus)));
    }
    assert!(found[0].values().any(|log| log.len() > 1));
    assert_eq!(found[0], found[1]);
}

#[test]
fn what_cannot_be_read_or_judged_is_buried_and_the_rest_goes_on() {
    let bus = block(memory());
    let mut steps = batches(vec![
        (0, vec![event("x1", 0, "x", 1), v1::ScoredEvent::default(), event("unbearable", 0, "y", 1)]),
        (5, vec![]),
        (200, vec![]),
    ]);
    block(async {
        let rubbish = Outgoing { payload: Bytes::from_static(b"rubbish"), ..Outgoing::default() };
        bus.publish(&signals(0), payload(&steps.remove(0))).await.expect("published");
        bus.publish(&signals(0), rubbish).await.expect("published");
        for batch in steps {
            bus.publish(&signals(0), payload(&batch)).await.expect("published");
        }
        for partition in 1..4 {
            bus.publish(&signals(partition), payload(&batches(vec![(200, vec![])])[0])).await.expect("published");
        }
    });
    live(Arc::new(bus.clone()), done(&bus));
    let logs = block(logs(&bus));
    assert_eq!(logs.values().map(|log| log[0].2.clone()).collect::<Vec<_>>(), [["x1"]]);
    let letters = block(bus.dead_letters(0, 10)).expect("letters");
    let mut places: Vec<(String, Sequence, Option<u32>)> =
        letters.into_iter().map(|(_, letter)| (letter.subject, letter.sequence, letter.place)).collect();
    places.sort();
    assert_eq!(places.len(), 3, "{places:?}");
    assert!(places[0].0.starts_with("tw.case.default."));
    let signals = "tw.signal.default.p000".to_owned();
    assert_eq!(places[1..], [(signals.clone(), 1, Some(1)), (signals, 2, None)]);
}

#[test]
fn a_log_that_differs_stays_as_it_is() {
    let bus = block(memory());
    let expected = undisturbed();
    let (id, _) = expected.iter().find(|(_, log)| log.len() == 1).expect("there is one");
    let foreign = CaseTransition {
        number: 1,
        case: Some(v1::Case { id: id.clone(), verdict: "benign".into(), revision: 1, ..v1::Case::default() }),
        kind: TransitionKind::Closed.into(),
        ..CaseTransition::default()
    };
    block(async {
        let message = Outgoing { payload: wire::pack(&foreign), ..Outgoing::default() };
        bus.publish(&Subject::case("default", id), message).await.expect("published");
        publish(&bus, &[], false).await;
    });
    live(Arc::new(bus.clone()), done(&bus));
    let mut found = block(logs(&bus));
    assert_eq!(found[id], [(1, TransitionKind::Closed, Vec::new(), String::new())]);
    found.insert(id.clone(), expected[id].clone());
    assert_eq!(found, expected, "the others are as ever");
}

#[path = "service_tests/over_grpc.rs"]
mod over_grpc;
#[path = "service_tests/with_models.rs"]
mod with_models;
