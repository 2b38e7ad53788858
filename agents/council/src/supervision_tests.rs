use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::roster::{Seen, State};

use super::*;

/// Does as it is told, and counts what it lived through.
struct Fool {
    asked: u32,
    begun: Arc<AtomicU32>,
}

#[derive(Clone, Copy)]
enum Wish {
    Count,
    Panic,
    PanicAtWork,
    TakeSeconds(u64),
    /// Fails at work and takes its state for lost.
    Despair,
}

impl Worker for Fool {
    type Request = Wish;
    type Answer = u32;

    fn begin(&mut self, wish: Wish) -> Work<u32> {
        self.asked += 1;
        self.begun.fetch_add(1, Ordering::Relaxed);
        let asked = self.asked;
        match wish {
            Wish::Count => Box::pin(async move { asked }),
            Wish::Panic => panic!("as wished"),
            Wish::PanicAtWork => Box::pin(async { panic!("as wished") }),
            Wish::TakeSeconds(seconds) => Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                asked
            }),
            Wish::Despair => {
                let held = self.begun.clone();
                Box::pin(async move {
                    let never: u32 = std::future::pending().await;
                    drop(held);
                    never
                })
            }
        }
    }

    fn failed(&mut self, failure: Failure) -> Fate {
        if failure == Failure::TimedOut { Fate::Ends } else { Fate::GoesOn }
    }
}

const POLICY: Policy =
    Policy { mailbox_max: 2, deadline: Duration::from_secs(10), restarts_max: 3, window: Duration::from_secs(60) };
const PATIENCE: Duration = Duration::from_secs(300);

struct Stage {
    fool: Handle<Fool>,
    begun: Arc<AtomicU32>,
    built: Arc<AtomicU32>,
    escalations: mpsc::Receiver<Escalation>,
    roster: Roster,
}

/// Runs a scene under paused time.
fn play<F: Future<Output = ()>>(scene: impl FnOnce(Stage) -> F) {
    System::new().block_on(async {
        tokio::time::pause();
        let (begun, built): (Arc<AtomicU32>, Arc<AtomicU32>) = Default::default();
        let (sender, escalations) = mpsc::channel(1);
        let factory = {
            let (begun, built) = (begun.clone(), built.clone());
            move || {
                built.fetch_add(1, Ordering::Relaxed);
                Fool { asked: 0, begun: begun.clone() }
            }
        };
        let roster = Roster::new(Metrics::nowhere());
        let fool = supervise("fool", POLICY, factory, sender, &roster);
        scene(Stage { fool, begun, built, escalations, roster }).await;
    });
}

/// Asks until the worker is there again.
async fn patiently(fool: &Handle<Fool>, wish: Wish) -> Result<u32, Failure> {
    loop {
        match fool.ask(wish, PATIENCE).await {
            Err(Failure::Restarting) => tokio::time::sleep(PAUSE_MIN).await,
            answer => return answer,
        }
    }
}

