//! What came of a case, as text: equal outcomes are equal bytes, and a person can read where they are not.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trailwarden_core::activity::Observation;
use trailwarden_core::case::{Case, Signal};
use trailwarden_core::detection::{RuleIndex, RuleSet};
use trailwarden_core::feature::{Feature, FeatureVector};
use trailwarden_core::level::Level;
use trailwarden_core::negotiation::Judgement;

use crate::Step;

/// All stages of one case, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// A line of JSON for each event, in order: as it was read, what matched, what was measured, what it is worth.
    pub events: String,
    /// The case, without its signals.
    pub case: String,
    pub decided: Decided,
}

impl Outcome {
    /// Bytes of the longest text that is read as one tree.
    pub(super) fn longest(&self) -> Option<usize> {
        let Self { events, case, decided: Decided { evidence, judgement, calls } } = self;
        let whole = [case, evidence, judgement, calls].map(String::len);
        events.lines().map(str::len).chain(whole).max()
    }
}

/// What the council was shown and what it decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The frozen evidence.
    pub evidence: String,
    /// The judgement, but for who answered.
    pub judgement: String,
    /// The calls of the plan.
    pub calls: String,
}

impl Decided {
    /// `calls` is any text that spells the plan out.
    pub fn new(evidence: &str, judgement: &Judgement, calls: String) -> Self {
        let mut text = json!(judgement);
        if let Some(fields) = text.as_object_mut() {
            // A replay answers from the record, which is nobody's new opinion.
            fields.remove("brains");
        }
        Self { evidence: evidence.to_owned(), judgement: text.to_string(), calls }
    }

    /// SHA-256 over judgement and calls, hex.
    pub fn digest(&self) -> String {
        digest([self.judgement.as_str(), &self.calls].into_iter())
    }
}

/// SHA-256 over texts, each with its length, hex.
pub fn digest<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hex(&hasher.finalize())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An event as the stages before the case saw it.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) event_id: String,
    seen: Box<RawValue>,
    score: f64,
    level: Level,
}

impl Observed {
    pub(super) fn of(rules: &RuleSet, observation: &Observation<'_>) -> Self {
        let id = |rule: RuleIndex| rules.rule(rule).map_or("", |rule| rule.id.as_str());
        let Observation { activity, links, matches, details } = observation;
        let counted = |hit: &trailwarden_core::detection::Match| {
            let each = hit.counted.iter().map(|counted| {
                json!({"correlation": id(counted.correlation), "group": counted.group_hash, "value": counted.value_hash})
            });
            each.collect::<Vec<Value>>()
        };
        let hits = matches.iter().map(|hit| json!({"rule": id(hit.rule), "counted": counted(hit)}));
        let seen = json!({
            "activity": activity,
            "links": links,
            "matches": hits.collect::<Vec<_>>(),
            "details": details,
        });
        Self {
            event_id: activity.event_id.to_owned(),
            seen: to_raw_value(&seen).expect("a tree of JSON is written as JSON"),
            score: 0.0,
            level: Level::None,
        }
    }

    pub(super) fn scored(&mut self, step: &Step) {
        (self.score, self.level) = (step.score, step.level);
    }
}

/// An event's line.
#[derive(Serialize)]
struct EventLine<'a> {
    event_id: &'a str,
    seen: &'a RawValue,
    score: f64,
    level: Level,
    /// Of an event that the case keeps in full.
    signal: Option<SignalLine<'a>>,
}

#[derive(Serialize)]
struct SignalLine<'a> {
    features: Features<'a>,
    learned: Option<f64>,
    detections: Vec<&'a str>,
}

struct Features<'a>(&'a FeatureVector);

/// By name, what is unknown left out. Written at its own width, so that 0.1 stays 0.1.
impl Serialize for Features<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for feature in Feature::ALL {
            if let Some(value) = self.0.get(*feature) {
                map.serialize_entry(feature.definition().name, &value)?;
            }
        }
        map.end()
    }
}

/// A line for each event.
pub(super) fn event_lines(rules: &RuleSet, observed: &[Observed], case: Option<&Case>) -> String {
    let mut text = String::new();
    for event in observed {
        let is_it = |signal: &&Signal| signal.event_id == event.event_id;
        let signal = case.and_then(|case| case.signals.iter().find(is_it)).map(|signal| SignalLine {
            features: Features(&signal.features),
            learned: signal.learned,
            detections: signal.detections.iter().filter_map(|rule| Some(rules.rule(*rule)?.id.as_str())).collect(),
        });
        let Observed { event_id, seen, score, level } = event;
        let line = EventLine { event_id, seen, score: *score, level: *level, signal };
        text.push_str(&serde_json::to_string(&line).expect("texts and numbers are written as JSON"));
        text.push('\n');
    }
    text
}

/// The case apart from its signals.
pub(super) fn case_text(case: &Case) -> String {
    let ids: Vec<&str> = case.signals.iter().map(|signal| signal.event_id.as_str()).collect();
    let case = json!({
        "case_id": case.id,
        "account": case.account,
        "principal": case.principal,
        "session": case.session,
        "first_event_time": case.first_event_time.to_string(),
        "last_event_time": case.last_event_time.to_string(),
        "event_ids": ids,
        "further_event_ids": case.further_event_ids,
        "learned": case.learned,
    });
    case.to_string()
}
