//! What stands before a model: bounds in flight, rates, the breaker, budgets, one retry, one deadline, and the counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::policy::breaker::{Breaker, BreakerPolicy, Outcome, Permit, Phase};
use crate::policy::bucket::Bucket;
use crate::policy::budget::{Budgets, Day, Limits, Price, Reservation, Spent};
use crate::{Clock, Error, Kind, Model, Question, Reply, Usage};

/// How a model is asked at most.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Of one question from all sides: waiting for a place, both tries and the pause between them.
    pub deadline: Duration,
    pub in_flight_max: usize,
    pub requests_a_minute: u64,
    pub tokens_a_minute: u64,
    /// Of each tenant.
    pub a_day: Limits,
    pub price: Price,
    pub breaker: BreakerPolicy,
    /// Before the second try, where nobody said how long.
    pub retry_pause: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(15),
            in_flight_max: 8,
            requests_a_minute: 300,
            tokens_a_minute: 300_000,
            a_day: Limits { tokens: 5_000_000, micro_dollars: 20_000_000 },
            price: Price::default(),
            breaker: BreakerPolicy::default(),
            retry_pause: Duration::from_millis(500),
        }
    }
}

/// What a gateway has counted since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Questions put to the gateway.
    pub asked: u64,
    /// Calls that reached the model, second tries included.
    pub calls: u64,
    pub retries: u64,
    pub answered: u64,
    /// Tokens that were reported.
    pub usage: Usage,
    /// Micro-dollars of answers, and of calls whose cost nobody knows, in full.
    pub micro_dollars: u64,
    /// How questions and first tries failed.
    pub errors: BTreeMap<Kind, u64>,
    pub in_flight: usize,
    /// Whether questions are refused after failures.
    pub paused: bool,
}

/// A model behind its policies. Tenants share its rates and its breaker, and have budgets of their own.
pub struct Gateway {
    model: Arc<dyn Model>,
    policy: Policy,
    clock: Clock,
    started: Instant,
    places: Semaphore,
    state: Mutex<State>,
}

struct State {
    requests: Bucket,
    tokens: Bucket,
    breaker: Breaker,
    budgets: Budgets,
    counts: Snapshot,
}

impl Gateway {
    #[must_use]
    pub fn new(model: Arc<dyn Model>, policy: Policy, clock: Clock) -> Self {
        let state = State {
            requests: Bucket::new(policy.requests_a_minute),
            tokens: Bucket::new(policy.tokens_a_minute),
            breaker: Breaker::new(policy.breaker.clone()),
            budgets: Budgets::new(policy.a_day),
            counts: Snapshot::default(),
        };
        let places = Semaphore::new(policy.in_flight_max.min(Semaphore::MAX_PERMITS));
        Self { model, policy, clock, started: Instant::now(), places, state: Mutex::new(state) }
    }

    /// The gateway as a model that one tenant pays for.
    #[must_use]
    pub fn of_tenant(self: &Arc<Self>, tenant: impl Into<String>) -> ToTenant {
        ToTenant { gateway: Arc::clone(self), tenant: tenant.into() }
    }

