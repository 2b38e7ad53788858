//! Live windows and baseline epochs over a stream: activity in, feature vector out.
//!
//! This is the in-memory store. Features are a function of (epoch, live state, activity), so the same
//! stream in the same order gives the same vectors.

use rustc_hash::FxHashMap;
use trailwarden_core::activity::Activity;
use trailwarden_core::api::AccessLevel;
use trailwarden_core::baseline::{Baseline, EventKind, Limits};
use trailwarden_core::feature::{Feature, FeatureVector};
use trailwarden_core::live::LiveState;
use trailwarden_core::time::{DAY_MS, Timestamp};

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
        let kind = EventKind::of(activity);
        let mut features = FeatureVector::default();
        if believable {
            // Folds the hour that ended, so that the epoch is right before it is read.
            self.baseline.advance(at);
        }
        let state = match self.live.get_mut(&kind.principal()) {
            Some(state) => state,
            None => {
                self.make_room();
                self.live.entry(kind.principal()).or_insert_with(|| LiveState::new(at.min(self.horizon)))
            }
        };
        if believable && state.latest().since_ms(at) < DAY_MS {
            state.add(activity, access);
        }
        state.describe(activity, access, kind.agent(), &mut features);
        let events_last_hour = features.get(Feature::Principal1h).unwrap_or(0.0) as u32;
        self.baseline.describe(&kind, at, events_last_hour, &mut features);
        if believable {
            self.baseline.add(kind, at);
        }
        features
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
