//! One puller of a durable consumer.
//!
//! A pull for one message stands at the broker whenever somebody waits, so a message comes as soon as it is there. It
//! asks for one only: what is fetched beyond what is worked on would run out of its time in this process's memory.

use std::time::Duration;

use async_nats::jetstream::message::Message as JetStreamMessage;
use async_nats::{Message, StatusCode, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::LOOK_EVERY;
use super::broker::{Broker, headers_of, millis};
use crate::{Consumer, Delivery, Error, Stored, Subscription};

/// How long a pull stands at the broker.
const PULL_EXPIRES: Duration = Duration::from_secs(10);
/// How much later it is taken for lost when nothing was heard of it.
const PULL_LOST_AFTER: Duration = Duration::from_secs(2);

/// A pull that stands at the broker.
struct Asked {
    until: Instant,
    connection: u64,
}

pub(super) struct Puller {
    broker: Broker,
    stream: String,
    consumer: Consumer,
    /// Where answers to pulls arrive.
    inbox: String,
    answers: Subscriber,
    asked: Option<Asked>,
    /// The consumer may be gone: it is made anew before the next pull.
    doubtful: bool,
}

impl Puller {
    pub(super) async fn join(broker: Broker, stream: String, consumer: &Consumer) -> Result<Self, Error> {
        broker.make_consumer(&stream, consumer).await?;
        let inbox = broker.client().new_inbox();
        let answers = broker.client().subscribe(inbox.clone()).await;
        let answers = answers.map_err(|error| Error::Unavailable { what: error.to_string() })?;
        Ok(Self { broker, stream, consumer: consumer.clone(), inbox, answers, asked: None, doubtful: false })
    }

    fn what(&self) -> String {
        format!("consumer {} of {}", self.consumer.name, self.stream)
    }

    async fn ask(&mut self) -> Result<(), Error> {
        self.broker.connected().map_err(|failure| failure.about(&self.what()))?;
        let connection = self.broker.connections();
        let now = Instant::now();
        if self.asked.as_ref().is_some_and(|asked| asked.until > now && asked.connection == connection) {
            return Ok(());
        }
        if self.doubtful {
            self.broker.make_consumer(&self.stream, &self.consumer).await?;
            self.doubtful = false;
        }
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.consumer.name);
        let pull = json!({ "batch": 1, "expires": PULL_EXPIRES.as_nanos() as u64 }).to_string();
        let sent = self.broker.client().publish_with_reply(subject, self.inbox.clone(), pull.into()).await;
        sent.map_err(|error| Error::Unavailable { what: format!("{}: {error}", self.what()) })?;
        self.asked = Some(Asked { until: now + PULL_EXPIRES + PULL_LOST_AFTER, connection });
        Ok(())
    }

    /// A message, or what the broker has to say about the pull.
    fn take(&mut self, answer: Message) -> Result<Option<Box<dyn Delivery>>, Error> {
        match answer.status {
            None | Some(StatusCode::OK) => {
                self.asked = None;
                Given::new(self.broker.clone(), answer).map(|given| Some(Box::new(given) as Box<dyn Delivery>))
            }
            Some(StatusCode::IDLE_HEARTBEAT) => Ok(None),
            // Nothing came in time: ask again.
            Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => {
                self.asked = None;
                Ok(None)
            }
            // Deleted, moved, shutting down, or between two leaders.
            Some(_) => {
                self.asked = None;
                self.doubtful = true;
                let why = answer.description.unwrap_or_else(|| "nobody answers".to_owned());
                Err(Error::Unavailable { what: format!("{}: {why}", self.what()) })
            }
        }
    }
}

#[async_trait]
impl Subscription for Puller {
    async fn next(&mut self, patience: Duration) -> Result<Option<Box<dyn Delivery>>, Error> {
        let end = Instant::now() + patience;
        loop {
            self.ask().await?;
            match timeout_at(end.min(Instant::now() + LOOK_EVERY), self.answers.next()).await {
                Ok(Some(answer)) => {
                    if let Some(delivery) = self.take(answer)? {
                        return Ok(Some(delivery));
                    }
                }
                Ok(None) => return Err(Error::Unavailable { what: format!("{}: no more answers", self.what()) }),
                Err(_) if Instant::now() >= end => return Ok(None),
                Err(_) => {}
            }
        }
    }
}

/// A message that was given out.
struct Given {
    broker: Broker,
    message: Stored,
    deliveries: u64,
    /// Where its acknowledgement goes.
    reply: String,
}

impl Given {
    fn new(broker: Broker, message: Message) -> Result<Self, Error> {
        let unreadable = |why: String| Error::Unavailable { what: format!("a message that is none: {why}") };
        let reply = message.reply.as_ref().ok_or_else(|| unreadable("it has no reply".to_owned()))?.to_string();
        let given = JetStreamMessage { message, context: async_nats::jetstream::new(broker.client().clone()) };
        let info = given.info().map_err(|error| unreadable(error.to_string()))?;
        let (sequence, stored_at) = (info.stream_sequence, millis(info.published.unix_timestamp_nanos()));
        let deliveries = u64::try_from(info.delivered).unwrap_or(1);
        let message = given.message;
        let headers = message.headers.as_ref().map(headers_of).unwrap_or_default();
        let subject = message.subject.to_string();
        // Copied, since a slice holds all that came in with it on the connection, and some hold messages for long.
        let payload = Bytes::copy_from_slice(&message.payload);
        let message = Stored { subject, sequence, payload, headers, stored_at };
        Ok(Self { broker, message, deliveries, reply })
    }

    /// Returns once the broker has taken note.
    async fn say(&self, what: String) -> Result<(), Error> {
        match self.broker.request(self.reply.clone(), None, Bytes::from(what)).await {
            Ok(_) => Ok(()),
            Err(failure) => {
                Err(failure
                    .about(&format!("the acknowledgement of {} {}", self.message.subject, self.message.sequence)))
            }
        }
    }
}

#[async_trait]
impl Delivery for Given {
    fn message(&self) -> &Stored {
        &self.message
    }

    fn deliveries(&self) -> u64 {
        self.deliveries
    }

    async fn ack(self: Box<Self>) -> Result<(), Error> {
        self.say("+ACK".to_owned()).await
    }

    async fn hand_back(self: Box<Self>, delay: Duration) -> Result<(), Error> {
        let delay = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.say(if delay == 0 { "-NAK".to_owned() } else { format!("-NAK {}", json!({ "delay": delay })) }).await
    }

    async fn progress(&self) -> Result<(), Error> {
        self.say("+WPI".to_owned()).await
    }
}
