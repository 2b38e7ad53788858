//! Correlations at run time: what the latest matches of each group add up to.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::correlation::Bounds;
use super::correlation::{Kind, RULES_MAX};
use super::{Match, RuleIndex, RuleSet};
use crate::stored::at_most;
use crate::time::Timestamp;

/// Groups that are remembered, over all correlations.
pub const GROUPS_MAX: usize = 65_536;
/// Times and values that are remembered, over all groups. One takes 16 bytes, and a group's buffer at most twice that.
pub const ENTRIES_MAX: usize = 1_048_576;

/// The state of all correlations: a pure fold over matches in order of event time.
///
/// Events may come late by up to a correlation's timespan; what comes later than that is not counted there.
/// What is remembered is bounded by [`GROUPS_MAX`] and [`ENTRIES_MAX`]: the groups that were longest without
/// an event are forgotten first.
#[derive(Clone, Debug)]
pub struct Correlator {
    watches: FxHashMap<RuleIndex, Watch>,
    groups: FxHashMap<GroupKey, Group>,
    /// Every group once, with a latest time that may be out of date: too early, never too late.
    oldest: BinaryHeap<Reverse<(Timestamp, GroupKey)>>,
    entries: usize,
    evicted: u64,
    late: u64,
}

/// A group of a correlation, by the hash of its group-by values.
type GroupKey = (RuleIndex, u64);

/// What a correlation waits for.
#[derive(Clone, Debug)]
struct Watch {
    timespan_ms: i64,
    wanted: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    Events(Bounds),
    Distinct(Bounds),
    /// A match of each rule, in this order.
    Sequence(Vec<RuleIndex>),
}

/// What is remembered of one group of a correlation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    latest: Timestamp,
    seen: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Seen {
    /// Times in order.
    Events(VecDeque<Timestamp>),
    /// Each value with its latest time.
    Distinct(Vec<(Timestamp, u64)>),
    Sequence(#[serde(deserialize_with = "at_most::<_, _, RULES_MAX>")] Vec<Stage>),
}

/// One rule's place in a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stage {
    /// The rule's latest match.
    latest: Option<Timestamp>,
    /// The chain of matches up to this rule that began last: its first and its last time.
    chain: Option<(Timestamp, Timestamp)>,
}

impl Correlator {
    pub fn new(rules: &RuleSet) -> Self {
        let watch = |index: &RuleIndex| {
            let (_, correlated) = rules.correlations().iter().find(|(own, _)| own == index)?;
            Some(Watch {
                timespan_ms: correlated.correlation.timespan_ms,
                wanted: match &correlated.correlation.kind {
                    Kind::EventCount(bounds) => Wanted::Events(*bounds),
                    Kind::ValueCount { bounds, .. } | Kind::Temporal(bounds) => Wanted::Distinct(*bounds),
                    Kind::TemporalOrdered => Wanted::Sequence(correlated.rules.clone()),
                },
            })
        };
        let indices = rules.correlations().iter().map(|(index, _)| *index);
        Self {
            watches: indices.filter_map(|index| Some((index, watch(&index)?))).collect(),
            groups: FxHashMap::default(),
            oldest: BinaryHeap::new(),
            entries: 0,
            evicted: 0,
            late: 0,
        }
    }

    /// Takes one event's matches and returns the correlations that fire at it, in order of the rules: those whose
    /// condition holds for the group of one of the matches, from the event that meets it on.
    pub fn step(&mut self, event_time: Timestamp, matches: &[Match]) -> Vec<RuleIndex> {
        let mut fired = Vec::new();
        for (place, matched) in matches.iter().enumerate() {
            for counted in &matched.counted {
                // An event is one event, however many of a correlation's rules it matches.
                let counts_events = counted.value_hash == 0;
                let again = counts_events && matches[..place].iter().any(|other| other.counted.contains(counted));
                if again {
                    continue;
                }
                let key = (counted.correlation, counted.group_hash);
                if self.record(event_time, key, counted.value_hash, matched.rule) {
                    fired.push(counted.correlation);
                }
            }
        }
        fired.sort_unstable();
        fired.dedup();
        fired
    }

    /// Groups that were forgotten while a match within their timespan could still have counted.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Matches that came later than their correlation's timespan and were not counted.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// What is remembered of a group; `None` when nothing is.
    pub fn group(&self, correlation: RuleIndex, group_hash: u64) -> Option<&Group> {
        self.groups.get(&(correlation, group_hash))
    }

    /// Puts what was remembered of a group elsewhere in the place of what is remembered here.
    pub fn set_group(&mut self, correlation: RuleIndex, group_hash: u64, group: Option<Group>) {
        let key = (correlation, group_hash);
        if let Some(former) = self.groups.remove(&key) {
            self.entries = self.entries.saturating_sub(former.seen.len());
        }
        if let Some(group) = group {
            self.entries = self.entries.saturating_add(group.seen.len());
            // A second entry of the same group does no harm: each is looked up before it counts.
            self.oldest.push(Reverse((group.latest, key)));
            self.groups.insert(key, group);
        }
    }

