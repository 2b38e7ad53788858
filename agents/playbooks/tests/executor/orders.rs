//! Orders of people: who may order what, and what becomes of orders that are none.

use std::sync::Arc;

use trailwarden_bus::{Outgoing, Subject};
use trailwarden_core::alert::Kind;
use trailwarden_core::level::Severity;
use trailwarden_core::plan::Playbook;
use trailwarden_core::response::approval::{APPROVAL_MS, Intent, Order};
use trailwarden_core::response::life::{Outcome, Work};
use trailwarden_core::time::{HOUR_MS, SECOND_MS, Timestamp};
use trailwarden_playbooks::aws::Aws;
use trailwarden_playbooks::executor::{LEASE_MS_MAX, Record};
use trailwarden_proto::{v1, wire};

use crate::bench::{ACCOUNT, Bench, TENANT, action};
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
    assert_eq!(alerts.len(), 6);
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
    let order = Subject::action(TENANT, "order", "c1");
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
async fn a_lease_is_renewed_for_a_week_and_no_order_makes_it_shorter() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let executor = bench.executor("one", Arc::clone(&twin) as Arc<dyn Aws>);
    let key = bench.approve(&executor, "c1", &quarantine()).await;
    let until = |record: Record| record.life.lease_until.expect("it can be undone");
    let before = until(bench.record(&executor, &key).await);
    let renew = async || {
        let signed = bench.sign(&bench.order(Intent::Renew, "c1", "", "ann"));
        executor.take(&bench.send("c1", "", signed).await).await.expect("taken");
        until(bench.record(&executor, &key).await)
    };
    let renewed = renew().await;
    assert_eq!(renewed, bench.clock.now().plus_ms(LEASE_MS_MAX));
    assert!(renewed > before);
    // At the same moment there is nothing to add.
    assert_eq!(renew().await, renewed);
    assert_eq!(bench.audit().await.pop().expect("an entry").0, "refused");
    bench.verify_audit().await;
}

/// Whoever may send orders may send many, unsigned ones too: none of them hides a denial.
#[tokio::test]
async fn a_denial_behind_many_orders_is_not_overlooked() {
    let bench = Bench::new().await;
    let twin = Arc::new(Twin::default());
    let executor = bench.executor("one", Arc::clone(&twin) as Arc<dyn Aws>);
    let proposal = bench.proposal("c1", &quarantine());
    let mut nonsense = bench.sign(&bench.order(Intent::Approve, "c1", &proposal, "ann"));
    nonsense.signature.clear();
    for _ in 0..70 {
        executor.take(&bench.send("c1", "", nonsense.clone()).await).await.expect("taken");
    }
    for intent in [Intent::Deny, Intent::Approve] {
        let signed = bench.sign(&bench.order(intent, "c1", &proposal, "bob"));
        executor.take(&bench.send("c1", &proposal, signed).await).await.expect("taken");
    }
    let (what, detail) = bench.audit().await.pop().expect("an entry");
    assert_eq!((what.as_str(), detail.contains("more than 64 orders")), ("refused", true), "{detail}");
    assert_eq!(executor.next_due(), None);
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
