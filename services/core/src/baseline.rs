//! Baseline epochs: what is ordinary, folded hour by hour from the past.
//!
//! Features read only what earlier hours left behind, never the running hour, so they are a function
//! of (epoch, live windows, event) and replay. Counts halve every 15 days: a profile speaks of about
//! the last month and is no clock. What was evicted or never seen for long enough is unknown, not new.

use std::hash::Hash;

use rustc_hash::FxHashMap;

use crate::activity::Activity;
use crate::api::{AgentFamily, source_network};
use crate::feature::{Feature, FeatureVector};
use crate::hash::{TextHasher, hash64, hash64_of};
use crate::time::{DAY_MS, HOUR_MS, SECOND_MS, Timestamp};

/// How much is remembered. What goes beyond is forgotten oldest first and is unknown from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Hours of history that a principal or account needs before anything is said to be new for it.
    pub warm_up_h: u32,
    pub principals_max: usize,
    pub accounts_max: usize,
    /// Distinct kinds of event that one hour may hold before the rest of that hour is left out (and counted).
    pub hour_kinds_max: usize,
    /// Distinct values kept for one open vocabulary (source networks, programs) of one profile.
    pub values_max: usize,
    /// Distinct things named in requests that are kept for one profile.
    pub targets_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            warm_up_h: 7 * 24,
            principals_max: 16_384,
            accounts_max: 2_048,
            hour_kinds_max: 131_072,
            values_max: 64,
            targets_max: 128,
        }
    }
}

/// Events after which a count weighs half.
const HALF_LIFE_MS: f64 = 15.0 * DAY_MS as f64;
/// APIs and regions are closed vocabularies, so this bound is for hostile names only.
const CLOSED_VALUES_MAX: usize = 2_048;
/// Beyond it a principal is no longer new; an age without bound would be a clock.
const AGE_MS_MAX: i64 = 7 * DAY_MS;
/// Fewer past events than this say nothing about habits.
const EVENTS_MIN: f32 = 20.0;

/// How often each value of one dimension was seen.
#[derive(Clone, Debug)]
struct Counts<K> {
    seen: FxHashMap<K, Seen>,
    /// A value was forgotten: absence no longer proves that it is new.
    evicted: bool,
}

#[derive(Clone, Copy, Debug)]
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

    fn weight(&self, value: &K) -> f32 {
        self.seen.get(value).map_or(0.0, |seen| seen.weight)
    }

    /// Whether the value is new; `None` when it may have been forgotten.
    fn is_new(&self, value: &K) -> Option<bool> {
        match self.seen.contains_key(value) {
            true => Some(false),
            false => (!self.evicted).then_some(true),
        }
    }

    fn decay(&mut self, factor: f32) {
        self.seen.values_mut().for_each(|seen| seen.weight *= factor);
    }
}

