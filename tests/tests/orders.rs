//! Orders over the council's port, to the audit log: what anybody may send, and what comes of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};
use trailwarden_bus::{Bus, Consumer, Layout, Memory, Stream, Subject, Subscription};
use trailwarden_core::case::{self, Case};
use trailwarden_core::detection::RuleSet;
use trailwarden_core::negotiation::exchange::Ask;
use trailwarden_core::negotiation::{Judgement, Negotiation};
use trailwarden_core::plan::{Action, Playbook, Tier};
use trailwarden_core::resource::Resource;
use trailwarden_core::response::approval::{
    APPROVAL_MS, Approver, COUNCIL, Intent, Order, Proposal, ProposedStep, Registry, SignedOrder,
};
use trailwarden_core::response::audit::Entry;
use trailwarden_core::response::digest;
use trailwarden_core::response::limits::Limits;
use trailwarden_core::response::rehearsal::Rehearsed;
use trailwarden_core::time::{HOUR_MS, Timestamp};
use trailwarden_council::{Approvers, Judge, Judged, service as council};
use trailwarden_playbooks::aws::{Aws, AwsError, Request, Scope};
use trailwarden_playbooks::executor::{self, Settings, verify_audit};
use trailwarden_playbooks::keys::{Ed25519, SigningKey};
use trailwarden_playbooks::{CaseContext, calls};
use trailwarden_proto::v1::case_service_client::CaseServiceClient;
use trailwarden_proto::v1::{ApproveCaseRequest, DenyCaseRequest};
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::Readiness;
use trailwarden_runtime::roster::Roster;
use trailwarden_runtime::telemetry::quiet;
use trailwarden_tests::plans::plan;

const TENANT: &str = "default";
const CASE: &str = "c1";
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nothing comes to be judged.
struct Nobody;

impl Judge for Nobody {
    fn weigh(&self, _: &mut Case) {}

    fn judge(&self, case: Case) -> Judged {
        panic!("{} is judged", case.id)
    }

    fn open(&self, case: &Case) -> (Negotiation, Vec<Ask>) {
        panic!("{} is opened", case.id)
    }

    fn tell(&self, case: Case, _: Judgement) -> Judged {
        panic!("{} is told", case.id)
    }
}

/// Lets nobody do anything: what is begun fails at once.
struct Closed;

#[async_trait]
impl Aws for Closed {
    async fn call(&self, _: &Scope, _: &Request) -> Result<Value, AwsError> {
        Err(AwsError::Denied { code: "AccessDenied".to_owned(), message: String::new() })
    }
}

fn quarantine(user: &str) -> Action {
    let playbook = Playbook::QuarantineUserHard;
    let target = Resource {
        kind: playbook.target_kind(),
        account: "111122223333".to_owned(),
        region: String::new(),
        id: user.to_owned(),
        created: false,
    };
    Action::proposed(playbook, target)
}

/// A proposal's text.
fn proposal(requester: &str, user: &str) -> String {
    let (action, context) = (quarantine(user), CaseContext { case_id: CASE, reference_time: NOW });
    let spelled = json!(calls(&action, &context));
    let rehearsed = Some(Rehearsed::Skipped("there is no past".to_owned()));
    json!(Proposal {
        tenant: TENANT.to_owned(),
        case: CASE.to_owned(),
        requester: requester.to_owned(),
        reference_time: NOW,
        lease_ms: HOUR_MS,
        steps: vec![ProposedStep { action, spelled, supplied: BTreeMap::new(), rehearsed }],
    })
    .to_string()
}

/// A council and an executor, and a client of the council's.
struct Deployment {
    bus: Memory,
    client: CaseServiceClient<Channel>,
    audit: Box<dyn Subscription>,
    approvers: Vec<(String, SigningKey)>,
    executor_key: Arc<SigningKey>,
    stop: CancellationToken,
    roles: Vec<JoinHandle<()>>,
    nonces: AtomicU64,
}

