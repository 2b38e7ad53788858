//! Clients in other hands: one in Python, generated from the protos by its own tools, and the example in Rust, each against
//! a deployment of its own. What they tell of is held against `scan` of the same file.
#![allow(clippy::disallowed_methods, reason = "reads and writes files of its own")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use trailwarden::config::Config;
use trailwarden::scan::Scanner;
use trailwarden_core::feature::{Feature, SCHEMA_VERSION};
use trailwarden_servers::{free_port, program};
use trailwarden_tests::cluster::{Cluster, PATIENCE};
use trailwarden_tests::command::{binary, trailwarden};
use trailwarden_tests::repository::root;

const SERVERS: [&str; 4] = ["collector", "featurizer", "scorer", "council"];

/// Lines of the authored incident, and the events in them: six are delivered twice.
const RECORDS: u64 = 339;
const EVENTS: u64 = 333;

/// The organisation's own, which a scan makes out by itself once it has seen the whole file, and a deployment is told.
const ACCOUNTS: [&str; 4] = ["274019836651", "274019836702", "274019836815", "274019836944"];

/// A running deployment, its roles answering.
async fn deployment() -> Cluster {
    let mut cluster = Cluster::start().await;
    // More history than the incident has: rules speak alone, as in a scan of the file, whenever epochs come.
    let configuration = std::fs::read_to_string(cluster.configuration()).unwrap();
    let configuration = configuration.replace("warm_up_h = 24", "warm_up_h = 168");
    let accounts = format!("[organisation]\naccounts = {ACCOUNTS:?}\n");
    std::fs::write(cluster.configuration(), configuration + &accounts).unwrap();
    cluster.run_all();
    for role in SERVERS {
        answers(&cluster.address(role)).await;
    }
    cluster
}

async fn answers(address: &str) {
    let started = tokio::time::Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while tokio::net::TcpStream::connect(address).await.is_err() {
        looks.tick().await;
        assert!(started.elapsed() < PATIENCE, "nobody answers at {address}");
    }
}

/// All roles in one process that has no server to stand on; killed when dropped.
struct Alone(Child);

