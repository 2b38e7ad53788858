//! Baseline epochs: what is ordinary, folded hour by hour from the past.
//!
//! Features read only what earlier hours left behind, never the running hour, so they are a function
//! of (epoch, live windows, event) and replay. Counts halve every 15 days: a profile speaks of about
//! the last month and is no clock. What was evicted or never seen for long enough is unknown, not new.

mod epoch;
mod history;
mod profile;
mod sorted;

pub use epoch::Epoch;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::activity::Activity;
use crate::api::{AgentFamily, source_network};
use crate::hash::{TextHasher, hash64, hash64_of};
use crate::time::{HOUR_MS, Timestamp};

/// How much is remembered. What goes beyond is forgotten oldest first and is unknown from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    epoch: Epoch,
    running: FxHashMap<EventKind, Times>,
    left_out: u64,
}

impl Baseline {
    pub fn new(limits: Limits) -> Self {
        Self { epoch: Epoch::new(limits), running: FxHashMap::default(), left_out: 0 }
    }

    /// Goes on from an epoch that was kept. What its running hour held is to be added again.
    pub fn resume(epoch: Epoch) -> Self {
        Self { epoch, running: FxHashMap::default(), left_out: 0 }
    }

    /// What features of now read.
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Takes in a part of an epoch that was kept, of this hour or of another, which takes the place of what was there.
    /// The running hour begins anew.
    pub fn add_part(&mut self, part: Epoch) {
        self.epoch.add_part(part);
        self.running.clear();
    }

    /// Events that an overfull hour left out of the baseline.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Event time has come to `at`: when that is a new hour, the former is folded into the epoch. Whether it was.
    pub fn advance(&mut self, at: Timestamp) -> bool {
        let hour = hour_of(at);
        let is_new = hour > self.epoch.hour();
        if is_new {
            self.fold();
            self.epoch.turn(hour);
        }
        is_new
    }

    /// Remembers an event for coming hours. A late event counts into the running hour.
    pub fn add(&mut self, kind: EventKind, at: Timestamp) {
        self.advance(at);
        if let Some(times) = self.running.get_mut(&kind) {
            times.events = times.events.saturating_add(1);
            times.first = times.first.min(at);
            times.latest = times.latest.max(at);
        } else if self.running.len() < self.epoch.limits().hour_kinds_max {
            self.running.insert(kind, Times { events: 1, first: at, latest: at });
        } else {
            self.left_out += 1;
        }
    }

    fn fold(&mut self) {
        let mut hour: Vec<(EventKind, Times)> = self.running.drain().collect();
        // Sums of floats and evictions depend on order: fix it.
        hour.sort_unstable_by_key(|(kind, _)| *kind);
        self.epoch.fold(&hour);
    }
}

fn hour_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(HOUR_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{Feature, FeatureVector};
    use crate::stored::Corrupt;

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
        baseline.epoch().describe(kind, at(hours), 6, &mut features);
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

    #[test]
    fn equal_epochs_give_equal_bytes_and_come_back() {
        let filled = |order: &mut dyn Iterator<Item = u64>| {
            let mut baseline = Baseline::new(Limits { warm_up_h: 0, ..Limits::default() });
            for number in order {
                let principal = number % 50;
                baseline.add(EventKind { principal, network: number, target: Some(number), ..kind(number, 1) }, at(3));
            }
            baseline.advance(at(4));
            baseline
        };
        let (one, other) = (filled(&mut (0..400)), filled(&mut (0..400).rev()));
        let bytes = one.epoch().to_bytes();
        assert_eq!(bytes, other.epoch().to_bytes());
        let back = Epoch::from_bytes(&bytes).expect("own bytes");
        assert_eq!((&back, back.to_bytes()), (one.epoch(), bytes.clone()));
        // Folded on, the one that came back stays the same: nothing hangs on how a map was built.
        let [gone_on, gone_back] = [one, Baseline::resume(back)].map(|mut baseline| {
            (0..90).for_each(|network| baseline.add(EventKind { network, ..kind(7, 1) }, at(4 + network as i64)));
            baseline.epoch().to_bytes()
        });
        assert_eq!(gone_on, gone_back);
        for cut in 0..bytes.len() {
            assert!(Epoch::from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
        assert_eq!(Epoch::from_bytes(&[bytes.as_slice(), &[0]].concat()), Err(Corrupt::Long));
        assert_eq!(Epoch::from_bytes(&[9]), Err(Corrupt::Version { found: 9, known: 1 }));
    }
}
