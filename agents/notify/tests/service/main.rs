//! The role as a whole: from the bus to what channels were told, with time that goes when the test says so.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trailwarden_bus::{Bus, Connection, JetStream, Layout, Memory, Outgoing, Stream, Subject};
use trailwarden_core::alert::{Alert, Kind};
use trailwarden_core::level::Severity;
use trailwarden_core::time::{MINUTE_MS, Timestamp};
use trailwarden_notify::channel::{Channel, Error, Told};
use trailwarden_notify::config::{ChannelKind, ChannelSpec, Language, Notify, RouteSpec};
use trailwarden_notify::route::About;
use trailwarden_notify::service::{Config, Deps, run};
use trailwarden_notify::store::Store;
use trailwarden_notify::throttle::{LEASE_MS, Message, QUIET_MS};
use trailwarden_proto::convert::alert_to_wire;
use trailwarden_proto::{v1, wire};
use trailwarden_runtime::Clock;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::Readiness;
use trailwarden_servers::Nats;

const TENANT: &str = "default";
/// Long enough for anything that does come; only waited out when something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a channel does with what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Takes,
    Fails,
    Refuses,
    /// Takes it, and whoever sent it does not live to hear of that.
    Keeps,
}

/// A channel that remembers.
struct Recorder {
    name: String,
    manner: Manner,
    clock: Clock,
    told: mpsc::Sender<(String, Message, Timestamp)>,
}

#[async_trait]
impl Channel for Recorder {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Feed
    }

    async fn send(&self, told: &Told<'_>) -> Result<(), Error> {
        self.told.send((self.name.clone(), told.message.clone(), (self.clock)())).await.unwrap();
        match self.manner {
            Manner::Takes => Ok(()),
            Manner::Fails => Err(Error::Failed { why: "out of order".to_owned(), retry_after: None }),
            Manner::Refuses => Err(Error::Refused { why: "who are you".to_owned() }),
            Manner::Keeps => std::future::pending().await,
        }
    }
}

type Heard = mpsc::Receiver<(String, Message, Timestamp)>;