impl Alone {
    async fn start(folder: &Path, addresses: &[String; 4]) -> Self {
        let mut command = Command::new(binary());
        command.arg("run").env_clear().env("TRAILWARDEN_RUN__PARTITIONS", "4");
        command.env("TRAILWARDEN_ARCHIVE__LOCATION", folder.join("archive"));
        command.env("TRAILWARDEN_LISTEN__STATUS", "127.0.0.1:0");
        command.env("TRAILWARDEN_ORGANISATION__ACCOUNTS", ACCOUNTS.join(","));
        for (role, address) in SERVERS.iter().zip(addresses) {
            command.env(format!("TRAILWARDEN_LISTEN__{}", role.to_uppercase()), address);
        }
        let alone = Self(command.stdin(Stdio::null()).spawn().unwrap());
        for address in addresses {
            answers(address).await;
        }
        alone
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn incident() -> PathBuf {
    root().join("tests/fixtures/incident/incident.jsonl")
}

/// The incident, and a line that is no record.
fn records(folder: &Path) -> PathBuf {
    let mut text = std::fs::read(incident()).unwrap();
    text.extend_from_slice(b"{\"eventVersion\": \n");
    let path = folder.join("records.jsonl");
    std::fs::write(&path, text).unwrap();
    path
}

/// The malicious case of a scan.
fn scanned() -> Value {
    let run = trailwarden(["scan", "--format", "jsonl"]).arg(incident()).run();
    let mut cases = run.assert_code(0).stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    cases.find(|case| case["verdict"] == "malicious").unwrap()
}

/// What a client says that ends well.
fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(String::from_utf8(output.stdout).unwrap()) } else { Err(errors) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_generated_from_the_protos_is_served() {
    let cluster = deployment().await;
    let mut command = Command::new(program(&["python"]));
    command.arg(root().join("tests/python/client.py")).arg(records(cluster.path()));
    for role in SERVERS {
        command.arg(format!("--{role}")).arg(cluster.address(role));
    }
    let said = said(&mut command).unwrap_or_else(|errors| panic!("{errors}\n{}", cluster.told()));
    let found: Value = serde_json::from_str(&said).unwrap();

    assert_eq!(
        found["ingested"],
        json!({
            "answers": [1, 2, 3, 4],
            "accepted": EVENTS,
            "duplicates": RECORDS - EVENTS,
            "rejected": [[4, RECORDS % 100, "malformed_json"]],
        })
    );

    let scored = &found["scored"];
    let names: Vec<&str> = Feature::ALL.iter().map(|feature| feature.definition().name).collect();
    assert_eq!(scored["features"], json!(names));
    assert_eq!(scored["schema"], SCHEMA_VERSION);
    assert!(scored["known"].as_u64().is_some_and(|known| 0 < known && known < names.len() as u64), "{scored}");
    assert_eq!(scored["known"], scored["values"], "a value for each feature that is known");
    assert_eq!(scored["probabilities"], json!([null]), "without history the model abstains");
    assert_eq!(scored["model"], model(&cluster.configuration()));

    let (watched, expected) = (&found["watched"], scanned());
    let transitions = watched["sequences"].as_array().unwrap().len();
    assert_eq!(watched["sequences"], json!((1..=transitions).collect::<Vec<_>>()), "every transition, in order");
    assert_eq!((&watched["case"], &watched["principal"]), (&expected["case_id"], &expected["principal"]));
    assert_eq!(watched["line"], expected, "the line is that of a scan");
    // The line leaves out routine changes that no reason rests on.
    let events = watched["events"].as_array().unwrap();
    let left_out: Vec<_> = expected["event_ids"].as_array().unwrap().iter().filter(|id| !events.contains(id)).collect();
    assert!(left_out.is_empty(), "{left_out:?}");

    let case = &expected["case_id"];
    let labelled = &found["labelled"];
    assert_eq!(labelled["label"], json!(["malicious", "seen by hand", "ada"]));
    assert!(labelled["listed"].as_array().unwrap().contains(case), "{labelled}");
    assert_eq!(labelled["listed_labels"], json!([case]));
    assert_eq!((&labelled["got"], &labelled["told"]), (&json!("ada"), case));

    let unsigned = "`order_json` or `signature` is missing: an approver signs what is to be done";
    assert_eq!(
        found["refused"],
        json!({
            "approve": ["INVALID_ARGUMENT", unsigned],
            "deny": ["INVALID_ARGUMENT", unsigned],
            "undo": ["INVALID_ARGUMENT", unsigned],
            "replay": ["UNIMPLEMENTED", "replaying a negotiation is not built yet"],
            "unknown": ["NOT_FOUND", "there is no case nosuchcase"],
        })
    );
    assert_exported(&cluster, case.as_str().unwrap());
}

/// The case becomes a capsule of the logs, with the deployment's settings, and is what the deployment says it is.
fn assert_exported(cluster: &Cluster, case: &str) {
    let capsule = cluster.path().join("exported.capsule");
    let run = trailwarden(["case", "export", case, "--logs"]).arg(incident()).arg("--out").arg(&capsule);
    let run = run.arg("--config").arg(cluster.configuration()).args(["--server", &cluster.address("council")]).run();
    run.assert_code(0);
    assert!(!run.stderr.contains("judged otherwise"), "{}", run.told());
    let run = trailwarden(["replay"]).arg(&capsule).run();
    run.assert_code(0);
    assert!(run.stdout.starts_with("equal "), "{}", run.told());
}

/// The name of the model that a configuration takes.
fn model(configuration: &Path) -> String {
    let scanner = Scanner::from_config(Config::load(Some(configuration), []).unwrap()).unwrap();
    scanner.shared_scorer().unwrap().name().to_owned()
}

/// Runs the example in Rust and checks every line that it prints.
fn assert_served(folder: &Path, addresses: &[String; 4], expected: &Value) {
    // Beside this test, where cargo builds the examples of its package.
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap();
    let example = built.join("examples").join(format!("client{}", std::env::consts::EXE_SUFFIX));
    let mut command = Command::new(example);
    let said = said(command.arg(records(folder)).args(addresses)).unwrap();

    let (case, principal) = (expected["case_id"].as_str().unwrap(), expected["principal"].as_str().unwrap());
    let lines: Vec<&str> = said.lines().collect();
    let [durable, refused, known, score, watched, labelled, listed, approved] = lines[..] else { panic!("{said}") };
    assert_eq!(durable, format!("{EVENTS} records are durable, {} came twice", RECORDS - EVENTS));
    assert_eq!(refused, format!("refused: document {} of request 4: malformed_json", RECORDS % 100));
    let of_all = format!(" of {} features are known", Feature::ALL.len());
    let number: usize = known.strip_suffix(&of_all).unwrap().parse().unwrap();
    assert!(0 < number && number < Feature::ALL.len(), "{known}");
    assert_eq!(score, "the model abstains: the account has no history yet");
    let events = watched.strip_prefix(&format!("case {case}: malicious by {principal}, ")).unwrap();
    let events: usize = events.strip_suffix(" events").unwrap().parse().unwrap();
    assert!(events >= expected["event_ids"].as_array().unwrap().len(), "{watched}");
    assert_eq!(labelled, "labelled malicious by ada");
    assert_eq!(listed, format!("listed {case}"));
    assert_eq!(approved, "not approved: `order_json` or `signature` is missing: an approver signs what is to be done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_and_the_command_line_are_served() {
    let (cluster, expected) = (deployment().await, scanned());
    assert_served(cluster.path(), &SERVERS.map(|role| cluster.address(role)), &expected);

    let (case, principal) = (expected["case_id"].as_str().unwrap(), expected["principal"].as_str().unwrap());
    let server = cluster.address("council");
    let ask = |words: &[&str]| trailwarden(["case"]).args(words).arg("--server").arg(&server).run();
    let got = ask(&["get", case]);
    assert_eq!(serde_json::from_str::<Value>(&got.assert_code(0).stdout).unwrap(), expected);
    let list = ask(&["list", "--verdict", "malicious"]);
    let row = list.assert_code(0).stdout.lines().find(|line| line.contains(case)).unwrap().to_owned();
    for part in ["closed", "critical", "malicious", principal, "labelled malicious by ada"] {
        assert!(row.contains(part), "{part}: {row}");
    }
    let finding = ask(&["get", case, "--format", "ocsf"]);
    let finding: Value = serde_json::from_str(&finding.assert_code(0).stdout).unwrap();
    assert_eq!((&finding["finding_info"]["uid"], &finding["status"]), (&json!(case), &json!("In Progress")));
    ask(&["label", case, "benign", "--author", "grace"]).assert_code(0);
    assert!(ask(&["list"]).stdout.contains("labelled benign by grace"));
    ask(&["undo", case]).assert_code(2).assert_says(&["--key"]);
    ask(&["replay", case]).assert_code(2).assert_says(&["is not built yet"]);
    ask(&["get", "nosuchcase"]).assert_code(2).assert_says(&["there is no case"]);
}

#[tokio::test]
async fn one_process_without_servers_serves_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let addresses = SERVERS.map(|_| format!("127.0.0.1:{}", free_port()));
    let _alone = Alone::start(folder.path(), &addresses).await;
    assert_served(folder.path(), &addresses, &scanned());
}
