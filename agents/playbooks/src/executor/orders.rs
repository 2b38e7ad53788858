//! Orders of people: read from the bus, let through the gate, turned into actions. Each that is refused is written down.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use bytes::Bytes;
use trailwarden_bus::{Error as BusError, Outgoing, Published, Sequence, Stored, Subject};
use trailwarden_core::plan::Playbook;
use trailwarden_core::response::approval::{
    Approved, Gate, Intent, Order, Proposal, Refusal, STEPS_MAX, SignedOrder, Submitted,
};
use trailwarden_core::response::life::Event;
use trailwarden_core::response::limits::Consent;
use trailwarden_core::response::rehearsal::Rehearsed;
use trailwarden_core::response::{digest, idempotency_key};
use trailwarden_core::time::{DAY_MS, HOUR_MS};
use trailwarden_runtime::failpoint;

use super::{Executor, ExecutorError, NONCE, ORDER, Record, begun, perform};
use crate::call::Target;
use crate::keys::Ed25519;
use crate::{CaseContext, calls, denial};

/// The longest that a step stands without a person renewing it.
pub const LEASE_MS_MAX: i64 = 7 * DAY_MS;
/// Orders of one case that are looked through: with more, a denial might not be seen, so nothing of it is approved any more.
const ORDERS_MAX: usize = 64;

impl Executor {
    /// Takes one order as the bus delivered it. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`ExecutorError`]: the order has to be delivered again.
    pub async fn take(&self, stored: &Stored) -> Result<(), ExecutorError> {
        let case = stored.subject.rsplit('.').next().unwrap_or_default().to_owned();
        let Ok(submitted) = serde_json::from_slice::<Submitted>(&stored.payload) else {
            return self.refused(&case, stored.sequence, "an order that cannot be read").await;
        };
        let read = serde_json::from_str::<Order>(&submitted.signed.order);
        let Ok(order) = read else {
            return self.refused(&case, stored.sequence, "an order that cannot be read").await;
        };
        let used = self.reserve(&order, stored.sequence).await?;
        match order.intent {
            Intent::Approve | Intent::Deny => self.approve(&case, &submitted, &order, &used, stored.sequence).await,
            Intent::Undo | Intent::Renew => {
                self.command(&case, &submitted.signed, order.intent, &used, stored.sequence).await
            }
        }
    }

