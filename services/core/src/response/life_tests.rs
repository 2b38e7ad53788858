use proptest::prelude::*;

use super::*;
use crate::time::HOUR_MS;

const T0: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn life(reversible: bool) -> Life {
    Life::new(Nature { reversible, alternative: false, undoes_again: false }, T0.plus_ms(HOUR_MS), T0)
}

/// Handles events at the times when their work is due.
fn lived(mut life: Life, events: &[Event]) -> Life {
    for event in events {
        let (at, _) = life.due().expect("something is due");
        life.begin(at);
        life.handle(event.clone(), at).expect("what was asked for");
    }
    life
}

const JOINED: Event = Event::Joined(Joined::Held);
const APPLIED: [Event; 3] = [Event::Captured { already: false }, JOINED, Event::Applied];
const APPLIED_FOR_GOOD: [Event; 2] = [Event::Captured { already: false }, Event::Applied];
const SEEN: Event = Event::Stands(true);

#[test]
fn it_is_read_back_at_once_after_ten_and_after_sixty_seconds() {
    let mut life = lived(life(true), &APPLIED);
    for after in [0, 10, 60] {
        assert_eq!(life.due(), Some((T0.plus_ms(after * SECOND_MS), Work::ReadBack)));
        life = lived(life, &[SEEN]);
    }
    assert_eq!(life.outcome(), Some(Outcome::DoneVerified));
    for nth in 1..=6 {
        let at = T0.plus_ms(60 * SECOND_MS + nth * WATCH_EVERY_MS);
        assert_eq!(life.due(), Some((at, Work::ReadBack)));
        life = lived(life, &[SEEN]);
    }
    assert_eq!(life.due(), Some((T0.plus_ms(HOUR_MS), Work::Undo)));
    life.handle(Event::Renewed { until: T0.plus_ms(2 * HOUR_MS) }, T0).expect("renewed");
    assert_eq!(life.due(), Some((T0.plus_ms(2 * HOUR_MS), Work::Undo)));
    let life = lived(life, &[Event::UndoApplied, Event::IsBack(true)]);
    assert_eq!((life.outcome(), life.due()), (Some(Outcome::Undone), None));
}

#[test]
fn what_cannot_be_undone_ends_when_it_was_watched() {
    let life = lived(life(false), &APPLIED_FOR_GOOD);
    let life = lived(life, &vec![SEEN; 9]);
    assert_eq!((life.outcome(), life.due()), (Some(Outcome::DoneVerified), None));
}

#[test]
fn what_stood_by_others_hand_is_watched_and_not_undone() {
    let stood = [Event::Captured { already: true }, Event::Joined(Joined::Foreign)];
    for watched in [lived(life(true), &stood), lived(life(false), &stood[..1])] {
        assert_eq!((watched.state, watched.lease_until, watched.is_held()), (State::Verified, None, false));
        let life = lived(watched.clone(), &[SEEN, SEEN, SEEN, SEEN, SEEN, SEEN]);
        assert_eq!((life.outcome(), life.due()), (Some(Outcome::DoneVerified), None));
        // Who asks for it to be undone has it watched no more.
        let mut unwanted = watched;
        unwanted.handle(Event::UndoAsked("ann".to_owned()), T0).expect("nothing is ours");
        assert_eq!((unwanted.outcome(), unwanted.due()), (Some(Outcome::Undone), None));
    }
    // Taken away while it is watched, it becomes ours, with a lease.
    let ours = lived(life(true), &[&stood[..], &[SEEN, Event::Stands(false)], &APPLIED].concat());
    assert_eq!((ours.state, ours.lease_until), (State::Applied, Some(T0.plus_ms(HOUR_MS))));
    let mut gone = lived(life(true), &stood);
    gone.handle(Event::Failed(Fault::Gone, "x".to_owned()), T0).expect("what was asked for");
    assert_eq!((gone.outcome(), gone.due()), (Some(Outcome::Failed), None));
}

#[test]
fn what_another_case_put_there_is_held_watched_and_left() {
    let stood = [Event::Captured { already: true }, JOINED];
    let life = lived(life(true), &[&stood[..], &vec![SEEN; 9]].concat());
    assert_eq!((life.state, life.due()), (State::Verified, Some((T0.plus_ms(HOUR_MS), Work::Undo))));
    let left = lived(life, &[Event::Released("held by another".to_owned())]);
    assert_eq!((left.outcome(), left.due(), left.is_released()), (Some(Outcome::Undone), None, true));
}

#[test]
fn an_undo_that_comes_while_it_joins_waits_for_what_comes_of_that() {
    for (already, joined, expect) in [
        (false, Joined::Held, Some(Work::Undo)),
        (true, Joined::Held, Some(Work::Undo)),
        (true, Joined::Foreign, None),
        (false, Joined::Full, None),
    ] {
        let mut life = lived(life(true), &[Event::Captured { already }]);
        life.handle(Event::UndoAsked("ann".to_owned()), T0).expect("it can be undone");
        assert_eq!(life.due().map(|(_, work)| work), Some(Work::Join));
        let life = lived(life, &[Event::Joined(joined)]);
        assert_eq!(life.due().map(|(_, work)| work), expect, "{joined:?}");
    }
}

