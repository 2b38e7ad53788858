//! What an operator should know about the broker before relying on it.

use async_nats::jetstream::stream::{Config, Info};
use serde::Deserialize;
use serde_json::json;
use trailwarden_core::time::Timestamp;

use super::{JetStream, streams};
use crate::{Error, Layout};

/// Older servers lack what the streams are set up with.
const VERSION_MIN: (u64, u64) = (2, 11);
/// From here on a disk that is synchronised for every message is affordable with copies too.
const VERSION_WANTED: (u64, u64) = (2, 15);
/// Messages are up to this large, headers included.
const MESSAGE_BYTES: usize = 1 << 20;
/// Events further ahead than five minutes are held to be from the future; a clock that is off by less than this does
/// not bring one near it.
const CLOCK_DIFFERENCE_MAX_MS: i64 = 2_000;
/// A stream that is this full refuses soon.
const FULL_PERCENT: u64 = 80;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, and what was found.
    pub what: String,
    /// `None` where it cannot be learned from here.
    pub good: Option<bool>,
    /// What to do about it; nothing where it is good.
    pub fix: Option<String>,
}

impl Finding {
    fn judged(what: String, good: bool, fix: &str) -> Self {
        Self { what, good: Some(good), fix: (!good).then(|| fix.to_owned()) }
    }
}

/// A stream as it is, and when the broker said so.
#[derive(Debug, Deserialize)]
struct Told {
    #[serde(flatten)]
    info: Info,
    /// RFC 3339, by the broker's clock.
    ts: Option<String>,
}

impl JetStream {
    /// Looks the broker over. `now` is this process's clock; it should be read right before the call.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the broker, or JetStream on it, does not answer.
    pub async fn check(&self, layout: &Layout, now: Timestamp) -> Result<Vec<Finding>, Error> {
        self.broker.account().await?;
        let server = self.broker.client().server_info();
        let mut findings = vec![version(&server.version)];
        findings.push(Finding::judged(
            format!("messages of up to {} bytes are taken", server.max_payload),
            server.max_payload >= MESSAGE_BYTES,
            "set `max_payload: 1MB` or more in the server's configuration",
        ));
        findings.push(Finding {
            what: "whether every message is on disk before it is acknowledged cannot be learned from here".to_owned(),
            good: None,
            fix: Some("see that the server's configuration has `sync_interval: always` under `jetstream`".to_owned()),
        });
        let mut broker_time = None;
        for wanted in streams::configs(layout) {
            let told: Result<Told, _> = self.broker.api(&format!("STREAM.INFO.{}", wanted.name), &json!({})).await;
            match told.map_err(|failure| failure.about(&wanted.name)) {
                Ok(told) => {
                    broker_time = broker_time.or_else(|| Timestamp::parse(told.ts.as_deref()?));
                    findings.extend(stream(&wanted, &told.info));
                }
                Err(Error::Missing { .. }) => findings.push(Finding::judged(
                    format!("stream {} is missing", wanted.name),
                    false,
                    "run `trailwarden doctor --set-up`",
                )),
                Err(error) => return Err(error),
            }
        }
        findings.extend(broker_time.map(|broker| clock(broker, now)));
        Ok(findings)
    }
}

fn version(version: &str) -> Finding {
    let mut parts = version.split('.').map_while(|part| part.parse().ok());
    let known = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let what = format!("the server's version is {version}");
    if known < VERSION_MIN {
        return Finding::judged(what, false, "install nats-server 2.15; 2.11 is the oldest that works");
    }
    let fix = "install nats-server 2.15: it is the first that writes every message to disk at a fair price with copies";
    Finding::judged(what, known >= VERSION_WANTED, fix)
}

fn clock(broker: Timestamp, now: Timestamp) -> Finding {
    let ahead_ms = broker.since_ms(now);
    Finding::judged(
        format!("the broker's clock is {ahead_ms} ms ahead of ours"),
        ahead_ms.abs() <= CLOCK_DIFFERENCE_MAX_MS,
        "let NTP keep the clocks of both machines",
    )
}

fn stream(wanted: &Config, info: &Info) -> Vec<Finding> {
    let name = &wanted.name;
    let set_up = "run `trailwarden doctor --set-up`";
    let found = &info.config;
    let mut findings = vec![Finding::judged(
        format!("stream {name} keeps {} of {} copies", found.num_replicas, wanted.num_replicas),
        found.num_replicas == wanted.num_replicas,
        set_up,
    )];
    let bounds = |config: &Config| {
        let discard = config.discard == wanted.discard && config.storage == wanted.storage;
        let kind = (discard, config.retention == wanted.retention);
        (config.max_bytes, config.max_age, config.max_messages_per_subject, config.duplicate_window, kind)
    };
    // A broker fills in what was left open.
    let open = |config: &Config| config.duplicate_window.is_zero();
    let differ = bounds(found) != bounds(wanted) && !open(wanted);
    let subjects = found.subjects == wanted.subjects;
    findings.push(Finding::judged(
        format!("stream {name} {} bounded as its layout says", if differ || !subjects { "is not" } else { "is" }),
        !differ && subjects,
        set_up,
    ));
    let lagging =
        info.cluster.iter().flat_map(|cluster| &cluster.replicas).filter(|copy| copy.offline || !copy.current);
    let lagging: Vec<&str> = lagging.map(|copy| copy.name.as_str()).collect();
    if wanted.num_replicas > 1 {
        let what =
            if lagging.is_empty() { "are up to date".to_owned() } else { format!("lag on {}", lagging.join(", ")) };
        findings.push(Finding::judged(
            format!("copies of {name} {what}"),
            lagging.is_empty(),
            "bring those servers back",
        ));
    }
    let most = u64::try_from(found.max_bytes).unwrap_or(u64::MAX);
    let percent = info.state.bytes.saturating_mul(100).checked_div(most).unwrap_or(0);
    findings.push(Finding::judged(
        format!("stream {name} is {percent} % full"),
        percent < FULL_PERCENT,
        "raise `bus.stream_mib_max` and set up again; only age frees room, and the archive that of history; what is full refuses",
    ));
    findings
}
