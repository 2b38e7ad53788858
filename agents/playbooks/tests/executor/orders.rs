//! Orders of people: who may order what, and what becomes of orders that are none.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::Notify;
use trailwarden_bus::{Outgoing, Subject};
use trailwarden_core::alert::Kind;
use trailwarden_core::level::Severity;
use trailwarden_core::plan::Playbook;
use trailwarden_core::resource::ResourceKind;
use trailwarden_core::response::approval::{APPROVAL_MS, Intent, Order};
use trailwarden_core::response::life::{Outcome, State, Work};
use trailwarden_core::time::{HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};
use trailwarden_playbooks::GoodTrail;
use trailwarden_playbooks::aws::{Aws, AwsError, Request, Scope};
use trailwarden_playbooks::executor::{Executor, Record, Settings, Turn as ExecutorTurn};
use trailwarden_proto::{v1, wire};

use crate::bench::{ACCOUNT, Bench, TENANT, action};
use crate::deaf::Deaf;
use crate::twin::{Twin, quarantine};

#[tokio::test]
async fn refused_orders_do_nothing_and_are_written_down() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let executor = bench.executor("one", Arc::clone(&twin) as Arc<dyn Aws>);
    let proposal = bench.proposal("c1", &quarantine());
    let good = bench.order(Intent::Approve, "c1", &proposal, "ann");
    let own = proposal.replace("\"council\"", "\"ann\"");
    let own_order = bench.order(Intent::Approve, "c1", &own, "ann");
    let others = bench.order(Intent::Approve, "c1", &own, "bob");
    let mut forged = bench.sign(&bench.order(Intent::Approve, "c1", &proposal, "ann"));
    forged.order = forged.order.replace("seen", "sees");
    let expired = Order {
        signed_at: bench.clock.now().plus_ms(-APPROVAL_MS - 1),
        expires_at: bench.clock.now().plus_ms(-1),
        ..bench.order(Intent::Approve, "c1", &proposal, "ann")
    };
    let changed = proposal.replacen("\"UserName\":\"alice\"", "\"UserName\":\"alicf\"", 1);
    assert_ne!(changed, proposal);
    let for_changed = bench.order(Intent::Approve, "c1", &changed, "ann");
    let blind = proposal.replace(r#","rehearsed":{"skipped":"there is no past"}"#, "");
    assert_ne!(blind, proposal);
    let for_blind = bench.order(Intent::Approve, "c1", &blind, "ann");
    let orders = [
        (proposal.as_str(), forged, "forged"),
        (proposal.as_str(), bench.sign(&expired), "stale"),
        (changed.as_str(), bench.sign(&good), "not the one that ann approved"),
        (own.as_str(), bench.sign(&own_order), "asked for it"),
        (own.as_str(), bench.sign(&others), "has not signed for that"),
        // What the approver signed is not what this executor would do.
        (changed.as_str(), bench.sign(&for_changed), "not those that this executor would make"),
        (blind.as_str(), bench.sign(&for_blind), "nobody rehearsed it"),
    ];
    for (text, signed, why) in orders {
        let message = bench.send("c1", text, signed).await;
        executor.take(&message).await.expect("taken");
        let (what, detail) = bench.audit().await.pop().expect("an entry");
        assert_eq!(what, "refused", "{why}");
        assert!(detail.contains(why), "{detail}");
    }
    assert_eq!(executor.next_due(), None);
    // Each calls a person, and says why.
    let alerts = bench.alerts().await;
    assert!(alerts.iter().all(|alert| alert.kind == Kind::CallAdministrator && alert.principal == "c1"));
    assert_eq!(alerts.len(), 7);
    assert!(alerts[0].what.contains("forged"), "{}", alerts[0].what);

    // Taken once; the same message again is no second order, the same order in a second message is one replayed.
    let again = bench.order(Intent::Approve, "c1", &proposal, "bob");
    let first = bench.send("c1", &proposal, bench.sign(&again)).await;
    executor.take(&first).await.expect("taken");
    assert!(executor.next_due().is_some());
    let (what, detail) = bench.audit().await.pop().expect("an entry");
    assert_eq!((what.as_str(), detail.contains("not rehearsed: there is no past (rehearsal ")), ("approved", true));
    let second = bench.send("c1", &proposal, bench.sign(&again)).await;
    executor.take(&second).await.expect("taken");
    let (what, detail) = bench.audit().await.pop().expect("an entry");
    assert_eq!((what.as_str(), detail.contains("taken before")), ("refused", true), "{detail}");
    bench.verify_audit().await;
    assert_eq!(twin.count("PutUserPolicy"), 0);
}