/// Keeps the `keep` entries with the latest times (ties by key, so every run keeps the same).
fn evict_oldest<K: Ord + Clone + Hash + Eq, V>(
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
#[derive(Clone, Debug)]
struct Profile {
    first: Timestamp,
    latest: Timestamp,
    decayed_at: Timestamp,
    events: f32,
    active_hours: f32,
    hours: [f32; 24],
    apis: Counts<u64>,
    networks: Counts<u64>,
    regions: Counts<u64>,
    agents: Counts<AgentFamily>,
    services: Counts<u64>,
    programs: Counts<u64>,
    targets: Counts<u64>,
}

impl Profile {
    fn new(first: Timestamp) -> Self {
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

    fn decay_to(&mut self, now: Timestamp) {
        // Once a day is often enough against a half-life of 15.
        let elapsed_ms = now.since_ms(self.decayed_at);
        if elapsed_ms < DAY_MS {
            return;
        }
        let factor = (-(elapsed_ms as f64) / HALF_LIFE_MS).exp2() as f32;
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

    fn fold(&mut self, kind: &EventKind, times: &Times, limits: &Limits) {
        let weight = times.events as f32;
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
        if self.active_hours == 0.0 || hour_of(times.latest) != hour_of(self.latest) {
            self.active_hours += 1.0;
        }
        self.latest = self.latest.max(times.latest);
    }

    /// Whether this profile has seen enough to say what is new.
    fn has_history(&self, now: Timestamp, limits: &Limits) -> bool {
        now.since_ms(self.first) >= i64::from(limits.warm_up_h) * HOUR_MS && self.events >= EVENTS_MIN
    }

    /// `-log2((n(value) + 1/2) / (n + 1))`, in bits.
    fn rarity<K: Hash + Eq + Ord + Clone>(&self, counts: &Counts<K>, value: &K) -> f32 {
        -((counts.weight(value) + 0.5) / (self.events + 1.0)).log2()
    }
}

/// All that the baseline remembers of an event; equal ones of one hour are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKind {
    principal: u64,
    account: u64,
    caller: u8,
    api: u64,
    network: u64,
    region: u64,
    agent: AgentFamily,
    service: u64,
    /// The user agent without its digits.
    program: u64,
    /// The thing that the request names.
    target: Option<u64>,
}

impl EventKind {
    /// The principal's key.
    pub fn principal(&self) -> u64 {
        self.principal
    }

    /// The API's key.
    pub fn api(&self) -> u64 {
        self.api
    }

    /// The source network's key.
    pub fn network(&self) -> u64 {
        self.network
    }

    /// Who wrote the user agent.
    pub fn agent(&self) -> AgentFamily {
        self.agent
    }

    pub fn of(activity: &Activity<'_>) -> Self {
        Self {
            principal: hash64(activity.principal),
            account: hash64(activity.account),
            caller: activity.principal_kind as u8,
            api: hash64_of([activity.service, activity.call]),
            network: hash64(source_network(activity.source)),
            region: hash64(activity.region),
            agent: AgentFamily::of(activity.user_agent),
            service: hash64(activity.service),
            program: program(activity.user_agent),
            target: activity.target,
        }
    }
}

/// A user agent without its digits, so that a program stays the same over its versions.
fn program(user_agent: &str) -> u64 {
    let mut hasher = TextHasher::default();
    let start = &user_agent[..user_agent.floor_char_boundary(AgentFamily::BYTES_MAX)];
    let words = start.split(|letter: char| letter.is_ascii_digit()).filter(|word| !word.is_empty());
    words.for_each(|word| hasher.add(word));
    hasher.finish()
}

#[derive(Clone, Copy, Debug)]
struct Times {
    events: u32,
    first: Timestamp,
    latest: Timestamp,
}

/// The baseline of one stream: the epoch that features read, and the running hour that they do not.
#[derive(Debug)]
pub struct Baseline {
    limits: Limits,
    /// Hours since 1970 of the running hour; also the epoch's id: all before it is folded.
    hour: i64,
    running: FxHashMap<EventKind, Times>,
    principals: FxHashMap<u64, Profile>,
    accounts: FxHashMap<u64, Profile>,
    /// By kind of principal: the peers.
    peers: FxHashMap<u64, Profile>,
    left_out: u64,
    /// A principal's profile was given up: that there is none no longer proves that it is new.
    evicted: bool,
}

impl Baseline {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            hour: i64::MIN,
            running: FxHashMap::default(),
            principals: FxHashMap::default(),
            accounts: FxHashMap::default(),
            peers: FxHashMap::default(),
            left_out: 0,
            evicted: false,
        }
    }

    /// The epoch that features of now read: hours since 1970 before which everything is folded.
    pub fn epoch(&self) -> i64 {
        self.hour
    }

    /// Events that an overfull hour left out of the baseline.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Event time has come to `at`: when that is a new hour, the former is folded into the epoch.
    pub fn advance(&mut self, at: Timestamp) {
        let hour = hour_of(at);
        if hour > self.hour {
            self.fold();
            self.hour = hour;
        }
    }

    /// Remembers an event for coming hours. A late event counts into the running hour.
    pub fn add(&mut self, kind: EventKind, at: Timestamp) {
        self.advance(at);
        if let Some(times) = self.running.get_mut(&kind) {
            times.events = times.events.saturating_add(1);
            times.first = times.first.min(at);
            times.latest = times.latest.max(at);
        } else if self.running.len() < self.limits.hour_kinds_max {
            self.running.insert(kind, Times { events: 1, first: at, latest: at });
        } else {
            self.left_out += 1;
        }
    }

    fn fold(&mut self) {
        let mut hour: Vec<(EventKind, Times)> = self.running.drain().collect();
        // Sums of floats and evictions depend on order: fix it.
        hour.sort_unstable_by_key(|(kind, _)| *kind);
        for (kind, times) in &hour {
            fold_into(&mut self.principals, kind.principal, kind, times, &self.limits);
            fold_into(&mut self.accounts, kind.account, kind, times, &self.limits);
            fold_into(&mut self.peers, u64::from(kind.caller), kind, times, &self.limits);
        }
        for (profiles, profiles_max) in
            [(&mut self.principals, self.limits.principals_max), (&mut self.accounts, self.limits.accounts_max)]
        {
            if profiles.len() > profiles_max {
                self.evicted = true;
                evict_oldest(profiles, profiles_max - profiles_max / 8, |profile| profile.latest);
            }
        }
    }

    /// Sets the scarcity features and those that compare with habits. Unknown ones stay unset.
    ///
    /// `events_last_hour` is the principal's count in the last hour, this event included.
    pub fn describe(&self, kind: &EventKind, now: Timestamp, events_last_hour: u32, features: &mut FeatureVector) {
        let known = |profile: &&Profile| profile.has_history(now, &self.limits);
        let principal = self.principals.get(&kind.principal).filter(known);
        let account = self.accounts.get(&kind.account).filter(known);
        let peers = self.peers.get(&u64::from(kind.caller)).filter(known);

        if let Some(own) = principal {
            features.set(Feature::ApiRarityPrincipal, own.rarity(&own.apis, &kind.api));
            features.set(Feature::SourceRarityPrincipal, own.rarity(&own.networks, &kind.network));
            features.set(Feature::RegionRarityPrincipal, own.rarity(&own.regions, &kind.region));
            features.set(Feature::AgentRarityPrincipal, own.rarity(&own.agents, &kind.agent));
            set_new(features, Feature::FirstApiPrincipal, own.apis.is_new(&kind.api));
            set_new(features, Feature::FirstSourcePrincipal, own.networks.is_new(&kind.network));
            set_new(features, Feature::FirstAgentPrincipal, own.agents.is_new(&kind.agent));
            features.set(Feature::ServiceRarityPrincipal, own.rarity(&own.services, &kind.service));
            features.set(Feature::ProgramRarityPrincipal, own.rarity(&own.programs, &kind.program));
            set_new(features, Feature::FirstServicePrincipal, own.services.is_new(&kind.service));
            set_new(features, Feature::FirstProgramPrincipal, own.programs.is_new(&kind.program));
            if let Some(target) = &kind.target {
                features.set(Feature::TargetRarityPrincipal, own.rarity(&own.targets, target));
                set_new(features, Feature::FirstTargetPrincipal, own.targets.is_new(target));
            }
            features.set(Feature::HourShare, hour_share(own, now));
            features.set(Feature::HourRateRatio, events_last_hour as f32 / (own.events / own.active_hours.max(1.0)));
        }
        if let Some(whole) = account {
            features.set(Feature::ApiRarityAccount, whole.rarity(&whole.apis, &kind.api));
            features.set(Feature::SourceRarityAccount, whole.rarity(&whole.networks, &kind.network));
            features.set(Feature::RegionRarityAccount, whole.rarity(&whole.regions, &kind.region));
            features.set(Feature::AgentRarityAccount, whole.rarity(&whole.agents, &kind.agent));
            set_new(features, Feature::FirstApiAccount, whole.apis.is_new(&kind.api));
            set_new(features, Feature::FirstRegionAccount, whole.regions.is_new(&kind.region));
            features.set(Feature::ServiceRarityAccount, whole.rarity(&whole.services, &kind.service));
            features.set(Feature::ProgramRarityAccount, whole.rarity(&whole.programs, &kind.program));
            set_new(features, Feature::FirstSourceAccount, whole.networks.is_new(&kind.network));
            if let Some(target) = &kind.target {
                features.set(Feature::TargetRarityAccount, whole.rarity(&whole.targets, target));
                set_new(features, Feature::FirstTargetAccount, whole.targets.is_new(target));
            }
            match self.principals.get(&kind.principal) {
                Some(own) => {
                    let age_ms = now.since_ms(own.first).min(AGE_MS_MAX);
                    features.set(Feature::PrincipalAge, (age_ms / SECOND_MS) as f32);
                }
                None if !self.evicted => features.set(Feature::PrincipalAge, 0.0),
                None => {}
            }
        }
        if let Some(peers) = peers {
            features.set(Feature::ApiRarityPeers, peers.rarity(&peers.apis, &kind.api));
        }
    }
}

