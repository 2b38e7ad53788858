//! Questions: what they find, what they do not read, what they may not do.

use std::sync::Arc;
use std::time::Duration;

use trailwarden_proto::v1;

use super::support::{MIDNIGHT, batches, bus, consumer, drain, hours, lane, memory, open, publish};
use crate::ObjectStore;
use crate::lookup::Query;
use crate::query::{Archive, Error, Limits};
use crate::table::Table;

/// Some days of two accounts; one event touches a bucket, and is full of what terminals obey.
async fn archived() -> Arc<dyn ObjectStore> {
    let (bus, objects) = (bus().await, memory());
    let mut batches = batches(60, 5);
    let event = batches[1].1.events[0].observation.as_mut().unwrap();
    let bucket = |id: &str| v1::Resource { kind: "bucket".to_owned(), id: id.to_owned(), ..v1::Resource::default() };
    let resources = vec![bucket("payroll\nbucket other"), bucket("payroll")];
    event.details = Some(v1::Details { resources, parameters: "\u{1b}[2J".to_owned(), ..v1::Details::default() });
    publish(&bus, &batches).await;
    let mut lane = lane(&bus, &objects, Table::Activities, 40).await.unwrap();
    drain(&mut lane, &mut *consumer(&bus, Table::Activities, "archive").await).await.unwrap();
    objects
}

#[tokio::test]
async fn activities_are_found_by_time_and_by_every_name() {
    let objects = archived().await;
    let archive = open(&objects);
    let all: Vec<v1::Activity> = batches(60, 5)
        .into_iter()
        .flat_map(|(_, batch)| batch.events)
        .filter_map(|event| event.observation?.activity)
        .collect();
    assert_eq!(all.len(), 270);
    let some = |text: &str| Some(text.to_owned());
    let day = || Query { from: Some(hours(24)), until: Some(hours(36)), ..Query::default() };
    let in_day = |at: i64| (hours(24).as_millis()..hours(36).as_millis()).contains(&at);
    let one = |id: &str| Query { event_ids: vec![id.to_owned(), "none".to_owned()], ..Query::default() };
    type Same = dyn Fn(&v1::Activity) -> bool;
    let cases: [(Query, Box<Same>); 11] = [
        (Query::default(), Box::new(|_| true)),
        (day(), Box::new(move |event| in_day(event.event_time_ms))),
        (
            Query { account: some("111122223333"), ..day() },
            Box::new(move |event| event.account.starts_with('1') && in_day(event.event_time_ms)),
        ),
        (
            Query { principal: some("arn:aws:iam::111122223333:user/u3"), ..Query::default() },
            Box::new(|event| event.principal.ends_with("111122223333:user/u3")),
        ),
        (
            Query { session: some("AKIA000000000003"), ..Query::default() },
            Box::new(|event| event.session.ends_with('3')),
        ),
        (Query { source: some("198.51.100.4"), ..Query::default() }, Box::new(|event| event.source.ends_with(".4"))),
        (Query { resource: some("payroll"), ..Query::default() }, Box::new(|event| event.event_id == "event-000100")),
        (Query { resource: some("pay"), ..Query::default() }, Box::new(|_| false)),
        (one("event-000101"), Box::new(|event| event.event_id == "event-000101")),
        (Query { account: some("../.."), ..Query::default() }, Box::new(|_| false)),
        (Query { principal: some("' OR 1=1 --"), ..Query::default() }, Box::new(|_| false)),
    ];
    for (query, same) in cases {
        let found = archive.lookup(&query, 1_000).await.unwrap().rows;
        let mut expect: Vec<_> = all.iter().filter(|event| same(event)).collect();
        expect.sort_by_key(|event| (event.event_time_ms, &event.event_id));
        let expect: Vec<&str> = expect.iter().map(|event| event.event_id.as_str()).collect();
        assert_eq!(found.iter().map(|row| row.event_id.as_str()).collect::<Vec<_>>(), expect, "{query:?}");
    }
    let touched = archive.lookup(&Query { resource: some("payroll"), ..Query::default() }, 1).await.unwrap();
    assert_eq!(touched.rows[0].resources.len(), 2);
    assert_eq!(touched.rows[0].event_id, "event-000100");
    assert!(archive.lookup(&Query::default(), 269).await.unwrap().is_cut);
    assert!(!archive.lookup(&Query::default(), 270).await.unwrap().is_cut);
}

#[tokio::test]
async fn folders_and_row_groups_that_cannot_match_are_not_read() {
    let objects = archived().await;
    let archive = open(&objects);
    let plan = |sql: &'static str| {
        let archive = &archive;
        async move {
            let answer = archive.query(sql).await.unwrap();
            answer.rows.iter().flatten().filter_map(|value| value.as_str()).collect::<Vec<_>>().join("\n")
        }
    };
    let all = plan("EXPLAIN SELECT count(*) FROM activities WHERE api_operation = 'x'").await;
    let one = plan("EXPLAIN SELECT count(*) FROM activities WHERE account = '111122223333' AND day = '2026-01-31' AND api_operation = 'x'").await;
    let files = |plan: &str| plan.matches(".parquet").count();
    assert!(all.contains("account=444455556666") && all.contains("day=2026-02-01"), "{all}");
    assert!(files(&one) > 0 && files(&one) < files(&all), "{one}");
    assert!(!one.contains("account=444455556666") && !one.contains("day=2026-02-01"), "{one}");

    // The id is within every file's statistics, so that only bloom filters can tell.
    let analysed = plan("EXPLAIN ANALYZE SELECT * FROM activities WHERE metadata_uid = 'event-000100x'").await;
    assert!(analysed.contains("row_groups_pruned_bloom_filter"), "{analysed}");
    let total = analysed.split("row_groups_pruned_bloom_filter=").nth(1).unwrap();
    assert!(!total.starts_with('0'), "{total}");
}

