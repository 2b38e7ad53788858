//! One step's whole life, tried out: approved by keys that are thrown away, applied, read back, undone by order, on a bus in
//! memory and a clock that leaps over what is waited for. For an AWS of this machine; no key of a deployment has a part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use trailwarden_bus::{Bus, Error as BusError, Layout, Memory, Outgoing, Stored, Stream, Subject};
use trailwarden_core::plan::{Action, Tier};
use trailwarden_core::resource::{Resource, ResourceKind};
use trailwarden_core::response::approval::{
    APPROVAL_MS, Approver, COUNCIL, Intent, Order, Proposal, ProposedStep, Registry, SignedOrder, Submitted,
};
use trailwarden_core::response::audit::Entry;
use trailwarden_core::response::life::{Outcome, State};
use trailwarden_core::response::limits::Limits;
use trailwarden_core::response::rehearsal::Rehearsed;
use trailwarden_core::response::{digest, idempotency_key};
use trailwarden_core::time::{HOUR_MS, Timestamp};
use trailwarden_proto::v1::{Case, CaseTransition, TransitionKind};
use trailwarden_proto::wire;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::sigv4::encoded;
use trailwarden_runtime::transport::{self, Answer, Bounds, Transport};

use crate::aws::{
    Aws, AwsError, BaseCredentials, Client, Credentials, Request, Scope, Secret, Settings as AwsSettings,
};
use crate::executor::{AuditError, Executor, ExecutorError, Record, Settings, verify_audit};
use crate::keys::{KeyError, SigningKey, random_hex};
use crate::value::{self, Known};
use crate::{CaseContext, Step, calls, permissions};

const TENANT: &str = "drill";
/// Pieces of work of one life.
const TURNS_MAX: usize = 400;
const PARTITIONS: u16 = 1;
const NONCE_BYTES: usize = 16;
/// Persons who sign: as many as the gravest step asks for.
const PERSONS: [&str; 2] = ["first", "second"];
const ENTRIES_MAX: usize = 10_000;

/// Why a drill could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrillError {
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the prior state cannot be read: {0}")]
    Unread(#[from] AwsError),
    #[error("{0}")]
    Impossible(String),
}

/// What came of a drill.
#[derive(Clone, Debug)]
pub struct Told {
    /// What each read of the step saw: before, while it stood, and after its undo.
    pub seen: Vec<Seen>,
    /// `None` where nothing was begun: the audit log says why.
    pub outcome: Option<Outcome>,
    /// Whether it was verified by read-back.
    pub stood: bool,
    /// Whether there are calls that undo it.
    pub reversible: bool,
    /// What was seen and done, in order.
    pub evidence: Vec<(Timestamp, String)>,
    /// The audit log; its chain was checked.
    pub audit: Vec<Entry>,
}

/// A read of the step, and its answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub read: String,
    pub before: Value,
    pub during: Value,
    pub after: Value,
}

impl Seen {
    pub fn changed(&self) -> bool {
        !value::is_same(&self.before, &self.during)
    }

    pub fn is_back(&self) -> bool {
        value::is_same(&self.before, &self.after)
    }
}

impl Told {
    /// Whether all went as a step's life should: verified, and where it can be undone, undone with everything as it was.
    pub fn is_good(&self) -> bool {
        let ended = match self.reversible {
            true => self.outcome == Some(Outcome::Undone) && self.seen.iter().all(Seen::is_back),
            false => self.outcome == Some(Outcome::DoneVerified),
        };
        self.stood && ended
    }
}

/// A client for an AWS of this machine, such as moto: it carries no credentials of anybody's.
///
/// # Errors
/// [`AwsError::Invalid`] for an endpoint that is none.
pub fn client(endpoint: &str, region: &str, clock: trailwarden_runtime::Clock) -> Result<Client, AwsError> {
    let own = || "example".to_owned();
    let base = Credentials { access_key_id: own(), secret_access_key: Secret::new(own()), session_token: None };
    let settings = AwsSettings {
        external_id: None,
        partition: "aws".to_owned(),
        region: region.to_owned(),
        endpoint: Some(endpoint.to_owned()),
        base: BaseCredentials::Given(base),
    };
    Client::new(settings, clock)
}