#[tokio::test]
async fn an_alert_tells_of_the_case_that_the_council_logged() {
    let bench = Bench::new().await;
    let case = v1::Case {
        id: "c1".to_owned(),
        account: ACCOUNT.to_owned(),
        principal: "mallory".to_owned(),
        verdict: "malicious".to_owned(),
        severity: "critical".to_owned(),
        last_event_time_ms: 1_000,
        ..v1::Case::default()
    };
    let entry =
        v1::CaseTransition { number: 1, case: Some(case), kind: v1::TransitionKind::Judged.into(), sequence: 0 };
    let message = Outgoing { payload: wire::pack(&entry), ..Outgoing::default() };
    bench.bus.publish(&Subject::case(TENANT, "c1"), message).await.expect("stored");
    let executor = bench.executor("one", Arc::new(Twin::default()));
    let junk = Outgoing { payload: "junk".into(), ..Outgoing::default() };
    let order = Subject::order(TENANT, "c1");
    bench.bus.publish(&order, junk).await.expect("stored");
    let stored = bench.bus.last(&order).await.expect("answers").expect("the order");
    // Delivered twice, it is told of once.
    for _ in 0..2 {
        executor.take(&stored).await.expect("taken");
    }
    let [alert] = &bench.alerts().await[..] else { panic!("one alert") };
    assert_eq!((alert.principal.as_str(), alert.account.as_str()), ("mallory", ACCOUNT));
    assert_eq!((alert.severity, alert.verdict.as_str()), (Severity::Critical, "malicious"));
    assert_eq!(alert.receipt.event, Some(Timestamp::from_millis(1_000)));
    assert!(alert.receipt.judged.is_some());
}

#[tokio::test]
async fn two_persons_a_denial_and_an_order_to_undo() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let mut settings = bench.settings("one");
    settings.limits.protected.insert("alice".to_owned());
    let executor = bench.executor_with(settings, Arc::clone(&twin) as Arc<dyn Aws>);
    let proposal = bench.proposal("c1", &quarantine());
    let send = async |intent, who: &str| {
        let signed = bench.sign(&bench.order(intent, "c1", &proposal, who));
        let message = bench.send("c1", &proposal, signed).await;
        executor.take(&message).await.expect("taken");
        bench.audit().await.pop().expect("an entry")
    };
    // Alice is protected: one person is not enough.
    assert!(send(Intent::Approve, "ann").await.1.contains("two persons"));
    assert!(executor.next_due().is_none());
    assert_eq!(send(Intent::Deny, "bob").await.0, "denied");
    let (what, detail) = send(Intent::Approve, "ann").await;
    assert_eq!((what.as_str(), detail.contains("bob denied it")), ("refused", true), "{detail}");

    let free = bench.executor("two", Arc::clone(&twin) as Arc<dyn Aws>);
    let key = bench.approve(&free, "c2", &quarantine()).await;
    free.step(&key).await.expect("captured");
    free.step(&key).await.expect("joined");
    free.step(&key).await.expect("applied");
    let undo = bench.sign(&bench.order(Intent::Undo, "c2", "", "bob"));
    let message = bench.send("c2", "", undo).await;
    free.take(&message).await.expect("taken");
    let due = bench.record(&free, &key).await.life.due().expect("due");
    assert_eq!(due.1, Work::Undo);
    bench.clock.turn_to(due.0.plus_ms(SECOND_MS));
    free.step(&key).await.expect("undone");
    free.step(&key).await.expect("checked");
    assert_eq!(bench.record(&free, &key).await.life.outcome(), Some(Outcome::Undone));
    assert!(twin.is_clean());
    bench.verify_audit().await;
}

