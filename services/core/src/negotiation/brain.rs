//! What roles answer, and the deterministic brain of each: the same answers, produced by code.
//!
//! A deterministic role claims every predicate it owns that the evidence grounds. Its answers go through the same
//! check as those of a model, which it stands in for where there is none.

use serde::{Deserialize, Serialize};

use super::Role;
use super::check::{Findings, Truth};
use super::evidence::{Evidence, EvidencePack};
use super::handle::Handle;
use super::predicate::{Predicate, Strength};
use super::rebuttal::{self, Attack, Play};

/// Claims of one opinion that are read.
pub const CLAIMS_PER_OPINION_MAX: usize = 40;
/// Handles of one claim that are read.
pub const EVIDENCE_PER_CLAIM_MAX: usize = 12;
/// Techniques of one opinion that are read.
pub const TECHNIQUES_PER_OPINION_MAX: usize = 16;
/// Steps of one choice that are read.
pub const PICKS_MAX: usize = 12;
/// Bytes of a reporter's sentence.
pub const SENTENCE_BYTES_MAX: usize = 240;

/// The sealed answer of analysis, context or sceptic. Untrusted: any text may stand in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Opinion {
    /// Of the pack it is about.
    pub evidence_digest: String,
    pub claims: Vec<Claim>,
    /// The role cannot tell; its claims are not read.
    pub abstain: bool,
    pub techniques: Vec<TechniqueClaim>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    pub predicate: String,
    /// Handles.
    pub evidence: Vec<String>,
    pub strength: Strength,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TechniqueClaim {
    pub id: String,
    /// Handles.
    pub evidence: Vec<String>,
}

/// Which way the judge leans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lean {
    Benign,
    Suspicious,
    Malicious,
    Abstain,
}

/// A step the responder picks from the options it was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pick {
    pub playbook: String,
    /// Handle.
    pub target: String,
}

/// A claim that the check grounded.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub role: Role,
    pub predicate: Predicate,
    /// In order, none twice.
    pub evidence: Vec<Handle>,
    pub strength: Strength,
}

/// What the deterministic brain of a role claims, in the vocabulary's order.
pub(super) fn claims(role: Role, findings: &Findings) -> impl Iterator<Item = Standing> + '_ {
    let owned = Predicate::ALL.iter().filter(move |predicate| predicate.owner() == role);
    let claimed = owned.filter_map(move |predicate| match findings.truth(*predicate) {
        Truth::Holds(shown) => Some(Standing {
            role,
            predicate: *predicate,
            evidence: shown.iter().take(EVIDENCE_PER_CLAIM_MAX).copied().collect(),
            strength: predicate.definition().strength,
        }),
        Truth::Fails | Truth::Unknown => None,
    });
    claimed.take(CLAIMS_PER_OPINION_MAX)
}

/// What the deterministic brains of all roles claim.
pub(super) fn grounded_claims(findings: &Findings) -> Vec<Standing> {
    [Role::Analysis, Role::Context, Role::Sceptic].into_iter().flat_map(|role| claims(role, findings)).collect()
}

/// What of that stands after their rebuttal.
pub fn all_claims(evidence: &Evidence, findings: &Findings) -> Vec<Standing> {
    let standing = grounded_claims(findings);
    let played = rebuttal::open(&standing, evidence);
    rebuttal::surviving(&standing, &played)
}

/// The deterministic rebuttal: everything that may be played.
pub fn rebuttal(open: &[Attack]) -> Vec<Play> {
    let play = |attack: &Attack| Play { by: attack.by.name().to_owned(), on: attack.on.name().to_owned() };
    open.iter().map(play).collect()
}

/// The deterministic opinion of analysis, context or sceptic.
pub fn opinion(role: Role, pack: &EvidencePack, findings: &Findings) -> Opinion {
    let claims = claims(role, findings).map(|standing| Claim {
        predicate: standing.predicate.name().to_owned(),
        evidence: standing.evidence.iter().map(Handle::to_string).collect(),
        strength: standing.strength,
    });
    let techniques = match role {
        Role::Analysis => techniques(pack),
        _ => Vec::new(),
    };
    Opinion { evidence_digest: pack.digest().to_owned(), claims: claims.collect(), abstain: false, techniques }
}

/// The techniques that detections name, each with its first detection.
fn techniques(pack: &EvidencePack) -> Vec<TechniqueClaim> {
    let mut techniques: Vec<TechniqueClaim> = Vec::new();
    for detection in pack.evidence().active() {
        for id in &detection.techniques {
            if techniques.len() < TECHNIQUES_PER_OPINION_MAX && techniques.iter().all(|known| known.id != *id) {
                techniques.push(TechniqueClaim { id: id.clone(), evidence: vec![detection.handle.to_string()] });
            }
        }
    }
    techniques
}

/// The deterministic judge leans where the surviving claims all point one way. Its lean is recorded but weighs
/// nothing: code that leans on what the pool has weighed already would count it twice.
pub fn lean(standing: &[Standing]) -> Lean {
    let benign = standing.iter().filter(|claim| claim.predicate.is_benign()).count();
    match (standing.len() - benign, benign) {
        (0, 0) => Lean::Abstain,
        (0, _) => Lean::Benign,
        (attack, 0) if attack >= 3 => Lean::Malicious,
        _ => Lean::Suspicious,
    }
}