    /// Notes that an order's nonce is taken by the message at `sequence`; the nonces that another one took.
    async fn reserve(&self, order: &Order, sequence: Sequence) -> Result<BTreeSet<String>, ExecutorError> {
        // The gate refuses any other in words.
        let is_name = (16..=64).contains(&order.nonce.len()) && order.nonce.bytes().all(|b| b.is_ascii_alphanumeric());
        if !is_name {
            return Ok(BTreeSet::new());
        }
        let subject = Subject::action(&self.settings.tenant, NONCE, &order.nonce);
        let own = Bytes::from(sequence.to_string());
        let message = Outgoing { payload: own.clone(), expected: Some(0), ..Outgoing::default() };
        match self.bus.publish(&subject, message).await {
            Ok(Published::Stored(_) | Published::Duplicate(_)) => Ok(BTreeSet::new()),
            Err(BusError::Refused { .. }) => {
                let first = self.bus.last(&subject).await?;
                let is_own = first.is_some_and(|first| first.payload == own);
                Ok(if is_own { BTreeSet::new() } else { BTreeSet::from([order.nonce.clone()]) })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn approve(
        &self,
        case: &str,
        submitted: &Submitted,
        order: &Order,
        used: &BTreeSet<String>,
        sequence: Sequence,
    ) -> Result<(), ExecutorError> {
        let gate = self.gate(used);
        if order.intent == Intent::Deny {
            return match gate.command(&submitted.signed, case, Intent::Deny) {
                Ok(_) => self.note(&order.approver, "denied", case, "", &order.reason, false).await,
                Err(refusal) => self.refused(case, sequence, &refusal.to_string()).await,
            };
        }
        let (earlier, is_whole) = self.orders(case, sequence).await?;
        if !is_whole {
            let why = format!("there are more than {ORDERS_MAX} orders about this case");
            return self.refused(case, sequence, &why).await;
        }
        // By itself first, so that what is wrong with this one is said of this one.
        let admitted = match gate.admit(&submitted.proposal, std::slice::from_ref(&submitted.signed), false) {
            Err(refusal) if refusal.is_waiting() => {
                let good = self.good_orders(submitted, &earlier).await?;
                self.gate(used).admit(&submitted.proposal, &good, false)
            }
            admitted => match self.denial(case, submitted, &earlier) {
                Some(denied) => Err(denied),
                None => admitted,
            },
        };
        match admitted {
            Ok(approved) => self.begin(approved, submitted, &order.reason, sequence).await,
            Err(refusal) if refusal.is_waiting() => {
                self.note(&order.approver, "approved", case, "", &format!("{}: {refusal}", order.reason), false)
                    .await?;
                self.call_administrator(case, (sequence, "waits"), &refusal.to_string()).await
            }
            Err(refusal) => self.refused(case, sequence, &refusal.to_string()).await,
        }
    }

    fn gate<'a>(&'a self, used: &'a BTreeSet<String>) -> Gate<'a> {
        let Self { settings, clock, .. } = self;
        Gate { tenant: &settings.tenant, registry: &settings.registry, verify: &Ed25519, used, now: clock() }
    }

    /// The orders about the same proposal that are good by themselves.
    async fn good_orders(
        &self,
        submitted: &Submitted,
        earlier: &[(Sequence, Submitted)],
    ) -> Result<Vec<SignedOrder>, ExecutorError> {
        let mut good = Vec::new();
        for (sequence, earlier) in earlier {
            let Ok(order) = serde_json::from_str::<Order>(&earlier.signed.order) else { continue };
            let used = self.reserve(&order, *sequence).await?;
            let gate = self.gate(&used);
            let is_good = match gate.admit(&submitted.proposal, std::slice::from_ref(&earlier.signed), false) {
                Ok(_) => true,
                Err(Refusal::Denied(_)) => order.proposal == digest(submitted.proposal.as_bytes()),
                Err(refusal) => refusal.is_waiting() && order.intent == Intent::Approve,
            };
            if is_good {
                good.push(earlier.signed.clone());
            }
        }
        Ok(good)
    }

    /// An approver who denied this very proposal before.
    fn denial(&self, case: &str, submitted: &Submitted, earlier: &[(Sequence, Submitted)]) -> Option<Refusal> {
        let own = digest(submitted.proposal.as_bytes());
        let nothing_used = BTreeSet::new();
        earlier.iter().find_map(|(_, earlier)| {
            let order = serde_json::from_str::<Order>(&earlier.signed.order).ok()?;
            let is_good = self.gate(&nothing_used).command(&earlier.signed, case, Intent::Deny).is_ok();
            (is_good && order.proposal == own).then_some(Refusal::Denied(order.approver))
        })
    }

    /// The first orders about a case up to one, and whether those are all.
    async fn orders(&self, case: &str, until: Sequence) -> Result<(Vec<(Sequence, Submitted)>, bool), ExecutorError> {
        let subject = Subject::action(&self.settings.tenant, ORDER, case);
        let stored = self.bus.read(&subject, 0, ORDERS_MAX).await?;
        let is_whole = stored.last().is_none_or(|last| last.sequence >= until);
        let read = stored.into_iter().filter(|stored| stored.sequence <= until).filter_map(|stored| {
            serde_json::from_slice(&stored.payload).ok().map(|submitted| (stored.sequence, submitted))
        });
        Ok((read.collect(), is_whole))
    }

    /// Actions of a case that are not at their end: those that were seen, and those that its orders began elsewhere a
    /// moment ago.
    async fn standing(&self, case: &str, until: Sequence) -> Result<Vec<String>, ExecutorError> {
        let mut keys: BTreeSet<String> = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.values().filter(|record| record.case == case).map(|record| record.key.clone()).collect()
        };
        for (_, order) in self.orders(case, until).await?.0 {
            let steps = serde_json::from_str::<Proposal>(&order.proposal).map(|proposal| proposal.steps);
            let steps = steps.unwrap_or_default().into_iter().take(STEPS_MAX);
            keys.extend(steps.map(|step| idempotency_key(case, &step.action)));
        }
        let mut standing = Vec::new();
        for key in keys {
            if self.record(&key).await?.is_some_and(|(record, _)| record.life.due().is_some()) {
                standing.push(key);
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
        let text = &submitted.proposal;
        let proposal = approved.get();
        let approvers = approved.approvers().join(", ");
        let now = (self.clock)();
        let consent = match approved.approvers().len() {
            0 => Consent::Automatic,
            1 => Consent::Person,
            _ => Consent::TwoPersons,
        };
        let context = CaseContext { case_id: &proposal.case, reference_time: proposal.reference_time };
        let lease_ms = proposal.lease_ms.min(LEASE_MS_MAX);
        for proposed in proposal.steps.iter().take(STEPS_MAX) {
            let action = &proposed.action;
            let key = idempotency_key(&proposal.case, action);
            let step = calls(action, &context);
            let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let allowed = self.settings.limits.allow(&ledger, action, self.settings.active_principals, consent, now);
            let denies = denial(action, &context).is_some();
            let needs_person = proposed.rehearsed.as_ref().is_some_and(Rehearsed::needs_person);
            let refusal = if serde_json::to_value(&step).ok().as_ref() != Some(&proposed.spelled) {
                Some("its calls are not those that this executor would make".to_owned())
            } else if denies && proposed.rehearsed.is_none() {
                Some("nobody rehearsed it, and the proposal does not say so".to_owned())
            } else if consent == Consent::Automatic && denies && needs_person {
                Some("it would have blocked too much of what is ordinary: a person has to agree".to_owned())
            } else if !Target::new(action, &context).is_ordinary() {
                Some("the target's name is none that AWS gives".to_owned())
            } else if proposal.reference_time.since_ms(now) > HOUR_MS {
                Some("its reference time lies in the future".to_owned())
            } else if action.playbook == Playbook::ScpQuarantine && self.settings.management_account.is_none() {
                Some("no management account is set".to_owned())
            } else {
                perform::unbuilt(action.playbook)
                    .map(str::to_owned)
                    .or(allowed.err().map(|refusal| refusal.to_string()))
            };
            let what = format!("{} on {}", action.playbook.as_str(), action.target.id);
            if let Some(why) = refusal {
                let why = format!("{what}: {why}");
                self.note("executor", "refused", &proposal.case, &key, &why, false).await?;
                self.call_administrator(&proposal.case, (sequence, &key), &why).await?;
                continue;
            }
            let record = Record {
                key: key.clone(),
                case: proposal.case.clone(),
                action: action.clone(),
                reference_time: proposal.reference_time,
                proposal: digest(text.as_bytes()),
                approvers: approved.approvers().to_vec(),
                begun_at: now,
                life: begun(&step, now.plus_ms(lease_ms), now),
                known: Default::default(),
                holder: String::new(),
                held_until: now,
            };
            // Before it begins, so that nothing is ever done that is not written down.
            let who = if approvers.is_empty() { "automatic" } else { &approvers };
            if self.record(&key).await?.is_some() {
                self.note(who, "refused", &proposal.case, &key, &format!("{what}: it was begun before"), false).await?;
                continue;
            }
            // The digest holds it to what was rehearsed, examples and all.
            let rehearsed = proposed.rehearsed.as_ref().filter(|_| denies).map_or_else(String::new, |rehearsed| {
                let text = serde_json::to_vec(rehearsed).unwrap_or_default();
                format!("; {} (rehearsal {})", rehearsed.text(), digest(&text))
            });
            let detail = format!("{what}: {reason}{rehearsed}");
            self.note(who, "approved", &proposal.case, &key, &detail, false).await?;
            failpoint::hit("executor.admitted");
            self.create(&record).await?;
        }
        Ok(())
    }

    async fn command(
        &self,
        case: &str,
        signed: &SignedOrder,
        intent: Intent,
        used: &BTreeSet<String>,
        until: Sequence,
    ) -> Result<(), ExecutorError> {
        let approved = match self.gate(used).command(signed, case, intent) {
            Ok(approved) => approved,
            Err(refusal) => return self.refused(case, until, &refusal.to_string()).await,
        };
        let order = approved.get();
        let keys = self.standing(case, until).await?;
        let (what, event) = match intent {
            Intent::Renew => ("renewed", Event::Renewed { until: (self.clock)().plus_ms(LEASE_MS_MAX) }),
            _ => ("undo ordered", Event::UndoAsked(order.approver.clone())),
        };
        if keys.is_empty() {
            return self.refused(case, until, "nothing of this case stands").await;
        }
        for key in keys {
            self.note(&order.approver, what, case, &key, &order.reason, false).await?;
            if let Err(misfit) = self.order(&key, &event).await? {
                self.note("executor", "refused", case, &key, &misfit.to_string(), false).await?;
                self.call_administrator(case, (until, &key), &misfit.to_string()).await?;
            }
        }
        Ok(())
    }

    async fn refused(&self, case: &str, sequence: Sequence, why: &str) -> Result<(), ExecutorError> {
        tracing::warn!(case, why, "an order is refused");
        self.note("executor", "refused", case, "", why, false).await?;
        self.call_administrator(case, (sequence, ""), &format!("an order was refused: {why}")).await
    }
}
