//! What a tenant may spend in a day: reserved before a question is put, settled when its cost is known.

use std::collections::BTreeMap;

use trailwarden_core::time::Timestamp;

use crate::Usage;

const DAY_MS: i64 = 86_400_000;
/// Tenants counted in a day. They are the operator's, so more of them is a mistake, and refused.
const TENANTS_MAX: usize = 10_000;

/// A day of UTC, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

impl Day {
    #[must_use]
    pub const fn of(time: Timestamp) -> Self {
        Self(time.as_millis().div_euclid(DAY_MS))
    }
}

/// Millionths of a dollar for a million tokens: 3 dollars a million are 3,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    pub input_micro_dollars_a_million: u64,
    pub output_micro_dollars_a_million: u64,
}

impl Price {
    /// Rounded up to a millionth of a dollar.
    #[must_use]
    pub fn of(self, usage: Usage) -> u64 {
        let product = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let sum = product(usage.input_tokens, self.input_micro_dollars_a_million)
            .saturating_add(product(usage.output_tokens, self.output_micro_dollars_a_million));
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// What so many tokens cost at most, read or written.
    #[must_use]
    pub fn at_most(self, tokens: u64) -> u64 {
        let sum = u128::from(tokens) * u128::from(self.dearer());
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// How many tokens so much money pays for, read or written.
    #[must_use]
    pub fn affords(self, micro_dollars: u64) -> u64 {
        let product = u128::from(micro_dollars) * 1_000_000;
        let tokens = product.checked_div(u128::from(self.dearer()));
        tokens.map_or(u64::MAX, |tokens| u64::try_from(tokens).unwrap_or(u64::MAX))
    }

    fn dearer(self) -> u64 {
        self.input_micro_dollars_a_million.max(self.output_micro_dollars_a_million)
    }
}

/// A tenant's bounds for a day.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub tokens: u64,
    pub micro_dollars: u64,
}

/// Spent or reserved in a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    pub tokens: u64,
    pub micro_dollars: u64,
}

impl Spent {
    const fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            micro_dollars: self.micro_dollars.saturating_add(other.micro_dollars),
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            micro_dollars: self.micro_dollars.saturating_sub(other.micro_dollars),
        }
    }
}

/// Kept free for one question; to be given to [`Budgets::settle`] exactly once.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Reservation {
    tenant: String,
    day: Day,
    pub amount: Spent,
}

#[derive(Clone, Debug)]
pub struct Budgets {
    limits: Limits,
    day: Day,
    spent: BTreeMap<String, Spent>,
}

