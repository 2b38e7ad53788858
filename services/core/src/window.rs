//! Window maths: how many events fell into the last 10 s, 1 min, 10 min, 1 h and 24 h.
//!
//! Each window is a ring of event-time buckets, so an update touches one bucket a window whatever the
//! rate, and late events update the bucket they belong to. State is the same for every order in which
//! the same events arrive, as long as none is older than its window when it comes.

use crate::time::{HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};

/// A sliding window; its discriminant is its place in [`Rings::counts`].
///
/// A count covers the running bucket and those before it, so its reach is between
/// `length x (1 - 1/buckets)` and `length`.
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
}

/// Event counts over all windows of one key (a principal, a session, ...): 120 bytes.
/// A bucket stops counting at 65,535.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rings {
    latest: Timestamp,
    seconds10: Ring<SECOND_MS, 10>,
    minute1: Ring<{ 10 * SECOND_MS }, 6>,
    minutes10: Ring<MINUTE_MS, 10>,
    hour1: Ring<{ 10 * MINUTE_MS }, 6>,
    hours24: Ring<HOUR_MS, 24>,
}

impl Rings {
    /// Rings that have seen nothing yet, ready for events around `start`.
    pub fn new(start: Timestamp) -> Self {
        Self {
            latest: start,
            seconds10: Ring::new(),
            minute1: Ring::new(),
            minutes10: Ring::new(),
            hour1: Ring::new(),
            hours24: Ring::new(),
        }
    }

    /// The latest event time seen.
    pub fn latest(&self) -> Timestamp {
        self.latest
    }

    /// The buckets of each window, in order of [`Window::ALL`]; at most 24 each.
    pub(crate) fn buckets(&self) -> [&[u16]; 5] {
        [&self.seconds10.0, &self.minute1.0, &self.minutes10.0, &self.hour1.0, &self.hours24.0]
    }

    /// Where in each of [`Rings::buckets`] the latest event stands.
    pub(crate) fn newest(&self) -> [usize; 5] {
        [
            self.seconds10.newest(self.latest),
            self.minute1.newest(self.latest),
            self.minutes10.newest(self.latest),
            self.hour1.newest(self.latest),
            self.hours24.newest(self.latest),
        ]
    }

    /// As [`Rings::buckets`], to be filled.
    pub(crate) fn buckets_mut(&mut self) -> [&mut [u16]; 5] {
        [&mut self.seconds10.0, &mut self.minute1.0, &mut self.minutes10.0, &mut self.hour1.0, &mut self.hours24.0]
    }

    /// Counts an event. One that is older than a window is no longer counted in it.
    pub fn add(&mut self, at: Timestamp) {
        if at > self.latest {
            self.seconds10.advance(self.latest, at);
            self.minute1.advance(self.latest, at);
            self.minutes10.advance(self.latest, at);
            self.hour1.advance(self.latest, at);
            self.hours24.advance(self.latest, at);
            self.latest = at;
        }
        self.seconds10.add(self.latest, at);
        self.minute1.add(self.latest, at);
        self.minutes10.add(self.latest, at);
        self.hour1.add(self.latest, at);
        self.hours24.add(self.latest, at);
    }

    /// Events in each of [`Window::ALL`] as it ends at `at`. Events later than `at`'s bucket are not counted.
    pub fn counts(&self, at: Timestamp) -> [u32; 5] {
        Window::ALL.map(|window| self.count(window, at))
    }

    /// Events in the window that ends at `at`.
    pub fn count(&self, window: Window, at: Timestamp) -> u32 {
        match window {
            Window::Seconds10 => self.seconds10.count(self.latest, at),
            Window::Minute1 => self.minute1.count(self.latest, at),
            Window::Minutes10 => self.minutes10.count(self.latest, at),
            Window::Hour1 => self.hour1.count(self.latest, at),
            Window::Hours24 => self.hours24.count(self.latest, at),
        }
    }
}

/// One window's buckets, the bucket of time `t` at `t / BUCKET_MS mod BUCKETS`. Buckets that are older than the
/// window, as seen from the latest event, are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ring<const BUCKET_MS: i64, const BUCKETS: usize>([u16; BUCKETS]);

impl<const BUCKET_MS: i64, const BUCKETS: usize> Ring<BUCKET_MS, BUCKETS> {
    const fn new() -> Self {
        Self([0; BUCKETS])
    }

    fn add(&mut self, latest: Timestamp, at: Timestamp) {
        let own = Self::bucket(at);
        if at == latest || Self::bucket(latest) - own < BUCKETS as i64 {
            let count = &mut self.0[Self::place(own)];
            *count = count.saturating_add(1);
        }
    }

    fn count(&self, latest: Timestamp, at: Timestamp) -> u32 {
        if at == latest {
            return self.0.iter().map(|count| u32::from(*count)).sum();
        }
        let (newest, last) = (Self::bucket(latest), Self::bucket(at));
        let first = last.max(newest) - BUCKETS as i64 + 1;
        (first..=last.min(newest)).map(|bucket| u32::from(self.0[Self::place(bucket)])).sum()
    }

    fn advance(&mut self, from: Timestamp, to: Timestamp) {
        let (old, new) = (Self::bucket(from), Self::bucket(to));
        for step in 0..(new - old).min(BUCKETS as i64) {
            self.0[Self::place(new - step)] = 0;
        }
    }

    fn newest(&self, latest: Timestamp) -> usize {
        Self::place(Self::bucket(latest))
    }

    fn bucket(at: Timestamp) -> i64 {
        at.as_millis().div_euclid(BUCKET_MS)
    }

    fn place(bucket: i64) -> usize {
        bucket.rem_euclid(BUCKETS as i64) as usize
    }
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
            let base = at(1_000_000);
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
