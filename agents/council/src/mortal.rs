//! A bus that its user does not survive.

use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use trailwarden_bus::{
    Bus, Consumer, DeadLetter, Error as BusError, Lag, Layout, Memory, Outgoing, Published, Sequence, Stored, Stream,
    Subject, Subscription,
};

/// A bus whose user dies at the operation that is counted out.
pub(super) struct Mortal {
    inner: Memory,
    left: AtomicI64,
    pub(super) died: CancellationToken,
}

impl Mortal {
    pub(super) fn new(inner: &Memory, operations: i64) -> Self {
        Self { inner: inner.clone(), left: AtomicI64::new(operations), died: CancellationToken::new() }
    }

    async fn count(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            self.died.cancel();
            std::future::pending().await
        }
        // A real bus lets others go first.
        tokio::task::yield_now().await;
    }
}

#[async_trait]
impl Bus for Mortal {
    async fn set_up(&self, layout: &Layout) -> Result<(), BusError> {
        self.inner.set_up(layout).await
    }
    async fn publish(&self, subject: &Subject, message: Outgoing) -> Result<Published, BusError> {
        self.count().await;
        let published = self.inner.publish(subject, message).await;
        // Dying between the broker's doing and hearing of it is a step of its own.
        self.count().await;
        published
    }
    async fn last(&self, subject: &Subject) -> Result<Option<Stored>, BusError> {
        self.inner.last(subject).await
    }
    async fn read(&self, subject: &Subject, after: Sequence, max: usize) -> Result<Vec<Stored>, BusError> {
        self.count().await;
        self.inner.read(subject, after, max).await
    }
    async fn subscribe(&self, consumer: &Consumer) -> Result<Box<dyn Subscription>, BusError> {
        self.inner.subscribe(consumer).await
    }
    /// As a broker whose leader has just changed may answer: nothing waits, and less is acknowledged than truly is.
    async fn lag(&self, stream: Stream, consumer: &str) -> Result<Lag, BusError> {
        let acknowledged = self.inner.lag(stream, consumer).await?.acknowledged / 2;
        Ok(Lag { acknowledged, ..Lag::default() })
    }
    async fn depth(&self, stream: Stream) -> Result<u64, BusError> {
        self.inner.depth(stream).await
    }
    async fn bury(&self, letter: &DeadLetter) -> Result<(), BusError> {
        self.inner.bury(letter).await
    }
    async fn dead_letters(&self, after: Sequence, max: usize) -> Result<Vec<(Sequence, DeadLetter)>, BusError> {
        self.inner.dead_letters(after, max).await
    }
    async fn put_object(&self, name: &str, content: Bytes) -> Result<(), BusError> {
        self.inner.put_object(name, content).await
    }
    async fn object(&self, name: &str) -> Result<Option<Bytes>, BusError> {
        self.inner.object(name).await
    }
    async fn ping(&self) -> Result<(), BusError> {
        self.inner.ping().await
    }
}
