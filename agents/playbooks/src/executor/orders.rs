//! Orders of people: read from the bus, let through the gate, turned into actions. Each that is refused is written down.
//!
//! An order is judged at the time that the broker stored it, by what stood on its case's subject before it, so whoever takes
//! it, and however late, comes to the same.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use trailwarden_bus::{Sequence, Stored, Subject};
use trailwarden_core::plan::Tier;
use trailwarden_core::response::approval::{
    APPROVAL_MS, Approved, Gate, Intent, Order, Origin, PROPOSAL_MS, Proposal, Refusal, STEPS_MAX, SignedOrder,
    Submitted,
};
use trailwarden_core::response::digest;
use trailwarden_core::response::idempotency_key;
use trailwarden_core::response::life::Event;
use trailwarden_core::response::refusals::Told;
use trailwarden_core::time::{DAY_MS, Timestamp};

use super::{Executor, ExecutorError, Record};
use crate::keys::Ed25519;

/// The longest that a step stands without a person renewing it.
pub const LEASE_MS_MAX: i64 = 7 * DAY_MS;
/// Messages about one case that are looked through: what was let in at the door is far less.
pub(super) const MESSAGES_MAX: usize = 1_024;
/// Messages that are read at once.
const PAGE: usize = 64;

/// An order whose signature holds, as its case's subject has it.
struct Signed {
    sequence: Sequence,
    at: Timestamp,
    order: Order,
    submitted: Submitted,
}

/// What people ordered about one case, up to one of the orders, in turn.
struct Docket {
    case: String,
    orders: Vec<Signed>,
    /// Something of it was not looked at: a denial might stand there.
    is_cut: bool,
}

impl Docket {
    /// Nonces that orders before one have taken.
    fn used(&self, before: Sequence) -> BTreeSet<String> {
        self.orders.iter().filter(|one| one.sequence < before).map(|one| one.order.nonce.clone()).collect()
    }

    /// Whether there are more orders of a kind than a case may have.
    fn is_full(&self, intent: Intent) -> bool {
        let is_kind = |one: &&Signed| one.order.intent.is_about_proposal() == intent.is_about_proposal();
        self.orders.iter().filter(is_kind).count() > intent.orders_max()
    }
}

/// An order that is being taken.
struct Turn<'a> {
    docket: &'a Docket,
    signed: &'a Signed,
    used: BTreeSet<String>,
}

impl Executor {
    /// Takes one order as the bus delivered it. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`ExecutorError`]: the order has to be delivered again.
    pub async fn take(&self, stored: &Stored) -> Result<(), ExecutorError> {
        let Some(case) = Subject::ordered_case(&stored.subject) else {
            return self.refused_at_the_door(stored).await;
        };
        if let Err(refusal) = self.signed(&case, stored) {
            return self.refused(&case, stored.sequence, &refusal).await;
        }
        let docket = self.docket(&case, stored.sequence).await?;
        let Some(signed) = docket.orders.iter().find(|one| one.sequence == stored.sequence) else {
            return self.refused(&case, stored.sequence, &Refusal::TooMany).await;
        };
        let intent = signed.order.intent;
        if docket.is_full(intent) || (docket.is_cut && intent.is_about_proposal()) {
            return self.refused(&case, stored.sequence, &Refusal::TooMany).await;
        }
        let turn = Turn { used: docket.used(stored.sequence), docket: &docket, signed };
        match intent {
            Intent::Propose => self.propose(&turn).await,
            Intent::Approve => self.approve(&turn).await,
            Intent::Deny => self.deny(&turn).await,
            Intent::Undo | Intent::Renew => self.command(&turn).await,
        }
    }

    /// Reads an order as far as its signature.
    fn signed(&self, case: &str, stored: &Stored) -> Result<Signed, Refusal> {
        let unreadable = |_| Refusal::Malformed("an order that cannot be read".to_owned());
        let submitted = serde_json::from_slice::<Submitted>(&stored.payload).map_err(unreadable)?;
        let order = self.gate(&BTreeSet::new(), stored.stored_at).authentic(&submitted.signed, case)?;
        Ok(Signed { sequence: stored.sequence, at: stored.stored_at, order, submitted })
    }

