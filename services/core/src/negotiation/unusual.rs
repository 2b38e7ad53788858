//! What is unusual about an event that only the model raises.

use serde::{Deserialize, Serialize};

use super::evidence::{Event, Evidence};
use crate::feature::Feature;

/// Ways to be unusual that one sentence names.
const TOLD_MAX: usize = 3;

/// A way to be unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    Network,
    Program,
    Region,
    Targets,
    Calls,
    Hour,
    Refusals,
    /// Soon after the principal or session first appeared.
    Young,
    Pace,
}

/// The words in a feature's name that say which way it is; the first that fits.
const WAYS: &[(Way, &[&str])] = &[
    (Way::Network, &["source_rarity", "first_source", "session_moved", "source_class", "distinct_sources"]),
    (Way::Program, &["program", "agent"]),
    (Way::Region, &["region"]),
    (Way::Targets, &["target"]),
    (Way::Calls, &["api_rarity", "first_api", "service", "access_level", "novel", "surprise"]),
    (Way::Hour, &["hour_of_day", "weekday", "hour_share"]),
    (Way::Refusals, &["denied", "failed"]),
    (Way::Young, &["principal_age", "session_age"]),
    (Way::Pace, &["interval", "since_last", "hour_rate_ratio", "10s", "1m", "10m", "1h", "24h"]),
];

/// The ways in which an event is unusual by what moved the model most, the weightiest first; empty where the model was
/// not asked for its reasons.
pub(super) fn ways(evidence: &Evidence, event: &Event) -> Vec<Way> {
    let reasons = evidence.features.iter().filter(|fact| fact.event == event.handle && fact.weight_milli > 0);
    let mut told = Vec::new();
    for way in reasons.filter_map(|fact| way(fact.feature)) {
        if told.len() < TOLD_MAX && !told.contains(&way) {
            told.push(way);
        }
    }
    told
}

fn way(feature: Feature) -> Option<Way> {
    let name = feature.definition().name;
    WAYS.iter().find(|(_, words)| words.iter().any(|word| name.contains(word))).map(|(way, _)| *way)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_every_feature_is_a_way_to_be_unusual() {
        let silent: Vec<&str> =
            Feature::ALL.iter().filter(|feature| way(**feature).is_none()).map(|f| f.definition().name).collect();
        assert_eq!(silent, ["credential_kind", "caller_kind", "mfa"], "what a caller is makes nothing unusual");
        assert_eq!(way(Feature::SourceRarityAccount), Some(Way::Network));
        assert_eq!(way(Feature::Source1h), Some(Way::Pace));
        assert_eq!(way(Feature::AgentRarityPrincipal), Some(Way::Program));
    }
}
