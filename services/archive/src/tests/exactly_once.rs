//! Wherever it dies, whoever comes next, every event is there once.

use std::time::Duration;

use trailwarden_bus::{Bus, Outgoing, Stream, Subject};
use trailwarden_proto::{v1, wire};
use trailwarden_runtime::telemetry::quiet;

use super::support::{
    Dying, PARTITIONS, TENANT, batches, bounds, bus, consumer, drain, files, ids, ids_of, lane, memory, open, publish,
    surroundings,
};
use crate::lane::{Lane, Surroundings};
use crate::table::Table;

#[tokio::test]
async fn dying_at_any_write_neither_loses_nor_doubles_a_row() {
    let batches = batches(20, 5);
    let bus = bus().await;
    publish(&bus, &batches).await;
    let mut deaths = 0;
    for puts in 0.. {
        let objects = memory();
        let dying = Dying::after(puts, &objects);
        let first = async {
            let mut lane = lane(&bus, &dying, Table::Activities, 22).await?;
            let mut given = consumer(&bus, Table::Activities, &format!("first-{puts}")).await;
            drain(&mut lane, &mut *given).await
        };
        let died = first.await.is_err();
        deaths += u32::from(died);
        // Whoever comes next gathers otherwise, and is given everything again.
        let mut lane = lane(&bus, &objects, Table::Activities, 31).await.unwrap();
        let mut given = consumer(&bus, Table::Activities, &format!("second-{puts}")).await;
        drain(&mut lane, &mut *given).await.unwrap();
        assert_eq!(ids(&objects).await, ids_of(&batches), "died after {puts} writes");
        if !died {
            break;
        }
    }
    // Four flushes of a declaration, files for two accounts and a position each.
    assert!(deaths >= 16, "{deaths}");
}

#[tokio::test]
async fn two_archives_at_once_write_every_row_once() {
    let batches = batches(40, 5);
    let (bus, objects) = (bus().await, memory());
    publish(&bus, &batches).await;
    let mut one = lane(&bus, &objects, Table::Activities, 22).await.unwrap();
    let mut other = lane(&bus, &objects, Table::Activities, 57).await.unwrap();
    // One durable consumer: each is given what the other is not.
    let mut given_one = consumer(&bus, Table::Activities, "shared").await;
    let mut given_other = consumer(&bus, Table::Activities, "shared").await;
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
    other.flush().await.unwrap();
    one.flush().await.unwrap();
    assert_eq!(ids(&objects).await, ids_of(&batches));
}

#[tokio::test]
async fn what_is_durable_is_acknowledged_and_nothing_else() {
    let (bus, objects) = (bus().await, memory());
    publish(&bus, &batches(6, 5)).await;
    let mut lane = lane(&bus, &objects, Table::Activities, 1_000).await.unwrap();
    let mut given = consumer(&bus, Table::Activities, "archive").await;
    while let Some(delivery) = given.next(Duration::ZERO).await.unwrap() {
        lane.take(delivery).await.unwrap();
    }
    assert_eq!(bus.lag(Stream::Feature, "archive").await.unwrap().in_flight, 6);
    lane.flush().await.unwrap();
    assert_eq!(bus.lag(Stream::Feature, "archive").await.unwrap().in_flight, 0);
    // Another batch, given back at the end instead of written.
    publish(&bus, &batches(1, 5)).await;
    lane.take(given.next(Duration::ZERO).await.unwrap().unwrap()).await.unwrap();
    lane.hand_back().await;
    let again = given.next(Duration::ZERO).await.unwrap().expect("given out again at once");
    assert_eq!((again.message().sequence, again.deliveries()), (7, 2));
}

#[tokio::test]
async fn a_stream_that_was_made_anew_is_archived_beside_the_old_one() {
    let objects = memory();
    let old = batches(10, 5);
    let old_bus = bus().await;
    publish(&old_bus, &old).await;
    let mut first = lane(&old_bus, &objects, Table::Activities, 1_000).await.unwrap();
    drain(&mut first, &mut *consumer(&old_bus, Table::Activities, "archive").await).await.unwrap();

    let new_bus = bus().await;
    // Time goes on: the new broker stores later than the old one did.
    for _ in 0..10 {
        let subject = Subject::whole(Stream::Epoch, "default");
        new_bus.publish(&subject, Outgoing::default()).await.unwrap();
    }
    let new: Vec<_> = batches(14, 5).into_iter().skip(10).collect();
    publish(&new_bus, &new).await;
    let mut second = lane(&new_bus, &objects, Table::Activities, 1_000).await.unwrap();
    drain(&mut second, &mut *consumer(&new_bus, Table::Activities, "archive").await).await.unwrap();
    assert_eq!(ids(&objects).await, ids_of(&[old, new].concat()));
}

