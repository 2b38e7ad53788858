//! What is left of a case's calls, time and tokens: pure.

use std::time::Duration;

use super::{Limits, Round};

/// What a question may still have.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    limits: Limits,
    calls: u32,
    tokens: u64,
}

impl Allowance {
    /// Says that tokens are missing.
    pub(super) const TOKENS: &str = "tokens of the case";

    pub(super) const fn new(limits: Limits) -> Self {
        Self { limits, calls: 0, tokens: 0 }
    }

    /// Reserves a call that is foreseen to cost so many tokens, `spent` into the case. Says how long it may take, or what
    /// is missing.
    ///
    /// A rebuttal is asked for only where enough stays for the questions after it, and a report only where its call can
    /// take its whole time: these two are done without first.
    pub(super) fn reserve(&mut self, round: Round, foreseen: u64, spent: Duration) -> Result<Duration, &'static str> {
        let later = match round {
            // The lean, the choice and the report.
            Round::Rebuttal => 3,
            Round::Opinion | Round::Lean | Round::Choice | Round::Report => 0,
        };
        let left = self.limits.case.saturating_sub(spent);
        let wanted = match round {
            Round::Rebuttal | Round::Report => self.limits.call.saturating_mul(1 + later),
            Round::Opinion | Round::Lean | Round::Choice => Duration::ZERO,
        };
        if left.is_zero() || left < wanted {
            return Err("time of the case");
        }
        if self.calls.saturating_add(1 + later) > self.limits.calls_max {
            return Err("calls of the case");
        }
        // Those after a rebuttal show the same evidence and ask for less.
        let needed = foreseen.saturating_mul(u64::from(1 + later));
        if self.tokens.saturating_add(needed) > self.limits.tokens_max {
            return Err(Self::TOKENS);
        }
        self.calls += 1;
        self.tokens = self.tokens.saturating_add(foreseen);
        Ok(left.min(self.limits.call))
    }

    /// Puts what was used in place of what was reserved.
    pub(super) fn settle(&mut self, foreseen: u64, used: u64) {
        self.tokens = self.tokens.saturating_sub(foreseen).saturating_add(used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_rebuttal_is_done_without_first_and_then_the_report() {
        let refused = |allowance: &Allowance, spent: u32| {
            let rounds = [Round::Opinion, Round::Rebuttal, Round::Lean, Round::Choice, Round::Report];
            let is_refused = |round: &Round| allowance.clone().reserve(*round, 1_000, SECOND * spent).is_err();
            rounds.into_iter().filter(is_refused).collect::<Vec<_>>()
        };
        let fresh = Allowance::new(Limits::default());
        for (spent, expected) in [
            (30, vec![]),
            (31, vec![Round::Rebuttal]),
            (75, vec![Round::Rebuttal]),
            (76, vec![Round::Rebuttal, Round::Report]),
        ] {
            assert_eq!(refused(&fresh, spent), expected, "{spent} s");
        }
        assert_eq!(refused(&fresh, 90).len(), 5);
        assert_eq!(refused(&Allowance { calls: 8, ..fresh.clone() }, 0), []);
        assert_eq!(refused(&Allowance { calls: 9, ..fresh.clone() }, 0), [Round::Rebuttal]);
        assert_eq!(refused(&Allowance { calls: 12, ..fresh.clone() }, 0).len(), 5);
        assert_eq!(refused(&Allowance { tokens: 20_001, ..fresh.clone() }, 0), [Round::Rebuttal]);
        assert_eq!(refused(&Allowance { tokens: 23_001, ..fresh }, 0).len(), 5);
    }

    #[test]
    fn a_call_ends_with_the_case_and_what_it_did_not_use_is_left() {
        let mut allowance = Allowance::new(Limits::default());
        assert_eq!(allowance.reserve(Round::Lean, 20_000, SECOND * 80), Ok(SECOND * 10));
        assert_eq!(allowance.reserve(Round::Choice, 5_000, SECOND), Err("tokens of the case"));
        allowance.settle(20_000, 3_000);
        assert_eq!(allowance.reserve(Round::Choice, 5_000, SECOND), Ok(SECOND * 15));
        allowance.settle(5_000, u64::MAX);
        assert_eq!(allowance.reserve(Round::Choice, 0, SECOND), Err("tokens of the case"));
    }
}
