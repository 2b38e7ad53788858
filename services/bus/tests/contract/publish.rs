//! What may be published, and what is said of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use trailwarden_bus::{Consumer, Error, Layout, Outgoing, PAYLOAD_BYTES_MAX, Published, Stream, Subject};

use crate::{Bench, TENANT, consumer, partition};

fn expecting(expected: u64) -> Outgoing {
    Outgoing { payload: Bytes::from_static(b"x"), expected: Some(expected), ..Outgoing::default() }
}

pub(crate) async fn a_stale_expectation_is_refused(bench: Bench) {
    let (first, second) = (partition(Stream::Feature, 0), partition(Stream::Feature, 1));
    let Published::Stored(one) = bench.bus.publish(&first, expecting(0)).await.unwrap() else { panic!() };
    for stale in [0, one + 1] {
        let refused = bench.bus.publish(&first, expecting(stale)).await;
        assert!(matches!(&refused, Err(Error::Refused { expected, .. }) if *expected == stale), "{refused:?}");
        assert!(!refused.unwrap_err().is_transient());
    }
    // Sequences run over the stream, expectations over the subject.
    let Published::Stored(two) = bench.bus.publish(&second, expecting(0)).await.unwrap() else { panic!() };
    let Published::Stored(three) = bench.bus.publish(&first, expecting(one)).await.unwrap() else { panic!() };
    assert_eq!((one, two, three), (1, 2, 3));
    assert_eq!(bench.bus.last(&first).await.unwrap().unwrap().sequence, three);
    assert_eq!(bench.bus.read(&first, 0, 9).await.unwrap().len(), 2, "nothing of what was refused is stored");
}

pub(crate) async fn an_id_is_stored_once(bench: Bench) {
    let subject = partition(Stream::Activity, 0);
    let message = |expected| Outgoing { id: Some("object-1/0".to_owned()), expected, ..expecting(0) };
    assert_eq!(bench.bus.publish(&subject, message(Some(0))).await.unwrap(), Published::Stored(1));
    for expected in [None, Some(1)] {
        assert_eq!(bench.bus.publish(&subject, message(expected)).await.unwrap(), Published::Duplicate(1));
    }
    // Whoever retries with an expectation that its own first try has made stale must look at what is there.
    let refused = bench.bus.publish(&subject, message(Some(0))).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert_eq!(bench.bus.read(&subject, 0, 9).await.unwrap().len(), 1);
}

pub(crate) async fn what_cannot_be_carried_is_refused_before_it_is_sent(bench: Bench) {
    let subject = partition(Stream::Activity, 0);
    let large = |bytes| Outgoing { payload: Bytes::from(vec![7; bytes]), ..Outgoing::default() };
    let header = |name: &str, value: &str| Outgoing {
        headers: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..Outgoing::default()
    };
    for bad in [
        large(PAYLOAD_BYTES_MAX + 1),
        header("Tw-Input", "1\r\nNats-Msg-Id: 2"),
        header("Tw Input", "1"),
        header("", "1"),
        header("Tw-Input", &"1".repeat(10_000)),
        Outgoing { id: Some("a\nb".to_owned()), ..Outgoing::default() },
    ] {
        let refused = bench.bus.publish(&subject, bad).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    for name in ["", "a b", "*", ">", "a..b", "\u{fc}"] {
        let refused = bench.bus.publish(&Subject::case(TENANT, name), large(1)).await;
        // An empty name is the stream's own subject.
        assert_eq!(refused.is_ok(), name.is_empty(), "{name:?}: {refused:?}");
    }
    bench.bus.publish(&subject, large(PAYLOAD_BYTES_MAX)).await.unwrap();
    let stored = bench.bus.publish(&subject, header("Tw-Input", "17, and more: ~")).await.unwrap();
    assert_eq!(stored, Published::Stored(2));
    let last = bench.bus.last(&subject).await.unwrap().unwrap();
    assert_eq!(last.headers, header("Tw-Input", "17, and more: ~").headers, "nobody else's headers among them");
}

pub(crate) async fn what_is_full_refuses_and_only_age_frees_it(bench: Bench) {
    let small = Layout { stream_bytes_max: 100_000, ..bench.layout.clone() };
    bench.bus.set_up(&small).await.unwrap();
    let subject = partition(Stream::Activity, 0);
    let message = || Outgoing { payload: Bytes::from(vec![7; 20_000]), ..Outgoing::default() };
    let mut stored = 0;
    let full = loop {
        match bench.bus.publish(&subject, message()).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 10, "it never refuses");
    };
    assert!(matches!(full, Error::Full { .. }) && full.is_transient(), "{full}");
    assert_eq!(stored, 4);
    // Others are not touched by it.
    bench.bus.publish(&partition(Stream::Feature, 0), message()).await.unwrap();

    for _ in 0..stored {
        bench.take(&consumer(Stream::Activity)).await.ack().await.unwrap();
    }
    let full = bench.bus.publish(&subject, message()).await;
    assert!(matches!(full, Err(Error::Full { .. })), "what was consumed is kept: {full:?}");

    let forgetful = Layout { kept: Duration::from_millis(500), ..small };
    bench.bus.set_up(&forgetful).await.unwrap();
    let mut tries = 0;
    while let Err(error) = bench.bus.publish(&subject, message()).await {
        assert!(matches!(error, Error::Full { .. }), "{error}");
        tries += 1;
        assert!(tries < 100, "age does not free it");
        bench.wait_a_moment().await;
    }
}