    /// Adds one match to its group; whether the correlation's condition holds now.
    fn record(&mut self, time: Timestamp, key: GroupKey, value_hash: u64, rule: RuleIndex) -> bool {
        let Some(watch) = self.watches.get(&key.0) else {
            return false;
        };
        let group = self.groups.entry(key).or_insert_with(|| {
            self.oldest.push(Reverse((time, key)));
            Group::new(time, &watch.wanted)
        });
        if group.latest.since_ms(time) > watch.timespan_ms {
            self.late += 1;
            return false;
        }
        group.latest = group.latest.max(time);
        let before = group.seen.len();
        let fires = group.add(time, value_hash, rule, watch);
        self.entries = self.entries + group.seen.len() - before;
        while self.groups.len() > GROUPS_MAX || self.entries > ENTRIES_MAX {
            self.evict(time);
        }
        fires
    }

    /// Forgets the group whose latest event is the oldest.
    fn evict(&mut self, now: Timestamp) {
        while let Some(Reverse((recorded, key))) = self.oldest.pop() {
            let Some(group) = self.groups.get(&key) else {
                continue;
            };
            if group.latest > recorded {
                self.oldest.push(Reverse((group.latest, key)));
                continue;
            }
            let timespan_ms = self.watches.get(&key.0).map_or(0, |watch| watch.timespan_ms);
            self.evicted += u64::from(now.since_ms(group.latest) <= timespan_ms);
            self.entries -= group.seen.len();
            self.groups.remove(&key);
            return;
        }
    }
}

impl Group {
    fn new(latest: Timestamp, wanted: &Wanted) -> Self {
        Self {
            latest,
            seen: match wanted {
                Wanted::Events(_) => Seen::Events(VecDeque::new()),
                Wanted::Distinct(_) => Seen::Distinct(Vec::new()),
                Wanted::Sequence(_) => Seen::Sequence(Vec::new()),
            },
        }
    }

    fn add(&mut self, time: Timestamp, value_hash: u64, rule: RuleIndex, watch: &Watch) -> bool {
        let since = self.latest.plus_ms(-watch.timespan_ms);
        match (&mut self.seen, &watch.wanted) {
            (Seen::Events(times), Wanted::Events(bounds)) => {
                while times.front().is_some_and(|oldest| *oldest < since) {
                    times.pop_front();
                }
                let place = times.iter().rposition(|earlier| *earlier <= time).map_or(0, |at| at + 1);
                times.insert(place, time);
                if times.len() > bounds.entries_needed() {
                    times.pop_front();
                }
                bounds.hold(times.len())
            }
            (Seen::Distinct(values), Wanted::Distinct(bounds)) => {
                values.retain(|(latest, _)| *latest >= since);
                match values.iter_mut().find(|(_, value)| *value == value_hash) {
                    Some((latest, _)) => *latest = (*latest).max(time),
                    None => values.push((time, value_hash)),
                }
                if values.len() > bounds.entries_needed() {
                    let oldest = values.iter().enumerate().min_by_key(|(_, entry)| **entry);
                    if let Some((place, _)) = oldest {
                        values.swap_remove(place);
                    }
                }
                bounds.hold(values.len())
            }
            (Seen::Sequence(stages), Wanted::Sequence(rules)) => {
                stages.resize_with(rules.len(), Stage::default);
                advance(stages, rules, rule, time);
                let whole = stages.last().and_then(|stage| stage.chain);
                whole.is_some_and(|(start, _)| start >= since)
            }
            // A group is made for its own watch.
            _ => false,
        }
    }
}

impl Seen {
    fn len(&self) -> usize {
        match self {
            Self::Events(times) => times.len(),
            Self::Distinct(values) => values.len(),
            // A stage takes four times the room of another entry.
            Self::Sequence(stages) => 4 * stages.len(),
        }
    }
}

/// Notes a match of `rule` and carries every chain on that it lets grow. Events of the same second come in any
/// order, so a later rule's match at or after a chain's end carries the chain on even if it was noted before.
fn advance(stages: &mut [Stage], rules: &[RuleIndex], rule: RuleIndex, time: Timestamp) {
    let Some(place) = rules.iter().position(|own| *own == rule) else {
        return;
    };
    stages[place].latest = stages[place].latest.max(Some(time));
    for at in place..stages.len() {
        let reached = match at {
            0 => Some((time, time)),
            _ => stages[at - 1].chain.and_then(|(start, end)| {
                let own = if at == place { Some(time) } else { stages[at].latest };
                own.filter(|own| *own >= end).map(|own| (start, own))
            }),
        };
        let Some((start, end)) = reached else {
            return;
        };
        // The chain that began last has the longest to live; of two that began together, the one that ended first
        // leaves more room for what follows.
        let better = stages[at]
            .chain
            .is_none_or(|(own_start, own_end)| start > own_start || (start == own_start && end < own_end));
        if better {
            stages[at].chain = Some((start, end));
        }
    }
}
