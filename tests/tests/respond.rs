//! A case's step from the plan to AWS and back, as people see it: a deployment of processes, keys, orders, the audit log.
#![allow(clippy::disallowed_methods, reason = "reads and writes files of its own")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};
use trailwarden_bus::{Outgoing, Subject};
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::resource::Resource;
use trailwarden_core::response::approval::{APPROVAL_MS, Intent, Order, Proposal, ProposedStep, Submitted};
use trailwarden_core::response::life::State;
use trailwarden_core::response::rehearsal::Rehearsed;
use trailwarden_core::response::{digest, idempotency_key};
use trailwarden_core::time::Timestamp;
use trailwarden_playbooks::executor::Record as Life;
use trailwarden_playbooks::keys::{SigningKey, random_hex};
use trailwarden_playbooks::{CaseContext, calls};
use trailwarden_proto::v1;
use trailwarden_proto::wire::unpack;
use trailwarden_servers::{Moto, program};
use trailwarden_tests::cluster::{Cluster, Feed, PATIENCE, Record, TENANT, last_time};
use trailwarden_tests::command::{Run, trailwarden};
use trailwarden_tests::plans::plan;
use trailwarden_tests::repository::root;

/// The organisation's own, which a deployment is told.
const ACCOUNTS: [&str; 4] = ["274019836651", "274019836702", "274019836815", "274019836944"];

fn records() -> Vec<Record> {
    let text = std::fs::read_to_string(root().join("tests/fixtures/incident/incident.jsonl")).unwrap();
    let record = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let of = |name: &str| value[name].as_str().unwrap().to_owned();
        Record { event_time: of("eventTime"), event_id: of("eventID"), json: Bytes::from(line.to_owned()) }
    };
    text.lines().map(record).collect()
}

/// What another client of AWS says.
fn account(moto: &Moto, question: &str) -> Value {
    let mut command = Command::new(program(&["python"]));
    command.arg(root().join("tests/python/account.py")).arg(moto.url()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{question}").unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}

/// Makes a key; the line that is printed of it.
fn keygen(folder: &Path, name: &str) -> (PathBuf, String) {
    let key = folder.join(format!("{name}.key"));
    let run = trailwarden(["approver", "keygen", "--name", name, "--out"]).arg(&key).run();
    run.assert_code(0);
    (key, run.stdout)
}

/// Asks until the answer is one that is waited for.
async fn until(what: &str, mut answer: impl FnMut() -> Result<(), String>) {
    let started = tokio::time::Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(250));
    loop {
        looks.tick().await;
        let Err(found) = answer() else { return };
        assert!(started.elapsed() < PATIENCE, "{what}: {found}");
    }
}

/// Private keys of an approver and of somebody who is none, and the executor's public one.
struct Keys {
    ann: PathBuf,
    eve: PathBuf,
    public: String,
}

/// Lets a deployment respond.
fn configured(cluster: &Cluster) -> Keys {
    let folder = cluster.path().to_owned();
    let [(ann, line), (eve, _), (own, executor)] = ["ann", "eve", "executor"].map(|name| keygen(&folder, name));
    std::fs::write(folder.join("approvers.jsonl"), line).unwrap();
    let public: Value = serde_json::from_str(&executor).unwrap();
    let public = public["public_key"].as_str().unwrap().to_owned();
    let configuration = std::fs::read_to_string(cluster.configuration()).unwrap();
    let configuration = configuration.replace("warm_up_h = 24", "warm_up_h = 168");
    let executor = format!(
        "[organisation]\naccounts = {ACCOUNTS:?}\n[response]\nevidence = \"{}\"\n[executor]\nmode = \"approval\"\nkey = \"{}\"\n\
         approvers = \"{}\"\n",
        folder.join("evidence").display(),
        own.display(),
        folder.join("approvers.jsonl").display()
    );
    std::fs::write(cluster.configuration(), configuration + &executor).unwrap();
    Keys { ann, eve, public }
}

struct Desk<'a> {
    cluster: &'a Cluster,
    case: String,
}

