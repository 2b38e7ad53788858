//! Who may allow what. An order is a short text that an approver signs; the gate alone turns a proposal and its orders into
//! an [`Approved`], and nothing else can make one.
//!
//! The arithmetic of signatures is not core's: whoever calls hands in a [`Verify`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rehearsal::Rehearsed;
use super::{digest, unhex};
use crate::plan::{Action, Tier};
use crate::time::{DAY_MS, MINUTE_MS, Timestamp};

/// How long an approval holds.
pub const APPROVAL_MS: i64 = 30 * MINUTE_MS;
/// How old a proposal may be when it is approved, and when it is begun: the account may have changed since it was made. A
/// denial is kept for longer, so it holds for as long as its proposal could be approved.
pub const PROPOSAL_MS: i64 = DAY_MS;
/// How far the clock of an approver may be ahead.
const CLOCK_SKEW_MS: i64 = MINUTE_MS;
/// Bytes of an order; its longest part is the reason.
pub const ORDER_BYTES_MAX: usize = 4_096;
/// Bytes of a proposal, all its calls included.
pub const PROPOSAL_BYTES_MAX: usize = 256 * 1_024;
/// Steps of one proposal.
pub const STEPS_MAX: usize = 16;
/// Orders about the proposals of one case: with more, a denial might be overlooked, so no more are taken.
pub const ORDERS_MAX: usize = 64;
/// Orders to undo and to renew of one case, which are counted apart: what was done can be taken back whatever was proposed.
pub const COMMANDS_MAX: usize = 192;
/// What is signed begins so, that a signature over something else cannot pass for one.
const SIGNED_PREFIX: &[u8] = b"trailwarden order v1\n";

/// What is proposed, as people see it before they sign: the exact calls stand in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    pub tenant: String,
    pub case: String,
    /// Who asks: [`COUNCIL`], whose plan the steps have to be, or a person, who has to sign for it ([`Intent::Propose`]); never
    /// its approver.
    pub requester: String,
    /// Sessions issued before this are revoked.
    pub reference_time: Timestamp,
    /// How long each step stands before it is undone by itself, unless the lease is renewed.
    pub lease_ms: i64,
    pub steps: Vec<ProposedStep>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposedStep {
    pub action: Action,
    /// The step spelled out: calls, captures, checks and undo. What is executed is this and nothing else.
    pub spelled: Value,
    /// Values for places that the step leaves open, such as what the operator knows to be good.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub supplied: BTreeMap<String, Value>,
    /// What it would have blocked, for a step that denies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsed: Option<Rehearsed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// Asks for a proposal in one's own name; approving it is for others.
    Propose,
    Approve,
    Deny,
    Undo,
    Renew,
}

impl Intent {
    /// Whether it is about a proposal, and not about what stands.
    pub const fn is_about_proposal(self) -> bool {
        matches!(self, Self::Propose | Self::Approve | Self::Deny)
    }

    /// How many orders of its kind one case takes.
    pub const fn orders_max(self) -> usize {
        if self.is_about_proposal() { ORDERS_MAX } else { COMMANDS_MAX }
    }
}

/// What an approver signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub intent: Intent,
    pub tenant: String,
    pub case: String,
    /// sha256 of the proposal's text.
    pub proposal: String,
    pub approver: String,
    pub reason: String,
    pub signed_at: Timestamp,
    /// At most [`APPROVAL_MS`] later.
    pub expires_at: Timestamp,
    /// Chosen anew for each order; one is taken once.
    pub nonce: String,
}

/// An order's text and its signature in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedOrder {
    pub order: String,
    pub signature: String,
}

/// A signed order on its way to whoever executes, with the proposal that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submitted {
    /// The proposal's text, byte for byte as it was signed; empty with orders that need none.
    #[serde(default)]
    pub proposal: String,
    pub signed: SignedOrder,
}

impl Order {
    /// The text to sign and the bytes that the signature is over.
    pub fn to_sign(&self) -> (String, Vec<u8>) {
        // A struct of texts and numbers is always JSON.
        let text = serde_json::to_string(self).unwrap_or_default();
        let bytes = signed_bytes(&text);
        (text, bytes)
    }
}

fn signed_bytes(text: &str) -> Vec<u8> {
    [SIGNED_PREFIX, text.as_bytes()].concat()
}

/// Checks an Ed25519 signature.
pub trait Verify: Sync {
    fn verify(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool;
}

/// A person who may approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approver {
    pub name: String,
    /// Ed25519, 64 hexadecimal digits.
    pub public_key: String,
    pub tiers: BTreeSet<Tier>,
}

