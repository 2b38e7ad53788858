//! How much may be done, and to whom, without a person: the brakes of RESPONSE.md.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::plan::{Action, Playbook};
use crate::resource::ResourceKind;
use crate::time::{DAY_MS, HOUR_MS, Timestamp};

/// Containments an account an hour.
pub const CONTAINMENTS_PER_HOUR_MAX: usize = 3;
/// Part of the active principals that may be contained a day.
pub const PRINCIPALS_PER_DAY_MAX: f64 = 0.05;
/// Containments that a ledger remembers; the oldest are forgotten.
const LEDGER_MAX: usize = 4_096;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub containments_per_hour_max: usize,
    pub principals_per_day_max: f64,
    /// Names, ids or ARNs that nothing is done to without two persons: break-glass, the executor, deploy roles. `*` at the
    /// end stands for any rest.
    pub protected: BTreeSet<String>,
    /// Nothing is applied while it is on; what stands can still be undone.
    pub kill_switch: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            containments_per_hour_max: CONTAINMENTS_PER_HOUR_MAX,
            principals_per_day_max: PRINCIPALS_PER_DAY_MAX,
            protected: BTreeSet::from(["TrailwardenExecutor".to_owned()]),
            kill_switch: false,
        }
    }
}

/// A containment that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contained {
    pub at: Timestamp,
    pub account: String,
    pub target: String,
}

/// What was contained lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    contained: Vec<Contained>,
}

/// Who agreed to an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consent {
    /// Nobody: it is automatic.
    Automatic,
    Person,
    TwoPersons,
}

/// Why an action is not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the kill switch is on")]
    KillSwitch,
    #[error("{target} is protected: two persons have to agree")]
    Protected { target: String },
    #[error("account {account} had {count} containments within the hour: a person has to agree")]
    TooManyInAccount { account: String, count: usize },
    #[error("{count} principals were contained within a day, of {active} that are active: a person has to agree")]
    TooManyPrincipals { count: usize, active: usize },
}

/// Whether a playbook takes something away from somebody.
pub const fn is_containment(playbook: Playbook) -> bool {
    use Playbook as P;
    !matches!(
        playbook,
        P::TagUser
            | P::TagRole
            | P::TagInstance
            | P::RestoreTrail
            | P::RestoreDetector
            | P::RestoreConfigRecorder
            | P::ForensicSnapshot
            | P::RescueKms
            | P::PreserveLogs
    )
}

fn is_principal(kind: ResourceKind) -> bool {
    matches!(kind, ResourceKind::User | ResourceKind::Role | ResourceKind::AccessKey | ResourceKind::LoginProfile)
}

impl Limits {
    /// Whether an action may begin now. `active`: principals that were seen within the day.
    ///
    /// # Errors
    /// The first brake that holds it.
    pub fn allow(
        &self,
        ledger: &Ledger,
        action: &Action,
        active: usize,
        consent: Consent,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if self.kill_switch {
            return Err(Refusal::KillSwitch);
        }
        let target = &action.target.id;
        let guarded = [Some(target), action.owner.as_ref()];
        if consent < Consent::TwoPersons
            && is_containment(action.playbook)
            && guarded.into_iter().flatten().any(|name| self.is_protected(name))
        {
            return Err(Refusal::Protected { target: target.clone() });
        }
        if consent > Consent::Automatic || !is_containment(action.playbook) {
            return Ok(());
        }
        let account = &action.target.account;
        let count = ledger.since(now, HOUR_MS).filter(|one| one.account == *account).count();
        if count >= self.containments_per_hour_max {
            return Err(Refusal::TooManyInAccount { account: account.clone(), count });
        }
        if is_principal(action.target.kind) {
            let mut targets: BTreeSet<_> = ledger.since(now, DAY_MS).map(|one| (&one.account, &one.target)).collect();
            targets.insert((account, target));
            // One is always allowed: a small organisation has attacks too.
            if targets.len() > 1 && targets.len() as f64 > self.principals_per_day_max * active as f64 {
                return Err(Refusal::TooManyPrincipals { count: targets.len() - 1, active });
            }
        }
        Ok(())
    }

