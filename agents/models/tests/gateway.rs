//! The gateway before a model that does as it is told, in paused time.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::time::{Instant, sleep};
use trailwarden_core::time::Timestamp;
use trailwarden_models::{
    BreakerPolicy, Error, Gateway, Kind, Limits, Model, Policy, Price, Question, Reply, Spent, Usage,
};

/// Answers after a time with what stands next in its script, and at once with a good answer when that is over.
#[derive(Default)]
struct Scripted {
    script: Mutex<VecDeque<(Duration, Result<Usage, Error>)>>,
}

#[async_trait]
impl Model for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    async fn ask(&self, _: &Question) -> Result<Reply, Error> {
        let next = self.script.lock().unwrap().pop_front();
        let (after, result) = next.unwrap_or((Duration::ZERO, Ok(Usage { input_tokens: 10, output_tokens: 5 })));
        sleep(after).await;
        result.map(|usage| Reply { text: "{}".to_owned(), usage, model: "scripted".to_owned() })
    }
}

const ROOMY: Limits = Limits { tokens: 1_000_000, micro_dollars: 1_000_000 };
/// A token costs ten micro-dollars.
const PRICE: Price = Price { input_micro_dollars_a_million: 10_000_000, output_micro_dollars_a_million: 10_000_000 };

fn gateway(policy: Policy, script: Vec<(Duration, Result<Usage, Error>)>) -> Arc<Gateway> {
    let model = Scripted { script: Mutex::new(script.into()) };
    let policy = Policy { price: PRICE, ..policy };
    Arc::new(Gateway::new(Arc::new(model), policy, Arc::new(|| Timestamp::from_millis(86_400_000))))
}

