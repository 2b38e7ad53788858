//! What models may cost a tenant in a day, over restarts and over councils: one small record on the bus, changed only where it
//! is still what was read.
//!
//! A case's whole allowance is reserved before its first question, and what it did not use is given back after its last. Who
//! dies between the two has spent it in full: the bound holds whatever happens.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use trailwarden_bus::{self as bus, Bus, Outgoing, Sequence, Subject};
use trailwarden_core::time::Timestamp;
use trailwarden_models::{Day, Limits, Price, Spent, Usage};

/// How often a change is tried where somebody else was faster.
const RACES_MAX: u32 = 16;
const VERSION: u32 = 1;

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A tenant's account with models.
#[derive(Clone)]
pub struct Account {
    bus: Arc<dyn Bus>,
    tenant: String,
    a_day: Limits,
    price: Price,
    clock: Clock,
}

/// Set aside for one case; given to [`Account::settle`] when its cost is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Grant {
    day: Day,
    reserved: Spent,
}

impl Grant {
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.reserved.tokens
    }
}

/// What the latest day seen has cost, or holds reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// Of UTC, counted from 1970-01-01.
    day: i64,
    tokens: u64,
    micro_dollars: u64,
}

impl Record {
    const fn new(day: i64) -> Self {
        Self { version: VERSION, day, tokens: 0, micro_dollars: 0 }
    }

    /// As it stands on a day. A clock that steps back over midnight opens no new budget.
    fn on(self, today: Day) -> Self {
        if today.0 > self.day { Self::new(today.0) } else { self }
    }

    /// With as much of what is wanted set aside as both bounds leave.
    fn reserve(self, tokens: u64, a_day: Limits, price: Price) -> (Self, Grant) {
        let left = a_day.tokens.saturating_sub(self.tokens);
        let affordable = price.affords(a_day.micro_dollars.saturating_sub(self.micro_dollars));
        let tokens = tokens.min(left).min(affordable);
        let reserved = Spent { tokens, micro_dollars: price.at_most(tokens) };
        (self.plus(reserved), Grant { day: Day(self.day), reserved })
    }

    /// With what was used in place of what was set aside. What ends after midnight counts for the day before.
    fn settle(self, grant: Grant, used: Spent) -> Self {
        if self.day != grant.day.0 {
            return self;
        }
        let Spent { tokens, micro_dollars } = grant.reserved;
        let without = Self {
            tokens: self.tokens.saturating_sub(tokens),
            micro_dollars: self.micro_dollars.saturating_sub(micro_dollars),
            ..self
        };
        without.plus(used)
    }

    const fn plus(self, other: Spent) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            micro_dollars: self.micro_dollars.saturating_add(other.micro_dollars),
            ..self
        }
    }
}

