//! What can be read back, and what is kept beside the streams.

use bytes::Bytes;
use trailwarden_bus::{CLAIM, DeadLetter, Error, Layout, Outgoing, PAYLOAD_BYTES_MAX, Published, Stream, Subject};

use crate::{Bench, TENANT, consumer, partition};

pub(crate) async fn subjects_are_read_back_in_order(bench: Bench) {
    let (first, second) = (partition(Stream::Activity, 0), partition(Stream::Activity, 1));
    assert!(bench.bus.last(&first).await.unwrap().is_none());
    assert!(bench.bus.read(&first, 0, 9).await.unwrap().is_empty());
    for text in ["a", "b", "c"] {
        bench.say(&first, text).await;
        bench.say(&second, &text.to_uppercase()).await;
    }
    let read = async |after, most| -> Vec<(u64, Bytes)> {
        let stored = bench.bus.read(&second, after, most).await.unwrap();
        stored.into_iter().map(|stored| (stored.sequence, stored.payload)).collect()
    };
    let all = [(2, Bytes::from("A")), (4, Bytes::from("B")), (6, Bytes::from("C"))];
    assert_eq!(read(0, 9).await, all);
    assert_eq!(read(0, 2).await, all[..2]);
    assert_eq!(read(2, 9).await, all[1..]);
    assert_eq!(read(3, 9).await, all[1..]);
    assert_eq!(read(6, 9).await, []);
    assert_eq!(read(0, 0).await, []);
    let (first, last) =
        (&bench.bus.read(&second, 0, 1).await.unwrap()[0], bench.bus.last(&second).await.unwrap().unwrap());
    assert_eq!((last.sequence, last.payload, last.subject), (6, Bytes::from("C"), second.to_string()));
    assert!(first.stored_at <= last.stored_at);
}

pub(crate) async fn the_latest_announcements_stay(bench: Bench) {
    let subject = Subject::whole(Stream::Epoch, TENANT);
    for number in 0..60 {
        bench.say(&subject, &number.to_string()).await;
    }
    let kept = bench.bus.read(&subject, 0, 100).await.unwrap();
    assert_eq!((kept.len(), kept[0].sequence), (48, 13));
    assert_eq!(bench.bus.last(&subject).await.unwrap().unwrap().payload, "59");
    assert_eq!(bench.bus.depth(Stream::Epoch).await.unwrap(), 48);
    assert_eq!(bench.bus.depth(Stream::Case).await.unwrap(), 0);
}

pub(crate) async fn what_a_day_has_cost_stands_apart_and_is_changed_by_one_at_a_time(bench: Bench) {
    let (spent, announced) = (Subject::spent(TENANT), Subject::whole(Stream::Epoch, TENANT));
    let mut tail = 0;
    for number in 0..60 {
        bench.say(&announced, "epoch").await;
        let change = |expected| Outgoing {
            payload: Bytes::from(number.to_string()),
            expected: Some(expected),
            ..Outgoing::default()
        };
        let Published::Stored(now) = bench.bus.publish(&spent, change(tail)).await.unwrap() else { panic!("no id") };
        // Whoever read the same before comes too late.
        let late = bench.bus.publish(&spent, change(tail)).await.unwrap_err();
        assert!(matches!(late, Error::Refused { .. }), "{late}");
        tail = now;
    }
    let last = bench.bus.last(&spent).await.unwrap().unwrap();
    assert_eq!((last.sequence, last.payload), (tail, Bytes::from("59")));
    assert_eq!(bench.bus.read(&spent, 0, 100).await.unwrap().len(), 48);
    assert_eq!(bench.bus.read(&announced, 0, 100).await.unwrap().len(), 48);
    assert_eq!(bench.bus.last(&announced).await.unwrap().unwrap().payload, "epoch");
}

