//! Epochs: folded in the stream's order, told once an hour has passed, and the same after a start.

use std::sync::Arc;

use tokio::sync::watch;
use trailwarden_bus::{Bus, Memory, Stream, Subject};
use trailwarden_core::baseline::{Baseline, Epoch, EventKind, Limits};
use trailwarden_core::time::{MINUTE_MS, SECOND_MS, Timestamp};
use trailwarden_proto::{convert, v1};

use super::support::{
    PARTITIONS, TENANT, activity, bounds, bus, consumer, files, hours, measured, memory, publish, surroundings,
};
use crate::ObjectStore;
use crate::epochs::Epochs;
use crate::lane::{Lane, Surroundings};
use crate::table::Table;

/// Batches of three events, a quarter of an hour apart; one event of each is too late for any window.
fn history(batches: u64) -> Vec<(u16, v1::FeatureBatch)> {
    let batch = |number: u64| {
        let at = hours(0).plus_ms(number as i64 * 15 * MINUTE_MS);
        let mut events: Vec<_> = (0..3).map(|event| measured(activity(number * 3 + event, at))).collect();
        events[1].read_only = true;
        ((number % u64::from(PARTITIONS)) as u16, v1::FeatureBatch { events, ..v1::FeatureBatch::default() })
    };
    (0..batches).map(batch).collect()
}

struct Running {
    bus: Arc<Memory>,
    objects: Arc<dyn ObjectStore>,
    lane: Lane,
}

impl Running {
    async fn start(bus: &Arc<Memory>, objects: &Arc<dyn ObjectStore>) -> Self {
        let fold = epochs(bus, objects).recover(Limits::default()).await.unwrap();
        let around = surroundings(bus, objects);
        let lane = Lane::open(Table::Activities, TENANT, PARTITIONS, around, bounds(7), Some(fold));
        Self { bus: Arc::clone(bus), objects: Arc::clone(objects), lane: lane.await.unwrap() }
    }

    /// Takes everything that is there, and publishes after each batch what is due at `now`.
    async fn run(&mut self, name: &str, now: impl Fn(u64) -> Timestamp) {
        let mut given = consumer(&self.bus, Table::Activities, name).await;
        while let Some(delivery) = given.next(std::time::Duration::ZERO).await.unwrap() {
            let sequence = delivery.message().sequence;
            self.lane.take(delivery).await.unwrap();
            let mut fold = self.lane.fold.take().unwrap();
            epochs(&self.bus, &self.objects).publish(&mut fold, now(sequence), 10 * SECOND_MS).await.unwrap();
            self.lane.fold = Some(fold);
        }
    }
}

fn epochs(bus: &Arc<Memory>, objects: &Arc<dyn ObjectStore>) -> Epochs {
    let Surroundings { bus, objects, metrics, .. } = surroundings(bus, objects);
    let history = watch::channel(Some(Arc::new(Epoch::new(Limits::default())))).1;
    Epochs { objects, bus, tenant: TENANT.to_owned(), metrics, history }
}

async fn announced(bus: &Memory) -> Vec<String> {
    let messages = bus.read(&Subject::whole(Stream::Epoch, TENANT), 0, 1_000).await.unwrap();
    messages.iter().map(|message| String::from_utf8(message.payload.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn the_latest_epoch_is_what_a_fold_in_memory_gives() {
    let (bus, objects) = (bus().await, memory());
    let history = history(22);
    publish(&bus, &history).await;
    Running::start(&bus, &objects)
        .await
        .run("archive", |sequence| Timestamp::from_millis(sequence as i64 * 10_000))
        .await;

    let mut expect = Baseline::new(Limits::default());
    for event in history.iter().flat_map(|(_, batch)| &batch.events).filter(|event| !event.read_only) {
        let wire = event.observation.as_ref().unwrap().activity.as_ref().unwrap();
        let activity = convert::activity(wire).unwrap();
        expect.add(EventKind::of(&activity), activity.event_time);
    }
    let names = announced(&bus).await;
    // Five and a half hours: five of them passed.
    assert_eq!(names.len(), 5);
    let latest = bus.object(names.last().unwrap()).await.unwrap().expect("stored before it is told of");
    assert_eq!(latest, expect.epoch().to_bytes());
    assert_eq!(files(&objects, "epochs").await.len(), 5);
}

#[tokio::test]
async fn catching_up_tells_the_latest_epoch_and_not_every_one() {
    let (bus, objects) = (bus().await, memory());
    publish(&bus, &history(400)).await;
    // A hundred hours pass within 40 s of the clock.
    Running::start(&bus, &objects).await.run("archive", |sequence| Timestamp::from_millis(sequence as i64 * 100)).await;
    assert_eq!(announced(&bus).await.len(), 4);
}

#[tokio::test]
async fn a_start_in_the_middle_comes_to_the_same_epochs() {
    let history = history(30);
    let often = |sequence: u64| Timestamp::from_millis(sequence as i64 * 10_000);
    let undisturbed = bus().await;
    publish(&undisturbed, &history).await;
    Running::start(&undisturbed, &memory()).await.run("archive", often).await;
    let expect = announced(&undisturbed).await;
    assert_eq!(expect.len(), 7);

    for death in 1..history.len() {
        let (bus, objects) = (bus().await, memory());
        publish(&bus, &history[..death]).await;
        Running::start(&bus, &objects).await.run("first", often).await;
        publish(&bus, &history[death..]).await;
        Running::start(&bus, &objects).await.run("second", often).await;
        assert_eq!(announced(&bus).await, expect, "died after {death} batches");
    }
}
