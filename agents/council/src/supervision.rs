//! Supervision: parents that keep workers alive.
//!
//! actix restarts an actor only when it stops itself. One whose handler panics is gone for good with its mailbox, and restarts know
//! neither pause nor limit. So a parent stands before each worker: it owns the factory, is told of the worker's death by
//! a guard whose drop reports it, whatever the cause, builds the worker anew after a pause, and escalates when that
//! happens too often. Callers hold the parent's address, never the worker's.
//!
//! A worker does one thing at a time, so the bound on its mailbox is a bound on its work; who wants more at once starts more workers.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use trailwarden_runtime::roster::{Place, Roster};

/// What a request sets in motion; runs in a task of its own, outside the actor.
pub type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What lives under a parent.
pub trait Worker: Unpin + Sized + 'static {
    type Request: Send + 'static;
    type Answer: Send + 'static;

    /// Takes a request in the actor's own thread, so it must be quick, and says what is to be done about it. A panic here
    /// ends the worker, and with it whatever state it has.
    fn begin(&mut self, request: Self::Request) -> Work<Self::Answer>;

    /// Hears how the work of the latest request failed, before the next one begins.
    fn failed(&mut self, _failure: Failure) -> Fate {
        Fate::GoesOn
    }
}

/// Whether a worker outlives a failure of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    GoesOn,
    /// Its state cannot be trusted any more: it is built anew.
    Ends,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Retry later: the worker has as much to do as it may.
    #[error("the worker has no room for another request")]
    Busy,
    /// Retry later: the worker is being built anew.
    #[error("the worker is being built anew")]
    Restarting,
    /// Ours: the worker died with this request, or with one before it.
    #[error("the worker died")]
    Died,
    /// Ours: the work panicked; the worker lives.
    #[error("the work panicked")]
    Panicked,
    /// Retry with care: the work may have been done.
    #[error("the work took too long")]
    TimedOut,
    /// Ours: the worker died too often, or has been stopped.
    #[error("the worker is not coming back")]
    GivenUp,
}

/// How a parent treats its worker.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Requests that may wait.
    pub mailbox_max: usize,
    /// How long one request's work may take.
    pub deadline: Duration,
    /// Deaths within `window` that are mended; the next one escalates.
    pub restarts_max: usize,
    pub window: Duration,
}

/// The pause before the first restart; it doubles with each death within the window.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long to wait after the `nth` failure in a row, from 1. `salt` spreads those who failed together.
pub fn pause(nth: u32, salt: u64) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(1_u32.checked_shl(nth.saturating_sub(1)).unwrap_or(u32::MAX)).min(PAUSE_MAX);
    // Up to a quarter more, by a multiplicative hash (Knuth, The Art of Computer Programming 3, 6.4).
    let spread = (salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u32;
    doubled + doubled * spread / 1_024
}

/// A worker died more often than its parent may mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} died {deaths} times within {window:?}")]
pub struct Escalation {
    pub name: String,
    pub deaths: usize,
    pub window: Duration,
}

/// A parent's address: what callers hold.
pub struct Handle<W: Worker>(Addr<Parent<W>>);

impl<W: Worker> Clone for Handle<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W: Worker> fmt::Debug for Handle<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").finish()
    }
}

impl<W: Worker> Handle<W> {
    /// Asks the worker and waits for its answer at most as long as `patience`. What has begun by then goes on without
    /// an audience; what still waits in the mailbox is not begun.
    ///
    /// # Errors
    /// Every [`Failure`] but that of the caller.
    pub async fn ask(&self, request: W::Request, patience: Duration) -> Result<W::Answer, Failure> {
        let (reply, answer) = oneshot::channel();
        let answered = async {
            self.0.send(Job { request, reply }).await.map_err(|_| Failure::GivenUp)?;
            // A reply that is dropped was in the mailbox of a worker that died.
            answer.await.unwrap_or(Err(Failure::Died))
        };
        tokio::time::timeout(patience, answered).await.unwrap_or(Err(Failure::TimedOut))
    }

    /// Lets the worker end what it is at, and go.
    pub async fn stop(&self) {
        // Whoever is gone already needs no telling.
        let _ = self.0.send(Stop).await;
    }
}

/// Starts a worker and its parent in the current actix system. `escalate` hears when the parent gives up; its owner ends the role then.
/// What the worker is at can be seen in `roster`.
pub fn supervise<W: Worker>(
    name: &str,
    policy: Policy,
    factory: impl FnMut() -> W + 'static,
    escalate: mpsc::Sender<Escalation>,
    roster: &Roster,
) -> Handle<W> {
    let parent = Parent {
        place: roster.enter(name),
        name: name.to_owned(),
        policy,
        factory: Box::new(factory),
        child: None,
        deaths: VecDeque::new(),
        deaths_total: 0,
        given_up: false,
        escalate,
    };
    Handle(parent.start())
}

