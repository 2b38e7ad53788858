//! Where the state of partitions is kept: Redis or Valkey, and its twin in memory, behind one trait.

mod check;
mod memory;
mod remote;

use std::fmt;

use async_trait::async_trait;
use trailwarden_core::fence::Record;

use crate::partition::{Changes, Loaded, Needs};

pub use memory::{MemoryStore, Snapshot};
pub use remote::{RedisStore, Servers};

/// One partition of one tenant: one slot of the store, so one script commits it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey {
    pub tenant: String,
    pub partition: u16,
}

/// `default.p017`.
impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.p{:03}", self.tenant, self.partition)
    }
}

/// State of partitions, committed by compare-and-set.
#[async_trait]
pub trait WindowStore: Send + Sync + 'static {
    /// The record and what a batch needs, as of one moment. Without a record there is nothing else either.
    async fn read(&self, key: &PartitionKey, needs: &Needs) -> Result<(Option<Record>, Loaded), Error>;

    /// Writes changes and the record `to` if the stored record still equals `from` (the default: if there is none);
    /// whether it did.
    async fn commit(&self, key: &PartitionKey, from: &Record, to: &Record, changes: &Changes) -> Result<bool, Error>;

    /// Forgets a partition, before it is rebuilt from nothing.
    async fn clear(&self, key: &PartitionKey) -> Result<(), Error>;

    /// What an operator should know before trusting the store, each with what to do about it.
    async fn check(&self) -> Result<Vec<Finding>, Error>;
}

/// One line of a check-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub what: String,
    pub good: bool,
    /// What to do when it is not good.
    pub fix: String,
}

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer's: not there, failing over, or too slow. Retry.
    #[error("the window store does not answer: {0}")]
    Unavailable(String),
    /// The operator's: it evicts, is full, or is of a wrong version.
    #[error("the window store cannot be used: {0}")]
    Unusable(String),
    /// Ours: what it holds cannot be read. The partition is rebuilt.
    #[error("the state of {key} cannot be read: {what}")]
    Corrupt { key: String, what: String },
}

impl Error {
    fn corrupt(key: &PartitionKey, what: impl fmt::Display) -> Self {
        Self::Corrupt { key: key.to_string(), what: what.to_string() }
    }
}
