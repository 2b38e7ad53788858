//! Live state: what one principal did within the last 24 hours, in at most about 4 KiB.

use crate::activity::{Activity, is_denial};
use crate::api::{AccessLevel, AgentFamily, SourceClass};
use crate::feature::{Feature, FeatureVector};
use crate::hash::hash64;
use crate::time::{DAY_MS, MINUTE_MS, SECOND_MS, Timestamp};
use crate::window::{Rings, Window};

/// Keys tracked of each kind; the one idle longest makes room for a new one.
const SESSIONS_MAX: usize = 6;
const SOURCES_MAX: usize = 6;
const APIS_MAX: usize = 16;
const INTERVALS_MAX: usize = 16;

/// What of an event its principal's windows are kept by, hashed once for all steps.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    session: u64,
    source: u64,
    api: u64,
}

impl Keys {
    /// `api` is [`EventKind::api`](crate::baseline::EventKind::api).
    pub fn of(activity: &Activity<'_>, api: u64) -> Self {
        Self { session: hash64(activity.session), source: hash64(activity.source), api }
    }
}

/// One principal's windows.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveState {
    all: Rings,
    denied: Rings,
    listing: Rings,
    writing: Rings,
    sessions: Slots<SESSIONS_MAX>,
    sources: Slots<SOURCES_MAX>,
    apis: Slots<APIS_MAX>,
    /// Seconds between consecutive events, latest last.
    intervals: Vec<f32>,
    seen_any: bool,
}

impl LiveState {
    pub fn new(start: Timestamp) -> Self {
        Self {
            all: Rings::new(start),
            denied: Rings::new(start),
            listing: Rings::new(start),
            writing: Rings::new(start),
            sessions: Slots::default(),
            sources: Slots::default(),
            apis: Slots::default(),
            intervals: Vec::new(),
            seen_any: false,
        }
    }

    /// The latest event time seen.
    pub fn latest(&self) -> Timestamp {
        self.all.latest()
    }

    /// Takes the event in. Events older than the windows change nothing.
    pub fn add(&mut self, activity: &Activity<'_>, keys: &Keys, access: Option<AccessLevel>) {
        let at = activity.event_time;
        if self.seen_any && at >= self.latest() {
            if self.intervals.len() == INTERVALS_MAX {
                self.intervals.remove(0);
            }
            self.intervals.push(at.since_ms(self.latest()) as f32 / SECOND_MS as f32);
        }
        self.seen_any = true;
        self.all.add(at);
        if activity.error_code.is_some_and(is_denial) {
            self.denied.add(at);
        }
        match access {
            Some(AccessLevel::List) => self.listing.add(at),
            Some(AccessLevel::Read) => {}
            Some(_) => self.writing.add(at),
            None if activity.read_only == Some(false) => self.writing.add(at),
            None => {}
        }
        self.sessions.rings(keys.session, at).add(at);
        self.sources.rings(keys.source, at).add(at);
        self.apis.rings(keys.api, at).add(at);
    }

    /// Sets the temporal, frequency and categorical features of an event that was just taken in
    /// (or, for one too old or too far ahead to be taken in, of the event against the state as it is).
    pub fn describe(
        &self,
        activity: &Activity<'_>,
        keys: &Keys,
        access: Option<AccessLevel>,
        agent: AgentFamily,
        features: &mut FeatureVector,
    ) {
        use Feature as F;
        let at = activity.event_time;
        features.set(F::HourOfDay, f32::from(at.hour_of_day()));
        features.set(F::Weekday, f32::from(at.weekday()));
        self.describe_intervals(features);

        const PRINCIPAL: [Feature; 5] =
            [F::Principal10s, F::Principal1m, F::Principal10m, F::Principal1h, F::Principal24h];
        const SESSION: [Feature; 5] = [F::Session10s, F::Session1m, F::Session10m, F::Session1h, F::Session24h];
        const SOURCE: [Feature; 5] = [F::Source10s, F::Source1m, F::Source10m, F::Source1h, F::Source24h];
        const API: [Feature; 5] = [F::Api10s, F::Api1m, F::Api10m, F::Api1h, F::Api24h];
        let scopes = [
            (PRINCIPAL, Some(&self.all)),
            (SESSION, self.sessions.find(keys.session)),
            (SOURCE, self.sources.find(keys.source)),
            (API, self.apis.find(keys.api)),
        ];
        for (columns, rings) in scopes {
            let counts = rings.map_or([0; 5], |rings| rings.counts(at));
            for (column, count) in columns.into_iter().zip(counts) {
                features.set(column, count as f32);
            }
        }
        features.set(F::Denied10m, self.denied.count(Window::Minutes10, at) as f32);
        features.set(F::Denied1h, self.denied.count(Window::Hour1, at) as f32);
        features.set(F::Listing10m, self.listing.count(Window::Minutes10, at) as f32);
        features.set(F::Writing10m, self.writing.count(Window::Minutes10, at) as f32);
        features.set(F::DistinctApis10m, self.apis.active_since(at.plus_ms(-10 * MINUTE_MS)) as f32);
        describe_categories(activity, access, agent, features);
    }

