//! Whether a role can do its work now: what load balancers, probes and `doctor` ask.

use std::error::Error;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::metrics::Metrics;

/// How often a peer is asked whether it is there.
const ASKED_EVERY: Duration = Duration::from_secs(5);

/// One role's answer, shared by whoever sets and whoever asks. Not ready until told so.
#[derive(Clone, Debug)]
pub struct Readiness(watch::Sender<bool>);

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Readiness {
    pub fn set(&self, ready: bool) {
        self.0.send_if_modified(|held| std::mem::replace(held, ready) != ready);
    }

    pub fn is_ready(&self) -> bool {
        *self.0.borrow()
    }

    /// Tells of every change.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}

/// Keeps a role ready for as long as a peer answers, and not ready from `shutdown` on.
pub async fn follow<E: Error, F: Future<Output = Result<(), E>>>(
    readiness: Readiness,
    metrics: Metrics,
    peer: &'static str,
    ask: impl Fn() -> F,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::new(0);
    while !shutdown.is_cancelled() {
        let pause = match ask().await {
            Ok(()) => {
                readiness.set(true);
                backoff.reset();
                ASKED_EVERY
            }
            Err(error) => {
                readiness.set(false);
                let delay = backoff.next_delay();
                metrics.retrying(peer, backoff.attempts(), delay, &error);
                delay
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => {}
        }
    }
    readiness.set(false);
}
