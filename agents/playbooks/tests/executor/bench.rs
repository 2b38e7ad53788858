//! An executor with its surroundings: a clock that is turned by hand, approvers, orders.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::json;
use trailwarden_bus::{Bus, Layout, Memory, Outgoing, Stored, Subject};
use trailwarden_core::alert::Alert;
use trailwarden_core::plan::{Action, Playbook, Tier};
use trailwarden_core::resource::Resource;
use trailwarden_core::response::approval::{
    APPROVAL_MS, Approver, COUNCIL, Intent, Order, Proposal, ProposedStep, Registry, SignedOrder, Submitted,
};
use trailwarden_core::response::digest;
use trailwarden_core::response::limits::Limits;
use trailwarden_core::response::rehearsal::Rehearsed;
use trailwarden_core::time::{HOUR_MS, Timestamp};
use trailwarden_playbooks::aws::Aws;
use trailwarden_playbooks::executor::{Executor, Record, Settings};
use trailwarden_playbooks::keys::SigningKey;
use trailwarden_playbooks::{CaseContext, GoodTrail, calls, known_good};
use trailwarden_proto::convert::alert;
use trailwarden_proto::{v1, wire};
use trailwarden_runtime::metrics::Metrics;

pub(crate) const TENANT: &str = "default";
pub(crate) const ACCOUNT: &str = "111122223333";
/// An hour in which nothing of the world's happens.
pub(crate) const T0: i64 = 1_700_000_000_000;

/// A clock that a test turns.
#[derive(Clone)]
pub(crate) struct Clock(Arc<AtomicI64>);

impl Clock {
    pub(crate) fn new(at: i64) -> Self {
        Self(Arc::new(AtomicI64::new(at)))
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    /// Turns it on, never back.
    pub(crate) fn turn_to(&self, at: Timestamp) {
        self.0.fetch_max(at.as_millis(), Ordering::SeqCst);
    }

    pub(crate) fn read(&self) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        let own = self.clone();
        Arc::new(move || own.now())
    }
}

