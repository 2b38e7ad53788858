//! One order out of many partitions, whatever their batches' interleaving: each partition's own order is kept by the bus,
//! and what comes out here depends on nothing else.
//!
//! Each partition has a clock, its watermark: the latest event time that it believes. An item's *turn* is its event
//! time, but not before its partition's clock as its batch found it (it cannot come earlier than it came) and not
//! after the clock as its batch left it (a time that is not believed moves nothing). Items leave in order of their
//! turns once the clocks of all partitions are past them.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::{DAY_MS, MINUTE_MS, Timestamp};

/// Items that wait at most. Beyond it those whose turn comes first leave before the clocks say so, and are counted: a
/// partition stands still, and going on out of order is better than standing still with it.
pub const WAITING_MAX: usize = 65_536;
/// How far time moves between two ticks.
const TICK_MS: i64 = MINUTE_MS;
/// How long after the latest item ticks go on: whatever an item began is over by then.
const TICKS_AFTER_MS: i64 = DAY_MS;

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released<T> {
    /// An item, and the time that all have come to with it.
    Item { turn: Timestamp, value: T },
    /// All have come to this time, a full minute. Ticks stand at their place in the order like items, so that what
    /// ends with time alone ends at the same place too.
    Tick(Timestamp),
}

/// An item before its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<T> {
    pub event_time: Timestamp,
    pub event_id: String,
    pub value: T,
}

/// Turn and event id decide; the rest keeps items of the same id apart.
type Key = (Timestamp, String, u16, u64);

/// Where items wait for their turn.
#[derive(Clone, Debug)]
pub struct Turnstile<T> {
    /// Of the partitions that are waited for; `None` for one that has not spoken yet.
    clocks: BTreeMap<u16, Option<Timestamp>>,
    /// Items that each partition has brought.
    counts: BTreeMap<u16, u64>,
    waiting: BTreeMap<Key, T>,
    waiting_max: usize,
    early: u64,
    /// Turn of the latest item that left.
    latest: Option<Timestamp>,
    /// Minutes since 1970 up to which no tick is due any more.
    ticked: i64,
}

impl<T> Turnstile<T> {
    /// Waits for partitions 0 to `partitions` - 1.
    pub fn new(partitions: u16) -> Self {
        Self {
            clocks: (0..partitions).map(|partition| (partition, None)).collect(),
            counts: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiting_max: WAITING_MAX,
            early: 0,
            latest: None,
            ticked: i64::MIN,
        }
    }

    /// Takes in what a batch of a partition brought, in its order, with the partition's clock before and after it (1970
    /// for a partition that believes nothing yet). Returns what has its turn now, in order.
    pub fn push(
        &mut self,
        partition: u16,
        previous_watermark: Timestamp,
        watermark: Timestamp,
        items: impl IntoIterator<Item = Item<T>>,
    ) -> Vec<Released<T>> {
        let watermark = watermark.max(previous_watermark);
        let count = self.counts.entry(partition).or_insert(0);
        for Item { event_time, event_id, value } in items {
            *count += 1;
            let turn = event_time.max(previous_watermark).min(watermark);
            self.waiting.insert((turn, event_id, partition, *count), value);
        }
        let clock = self.clocks.entry(partition).or_insert(None);
        *clock = (*clock).max(Some(watermark));
        self.release()
    }

    /// Those partitions of which anything is known to exist: others that have not spoken yet are not waited for any more,
    /// until they speak. Returns what has its turn now.
    pub fn known(&mut self, partitions: &BTreeSet<u16>) -> Vec<Released<T>> {
        self.clocks.retain(|partition, clock| clock.is_some() || partitions.contains(partition));
        self.release()
    }

    /// Items that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Items that left before the clocks were past them, for want of room.
    pub fn early(&self) -> u64 {
        self.early
    }

    /// The time that all partitions have come to; `None` while one has not spoken.
    pub fn reached(&self) -> Option<Timestamp> {
        self.clocks.values().copied().min().flatten()
    }

