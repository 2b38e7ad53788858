//! A client of a running deployment: sends records in, has an activity measured and scored, waits for a case and labels it.
//!
//! ```sh
//! cargo run --release -p trailwarden-tests --example client -- records.jsonl
//! ```
//!
//! The file holds a CloudTrail record a line. After it may come the addresses of collector, featurizer, scorer and council;
//! without them those of the default configuration are taken. All that it needs is `trailwarden_proto::v1`, tonic and tokio.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the command line")]

use std::process::ExitCode;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use trailwarden_proto::v1::case_service_client::CaseServiceClient;
use trailwarden_proto::v1::collector_service_client::CollectorServiceClient;
use trailwarden_proto::v1::feature_service_client::FeatureServiceClient;
use trailwarden_proto::v1::scorer_service_client::ScorerServiceClient;
use trailwarden_proto::v1::{
    Activity, ApproveCaseRequest, Case, CaseState, Credential, DescribeRequest, IngestRequest, IngestResponse,
    LabelCaseRequest, Lane, ListCasesRequest, MeasureRequest, PrincipalKind, ScoreRequest, WatchCasesRequest,
};

/// Where `trailwarden run` listens unless it is told otherwise: collector, featurizer, scorer, council.
const ADDRESSES: [&str; 4] = ["127.0.0.1:7401", "127.0.0.1:7402", "127.0.0.1:7403", "127.0.0.1:7404"];
/// No call without a deadline; this one is long enough for a case to come.
const DEADLINE: Duration = Duration::from_secs(60);
const RECORDS_A_REQUEST: usize = 100;
/// How often a broken stream is taken up again, and after how long.
const RETRIES_MAX: u32 = 10;
const RETRY_AFTER: Duration = Duration::from_secs(1);

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        [file] => run(file, ADDRESSES).await,
        [file, collector, featurizer, scorer, council] => run(file, [collector, featurizer, scorer, council]).await,
        _ => Err("usage: client RECORDS [COLLECTOR FEATURIZER SCORER COUNCIL]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("client: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(file: &str, [collector, featurizer, scorer, council]: [&str; 4]) -> Result<(), Failure> {
    ingest(CollectorServiceClient::new(connect(collector).await?), file).await?;
    let featurizer = FeatureServiceClient::new(connect(featurizer).await?);
    score(featurizer, ScorerServiceClient::new(connect(scorer).await?)).await?;
    let mut council = CaseServiceClient::new(connect(council).await?);
    let case = watch(&mut council).await?;
    label(&mut council, &case).await
}

async fn connect(address: &str) -> Result<Channel, Failure> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(DEADLINE).connect().await;
    channel.map_err(|error| format!("nobody answers at {address}: {error}").into())
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// Sends all records of a file. Once a request is answered its records are durable, or refused for good.
async fn ingest(mut collector: CollectorServiceClient<Channel>, file: &str) -> Result<(), Failure> {
    #[expect(clippy::disallowed_methods, reason = "an example; the file is the user's own and fits into memory")]
    let text = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let records: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let requests = (1..).zip(records.chunks(RECORDS_A_REQUEST)).map(|(sequence, chunk)| IngestRequest {
        sequence,
        // The same records sent again under the same stream and sequence count once.
        stream: format!("example:{file}"),
        documents: chunk.iter().map(|record| record.to_vec().into()).collect(),
        lane: Lane::Live.into(),
    });
    let requests: Vec<IngestRequest> = requests.collect();

    let (mut answers, mut retries) = (Vec::new(), 0);
    while answers.len() < requests.len() {
        let rest = requests[answers.len()..].to_vec();
        match send(&mut collector, rest, &mut answers).await {
            Ok(()) => {}
            Err(status) if retries < RETRIES_MAX && is_passing(&status) => {
                retries += 1;
                tokio::time::sleep(RETRY_AFTER).await;
            }
            Err(status) => return Err(status.into()),
        }
    }
    let accepted: u32 = answers.iter().map(|answer| answer.accepted).sum();
    let duplicates: usize = answers.iter().map(|answer| answer.duplicates.len()).sum();
    println!("{accepted} records are durable, {duplicates} came twice");
    for (answer, rejected) in answers.iter().flat_map(|answer| answer.rejected.iter().map(move |one| (answer, one))) {
        println!("refused: document {} of request {}: {}", rejected.document, answer.sequence, rejected.reason);
    }
    Ok(())
}

/// Sends requests and reads their answers as they come, in order, until all are answered or the stream breaks.
async fn send(
    collector: &mut CollectorServiceClient<Channel>,
    requests: Vec<IngestRequest>,
    answers: &mut Vec<IngestResponse>,
) -> Result<(), Status> {
    let expected = answers.len() + requests.len();
    let mut stream = collector.ingest(timed(tokio_stream::iter(requests))).await?.into_inner();
    while let Some(answer) = stream.message().await? {
        answers.push(answer);
    }
    if answers.len() < expected {
        return Err(Status::unavailable("the collector ended the stream before its time"));
    }
    Ok(())
}

/// Whether the same may be sent again as it is.
fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
}

