//! What the stages knew just before an event, as far as that event asks for it.
//!
//! A replay knows what its own events left behind, so only that is kept which others moved meanwhile. Features are a
//! function of (epoch, windows, event) and correlations one of (group, match): with these put in place, what lies between
//! the case's events is not needed.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use trailwarden_core::activity::Activity;
use trailwarden_core::baseline::{Epoch, EventKind};
use trailwarden_core::detection::{Group, Match, RuleIndex, RuleSet};
use trailwarden_core::live::LiveState;
use trailwarden_core::stored::at_most;

use crate::Engine;

/// Groups of correlations that one event counts in.
const GROUPS_MAX: usize = 1_024;

/// The state that one event met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    pub event_id: String,
    live: Live,
    /// The profiles that the event was compared with, where they are not there yet.
    epoch: Option<Vec<u8>>,
    #[serde(deserialize_with = "at_most::<_, _, GROUPS_MAX>")]
    groups: Vec<GroupBefore>,
}

/// The windows of the event's principal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Live {
    /// As the case's own events left them.
    AsLeft,
    /// Nothing was known of the principal.
    Unknown,
    State(Vec<u8>),
}

/// A group of a correlation, where others counted in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct GroupBefore {
    /// The correlation's id: indices are another's in another set of rules.
    correlation: String,
    group_hash: u64,
    group: Option<Group>,
}

impl Moment {
    /// Puts what the event met in its place. What cannot be read is left out, and shows in what comes of it.
    pub(super) fn restore(&self, engine: &mut Engine<'_>, activity: &Activity<'_>) {
        match &self.live {
            Live::AsLeft => {}
            Live::Unknown => engine.featurizer.set_live(activity, None),
            Live::State(bytes) => engine.featurizer.set_live(activity, LiveState::unpack(bytes).ok()),
        }
        if let Some(part) = self.epoch.as_deref().and_then(|bytes| Epoch::from_bytes(bytes).ok()) {
            engine.featurizer.add_part(part);
        }
        for before in &self.groups {
            if let Some(correlation) = index_of(engine.rules(), &before.correlation) {
                let correlator = engine.gatherer.detector_mut().correlator_mut();
                correlator.set_group(correlation, before.group_hash, before.group.clone());
            }
        }
    }

    /// Whether all that it holds can be read.
    pub(super) fn is_sound(&self) -> bool {
        let live = match &self.live {
            Live::AsLeft | Live::Unknown => true,
            Live::State(bytes) => LiveState::unpack(bytes).is_ok(),
        };
        live && self.epoch.as_deref().is_none_or(|bytes| Epoch::from_bytes(bytes).is_ok())
    }
}

fn index_of(rules: &RuleSet, id: &str) -> Option<RuleIndex> {
    let place = rules.rules().iter().position(|rule| rule.id == id)?;
    u16::try_from(place).ok().map(RuleIndex)
}

/// What a replay would know: as the case's own events left it.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    live: FxHashMap<u64, LiveState>,
    epoch: Option<Epoch>,
    groups: BTreeMap<(RuleIndex, u64), Group>,
}

impl Shadow {
    pub(super) fn before(&self, engine: &mut Engine<'_>, activity: &Activity<'_>, matches: &[Match]) -> Moment {
        let left = self.live.get(&EventKind::of(activity).principal());
        let live = match engine.featurizer.live(activity) {
            found if found == left => Live::AsLeft,
            None => Live::Unknown,
            Some(state) => Live::State(state.pack()),
        };
        let mut groups = Vec::new();
        for key in keys(matches) {
            let found = engine.gatherer.detector_mut().correlator().group(key.0, key.1).cloned();
            if found.as_ref() != self.groups.get(&key)
                && let Some(rule) = engine.rules().rule(key.0)
            {
                groups.push(GroupBefore { correlation: rule.id.clone(), group_hash: key.1, group: found });
            }
        }
        Moment { event_id: activity.event_id.to_owned(), live, epoch: None, groups }
    }

    /// The epoch is looked at after the event: the first event of an hour folds the former.
    pub(super) fn after(
        &mut self,
        engine: &mut Engine<'_>,
        activity: &Activity<'_>,
        matches: &[Match],
        moment: &mut Moment,
    ) {
        let kind = EventKind::of(activity);
        match engine.featurizer.live(activity) {
            Some(state) => _ = self.live.insert(kind.principal(), state.clone()),
            None => _ = self.live.remove(&kind.principal()),
        }
        let part = engine.featurizer.epoch().part(&kind);
        if self.epoch.as_ref().map(|epoch| epoch.part(&kind)).as_ref() != Some(&part) {
            moment.epoch = Some(part.to_bytes());
            match &mut self.epoch {
                Some(epoch) => epoch.add_part(part),
                None => self.epoch = Some(part),
            }
        }
        for key in keys(matches) {
            match engine.gatherer.detector_mut().correlator().group(key.0, key.1) {
                Some(group) => _ = self.groups.insert(key, group.clone()),
                None => _ = self.groups.remove(&key),
            }
        }
    }
}

/// The groups that an event counts in, none twice.
fn keys(matches: &[Match]) -> Vec<(RuleIndex, u64)> {
    let counted = matches.iter().flat_map(|hit| &hit.counted);
    let mut keys: Vec<_> = counted.map(|counted| (counted.correlation, counted.group_hash)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
