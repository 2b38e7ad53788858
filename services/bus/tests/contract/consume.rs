//! Who is given what, and what comes again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use trailwarden_bus::{Consumer, Lag, Stream};

use crate::{A_MOMENT, Bench, PATIENCE, consumer, partition};

const SHORT: Duration = Duration::from_millis(300);

pub(crate) async fn order_holds_over_competing_pullers_and_redeliveries(bench: Bench) {
    const MESSAGES: usize = 40;
    let mut published = Vec::new();
    for number in 0..MESSAGES {
        published.push(bench.say(&partition(Stream::Activity, 0), &number.to_string()).await);
        bench.say(&partition(Stream::Activity, 1), "another partition's").await;
    }
    let consumer = Consumer { ack_wait: SHORT, deliveries_max: 100, ..consumer(Stream::Activity) };
    let done = Arc::new(Mutex::new(Vec::new()));
    let in_hand = Arc::new(AtomicUsize::new(0));
    let mut pullers = Vec::new();
    for _ in 0..2 {
        let (mut puller, done, in_hand) =
            (bench.bus.subscribe(&consumer).await.unwrap(), Arc::clone(&done), Arc::clone(&in_hand));
        pullers.push(tokio::spawn(async move {
            while done.lock().unwrap().len() < MESSAGES {
                let Some(delivery) = puller.next(A_MOMENT).await.unwrap() else { continue };
                assert_eq!(in_hand.fetch_add(1, Ordering::SeqCst), 0, "two have a message of one partition");
                tokio::task::yield_now().await;
                let sequence = delivery.message().sequence;
                let first_time = delivery.deliveries() == 1;
                in_hand.fetch_sub(1, Ordering::SeqCst);
                // Each puller loses some and hands some back.
                match sequence % 13 {
                    3 if first_time => drop(delivery),
                    7 if first_time => delivery.hand_back(Duration::ZERO).await.unwrap(),
                    _ => {
                        done.lock().unwrap().push(sequence);
                        delivery.ack().await.unwrap();
                    }
                }
            }
        }));
    }
    for puller in pullers {
        tokio::time::timeout(PATIENCE, puller).await.unwrap().unwrap();
    }
    assert_eq!(*done.lock().unwrap(), published);
}

pub(crate) async fn what_is_not_acknowledged_comes_again(bench: Bench) {
    let subject = partition(Stream::Activity, 0);
    let (one, two) = (bench.say(&subject, "one").await, bench.say(&subject, "two").await);
    let consumer = Consumer { ack_wait: SHORT, ..consumer(Stream::Activity) };
    let first = bench.take(&consumer).await;
    assert_eq!((first.message().sequence, first.deliveries()), (one, 1));
    assert_eq!(first.message().payload, "one");
    assert_eq!(first.message().subject, subject.to_string());
    assert_eq!(
        bench.bus.lag(Stream::Activity, "reader").await.unwrap(),
        Lag { pending: 1, in_flight: 1, redelivered: 0, acknowledged: 0 }
    );

    // By name the second puller carries on where the first stood, and only there.
    let again = bench.take(&consumer).await;
    assert_eq!((again.message().sequence, again.deliveries()), (one, 2));
    assert_eq!(bench.bus.lag(Stream::Activity, "reader").await.unwrap().redelivered, 1);
    again.ack().await.unwrap();
    assert_eq!(bench.bus.lag(Stream::Activity, "reader").await.unwrap().acknowledged, one);
    let other = bench.take(&Consumer { name: "another".to_owned(), ..consumer.clone() }).await;
    assert_eq!((other.message().sequence, other.deliveries()), (one, 1));

    let next = bench.take(&consumer).await;
    assert_eq!((next.message().sequence, next.deliveries()), (two, 1));
    next.ack().await.unwrap();
    let lag = bench.bus.lag(Stream::Activity, "reader").await.unwrap();
    assert_eq!(lag, Lag { acknowledged: two, ..Lag::default() });
    assert!(bench.bus.subscribe(&consumer).await.unwrap().next(A_MOMENT).await.unwrap().is_none());
}

