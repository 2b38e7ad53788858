//! A bus at whose n-th message the process dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use trailwarden_bus::{
    Bus, Consumer, DeadLetter, Error, Lag, Layout, Outgoing, Published, Sequence, Stored, Stream, Subject, Subscription,
};

/// Dies at the n-th message that it publishes: before the broker has it, or after.
pub(crate) struct Mortal {
    inner: Arc<dyn Bus>,
    left: AtomicUsize,
    after: bool,
}

impl Mortal {
    pub(crate) fn new(inner: Arc<dyn Bus>, nth: usize, after: bool) -> Arc<Self> {
        Arc::new(Self { inner, left: AtomicUsize::new(nth), after })
    }

    /// Whether it has come to that.
    pub(crate) fn is_dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

#[async_trait]
impl Bus for Mortal {
    async fn publish(&self, subject: &Subject, message: Outgoing) -> Result<Published, Error> {
        let left = self.left.load(Ordering::SeqCst);
        self.left.store(left.saturating_sub(1), Ordering::SeqCst);
        if left == 1 && self.after {
            let _ = self.inner.publish(subject, message).await;
            return std::future::pending().await;
        }
        if left <= 1 {
            return std::future::pending().await;
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
