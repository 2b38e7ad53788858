//! From a verdict to its applied step: what is taken of that time apart from AWS, on a real broker, against moto.
//!
//! `bench_response [ORDERS]`: one after the other, a case's entry is logged, read from the log, answered by a proposal and by an
//! order that an approver's key at hand signs, and carried out; each is a user's quarantine. Calls of AWS are timed and taken
//! off. No person's time to decide is in it. The last line is one of JSON.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]
#![allow(clippy::disallowed_methods, reason = "a bench is about time, and talks to a script of its own")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use trailwarden_bus::{Bus, Connection, Consumer, JetStream, Layout, Outgoing, Stream, Subject};
use trailwarden_core::plan::{Action, Playbook, Tier};
use trailwarden_core::resource::Resource;
use trailwarden_core::response::approval::{
    APPROVAL_MS, Approver, Intent, Order, Proposal, ProposedStep, Registry, Submitted,
};
use trailwarden_core::response::digest;
use trailwarden_core::response::life::State;
use trailwarden_core::response::limits::Limits;
use trailwarden_core::response::rehearsal::Rehearsed;
use trailwarden_core::time::{HOUR_MS, Timestamp};
use trailwarden_playbooks::aws::{Aws, AwsError, BaseCredentials, Client, Request, Scope, Settings as AwsSettings};
use trailwarden_playbooks::executor::{Config, Deps, Record, Settings, run};
use trailwarden_playbooks::keys::{SigningKey, random_hex};
use trailwarden_playbooks::{CaseContext, calls};
use trailwarden_runtime::Clock;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::Readiness;
use trailwarden_servers::{Moto, Nats, program};
use trailwarden_tests::plans::plan;
use trailwarden_tests::repository::root;

const TENANT: &str = "default";
const ACCOUNT: &str = "111122223333";
const ORDERS_DEFAULT: usize = 100;
/// Orders that go before what is measured: the first has the role assumed, and connections made.
const FIRST: usize = 5;
/// Nothing here may take longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

/// AWS, with the time that it takes for each case until the step is applied.
struct Timed {
    client: Client,
    taken: Mutex<BTreeMap<String, (Duration, bool)>>,
}

#[async_trait]
impl Aws for Timed {
    async fn call(&self, scope: &Scope, request: &Request) -> Result<Value, AwsError> {
        let began = Instant::now();
        let answer = self.client.call(scope, request).await;
        let mut taken = self.taken.lock().unwrap();
        let (sum, is_applied) = taken.entry(scope.case.clone()).or_default();
        if !*is_applied {
            *sum += began.elapsed();
            *is_applied = request.operation == "PutUserPolicy";
        }
        answer
    }
}

/// Makes users, as another client of AWS.
fn users(moto: &Moto, count: usize) {
    let mut command = Command::new(program(&["python"]));
    command.arg(root().join("tests/python/account.py")).arg(moto.url());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut words, mut answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for nth in 0..count {
        writeln!(words, "user {ACCOUNT} u{nth}").unwrap();
        answers.read_line(&mut String::new()).unwrap();
    }
    drop(words);
    child.wait().unwrap();
}

fn order(nth: usize, key: &SigningKey) -> (Submitted, Action) {
    let (case, at) = (format!("c{nth}"), now());
    let playbook = Playbook::QuarantineUserHard;
    let target = Resource {
        kind: playbook.target_kind(),
        account: ACCOUNT.to_owned(),
        region: "eu-west-1".to_owned(),
        id: format!("u{nth}"),
        created: false,
    };
    let action = Action::proposed(playbook, target);
    let spelled = json!(calls(&action, &CaseContext { case_id: &case, reference_time: at }));
    let rehearsed = Some(Rehearsed::Skipped("a bench has no past".to_owned()));
    let proposal = Proposal {
        tenant: TENANT.to_owned(),
        case: case.clone(),
        requester: "council".to_owned(),
        reference_time: at,
        lease_ms: HOUR_MS,
        steps: vec![ProposedStep { action: action.clone(), spelled, supplied: BTreeMap::new(), rehearsed }],
    };
    let proposal = json!(proposal).to_string();
    let order = Order {
        intent: Intent::Approve,
        tenant: TENANT.to_owned(),
        case,
        proposal: digest(proposal.as_bytes()),
        approver: "ann".to_owned(),
        reason: "bench".to_owned(),
        signed_at: at,
        expires_at: at.plus_ms(APPROVAL_MS),
        nonce: random_hex(16).unwrap(),
    };
    (Submitted { proposal, signed: key.sign(&order) }, action)
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    let at = ((sorted.len() - 1) as f64 * part).round() as usize;
    (sorted[at] * 100.0).round() / 100.0
}

