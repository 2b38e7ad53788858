//! History: every event once, wherever it dies and however often it comes; and what it teaches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use trailwarden_bus::{Bus, Memory, Outgoing, Stream, Subject, Subscription};
use trailwarden_core::baseline::{Baseline, Epoch, EventKind, Limits};
use trailwarden_core::time::{MINUTE_MS, SECOND_MS, Timestamp};
use trailwarden_proto::{convert, v1, wire};

use super::support::{
    Dying, MIDNIGHT, TENANT, activity, bounds, bus_at, consumer, files, hours, memory, open, surroundings,
};
use crate::epochs::Epochs;
use crate::history::{History, Learned};
use crate::lane::Surroundings;
use crate::table::Table;
use crate::{Error, ObjectStore};

/// Event `number`: ten an hour, so that a day of them teaches the same however it is cut.
fn event(number: u64) -> v1::Activity {
    activity(number, MIDNIGHT.plus_ms(number as i64 * 6 * MINUTE_MS))
}

fn batch(numbers: impl IntoIterator<Item = u64>) -> v1::ActivityBatch {
    let observation = |number| v1::Observation { activity: Some(event(number)), ..v1::Observation::default() };
    v1::ActivityBatch { observations: numbers.into_iter().map(observation).collect(), ..v1::ActivityBatch::default() }
}

async fn send(bus: &Memory, batch: &v1::ActivityBatch) {
    let subject = Subject::partition(Stream::Backfill, TENANT, 1);
    bus.publish(&subject, Outgoing { payload: wire::pack(batch), ..Outgoing::default() }).await.unwrap();
}

/// A bus whose clock stands a year after the events, and 30 batches of 7: every third resends the one before, shifted by 3.
async fn sent() -> Arc<Memory> {
    let bus = later().await;
    for number in 0..30 {
        let from = if number % 3 == 2 { number * 7 - 3 } else { number * 7 };
        send(&bus, &batch(from..number * 7 + 7)).await;
    }
    bus
}

async fn later() -> Arc<Memory> {
    bus_at(hours(24 * 365)).await
}

fn learned() -> (Arc<Learned>, watch::Receiver<Option<Arc<Epoch>>>) {
    let (sender, receiver) = watch::channel(None);
    (Arc::new(sender), receiver)
}

async fn history(bus: &Arc<Memory>, objects: &Arc<dyn ObjectStore>, events_max: usize) -> Result<History, Error> {
    with_memory(bus, objects, events_max, 1_000, &learned().0).await
}

async fn with_memory(
    bus: &Arc<Memory>,
    objects: &Arc<dyn ObjectStore>,
    events_max: usize,
    ids_max: usize,
    learned: &Arc<Learned>,
) -> Result<History, Error> {
    let around = surroundings(bus, objects);
    History::open(around, bounds(events_max), Limits::default(), Arc::clone(learned), ids_max).await
}

async fn given(bus: &Memory) -> Box<dyn Subscription> {
    consumer(bus, Table::History, "archive-history").await
}

/// Everything that is there now, a flush at the end, and the epoch kept.
async fn drain(history: &mut History, given: &mut dyn Subscription) -> Result<(), Error> {
    while let Some(delivery) = given.next(Duration::ZERO).await? {
        history.take(delivery).await?;
    }
    history.flush().await?;
    history.tend().await
}

/// Numbers of the events that have rows, in order, doubled ones as often as they stand there.
async fn rows(objects: &Arc<dyn ObjectStore>) -> Vec<u64> {
    let answer = open(objects).query("SELECT metadata_uid FROM history ORDER BY metadata_uid").await.unwrap();
    answer.rows.iter().map(|row| row[0].as_str().unwrap()["event-".len()..].parse().unwrap()).collect()
}

fn taught(numbers: impl IntoIterator<Item = u64>) -> Epoch {
    let mut epoch = Epoch::new(Limits::default());
    let events: Vec<_> = numbers.into_iter().map(event).collect();
    let lesson = |event| {
        let activity = convert::activity(event).unwrap();
        (EventKind::of(&activity), activity.event_time)
    };
    epoch.learn(events.iter().map(lesson));
    epoch
}

/// What whoever comes next finds taught.
async fn found(bus: &Arc<Memory>, objects: &Arc<dyn ObjectStore>) -> Epoch {
    let (sender, receiver) = learned();
    with_memory(bus, objects, 1_000, 1_000, &sender).await.unwrap();
    let epoch = receiver.borrow().clone();
    Epoch::clone(&epoch.expect("told when it is opened"))
}

