use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use trailwarden_core::alert::{Kind, Receipt, Step, StepState};
use trailwarden_core::level::Severity;

use super::*;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn alert(id: &str, principal: &str, severity: Severity) -> Alert {
    Alert::new(id, Kind::Anomaly, severity, at(0), principal)
}

fn note(id: &str, principal: &str) -> Note {
    Note { channel: "mail".to_owned(), alert: alert(id, principal, Severity::High), not_before: at(0) }
}

/// Takes notes in at one time, each from a message of its own.
fn take(share: &mut Share, first: Sequence, notes: &[Note], now: Timestamp) {
    for (sequence, note) in (first..).zip(notes) {
        assert!(share.take("test", Position { sequence, stored_at: now }, std::slice::from_ref(note), now));
    }
}

fn is_due(share: &Share, now: Timestamp) -> bool {
    !share.clone().claim(0, |_| 1, now).is_empty()
}

#[test]
fn ten_thousand_of_one_kind_are_one_message_now_and_one_after_five_minutes() {
    let mut share = Share::default();
    for n in 0..10_000_u32 {
        // Over four minutes.
        let now = at(i64::from(n) * 24);
        take(&mut share, u64::from(n) + 1, &[note(&format!("event:{n}"), "ada")], now);
        let claims = share.claim(0, |_| 99, now);
        assert_eq!(claims.len(), usize::from(n == 0), "{n}");
        for claim in claims {
            assert_eq!((claim.message.count, &claim.message.alert.id[..]), (1, "event:0"));
            assert_eq!(share.settle(&claim, Outcome::Sent, now), None);
        }
    }
    assert!(!is_due(&share, at(QUIET_MS - 1)));
    let claims = share.claim(0, |_| 99, at(QUIET_MS));
    assert_eq!(claims.len(), 1);
    assert_eq!((claims[0].message.count, &claims[0].message.alert.id[..]), (9_999, "event:9999"));
    assert_eq!(claims[0].message.since, at(24));
    share.settle(&claims[0], Outcome::Sent, at(QUIET_MS));
    assert!(share.claim(0, |_| 99, at(10 * QUIET_MS)).is_empty());
    assert_eq!(share.held(), 0);
    // What is over leaves nothing behind but the places of its sources.
    share.pack(at(10 * QUIET_MS), 1 << 20);
    assert!(share.slots.is_empty());
}

#[test]
fn another_principal_and_another_severity_are_told_at_once() {
    let mut share = Share::default();
    let worse = Note { alert: alert("3", "ada", Severity::Critical), ..note("3", "ada") };
    take(&mut share, 1, &[note("1", "ada"), note("2", "bob"), worse, note("4", "ada")], at(0));
    let told: BTreeSet<String> =
        share.claim(0, |_| 99, at(0)).into_iter().map(|claim| claim.message.alert.id).collect();
    assert_eq!(told, ["1", "2", "3"].map(str::to_owned).into());
}

#[test]
fn quiet_hours_hold_and_count() {
    let mut share = Share::default();
    let quiet = |id| Note { not_before: at(60_000), ..note(id, "ada") };
    take(&mut share, 1, &[quiet("1"), quiet("2"), quiet("3")], at(0));
    assert!(share.claim(0, |_| 9, at(59_999)).is_empty());
    let claims = share.claim(0, |_| 9, at(60_000));
    assert_eq!((claims.len(), claims[0].message.count, claims[0].message.since), (1, 3, at(0)));
}

#[test]
fn what_fails_is_tried_ever_later_and_given_up_in_the_end() {
    let mut share = Share::default();
    take(&mut share, 1, &[note("1", "ada")], at(0));
    let (mut now, mut pauses, mut news) = (0, Vec::new(), Vec::new());
    let dead = loop {
        let claims = share.claim(0, |_| 9, at(now));
        let trouble = share.settle(&claims[0], Outcome::Failed { retry_after: None }, at(now)).expect("it failed");
        news.push(trouble.is_news);
        if let Some(dead) = trouble.dead {
            break dead;
        }
        let began = now;
        while !is_due(&share, at(now)) {
            now += 1_000;
        }
        pauses.push((now - began) / 1_000);
    };
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300]);
    assert_eq!(news, [false, false, true, false, false, false, false, false]);
    assert_eq!((dead.count, &dead.alert.id[..], share.held()), (1, "1", 0));

    take(&mut share, 2, &[note("2", "bob")], at(now));
    let claim = share.claim(0, |_| 9, at(now)).remove(0);
    let asked = Outcome::Failed { retry_after: Some(Duration::from_secs(90)) };
    assert_eq!(share.settle(&claim, asked, at(now)), Some(Trouble { dead: None, is_news: false }));
    assert!(!is_due(&share, at(now + 89_999)) && is_due(&share, at(now + 90_000)));
    let claim = share.claim(0, |_| 9, at(now + 90_000)).remove(0);
    let trouble = share.settle(&claim, Outcome::Refused, at(now + 90_000)).expect("it was refused");
    assert!(trouble.is_news && trouble.dead.is_some());
    // Nobody waits for it any more.
    assert_eq!(share.settle(&claim, Outcome::Sent, at(now + 90_001)), None);
}

