//! The executor against a twin of one account's users: who dies, races and takes away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use serde_json::{Value, json};
use trailwarden_bus::{Bus, Connection, JetStream, Layout};
use trailwarden_core::alert::{Alert, Kind, StepState};
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::response::approval::Intent;
use trailwarden_core::response::life::{Outcome, State};
use trailwarden_playbooks::aws::{Aws, AwsError, Request, Scope};
use trailwarden_playbooks::executor::{Executor, Turn};
use trailwarden_servers::Nats;

use crate::bench::{ACCOUNT, Bench, Clock, T0, TENANT, action};
use crate::mortal::Mortal;

/// Users' inline policies, and what goes wrong.
#[derive(Default)]
pub(crate) struct Twin(Mutex<Held>);

#[derive(Default)]
struct Held {
    policies: BTreeMap<String, String>,
    managed: Vec<String>,
    calls: Vec<String>,
    /// Policies that were put where they stood already.
    twice: usize,
    trouble: Option<Trouble>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    /// The process dies at the n-th call: before AWS has it, or after.
    DiesAt(usize, bool),
    /// Each n-th call is throttled.
    Throttles(usize),
    Vanished,
    /// The user is deleted before the n-th call, and all that hangs on it.
    VanishesAt(usize),
    Denied,
    /// The quota for inline policies is full.
    QuotaFull,
    /// Somebody takes the policy away before each n-th call.
    Attacker(usize),
}

fn gone() -> AwsError {
    AwsError::Gone { code: "NoSuchEntity".to_owned(), message: String::new() }
}

impl Twin {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().expect("nobody panics with it")
    }

    fn with(trouble: Trouble) -> Arc<Self> {
        let twin = Self::default();
        twin.held().trouble = Some(trouble);
        Arc::new(twin)
    }

    fn answer(&self, request: &Request) -> Result<Value, AwsError> {
        let mut state = self.held();
        let text = |name: &str| request.parameters[name].as_str().unwrap_or_default().to_owned();
        let name = text("PolicyName");
        match request.operation.as_str() {
            "GetUserPolicy" => state.policies.get(&name).map(|text| json!({ "PolicyDocument": text })).ok_or_else(gone),
            "PutUserPolicy" => {
                state.twice += usize::from(state.policies.contains_key(&name));
                state.policies.insert(name, text("PolicyDocument"));
                Ok(Value::Null)
            }
            "DeleteUserPolicy" => state.policies.remove(&name).map(|_| Value::Null).ok_or_else(gone),
            "ListAttachedUserPolicies" => {
                let attached: Vec<_> = state.managed.iter().map(|arn| json!({ "PolicyArn": arn })).collect();
                Ok(json!({ "AttachedPolicies": attached }))
            }
            "AttachUserPolicy" => {
                state.managed.push(text("PolicyArn"));
                Ok(Value::Null)
            }
            "DetachUserPolicy" => {
                state.managed.retain(|arn| *arn != text("PolicyArn"));
                Ok(Value::Null)
            }
            other => panic!("{other}"),
        }
    }

    pub(crate) fn count(&self, operation: &str) -> usize {
        self.held().calls.iter().filter(|call| *call == operation).count()
    }

    pub(crate) fn is_clean(&self) -> bool {
        let state = self.held();
        state.policies.is_empty() && state.managed.is_empty() && state.twice == 0
    }
}

#[async_trait]
impl Aws for Twin {
    async fn call(&self, scope: &Scope, request: &Request) -> Result<Value, AwsError> {
        assert_eq!(scope.account, ACCOUNT);
        assert!(scope.session_policy.contains(&request.operation), "{}", scope.session_policy);
        let (nth, trouble) = {
            let mut state = self.held();
            state.calls.push(request.operation.clone());
            (state.calls.len(), state.trouble)
        };
        // Others run between two calls.
        tokio::task::yield_now().await;
        let own = |code: &str| (code.to_owned(), String::new());
        match trouble {
            Some(Trouble::DiesAt(at, after)) if nth == at => {
                if after {
                    let _ = self.answer(request);
                }
                std::future::pending().await
            }
            Some(Trouble::Throttles(each)) if nth % each == 0 => {
                let (code, message) = own("Throttling");
                Err(AwsError::Throttled { code, message })
            }
            Some(Trouble::Vanished) => Err(gone()),
            Some(Trouble::VanishesAt(at)) if nth >= at => {
                self.held().policies.clear();
                Err(gone())
            }
            Some(Trouble::Denied) if request.operation.starts_with("Put") => {
                let (code, message) = own("AccessDenied");
                Err(AwsError::Denied { code, message })
            }
            Some(Trouble::QuotaFull) if request.operation.starts_with("Put") => {
                let (code, message) = own("LimitExceeded");
                Err(AwsError::Conflict { code, message })
            }
            Some(Trouble::Attacker(each)) if nth % each == 0 => {
                self.held().policies.clear();
                self.answer(request)
            }
            _ => self.answer(request),
        }
    }
}