    /// The orders about a case up to one. What nobody signed is passed over, so that it takes no order's place.
    async fn docket(&self, case: &str, until: Sequence) -> Result<Docket, ExecutorError> {
        let subject = Subject::order(&self.settings.tenant, case);
        let (mut orders, mut after, mut looked) = (Vec::new(), 0, 0);
        while looked < MESSAGES_MAX && after < until {
            let page = self.bus.read(&subject, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.sequence;
            looked += page.len();
            let known = page.iter().filter(|stored| stored.sequence <= until);
            orders.extend(known.filter_map(|stored| self.signed(case, stored).ok()));
        }
        Ok(Docket { case: case.to_owned(), orders, is_cut: after < until })
    }

    fn gate<'a>(&'a self, used: &'a BTreeSet<String>, at: Timestamp) -> Gate<'a> {
        Gate { tenant: &self.settings.tenant, registry: &self.settings.registry, verify: &Ed25519, used, at }
    }

    async fn propose(&self, turn: &Turn<'_>) -> Result<(), ExecutorError> {
        let Turn { docket, signed, used } = turn;
        let (case, order) = (&docket.case, &signed.order);
        match self.gate(used, signed.at).ask(&signed.submitted, case) {
            Ok(asker) => {
                let detail = format!("{} (proposal {})", order.reason, order.proposal);
                self.note(&asker, "asked", case, "", &detail, false).await?;
                let why = format!("{asker} asks for a response: somebody else has to approve it");
                self.call_administrator(case, (signed.sequence, "asked"), &why).await
            }
            Err(refusal) => self.refused(case, signed.sequence, &refusal).await,
        }
    }

    async fn deny(&self, turn: &Turn<'_>) -> Result<(), ExecutorError> {
        let Turn { docket, signed, used } = turn;
        match self.gate(used, signed.at).command(&signed.submitted.signed, &docket.case, Intent::Deny) {
            Ok(_) => self.note(&signed.order.approver, "denied", &docket.case, "", &signed.order.reason, false).await,
            Err(refusal) => self.refused(&docket.case, signed.sequence, &refusal).await,
        }
    }

    async fn approve(&self, turn: &Turn<'_>) -> Result<(), ExecutorError> {
        let Turn { docket, signed, used } = turn;
        let (case, order, submitted) = (&docket.case, &signed.order, &signed.submitted);
        let origin = self.origin(turn).await?;
        let own = std::slice::from_ref(&submitted.signed);
        // By itself first, so that what is wrong with this one is said of this one.
        let admitted = match self.gate(used, signed.at).admit(&submitted.proposal, own, &origin, false) {
            Ok(_) | Err(Refusal::Missing { .. }) => match self.denial(turn) {
                Some(denied) => Err(denied),
                None => {
                    // Each took a nonce that was free then.
                    let good = self.good_orders(turn, &origin);
                    self.gate(&BTreeSet::new(), signed.at).admit(&submitted.proposal, &good, &origin, false)
                }
            },
            refused => refused,
        };
        match admitted {
            Ok(approved) if self.is_ancient(approved.get()) => {
                self.refused(case, signed.sequence, &Refusal::Ancient).await
            }
            Ok(approved) => self.begin(approved, submitted, &order.reason, signed.sequence).await,
            Err(refusal) if refusal.is_waiting() => {
                let detail = format!("{}: {refusal}", order.reason);
                self.note(&order.approver, "approved", case, "", &detail, false).await?;
                self.call_administrator(case, (signed.sequence, "waits"), &refusal.to_string()).await
            }
            Err(refusal) => self.refused(case, signed.sequence, &refusal).await,
        }
    }

    /// Whether a proposal that was approved in time has been waiting for an executor ever since.
    fn is_ancient(&self, proposal: &Proposal) -> bool {
        (self.clock)().since_ms(proposal.reference_time) > PROPOSAL_MS
    }

    /// Who asked for the proposal that an order is about, by what the council logged and people signed.
    async fn origin(&self, turn: &Turn<'_>) -> Result<Origin, ExecutorError> {
        let (docket, own) = (turn.docket, &turn.signed.order.proposal);
        let asks = docket.orders.iter().filter(|one| one.order.intent == Intent::Propose && one.order.proposal == *own);
        let askers = asks.filter_map(|one| {
            let used = docket.used(one.sequence);
            self.gate(&used, one.at).ask(&one.submitted, &docket.case).ok()
        });
        let askers = askers.collect();
        let planned =
            super::plans::planned(self.bus.as_ref(), &self.settings.tenant, &docket.case, &self.settings.own).await?;
        Ok(Origin { planned, askers })
    }

    /// The orders about the same proposal that are good by themselves, and hold still when the latest was stored.
    fn good_orders(&self, turn: &Turn<'_>, origin: &Origin) -> Vec<SignedOrder> {
        let Turn { docket, signed, .. } = turn;
        let approves = |one: &&Signed| one.order.intent == Intent::Approve && one.sequence <= signed.sequence;
        let good = docket.orders.iter().filter(approves).filter(|one| {
            let used = docket.used(one.sequence);
            let own = std::slice::from_ref(&one.submitted.signed);
            match self.gate(&used, signed.at).admit(&signed.submitted.proposal, own, origin, false) {
                Ok(_) => true,
                Err(refusal) => refusal.is_waiting(),
            }
        });
        good.map(|one| one.submitted.signed.clone()).collect()
    }

    /// An approver who denied this very proposal before: for good, since it was valid when it was stored.
    fn denial(&self, turn: &Turn<'_>) -> Option<Refusal> {
        let (docket, own) = (turn.docket, &turn.signed.order.proposal);
        let mut denies =
            docket.orders.iter().filter(|one| one.order.intent == Intent::Deny && one.order.proposal == *own);
        let nothing_used = BTreeSet::new();
        denies.find_map(|one| {
            let gate = self.gate(&nothing_used, one.at);
            gate.command(&one.submitted.signed, &docket.case, Intent::Deny).ok()?;
            Some(Refusal::Denied(one.order.approver.clone()))
        })
    }

    /// Actions of a case that are not at their end: those that were seen, and those that its orders began elsewhere a
    /// moment ago.
    async fn standing(&self, docket: &Docket) -> Result<Vec<Record>, ExecutorError> {
        let case = &docket.case;
        let mut keys: BTreeSet<String> = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.values().filter(|record| record.case == *case).map(|record| record.key.clone()).collect()
        };
        for one in &docket.orders {
            let steps = serde_json::from_str::<Proposal>(&one.submitted.proposal).map(|proposal| proposal.steps);
            let steps = steps.unwrap_or_default().into_iter().take(STEPS_MAX);
            keys.extend(steps.map(|step| idempotency_key(case, &step.action)));
        }
        let mut standing = Vec::new();
        for key in keys {
            match self.record(&key).await {
                Ok(record) => {
                    standing.extend(record.map(|(record, _)| record).filter(|record| record.life.due().is_some()))
                }
                // The others can be taken back all the same.
                Err(error @ ExecutorError::Record { .. }) => {
                    self.note("executor", "refused", case, &key, &error.to_string(), false).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(standing)
    }

    /// Makes actions of what was approved.
    async fn begin(
        &self,
        approved: Approved<Proposal>,
        submitted: &Submitted,
        reason: &str,
        sequence: Sequence,
    ) -> Result<(), ExecutorError> {
        let proposal = approved.get();
        let beginning = Beginning {
            proposal,
            digest: digest(submitted.proposal.as_bytes()),
            approvers: approved.approvers(),
            reason,
            sequence,
            now: (self.clock)(),
        };
        for proposed in proposal.steps.iter().take(STEPS_MAX) {
            self.begin_step(&beginning, proposed).await?;
        }
        Ok(())
    }

    async fn command(&self, turn: &Turn<'_>) -> Result<(), ExecutorError> {
        let Turn { docket, signed, used } = turn;
        let (case, intent, sequence) = (&docket.case, signed.order.intent, signed.sequence);
        let approved = match self.gate(used, signed.at).command(&signed.submitted.signed, case, intent) {
            Ok(approved) => approved,
            Err(refusal) => return self.refused(case, sequence, &refusal).await,
        };
        let order = approved.get();
        let standing = self.standing(docket).await?;
        if standing.is_empty() {
            return self.turned_down(case, sequence, "nothing of this case stands").await;
        }
        for record in standing {
            let (key, now) = (record.key.clone(), (self.clock)());
            let (what, event) = match intent {
                Intent::Renew => ("renewed", Event::Renewed { until: now.plus_ms(record.lease_ms.min(LEASE_MS_MAX)) }),
                _ => ("undo ordered", Event::UndoAsked(order.approver.clone())),
            };
            let why = super::foreign(&record).or_else(|| {
                let why = self.why_not_renewed(turn, &record).filter(|_| intent == Intent::Renew)?;
                Some(format!("{}: {why}", super::describe(&record)))
            });
            if let Some(why) = why {
                self.note(&order.approver, "refused", case, &key, &why, false).await?;
                self.call_administrator(case, (sequence, &key), &why).await?;
                continue;
            }
            self.note(&order.approver, what, case, &key, &order.reason, false).await?;
            if let Err(misfit) = self.order(&key, &event).await? {
                self.note("executor", "refused", case, &key, &misfit.to_string(), false).await?;
                self.call_administrator(case, (sequence, &key), &misfit.to_string()).await?;
            }
        }
        Ok(())
    }

    /// Why an order does not prolong an action: it needs whom the action itself needed, and lately.
    fn why_not_renewed(&self, turn: &Turn<'_>, record: &Record) -> Option<String> {
        let Turn { docket, signed, .. } = turn;
        let tier = record.action.least_tier();
        let renews = docket.orders.iter().filter(|one| {
            one.order.intent == Intent::Renew
                && one.at.since_ms(record.begun_at) >= 0
                && one.sequence <= signed.sequence
                && signed.at.since_ms(one.at) < APPROVAL_MS
                && self
                    .gate(&docket.used(one.sequence), one.at)
                    .command(&one.submitted.signed, &docket.case, Intent::Renew)
                    .is_ok()
        });
        let may = |name: &&str| *name != record.requester && self.settings.registry.may(name, tier);
        let persons: BTreeSet<&str> = renews.map(|one| one.order.approver.as_str()).filter(may).collect();
        if !persons.contains(signed.order.approver.as_str()) {
            return Some(format!("whoever prolongs it may approve {tier:?} and did not ask for it"));
        }
        // The protected needed two as well.
        let needs_two = tier == Tier::T3 || record.approvers.len() > 1;
        let lacks = needs_two && persons.len() < 2;
        lacks.then(|| "a second approver has to renew it too, within half an hour".to_owned())
    }

    /// Writes down that an order is refused; where anybody can send such, within bounds.
    async fn refused(&self, case: &str, sequence: Sequence, refusal: &Refusal) -> Result<(), ExecutorError> {
        self.metrics.rejected(refusal.word(), 1);
        if !refusal.is_anybodys() {
            return self.turned_down(case, sequence, &refusal.to_string()).await;
        }
        let told = self.refusals().note(case, refusal, (self.clock)());
        match told {
            Some(told) => self.turned_down(&told.case, sequence, &told.text()).await,
            None => Ok(()),
        }
    }

    /// Writes down what was held back of refusals, once it may be told.
    ///
    /// # Errors
    /// [`ExecutorError`].
    pub async fn tell_held_back(&self) -> Result<(), ExecutorError> {
        let told = self.refusals().due((self.clock)());
        match told {
            Some(told) => self.note("executor", "refused", &told.case, "", &told.text(), false).await,
            None => Ok(()),
        }
    }

    /// What a council did not let in, in its words.
    async fn refused_at_the_door(&self, stored: &Stored) -> Result<(), ExecutorError> {
        match serde_json::from_slice::<Told>(&stored.payload) {
            Ok(told) => self.turned_down(&told.case, stored.sequence, &told.text()).await,
            Err(_) => {
                let refusal = Refusal::Malformed("a message among the orders that is none".to_owned());
                self.refused("", stored.sequence, &refusal).await
            }
        }
    }

    pub(super) async fn turned_down(&self, case: &str, sequence: Sequence, why: &str) -> Result<(), ExecutorError> {
        tracing::warn!(case, why, "an order is refused");
        self.note("executor", "refused", case, "", why, false).await?;
        self.call_administrator(case, (sequence, ""), &format!("an order was refused: {why}")).await
    }
}

/// What the steps of an approved proposal have in common.
pub(super) struct Beginning<'a> {
    pub(super) proposal: &'a Proposal,
    /// Of the proposal's text.
    pub(super) digest: String,
    pub(super) approvers: &'a [String],
    pub(super) reason: &'a str,
    /// Of the order that completed the approval.
    pub(super) sequence: Sequence,
    pub(super) now: Timestamp,
}