#[test]
fn a_channel_that_is_slow_leaves_room_for_the_others() {
    let mut share = Share::default();
    let of =
        |channel: &str, n| Note { channel: channel.to_owned(), ..note(&format!("{n}"), &format!("principal-{n}")) };
    let notes: Vec<Note> = (0..20).flat_map(|n| [of("mail", n), of("pager", n)]).collect();
    take(&mut share, 1, &notes, at(0));
    let claims = share.claim(0, |channel| if channel == "mail" { 0 } else { 3 }, at(0));
    assert_eq!(claims.iter().map(|claim| claim.channel.as_str()).collect::<Vec<_>>(), ["pager"; 3]);
    assert_eq!(share.claim(0, |_| usize::MAX, at(0)).len(), 37);
}

#[test]
fn what_its_sender_took_to_the_grave_is_taken_again_under_the_same_id() {
    let mut share = Share::default();
    take(&mut share, 1, &[note("1", "ada"), note("2", "ada")], at(0));
    let first = share.claim(0, |_| 9, at(0)).remove(0);
    assert!(share.claim(0, |_| 9, at(LEASE_MS - 1)).is_empty());
    let second = share.claim(0, |_| 9, at(LEASE_MS)).remove(0);
    assert_eq!(second, first);
    share.settle(&second, Outcome::Sent, at(LEASE_MS));
    assert_eq!(share.settle(&first, Outcome::Failed { retry_after: None }, at(LEASE_MS)), None);
    assert!(!is_due(&share, at(LEASE_MS + QUIET_MS - 1)) && is_due(&share, at(LEASE_MS + QUIET_MS)));
}

#[test]
fn a_flood_of_principals_is_bounded_and_counted() {
    let mut share = Share::default();
    let notes: Vec<Note> = (0..5_000).map(|n| note(&format!("{n}"), &format!("principal-{n}"))).collect();
    take(&mut share, 1, &notes, at(0));
    assert_eq!((share.slots.len(), share.held()), (SLOTS_MAX + 1, 5_000));
    // What was over makes room.
    for claim in share.claim(0, |_| usize::MAX, at(0)) {
        share.settle(&claim, Outcome::Sent, at(0));
    }
    take(&mut share, 5_001, &[note("new", "zoe")], at(QUIET_MS));
    assert!(share.claim(0, |_| 9, at(QUIET_MS)).iter().any(|claim| claim.message.alert.id == "new"));
}

#[test]
fn what_is_critical_does_not_wait_behind_a_flood_in_quiet_hours() {
    let mut share = Share::default();
    let quiet = |n| Note { not_before: at(60_000), ..note(&format!("{n}"), &format!("principal-{n}")) };
    take(&mut share, 1, &(0..200).map(quiet).collect::<Vec<_>>(), at(0));
    let worst = Note { alert: alert("worst", "eve", Severity::Critical), ..note("worst", "eve") };
    take(&mut share, 201, &[worst], at(0));
    let told: Vec<String> = share.claim(0, |_| 99, at(0)).into_iter().map(|claim| claim.message.alert.id).collect();
    assert_eq!(told, ["worst"]);
}

#[test]
fn the_largest_share_there_can_be_fits_a_message() {
    let text = "\u{ac00}\u{20000}".repeat(500);
    let step = Step { playbook: text.clone(), target: text.clone(), state: StepState::Waits { approvers: 2 } };
    let mut share = Share::default();
    for n in 0..2_000 {
        let alert = Alert {
            account: text.clone(),
            case: Some(text.clone()),
            what: text.clone(),
            verdict: text.clone(),
            reasons: vec![text.clone(); 9],
            steps: vec![step.clone(); 9],
            only: Some(text.clone()),
            receipt: Receipt { event: Some(at(i64::MAX)), ..Receipt::default() },
            ..alert(&text, &format!("{n}{text}"), if n / 16 % 2 == 0 { Severity::High } else { Severity::Critical })
        };
        let note = Note { channel: format!("channel-{}", n % 16), alert: alert.bounded(), not_before: at(0) };
        take(&mut share, 2 * n + 1, &[note.clone(), note], at(0));
    }
    let held = share.held();
    let packed = share.pack(at(0), trailwarden_bus::PAYLOAD_BYTES_MAX);
    assert!(packed.len() <= trailwarden_bus::PAYLOAD_BYTES_MAX, "{} bytes", packed.len());
    assert_eq!(Share::unpack(&packed).map(|share| share.held()), Some(held));
    assert_eq!(Share::unpack(b"\x00garbage"), None);
}