impl Account {
    /// `a_day` bounds all councils of the tenant together.
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>, tenant: &str, a_day: Limits, price: Price, clock: Clock) -> Self {
        Self { bus, tenant: tenant.to_owned(), a_day, price, clock }
    }

    /// Sets tokens aside, as many as the day leaves.
    ///
    /// # Errors
    /// The bus does not answer, or takes nothing.
    pub async fn reserve(&self, tokens: u64) -> Result<Grant, bus::Error> {
        let today = Day::of((self.clock)());
        let nothing = Grant { day: today, reserved: Spent::default() };
        let granted = self.change(|record| record.on(today).reserve(tokens, self.a_day, self.price)).await?;
        Ok(granted.unwrap_or(nothing))
    }

    /// Puts what a case used in place of what was set aside for it.
    ///
    /// # Errors
    /// The bus does not answer, or takes nothing. All that was set aside counts as used then.
    pub async fn settle(&self, grant: Grant, used: Usage) -> Result<(), bus::Error> {
        let used = Spent { tokens: used.total(), micro_dollars: self.price.of(used) };
        if used == grant.reserved {
            return Ok(());
        }
        self.change(|record| (record.settle(grant, used), ())).await.map(|_| ())
    }

    /// `None` where others were faster all the time.
    async fn change<T>(&self, change: impl Fn(Record) -> (Record, T)) -> Result<Option<T>, bus::Error> {
        let subject = Subject::spent(&self.tenant);
        for _ in 0..RACES_MAX {
            let last = self.bus.last(&subject).await?;
            let (tail, before) = last.map_or((0, Record::new(i64::MIN)), |last| (last.sequence, read(&last.payload)));
            let (after, value) = change(before);
            if after == before || self.put(&subject, tail, after).await? {
                return Ok(Some(value));
            }
        }
        tracing::warn!(tenant = self.tenant, "what models cost could not be noted, others note all the time");
        Ok(None)
    }

    /// Whether the record was still what was read.
    async fn put(&self, subject: &Subject, tail: Sequence, record: Record) -> Result<bool, bus::Error> {
        let payload = serde_json::to_vec(&record).expect("plain numbers serialise");
        let message = Outgoing { payload: Bytes::from(payload), expected: Some(tail), ..Outgoing::default() };
        match self.bus.publish(subject, message).await {
            Ok(_) => Ok(true),
            Err(bus::Error::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn read(payload: &[u8]) -> Record {
    let read = serde_json::from_slice::<Record>(payload).ok().filter(|record| record.version == VERSION);
    read.unwrap_or_else(|| {
        tracing::error!("the record of what models cost cannot be read; the day is counted anew");
        Record::new(i64::MIN)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use futures::future::join_all;
    use trailwarden_bus::{Layout, Memory, Stream};

    use super::*;
    use crate::mortal::Mortal;

    const DAY_MS: i64 = 86_400_000;
    const PRICE: Price = Price { input_micro_dollars_a_million: 1_000_000, output_micro_dollars_a_million: 5_000_000 };

    async fn memory() -> Memory {
        let bus = Memory::default();
        bus.set_up(&Layout::in_memory("default", 1)).await.expect("set up");
        bus
    }

    fn account(bus: &Memory, a_day: Limits, price: Price, now: &Arc<AtomicI64>) -> Account {
        let now = Arc::clone(now);
        let clock = Arc::new(move || Timestamp::from_millis(now.load(Ordering::Relaxed)));
        Account::new(Arc::new(bus.clone()), "default", a_day, price, clock)
    }

    const fn tokens(tokens: u64) -> Limits {
        Limits { tokens, micro_dollars: u64::MAX }
    }

    const fn used(input_tokens: u64, output_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens }
    }

    #[tokio::test]
    async fn a_day_is_one_over_restarts_and_over_councils() {
        let (bus, now) = (memory().await, Arc::new(AtomicI64::new(20 * DAY_MS)));
        let council = || account(&bus, tokens(50_000), Price::default(), &now);
        let first = council().reserve(24_000).await.expect("a bus");
        assert_eq!(first.tokens(), 24_000);
        // Another council at the same time; then a third, after the first one died.
        let second = council().reserve(24_000).await.expect("a bus");
        assert_eq!(council().reserve(24_000).await.expect("a bus").tokens(), 2_000);
        council().settle(second, used(5_000, 1_000)).await.expect("a bus");
        assert_eq!(council().reserve(24_000).await.expect("a bus").tokens(), 18_000);
        assert_eq!(council().reserve(1).await.expect("a bus").tokens(), 0);
        // A clock that steps back opens nothing; the next day does, and what ends in it counts for the day before.
        now.store(19 * DAY_MS, Ordering::Relaxed);
        assert_eq!(council().reserve(1).await.expect("a bus").tokens(), 0);
        now.store(21 * DAY_MS, Ordering::Relaxed);
        assert_eq!(council().reserve(24_000).await.expect("a bus").tokens(), 24_000);
        council().settle(first, used(0, 0)).await.expect("a bus");
        assert_eq!(council().reserve(50_000).await.expect("a bus").tokens(), 26_000);
    }

    #[tokio::test]
    async fn money_bounds_tokens_by_the_dearer_price_and_is_given_back_by_the_true_one() {
        let (bus, now) = (memory().await, Arc::new(AtomicI64::new(0)));
        let a_day = Limits { tokens: 1_000_000, micro_dollars: 100_000 };
        let account = account(&bus, a_day, PRICE, &now);
        let grant = account.reserve(24_000).await.expect("a bus");
        // 100,000 micro-dollars buy 20,000 tokens at 5 dollars a million.
        assert_eq!(grant.tokens(), 20_000);
        assert_eq!(account.reserve(24_000).await.expect("a bus").tokens(), 0);
        account.settle(grant, used(10_000, 2_000)).await.expect("a bus");
        assert_eq!(account.reserve(24_000).await.expect("a bus").tokens(), 16_000);
    }

    #[tokio::test]
    async fn whoever_races_the_bound_holds_and_the_record_stays_small() {
        let (bus, now) = (memory().await, Arc::new(AtomicI64::new(0)));
        let racing: Arc<dyn Bus> = Arc::new(Mortal::new(&bus, i64::MAX));
        let council = || Account { bus: racing.clone(), ..account(&bus, tokens(100_000), Price::default(), &now) };
        let councils: Vec<Account> = (0..3).map(|_| council()).collect();
        let reserve = |of: usize| councils[of % councils.len()].reserve(1_000);
        let mut granted = 0;
        for _ in 0..10 {
            // All read the same, and one a round is first.
            let all = join_all((0..12).map(reserve)).await;
            granted += all.into_iter().map(|grant| grant.expect("a bus").tokens()).sum::<u64>();
        }
        assert_eq!(granted, 100_000);
        // More than can take turns get nothing, and say so.
        now.store(DAY_MS, Ordering::Relaxed);
        let all = join_all((0..90).map(reserve)).await;
        let granted: Vec<u64> = all.into_iter().map(|grant| grant.expect("a bus").tokens()).collect();
        assert!(granted.contains(&1_000) && granted.contains(&0), "{granted:?}");
        let kept = bus.read(&Subject::spent("default"), 0, 1_000).await.expect("a bus");
        assert!(kept.len() <= 48 && kept.iter().all(|record| record.payload.len() < 200), "{}", kept.len());
        assert!(bus.last(&Subject::whole(Stream::Epoch, "default")).await.expect("a bus").is_none());
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_does_not_end_all_asking() {
        let (bus, now) = (memory().await, Arc::new(AtomicI64::new(0)));
        for payload in ["", "{}", "\u{1}", "{\"version\":2,\"day\":9,\"tokens\":9,\"micro_dollars\":0}"] {
            let message = Outgoing { payload: Bytes::from(payload), ..Outgoing::default() };
            bus.publish(&Subject::spent("default"), message).await.expect("a bus");
            let account = account(&bus, tokens(10), Price::default(), &now);
            assert_eq!(account.reserve(24_000).await.expect("a bus").tokens(), 10, "{payload}");
        }
    }
}