impl Deployment {
    async fn start() -> Self {
        let bus = Memory::with_clock(Arc::new(|| NOW));
        bus.set_up(&Layout::single(TENANT, 1)).await.unwrap();
        plan(&bus, TENANT, CASE, &[quarantine("alice")]).await;
        let consumer = Consumer {
            stream: Stream::Audit,
            name: "test".to_owned(),
            filter: Subject::whole(Stream::Audit, TENANT).to_string(),
            in_flight_max: 1,
            ack_wait: PATIENCE,
            deliveries_max: 1,
            idle_max: None,
        };
        let audit = bus.subscribe(&consumer).await.unwrap();
        let approvers: Vec<_> =
            ["ann", "bob"].map(|name| (name.to_owned(), SigningKey::generate().unwrap().1)).into_iter().collect();
        let line = |(name, key): &(String, SigningKey)| Approver {
            name: name.clone(),
            public_key: key.public(),
            tiers: BTreeSet::from([Tier::T1, Tier::T2]),
        };
        let registry = Registry::new(approvers.iter().map(line).collect()).unwrap();
        let (stop, executor_key) = (CancellationToken::new(), Arc::new(SigningKey::generate().unwrap().1));
        let executor = executor(&bus, &registry, &executor_key, &stop);
        let (council, client) = council_of(&bus, registry, &stop).await;
        let (roles, nonces) = (vec![executor, council], AtomicU64::new(0));
        Self { bus, client, audit, approvers, executor_key, stop, roles, nonces }
    }

    fn order(&self, intent: Intent, text: &str, who: &str) -> Order {
        Order {
            intent,
            tenant: TENANT.to_owned(),
            case: CASE.to_owned(),
            proposal: digest(text.as_bytes()),
            approver: who.to_owned(),
            reason: "seen".to_owned(),
            signed_at: NOW,
            expires_at: NOW.plus_ms(APPROVAL_MS),
            nonce: format!("nonce{:016}", self.nonces.fetch_add(1, Ordering::SeqCst)),
        }
    }

    fn sign(&self, order: &Order) -> SignedOrder {
        self.approvers.iter().find(|(name, _)| *name == order.approver).unwrap().1.sign(order)
    }

    async fn send(&mut self, text: &str, signed: SignedOrder) -> Result<(), Status> {
        let SignedOrder { order, signature } = signed;
        let request =
            ApproveCaseRequest { id: CASE.to_owned(), order_json: order, signature, proposal_json: text.to_owned() };
        self.client.approve(request).await.map(drop)
    }

