//! A circuit breaker: after failures in a row nothing is asked for a while, then one question tries.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct BreakerPolicy {
    /// Failures in a row that open it.
    pub failures_max: u32,
    /// The first pause; each further one is twice as long.
    pub pause: Duration,
    pub pause_max: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures_max: 5, pause: Duration::from_secs(2), pause_max: Duration::from_secs(300) }
    }
}

/// What is allowed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Closed,
    /// Nothing, until this moment.
    Open {
        until: Duration,
    },
    /// One question is on its way.
    HalfOpen,
}

/// What became of a question that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    Failed,
    /// Says nothing about the service: it was given up by whoever asked, or only comes too soon.
    Unknown,
}

/// Leave to ask once. What comes back of it counts in the period that it was given in.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    period: u64,
}

#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    phase: Phase,
    failures: u32,
    /// Pauses since it was closed last.
    pauses: u32,
    /// Grows with each change of phase.
    period: u64,
}

impl Breaker {
    #[must_use]
    pub const fn new(policy: BreakerPolicy) -> Self {
        Self { policy, phase: Phase::Closed, failures: 0, pauses: 0, period: 0 }
    }

    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// # Errors
    /// How long it stays open; zero while the one question that tries is on its way.
    pub fn admit(&mut self, now: Duration) -> Result<Permit, Duration> {
        match self.phase {
            Phase::Closed => {}
            Phase::Open { until } if now < until => return Err(until - now),
            Phase::Open { .. } => self.enter(Phase::HalfOpen),
            Phase::HalfOpen => return Err(Duration::ZERO),
        }
        Ok(Permit { period: self.period })
    }

    pub fn settle(&mut self, permit: Permit, outcome: Outcome, now: Duration) {
        if permit.period != self.period {
            return;
        }
        match (self.phase, outcome) {
            (Phase::Closed, Outcome::Answered) => self.failures = 0,
            (Phase::Closed, Outcome::Failed) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= self.policy.failures_max {
                    self.pause(now);
                }
            }
            (Phase::HalfOpen, Outcome::Answered) => {
                (self.failures, self.pauses) = (0, 0);
                self.enter(Phase::Closed);
            }
            (Phase::HalfOpen, Outcome::Failed) => self.pause(now),
            // Nobody knows yet: the next one may try at once.
            (Phase::HalfOpen, Outcome::Unknown) => self.enter(Phase::Open { until: now }),
            (Phase::Closed, Outcome::Unknown) | (Phase::Open { .. }, _) => {}
        }
    }

    fn pause(&mut self, now: Duration) {
        let factor = 1_u32.checked_shl(self.pauses).unwrap_or(u32::MAX);
        let pause = self.policy.pause.saturating_mul(factor).min(self.policy.pause_max);
        self.pauses = self.pauses.saturating_add(1);
        self.enter(Phase::Open { until: now.saturating_add(pause) });
    }

    const fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.period += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Open, and a permit from before.
    fn opened() -> (Breaker, Permit) {
        let policy = BreakerPolicy { failures_max: 3, pause: at(2), pause_max: at(5) };
        let mut breaker = Breaker::new(policy);
        for outcome in [Outcome::Failed, Outcome::Failed, Outcome::Answered, Outcome::Failed, Outcome::Unknown] {
            let permit = breaker.admit(at(0)).unwrap();
            breaker.settle(permit, outcome, at(0));
        }
        let stale = breaker.admit(at(0)).unwrap();
        for _ in 0..2 {
            let permit = breaker.admit(at(0)).unwrap();
            breaker.settle(permit, Outcome::Failed, at(0));
        }
        (breaker, stale)
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_answer_closes_it() {
        let (mut breaker, stale) = opened();
        assert_eq!(breaker.phase(), Phase::Open { until: at(2) });
        assert_eq!(breaker.admit(at(1)).unwrap_err(), at(1));
        let probe = breaker.admit(at(2)).unwrap();
        // An answer to what was asked before it opened does not close it.
        breaker.settle(stale, Outcome::Answered, at(2));
        assert_eq!(breaker.admit(at(2)).unwrap_err(), at(0));
        breaker.settle(probe, Outcome::Answered, at(3));
        assert_eq!(breaker.phase(), Phase::Closed);
    }

    #[test]
    fn pauses_grow_up_to_their_bound_and_a_probe_given_up_is_no_failure() {
        let (mut breaker, _) = opened();
        let mut now = at(2);
        for pause in [4, 5, 5] {
            let given_up = breaker.admit(now).unwrap();
            breaker.settle(given_up, Outcome::Unknown, now);
            let probe = breaker.admit(now).unwrap();
            breaker.settle(probe, Outcome::Failed, now);
            assert_eq!(breaker.phase(), Phase::Open { until: now + at(pause) });
            now += at(pause);
        }
    }
}