/// One process of the role.
struct Replica {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Replica {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn notify(channels: &[(&str, Manner)], about: &[About]) -> Notify {
    let names: Vec<String> = channels.iter().map(|(name, _)| (*name).to_owned()).collect();
    Notify {
        channels: names.iter().map(|name| ChannelSpec::new(name, ChannelKind::Feed)).collect(),
        routes: vec![RouteSpec {
            accounts: BTreeSet::new(),
            from: Severity::Medium,
            about: about.iter().copied().collect(),
            channels: names,
        }],
        ..Notify::default()
    }
}

fn start(
    bus: Arc<dyn Bus>,
    clock: &Clock,
    channels: &[(&str, Manner)],
    about: &[About],
    told: &mpsc::Sender<(String, Message, Timestamp)>,
) -> Replica {
    let router = notify(channels, about).router().unwrap();
    let config = Config { tenant: TENANT.to_owned(), router, language: Language::English, case_url: None };
    let channels = channels.iter().map(|(name, manner)| {
        let recorder = Recorder { name: (*name).to_owned(), manner: *manner, clock: clock.clone(), told: told.clone() };
        Arc::new(recorder) as Arc<dyn Channel>
    });
    let stop = CancellationToken::new();
    let deps = Deps {
        bus,
        channels: channels.collect(),
        clock: clock.clone(),
        readiness: Readiness::default(),
        metrics: Metrics::nowhere(),
    };
    let until = stop.clone();
    let task = tokio::spawn(async move { run(config, deps, until).await.unwrap() });
    Replica { task, stop }
}

/// A bus whose clock is tokio's, and that clock.
async fn in_memory() -> (Arc<dyn Bus>, Clock) {
    let start = Instant::now();
    // Some day, so that nothing is at time zero.
    let clock: Clock = Arc::new(move || {
        Timestamp::from_millis(1_774_181_403_000 + i64::try_from(start.elapsed().as_millis()).unwrap())
    });
    let bus = Memory::with_clock(clock.clone());
    bus.set_up(&Layout { kept: Duration::from_secs(86_400), ..Layout::in_memory(TENANT, 4) }).await.unwrap();
    (Arc::new(bus), clock)
}

async fn heard(told: &mut Heard) -> (String, Message, Timestamp) {
    tokio::time::timeout(Duration::from_secs(86_400), told.recv()).await.unwrap().unwrap()
}

async fn raise(bus: &dyn Bus, id: &str, principal: &str, at: Timestamp) {
    let alert = Alert::new(id, Kind::NotReady, Severity::High, at, principal);
    let payload = wire::pack(&alert_to_wire(&alert));
    bus.publish(&Subject::raised(TENANT), Outgoing { payload, ..Outgoing::default() }).await.unwrap();
}

fn signal(n: u32) -> v1::ScoredEvent {
    let activity = v1::Activity {
        event_id: format!("event-{n}"),
        account: "111122223333".to_owned(),
        principal: "arn:aws:iam::111122223333:user/ada".to_owned(),
        service: "iam".to_owned(),
        call: "CreateUser".to_owned(),
        ..v1::Activity::default()
    };
    let observation = Some(v1::Observation { activity: Some(activity), ..v1::Observation::default() });
    v1::ScoredEvent { observation, score: 0.95, ..v1::ScoredEvent::default() }
}

/// The issue's own words: 10,000 signals of one kind within 5 minutes give one message at once and one after 5 minutes that
/// counts the other 9,999, per channel. Here with two replicas at work.
#[tokio::test(start_paused = true)]
async fn ten_thousand_signals_are_two_messages_a_channel() {
    let (bus, clock) = in_memory().await;
    let (sender, mut told) = mpsc::channel(64);
    let channels = [("mail", Manner::Takes), ("pager", Manner::Takes)];
    let replicas = [(); 2].map(|()| start(bus.clone(), &clock, &channels, &[About::Anomaly], &sender));
    let began = clock();
    let mut first = BTreeMap::new();
    for batch in 0..100_u32 {
        let events = (0..100).map(|n| signal(batch * 100 + n)).collect();
        let payload = wire::pack(&v1::SignalBatch { events, ..v1::SignalBatch::default() });
        let place = Subject::partition(Stream::Signal, TENANT, u16::try_from(batch % 4).unwrap());
        bus.publish(&place, Outgoing { payload, ..Outgoing::default() }).await.unwrap();
        if batch == 0 {
            for _ in 0..2 {
                let (channel, message, at) = heard(&mut told).await;
                first.insert(channel, (message.count, message.alert.id, at.since_ms(began)));
            }
        }
        tokio::time::advance(Duration::from_millis(2_500)).await;
    }
    let at_once = (1, "event:event-0".to_owned());
    for channel in ["mail", "pager"] {
        let (count, id, after_ms) = first.remove(channel).unwrap();
        assert_eq!((count, id), at_once);
        assert!(after_ms < 1_000, "{after_ms} ms");
    }
    for _ in 0..2 {
        let (_, message, at) = heard(&mut told).await;
        assert_eq!(message.count, 9_999);
        let after_ms = at.since_ms(began);
        assert!((QUIET_MS..QUIET_MS + 5_000).contains(&after_ms), "{after_ms} ms");
    }
    // Nothing more, however long one waits.
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert!(tokio::time::timeout(Duration::from_secs(600), told.recv()).await.is_err());
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_fails_is_told_of_on_another_and_its_message_is_in_the_dead_letters() {
    let (bus, clock) = in_memory().await;
    let (sender, mut told) = mpsc::channel(64);
    let channels = [("mail", Manner::Takes), ("pager", Manner::Fails)];
    let replica = start(bus.clone(), &clock, &channels, &[], &sender);
    raise(&*bus, "first", "scorer", clock()).await;
    let (mut failed, mut others) = (Vec::new(), Vec::new());
    while failed.len() < 8 {
        let (channel, message, at) = heard(&mut told).await;
        if channel == "pager" { &mut failed } else { &mut others }.push((message, at));
    }
    let ids: BTreeSet<&str> = failed.iter().map(|(message, _)| message.id.as_str()).collect();
    assert_eq!(ids.len(), 1, "the same message each time");
    let pauses: Vec<i64> = failed.windows(2).map(|pair| pair[1].1.since_ms(pair[0].1) / 1_000).collect();
    assert!(
        pauses.iter().zip([5, 10, 20, 40, 80, 160, 300]).all(|(found, wanted)| (wanted..wanted + 3).contains(found)),
        "{pauses:?}"
    );
    let kinds: Vec<Kind> = others.iter().map(|(message, _)| message.alert.kind).collect();
    assert_eq!(kinds, [Kind::NotReady, Kind::ChannelFailed]);
    let trouble = &others[1].0.alert;
    assert_eq!((&trouble.principal[..], &trouble.what[..]), ("pager", "out of order"));

    let letters = async {
        loop {
            let letters = bus.dead_letters(0, 9).await.unwrap();
            if !letters.is_empty() {
                return letters;
            }
            tokio::task::yield_now().await;
        }
    };
    let letters = tokio::time::timeout(PATIENCE, letters).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(
        letters[0].1.reason.contains("pager") && letters[0].1.reason.contains("out of order"),
        "{}",
        letters[0].1.reason
    );
    replica.stop().await;

    // Mended and sent again, it reaches the one channel that it did not reach.
    let channels = [("mail", Manner::Takes), ("pager", Manner::Takes)];
    let replica = start(bus.clone(), &clock, &channels, &[], &sender);
    bus.redrive(letters[0].0).await.unwrap();
    let (channel, message, _) = heard(&mut told).await;
    assert_eq!((&channel[..], &message.alert.id[..], message.alert.kind), ("pager", "first", Kind::NotReady));
    replica.stop().await;
}

#[tokio::test(start_paused = true)]
async fn channels_that_all_refuse_do_not_tell_of_each_other_for_ever() {
    let (bus, clock) = in_memory().await;
    let (sender, mut told) = mpsc::channel(64);
    let channels = [("mail", Manner::Refuses), ("pager", Manner::Refuses)];
    let replica = start(bus.clone(), &clock, &channels, &[], &sender);
    raise(&*bus, "first", "scorer", clock()).await;
    let mut kinds = Vec::new();
    while let Ok(Some((_, message, _))) = tokio::time::timeout(Duration::from_secs(7_200), told.recv()).await {
        kinds.push(message.alert.kind);
    }
    kinds.sort_unstable();
    assert_eq!(kinds, [Kind::NotReady, Kind::NotReady, Kind::ChannelFailed, Kind::ChannelFailed]);
    assert_eq!(bus.dead_letters(0, 9).await.unwrap().len(), 4);
    replica.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_dies_between_sending_and_noting_leaves_it_to_another_under_the_same_id() {
    let (bus, clock) = in_memory().await;
    let (sender, mut told) = mpsc::channel(64);
    let dying = start(bus.clone(), &clock, &[("mail", Manner::Keeps)], &[], &sender);
    raise(&*bus, "first", "scorer", clock()).await;
    let (_, first, at) = heard(&mut told).await;
    dying.task.abort();
    let replica = start(bus.clone(), &clock, &[("mail", Manner::Takes)], &[], &sender);
    raise(&*bus, "second", "scorer", clock()).await;
    let (_, again, later) = heard(&mut told).await;
    assert_eq!(again, first);
    assert!((LEASE_MS..LEASE_MS + 5_000).contains(&later.since_ms(at)), "{}", later.since_ms(at));
    // The throttle outlives who kept it: the second waits for five minutes from then on.
    let (_, second, last) = heard(&mut told).await;
    assert_eq!((&second.alert.id[..], second.count), ("second", 1));
    assert!((QUIET_MS..QUIET_MS + 5_000).contains(&last.since_ms(later)));
    replica.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_there_before_alerts_were_wanted_is_not_told_and_what_is_none_is_set_aside() {
    let (bus, clock) = in_memory().await;
    let (sender, mut told) = mpsc::channel(64);
    raise(&*bus, "old", "scorer", clock()).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    let replica = start(bus.clone(), &clock, &[("mail", Manner::Takes)], &[], &sender);
    // It has begun once it is asked for what was told before.
    let store = Store::new(bus.clone(), TENANT, clock.clone());
    let began_at = store.began_at().await.unwrap();
    assert_eq!(began_at, clock());
    bus.publish(&Subject::raised(TENANT), Outgoing { payload: "junk".into(), ..Outgoing::default() }).await.unwrap();
    raise(&*bus, "new", "scorer", clock()).await;
    let (_, message, _) = heard(&mut told).await;
    assert_eq!((&message.alert.id[..], message.count), ("new", 1));
    assert_eq!(bus.dead_letters(0, 9).await.unwrap().len(), 1);
    replica.stop().await;

    // What came while nobody was there is told by who comes next.
    raise(&*bus, "meanwhile", "featurizer", clock()).await;
    tokio::time::advance(Duration::from_millis(u64::try_from(90 * MINUTE_MS).unwrap())).await;
    let replica = start(bus.clone(), &clock, &[("mail", Manner::Takes)], &[], &sender);
    assert_eq!(heard(&mut told).await.1.alert.id, "meanwhile");
    assert_eq!(store.began_at().await.unwrap(), began_at);
    replica.stop().await;
}

/// Three replicas race for the throttle of a real broker: each alert is told once or counted once.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_hold_one_throttle_on_a_real_broker() {
    const ALERTS: usize = 300;
    const PRINCIPALS: usize = 3;
    let server = Nats::start();
    let mut buses: Vec<Arc<dyn Bus>> = Vec::new();
    for _ in 0..3 {
        let connection = Connection { url: server.url(), tenant: TENANT.to_owned() };
        let bus = JetStream::connect(connection).await.unwrap();
        let answers = async {
            while bus.ping().await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, answers).await.unwrap();
        buses.push(Arc::new(bus));
    }
    buses[0].set_up(&Layout { stream_bytes_max: 64 << 20, ..Layout::single(TENANT, 4) }).await.unwrap();
    let offset = Arc::new(AtomicI64::new(0));
    let (began, passed) = (Instant::now(), Arc::clone(&offset));
    let clock: Clock = Arc::new(move || {
        let elapsed = i64::try_from(began.elapsed().as_millis()).unwrap();
        Timestamp::from_millis(elapsed + passed.load(Ordering::SeqCst))
    });
    let (sender, mut told) = mpsc::channel(1_024);
    let channels = [("mail", Manner::Takes), ("pager", Manner::Takes)];
    let replicas: Vec<Replica> = buses.iter().map(|bus| start(bus.clone(), &clock, &channels, &[], &sender)).collect();

    let mut counts: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for n in 0..ALERTS {
        raise(&*buses[n % 3], &format!("alert-{n}"), &format!("role-{}", n % PRINCIPALS), clock()).await;
    }
    // All others are taken in before the last one is told, since a source is worked off in order.
    raise(&*buses[0], "last", "last", clock()).await;
    let mut lasts = 0;
    while lasts < 2 || counts.len() < 2 * PRINCIPALS {
        let (channel, message, _) = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
        assert!(ids.insert(message.id.clone()), "a message was sent twice");
        if message.alert.principal == "last" {
            lasts += 1;
            continue;
        }
        counts.entry((channel, message.alert.principal)).or_default().push(message.count);
    }
    assert!(counts.values().all(|counts| *counts == [1]), "{counts:?}");
    // What is on its way when minutes pass at once is sent again under its id, by whoever finds the lease over: here, all
    // that was told is settled first.
    let each = u64::try_from(ALERTS / PRINCIPALS).unwrap();
    let waiting = counts.len() as u64 * (each - 1);
    let store = Store::new(buses[0].clone(), TENANT, clock.clone());
    let settled = async {
        while store.held().await.unwrap() != waiting {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.unwrap();
    offset.fetch_add(QUIET_MS, Ordering::SeqCst);
    while counts.values().any(|counts| counts.len() < 2) {
        let (channel, message, _) = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
        assert!(ids.insert(message.id.clone()), "a message was sent twice");
        counts.entry((channel, message.alert.principal)).or_default().push(message.count);
    }
    assert!(counts.values().all(|counts| *counts == [1, each - 1]), "{counts:?}");
    for replica in replicas {
        replica.stop().await;
    }
    assert_eq!(store.held().await.unwrap(), 0);
}
