//! Whether all partitions of a process can be worked on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use trailwarden_runtime::readiness::Readiness;

/// Ready while no partition waits for the bus or the store.
#[derive(Clone, Debug)]
pub struct Health {
    ill: Arc<Mutex<BTreeSet<u16>>>,
    readiness: Readiness,
}

impl Health {
    /// Not ready until all of `partitions` have been told well.
    pub fn new(partitions: &[u16], readiness: Readiness) -> Self {
        readiness.set(partitions.is_empty());
        Self { ill: Arc::new(Mutex::new(partitions.iter().copied().collect())), readiness }
    }

    pub(super) fn well(&self, partition: u16) {
        let mut ill = self.ill.lock().unwrap_or_else(PoisonError::into_inner);
        ill.remove(&partition);
        self.readiness.set(ill.is_empty());
    }

    pub(super) fn ill(&self, partition: u16) {
        self.ill.lock().unwrap_or_else(PoisonError::into_inner).insert(partition);
        self.readiness.set(false);
    }
}
