//! Feeds the case builder: one driver a partition, which pulls, fills gaps from the stream, and acknowledges.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use trailwarden_bus::{self as bus, Consumer, Delivery, Sequence, Stored, Stream, Subject, Subscription};
use trailwarden_core::time::Timestamp;
use trailwarden_runtime::telemetry;

use crate::builder::{Answer, Builder, Request};
use crate::site::Site;
use crate::supervision::{Handle, pause};

/// How long to wait for a message before looking whether the builder has been built anew meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the builder may take to answer; longer than its work may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(330);
/// How long after shutdown an answer is waited for, so that what was logged is acknowledged too.
const GRACE: Duration = Duration::from_secs(5);
/// Unacknowledged for so long, a batch is given out again. What comes twice costs a look at its sequence.
const ACK_WAIT: Duration = Duration::from_secs(5);
/// Deliveries after which the broker gives up: many, since what cannot be read is acknowledged at once and holding back
/// is no failure.
const DELIVERIES_MAX: u32 = 1_000;
/// Messages read in one go where a gap is filled.
const PAGE: usize = 64;
/// How long a partition is held back in favour of slower ones, before its events take the room of others.
const HOLD_MAX: Duration = Duration::from_secs(60);
/// How often to ask again when held back.
const HOLD_PAUSE: Duration = Duration::from_millis(20);

/// One partition's driver.
pub(crate) struct Driver {
    pub(crate) partition: u16,
    pub(crate) site: Site,
    pub(crate) builder: Handle<Builder>,
    pub(crate) shutdown: CancellationToken,
    /// The latest message that was acknowledged here.
    pub(crate) latest: Mutex<Option<(Sequence, Timestamp)>>,
}

/// The durable consumer of a partition's signals.
pub(crate) fn consumer(tenant: &str, partition: u16) -> Consumer {
    Consumer {
        stream: Stream::Signal,
        name: format!("council-p{partition:03}"),
        filter: Subject::partition(Stream::Signal, tenant, partition).to_string(),
        // One on its way, so that what is acknowledged has no holes.
        in_flight_max: 1,
        ack_wait: ACK_WAIT,
        deliveries_max: DELIVERIES_MAX,
        idle_max: None,
    }
}

/// The driver was told to stop.
struct Stopped;