#[tokio::test]
async fn an_order_to_undo_reaches_what_another_executor_began_a_moment_ago() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let one = bench.executor("one", Arc::clone(&twin) as Arc<dyn Aws>);
    let key = bench.approve(&one, "c1", &quarantine()).await;
    one.step(&key).await.expect("captured");
    one.step(&key).await.expect("joined");
    one.step(&key).await.expect("applied");
    // It has followed nothing yet.
    let other = bench.executor("other", Arc::clone(&twin) as Arc<dyn Aws>);
    let undo = bench.send("c1", "", bench.sign(&bench.order(Intent::Undo, "c1", "", "bob"))).await;
    other.take(&undo).await.expect("taken");
    one.step(&key).await.expect("undone");
    one.step(&key).await.expect("checked");
    assert_eq!(bench.record(&one, &key).await.life.outcome(), Some(Outcome::Undone));
    assert!(twin.is_clean());
    // Of a case of which nothing stands there is nothing to undo.
    for case in ["c1", "c2"] {
        let again = bench.send(case, "", bench.sign(&bench.order(Intent::Undo, case, "", "bob"))).await;
        other.take(&again).await.expect("taken");
        let (what, detail) = bench.audit().await.pop().expect("an entry");
        assert_eq!(
            (what.as_str(), detail.contains("nothing of this case stands")),
            ("refused", true),
            "{case}: {detail}"
        );
    }
    bench.verify_audit().await;
}

#[tokio::test]
async fn a_lease_is_renewed_by_its_length_and_no_order_makes_it_shorter() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let executor = bench.executor("one", Arc::clone(&twin) as Arc<dyn Aws>);
    let key = bench.approve(&executor, "c1", &quarantine()).await;
    let until = |record: Record| record.life.lease_until.expect("it can be undone");
    let before = until(bench.record(&executor, &key).await);
    bench.clock.turn_to(bench.clock.now().plus_ms(HOUR_MS));
    let renew = async || {
        let signed = bench.sign(&bench.order(Intent::Renew, "c1", "", "ann"));
        executor.take(&bench.send("c1", "", signed).await).await.expect("taken");
        until(bench.record(&executor, &key).await)
    };
    let renewed = renew().await;
    assert_eq!(renewed, bench.clock.now().plus_ms(2 * HOUR_MS));
    assert!(renewed > before);
    // At the same moment there is nothing to add.
    assert_eq!(renew().await, renewed);
    assert_eq!(bench.audit().await.pop().expect("an entry").0, "refused");
    bench.verify_audit().await;
}

/// What two persons agreed to, one does not prolong.
#[tokio::test]
async fn whoever_prolongs_a_step_could_have_approved_it() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let settings = Settings { management_account: Some(ACCOUNT.to_owned()), ..bench.settings("one") };
    let executor = bench.executor_with(settings, Arc::clone(&twin) as Arc<dyn Aws>);
    let key = bench.approve(&executor, "c1", &action(Playbook::ScpQuarantine, ACCOUNT, ACCOUNT)).await;
    let until = async || bench.record(&executor, &key).await.life.lease_until;
    let before = until().await;
    let renew = async |who: &str| {
        let signed = bench.sign(&bench.order(Intent::Renew, "c1", "", who));
        executor.take(&bench.send("c1", "", signed).await).await.expect("taken");
        until().await
    };
    bench.clock.turn_to(bench.clock.now().plus_ms(HOUR_MS));
    assert_eq!((renew("ann").await, renew("ann").await), (before, before));
    bench.clock.turn_to(bench.clock.now().plus_ms(APPROVAL_MS));
    assert_eq!(renew("bob").await, before, "ann's was too long ago");
    assert_eq!(renew("ann").await, Some(bench.clock.now().plus_ms(2 * HOUR_MS)));
    bench.verify_audit().await;
}

