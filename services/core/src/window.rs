//! Window maths: how many events fell into the last 10 s, 1 min, 10 min, 1 h and 24 h.
//!
//! Each window is a ring of event-time buckets, so an update touches one bucket a window whatever the
//! rate, and late events update the bucket they belong to. State is the same for every order in which
//! the same events arrive, as long as none is older than its window when it comes.

use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};

/// A sliding window; its discriminant is its place in [`Window::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Window {
    Seconds10,
    Minute1,
    Minutes10,
    Hour1,
    Hours24,
}

impl Window {
    pub const ALL: [Window; 5] =
        [Window::Seconds10, Window::Minute1, Window::Minutes10, Window::Hour1, Window::Hours24];

    /// The window's length, in milliseconds.
    pub const fn length_ms(self) -> i64 {
        match self {
            Window::Seconds10 => 10 * SECOND_MS,
            Window::Minute1 => MINUTE_MS,
            Window::Minutes10 => 10 * MINUTE_MS,
            Window::Hour1 => HOUR_MS,
            Window::Hours24 => DAY_MS,
        }
    }

    /// Into how many buckets the window is cut. A count covers the running bucket and those before it,
    /// so its reach is between `length x (1 - 1/buckets)` and `length`.
    const fn buckets(self) -> usize {
        match self {
            Window::Seconds10 | Window::Minutes10 => 10,
            Window::Minute1 | Window::Hour1 => 6,
            Window::Hours24 => 24,
        }
    }

    const fn bucket_ms(self) -> i64 {
        self.length_ms() / self.buckets() as i64
    }

    /// Where this window's buckets begin in [`Rings::counts`].
    const fn offset(self) -> usize {
        let mut offset = 0;
        let mut window = 0;
        while window < self as usize {
            offset += Window::ALL[window].buckets();
            window += 1;
        }
        offset
    }
}

const BUCKETS_ALL: usize = Window::Hours24.offset() + Window::Hours24.buckets();

/// Event counts over all windows of one key (a principal, a session, ...): 120 bytes.
/// A bucket stops counting at 65,535.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rings {
    latest: Timestamp,
    counts: [u16; BUCKETS_ALL],
}

impl Rings {
    /// Rings that have seen nothing yet, ready for events around `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { latest: start, counts: [0; BUCKETS_ALL] }
    }

    /// The latest event time seen.
    pub fn latest(&self) -> Timestamp {
        self.latest
    }

    /// Counts an event. One that is older than a window is no longer counted in it.
    pub fn add(&mut self, at: Timestamp) {
        if at > self.latest {
            self.advance(at);
        }
        for window in Window::ALL {
            let (newest, own) = (bucket_of(self.latest, window), bucket_of(at, window));
            if newest - own < window.buckets() as i64 {
                let bucket = &mut self.counts[place(own, window)];
                *bucket = bucket.saturating_add(1);
            }
        }
    }

    /// Events in the window that ends at `at`. Events later than `at`'s bucket are not counted.
    pub fn count(&self, window: Window, at: Timestamp) -> u32 {
        let newest = bucket_of(self.latest, window);
        let last = bucket_of(at, window);
        let length = window.buckets() as i64;
        let first = (last - length + 1).max(newest - length + 1);
        (first..=last.min(newest)).map(|bucket| u32::from(self.counts[place(bucket, window)])).sum()
    }

    fn advance(&mut self, to: Timestamp) {
        for window in Window::ALL {
            let (old, new) = (bucket_of(self.latest, window), bucket_of(to, window));
            let stale = (new - old).min(window.buckets() as i64);
            for step in 0..stale {
                self.counts[place(new - step, window)] = 0;
            }
        }
        self.latest = to;
    }
}

fn bucket_of(at: Timestamp, window: Window) -> i64 {
    at.as_millis().div_euclid(window.bucket_ms())
}

fn place(bucket: i64, window: Window) -> usize {
    window.offset() + bucket.rem_euclid(window.buckets() as i64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * SECOND_MS)
    }

    #[test]
    fn counts_by_window() {
        let mut rings = Rings::new(at(0));
        for seconds in [0, 5, 9, 55, 599, 3_000, 80_000] {
            rings.add(at(seconds));
        }
        let counted = |seconds| Window::ALL.map(|window| rings.count(window, at(seconds)));
        assert_eq!(counted(80_000), [1, 1, 1, 1, 7]);
        assert_eq!(std::mem::size_of::<Rings>(), 120);

        let mut early = Rings::new(at(0));
        for seconds in [0, 5, 9, 55] {
            early.add(at(seconds));
        }
        assert_eq!(Window::ALL.map(|window| early.count(window, at(55))), [1, 4, 4, 4, 4]);
        // A late event is scored against the past of its own time only.
        assert_eq!(early.count(Window::Minute1, at(9)), 3);
    }

    #[test]
    fn far_jumps_and_years_do_not_overflow() {
        let mut rings = Rings::new(Timestamp::from_millis(0));
        let far = Timestamp::parse("9999-12-30T00:00:00Z").expect("valid");
        rings.add(far);
        rings.add(Timestamp::from_millis(0));
        assert_eq!(rings.count(Window::Hours24, far), 1);
        assert_eq!(rings.count(Window::Hours24, Timestamp::from_millis(0)), 0);
    }

    proptest! {
        /// Within the shortest window's reach every order gives the same state.
        #[test]
        fn order_within_the_window_does_not_matter(mut offsets in prop::collection::vec(0_i64..9, 1..40), seed in any::<u64>()) {
            let base = at(1_000_000 - 1_000_000 % 10);
            let mut sorted = offsets.clone();
            sorted.sort_unstable();
            let mut state = seed;
            for index in (1..offsets.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                offsets.swap(index, (state >> 33) as usize % (index + 1));
            }
            let fill = |order: &[i64]| {
                let mut rings = Rings::new(base);
                order.iter().for_each(|offset| rings.add(base.plus_ms(offset * SECOND_MS)));
                rings
            };
            prop_assert_eq!(fill(&sorted), fill(&offsets));
        }
    }
}
