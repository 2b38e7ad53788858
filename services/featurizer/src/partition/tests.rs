use std::sync::LazyLock;

use proptest::prelude::*;
use trailwarden_core::activity::{Credential, PrincipalKind};
use trailwarden_core::baseline::Limits;
use trailwarden_core::feature::Feature;
use trailwarden_core::time::{DAY_MS, SECOND_MS};

use super::*;
use crate::Featurizer;

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(Vocabulary::builtin);

const CALLS: [&str; 4] = ["ListUsers", "GetUser", "CreateUser", "PutUserPolicy"];
const PRINCIPALS: [&str; 3] = ["mia", "leo", "robot"];
const SOURCES: [&str; 3] = ["198.51.100.7", "203.0.113.9", "config.amazonaws.com"];

/// An event as few numbers.
#[derive(Clone, Debug)]
struct Spec {
    /// Seconds after the spec before it.
    after_s: i64,
    /// Seconds that it comes late.
    late_s: i64,
    principal: usize,
    call: usize,
    source: usize,
    denied: bool,
    /// How many specs ago the event was that it repeats; 0 is none.
    repeats: usize,
}

fn specs(late_s_max: i64, length: usize) -> impl Strategy<Value = Vec<Spec>> {
    let late = prop_oneof![3 => Just(0), 1 => 0..=late_s_max];
    let repeats = prop_oneof![5 => Just(0_usize), 1 => 1_usize..9];
    let spec = (0_i64..900, late, 0_usize..3, 0_usize..4, 0_usize..3, any::<bool>(), repeats).prop_map(
        |(after_s, late_s, principal, call, source, denied, repeats)| Spec {
            after_s,
            late_s,
            principal,
            call,
            source,
            denied,
            repeats,
        },
    );
    prop::collection::vec(spec, 1..length)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * SECOND_MS)
}

fn activity<'a>(event_id: &'a str, event_time: Timestamp, principal: &'a str) -> Activity<'a> {
    Activity {
        event_id,
        shared_event_id: None,
        event_time,
        account: "111122223333",
        region: "eu-west-1",
        service: "iam",
        call: "ListUsers",
        principal,
        principal_kind: PrincipalKind::Role,
        session: "ASIA1",
        session_name: "",
        credential: Credential::TemporaryKey,
        mfa: None,
        source: "198.51.100.7",
        user_agent: "aws-cli/2",
        error_code: None,
        read_only: Some(true),
        target: None,
    }
}

/// The events that specs stand for, with their ids to borrow from.
fn events<'a>(specs: &[Spec], ids: &'a [String]) -> Vec<Activity<'a>> {
    let mut now = 1_700_000_000;
    let mut events: Vec<Activity<'a>> = Vec::new();
    for (place, spec) in specs.iter().enumerate() {
        now += spec.after_s;
        let event = match place.checked_sub(spec.repeats) {
            Some(earlier) if spec.repeats > 0 => events[earlier].clone(),
            _ => Activity {
                call: CALLS[spec.call],
                source: SOURCES[spec.source],
                error_code: spec.denied.then_some("AccessDenied"),
                target: Some(spec.source as u64),
                session: PRINCIPALS[(spec.principal + spec.call) % 3],
                ..activity(&ids[place], at(now - spec.late_s), PRINCIPALS[spec.principal])
            },
        };
        events.push(event);
    }
    events
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("event-{number}")).collect()
}

fn run(state: &mut State, epoch: &Epoch, batch: &[Activity<'_>], stored_at: Timestamp) -> Vec<Outcome> {
    let method = Method { vocabulary: &VOCABULARY, with_sequences: true };
    let (outcomes, changes) = method.work(state.load(&Needs::of(batch)), epoch, batch, None, stored_at);
    state.apply(changes);
    outcomes
}

fn read_only(outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Measured { read_only, .. } => Some(*read_only),
        Outcome::Duplicate => None,
    }
}

const FAR: Timestamp = Timestamp::from_millis(i64::MAX / 2);

