//! The epoch: what is ordinary as of one hour, immutable once made, and its bytes.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::profile::{Profile, evict_oldest};
use super::{EventKind, Limits, Times, sorted};
use crate::feature::{Feature, FeatureVector};
use crate::stored::{Corrupt, after_version};
use crate::time::{DAY_MS, SECOND_MS, Timestamp};

/// First byte of an epoch that is written down.
const VERSION: u8 = 1;
/// Beyond it a principal is no longer new; an age without bound would be a clock.
const AGE_MS_MAX: i64 = 7 * DAY_MS;

/// What is ordinary, as of one hour: all before it is folded in. Features read this and nothing of the running hour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    pub(super) limits: Limits,
    /// Hours since 1970 before which everything is folded.
    pub(super) hour: i64,
    #[serde(with = "sorted")]
    pub(super) principals: FxHashMap<u64, Profile>,
    #[serde(with = "sorted")]
    pub(super) accounts: FxHashMap<u64, Profile>,
    /// By kind of principal: the peers.
    #[serde(with = "sorted")]
    pub(super) peers: FxHashMap<u64, Profile>,
    /// A principal's profile was given up: that there is none no longer proves that it is new.
    pub(super) evicted: bool,
}

impl Epoch {
    /// The epoch of those who know nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            hour: i64::MIN,
            principals: FxHashMap::default(),
            accounts: FxHashMap::default(),
            peers: FxHashMap::default(),
            evicted: false,
        }
    }

    /// Hours since 1970 before which everything is folded.
    pub fn hour(&self) -> i64 {
        self.hour
    }

    /// How much is remembered.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The epoch written down. Equal epochs give equal bytes, so a hash of them names it.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("maps know their length, and memory is all that is written to")
    }

    /// Reads what [`Epoch::to_bytes`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version, cut, or no epoch.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Corrupt> {
        let bytes = after_version(bytes, VERSION)?;
        let (epoch, rest) = postcard::take_from_bytes(bytes).map_err(|error| match error {
            postcard::Error::DeserializeUnexpectedEnd => Corrupt::Short,
            _ => Corrupt::Impossible("profiles"),
        })?;
        if rest.is_empty() { Ok(epoch) } else { Err(Corrupt::Long) }
    }

    /// As much of it as features of an event of this kind read, as an epoch of its own.
    pub fn part(&self, kind: &EventKind) -> Self {
        let of = |profiles: &FxHashMap<u64, Profile>, key: u64| {
            profiles.get(&key).map(|profile| (key, profile.clone())).into_iter().collect()
        };
        Self {
            limits: self.limits,
            hour: self.hour,
            principals: of(&self.principals, kind.principal),
            accounts: of(&self.accounts, kind.account),
            peers: of(&self.peers, u64::from(kind.caller)),
            evicted: self.evicted,
        }
    }

    /// Takes in another part of the same epoch. A part of another hour's takes the place of all that was there.
    pub fn add_part(&mut self, part: Self) {
        if (part.hour, part.limits, part.evicted) != (self.hour, self.limits, self.evicted) {
            *self = part;
            return;
        }
        self.principals.extend(part.principals);
        self.accounts.extend(part.accounts);
        self.peers.extend(part.peers);
    }

    /// Begins with the first event that comes.
    pub(super) fn turn(&mut self, hour: i64) {
        self.hour = hour;
    }

    pub(super) fn fold(&mut self, hour: &[(EventKind, Times)]) {
        for (kind, times) in hour {
            fold_into(&mut self.principals, kind.principal, kind, times, &self.limits);
            fold_into(&mut self.accounts, kind.account, kind, times, &self.limits);
            fold_into(&mut self.peers, u64::from(kind.caller), kind, times, &self.limits);
        }
        self.evict();
    }

    /// Gives up the profiles that are beyond the limits.
    pub(super) fn evict(&mut self) {
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
