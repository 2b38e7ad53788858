//! Live state: what one principal did within the last 24 hours, in at most about 7 KiB, or 4 KiB packed.

mod bits;
mod pack;

use crate::activity::{Activity, is_denial};
use crate::api::{AccessLevel, AgentFamily, SourceClass};
use crate::baseline::EventKind;
use crate::feature::{Feature, FeatureVector};
use crate::hash::hash64;
use crate::sequence::{API_BUCKETS, GAP_MAX, Sequence, Token, novelty};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};
use crate::window::{Rings, Window};

/// Keys tracked of each kind; the one idle longest makes room for a new one.
const SESSIONS_MAX: usize = 6;
const SOURCES_MAX: usize = 6;
const APIS_MAX: usize = 16;
const INTERVALS_MAX: usize = 16;
const TARGETS_MAX: usize = 24;
/// What the latest event weighs in a session's mean surprise.
const SURPRISE_SHARE: f32 = 1.0 / 16.0;
/// What a session's sum of novel events, and its largest surprise, lose with each further event.
const NOVEL_LOSS: f32 = 1.0 / 64.0;
/// The facts that make an event novel for its principal.
const NOVEL: [Feature; 4] = [
    Feature::FirstApiPrincipal,
    Feature::FirstSourcePrincipal,
    Feature::FirstProgramPrincipal,
    Feature::FirstTargetPrincipal,
];

/// What of an event its principal's windows are kept by, hashed once for all steps.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    session: u64,
    source: u64,
    network: u64,
    api: u64,
    target: Option<u64>,
}

impl Keys {
    pub fn of(activity: &Activity<'_>, kind: &EventKind) -> Self {
        Self {
            session: hash64(activity.session),
            source: hash64(activity.source),
            network: kind.network(),
            api: kind.api(),
            target: activity.target,
        }
    }
}

/// What is kept of one session beside its windows.
#[derive(Clone, Debug, PartialEq)]
struct Session {
    first: Timestamp,
    latest: Timestamp,
    /// The network that the first event came from.
    network: u64,
    surprise_mean: f32,
    surprise_max: f32,
    novel: f32,
    sequence: Sequence,
}

