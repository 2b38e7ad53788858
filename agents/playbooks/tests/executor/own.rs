//! Playbooks of the operator's, through the whole executor.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use trailwarden_core::plan::own::OwnPlaybook;
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::resource::Resource;
use trailwarden_core::response::idempotency_key;
use trailwarden_core::response::life::{Outcome, State};
use trailwarden_core::time::HOUR_MS;
use trailwarden_playbooks::aws::{Aws, AwsError, Request, Scope};
use trailwarden_playbooks::drill;
use trailwarden_playbooks::executor::Settings;
use trailwarden_playbooks::load_own;
use trailwarden_servers::Moto;

use crate::bench::{ACCOUNT, Bench, T0};
use crate::moto::{Account, client, live};

const LOCK: &str = include_str!("../../../../tests/fixtures/playbooks/lock_user.yml");
const RETIRE: &str = include_str!("../../../../tests/fixtures/playbooks/retire_key.yml");

fn own(yaml: &str) -> Arc<OwnPlaybook> {
    Arc::new(load_own(yaml).unwrap_or_else(|flaws| panic!("{flaws:?}")))
}

fn step(own: &Arc<OwnPlaybook>, id: &str) -> Action {
    let target = Resource {
        kind: own.answers.target,
        account: ACCOUNT.to_owned(),
        region: "eu-west-1".to_owned(),
        id: id.to_owned(),
        created: false,
    };
    Action::of_own(Arc::clone(own), target)
}

#[tokio::test]
async fn it_is_applied_verified_and_undone_by_its_own_lease() {
    let moto = Moto::start();
    let bench = Bench::new().await;
    let mut account = Account::on(&moto);
    let made = account.ask("set-up");
    let all = [own(LOCK), own(RETIRE)];
    let mut settings = bench.settings("one");
    settings.own = all.to_vec();
    let executor = bench.executor_with(settings, client(&moto, &bench));
    let before = account.state();
    let key = made["key"].as_str().expect("a key");
    for (nth, (own, id)) in all.iter().zip(["alice", key]).enumerate() {
        let action = step(own, id);
        let case = format!("c{nth}");
        let key = bench.approve(&executor, &case, &action).await;
        live(&bench, &executor, &key, Some(State::Verified)).await;
        let record = bench.record(&executor, &key).await;
        assert_eq!(record.life.state, State::Verified, "{:#?}", record.life.evidence);
        assert_ne!(account.state(), before, "{id}");
        // The proposal's lease of two hours is the shorter one.
        assert_eq!(record.life.lease_until, Some(record.begun_at.plus_ms(2 * HOUR_MS)));
        live(&bench, &executor, &key, None).await;
        assert_eq!(bench.record(&executor, &key).await.life.outcome(), Some(Outcome::Undone));
        assert_eq!(account.state(), before, "{id}");
    }
    bench.verify_audit().await;
}

#[tokio::test]
async fn what_the_executor_was_not_given_is_refused_and_what_it_began_is_undone_whatever_becomes_of_the_file() {
    let moto = Moto::start();
    let bench = Bench::new().await;
    let mut account = Account::on(&moto);
    account.ask("set-up");
    let before = account.state();
    let given = own(LOCK);
    let mut settings = bench.settings("one");
    settings.own = vec![Arc::clone(&given)];
    let executor = bench.executor_with(settings, client(&moto, &bench));
    let other = own(&LOCK.replace("lease_h: 12", "lease_h: 24"));
    let disguised = Action { playbook: Playbook::TagUser, ..step(&given, "alice") };
    let bare = Action { own: None, ..step(&given, "alice") };
    for (nth, action) in [step(&other, "alice"), disguised, bare].iter().enumerate() {
        let case = format!("c{nth}");
        bench.approve(&executor, &case, action).await;
        let record = executor.record(&idempotency_key(&case, action)).await.expect("answers");
        assert!(record.is_none(), "{action:?}");
    }
    let refused = bench.audit().await.into_iter().filter(|(what, _)| what == "refused").count();
    assert_eq!(refused, 3, "{:?}", bench.audit().await);
    assert_eq!(account.state(), before);
    // Begun by one executor, undone by another that knows the playbook no more.
    let action = step(&given, "alice");
    let key = bench.approve(&executor, "c9", &action).await;
    live(&bench, &executor, &key, Some(State::Verified)).await;
    assert_ne!(account.state(), before);
    let later = bench.executor_with(bench.settings("two"), client(&moto, &bench));
    bench.clock.turn_to(bench.record(&later, &key).await.held_until);
    live(&bench, &later, &key, None).await;
    assert_eq!(bench.record(&later, &key).await.life.outcome(), Some(Outcome::Undone));
    assert_eq!(account.state(), before);
}

