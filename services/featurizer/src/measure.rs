//! One event against the past: the one place where features are measured, for the stream in memory and for partitions.

use trailwarden_core::activity::Activity;
use trailwarden_core::api::AccessLevel;
use trailwarden_core::baseline::{Epoch, EventKind};
use trailwarden_core::feature::{Feature, FeatureVector};
use trailwarden_core::live::{Keys, LiveState};
use trailwarden_core::sequence::Sequence;
use trailwarden_core::time::{DAY_MS, Timestamp};

/// An event with what all steps need of it, hashed once.
pub(crate) struct Subject<'a, 't> {
    pub(crate) activity: &'a Activity<'t>,
    pub(crate) kind: EventKind,
    keys: Keys,
    access: Option<AccessLevel>,
}

impl<'a, 't> Subject<'a, 't> {
    pub(crate) fn new(activity: &'a Activity<'t>, access: Option<AccessLevel>) -> Self {
        let kind = EventKind::of(activity);
        Self { activity, keys: Keys::of(activity, &kind), kind, access }
    }

    /// Whether the event is within the reach of its principal's windows, so that it may move them.
    pub(crate) fn is_within(&self, state: &LiveState) -> bool {
        state.latest().since_ms(self.activity.event_time) < DAY_MS
    }

    /// Measures the event. Where it is `taken`, the state takes it in first; else it is measured against the state as it is.
    pub(crate) fn measure(&self, state: &mut LiveState, epoch: &Epoch, taken: bool) -> FeatureVector {
        let Self { activity, kind, keys, access } = self;
        let mut features = FeatureVector::default();
        if taken {
            state.add(activity, keys, *access);
        }
        state.describe(activity, keys, *access, kind.agent(), &mut features);
        let events_last_hour = features.get(Feature::Principal1h).unwrap_or(0.0) as u32;
        epoch.describe(kind, activity.event_time, events_last_hour, &mut features);
        if taken {
            state.reflect(activity, keys, *access, kind.agent(), &mut features);
        }
        features
    }

    /// The latest activities of the event's session.
    pub(crate) fn sequence(&self, state: &LiveState) -> Sequence {
        state.sequence(&self.keys).copied().unwrap_or_default()
    }

    /// The state of a principal that nothing is known of yet. `believed` is the latest time that is believed.
    pub(crate) fn fresh(&self, believed: Timestamp) -> LiveState {
        LiveState::new(self.activity.event_time.min(believed))
    }
}
