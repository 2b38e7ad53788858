//! A case as a line of `scan --cases` tells it, read again: all that a finding is made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use trailwarden_core::level::{Severity, Verdict};
use trailwarden_core::time::Timestamp;

/// The fields that `crate::lines` writes, as far as a finding takes them in.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Line {
    pub case_id: String,
    pub account: String,
    pub principal: String,
    pub session: String,
    #[serde(deserialize_with = "time")]
    pub first_event_time: Timestamp,
    #[serde(deserialize_with = "time")]
    pub last_event_time: Timestamp,
    pub event_ids: Vec<String>,
    /// Probability that the case is an attack, 0 to 1.
    pub score: f64,
    /// `None` where another version's word is not on the scale; a line always has one.
    pub verdict: Option<Verdict>,
    pub severity: Option<Severity>,
    pub(super) techniques: Vec<Technique>,
    pub(super) reasons: Vec<Reason>,
    pub(super) plan: Vec<Step>,
    pub(super) brains: BTreeMap<String, String>,
    /// Whether something of the case is missing here.
    #[serde(skip)]
    pub is_cut: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Technique {
    pub(super) id: String,
    pub(super) event_ids: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Reason {
    pub(super) text: String,
    /// In log-odds; positive speaks for an attack.
    pub(super) weight: f64,
    pub(super) event_ids: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Step {
    pub(super) playbook: String,
    pub(super) target: String,
    pub(super) tier: String,
    pub(super) mode: String,
    pub(super) calls: Vec<Call>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Call {
    pub(super) service: String,
    pub(super) operation: String,
    pub(super) parameters: Value,
}

impl Line {
    /// Reads one line.
    ///
    /// # Errors
    /// When it is no line of `scan --cases`.
    pub fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    Timestamp::parse(&text).ok_or_else(|| de::Error::custom("a time as RFC 3339 writes it"))
}