impl Driver {
    /// Runs until shutdown.
    pub(crate) async fn run(self) {
        let mut failures = 0;
        while !self.shutdown.is_cancelled() {
            match self.pull(&mut failures).await {
                Ok(()) => return,
                Err(error) => {
                    failures += 1;
                    let delay = pause(failures, self.partition.into());
                    self.site.metrics.retrying("pull", failures, delay, &error);
                    if self.rest(delay).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn subject(&self) -> Subject {
        Subject::partition(Stream::Signal, &self.site.tenant, self.partition)
    }

    fn consumer(&self) -> Consumer {
        consumer(&self.site.tenant, self.partition)
    }

    async fn rest(&self, time: Duration) -> Result<(), Stopped> {
        self.or_stopped(tokio::time::sleep(time)).await
    }

    async fn or_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Stopped),
            done = work => Ok(done),
        }
    }

    /// Pulls until shutdown, or until the broker fails.
    async fn pull(&self, failures: &mut u32) -> Result<(), bus::Error> {
        let mut subscription = self.site.bus.subscribe(&self.consumer()).await?;
        let mut first = match self.take_up(subscription.as_mut()).await {
            Ok(first) => first?,
            Err(Stopped) => return Ok(()),
        };
        loop {
            // Again and again, since another builder may have begun from nothing.
            match self.catch_up_to_floor().await {
                Ok(caught_up) => caught_up?,
                Err(Stopped) => return Ok(()),
            }
            let next = match first.take() {
                Some(first) => Some(first),
                None => match self.or_stopped(subscription.next(PATIENCE)).await {
                    Ok(next) => next?,
                    Err(Stopped) => return Ok(()),
                },
            };
            if let Some(delivery) = next {
                *failures = 0;
                let message = delivery.message().clone();
                self.check_stream(&message)?;
                let place = (message.sequence, message.stored_at);
                let metrics = &self.site.metrics;
                if delivery.deliveries() > 1 {
                    metrics.redelivered(&message.subject, message.sequence, delivery.deliveries());
                }
                let span = tracing::debug_span!("batch", partition = self.partition, sequence = message.sequence);
                telemetry::extract(&message.headers).attach(&span);
                match self.deliver(message, delivery.as_ref()).instrument(span).await {
                    Ok(done) => {
                        let done = done?;
                        let mut stopwatch = metrics.stopwatch();
                        delivery.ack().await?;
                        stopwatch.lap("acknowledge");
                        self.site.floors.raise(self.partition, done);
                        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
                    }
                    Err(Stopped) => return delivery.hand_back(Duration::ZERO).await,
                }
            }
        }
    }

    /// A stream that was made anew numbers its messages from 1 again. What is folded here is of the one before, and would
    /// pass over them; a council that is started again begins with what there is.
    fn check_stream(&self, message: &Stored) -> Result<(), bus::Error> {
        let latest = *self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match latest.is_some_and(|(sequence, at)| message.sequence <= sequence && message.stored_at > at) {
            true => Err(bus::Error::Invalid { what: "signals were made anew; start the council again".to_owned() }),
            false => Ok(()),
        }
    }

    /// Has the builder fold what is acknowledged already, of all partitions, before anything more is. Returns the first
    /// message that is not, if it was needed for that.
    ///
    /// A broker whose leader has just changed may say that less is acknowledged than truly is. What it names is folded in
    /// silence; what lies between that and the first message that it gives out (or the end, if it gives none) is compared
    /// with the logs. Were it left out, what follows from it together with other partitions would be acknowledged unlogged.
    async fn take_up(
        &self,
        subscription: &mut dyn Subscription,
    ) -> Result<Result<Option<Box<dyn Delivery>>, bus::Error>, Stopped> {
        let Site { bus, floors, .. } = &self.site;
        if floors.is_whole(self.partition) {
            return Ok(Ok(None));
        }
        let look = async {
            loop {
                let last = bus.last(&self.subject()).await?;
                let lag = bus.lag(Stream::Signal, &self.consumer().name).await?;
                let last = last.map_or(0, |last| last.sequence);
                if lag.is_idle() {
                    return Ok((lag.acknowledged, last, None));
                }
                // What is in somebody else's hands is given out here, or acknowledged, before long.
                if let Some(first) = subscription.next(PATIENCE).await? {
                    return Ok((lag.acknowledged, first.message().sequence.saturating_sub(1), Some(first)));
                }
            }
        };
        let (floor, until, first): (_, _, Option<Box<dyn Delivery>>) = match self.or_stopped(look).await? {
            Ok(seen) => seen,
            Err(error) => return Ok(Err(error)),
        };
        floors.raise(self.partition, floor);
        match self.level(until).await {
            Ok(Ok(())) => Ok(Ok(first)),
            Ok(Err(error)) => Ok(Err(error)),
            Err(Stopped) => {
                if let Some(first) = first {
                    // What does not arrive comes again by itself.
                    let _ = first.hand_back(Duration::ZERO).await;
                }
                Err(Stopped)
            }
        }
    }

    /// Has the builder fold all up to `until`, and waits until the other partitions have come as far.
    async fn level(&self, until: Sequence) -> Result<Result<(), bus::Error>, Stopped> {
        let floors = &self.site.floors;
        // Until then nothing is folded.
        while !floors.are_known() {
            self.rest(HOLD_PAUSE).await?;
        }
        let mut was = None;
        loop {
            if let Err(error) = self.catch_up_to_floor().await? {
                return Ok(Err(error));
            }
            let Answer::At(at) = self.ask(|partition| Request::Where { partition }).await? else { continue };
            if at >= until {
                break;
            }
            if was.replace(at) == Some(at) {
                self.rest(HOLD_PAUSE).await?;
            }
            if let Err(error) = self.catch_up(at, until).await? {
                return Ok(Err(error));
            }
        }
        floors.raise(self.partition, until);
        floors.complete(self.partition);
        while !floors.are_whole() {
            self.rest(HOLD_PAUSE).await?;
        }
        Ok(Ok(()))
    }

    /// Has the builder fold all that is acknowledged.
    async fn catch_up_to_floor(&self) -> Result<Result<(), bus::Error>, Stopped> {
        let Some(floor) = self.site.floors.of(self.partition) else { return Ok(Ok(())) };
        match self.ask(|partition| Request::Where { partition }).await? {
            Answer::At(at) if at < floor => self.catch_up(at, floor).await,
            _ => Ok(Ok(())),
        }
    }

    /// Has the builder fold all after `after` up to `until`, from the stream.
    async fn catch_up(&self, mut after: Sequence, until: Sequence) -> Result<Result<(), bus::Error>, Stopped> {
        while after < until {
            let page = match self.or_stopped(self.site.bus.read(&self.subject(), after, PAGE)).await? {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            let is_last = page.len() < PAGE || page.last().is_some_and(|last| last.sequence >= until);
            for message in page.into_iter().take_while(|message| message.sequence <= until) {
                let sequence = message.sequence;
                match self.fold(message, Some(after), None).await? {
                    Answer::Behind(at) => {
                        // Built anew meanwhile: whoever drives it begins again.
                        tracing::debug!(partition = self.partition, at, "case builder begins anew");
                        return Ok(Ok(()));
                    }
                    Answer::At(_) | Answer::Hold => after = sequence,
                }
            }
            if is_last && after < until {
                // Up to there are other partitions' messages, or what has outlived its time in the stream.
                self.ask(|partition| Request::Nothing { partition, after, until }).await?;
                return Ok(Ok(()));
            }
        }
        Ok(Ok(()))
    }

    /// Has the builder fold a message, and before it what it misses.
    async fn deliver(&self, message: Stored, delivery: &dyn Delivery) -> Result<Result<Sequence, bus::Error>, Stopped> {
        let sequence = message.sequence;
        loop {
            match self.catch_up_to_floor().await? {
                Ok(()) => {}
                Err(error) => return Ok(Err(error)),
            }
            match self.fold(message.clone(), None, Some(delivery)).await? {
                Answer::Behind(after) => match self.catch_up(after, sequence).await? {
                    Ok(()) => {}
                    Err(error) => return Ok(Err(error)),
                },
                Answer::At(_) | Answer::Hold => return Ok(Ok(sequence)),
            }
        }
    }

    /// Asks the builder to fold a message until it does, or says what it misses.
    async fn fold(
        &self,
        message: Stored,
        follows: Option<Sequence>,
        delivery: Option<&dyn Delivery>,
    ) -> Result<Answer, Stopped> {
        let began = Instant::now();
        let mut told = began;
        loop {
            let is_urgent = began.elapsed() > HOLD_MAX;
            let request = |partition| Request::Fold { partition, message: message.clone(), follows, is_urgent };
            match self.ask(request).await? {
                Answer::Hold => self.rest(HOLD_PAUSE).await?,
                answer => return Ok(answer),
            }
            if let Some(delivery) = delivery
                && told.elapsed() > ACK_WAIT / 3
            {
                told = Instant::now();
                // A broker that does not hear it gives the message out again, which costs no more than a look.
                let _ = self.or_stopped(delivery.progress()).await?;
            }
        }
    }

    /// Asks the builder until it answers.
    async fn ask(&self, request: impl Fn(u16) -> Request) -> Result<Answer, Stopped> {
        let mut failures = 0;
        loop {
            let asked = self.builder.ask(request(self.partition), ANSWER_PATIENCE);
            let answer = tokio::select! {
                answer = asked => answer,
                () = async {
                    self.shutdown.cancelled().await;
                    tokio::time::sleep(GRACE).await;
                } => return Err(Stopped),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    failures += 1;
                    tracing::debug!(partition = self.partition, %failure, "case builder does not answer");
                    self.rest(pause(failures, self.partition.into())).await?;
                }
            }
        }
    }
}
