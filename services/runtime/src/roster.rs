//! What actors are at, to be seen without asking them: one that hangs answers nobody.
//!
//! Whoever looks after an actor enters it and notes what becomes of it; the status page and the gauges read the notes.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::Metrics;

/// What an actor is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Idle,
    Working,
    /// Dead, and to be built anew after a pause.
    Restarting,
    /// Dead too often; nobody builds it anew.
    GivenUp,
}

impl State {
    pub const ALL: [Self; 4] = [Self::Idle, Self::Working, Self::Restarting, Self::GivenUp];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Working => "working",
            Self::Restarting => "restarting",
            Self::GivenUp => "given up",
        }
    }
}

/// The actors of a role.
#[derive(Clone, Debug)]
pub struct Roster {
    metrics: Metrics,
    began: Instant,
    actors: Arc<Mutex<Vec<Weak<Notes>>>>,
}

#[derive(Debug)]
struct Notes {
    name: String,
    state: AtomicU8,
    /// Milliseconds after the roster began.
    since_ms: AtomicU64,
    waiting: AtomicU64,
    handled: AtomicU64,
    failed: AtomicU64,
    restarts: AtomicU64,
}

/// An actor's place; it is gone from the roster with the last of its clones.
#[derive(Clone, Debug)]
pub struct Place {
    notes: Arc<Notes>,
    metrics: Metrics,
    began: Instant,
}

/// An actor as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub name: String,
    pub state: State,
    /// For how long it has been in that state.
    pub lasting: Duration,
    /// Requests in its mailbox.
    pub waiting: u64,
    pub handled: u64,
    /// Of those handled: panicked, or cut off at their deadline.
    pub failed: u64,
    pub restarts: u64,
}

impl Roster {
    /// An empty one. Restarts are counted among a role's measures.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, began: Instant::now(), actors: Arc::default() }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Weak<Notes>>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an actor that is about to be built.
    pub fn enter(&self, name: &str) -> Place {
        let notes = Arc::new(Notes {
            name: name.to_owned(),
            state: AtomicU8::new(State::Restarting as u8),
            since_ms: AtomicU64::new(ms(self.began.elapsed())),
            waiting: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
        });
        let mut actors = self.held();
        actors.retain(|known| known.strong_count() > 0);
        actors.push(Arc::downgrade(&notes));
        Place { notes, metrics: self.metrics.clone(), began: self.began }
    }

    /// All that live, in the order in which they were entered.
    pub fn look(&self) -> Vec<Seen> {
        let now = ms(self.began.elapsed());
        let living: Vec<Arc<Notes>> = self.held().iter().filter_map(Weak::upgrade).collect();
        let seen = living.iter().map(|notes| {
            let state = usize::from(notes.state.load(Ordering::Relaxed));
            Seen {
                name: notes.name.clone(),
                state: State::ALL.get(state).copied().unwrap_or(State::GivenUp),
                lasting: Duration::from_millis(now.saturating_sub(notes.since_ms.load(Ordering::Relaxed))),
                waiting: notes.waiting.load(Ordering::Relaxed),
                handled: notes.handled.load(Ordering::Relaxed),
                failed: notes.failed.load(Ordering::Relaxed),
                restarts: notes.restarts.load(Ordering::Relaxed),
            }
        });
        seen.collect()
    }

    /// Sets the gauges to what is seen now.
    pub fn measure(&self) {
        let seen = self.look();
        for state in State::ALL {
            let count = seen.iter().filter(|actor| actor.state == state).count();
            self.metrics.actors(state.as_str(), count as u64);
        }
        self.metrics.mailboxes(seen.iter().map(|actor| actor.waiting).sum());
    }
}

/// A table, one row an actor.
impl fmt::Display for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for Seen { name, state, lasting, waiting, handled, failed, restarts } in self.look() {
            writeln!(
                text,
                "{name:<20} {:<10} for {:>8.1} s  waiting {waiting:>4}  handled {handled:>8}  failed {failed:>4}  restarts {restarts:>4}",
                state.as_str(),
                lasting.as_secs_f64(),
            )?;
        }
        f.write_str(&text)
    }
}

impl Place {
    fn turn(&self, state: State) {
        self.notes.state.store(state as u8, Ordering::Relaxed);
        self.notes.since_ms.store(ms(self.began.elapsed()), Ordering::Relaxed);
    }

    /// It was built, with an empty mailbox.
    pub fn built(&self) {
        self.notes.waiting.store(0, Ordering::Relaxed);
        self.turn(State::Idle);
    }

    /// A request went into its mailbox.
    pub fn queued(&self) {
        self.notes.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// A request came out of it.
    pub fn taken(&self) {
        // One that was counted in the mailbox of a dead one is not counted any more.
        let less = |waiting: u64| Some(waiting.saturating_sub(1));
        let _ = self.notes.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    pub fn working(&self) {
        self.turn(State::Working);
    }

    /// The work is over.
    pub fn done(&self, failed: bool) {
        self.notes.handled.fetch_add(1, Ordering::Relaxed);
        self.notes.failed.fetch_add(failed.into(), Ordering::Relaxed);
        self.turn(State::Idle);
    }

    /// It died, and will be built anew.
    pub fn died(&self) {
        self.notes.restarts.fetch_add(1, Ordering::Relaxed);
        self.notes.waiting.store(0, Ordering::Relaxed);
        self.metrics.count_restart();
        self.turn(State::Restarting);
    }

    /// It died, and will not be.
    pub fn gave_up(&self) {
        self.notes.waiting.store(0, Ordering::Relaxed);
        self.turn(State::GivenUp);
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::quiet;

    #[tokio::test(start_paused = true)]
    async fn what_becomes_of_an_actor_is_seen_and_measured() {
        let telemetry = quiet("council").expect("no exporter");
        let roster = Roster::new(telemetry.metrics().clone());
        let (builder, shard) = (roster.enter("case builder"), roster.enter("negotiation 0"));
        builder.built();
        shard.built();
        (0..3).for_each(|_| shard.queued());
        shard.taken();
        shard.working();
        tokio::time::advance(Duration::from_millis(1_500)).await;
        builder.died();
        let seen = roster.look();
        let told = |actor: &Seen| (actor.state, actor.lasting.as_millis(), actor.waiting, actor.restarts);
        assert_eq!(
            seen.iter().map(told).collect::<Vec<_>>(),
            [(State::Restarting, 0, 0, 1), (State::Working, 1_500, 2, 0)]
        );
        shard.done(true);
        assert_eq!((roster.look()[1].handled, roster.look()[1].failed), (1, 1));
        roster.measure();
        let page = telemetry.metrics_text();
        for line in [
            "trailwarden_actors{role=\"council\",state=\"restarting\"} 1",
            "trailwarden_actors{role=\"council\",state=\"idle\"} 1",
            "trailwarden_actors{role=\"council\",state=\"given up\"} 0",
            "trailwarden_mailbox{role=\"council\"} 2",
            "trailwarden_restarts_total{role=\"council\"} 1",
        ] {
            assert!(page.contains(line), "{line} is missing\n{page}");
        }
        assert!(roster.to_string().starts_with("case builder         restarting for"), "{roster}");
        // Whoever is gone is gone from it.
        drop(builder);
        assert_eq!(roster.look().len(), 1);
        drop(shard);
        assert_eq!(roster.to_string(), "");
    }
}
