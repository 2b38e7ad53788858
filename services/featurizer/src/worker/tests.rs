//! The worker against every crash, failure and forgetting: outputs must equal an undisturbed run's, byte for byte.

mod harness;

use std::sync::Arc;

use tokio::task::JoinSet;
use trailwarden_bus::{Bus, Outgoing, Stream, Subject};
use trailwarden_core::baseline::{Baseline, EventKind, Limits};
use trailwarden_core::fence::Record;
use trailwarden_core::time::{HOUR_MS, Timestamp};
use trailwarden_proto::{convert, v1, wire};

use harness::{Fault, Outcome, Script, TENANT, World, activity, batch, whole};

use super::task::DELIVERIES_SUSPECT;
use super::*;

/// What happens at one call of a run.
async fn disturbed(inputs: Vec<Bytes>, at: usize, fault: Fault) -> Outcome {
    let world = World::new(inputs).await;
    world.run(&Arc::new(Script::new(&world, at, fault))).await;
    world.outcome().await
}

/// Duplicates, late and future events, dead records, a dead message, a tick that lets ids expire.
fn inputs() -> Vec<Bytes> {
    let ordinary = |id: &str, who: &str, minutes: i64, call: &str| activity(id, who, minutes, call);
    vec![
        batch(
            &[
                ordinary("a1", "a", 0, "ListUsers"),
                ordinary("b1", "b", 1, "ListRoles"),
                ordinary("a2", "a", 2, "CreateUser"),
            ],
            0,
        ),
        // One came before, one comes twice.
        batch(
            &[
                ordinary("a2", "a", 2, "CreateUser"),
                ordinary("a3", "a", 3, "ListUsers"),
                ordinary("a3", "a", 3, "ListUsers"),
            ],
            0,
        ),
        batch(
            &[
                ordinary("b2", "b", 4, "ListUsers"),
                ordinary("p1", "a", 5, "Poison"),
                v1::Activity { event_time_ms: i64::MIN, principal_kind: 99, ..ordinary("p2", "a", 5, "ListUsers") },
                ordinary("a4", "a", 6, "DeleteUser"),
                ordinary("p3", "b", 6, "Poison"),
            ],
            0,
        ),
        whole(b"no message at all"),
        batch(&[ordinary("b3", "b", 7, "ListUsers"), ordinary("c1", "c", 70_000_000, "ListUsers")], 8),
        // The clock moves on by itself, past the hours of which ids are held.
        batch(&[], 40 * 60),
        batch(&[ordinary("a5", "a", 9, "ListUsers"), ordinary("a6", "a", 40 * 60 + 1, "ListUsers")], 0),
        batch(&[ordinary("a6", "a", 40 * 60 + 1, "ListUsers"), ordinary("b4", "b", 40 * 60 + 2, "ListRoles")], 0),
    ]
}

async fn undisturbed() -> (Outcome, usize) {
    let world = World::new(inputs()).await;
    let script = Arc::new(Script::new(&world, usize::MAX, Fault::None));
    world.run(&script).await;
    world.measured(&[
        "trailwarden_batches_total{role=\"featurizer\"} 8",
        "trailwarden_events_total{role=\"featurizer\"} 11",
        "trailwarden_duplicates_total{role=\"featurizer\"} 3",
        "trailwarden_dead_letters_total{reason=\"panicked\",role=\"featurizer\"} 2",
        "trailwarden_dead_letters_total{reason=\"invalid\",role=\"featurizer\"} 2",
        "trailwarden_state_size_bytes_count{role=\"featurizer\"} 6",
        "trailwarden_step_duration_seconds_count{role=\"featurizer\",step=\"acknowledge\"} 8",
    ]);
    (world.outcome().await, script.calls())
}

