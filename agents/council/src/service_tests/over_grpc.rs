//! The service as its callers know it.

use tonic::transport::Channel;
use trailwarden_proto::v1::case_service_client::CaseServiceClient;
use trailwarden_runtime::telemetry::{Telemetry, quiet};

use super::*;

/// A council with its service on a free port.
struct Running {
    telemetry: Telemetry,
    client: CaseServiceClient<Channel>,
    shutdown: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), Error>>,
    roster: Roster,
}

async fn start(bus: &Memory, now_ms: i64) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
    let telemetry = quiet("council").expect("no exporter");
    let roster = Roster::new(telemetry.metrics().clone());
    let deps = Deps {
        bus: Arc::new(bus.clone()),
        listener,
        rules: rules(),
        accounts: BTreeSet::new(),
        judge: Arc::new(Counting),
        panel: None,
        approvers: None,
        clock: Arc::new(move || Timestamp::from_millis(now_ms)),
        readiness: readiness.clone(),
        metrics: telemetry.metrics().clone(),
        roster: roster.clone(),
    };
    let config = Config { tenant: "default".into(), partitions: PARTITIONS, cases: case::Limits::default() };
    let ended = tokio::spawn(run(config, deps, shutdown.clone()));
    readiness.watch().wait_for(|ready| *ready).await.expect("lives");
    let client = CaseServiceClient::connect(address).await.expect("connected");
    Running { telemetry, client, shutdown, ended, roster }
}

impl Running {
    /// Its page of measures, at the end.
    async fn stop(self) -> String {
        assert_eq!(self.roster.look().len(), SHARDS + 1, "the case builder and the shards");
        drop(self.client);
        self.shutdown.cancel();
        self.ended.await.expect("no panic").expect("an orderly end");
        assert_eq!(self.roster.look(), [], "no actor outlives its service");
        self.telemetry.metrics_text()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cases_are_listed_watched_and_labelled_and_labels_survive() {
    let bus = memory().await;
    let mut running = start(&bus, 77).await;
    let mut watching =
        running.client.watch(v1::WatchCasesRequest { from_sequence: 0 }).await.expect("watching").into_inner();
    publish(&bus, &[], false).await;
    let (mut sequences, mut closed) = (Vec::new(), 0);
    while sequences.len() < 7 {
        let transition = watching.message().await.expect("goes on").expect("a transition");
        sequences.push(transition.sequence);
        closed += u32::from(transition.kind() == TransitionKind::Closed);
    }
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6, 7]);
    let list = v1::ListCasesRequest { limit: 2, ..v1::ListCasesRequest::default() };
    let page = running.client.list(list.clone()).await.expect("listed").into_inner();
    let rest = v1::ListCasesRequest { after: page.next.clone(), ..list };
    let rest = running.client.list(rest).await.expect("listed").into_inner();
    let events: Vec<&str> = page.cases.iter().chain(&rest.cases).map(|case| case.event_ids[0].as_str()).collect();
    assert_eq!((events, rest.next.as_str()), (vec!["d1", "c1", "a1"], ""), "the latest first, the merged one not");

    let id = page.cases[0].id.clone();
    let label = v1::LabelCaseRequest {
        id: id.clone(),
        verdict: "benign".into(),
        note: "a drill".into(),
        author: "ann".into(),
        synthetic: true,
    };
    let labelled = running.client.label(label.clone()).await.expect("labelled").into_inner();
    let said = v1::CaseLabel {
        verdict: "benign".into(),
        note: "a drill".into(),
        author: "ann".into(),
        at_ms: 77,
        synthetic: true,
        contested_by: Vec::new(),
    };
    assert_eq!(labelled.label, Some(said));
    let transition = watching.message().await.expect("goes on").expect("a transition");
    assert_eq!(
        (transition.kind(), transition.number, transition.case),
        (TransitionKind::Labelled, 2, Some(labelled.clone()))
    );
    let get = v1::GetCaseRequest { id: id.clone() };
    assert_eq!(running.client.get(get.clone()).await.expect("there").into_inner(), labelled);
    refuses(&mut running.client, &label).await;
    drop(watching);
    let page = running.stop().await;
    for line in [
        "trailwarden_signals_total{role=\"council\"} 7".to_owned(),
        format!("trailwarden_cases_total{{role=\"council\",transition=\"closed\"}} {closed}"),
        "trailwarden_cases_total{role=\"council\",transition=\"merged\"} 1".to_owned(),
        "trailwarden_cases_total{role=\"council\",transition=\"labelled\"} 1".to_owned(),
    ] {
        assert!(page.lines().any(|own| own == line), "{line} is missing\n{page}");
    }