#[tokio::test]
async fn whatever_does_more_than_read_is_refused() {
    let objects = archived().await;
    let archive = open(&objects);
    for sql in [
        "COPY activities TO '/tmp/x.parquet'",
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/etc'",
        "CREATE TABLE t AS SELECT * FROM activities",
        "CREATE VIEW v AS SELECT * FROM activities",
        "DROP TABLE activities",
        "INSERT INTO activities SELECT * FROM activities",
        "DELETE FROM activities",
        "UPDATE activities SET status = 'x'",
        "SET datafusion.execution.batch_size = 1",
        "PREPARE p AS SELECT 1",
        "EXPLAIN ANALYZE COPY activities TO '/tmp/x.parquet'",
    ] {
        let error = archive.query(sql).await.expect_err(sql);
        assert!(
            matches!(error, Error::Forbidden { .. } | Error::Meaningless { .. } | Error::Syntax { .. }),
            "{sql}: {error:?}"
        );
    }
    for sql in
        ["COPY activities TO '/tmp/x.parquet'", "DROP TABLE activities", "SET datafusion.execution.batch_size = 1"]
    {
        assert!(matches!(archive.query(sql).await, Err(Error::Forbidden { .. })), "{sql}");
    }
    for sql in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'archive://archive/epochs'",
        "SELECT * FROM read_csv('/etc/passwd')",
    ] {
        assert!(archive.query(sql).await.is_err(), "{sql}");
    }
    assert_eq!(super::support::ids(&objects).await.len(), 270);
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_said_in_its_own_words() {
    let objects = archived().await;
    let archive = open(&objects);
    let Err(Error::UnknownTable { name, known }) = archive.query("SELECT * FROM activites").await else {
        panic!("a table")
    };
    assert_eq!((name.as_str(), known.len()), ("activites", 4));
    let Err(Error::UnknownColumn { name, known }) = archive.query("SELECT regoin FROM activities").await else {
        panic!("a column")
    };
    assert!(name == "regoin" && known.contains(&"cloud_region".to_owned()), "{known:?}");
    for sql in ["SELEC 1", "", "SELECT 1; SELECT 2", "\u{0}", "SELECT"] {
        let error = archive.query(sql).await.expect_err(sql);
        assert!(matches!(error, Error::Syntax { .. } | Error::Meaningless { .. }), "{sql}: {error:?}");
    }
    let deep = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    assert!(archive.query(&deep).await.is_err());
    assert!(matches!(archive.query(&"x".repeat(100_000)).await, Err(Error::Syntax { .. })));
}

#[tokio::test]
async fn answers_stay_within_their_bounds() {
    let objects = archived().await;
    let cut = Archive::open(Arc::clone(&objects), Limits { rows_max: 10, ..Limits::default() }).unwrap();
    let answer = cut.query("SELECT metadata_uid FROM activities ORDER BY time DESC").await.unwrap();
    assert_eq!((answer.rows.len(), answer.is_cut, answer.rows[0][0].as_str()), (10, true, Some("event-005804")));
    let whole = cut.query("SELECT count(*), min(time), max(principal_1h) FROM activities").await.unwrap();
    let row = serde_json::to_string(&whole.rows).unwrap();
    assert_eq!((row.as_str(), whole.is_cut), (r#"[[270,"2026-01-31T00:00:00Z",2.5]]"#, false));

    let small =
        Archive::open(Arc::clone(&objects), Limits { memory_bytes_max: 64 << 10, ..Limits::default() }).unwrap();
    let large = "SELECT a.metadata_uid || b.metadata_uid || c.metadata_uid AS x, count(*) FROM activities a, activities b, activities c GROUP BY 1 ORDER BY 1";
    assert!(matches!(small.query(large).await, Err(Error::Memory { .. } | Error::Time { .. })));
    let brief = Archive::open(objects, Limits { time_max: Duration::ZERO, ..Limits::default() }).unwrap();
    assert!(matches!(brief.query(large).await, Err(Error::Time { .. })));
}

#[tokio::test]
async fn an_empty_archive_says_so_and_a_new_flush_is_seen_at_once() {
    let (bus, objects) = (bus().await, memory());
    let archive = open(&objects);
    assert!(archive.is_empty().await.unwrap());
    assert_eq!(archive.query("SELECT * FROM activities").await.unwrap().rows.len(), 0);
    let mut lane = lane(&bus, &objects, Table::Activities, 1_000).await.unwrap();
    let mut given = consumer(&bus, Table::Activities, "archive").await;
    for expect in [5, 10] {
        publish(&bus, &batches(1, 5)).await;
        drain(&mut lane, &mut *given).await.unwrap();
        assert_eq!(archive.query("SELECT * FROM activities").await.unwrap().rows.len(), expect);
    }
    assert!(!archive.is_empty().await.unwrap());
    let first = archive.lookup(&Query { until: Some(MIDNIGHT.plus_ms(1)), ..Query::default() }, 10).await.unwrap();
    assert_eq!(first.rows.len(), 2);
}