#[tokio::test]
async fn dying_at_any_write_neither_loses_nor_doubles_an_event() {
    let mut deaths = 0;
    for puts in 0.. {
        let (bus, objects) = (sent().await, memory());
        let dying = Dying::after(puts, &objects);
        let mut given = given(&bus).await;
        let first = async {
            let mut history = history(&bus, &dying, 22).await?;
            let drained = drain(&mut history, &mut *given).await;
            history.hand_back().await;
            drained
        };
        let died = first.await.is_err();
        deaths += u32::from(died);
        let mut second = history(&bus, &objects, 31).await.unwrap();
        drain(&mut second, &mut *given).await.unwrap();
        assert_eq!(bus.depth(Stream::Backfill).await.unwrap(), 0, "died after {puts} writes");
        assert_eq!(rows(&objects).await, (0..210).collect::<Vec<_>>(), "died after {puts} writes");
        assert_eq!(found(&bus, &objects).await, taught(0..210), "died after {puts} writes");
        if !died {
            break;
        }
    }
    // Ten flushes of what is decided and files for two accounts each, and an epoch.
    assert!(deaths >= 30, "{deaths}");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_though_nothing_of_the_bus_is() {
    let (bus, objects) = (sent().await, memory());
    let mut given = given(&bus).await;
    let mut first = history(&bus, &objects, 22).await.unwrap();
    while let Some(delivery) = given.next(Duration::ZERO).await.unwrap() {
        first.take(delivery).await.unwrap();
        let left = bus.depth(Stream::Backfill).await.unwrap();
        let gone = 30 - left;
        let rows = rows(&objects).await;
        assert_eq!(rows, (0..gone * 7).collect::<Vec<_>>(), "as many as are no longer in the stream");
        // Nothing was kept yet but what was decided.
        assert_eq!(found(&bus, &objects).await, taught(0..gone * 7));
    }
    assert!(bus.depth(Stream::Backfill).await.unwrap() < 10);
}

#[tokio::test]
async fn what_comes_again_years_later_is_recognised() {
    let (bus, objects) = (sent().await, memory());
    let mut first = history(&bus, &objects, 50).await.unwrap();
    drain(&mut first, &mut *given(&bus).await).await.unwrap();

    // Another broker, another time, other batches, another archive, which remembers no id at all.
    let bus = bus_at(hours(24 * 3_650)).await;
    for number in (0..21).rev() {
        send(&bus, &batch((number * 10..number * 10 + 11).rev())).await;
    }
    let mut second = with_memory(&bus, &objects, 25, 0, &learned().0).await.unwrap();
    drain(&mut second, &mut *given(&bus).await).await.unwrap();
    assert_eq!(rows(&objects).await, (0..211).collect::<Vec<_>>());
    assert_eq!(found(&bus, &objects).await, taught(0..211));
    assert_eq!(bus.depth(Stream::Backfill).await.unwrap(), 0);
}

#[tokio::test]
async fn two_archives_at_once_decide_one_order() {
    let (bus, objects) = (sent().await, memory());
    let (mut given_one, mut given_other) = (given(&bus).await, given(&bus).await);
    let (one_learned, other_learned) = (learned(), learned());
    let mut one = with_memory(&bus, &objects, 22, 1_000, &one_learned.0).await.unwrap();
    let mut other = with_memory(&bus, &objects, 57, 1_000, &other_learned.0).await.unwrap();
    loop {
        let (a, b) = (given_one.next(Duration::ZERO).await.unwrap(), given_other.next(Duration::ZERO).await.unwrap());
        if a.is_none() && b.is_none() {
            break;
        }
        if let Some(delivery) = a {
            one.take(delivery).await.unwrap();
        }
        if let Some(delivery) = b {
            other.take(delivery).await.unwrap();
        }
    }
    for turn in 0..3 {
        let history = if turn == 1 { &mut one } else { &mut other };
        history.flush().await.unwrap();
        history.tend().await.unwrap();
    }
    assert_eq!(rows(&objects).await, (0..210).collect::<Vec<_>>());
    let [one, other] = [one_learned.1, other_learned.1].map(|told| told.borrow().clone().unwrap());
    assert_eq!(one, other, "they tell the same");
    assert_eq!(found(&bus, &objects).await, *one);
}

#[tokio::test]
async fn whoever_slept_while_others_went_on_does_not_decide_what_was_decided() {
    let (bus, objects) = (later().await, memory());
    let mut given = given(&bus).await;
    let mut asleep = history(&bus, &objects, 1_000).await.unwrap();
    let mut awake = history(&bus, &objects, 1_000).await.unwrap();
    for number in 0..6 {
        send(&bus, &batch(number * 7..number * 7 + 7)).await;
        drain(&mut awake, &mut *given).await.unwrap();
    }
    assert_eq!(files(&objects, "learned").await.len(), 3);
    send(&bus, &batch(30..50)).await;
    drain(&mut asleep, &mut *given).await.unwrap();
    assert_eq!(rows(&objects).await, (0..50).collect::<Vec<_>>());
    drain(&mut awake, &mut *given).await.unwrap();
    assert_eq!(found(&bus, &objects).await, taught(0..50));

    // The latest epoch is damaged: what the one before does not hold is still there to be learned.
    let latest = files(&objects, "learned").await.pop().unwrap();
    objects.put_opts(&latest.into(), "nothing".into(), Default::default()).await.unwrap();
    assert_eq!(found(&bus, &objects).await, taught(0..50));
}

#[tokio::test]
async fn poison_goes_to_the_dead_letters_and_the_rest_goes_on() {
    let (bus, objects) = (later().await, memory());
    let mut mixed = batch(0..3);
    mixed.observations[1].activity = None;
    send(&bus, &mixed).await;
    let subject = Subject::partition(Stream::Backfill, TENANT, 0);
    bus.publish(&subject, Outgoing { payload: vec![0xff; 64].into(), ..Outgoing::default() }).await.unwrap();
    // From ahead of the broker's clock: a row, and no lesson.
    let mut ahead = batch(7..8);
    ahead.observations[0].activity.as_mut().unwrap().event_time_ms = hours(24 * 366).as_millis();
    send(&bus, &ahead).await;
    let mut history = history(&bus, &objects, 1_000).await.unwrap();
    drain(&mut history, &mut *given(&bus).await).await.unwrap();
    assert_eq!(rows(&objects).await, [0, 2, 7]);
    assert_eq!(found(&bus, &objects).await, taught([0, 2]));
    let letters = bus.dead_letters(0, 10).await.unwrap();
    let places: Vec<_> = letters.iter().map(|(_, letter)| (letter.sequence, letter.place)).collect();
    assert_eq!(places, [(1, Some(1)), (2, None)]);
    assert_eq!(bus.depth(Stream::Backfill).await.unwrap(), 0);
}

#[tokio::test]
async fn history_lies_under_the_epochs_that_are_told_and_never_in_the_fold() {
    let (bus, objects) = (sent().await, memory());
    let (sender, receiver) = learned();
    let Surroundings { bus: on, objects: store, metrics, .. } = surroundings(&bus, &objects);
    let epochs = Epochs { objects: store, bus: on, tenant: TENANT.to_owned(), metrics, history: receiver };
    let announced = Subject::whole(Stream::Epoch, TENANT);
    let told = async || {
        let name = bus.last(&announced).await.unwrap().map(|message| message.payload)?;
        let content = bus.object(std::str::from_utf8(&name).unwrap()).await.unwrap().unwrap();
        Some(Epoch::from_bytes(&content).unwrap())
    };
    let mut fold = epochs.recover(Limits::default()).await.unwrap();
    let now = |number: i64| Timestamp::from_millis(number * 10 * SECOND_MS);
    let mut live = Baseline::new(Limits::default());
    for hour in 0..3 {
        let live_event = super::support::measured(activity(500, hours(100 + hour)));
        let activity = live_event.observation.as_ref().unwrap().activity.as_ref().unwrap();
        let activity = convert::activity(activity).unwrap();
        live.add(EventKind::of(&activity), activity.event_time);
        let events = vec![live_event.clone()];
        fold.add(0, hour as u64 + 1, &v1::FeatureBatch { events, ..v1::FeatureBatch::default() });
    }
    epochs.publish(&mut fold, now(1), SECOND_MS).await.unwrap();
    assert_eq!(told().await, None, "nobody knows yet what history there is");

    let mut history = with_memory(&bus, &objects, 1_000, 1_000, &sender).await.unwrap();
    epochs.publish(&mut fold, now(2), SECOND_MS).await.unwrap();
    assert_eq!(told().await.as_ref(), Some(live.epoch()), "there is none");
    drain(&mut history, &mut *given(&bus).await).await.unwrap();
    epochs.publish(&mut fold, now(3), SECOND_MS).await.unwrap();
    assert_eq!(told().await, Some(live.epoch().over(&taught(0..210))));
    // A start takes the fold up without it.
    let mut again = epochs.recover(Limits::default()).await.unwrap();
    epochs.publish(&mut again, now(4), SECOND_MS).await.unwrap();
    assert_eq!(told().await, Some(live.epoch().over(&taught(0..210))));
}