/// What an activity would be worth if it came next. Nothing is changed by asking.
async fn score(
    mut featurizer: FeatureServiceClient<Channel>,
    mut scorer: ScorerServiceClient<Channel>,
) -> Result<(), Failure> {
    let activity = Activity {
        event_id: "example".into(),
        event_time_ms: 1_789_560_000_000,
        account: "111122223333".into(),
        region: "eu-west-1".into(),
        service: "iam".into(),
        call: "CreateAccessKey".into(),
        principal: "arn:aws:iam::111122223333:user/example".into(),
        principal_kind: PrincipalKind::IamUser.into(),
        session: "AKIAEXAMPLE".into(),
        credential: Credential::LongTermKey.into(),
        source: "203.0.113.7".into(),
        user_agent: "aws-cli/2.27.0".into(),
        read_only: Some(false),
        ..Activity::default()
    };
    let schema = featurizer.describe(timed(DescribeRequest {})).await?.into_inner();
    let measured = featurizer.measure(timed(MeasureRequest { activities: vec![activity] })).await?.into_inner();
    let known: u32 = measured.features.iter().flat_map(|vector| &vector.known).map(|bits| bits.count_ones()).sum();
    println!("{known} of {} features are known", schema.features.len());
    let request = ScoreRequest { feature_schema: schema.feature_schema, features: measured.features };
    for score in scorer.score(timed(request)).await?.into_inner().scores {
        match score.probability {
            Some(probability) => println!("an attack by {probability:.4}"),
            None => println!("the model abstains: the account has no history yet"),
        }
    }
    Ok(())
}

/// Waits for the first case that has ended and is judged malicious.
async fn watch(council: &mut CaseServiceClient<Channel>) -> Result<Case, Failure> {
    // From the first transition that is still held; 0 would be from now on.
    let mut transitions = council.watch(timed(WatchCasesRequest { from_sequence: 1 })).await?.into_inner();
    while let Some(transition) = transitions.message().await? {
        let Some(case) = transition.case else { continue };
        if case.state() == CaseState::Closed && case.verdict == "malicious" {
            // Names come from logs, where an attacker may have written them for a terminal to obey.
            let principal = case.principal.escape_debug();
            println!("case {}: {} by {principal}, {} events", case.id, case.verdict, case.event_ids.len());
            return Ok(case);
        }
    }
    Err("the council ended the watch".into())
}

/// Tells what a person found the case to be, lists it, and asks for what does not exist yet.
async fn label(council: &mut CaseServiceClient<Channel>, case: &Case) -> Result<(), Failure> {
    let id = case.id.clone();
    let (verdict, note, author) = ("malicious".into(), "seen by hand".into(), "ada".into());
    let labelled =
        council.label(timed(LabelCaseRequest { id, verdict, note, author, synthetic: false })).await?.into_inner();
    let label = labelled.label.ok_or("the label was not taken")?;
    println!("labelled {} by {}", label.verdict, label.author);
    let listed = council.list(timed(ListCasesRequest::default())).await?.into_inner().cases;
    for case in listed.iter().filter(|case| case.label.is_some()) {
        println!("listed {}", case.id);
    }
    match council.approve(timed(ApproveCaseRequest { id: case.id.clone(), ..Default::default() })).await {
        Ok(_) => println!("approved"),
        Err(status) if status.code() == Code::InvalidArgument => println!("not approved: {}", status.message()),
        Err(status) => return Err(status.into()),
    }
    Ok(())
}
