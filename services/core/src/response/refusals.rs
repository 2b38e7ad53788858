//! What is written down of orders that are refused, where anybody may send as many as they like: the first ones each, then
//! one in a while with the count of those between. So a flood fills no log, and none of it goes unseen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::approval::Refusal;
use crate::time::{MINUTE_MS, Timestamp};

/// Refusals that are told of one by one, after a while in which nothing was refused.
pub const AT_ONCE: u32 = 16;
/// How often one more may be told of: six an hour, whatever comes.
pub const EVERY_MS: i64 = 10 * MINUTE_MS;
/// Characters that are repeated of a reason: some hold a name that a stranger wrote.
const WHY_CHARS_MAX: usize = 300;

/// A refusal that is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The case that the order was sent to; empty where only those held back are told of.
    pub case: String,
    /// Why it was refused; empty where only those held back are told of.
    pub why: String,
    /// Refused since the one told of before, by [`Refusal::word`].
    pub held_back: BTreeMap<String, u64>,
}

impl Told {
    /// In words.
    pub fn text(&self) -> String {
        let held: Vec<String> = self.held_back.iter().map(|(word, count)| format!("{count} {word}")).collect();
        match (self.why.is_empty(), held.is_empty()) {
            (_, true) => self.why.clone(),
            (true, false) => format!("orders were refused and not told of one by one: {}", held.join(", ")),
            (false, false) => format!("{}; refused before it and not told of: {}", self.why, held.join(", ")),
        }
    }
}

/// What may still be told, and what was held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals {
    left: u32,
    /// Since when the next one to be told is earned.
    since: Timestamp,
    /// By word, of which there are a handful.
    held_back: BTreeMap<String, u64>,
}

impl Refusals {
    pub fn new(now: Timestamp) -> Self {
        Self { left: AT_ONCE, since: now, held_back: BTreeMap::new() }
    }

    /// What to write down of a refusal; nothing when it is held back, and counted.
    pub fn note(&mut self, case: &str, refusal: &Refusal, now: Timestamp) -> Option<Told> {
        if !self.may_tell(now) {
            *self.held_back.entry(refusal.word().to_owned()).or_default() += 1;
            return None;
        }
        let why = refusal.to_string().chars().take(WHY_CHARS_MAX).collect();
        let held_back = std::mem::take(&mut self.held_back);
        Some(Told { case: case.chars().take(WHY_CHARS_MAX).collect(), why, held_back })
    }

    /// What was held back, once it may be told.
    pub fn due(&mut self, now: Timestamp) -> Option<Told> {
        if self.held_back.is_empty() || !self.may_tell(now) {
            return None;
        }
        self.rest()
    }

    /// What was held back, for whoever ends.
    pub fn rest(&mut self) -> Option<Told> {
        let held_back = std::mem::take(&mut self.held_back);
        (!held_back.is_empty()).then(|| Told { case: String::new(), why: String::new(), held_back })
    }

    fn may_tell(&mut self, now: Timestamp) -> bool {
        let earned = now.since_ms(self.since).max(0) / EVERY_MS;
        self.left = self.left.saturating_add(u32::try_from(earned).unwrap_or(AT_ONCE)).min(AT_ONCE);
        self.since = if self.left == AT_ONCE { now } else { self.since.plus_ms(earned * EVERY_MS) };
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::HOUR_MS;

    const T0: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn a_flood_is_told_of_six_times_an_hour_and_counted_whole() {
        let mut refusals = Refusals::new(T0);
        let forged = Refusal::Forged("ann".to_owned());
        let (mut told, mut counted) = (0, 0);
        for second in 0..24 * 3_600 {
            for _ in 0..10 {
                if let Some(one) = refusals.note("c1", &forged, T0.plus_ms(second * 1_000)) {
                    told += 1;
                    counted += 1 + one.held_back.get("forged").copied().unwrap_or_default();
                }
            }
        }
        assert!(told <= 16 + 24 * 6, "{told}");
        let rest = refusals.rest().expect("the last ones");
        assert_eq!(counted + rest.held_back["forged"], 864_000);
        assert!(rest.text().contains("forged"), "{}", rest.text());
        assert_eq!(refusals.rest(), None);
    }

    #[test]
    fn a_few_are_told_of_each_and_what_was_held_back_when_it_may_be() {
        let mut refusals = Refusals::new(T0);
        let stale = Refusal::Stale("ann".to_owned());
        for _ in 0..AT_ONCE {
            let told = refusals.note("c1", &stale, T0).expect("told");
            assert_eq!((told.case.as_str(), told.text().as_str()), ("c1", "the order of ann is stale"));
        }
        assert_eq!(refusals.note("c1", &stale, T0), None);
        assert_eq!(refusals.due(T0.plus_ms(EVERY_MS - 1)), None);
        let told = refusals.due(T0.plus_ms(EVERY_MS)).expect("held back before");
        assert_eq!(told.held_back, BTreeMap::from([("stale".to_owned(), 1)]));
        assert_eq!(refusals.due(T0.plus_ms(HOUR_MS)), None);
        // A clock that goes back earns nothing.
        assert_eq!(refusals.note("c1", &stale, T0), None);
        let long = Refusal::Unknown("x".repeat(4_000));
        let told = refusals.note("c1", &long, T0.plus_ms(HOUR_MS)).expect("told");
        assert!(told.why.len() <= WHY_CHARS_MAX);
    }
}