/// What may happen to a share.
#[derive(Clone, Debug)]
enum Act {
    /// A new alert, of one of a few kinds.
    Note {
        kind: u8,
        quiet: bool,
    },
    /// The source gives the same message again.
    Again,
    Pass {
        ms: i64,
    },
    /// A replica takes what is due.
    Claim {
        replica: usize,
    },
    /// It says what came of the oldest that it holds.
    Settle {
        replica: usize,
        outcome: u8,
    },
    /// It sends the oldest that it holds and dies before it says so.
    DieAfterSending {
        replica: usize,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..3_u8, any::<bool>()).prop_map(|(kind, quiet)| Act::Note { kind, quiet: quiet && kind == 0 }),
        1 => Just(Act::Again),
        2 => (0..QUIET_MS).prop_map(|ms| Act::Pass { ms }),
        2 => (0..1_000_i64).prop_map(|ms| Act::Pass { ms }),
        3 => (0..3_usize).prop_map(|replica| Act::Claim { replica }),
        4 => (0..3_usize, 0..4_u8).prop_map(|(replica, outcome)| Act::Settle { replica, outcome }),
        1 => (0..3_usize).prop_map(|replica| Act::DieAfterSending { replica }),
    ];
    prop::collection::vec(act, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever happens in whatever order on three replicas: no two messages of a slot within five minutes, but for one that
    /// its sender did not live to note; and every alert is told, given up or held.
    #[test]
    fn never_two_within_five_minutes_and_nothing_is_lost(acts in acts()) {
        let mut share = Share::default();
        // Whoever sends has a deadline within the lease, so a claim is held with the time it was made at.
        let mut hands: [Vec<(i64, Claim)>; 3] = Default::default();
        let (mut now, mut sequence, mut noted) = (1_000_000_000_i64, 0_u64, 0_u64);
        let mut told: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
        let mut counted: BTreeMap<String, u64> = BTreeMap::new();
        let mut given_up = 0;
        let mut last: Option<(Position, Note)> = None;
        for act in acts {
            // What is written to the bus and read again is the same.
            let packed = share.pack(at(now), 1 << 20);
            share = Share::unpack(&packed).expect("it reads back");
            hands.iter_mut().for_each(|held| held.retain(|(since, _)| now - since < LEASE_MS));
            match act {
                Act::Note { kind, quiet } => {
                    sequence += 1;
                    noted += 1;
                    let not_before = at(if quiet { now + 90_000 } else { 0 });
                    let note = Note { not_before, ..note(&format!("alert:{sequence}"), &format!("principal-{kind}")) };
                    let position = Position { sequence, stored_at: at(now) };
                    prop_assert!(share.take("test", position, std::slice::from_ref(&note), at(now)));
                    last = Some((position, note));
                }
                Act::Again => {
                    if let Some((position, note)) = &last {
                        prop_assert!(!share.take("test", *position, std::slice::from_ref(note), at(now)));
                    }
                }
                Act::Pass { ms } => now += ms,
                Act::Claim { replica } => {
                    hands[replica].extend(share.claim(0, |_| 2, at(now)).into_iter().map(|claim| (now, claim)));
                }
                Act::Settle { replica, outcome } => {
                    if hands[replica].is_empty() { continue; }
                    let (_, claim) = hands[replica].remove(0);
                    let outcome = match outcome {
                        0 | 1 => Outcome::Sent,
                        2 => Outcome::Failed { retry_after: None },
                        _ => Outcome::Refused,
                    };
                    if outcome == Outcome::Sent {
                        told.entry(claim.key.clone()).or_default().push((now, claim.message.id.clone()));
                        counted.insert(claim.message.id.clone(), claim.message.count);
                    }
                    if let Some(dead) = share.settle(&claim, outcome, at(now)).and_then(|trouble| trouble.dead)
                        && !counted.contains_key(&dead.id)
                    {
                        given_up += dead.count;
                    }
                }
                Act::DieAfterSending { replica } => {
                    if let Some((_, claim)) = hands[replica].first() {
                        told.entry(claim.key.clone()).or_default().push((now, claim.message.id.clone()));
                        counted.insert(claim.message.id.clone(), claim.message.count);
                    }
                    hands[replica].clear();
                }
            }
        }
        for times in told.values() {
            for (at, id) in times {
                let near = times.iter().filter(|(other, _)| (other - at).abs() < QUIET_MS);
                let strangers = near.filter(|(_, other)| other != id).count();
                prop_assert_eq!(strangers, 0, "{:?}", times);
            }
        }
        // A message that was sent and not noted is held as well as told.
        let mut unnoted = 0;
        for slot in share.slots.values() {
            if let Some(sending) = &slot.sending
                && counted.contains_key(&sending.message.id)
            {
                unnoted += sending.message.count;
            }
        }
        let sum: u64 = counted.values().sum();
        prop_assert_eq!(noted, sum + given_up + share.held() - unnoted);
    }
}
