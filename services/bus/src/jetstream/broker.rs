//! One connection, what is asked over it, and what each refusal means.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::consumer::{self, IntoConsumerConfig};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{self, LastRawMessageErrorKind, RawMessageBuilder, WithHeaders};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, ConnectOptions, HeaderMap, Message, Request, RequestErrorKind, ServerAddr};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;
use trailwarden_core::time::Timestamp;

use super::{ANSWER_WITHIN, Connection, LOOK_EVERY};
use crate::{Consumer, Error, Lag, Sequence, Stored, Stream, Subject};

/// Delays between attempts to connect: doubling from the first to the last.
const RECONNECT_MIN: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// Pulls that may wait at one consumer: replicas of a role, with room.
const PULLS_MAX: i64 = 512;

/// "maximum bytes exceeded", and other limits of a stream's store: their text says which.
const STREAM_STORE_FAILED: ErrorCode = ErrorCode(10077);
/// What newer servers say of a wrong sequence, beside [`ErrorCode::STREAM_WRONG_LAST_SEQUENCE`].
const STREAM_WRONG_LAST_SEQUENCE_CONSTANT: ErrorCode = ErrorCode(10164);

#[derive(Clone)]
pub(super) struct Broker {
    client: Client,
    context: Context,
    tenant: Arc<str>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// Why a question was not answered.
#[derive(Debug)]
pub(super) enum Failure {
    /// The broker's own word.
    Api(jetstream::Error),
    /// There is a broker, and nobody there to whom the question went: no such stream, or one without a leader.
    NoResponders,
    /// More bytes, headers included, than the broker takes: it was not sent, and never will be.
    TooLarge(String),
    Silent(String),
}

impl Failure {
    pub(super) fn is_wrong_sequence(&self) -> bool {
        let codes = [ErrorCode::STREAM_WRONG_LAST_SEQUENCE, STREAM_WRONG_LAST_SEQUENCE_CONSTANT];
        matches!(self, Self::Api(error) if codes.contains(&error.error_code()))
    }

    fn is(&self, code: ErrorCode) -> bool {
        matches!(self, Self::Api(error) if error.error_code() == code)
    }

    /// In the words of the room; `what` names the stream or consumer that was asked.
    pub(super) fn about(self, what: &str) -> Error {
        let error = match self {
            Self::Api(error) => error,
            Self::NoResponders => return Error::Unavailable { what: format!("nobody answers for {what}") },
            Self::TooLarge(why) => return Error::Invalid { what: format!("{what}: {why}") },
            Self::Silent(why) => return Error::Unavailable { what: format!("{what}: {why}") },
        };
        let text = error.to_string();
        match error.error_code() {
            ErrorCode::STREAM_NOT_FOUND | ErrorCode::CONSUMER_NOT_FOUND | ErrorCode::CONSUMER_DOES_NOT_EXIST => {
                Error::Missing { what: what.to_owned() }
            }
            ErrorCode::INSUFFICIENT_RESOURCES
            | ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::MEMORY_RESOURCES_EXCEEDED
            | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => Error::Full { stream: format!("{what} ({text})") },
            STREAM_STORE_FAILED if text.contains("maximum") => Error::Full { stream: what.to_owned() },
            // Leaderless, restarting, a disk that fails: all pass, or an operator sees to them.
            _ if error.code() >= 500 => Error::Unavailable { what: format!("{what}: {text}") },
            _ => Error::Invalid { what: format!("{what}: {text}") },
        }
    }
}

impl Broker {
    pub(super) async fn connect(connection: Connection) -> Result<Self, Error> {
        Subject::whole(Stream::Activity, &connection.tenant).check()?;
        let addresses: Result<Vec<ServerAddr>, _> = connection.url.split(',').map(|url| url.trim().parse()).collect();
        // The address may hold a password, so it is not repeated.
        let addresses = addresses.map_err(|error| Error::Invalid { what: format!("the broker's address: {error}") })?;
        if addresses.iter().any(|address| address.host().is_empty()) {
            return Err(Error::Invalid { what: "the broker's address names no host".to_owned() });
        }
        let delay = |attempts: usize| {
            let doublings = u32::try_from(attempts.min(16)).unwrap_or(16);
            RECONNECT_MIN.saturating_mul(1 << doublings).min(RECONNECT_MAX)
        };
        let options = ConnectOptions::new()
            .name("trailwarden")
            .retry_on_initial_connect()
            .reconnect_delay_callback(delay)
            .request_timeout(Some(ANSWER_WITHIN));
        let connected = options.connect(addresses).await;
        let client = connected.map_err(|error| Error::Unavailable { what: error.to_string() })?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(ANSWER_WITHIN);
        Ok(Self { client, context, tenant: connection.tenant.into() })
    }