pub(crate) async fn objects_are_kept_whole_and_once(bench: Bench) {
    let large: Bytes = (0..1_300_000_u32).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, content) in [("epoch/00ff", large), ("epoch/small", Bytes::from("x")), ("epoch/empty", Bytes::new())] {
        assert_eq!(bench.bus.object(name).await.unwrap(), None);
        for _ in 0..2 {
            bench.bus.put_object(name, content.clone()).await.unwrap();
            assert_eq!(bench.bus.object(name).await.unwrap().as_ref(), Some(&content), "{name}");
        }
        bench.bus.put_object(name, Bytes::from("another")).await.unwrap();
        assert_eq!(bench.bus.object(name).await.unwrap(), Some(content), "it does not change");
    }
    for bad in ["", "a b", "a.b", "*", ">"] {
        assert!(matches!(bench.bus.put_object(bad, Bytes::new()).await, Err(Error::Invalid { .. })), "{bad:?}");
        assert!(matches!(bench.bus.object(bad).await, Err(Error::Invalid { .. })), "{bad:?}");
    }
}

pub(crate) async fn a_state_takes_the_place_of_the_one_before_and_of_no_other(bench: Bench) {
    let (mine, other) = (Subject::throttle(TENANT, 0), Subject::throttle(TENANT, 1));
    let publish = |subject: Subject, text: &'static str, expected| {
        let bus = bench.bus.clone();
        let message = Outgoing { payload: Bytes::from(text), expected: Some(expected), ..Outgoing::default() };
        async move { bus.publish(&subject, message).await }
    };
    assert!(bench.bus.last(&mine).await.unwrap().is_none());
    let Published::Stored(first) = publish(mine.clone(), "first", 0).await.unwrap() else { panic!() };
    let Published::Stored(elsewhere) = publish(other.clone(), "elsewhere", 0).await.unwrap() else { panic!() };
    for stale in [0, elsewhere] {
        assert!(matches!(publish(mine.clone(), "stale", stale).await, Err(Error::Refused { .. })));
    }
    let mut latest = first;
    for _ in 0..20 {
        let Published::Stored(next) = publish(mine.clone(), "next", latest).await.unwrap() else { panic!() };
        assert!(matches!(publish(mine.clone(), "late", latest).await, Err(Error::Refused { .. })));
        latest = next;
    }
    let held = bench.bus.last(&mine).await.unwrap().unwrap();
    assert_eq!((held.sequence, &held.payload[..]), (latest, &b"next"[..]));
    assert_eq!(bench.bus.last(&other).await.unwrap().unwrap().payload, "elsewhere");
    // Nothing but the latest of each takes room.
    assert_eq!(bench.bus.depth(Stream::Throttle).await.unwrap(), 2);
}

pub(crate) async fn an_object_that_was_dropped_can_be_stored_anew(bench: Bench) {
    // Room for one and a half: the second pushes out the beginning of the first, and not yet what names it.
    bench.bus.set_up(&Layout { stream_bytes_max: 2 << 20, ..bench.layout.clone() }).await.unwrap();
    let (first, second) = (Bytes::from(vec![1; 1_300_000]), Bytes::from(vec![2; 1_300_000]));
    bench.bus.put_object("epoch/first", first.clone()).await.unwrap();
    bench.bus.put_object("epoch/second", second.clone()).await.unwrap();
    assert_eq!(bench.bus.object("epoch/first").await.unwrap(), None);
    assert_eq!(bench.bus.object("epoch/second").await.unwrap(), Some(second));
    bench.bus.put_object("epoch/first", first.clone()).await.unwrap();
    assert_eq!(bench.bus.object("epoch/first").await.unwrap(), Some(first));
}

pub(crate) async fn a_letter_that_no_message_can_carry_is_kept_whole(bench: Bench) {
    let activity = partition(Stream::Activity, 3);
    let letter = |bytes: usize| DeadLetter {
        subject: activity.to_string(),
        sequence: 17,
        place: None,
        reason: "it cannot be decoded".to_owned(),
        payload: Bytes::from(vec![7; bytes]),
    };
    // The last is as large as a broker lets anybody's message be.
    let letters = [letter(PAYLOAD_BYTES_MAX), letter(PAYLOAD_BYTES_MAX + 1), letter(1 << 20)];
    for letter in letters.iter().chain(&letters) {
        bench.bus.bury(letter).await.unwrap();
    }
    let buried = bench.bus.dead_letters(0, 9).await.unwrap();
    assert!(buried.iter().map(|(_, letter)| letter).eq(&letters), "{} letters", buried.len());

    for (sequence, letter) in &buried {
        let Published::Stored(sent) = bench.bus.redrive(*sequence).await.unwrap() else { panic!() };
        let back = bench.bus.last(&activity).await.unwrap().unwrap();
        assert_eq!(back.sequence, sent);
        assert_eq!(back.headers.contains_key(CLAIM), letter.payload.len() > PAYLOAD_BYTES_MAX);
        assert!(bench.bus.content(&back).await.unwrap() == Some(letter.payload.clone()), "another content");
    }
}

