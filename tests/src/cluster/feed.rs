//! Generated records on their way into a collector, in the order of their delivery and disturbed as the world disturbs them.

use std::path::Path;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_stream::StreamExt;
use trailwarden_core::time::Timestamp;
use trailwarden_lab::generate::{Setting, Settings, generate};
use trailwarden_proto::v1::collector_service_client::CollectorServiceClient;
use trailwarden_proto::v1::{IngestRequest, IngestResponse, Lane};

use super::Cluster;

/// Between two looks at the other, a trail delivers this part of all there is: trails deliver at about the same time, not
/// in step, and an id is known again for a day.
const WINDOWS: usize = 50;

/// One record with when it happened.
#[derive(Clone, Debug)]
pub struct Record {
    pub event_time: String,
    pub event_id: String,
    pub json: Bytes,
}

#[derive(serde::Deserialize)]
struct Delivered<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<&'a RawValue>,
}

/// Records of an invented organisation.
pub fn organisation(events: u64, seed: u64) -> Vec<Record> {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(events, seed);
    settings.setting = Setting::Hard;
    settings.accounts = 4;
    settings.days = 10;
    generate(&settings, folder.path()).unwrap();
    records_below(&folder.path().join("AWSLogs"))
}

/// The latest event time.
pub fn last_time(records: &[Record]) -> Timestamp {
    records.iter().map(|record| Timestamp::parse(&record.event_time).unwrap()).max().unwrap()
}

/// All records of the S3 layout below a folder, in order of (event time, event id).
pub fn records_below(folder: &Path) -> Vec<Record> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    let mut records = Vec::new();
    for entry in entries.filter(|entry| entry.file_type().is_file()) {
        let mut text = String::new();
        let file = std::fs::File::open(entry.path()).unwrap();
        std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(file), &mut text).unwrap();
        let delivered: Delivered<'_> = serde_json::from_str(&text).unwrap();
        for raw in delivered.records {
            let value: Value = serde_json::from_str(raw.get()).unwrap();
            records.push(Record {
                event_time: value["eventTime"].as_str().unwrap().to_owned(),
                event_id: value["eventID"].as_str().unwrap().to_owned(),
                json: Bytes::from(raw.get().to_owned()),
            });
        }
    }
    records.sort_by(|a, b| (&a.event_time, &a.event_id).cmp(&(&b.event_time, &b.event_id)));
    records
}

/// Two trails that overlap, as they deliver: in every hundred records two come by both trails and one comes late, by some two hundred
/// records. Deterministic.
fn disturbed(records: &[Record]) -> [Vec<Record>; 2] {
    let mut trails = [Vec::new(), Vec::new()];
    let mut late: std::collections::VecDeque<(usize, Record)> = std::collections::VecDeque::new();
    for (place, record) in records.iter().enumerate() {
        while late.front().is_some_and(|(due, _)| *due <= place) {
            trails[1].push(late.pop_front().unwrap().1);
        }
        match place % 100 {
            17 => late.push_back((place + 200, record.clone())),
            43 | 71 => {
                trails[0].push(record.clone());
                trails[1].push(record.clone());
            }
            other => trails[other % 2].push(record.clone()),
        }
    }
    trails[1].extend(late.into_iter().map(|(_, record)| record));
    trails
}

/// Feeds two overlapping trails at once, disturbed.
pub async fn feed_disturbed(cluster: &Cluster, records: &[Record]) {
    let trails = disturbed(records);
    for window in 0..WINDOWS {
        let send = |trail: usize| {
            let mut parts = trails[trail].chunks(trails[trail].len().div_ceil(WINDOWS));
            let part = parts.nth(window).unwrap_or_default().to_vec();
            let stream = format!("trail{trail}-{window}");
            let feed = Feed { address: cluster.address("collector"), stream, records_a_request: 250 };
            async move { feed.send(&part).await }
        };
        let (one, two) = tokio::join!(send(0), send(1));
        for answer in one.iter().chain(&two) {
            assert!(answer.rejected.is_empty(), "{:?}", answer.rejected.first());
        }
    }
}

/// A client's stream into a collector.
pub struct Feed {
    pub address: String,
    /// Names the stream over reconnects.
    pub stream: String,
    pub records_a_request: usize,
}

impl Feed {
    /// Sends all records and returns the answers, one a request, in order. A connection that breaks is made anew, and what was not
    /// answered is sent again under its own sequence.
    pub async fn send(&self, records: &[Record]) -> Vec<IngestResponse> {
        self.send_as(Lane::Live, records).await
    }

    /// As [`Feed::send`], on one of the lanes.
    pub async fn send_as(&self, lane: Lane, records: &[Record]) -> Vec<IngestResponse> {
        let requests: Vec<IngestRequest> = records
            .chunks(self.records_a_request)
            .enumerate()
            .map(|(place, chunk)| IngestRequest {
                sequence: place as u64 + 1,
                stream: self.stream.clone(),
                documents: chunk.iter().map(|record| record.json.clone()).collect(),
                lane: lane.into(),
            })
            .collect();
        let mut answers: Vec<IngestResponse> = Vec::new();
        let started = tokio::time::Instant::now();
        let mut attempts = tokio::time::interval(std::time::Duration::from_millis(50));
        while answers.len() < requests.len() {
            assert!(
                started.elapsed() < super::PATIENCE,
                "{} of {} requests were answered",
                answers.len(),
                requests.len()
            );
            // Paced: among thousands of attempts at a free port one is given that very port as its own, connects to itself, and
            // holds the port against whoever is to listen there.
            attempts.tick().await;
            self.send_from(&requests, &mut answers).await;
        }
        answers
    }

    /// Sends what was not answered yet, until the end or until the connection breaks.
    async fn send_from(&self, requests: &[IngestRequest], answers: &mut Vec<IngestResponse>) {
        let Ok(mut client) = CollectorServiceClient::connect(format!("http://{}", self.address)).await else {
            // Nobody listens there yet.
            return;
        };
        let rest = requests[answers.len()..].to_vec();
        let Ok(response) = client.ingest(tokio_stream::iter(rest)).await else { return };
        let mut stream = response.into_inner();
        while let Some(Ok(answer)) = stream.next().await {
            assert_eq!(answer.sequence, answers.len() as u64 + 1, "answers come in order");
            answers.push(answer);
        }
    }
}
