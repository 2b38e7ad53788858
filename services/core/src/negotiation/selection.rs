//! Which signals of a case a pack holds in full, and what all of them show.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::Technique;
use super::evidence::EVENTS_MAX;
use crate::case::Signal;
use crate::detection::{Rule, RuleIndex};
use crate::level::Severity;
use crate::time::Timestamp;

/// The signals that a pack holds: first the heaviest of every rule, by severity, so that no detection goes missing
/// while there is room, then the heaviest of the rest. In time.
pub(super) fn choose<'a>(signals: &'a [Signal], rules: &[Rule]) -> Vec<&'a Signal> {
    let mut by_weight: Vec<&Signal> = signals.iter().collect();
    by_weight.sort_by(|a, b| {
        let (a_score, b_score) = (finite(a.score), finite(b.score));
        b_score.total_cmp(&a_score).then_with(|| order(a).cmp(&order(b)))
    });
    if by_weight.len() > EVENTS_MAX {
        let mut seen = BTreeSet::new();
        let mut firsts: Vec<(Reverse<Severity>, usize)> = Vec::new();
        for (place, signal) in by_weight.iter().enumerate() {
            let fresh = signal.detections.iter().filter(|rule| seen.insert(**rule));
            let severity =
                fresh.filter_map(|rule| raised(rules, *rule)).map(|rule| rule.floor.max(Some(rule.severity)));
            if let Some(severity) = severity.flatten().max() {
                firsts.push((Reverse(severity), place));
            }
        }
        firsts.sort_unstable();
        let mut kept: BTreeSet<usize> = firsts.iter().take(EVENTS_MAX).map(|(_, place)| *place).collect();
        for place in 0..by_weight.len() {
            if kept.len() >= EVENTS_MAX {
                break;
            }
            kept.insert(place);
        }
        by_weight = kept.into_iter().map(|place| by_weight[place]).collect();
    }
    by_weight.sort_by(|a, b| order(a).cmp(&order(b)));
    by_weight
}

fn order(signal: &Signal) -> (Timestamp, &str) {
    (signal.event_time, &signal.event_id)
}

pub(super) fn finite(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) }
}

/// A rule that is a detection of its own.
pub(super) fn raised(rules: &[Rule], index: RuleIndex) -> Option<&Rule> {
    rules.get(usize::from(index.0)).filter(|rule| rule.can_fire())
}

/// Technique ids in ATT&CK's form (`T1098`, `T1098.001`).
pub(super) fn technique_id(text: &str) -> Option<String> {
    let id = text.trim().to_ascii_uppercase();
    let (technique, sub) = id.split_once('.').map_or((id.as_str(), None), |(t, sub)| (t, Some(sub)));
    let digits = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    let valid =
        technique.strip_prefix('T').is_some_and(|number| digits(number, 4)) && sub.is_none_or(|sub| digits(sub, 3));
    valid.then_some(id)
}

pub(super) fn techniques(signals: &[Signal], rules: &[Rule]) -> Vec<Technique> {
    let mut found: BTreeMap<String, BTreeSet<(Timestamp, &str)>> = BTreeMap::new();
    for signal in signals {
        for rule in signal.detections.iter().filter_map(|index| raised(rules, *index)) {
            for id in rule.techniques.iter().filter_map(|id| technique_id(id)) {
                found.entry(id).or_default().insert(order(signal));
            }
        }
    }
    let named = |(id, events): (String, BTreeSet<(_, &str)>)| Technique {
        id,
        event_ids: events.into_iter().map(|(_, event_id)| event_id.to_owned()).collect(),
    };
    found.into_iter().map(named).collect()
}