pub(crate) struct Bench {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: Clock,
    pub(crate) executor_key: Arc<SigningKey>,
    approvers: Vec<(String, SigningKey)>,
    nonces: AtomicU64,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let clock = Clock::new(T0);
        let bus = Memory::with_clock(clock.read());
        bus.set_up(&Layout::single(TENANT, 4)).await.expect("in memory");
        Self::on(Arc::new(bus), clock)
    }

    /// `clock` has to be the bus's: orders are judged at the time that it stored them.
    pub(crate) fn on(bus: Arc<dyn Bus>, clock: Clock) -> Self {
        let key = || SigningKey::generate().expect("a key").1;
        let approvers = ["ann", "bob"].map(|name| (name.to_owned(), key())).into();
        Self { bus, clock, executor_key: Arc::new(key()), approvers, nonces: AtomicU64::new(0) }
    }

    pub(crate) fn settings(&self, name: &str) -> Settings {
        let approver = |(name, key): &(String, SigningKey)| Approver {
            name: name.clone(),
            public_key: key.public(),
            tiers: BTreeSet::from([Tier::T0, Tier::T1, Tier::T2, Tier::T3]),
        };
        Settings {
            tenant: TENANT.to_owned(),
            name: name.to_owned(),
            registry: Registry::new(self.approvers.iter().map(approver).collect()).expect("a registry"),
            limits: Limits::default(),
            management_account: None,
            active_principals: 1_000,
            own: vec![],
            trails: vec![],
        }
    }

    pub(crate) fn executor(&self, name: &str, aws: Arc<dyn Aws>) -> Executor {
        self.executor_with(self.settings(name), aws)
    }

    pub(crate) fn executor_with(&self, settings: Settings, aws: Arc<dyn Aws>) -> Executor {
        self.executor_of(settings, Arc::clone(&self.bus), aws)
    }

    fn executor_of(&self, settings: Settings, bus: Arc<dyn Bus>, aws: Arc<dyn Aws>) -> Executor {
        Executor::new(settings, bus, aws, Arc::clone(&self.executor_key), self.clock.read(), Metrics::nowhere())
    }

    /// An executor on a bus of its own making over the same messages.
    pub(crate) fn executor_on(&self, bus: Arc<dyn Bus>, name: &str, aws: Arc<dyn Aws>) -> Executor {
        self.executor_of(self.settings(name), bus, aws)
    }

    /// The proposal's text for one step.
    pub(crate) fn proposal(&self, case: &str, action: &Action) -> String {
        self.proposal_of(case, std::slice::from_ref(action))
    }

    pub(crate) fn proposal_of(&self, case: &str, actions: &[Action]) -> String {
        self.proposal_with(case, actions, &[])
    }

    /// Supplied with what is known of trails.
    pub(crate) fn proposal_with(&self, case: &str, actions: &[Action], trails: &[GoodTrail]) -> String {
        let reference_time = self.clock.now();
        let context = CaseContext { case_id: case, reference_time };
        let step = |action: &Action| ProposedStep {
            action: action.clone(),
            spelled: json!(calls(action, &context)),
            supplied: known_good(action, trails),
            rehearsed: Some(Rehearsed::Skipped("there is no past".to_owned())),
        };
        let proposal = Proposal {
            tenant: TENANT.to_owned(),
            case: case.to_owned(),
            requester: COUNCIL.to_owned(),
            reference_time,
            lease_ms: 2 * HOUR_MS,
            steps: actions.iter().map(step).collect(),
        };
        serde_json::to_string(&proposal).expect("writes")
    }

    pub(crate) fn order(&self, intent: Intent, case: &str, proposal: &str, approver: &str) -> Order {
        let nonce = self.nonces.fetch_add(1, Ordering::SeqCst);
        Order {
            intent,
            tenant: TENANT.to_owned(),
            case: case.to_owned(),
            proposal: digest(proposal.as_bytes()),
            approver: approver.to_owned(),
            reason: "seen".to_owned(),
            signed_at: self.clock.now(),
            expires_at: self.clock.now().plus_ms(APPROVAL_MS),
            nonce: format!("nonce{nonce:016}"),
        }
    }

    pub(crate) fn sign(&self, order: &Order) -> SignedOrder {
        let key = self.approvers.iter().find(|(name, _)| *name == order.approver);
        key.expect("an approver").1.sign(order)
    }

    /// Has the council log a plan for a case: these steps.
    pub(crate) async fn plan(&self, case: &str, actions: &[Action]) {
        let step = |action: &Action| {
            json!({
                "playbook": action.name(), "target": action.target.id, "target_kind": action.target.kind,
                "account": action.target.account, "region": action.target.region, "owner": action.owner,
            })
        };
        let line_json = json!({ "plan": actions.iter().map(step).collect::<Vec<_>>() }).to_string();
        let known = v1::Case { id: case.to_owned(), line_json, ..v1::Case::default() };
        let kind = v1::TransitionKind::Judged.into();
        let entry = v1::CaseTransition { number: 1, case: Some(known), kind, sequence: 0 };
        let message = Outgoing { payload: wire::pack(&entry), ..Outgoing::default() };
        self.bus.publish(&Subject::case(TENANT, case), message).await.expect("stored");
    }

    /// Sends an order about steps that the council planned; the message as the bus holds it.
    pub(crate) async fn send(&self, case: &str, proposal: &str, signed: SignedOrder) -> Stored {
        if let Ok(Proposal { steps, .. }) = serde_json::from_str(proposal) {
            self.plan(case, &steps.into_iter().map(|step| step.action).collect::<Vec<_>>()).await;
        }
        self.send_unplanned(case, proposal, signed).await
    }

    pub(crate) async fn send_unplanned(&self, case: &str, proposal: &str, signed: SignedOrder) -> Stored {
        let subject = Subject::order(TENANT, case);
        let payload =
            Bytes::from(serde_json::to_vec(&Submitted { proposal: proposal.to_owned(), signed }).expect("writes"));
        self.bus.publish(&subject, Outgoing { payload, ..Outgoing::default() }).await.expect("stored");
        self.bus.last(&subject).await.expect("answers").expect("the message")
    }

    /// Has the executor take ann's approval of a proposal about one action. The action's key.
    pub(crate) async fn approve_proposal(
        &self,
        executor: &Executor,
        case: &str,
        proposal: &str,
        action: &Action,
    ) -> String {
        let signed = self.sign(&self.order(Intent::Approve, case, proposal, "ann"));
        executor.take(&self.send(case, proposal, signed).await).await.expect("taken");
        trailwarden_core::response::idempotency_key(case, action)
    }

    /// Approves an action as often as its tier asks, and has the executor take it. The action's key.
    pub(crate) async fn approve(&self, executor: &Executor, case: &str, action: &Action) -> String {
        let proposal = self.proposal(case, action);
        let approvers: &[&str] = if action.playbook == Playbook::ScpQuarantine { &["ann", "bob"] } else { &["ann"] };
        for approver in approvers {
            let signed = self.sign(&self.order(Intent::Approve, case, &proposal, approver));
            let message = self.send(case, &proposal, signed).await;
            executor.take(&message).await.expect("taken");
        }
        trailwarden_core::response::idempotency_key(case, action)
    }

    pub(crate) async fn record(&self, executor: &Executor, key: &str) -> Record {
        executor.record(key).await.expect("answers").expect("a record").0
    }

    /// What the audit log holds, as `what` and `detail`.
    pub(crate) async fn audit(&self) -> Vec<(String, String)> {
        let subject = Subject::whole(trailwarden_bus::Stream::Audit, TENANT);
        let stored = self.bus.read(&subject, 0, 10_000).await.expect("answers");
        let entry = |stored: &Stored| {
            let entry: serde_json::Value = serde_json::from_slice(&stored.payload).expect("an entry");
            let of = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            (of("what"), of("detail"))
        };
        stored.iter().map(entry).collect()
    }

    /// The alerts that were raised, each once.
    pub(crate) async fn alerts(&self) -> Vec<Alert> {
        let stored = self.bus.read(&Subject::raised(TENANT), 0, 10_000).await.expect("answers");
        let alert = |stored: &Stored| alert(wire::unpack(&stored.payload).expect("a message")).expect("an alert");
        let alerts: Vec<Alert> = stored.iter().map(alert).collect();
        let ids: BTreeSet<&str> = alerts.iter().map(|alert| alert.id.as_str()).collect();
        assert_eq!(ids.len(), alerts.len(), "each is raised once: {alerts:?}");
        alerts
    }

    /// Checks the whole audit log.
    pub(crate) async fn verify_audit(&self) {
        let trusted = [self.executor_key.public()];
        let verified = trailwarden_playbooks::executor::verify_audit(self.bus.as_ref(), TENANT, &trusted).await;
        assert_eq!(verified.expect("readable").err(), None);
    }
}

pub(crate) fn action(playbook: Playbook, account: &str, id: &str) -> Action {
    let target = Resource {
        kind: playbook.target_kind(),
        account: account.to_owned(),
        region: "eu-west-1".to_owned(),
        id: id.to_owned(),
        created: false,
    };
    Action::proposed(playbook, target)
}
