//! What was done about one case, for whoever reads it later: what was proposed and ordered, how each action stands, and
//! what was written down.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;
use trailwarden_bus::{Bus, Stored, Stream, Subject};
use trailwarden_core::plan::Tier;
use trailwarden_core::response::approval::{Intent, Order, Proposal, STEPS_MAX, Submitted};
use trailwarden_core::response::audit::Entry;
use trailwarden_core::response::life::{Evidence, Outcome, State, Work};
use trailwarden_core::response::rehearsal::Rehearsed;
use trailwarden_core::response::{digest, idempotency_key};
use trailwarden_core::time::Timestamp;

use super::{ExecutorError, LIFE, Record, read};

/// Messages about the case that are read; an executor looks through no more either.
const MESSAGES_MAX: usize = super::orders::MESSAGES_MAX;
/// Entries of the audit log that are told, the latest ones; entries that are looked through for them, and read at once.
const ENTRIES_MAX: usize = 256;
const LOOKED_THROUGH_MAX: u64 = 50_000;
const PAGE: usize = 512;

/// What was done about a case.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct History {
    pub proposals: Vec<Proposed>,
    /// As they came, good or not: the audit log says which were taken.
    pub orders: Vec<Ordered>,
    pub actions: Vec<Acted>,
    /// Entries about the case, oldest first, the latest 256.
    pub audit: Vec<Entry>,
    /// What is not told here, and why; empty where all is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<String>,
}

/// A proposal that orders were about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proposed {
    /// sha256 of its text.
    pub digest: String,
    pub requester: String,
    pub reference_time: Timestamp,
    pub lease_ms: i64,
    pub steps: Vec<ProposedStep>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProposedStep {
    pub playbook: String,
    pub target: String,
    pub account: String,
    pub tier: Tier,
    /// What it would have blocked, in words.
    pub rehearsed: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ordered {
    pub intent: Intent,
    pub approver: String,
    pub reason: String,
    pub signed_at: Timestamp,
    pub stored_at: Timestamp,
    /// Of the proposal that it is about.
    pub proposal: String,
}

/// An action, and how it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Acted {
    pub key: String,
    pub playbook: String,
    pub target: String,
    pub account: String,
    pub state: State,
    /// `None` while that is open.
    pub outcome: Option<Outcome>,
    pub approvers: Vec<String>,
    pub begun_at: Timestamp,
    /// When it is undone by itself; `None` for what cannot be, and for what is at its end.
    pub lease_until: Option<Timestamp>,
    /// What is next, and when.
    pub next: Option<(Timestamp, Work)>,
    pub evidence: Vec<Evidence>,
}

impl History {
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.actions.is_empty() && self.audit.is_empty()
    }
}

/// Reads it off the bus.
///
/// # Errors
/// [`ExecutorError`] when the bus does not answer.
pub async fn history(bus: &dyn Bus, tenant: &str, case: &str) -> Result<History, ExecutorError> {
    let mut history = History::default();
    let mut proposals = BTreeMap::new();
    let stored = orders(bus, tenant, case, &mut history.lacking).await?;
    for message in &stored {
        let Ok(submitted) = serde_json::from_slice::<Submitted>(&message.payload) else { continue };
        let Ok(order) = serde_json::from_str::<Order>(&submitted.signed.order) else { continue };
        if let Ok(proposal) = serde_json::from_str::<Proposal>(&submitted.proposal) {
            proposals.entry(digest(submitted.proposal.as_bytes())).or_insert(proposal);
        }
        history.orders.push(Ordered {
            intent: order.intent,
            approver: order.approver,
            reason: order.reason,
            signed_at: order.signed_at,
            stored_at: message.stored_at,
            proposal: order.proposal,
        });
    }
    let steps = proposals.values().flat_map(|proposal| proposal.steps.iter().take(STEPS_MAX));
    let keys: BTreeSet<String> = steps.map(|step| idempotency_key(case, &step.action)).collect();
    for key in keys {
        let Some(stored) = bus.last(&Subject::action(tenant, LIFE, &key)).await? else { continue };
        match read(&key, &stored) {
            Ok((record, _)) => history.actions.push(acted(record)),
            Err(unreadable) => history.lacking.push(unreadable.to_string()),
        }
    }
    history.actions.sort_by(|a, b| (a.begun_at, &a.key).cmp(&(b.begun_at, &b.key)));
    history.proposals = proposals.into_iter().map(|(digest, proposal)| proposed(digest, proposal)).collect();
    history.audit = entries(bus, tenant, case, &mut history.lacking).await?;
    Ok(history)
}

/// The messages about a case.
async fn orders(
    bus: &dyn Bus,
    tenant: &str,
    case: &str,
    lacking: &mut Vec<String>,
) -> Result<Vec<Stored>, ExecutorError> {
    let (subject, mut stored) = (Subject::order(tenant, case), Vec::new());
    loop {
        let after = stored.last().map_or(0, |last: &Stored| last.sequence);
        let page = bus.read(&subject, after, PAGE).await?;
        if page.is_empty() {
            return Ok(stored);
        }
        if stored.len() >= MESSAGES_MAX {
            break;
        }
        stored.extend(page);
    }
    lacking.push(format!("orders after the first {MESSAGES_MAX}"));
    Ok(stored)
}

fn proposed(digest: String, proposal: Proposal) -> Proposed {
    let steps = proposal.steps.iter().take(STEPS_MAX).map(|step| ProposedStep {
        playbook: step.action.name().to_owned(),
        target: step.action.target.id.clone(),
        account: step.action.target.account.clone(),
        tier: step.action.least_tier(),
        rehearsed: step.rehearsed.as_ref().map(Rehearsed::text),
    });
    Proposed {
        digest,
        steps: steps.collect(),
        requester: proposal.requester,
        reference_time: proposal.reference_time,
        lease_ms: proposal.lease_ms,
    }
}

fn acted(record: Record) -> Acted {
    let next = record.life.due();
    Acted {
        playbook: record.action.name().to_owned(),
        target: record.action.target.id.clone(),
        account: record.action.target.account.clone(),
        state: record.life.state,
        outcome: record.life.outcome(),
        approvers: record.approvers,
        begun_at: record.begun_at,
        lease_until: record.life.lease_until.filter(|_| next.is_some()),
        next,
        evidence: record.life.evidence,
        key: record.key,
    }
}

/// The latest entries about a case.
async fn entries(
    bus: &dyn Bus,
    tenant: &str,
    case: &str,
    lacking: &mut Vec<String>,
) -> Result<Vec<Entry>, ExecutorError> {
    let (subject, mut kept) = (Subject::whole(Stream::Audit, tenant), VecDeque::new());
    let Some(latest) = bus.last(&subject).await? else { return Ok(Vec::new()) };
    let mut after = latest.sequence.saturating_sub(LOOKED_THROUGH_MAX);
    if after > 0 {
        lacking.push(format!("entries of the audit log before its latest {LOOKED_THROUGH_MAX}"));
    }
    loop {
        let page = bus.read(&subject, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(kept.into()) };
        after = last.sequence;
        let entries = page.iter().filter_map(|stored| serde_json::from_slice::<Entry>(&stored.payload).ok());
        for entry in entries.filter(|entry| entry.case == case) {
            if kept.len() == ENTRIES_MAX {
                kept.pop_front();
            }
            kept.push_back(entry);
        }
    }
}
