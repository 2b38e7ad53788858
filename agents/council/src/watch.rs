//! Watching cases: every transition in order, to whoever keeps up.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::Stream;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;
use trailwarden_bus::Sequence;
use trailwarden_proto::v1::CaseTransition;

use crate::view::{Forgotten, View};

/// Who may watch at once.
pub(crate) const WATCHERS_MAX: usize = 64;
/// Transitions on their way to one watcher.
const BUFFER: usize = 64;
/// How long a watcher may let a full buffer stand.
const PATIENCE: Duration = Duration::from_secs(10);

/// A place among the watchers, given back on drop.
pub(crate) struct Seat(Arc<AtomicUsize>);

impl Seat {
    /// `None` when all are taken.
    pub(crate) fn take(seats: &Arc<AtomicUsize>) -> Option<Self> {
        let next = |taken: usize| (taken < WATCHERS_MAX).then_some(taken + 1);
        seats.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(Self(seats.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) type Watching = Pin<Box<dyn Stream<Item = Result<CaseTransition, Status>> + Send>>;

fn forgotten(Forgotten { until }: Forgotten) -> Status {
    Status::out_of_range(format!(
        "transitions up to {until} are no longer held: list the cases and watch from {}",
        until + 1
    ))
}

/// Transitions from a sequence on, for as long as the watcher keeps up.
///
/// # Errors
/// When what it asks for is no longer held.
pub(crate) fn watch(view: Arc<View>, from: Sequence, seat: Seat) -> Result<Watching, Status> {
    view.since(from, 0).map_err(forgotten)?;
    let (sender, receiver) = mpsc::channel(BUFFER);
    let (end, ended) = oneshot::channel();
    tokio::spawn(async move {
        let _seat = seat;
        if let Err(why) = send(&view, from, &sender).await {
            // A watcher that left does not ask why.
            let _ = end.send(why);
        }
    });
    // What is on its way comes first, then why there is no more.
    Ok(Box::pin(futures::stream::unfold(Some((receiver, ended)), |state| async move {
        let (mut receiver, ended) = state?;
        match receiver.recv().await {
            Some(transition) => Some((Ok(transition), Some((receiver, ended)))),
            None => Some((Err(ended.await.ok()?), None)),
        }
    })))
}

/// Sends until the watcher leaves; an error says why it was left behind.
async fn send(view: &View, mut from: Sequence, sender: &mpsc::Sender<CaseTransition>) -> Result<(), Status> {
    let mut latest = view.latest();
    loop {
        latest.borrow_and_update();
        for transition in view.since(from, BUFFER).map_err(forgotten)? {
            let sequence = transition.sequence;
            match tokio::time::timeout(PATIENCE, sender.send(transition)).await {
                Ok(Ok(())) => from = sequence + 1,
                Ok(Err(_)) => return Ok(()),
                Err(_) => {
                    let why = format!("the watcher is too slow: watch again from {sequence}");
                    return Err(Status::resource_exhausted(why));
                }
            }
        }
        let more = async {
            // A view that holds more than went out in one go has it already.
            match view.since(from, 1) {
                Ok(held) if held.is_empty() => latest.changed().await.is_ok(),
                _ => true,
            }
        };
        tokio::select! {
            goes_on = more => if !goes_on { return Err(Status::unavailable("the council ends")) },
            () = sender.closed() => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;
    use crate::view::Bounds;

    fn transition(sequence: Sequence) -> CaseTransition {
        CaseTransition { sequence, number: 1, ..CaseTransition::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn sends_what_was_and_what_comes() {
        let view = Arc::new(View::new(Bounds::default()));
        let seats = Arc::default();
        (1..=200).for_each(|sequence| view.apply(&transition(sequence)));
        let mut watching = watch(view.clone(), 150, Seat::take(&seats).expect("free")).expect("held");
        for expected in 150..=200 {
            assert_eq!(watching.next().await.expect("goes on").expect("held").sequence, expected);
        }
        view.apply(&transition(205));
        assert_eq!(watching.next().await.expect("goes on").expect("held").sequence, 205);
        assert_eq!(seats.load(Ordering::Relaxed), 1);
        drop(watching);
        while seats.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_too_slow_is_told_where_to_go_on() {
        let view = Arc::new(View::new(Bounds::default()));
        let mut watching = watch(view.clone(), 1, Seat::take(&Arc::default()).expect("free")).expect("held");
        (1..=300).for_each(|sequence| view.apply(&transition(sequence)));
        tokio::time::sleep(PATIENCE * 2).await;
        let mut received = 0;
        let end = loop {
            match watching.next().await.expect("says why") {
                Ok(transition) => received = transition.sequence,
                Err(status) => break status,
            }
        };
        assert_eq!((received, end.code()), (BUFFER as u64, tonic::Code::ResourceExhausted));
        assert!(end.message().ends_with(&format!("from {}", received + 1)), "{end}");
        assert!(watching.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_is_no_place_to_begin_and_seats_are_bounded() {
        let view = Arc::new(View::new(Bounds { transitions_max: 2, ..Bounds::default() }));
        (1..=5).for_each(|sequence| view.apply(&transition(sequence)));
        let seats = Arc::default();
        let refused = watch(view, 3, Seat::take(&seats).expect("free")).err().expect("forgotten");
        assert_eq!(refused.code(), tonic::Code::OutOfRange);
        let taken: Vec<Seat> = std::iter::from_fn(|| Seat::take(&seats)).collect();
        assert_eq!(taken.len(), WATCHERS_MAX);
    }
}
