//! The bus: publish, consume, acknowledge, dead letters. JetStream and its twin in memory behind one trait.
//!
//! A subject is one partition of one stream; order holds within it. What a consumer was given and did not acknowledge
//! comes again, so whoever publishes on behalf of what it consumed guards itself with [`Outgoing::expected`].

mod jetstream;
mod layout;
mod letter;
mod memory;
mod message;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use trailwarden_core::time::Timestamp;

pub use jetstream::{Connection, Finding, JetStream};
pub use layout::{Layout, PAYLOAD_BYTES_MAX, Stream, Subject};
pub use memory::Memory;

/// Place of a message in its stream, from 1; 0 stands before the first.
pub type Sequence = u64;

/// Header that names the object which holds a message's payload, where that is too large for a message.
pub const CLAIM: &str = "Tw-Claim";

/// A message to publish.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    pub payload: Bytes,
    /// A message with the same id within the broker's window is stored once.
    pub id: Option<String>,
    /// Refuse the message unless the latest one on its subject has this sequence (0: unless there is none). It is looked
    /// at before the id: who retries with an expectation that its own first try made stale is refused, and finds its
    /// message by looking at what the subject holds.
    pub expected: Option<Sequence>,
    /// Trace context and what else travels beside the payload. Names and values are ASCII.
    pub headers: BTreeMap<String, String>,
}

/// A message as the stream holds it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub subject: String,
    pub sequence: Sequence,
    pub payload: Bytes,
    pub headers: BTreeMap<String, String>,
    /// The broker's clock when it stored the message.
    pub stored_at: Timestamp,
}

/// What the broker said of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Durable, at this sequence of the stream.
    Stored(Sequence),
    /// A message with this id was there already, at this sequence.
    Duplicate(Sequence),
}

/// How to consume a subject.
#[derive(Clone, Debug)]
pub struct Consumer {
    pub stream: Stream,
    /// Durable name; competing processes with the same name share the subject's messages.
    pub name: String,
    /// Subject to read, wildcards allowed where the order over subjects does not matter.
    pub filter: String,
    /// Messages that may be on their way unacknowledged: 1 keeps order over redeliveries.
    pub in_flight_max: usize,
    /// Unacknowledged for so long, a message is given to somebody again.
    pub ack_wait: Duration,
    /// Deliveries after which the broker gives up and says so.
    pub deliveries_max: u32,
    /// Forgotten by the broker after nobody pulled for so long (the twin in memory ends with its process and forgets none);
    /// `None` to be kept for ever, as whoever must lose nothing needs it.
    pub idle_max: Option<Duration>,
}

/// A message that waits for its acknowledgement.
#[async_trait]
pub trait Delivery: Send + Sync {
    fn message(&self) -> &Stored;
    /// How often it was given out, this time included.
    fn deliveries(&self) -> u64;
    /// Done with; returns once the broker knows.
    async fn ack(self: Box<Self>) -> Result<(), Error>;
    /// Give it to somebody again after `delay`.
    async fn hand_back(self: Box<Self>, delay: Duration) -> Result<(), Error>;
    /// Still at work: the time that is left starts anew.
    async fn progress(&self) -> Result<(), Error>;
}

/// One consumer's side of a subject.
#[async_trait]
pub trait Subscription: Send {
    /// The next message, or `None` when none came within `patience`.
    async fn next(&mut self, patience: Duration) -> Result<Option<Box<dyn Delivery>>, Error>;
}

/// How far a consumer is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Messages not yet given out.
    pub pending: u64,
    /// Messages given out and not acknowledged.
    pub in_flight: u64,
    /// Messages given out more than once and not acknowledged.
    pub redelivered: u64,
    /// All of its messages up to here are acknowledged. A broker whose leader has just changed may say too little, here as
    /// above: what waits may be more, what is acknowledged may lie further on, and never the other way round.
    pub acknowledged: Sequence,
}

impl Lag {
    /// Whether nothing waits, as far as the broker knows.
    pub fn is_idle(&self) -> bool {
        self.pending == 0 && self.in_flight == 0
    }
}

/// A message of the dead-letter stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where the original stood.
    pub subject: String,
    pub sequence: Sequence,
    /// Place within the original batch; `None` for the whole message.
    pub place: Option<u32>,
    /// Why it could not be worked on.
    pub reason: String,
    /// What could not be worked on, in the form that its subject carries, so that it can be sent again.
    pub payload: Bytes,
}