    /// The next entries of the audit log up to one that says `what`; its detail.
    async fn audited(&mut self, what: &str) -> String {
        loop {
            let delivery = self.audit.next(PATIENCE).await.unwrap().unwrap_or_else(|| panic!("{what} is not audited"));
            let entry: Entry = serde_json::from_slice(&delivery.message().payload).unwrap();
            delivery.ack().await.unwrap();
            if entry.what == what {
                return entry.detail;
            }
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        drop(self.client);
        for role in self.roles {
            role.await.unwrap();
        }
        let trusted = [self.executor_key.public()];
        assert_eq!(verify_audit(&self.bus, TENANT, &trusted).await.unwrap().err(), None);
    }
}

fn executor(bus: &Memory, registry: &Registry, key: &Arc<SigningKey>, stop: &CancellationToken) -> JoinHandle<()> {
    let settings = Settings {
        tenant: TENANT.to_owned(),
        name: "one".to_owned(),
        registry: registry.clone(),
        limits: Limits::default(),
        management_account: None,
        active_principals: 1_000,
        own: vec![],
        trails: vec![],
    };
    let deps = executor::Deps {
        bus: Arc::new(bus.clone()),
        aws: Arc::new(Closed),
        key: Arc::clone(key),
        clock: Arc::new(|| NOW),
        readiness: Readiness::default(),
        metrics: Metrics::nowhere(),
    };
    let stop = stop.clone();
    tokio::spawn(async move { executor::run(executor::Config { settings }, deps, stop).await.unwrap() })
}

async fn council_of(
    bus: &Memory,
    registry: Registry,
    stop: &CancellationToken,
) -> (JoinHandle<()>, CaseServiceClient<Channel>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (readiness, telemetry) = (Readiness::default(), quiet("council").unwrap());
    let deps = council::Deps {
        bus: Arc::new(bus.clone()),
        listener,
        rules: Arc::new(RuleSet::load(&[]).unwrap()),
        accounts: BTreeSet::new(),
        judge: Arc::new(Nobody),
        panel: None,
        approvers: Some(Approvers { registry, verify: Arc::new(Ed25519) }),
        clock: Arc::new(|| NOW),
        readiness: readiness.clone(),
        metrics: telemetry.metrics().clone(),
        roster: Roster::new(telemetry.metrics().clone()),
    };
    let config = council::Config { tenant: TENANT.to_owned(), partitions: 1, cases: case::Limits::default() };
    let stop = stop.clone();
    let running = tokio::spawn(async move { council::run(config, deps, stop).await.unwrap() });
    readiness.watch().wait_for(|ready| *ready).await.unwrap();
    (running, CaseServiceClient::connect(address).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_stale_replayed_changed_and_self_approved_orders_fail_and_are_audited() {
    let mut deployment = Deployment::start().await;
    let (planned, own, made_up) =
        (proposal(COUNCIL, "alice"), proposal("ann", "mallory"), proposal(COUNCIL, "mallory"));
    let good = deployment.order(Intent::Approve, &planned, "ann");
    let mut forged = deployment.sign(&good);
    forged.order = forged.order.replace("seen", "sees");
    let (signed_at, expires_at) = (NOW.plus_ms(-APPROVAL_MS - 1), NOW.plus_ms(-1));
    let stale = Order { signed_at, expires_at, ..deployment.order(Intent::Approve, &planned, "ann") };
    let stale = deployment.sign(&stale);
    let changed = deployment.sign(&good);
    for (text, signed, why) in
        [(&planned, forged, "forged"), (&planned, stale, "stale"), (&made_up, changed, "not the one that ann approved")]
    {
        let refused = deployment.send(text, signed).await.expect_err(why);
        assert_eq!((refused.code(), refused.message().contains(why)), (Code::InvalidArgument, true), "{refused}");
        assert!(deployment.audited("refused").await.contains(why), "{why}");
    }

    // What only the gate can know goes on its way, and comes to as little.
    let asks = deployment.order(Intent::Propose, &own, "ann");
    deployment.send(&own, deployment.sign(&asks)).await.expect("on its way");
    deployment.audited("asked").await;
    for (text, why) in [(&own, "ann asked for it"), (&made_up, "no step of the council's plan")] {
        let order = deployment.order(Intent::Approve, text, "ann");
        deployment.send(text, deployment.sign(&order)).await.expect("on its way");
        let told = deployment.audited("refused").await;
        assert!(told.contains(why), "{told}");
    }

    // The same order once more is no other order, whoever sends it.
    let again = deployment.sign(&good);
    deployment.send(&planned, again.clone()).await.expect("on its way");
    assert!(deployment.audited("approved").await.contains("asked for by council"));
    let refused = deployment.send(&planned, again).await.expect_err("replayed");
    assert!(refused.message().contains("taken before"), "{refused}");
    assert!(deployment.audited("refused").await.contains("taken before"));
    // Another person approves what ann asked for.
    let order = deployment.order(Intent::Approve, &own, "bob");
    deployment.send(&own, deployment.sign(&order)).await.expect("on its way");
    assert!(deployment.audited("approved").await.contains("asked for by ann"));
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_orders_that_nobody_signed_blocks_nothing_and_fills_nothing() {
    let mut deployment = Deployment::start().await;
    let planned = proposal(COUNCIL, "alice");
    for _ in 0..1_100 {
        let SignedOrder { order, .. } = deployment.sign(&deployment.order(Intent::Deny, &planned, "ann"));
        let request = DenyCaseRequest { id: CASE.to_owned(), order_json: order, signature: "00".repeat(64) };
        assert_eq!(deployment.client.deny(request).await.expect_err("forged").code(), Code::InvalidArgument);
    }
    assert_eq!(deployment.bus.depth(Stream::Order).await.unwrap(), 16, "what was told of");
    assert_eq!(deployment.bus.depth(Stream::Action).await.unwrap(), 0);
    let order = deployment.order(Intent::Approve, &planned, "ann");
    deployment.send(&planned, deployment.sign(&order)).await.expect("on its way");
    deployment.audited("approved").await;
    assert!(deployment.bus.depth(Stream::Audit).await.unwrap() < 32);
    deployment.stop().await;
}
