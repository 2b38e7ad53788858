//! What only a real broker can show.

use trailwarden_bus::{Bus, Connection, DeadLetter, Error, JetStream, Layout, Outgoing, Stream};
use trailwarden_core::time::Timestamp;
use trailwarden_servers::{Nats, NatsOptions};

use crate::{A_MOMENT, PATIENCE, TENANT, a_moment, connected, consumer, layout, partition};

#[tokio::test]
async fn whoever_waits_goes_on_after_the_broker_was_killed() {
    let mut server = Nats::with(&NatsOptions { sync_always: true, ..NatsOptions::default() });
    let bus = connected(&server).await;
    bus.set_up(&layout()).await.unwrap();
    let subject = partition(Stream::Activity, 0);
    bus.publish(&subject, Outgoing::default()).await.unwrap();
    let mut puller = bus.subscribe(&consumer(Stream::Activity)).await.unwrap();
    puller.next(PATIENCE).await.unwrap().unwrap().ack().await.unwrap();
    assert!(puller.next(A_MOMENT).await.unwrap().is_none());

    server.kill();
    let unavailable = async {
        while bus.ping().await.is_ok() {
            a_moment().await;
        }
        bus.publish(&subject, Outgoing::default()).await.unwrap_err()
    };
    let error = tokio::time::timeout(PATIENCE, unavailable).await.unwrap();
    assert!(error.is_transient(), "{error}");
    server.restart();

    // Its place is kept, and so is what was acknowledged.
    let again = async {
        let stored = loop {
            match bus.publish(&subject, Outgoing { expected: Some(1), ..Outgoing::default() }).await {
                Ok(stored) => break stored,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            a_moment().await;
        };
        let next = loop {
            match puller.next(PATIENCE).await {
                Ok(next) => break next.unwrap(),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            a_moment().await;
        };
        (stored, next.message().sequence)
    };
    let (stored, given) = tokio::time::timeout(PATIENCE, again).await.unwrap();
    assert_eq!((stored, given), (trailwarden_bus::Published::Stored(2), 2));
}

#[tokio::test]
async fn a_look_at_the_broker_finds_what_is_wrong_with_it() {
    let server = Nats::start();
    let bus = connected(&server).await;
    let bad = async |layout: &Layout, now| {
        let findings = bus.check(layout, now).await.unwrap();
        let bad = findings.into_iter().filter(|finding| finding.good == Some(false));
        bad.map(|finding| {
            assert!(finding.fix.is_some(), "{}", finding.what);
            finding.what
        })
        .collect::<Vec<String>>()
    };
    assert_eq!(bad(&layout(), Timestamp::default()).await.len(), 14, "every stream is missing");

    bus.set_up(&layout()).await.unwrap();
    let subject = partition(Stream::Activity, 0);
    bus.publish(&subject, Outgoing::default()).await.unwrap();
    let now = bus.last(&subject).await.unwrap().unwrap().stored_at;
    let off = bad(&layout(), now.plus_ms(-60_000)).await;
    assert!(off.len() == 1 && off[0].contains("clock"), "{off:?}");
    let other = Layout { replicas: 3, stream_bytes_max: 1 << 20, ..layout() };
    let differs = bad(&other, now).await;
    assert!(differs.iter().any(|what| what.contains("1 of 3 copies")), "{differs:?}");
    assert!(differs.iter().any(|what| what.contains("is not bounded")), "{differs:?}");
    let unknown = bus.check(&layout(), now).await.unwrap();
    assert!(unknown.iter().any(|finding| finding.good.is_none() && finding.what.contains("disk")));
}

#[tokio::test]
async fn addresses_that_cannot_be_are_refused_and_silence_is_said_at_once() {
    let connect = async |url: &str, tenant: &str| {
        JetStream::connect(Connection { url: url.to_owned(), tenant: tenant.to_owned() }).await
    };
    for (url, tenant) in [
        ("nats://", TENANT),
        ("not an address", TENANT),
        ("nats://127.0.0.1:4222", "a.b"),
        ("nats://127.0.0.1:4222", ""),
    ] {
        let refused = connect(url, tenant).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{url} {tenant}: {refused:?}");
    }
    // Nobody is there; that may change, so it is no error to connect.
    let bus = connect("nats://127.0.0.1:1", TENANT).await.unwrap();
    assert!(matches!(bus.ping().await, Err(Error::Unavailable { .. })));
}

#[tokio::test]
async fn what_is_larger_than_the_broker_takes_is_not_tried_again() {
    let server = Nats::start();
    let bus = connected(&server).await;
    bus.set_up(&layout()).await.unwrap();
    // Its headers alone are too much, which no object can help.
    let letter = DeadLetter {
        subject: "x".repeat(2 << 20),
        sequence: 1,
        place: None,
        reason: String::new(),
        payload: bytes::Bytes::new(),
    };
    let refused = bus.bury(&letter).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }) && !refused.is_transient(), "{refused}");
}

#[tokio::test]
async fn a_cluster_that_loses_a_member_loses_nothing_that_it_acknowledged() {
    let mut members = Nats::cluster(3, &NatsOptions { sync_always: true, ..NatsOptions::default() });
    let urls: Vec<String> = members.iter().map(Nats::url).collect();
    let bus = JetStream::connect(Connection { url: urls.join(","), tenant: TENANT.to_owned() }).await.unwrap();
    let layout = Layout { replicas: 3, ..layout() };
    // There is no leader at first, and not every member is known to it at once.
    let set_up = async {
        while bus.set_up(&layout).await.is_err() {
            a_moment().await;
        }
    };
    tokio::time::timeout(PATIENCE, set_up).await.unwrap();
    let subject = partition(Stream::Activity, 0);
    let publish = async |number: u64| loop {
        let message = Outgoing { id: Some(number.to_string()), ..Outgoing::default() };
        match bus.publish(&subject, message).await {
            Ok(_) => break,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
        a_moment().await;
    };
    let work = async {
        for number in 0..10 {
            publish(number).await;
        }
        members[0].kill();
        for number in 10..20 {
            publish(number).await;
        }
        members[0].restart();
        loop {
            match bus.read(&subject, 0, 99).await {
                Ok(stored) => break stored.len(),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            a_moment().await;
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, work).await.unwrap(), 20);
}

#[tokio::test]
async fn an_empty_stream_of_an_earlier_kind_is_made_anew_and_one_that_holds_something_is_not() {
    use async_nats::jetstream::{self, stream};
    let server = Nats::start();
    let bus = connected(&server).await;
    let broker = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let name = Stream::Backfill.name(TENANT);
    let subjects = vec!["tw.backfill.default".to_owned(), "tw.backfill.default.>".to_owned()];
    let earlier = stream::Config { name: name.clone(), subjects, ..stream::Config::default() };
    broker.create_stream(earlier.clone()).await.unwrap();
    bus.publish(&partition(Stream::Backfill, 0), Outgoing::default()).await.unwrap();
    let refused = bus.set_up(&layout()).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    assert_eq!(bus.depth(Stream::Backfill).await.unwrap(), 1);

    broker.delete_stream(&name).await.unwrap();
    broker.create_stream(earlier).await.unwrap();
    bus.set_up(&layout()).await.unwrap();
    bus.publish(&partition(Stream::Backfill, 0), Outgoing::default()).await.unwrap();
    let mut puller = bus.subscribe(&consumer(Stream::Backfill)).await.unwrap();
    puller.next(PATIENCE).await.unwrap().unwrap().ack().await.unwrap();
    assert_eq!(bus.depth(Stream::Backfill).await.unwrap(), 0);
}