impl Desk<'_> {
    fn ask(&self, words: &[&str]) -> Run {
        trailwarden(words).arg("--config").arg(self.cluster.configuration()).run()
    }

    fn order(&self, words: &[&str], key: &Path) -> Run {
        let (case, key) = (self.case.as_str(), key.to_string_lossy());
        let signed = ["--key", &key, "--approver", "ann", "--reason", "seen by hand"];
        self.ask(&[&["case", words[0], case], &words[1..], &signed].concat())
    }

    /// What the audit log says of the case, in order.
    fn audited(&self) -> Vec<(String, String)> {
        let run = self.ask(&["audit", "list", "--case", &self.case]);
        run.assert_code(0);
        let entry = |line: &str| {
            let entry: Value = serde_json::from_str(line).unwrap();
            let of = |name: &str| entry[name].as_str().unwrap().to_owned();
            (of("what"), of("detail"))
        };
        run.stdout.lines().map(entry).collect()
    }

    async fn audited_until(&self, what: &str) -> String {
        let mut detail = String::new();
        let told = || {
            let found = self.audited();
            let entry = found.iter().find(|entry| entry.0 == what);
            entry.map(|entry| detail.clone_from(&entry.1)).ok_or_else(|| format!("{found:?}\n{}", self.cluster.told()))
        };
        until(what, told).await;
        detail
    }
}

