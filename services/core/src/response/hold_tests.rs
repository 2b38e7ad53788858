use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::response::life::{Event, Life, Nature, Outcome, State, Work};
use crate::time::{DAY_MS, HOUR_MS, Timestamp};

const T0: Timestamp = Timestamp::from_millis(1_700_000_000_000);

#[test]
fn the_last_who_leaves_takes_it_back_to_what_was_before_the_first() {
    let mut hold = Hold::default();
    let open = |_: &str| true;
    let was = |text: &str| BTreeMap::from([("trust".to_owned(), json!(text))]);
    let (mut first, mut second) = (was("ours"), was("locked"));
    assert_eq!(hold.join("a", false, &mut first, open), Joined::Held);
    assert_eq!(hold.join("b", true, &mut second, open), Joined::Held);
    // Again, after a death.
    assert_eq!(hold.join("b", true, &mut second, open), Joined::Held);
    assert_eq!(second, was("ours"));
    assert_eq!(hold.leave("a", open), Left::Others(vec!["b".to_owned()]));
    assert_eq!(hold.leave("a", open), Left::Others(vec!["b".to_owned()]), "after a death");
    assert_eq!(hold.leave("b", open), Left::Last);
    hold.forget("b");
    assert_eq!(hold, Hold::default());
}

#[test]
fn what_nobody_of_ours_put_there_is_not_ours_and_who_has_ended_holds_nothing() {
    let mut hold = Hold::default();
    let mut captured = BTreeMap::new();
    assert_eq!(hold.join("a", true, &mut captured, |_| true), Joined::Foreign);
    assert_eq!(hold.join("a", false, &mut captured, |_| true), Joined::Held);
    // It ended, and died before it could say so.
    assert_eq!(hold.join("b", true, &mut captured, |_| false), Joined::Foreign);
    assert_eq!(hold.join("b", false, &mut captured, |_| true), Joined::Held);
    assert_eq!(hold.holders().collect::<Vec<_>>(), ["b"]);
    assert_eq!(hold.leave("b", |_| true), Left::Last);
    for nth in 0..HOLDERS_MAX {
        hold.join(&format!("c{nth}"), false, &mut captured, |_| true);
    }
    assert_eq!(hold.join("d", true, &mut captured, |_| true), Joined::Full);
}

/// One account with one effect, three cases that want it, and whoever executes them, as the shell does it: each piece of work
/// is a hold, then AWS, then the stored life, and others come in between.
struct World {
    stands: bool,
    hold: Hold,
    lives: Vec<Life>,
    now: Timestamp,
    /// What whoever works on each has done of the piece of work that it is at.
    doing: Vec<Doing>,
}

#[derive(Clone, Debug, PartialEq)]
enum Doing {
    Nothing,
    /// It has left, and goes on to AWS.
    Undoing,
    Done(Event),
}

const KEYS: [&str; 3] = ["a", "b", "c"];

impl World {
    fn new(stands: bool, leases_h: [i64; 3]) -> Self {
        let nature = Nature { reversible: true, alternative: false, undoes_again: false };
        let lives = leases_h.map(|hours| Life::new(nature, T0.plus_ms(hours * HOUR_MS), T0)).into();
        Self { stands, hold: Hold::default(), lives, now: T0, doing: vec![Doing::Nothing; 3] }
    }

    fn is_open(lives: &[Life], key: &str) -> bool {
        KEYS.iter().position(|own| *own == key).is_some_and(|at| lives[at].due().is_some())
    }

    /// The next part of what one life asks for. `dies`: whoever works on it dies right after.
    fn advance(&mut self, at: usize, dies: bool) {
        let key = KEYS[at];
        match std::mem::replace(&mut self.doing[at], Doing::Nothing) {
            Doing::Nothing => self.begin(at, key),
            Doing::Undoing => {
                self.stands = false;
                self.doing[at] = Doing::Done(Event::UndoApplied);
            }
            Doing::Done(event) => {
                let mut life = self.lives[at].clone();
                life.handle(event, self.now).expect("what was asked for");
                if life.due().is_none() {
                    self.hold.forget(key);
                }
                // Dies between the hold and the life.
                if !dies {
                    self.lives[at] = life;
                }
                return self.died(at, dies);
            }
        }
        if dies {
            self.doing[at] = Doing::Nothing;
        }
        self.died(at, dies);
    }