#[test]
fn what_somebody_takes_away_is_applied_again_and_then_given_up() {
    let mut life = lived(life(true), &APPLIED);
    for _ in 0..REAPPLIES_MAX {
        life = lived(life, &[SEEN, Event::Stands(false)]);
        assert_eq!(life.due().map(|(_, work)| work), Some(Work::Apply));
        life = lived(life, &[Event::Applied]);
    }
    life = lived(life, &[SEEN, Event::Stands(false), Event::UndoApplied, Event::IsBack(true)]);
    assert_eq!(life.outcome(), Some(Outcome::Failed));
}

#[test]
fn after_a_crash_aws_is_read_first() {
    let mut life = lived(life(true), &APPLIED[..2]);
    life.handle(Event::Taken, T0).expect("taken");
    assert_eq!(life.due(), Some((T0, Work::Inspect)));
    let stood = lived(life.clone(), &[SEEN]);
    assert_eq!(stood.state, State::Applied);
    let lost = lived(life, &[Event::Stands(false)]);
    assert_eq!(lost.due(), Some((T0, Work::Apply)));
    let mut undoing = lived(stood, &[Event::UndoAsked("ann".to_owned())]);
    undoing.handle(Event::Taken, T0).expect("taken");
    assert_eq!(undoing.due(), Some((T0, Work::CheckUndone)));
    // Of several effects, one that is gone says nothing of the others.
    let nature = Nature { reversible: true, alternative: false, undoes_again: true };
    let mut undoing = lived(Life::new(nature, T0.plus_ms(HOUR_MS), T0), &APPLIED);
    undoing.handle(Event::UndoAsked("ann".to_owned()), T0).expect("it can be undone");
    undoing.handle(Event::Taken, T0).expect("taken");
    assert_eq!(undoing.due(), Some((T0, Work::Undo)));
}

#[test]
fn a_conflict_takes_the_other_way_once() {
    let nature = Nature { reversible: true, alternative: true, undoes_again: false };
    let conflict = Event::Failed(Fault::Conflict, "LimitExceeded".to_owned());
    let joined = [APPLIED[0].clone(), JOINED];
    let life = lived(Life::new(nature, T0, T0), &[&joined[..], std::slice::from_ref(&conflict)].concat());
    assert!(life.by_alternative && !life.is_held());
    // Whether its effect stands already is another question.
    assert_eq!(life.due(), Some((T0, Work::Capture)));
    assert_eq!(lived(life, &[&joined[..], &[conflict]].concat()).due(), Some((T0, Work::Undo)));
}

#[test]
fn a_vanished_target_a_denial_and_a_long_outage_end() {
    let fail = |fault| Event::Failed(fault, "x".to_owned());
    let gone = lived(life(true), &[APPLIED[0].clone(), JOINED, fail(Fault::Gone), fail(Fault::Gone)]);
    assert_eq!(gone.outcome(), Some(Outcome::Failed));
    assert_eq!(lived(life(true), &[fail(Fault::Final)]).outcome(), Some(Outcome::Failed));
    let mut outage = life(true);
    let mut steps = 0;
    while let Some((at, _)) = outage.due() {
        outage.handle(fail(Fault::Transient), at).expect("work failed");
        steps += 1;
    }
    assert_eq!((outage.outcome(), steps), (Some(Outcome::Failed), TRIES_MAX + 1));
}

/// Whoever makes AWS refuse our reads for some minutes must not have a step undone by it.
#[test]
fn an_outage_while_it_is_watched_takes_nothing_back() {
    let mut life = lived(lived(life(true), &APPLIED), &[SEEN, SEEN, SEEN]);
    assert_eq!(life.state, State::Verified);
    while let Some((at, Work::ReadBack)) = life.due() {
        life.handle(Event::Failed(Fault::Transient, "throttled".to_owned()), at).expect("what was asked for");
    }
    assert_eq!((life.state, life.due()), (State::Verified, Some((T0.plus_ms(HOUR_MS), Work::Undo))));
}

/// Applying that never gets an answer, while reading works.
#[test]
fn applying_is_not_tried_for_ever() {
    let mut life = lived(life(true), &APPLIED[..2]);
    let mut applied = 0;
    while let Some((at, work)) = life.due() {
        let event = match work {
            Work::Apply => Event::Failed(Fault::Transient, "500".to_owned()),
            Work::Undo => Event::UndoApplied,
            Work::CheckUndone => Event::IsBack(true),
            Work::Join => JOINED,
            _ => Event::Stands(false),
        };
        applied += u32::from(work == Work::Apply);
        life.handle(event, at).expect("what was asked for");
    }
    assert_eq!((life.outcome(), applied), (Some(Outcome::Failed), TRIES_MAX + 1));
}