fn empty() -> Epoch {
    Epoch::new(Limits::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Batch by batch through a store, a partition measures what the stream in memory measures.
    #[test]
    fn agrees_with_the_stream(specs in specs(22 * 3_600, 250), size in 1_usize..40) {
        let ids = ids(specs.len());
        let events = events(&specs, &ids);
        let mut featurizer = Featurizer::new(Limits { warm_up_h: 2, ..Limits::default() }, FAR);
        let mut state = State::default();
        let mut done = BTreeSet::new();
        let mut rest = events.as_slice();
        while let Some(first) = rest.first() {
            // A batch ends where an hour does, since the stream goes on to a new epoch there.
            featurizer.baseline.advance(first.event_time);
            let epoch = featurizer.baseline.epoch().clone();
            let spans = rest.iter().take(size).take_while(|event| hour_of(event.event_time) <= epoch.hour()).count();
            let (batch, after) = rest.split_at(spans);
            rest = after;
            let outcomes = run(&mut state, &epoch, batch, FAR);
            for (event, outcome) in batch.iter().zip(outcomes) {
                if !done.insert(event.event_id) {
                    prop_assert_eq!(outcome, Outcome::Duplicate);
                    continue;
                }
                let features = featurizer.step(event, VOCABULARY.access_level(event.service, event.call));
                let Outcome::Measured { features: own, sequence, .. } = outcome else {
                    return Err(TestCaseError::fail("not a duplicate"));
                };
                // Unknown values are no numbers, which equal nothing: compare bits.
                prop_assert_eq!(own.columns().map(f32::to_bits), features.columns().map(f32::to_bits));
                prop_assert_eq!(sequence, Some(featurizer.sequence(event)));
            }
        }
    }

    /// How a stream is cut into batches shows nowhere.
    #[test]
    fn cuts_do_not_matter(specs in specs(60 * 3_600, 120), sizes in prop::collection::vec(1_usize..30, 1..8), stored_s in 0_i64..100_000) {
        let ids = ids(specs.len());
        let events = events(&specs, &ids);
        let stored_at = at(1_700_000_000 + stored_s);
        let (mut one, mut cut) = (State::default(), State::default());
        let whole = run(&mut one, &empty(), &events, stored_at);
        let mut parts = Vec::new();
        let mut rest = events.as_slice();
        for size in sizes.iter().cycle() {
            let (batch, after) = rest.split_at((*size).min(rest.len()));
            parts.extend(run(&mut cut, &empty(), batch, stored_at));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(format!("{whole:?}"), format!("{parts:?}"));
        prop_assert_eq!(&one, &cut);
        // All is a duplicate or moves nothing the second time.
        let again = run(&mut cut, &empty(), &events, stored_at);
        prop_assert!(again.iter().all(|outcome| read_only(outcome) != Some(false)));
        prop_assert_eq!(one, cut);
    }

    /// Within the reach of the shortest window the order of one session's events shows in no count.
    #[test]
    fn order_within_the_windows_does_not_matter(mut order in prop::collection::vec(0_i64..9, 2..30).prop_shuffle()) {
        let ids = ids(order.len());
        let counted = |order: &[i64]| {
            let mut state = State::default();
            let batch: Vec<Activity<'_>> =
                order.iter().zip(&ids).map(|(second, id)| activity(id, at(1_700_000_000 + second), "mia")).collect();
            for half in batch.chunks(7) {
                run(&mut state, &empty(), half, FAR);
            }
            let probe = activity("probe", at(1_700_000_009), "mia");
            let outcomes = run(&mut state, &empty(), &[probe], FAR);
            let Some(Outcome::Measured { features, .. }) = outcomes.first() else { unreachable!() };
            let windows = [Feature::Principal10s, Feature::Session1m, Feature::Source10m, Feature::Api24h, Feature::DistinctApis10m];
            (windows.map(|feature| features.get(feature)), state.watermark)
        };
        let shuffled = counted(&order);
        order.sort_unstable();
        prop_assert_eq!(shuffled, counted(&order));
    }
}

#[test]
fn what_is_too_old_or_too_far_ahead_moves_nothing() {
    let now = 1_700_000_000;
    let mut state = State::default();
    let outcomes = run(&mut state, &empty(), &[activity("a", at(now), "mia"), activity("b", at(now), "leo")], at(now));
    assert_eq!(outcomes.iter().map(read_only).collect::<Vec<_>>(), [Some(false), Some(false)]);
    let day_s = DAY_MS / SECOND_MS;
    let late = [
        ("within", now - day_s + 1, Some(false)),
        ("beyond the windows", now - day_s, Some(true)),
        ("beyond the windows", now - day_s, None),
        ("days ago", now - 2 * day_s, Some(true)),
        ("days ago", now - 2 * day_s, None),
        ("ahead", now + 300, Some(false)),
        ("too far ahead", now + 301, Some(true)),
        ("too far ahead", now + 301, None),
        ("year 9999", 253_402_000_000, Some(true)),
    ];
    for (id, seconds, expected) in late {
        let outcomes = run(&mut state, &empty(), &[activity(id, at(seconds), "mia")], at(now));
        assert_eq!(read_only(&outcomes[0]), expected, "{id}");
    }
    assert_eq!(state.watermark, Some(at(now + 300)));
    // A stranger who comes with a false time leaves nothing behind but its id.
    let before = state.clone();
    run(&mut state, &empty(), &[activity("c", at(now + 9_999), "stranger")], at(now));
    assert_eq!((state.watermark, state.live), (before.watermark, before.live));
}

#[test]
fn what_is_sent_again_is_known_however_far_the_clock_has_come() {
    let now = 1_700_000_000;
    let mut state = State::default();
    let sent = |state: &mut State, seconds: i64, stored: i64| {
        let id = format!("event of {seconds}");
        read_only(&run(state, &empty(), &[activity(&id, at(seconds), "mia")], at(stored))[0])
    };
    // A history of a hundred days, caught up with in as many seconds.
    let days: Vec<i64> = (0..100).map(|day| now - (100 - day) * 24 * 3_600).collect();
    for (stored, day) in (now..).zip(&days) {
        assert_eq!(sent(&mut state, *day, stored), Some(false));
    }
    for day in &days {
        assert_eq!(sent(&mut state, *day, now + 200), None);
    }
    // Held for minutes after it came last, not for ever; what counts within the windows stays known.
    let held = ID_HOLD_MS / SECOND_MS;
    assert_eq!(sent(&mut state, days[0], now + 199 + held), None);
    assert_eq!(sent(&mut state, days[99] + 60, now + 200 + held), Some(false));
    assert_eq!(sent(&mut state, days[0], now + 201 + held), None);
    assert_eq!(sent(&mut state, days[1], now + 201 + held), Some(true));
    assert_eq!(sent(&mut state, days[99], now + 201 + held), None);
}

#[test]
fn hours_held_are_bounded_and_the_longest_untouched_go_first() {
    let now = 1_700_000_000;
    const BATCH: usize = 1_000;
    let hours = HOURS_MAX as i64 + 3_000;
    let ids: Vec<String> = ids(hours as usize);
    let of = |hour: i64| activity(&ids[hour as usize], at(now - hour * 3_600), "mia");
    let mut state = State::default();
    let all: Vec<i64> = (0..hours).collect();
    for batch in all.chunks(BATCH) {
        let stored_at = at(now).plus_ms(batch[0]);
        run(&mut state, &empty(), &batch.iter().map(|hour| of(*hour)).collect::<Vec<_>>(), stored_at);
        assert!(state.ids.len() <= HOURS_MAX);
    }
    let again = of;
    let batch = [again(hours - 1), again(hours - 3_000), again(0), again(1_000)];
    let outcomes = run(&mut state, &empty(), &batch, at(now + 10));
    // The newest hour lies within the windows.
    assert_eq!(outcomes.iter().map(read_only).collect::<Vec<_>>(), [None, None, None, Some(true)]);
}

#[test]
fn a_tick_moves_the_clock_and_lets_go_of_old_ids() {
    let now = 1_700_000_000;
    let method = Method { vocabulary: &VOCABULARY, with_sequences: false };
    let mut state = State::default();
    run(&mut state, &empty(), &[activity("a", at(now), "mia")], at(now));
    let tick = |state: &mut State, to: i64, stored: i64| {
        let (_, changes) = method.work(state.load(&Needs::default()), &empty(), &[], Some(at(to)), at(stored));
        state.apply(changes);
        (state.watermark.map(|watermark| watermark.as_millis() / SECOND_MS), state.ids.len())
    };
    assert_eq!(tick(&mut state, now + 60, now), (Some(now + 60), 1));
    assert_eq!(tick(&mut state, now, now), (Some(now + 60), 1));
    // Not beyond what the broker's clock bears out.
    assert_eq!(tick(&mut state, i64::MAX / 2_000, now + 100), (Some(now + 400), 1));
    assert_eq!(tick(&mut state, now + 28 * 3_600, now + 300), (Some(now + 600), 1));
    assert_eq!(tick(&mut state, now + 28 * 3_600, now + 28 * 3_600), (Some(now + 28 * 3_600), 0));
}

#[test]
fn ids_are_a_callers_own() {
    let now = 1_700_000_000;
    let mut state = State::default();
    let batch = [activity("a", at(now), "mia"), activity("a", at(now), "leo"), activity("a", at(now), "mia")];
    let outcomes = run(&mut state, &empty(), &batch, at(now));
    assert_eq!(outcomes.iter().map(read_only).collect::<Vec<_>>(), [Some(false), Some(false), None]);
}