/// What is asked for in the council's name is what the council and the operator say, down to the kind of the target.
#[tokio::test]
async fn what_does_not_fit_its_playbook_or_what_the_operator_wrote_down_is_not_begun() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let good: GoodTrail = serde_json::from_value(serde_json::json!({
        "account": ACCOUNT, "trail": "main", "S3BucketName": "trail-logs-example",
    }))
    .expect("a trail");
    let restore = action(Playbook::RestoreTrail, ACCOUNT, "main");
    let supplied = bench.proposal_with("c1", std::slice::from_ref(&restore), std::slice::from_ref(&good));
    let mut misfit = quarantine();
    misfit.target.kind = ResourceKind::Instance;
    let unknowing = bench.executor("one", Arc::clone(&twin) as Arc<dyn Aws>);
    let elsewhere = supplied.replace("trail-logs-example", "another-bucket");
    for proposal in [supplied.clone(), elsewhere] {
        let key = bench.approve_proposal(&unknowing, "c1", &proposal, &restore).await;
        assert!(unknowing.record(&key).await.expect("answers").is_none());
        let (what, detail) = bench.audit().await.pop().expect("an entry");
        assert_eq!((what.as_str(), detail.contains("executor.trails")), ("refused", true), "{detail}");
    }
    // What a person asks for in their own name fits its playbook too.
    let asked = bench.proposal("c2", &misfit).replace("\"council\"", "\"ann\"");
    for (intent, who) in [(Intent::Propose, "ann"), (Intent::Approve, "bob")] {
        let signed = bench.sign(&bench.order(intent, "c2", &asked, who));
        unknowing.take(&bench.send_unplanned("c2", &asked, signed).await).await.expect("taken");
    }
    let (what, detail) = bench.audit().await.pop().expect("an entry");
    assert_eq!((what.as_str(), detail.contains("does not act on such a thing")), ("refused", true), "{detail}");
    let settings = Settings { trails: vec![good], ..bench.settings("two") };
    let knowing = bench.executor_with(settings, Arc::clone(&twin) as Arc<dyn Aws>);
    let key = bench.approve_proposal(&knowing, "c1", &supplied, &restore).await;
    assert!(knowing.record(&key).await.expect("answers").is_some());
    bench.verify_audit().await;
}

/// An AWS whose answer to a put waits until it is told to go on.
#[derive(Default)]
struct Slow {
    twin: Twin,
    is_reached: Notify,
    may_go_on: Notify,
}

#[async_trait]
impl Aws for Slow {
    async fn call(&self, scope: &Scope, request: &Request) -> Result<Value, AwsError> {
        let answer = self.twin.call(scope, request).await;
        if request.operation == "PutUserPolicy" {
            self.is_reached.notify_one();
            self.may_go_on.notified().await;
        }
        answer
    }
}

/// One executor at its put, which waits while another takes an order; both end.
async fn ordered_in_mid_call(intent: Intent) -> (Bench, Arc<Slow>, Executor, String) {
    let bench = Bench::new().await;
    let slow = Arc::new(Slow::default());
    let one = bench.executor("one", Arc::clone(&slow) as Arc<dyn Aws>);
    let other = bench.executor("other", Arc::new(Twin::default()));
    let key = bench.approve(&one, "c1", &quarantine()).await;
    for _ in 0..2 {
        one.step(&key).await.expect("captured, and joined");
    }
    bench.clock.turn_to(bench.clock.now().plus_ms(SECOND_MS));
    let order = async {
        slow.is_reached.notified().await;
        let signed = bench.sign(&bench.order(intent, "c1", "", "ann"));
        other.take(&bench.send("c1", "", signed).await).await.expect("taken");
        slow.may_go_on.notify_one();
    };
    let (turn, ()) = tokio::join!(one.step(&key), order);
    assert_eq!(turn.expect("goes on"), ExecutorTurn::Elsewhere);
    (bench, slow, one, key)
}

#[tokio::test]
async fn an_order_in_the_middle_of_a_call_makes_nobody_call_again() {
    let (bench, slow, one, key) = ordered_in_mid_call(Intent::Renew).await;
    one.step(&key).await.expect("looked");
    assert_eq!(slow.twin.count("PutUserPolicy"), 1);
    assert_eq!(bench.record(&one, &key).await.life.state, State::Applied);
    bench.verify_audit().await;
}