    fn died(&mut self, at: usize, dies: bool) {
        if dies && self.lives[at].due().is_some() {
            self.lives[at].handle(Event::Taken, self.now).expect("open");
        }
    }

    fn begin(&mut self, at: usize, key: &str) {
        self.lives[at].begin(self.now);
        let Some((due, work)) = self.lives[at].due() else { return };
        if due > self.now {
            return;
        }
        let lives = self.lives.clone();
        let is_open = |other: &str| Self::is_open(&lives, other);
        let leaves = matches!(work, Work::Undo | Work::CheckUndone) && lives[at].is_held();
        self.doing[at] = match (work, leaves.then(|| self.hold.leave(key, is_open))) {
            (_, Some(Left::Others(_))) => Doing::Done(Event::Released("others hold it".to_owned())),
            (Work::Capture, _) => Doing::Done(Event::Captured { already: self.stands }),
            (Work::Join, _) => {
                let stood = lives[at].stood_already();
                Doing::Done(Event::Joined(self.hold.join(key, stood, &mut BTreeMap::new(), is_open)))
            }
            (Work::Apply, _) => {
                self.stands = true;
                Doing::Done(Event::Applied)
            }
            (Work::Inspect | Work::ReadBack, _) => Doing::Done(Event::Stands(self.stands)),
            (Work::Undo, _) => Doing::Undoing,
            (Work::CheckUndone, _) => Doing::Done(Event::IsBack(!self.stands)),
        };
    }

    /// Brings each piece of work that was begun to its end.
    fn settle(&mut self) {
        while let Some(at) = self.doing.iter().position(|doing| *doing != Doing::Nothing) {
            self.advance(at, false);
        }
    }

    /// The next that is due, at its time.
    fn next(&mut self) -> Option<usize> {
        let due = self.lives.iter().enumerate().filter_map(|(at, life)| Some((life.due()?.0, at))).min();
        let (time, at) = due?;
        self.now = self.now.max(time);
        Some(at)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whoever dies wherever, and whatever comes between: what people asked for stands as long as the longest lease, and not
    /// a moment longer; and what others put there is not taken away by us.
    #[test]
    fn an_effect_stands_until_the_last_of_those_that_want_it(
        begins in prop::collection::vec((0..3_usize, prop::bool::weighted(0.1)), 0..200),
        leases_h in prop::array::uniform3(1..48_i64),
        is_foreign in prop::bool::weighted(0.2),
    ) {
        let mut world = World::new(is_foreign, leases_h);
        let mut steps = begins.into_iter();
        loop {
            // One step of somebody's, at most, comes between the parts of another's.
            let (at, dies) = match steps.next() {
                Some(step) => {
                    let _ = world.next();
                    step
                }
                None => {
                    world.settle();
                    let Some(at) = world.next() else { break };
                    (at, false)
                }
            };
            world.advance(at, dies);
            if world.doing.iter().filter(|doing| **doing != Doing::Nothing).count() > 1 {
                world.settle();
            }
            let is_settled = world.doing.iter().all(|doing| *doing == Doing::Nothing);
            for life in world.lives.iter().filter(|life| life.state == State::Verified && life.is_held()) {
                let is_wanted = life.lease_until.is_some_and(|end| end > world.now);
                prop_assert!(!is_settled || !is_wanted || world.stands, "{:?}", world.lives);
            }
            prop_assert!(world.now < T0.plus_ms(3 * DAY_MS), "no end: {:?}", world.lives);
        }
        prop_assert_eq!(world.stands, is_foreign);
        prop_assert_eq!(world.hold, Hold::default());
        for life in &world.lives {
            let expect = if is_foreign { Outcome::DoneVerified } else { Outcome::Undone };
            prop_assert_eq!(life.outcome(), Some(expect), "{:?}", life);
        }
    }
}
