//! The system's own health: conditions that an operator should know of, told once when they begin and once when they end.

use std::time::Duration;

use trailwarden_core::alert as told;
use trailwarden_core::level::Severity;
use trailwarden_core::time::Timestamp;

use crate::metrics::Metrics;
use crate::usage::Usage;

/// From where on something is worth telling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Messages that may wait to be given out.
    pub lag_max: u64,
    /// How long a role may be not ready.
    pub not_ready_max: Duration,
    /// How old events may be when they come.
    pub event_delay_max: Duration,
    /// Without a new dead letter for so long, the matter rests.
    pub dead_letters_quiet: Duration,
    /// Percent of what the process may have; processors may be busy for a while.
    pub cpu_percent_max: u64,
    pub busy_max: Duration,
    pub memory_percent_max: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            lag_max: 1_000,
            not_ready_max: Duration::from_secs(60),
            event_delay_max: Duration::from_secs(3_600),
            dead_letters_quiet: Duration::from_secs(600),
            cpu_percent_max: 90,
            busy_max: Duration::from_secs(300),
            memory_percent_max: 90,
        }
    }
}

/// What one look at a role found.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub at: Timestamp,
    pub ready: bool,
    /// Messages that wait to be given out.
    pub lag: u64,
    /// Dead letters so far, of all time.
    pub dead_letters: u64,
    /// Age of the latest event when it came; `None` when none came since the last look.
    pub event_delay: Option<Duration>,
    /// What the process takes of its machine; unknown for all but one role of a process.
    pub usage: Usage,
}

/// A condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// More messages wait than should.
    Lag,
    /// Records could not be worked on.
    DeadLetters,
    /// The role cannot do its work.
    NotReady,
    /// Events come late.
    EventDelay,
    /// The processors have been busy for long.
    Cpu,
    /// Little memory is left.
    Memory,
}

/// A condition began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub alert: Alert,
    pub raised: bool,
    /// What was seen, and what it was held against: messages, records, or seconds.
    pub seen: u64,
    pub limit: u64,
}

/// One role's conditions, as of the last look.
#[derive(Clone, Debug)]
pub struct Health {
    thresholds: Thresholds,
    raised: Vec<Alert>,
    not_ready_since: Option<Timestamp>,
    busy_since: Option<Timestamp>,
    /// As of the first look: what was dead before is not news.
    dead_letters: Option<u64>,
    grew_at: Option<Timestamp>,
}

impl Health {
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            raised: Vec::new(),
            not_ready_since: None,
            busy_since: None,
            dead_letters: None,
            grew_at: None,
        }
    }

    /// What began or ended since the last look.
    pub fn look(&mut self, look: Look) -> Vec<Change> {
        let limits = self.thresholds;
        let mut changes = Vec::new();
        self.hold(&mut changes, Alert::Lag, look.lag > limits.lag_max, look.lag, limits.lag_max);

        let before = self.dead_letters.replace(look.dead_letters).unwrap_or(look.dead_letters);
        if look.dead_letters > before {
            self.grew_at = Some(look.at);
        }
        let fresh = self.grew_at.is_some_and(|at| since(look.at, at) < limits.dead_letters_quiet);
        self.hold(&mut changes, Alert::DeadLetters, fresh, look.dead_letters, before);

        self.not_ready_since = if look.ready { None } else { self.not_ready_since.or(Some(look.at)) };
        let waited = self.not_ready_since.map_or(Duration::ZERO, |at| since(look.at, at));
        let long = waited > limits.not_ready_max;
        self.hold(&mut changes, Alert::NotReady, long, waited.as_secs(), limits.not_ready_max.as_secs());

        // Silence says nothing about delay, so it neither raises nor ends it.
        if let Some(delay) = look.event_delay {
            let late = delay > limits.event_delay_max;
            self.hold(&mut changes, Alert::EventDelay, late, delay.as_secs(), limits.event_delay_max.as_secs());
        }
        if let Some(percent) = look.usage.cpu_percent {
            let is_busy = percent > limits.cpu_percent_max;
            self.busy_since = if is_busy { self.busy_since.or(Some(look.at)) } else { None };
            let long = self.busy_since.is_some_and(|at| since(look.at, at) >= limits.busy_max);
            self.hold(&mut changes, Alert::Cpu, long, percent, limits.cpu_percent_max);
        }
        if let Some(percent) = look.usage.memory_percent {
            let is_short = percent > limits.memory_percent_max;
            self.hold(&mut changes, Alert::Memory, is_short, percent, limits.memory_percent_max);
        }
        changes
    }

    fn hold(&mut self, changes: &mut Vec<Change>, alert: Alert, holds: bool, seen: u64, limit: u64) {
        if holds == self.raised.contains(&alert) {
            return;
        }
        match holds {
            true => self.raised.push(alert),
            false => self.raised.retain(|raised| *raised != alert),
        }
        changes.push(Change { alert, raised: holds, seen, limit });
    }
}

impl Alert {
    fn name(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::DeadLetters => "dead_letters",
            Self::NotReady => "not_ready",
            Self::EventDelay => "event_delay",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }

    /// As a person is told of it. What waits may go away by itself; the others do not.
    fn kind(self) -> (told::Kind, Severity) {
        match self {
            Self::Lag => (told::Kind::Lag, Severity::Medium),
            Self::DeadLetters => (told::Kind::DeadLetters, Severity::High),
            Self::NotReady => (told::Kind::NotReady, Severity::High),
            Self::EventDelay => (told::Kind::EventDelay, Severity::Medium),
            Self::Cpu => (told::Kind::Cpu, Severity::Medium),
            Self::Memory => (told::Kind::Memory, Severity::High),
        }
    }
}