/// Everything that moves between processes.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Makes the streams of a layout, or brings them up to it. Doing it again changes nothing.
    async fn set_up(&self, layout: &Layout) -> Result<(), Error>;

    /// Publishes and waits until the message is durable.
    ///
    /// # Errors
    /// [`Error::Refused`] when `expected` does not hold, [`Error::Full`] when the stream takes no more.
    async fn publish(&self, subject: &Subject, message: Outgoing) -> Result<Published, Error>;

    /// The latest message of a subject.
    async fn last(&self, subject: &Subject) -> Result<Option<Stored>, Error>;

    /// Messages of a subject after a sequence, in order, at most `messages_max`.
    async fn read(&self, subject: &Subject, after: Sequence, messages_max: usize) -> Result<Vec<Stored>, Error>;

    /// Makes the durable consumer where it is not there yet, and joins it.
    async fn subscribe(&self, consumer: &Consumer) -> Result<Box<dyn Subscription>, Error>;

    async fn lag(&self, stream: Stream, consumer: &str) -> Result<Lag, Error>;

    /// Messages that a stream holds.
    async fn depth(&self, stream: Stream) -> Result<u64, Error>;

    /// Stores a dead letter; the same letter again is stored once.
    async fn bury(&self, letter: &DeadLetter) -> Result<(), Error>;

    /// Dead letters after a sequence of their stream, in order, whole even where one was too large for a message. One whose
    /// object the bus no longer keeps says so in its reason, and its payload is empty.
    async fn dead_letters(&self, after: Sequence, letters_max: usize) -> Result<Vec<(Sequence, DeadLetter)>, Error>;

    /// Sends the dead letter that stands at `letter` back to its subject, once: asked again, it says
    /// [`Published::Duplicate`]. Only a process that dies between sending and noting it can make it twice, and only when
    /// asked again after the broker forgot the message's id.
    ///
    /// # Errors
    /// [`Error::Missing`] when no letter stands there, [`Error::Invalid`] when nothing of it is left to send, and when its
    /// subject begins no chain: what a stage publishes is chained to what it published before, so it is made anew from its
    /// activities instead.
    async fn redrive(&self, letter: Sequence) -> Result<Published, Error> {
        let found = self.dead_letters(letter.saturating_sub(1), 1).await?;
        let Some((_, dead)) = found.into_iter().find(|(sequence, _)| *sequence == letter) else {
            return Err(Error::Missing { what: format!("dead letter {letter}") });
        };
        let subject = letter::way_back(&dead)?;
        let note = letter::note(subject.tenant(), letter);
        if let Some(noted) = self.last(&note).await? {
            return Ok(Published::Duplicate(message::number(&noted.payload)));
        }
        let id = Some(format!("redrive:{letter}"));
        let mut headers = BTreeMap::new();
        let payload = letter::carried(&dead.payload, &mut headers);
        let published = self.publish(&subject, Outgoing { payload, id, expected: None, headers }).await?;
        let (Published::Stored(sequence) | Published::Duplicate(sequence)) = published;
        let payload = Bytes::from(sequence.to_string());
        match self.publish(&note, Outgoing { payload, expected: Some(0), ..Outgoing::default() }).await {
            // Somebody else sent it at the same moment, under the same id.
            Ok(_) | Err(Error::Refused { .. }) => Ok(published),
            Err(error) => Err(error),
        }
    }

    /// Stores an immutable object under its name; storing it again is no error.
    async fn put_object(&self, name: &str, content: Bytes) -> Result<(), Error>;

    /// An object's content; `None` where there is none of that name.
    async fn object(&self, name: &str) -> Result<Option<Bytes>, Error>;

    /// A message's payload, wherever it is: with it, or in the object that its [`CLAIM`] names. `None` when that is gone.
    async fn content(&self, message: &Stored) -> Result<Option<Bytes>, Error> {
        match message.headers.get(CLAIM) {
            None => Ok(Some(message.payload.clone())),
            Some(name) => self.object(name).await,
        }
    }

    /// Whether the broker answers.
    async fn ping(&self) -> Result<(), Error>;
}

/// Why the bus did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody's fault: somebody else was faster. Look at what the subject holds and decide.
    #[error("{subject}: its latest message is not {expected}")]
    Refused { subject: String, expected: Sequence },
    /// The operator's: the stream holds what it may. Retry later; the source keeps the backlog.
    #[error("stream {stream} is full")]
    Full { stream: String },
    /// The operator's: no such stream or consumer; set-up mends it.
    #[error("{what} is missing; where it is a stream, `trailwarden doctor --set-up` makes it")]
    Missing { what: String },
    /// Ours or the sender's: too large, or a name that cannot be.
    #[error("{what}")]
    Invalid { what: String },
    /// The peer's: not there, or too slow. Retry.
    #[error("the broker does not answer: {what}")]
    Unavailable { what: String },
}

impl Error {
    /// Whether trying the same again can help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }
}