#[tokio::test]
async fn an_undisturbed_run_measures_all_and_buries_what_is_dead() {
    let (outcome, _) = undisturbed().await;
    let outputs: Vec<v1::FeatureBatch> =
        outcome.outputs.iter().map(|(payload, _)| wire::unpack(payload).expect("ours")).collect();
    let events: Vec<Vec<&str>> = outputs
        .iter()
        .map(|output| {
            let id = |event: &v1::MeasuredEvent| {
                let observation = outputs.iter().flat_map(|output| &output.events).find(|other| *other == event);
                observation
                    .and_then(|event| event.observation.as_ref()?.activity.as_ref())
                    .map(|activity| activity.event_id.as_str())
            };
            output.events.iter().filter_map(id).collect()
        })
        .collect();
    let expected: [&[&str]; 8] =
        [&["a1", "b1", "a2"], &["a3"], &["b2", "a4"], &[], &["b3", "c1"], &[], &["a5", "a6"], &["b4"]];
    assert_eq!(events, expected);
    assert_eq!(outputs.iter().map(|output| output.duplicates).collect::<Vec<_>>(), [0, 2, 0, 0, 0, 0, 0, 1]);
    assert_eq!(outputs[2].dead, [1, 2, 4]);
    let read_only: Vec<&[bool]> = vec![&[false, true], &[], &[true, false]];
    let told = outputs[4..7].iter().map(|output| output.events.iter().map(|event| event.read_only).collect::<Vec<_>>());
    assert_eq!(told.collect::<Vec<_>>(), read_only);
    for (before, after) in outputs.iter().zip(&outputs[1..]) {
        assert_eq!(after.previous_input_sequence, before.input_sequence);
        assert_eq!(after.previous_watermark_ms, before.watermark_ms);
    }
    let letters: Vec<(u64, Option<u32>)> =
        outcome.letters.iter().map(|letter| (letter.sequence, letter.place)).collect();
    assert_eq!(letters, [(3, Some(1)), (3, Some(2)), (3, Some(4)), (4, None)]);
    assert!(outcome.letters[0].reason.contains("poisoned"), "{}", outcome.letters[0].reason);
    let alone: v1::ActivityBatch = wire::unpack(&outcome.letters[0].payload).expect("can be sent again");
    assert_eq!(alone.observations.len(), 1);
}

#[tokio::test]
async fn crashes_and_failures_at_every_call_change_nothing() {
    let (expected, calls) = undisturbed().await;
    assert!(calls > 30, "{calls}");
    let faults = [Fault::CrashBefore, Fault::CrashAfter, Fault::FailBefore, Fault::FailAfter];
    check(&expected, (0..calls).flat_map(|at| faults.map(|fault| (at, fault))), true).await;
}

#[tokio::test]
async fn a_store_that_forgets_at_any_call_changes_nothing() {
    let (expected, calls) = undisturbed().await;
    let forgets = [Fault::Flush, Fault::Restore(0), Fault::Restore(2), Fault::Restore(4), Fault::Damage];
    check(&expected, (0..calls).flat_map(|at| forgets.map(|fault| (at, fault))), false).await;
}

/// All at once, so that their waits overlap.
async fn check(expected: &Outcome, cases: impl Iterator<Item = (usize, Fault)>, store_too: bool) {
    let mut runs = JoinSet::new();
    for (at, fault) in cases {
        runs.spawn(async move { (at, fault, disturbed(inputs(), at, fault).await) });
    }
    while let Some(run) = runs.join_next().await {
        let (at, fault, mut outcome) = run.expect("no panic");
        if !store_too {
            // What is forgotten after the last batch comes back with the next.
            outcome.store.clone_from(&expected.store);
        }
        assert_eq!(&outcome, expected, "{fault:?} at call {at}");
    }
}

#[tokio::test]
async fn two_workers_on_one_partition_do_it_once() {
    let (expected, calls) = undisturbed().await;
    let mut runs = JoinSet::new();
    for seed in 0..48_usize {
        runs.spawn(async move {
            let world = World::new(inputs()).await;
            // One of them crashes, or the store forgets, somewhere on the way, in two of three runs.
            let fault = [Fault::None, Fault::CrashAfter, Fault::Flush][seed % 3];
            let one = Arc::new(Script::new(&world, seed * 7 % calls, fault).yielding(seed as u64));
            let other = Arc::new(Script::new(&world, usize::MAX, Fault::None).yielding(!(seed as u64)));
            tokio::join!(world.run(&one), world.run(&other));
            (seed, world.outcome().await)
        });
    }
    while let Some(run) = runs.join_next().await {
        let (seed, mut outcome) = run.expect("no panic");
        outcome.store.clone_from(&expected.store);
        assert_eq!(outcome, expected, "seed {seed}");
    }
}

#[tokio::test]
async fn a_batch_that_kills_its_workers_is_set_aside() {
    let world = World::new(inputs()).await;
    let script = Arc::new(Script::new(&world, usize::MAX, Fault::None));
    let mut worker = world.worker(&script);
    let stop = CancellationToken::new();
    assert_eq!(worker.work(&world.inputs[0], DELIVERIES_SUSPECT, &stop).await, End::Done);
    assert_eq!(worker.work(&world.inputs[1], 1, &stop).await, End::Done);
    let outcome = world.outcome().await;
    let output: v1::FeatureBatch = wire::unpack(&outcome.outputs[0].0).expect("ours");
    assert_eq!((output.events.len(), output.dead), (0, vec![0, 1, 2]));
    assert_eq!((outcome.letters.len(), outcome.letters[0].place), (1, None));
    // What was set aside left no trace, also when it is rebuilt: as if the batch had never been.
    world.store.flush();
    assert_eq!(world.worker(&script).work(&world.inputs[2], 1, &stop).await, End::Done);
    let without = World::new(inputs()[1..3].to_vec()).await;
    without.run(&Arc::new(Script::new(&without, usize::MAX, Fault::None))).await;
    let events = |outcome: &Outcome, place: usize| {
        wire::unpack::<v1::FeatureBatch>(&outcome.outputs[place].0).expect("ours").events
    };
    assert_eq!(events(&world.outcome().await, 2), events(&without.outcome().await, 1));
}