#[test]
fn misfits_change_nothing() {
    let fresh = life(true);
    for event in [Event::Applied, SEEN, Event::UndoApplied, Event::IsBack(true)] {
        let mut life = fresh.clone();
        assert_eq!(life.handle(event, T0), Err(Misfit::Unasked));
        assert_eq!(life, fresh);
    }
    let mut ended = lived(fresh, &[Event::UndoAsked("ann".to_owned())]);
    assert_eq!(ended.outcome(), Some(Outcome::Undone));
    assert_eq!(ended.handle(Event::Taken, T0), Err(Misfit::Ended));
    let mut applied = lived(life(false), &APPLIED_FOR_GOOD);
    assert_eq!(applied.handle(Event::UndoAsked("ann".to_owned()), T0), Err(Misfit::Irreversible));
}

/// What may go wrong at a step of a life.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Luck {
    Good,
    /// The process dies before the work reached AWS, or after it and before it was noted.
    DiesBefore,
    DiesAfter,
    /// The call arrives and its answer does not.
    Unanswered,
    Throttled,
    Denied,
    Vanishes,
    /// Somebody takes away what was applied.
    Attacker,
    UndoAsked,
}

fn luck() -> impl Strategy<Value = Luck> {
    prop_oneof![
        8 => Just(Luck::Good),
        1 => Just(Luck::DiesBefore),
        1 => Just(Luck::DiesAfter),
        1 => Just(Luck::Unanswered),
        1 => Just(Luck::Throttled),
        1 => Just(Luck::Denied),
        1 => Just(Luck::Vanishes),
        1 => Just(Luck::Attacker),
        1 => Just(Luck::UndoAsked),
    ]
}

/// An account of one target.
#[derive(Default)]
struct World {
    stands: bool,
    gone: bool,
    captured: bool,
    /// Applied although it stood.
    twice: u32,
}

impl World {
    fn work(&mut self, work: Work) -> Event {
        if self.gone {
            return Event::Failed(Fault::Gone, "gone".to_owned());
        }
        match work {
            Work::Capture => {
                self.captured = true;
                Event::Captured { already: false }
            }
            Work::Join => Event::Joined(Joined::Held),
            Work::Apply => {
                self.twice += u32::from(self.stands);
                self.stands = true;
                Event::Applied
            }
            Work::Inspect | Work::ReadBack => Event::Stands(self.stands),
            Work::Undo => {
                self.stands = false;
                Event::UndoApplied
            }
            Work::CheckUndone => Event::IsBack(!self.stands),
        }
    }
}

proptest! {
    /// Whatever goes wrong, and whoever dies: nothing is applied twice, nothing without its prior state kept, and there is
    /// an outcome that is true of the account.
    #[test]
    fn every_life_ends_in_a_true_outcome(luck in prop::collection::vec(luck(), 0..60), reversible: bool) {
        let mut life = life(reversible);
        let mut world = World::default();
        let mut luck = luck.into_iter();
        let mut steps = 0;
        while let Some((at, _)) = life.due() {
            steps += 1;
            prop_assert!(steps < 500, "no end: {life:?}");
            life.begin(at);
            let Some((_, work)) = life.due() else { break };
            if work == Work::Apply {
                prop_assert!(world.captured);
            }
            let event = match luck.next().unwrap_or(Luck::Good) {
                Luck::Good => world.work(work),
                Luck::DiesBefore => Event::Taken,
                Luck::DiesAfter => { world.work(work); Event::Taken }
                Luck::Unanswered => { world.work(work); Event::Failed(Fault::Transient, "lost".to_owned()) }
                Luck::Throttled => Event::Failed(Fault::Transient, "throttled".to_owned()),
                Luck::Denied => Event::Failed(Fault::Final, "denied".to_owned()),
                Luck::Vanishes => { world.gone = true; world.stands = false; world.work(work) }
                Luck::Attacker => { world.stands = false; world.work(work) }
                Luck::UndoAsked => {
                    if life.can_be_undone() { Event::UndoAsked("ann".to_owned()) } else { world.work(work) }
                }
            };
            // Stored and read again, as after a crash.
            let stored = serde_json::to_string(&life).expect("writes");
            life = serde_json::from_str(&stored).expect("reads");
            prop_assert!(life.handle(event.clone(), at).is_ok(), "{event:?} of {life:?}");
        }
        prop_assert_eq!(world.twice, 0);
        let outcome = life.outcome().expect("an outcome");
        prop_assert!(!life.evidence.is_empty());
        match outcome {
            Outcome::Undone => prop_assert!(!world.stands),
            Outcome::DoneVerified => prop_assert!(!reversible),
            Outcome::Failed => {
                let given_up = life.evidence.iter().any(|line| line.text.contains("a person has to look"));
                prop_assert!(!world.stands || !reversible || given_up);
            }
        }
    }
}
