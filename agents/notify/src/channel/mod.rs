//! Ways to reach a person. Each gives an alert its own form, escapes what its form would read as markup, and sends it once.

mod email;
mod feed;
mod gateway;
mod log;
mod pagerduty;
mod slack;
mod sns;
mod webhook;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use trailwarden_bus::Bus;
use trailwarden_core::time::Timestamp;
use trailwarden_runtime::Clock;
use trailwarden_runtime::secret::Secret;
use trailwarden_runtime::transport::{self, Answer, Bounds, Outgoing, Transport};

use crate::config::{self, ChannelKind, ChannelSpec};
use crate::throttle::{Message, Outcome};
use crate::words::{Link, Words};

pub use webhook::{SIGNATURE_HEADER, TIMESTAMP_HEADER, signature};

/// Whole time of one attempt. Well below a lease, so that nobody else takes the message meanwhile.
pub const SEND_DEADLINE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read: nobody has much to say about a message.
const REPLY_BYTES_MAX: usize = 16 << 10;

/// An alert, ready to be told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    pub message: &'a Message,
    pub words: &'a Words,
    pub at: Timestamp,
}

/// Why a message did not go out. Text of others in here is short and free of secrets.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer's: trying again may help.
    #[error("{why}")]
    Failed { why: String, retry_after: Option<Duration> },
    /// The operator's, or ours: trying the same again does not help.
    #[error("{why}")]
    Refused { why: String },
}

impl Error {
    pub(crate) fn refused(why: impl ToString) -> Self {
        Self::Refused { why: why.to_string() }
    }

    pub(crate) fn failed(why: impl ToString) -> Self {
        Self::Failed { why: why.to_string(), retry_after: None }
    }

    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Failed { retry_after, .. } => Outcome::Failed { retry_after: *retry_after },
            Self::Refused { .. } => Outcome::Refused,
        }
    }
}

impl From<transport::Error> for Error {
    fn from(error: transport::Error) -> Self {
        let why = error.to_string();
        match error {
            transport::Error::Refused { .. } | transport::Error::Configuration(_) => Self::Refused { why },
            // The service took it, whatever it said of it.
            transport::Error::Limited { retry_after, .. } | transport::Error::Unavailable { retry_after, .. } => {
                Self::Failed { why, retry_after }
            }
            _ => Self::Failed { why, retry_after: None },
        }
    }
}

/// One way to reach a person.
#[async_trait]
pub trait Channel: Send + Sync {
    fn name(&self) -> &str;

    fn kind(&self) -> ChannelKind;

    /// Tells an alert. Done again, it is told again: receivers that know a message's id drop the second.
    ///
    /// # Errors
    /// See [`Error`].
    async fn send(&self, told: &Told<'_>) -> Result<(), Error>;
}

/// What channels are made with.
pub struct Deps<'a> {
    pub bus: Arc<dyn Bus>,
    pub tenant: &'a str,
    pub environment: &'a [(OsString, OsString)],
    pub clock: Clock,
}

/// The channel that a configuration describes. Nothing is sent yet.
///
/// # Errors
/// [`config::Error`] for an address that cannot be, and for a secret that is not there.
pub fn open(spec: &ChannelSpec, deps: &Deps<'_>) -> Result<Arc<dyn Channel>, config::Error> {
    let transport = || {
        let bounds = Bounds { total: SEND_DEADLINE / 2, reply_bytes_max: REPLY_BYTES_MAX, ..Bounds::default() };
        Transport::new(bounds).map_err(|error| spec.wrong(error))
    };
    Ok(match spec.kind {
        ChannelKind::Email => Arc::new(email::Email::new(spec, deps)?),
        ChannelKind::Sns => Arc::new(sns::Sns::new(spec, transport()?, deps)?),
        ChannelKind::SmsGateway => Arc::new(gateway::Gateway::new(spec, transport()?, deps)?),
        ChannelKind::Slack => Arc::new(slack::Slack::new(spec, transport()?, deps)?),
        ChannelKind::PagerDuty => Arc::new(pagerduty::PagerDuty::new(spec, transport()?, deps)?),
        ChannelKind::Webhook => Arc::new(webhook::Webhook::new(spec, transport()?, deps)?),
        ChannelKind::Feed => Arc::new(feed::Feed::new(spec, deps)),
        ChannelKind::Log => Arc::new(log::LogFile::new(spec)?),
    })
}