/// The approvers by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry(BTreeMap<String, Approver>);

impl Registry {
    /// # Errors
    /// In words: a name or a key that two have, or a key that is none. One key under two names would be two persons.
    pub fn new(approvers: Vec<Approver>) -> Result<Self, String> {
        let mut keys = BTreeSet::new();
        let mut by_name = BTreeMap::new();
        for approver in approvers {
            let name = approver.name.clone();
            let key = unhex(&approver.public_key).filter(|key| key.len() == 32);
            let Some(key) = key else {
                return Err(format!("the public key of {name} is not 64 hexadecimal digits"));
            };
            if name.is_empty() || name.len() > 128 || [AUTOMATIC, COUNCIL].contains(&name.as_str()) {
                return Err(format!("{name:?} is no name for an approver"));
            }
            if !keys.insert(key) {
                return Err(format!("{name} has a key that another approver has too"));
            }
            if by_name.insert(name.clone(), approver).is_some() {
                return Err(format!("two approvers are called {name}"));
            }
        }
        Ok(Self(by_name))
    }

    /// How many may approve a tier.
    pub fn approving(&self, tier: Tier) -> usize {
        self.0.values().filter(|approver| approver.tiers.contains(&tier)).count()
    }

    /// Whether an approver may agree to what needs this tier.
    pub fn may(&self, name: &str, tier: Tier) -> bool {
        self.0.get(name).is_some_and(|approver| tier == Tier::T0 || approver.tiers.contains(&tier))
    }
}

/// Stands where approvers stand for a step that needs none.
pub const AUTOMATIC: &str = "automatic";
/// Stands where the requester stands of what the council planned by itself.
pub const COUNCIL: &str = "council";

/// What is known of who asked for a proposal, whatever it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Steps of the plans that the council logged for the case.
    pub planned: Vec<Action>,
    /// Who signed for having asked for this very proposal.
    pub askers: BTreeSet<String>,
}

impl Origin {
    fn check(&self, proposal: &Proposal) -> Result<(), Refusal> {
        let is_same = |one: &Action, other: &Action| {
            let (own, planned) = (&one.target, &other.target);
            (one.playbook, &one.own) == (other.playbook, &other.own)
                && one.owner == other.owner
                && (own.kind, &own.account, &own.region, &own.id)
                    == (planned.kind, &planned.account, &planned.region, &planned.id)
        };
        let is_planned = |action: &Action| self.planned.iter().any(|planned| is_same(action, planned));
        if proposal.requester != COUNCIL {
            let is_signed = self.askers.contains(&proposal.requester);
            return if is_signed { Ok(()) } else { Err(Refusal::Unasked(proposal.requester.clone())) };
        }
        match proposal.steps.iter().find(|step| !is_planned(&step.action)) {
            None => Ok(()),
            Some(step) => Err(Refusal::Unplanned(step.action.name().to_owned())),
        }
    }
}

/// Why the gate does not open. Each is written to the audit log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    #[error("it cannot be read: {0}")]
    Malformed(String),
    #[error("{0} is not among the approvers")]
    Unknown(String),
    #[error("the signature of {0} is forged")]
    Forged(String),
    #[error("the order of {0} is not for this tenant or case")]
    Elsewhere(String),
    #[error("the order of {0} is stale")]
    Stale(String),
    #[error("the order of {0} is from the future")]
    Early(String),
    #[error("the order of {0} was taken before")]
    Replayed(String),
    #[error("the plan is not the one that {0} approved")]
    Changed(String),
    #[error("{0} asked for it and cannot approve it")]
    SelfApproved(String),
    #[error("it is said that {0} asked for it, who has not signed for that")]
    Unasked(String),
    #[error("{0} is no step of the council's plan: whoever asks for it has to sign for that")]
    Unplanned(String),
    #[error("the proposal was made longer ago than a day")]
    Ancient,
    #[error("there are as many orders about this case as may be")]
    TooMany,
    #[error("{approver} may not approve {tier:?}")]
    Beyond { approver: String, tier: Tier },
    /// Not an offence: others have to agree as well.
    #[error("{have} of {need} approvers agreed")]
    Missing { have: usize, need: usize },
    #[error("{0} denied it")]
    Denied(String),
}

