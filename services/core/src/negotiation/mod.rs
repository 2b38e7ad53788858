//! Evidence-bounded negotiation: how the council's roles reach one verdict about a case.
//!
//! [`freeze`] makes a case an [`EvidencePack`](evidence::EvidencePack) without a single caller-written string; roles claim [`predicate`]s on it;
//! [`check`] keeps what the evidence grounds; [`pool`] weighs it with capped influence under policy floors;
//! [`machine`] is the state machine that drives all of it. [`negotiate_deterministically`] needs no model.

pub mod brain;
pub mod calibration;
pub mod check;
pub mod conformal;
pub mod counterfactual;
mod drive;
pub mod evidence;
pub mod exchange;
mod freeze;
pub mod group;
pub mod handle;
pub mod labels;
pub mod machine;
mod opinion;
mod own;
pub mod pool;
pub mod predicate;
pub mod rebuttal;
pub mod refit;
mod report;
mod response;
mod route;
pub mod said;
pub mod score;
mod selection;
pub mod tactic;
pub mod terms;
pub mod text;
pub mod unusual;
pub mod weights;

#[cfg(test)]
mod calibration_tests;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod invariant_tests;
#[cfg(test)]
mod scale_tests;

use serde::{Deserialize, Serialize};

pub use drive::{negotiate, negotiate_deterministically};
pub use freeze::{Handles, evidence_of, freeze};
pub use machine::Negotiation;
pub use own::{OFFERS_MAX, offers};
pub use response::PlanOption;
pub use score::{event_score, joined, level};
pub use terms::{Basis, Bounds, Refits, Source, Terms};
pub use weights::Weights;

use crate::level::{Severity, Verdict};
use crate::plan::Plan;
use said::{Counterfactual, Hold, Said, Summary};

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

/// Why something was believed, with its weight in log-odds (positive speaks for an attack, negative for an innocent
/// cause). [`Language`](crate::language::Language) puts it into words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    pub said: Said,
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
    /// A person looks at it; says what kept it from either of the above.
    Person { why: Vec<Hold> },
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
    /// What happened.
    pub summary: Summary,
    /// By weight: strongest for, then strongest against.
    pub reasons: Vec<Reason>,
    pub rejected: Vec<RejectedClaim>,
    pub techniques: Vec<Technique>,
    pub plan: Plan,
    pub route: Route,
    /// The smallest change that gives another verdict; `None` where no single removal does and the model was not asked.
    pub counterfactual: Option<Counterfactual>,
    /// Who answered for each role that was asked.
    pub brains: Vec<(Role, Brain)>,
    /// SHA-256 of the frozen evidence, hex.
    pub evidence_digest: String,
    /// What it was reached under.
    pub basis: Basis,
}
