//! The bus over NATS JetStream.

mod advisory;
mod broker;
mod check;
mod objects;
mod puller;
mod streams;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::publish::PublishAck;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::{
    Bus, Consumer, DeadLetter, Error, Lag, Layout, Outgoing, Published, Sequence, Stored, Stream, Subject,
    Subscription, letter, message,
};
use broker::{Broker, Failure};

pub use check::Finding;

/// How to reach the broker.
#[derive(Clone)]
pub struct Connection {
    /// `nats://127.0.0.1:4222`; several separated by commas. It may hold a user and a password.
    pub url: String,
    pub tenant: String,
}

impl fmt::Debug for Connection {
    /// Without the address, for the password's sake.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// The bus over NATS JetStream, for one tenant. Clones share a connection, which is made again whenever it breaks;
/// while there is none, everything answers [`Error::Unavailable`] at once.
#[derive(Clone, Debug)]
pub struct JetStream {
    broker: Broker,
    /// Buries what consumers give up, from the first subscription on.
    undertaker: Arc<OnceLock<Task>>,
}

/// A task that ends with whoever holds it.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl JetStream {
    /// Begins to connect; that the broker is not there yet is no error.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an address or a tenant that cannot be.
    pub async fn connect(connection: Connection) -> Result<Self, Error> {
        Broker::connect(connection).await.map(Self::new)
    }

    fn new(broker: Broker) -> Self {
        Self { broker, undertaker: Arc::default() }
    }

    fn tenant(&self) -> &str {
        self.broker.tenant()
    }

    fn belongs(&self, tenant: &str) -> Result<(), Error> {
        if tenant == self.tenant() {
            return Ok(());
        }
        Err(Error::Missing { what: format!("tenant {tenant} on the bus of {}", self.tenant()) })
    }

    async fn store(&self, subject: &Subject, message: Outgoing) -> Result<Published, Error> {
        subject.check()?;
        self.belongs(subject.tenant())?;
        let mut headers = HeaderMap::new();
        for (name, value) in &message.headers {
            headers.insert(name.as_str(), value.as_str());
        }
        if let Some(id) = &message.id {
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
        }
        if let Some(expected) = message.expected {
            headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
        }
        let name = subject.to_string();
        match self.broker.ask::<PublishAck>(name.clone(), Some(headers), message.payload).await {
            Ok(ack) if ack.duplicate => Ok(Published::Duplicate(ack.sequence)),
            Ok(ack) => Ok(Published::Stored(ack.sequence)),
            Err(failure) if failure.is_wrong_sequence() => {
                Err(Error::Refused { subject: name, expected: message.expected.unwrap_or_default() })
            }
            Err(Failure::NoResponders) => {
                Err(self.broker.why_nobody_answers(&subject.stream.name(self.tenant())).await)
            }
            Err(failure) => Err(failure.about(&subject.stream.name(self.tenant()))),
        }
    }

    pub(crate) async fn bury_once(&self, letter: &DeadLetter) -> Result<(), Error> {
        if let Some(name) = letter::object(&letter.payload) {
            objects::put(&self.broker, &name, &letter.payload).await?;
        }
        let (subject, message) = letter::message(self.tenant(), letter);
        match self.store(&subject, message).await {
            Ok(_) | Err(Error::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Messages that a filter selects, in order, as the stream's leader holds them: a copy may lag behind, and whoever
    /// rebuilds its states from a part of the stream would not notice.
    async fn select(&self, stream: &str, filter: &str, after: Sequence, most: usize) -> Result<Vec<Stored>, Error> {
        let mut found: Vec<Stored> = Vec::new();
        let mut from = after.saturating_add(1);
        while found.len() < most
            && let Some(stored) = self.broker.next_of(stream, filter, from).await?
        {
            from = stored.sequence.saturating_add(1);
            found.push(stored);
        }
        Ok(found)
    }
}

#[async_trait]
impl Bus for JetStream {
    async fn set_up(&self, layout: &Layout) -> Result<(), Error> {
        self.belongs(&layout.tenant)?;
        for config in streams::configs(layout) {
            self.broker.make_stream(config).await?;
        }
        Ok(())
    }

    async fn publish(&self, subject: &Subject, message: Outgoing) -> Result<Published, Error> {
        message::check(&message)?;
        self.store(subject, message).await
    }

    async fn last(&self, subject: &Subject) -> Result<Option<Stored>, Error> {
        self.belongs(subject.tenant())?;
        self.broker.last_of(&subject.stream.name(self.tenant()), &subject.to_string()).await
    }

    async fn read(&self, subject: &Subject, after: Sequence, messages_max: usize) -> Result<Vec<Stored>, Error> {
        self.belongs(subject.tenant())?;
        self.select(&subject.stream.name(self.tenant()), &subject.to_string(), after, messages_max).await
    }

    async fn subscribe(&self, consumer: &Consumer) -> Result<Box<dyn Subscription>, Error> {
        message::check_consumer(&consumer.name)?;
        let puller = puller::Puller::join(self.broker.clone(), consumer.stream.name(self.tenant()), consumer).await?;
        self.undertaker.get_or_init(|| Task(tokio::spawn(advisory::bury_what_is_given_up(self.broker.clone()))));
        Ok(Box::new(puller))
    }

    async fn lag(&self, stream: Stream, consumer: &str) -> Result<Lag, Error> {
        message::check_consumer(consumer)?;
        self.broker.lag(&stream.name(self.tenant()), consumer).await
    }

    async fn depth(&self, stream: Stream) -> Result<u64, Error> {
        self.broker.messages(&stream.name(self.tenant())).await
    }

    async fn bury(&self, letter: &DeadLetter) -> Result<(), Error> {
        self.bury_once(letter).await
    }

    async fn dead_letters(&self, after: Sequence, letters_max: usize) -> Result<Vec<(Sequence, DeadLetter)>, Error> {
        let (stream, filter) = (Stream::Dead.name(self.tenant()), letter::filter(self.tenant()));
        let mut letters = Vec::new();
        let mut from = after.saturating_add(1);
        while letters.len() < letters_max
            && let Some(stored) = self.broker.next_of(&stream, &filter, from).await?
        {
            from = stored.sequence.saturating_add(1);
            let content = letter::found(self.content(&stored).await)?;
            letters.extend(letter::letter(&stored, content).map(|letter| (stored.sequence, letter)));
        }
        Ok(letters)
    }

    async fn put_object(&self, name: &str, content: Bytes) -> Result<(), Error> {
        message::check_name(name)?;
        objects::put(&self.broker, name, &content).await
    }

    async fn object(&self, name: &str) -> Result<Option<Bytes>, Error> {
        message::check_name(name)?;
        objects::get(&self.broker, name).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.broker.account().await
    }
}

/// How long an answer of the broker may take. An answer waits for the disk, and for a leader's election.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often whoever waits looks whether the connection is still the one that was asked on.
const LOOK_EVERY: Duration = Duration::from_millis(250);
