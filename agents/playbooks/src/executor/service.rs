//! The executor as a role: orders in, actions due, until told to stop.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trailwarden_bus::{Bus, Consumer, DeadLetter, Delivery, Stored, Stream, Subject, Subscription};
use trailwarden_runtime::backoff::{self, Ended};
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::Readiness;
use trailwarden_runtime::{Clock, failpoint};

use super::{Executor, ExecutorError, LIFE, Record, Settings};
use crate::aws::Aws;
use crate::keys::SigningKey;

/// What the role is set to.
pub struct Config {
    pub settings: Settings,
}

/// The role's world.
pub struct Deps {
    pub bus: Arc<dyn Bus>,
    pub aws: Arc<dyn Aws>,
    pub key: Arc<SigningKey>,
    pub clock: Clock,
    /// Set once what others began is known.
    pub readiness: Readiness,
    pub metrics: Metrics,
}

/// How long an order may be worked on before it is given to somebody again.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Times that an action's move is told to a follower, which learns it from later ones too.
const DELIVERIES_MAX: u32 = 32;
/// Nobody gives up on an order for trouble of the bus, however long it lasts.
const ORDER_DELIVERIES_MAX: u32 = u32::MAX;
const RETRY: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// The longest that nothing is looked at.
const TICK: Duration = Duration::from_secs(1);
/// A follower's consumer is forgotten when nobody has pulled for so long.
const FOLLOWER_IDLE: Duration = Duration::from_secs(600);
const IN_FLIGHT_MAX: usize = 256;

/// Orders of people, shared by all executors of a tenant.
pub fn consumer(tenant: &str) -> Consumer {
    Consumer {
        stream: Stream::Order,
        name: "executor".to_owned(),
        filter: format!("{}.>", Subject::whole(Stream::Order, tenant)),
        in_flight_max: 1,
        ack_wait: ACK_WAIT,
        deliveries_max: ORDER_DELIVERIES_MAX,
        idle_max: None,
    }
}

/// Every action's moves, for one executor: what is there when it starts too.
fn lives(tenant: &str, name: &str) -> Consumer {
    Consumer {
        stream: Stream::Action,
        name: format!("executor-{name}"),
        filter: format!("tw.action.{tenant}.{LIFE}.>"),
        in_flight_max: IN_FLIGHT_MAX,
        ack_wait: ACK_WAIT,
        deliveries_max: DELIVERIES_MAX,
        idle_max: Some(FOLLOWER_IDLE),
    }
}

/// Runs until told to stop.
///
/// # Errors
/// When the streams cannot be read any more.
pub async fn run(config: Config, deps: Deps, stop: CancellationToken) -> Result<(), ExecutorError> {
    let (tenant, name) = (config.settings.tenant.clone(), config.settings.name.clone());
    let (bus, clock, metrics) = (Arc::clone(&deps.bus), Arc::clone(&deps.clock), deps.metrics.clone());
    let executor = Executor::new(config.settings, bus, deps.aws, deps.key, clock, metrics);
    let begin = async || {
        let lives = deps.bus.subscribe(&lives(&tenant, &name)).await?;
        let orders = deps.bus.subscribe(&consumer(&tenant)).await?;
        executor.note("executor", "started", "", "", &name, false).await?;
        Ok((lives, orders))
    };
    let begun = backoff::retry("executor", &deps.metrics, &stop, ExecutorError::is_transient, begin).await;
    let (mut lives, mut orders) = match begun {
        Ok(begun) => begun,
        Err(Ended::Failed(error)) => return Err(error),
        Err(_) => return Ok(()),
    };
    // Orders may be about what others began.
    let follower = format!("executor-{name}");
    while !stop.is_cancelled() {
        match deps.bus.lag(Stream::Action, &follower).await {
            Ok(lag) if lag.is_idle() => break,
            Err(error) if !error.is_transient() => return Err(error.into()),
            _ => executor.follow(patient(lives.as_mut(), TICK).await?).await,
        }
    }
    deps.readiness.set(true);
    while !stop.is_cancelled() {
        let due_ms = executor.next_due().map(|(at, _)| at.since_ms((deps.clock)()).max(0).unsigned_abs());
        let wait = due_ms.map_or(TICK, |due_ms| TICK.min(Duration::from_millis(due_ms)));
        tokio::select! {
            () = stop.cancelled() => break,
            heard = patient(orders.as_mut(), wait) => {
                if let Some(delivery) = heard? {
                    executor.take_delivery(delivery).await;
                }
            }
            heard = patient(lives.as_mut(), wait) => executor.follow(heard?).await,
        }
        let due = executor.next_due().filter(|(at, _)| at.since_ms((deps.clock)()) <= 0);
        if let Some((_, key)) = due
            && let Err(error) = executor.step(&key).await
        {
            // It goes on where it is stored, after the others.
            tracing::error!(action = key, %error, "an action could not go on");
        }
        if let Err(error) = executor.tell_held_back().await {
            tracing::warn!(%error, "what was refused could not be told");
        }
    }
    Ok(())
}

/// The next message; a broker that does not answer for a while has none.
async fn patient(
    subscription: &mut dyn Subscription,
    patience: Duration,
) -> Result<Option<Box<dyn Delivery>>, ExecutorError> {
    match subscription.next(patience).await {
        Err(error) if error.is_transient() => {
            tracing::warn!(%error, "the bus cannot be read for now");
            tokio::time::sleep(RETRY).await;
            Ok(None)
        }
        next => Ok(next?),
    }
}

impl Executor {
    /// Takes in what others, and we before a crash, have stored.
    async fn follow(&self, heard: Option<Box<dyn Delivery>>) {
        let Some(delivery) = heard else { return };
        match serde_json::from_slice::<Record>(&delivery.message().payload) {
            // The latest counts, and an older one is corrected by the step that it leads to.
            Ok(record) => self.see_later(&record),
            Err(error) => tracing::error!(subject = delivery.message().subject, %error, "no record of an action"),
        }
        // Not acknowledged, it comes again and changes nothing.
        let _ = delivery.ack().await;
    }

    async fn take_delivery(&self, delivery: Box<dyn Delivery>) {
        let taken = match self.take(delivery.message()).await {
            // Trying again does not help, and others wait behind it.
            Err(ExecutorError::Record { key, why }) => {
                let why = format!("the record of action {key} cannot be read: {why}");
                self.give_up(delivery.message(), &why).await
            }
            taken => taken,
        };
        match taken {
            Ok(()) => {
                failpoint::hit("executor.taken");
                let _ = delivery.ack().await;
            }
            Err(error) => {
                tracing::error!(%error, "an order could not be taken, and will be tried again");
                let doublings = u32::try_from(delivery.deliveries().saturating_sub(1)).unwrap_or(u32::MAX).min(6);
                let _ = delivery.hand_back((RETRY * (1 << doublings)).min(RETRY_MAX)).await;
            }
        }
    }

    /// Sets aside an order that nobody can take, which people are told of.
    async fn give_up(&self, message: &Stored, why: &str) -> Result<(), ExecutorError> {
        self.metrics.buried("order", why, &message.subject, message.sequence, None);
        let letter = DeadLetter {
            subject: message.subject.clone(),
            sequence: message.sequence,
            place: None,
            reason: why.to_owned(),
            payload: message.payload.clone(),
        };
        self.bus.bury(&letter).await?;
        let case = Subject::ordered_case(&message.subject).unwrap_or_default();
        self.turned_down(&case, message.sequence, why).await
    }
}
