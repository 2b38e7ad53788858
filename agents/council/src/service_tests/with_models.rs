//! The service with models behind real HTTP, each role in a mood of its own.

use trailwarden_core::negotiation::exchange::Ask;
use trailwarden_core::negotiation::{Judgement, Negotiation, Role};
use trailwarden_models::{Limits, Output, Price, Provider};
use trailwarden_runtime::telemetry::quiet;

use super::*;
use crate::panel::over_http::{Mood, panel, role, service};
use crate::panel::{Account, Ended, Panel, Transcript, replay};
use crate::{Judge, Judged};

/// A day pays for some cases and not for all.
const A_DAY: Limits = Limits { tokens: 30_000, micro_dollars: u64::MAX };
const PRICE: Price = Price { input_micro_dollars_a_million: 1_000_000, output_micro_dollars_a_million: 5_000_000 };

/// Counts, and keeps what came before models, by the digest of its evidence.
#[derive(Default)]
struct Keeping(Mutex<BTreeMap<String, case::Case>>);

impl Judge for Keeping {
    fn weigh(&self, case: &mut case::Case) {
        Counting.weigh(case);
    }

    fn judge(&self, case: case::Case) -> Judged {
        Counting.judge(case)
    }

    fn open(&self, case: &case::Case) -> (Negotiation, Vec<Ask>) {
        let (negotiation, asks) = Counting.open(case);
        self.0.lock().expect("not poisoned").insert(negotiation.pack().digest().to_owned(), case.clone());
        (negotiation, asks)
    }

    fn tell(&self, case: case::Case, judgement: Judgement) -> Judged {
        Counting.tell(case, judgement)
    }
}

/// Lives until all is acknowledged; what it measured.
async fn lived(bus: &Memory, judge: Arc<Keeping>, panel: Panel) -> String {
    let telemetry = quiet("council").expect("no exporter");
    let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
    let deps = Deps {
        bus: Arc::new(bus.clone()),
        listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port"),
        rules: rules(),
        accounts: BTreeSet::new(),
        judge,
        panel: Some(panel),
        approvers: None,
        clock: Arc::new(|| Timestamp::from_millis(77)),
        readiness: readiness.clone(),
        metrics: telemetry.metrics().clone(),
        roster: Roster::new(telemetry.metrics().clone()),
    };
    let config = Config { tenant: "default".into(), partitions: PARTITIONS, cases: case::Limits::default() };
    let ended = tokio::spawn(run(config, deps, shutdown.clone()));
    readiness.watch().wait_for(|ready| *ready).await.expect("lives");
    done(bus).await;
    shutdown.cancel();
    ended.await.expect("no panic").expect("an orderly end");
    telemetry.metrics_text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mood_of_any_model_costs_a_case_and_each_entry_says_who_answered() {
    let expected = tokio::task::spawn_blocking(undisturbed).await.expect("no panic");
    let bus = memory().await;
    publish(&bus, &[], false).await;
    let fake = service(|seen| match role(seen) {
        Role::Analysis => Mood::Honest,
        Role::Context => Mood::Garbage,
        Role::Sceptic => Mood::HostileBenign,
        Role::Judge => Mood::CutJson,
        Role::Responder => Mood::Away(503),
        Role::Reporter => Mood::WrongType,
    })
    .await;
    let provider = Provider::OpenAi { key: None, output: Output::Schema };
    let clock = Arc::new(|| Timestamp::from_millis(77));
    let account = Account::new(Arc::new(bus.clone()), "default", A_DAY, PRICE, clock);
    let panel = panel(provider, &fake, Duration::from_secs(15)).priced(PRICE).with_account(account);
    let judge = Arc::new(Keeping::default());
    let measured = lived(&bus, judge.clone(), panel.clone()).await;

    let entries = entries(&bus).await;
    assert_eq!(by_case(&entries), expected, "the same cases, in the same steps");
    let (mut ends, mut cost, mut used) = (BTreeSet::new(), 0, BTreeMap::new());
    for entry in &entries {
        let case = entry.case.as_ref().expect("every entry has its case");
        if entry.kind() == TransitionKind::Merged {
            continue;
        }
        let transcript: Transcript = serde_json::from_str(&case.transcript_json).expect("each says how it was judged");
        assert_eq!(transcript.prompts_digest, Panel::prompts_digest());
        ends.extend(transcript.calls.iter().map(|call| (call.role, call.ended.word())));
        cost += transcript.micro_dollars().unwrap_or_default();
        // What was said once may stand in several entries of its case; two cases may have the same evidence.
        used.insert((case.id.clone(), case.transcript_json.clone()), transcript.usage().total());
        // What is written to a log is enough to judge again, by nobody but code.
        let kept = judge.0.lock().expect("not poisoned")[&transcript.evidence_digest].clone();
        let (negotiation, asks) = Counting.open(&kept);
        let judgement = replay(negotiation, asks, &transcript).expect("it is about the same");
        assert_eq!((judgement.probability, judgement.severity.as_str()), (case.score, case.severity.as_str()));
    }
    for (role, ended) in [
        (Role::Analysis, Ended::Answered),
        (Role::Context, Ended::Malformed),
        (Role::Sceptic, Ended::Answered),
        (Role::Judge, Ended::Malformed),
    ] {
        assert!(ends.contains(&(role, ended.word())), "{role:?} is not {ended:?} in {ends:?}");
    }
    assert!(cost > 0 && measured.contains("trailwarden_model_cost_total"), "{measured}");
    for measure in ["trailwarden_model_calls_total", "ended=\"answered\"", "way=\"written\""] {
        assert!(measured.contains(measure), "{measure} is not in {measured}");
    }

    // Nothing is left set aside, and each token is counted once.
    let record = bus.last(&Subject::spent("default")).await.expect("a bus").expect("a record");
    let record: serde_json::Value = serde_json::from_slice(&record.payload).expect("JSON");
    assert_eq!(record["tokens"], used.values().sum::<u64>());

    // Started again over all of it: nobody is asked about what is logged.
    let asked = fake.seen().len();
    lived(&bus, judge, panel).await;
    assert_eq!(bus.depth(Stream::Case).await.expect("a bus"), entries.len() as u64);
    assert_eq!(fake.seen().len(), asked);
}
