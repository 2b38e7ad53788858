//! Groups of features that describe one aspect of an event, and what they are when nothing is out of the ordinary.
//!
//! A counterfactual asks what would be said had one aspect been ordinary, all else as it was. "Ordinary" is what the vector
//! itself tells of the principal's habit; where it tells nothing, the feature becomes unknown, as it is for want of history.

use serde::{Deserialize, Serialize};

use crate::feature::{Feature, FeatureVector};

/// An aspect of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    Source,
    Program,
    Region,
    Calls,
    Targets,
    Hour,
    Rhythm,
    Rate,
    Variety,
    Refusals,
    Session,
    Age,
}

/// Bits of what a principal does at least once in four times.
const USUAL_BITS: f32 = 2.0;
const HOUR_S: f32 = 3_600.0;
const WEEK_S: f32 = 7.0 * 24.0 * HOUR_S;

impl Group {
    pub const ALL: &'static [Group] = &[
        Group::Source,
        Group::Program,
        Group::Region,
        Group::Calls,
        Group::Targets,
        Group::Hour,
        Group::Rhythm,
        Group::Rate,
        Group::Variety,
        Group::Refusals,
        Group::Session,
        Group::Age,
    ];

    /// The group of a feature; `None` for what a caller or a call is, which makes nothing unusual by itself.
    pub fn of(feature: Feature) -> Option<Self> {
        use Feature as F;
        Some(match feature {
            F::HourOfDay | F::Weekday | F::HourShare => Self::Hour,
            F::SinceLast | F::IntervalMean | F::IntervalVariation => Self::Rhythm,
            F::Principal10s | F::Principal1m | F::Principal10m | F::Principal1h | F::Principal24h => Self::Rate,
            F::Session10s | F::Session1m | F::Session10m | F::Session1h | F::Session24h => Self::Rate,
            F::Source10s | F::Source1m | F::Source10m | F::Source1h | F::Source24h => Self::Rate,
            F::Api10s | F::Api1m | F::Api10m | F::Api1h | F::Api24h => Self::Rate,
            F::Listing10m | F::Writing10m | F::HourRateRatio => Self::Rate,
            F::Denied10m | F::Denied1h | F::Denied | F::Failed => Self::Refusals,
            F::DistinctApis10m | F::DistinctTargets10m | F::DistinctTargets1h => Self::Variety,
            F::DistinctSources1h | F::DistinctSessions1h | F::Novel1h => Self::Variety,
            F::SessionAge | F::SessionMoved | F::SessionNovel => Self::Session,
            F::SessionSurprise | F::SessionSurpriseMax => Self::Session,
            F::ApiRarityPrincipal | F::ApiRarityAccount | F::ApiRarityPeers => Self::Calls,
            F::ServiceRarityPrincipal | F::ServiceRarityAccount | F::FirstServicePrincipal => Self::Calls,
            F::FirstApiPrincipal | F::FirstApiAccount => Self::Calls,
            F::SourceRarityPrincipal | F::SourceRarityAccount => Self::Source,
            F::FirstSourceAccount | F::FirstSourcePrincipal => Self::Source,
            F::RegionRarityPrincipal | F::RegionRarityAccount | F::FirstRegionAccount => Self::Region,
            F::AgentRarityPrincipal | F::AgentRarityAccount | F::FirstAgentPrincipal => Self::Program,
            F::ProgramRarityPrincipal | F::ProgramRarityAccount | F::FirstProgramPrincipal => Self::Program,
            F::TargetRarityPrincipal | F::TargetRarityAccount => Self::Targets,
            F::FirstTargetPrincipal | F::FirstTargetAccount => Self::Targets,
            F::PrincipalAge => Self::Age,
            F::CredentialKind | F::CallerKind | F::AccessLevel | F::AgentFamily | F::SourceClass | F::Mfa => {
                return None;
            }
        })
    }

    /// The same event with this aspect as it usually is. What is unknown stays so; nothing becomes less usual than it was.
    pub fn as_usual(self, features: &mut FeatureVector) {
        let hourly = usual_hourly(features);
        for feature in Feature::ALL.iter().filter(|feature| Self::of(**feature) == Some(self)) {
            if let Some(value) = features.get(*feature) {
                features.set(*feature, usual(*feature, value, hourly));
            }
        }
    }
}