/// Whatever a look would show: what was put may be on its way.
#[tokio::test]
async fn an_undo_that_is_ordered_in_the_middle_of_a_call_is_made() {
    let (bench, slow, one, key) = ordered_in_mid_call(Intent::Undo).await;
    one.step(&key).await.expect("undone");
    assert_eq!((slow.twin.count("DeleteUserPolicy"), slow.twin.is_clean()), (1, true));
    bench.verify_audit().await;
}

/// What another version began, whose calls are others, is left alone, and people hear of it.
#[tokio::test]
async fn calls_that_were_not_signed_are_not_made() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let executor = bench.executor("one", Arc::clone(&twin) as Arc<dyn Aws>);
    let key = bench.approve(&executor, "c1", &quarantine()).await;
    let older = Record { calls: "0".repeat(64), ..bench.record(&executor, &key).await };
    let payload = serde_json::to_vec(&older).expect("writes").into();
    let subject = Subject::action(TENANT, "life", &key);
    bench.bus.publish(&subject, Outgoing { payload, ..Outgoing::default() }).await.expect("stored");
    for _ in 0..2 {
        let refused = executor.step(&key).await.expect_err("left alone").to_string();
        assert!(refused.contains("not those that were signed"), "{refused}");
    }
    let undo = bench.sign(&bench.order(Intent::Undo, "c1", "", "bob"));
    executor.take(&bench.send("c1", "", undo).await).await.expect("taken");
    let refusals = bench.audit().await.into_iter().filter(|(_, detail)| detail.contains("not those that were signed"));
    assert_eq!(refusals.map(|(what, _)| what).collect::<Vec<_>>(), ["refused", "refused"], "the look, and the order");
    assert_eq!(twin.count("GetUserPolicy") + twin.count("PutUserPolicy"), 0);
    let told = bench.alerts().await;
    assert!(told.iter().any(|alert| format!("{alert:?}").contains("not those that were signed")), "{told:?}");
}

/// What nobody signed takes no order's place, and fills no log.
#[tokio::test]
async fn orders_that_nobody_signed_block_nothing() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let executor = bench.executor("one", Arc::clone(&twin) as Arc<dyn Aws>);
    let proposal = bench.proposal("c1", &quarantine());
    let mut nonsense = bench.sign(&bench.order(Intent::Deny, "c1", &proposal, "ann"));
    nonsense.signature.clear();
    for _ in 0..200 {
        executor.take(&bench.send("c1", "", nonsense.clone()).await).await.expect("taken");
    }
    assert_eq!(bench.audit().await.iter().filter(|(what, _)| what == "refused").count(), 16);
    bench.clock.turn_to(bench.clock.now().plus_ms(10 * MINUTE_MS));
    executor.tell_held_back().await.expect("told");
    let (what, detail) = bench.audit().await.pop().expect("an entry");
    assert_eq!((what.as_str(), detail.contains("184 forged")), ("refused", true), "{detail}");
    let key = bench.approve(&executor, "c1", &quarantine()).await;
    assert_eq!(executor.next_due().map(|(_, due)| due), Some(key));
    bench.verify_audit().await;
}