/// Who is protected may turn up in an answer of AWS only; and what stood before is not taken away with the rest.
#[tokio::test]
async fn neither_the_protected_nor_what_others_put_there_is_touched() {
    let moto = Moto::start();
    let bench = Bench::new().await;
    let mut account = Account::on(&moto);
    let made = account.ask("set-up");
    let all = [own(LOCK), own(RETIRE)];
    let settings = |name: &str| Settings { own: all.to_vec(), ..bench.settings(name) };
    let mut guarded = settings("one");
    guarded.limits.protected.insert("alice".to_owned());
    let executor = bench.executor_with(guarded, client(&moto, &bench));
    let before = account.state();
    let retire = step(&all[1], made["key"].as_str().expect("a key"));
    let key = bench.approve(&executor, "c0", &retire).await;
    live(&bench, &executor, &key, None).await;
    let life = bench.record(&executor, &key).await.life;
    assert_eq!(life.outcome(), Some(Outcome::Failed));
    assert!(life.evidence.iter().any(|line| line.text.contains("alice is protected")), "{:#?}", life.evidence);
    assert_eq!(account.state(), before);
    let executor = bench.executor_with(settings("two"), client(&moto, &bench));
    let lock = step(&all[0], "alice");
    let parameters = json!({ "UserName": "alice", "Tags": [{ "Key": "security:case", "Value": "c1" }] });
    let tag = Request { service: "iam".to_owned(), operation: "TagUser".to_owned(), parameters, region: None };
    let allow = json!({
        "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": ["iam:TagUser"], "Resource": ["*"] }],
    });
    let scope = Scope { account: ACCOUNT.to_owned(), case: "c1".to_owned(), session_policy: allow.to_string() };
    client(&moto, &bench).call(&scope, &tag).await.expect("tagged");
    let before = account.state();
    let key = bench.approve(&executor, "c1", &lock).await;
    live(&bench, &executor, &key, None).await;
    let life = bench.record(&executor, &key).await.life;
    assert_eq!(life.outcome(), Some(Outcome::Failed));
    assert!(life.evidence.iter().any(|line| line.text.contains("stands already")), "{:#?}", life.evidence);
    assert_eq!(account.state(), before);
    bench.verify_audit().await;
}

/// An AWS that forgets what one operation is told.
struct Forgetful(Arc<dyn Aws>, &'static str);

#[async_trait]
impl Aws for Forgetful {
    async fn call(&self, scope: &Scope, request: &Request) -> Result<Value, AwsError> {
        if request.operation == self.1 { Ok(json!({})) } else { self.0.call(scope, request).await }
    }
}

#[tokio::test]
async fn a_drill_tells_a_good_life_from_a_bad_one() {
    let moto = Moto::start();
    let bench = Bench::new().await;
    let mut account = Account::on(&moto);
    account.ask("set-up");
    let before = account.state();
    let aws = client(&moto, &bench);
    let now = trailwarden_core::time::Timestamp::from_millis(T0);
    let action = step(&own(LOCK), "alice");
    let told = drill::run(&action, "c1", Arc::clone(&aws), now).await.expect("goes on");
    assert!(told.is_good(), "{told:#?}");
    assert!(told.seen.iter().all(|seen| seen.changed() && seen.is_back()), "{:#?}", told.seen);
    assert!(told.audit.iter().any(|entry| entry.what == "undone"), "{:#?}", told.audit);
    assert_eq!(account.state(), before);
    let unapplied = drill::run(&action, "c2", Arc::new(Forgetful(Arc::clone(&aws), "PutUserPolicy")), now).await;
    let unapplied = unapplied.expect("goes on");
    assert!(!unapplied.is_good() && !unapplied.stood, "{unapplied:#?}");
    let left = drill::run(&action, "c3", Arc::new(Forgetful(aws, "DeleteUserPolicy")), now).await.expect("goes on");
    assert!(!left.is_good() && left.stood, "{left:#?}");
}