pub(crate) async fn a_letter_is_buried_once_and_sent_again_once(bench: Bench) {
    let letter = |subject: &Subject, place, payload: &'static str| DeadLetter {
        subject: subject.to_string(),
        sequence: 17,
        place,
        reason: "not JSON: \u{201e}\r\n100 %\u{201c}".to_owned(),
        payload: Bytes::from(payload),
    };
    let activity = partition(Stream::Activity, 3);
    let letters = [
        letter(&activity, None, "whole"),
        letter(&activity, Some(4), "record"),
        letter(&activity, Some(5), "record"),
        letter(&partition(Stream::Feature, 3), None, "derived"),
        DeadLetter { subject: "s3://bucket/key".to_owned(), ..letter(&activity, None, "reject") },
    ];
    for letter in &letters {
        for _ in 0..2 {
            bench.bus.bury(letter).await.unwrap();
        }
        bench.bus.bury(&DeadLetter { reason: "found by somebody else".to_owned(), ..letter.clone() }).await.unwrap();
    }
    let buried = bench.bus.dead_letters(0, 99).await.unwrap();
    assert_eq!(buried.iter().map(|(_, letter)| letter.clone()).collect::<Vec<_>>(), letters);
    assert_eq!(bench.bus.dead_letters(buried[1].0, 2).await.unwrap(), buried[2..4]);

    let Published::Stored(sequence) = bench.bus.redrive(buried[1].0).await.unwrap() else { panic!() };
    assert_eq!(bench.bus.redrive(buried[1].0).await.unwrap(), Published::Duplicate(sequence));
    let back = bench.bus.read(&activity, 0, 9).await.unwrap();
    assert_eq!(
        back.iter().map(|stored| (stored.sequence, &stored.payload[..])).collect::<Vec<_>>(),
        [(sequence, &b"record"[..])]
    );
    for not_a_beginning in &buried[3..] {
        let refused = bench.bus.redrive(not_a_beginning.0).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    // What is noted about it is no letter.
    assert_eq!(bench.bus.dead_letters(0, 99).await.unwrap(), buried);
    // An alert that could not be told begins nothing that was published before it.
    let raised = Subject::raised(TENANT);
    bench.bus.bury(&letter(&raised, None, "alert")).await.unwrap();
    bench.bus.bury(&letter(&Subject::told(TENANT), None, "alert")).await.unwrap();
    let alerts = bench.bus.dead_letters(buried[4].0, 9).await.unwrap();
    assert!(matches!(bench.bus.redrive(alerts[0].0).await.unwrap(), Published::Stored(_)));
    assert_eq!(bench.bus.last(&raised).await.unwrap().unwrap().payload, "alert");
    assert!(matches!(bench.bus.redrive(alerts[1].0).await, Err(Error::Invalid { .. })));
    let buried = [buried, alerts].concat();
    assert!(matches!(bench.bus.redrive(buried[6].0 + 9).await, Err(Error::Missing { .. })));
}

pub(crate) async fn setting_up_again_changes_nothing(bench: Bench) {
    let subject = partition(Stream::Activity, 0);
    bench.say(&subject, "one").await;
    let delivery = bench.take(&consumer(Stream::Activity)).await;
    bench.bus.set_up(&bench.layout).await.unwrap();
    assert_eq!(bench.bus.read(&subject, 0, 9).await.unwrap().len(), 1);
    delivery.ack().await.unwrap();
    assert_eq!(bench.say(&subject, "two").await, 2);
    assert_eq!(bench.take(&consumer(Stream::Activity)).await.message().sequence, 2);
}
