//! What the bus holds of an action.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use trailwarden_core::plan::Action;
use trailwarden_core::response::life::Life;
use trailwarden_core::time::Timestamp;

use super::LEASE_MS_MAX;

/// One action: the latest message of its subject is its state, moved by compare-and-set alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Of [`trailwarden_core::response::idempotency_key`].
    pub key: String,
    pub case: String,
    pub action: Action,
    pub reference_time: Timestamp,
    /// sha256 of the proposal that was approved.
    pub proposal: String,
    /// Who asked for it.
    #[serde(default)]
    pub requester: String,
    /// sha256 of the calls that were approved, as the executor spells them out.
    #[serde(default)]
    pub calls: String,
    /// How long it may stand without being renewed.
    #[serde(default = "longest")]
    pub lease_ms: i64,
    /// Who approved; empty for what needs nobody.
    pub approvers: Vec<String>,
    pub begun_at: Timestamp,
    pub life: Life,
    /// What was captured, kept and derived, by name.
    pub known: BTreeMap<String, Value>,
    /// Effects that it has joined, by name; the latest is the one that stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
    /// The executor that works on it, and until when nobody else does.
    pub holder: String,
    pub held_until: Timestamp,
}

/// Of actions that were begun before it was written down.
const fn longest() -> i64 {
    LEASE_MS_MAX
}
