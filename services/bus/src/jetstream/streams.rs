//! What stands on the broker.

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use crate::{Layout, Stream};

/// Name of the stream that holds objects in pieces.
pub(super) fn objects(tenant: &str) -> String {
    format!("TW_OBJECT_{tenant}")
}

/// Name of the stream that holds what the broker says of consumers that gave up.
pub(super) fn advisories(tenant: &str) -> String {
    format!("TW_ADVISORY_{tenant}")
}

/// Every stream of a layout.
pub(super) fn configs(layout: &Layout) -> Vec<Config> {
    let tenant = &layout.tenant;
    let mut configs: Vec<Config> = Stream::ALL.into_iter().map(|stream| config(layout, stream)).collect();
    // The oldest objects go when there are too many: each epoch is followed by newer ones.
    configs.push(Config {
        name: objects(tenant),
        subjects: vec![format!("tw.object.{tenant}.>")],
        max_bytes: bytes(layout.stream_bytes_max),
        discard: DiscardPolicy::Old,
        ..base(layout)
    });
    configs.push(Config {
        name: advisories(tenant),
        subjects: Stream::ALL.iter().map(|stream| given_up(&stream.name(tenant))).collect(),
        max_bytes: bytes(layout.bounds(Stream::Dead).bytes_max),
        max_age: layout.bounds(Stream::Dead).kept.unwrap_or_default(),
        discard: DiscardPolicy::Old,
        ..base(layout)
    });
    configs
}

/// Where the broker says that a consumer of a stream was given a message too often.
fn given_up(stream: &str) -> String {
    format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{stream}.*")
}

fn config(layout: &Layout, stream: Stream) -> Config {
    let bounds = layout.bounds(stream);
    let kept = bounds.kept.unwrap_or_default();
    let window = layout.duplicate_window;
    Config {
        name: stream.name(&layout.tenant),
        subjects: stream.subjects(&layout.tenant),
        max_bytes: bytes(bounds.bytes_max),
        max_age: kept,
        retention: if bounds.until_done { RetentionPolicy::WorkQueue } else { RetentionPolicy::Limits },
        max_messages_per_subject: bounds.per_subject_max.map_or(-1, |most| i64::try_from(most).unwrap_or(i64::MAX)),
        // The broker refuses a window that is longer than what is kept.
        duplicate_window: if kept.is_zero() { window } else { window.min(kept) },
        // What is full refuses, so that the source holds the backlog and nothing is lost unseen.
        discard: DiscardPolicy::New,
        // Nobody takes a message out of the middle of a chain.
        deny_delete: true,
        deny_purge: true,
        ..base(layout)
    }
}

fn base(layout: &Layout) -> Config {
    Config {
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: layout.replicas,
        allow_direct: true,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        ..Config::default()
    }
}

fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