    pub(super) fn tenant(&self) -> &str {
        &self.tenant
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Counts the connections made: what was under way on an earlier one is lost.
    pub(super) fn connections(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Says at once that there is no connection, where a request would wait for its deadline.
    pub(super) fn connected(&self) -> Result<(), Failure> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            State::Pending | State::Disconnected => Err(Failure::Silent("not connected".to_owned())),
        }
    }

    /// Waits for an answer as long as the connection holds on which it was asked for: a broker that died answers nothing,
    /// and a deadline is long.
    async fn while_connected<T>(&self, answer: impl Future<Output = T> + Send) -> Result<T, Failure> {
        self.connected()?;
        let connection = self.connections();
        let mut answer = pin!(answer);
        loop {
            if let Ok(answer) = timeout(LOOK_EVERY, &mut answer).await {
                return Ok(answer);
            }
            self.connected()?;
            if self.connections() != connection {
                return Err(Failure::Silent("the connection broke meanwhile".to_owned()));
            }
        }
    }

    pub(super) async fn request(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Message, Failure> {
        let mut request = Request::new().payload(payload);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let answer = self.while_connected(self.client.send_request(subject, request)).await?;
        answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => Failure::NoResponders,
            RequestErrorKind::MaxPayloadExceeded => Failure::TooLarge(error.to_string()),
            _ => Failure::Silent(error.to_string()),
        })
    }

    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<T, Failure> {
        let answer = self.request(subject, headers, payload).await?;
        match serde_json::from_slice(&answer.payload) {
            Ok(Response::Ok(answer)) => Ok(answer),
            Ok(Response::Err { error }) => Err(Failure::Api(error)),
            Err(error) => Err(Failure::Silent(format!("an answer that is none: {error}"))),
        }
    }

    /// Asks JetStream's own interface.
    pub(super) async fn api<T: DeserializeOwned>(&self, what: &str, question: &impl Serialize) -> Result<T, Failure> {
        let question = serde_json::to_vec(question).map_err(|error| Failure::Silent(error.to_string()))?;
        self.ask(format!("$JS.API.{what}"), None, question.into()).await
    }

    pub(super) async fn account(&self) -> Result<(), Error> {
        let account: Result<serde_json::Value, Failure> = self.api("INFO", &json!({})).await;
        account.map(|_| ()).map_err(|failure| failure.about("JetStream"))
    }

    /// Nobody takes what is published to a stream while it has no leader, and when it is not there at all.
    pub(super) async fn why_nobody_answers(&self, stream: &str) -> Error {
        match self.api::<serde_json::Value>(&format!("STREAM.INFO.{stream}"), &json!({})).await {
            Ok(_) => Failure::NoResponders.about(stream),
            Err(failure) => failure.about(&format!("stream {stream}")),
        }
    }

    pub(super) async fn make_stream(&self, config: stream::Config) -> Result<(), Error> {
        let name = config.name.clone();
        let answer: Result<serde_json::Value, Failure> = match self.api(&format!("STREAM.UPDATE.{name}"), &config).await
        {
            Err(failure) if failure.is(ErrorCode::STREAM_NOT_FOUND) => {
                self.api(&format!("STREAM.CREATE.{name}"), &config).await
            }
            Err(failure) => match self.of_another_kind(&config).await {
                // An earlier version made it, and put nothing in.
                Some(0) => {
                    tracing::info!(stream = name, "the stream is empty and of another kind: it is made anew");
                    let deleted: Result<serde_json::Value, Failure> =
                        self.api(&format!("STREAM.DELETE.{name}"), &json!({})).await;
                    deleted.map_err(|failure| failure.about(&format!("stream {name}")))?;
                    self.api(&format!("STREAM.CREATE.{name}"), &config).await
                }
                Some(_) => {
                    let what =
                        format!("stream {name} is of an earlier kind and holds something; save it and remove it");
                    return Err(Error::Invalid { what });
                }
                None => Err(failure),
            },
            answer => answer,
        };
        answer.map(|_| ()).map_err(|failure| {
            if failure.is(ErrorCode::STORAGE_RESOURCES_EXCEEDED) {
                let what = format!("stream {name} does not fit on the broker's disk; lower `bus.stream_mib_max`");
                return Error::Invalid { what };
            }
            failure.about(&format!("stream {name}"))
        })
    }

    /// Messages that a stream was ever given which stands there with another retention: no broker changes that.
    async fn of_another_kind(&self, config: &stream::Config) -> Option<u64> {
        let info: Result<stream::Info, Failure> = self.api(&format!("STREAM.INFO.{}", config.name), &json!({})).await;
        let info = info.ok().filter(|info| info.config.retention != config.retention)?;
        Some(info.state.last_sequence)
    }

