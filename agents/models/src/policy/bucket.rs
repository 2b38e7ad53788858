//! A token bucket: so much a minute, and no more than a minute's worth at once.

use std::time::Duration;

const MINUTE_MS: i64 = 60_000;
/// Keeps the arithmetic in range, and is more than any service grants.
const A_MINUTE_MAX: u64 = 1 << 40;

/// Counts in units of a sixty-thousandth, so that a millisecond adds a whole number of them.
#[derive(Clone, Debug)]
pub struct Bucket {
    a_minute: i64,
    level: i64,
    at: Duration,
}

impl Bucket {
    /// Full. Times are those since any fixed moment, such as the start of the process.
    #[must_use]
    pub fn new(a_minute: u64) -> Self {
        let a_minute = a_minute.clamp(1, A_MINUTE_MAX) as i64;
        Self { a_minute, level: a_minute * MINUTE_MS, at: Duration::ZERO }
    }

    /// Takes `amount`, or says how long to wait for it. More than a minute's worth is taken of a full bucket, which then
    /// is in debt.
    ///
    /// # Errors
    /// The time until the same would be granted.
    pub fn take(&mut self, amount: u64, now: Duration) -> Result<(), Duration> {
        self.fill(now);
        let full = self.a_minute * MINUTE_MS;
        let amount = units(amount);
        let missing = amount.min(full) - self.level;
        if missing > 0 {
            return Err(Duration::from_millis(missing.unsigned_abs().div_ceil(self.a_minute.unsigned_abs())));
        }
        self.level -= amount;
        Ok(())
    }

    /// Corrects an estimate: gives back what was not used, or takes what was used beyond it.
    pub fn correct(&mut self, taken: u64, used: u64) {
        let full = self.a_minute * MINUTE_MS;
        self.level = (self.level + units(taken) - units(used)).clamp(-full * 60, full);
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_millis().min(u128::from(u32::MAX)) as i64;
        // What is less than a millisecond is kept for the next time.
        self.at += Duration::from_millis(passed.unsigned_abs());
        let full = self.a_minute * MINUTE_MS;
        // After an hour of debt at most, any bucket is full.
        self.level = full.min(self.level.saturating_add(passed.saturating_mul(self.a_minute)));
    }
}

fn units(amount: u64) -> i64 {
    amount.min(A_MINUTE_MAX) as i64 * MINUTE_MS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grants_a_minute_at_once_and_then_as_time_passes() {
        let at = Duration::from_secs;
        let mut bucket = Bucket::new(60);
        assert!((0..60).all(|_| bucket.take(1, at(5)).is_ok()));
        assert_eq!(bucket.take(1, at(5)), Err(at(1)));
        assert_eq!(bucket.take(1, at(6)), Ok(()));
        assert_eq!(bucket.take(30, at(6)), Err(at(30)));
        bucket.correct(10, 0);
        assert_eq!(bucket.take(10, at(6)), Ok(()));
        // A question beyond a minute's worth passes a full bucket, and is paid for afterwards.
        assert_eq!(bucket.take(120, at(66)), Ok(()));
        assert_eq!(bucket.take(1, at(66)), Err(at(61)));
        // A clock that steps back grants nothing.
        assert_eq!(bucket.take(1, at(1)), Err(at(61)));
    }

    proptest! {
        /// Whatever is asked when: over any stretch no more is granted than a minute's worth and what the stretch adds, and
        /// who waits as told is granted.
        #[test]
        fn never_grants_more_than_the_rate(
            a_minute in 1_u64..5_000,
            asked in prop::collection::vec((0_u64..20_000, 0_u64..3_000), 1..100),
        ) {
            let mut bucket = Bucket::new(a_minute);
            let (mut now, mut granted) = (Duration::ZERO, 0);
            for (pause_ms, amount) in asked {
                now += Duration::from_millis(pause_ms);
                let amount = amount.min(a_minute);
                if let Err(wait) = bucket.take(amount, now) {
                    prop_assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60));
                    now += wait;
                    prop_assert_eq!(bucket.take(amount, now), Ok(()));
                }
                granted += amount;
                let most = u128::from(a_minute) + now.as_millis() * u128::from(a_minute) / 60_000;
                prop_assert!(u128::from(granted) <= most, "{granted} of {most}");
            }
        }
    }
}