    /// Lets all that wait go, in order.
    pub fn finish(&mut self) -> Vec<Released<T>> {
        let mut out = Vec::new();
        while let Some(((turn, ..), value)) = self.waiting.pop_first() {
            self.tick_until(turn, &mut out);
            self.leave(turn, value, &mut out);
        }
        out
    }

    fn release(&mut self) -> Vec<Released<T>> {
        let mut out = Vec::new();
        if let Some(reached) = self.reached() {
            // One whose turn is just now waits: another may come at the same time with a smaller id.
            while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 < reached) {
                let ((turn, ..), value) = entry.remove_entry();
                self.tick_until(turn, &mut out);
                self.leave(turn, value, &mut out);
            }
            self.tick_until(reached, &mut out);
        }
        while self.waiting.len() > self.waiting_max {
            if let Some(((turn, ..), value)) = self.waiting.pop_first() {
                self.early += 1;
                self.leave(turn, value, &mut out);
            }
        }
        out
    }

    fn leave(&mut self, turn: Timestamp, value: T, out: &mut Vec<Released<T>>) {
        self.latest = self.latest.max(Some(turn));
        self.ticked = self.ticked.max(tick_of(turn));
        out.push(Released::Item { turn, value });
    }

    /// The ticks up to and with `until`: those in the time after the latest item only, so that a leap over years is none
    /// over its minutes.
    fn tick_until(&mut self, until: Timestamp, out: &mut Vec<Released<T>>) {
        let Some(latest) = self.latest else { return };
        let last = tick_of(until.min(latest.plus_ms(TICKS_AFTER_MS)));
        for tick in self.ticked + 1..=last {
            out.push(Released::Tick(Timestamp::from_millis(tick * TICK_MS)));
        }
        self.ticked = self.ticked.max(last);
    }
}

