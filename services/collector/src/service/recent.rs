//! What streams have sent lately. What comes again is named to its client and goes no further, so an id here is what it
//! is to featurizers: an event's and its caller's. They remember more than this, and have the last word.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use rustc_hash::FxHashSet;

use super::documents::IdHash;

/// Streams that are remembered; beyond it the one silent longest is forgotten.
const STREAMS_MAX: usize = 64;
/// Ids that are remembered of each.
const IDS_MAX: usize = 32_768;

/// Ids of durable events by stream.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Streams>);

#[derive(Debug, Default)]
struct Streams {
    by_name: BTreeMap<String, Ids>,
    turn: u64,
}

#[derive(Debug, Default)]
struct Ids {
    known: FxHashSet<IdHash>,
    order: VecDeque<IdHash>,
    used: u64,
}

impl Recent {
    /// Which of `ids` this stream has sent before.
    pub(super) fn known(&self, stream: &str, ids: impl Iterator<Item = IdHash>) -> Vec<bool> {
        let streams = self.lock();
        let known = streams.by_name.get(stream);
        ids.map(|id| known.is_some_and(|ids| ids.known.contains(&id))).collect()
    }

    /// Remembers what is durable. Streams without a name are all strangers.
    pub(super) fn remember(&self, stream: &str, ids: impl IntoIterator<Item = IdHash>) {
        if stream.is_empty() {
            return;
        }
        let mut streams = self.lock();
        let Streams { by_name, turn } = &mut *streams;
        *turn += 1;
        if !by_name.contains_key(stream) && by_name.len() >= STREAMS_MAX {
            let silent = by_name.iter().min_by_key(|(_, ids)| ids.used).map(|(name, _)| name.clone());
            silent.map(|name| by_name.remove(&name));
        }
        let held = by_name.entry(stream.to_owned()).or_default();
        held.used = *turn;
        for id in ids {
            if held.known.insert(id) {
                held.order.push_back(id);
            }
            if held.order.len() > IDS_MAX
                && let Some(oldest) = held.order.pop_front()
            {
                held.known.remove(&oldest);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        // Whole between any two statements but for an order that forgets a little early.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_so_much_of_each_and_so_many() {
        let recent = Recent::default();
        recent.remember("a", 0..IDS_MAX as IdHash + 10);
        assert_eq!(recent.known("a", [9, 10, IDS_MAX as IdHash + 9].into_iter()), [false, true, true]);
        assert_eq!(recent.known("b", [10].into_iter()), [false]);
        for stream in 1..STREAMS_MAX {
            recent.remember(&format!("s{stream}"), [1]);
        }
        recent.remember("a", [1]);
        recent.remember("one more", [1]);
        assert_eq!(recent.known("a", [20].into_iter()), [true]);
        assert_eq!(recent.known("s1", [1].into_iter()), [false]);
        assert_eq!(recent.lock().by_name.len(), STREAMS_MAX);
        recent.remember("", [1]);
        assert_eq!(recent.known("", [1].into_iter()), [false]);
    }
}
