//! An archive on S3: what it rests on, and a deployment that archives there and is killed over it.
#![allow(clippy::disallowed_methods, reason = "reads and writes files of its own")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::ffi::OsString;
use std::time::Duration;

use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutPayload};
use tokio_stream::StreamExt;
use trailwarden_servers::Moto;
use trailwarden_tests::cluster::{Cluster, Feed, PATIENCE, last_time, organisation};
use trailwarden_tests::command::trailwarden;

const EVENTS: u64 = 2_000;

fn environment(moto: &Moto) -> Vec<(OsString, OsString)> {
    moto.environment().into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// The chain of flushes rests on an object that can be created once. (The server looks and then writes, so that two at the
/// same moment are not told apart here, as S3 itself does.)
#[tokio::test]
async fn an_object_is_created_once_below_the_prefix() {
    let moto = Moto::start();
    moto.bucket("audit");
    let mut environment = environment(&moto);
    // Nobody may switch it off.
    environment.push(("AWS_CONDITIONAL_PUT".into(), "disabled".into()));
    let open = |location: &str| trailwarden_archive::open(location, true, &environment).unwrap();
    let (store, again) = (open("s3://audit/trailwarden/one"), open("s3://audit/trailwarden/one/"));
    let path = Path::from("flushes/activities/1.json");
    let create = |text: &'static str| (PutPayload::from_static(text.as_bytes()), PutMode::Create.into());
    let (payload, options) = create("first");
    store.put_opts(&path, payload, options).await.unwrap();
    let (payload, options) = create("second");
    let refused = again.put_opts(&path, payload, options).await;
    assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
    assert_eq!(again.get(&path).await.unwrap().bytes().await.unwrap(), "first");

    let listed: Vec<_> = open("s3://audit").list(None).map(|found| found.unwrap().location).collect().await;
    assert_eq!(listed, [Path::from(format!("trailwarden/one/{path}"))]);
    let other: Vec<_> = open("s3://audit/other").list(None).collect().await;
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn a_location_that_is_none_is_refused_in_words() {
    for (location, words) in
        [("s3://", "bucket's name"), ("s3:///x", "bucket's name"), ("gs://x", "s3://bucket/prefix")]
    {
        let run = trailwarden(["query", "SELECT 1", "--archive", location]).run();
        run.assert_code(2).assert_says(&[words]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_archives_on_s3_once_though_it_is_killed_and_answers_in_sql() {
    let moto = Moto::start();
    let location = "s3://audit/trailwarden";
    let mut cluster = Cluster::start().await;
    let configuration = std::fs::read_to_string(cluster.configuration()).unwrap();
    let folder = cluster.archive().display().to_string();
    std::fs::write(cluster.configuration(), configuration.replace(&folder, location)).unwrap();
    cluster.environment = moto.environment();

    let ask = |location: &str, sql: &str| {
        let asked = trailwarden(["query", sql, "--format", "jsonl", "--archive", location]);
        moto.environment().iter().fold(asked, |asked, (name, value)| asked.env(name, value)).run()
    };
    // Whoever misspells a bucket hears of it.
    ask(location, "SELECT 1").assert_code(3).assert_says(&["NoSuchBucket"]);
    moto.bucket("audit");
    ask(location, "SELECT 1").assert_code(3).assert_says(&["nothing is archived in s3://audit/trailwarden"]);

    for role in ["collector", "featurizer", "scorer", "council"] {
        cluster.run(role, None);
    }
    // Dies with files written and nothing acknowledged.
    cluster.run("archive", Some("archive.written:2"));
    let records = organisation(EVENTS, 7);
    let feed = Feed { address: cluster.address("collector"), stream: "trail".to_owned(), records_a_request: 100 };
    feed.send(&records).await;
    assert!(!cluster.end_of("archive").await.success());
    cluster.run("archive", None);
    cluster.drain(last_time(&records)).await;

    let started = tokio::time::Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(200));
    let question = "SELECT count(*) AS n, count(DISTINCT metadata_uid) AS ids FROM activities";
    loop {
        looks.tick().await;
        let run = ask(location, question);
        let expected = format!("{{\"n\":{0},\"ids\":{0}}}\n", records.len());
        if run.code == Some(0) && run.stdout == expected {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{expected}{}\n{}", run.told(), cluster.told());
    }
    for (role, code) in cluster.stop_all() {
        assert_eq!(code, Some(0), "{role} ends in good order: {}", cluster.told());
    }
}