#[tokio::test]
async fn what_cannot_be_read_goes_to_the_dead_letters_and_the_rest_goes_on() {
    let (bus, objects) = (bus().await, memory());
    let batches = batches(4, 5);
    publish(&bus, &batches[..2]).await;
    let subject = Subject::partition(Stream::Feature, "default", 1);
    bus.publish(&subject, Outgoing { payload: vec![0xff; 64].into(), ..Outgoing::default() }).await.unwrap();
    publish(&bus, &batches[2..]).await;
    let telemetry = quiet("archive").unwrap();
    let around = Surroundings { metrics: telemetry.metrics().clone(), ..surroundings(&bus, &objects) };
    let lane = Lane::open(Table::Activities, TENANT, PARTITIONS, around, bounds(1_000), None);
    drain(&mut lane.await.unwrap(), &mut *consumer(&bus, Table::Activities, "archive").await).await.unwrap();
    assert_eq!(ids(&objects).await, ids_of(&batches));
    let page = telemetry.metrics_text();
    for line in [
        "trailwarden_batches_total{role=\"archive\"} 5",
        "trailwarden_events_total{role=\"archive\"} 20",
        "trailwarden_dead_letters_total{reason=\"invalid\",role=\"archive\"} 1",
        "trailwarden_step_duration_seconds_count{role=\"archive\",step=\"flush\"} 1",
    ] {
        assert!(page.lines().any(|own| own == line), "{line} is missing\n{page}");
    }
    let letters = bus.dead_letters(0, 10).await.unwrap();
    assert_eq!(letters.iter().map(|(_, letter)| (letter.sequence, letter.place)).collect::<Vec<_>>(), [(3, None)]);
}

#[tokio::test]
async fn an_invented_account_a_day_does_not_become_a_file_each() {
    let (bus, objects) = (bus().await, memory());
    let mut batches = batches(9, 100);
    for (number, event) in batches.iter_mut().flat_map(|(_, batch)| &mut batch.events).enumerate() {
        let activity = event.observation.as_mut().unwrap().activity.as_mut().unwrap();
        activity.account = format!("{number:012}");
        activity.event_time_ms += number as i64 % 2 * 86_400_000 * 400;
    }
    publish(&bus, &batches).await;
    publish(&bus, &batches).await;
    let mut lane = lane(&bus, &objects, Table::Activities, 100_000).await.unwrap();
    drain(&mut lane, &mut *consumer(&bus, Table::Activities, "archive").await).await.unwrap();
    let files = files(&objects, "activities").await;
    assert!(files.len() <= 1_025, "{}", files.len());
    assert_eq!(ids(&objects).await.len(), 1_800);
}

#[tokio::test]
async fn signals_and_cases_are_archived_too() {
    let (bus, objects) = (bus().await, memory());
    let observation = v1::Observation {
        activity: Some(super::support::activity(3, super::support::MIDNIGHT)),
        matches: vec![v1::RuleMatch { rule: 1, counted: Vec::new() }, v1::RuleMatch { rule: 9, counted: Vec::new() }],
        ..v1::Observation::default()
    };
    let event = v1::ScoredEvent {
        observation: Some(observation),
        learned: Some(0.25),
        score: 0.75,
        level: v1::Level::Caution.into(),
        ..v1::ScoredEvent::default()
    };
    let signals = v1::SignalBatch {
        events: vec![event],
        rules: vec!["first".to_owned(), "second".to_owned()],
        model: "m".to_owned(),
        ..v1::SignalBatch::default()
    };
    let message = Outgoing { payload: wire::pack(&signals), ..Outgoing::default() };
    bus.publish(&Subject::partition(Stream::Signal, "default", 2), message).await.unwrap();
    let case = v1::Case {
        id: "c1".to_owned(),
        event_ids: vec!["a".to_owned(), "b".to_owned()],
        verdict: "malicious".to_owned(),
        score: 0.9,
        ..v1::Case::default()
    };
    for (number, id) in [(1, "c1"), (2, "c1"), (1, "c2")] {
        let case = v1::Case { id: id.to_owned(), ..case.clone() };
        let kind = v1::TransitionKind::Judged.into();
        let transition = v1::CaseTransition { number, case: Some(case), kind, ..v1::CaseTransition::default() };
        let message = Outgoing { payload: wire::pack(&transition), ..Outgoing::default() };
        bus.publish(&Subject::case("default", id), message).await.unwrap();
    }
    for table in [Table::Signals, Table::Cases] {
        let mut lane = lane(&bus, &objects, table, 1_000).await.unwrap();
        drain(&mut lane, &mut *consumer(&bus, table, "archive").await).await.unwrap();
    }
    let archive = open(&objects);
    let rows = |sql: &'static str| {
        let archive = &archive;
        async move { serde_json::to_string(&archive.query(sql).await.unwrap().rows).unwrap() }
    };
    let signals = rows("SELECT score, learned, level, rules, account, day, partition FROM signals").await;
    assert_eq!(signals, r#"[[0.75,0.25,"caution","second","111122223333","2026-01-31",2]]"#);
    let cases =
        rows("SELECT case_id, max(number), max(events) FROM cases WHERE kind = 'judged' GROUP BY 1 ORDER BY 1").await;
    assert_eq!(cases, r#"[["c1",2,2],["c2",1,2]]"#);
}
