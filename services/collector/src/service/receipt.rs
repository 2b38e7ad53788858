//! Who waits for records to be durable, and the room that they take until then.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tonic::Status;

/// Counts one request's records down. Dropped before all are durable, it tells the waiter that nobody knows.
///
/// Whatever holds records of the request holds this, so it is gone with the last of them.
#[derive(Debug)]
pub(super) struct Receipt {
    left: AtomicUsize,
    waiter: Mutex<Option<oneshot::Sender<Result<(), Status>>>>,
    /// Given back with the last record, whether or not anybody waits: records take memory, not those who sent them.
    _room: Option<OwnedSemaphorePermit>,
}

impl Receipt {
    /// For so many records and the room they take; what is waited for is told at once when there are none.
    pub(super) fn new(
        records: usize,
        room: Option<OwnedSemaphorePermit>,
    ) -> (Arc<Self>, oneshot::Receiver<Result<(), Status>>) {
        let (waiter, told) = oneshot::channel();
        let receipt = Self { left: AtomicUsize::new(records), waiter: Mutex::new(Some(waiter)), _room: room };
        if records == 0 {
            receipt.tell(Ok(()));
        }
        (Arc::new(receipt), told)
    }

    /// So many more of the records are durable.
    pub(super) fn durable(&self, records: usize) {
        if self.left.fetch_sub(records, Ordering::AcqRel) == records {
            self.tell(Ok(()));
        }
    }

    /// Some will not become durable. The first reason counts.
    pub(super) fn failed(&self, status: Status) {
        self.tell(Err(status));
    }

    fn tell(&self, outcome: Result<(), Status>) {
        let waiter = self.waiter.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        // Nobody may be waiting any more: the client has gone.
        waiter.map(|waiter| waiter.send(outcome));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn room_is_held_as_long_as_records_are() {
        let all = Arc::new(Semaphore::new(1));
        let (receipt, told) = Receipt::new(2, Arc::clone(&all).try_acquire_owned().ok());
        let part = Arc::clone(&receipt);
        drop((receipt, told));
        part.durable(1);
        assert_eq!(all.available_permits(), 0);
        part.durable(1);
        drop(part);
        assert_eq!(all.available_permits(), 1);
    }

    #[test]
    fn all_records_count() {
        let (receipt, mut told) = Receipt::new(5, None);
        receipt.durable(2);
        assert!(told.try_recv().is_err());
        receipt.durable(3);
        assert!(matches!(told.try_recv(), Ok(Ok(()))));
        assert!(matches!(Receipt::new(0, None).1.try_recv(), Ok(Ok(()))));

        let (receipt, mut told) = Receipt::new(5, None);
        receipt.durable(2);
        receipt.failed(Status::internal("no"));
        receipt.durable(3);
        assert!(matches!(told.try_recv(), Ok(Err(_))));

        let (receipt, mut told) = Receipt::new(5, None);
        receipt.durable(4);
        drop(receipt);
        assert!(matches!(told.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    }
}