impl Refusal {
    /// Whether it only waits for somebody else.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// Whether anybody can have it come to this as often as they like, with no key of an approver's.
    pub fn is_anybodys(&self) -> bool {
        use Refusal as R;
        matches!(
            self,
            R::Malformed(_)
                | R::Unknown(_)
                | R::Forged(_)
                | R::Elsewhere(_)
                | R::Stale(_)
                | R::Replayed(_)
                | R::TooMany
        )
    }

    /// A word of the program for it, as labels of measures need it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Unknown(_) => "unknown_approver",
            Self::Forged(_) => "forged",
            Self::Elsewhere(_) => "elsewhere",
            Self::Stale(_) => "stale",
            Self::Early(_) => "early",
            Self::Replayed(_) => "replayed",
            Self::Changed(_) => "changed",
            Self::SelfApproved(_) => "self_approved",
            Self::Unasked(_) => "unasked",
            Self::Unplanned(_) => "unplanned",
            Self::Ancient => "ancient",
            Self::TooMany => "too_many",
            Self::Beyond { .. } => "beyond",
            Self::Missing { .. } => "missing",
            Self::Denied(_) => "denied",
        }
    }
}

/// Something that was agreed to. Only [`Gate`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Approved<T> {
    inner: T,
    approvers: Vec<String>,
    nonces: Vec<String>,
}

impl<T> Approved<T> {
    pub fn get(&self) -> &T {
        &self.inner
    }

    /// Who agreed; none for what needs nobody.
    pub fn approvers(&self) -> &[String] {
        &self.approvers
    }

    /// To be kept for as long as orders hold, so that none is taken twice.
    pub fn nonces(&self) -> &[String] {
        &self.nonces
    }
}

/// What the gate knows.
#[derive(Clone, Copy)]
pub struct Gate<'a> {
    pub tenant: &'a str,
    pub registry: &'a Registry,
    pub verify: &'a dyn Verify,
    /// Nonces that were taken.
    pub used: &'a BTreeSet<String>,
    /// When the broker stored the order that is judged: what held then holds, however late it is taken.
    pub at: Timestamp,
}

