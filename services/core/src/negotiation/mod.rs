//! Evidence-bounded negotiation: how the council's roles reach one verdict about a case.

use serde::{Deserialize, Serialize};

use crate::level::{Severity, Verdict};
use crate::plan::Plan;

/// A seat at the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Analysis,
    Context,
    Sceptic,
    Judge,
    Responder,
    Reporter,
}

/// Who answered for a role: `deterministic`, `llm:<model>` or `recorded`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Brain {
    Deterministic,
    Llm(String),
    Recorded,
}

/// Why something was believed, in words a person reads, with its weight in log-odds
/// (positive speaks for an attack, negative for an innocent cause).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    pub text: String,
    pub weight: f64,
    pub event_ids: Vec<String>,
    /// Whose claim it is; `None` for detections and other facts that code alone established.
    pub role: Option<Role>,
}

/// A claim that did not survive the check: what was said that was not so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RejectedClaim {
    pub role: Role,
    pub predicate: String,
    /// `ungrounded`, `contradicted`, `unknown` or `malformed`.
    pub finding: String,
}

/// An ATT&CK technique and the events that show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Technique {
    pub id: String,
    pub event_ids: Vec<String>,
}

/// Where a case goes next, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Route {
    /// Closed as benign without a person.
    Closed,
    /// A tier-1 step may be taken without a person.
    Automatic,
    /// A person looks at it; the text says what kept it from either of the above.
    Person { why: String },
}

/// The council's answer for one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    pub case_id: String,
    pub verdict: Verdict,
    pub severity: Severity,
    /// Probability that the case is an attack, after all roles.
    pub probability: f64,
    /// The same without any model's contribution.
    pub probability_deterministic: f64,
    /// One sentence: what happened.
    pub summary: String,
    /// By weight: strongest for, then strongest against.
    pub reasons: Vec<Reason>,
    pub rejected: Vec<RejectedClaim>,
    pub techniques: Vec<Technique>,
    pub plan: Plan,
    pub route: Route,
    /// The smallest change of the evidence that gives another verdict, in words; `None` where none was found.
    pub counterfactual: Option<String>,
    /// Who answered for each role that was asked.
    pub brains: Vec<(Role, Brain)>,
    /// SHA-256 of the frozen evidence, hex.
    pub evidence_digest: String,
}
