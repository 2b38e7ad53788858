//! Whatever dies, forgets, comes twice or cannot be read: the outputs are those of one process that works the same batches
//! off undisturbed. `just chaos` is the long form.
#![allow(clippy::disallowed_methods, reason = "reads files and clocks of its own")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![allow(clippy::print_stderr, reason = "a test says what it is at")]

use bytes::Bytes;
use tokio::sync::OnceCell;
use trailwarden_bus::{Stream, Subject};
use trailwarden_proto::v1::{ActivityBatch, Lane};
use trailwarden_proto::wire::{pack, unpack};
use trailwarden_tests::cluster::{
    Cluster, Feed, Recording, Servers, TENANT, WORKERS, last_time, organisation, outputs,
};

const EVENTS: u64 = 6_000;
/// What a featurizer logs when it has brought states back.
const REBUILT: &str = "states were rebuilt from the streams";

static RECORDING: OnceCell<Recording> = OnceCell::const_new();

async fn recording() -> &'static Recording {
    RECORDING.get_or_init(|| Recording::new(EVENTS, 9)).await
}

/// A cluster whose activity stream holds these batches, without roles.
async fn prepared(batches: &[(String, Bytes)]) -> Cluster {
    prepared_on(Servers::default(), batches).await
}

async fn prepared_on(servers: Servers, batches: &[(String, Bytes)]) -> Cluster {
    let cluster = Cluster::on(servers).await;
    cluster.publish(batches).await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_dies_at_any_step_loses_and_doubles_nothing() {
    let recording = recording().await;
    let steps = [
        "featurizer.read",
        "featurizer.computed",
        "featurizer.published",
        "featurizer.committed",
        "scorer.computed",
        "scorer.published",
        "council.gathered",
        "council.logged",
        "archive.written",
    ];
    for step in steps {
        let (role, _) = step.split_once('.').unwrap();
        let role = WORKERS.into_iter().find(|worker| *worker == role).unwrap();
        let mut cluster = prepared(&recording.batches).await;
        for worker in WORKERS {
            cluster.run(worker, (worker == role).then(|| format!("{step}:2")).as_deref());
        }
        let died = cluster.end_of(role).await;
        assert!(!died.success(), "{step}: {}", cluster.told());
        cluster.run(role, None);
        assert_eq!(recording.difference(&cluster, 0).await, None, "{step}");
        if role == "archive" {
            let events = recording.events.len();
            let archived = cluster.archived("activities", "metadata_uid", events).await;
            assert_eq!(archived, (events, events), "{step}: every event is archived once");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_dies_is_asked_again_and_nothing_is_lost() {
    let records = organisation(2_000, 11);
    // What is sent again comes while featurizers are at it; or days of events after its first time, when they take all of it
    // in as one history.
    for (step, is_behind) in [("collector.read", false), ("collector.published", false), ("collector.published", true)]
    {
        let mut cluster = Cluster::start().await;
        cluster.run("collector", Some(&format!("{step}:3")));
        if !is_behind {
            WORKERS.into_iter().for_each(|role| cluster.run(role, None));
        }
        let feed = Feed { address: cluster.address("collector"), stream: "one".into(), records_a_request: 50 };
        let restart = async {
            let died = cluster.end_of("collector").await;
            assert!(!died.success(), "{step}");
            cluster.run("collector", None);
        };
        let (answers, ()) = tokio::join!(feed.send(&records), restart);
        assert_eq!(answers.len(), records.len().div_ceil(50));
        if is_behind {
            WORKERS.into_iter().for_each(|role| cluster.run(role, None));
        }
        cluster.drain(last_time(&records)).await;
        let found = outputs(&cluster).await;
        assert_eq!((found.measured.len(), found.doubled.len(), found.dead), (records.len(), 0, 0), "{step}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_learned_from_once_whoever_dies_and_however_often_it_is_sent() {
    let records = organisation(2_000, 13);
    let events = records.len();
    let mut cluster = Cluster::start().await;
    cluster.environment.push(("TRAILWARDEN_ARCHIVE__FLUSH_EVENTS".to_owned(), "300".to_owned()));
    cluster.run("collector", Some("collector.published:4"));
    cluster.run("archive", Some("archive.history_decided:2"));
    let feed = Feed { address: cluster.address("collector"), stream: "past".into(), records_a_request: 50 };
    let restart = async {
        assert!(!cluster.end_of("collector").await.success());
        cluster.run("collector", None);
    };
    let (answers, ()) = tokio::join!(feed.send_as(Lane::Backfill, &records), restart);
    assert_eq!(answers.len(), events.div_ceil(50));
    assert!(!cluster.end_of("archive").await.success());
    cluster.run("archive", Some("archive.history_written:2"));
    assert!(!cluster.end_of("archive").await.success());
    cluster.run("archive", None);
    assert_eq!(cluster.archived("history", "metadata_uid", events).await, (events, events));

    // Once more, newest first, by a client that nobody remembers.
    let again = Feed { stream: "again".into(), ..feed };
    let backwards: Vec<_> = records.iter().rev().cloned().collect();
    again.send_as(Lane::Backfill, &backwards).await;
    cluster.emptied(Stream::Backfill).await;
    assert_eq!(cluster.archived("history", "metadata_uid", events).await, (events, events));
    assert_eq!(cluster.bus.depth(Stream::Dead).await.unwrap(), 0);
    assert_eq!(cluster.bus.depth(Stream::Activity).await.unwrap(), 0, "what is live never saw it");
    // It was told to all before anything live came.
    let told = cluster.bus.last(&Subject::whole(Stream::Epoch, TENANT)).await.unwrap();
    assert!(told.is_some(), "{}", cluster.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_forgets_everything_is_rebuilt_and_nothing_shouts() {
    let recording = recording().await;
    let (before, after) = recording.halves();
    let mut cluster = prepared(before).await;
    WORKERS.into_iter().for_each(|role| cluster.run(role, None));
    cluster.worked_off(&["featurizer"], &[]).await;
    assert!(cluster.valkey.ask("FLUSHALL").starts_with("+OK"));
    cluster.publish(after).await;
    // What comes after is measured against states that were brought back: not one feature, signal or case is other, so
    // nothing looks new that was known.
    assert_eq!(recording.difference(&cluster, 0).await, None);
    assert!(cluster.process("featurizer").says(REBUILT), "nothing was rebuilt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_over_to_a_replica_that_lags_is_mended() {
    let recording = recording().await;
    let (before, after) = recording.halves();
    let servers = Servers { replica: true, ..Servers::default() };
    let mut cluster = prepared_on(servers, &before[..before.len() / 2]).await;
    WORKERS.into_iter().for_each(|role| cluster.run(role, None));
    cluster.worked_off(&["featurizer"], &[]).await;
    cluster.cut_off_replica();
    cluster.publish(&before[before.len() / 2..]).await;
    cluster.worked_off(&["featurizer"], &[]).await;
    cluster.fail_over();
    cluster.publish(after).await;
    assert_eq!(recording.difference(&cluster, 0).await, None);
    assert!(cluster.process("featurizer").says(REBUILT), "the replica lacked nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_dies_comes_back_with_all_it_acknowledged() {
    let recording = recording().await;
    let (before, after) = recording.halves();
    let mut cluster = prepared(before).await;
    WORKERS.into_iter().for_each(|role| cluster.run(role, None));
    cluster.measured_at_least(EVENTS as usize / 4).await;
    cluster.brokers[0].kill();
    cluster.brokers[0].restart();
    cluster.publish(after).await;
    assert_eq!(recording.difference(&cluster, 0).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_of_three_loses_each_member_in_turn_and_with_them_every_leader() {
    let recording = recording().await;
    let mut parts = recording.batches.chunks(recording.batches.len().div_ceil(4));
    let servers = Servers { brokers: 3, ..Servers::default() };
    let mut cluster = prepared_on(servers, parts.next().unwrap()).await;
    WORKERS.into_iter().for_each(|role| cluster.run(role, None));
    for (member, part) in parts.enumerate() {
        cluster.brokers[member].kill();
        cluster.publish(part).await;
        cluster.brokers[member].restart();
    }
    assert_eq!(recording.difference(&cluster, 0).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_made_anew_are_not_taken_for_what_was_done() {
    let recording = recording().await;
    let (before, _) = recording.halves();
    let mut cluster = prepared(before).await;
    WORKERS.into_iter().for_each(|role| cluster.run(role, None));
    cluster.worked_off(&["featurizer", "scorer", "council"], &[]).await;
    // A broker without memory in the old one's place, while the store and the archive still know of its messages.
    WORKERS.into_iter().for_each(|role| cluster.process(role).kill());
    cluster.renew_broker().await;
    WORKERS.into_iter().for_each(|role| cluster.run(role, None));
    cluster.publish(&recording.batches).await;
    assert_eq!(recording.difference(&cluster, 0).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_featurizers_share_every_partition() {
    let recording = recording().await;
    let mut cluster = prepared(&recording.batches).await;
    WORKERS.into_iter().for_each(|role| cluster.run(role, None));
    cluster.run_named("featurizer", "second", None);
    assert_eq!(recording.difference(&cluster, 0).await, None);
    for name in ["featurizer", "second"] {
        assert!(cluster.process(name).batches() > 0, "{name} has done nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_featurizers_are_forced_onto_the_same_batches() {
    let recording = recording().await;
    let parts: Vec<_> = recording.batches.chunks(recording.batches.len().div_ceil(3)).collect();
    let mut cluster = Cluster::start().await;
    WORKERS.into_iter().for_each(|role| cluster.run(role, None));
    cluster.worked_off(&["featurizer"], &[]).await;
    // Held still for longer than the broker waits, with batches in its hands that the other is given meanwhile; then it goes on
    // as if they were still its own. Each in turn.
    for (part, held) in parts.into_iter().zip(["featurizer", "second", "featurizer"]) {
        cluster.process(held).pause();
        cluster.publish(part).await;
        if !cluster.has("second") {
            cluster.run_named("featurizer", "second", None);
        }
        cluster.worked_off(&["featurizer"], &[]).await;
        cluster.process(held).resume();
    }
    assert_eq!(recording.difference(&cluster, 0).await, None);
    let again = ["featurizer", "second"].map(|name| cluster.process(name).says("message was given out again"));
    assert!(again.contains(&true), "no batch was held by both");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_goes_to_the_dead_letters_and_the_rest_goes_on() {
    let recording = recording().await;
    // A message that is none, and a record without a caller's kind in a batch that is otherwise good.
    let mut batches = recording.batches.clone();
    let (subject, payload) = batches[3].clone();
    let mut poisoned: ActivityBatch = unpack(&payload).unwrap();
    let mut stranger = poisoned.observations[0].clone();
    let activity = stranger.activity.as_mut().unwrap();
    (activity.event_id, activity.principal_kind) = ("poison".into(), 99);
    poisoned.observations.insert(1, stranger);
    batches[3] = (subject.clone(), pack(&poisoned));
    batches.insert(5, (subject, Bytes::from_static(b"not a batch")));
    let mut cluster = prepared(&batches).await;
    WORKERS.into_iter().for_each(|role| cluster.run(role, None));
    assert_eq!(recording.difference(&cluster, 2).await, None, "as many dead letters as poison, and else as without");
}
