//! Detections: rules in Sigma's format over single events, Sigma correlations over several, and
//! first-seen facts. All of them are [`Rule`]s of one [`RuleSet`] and are named by their [`RuleIndex`].

pub mod builtin;
mod correlation;
mod correlator;
pub mod derived;
mod error;
mod index;
mod rule_set;
mod sigma;

pub use correlation::{COUNT_MAX, VALUES_PER_EVENT_MAX};
pub use correlator::{Correlator, ENTRIES_MAX, GROUPS_MAX, Group};
pub use error::{Error, Problem};
pub use rule_set::{RULES_MAX, RuleSet};

use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::level::Severity;

/// A rule's place in its [`RuleSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleIndex(pub u16);

/// A single-event rule that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    pub rule: RuleIndex,
    /// What correlations over this rule count: for each of them, one entry for each distinct value. Empty when
    /// no correlation refers to the rule, or when the event lacks what they group by.
    pub counted: Vec<CountedValue>,
}

/// What a match adds to a group of a correlation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CountedValue {
    pub correlation: RuleIndex,
    /// Of the group-by fields' values.
    pub group_hash: u64,
    /// Of the counted field's value (`value_count`), the base rule (`temporal`), or 0 (`event_count`).
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
    /// Whether a match alone is a detection. Base rules of correlations usually are none, first-seen rules never;
    /// [`RuleSet::fires`] answers for both.
    pub raises: bool,
    /// For a first-seen rule: the feature that makes its match a detection when it is 1.
    pub first_seen: Option<Feature>,
}

impl Rule {
    /// Whether a match can be a detection at all: base rules of correlations and silenced rules never are.
    pub fn can_fire(&self) -> bool {
        self.raises || self.first_seen.is_some()
    }
}