/// One principal's windows.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveState {
    all: Rings,
    denied: Rings,
    listing: Rings,
    writing: Rings,
    novel: Rings,
    sessions: Slots<Option<Session>, SESSIONS_MAX>,
    sources: Slots<(), SOURCES_MAX>,
    apis: Slots<(), APIS_MAX>,
    /// Things that requests named lately, with the time of the latest.
    targets: Vec<(u64, Timestamp)>,
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
            novel: Rings::new(start),
            sessions: Slots::default(),
            sources: Slots::default(),
            apis: Slots::default(),
            targets: Vec::new(),
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
        self.sessions.slot(keys.session, at).rings.add(at);
        self.sources.slot(keys.source, at).rings.add(at);
        self.apis.slot(keys.api, at).rings.add(at);
        if let Some(target) = keys.target {
            self.name(target, at);
        }
    }

    /// Remembers a thing that a request named.
    fn name(&mut self, target: u64, at: Timestamp) {
        if let Some((_, latest)) = self.targets.iter_mut().find(|(held, _)| *held == target) {
            *latest = at.max(*latest);
        } else if self.targets.len() < TARGETS_MAX {
            self.targets.push((target, at));
        } else if let Some(idle) = self.targets.iter_mut().min_by_key(|(held, latest)| (*latest, *held)) {
            *idle = (target, at);
        }
    }

    /// Takes in what the baseline said of an event that [`LiveState::add`] took in, and sets the features of its
    /// session that rest on it.
    pub fn reflect(
        &mut self,
        activity: &Activity<'_>,
        keys: &Keys,
        access: Option<AccessLevel>,
        agent: AgentFamily,
        features: &mut FeatureVector,
    ) {
        let at = activity.event_time;
        let novel = NOVEL.iter().any(|fact| features.is_set(*fact));
        if novel {
            self.novel.add(at);
        }
        features.set(Feature::Novel1h, self.novel.count(Window::Hour1, at) as f32);
        let surprise = surprise(features);
        let gap_s = features.get(Feature::SinceLast);
        let Some(slot) = self.sessions.find_mut(keys.session) else { return };
        let began = Session {
            first: at,
            latest: at,
            network: keys.network,
            surprise_mean: surprise.unwrap_or(0.0),
            surprise_max: 0.0,
            novel: 0.0,
            sequence: Sequence::default(),
        };
        if slot.context.as_ref().is_some_and(|session| at.since_ms(session.latest) > DAY_MS) {
            slot.context = None;
        }
        let session = slot.context.get_or_insert(began);
        session.latest = session.latest.max(at);
        session.novel += f32::from(u8::from(novel)) - session.novel * NOVEL_LOSS;
        features.set(Feature::SessionAge, (at.since_ms(session.first).clamp(0, DAY_MS) / SECOND_MS) as f32);
        features.set(Feature::SessionMoved, f32::from(u8::from(session.network != keys.network)));
        if let Some(surprise) = surprise {
            session.surprise_mean += (surprise - session.surprise_mean) * SURPRISE_SHARE;
            session.surprise_max = surprise.max(session.surprise_max * (1.0 - NOVEL_LOSS));
            features.set(Feature::SessionNovel, session.novel);
            features.set(Feature::SessionSurprise, session.surprise_mean);
            features.set(Feature::SessionSurpriseMax, session.surprise_max);
        }
        session.sequence.push(token(activity, keys, access, agent, gap_s, features));
    }

    /// The latest activities of the session of an event.
    pub fn sequence(&self, keys: &Keys) -> Option<&Sequence> {
        self.sessions.find(keys.session)?.context.as_ref().map(|session| &session.sequence)
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
            (SESSION, self.sessions.find(keys.session).map(|slot| &slot.rings)),
            (SOURCE, self.sources.find(keys.source).map(|slot| &slot.rings)),
            (API, self.apis.find(keys.api).map(|slot| &slot.rings)),
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
        let (minutes10, hour1) = (at.plus_ms(-10 * MINUTE_MS), at.plus_ms(-HOUR_MS));
        let named_since = |start| self.targets.iter().filter(|(_, latest)| *latest > start).count() as f32;
        features.set(F::DistinctApis10m, self.apis.active_since(minutes10) as f32);
        features.set(F::DistinctTargets10m, named_since(minutes10));
        features.set(F::DistinctTargets1h, named_since(hour1));
        features.set(F::DistinctSources1h, self.sources.active_since(hour1) as f32);
        features.set(F::DistinctSessions1h, self.sessions.active_since(hour1) as f32);
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

/// How little an event was to be expected, in bits: the mean of what is known of the principal's rarities, else of the
/// account's.
fn surprise(features: &FeatureVector) -> Option<f32> {
    use Feature as F;
    const PRINCIPAL: [Feature; 4] =
        [F::ApiRarityPrincipal, F::SourceRarityPrincipal, F::ProgramRarityPrincipal, F::TargetRarityPrincipal];
    const ACCOUNT: [Feature; 4] =
        [F::ApiRarityAccount, F::SourceRarityAccount, F::ProgramRarityAccount, F::TargetRarityAccount];
    let mean = |rarities: [Feature; 4]| {
        let known = rarities.iter().filter_map(|rarity| features.get(*rarity));
        let (sum, count) = known.fold((0.0, 0u8), |(sum, count), bits| (sum + bits, count + 1));
        (count > 0).then(|| sum / f32::from(count))
    };
    mean(PRINCIPAL).or_else(|| mean(ACCOUNT))
}

/// The event as a token of its session's sequence; `features` are those of the same event.
fn token(
    activity: &Activity<'_>,
    keys: &Keys,
    access: Option<AccessLevel>,
    agent: AgentFamily,
    since_last_s: Option<f32>,
    features: &FeatureVector,
) -> Token {
    let facts = [
        (novelty::API_OF_PRINCIPAL, Feature::FirstApiPrincipal),
        (novelty::SOURCE_OF_PRINCIPAL, Feature::FirstSourcePrincipal),
        (novelty::AGENT_OF_PRINCIPAL, Feature::FirstAgentPrincipal),
        (novelty::API_OF_ACCOUNT, Feature::FirstApiAccount),
        (novelty::REGION_OF_ACCOUNT, Feature::FirstRegionAccount),
    ];
    let known = features.get(Feature::ApiRarityPrincipal).is_some();
    let set = facts.iter().filter(|(_, fact)| features.is_set(*fact)).fold(0, |bits, (bit, _)| bits | bit);
    Token {
        api: (keys.api % API_BUCKETS as u64) as u16,
        gap: since_last_s.map_or(GAP_MAX, |seconds| ((1.0 + seconds).log2() as u8).min(GAP_MAX)),
        access: access.map_or(0, |access| access as u8 + 1),
        agent: agent as u8,
        source: SourceClass::of(activity.source) as u8,
        outcome: match activity.error_code {
            None => 0,
            Some(code) if is_denial(code) => 2,
            Some(_) => 1,
        },
        novelty: set | if known { novelty::HISTORY_KNOWN } else { 0 },
    }
}

/// The windows of one key, and what else is kept of it.
#[derive(Clone, Debug, PartialEq)]
struct Slot<C> {
    key: u64,
    rings: Rings,
    context: C,
}

/// The keys seen most lately.
#[derive(Clone, Debug, PartialEq)]
struct Slots<C, const MAX: usize>(Vec<Slot<C>>);

impl<C, const MAX: usize> Default for Slots<C, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C: Default, const MAX: usize> Slots<C, MAX> {
    fn find(&self, key: u64) -> Option<&Slot<C>> {
        self.0.iter().find(|slot| slot.key == key)
    }

    fn find_mut(&mut self, key: u64) -> Option<&mut Slot<C>> {
        self.0.iter_mut().find(|slot| slot.key == key)
    }

    /// The slot of a key; the one idle longest makes room for a new key.
    fn slot(&mut self, key: u64, at: Timestamp) -> &mut Slot<C> {
        let fresh = || Slot { key, rings: Rings::new(at), context: C::default() };
        let place = match self.0.iter().position(|slot| slot.key == key) {
            Some(place) => place,
            None if self.0.len() < MAX => {
                self.0.push(fresh());
                self.0.len() - 1
            }
            None => {
                let idle = self.0.iter().enumerate().min_by_key(|(_, slot)| (slot.rings.latest(), slot.key));
                let place = idle.map_or(0, |(place, _)| place);
                self.0[place] = fresh();
                place
            }
        };
        &mut self.0[place]
    }

    fn active_since(&self, start: Timestamp) -> usize {
        self.0.iter().filter(|slot| slot.rings.latest() > start).count()
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
            target: None,
        }
    }

    fn keys_of(activity: &Activity<'_>) -> Keys {
        Keys::of(activity, &EventKind::of(activity))
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
        assert_eq!(state.sources.0.len(), SOURCES_MAX);
        let bytes = std::mem::size_of::<LiveState>()
            + SESSIONS_MAX * std::mem::size_of::<Slot<Option<Session>>>()
            + (SOURCES_MAX + APIS_MAX) * std::mem::size_of::<Slot<()>>()
            + TARGETS_MAX * std::mem::size_of::<(u64, Timestamp)>()
            + INTERVALS_MAX * std::mem::size_of::<f32>();
        assert!(bytes < 7 * 1024, "{bytes}");
    }
}
