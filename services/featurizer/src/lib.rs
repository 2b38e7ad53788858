//! Live windows and baseline epochs over a stream: activity in, feature vector out.
//!
//! This is the in-memory store. Features are a function of (epoch, live state, activity), so the same
//! stream in the same order gives the same vectors.

mod measure;
pub mod partition;
pub mod service;
pub mod store;
pub mod worker;

use rustc_hash::FxHashMap;
use trailwarden_core::activity::Activity;
use trailwarden_core::api::AccessLevel;
use trailwarden_core::baseline::{Baseline, Epoch, Limits};
use trailwarden_core::feature::FeatureVector;
use trailwarden_core::hash::hash64;
use trailwarden_core::live::LiveState;
use trailwarden_core::sequence::Sequence;
use trailwarden_core::time::Timestamp;

use crate::measure::Subject;

/// Principals whose live windows are kept; beyond it those idle longest are forgotten.
const PRINCIPALS_LIVE_MAX: usize = 10_000;

/// All state that features read.
#[derive(Debug)]
pub struct Featurizer {
    /// By the hash of the principal.
    live: FxHashMap<u64, LiveState>,
    live_max: usize,
    baseline: Baseline,
    /// Events later than this move no window and enter no baseline: their clock is wrong or a lie.
    horizon: Timestamp,
    forgotten: u64,
}

impl Featurizer {
    /// `horizon` is the latest event time to believe.
    pub fn new(limits: Limits, horizon: Timestamp) -> Self {
        Self {
            live: FxHashMap::default(),
            live_max: PRINCIPALS_LIVE_MAX,
            baseline: Baseline::new(limits),
            horizon,
            forgotten: 0,
        }
    }

    /// The latest event time that is believed.
    pub fn horizon(&self) -> Timestamp {
        self.horizon
    }

    /// Principals whose live windows were given up for want of room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Events that an overfull hour left out of the baseline.
    pub fn left_out(&self) -> u64 {
        self.baseline.left_out()
    }

    /// Takes an event in and describes it against the past.
    pub fn step(&mut self, activity: &Activity<'_>, access: Option<AccessLevel>) -> FeatureVector {
        let at = activity.event_time;
        let believable = at <= self.horizon;
        let subject = Subject::new(activity, access);
        let principal = subject.kind.principal();
        if believable {
            // Folds the hour that ended, so that the epoch is right before it is read.
            self.baseline.advance(at);
        }
        let features = match self.live.get_mut(&principal) {
            Some(state) => {
                let taken = believable && subject.is_within(state);
                subject.measure(state, self.baseline.epoch(), taken)
            }
            None => {
                let mut state = subject.fresh(self.horizon);
                let features = subject.measure(&mut state, self.baseline.epoch(), believable);
                // A time that is not believed must leave no state behind: it would make what is true look old.
                if believable {
                    self.make_room();
                    self.live.insert(principal, state);
                }
                features
            }
        };
        if believable {
            self.baseline.add(subject.kind, at);
        }
        features
    }

    /// The latest activities of the session of an event that was just taken in.
    pub fn sequence(&self, activity: &Activity<'_>) -> Sequence {
        let subject = Subject::new(activity, None);
        self.live.get(&subject.kind.principal()).map_or_else(Sequence::default, |state| subject.sequence(state))
    }

    /// The windows of an event's principal as they are; `None` when nothing is known of it.
    pub fn live(&self, activity: &Activity<'_>) -> Option<&LiveState> {
        self.live.get(&hash64(activity.principal))
    }

    /// What features read of earlier hours now.
    pub fn epoch(&self) -> &Epoch {
        self.baseline.epoch()
    }

    /// Puts windows that were kept in the place of those of an event's principal.
    pub fn set_live(&mut self, activity: &Activity<'_>, state: Option<LiveState>) {
        let principal = hash64(activity.principal);
        match state {
            Some(state) => _ = self.live.insert(principal, state),
            None => _ = self.live.remove(&principal),
        }
    }

    /// Takes in a part of an epoch that was kept (see [`Baseline::add_part`]).
    pub fn add_part(&mut self, part: Epoch) {
        self.baseline.add_part(part);
    }

    fn make_room(&mut self) {
        if self.live.len() < self.live_max {
            return;
        }
        let mut order: Vec<(Timestamp, u64)> =
            self.live.iter().map(|(principal, state)| (state.latest(), *principal)).collect();
        order.sort_unstable();
        for (_, principal) in order.iter().take(self.live_max / 8) {
            self.live.remove(principal);
            self.forgotten += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use trailwarden_core::activity::{Credential, PrincipalKind};
    use trailwarden_core::feature::Feature;
    use trailwarden_core::time::HOUR_MS;

    use super::*;

    fn activity<'a>(principal: &'a str, hours: i64, call: &'a str) -> Activity<'a> {
        Activity {
            event_id: "e",
            shared_event_id: None,
            event_time: Timestamp::from_millis(hours * HOUR_MS),
            account: "111122223333",
            region: "eu-west-1",
            service: "iam",
            call,
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

    fn featurizer(warm_up_h: u32) -> Featurizer {
        Featurizer::new(Limits { warm_up_h, ..Limits::default() }, Timestamp::from_millis(1_000 * HOUR_MS))
    }

    #[test]
    fn the_same_stream_gives_the_same_vectors() {
        let run = || {
            let mut featurizer = featurizer(24);
            (0..300)
                .map(|step| {
                    let principal = if step % 3 == 0 { "a" } else { "b" };
                    let call = if step % 7 == 0 { "ListUsers" } else { "ListRoles" };
                    featurizer.step(&activity(principal, step, call), Some(AccessLevel::List))
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn history_is_unknown_first_and_known_later() {
        let mut featurizer = featurizer(24);
        let first = featurizer.step(&activity("a", 0, "ListUsers"), None);
        assert_eq!((first.get(Feature::FirstApiPrincipal), first.get(Feature::PrincipalAge)), (None, None));
        for hour in 1..60 {
            featurizer.step(&activity("a", hour, "ListUsers"), None);
        }
        let later = featurizer.step(&activity("a", 60, "CreateUser"), None);
        assert_eq!(later.get(Feature::FirstApiPrincipal), Some(1.0));
        assert_eq!(later.get(Feature::FirstSourcePrincipal), Some(0.0));
    }

    #[test]
    fn a_clock_that_lies_moves_nothing() {
        let mut featurizer = featurizer(24);
        for hour in 0..30 {
            featurizer.step(&activity("a", hour, "ListUsers"), None);
        }
        featurizer.step(&activity("a", 70_000_000, "ListUsers"), None);
        let next = featurizer.step(&activity("a", 30, "ListUsers"), None);
        assert_eq!(next.get(Feature::SinceLast), Some(3_600.0));
        assert_eq!(next.get(Feature::Principal24h), Some(24.0));
    }

    #[test]
    fn principals_beyond_the_bound_are_forgotten_and_counted() {
        let mut featurizer = Featurizer { live_max: 16, ..featurizer(24) };
        for number in 0..100 {
            featurizer.step(&activity(&format!("p{number}"), number, "ListUsers"), None);
        }
        assert!(featurizer.live.len() <= 16 && featurizer.forgotten() > 0);
    }
}
