//! A step of an approved proposal becomes an action, or is refused in words.

use std::sync::PoisonError;

use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::response::approval::{COUNCIL, ProposedStep};
use trailwarden_core::response::limits::Consent;
use trailwarden_core::response::rehearsal::Rehearsed;
use trailwarden_core::response::{digest, idempotency_key};
use trailwarden_core::time::HOUR_MS;
use trailwarden_runtime::failpoint;

use super::orders::{Beginning, LEASE_MS_MAX};
use super::{Executor, ExecutorError, Record, begun, calls_digest, perform};
use crate::call::Target;
use crate::permissions::{self, SESSION_POLICY_MAX};
use crate::{CaseContext, Step, calls, check_supplied, denial, known_good};

impl Executor {
    pub(super) async fn begin_step(
        &self,
        beginning: &Beginning<'_>,
        proposed: &ProposedStep,
    ) -> Result<(), ExecutorError> {
        let Beginning { proposal, approvers, now, .. } = beginning;
        let action = &proposed.action;
        let (case, key) = (&proposal.case, idempotency_key(&proposal.case, action));
        let context = CaseContext { case_id: case, reference_time: proposal.reference_time };
        let step = calls(action, &context);
        let what = format!("{} on {}", action.name(), action.target.id);
        if let Some(why) = self.why_not(beginning, proposed, &step) {
            let why = format!("{what}: {why}");
            self.note("executor", "refused", case, &key, &why, false).await?;
            return self.call_administrator(case, (beginning.sequence, &key), &why).await;
        }
        // A playbook of the operator's says itself how long it may stand.
        let longest_ms = action.own.as_ref().map_or(LEASE_MS_MAX, |own| i64::from(own.lease_h) * HOUR_MS);
        let lease_ms = proposal.lease_ms.min(LEASE_MS_MAX).min(longest_ms);
        let record = Record {
            key: key.clone(),
            case: case.clone(),
            action: action.clone(),
            reference_time: proposal.reference_time,
            proposal: beginning.digest.clone(),
            requester: proposal.requester.clone(),
            calls: calls_digest(&step),
            lease_ms,
            approvers: approvers.to_vec(),
            begun_at: *now,
            life: begun(&step, action, now.plus_ms(lease_ms), *now),
            known: proposed.supplied.clone(),
            holds: Vec::new(),
            holder: String::new(),
            held_until: *now,
        };
        // Before it begins, so that nothing is ever done that is not written down.
        let names = approvers.join(", ");
        let who = if names.is_empty() { "automatic" } else { &names };
        if self.record(&key).await?.is_some() {
            return self.note(who, "refused", case, &key, &format!("{what}: it was begun before"), false).await;
        }
        // The digest holds it to what was rehearsed, examples and all.
        let denies = denial(action, &context).is_some();
        let rehearsed = proposed.rehearsed.as_ref().filter(|_| denies).map_or_else(String::new, |rehearsed| {
            let text = serde_json::to_vec(rehearsed).unwrap_or_default();
            format!("; {} (rehearsal {})", rehearsed.text(), digest(&text))
        });
        let asked = format!("; asked for by {}", proposal.requester);
        let detail = format!("{what}: {}{asked}{rehearsed}", beginning.reason);
        self.note(who, "approved", case, &key, &detail, false).await?;
        failpoint::hit("executor.admitted");
        self.create(&record).await?;
        Ok(())
    }

    /// Why a step of what was approved is not begun.
    fn why_not(&self, beginning: &Beginning<'_>, proposed: &ProposedStep, step: &Step) -> Option<String> {
        let Beginning { proposal, now, .. } = beginning;
        let consent = match beginning.approvers.len() {
            0 => Consent::Automatic,
            1 => Consent::Person,
            _ => Consent::TwoPersons,
        };
        let action = &proposed.action;
        let context = CaseContext { case_id: &proposal.case, reference_time: proposal.reference_time };
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let allowed = self.settings.limits.allow(&ledger, action, self.settings.active_principals, consent, *now);
        let denies = denial(action, &context).is_some();
        let needs_person = proposed.rehearsed.as_ref().is_some_and(Rehearsed::needs_person);
        let why = if !self.is_known(action) {
            "it is no playbook that this executor was given"
        } else if !is_meant_for(action) {
            "the playbook does not act on such a thing, or not in this account"
        } else if proposal.requester == COUNCIL
            && !proposed.supplied.is_empty()
            && proposed.supplied != known_good(action, &self.settings.trails)
        {
            "what is given to it is not what executor.trails says, and the council asks for nothing else"
        } else if serde_json::to_value(step).ok().as_ref() != Some(&proposed.spelled) {
            "its calls are not those that this executor would make"
        } else if denies && proposed.rehearsed.is_none() {
            "nobody rehearsed it, and the proposal does not say so"
        } else if consent == Consent::Automatic && denies && needs_person {
            "it would have blocked too much of what is ordinary: a person has to agree"
        } else if !Target::new(action, &context).is_ordinary() {
            "the target's name is none that AWS gives"
        } else if permissions::session_policy(step, action, &context).len() > SESSION_POLICY_MAX {
            "its names are so long that AWS would not take the policy that narrows the executor to them"
        } else if proposal.reference_time.since_ms(*now) > HOUR_MS {
            "its reference time lies in the future"
        } else if action.playbook == Playbook::ScpQuarantine && self.settings.management_account.is_none() {
            "no management account is set"
        } else if let Err(why) = check_supplied(action, &proposed.supplied) {
            return Some(why);
        } else {
            let unbuilt = perform::unbuilt(action.playbook).map(str::to_owned);
            return unbuilt.or(allowed.err().map(|refusal| refusal.to_string()));
        };
        Some(why.to_owned())
    }
}

/// Whether a playbook acts on things of the target's kind, there: what is rehearsed and how narrow the executor's session is rest
/// on the kind.
fn is_meant_for(action: &Action) -> bool {
    let target = &action.target;
    match &action.own {
        None => target.kind == action.playbook.target_kind(),
        Some(own) => {
            let accounts = &own.answers.accounts;
            target.kind == own.answers.target && (accounts.is_empty() || accounts.contains(&target.account))
        }
    }
}