pub(crate) async fn what_is_handed_back_comes_again_when_it_may(bench: Bench) {
    let one = bench.say(&partition(Stream::Activity, 0), "one").await;
    let consumer = consumer(Stream::Activity);
    bench.take(&consumer).await.hand_back(Duration::ZERO).await.unwrap();
    let again = bench.take(&consumer).await;
    assert_eq!((again.message().sequence, again.deliveries()), (one, 2));
    again.hand_back(SHORT).await.unwrap();
    // Its time is far off, so it is the delay that brings it.
    let again = bench.take(&consumer).await;
    assert_eq!((again.message().sequence, again.deliveries()), (one, 3));
    again.hand_back(Duration::from_secs(600)).await.unwrap();
    assert!(bench.bus.subscribe(&consumer).await.unwrap().next(A_MOMENT).await.unwrap().is_none());
    assert_eq!(bench.bus.lag(Stream::Activity, "reader").await.unwrap().in_flight, 1);
}

pub(crate) async fn progress_keeps_a_message_from_others(bench: Bench) {
    bench.say(&partition(Stream::Activity, 0), "one").await;
    let consumer = Consumer { ack_wait: Duration::from_secs(1), ..consumer(Stream::Activity) };
    let delivery = bench.take(&consumer).await;
    let mut other = bench.bus.subscribe(&consumer).await.unwrap();
    for _ in 0..12 {
        assert!(other.next(A_MOMENT).await.unwrap().is_none(), "somebody else was given it");
        delivery.progress().await.unwrap();
    }
    delivery.ack().await.unwrap();
    assert!(bench.bus.lag(Stream::Activity, "reader").await.unwrap().is_idle());
}

pub(crate) async fn what_is_given_out_too_often_is_buried(bench: Bench) {
    let subject = partition(Stream::Activity, 0);
    let (poison, good) = (bench.say(&subject, "poison").await, bench.say(&subject, "good").await);
    let consumer = Consumer { deliveries_max: 2, ack_wait: SHORT, ..consumer(Stream::Activity) };
    let mut puller = bench.bus.subscribe(&consumer).await.unwrap();
    for delivery in 1..=2 {
        let given = puller.next(PATIENCE).await.unwrap().unwrap();
        assert_eq!((given.message().sequence, given.deliveries()), (poison, delivery));
    }
    let given = puller.next(PATIENCE).await.unwrap().expect("the next one's turn comes");
    assert_eq!((given.message().sequence, given.deliveries()), (good, 1));
    given.ack().await.unwrap();
    let mut tries = 0;
    let letters = loop {
        let letters = bench.bus.dead_letters(0, 9).await.unwrap();
        if !letters.is_empty() {
            break letters;
        }
        tries += 1;
        assert!(tries < 100, "it is lost");
        bench.wait_a_moment().await;
    };
    let [(_, letter)] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.subject.as_str(), letter.sequence, letter.place), ("tw.activity.default.p000", poison, None));
    assert_eq!(letter.payload, "poison");
    assert!(letter.reason.contains("reader"), "{}", letter.reason);
}

pub(crate) async fn as_many_are_in_flight_as_may_be(bench: Bench) {
    let consumer = Consumer { filter: "tw.signal.default.*".to_owned(), in_flight_max: 3, ..consumer(Stream::Signal) };
    for number in 0..5 {
        bench.say(&partition(Stream::Signal, number % 3), "x").await;
    }
    bench.say(&partition(Stream::Activity, 0), "another stream's").await;
    let mut puller = bench.bus.subscribe(&consumer).await.unwrap();
    let mut given = Vec::new();
    for _ in 0..3 {
        given.push(puller.next(PATIENCE).await.unwrap().unwrap());
    }
    assert!(puller.next(A_MOMENT).await.unwrap().is_none(), "a fourth is given out");
    assert_eq!(
        bench.bus.lag(Stream::Signal, "reader").await.unwrap(),
        Lag { pending: 2, in_flight: 3, redelivered: 0, acknowledged: 0 }
    );
    given.swap_remove(1).ack().await.unwrap();
    assert_eq!(puller.next(PATIENCE).await.unwrap().unwrap().message().sequence, 4);
    let lag = bench.bus.lag(Stream::Signal, "reader").await.unwrap();
    assert_eq!((lag.in_flight, lag.acknowledged), (3, 0), "what is acknowledged has a hole before it");
    assert!(puller.next(A_MOMENT).await.unwrap().is_none());
}
