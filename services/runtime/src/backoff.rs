//! Trying again: sooner at first, then ever later, never all at once.

use std::error::Error;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// First delay.
pub const DELAY_MIN: Duration = Duration::from_millis(50);
/// Delays double up to this one.
pub const DELAY_MAX: Duration = Duration::from_secs(5);

/// Delays before the next attempts: from 50 ms doubling to 5 s, of which the second half varies.
#[derive(Clone, Debug)]
pub struct Backoff {
    seed: u64,
    attempts: u32,
    /// Goes on over resets, so that no two rounds vary alike.
    counter: u64,
}

impl Backoff {
    /// `seed` sets apart those who wait for the same thing: a partition, a worker's number.
    pub fn new(seed: u64) -> Self {
        Self { seed, attempts: 0, counter: 0 }
    }

    /// Attempts that failed since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long to wait after one more failure.
    pub fn next_delay(&mut self) -> Duration {
        let whole = DELAY_MIN.saturating_mul(1_u32 << self.attempts.min(16)).min(DELAY_MAX);
        self.attempts = self.attempts.saturating_add(1);
        self.counter = self.counter.wrapping_add(1);
        let share = mixed(self.seed, self.counter) >> 40;
        whole / 2 + (whole / 2).mul_f64(share as f64 / (1_u64 << 24) as f64)
    }

    /// It worked: the next failure starts anew.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Waits, unless it is time to stop; whether it waited to the end.
    pub async fn wait(&mut self, shutdown: &CancellationToken) -> bool {
        let delay = self.next_delay();
        paused(delay, shutdown).await
    }
}

/// Why [`retry`] has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended<E> {
    #[error("told to stop before it worked")]
    Shutdown,
    /// Trying again does not help.
    #[error(transparent)]
    Failed(E),
}

/// Does `attempt` until it works, fails for good, or it is time to stop. Each failure is logged and counted as `what`.
///
/// # Errors
/// [`Ended`].
pub async fn retry<T, E, F>(
    what: &'static str,
    metrics: &Metrics,
    shutdown: &CancellationToken,
    is_transient: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Ended<E>>
where
    E: Error,
    F: Future<Output = Result<T, E>>,
{
    let mut backoff = Backoff::new(what.len() as u64);
    loop {
        let result = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Err(Ended::Shutdown),
            result = attempt() => result,
        };
        match result {
            Ok(value) => return Ok(value),
            Err(error) if is_transient(&error) => {
                let delay = backoff.next_delay();
                metrics.retrying(what, backoff.attempts(), delay, &error);
                if !paused(delay, shutdown).await {
                    return Err(Ended::Shutdown);
                }
            }
            Err(error) => return Err(Ended::Failed(error)),
        }
    }
}

async fn paused(delay: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(delay) => true,
    }
}

/// SplitMix64's finaliser: neighbours come out far apart.
fn mixed(seed: u64, counter: u64) -> u64 {
    let mut z = seed.rotate_left(32) ^ counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io;

    use super::*;

    #[test]
    fn delays_double_within_bounds_and_vary() {
        let mut backoff = Backoff::new(3);
        for whole_ms in [50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            let whole = Duration::from_millis(whole_ms);
            let delay = backoff.next_delay();
            assert!(whole / 2 <= delay && delay <= whole, "{delay:?} for {whole:?}");
        }
        for _ in 0..200 {
            assert!(backoff.next_delay() <= DELAY_MAX);
        }
        backoff.reset();
        assert!(backoff.next_delay() <= DELAY_MIN);
        let first: BTreeSet<Duration> = (0..100).map(|seed| Backoff::new(seed).next_delay()).collect();
        assert!(first.len() > 90, "{} different delays of 100 seeds", first.len());
    }

    #[tokio::test]
    async fn what_cannot_be_helped_is_not_tried_again() {
        let (shutdown, metrics) = (CancellationToken::new(), Metrics::nowhere());
        let mut attempts = 0;
        let ended = retry(
            "test",
            &metrics,
            &shutdown,
            |_| false,
            || {
                attempts += 1;
                async { Err::<(), _>(io::Error::other("no")) }
            },
        );
        assert!(matches!(ended.await, Err(Ended::Failed(_))));
        assert_eq!(attempts, 1);
    }

    #[tokio::test]
    async fn a_later_attempt_may_work_and_stopping_ends_the_wait() {
        let (shutdown, metrics) = (CancellationToken::new(), Metrics::nowhere());
        let mut attempts = 0;
        let ended = retry(
            "test",
            &metrics,
            &shutdown,
            |_| true,
            || {
                attempts += 1;
                let works = attempts == 2;
                async move { if works { Ok(7) } else { Err(io::Error::other("not yet")) } }
            },
        );
        assert_eq!(ended.await.unwrap(), 7);

        // The first failure tells to stop, so there is no second attempt.
        let mut attempts = 0;
        let ended = retry(
            "test",
            &metrics,
            &shutdown,
            |_| true,
            || {
                attempts += 1;
                shutdown.cancel();
                async { Err::<(), _>(io::Error::other("never")) }
            },
        );
        assert!(matches!(ended.await, Err(Ended::Shutdown)));
        assert_eq!(attempts, 1);
    }
}