#[test]
fn a_panic_in_the_actor_costs_its_state_and_no_more() {
    play(|stage| async move {
        assert_eq!(stage.fool.ask(Wish::Count, PATIENCE).await, Ok(1));
        assert_eq!(stage.fool.ask(Wish::Panic, PATIENCE).await, Err(Failure::Died));
        assert_eq!(stage.fool.ask(Wish::Count, PATIENCE).await, Err(Failure::Restarting), "not before its pause");
        assert_eq!(patiently(&stage.fool, Wish::Count).await, Ok(1), "built anew");
        assert_eq!(stage.built.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_panic_at_work_is_an_answer() {
    play(|stage| async move {
        assert_eq!(stage.fool.ask(Wish::PanicAtWork, PATIENCE).await, Err(Failure::Panicked));
        assert_eq!(stage.fool.ask(Wish::Count, PATIENCE).await, Ok(2), "the same worker");
        assert_eq!(stage.built.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_deadline_ends_work_and_the_worker_decides_about_itself() {
    play(|stage| async move {
        assert_eq!(stage.fool.ask(Wish::Despair, PATIENCE).await, Err(Failure::TimedOut));
        assert_eq!(patiently(&stage.fool, Wish::Count).await, Ok(1), "it took its state for lost");
        assert_eq!(stage.built.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_storm_of_deaths_escalates_and_rare_ones_do_not() {
    play(|mut stage| async move {
        for _ in 0..10 {
            assert_eq!(patiently(&stage.fool, Wish::Panic).await, Err(Failure::Died));
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        assert!(stage.escalations.try_recv().is_err(), "two a minute are mended");
        tokio::time::sleep(POLICY.window).await;
        for _ in 0..4 {
            assert_eq!(patiently(&stage.fool, Wish::Panic).await, Err(Failure::Died));
        }
        let escalation = stage.escalations.recv().await.expect("told");
        assert_eq!((escalation.name.as_str(), escalation.deaths), ("fool", 4));
        assert_eq!(stage.fool.ask(Wish::Count, PATIENCE).await, Err(Failure::GivenUp));
        assert_eq!(stage.built.load(Ordering::Relaxed), 14);
    });
}

#[test]
fn the_mailbox_bounds_the_work_and_who_left_is_not_served() {
    play(|stage| async move {
        let ask = |wish, patience_s| {
            let fool = stage.fool.clone();
            tokio::spawn(async move { fool.ask(wish, Duration::from_secs(patience_s)).await })
        };
        let first = ask(Wish::TakeSeconds(5), 300);
        tokio::task::yield_now().await;
        // Far more than there is room for; they lose patience before the first is served.
        let crowd: Vec<_> = (0..50).map(|_| ask(Wish::Count, 1)).collect();
        let mut outcomes = Vec::new();
        for one in crowd {
            outcomes.push(one.await.expect("no panic"));
        }
        let waited = outcomes.iter().filter(|outcome| **outcome == Err(Failure::TimedOut)).count();
        let refused = outcomes.iter().filter(|outcome| **outcome == Err(Failure::Busy)).count();
        assert_eq!(waited + refused, 50);
        // actix grants each sender one place beyond the bound, and the parent is the one sender.
        assert!((POLICY.mailbox_max..=POLICY.mailbox_max + 1).contains(&waited), "{waited} waited");
        assert_eq!(first.await.expect("no panic"), Ok(1));
        assert_eq!(stage.fool.ask(Wish::Count, PATIENCE).await, Ok(2));
        assert_eq!(stage.begun.load(Ordering::Relaxed), 2, "nobody else's request was begun");
    });
}

#[test]
fn what_was_begun_is_ended_on_stop() {
    play(|stage| async move {
        let asking = {
            let fool = stage.fool.clone();
            tokio::spawn(async move { fool.ask(Wish::TakeSeconds(5), PATIENCE).await })
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        stage.fool.stop().await;
        assert_eq!(asking.await.expect("no panic"), Ok(1));
        assert_eq!(stage.fool.ask(Wish::Count, PATIENCE).await, Err(Failure::GivenUp));
        assert_eq!(stage.built.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn the_dead_and_the_stopped_leave_nothing_behind() {
    play(|Stage { fool, begun, roster, .. }| async move {
        let holders = || Arc::strong_count(&begun);
        assert_eq!(fool.ask(Wish::Count, PATIENCE).await, Ok(1));
        assert_eq!(holders(), 3, "this test, the factory and the worker");
        for wish in [Wish::Panic, Wish::PanicAtWork, Wish::Despair] {
            assert!(patiently(&fool, wish).await.is_err());
        }
        assert_eq!(patiently(&fool, Wish::Count).await, Ok(1), "built anew");
        assert_eq!(holders(), 3, "neither the dead nor work that was cancelled");
        fool.stop().await;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(holders(), 1, "not even the factory");
        drop(fool);
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(roster.look(), [], "nor a place in the roster");
    });
}

#[test]
fn what_a_worker_is_at_is_seen_while_it_answers_nobody() {
    play(|stage| async move {
        let seen = || stage.roster.look().pop().expect("it is there");
        let ask = |wish, patience_s| {
            let fool = stage.fool.clone();
            tokio::spawn(async move { fool.ask(wish, Duration::from_secs(patience_s)).await })
        };
        assert_eq!((seen().name.as_str(), seen().handled), ("fool", 0));
        let working = ask(Wish::TakeSeconds(8), 300);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let waiting = ask(Wish::Count, 300);
        tokio::time::sleep(Duration::from_secs(4)).await;
        let Seen { state, lasting, waiting: queued, .. } = seen();
        assert_eq!((state, lasting.as_secs(), queued), (State::Working, 5, 1));
        assert_eq!((working.await.expect("no panic"), waiting.await.expect("no panic")), (Ok(1), Ok(2)));
        assert_eq!((seen().state, seen().waiting, seen().handled), (State::Idle, 0, 2));
        assert_eq!(stage.fool.ask(Wish::PanicAtWork, PATIENCE).await, Err(Failure::Panicked));
        assert_eq!((seen().failed, seen().restarts), (1, 0));
        assert_eq!(stage.fool.ask(Wish::Panic, PATIENCE).await, Err(Failure::Died));
        assert_eq!(stage.fool.ask(Wish::Count, PATIENCE).await, Err(Failure::Restarting));
        assert_eq!((seen().state, seen().restarts), (State::Restarting, 1));
        for _ in 0..4 {
            let _ = patiently(&stage.fool, Wish::Panic).await;
        }
        assert_eq!(stage.fool.ask(Wish::Count, PATIENCE).await, Err(Failure::GivenUp));
        assert_eq!(seen().state, State::GivenUp);
    });
}

#[test]
fn a_factory_that_panics_is_a_death_of_its_worker() {
    System::new().block_on(async {
        tokio::time::pause();
        let (sender, _escalations) = mpsc::channel(1);
        let mut is_broken = true;
        let factory = move || {
            assert!(!std::mem::take(&mut is_broken), "nothing to build it from");
            Fool { asked: 0, begun: Arc::default() }
        };
        let fool = supervise("fool", POLICY, factory, sender, &Roster::new(Metrics::nowhere()));
        assert_eq!(fool.ask(Wish::Count, PATIENCE).await, Err(Failure::Restarting));
        assert_eq!(patiently(&fool, Wish::Count).await, Ok(1));
    });
}

#[test]
fn pauses_double_and_end() {
    let pauses: Vec<u128> = (1..12).map(|nth| pause(nth, 0).as_millis()).collect();
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000]);
    assert!((0..100).all(|salt| pause(1, salt) < Duration::from_millis(63)));
    assert_eq!(pause(u32::MAX, 0), PAUSE_MAX);
}