/// An approver may send many: none of them hides a denial, and what stands can be taken back.
#[tokio::test]
async fn a_denial_behind_many_orders_is_not_overlooked() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let executor = bench.executor("one", Arc::clone(&twin) as Arc<dyn Aws>);
    let standing = bench.approve(&executor, "c1", &action(Playbook::QuarantineUserHard, ACCOUNT, "mallory")).await;
    let proposal = bench.proposal("c1", &quarantine());
    for _ in 0..70 {
        let asks = bench.sign(&bench.order(Intent::Propose, "c1", &proposal, "ann"));
        executor.take(&bench.send("c1", &proposal, asks).await).await.expect("taken");
    }
    for intent in [Intent::Deny, Intent::Approve] {
        let signed = bench.sign(&bench.order(intent, "c1", &proposal, "bob"));
        executor.take(&bench.send("c1", &proposal, signed).await).await.expect("taken");
    }
    let (what, detail) = bench.audit().await.pop().expect("an entry");
    assert_eq!((what.as_str(), detail.contains("as many orders")), ("refused", true), "{detail}");
    assert_eq!(executor.next_due().map(|(_, due)| due), Some(standing.clone()));
    let undo = bench.sign(&bench.order(Intent::Undo, "c1", "", "bob"));
    executor.take(&bench.send("c1", "", undo).await).await.expect("taken");
    assert_eq!(bench.record(&executor, &standing).await.life.outcome(), Some(Outcome::Undone));
    bench.verify_audit().await;
}

#[tokio::test]
async fn a_denial_holds_for_good_and_an_order_for_as_long_as_it_takes_an_executor_to_come() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let executor = bench.executor("one", Arc::clone(&twin) as Arc<dyn Aws>);
    let (denied, late) = (bench.proposal("c1", &quarantine()), bench.proposal("c2", &quarantine()));
    let signed = bench.sign(&bench.order(Intent::Deny, "c1", &denied, "bob"));
    bench.send("c1", &denied, signed).await;
    let waiting = bench.sign(&bench.order(Intent::Approve, "c2", &late, "ann"));
    let waiting = bench.send("c2", &late, waiting).await;
    bench.clock.turn_to(bench.clock.now().plus_ms(3 * HOUR_MS));
    let approve = async |case: &str, proposal: &str| {
        let signed = bench.sign(&bench.order(Intent::Approve, case, proposal, "ann"));
        executor.take(&bench.send(case, proposal, signed).await).await.expect("taken");
        bench.audit().await.pop().expect("an entry")
    };
    // Long after the denial could be sent anew.
    let (what, detail) = approve("c1", &denied).await;
    assert_eq!((what.as_str(), detail.contains("bob denied it")), ("refused", true), "{detail}");
    // Nobody was there to take this one for hours; it was good when it was stored.
    executor.take(&waiting).await.expect("taken");
    assert!(executor.next_due().is_some());
    // What is older than a day is nobody's to approve, nor to begin.
    let old = bench.proposal("c3", &quarantine());
    let signed = bench.sign(&bench.order(Intent::Approve, "c3", &old, "ann"));
    let stored = bench.send("c3", &old, signed).await;
    bench.clock.turn_to(bench.clock.now().plus_ms(25 * HOUR_MS));
    executor.take(&stored).await.expect("taken");
    for (what, detail) in [bench.audit().await.pop().expect("an entry"), approve("c3", &old).await] {
        assert_eq!((what.as_str(), detail.contains("longer ago than a day")), ("refused", true), "{detail}");
    }
    bench.verify_audit().await;
}

#[tokio::test]
async fn what_the_council_did_not_plan_is_asked_for_by_a_person_and_approved_by_another() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let executor = bench.executor("one", Arc::clone(&twin) as Arc<dyn Aws>);
    let proposal = bench.proposal("c1", &quarantine());
    let send = async |intent, text: &str, who: &str| {
        let signed = bench.sign(&bench.order(intent, "c1", text, who));
        executor.take(&bench.send_unplanned("c1", text, signed).await).await.expect("taken");
        bench.audit().await.pop().expect("an entry")
    };
    bench.plan("c1", &[action(Playbook::QuarantineUserHard, ACCOUNT, "mallory")]).await;
    let (what, detail) = send(Intent::Approve, &proposal, "ann").await;
    assert_eq!((what.as_str(), detail.contains("no step of the council's plan")), ("refused", true), "{detail}");
    let asked = proposal.replace("\"council\"", "\"ann\"");
    // Who is named has to sign for it; who signs has to be named.
    assert!(send(Intent::Approve, &asked, "bob").await.1.contains("has not signed for that"));
    assert!(send(Intent::Propose, &asked, "bob").await.1.contains("has not signed for that"));
    assert_eq!(send(Intent::Propose, &asked, "ann").await.0, "asked");
    let (what, detail) = send(Intent::Approve, &asked, "ann").await;
    assert_eq!((what.as_str(), detail.contains("ann asked for it")), ("refused", true), "{detail}");
    assert_eq!(executor.next_due(), None);
    let (what, detail) = send(Intent::Approve, &asked, "bob").await;
    assert_eq!((what.as_str(), detail.contains("asked for by ann")), ("approved", true), "{detail}");
    assert!(executor.next_due().is_some());
    bench.verify_audit().await;
}