    fn describe_intervals(&self, features: &mut FeatureVector) {
        let Some(last) = self.intervals.last() else { return };
        if *last <= (DAY_MS / SECOND_MS) as f32 {
            features.set(Feature::SinceLast, *last);
        }
        let count = self.intervals.len() as f32;
        let mean = self.intervals.iter().sum::<f32>() / count;
        features.set(Feature::IntervalMean, mean);
        if self.intervals.len() >= 4 && mean > 0.0 {
            let variance = self.intervals.iter().map(|interval| (interval - mean).powi(2)).sum::<f32>() / count;
            features.set(Feature::IntervalVariation, variance.sqrt() / mean);
        }
    }
}

fn describe_categories(
    activity: &Activity<'_>,
    access: Option<AccessLevel>,
    agent: AgentFamily,
    features: &mut FeatureVector,
) {
    let flag = |value: bool| f32::from(u8::from(value));
    features.set(Feature::CredentialKind, f32::from(activity.credential as u8));
    features.set(Feature::CallerKind, f32::from(activity.principal_kind as u8));
    if let Some(access) = access {
        features.set(Feature::AccessLevel, f32::from(access as u8));
    }
    features.set(Feature::AgentFamily, f32::from(agent as u8));
    features.set(Feature::SourceClass, f32::from(SourceClass::of(activity.source) as u8));
    if let Some(mfa) = activity.mfa {
        features.set(Feature::Mfa, flag(mfa));
    }
    features.set(Feature::Denied, flag(activity.denied()));
    features.set(Feature::Failed, flag(activity.error_code.is_some()));
}

/// Rings of the keys seen most lately.
#[derive(Clone, Debug, Default, PartialEq)]
struct Slots<const MAX: usize> {
    slots: Vec<(u64, Rings)>,
}

impl<const MAX: usize> Slots<MAX> {
    fn find(&self, key: u64) -> Option<&Rings> {
        self.slots.iter().find(|(held, _)| *held == key).map(|(_, rings)| rings)
    }

    fn rings(&mut self, key: u64, at: Timestamp) -> &mut Rings {
        let place = match self.slots.iter().position(|(held, _)| *held == key) {
            Some(place) => place,
            None if self.slots.len() < MAX => {
                self.slots.push((key, Rings::new(at)));
                self.slots.len() - 1
            }
            None => {
                let idle = self.slots.iter().enumerate().min_by_key(|(_, (held, rings))| (rings.latest(), *held));
                let place = idle.map_or(0, |(place, _)| place);
                self.slots[place] = (key, Rings::new(at));
                place
            }
        };
        &mut self.slots[place].1
    }

    fn active_since(&self, start: Timestamp) -> usize {
        self.slots.iter().filter(|(_, rings)| rings.latest() > start).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::{Credential, PrincipalKind};

    fn activity(seconds: i64, call: &'static str, source: &'static str) -> Activity<'static> {
        Activity {
            event_id: "e",
            shared_event_id: None,
            event_time: Timestamp::from_millis(seconds * SECOND_MS),
            account: "111122223333",
            region: "eu-west-1",
            service: "iam",
            call,
            principal: "arn:aws:iam::111122223333:user/mia",
            principal_kind: PrincipalKind::IamUser,
            session: "AKIA1",
            session_name: "mia",
            credential: Credential::LongTermKey,
            mfa: None,
            source,
            user_agent: "aws-cli/2",
            error_code: Some("AccessDenied"),
            read_only: Some(true),
        }
    }

    fn keys_of(activity: &Activity<'_>) -> Keys {
        Keys::of(activity, hash64(activity.call))
    }

    #[test]
    fn measures_rates_refusals_and_rhythm() {
        let mut state = LiveState::new(Timestamp::from_millis(0));
        let mut features = FeatureVector::default();
        for step in 0..8 {
            let event = activity(step * 5, if step % 2 == 0 { "ListUsers" } else { "ListRoles" }, "198.51.100.7");
            let keys = keys_of(&event);
            state.add(&event, &keys, Some(AccessLevel::List));
            features = FeatureVector::default();
            state.describe(&event, &keys, Some(AccessLevel::List), AgentFamily::AwsCli, &mut features);
        }
        let expected = [
            (Feature::Principal10s, 2.0),
            (Feature::Principal1m, 8.0),
            (Feature::Api1m, 4.0),
            (Feature::Denied10m, 8.0),
            (Feature::Listing10m, 8.0),
            (Feature::DistinctApis10m, 2.0),
            (Feature::SinceLast, 5.0),
            (Feature::IntervalVariation, 0.0),
        ];
        for (feature, value) in expected {
            assert_eq!(features.get(feature), Some(value), "{feature:?}");
        }
        assert_eq!(features.get(Feature::Mfa), None);
    }

    #[test]
    fn a_thousand_junk_sources_stay_within_the_budget() {
        let mut state = LiveState::new(Timestamp::from_millis(0));
        for step in 0..1_000 {
            let source: &'static str = Box::leak(format!("198.51.100.{step}").into_boxed_str());
            let event = activity(step, "ListUsers", source);
            state.add(&event, &keys_of(&event), None);
        }
        let rings = 4 + state.sessions.slots.len() + state.sources.slots.len() + state.apis.slots.len();
        assert!(rings * std::mem::size_of::<Rings>() < 4 * 1024);
        assert_eq!(state.sources.slots.len(), SOURCES_MAX);
    }
}
