//! A hook that keeps the activity alone, and ways to collect from bytes.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::borrow::Cow;
use std::io::Write;
use std::num::NonZeroUsize;

use flate2::Compression;
use flate2::write::GzEncoder;
use trailwarden_collector::{Input, Limits, Observe, Options, RejectReason, Summary, collect};
use trailwarden_core::activity::{Activity, Details, Observation};
use trailwarden_core::record::RecordView;
use trailwarden_core::time::Timestamp;

pub(crate) struct Plain;

impl Observe for Plain {
    fn observe<'a>(&self, view: &RecordView<'a>, activity: Activity<'a>) -> Observation<'a> {
        Observation {
            activity,
            links: Vec::new(),
            matches: Vec::new(),
            details: view
                .value("requestParameters")
                .map(|parameters| Details { parameters: parameters.to_string(), ..Details::default() }),
        }
    }
}

pub(crate) fn options(threads: usize) -> Options {
    Options {
        limits: Limits::default(),
        threads: NonZeroUsize::new(threads).expect("positive"),
        now: Timestamp::parse("2030-01-01T00:00:00Z").expect("valid"),
    }
}

/// The summary and every event as text.
pub(crate) fn run(inputs: &[Input], options: &Options) -> (Summary, Vec<String>) {
    let mut events = Vec::new();
    let summary = collect(inputs, options, &Plain, &|_| {})
        .and_then(|collected| collected.in_order(|observation| events.push(format!("{observation:?}"))))
        .expect("temporary files work");
    assert_eq!(summary.events, events.len() as u64);
    (summary, events)
}

pub(crate) fn memory(name: &str, bytes: impl Into<Vec<u8>>) -> Input {
    Input::Memory { name: name.to_owned(), bytes: Cow::Owned(bytes.into()) }
}

pub(crate) fn read(bytes: impl Into<Vec<u8>>) -> Summary {
    run(&[memory("input", bytes)], &options(1)).0
}

pub(crate) fn rejected(summary: &Summary) -> Vec<(&'static str, u64)> {
    summary.rejected.iter().map(|(reason, count)| (reason.name(), *count)).collect()
}

pub(crate) fn count(summary: &Summary, reason: RejectReason) -> u64 {
    let counts = if reason.is_set_aside() { &summary.set_aside } else { &summary.rejected };
    counts.get(&reason).copied().unwrap_or(0)
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// A record of our own making.
pub(crate) fn record(id: &str, second: u32) -> String {
    let (minute, second) = (second / 60 % 60, second % 60);
    format!(
        r#"{{"eventVersion":"1.08","userIdentity":{{"type":"IAMUser","principalId":"AIDAEXAMPLE","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333","accessKeyId":"AKIAEXAMPLE","userName":"ana"}},"eventTime":"2024-05-01T10:{minute:02}:{second:02}Z","eventSource":"s3.amazonaws.com","eventName":"GetBucketAcl","awsRegion":"eu-west-1","sourceIPAddress":"192.0.2.7","userAgent":"aws-cli/2.15","requestParameters":{{"bucketName":"example"}},"responseElements":null,"eventID":"{id}","readOnly":true,"recipientAccountId":"111122223333"}}"#
    )
}

pub(crate) fn records(count: u32) -> Vec<String> {
    (0..count).map(|n| record(&format!("00000000-0000-4000-8000-{n:012}"), n / 3)).collect()
}