fn main() {
    let orders: usize = std::env::args().nth(1).map_or(ORDERS_DEFAULT, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("{}", runtime.block_on(measure(orders)));
}

/// An executor's world, and its AWS.
fn executor(moto: &Moto, bus: &Arc<dyn Bus>, ann: &SigningKey) -> (Config, Deps, Arc<Timed>) {
    let (_, own) = SigningKey::generate().unwrap();
    let clock: Clock = Arc::new(now);
    let environment: BTreeMap<String, String> = moto.environment().into_iter().collect();
    let aws = AwsSettings {
        external_id: None,
        partition: "aws".to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(moto.url()),
        base: BaseCredentials::from_environment(&environment).unwrap(),
    };
    let client = Client::new(aws, Arc::clone(&clock)).unwrap();
    let aws = Arc::new(Timed { client, taken: Mutex::default() });
    let tiers = BTreeSet::from([Tier::T1, Tier::T2]);
    let approver = Approver { name: "ann".to_owned(), public_key: ann.public(), tiers };
    let settings = Settings {
        tenant: TENANT.to_owned(),
        name: "bench".to_owned(),
        registry: Registry::new(vec![approver]).unwrap(),
        limits: Limits::default(),
        management_account: None,
        active_principals: 1_000,
        own: vec![],
        trails: vec![],
    };
    let deps = Deps {
        bus: Arc::clone(bus),
        aws: Arc::clone(&aws) as Arc<dyn Aws>,
        key: Arc::new(own),
        clock,
        readiness: Readiness::default(),
        metrics: Metrics::nowhere(),
    };
    (Config { settings }, deps, aws)
}

async fn measure(orders: usize) -> Value {
    let (moto, nats) = (Moto::start(), Nats::start());
    users(&moto, FIRST + orders);
    let connection = Connection { url: nats.url(), tenant: TENANT.to_owned() };
    let bus = JetStream::connect(connection).await.unwrap();
    // It connects in the background.
    while bus.ping().await.is_err() {
        tokio::task::yield_now().await;
    }
    bus.set_up(&Layout { stream_bytes_max: 64 << 20, ..Layout::single(TENANT, 4) }).await.unwrap();
    let bus: Arc<dyn Bus> = Arc::new(bus);
    let (_, ann) = SigningKey::generate().unwrap();
    let (config, deps, aws) = executor(&moto, &bus, &ann);
    let stop = CancellationToken::new();
    let executor = tokio::spawn(run(config, deps, stop.clone()));
    let consumer = Consumer {
        stream: Stream::Action,
        name: "bench".to_owned(),
        filter: format!("tw.action.{TENANT}.life.>"),
        in_flight_max: 1,
        ack_wait: PATIENCE,
        deliveries_max: 1,
        idle_max: None,
    };
    let mut lives = bus.subscribe(&consumer).await.unwrap();
    let cases = Consumer {
        stream: Stream::Case,
        name: "bench-cases".to_owned(),
        filter: format!("tw.case.{TENANT}.>"),
        ..consumer
    };
    let mut verdicts = bus.subscribe(&cases).await.unwrap();
    let (mut whole, mut own, mut from_verdict) = (Vec::new(), Vec::new(), Vec::new());
    for nth in 0..FIRST + orders {
        let case = format!("c{nth}");
        let (submitted, action) = order(nth, &ann);
        plan(bus.as_ref(), TENANT, &case, &[action]).await;
        let logged = Instant::now();
        let entry = Outgoing { payload: json!({ "case_id": case }).to_string().into(), ..Outgoing::default() };
        bus.publish(&Subject::case(TENANT, &case), entry).await.unwrap();
        verdicts.next(PATIENCE).await.unwrap().expect("the entry").ack().await.unwrap();
        let began = Instant::now();
        let message = Outgoing { payload: json!(submitted).to_string().into(), ..Outgoing::default() };
        bus.publish(&Subject::order(TENANT, &case), message).await.unwrap();
        loop {
            let delivery = lives.next(PATIENCE).await.unwrap().expect("the executor is at work");
            let record: Record = serde_json::from_slice(&delivery.message().payload).unwrap();
            let (took, since_verdict) = (began.elapsed(), logged.elapsed());
            delivery.ack().await.unwrap();
            if record.case == case && record.life.state == State::Failed {
                panic!("{:?}", record.life.evidence);
            }
            if record.case == case && record.life.state == State::Applied {
                let by_aws = aws.taken.lock().unwrap()[&case].0;
                if nth >= FIRST {
                    whole.push(took.as_secs_f64() * 1e3);
                    own.push(took.saturating_sub(by_aws).as_secs_f64() * 1e3);
                    from_verdict.push(since_verdict.saturating_sub(by_aws).as_secs_f64() * 1e3);
                }
                break;
            }
        }
    }
    stop.cancel();
    executor.await.unwrap().unwrap();
    for times in [&mut whole, &mut own, &mut from_verdict] {
        times.sort_by(f64::total_cmp);
    }
    json!({
        "orders": orders,
        "order_to_applied_ms": { "p50": percentile(&whole, 0.5), "p99": percentile(&whole, 0.99) },
        "verdict_to_applied_p99_ms": percentile(&from_verdict, 0.99),
        "without_aws_ms": { "p50": percentile(&own, 0.5), "p99": percentile(&own, 0.99) },
    })
}