impl Change {
    /// Logs and counts it.
    pub fn tell(self, metrics: &Metrics) {
        let Self { alert, raised, seen, limit } = self;
        let (role, name) = (metrics.role(), alert.name());
        metrics.alert(name, raised);
        match (raised, alert) {
            (false, _) => tracing::info!(role, alert = name, seen, limit, "alert ended"),
            // What waits may go away by itself; the others do not.
            (true, Alert::Lag | Alert::EventDelay | Alert::Cpu) => {
                tracing::warn!(role, alert = name, seen, limit, "alert")
            }
            (true, Alert::DeadLetters | Alert::NotReady | Alert::Memory) => {
                tracing::error!(role, alert = name, seen, limit, "alert");
            }
        }
    }

    /// The same for people. `place` is the process: a role may run in several.
    pub fn alert(self, role: &str, place: &str, at: Timestamp) -> told::Alert {
        let (kind, severity) = self.alert.kind();
        let id = format!("{place}:{role}:{kind}:{}:{}", at.as_millis(), if self.raised { "begins" } else { "ends" });
        let alert = told::Alert {
            ended: !self.raised,
            seen: self.seen,
            limit: self.limit,
            // Letters are in the stream of all, whoever sees them.
            ..told::Alert::new(
                id,
                kind,
                severity,
                at,
                &if self.alert == Alert::DeadLetters { "bus".to_owned() } else { format!("{role}@{place}") },
            )
        };
        alert.bounded()
    }
}

/// Zero where the clock went back.
fn since(now: Timestamp, then: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(now.since_ms(then)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(second: i64) -> Look {
        let at = Timestamp::from_millis(second * 1_000);
        Look { at, ready: true, lag: 0, dead_letters: 7, event_delay: None, usage: Usage::default() }
    }

    fn told(health: &mut Health, look: Look) -> Vec<(Alert, bool)> {
        health.look(look).into_iter().map(|change| (change.alert, change.raised)).collect()
    }

    #[test]
    fn a_condition_is_told_when_it_begins_and_when_it_ends() {
        let mut health = Health::new(Thresholds::default());
        for (look, expected) in [
            // Dead before: no news.
            (look(0), vec![]),
            (Look { lag: 1_000, ..look(1) }, vec![]),
            (Look { lag: 1_001, ..look(2) }, vec![(Alert::Lag, true)]),
            (Look { lag: 9_999, ..look(3) }, vec![]),
            (Look { dead_letters: 8, ..look(4) }, vec![(Alert::Lag, false), (Alert::DeadLetters, true)]),
            (Look { dead_letters: 9, ..look(500) }, vec![]),
            (Look { dead_letters: 9, ..look(1_099) }, vec![]),
            (Look { dead_letters: 9, ..look(1_100) }, vec![(Alert::DeadLetters, false)]),
        ] {
            assert_eq!(told(&mut health, look), expected, "{look:?}");
        }
    }

    #[test]
    fn a_role_may_be_not_ready_for_a_while() {
        let mut health = Health::new(Thresholds::default());
        for (look, expected) in [
            (Look { ready: false, ..look(0) }, vec![]),
            (Look { ready: false, ..look(60) }, vec![]),
            (look(61), vec![]),
            (Look { ready: false, ..look(62) }, vec![]),
            (Look { ready: false, ..look(123) }, vec![(Alert::NotReady, true)]),
            // The clock went back: it has waited no time at all.
            (Look { ready: false, ..look(10) }, vec![(Alert::NotReady, false)]),
        ] {
            assert_eq!(told(&mut health, look), expected, "{look:?}");
        }
    }

    #[test]
    fn processors_may_be_busy_for_a_while_and_memory_may_not_run_out() {
        let mut health = Health::new(Thresholds::default());
        let using = |second, cpu_percent, memory_percent| Look {
            usage: Usage { cpu_percent: Some(cpu_percent), memory_percent: Some(memory_percent) },
            ..look(second)
        };
        for (look, expected) in [
            (using(0, 100, 90), vec![]),
            (using(299, 91, 90), vec![]),
            (look(299), vec![]),
            (using(300, 91, 91), vec![(Alert::Cpu, true), (Alert::Memory, true)]),
            (using(301, 90, 91), vec![(Alert::Cpu, false)]),
            (using(302, 100, 10), vec![(Alert::Memory, false)]),
            (using(601, 100, 10), vec![]),
        ] {
            assert_eq!(told(&mut health, look), expected, "{look:?}");
        }
    }

    #[test]
    fn a_person_is_told_what_began_or_ended_where() {
        let change = Change { alert: Alert::NotReady, raised: false, seen: 5, limit: 60 };
        let alert = change.alert("scorer", "node\u{7}-1", Timestamp::from_millis(9));
        assert_eq!((alert.kind, alert.severity, alert.ended), (told::Kind::NotReady, Severity::High, true));
        assert_eq!(alert.principal, "scorer@node\\u{7}-1");
        assert_eq!(alert.id, "node\\u{7}-1:scorer:not_ready:9:ends");
    }

    #[test]
    fn silence_does_not_end_a_delay() {
        let mut health = Health::new(Thresholds::default());
        let late = |second, delay_s| Look { event_delay: Some(Duration::from_secs(delay_s)), ..look(second) };
        for (look, expected) in [
            (late(0, 3_600), vec![]),
            (late(1, 3_601), vec![(Alert::EventDelay, true)]),
            (look(2), vec![]),
            (late(3, 5), vec![(Alert::EventDelay, false)]),
        ] {
            assert_eq!(told(&mut health, look), expected, "{look:?}");
        }
    }
}