    /// Puts a question for a tenant, twice where the first try met a limit or a service that was away, and time is left.
    ///
    /// # Errors
    /// The model's, or the policy's that forbade asking. Ends within [`Policy::deadline`].
    pub async fn ask(&self, tenant: &str, question: &Question) -> Result<Reply, Error> {
        let deadline = Instant::now() + self.policy.deadline;
        self.lock().counts.asked += 1;
        let Ok(place) = timeout_at(deadline, self.places.acquire()).await else {
            return Err(self.counted(Error::Timeout { after: self.policy.deadline }));
        };
        // The semaphore is never closed.
        let _place = place.map_err(|_| Error::Configuration("the gateway is closed".to_owned()))?;
        let error = match self.attempt(tenant, question, deadline).await {
            Ok(reply) => return Ok(reply),
            Err(error) => self.counted(error),
        };
        let again_at = Instant::now() + error.retry_after().unwrap_or(self.policy.retry_pause);
        if !error.may_pass() || again_at >= deadline {
            return Err(error);
        }
        sleep_until(again_at).await;
        self.lock().counts.retries += 1;
        self.attempt(tenant, question, deadline).await.map_err(|error| self.counted(error))
    }

    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        let in_flight = self.policy.in_flight_max.saturating_sub(self.places.available_permits());
        Snapshot { in_flight, paused: state.breaker.phase() != Phase::Closed, ..state.counts.clone() }
    }

    /// The latest day, and what each tenant spent in it: to be kept over a restart, and given to [`Self::restore`].
    #[must_use]
    pub fn spent(&self) -> (Day, BTreeMap<String, Spent>) {
        let state = self.lock();
        let (day, spent) = state.budgets.today();
        (day, spent.clone())
    }

    /// Counts what an earlier process spent.
    pub fn restore(&self, tenant: &str, spent: Spent, day: Day) {
        self.lock().budgets.restore(tenant, spent, day);
    }

    async fn attempt(&self, tenant: &str, question: &Question, deadline: Instant) -> Result<Reply, Error> {
        let mut call = self.begin(tenant, question)?;
        let answer = timeout_at(deadline, self.model.ask(question)).await;
        let answer = answer.unwrap_or(Err(Error::Timeout { after: self.policy.deadline }));
        let (used, outcome) = match &answer {
            Ok(reply) => (reply.usage, Outcome::Answered),
            Err(error) if error.may_have_cost() => (call.foreseen, outcome_of(error)),
            Err(error) => (Usage::default(), outcome_of(error)),
        };
        call.end(used, outcome);
        if let Ok(reply) = &answer {
            let counts = &mut self.lock().counts;
            counts.answered += 1;
            counts.usage = counts.usage.plus(reply.usage);
        }
        answer
    }

    /// Asks every policy, and takes nothing where one of them refuses.
    fn begin(&self, tenant: &str, question: &Question) -> Result<Call<'_>, Error> {
        let foreseen = Usage::foreseen(question);
        let day = Day::of((self.clock)());
        let now = self.now();
        let mut state = self.lock();
        let amount = self.cost(foreseen);
        let spent = |of| Error::BudgetSpent { of };
        let limited = |wait, of: &str| Error::Limited { ours: true, retry_after: Some(wait), said: of.to_owned() };
        let reservation = state.budgets.reserve(tenant, amount, day).map_err(spent)?;
        let granted = state.requests.take(1, now).map_err(|wait| limited(wait, "requests a minute")).and_then(|()| {
            let tokens = state.tokens.take(amount.tokens, now).map_err(|wait| limited(wait, "tokens a minute"));
            let permit = tokens.and_then(|()| {
                state.breaker.admit(now).map_err(|wait| {
                    state.tokens.correct(amount.tokens, 0);
                    Error::BreakerOpen { wait }
                })
            });
            permit.inspect_err(|_| state.requests.correct(1, 0))
        });
        match granted {
            Ok(permit) => {
                state.counts.calls += 1;
                Ok(Call { gateway: self, taken: Some((permit, reservation)), foreseen })
            }
            Err(error) => {
                state.budgets.settle(&reservation, Spent::default());
                Err(error)
            }
        }
    }

    fn cost(&self, usage: Usage) -> Spent {
        Spent { tokens: usage.total(), micro_dollars: self.policy.price.of(usage) }
    }

    fn counted(&self, error: Error) -> Error {
        *self.lock().counts.errors.entry(error.kind()).or_default() += 1;
        error
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Nothing in here panics half-way through a change, so a poisoned lock holds a sound state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an error tells about the service. A key or model that it does not know fails every question; a question that it
/// refuses, or a rate, tells nothing of the next one.
const fn outcome_of(error: &Error) -> Outcome {
    match error {
        Error::Refused { status: 401 | 403 | 404, .. }
        | Error::Timeout { .. }
        | Error::Unreachable(_)
        | Error::Unavailable { .. }
        | Error::Malformed(_)
        | Error::TooLarge { .. }
        | Error::Local(_) => Outcome::Failed,
        _ => Outcome::Unknown,
    }
}

/// A call on its way. Given up half-way it may have cost all that was foreseen.
struct Call<'a> {
    gateway: &'a Gateway,
    taken: Option<(Permit, Reservation)>,
    foreseen: Usage,
}

impl Call<'_> {
    fn end(&mut self, used: Usage, outcome: Outcome) {
        let Some((permit, reservation)) = self.taken.take() else {
            return;
        };
        let cost = self.gateway.cost(used);
        let now = self.gateway.now();
        let mut state = self.gateway.lock();
        state.breaker.settle(permit, outcome, now);
        state.tokens.correct(reservation.amount.tokens, cost.tokens);
        state.budgets.settle(&reservation, cost);
        state.counts.micro_dollars = state.counts.micro_dollars.saturating_add(cost.micro_dollars);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.end(self.foreseen, Outcome::Unknown);
    }
}

/// A [`Gateway`] as one tenant's model.
#[derive(Clone)]
pub struct ToTenant {
    gateway: Arc<Gateway>,
    tenant: String,
}

#[async_trait]
impl Model for ToTenant {
    fn name(&self) -> &str {
        self.gateway.model.name()
    }

    async fn ask(&self, question: &Question) -> Result<Reply, Error> {
        self.gateway.ask(&self.tenant, question).await
    }
}