impl Gate<'_> {
    /// Opens for a proposal that enough of the right persons approved, or that needs nobody: all of T0, and all up to T1
    /// under the two-key rule (`two_key`: two independent kinds of evidence carry the verdict).
    ///
    /// # Errors
    /// The first thing that is wrong; [`Refusal::Missing`] when nothing is but more have to agree.
    pub fn admit(
        &self,
        text: &str,
        orders: &[SignedOrder],
        origin: &Origin,
        two_key: bool,
    ) -> Result<Approved<Proposal>, Refusal> {
        let proposal = self.proposal(text)?;
        let tier = proposal.steps.iter().map(|step| step.action.least_tier()).max();
        let tier = tier.unwrap_or(Tier::T3);
        let need = match tier {
            Tier::T0 => 0,
            Tier::T1 => usize::from(!two_key),
            Tier::T2 => 1,
            Tier::T3 => 2,
        };
        let own = digest(text.as_bytes());
        let (mut approvers, mut nonces) = (BTreeSet::new(), Vec::new());
        for signed in orders {
            let (order, approver) = self.order(signed, &proposal.case)?;
            match order.intent {
                Intent::Approve => {}
                Intent::Deny => return Err(Refusal::Denied(order.approver)),
                Intent::Propose | Intent::Undo | Intent::Renew => continue,
            }
            if order.proposal != own {
                return Err(Refusal::Changed(order.approver));
            }
            if order.approver == proposal.requester || origin.askers.contains(&order.approver) {
                return Err(Refusal::SelfApproved(order.approver));
            }
            // What needs nobody, anybody may order.
            if !self.registry.may(&approver.name, tier) {
                return Err(Refusal::Beyond { approver: order.approver, tier });
            }
            if nonces.contains(&order.nonce) {
                return Err(Refusal::Replayed(order.approver));
            }
            nonces.push(order.nonce);
            approvers.insert(order.approver);
        }
        origin.check(&proposal)?;
        if approvers.len() < need {
            return Err(Refusal::Missing { have: approvers.len(), need });
        }
        Ok(Approved { inner: proposal, approvers: approvers.into_iter().collect(), nonces })
    }

    /// Checks an order as far as can be without its proposal and whatever time it is: whose it is, and that it is for here.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn authentic(&self, signed: &SignedOrder, case: &str) -> Result<Order, Refusal> {
        Ok(self.signed_order(signed, case)?.0)
    }

    /// Checks an order before it is sent on its way, with the proposal that comes along: whatever has to hold of it alone.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn receive(&self, submitted: &Submitted, case: &str) -> Result<Order, Refusal> {
        let (order, _) = self.order(&submitted.signed, case)?;
        let text = &submitted.proposal;
        if text.len() > PROPOSAL_BYTES_MAX {
            return Err(Refusal::Malformed("the proposal is too long".to_owned()));
        }
        let needs_proposal = matches!(order.intent, Intent::Propose | Intent::Approve);
        if needs_proposal && digest(text.as_bytes()) != order.proposal {
            return Err(Refusal::Changed(order.approver));
        }
        Ok(order)
    }

    /// Checks that a person asks for a proposal in their own name, whose word that is.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn ask(&self, submitted: &Submitted, case: &str) -> Result<String, Refusal> {
        let order = self.command(&submitted.signed, case, Intent::Propose)?.inner;
        let proposal = self.proposal(&submitted.proposal)?;
        if digest(submitted.proposal.as_bytes()) != order.proposal {
            return Err(Refusal::Changed(order.approver));
        }
        if proposal.requester != order.approver || proposal.case != case {
            return Err(Refusal::Unasked(proposal.requester));
        }
        Ok(order.approver)
    }

    /// Checks one order that stands by itself, such as one to undo: any approver may bring back what was.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn command(&self, signed: &SignedOrder, case: &str, intent: Intent) -> Result<Approved<Order>, Refusal> {
        let (order, _) = self.order(signed, case)?;
        if order.intent != intent || intent == Intent::Approve {
            return Err(Refusal::Malformed("it orders something else".to_owned()));
        }
        let (approvers, nonces) = (vec![order.approver.clone()], vec![order.nonce.clone()]);
        Ok(Approved { inner: order, approvers, nonces })
    }

    fn proposal(&self, text: &str) -> Result<Proposal, Refusal> {
        if text.len() > PROPOSAL_BYTES_MAX {
            return Err(Refusal::Malformed("the proposal is too long".to_owned()));
        }
        let read = serde_json::from_str::<Proposal>(text);
        let proposal = read.map_err(|error| Refusal::Malformed(format!("the proposal: {error}")))?;
        if proposal.tenant != self.tenant {
            return Err(Refusal::Elsewhere(proposal.requester));
        }
        if proposal.steps.is_empty() || proposal.steps.len() > STEPS_MAX || proposal.lease_ms <= 0 {
            return Err(Refusal::Malformed("the proposal's steps or lease".to_owned()));
        }
        if self.at.since_ms(proposal.reference_time) > PROPOSAL_MS {
            return Err(Refusal::Ancient);
        }
        Ok(proposal)
    }

    fn signed_order(&self, signed: &SignedOrder, case: &str) -> Result<(Order, &Approver), Refusal> {
        if signed.order.len() > ORDER_BYTES_MAX {
            return Err(Refusal::Malformed("the order is too long".to_owned()));
        }
        let read = serde_json::from_str::<Order>(&signed.order);
        let order = read.map_err(|error| Refusal::Malformed(format!("the order: {error}")))?;
        let who = || order.approver.clone();
        let approver = self.registry.0.get(&order.approver).ok_or_else(|| Refusal::Unknown(who()))?;
        let (key, signature) = (unhex(&approver.public_key), unhex(&signed.signature));
        let (Some(key), Some(signature)) = (key, signature) else {
            return Err(Refusal::Forged(who()));
        };
        if !self.verify.verify(&key, &signed_bytes(&signed.order), &signature) {
            return Err(Refusal::Forged(who()));
        }
        if order.tenant != self.tenant || order.case != case {
            return Err(Refusal::Elsewhere(who()));
        }
        Ok((order, approver))
    }

    fn order(&self, signed: &SignedOrder, case: &str) -> Result<(Order, &Approver), Refusal> {
        let (order, approver) = self.signed_order(signed, case)?;
        let who = || order.approver.clone();
        let lasts_ms = order.expires_at.since_ms(order.signed_at);
        if order.expires_at.since_ms(self.at) <= 0 || lasts_ms > APPROVAL_MS {
            return Err(Refusal::Stale(who()));
        }
        if order.signed_at.since_ms(self.at) > CLOCK_SKEW_MS {
            return Err(Refusal::Early(who()));
        }
        if order.nonce.len() < 16 || order.nonce.len() > 64 || !order.nonce.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Refusal::Malformed("the order's nonce".to_owned()));
        }
        if self.used.contains(&order.nonce) {
            return Err(Refusal::Replayed(who()));
        }
        Ok((order, approver))
    }
}

#[cfg(test)]
#[path = "approval_tests.rs"]
mod tests;
