//! What happens inside a process and is both logged and counted: each in one place, so that log and measure agree.
//!
//! Levels: ERROR, data was lost or an operator must act; WARN, unexpected and nothing lost; INFO, lifecycle; DEBUG, per batch.

use std::error::Error;
use std::time::Duration;

use crate::metrics::Metrics;

/// What is done with a baseline epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochStep {
    /// Made from the archive.
    Folded,
    /// Told to all.
    Announced,
    /// Taken by whoever measures.
    Adopted,
}

impl EpochStep {
    fn name(self) -> &'static str {
        match self {
            Self::Folded => "folded",
            Self::Announced => "announced",
            Self::Adopted => "adopted",
        }
    }
}

impl Metrics {
    /// Something went wrong and nothing is lost. `reason` is a word of the program, as labels need it.
    pub fn failed(&self, reason: &'static str, error: &dyn Error) {
        self.count_error(reason);
        tracing::warn!(role = self.role(), reason, error = %Chain(error), "failed");
    }

    /// Something went wrong and will be tried again.
    pub fn retrying(&self, what: &'static str, attempt: u32, delay: Duration, error: &dyn Error) {
        self.count_error(what);
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(role = self.role(), what, attempt, delay_ms, error = %Chain(error), "failed and will be tried again");
    }

    /// Something went wrong that need not be tried again, for the next of its kind does as much. A line each would bury
    /// what matters while a peer is away.
    pub fn missed(&self, what: &'static str, error: &dyn Error) {
        self.count_error(what);
        tracing::debug!(role = self.role(), what, error = %Chain(error), "failed and is let go");
    }

    /// A record that cannot be worked on was put into the dead-letter stream; `place` is its place in the message, `why`
    /// is for people.
    pub fn buried(&self, reason: &'static str, why: &str, subject: &str, sequence: u64, place: Option<u32>) {
        self.count_dead_letter(reason);
        tracing::warn!(role = self.role(), reason, why, subject, sequence, place, "record went to the dead letters");
    }

    /// Records were not taken in; their sender is told.
    pub fn rejected(&self, reason: &'static str, records: u64) {
        self.count_rejects(reason, records);
        tracing::debug!(role = self.role(), reason, records, "records rejected");
    }

    /// A message was given out once more.
    pub fn redelivered(&self, subject: &str, sequence: u64, deliveries: u64) {
        self.count_redelivery();
        tracing::info!(role = self.role(), subject, sequence, deliveries, "message was given out again");
    }

    /// The window store had forgotten, and a partition's states were brought back from the streams.
    pub fn rebuilt(&self, partition: u16, inputs: u64, took: Duration) {
        self.count_rebuild();
        self.step("rebuild", took);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(role = self.role(), partition, inputs, took_ms, "states were rebuilt from the streams");
    }

    pub fn epoch(&self, step: EpochStep, name: &str) {
        self.count_epoch(step.name());
        tracing::info!(role = self.role(), step = step.name(), epoch = name, "baseline epoch");
    }
}

/// An error with its causes, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
