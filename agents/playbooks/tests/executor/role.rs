//! The executor as a role: orders come, time passes, processes end, and everything that was allowed comes to its outcome.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trailwarden_bus::{Bus, Consumer, Layout, Memory, Stream, Subject, Subscription};
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::response::approval::Intent;
use trailwarden_core::response::life::State;
use trailwarden_core::time::Timestamp;
use trailwarden_playbooks::aws::Aws;
use trailwarden_playbooks::executor::{Config, Deps, Record, run};
use trailwarden_runtime::Clock;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::Readiness;

use crate::bench::{self, ACCOUNT, Bench, T0, TENANT, action};
use crate::deaf::Deaf;
use crate::twin::Twin;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(12 * 3_600);

fn start(bench: &Bench, twin: &Arc<Twin>, clock: &Clock, name: &str, stop: &CancellationToken) -> JoinHandle<()> {
    start_on(Arc::clone(&bench.bus), bench, twin, clock, name, stop)
}

fn start_on(
    bus: Arc<dyn Bus>,
    bench: &Bench,
    twin: &Arc<Twin>,
    clock: &Clock,
    name: &str,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let config = Config { settings: bench.settings(name) };
    let deps = Deps {
        bus,
        aws: Arc::clone(twin) as Arc<dyn Aws>,
        key: Arc::clone(&bench.executor_key),
        clock: Arc::clone(clock),
        readiness: Readiness::default(),
        metrics: Metrics::nowhere(),
    };
    let stop = stop.clone();
    tokio::spawn(async move { run(config, deps, stop).await.expect("until it is told to stop") })
}

/// What the bus tells of actions' lives.
async fn lives(bus: &dyn Bus) -> Box<dyn Subscription> {
    let consumer = Consumer {
        stream: Stream::Action,
        name: "test".to_owned(),
        filter: format!("tw.action.{TENANT}.life.>"),
        in_flight_max: 1,
        ack_wait: PATIENCE,
        deliveries_max: 1,
        idle_max: None,
    };
    bus.subscribe(&consumer).await.expect("in memory")
}

/// Waits until an action is in a state.
async fn until(lives: &mut dyn Subscription, state: State) -> Record {
    loop {
        let delivery = lives.next(PATIENCE).await.expect("in memory").expect("it goes on");
        let record: Record = serde_json::from_slice(&delivery.message().payload).expect("a record");
        delivery.ack().await.expect("in memory");
        if record.life.state == state {
            return record;
        }
    }
}

/// A world whose clocks go with tokio's.
async fn world() -> (Clock, Bench, Arc<Twin>) {
    let began = Instant::now();
    let clock: Clock = Arc::new(move || {
        Timestamp::from_millis(T0).plus_ms(i64::try_from(began.elapsed().as_millis()).expect("hours"))
    });
    // Its messages have to stay for as long as a lease, which a layout in memory is not made for.
    let bus = Memory::with_clock(Arc::clone(&clock));
    bus.set_up(&Layout::single(TENANT, 1)).await.expect("in memory");
    (clock, Bench::on(Arc::new(bus), bench::Clock::new(T0)), Arc::new(Twin::default()))
}

#[tokio::test(start_paused = true)]
async fn no_order_is_lost_for_trouble_of_the_bus() {
    let (clock, bench, twin) = world().await;
    let mut told = lives(bench.bus.as_ref()).await;
    let bus = Deaf::to(Arc::clone(&bench.bus), &Subject::whole(Stream::Audit, TENANT));
    let stop = CancellationToken::new();
    let role = start_on(bus.clone(), &bench, &twin, &clock, "one", &stop);
    tokio::time::sleep(Duration::from_secs(1)).await;
    bus.shut();
    let proposal = bench.proposal("c1", &action(Playbook::QuarantineUserHard, ACCOUNT, "alice"));
    bench.send("c1", &proposal, bench.sign(&bench.order(Intent::Approve, "c1", &proposal, "ann"))).await;
    // Far longer than the half hour that an approval holds.
    tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(twin.count("PutUserPolicy"), 0);
    bus.open();
    until(told.as_mut(), State::Verified).await;
    stop.cancel();
    role.await.expect("no panic");
    bench.verify_audit().await;
}

/// Who dies while a step is read back leaves no hole in which an attacker could take it away unseen.
#[tokio::test(start_paused = true)]
async fn who_dies_over_a_look_is_followed_within_seconds() {
    let (clock, bench, twin) = world().await;
    let mut told = lives(bench.bus.as_ref()).await;
    let stop = CancellationToken::new();
    let first = start(&bench, &twin, &clock, "first", &stop);
    let second = start(&bench, &twin, &clock, "second", &stop);
    let proposal = bench.proposal("c1", &action(Playbook::QuarantineUserHard, ACCOUNT, "alice"));
    bench.send("c1", &proposal, bench.sign(&bench.order(Intent::Approve, "c1", &proposal, "ann"))).await;
    let applied = until(told.as_mut(), State::Applied).await;
    // Whoever begins to look dies over it.
    let looking = until(told.as_mut(), State::Applied).await;
    let (dies, lives_on) = if looking.holder == "first" { (&first, "second") } else { (&second, "first") };
    dies.abort();
    let began = clock();
    let next = loop {
        let record = until(told.as_mut(), State::Applied).await;
        if record.holder == lives_on {
            break record;
        }
    };
    let waited_ms = clock().since_ms(began);
    assert!(waited_ms <= 12_000, "{waited_ms} ms, {} {}", applied.holder, next.holder);
    until(told.as_mut(), State::Verified).await;
    stop.cancel();
    bench.verify_audit().await;
}

#[tokio::test(start_paused = true)]
async fn a_role_that_ends_at_any_time_leaves_its_work_to_the_next() {
    let (clock, bench, twin) = world().await;
    let quarantine: Action = action(Playbook::QuarantineUserHard, ACCOUNT, "alice");
    let mut told = lives(bench.bus.as_ref()).await;

    let stop = CancellationToken::new();
    let first = start(&bench, &twin, &clock, "first", &stop);
    let proposal = bench.proposal("c1", &quarantine);
    bench.send("c1", &proposal, bench.sign(&bench.order(Intent::Approve, "c1", &proposal, "ann"))).await;
    let record = until(told.as_mut(), State::Applied).await;
    assert_eq!((record.holder.as_str(), record.approvers.as_slice()), ("first", &["ann".to_owned()][..]));
    // As by `kill -9`, in the middle of looking whether it stands.
    first.abort();

    let second = start(&bench, &twin, &clock, "second", &stop);
    let record = until(told.as_mut(), State::Verified).await;
    assert_eq!(record.holder, "second");
    assert_eq!(twin.count("PutUserPolicy"), 1);
    // Told to stop, it stops; who starts later undoes what it finds when the lease ends.
    stop.cancel();
    second.await.expect("no panic");
    let stop = CancellationToken::new();
    let third = start(&bench, &twin, &clock, "third", &stop);
    let record = until(told.as_mut(), State::Undone).await;
    assert_eq!(record.holder, "third");
    assert!(record.life.evidence.iter().any(|line| line.text.starts_with("the lease ended")));
    assert!(twin.is_clean());
    stop.cancel();
    third.await.expect("no panic");
    bench.verify_audit().await;
}