#[tokio::test]
async fn the_kill_switch_stops_what_is_approved_and_lets_undo_what_stands() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let executor = bench.executor("one", Arc::clone(&twin) as Arc<dyn Aws>);
    let (waiting, standing) = (quarantine(), action(Playbook::QuarantineUserHard, ACCOUNT, "bob"));
    let waiting = bench.approve(&executor, "c1", &waiting).await;
    let standing = bench.approve(&executor, "c2", &standing).await;
    executor.step(&standing).await.expect("captured");
    executor.step(&standing).await.expect("joined");
    executor.step(&standing).await.expect("applied");
    let mut settings = bench.settings("two");
    settings.limits.kill_switch = true;
    let stopped = bench.executor_with(settings, Arc::clone(&twin) as Arc<dyn Aws>);
    // What the first one holds is free again.
    bench.clock.turn_to(bench.clock.now().plus_ms(HOUR_MS / 30));
    for _ in 0..8 {
        let Some((at, _)) = bench.record(&stopped, &waiting).await.life.due() else { break };
        bench.clock.turn_to(at);
        stopped.step(&waiting).await.expect("goes on");
    }
    assert_eq!(bench.record(&stopped, &waiting).await.life.outcome(), Some(Outcome::Failed));
    let signed = bench.sign(&bench.order(Intent::Undo, "c2", "", "ann"));
    stopped.take(&bench.send("c2", "", signed).await).await.expect("taken");
    for _ in 0..8 {
        let Some((at, _)) = bench.record(&stopped, &standing).await.life.due() else { break };
        bench.clock.turn_to(at);
        stopped.step(&standing).await.expect("goes on");
    }
    assert_eq!(bench.record(&stopped, &standing).await.life.outcome(), Some(Outcome::Undone));
    assert_eq!(twin.count("PutUserPolicy"), 1);
    assert!(twin.is_clean());
    bench.verify_audit().await;
}

#[tokio::test]
async fn an_action_that_fails_each_time_keeps_nobody_waiting() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let bad_key = trailwarden_core::response::idempotency_key("c1", &quarantine());
    let bus = Deaf::to(Arc::clone(&bench.bus), &Subject::action(TENANT, "life", &bad_key));
    let executor = bench.executor_on(bus.clone(), "one", Arc::clone(&twin) as Arc<dyn Aws>);
    bench.approve(&executor, "c1", &quarantine()).await;
    bench.clock.turn_to(bench.clock.now().plus_ms(SECOND_MS));
    let good = bench.approve(&executor, "c2", &action(Playbook::QuarantineUserHard, ACCOUNT, "bob")).await;
    bus.shut();
    let (mut failed, mut moved) = (0, 0);
    // A minute of an executor's life.
    let end = bench.clock.now().plus_ms(MINUTE_MS);
    while let Some((at, key)) = executor.next_due().filter(|(at, _)| *at <= end) {
        bench.clock.turn_to(at);
        match executor.step(&key).await {
            Ok(_) => moved += 1,
            Err(_) => failed += 1,
        }
        assert!(failed + moved < 100, "{failed} {moved}");
    }
    assert!((3..8).contains(&failed), "{failed}");
    assert_eq!(bench.record(&executor, &good).await.life.state, State::Verified);
    // Once it can, it goes on.
    bus.open();
    while bench.record(&executor, &bad_key).await.life.state != State::Verified {
        let (at, key) = executor.next_due().expect("something is due");
        bench.clock.turn_to(at);
        executor.step(&key).await.expect("goes on");
    }
}
