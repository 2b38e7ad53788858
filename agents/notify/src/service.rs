//! The role: watches cases, scored events and the system's health, and tells people.
//!
//! A message of a source is taken into the throttle before it is acknowledged, and the throttle knows how far each source was
//! taken, so what comes twice counts once. Sending is at least once: whoever dies between a sending and its note leaves the
//! message to somebody else, who sends it once more, under the same id.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trailwarden_bus::{Bus, Consumer, DeadLetter, Stored, Stream, Subject};
use trailwarden_core::alert::{Alert, Kind};
use trailwarden_core::level::Severity;
use trailwarden_core::time::Timestamp;
use trailwarden_proto::Invalid;
use trailwarden_runtime::backoff::{self, Backoff, Ended};
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::{self, Readiness};
use trailwarden_runtime::{Clock, failpoint};

use crate::channel::{Channel, Error as ChannelError, SEND_DEADLINE, Told};
use crate::config::Language;
use crate::intake;
use crate::route::Router;
use crate::store::{Error as StoreError, Store};
use crate::throttle::{Claim, Outcome, Position, SHARES};
use crate::words::words;

/// One on its way a source: what is given out again must not come after what follows it.
const IN_FLIGHT_MAX: usize = 1;
const ACK_WAIT: Duration = Duration::from_secs(10);
const DELIVERIES_MAX: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Messages that one process sends at once on one channel: one that is slow leaves the others their room.
const SENDS_MAX: usize = 8;

/// How alerts are told.
#[derive(Clone, Debug)]
pub struct Config {
    pub tenant: String,
    pub router: Router,
    pub language: Language,
    pub case_url: Option<String>,
}

/// The role's outside world.
pub struct Deps {
    pub bus: Arc<dyn Bus>,
    pub channels: Vec<Arc<dyn Channel>>,
    pub clock: Clock,
    pub readiness: Readiness,
    pub metrics: Metrics,
}

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Ours, or the operator's: trying again does not help.
    #[error("the throttle cannot be kept")]
    Store(#[from] StoreError),
    /// Ours.
    #[error("a part of it died")]
    Died,
}

/// Something that alerts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Cases,
    Events,
    Raised,
}

impl Source {
    const fn name(self) -> &'static str {
        match self {
            Self::Cases => "notify-cases",
            Self::Events => "notify-events",
            Self::Raised => "notify-raised",
        }
    }

    fn consumer(self, tenant: &str) -> Consumer {
        let (stream, filter) = match self {
            Self::Cases => (Stream::Case, format!("{}.>", Subject::whole(Stream::Case, tenant))),
            Self::Events => (Stream::Signal, format!("{}.>", Subject::whole(Stream::Signal, tenant))),
            Self::Raised => (Stream::Alert, Subject::raised(tenant).to_string()),
        };
        Consumer {
            stream,
            name: self.name().to_owned(),
            filter,
            in_flight_max: IN_FLIGHT_MAX,
            ack_wait: ACK_WAIT,
            deliveries_max: DELIVERIES_MAX,
            idle_max: None,
        }
    }

    fn alerts(self, stored: &Stored) -> Result<Vec<Alert>, Invalid> {
        match self {
            Self::Cases => intake::transition(stored),
            Self::Events => intake::signals(stored),
            Self::Raised => intake::raised(stored),
        }
    }
}

/// The durable consumers of the role.
pub fn consumers(tenant: &str, router: &Router) -> Vec<Consumer> {
    sources(router).into_iter().map(|source| source.consumer(tenant)).collect()
}

fn sources(router: &Router) -> Vec<Source> {
    let mut sources = vec![Source::Cases, Source::Raised];
    // Every scored event is read only where somebody wants to hear of single ones.
    if router.wants_events() {
        sources.push(Source::Events);
    }
    sources
}

/// Watches and tells until `shutdown`.
///
/// # Errors
/// See [`Error`].
pub async fn run(config: Config, deps: Deps, shutdown: CancellationToken) -> Result<(), Error> {
    let Deps { bus, channels, clock, readiness, metrics } = deps;
    let store = Store::new(Arc::clone(&bus), &config.tenant, clock.clone());
    let began_at = backoff::retry("throttle", &metrics, &shutdown, StoreError::is_transient, || store.began_at()).await;
    let began_at = match began_at {
        Ok(began_at) => began_at,
        Err(Ended::Shutdown) => return Ok(()),
        Err(Ended::Failed(error)) => return Err(error.into()),
        // What a retry may end with later is an end all the same.
        Err(_) => return Err(Error::Died),
    };
    let channels = channels.into_iter().map(|channel| (channel.name().to_owned(), channel)).collect();
    let sources = sources(&config.router);
    let (peer, ready) = (Arc::clone(&bus), metrics.clone());
    let role = Arc::new(Role {
        config,
        bus,
        channels,
        store,
        clock,
        metrics,
        began_at,
        due: Notify::new(),
        sending: Mutex::default(),
    });
    // Whatever ends first ends the rest.
    let all = shutdown.child_token();
    let mut parts = JoinSet::new();
    let until = all.clone();
    parts.spawn(async move { readiness::follow(readiness, ready, "bus", || peer.ping(), until).await });
    for source in sources {
        parts.spawn(Arc::clone(&role).follow(source, all.clone()));
    }
    parts.spawn(Arc::clone(&role).dispatch(all.clone()));
    let mut died = false;
    while let Some(ended) = parts.join_next().await {
        died |= ended.is_err();
        all.cancel();
    }
    if died { Err(Error::Died) } else { Ok(()) }
}