pub(crate) async fn without_set_up_everything_is_missing(bench: Bench) {
    let subject = partition(Stream::Activity, 0);
    let missing = |error: Option<Error>| assert!(matches!(error, Some(Error::Missing { .. })), "{error:?}");
    bench.bus.ping().await.unwrap();
    missing(bench.bus.publish(&subject, expecting(0)).await.err());
    missing(bench.bus.last(&subject).await.err());
    missing(bench.bus.read(&subject, 0, 1).await.err());
    missing(bench.bus.subscribe(&consumer(Stream::Activity)).await.err());
    missing(bench.bus.lag(Stream::Activity, "reader").await.err());
    missing(bench.bus.dead_letters(0, 1).await.err());
    missing(bench.bus.redrive(1).await.err());
    missing(bench.bus.put_object("epoch/1", Bytes::new()).await.err());
    missing(bench.bus.object("epoch/1").await.err());

    let bench = bench.set_up().await;
    missing(bench.bus.lag(Stream::Activity, "nobody").await.err());
    missing(bench.bus.redrive(1).await.err());
    missing(bench.bus.publish(&Subject::partition(Stream::Activity, "others", 0), expecting(0)).await.err());
}

pub(crate) async fn history_stays_until_it_is_done_with_and_frees_its_room_then(bench: Bench) {
    let forgetful = Layout { stream_bytes_max: 100_000, kept: Duration::from_millis(100), ..bench.layout.clone() };
    bench.bus.set_up(&forgetful).await.unwrap();
    let subject = partition(Stream::Backfill, 0);
    let message = || Outgoing { payload: Bytes::from(vec![7; 20_000]), ..Outgoing::default() };
    for _ in 0..4 {
        bench.bus.publish(&subject, message()).await.unwrap();
    }
    bench.wait_a_moment().await;
    let full = bench.bus.publish(&subject, message()).await;
    assert!(matches!(full, Err(Error::Full { .. })), "it is older than what the others keep, and stays: {full:?}");

    // Out of order, and what is merely given out stays.
    let all = Consumer { in_flight_max: 4, ..consumer(Stream::Backfill) };
    let (first, second) = (bench.take(&all).await, bench.take(&all).await);
    let full = bench.bus.publish(&subject, message()).await;
    assert!(matches!(full, Err(Error::Full { .. })), "{full:?}");
    second.ack().await.unwrap();
    assert_eq!(bench.bus.publish(&subject, message()).await.unwrap(), Published::Stored(5));
    assert_eq!(bench.bus.depth(Stream::Backfill).await.unwrap(), 4);
    first.ack().await.unwrap();
    let left = bench.bus.read(&subject, 0, 10).await.unwrap();
    assert_eq!(left.iter().map(|stored| stored.sequence).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(bench.take(&all).await.message().sequence, 3);
}