struct Parent<W: Worker> {
    place: Place,
    name: String,
    policy: Policy,
    factory: Box<dyn FnMut() -> W>,
    child: Option<Addr<Child<W>>>,
    deaths: VecDeque<Instant>,
    deaths_total: u64,
    given_up: bool,
    escalate: mpsc::Sender<Escalation>,
}

impl<W: Worker> Actor for Parent<W> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.build(ctx);
    }
}

impl<W: Worker> Parent<W> {
    fn build(&mut self, ctx: &mut Context<Self>) {
        // The factory is code like the worker's: its panic is a death of the worker, not of the parent.
        let Ok(worker) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut self.factory)) else {
            return self.mourn(true, ctx);
        };
        let (sender, died) = oneshot::channel();
        let Policy { mailbox_max, deadline, .. } = self.policy;
        let guard = Guard(Some(sender));
        self.place.built();
        let place = self.place.clone();
        self.child = Some(Child { worker, mailbox_max, deadline, place, _guard: guard }.start());
        ctx.spawn(died.into_actor(self).map(|panicked, parent, ctx| parent.mourn(panicked.unwrap_or(true), ctx)));
    }

    fn mourn(&mut self, panicked: bool, ctx: &mut Context<Self>) {
        self.child = None;
        let now = Instant::now();
        self.deaths_total += 1;
        self.deaths.push_back(now);
        while self.deaths.front().is_some_and(|death| now.duration_since(*death) > self.policy.window) {
            self.deaths.pop_front();
        }
        let deaths = self.deaths.len();
        if deaths > self.policy.restarts_max {
            self.given_up = true;
            self.place.gave_up();
            let escalation = Escalation { name: self.name.clone(), deaths, window: self.policy.window };
            tracing::error!(worker = self.name, deaths, "worker died too often, the role ends");
            // When another escalation waits there already, the role ends all the same.
            let _ = self.escalate.try_send(escalation);
            return;
        }
        self.place.died();
        let pause = pause(u32::try_from(deaths).unwrap_or(u32::MAX), self.deaths_total);
        tracing::warn!(worker = self.name, panicked, deaths, pause_ms = pause.as_millis() as u64, "worker died");
        ctx.run_later(pause, Self::build);
    }
}

/// Tells of the end of whoever holds it, be it by a panic.
struct Guard(Option<oneshot::Sender<bool>>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            // A parent that is gone does not want to know.
            let _ = sender.send(std::thread::panicking());
        }
    }
}

impl<W: Worker> Handler<Job<W>> for Parent<W> {
    type Result = ();

    fn handle(&mut self, job: Job<W>, _: &mut Self::Context) {
        let refused = match &self.child {
            None => Some((job, if self.given_up { Failure::GivenUp } else { Failure::Restarting })),
            Some(child) => match child.try_send(job) {
                Ok(()) => {
                    self.place.queued();
                    None
                }
                Err(SendError::Full(job)) => Some((job, Failure::Busy)),
                Err(SendError::Closed(job)) => Some((job, Failure::Restarting)),
            },
        };
        if let Some((job, failure)) = refused {
            // Whoever asked may have lost patience.
            let _ = job.reply.send(Err(failure));
        }
    }
}

struct Stop;

impl Message for Stop {
    type Result = ();
}

impl<W: Worker> Handler<Stop> for Parent<W> {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        // Without an address left, the worker ends after what its mailbox holds.
        self.child = None;
        ctx.stop();
    }
}

struct Child<W: Worker> {
    worker: W,
    mailbox_max: usize,
    deadline: Duration,
    place: Place,
    _guard: Guard,
}

impl<W: Worker> Actor for Child<W> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.mailbox_max);
    }
}

struct Job<W: Worker> {
    request: W::Request,
    reply: oneshot::Sender<Result<W::Answer, Failure>>,
}

impl<W: Worker> Message for Job<W> {
    type Result = ();
}

impl<W: Worker> Handler<Job<W>> for Child<W> {
    type Result = ();

    fn handle(&mut self, Job { request, reply }: Job<W>, ctx: &mut Self::Context) {
        self.place.taken();
        if reply.is_closed() {
            // Whoever asked has lost patience.
            return;
        }
        self.place.working();
        let done = within(self.worker.begin(request), self.deadline);
        // Nothing else of this actor runs until the work is done.
        ctx.wait(done.into_actor(self).map(|answer, child, ctx| {
            let failure = answer.as_ref().err().copied();
            child.place.done(failure.is_some());
            // Whoever asked may have lost patience.
            let _ = reply.send(answer);
            if failure.is_some_and(|failure| child.worker.failed(failure) == Fate::Ends) {
                ctx.stop();
            }
        }));
    }
}

/// Runs work in a task of its own, so that its panic is an answer.
async fn within<T: Send + 'static>(work: Work<T>, deadline: Duration) -> Result<T, Failure> {
    let mut task = tokio::spawn(work);
    match tokio::time::timeout(deadline, &mut task).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(Failure::Panicked),
        Err(_) => {
            task.abort();
            Err(Failure::TimedOut)
        }
    }
}

#[cfg(test)]
#[path = "supervision_tests.rs"]
mod tests;