/// The malicious case, and what its plan tags: place in the plan from 1, account and name of a role.
async fn found(cluster: &Cluster) -> (String, String, String, String) {
    let mut line = String::new();
    let list = || {
        let run = trailwarden(["case", "list", "--verdict", "malicious", "--format", "jsonl", "--config"]);
        let run = run.arg(cluster.configuration()).run();
        let first = run.assert_code(0).stdout.lines().next();
        first.map(|first| first.clone_into(&mut line)).ok_or_else(|| cluster.told())
    };
    until("a malicious case", list).await;
    let case: Value = serde_json::from_str(&line).unwrap();
    let plan = case["plan"].as_array().unwrap();
    let is_tag = |step: &Value| step["playbook"] == "tag_and_notify" && step["target_kind"] == "role";
    let nth = plan.iter().position(is_tag).unwrap();
    let of = |name: &str| plan[nth][name].as_str().unwrap().to_owned();
    let name = of("target").rsplit('/').next().unwrap().to_owned();
    (case["case_id"].as_str().unwrap().to_owned(), (nth + 1).to_string(), of("account"), name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_sign_is_done_and_taken_back_and_written_down() {
    let (moto, mut cluster) = (Moto::start(), Cluster::start().await);
    let Keys { ann, eve, public } = configured(&cluster);
    cluster.run_all();
    let records = records();
    let feed = Feed { address: cluster.address("collector"), stream: "incident".to_owned(), records_a_request: 100 };
    feed.send(&records).await;
    cluster.drain(last_time(&records)).await;
    let (case, step, number, role) = found(&cluster).await;
    account(&moto, &format!("role {number} {role}"));
    let tags = || account(&moto, &format!("tags {number} {role}"));
    cluster.environment = moto.environment();
    cluster.run("executor", None);

    // Without a key, the calls are shown and nothing is on its way.
    let desk = Desk { cluster: &cluster, case: case.clone() };
    let shown = desk.ask(&["case", "approve", &case, "--step", &step]);
    shown.assert_code(0);
    for words in ["aws iam tag-role", "aws iam untag-role", &role, "nothing is signed"] {
        assert!(shown.stderr.contains(words), "{words}: {}", shown.told());
    }
    assert_eq!(desk.audited(), []);
    // Of the whole plan it is said what its denials would have blocked, once the past is archived.
    let rehearsed = || {
        let shown = desk.ask(&["case", "approve", &case]);
        if shown.stderr.contains("would have blocked") { Ok(()) } else { Err(shown.told()) }
    };
    until("a rehearsal", rehearsed).await;
    let forged = desk.order(&["approve", "--step", &step], &eve);
    forged.assert_code(2);
    assert!(forged.stderr.contains("forged"), "{}", forged.told());
    assert!(desk.audited_until("refused").await.contains("forged"));
    assert_eq!(tags(), json!([]));
    desk.order(&["approve", "--step", &step], &ann).assert_code(0);
    desk.audited_until("applied").await;
    assert_eq!(tags(), json!([{ "Key": "trailwarden:case", "Value": case }]));

    // As by `kill -9`: whoever comes next knows what was begun.
    cluster.process("executor").kill();
    cluster.run("executor", None);
    let desk = Desk { cluster: &cluster, case: case.clone() };
    desk.order(&["undo"], &ann).assert_code(0);
    desk.audited_until("undone").await;
    assert_eq!(tags(), json!([]));
    let told: Vec<String> = desk.audited().into_iter().map(|(what, _)| what).collect();
    for what in ["approved", "applying", "applied", "undo ordered", "undoing", "undone"] {
        assert!(told.iter().any(|told| told == what), "{what}: {told:?}");
    }
    // All of it is told with the case, once the last of it is stored.
    let told = || {
        let got = desk.ask(&["case", "get", &case]);
        got.assert_code(0);
        let got: Value = serde_json::from_str(&got.stdout).unwrap();
        let response = &got["response"];
        let of = |list: &str, member: &str| -> Vec<&str> {
            response[list].as_array().unwrap().iter().map(|one| one[member].as_str().unwrap_or_default()).collect()
        };
        assert_eq!((of("orders", "intent"), response.get("lacking")), (vec!["approve", "undo"], None), "{response}");
        assert!(of("audit", "what").contains(&"undone"), "{response}");
        if of("actions", "outcome") == ["undone"] { Ok(()) } else { Err(response.to_string()) }
    };
    until("what was done", told).await;
    for state in ["is kept, read-only", "was there already"] {
        let preserved = desk.ask(&["case", "preserve", &case]);
        assert!(preserved.assert_code(0).stderr.contains(state), "{}", preserved.told());
        assert!(preserved.stdout.contains("activities.jsonl"), "{}", preserved.told());
    }
    for (words, code, expected) in [
        (&["audit", "verify", "--trust", &public][..], 0, "the audit log holds"),
        (&["audit", "verify"], 0, "the audit log holds"),
        (&["audit", "verify", "--trust", &"0".repeat(64)], 1, "a key that is not trusted"),
        // The streams are smaller than the configuration says, which it says too.
        (&["doctor"], 1, "executor: has its key"),
    ] {
        let run = desk.ask(words);
        run.assert_code(code);
        assert!(run.stdout.contains(expected), "{}", run.told());
    }
    for (name, code) in cluster.stop_all() {
        assert_eq!(code, Some(0), "{name}");
    }
}

/// A user's quarantine in the hands of one process after the other.
struct Quarantine {
    case: String,
    user: String,
    action: Action,
}

impl Quarantine {
    fn of(step: &str) -> Self {
        let user = format!("user-{}", step.trim_start_matches("executor."));
        let target = Resource {
            kind: Playbook::QuarantineUserHard.target_kind(),
            account: ACCOUNTS[0].to_owned(),
            region: "eu-west-1".to_owned(),
            id: user.clone(),
            created: false,
        };
        let action = Action::proposed(Playbook::QuarantineUserHard, target);
        Self { case: format!("case-{user}"), user, action }
    }

    /// Ann's order, as a council passes it on.
    async fn order(&self, cluster: &Cluster, ann: &Path, intent: Intent) {
        let key = SigningKey::read(&std::fs::read_to_string(ann).unwrap()).unwrap();
        let at = Timestamp::from_millis(
            i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap(),
        );
        let context = CaseContext { case_id: &self.case, reference_time: at };
        let step = ProposedStep {
            action: self.action.clone(),
            spelled: json!(calls(&self.action, &context)),
            supplied: BTreeMap::new(),
            rehearsed: Some(Rehearsed::Skipped("there is no past".to_owned())),
        };
        let proposal = Proposal {
            tenant: TENANT.to_owned(),
            case: self.case.clone(),
            requester: "council".to_owned(),
            reference_time: at,
            lease_ms: 3_600_000,
            steps: vec![step],
        };
        let proposal = if intent == Intent::Approve { json!(proposal).to_string() } else { String::new() };
        let order = Order {
            intent,
            tenant: TENANT.to_owned(),
            case: self.case.clone(),
            proposal: if proposal.is_empty() { String::new() } else { digest(proposal.as_bytes()) },
            approver: "ann".to_owned(),
            reason: "seen".to_owned(),
            signed_at: at,
            expires_at: at.plus_ms(APPROVAL_MS),
            nonce: random_hex(16).unwrap(),
        };
        let payload = json!(Submitted { proposal, signed: key.sign(&order) }).to_string().into();
        plan(cluster.bus.as_ref(), TENANT, &self.case, std::slice::from_ref(&self.action)).await;
        let subject = Subject::order(TENANT, &self.case);
        cluster.bus.publish(&subject, Outgoing { payload, ..Outgoing::default() }).await.unwrap();
    }

    async fn until(&self, cluster: &Cluster, states: &[State]) {
        let subject = Subject::action(TENANT, "life", &idempotency_key(&self.case, &self.action));
        let started = tokio::time::Instant::now();
        let mut looks = tokio::time::interval(Duration::from_millis(250));
        loop {
            looks.tick().await;
            let stored = cluster.bus.last(&subject).await.unwrap();
            let state = stored.map(|stored| serde_json::from_slice::<Life>(&stored.payload).unwrap().life.state);
            if state.is_some_and(|state| states.contains(&state)) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{}: {state:?}\n{}", self.case, cluster.told());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_dies_at_any_step_leaves_an_outcome_and_does_nothing_twice() {
    let (moto, mut cluster) = (Moto::start(), Cluster::start().await);
    let Keys { ann, public, .. } = configured(&cluster);
    cluster.environment = moto.environment();
    // The last two die with an order that the broker gives out again only after a while.
    let steps = ["held", "called", "performed", "noted", "told", "joined", "admitted", "taken"]
        .map(|step| format!("executor.{step}"));
    let all = steps.each_ref().map(|step| Quarantine::of(step));
    for (step, one) in steps.iter().zip(&all) {
        account(&moto, &format!("user {} {}", ACCOUNTS[0], one.user));
        // The second piece of work that AWS has a part in is the applying, the third that is noted.
        let nth = match step.as_str() {
            "executor.admitted" | "executor.taken" | "executor.joined" => 1,
            "executor.noted" | "executor.told" => 3,
            _ => 2,
        };
        cluster.run("executor", Some(&format!("{step}:{nth}")));
        one.order(&cluster, &ann, Intent::Approve).await;
        let died = cluster.end_of("executor").await;
        assert!(!died.success(), "{step}: {}", cluster.told());
    }
    cluster.run("executor", None);
    let policies = |one: &Quarantine| account(&moto, &format!("policies {} {}", ACCOUNTS[0], one.user));
    for one in &all {
        one.until(&cluster, &[State::Applied, State::Verified]).await;
        assert_eq!(policies(one).as_array().map(Vec::len), Some(1), "{}", one.user);
        one.order(&cluster, &ann, Intent::Undo).await;
    }
    for one in &all {
        one.until(&cluster, &[State::Undone]).await;
        assert_eq!(policies(one), json!([]), "{}", one.user);
    }
    // People hear of each end once.
    let stored = cluster.bus.read(&Subject::raised(TENANT), 0, 1_000).await.unwrap();
    let alerts = stored.iter().map(|stored| unpack::<v1::Alert>(&stored.payload).unwrap());
    let ended: Vec<_> = alerts.filter(|alert| alert.ended && alert.kind == "block").map(|alert| alert.id).collect();
    let each: BTreeSet<_> = ended.iter().collect();
    assert_eq!((ended.len(), each.len()), (all.len(), all.len()), "{ended:?}");
    let desk = Desk { cluster: &cluster, case: all[0].case.clone() };
    desk.ask(&["audit", "verify", "--trust", &public]).assert_code(0);
    for one in &all {
        let told = Desk { cluster: &cluster, case: one.case.clone() }.audited();
        let undone = told.iter().filter(|(what, detail)| what == "undone" && detail.ends_with("is back")).count();
        assert_eq!(undone, 1, "{told:?}");
    }
}
