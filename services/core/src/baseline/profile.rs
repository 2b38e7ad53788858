//! One profile: how often each value of each dimension was seen, counts halving every 15 days.

use std::hash::Hash;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{EventKind, Limits, Times, hour_of, sorted};
use crate::api::AgentFamily;
use crate::time::{DAY_MS, HOUR_MS, Timestamp};

/// Events after which a count weighs half.
const HALF_LIFE_MS: f64 = 15.0 * DAY_MS as f64;
/// APIs and regions are closed vocabularies, so this bound is for hostile names only.
const CLOSED_VALUES_MAX: usize = 2_048;
/// Fewer past events than this say nothing about habits.
const EVENTS_MIN: f32 = 20.0;

/// How often each value of one dimension was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(serialize = "K: Serialize + Ord", deserialize = "K: Deserialize<'de> + Hash + Ord + Clone"))]
pub(super) struct Counts<K: Eq + Hash> {
    #[serde(with = "sorted")]
    seen: FxHashMap<K, Seen>,
    /// A value was forgotten: absence no longer proves that it is new.
    evicted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Seen {
    weight: f32,
    latest: Timestamp,
}

impl<K: Hash + Eq + Ord + Clone> Counts<K> {
    fn new() -> Self {
        Self { seen: FxHashMap::default(), evicted: false }
    }

    fn add(&mut self, value: K, weight: f32, latest: Timestamp, values_max: usize) {
        let entry = self.seen.entry(value).or_insert(Seen { weight: 0.0, latest });
        entry.weight += weight;
        entry.latest = entry.latest.max(latest);
        if self.seen.len() > values_max {
            evict_oldest(&mut self.seen, values_max - values_max / 8, |seen| seen.latest);
            self.evicted = true;
        }
    }

    fn join(&mut self, other: Self, values_max: usize) {
        #[expect(clippy::iter_over_hash_type, reason = "every value is added to its own")]
        for (value, more) in other.seen {
            let own = self.seen.entry(value).or_insert(Seen { weight: 0.0, latest: more.latest });
            own.weight += more.weight;
            own.latest = own.latest.max(more.latest);
        }
        self.evicted |= other.evicted;
        if self.seen.len() > values_max {
            evict_oldest(&mut self.seen, values_max - values_max / 8, |seen| seen.latest);
            self.evicted = true;
        }
    }

    fn weight(&self, value: &K) -> f32 {
        self.seen.get(value).map_or(0.0, |seen| seen.weight)
    }

    /// Whether the value is new; `None` when it may have been forgotten.
    pub(super) fn is_new(&self, value: &K) -> Option<bool> {
        match self.seen.contains_key(value) {
            true => Some(false),
            false => (!self.evicted).then_some(true),
        }
    }

    fn decay(&mut self, factor: f32) {
        self.seen.values_mut().for_each(|seen| seen.weight *= factor);
    }
}

/// What is left of a count after so long.
fn remaining(elapsed_ms: i64) -> f32 {
    (-(elapsed_ms as f64) / HALF_LIFE_MS).exp2() as f32
}

/// Keeps the `keep` entries with the latest times (ties by key, so every run keeps the same).
pub(super) fn evict_oldest<K: Ord + Clone + Hash + Eq, V>(
    map: &mut FxHashMap<K, V>,
    keep: usize,
    latest: impl Fn(&V) -> Timestamp,
) {
    let mut order: Vec<(Timestamp, K)> = map.iter().map(|(key, value)| (latest(value), key.clone())).collect();
    order.sort_unstable();
    for (_, key) in order.iter().take(order.len().saturating_sub(keep)) {
        map.remove(key);
    }
}

/// What is ordinary for one principal, one account or one kind of principal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Profile {
    pub(super) first: Timestamp,
    pub(super) latest: Timestamp,
    pub(super) decayed_at: Timestamp,
    pub(super) events: f32,
    pub(super) active_hours: f32,
    pub(super) hours: [f32; 24],
    pub(super) apis: Counts<u64>,
    pub(super) networks: Counts<u64>,
    pub(super) regions: Counts<u64>,
    pub(super) agents: Counts<AgentFamily>,
    pub(super) services: Counts<u64>,
    pub(super) programs: Counts<u64>,
    pub(super) targets: Counts<u64>,
}