/// A service that takes JSON by POST.
struct Service {
    transport: Transport,
    url: Url,
    /// Not quoted in errors, should the service echo them.
    secrets: Vec<Secret>,
}

impl Service {
    fn new(spec: &ChannelSpec, transport: Transport, url: &str, secrets: Vec<Secret>) -> Result<Self, config::Error> {
        let url = transport.address(url).map_err(|error| spec.wrong(error))?;
        Ok(Self { transport, url, secrets })
    }

    async fn post(
        &self,
        kind: &'static str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let mut map = HeaderMap::new();
        map.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        for (name, value) in headers {
            let mut value = HeaderValue::try_from(value)
                .map_err(|_| Error::refused(format_args!("a header cannot hold what {name} needs")))?;
            value.set_sensitive(true);
            map.insert(HeaderName::from_static(name), value);
        }
        let request = Outgoing { url: self.url.clone(), headers: map, body, answer: Answer::Any };
        let secrets: Vec<&Secret> = self.secrets.iter().collect();
        match self.transport.post(request, &secrets).await {
            // An answer that is too long is an answer: it was taken.
            Err(transport::Error::TooLarge { .. }) => Ok(Vec::new()),
            answer => Ok(answer?),
        }
    }

    async fn post_json(&self, headers: &[(&'static str, String)], body: &Value) -> Result<Vec<u8>, Error> {
        self.post("application/json", headers, body.to_string().into_bytes()).await
    }
}

/// An alert for machines: its facts, and its words.
fn data(told: &Told<'_>) -> Value {
    let Told { message, words, at } = told;
    let Message { id, alert, count, since } = message;
    let stamp = |time: Option<Timestamp>| time.map(|time| time.to_string());
    let receipt = &alert.receipt;
    json!({
        "id": id,
        "kind": alert.kind,
        "severity": alert.severity,
        "time": alert.at.to_string(),
        "told_time": at.to_string(),
        "account": alert.account,
        "principal": alert.principal,
        "case_id": alert.case,
        "ended": alert.ended,
        "seen": alert.seen,
        "limit": alert.limit,
        "score": alert.score,
        "what": alert.what,
        "verdict": alert.verdict,
        "reasons": alert.reasons,
        "steps": alert.steps,
        "steps_more": alert.steps_more,
        "count": count,
        "since": since.to_string(),
        "receipt": {
            "event_time": stamp(receipt.event),
            "delivered_time": stamp(receipt.delivered),
            "scored_time": stamp(receipt.scored),
            "judged_time": stamp(receipt.judged),
            "acted_time": stamp(receipt.acted),
        },
        "subject": words.subject,
        "text": words.lines().join("\n"),
        "url": match &words.link {
            Some(Link::Address { url, .. }) => Some(url),
            _ => None,
        },
    })
}

/// The few words of a text message.
fn short(words: &Words, chars_max: usize) -> String {
    let link = match &words.link {
        Some(Link::Address { url, .. }) => format!(" {url}"),
        Some(Link::Command { .. }) | None => String::new(),
    };
    let room = chars_max.saturating_sub(link.chars().count());
    let mut text = words.subject.clone();
    for part in [&words.done, &words.held] {
        if !part.is_empty() && text.chars().count() + part.chars().count() < room {
            text = format!("{text}. {}", part.trim_end_matches('.'));
        }
    }
    let mut text: String = text.chars().take(room).collect();
    text.push_str(&link);
    text
}