    pub(super) async fn make_consumer(&self, stream: &str, consumer: &Consumer) -> Result<(), Error> {
        let config = consumer::pull::Config {
            durable_name: Some(consumer.name.clone()),
            ack_policy: consumer::AckPolicy::Explicit,
            ack_wait: consumer.ack_wait,
            max_deliver: i64::from(consumer.deliveries_max),
            inactive_threshold: consumer.idle_max.unwrap_or_default(),
            filter_subject: consumer.filter.clone(),
            max_ack_pending: i64::try_from(consumer.in_flight_max).unwrap_or(i64::MAX),
            max_waiting: PULLS_MAX,
            ..consumer::pull::Config::default()
        };
        let question = json!({ "stream_name": stream, "config": config.into_consumer_config() });
        let name = &consumer.name;
        let answer: Result<serde_json::Value, Failure> =
            self.api(&format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), &question).await;
        answer.map(|_| ()).map_err(|failure| match failure {
            Failure::Api(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Error::Missing { what: format!("stream {stream}") }
            }
            failure => failure.about(&format!("consumer {name} of {stream}")),
        })
    }

    pub(super) async fn lag(&self, stream: &str, consumer: &str) -> Result<Lag, Error> {
        let info: Result<consumer::Info, Failure> =
            self.api(&format!("CONSUMER.INFO.{stream}.{consumer}"), &json!({})).await;
        let info = info.map_err(|failure| failure.about(&format!("consumer {consumer} of {stream}")))?;
        Ok(Lag {
            pending: info.num_pending,
            in_flight: info.num_ack_pending as u64,
            redelivered: info.num_redelivered as u64,
            acknowledged: info.ack_floor.stream_sequence,
        })
    }

    /// Messages that a stream holds.
    pub(super) async fn messages(&self, stream: &str) -> Result<u64, Error> {
        let info: Result<stream::Info, Failure> = self.api(&format!("STREAM.INFO.{stream}"), &json!({})).await;
        info.map(|info| info.state.messages).map_err(|failure| failure.about(&format!("stream {stream}")))
    }

    /// The message at a sequence.
    pub(super) async fn at(&self, stream: &str, sequence: Sequence) -> Result<Option<Stored>, Error> {
        self.get(stream, |builder| builder.sequence(sequence)).await
    }

    /// The first message from a sequence on that a filter selects.
    pub(super) async fn next_of(&self, stream: &str, filter: &str, from: Sequence) -> Result<Option<Stored>, Error> {
        self.get(stream, |builder| builder.sequence(from).next_by_subject(filter)).await
    }

    /// The latest message of a subject.
    pub(super) async fn last_of(&self, stream: &str, subject: &str) -> Result<Option<Stored>, Error> {
        self.get(stream, |builder| builder.last_by_subject(subject)).await
    }

    /// Asks the stream's leader. Any copy would answer a direct get, with what it has by then, and the fence would take
    /// an older message for a store that has rolled back.
    async fn get(
        &self,
        stream: &str,
        which: impl FnOnce(RawMessageBuilder<WithHeaders>) -> RawMessageBuilder<WithHeaders> + Send,
    ) -> Result<Option<Stored>, Error> {
        let unavailable = |what: String| Error::Unavailable { what: format!("stream {stream}: {what}") };
        let handle = self.context.get_stream_no_info(stream).await.map_err(|error| unavailable(error.to_string()))?;
        let asked = self.while_connected(which(handle.raw_message_builder()).send()).await;
        match asked.map_err(|failure| failure.about(stream))? {
            Ok(message) => Ok(Some(stored_message(message))),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::InvalidSubject => Err(Error::Invalid { what: error.to_string() }),
                LastRawMessageErrorKind::JetStream(error) => {
                    Err(Failure::Api(error).about(&format!("stream {stream}")))
                }
                LastRawMessageErrorKind::Other => Err(unavailable(error.to_string())),
            },
        }
    }
}

fn stored_message(message: StreamMessage) -> Stored {
    Stored {
        subject: message.subject.to_string(),
        sequence: message.sequence,
        headers: headers_of(&message.headers),
        payload: message.payload,
        stored_at: millis(message.time.unix_timestamp_nanos()),
    }
}

/// What the publisher put there; what the broker put there is not part of the message.
pub(super) fn headers_of(headers: &HeaderMap) -> BTreeMap<String, String> {
    let ours = headers.iter().filter(|(name, _)| !AsRef::<str>::as_ref(name).starts_with("Nats-"));
    ours.filter_map(|(name, values)| Some((name.to_string(), values.last()?.to_string()))).collect()
}

pub(super) fn millis(nanos: i128) -> Timestamp {
    Timestamp::from_millis(i64::try_from(nanos.div_euclid(1_000_000)).unwrap_or(i64::MAX))
}
