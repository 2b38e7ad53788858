//! A bus that does not answer for one subject while it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use trailwarden_bus::{
    Bus, Consumer, DeadLetter, Error, Lag, Layout, Outgoing, Published, Sequence, Stored, Stream, Subject, Subscription,
};

pub(crate) struct Deaf {
    inner: Arc<dyn Bus>,
    subject: Subject,
    is_shut: AtomicBool,
}

impl Deaf {
    pub(crate) fn to(inner: Arc<dyn Bus>, subject: &Subject) -> Arc<Self> {
        Arc::new(Self { inner, subject: subject.clone(), is_shut: AtomicBool::new(false) })
    }

    pub(crate) fn shut(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn open(&self) {
        self.is_shut.store(false, Ordering::SeqCst);
    }
}

#[async_trait]
impl Bus for Deaf {
    async fn publish(&self, subject: &Subject, message: Outgoing) -> Result<Published, Error> {
        if *subject == self.subject && self.is_shut.load(Ordering::SeqCst) {
            return Err(Error::Unavailable { what: "it is deaf".to_owned() });
        }
        self.inner.publish(subject, message).await
    }

    async fn set_up(&self, layout: &Layout) -> Result<(), Error> {
        self.inner.set_up(layout).await
    }

    async fn last(&self, subject: &Subject) -> Result<Option<Stored>, Error> {
        self.inner.last(subject).await
    }

    async fn read(&self, subject: &Subject, after: Sequence, messages_max: usize) -> Result<Vec<Stored>, Error> {
        self.inner.read(subject, after, messages_max).await
    }

    async fn subscribe(&self, consumer: &Consumer) -> Result<Box<dyn Subscription>, Error> {
        self.inner.subscribe(consumer).await
    }

    async fn lag(&self, stream: Stream, consumer: &str) -> Result<Lag, Error> {
        self.inner.lag(stream, consumer).await
    }

    async fn depth(&self, stream: Stream) -> Result<u64, Error> {
        self.inner.depth(stream).await
    }

    async fn bury(&self, letter: &DeadLetter) -> Result<(), Error> {
        self.inner.bury(letter).await
    }

    async fn dead_letters(&self, after: Sequence, letters_max: usize) -> Result<Vec<(Sequence, DeadLetter)>, Error> {
        self.inner.dead_letters(after, letters_max).await
    }

    async fn put_object(&self, name: &str, content: Bytes) -> Result<(), Error> {
        self.inner.put_object(name, content).await
    }

    async fn object(&self, name: &str) -> Result<Option<Bytes>, Error> {
        self.inner.object(name).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.inner.ping().await
    }
}