/// The principal's mean events in an active hour, at least the one at hand; 1 where history does not tell.
fn usual_hourly(features: &FeatureVector) -> f32 {
    let (hour, ratio) = (features.get(Feature::Principal1h), features.get(Feature::HourRateRatio));
    match (hour, ratio) {
        (Some(hour), Some(ratio)) if ratio > 0.0 => (hour / ratio).max(1.0),
        _ => 1.0,
    }
}

/// What a feature that is `value` would usually be; not a number where nothing tells.
fn usual(feature: Feature, value: f32, hourly: f32) -> f32 {
    use Feature as F;
    let within = |seconds: f32| value.min((hourly * seconds / HOUR_S).max(1.0).round());
    match feature {
        F::Principal10s | F::Session10s | F::Source10s | F::Api10s => within(10.0),
        F::Principal1m | F::Session1m | F::Source1m | F::Api1m => within(60.0),
        F::Principal10m | F::Session10m | F::Source10m | F::Api10m => within(600.0),
        F::Listing10m | F::Writing10m => within(600.0),
        F::Principal1h | F::Session1h | F::Source1h | F::Api1h => within(HOUR_S),
        F::Principal24h | F::Session24h | F::Source24h | F::Api24h => within(24.0 * HOUR_S),
        F::HourRateRatio | F::DistinctApis10m | F::DistinctTargets10m | F::DistinctTargets1h => value.min(1.0),
        F::DistinctSources1h | F::DistinctSessions1h => value.min(1.0),
        F::PrincipalAge => value.max(WEEK_S),
        F::HourOfDay | F::Weekday | F::HourShare => f32::NAN,
        F::SinceLast | F::IntervalMean | F::IntervalVariation | F::SessionAge => f32::NAN,
        _ if feature.definition().unit == "bits" => value.min(USUAL_BITS),
        // Firsts, refusals, novelties, a session that moved.
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_stays_and_what_is_unknown_stays_unknown() {
        for group in Group::ALL {
            let mut unknown = FeatureVector::default();
            group.as_usual(&mut unknown);
            assert_eq!(unknown, FeatureVector::default(), "{group:?}");
            let mut busy = FeatureVector::default();
            Feature::ALL.iter().for_each(|feature| busy.set(*feature, 50.0));
            let before = busy.clone();
            group.as_usual(&mut busy);
            for feature in Feature::ALL {
                let same = busy.get(*feature) == before.get(*feature);
                assert_eq!(same, Group::of(*feature) != Some(*group), "{group:?} {}", feature.definition().name);
            }
            let mut again = busy.clone();
            group.as_usual(&mut again);
            assert_eq!(again, busy, "{group:?}: usual is usual");
        }
    }

    #[test]
    fn nothing_becomes_less_usual_than_it_was() {
        for (age, usual) in [(60.0, WEEK_S), (50.0 * WEEK_S, 50.0 * WEEK_S)] {
            let mut features = FeatureVector::default();
            features.set(Feature::PrincipalAge, age);
            Group::Age.as_usual(&mut features);
            assert_eq!(features.get(Feature::PrincipalAge), Some(usual));
        }
    }

    #[test]
    fn a_usual_rate_is_the_principals_own() {
        let mut features = FeatureVector::default();
        for (feature, value) in
            [(Feature::Principal1h, 240.0), (Feature::HourRateRatio, 8.0), (Feature::Principal10m, 200.0)]
        {
            features.set(feature, value);
        }
        Group::Rate.as_usual(&mut features);
        assert_eq!(features.get(Feature::Principal1h), Some(30.0));
        assert_eq!(features.get(Feature::Principal10m), Some(5.0));
        assert_eq!(features.get(Feature::HourRateRatio), Some(1.0));
    }
}