struct Role {
    config: Config,
    bus: Arc<dyn Bus>,
    channels: BTreeMap<String, Arc<dyn Channel>>,
    store: Store,
    clock: Clock,
    metrics: Metrics,
    began_at: Timestamp,
    /// Told when something may be due.
    due: Notify,
    /// Messages that are being sent, by channel.
    sending: Mutex<BTreeMap<String, usize>>,
}

impl Role {
    /// Takes a source's messages in until shutdown.
    async fn follow(self: Arc<Self>, source: Source, shutdown: CancellationToken) {
        let mut backoff = Backoff::new(source as u64);
        while !shutdown.is_cancelled() {
            let followed = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                followed = self.follow_once(source, &mut backoff) => followed,
            };
            if let Err(error) = followed {
                let delay = backoff.next_delay();
                self.metrics.retrying(source.name(), backoff.attempts(), delay, &error);
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(delay) => {}
                }
            }
        }
    }

    async fn follow_once(&self, source: Source, backoff: &mut Backoff) -> Result<(), StoreError> {
        let mut subscription = self.bus.subscribe(&source.consumer(&self.config.tenant)).await?;
        loop {
            let Some(delivery) = subscription.next(PATIENCE).await? else { continue };
            let message = delivery.message();
            if delivery.deliveries() > 1 {
                self.metrics.redelivered(&message.subject, message.sequence, delivery.deliveries());
            }
            self.take(source, message).await?;
            failpoint::hit("notify.taken");
            delivery.ack().await?;
            backoff.reset();
        }
    }

    async fn take(&self, source: Source, stored: &Stored) -> Result<(), StoreError> {
        if stored.stored_at < self.began_at {
            return Ok(());
        }
        let alerts = match source.alerts(stored) {
            Ok(alerts) => alerts,
            Err(error) => return self.bury(source, stored, &error).await,
        };
        let now = (self.clock)();
        let notes: Vec<_> = alerts.iter().flat_map(|alert| self.config.router.notes(alert, now)).collect();
        if alerts.iter().any(|alert| alert.kind == Kind::ChannelFailed) && notes.is_empty() {
            tracing::error!(sequence = stored.sequence, "a channel does not deliver, and there is no other to say so");
        }
        if let Some(only) = alerts.iter().find_map(|alert| alert.only.as_ref().filter(|_| notes.is_empty())) {
            tracing::warn!(
                channel = only,
                sequence = stored.sequence,
                "an alert is for a channel that is not configured"
            );
        }
        if !notes.is_empty() {
            let position = Position { sequence: stored.sequence, stored_at: stored.stored_at };
            self.store.take(source.name(), position, notes).await?;
            self.due.notify_one();
        }
        Ok(())
    }

    /// A message that is none of its source's is set aside.
    async fn bury(&self, source: Source, stored: &Stored, why: &Invalid) -> Result<(), StoreError> {
        let letter = DeadLetter {
            subject: stored.subject.clone(),
            sequence: stored.sequence,
            place: None,
            reason: why.to_string(),
            payload: stored.payload.clone(),
        };
        self.bus.bury(&letter).await?;
        self.metrics.buried(source.name(), &letter.reason, &stored.subject, stored.sequence, None);
        Ok(())
    }

    /// Sends what is due until shutdown; then lets what is being sent end.
    async fn dispatch(self: Arc<Self>, shutdown: CancellationToken) {
        let mut sends = JoinSet::new();
        let mut backoff = Backoff::new(99);
        while !shutdown.is_cancelled() {
            let pause = match self.send_due(&mut sends).await {
                Ok(()) => {
                    backoff.reset();
                    LOOK_EVERY
                }
                Err(error) => {
                    let delay = backoff.next_delay();
                    self.metrics.retrying("throttle", backoff.attempts(), delay, &error);
                    delay
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.due.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            while sends.try_join_next().is_some() {}
        }
        while sends.join_next().await.is_some() {}
    }

    async fn send_due(self: &Arc<Self>, sends: &mut JoinSet<()>) -> Result<(), StoreError> {
        for share in 0..SHARES {
            let claims = self.store.claim(share, |channel| SENDS_MAX.saturating_sub(self.sends(channel, 0))).await?;
            for claim in claims {
                let seat = Seat::take(self, &claim.channel);
                sends.spawn(async move { seat.role.send(&claim).await });
            }
        }
        Ok(())
    }

    /// Messages that are being sent on a channel, once `more` of them begin or end.
    fn sends(&self, channel: &str, more: isize) -> usize {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sending.entry(channel.to_owned()).or_default();
        *count = count.saturating_add_signed(more);
        *count
    }

    async fn send(&self, claim: &Claim) {
        let Some(channel) = self.channels.get(&claim.channel) else {
            let why = "it is no longer configured";
            return self.settle(claim, "unknown", Outcome::Refused, why).await;
        };
        let at = (self.clock)();
        let words = words(&claim.message, self.config.language, self.config.case_url.as_deref(), at);
        let told = Told { message: &claim.message, words: &words, at };
        let sent = tokio::time::timeout(SEND_DEADLINE, channel.send(&told)).await;
        let sent = sent.unwrap_or_else(|_| Err(ChannelError::failed("no answer in 30 s")));
        failpoint::hit("notify.sent");
        let kind = channel.kind().as_str();
        match sent {
            Ok(()) => self.settle(claim, kind, Outcome::Sent, "").await,
            Err(error) => self.settle(claim, kind, error.outcome(), &error.to_string()).await,
        }
    }

    /// Notes what came of an attempt. What cannot be noted is sent again when its lease ends.
    async fn settle(&self, claim: &Claim, kind: &'static str, outcome: Outcome, why: &str) {
        let Claim { channel, message, .. } = claim;
        let settled = self.store.settle(claim, outcome, why).await;
        let trouble = match settled {
            Ok(trouble) => trouble,
            Err(error) => return self.metrics.failed("settle", &error),
        };
        let Some(trouble) = trouble else {
            if outcome == Outcome::Sent {
                self.metrics.told(kind, "sent", message.count);
                tracing::info!(channel, kind = %message.alert.kind, id = message.id, count = message.count, "alert told");
            }
            return;
        };
        if trouble.dead.is_some() {
            self.metrics.told(kind, "dead", message.count);
            tracing::error!(channel, id = message.id, why, "alert was given up and is in the dead letters");
        } else {
            self.metrics.told(kind, "failed", 1);
            tracing::warn!(channel, id = message.id, why, "alert was not taken and will be sent again");
        }
        // That an alert about a channel does not arrive is told by the log alone: two channels that fail would else tell of
        // each other for ever.
        if trouble.is_news && message.alert.kind != Kind::ChannelFailed {
            let id = format!("channel:{channel}:{}", message.id);
            let now = (self.clock)();
            let alert =
                Alert { what: why.to_owned(), ..Alert::new(id, Kind::ChannelFailed, Severity::High, now, channel) };
            if let Err(error) = self.store.raise(&alert.bounded()).await {
                self.metrics.failed("alert", &error);
            }
        }
    }
}

/// A place among the messages that are being sent on a channel, given back on drop.
struct Seat {
    role: Arc<Role>,
    channel: String,
}

impl Seat {
    fn take(role: &Arc<Role>, channel: &str) -> Self {
        role.sends(channel, 1);
        Self { role: Arc::clone(role), channel: channel.to_owned() }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.role.sends(&self.channel, -1);
        self.role.due.notify_one();
    }
}

/// Sends a test to channels, one after the other, past routes and throttle; what came of each.
pub async fn test(
    channels: &[Arc<dyn Channel>],
    config: &Config,
    clock: &Clock,
) -> Vec<(String, Result<(), ChannelError>)> {
    let mut outcomes = Vec::new();
    for channel in channels {
        let (name, at) = (channel.name(), (clock)());
        let alert =
            Alert::new(format!("test:{name}:{}", at.as_millis()), Kind::Test, Severity::Informational, at, name);
        let message =
            crate::throttle::Message { id: format!("test-{}-{name}", at.as_millis()), alert, count: 1, since: at };
        let words = words(&message, config.language, config.case_url.as_deref(), at);
        let told = Told { message: &message, words: &words, at };
        let sent = tokio::time::timeout(SEND_DEADLINE, channel.send(&told)).await;
        outcomes.push((name.to_owned(), sent.unwrap_or_else(|_| Err(ChannelError::failed("no answer in 30 s")))));
    }
    outcomes
}
