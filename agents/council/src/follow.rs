//! Follows the logs of all cases into the view, from their beginning.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trailwarden_bus::{self as bus, Bus, Consumer, Stream, Subject};

use crate::log;
use crate::supervision::pause;
use crate::view::View;

/// One on its way: what is given out again must not come after what follows it.
const IN_FLIGHT_MAX: usize = 1;
const ACK_WAIT: Duration = Duration::from_secs(5);
const DELIVERIES_MAX: u32 = 1_000;
/// A process that follows pulls all the time; what is left of one that ended is forgotten after this.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// How long nothing comes before the view counts as caught up.
const PATIENCE: Duration = Duration::from_millis(200);

/// Where the view comes from.
pub(crate) struct Follower {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) tenant: String,
    /// The consumer's own name: each process reads from the beginning.
    pub(crate) name: String,
    pub(crate) view: Arc<View>,
    /// Told once the view holds what the logs held at the start.
    pub(crate) caught_up: watch::Sender<bool>,
}

impl Follower {
    /// Runs until shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut failures = 0;
        loop {
            let followed = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                followed = self.follow(&mut failures) => followed,
            };
            if let Err(error) = followed {
                failures += 1;
                tracing::warn!(%error, failures, "logs of cases cannot be followed");
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause(failures, 0)) => {}
            }
        }
    }

    async fn follow(&self, failures: &mut u32) -> Result<(), bus::Error> {
        let consumer = Consumer {
            stream: Stream::Case,
            name: self.name.clone(),
            filter: format!("{}.>", Subject::whole(Stream::Case, &self.tenant)),
            in_flight_max: IN_FLIGHT_MAX,
            ack_wait: ACK_WAIT,
            deliveries_max: DELIVERIES_MAX,
            idle_max: Some(IDLE_MAX),
        };
        let mut subscription = self.bus.subscribe(&consumer).await?;
        loop {
            let Some(delivery) = subscription.next(PATIENCE).await? else {
                self.caught_up.send_replace(true);
                continue;
            };
            *failures = 0;
            let message = delivery.message();
            let case = message.subject.rsplit('.').next().unwrap_or_default();
            match log::read(case, message.sequence, &message.payload) {
                Ok(transition) => self.view.apply(&transition),
                Err(error) => tracing::error!(case, sequence = message.sequence, %error, "entry cannot be shown"),
            }
            delivery.ack().await?;
        }
    }
}