impl Budgets {
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, day: Day(i64::MIN), spent: BTreeMap::new() }
    }

    /// # Errors
    /// What of is spent, in a word.
    pub fn reserve(&mut self, tenant: &str, amount: Spent, day: Day) -> Result<Reservation, &'static str> {
        self.turn(day);
        let after = self.spent(tenant).plus(amount);
        if after.tokens > self.limits.tokens {
            return Err("tokens");
        }
        if after.micro_dollars > self.limits.micro_dollars {
            return Err("dollars");
        }
        if !self.spent.contains_key(tenant) && self.spent.len() >= TENANTS_MAX {
            return Err("tenants");
        }
        self.spent.insert(tenant.to_owned(), after);
        Ok(Reservation { tenant: tenant.to_owned(), day: self.day, amount })
    }

    /// Puts what was used in place of what was reserved. A question that ends after midnight counts for the day before.
    pub fn settle(&mut self, reservation: &Reservation, used: Spent) {
        if reservation.day != self.day {
            return;
        }
        if let Some(spent) = self.spent.get_mut(&reservation.tenant) {
            *spent = spent.minus(reservation.amount).plus(used);
        }
    }

    /// Counts what was spent by an earlier process of the same day.
    pub fn restore(&mut self, tenant: &str, spent: Spent, day: Day) {
        self.turn(day);
        if day == self.day && (self.spent.len() < TENANTS_MAX || self.spent.contains_key(tenant)) {
            let sum = self.spent(tenant).plus(spent);
            self.spent.insert(tenant.to_owned(), sum);
        }
    }

    /// The latest day seen, and what each tenant spent or holds reserved in it.
    #[must_use]
    pub const fn today(&self) -> (Day, &BTreeMap<String, Spent>) {
        (self.day, &self.spent)
    }

    fn spent(&self, tenant: &str) -> Spent {
        self.spent.get(tenant).copied().unwrap_or_default()
    }

    /// A clock that steps back over midnight opens no new budget.
    fn turn(&mut self, day: Day) {
        if day > self.day {
            self.day = day;
            self.spent.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { tokens: 100, micro_dollars: 1_000 };

    const fn amount(tokens: u64, micro_dollars: u64) -> Spent {
        Spent { tokens, micro_dollars }
    }

    #[test]
    fn reserves_settles_and_begins_anew_with_the_day() {
        let mut budgets = Budgets::new(LIMITS);
        let first = budgets.reserve("a", amount(60, 10), Day(5)).unwrap();
        assert_eq!(budgets.reserve("a", amount(60, 10), Day(5)), Err("tokens"));
        assert_eq!(budgets.reserve("a", amount(1, 1_000), Day(5)), Err("dollars"));
        let other = budgets.reserve("b", amount(100, 1_000), Day(5)).unwrap();
        budgets.settle(&first, amount(20, 5));
        let second = budgets.reserve("a", amount(80, 10), Day(5)).unwrap();
        assert_eq!(budgets.reserve("a", amount(1, 0), Day(5)), Err("tokens"));
        // The clock steps back: still the same day's budget.
        assert_eq!(budgets.reserve("a", amount(1, 0), Day(4)), Err("tokens"));
        let third = budgets.reserve("a", amount(100, 10), Day(6)).unwrap();
        budgets.settle(&second, amount(0, 0));
        budgets.settle(&other, amount(0, 0));
        assert_eq!(budgets.reserve("a", amount(1, 0), Day(6)), Err("tokens"));
        budgets.settle(&third, amount(u64::MAX, u64::MAX));
        assert_eq!(budgets.today().1["a"], amount(u64::MAX, u64::MAX));
    }

    #[test]
    fn a_price_is_rounded_up_and_does_not_overflow() {
        let price = Price { input_micro_dollars_a_million: 37_500, output_micro_dollars_a_million: 15_000_000 };
        assert_eq!(price.of(Usage { input_tokens: 1_000, output_tokens: 100 }), 38 + 1_500);
        assert_eq!(price.of(Usage { input_tokens: 1, output_tokens: 0 }), 1);
        assert_eq!((price.at_most(1_000), price.affords(15_000), price.affords(14_999)), (15_000, 1_000, 999));
        assert_eq!((Price::default().at_most(u64::MAX), Price::default().affords(0)), (0, u64::MAX));
        assert_eq!(
            Price { input_micro_dollars_a_million: u64::MAX, ..price }
                .of(Usage { input_tokens: u64::MAX, output_tokens: u64::MAX }),
            u64::MAX
        );
    }

    proptest! {
        /// As long as nobody uses more than was reserved, a day's bound holds, whatever is in flight.
        #[test]
        fn the_bound_holds(asked in prop::collection::vec((0_u64..50, 0_u64..50, any::<bool>()), 1..60)) {
            let mut budgets = Budgets::new(LIMITS);
            let (mut open, mut used) = (Vec::new(), 0);
            for (reserved, use_of, settles) in asked {
                if let Ok(reservation) = budgets.reserve("a", amount(reserved, 0), Day(1)) {
                    open.push((reservation, use_of.min(reserved)));
                }
                if settles && let Some((reservation, use_of)) = open.pop() {
                    budgets.settle(&reservation, amount(use_of, 0));
                    used += use_of;
                }
                let held: u64 = open.iter().map(|(reservation, _)| reservation.amount.tokens).sum();
                prop_assert_eq!(budgets.today().1.get("a").map_or(0, |spent| spent.tokens), used + held);
                prop_assert!(used + held <= LIMITS.tokens);
            }
        }
    }
}