impl Profile {
    pub(super) fn new(first: Timestamp) -> Self {
        Self {
            first,
            latest: first,
            decayed_at: first,
            events: 0.0,
            active_hours: 0.0,
            hours: [0.0; 24],
            apis: Counts::new(),
            networks: Counts::new(),
            regions: Counts::new(),
            agents: Counts::new(),
            services: Counts::new(),
            programs: Counts::new(),
            targets: Counts::new(),
        }
    }

    pub(super) fn decay_to(&mut self, now: Timestamp) {
        // Once a day is often enough against a half-life of 15.
        let elapsed_ms = now.since_ms(self.decayed_at);
        if elapsed_ms < DAY_MS {
            return;
        }
        let factor = remaining(elapsed_ms);
        self.events *= factor;
        self.active_hours *= factor;
        self.hours.iter_mut().for_each(|hour| *hour *= factor);
        self.apis.decay(factor);
        self.networks.decay(factor);
        self.regions.decay(factor);
        self.agents.decay(factor);
        self.services.decay(factor);
        self.programs.decay(factor);
        self.targets.decay(factor);
        self.decayed_at = now;
    }

    pub(super) fn fold(&mut self, kind: &EventKind, times: &Times, limits: &Limits) {
        self.count(kind, times, times.events as f32, limits);
        if self.active_hours == 0.0 || hour_of(times.latest) != hour_of(self.latest) {
            self.active_hours += 1.0;
        }
        self.latest = self.latest.max(times.latest);
    }

    /// As [`Profile::fold`], for events of any time: what is older than the profile weighs what time has left of it.
    /// `is_new_hour`: none of their hour came with them before.
    pub(super) fn fold_past(&mut self, kind: &EventKind, times: &Times, is_new_hour: bool, limits: &Limits) {
        // Within a day nothing fades, as in `decay_to`.
        let late_ms = self.decayed_at.since_ms(times.latest);
        let left = if late_ms < DAY_MS { 1.0 } else { remaining(late_ms) };
        self.count(kind, times, times.events as f32 * left, limits);
        if self.active_hours == 0.0 || is_new_hour && hour_of(times.latest) != hour_of(self.latest) {
            self.active_hours += left;
        }
        self.first = self.first.min(times.first);
        self.latest = self.latest.max(times.latest);
    }

    /// Adds what another profile knows of the same.
    pub(super) fn join(&mut self, mut other: Self, limits: &Limits) {
        let now = self.decayed_at.max(other.decayed_at);
        self.decay_to(now);
        other.decay_to(now);
        self.first = self.first.min(other.first);
        self.latest = self.latest.max(other.latest);
        self.events += other.events;
        self.active_hours += other.active_hours;
        self.hours.iter_mut().zip(other.hours).for_each(|(own, more)| *own += more);
        self.apis.join(other.apis, CLOSED_VALUES_MAX);
        self.networks.join(other.networks, limits.values_max);
        self.regions.join(other.regions, CLOSED_VALUES_MAX);
        self.agents.join(other.agents, CLOSED_VALUES_MAX);
        self.services.join(other.services, CLOSED_VALUES_MAX);
        self.programs.join(other.programs, limits.values_max);
        self.targets.join(other.targets, limits.targets_max);
    }

    fn count(&mut self, kind: &EventKind, times: &Times, weight: f32, limits: &Limits) {
        self.events += weight;
        self.hours[usize::from(times.latest.hour_of_day())] += weight;
        self.apis.add(kind.api, weight, times.latest, CLOSED_VALUES_MAX);
        self.networks.add(kind.network, weight, times.latest, limits.values_max);
        self.regions.add(kind.region, weight, times.latest, CLOSED_VALUES_MAX);
        self.agents.add(kind.agent, weight, times.latest, CLOSED_VALUES_MAX);
        self.services.add(kind.service, weight, times.latest, CLOSED_VALUES_MAX);
        self.programs.add(kind.program, weight, times.latest, limits.values_max);
        if let Some(target) = kind.target {
            self.targets.add(target, weight, times.latest, limits.targets_max);
        }
    }

    /// Whether this profile has seen enough to say what is new.
    pub(super) fn has_history(&self, now: Timestamp, limits: &Limits) -> bool {
        now.since_ms(self.first) >= i64::from(limits.warm_up_h) * HOUR_MS && self.events >= EVENTS_MIN
    }

    /// `-log2((n(value) + 1/2) / (n + 1))`, in bits.
    pub(super) fn rarity<K: Hash + Eq + Ord + Clone>(&self, counts: &Counts<K>, value: &K) -> f32 {
        -((counts.weight(value) + 0.5) / (self.events + 1.0)).log2()
    }
}
