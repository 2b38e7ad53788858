//! Where orders come in: what no approver signed goes no further, and is counted and told of within bounds.
//!
//! The gate proper stands before the executor, which trusts nobody. The door keeps what anybody can send out of the stream
//! that orders are kept in.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trailwarden_core::response::approval::{Gate, Order, Refusal, Registry, Submitted, Verify};
use trailwarden_core::response::refusals::{Refusals, Told};
use trailwarden_runtime::Clock;
use trailwarden_runtime::metrics::Metrics;

use crate::log::CaseLogs;

/// How often it is looked whether something that was held back may be told.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Whose orders are let in, and who checks their signatures.
#[derive(Clone)]
pub struct Approvers {
    pub registry: Registry,
    pub verify: Arc<dyn Verify + Send>,
}

/// The door of one council.
pub(crate) struct Door {
    tenant: String,
    /// `None`: nobody is known, so nothing is let in.
    approvers: Option<Approvers>,
    logs: CaseLogs,
    clock: Clock,
    metrics: Metrics,
    refusals: Mutex<Refusals>,
}

impl Door {
    pub(crate) fn new(
        tenant: &str,
        approvers: Option<Approvers>,
        logs: CaseLogs,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        let refusals = Mutex::new(Refusals::new(clock()));
        Self { tenant: tenant.to_owned(), approvers, logs, clock, metrics, refusals }
    }

    pub(crate) fn is_staffed(&self) -> bool {
        self.approvers.is_some()
    }

    /// Checks whatever has to hold of an order alone.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self, submitted: &Submitted, case: &str) -> Result<Order, Refusal> {
        let Some(Approvers { registry, verify }) = &self.approvers else {
            return Err(Refusal::Unknown("whoever sends it".to_owned()));
        };
        // Whether it was taken before, the case's own orders tell.
        let (used, at) = (BTreeSet::new(), (self.clock)());
        Gate { tenant: &self.tenant, registry, verify: verify.as_ref(), used: &used, at }.receive(submitted, case)
    }

    /// Counts an order that is refused, and tells of it where there is room.
    pub(crate) async fn refused(&self, case: &str, refusal: &Refusal) {
        self.metrics.rejected(refusal.word(), 1);
        let told = self.held().note(case, refusal, (self.clock)());
        self.tell(told).await;
    }

    /// Tells what was held back once it may, until the council stops, and then what is left.
    pub(crate) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = looks.tick() => {}
            }
            let told = self.held().due((self.clock)());
            self.tell(told).await;
        }
        let told = self.held().rest();
        self.tell(told).await;
    }

    async fn tell(&self, told: Option<Told>) {
        let Some(told) = told else { return };
        // It is counted, and whoever sent it was told.
        if let Err(error) = self.logs.refused(&told).await {
            tracing::warn!(case = told.case, why = told.why, %error, "a refused order could not be told of");
        }
    }

    fn held(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