/// Makes a user or a role on moto, for a drill to act on; one that is there already stays as it is.
///
/// # Errors
/// [`DrillError::Impossible`] for other kinds, and where the endpoint is none or refuses.
pub async fn provide(endpoint: &str, target: &Resource) -> Result<(), DrillError> {
    let name = target.id.rsplit('/').next().unwrap_or(&target.id);
    let mut form = match target.kind {
        ResourceKind::User => format!("Action=CreateUser&UserName={}", encoded(name, false)),
        ResourceKind::Role => {
            let trust = encoded(r#"{"Version":"2012-10-17","Statement":[]}"#, false);
            format!("Action=CreateRole&RoleName={}&AssumeRolePolicyDocument={trust}", encoded(name, false))
        }
        _ => return Err(DrillError::Impossible("only users and roles are made for a drill".to_owned())),
    };
    form.push_str("&Version=2010-05-08");
    let impossible = |error: transport::Error| DrillError::Impossible(error.to_string());
    let transport = Transport::new(Bounds::default()).map_err(impossible)?;
    let mut headers = HeaderMap::new();
    // Moto asks nobody who they are: the account stands in a header of its own, the service in the scope.
    let scope =
        "AWS4-HMAC-SHA256 Credential=example/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0";
    for (header, value) in [
        ("content-type", "application/x-www-form-urlencoded"),
        ("authorization", scope),
        ("x-moto-account-id", target.account.as_str()),
    ] {
        let value =
            HeaderValue::from_str(value).map_err(|_| DrillError::Impossible("the account is none".to_owned()))?;
        headers.insert(HeaderName::from_static(header), value);
    }
    let url = transport.address(endpoint).map_err(impossible)?;
    let request = transport::Outgoing { url, headers, body: form.into_bytes(), answer: Answer::Any };
    let answered = transport.exchange(Method::POST, request).await.map_err(impossible)?;
    // 409: it is there already.
    match answered.status {
        200 | 409 => Ok(()),
        status => Err(DrillError::Impossible(format!("{endpoint} does not make {name}: HTTP {status}"))),
    }
}

struct Drill {
    bus: Arc<dyn Bus>,
    aws: Arc<dyn Aws>,
    executor: Executor,
    executor_key: Arc<SigningKey>,
    persons: Vec<(String, SigningKey)>,
    at: Arc<AtomicI64>,
    case: String,
}

/// Brings one action through its life and compares what its reads see before and after.
///
/// # Errors
/// [`DrillError`]; what the step did may stand then.
pub async fn run(action: &Action, case: &str, aws: Arc<dyn Aws>, now: Timestamp) -> Result<Told, DrillError> {
    let drill = Drill::new(action, case, aws, now).await?;
    let reference_time = now;
    let step = calls(action, &CaseContext { case_id: case, reference_time });
    let key = idempotency_key(case, action);
    let mut known = Known::new();
    let before = drill.look(&step, action, &mut known, reference_time).await?;
    let proposal = drill.proposal(action, &step, reference_time)?;
    for (person, signing) in &drill.persons {
        let message = drill.send(&drill.order(Intent::Approve, person, signing, &proposal)?, &proposal).await?;
        drill.executor.take(&message).await?;
        if drill.executor.record(&key).await?.is_some() {
            break;
        }
    }
    let mut told = Told {
        seen: vec![],
        outcome: None,
        stood: false,
        reversible: matches!(step.undo, crate::Undo::Calls(_)),
        evidence: vec![],
        audit: vec![],
    };
    if let Some(record) = drill.live(&key, Some(State::Verified)).await? {
        told.stood = record.life.state == State::Verified;
        let during = drill.look(&step, action, &mut known.clone(), reference_time).await?;
        if told.stood && told.reversible {
            let (person, signing) = &drill.persons[0];
            let message = drill.send(&drill.order(Intent::Undo, person, signing, "")?, "").await?;
            drill.executor.take(&message).await?;
        }
        let ended = drill.live(&key, None).await?.unwrap_or(record);
        let after = drill.look(&step, action, &mut known, reference_time).await?;
        told.outcome = ended.life.outcome();
        told.evidence = ended.life.evidence.into_iter().map(|line| (line.at, line.text)).collect();
        let answers = before.into_iter().zip(during).zip(after);
        told.seen =
            answers.map(|(((read, before), (_, during)), (_, after))| Seen { read, before, during, after }).collect();
    }
    told.audit = drill.audit().await?;
    Ok(told)
}

/// Says that a council planned the step, which the gate asks of what nobody signed for having asked.
async fn plan(bus: &dyn Bus, case: &str, action: &Action) -> Result<(), DrillError> {
    let Resource { kind, account, region, id, .. } = &action.target;
    let step = json!({
        "playbook": action.name(), "target": id, "target_kind": kind, "account": account, "region": region,
        "owner": action.owner,
    });
    let known = Case { id: case.to_owned(), line_json: json!({ "plan": [step] }).to_string(), ..Case::default() };
    let entry = CaseTransition { number: 1, case: Some(known), kind: TransitionKind::Judged.into(), sequence: 0 };
    let message = Outgoing { payload: wire::pack(&entry), ..Outgoing::default() };
    bus.publish(&Subject::case(TENANT, case), message).await?;
    Ok(())
}

impl Drill {
    async fn new(action: &Action, case: &str, aws: Arc<dyn Aws>, now: Timestamp) -> Result<Self, DrillError> {
        let at = Arc::new(AtomicI64::new(now.as_millis()));
        let read = Arc::clone(&at);
        let clock = Arc::new(move || Timestamp::from_millis(read.load(Ordering::SeqCst)));
        // Orders are judged at the time that the bus stored them.
        let bus = Memory::with_clock(clock.clone());
        bus.set_up(&Layout::single(TENANT, PARTITIONS)).await?;
        let bus: Arc<dyn Bus> = Arc::new(bus);
        let persons = PERSONS.map(|name| Ok((name.to_owned(), SigningKey::generate()?.1)));
        let persons = persons.into_iter().collect::<Result<Vec<_>, KeyError>>()?;
        let tiers = BTreeSet::from([Tier::T0, Tier::T1, Tier::T2, Tier::T3]);
        let approver = |(name, key): &(String, SigningKey)| Approver {
            name: name.clone(),
            public_key: key.public(),
            tiers: tiers.clone(),
        };
        let registry = Registry::new(persons.iter().map(approver).collect()).map_err(DrillError::Impossible)?;
        let executor_key = Arc::new(SigningKey::generate()?.1);
        let settings = Settings {
            tenant: TENANT.to_owned(),
            name: TENANT.to_owned(),
            registry,
            limits: Limits::default(),
            management_account: Some(action.target.account.clone()),
            active_principals: 1,
            own: action.own.iter().cloned().collect(),
            trails: vec![],
        };
        plan(bus.as_ref(), case, action).await?;
        let (on, of, key) = (Arc::clone(&bus), Arc::clone(&aws), Arc::clone(&executor_key));
        let executor = Executor::new(settings, on, of, key, clock, Metrics::nowhere());
        Ok(Self { bus, aws, executor, executor_key, persons, at, case: case.to_owned() })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.at.load(Ordering::SeqCst))
    }

    fn proposal(&self, action: &Action, step: &Step, reference_time: Timestamp) -> Result<String, DrillError> {
        let impossible = |error: serde_json::Error| DrillError::Impossible(error.to_string());
        let proposed = ProposedStep {
            action: action.clone(),
            spelled: serde_json::to_value(step).map_err(impossible)?,
            supplied: BTreeMap::new(),
            rehearsed: Some(Rehearsed::Skipped("a drill has no past".to_owned())),
        };
        let proposal = Proposal {
            tenant: TENANT.to_owned(),
            case: self.case.clone(),
            requester: COUNCIL.to_owned(),
            reference_time,
            lease_ms: HOUR_MS,
            steps: vec![proposed],
        };
        serde_json::to_string(&proposal).map_err(impossible)
    }

    fn order(&self, intent: Intent, person: &str, key: &SigningKey, proposal: &str) -> Result<SignedOrder, DrillError> {
        let now = self.now();
        let order = Order {
            intent,
            tenant: TENANT.to_owned(),
            case: self.case.clone(),
            proposal: digest(proposal.as_bytes()),
            approver: person.to_owned(),
            reason: "a drill".to_owned(),
            signed_at: now,
            expires_at: now.plus_ms(APPROVAL_MS),
            nonce: random_hex(NONCE_BYTES)?,
        };
        Ok(key.sign(&order))
    }

    /// Sends an order; the message as the bus holds it.
    async fn send(&self, signed: &SignedOrder, proposal: &str) -> Result<Stored, DrillError> {
        let subject = Subject::order(TENANT, &self.case);
        let submitted = Submitted { proposal: proposal.to_owned(), signed: signed.clone() };
        let payload = serde_json::to_vec(&submitted).map_err(|error| DrillError::Impossible(error.to_string()))?;
        self.bus.publish(&subject, Outgoing { payload: Bytes::from(payload), ..Outgoing::default() }).await?;
        let stored = self.bus.last(&subject).await?;
        stored.ok_or_else(|| DrillError::Impossible("the order is not on the bus".to_owned()))
    }

    /// Lives the action on until it ends or reaches a state; `None` where there is none.
    async fn live(&self, key: &str, until: Option<State>) -> Result<Option<Record>, DrillError> {
        for _ in 0..TURNS_MAX {
            let Some((record, _)) = self.executor.record(key).await? else { return Ok(None) };
            let Some((due, _)) = record.life.due().filter(|_| until != Some(record.life.state)) else {
                return Ok(Some(record));
            };
            self.at.fetch_max(due.as_millis(), Ordering::SeqCst);
            self.executor.step(key).await?;
        }
        Err(DrillError::Impossible("its life has no end".to_owned()))
    }

    /// What each read of a step answers now, named; nothing where its object is not there.
    async fn look(
        &self,
        step: &Step,
        action: &Action,
        known: &mut Known,
        reference_time: Timestamp,
    ) -> Result<Vec<(String, Value)>, DrillError> {
        let context = CaseContext { case_id: &self.case, reference_time };
        let scope = Scope {
            account: action.target.account.clone(),
            case: self.case.clone(),
            session_policy: permissions::session_policy(step, action, &context),
        };
        let reads = step.captured_first.iter().chain(step.verify.iter().map(|check| &check.read.call));
        let mut seen = Vec::new();
        for call in reads {
            let name = format!("{} {}", call.service, call.operation);
            // What a step keeps of its own calls is not known before it.
            let Ok(parameters) = value::filled(&call.parameters, known) else {
                seen.push((name, Value::Null));
                continue;
            };
            let request = Request {
                service: call.service.to_owned(),
                operation: call.operation.to_owned(),
                parameters,
                region: call.region.clone(),
            };
            let answer = match self.aws.call(&scope, &request).await {
                Ok(answer) => answer,
                Err(AwsError::Gone { .. }) => Value::Null,
                Err(error) if call.tolerates.contains(&error.code()) => Value::Null,
                Err(error) => return Err(error.into()),
            };
            for kept in &call.keeps {
                known.insert(kept.name.clone().into_owned(), value::kept(value::at(&answer, &kept.path)));
            }
            seen.push((name, answer));
        }
        Ok(seen)
    }

    /// The audit log, once its chain is checked.
    async fn audit(&self) -> Result<Vec<Entry>, DrillError> {
        let trusted = [self.executor_key.public()];
        if let Err(broken) = verify_audit(self.bus.as_ref(), TENANT, &trusted).await? {
            return Err(DrillError::Impossible(format!("the audit log is broken at {broken}")));
        }
        let stored = self.bus.read(&Subject::whole(Stream::Audit, TENANT), 0, ENTRIES_MAX).await?;
        Ok(stored.iter().filter_map(|stored| serde_json::from_slice(&stored.payload).ok()).collect())
    }
}