fn tick_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(TICK_MS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000)
    }

    fn item(seconds: i64, id: &str) -> Item<String> {
        Item { event_time: at(seconds), event_id: id.to_owned(), value: id.to_owned() }
    }

    fn ids(released: &[Released<String>]) -> Vec<&str> {
        released
            .iter()
            .filter_map(|released| match released {
                Released::Item { value, .. } => Some(value.as_str()),
                Released::Tick(_) => None,
            })
            .collect()
    }

    /// A partition's batches: the clock after each, and its items.
    type Batches = Vec<(i64, Vec<Item<String>>)>;

    fn batches(partition: u16, seeds: &[(i64, Vec<i64>)]) -> Batches {
        let mut clock = 0;
        let batch = |(number, (step, items)): (usize, &(i64, Vec<i64>))| {
            clock += step;
            let items = items.iter().enumerate().map(|(place, back)| {
                // Late ones, punctual ones and some ahead of all belief; few ids, so that they meet.
                item(clock - back, &format!("{}-{partition}-{number}", place % 3))
            });
            (clock, items.collect())
        };
        seeds.iter().enumerate().map(batch).collect()
    }

    fn run(partitions: &[Batches], order: &[usize]) -> Vec<Released<String>> {
        let mut turnstile = Turnstile::new(partitions.len() as u16);
        let mut next = vec![0; partitions.len()];
        let mut released = Vec::new();
        // Whoever the order names comes next; all that is left comes in turn.
        let rest = (0..partitions.len()).cycle().take(partitions.len() * 40);
        for partition in order.iter().map(|choice| choice % partitions.len()).chain(rest) {
            let place = next[partition];
            let Some((clock, items)) = partitions[partition].get(place) else { continue };
            let before = place.checked_sub(1).map_or(0, |place| partitions[partition][place].0);
            next[partition] += 1;
            released.extend(turnstile.push(partition as u16, at(before), at(*clock), items.clone()));
        }
        released.extend(turnstile.finish());
        assert_eq!(turnstile.early(), 0);
        released
    }

    proptest! {
        /// Whatever the interleaving, the same leaves in the same order.
        #[test]
        fn interleaving_does_not_matter(
            seeds in prop::collection::vec(prop::collection::vec((0_i64..200, prop::collection::vec(-400_i64..300, 0..5)), 1..12), 1..5),
            orders in prop::array::uniform2(prop::collection::vec(0_usize..5, 0..40)),
        ) {
            let partitions: Vec<Batches> =
                seeds.iter().enumerate().map(|(partition, seeds)| batches(partition as u16, seeds)).collect();
            let [one, other] = orders.map(|order| run(&partitions, &order));
            prop_assert_eq!(&one, &other);
            let turns: Vec<Timestamp> = one.iter().map(|released| match released {
                Released::Item { turn, .. } | Released::Tick(turn) => *turn,
            }).collect();
            prop_assert!(turns.is_sorted());
            let items: usize = partitions.iter().flatten().map(|(_, items)| items.len()).sum();
            prop_assert_eq!(ids(&one).len(), items);
        }
    }

    #[test]
    fn waits_for_all_and_for_the_silent_until_they_are_known_not_to_be() {
        let mut turnstile = Turnstile::new(3);
        assert!(turnstile.push(0, at(0), at(10), [item(5, "a")]).is_empty());
        assert!(turnstile.push(1, at(0), at(6), [item(5, "b"), item(6, "c")]).is_empty());
        assert_eq!((turnstile.reached(), turnstile.waiting()), (None, 3));
        let released = turnstile.known(&BTreeSet::from([0, 1]));
        assert_eq!(ids(&released), ["a", "b"]);
        // One that speaks after all is waited for from then on.
        assert!(ids(&turnstile.push(2, at(0), at(4), [])).is_empty());
        assert!(ids(&turnstile.push(1, at(6), at(20), [])).is_empty());
        assert_eq!(ids(&turnstile.push(2, at(4), at(30), [])), ["c"]);
    }

    #[test]
    fn late_items_take_the_turn_they_came_at_and_false_times_move_nothing() {
        let mut turnstile = Turnstile::new(1);
        let items = [item(-9_000, "late"), item(4_000_000, "ahead"), item(55, "punctual")];
        let mut released = turnstile.push(0, at(50), at(60), items);
        released.extend(turnstile.push(0, at(60), at(61), []));
        let turns: Vec<(Timestamp, &str)> = released
            .iter()
            .filter_map(|released| match released {
                Released::Item { turn, value } => Some((*turn, value.as_str())),
                Released::Tick(_) => None,
            })
            .collect();
        assert_eq!(turns, [(at(50), "late"), (at(55), "punctual"), (at(60), "ahead")]);
    }

    #[test]
    fn ticks_come_by_the_minute_and_stop_a_day_after_the_latest_item() {
        let mut turnstile = Turnstile::new(1);
        assert!(turnstile.push(0, at(-9_999_999), at(0), [item(0, "a")]).is_empty());
        let ticks =
            |released: Vec<Released<String>>| released.iter().filter(|r| matches!(r, Released::Tick(_))).count();
        assert_eq!(ticks(turnstile.push(0, at(0), at(120), [])), 2);
        assert_eq!(ticks(turnstile.push(0, at(120), at(900_000_000), [])), 24 * 60 - 2);
        assert_eq!(ticks(turnstile.push(0, at(900_000_000), at(900_009_000), [item(900_000_001, "b")])), 150);
    }

    #[test]
    fn beyond_the_bound_the_earliest_leave_and_are_counted() {
        let mut turnstile = Turnstile { waiting_max: 2, ..Turnstile::new(2) };
        let released = turnstile.push(0, at(0), at(10), [item(3, "c"), item(1, "a"), item(2, "b")]);
        assert_eq!((ids(&released), turnstile.early(), turnstile.waiting()), (vec!["a"], 1, 2));
    }
}
