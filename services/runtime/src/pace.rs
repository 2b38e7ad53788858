//! A cap on how fast a process works, so that a bench can tell what more processes do from what more of a machine does.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

static CAP: OnceLock<Pace> = OnceLock::new();

struct Pace {
    events_per_s: u32,
    /// When what was asked for last is over.
    over: Mutex<Option<Instant>>,
}

impl Pace {
    /// When work on so many events may be over, at the earliest.
    fn take(&self, events: u64, now: Instant) -> Instant {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = over.map_or(now, |over| over.max(now));
        let end = begin + Duration::from_secs_f64(events as f64 / f64::from(self.events_per_s.max(1)));
        *over = Some(end);
        end
    }
}

/// Caps the process for its life.
pub fn cap(events_per_s: u32) {
    // A second call is without effect.
    let _ = CAP.set(Pace { events_per_s, over: Mutex::new(None) });
}

/// Waits as long as work on so many events has to take; not at all in a process that is not capped.
pub async fn keep(events: u64) {
    if let Some(pace) = CAP.get() {
        tokio::time::sleep_until(pace.take(events, Instant::now())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_spread_and_idle_time_is_not_saved() {
        let pace = Pace { events_per_s: 100, over: Mutex::new(None) };
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!([pace.take(100, start), pace.take(200, start)], [after(1), after(3)]);
        assert_eq!(pace.take(100, after(10)), after(11));
    }
}