pub(crate) fn quarantine() -> Action {
    action(Playbook::QuarantineUserHard, ACCOUNT, "alice")
}

/// Lives an action to its end, each death followed by another executor.
async fn live(bench: &Bench, twin: &Arc<Twin>, key: &str) -> Outcome {
    let mut lives = 1;
    let mut executor = bench.executor("life-1", Arc::clone(twin) as Arc<dyn Aws>);
    for _ in 0..300 {
        let record = bench.record(&executor, key).await;
        let Some((at, _)) = record.life.due() else {
            return record.life.outcome().expect("an outcome");
        };
        bench.clock.turn_to(at);
        match tokio::time::timeout(Duration::from_secs(5), executor.step(key)).await {
            Ok(turn) => {
                if turn.expect("goes on") == Turn::Elsewhere {
                    bench.clock.turn_to(record.held_until);
                }
            }
            Err(_) => {
                lives += 1;
                executor = bench.executor(&format!("life-{lives}"), Arc::clone(twin) as Arc<dyn Aws>);
            }
        }
    }
    panic!("no end: {:#?}", bench.record(&executor, key).await.life);
}

/// People hear of it once: that it was done and taken back, or that it failed.
async fn told(bench: &Bench, outcome: Outcome) {
    let alerts = bench.alerts().await;
    let facts = |alert: &Alert| (alert.kind, alert.ended, alert.steps[0].state);
    let facts: Vec<_> = alerts.iter().map(facts).collect();
    match outcome {
        Outcome::Failed => assert_eq!(facts.last(), Some(&(Kind::CallAdministrator, false, StepState::Failed))),
        _ => assert_eq!(facts, [(Kind::Block, false, StepState::Done), (Kind::Block, true, StepState::Undone)]),
    }
    assert!(alerts.iter().all(|alert| alert.receipt.acted.is_some() && alert.case.as_deref() == Some("c1")));
}

async fn lived(trouble: Option<Trouble>) -> (Arc<Twin>, Bench, Outcome) {
    let bench = Bench::new().await;
    let twin = trouble.map_or_else(Arc::default, Twin::with);
    let executor = bench.executor("admits", Arc::clone(&twin) as Arc<dyn Aws>);
    let key = bench.approve(&executor, "c1", &quarantine()).await;
    let outcome = live(&bench, &twin, &key).await;
    bench.verify_audit().await;
    told(&bench, outcome).await;
    assert!(twin.is_clean(), "{trouble:?}");
    (twin, bench, outcome)
}