    let mut again = start(&bus, 78).await;
    assert_eq!(again.client.get(get).await.expect("there").into_inner(), labelled);
    let mut watching =
        again.client.watch(v1::WatchCasesRequest { from_sequence: 8 }).await.expect("watching").into_inner();
    assert_eq!(watching.message().await.expect("goes on").expect("a transition").case, Some(labelled));
    drop(watching);
    again.stop().await;
}

/// What is refused, and in what words.
async fn refuses(client: &mut CaseServiceClient<Channel>, label: &v1::LabelCaseRequest) {
    use tonic::Code::{FailedPrecondition, InvalidArgument, NotFound, Unimplemented};
    let merged = client.watch(v1::WatchCasesRequest { from_sequence: 1 }).await.expect("watching").into_inner();
    let mut merged = merged;
    let merged = loop {
        let entry = merged.message().await.expect("goes on").expect("a transition");
        if entry.kind() == TransitionKind::Merged {
            break entry.case.expect("set");
        }
    };
    for (changed, code) in [
        (v1::LabelCaseRequest { verdict: "harmless".into(), ..label.clone() }, InvalidArgument),
        (v1::LabelCaseRequest { author: " ".into(), ..label.clone() }, InvalidArgument),
        (v1::LabelCaseRequest { author: "a\u{1b}[2J".into(), ..label.clone() }, InvalidArgument),
        (v1::LabelCaseRequest { note: "n".repeat(3_000), ..label.clone() }, InvalidArgument),
        (v1::LabelCaseRequest { id: "tw.case.>".into(), ..label.clone() }, InvalidArgument),
        (v1::LabelCaseRequest { id: "00".into(), ..label.clone() }, NotFound),
        (v1::LabelCaseRequest { id: merged.id.clone(), ..label.clone() }, FailedPrecondition),
    ] {
        let refused = client.label(changed.clone()).await.expect_err("refused");
        assert_eq!(refused.code(), code, "{changed:?} {refused}");
    }
    let too_many = v1::ListCasesRequest { limit: 1_001, ..v1::ListCasesRequest::default() };
    assert_eq!(client.list(too_many).await.expect_err("refused").code(), InvalidArgument);
    let astray = v1::ListCasesRequest { after: "nowhere".into(), ..v1::ListCasesRequest::default() };
    assert_eq!(client.list(astray).await.expect_err("refused").code(), InvalidArgument);
    let id = label.id.clone();
    let order = |order: &str, case: &str| v1::UndoCaseRequest {
        id: id.clone(),
        order_json: order.replace("CASE", case),
        signature: "00".to_owned(),
    };
    let undo = r#"{"intent":"undo","tenant":"default","case":"CASE","proposal":"","approver":"ann","reason":"","signed_at":0,"expires_at":0,"nonce":""}"#;
    for (order, code) in [
        (order("", &id), InvalidArgument),
        (order("{}", &id), InvalidArgument),
        (order(&undo.replace("undo", "deny"), &id), InvalidArgument),
        (order(undo, "other"), InvalidArgument),
        (order(&"x".repeat(5_000), &id), InvalidArgument),
        (v1::UndoCaseRequest { id: "00".into(), ..order(undo, "00") }, NotFound),
        // Nobody is known whose order it could be.
        (order(undo, &id), FailedPrecondition),
    ] {
        assert_eq!(client.undo(order.clone()).await.expect_err("refused").code(), code, "{order:?}");
    }
    for refused in [
        client.approve(v1::ApproveCaseRequest { id: id.clone(), ..Default::default() }).await,
        client.deny(v1::DenyCaseRequest { id: id.clone(), ..Default::default() }).await,
    ] {
        assert_eq!(refused.expect_err("refused").code(), InvalidArgument);
    }
    let status = client.replay(v1::ReplayCaseRequest { id }).await.expect_err("refused");
    assert_eq!(status.code(), Unimplemented);
    assert!(status.message().ends_with("is not built yet"), "{status}");
}