fn fold_into(profiles: &mut FxHashMap<u64, Profile>, key: u64, kind: &EventKind, times: &Times, limits: &Limits) {
    let profile = profiles.entry(key).or_insert_with(|| Profile::new(times.first));
    profile.decay_to(times.latest);
    profile.fold(kind, times, limits);
}

fn hour_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(HOUR_MS)
}

fn set_new(features: &mut FeatureVector, feature: Feature, is_new: Option<bool>) {
    if let Some(is_new) = is_new {
        features.set(feature, f32::from(u8::from(is_new)));
    }
}

/// Share of past events within an hour of this hour of the day.
fn hour_share(profile: &Profile, now: Timestamp) -> f32 {
    let hour = usize::from(now.hour_of_day());
    let near = [(hour + 23) % 24, hour, (hour + 1) % 24];
    near.iter().map(|hour| profile.hours[*hour]).sum::<f32>() / profile.events.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn kind(api: u64, region: u64) -> EventKind {
        EventKind {
            principal: 1,
            account: 2,
            caller: 0,
            api,
            network: 3,
            region,
            agent: AgentFamily::AwsCli,
            service: 4,
            program: 5,
            target: None,
        }
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(hours * HOUR_MS)
    }

    fn described(baseline: &Baseline, kind: &EventKind, hours: i64) -> FeatureVector {
        let mut features = FeatureVector::default();
        baseline.describe(kind, at(hours), 6, &mut features);
        features
    }

    #[test]
    fn is_silent_without_history_and_speaks_with_it() {
        let mut baseline = Baseline::new(Limits { warm_up_h: 24, ..Limits::default() });
        for hour in 0..30 {
            if hour < 24 {
                assert_eq!(described(&baseline, &kind(9, 9), hour), FeatureVector::default(), "hour {hour}");
            }
            (0..3).for_each(|_| baseline.add(kind(1, 1), at(hour)));
        }
        let new = described(&baseline, &kind(9, 9), 30);
        let usual = described(&baseline, &kind(1, 1), 30);
        for feature in [Feature::FirstApiPrincipal, Feature::FirstApiAccount, Feature::FirstRegionAccount] {
            assert_eq!((new.get(feature), usual.get(feature)), (Some(1.0), Some(0.0)), "{feature:?}");
        }
        assert!(new.get(Feature::ApiRarityPrincipal) > usual.get(Feature::ApiRarityPrincipal));
        // Three an hour on average, six in the last one.
        assert!((usual.get(Feature::HourRateRatio).expect("known") - 2.0).abs() < 0.3);
    }

    #[test]
    fn the_running_hour_is_not_yet_the_past() {
        let mut baseline = Baseline::new(Limits { warm_up_h: 0, ..Limits::default() });
        (0..50).for_each(|_| baseline.add(kind(1, 1), at(0)));
        assert_eq!(described(&baseline, &kind(2, 1), 0), FeatureVector::default());
        baseline.add(kind(1, 1), at(1));
        assert_eq!(described(&baseline, &kind(2, 1), 1).get(Feature::FirstApiPrincipal), Some(1.0));
    }

    #[test]
    fn what_may_have_been_forgotten_is_unknown() {
        let limits = Limits { warm_up_h: 0, values_max: 8, ..Limits::default() };
        let mut baseline = Baseline::new(limits);
        for network in 0..100 {
            baseline.add(EventKind { network, ..kind(1, 1) }, at(network as i64));
        }
        let features = described(&baseline, &EventKind { network: 5, ..kind(1, 1) }, 100);
        assert_eq!(features.get(Feature::FirstSourcePrincipal), None);
        let features = described(&baseline, &EventKind { network: 98, ..kind(1, 1) }, 100);
        assert_eq!(features.get(Feature::FirstSourcePrincipal), Some(0.0));
    }
}
