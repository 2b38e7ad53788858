//! Events over time by level, in a bounded number of buckets whatever the input.

use std::collections::BTreeMap;

use trailwarden_core::level::Level;
use trailwarden_core::time::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};

/// Buckets kept at most; when there are more, they grow wider.
const BUCKETS_MAX: usize = 4_096;

/// Widths that buckets grow through; each divides the next. Beyond the last they double.
const WIDTHS_MS: [i64; 6] = [MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, DAY_MS, 7 * DAY_MS];

/// Counts of events by level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelCounts([u64; 4]);

impl LevelCounts {
    pub fn add(&mut self, level: Level, events: u64) {
        self.0[level as usize] = self.0[level as usize].saturating_add(events);
    }

    pub fn of(&self, level: Level) -> u64 {
        self.0[level as usize]
    }

    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, events| sum.saturating_add(*events))
    }

    /// Events at caution or above.
    pub fn raised(&self) -> u64 {
        self.total() - self.of(Level::None)
    }

    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(theirs);
        }
    }
}

/// Events by time and level. The result does not depend on the order of events or of merges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    width_ms: i64,
    buckets: BTreeMap<i64, LevelCounts>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { width_ms: WIDTHS_MS[0], buckets: BTreeMap::new() }
    }
}

impl Histogram {
    pub fn record(&mut self, time: Timestamp, level: Level) {
        self.bucket(time.as_millis()).add(level, 1);
        self.widen_to_fit();
    }

    /// Adds the events of another histogram.
    pub fn merge(&mut self, other: &Self) {
        while self.width_ms < other.width_ms {
            self.widen();
        }
        for (index, counts) in &other.buckets {
            self.bucket(index.saturating_mul(other.width_ms)).merge(*counts);
        }
        self.widen_to_fit();
    }

    pub fn width_ms(&self) -> i64 {
        self.width_ms
    }

    /// Start of each bucket that has events, and its counts, in time.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = (Timestamp, LevelCounts)> + '_ {
        self.buckets
            .iter()
            .map(|(index, counts)| (Timestamp::from_millis(index.saturating_mul(self.width_ms)), *counts))
    }

    fn bucket(&mut self, millis: i64) -> &mut LevelCounts {
        self.buckets.entry(millis.div_euclid(self.width_ms)).or_default()
    }

    fn widen_to_fit(&mut self) {
        while self.buckets.len() > BUCKETS_MAX {
            self.widen();
        }
    }

    fn widen(&mut self) {
        let width_ms = wider(self.width_ms);
        let factor = width_ms / self.width_ms;
        let mut buckets = BTreeMap::<i64, LevelCounts>::new();
        for (index, counts) in &self.buckets {
            buckets.entry(index.div_euclid(factor)).or_default().merge(*counts);
        }
        *self = Self { width_ms, buckets };
    }
}

/// The next width that buckets grow to.
pub fn wider(width_ms: i64) -> i64 {
    WIDTHS_MS.iter().copied().find(|wider| *wider > width_ms).unwrap_or_else(|| width_ms.saturating_mul(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_bounded_and_does_not_depend_on_order() {
        let times: Vec<i64> =
            (0..20_000).map(|n| n * 7_919_017 % 1_000_000_007 * 40).chain([253_402_128_000_000, -1]).collect();
        let mut forward = Histogram::default();
        times.iter().for_each(|time| forward.record(Timestamp::from_millis(*time), Level::None));
        let mut backward = Histogram::default();
        let mut half = Histogram::default();
        for (n, time) in times.iter().rev().enumerate() {
            if n % 3 == 0 { &mut half } else { &mut backward }.record(Timestamp::from_millis(*time), Level::None);
        }
        half.merge(&backward);
        assert_eq!(forward, half);
        assert!(forward.buckets().count() <= BUCKETS_MAX);
        assert_eq!(forward.buckets().map(|(_, counts)| counts.total()).sum::<u64>(), times.len() as u64);
    }
}