    /// Names are compared without their paths and without regard to case, as IAM does: a record tells them as its caller
    /// wrote them.
    pub fn is_protected(&self, name: &str) -> bool {
        let last = |text: &str| text.rsplit(['/', ':']).next().unwrap_or(text).to_ascii_lowercase();
        let (name, bare) = (name.to_ascii_lowercase(), last(name));
        self.protected.iter().any(|guarded| match guarded.strip_suffix('*') {
            Some(head) => {
                let head = head.to_ascii_lowercase();
                // A target may be told by its bare name where the list has an ARN.
                let bare_head = last(&head);
                name.starts_with(&head)
                    || bare.starts_with(&head)
                    || (!bare_head.is_empty() && bare.starts_with(&bare_head))
            }
            None => bare == last(guarded),
        })
    }
}

impl Ledger {
    /// Notes a containment that begins.
    pub fn add(&mut self, action: &Action, now: Timestamp) {
        if !is_containment(action.playbook) {
            return;
        }
        self.contained.retain(|one| now.since_ms(one.at) < DAY_MS);
        if self.contained.len() >= LEDGER_MAX {
            self.contained.remove(0);
        }
        let Action { target, .. } = action;
        let one = Contained { at: now, account: target.account.clone(), target: target.id.clone() };
        // Told of twice, it is one.
        if !self.contained.contains(&one) {
            self.contained.push(one);
        }
    }

    fn since(&self, now: Timestamp, span_ms: i64) -> impl Iterator<Item = &Contained> {
        self.contained.iter().filter(move |one| now.since_ms(one.at) < span_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Resource;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn action(playbook: Playbook, account: &str, id: &str) -> Action {
        Action::proposed(
            playbook,
            Resource {
                kind: playbook.target_kind(),
                account: account.to_owned(),
                region: String::new(),
                id: id.to_owned(),
                created: false,
            },
        )
    }

    #[test]
    fn three_an_account_an_hour_are_automatic() {
        let (limits, mut ledger) = (Limits::default(), Ledger::default());
        let hard = |id: &str| action(Playbook::QuarantineUserHard, "1", id);
        for (nth, id) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(limits.allow(&ledger, &hard(id), 1_000, Consent::Automatic, NOW), Ok(()), "{nth}");
            ledger.add(&hard(id), NOW);
        }
        let refused = limits.allow(&ledger, &hard("d"), 1_000, Consent::Automatic, NOW);
        assert_eq!(refused, Err(Refusal::TooManyInAccount { account: "1".to_owned(), count: 3 }));
        assert_eq!(limits.allow(&ledger, &hard("d"), 1_000, Consent::Person, NOW), Ok(()));
        let other = action(Playbook::QuarantineUserHard, "2", "d");
        assert_eq!(limits.allow(&ledger, &other, 1_000, Consent::Automatic, NOW), Ok(()));
        let later = NOW.plus_ms(HOUR_MS);
        assert_eq!(limits.allow(&ledger, &hard("d"), 1_000, Consent::Automatic, later), Ok(()));
        assert_eq!(
            limits.allow(&ledger, &hard("d"), 60, Consent::Automatic, later),
            Err(Refusal::TooManyPrincipals { count: 3, active: 60 })
        );
        let tag = action(Playbook::TagUser, "1", "d");
        assert_eq!(limits.allow(&ledger, &tag, 1_000, Consent::Automatic, NOW), Ok(()));
    }

    #[test]
    fn the_protected_need_two_and_the_kill_switch_stops_all() {
        let mut limits = Limits::default();
        let arns = "arn:aws:iam::1:role/release-*".to_owned();
        limits.protected.extend(["break-glass".to_owned(), "deploy-*".to_owned(), arns]);
        let ledger = Ledger::default();
        for name in [
            "TrailwardenExecutor",
            "arn:aws:iam::1:role/x/trailwardenexecutor",
            "Deploy-web",
            "Break-Glass",
            "release-web",
        ] {
            let lock = action(Playbook::LockRoleTrust, "1", name);
            for consent in [Consent::Automatic, Consent::Person] {
                let refused = limits.allow(&ledger, &lock, 100, consent, NOW);
                assert!(matches!(refused, Err(Refusal::Protected { .. })), "{name}");
            }
            assert_eq!(limits.allow(&ledger, &lock, 100, Consent::TwoPersons, NOW), Ok(()));
        }
        let key = action(Playbook::DisableAccessKey, "1", "AKIA").owned_by("break-glass");
        assert!(limits.allow(&ledger, &key, 100, Consent::Person, NOW).is_err());
        limits.kill_switch = true;
        let tag = action(Playbook::TagUser, "1", "d");
        assert_eq!(limits.allow(&ledger, &tag, 100, Consent::TwoPersons, NOW), Err(Refusal::KillSwitch));
    }
}