#[tokio::test(start_paused = true)]
async fn who_dies_at_any_call_is_followed_by_another_who_reads_first() {
    let (twin, bench, outcome) = lived(None).await;
    assert_eq!(outcome, Outcome::Undone);
    assert_eq!((twin.count("PutUserPolicy"), twin.count("DeleteUserPolicy")), (1, 1));
    let told: Vec<String> = bench.audit().await.into_iter().map(|(what, _)| what).collect();
    for what in ["approved", "applying", "applied", "verified", "undoing", "undone", "checkpoint"] {
        assert!(told.iter().any(|told| told == what), "{what}: {told:?}");
    }
    let calls = twin.held().calls.len();
    for at in 1..=calls {
        for after in [false, true] {
            let (_, _, outcome) = lived(Some(Trouble::DiesAt(at, after))).await;
            assert_eq!(outcome, Outcome::Undone, "{at} {after}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_ends_in_an_outcome() {
    for (trouble, expect) in [
        (Trouble::Throttles(3), Outcome::Undone),
        (Trouble::Throttles(1), Outcome::Failed),
        (Trouble::Vanished, Outcome::Failed),
        (Trouble::Denied, Outcome::Failed),
        (Trouble::QuotaFull, Outcome::Undone),
        (Trouble::Attacker(4), Outcome::Failed),
        (Trouble::Attacker(12), Outcome::Undone),
        (Trouble::VanishesAt(2), Outcome::Failed),
        (Trouble::VanishesAt(4), Outcome::Failed),
    ] {
        let (twin, _, outcome) = lived(Some(trouble)).await;
        assert_eq!(outcome, expect, "{trouble:?}");
        if trouble == Trouble::QuotaFull {
            assert_eq!((twin.count("AttachUserPolicy"), twin.count("DetachUserPolicy")), (1, 1));
        }
    }
}

/// An order that is taken and lived by a process that dies at the n-th message it stores; whether it came to that.
async fn dies_at_message(nth: usize, after: bool) -> bool {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let mortal = Mortal::new(Arc::clone(&bench.bus), nth, after);
    let doomed = bench.executor_on(mortal.clone(), "doomed", Arc::clone(&twin) as Arc<dyn Aws>);
    let proposal = bench.proposal("c1", &quarantine());
    let message = bench.send("c1", &proposal, bench.sign(&bench.order(Intent::Approve, "c1", &proposal, "ann"))).await;
    let key = trailwarden_core::response::idempotency_key("c1", &quarantine());
    let patience = Duration::from_secs(5);
    if tokio::time::timeout(patience, doomed.take(&message)).await.is_err() {
        // The order was not acknowledged, so somebody else is given it.
        bench.executor("next", Arc::clone(&twin) as Arc<dyn Aws>).take(&message).await.expect("taken");
    }
    while !mortal.is_dead() {
        let Some((at, _)) = bench.record(&doomed, &key).await.life.due() else { break };
        bench.clock.turn_to(at);
        let _ = tokio::time::timeout(patience, doomed.step(&key)).await;
    }
    let is_dead = mortal.is_dead();
    assert_eq!(live(&bench, &twin, &key).await, Outcome::Undone, "{nth} {after}");
    assert!(twin.is_clean(), "{nth} {after}");
    assert_eq!(twin.count("PutUserPolicy"), 1, "{nth} {after}");
    told(&bench, Outcome::Undone).await;
    bench.verify_audit().await;
    is_dead
}

#[tokio::test(start_paused = true)]
async fn who_dies_at_any_message_is_followed_by_another() {
    for after in [false, true] {
        let mut nth = 1;
        while dies_at_message(nth, after).await {
            nth += 1;
        }
        // The order's nonce, its entry, the life's birth, and a life of work: far more than one place.
        assert!(nth > 20, "{nth}");
    }
}

/// Two hundred executors at the same order, and then at the same action, at the same moment.
async fn race(bus: Arc<dyn Bus>, clock: Clock) {
    let bench = Bench::on(bus, clock);
    let twin = Arc::new(Twin::default());
    let admits = bench.executor("admits", Arc::clone(&twin) as Arc<dyn Aws>);
    let proposal = bench.proposal("c1", &quarantine());
    let message = bench.send("c1", &proposal, bench.sign(&bench.order(Intent::Approve, "c1", &proposal, "ann"))).await;
    let key = trailwarden_core::response::idempotency_key("c1", &quarantine());
    let executors: Vec<Arc<Executor>> =
        (0..200).map(|nth| Arc::new(bench.executor(&format!("e{nth}"), Arc::clone(&twin) as Arc<dyn Aws>))).collect();
    let taking: Vec<_> = executors
        .iter()
        .map(|executor| {
            let (executor, message) = (Arc::clone(executor), message.clone());
            tokio::spawn(async move { executor.take(&message).await })
        })
        .collect();
    for one in taking {
        // So many append to the audit log at once that some give up; the order would be delivered to them again.
        let _ = one.await.expect("no panic");
    }
    // Until it is applied: each round is a race for whatever is due.
    for _ in 0..4 {
        let racing: Vec<_> = executors
            .iter()
            .map(|executor| {
                let (executor, key) = (Arc::clone(executor), key.clone());
                tokio::spawn(async move { executor.step(&key).await.expect("goes on") })
            })
            .collect();
        let mut moved = 0;
        for one in racing {
            moved += usize::from(one.await.expect("no panic") == Turn::Moved);
        }
        assert!(moved <= 4, "{moved}");
    }
    let record = bench.record(&admits, &key).await;
    assert_eq!(record.life.state, State::Applied);
    assert_eq!((twin.count("PutUserPolicy"), twin.held().twice), (1, 0));
    bench.verify_audit().await;
}

#[tokio::test]
async fn of_two_hundred_executors_one_applies() {
    let clock = Clock::new(T0);
    let bus = trailwarden_bus::Memory::with_clock(clock.read());
    bus.set_up(&Layout::single(TENANT, 4)).await.expect("in memory");
    race(Arc::new(bus), clock).await;
    let nats = Nats::start();
    let bus = JetStream::connect(Connection { url: nats.url(), tenant: TENANT.to_owned() }).await.expect("connects");
    // It connects in the background.
    while bus.ping().await.is_err() {
        tokio::task::yield_now().await;
    }
    bus.set_up(&Layout { stream_bytes_max: 8 << 20, ..Layout::single(TENANT, 4) }).await.expect("set up");
    #[expect(clippy::disallowed_methods, reason = "the broker's clock is the machine's")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    race(Arc::new(bus), Clock::new(i64::try_from(now).expect("this age"))).await;
}