#[tokio::test]
async fn what_was_published_is_committed_with_the_epoch_that_it_names() {
    let run = async |crash: bool| {
        let world = World::new(inputs()).await;
        let quiet = Arc::new(Script::new(&world, usize::MAX, Fault::None));
        let stop = CancellationToken::new();
        for message in &world.inputs[..6] {
            assert_eq!(world.worker(&quiet).work(message, 1, &stop).await, End::Done);
        }
        if crash {
            // Its calls: last epoch, read, publish.
            let dying = Arc::new(Script::new(&world, 2, Fault::CrashAfter));
            let mut worker = world.worker(&dying);
            worker.context.epochs.refresh().await.expect("in memory");
            tokio::select! {
                _ = worker.work(&world.inputs[6], 1, &stop) => panic!("it was to die"),
                () = dying.crashed() => {}
            }
        } else {
            assert_eq!(world.worker(&quiet).work(&world.inputs[6], 1, &stop).await, End::Done);
        }
        world.announce(&history()).await;
        let mut next = world.worker(&quiet);
        next.context.epochs.refresh().await.expect("in memory");
        for message in &world.inputs[6..] {
            assert_eq!(next.work(message, 1, &stop).await, End::Done);
        }
        world.measured(&["trailwarden_epochs_total{role=\"featurizer\",what=\"adopted\"} 1"]);
        let outcome = world.outcome().await;
        let epochs: Vec<String> = (outcome.outputs.iter())
            .map(|(payload, _)| wire::unpack::<v1::FeatureBatch>(payload).expect("ours").epoch)
            .collect();
        assert!(epochs[..7].iter().all(String::is_empty) && epochs[7].starts_with("epoch/"), "{epochs:?}");
        outcome
    };
    let (crashed, undisturbed) = (run(true).await, run(false).await);
    assert_eq!(crashed, undisturbed);

    // A rebuild over both epochs ends in the same state.
    let world = World::new(inputs()).await;
    world.announce(&history()).await;
    let script = Arc::new(Script::new(&world, usize::MAX, Fault::None));
    for (payload, headers) in &undisturbed.outputs {
        let outgoing = Outgoing { payload: payload.clone(), headers: headers.clone(), ..Outgoing::default() };
        world.bus.publish(&Subject::partition(Stream::Feature, TENANT, 0), outgoing).await.expect("in memory");
    }
    let mut worker = world.worker(&script);
    worker.rebuild(Record::default(), &world.tail().await).await.expect("in memory");
    assert_eq!(world.state().await, undisturbed.store);
}

#[tokio::test]
async fn a_payload_beyond_a_message_goes_by_way_of_an_object() {
    let mut noise = 1_u64;
    let mut text = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{noise:016x}")
    };
    let long: String = (0..120_000).map(|_| text()).collect();
    let mut activity = activity("a1", "a", 0, "ListUsers");
    activity.user_agent = long;
    let payload = wire::pack(&harness::wire_batch(&[activity], 0));
    let world = World::new(vec![Bytes::new()]).await;
    world.bus.put_object("activity/large", payload).await.expect("in memory");
    let script = Arc::new(Script::new(&world, usize::MAX, Fault::None));
    let mut message = world.inputs[0].clone();
    message.headers.insert(CLAIM.to_owned(), "activity/large".to_owned());
    let mut worker = world.worker(&script);
    assert_eq!(worker.work(&message, 1, &CancellationToken::new()).await, End::Done);
    let (payload, headers) = world.outcome().await.outputs.remove(0);
    assert!(payload.is_empty() && headers[CLAIM].starts_with("feature/"), "{headers:?}");
    let content = world.bus.object(&headers[CLAIM]).await.expect("in memory").expect("there");
    assert_eq!(wire::unpack::<v1::FeatureBatch>(&content).expect("ours").events.len(), 1);
}

/// A past in which `a` did one thing for a week.
fn history() -> Baseline {
    let mut baseline = Baseline::new(Limits { warm_up_h: 1, ..Limits::default() });
    let past = activity("x", "a", 0, "ListUsers");
    let past = convert::activity(&past).expect("valid");
    for hour in 0..200 {
        baseline.add(EventKind::of(&past), Timestamp::from_millis(harness::START.as_millis() + (hour - 200) * HOUR_MS));
    }
    baseline.advance(harness::START);
    baseline
}