fn question() -> Question {
    let word = || "x".to_owned();
    Question { system: word(), user: word(), schema_name: word(), schema: json!({}), tokens_max: 100 }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn limited(after: Option<u64>) -> Error {
    Error::Limited { ours: false, retry_after: after.map(seconds), said: String::new() }
}

fn away() -> Error {
    Error::Unavailable { status: 503, retry_after: None, said: String::new() }
}

#[tokio::test(start_paused = true)]
async fn one_retry_for_limits_and_absence_within_the_deadline_and_for_nothing_else() {
    let refused = || Error::Refused { status: 400, said: String::new() };
    for (script, kind, calls, took) in [
        (vec![limited(Some(3))], None, 2, seconds(3)),
        (vec![away()], None, 2, Duration::from_millis(500)),
        (vec![away(), away()], Some(Kind::Unavailable), 2, Duration::from_millis(500)),
        (vec![limited(Some(60))], Some(Kind::Limited), 1, seconds(0)),
        (vec![refused()], Some(Kind::Refused), 1, seconds(0)),
        (vec![Error::Malformed(String::new())], Some(Kind::Malformed), 1, seconds(0)),
    ] {
        let errors = script.len() as u64;
        let script = script.into_iter().map(|error| (Duration::ZERO, Err(error))).collect();
        let gateway = gateway(Policy { a_day: ROOMY, ..Policy::default() }, script);
        let begun = Instant::now();
        let result = gateway.of_tenant("a").ask(&question()).await;
        assert_eq!(result.err().map(|error| error.kind()), kind);
        assert_eq!(begun.elapsed(), took, "{kind:?}");
        let counts = gateway.snapshot();
        assert_eq!((counts.asked, counts.calls, counts.retries), (1, calls, calls - 1));
        assert_eq!(counts.errors.values().sum::<u64>(), errors);
        assert_eq!(counts.answered, u64::from(kind.is_none()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_while_asking_waiting_and_queueing() {
    let policy = Policy { in_flight_max: 1, deadline: seconds(4), a_day: ROOMY, ..Policy::default() };
    let gateway = gateway(policy, vec![(seconds(100), Ok(Usage::default()))]);
    let begun = Instant::now();
    let (tenant, question) = (gateway.of_tenant("a"), question());
    let (first, second) = tokio::join!(tenant.ask(&question), tenant.ask(&question));
    assert_eq!(begun.elapsed(), seconds(4));
    for result in [first, second] {
        assert_eq!(result.unwrap_err(), Error::Timeout { after: seconds(4) });
    }
    let counts = gateway.snapshot();
    // The second never came to its turn; the first may have cost all that was foreseen.
    assert_eq!((counts.calls, counts.in_flight, counts.errors[&Kind::Timeout]), (1, 0, 2));
    assert_eq!(counts.micro_dollars, 10 * Usage::foreseen(&question).total());
}

#[tokio::test(start_paused = true)]
async fn budgets_are_each_tenants_own_and_are_kept_over_a_restart() {
    let foreseen = Usage::foreseen(&question()).total();
    let a_day = Limits { tokens: foreseen + 20, micro_dollars: 1_000_000 };
    let first = gateway(Policy { a_day, ..Policy::default() }, Vec::new());
    for (tenant, fits) in [("a", true), ("a", true), ("a", false), ("b", true)] {
        let result = first.ask(tenant, &question()).await;
        assert_eq!(result.err().map(|error| error.kind()), (!fits).then_some(Kind::BudgetSpent), "{tenant}");
    }
    let (day, spent) = first.spent();
    assert_eq!(spent["a"], Spent { tokens: 30, micro_dollars: 300 });
    assert_eq!(first.snapshot().usage, Usage { input_tokens: 30, output_tokens: 15 });
    let second = gateway(Policy { a_day, ..Policy::default() }, Vec::new());
    second.restore("a", spent["a"], day);
    assert_eq!(second.ask("a", &question()).await.unwrap_err(), Error::BudgetSpent { of: "tokens" });
    // Whoever gives up half-way has paid in full, and leaves his place.
    let third = gateway(Policy { a_day, ..Policy::default() }, vec![(seconds(9), Ok(Usage::default()))]);
    let question = question();
    assert!(tokio::time::timeout(seconds(1), third.ask("a", &question)).await.is_err());
    assert_eq!(third.spent().1["a"].tokens, foreseen);
    assert_eq!(third.snapshot().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn after_failures_it_pauses_and_then_tries_with_one() {
    let breaker = BreakerPolicy { failures_max: 3, pause: seconds(10), pause_max: seconds(60) };
    let failure = || (Duration::ZERO, Err(Error::Unreachable(String::new())));
    let mut script: Vec<_> = (0..4).map(|_| failure()).collect();
    script.extend([(seconds(9), Ok(Usage::default())), (seconds(1), Ok(Usage::default()))]);
    let gateway = gateway(Policy { breaker, a_day: ROOMY, ..Policy::default() }, script);
    let question = question();
    for _ in 0..3 {
        assert_eq!(gateway.ask("a", &question).await.unwrap_err().kind(), Kind::Unreachable);
    }
    assert_eq!(gateway.ask("a", &question).await.unwrap_err(), Error::BreakerOpen { wait: seconds(10) });
    assert!(gateway.snapshot().paused);
    sleep(seconds(10)).await;
    assert_eq!(gateway.ask("a", &question).await.unwrap_err().kind(), Kind::Unreachable);
    assert_eq!(gateway.ask("a", &question).await.unwrap_err(), Error::BreakerOpen { wait: seconds(20) });
    sleep(seconds(20)).await;
    // Who tries and gives up leaves it to the next.
    assert!(tokio::time::timeout(seconds(1), gateway.ask("a", &question)).await.is_err());
    let before = gateway.spent();
    let (probe, other) = tokio::join!(gateway.ask("a", &question), gateway.ask("a", &question));
    assert!(probe.is_ok());
    assert_eq!(other.unwrap_err().kind(), Kind::BreakerOpen);
    assert!(!gateway.snapshot().paused);
    assert_eq!(gateway.spent(), before, "what a breaker refuses costs nothing");
}

#[tokio::test(start_paused = true)]
async fn rates_are_kept_by_waiting_a_little_and_refusing_beyond() {
    let policy = Policy { requests_a_minute: 12, a_day: ROOMY, ..Policy::default() };
    let many = gateway(policy, Vec::new());
    let begun = Instant::now();
    for _ in 0..24 {
        many.ask("a", &question()).await.unwrap();
    }
    assert_eq!(begun.elapsed(), seconds(60));
    let foreseen = Usage::foreseen(&question()).total();
    let policy = Policy { tokens_a_minute: foreseen, a_day: ROOMY, deadline: seconds(2), ..Policy::default() };
    let dear = gateway(policy, vec![(Duration::ZERO, Ok(Usage { input_tokens: foreseen, output_tokens: 0 }))]);
    dear.ask("a", &question()).await.unwrap();
    let error = dear.ask("a", &question()).await.unwrap_err();
    assert!(matches!(error, Error::Limited { ours: true, .. }), "{error}");
    assert_eq!(dear.snapshot().calls, 1);
}
