//! Each playbook through its whole life against AWS's interfaces over HTTP, the account compared before and after.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::response::approval::Intent;
use trailwarden_core::response::idempotency_key;
use trailwarden_core::response::life::{Outcome, State};
use trailwarden_core::time::HOUR_MS;
use trailwarden_playbooks::GoodTrail;
use trailwarden_playbooks::aws::{
    Aws, AwsError, BaseCredentials, Client, Credentials, Request, Scope, Secret, Settings,
};
use trailwarden_playbooks::executor::Executor;
use trailwarden_servers::{Moto, program};

use crate::bench::{ACCOUNT, Bench, action};

/// The account, as another client of AWS sees it.
pub(crate) struct Account {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Account {
    pub(crate) fn on(moto: &Moto) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/account.py");
        let mut command = Command::new(program(&["python"]));
        command.arg(script).arg(moto.url()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("python runs");
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, answers }
    }

    pub(crate) fn ask(&mut self, command: &str) -> Value {
        writeln!(self.process.stdin.as_mut().expect("piped"), "{command}").expect("it listens");
        let mut line = String::new();
        #[expect(clippy::disallowed_methods, reason = "the test's own script writes the line")]
        self.answers.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    pub(crate) fn state(&mut self) -> Value {
        self.ask("state")
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client whose every call has to be one that its session policy names: moto enforces none.
struct Narrowed(Client);

#[async_trait]
impl Aws for Narrowed {
    async fn call(&self, scope: &Scope, request: &Request) -> Result<Value, AwsError> {
        // IAM's word for the three calls about it.
        let operation = request.operation.replace("PublicAccessBlock", "BucketPublicAccessBlock");
        let operation = operation.replace("DeleteBucketPublic", "PutBucketPublic");
        let action = format!("\"{}:{operation}\"", request.service);
        assert!(scope.session_policy.contains(&action), "{action}: {}", scope.session_policy);
        self.0.call(scope, request).await
    }
}

pub(crate) fn client(moto: &Moto, bench: &Bench) -> Arc<dyn Aws> {
    let own = || "example".to_owned();
    let base = Credentials { access_key_id: own(), secret_access_key: Secret::new(own()), session_token: None };
    let settings = Settings {
        external_id: Some("external-id".to_owned()),
        partition: "aws".to_owned(),
        region: "eu-west-1".to_owned(),
        endpoint: Some(moto.url()),
        base: BaseCredentials::Given(base),
    };
    Arc::new(Narrowed(Client::new(settings, bench.clock.read()).expect("a client")))
}

/// Every playbook with a target of the account that `account.py` sets up.
fn actions(made: &Value) -> Vec<Action> {
    let of = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{name}")).to_owned();
    let here = |playbook, id: &str| action(playbook, ACCOUNT, id);
    let member = of("member");
    vec![
        here(Playbook::TagUser, "alice"),
        here(Playbook::TagRole, "arn:aws:iam::111122223333:role/deploy"),
        here(Playbook::TagInstance, &of("instance")),
        here(Playbook::DisableAccessKey, &of("key")).owned_by("alice"),
        here(Playbook::DisableCreatedCredentials, &of("key")),
        here(Playbook::QuarantineUserSoft, "alice"),
        here(Playbook::QuarantineUserHard, "alice"),
        here(Playbook::DisableCreatedUser, "alice"),
        here(Playbook::DisableCreatedRole, "deploy"),
        here(Playbook::RevokeRoleSessions, "arn:aws:iam::111122223333:role/deploy"),
        here(Playbook::LockRoleTrust, "deploy"),
        here(Playbook::RemoveConsoleLogin, "alice"),
        here(Playbook::RestoreTrail, "main"),
        here(Playbook::RestoreDetector, &of("detector")),
        here(Playbook::RestoreConfigRecorder, "default"),
        here(Playbook::BlockPublicS3, "reports-example"),
        here(Playbook::BlockPublicS3, "papers-example"),
        here(Playbook::ProtectS3Data, "papers-example"),
        here(Playbook::ProtectS3Data, "reports-example"),
        here(Playbook::UnshareSnapshot, &of("snapshot")),
        here(Playbook::UnshareSnapshot, &of("public_snapshot")),
        here(Playbook::UnshareImage, &of("image")),
        here(Playbook::UnshareDbSnapshot, "books-1"),
        here(Playbook::RescueKms, &of("kms_key")),
        here(Playbook::IsolateEc2, &of("instance")),
        here(Playbook::ForensicSnapshot, &of("instance")),
        here(Playbook::FreezeLambda, "relay"),
        action(Playbook::ScpQuarantine, &member, &member),
    ]
}

/// Lives an action on until it ends or reaches a state.
pub(crate) async fn live(bench: &Bench, executor: &Executor, key: &str, until: Option<State>) {
    for _ in 0..200 {
        let record = bench.record(executor, key).await;
        let Some((at, _)) = record.life.due() else { return };
        if until == Some(record.life.state) {
            return;
        }
        bench.clock.turn_to(at);
        executor.step(key).await.expect("goes on");
    }
    panic!("no end: {:#?}", bench.record(executor, key).await.life);
}

#[tokio::test]
async fn every_playbook_is_applied_verified_and_undone() {
    let moto = Moto::with_managed_policies();
    let bench = Bench::new().await;
    let mut account = Account::on(&moto);
    let made = account.ask("set-up");
    let mut settings = bench.settings("one");
    settings.management_account = made["management"].as_str().map(str::to_owned);
    let executor = bench.executor_with(settings, client(&moto, &bench));
    let mut before = account.state();
    let mut wrong = Vec::new();
    let all = actions(&made);
    for (nth, action) in all.iter().enumerate() {
        let what = format!("{:?} of {}", action.playbook, action.target.id);
        let key = bench.approve(&executor, &format!("c{nth}"), action).await;
        live(&bench, &executor, &key, Some(State::Verified)).await;
        let record = bench.record(&executor, &key).await;
        if record.life.state != State::Verified {
            wrong.push(format!("{what}: {:#?}", record.life.evidence));
            before = account.state();
            continue;
        }
        let during = account.state();
        if during == before {
            wrong.push(format!("{what}: nothing changed"));
        }
        live(&bench, &executor, &key, None).await;
        let record = bench.record(&executor, &key).await;
        let after = account.state();
        // What restores is not taken back, and what was public is not made public again.
        let stays = record.life.lease_until.is_none() || action.target.id == made["public_snapshot"];
        let expect = if record.life.lease_until.is_none() { Outcome::DoneVerified } else { Outcome::Undone };
        if record.life.outcome() != Some(expect) {
            wrong.push(format!("{what}: {:#?}", record.life.evidence));
        }
        let suspended = action.playbook == Playbook::ProtectS3Data;
        for (part, value) in before.as_object().into_iter().flatten() {
            if !stays && !suspended && after[part] != *value {
                wrong.push(format!("{what}: {part} was {value}, is {}", after[part]));
            }
        }
        if suspended {
            let bucket = |state: &Value, part: &str| state["buckets"][&action.target.id][part].clone();
            if bucket(&after, "policy") != bucket(&before, "policy")
                || bucket(&after, "versioning")["Status"] != "Suspended"
            {
                wrong.push(format!("{what}: {}", after["buckets"]));
            }
        }
        before = after;
    }
    bench.verify_audit().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let used: std::collections::BTreeSet<_> = all.iter().map(|action| action.playbook).collect();
    let left: Vec<_> = Playbook::ALL.iter().filter(|playbook| !used.contains(playbook)).collect();
    // Its records come out of the archive.
    assert_eq!(left, [&Playbook::PreserveLogs]);
}

#[tokio::test]
async fn one_plan_reaches_two_accounts_and_one_order_brings_both_back() {
    let moto = Moto::start();
    let bench = Bench::new().await;
    let mut account = Account::on(&moto);
    let executor = bench.executor("one", client(&moto, &bench));
    let accounts = [ACCOUNT, "444455556666"];
    for number in accounts {
        account.ask(&format!("user {number} alice"));
    }
    let steps = accounts.map(|number| action(Playbook::QuarantineUserHard, number, "alice"));
    let proposal = bench.proposal_of("c1", &steps);
    let message = bench.send("c1", &proposal, bench.sign(&bench.order(Intent::Approve, "c1", &proposal, "ann"))).await;
    executor.take(&message).await.expect("taken");
    let keys = steps.map(|step| idempotency_key("c1", &step));
    for (key, number) in keys.iter().zip(accounts) {
        assert_eq!(account.ask(&format!("policies {number} alice")), json!([]));
        live(&bench, &executor, key, Some(State::Verified)).await;
        assert_eq!(account.ask(&format!("policies {number} alice")), json!(["TrailwardenQuarantine-c1"]));
    }
    let message = bench.send("c1", "", bench.sign(&bench.order(Intent::Undo, "c1", "", "bob"))).await;
    executor.take(&message).await.expect("taken");
    for (key, number) in keys.iter().zip(accounts) {
        live(&bench, &executor, key, None).await;
        assert_eq!(bench.record(&executor, key).await.life.outcome(), Some(Outcome::Undone));
        assert_eq!(account.ask(&format!("policies {number} alice")), json!([]));
    }
    bench.verify_audit().await;
}

#[tokio::test]
async fn a_trail_is_brought_back_to_what_the_operator_wrote_down_and_read_back() {
    let moto = Moto::start();
    let bench = Bench::new().await;
    let mut account = Account::on(&moto);
    account.ask("set-up");
    let all = json!([{ "ReadWriteType": "All", "IncludeManagementEvents": true, "DataResources": [] }]);
    let advanced =
        json!([{ "Name": "all", "FieldSelectors": [{ "Field": "eventCategory", "Equals": ["Management"] }] }]);
    let restore = action(Playbook::RestoreTrail, ACCOUNT, "main");
    for (nth, (selectors, value)) in
        [("EventSelectors", &all), ("AdvancedEventSelectors", &advanced)].into_iter().enumerate()
    {
        let spoiled = account.ask("spoil");
        assert_eq!((&spoiled["S3BucketName"], &spoiled["IsLogging"]), (&json!("elsewhere-example"), &json!(false)));
        let good = json!({
            "account": ACCOUNT, "trail": "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main",
            "S3BucketName": "trail-logs-example", selectors: value,
        });
        let good: GoodTrail = serde_json::from_value(good).expect("a trail");
        let case = format!("c{nth}");
        let mut settings = bench.settings(&case);
        settings.trails.push(good.clone());
        let executor = bench.executor_with(settings, client(&moto, &bench));
        let proposal = bench.proposal_with(&case, std::slice::from_ref(&restore), &[good]);
        let key = bench.approve_proposal(&executor, &case, &proposal, &restore).await;
        live(&bench, &executor, &key, None).await;
        let record = bench.record(&executor, &key).await;
        assert_eq!(record.life.outcome(), Some(Outcome::DoneVerified), "{:#?}", record.life.evidence);
        let restored = account.ask("trail");
        assert_eq!(&restored[selectors], value, "{restored}");
        for (name, expect) in [
            ("S3BucketName", json!("trail-logs-example")),
            ("IsMultiRegionTrail", json!(true)),
            ("LogFileValidationEnabled", json!(true)),
            ("IsLogging", json!(true)),
        ] {
            assert_eq!(restored[name], expect, "{name}: {restored}");
        }
    }
    // Where nobody knows what was there, logging alone is brought back.
    account.ask("spoil");
    let executor = bench.executor("one", client(&moto, &bench));
    let key = bench.approve(&executor, "c9", &restore).await;
    live(&bench, &executor, &key, None).await;
    assert_eq!(bench.record(&executor, &key).await.life.outcome(), Some(Outcome::DoneVerified));
    let left = account.ask("trail");
    assert_eq!((&left["IsLogging"], &left["S3BucketName"]), (&json!(true), &json!("elsewhere-example")));
    bench.verify_audit().await;
}

/// Two cases want one key inactive: it is so until the later of their leases ends, and then as it was before the first.
#[tokio::test]
async fn what_two_cases_hold_stands_until_the_last_of_them() {
    let moto = Moto::with_managed_policies();
    let bench = Bench::new().await;
    let mut account = Account::on(&moto);
    let made = account.ask("set-up");
    let key_id = made["key"].as_str().expect("a key");
    let executor = bench.executor("one", client(&moto, &bench));
    let before = account.state();
    let first_action = action(Playbook::DisableAccessKey, ACCOUNT, key_id).owned_by("alice");
    // Another playbook, and a record that does not tell whose the key is.
    let second_action = action(Playbook::DisableCreatedCredentials, ACCOUNT, key_id);
    let locks = ["c1", "c2"].map(|case| (case, action(Playbook::LockRoleTrust, ACCOUNT, "deploy")));
    let first = bench.approve(&executor, "c1", &first_action).await;
    live(&bench, &executor, &first, Some(State::Verified)).await;
    let during = account.state();
    assert_ne!(during, before);
    bench.clock.turn_to(bench.clock.now().plus_ms(HOUR_MS));
    let second = bench.approve(&executor, "c2", &second_action).await;
    live(&bench, &executor, &second, Some(State::Verified)).await;
    let record = bench.record(&executor, &second).await;
    assert!(record.life.is_held() && record.life.lease_until.is_some(), "{:#?}", record.life.evidence);
    // The first lease ends, and the second holds what stands.
    live(&bench, &executor, &first, None).await;
    assert_eq!(bench.record(&executor, &first).await.life.outcome(), Some(Outcome::Undone));
    assert_eq!(account.state(), during);
    assert!(bench.audit().await.iter().any(|(_, detail)| detail.contains("it stays: case c2 holds it still")));
    live(&bench, &executor, &second, None).await;
    assert_eq!(bench.record(&executor, &second).await.life.outcome(), Some(Outcome::Undone));
    assert_eq!(account.state(), before);

    // The same with a state to go back to, which the second of them never saw.
    let mut keys = Vec::new();
    for (case, lock) in &locks {
        let key = bench.approve(&executor, case, lock).await;
        live(&bench, &executor, &key, Some(State::Verified)).await;
        keys.push(key);
    }
    for (key, expect) in keys.iter().zip([false, true]) {
        live(&bench, &executor, key, None).await;
        assert_eq!(bench.record(&executor, key).await.life.outcome(), Some(Outcome::Undone));
        assert_eq!(account.state() == before, expect);
    }
    bench.verify_audit().await;
}
