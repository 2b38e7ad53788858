//! Detections: rules in Sigma's format over single events, Sigma correlations over several, and
//! first-seen facts. All of them are [`Rule`]s of one [`RuleSet`] and are named by their [`RuleIndex`].

pub mod derived;

use serde::{Deserialize, Serialize};

use crate::level::Severity;

/// A rule's place in its [`RuleSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleIndex(pub u16);

/// A single-event rule that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    pub rule: RuleIndex,
    /// What correlations over this rule count: one hash for each distinct value of each
    /// (correlation, field) that refers to it. Empty when none does.
    pub counted: Vec<CountedValue>,
}

/// A field's value as a value-count correlation sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CountedValue {
    pub correlation: RuleIndex,
    pub value_hash: u64,
}

/// What a person is told about a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule's UUID (or name) as its file gives it.
    pub id: String,
    pub title: String,
    /// Why a match matters.
    pub description: String,
    pub severity: Severity,
    /// ATT&CK technique ids, `T1098.001`.
    pub techniques: Vec<String>,
    /// ATT&CK tactics, `persistence`.
    pub tactics: Vec<String>,
    pub false_positives: Vec<String>,
    /// The claim of NEGOTIATION's vocabulary that a match grounds, `logging_tamper`.
    pub predicate: Option<String>,
    /// A severity that no role may go below once this rule matched.
    pub floor: Option<Severity>,
    /// Whether a match is a detection of its own. Base rules of correlations usually are not.
    pub raises: bool,
}
