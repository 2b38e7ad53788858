//! The store within one process: the same promises except outliving it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rustc_hash::{FxHashMap, FxHashSet};
use trailwarden_core::fence::Record;
use trailwarden_core::live::LiveState;
use trailwarden_core::time::{DAY_MS, Timestamp};

use super::{Error, Finding, PartitionKey, WindowStore};
use crate::partition::{Changes, Hour, IdHash, Loaded, Needs};

/// State of a principal that was idle for so long is worthless, as in the store on a server.
const IDLE_MS_MAX: i64 = 3 * DAY_MS;
/// Principals of one partition before idle ones are looked for.
const SWEEP_FROM: usize = 1_024;

/// The store within one process. Clones share what is held.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<BTreeMap<PartitionKey, Held>>>);

/// All that a store held at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot(BTreeMap<PartitionKey, Held>);

#[derive(Clone, Debug, Default)]
struct Held {
    record: Record,
    watermark: Option<Timestamp>,
    /// Packed as on a server, so that both keep exactly the same, with the watermark when it was written.
    live: FxHashMap<u64, (Arc<[u8]>, Option<Timestamp>)>,
    /// Ids by hour, with the broker's clock when the latest came.
    ids: BTreeMap<Hour, (Timestamp, FxHashSet<IdHash>)>,
    sweep_at: usize,
}

impl MemoryStore {
    /// What is held now, to be brought back later: a store that fails over to a lagging copy does just that.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.held().clone())
    }

    /// Forgets everything since the snapshot.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.held().clone_from(&snapshot.0);
    }

    /// Forgets everything.
    pub fn flush(&self) {
        self.held().clear();
    }

    /// Overwrites what is held of a principal: damage, as a disk or an intruder does it.
    pub fn damage(&self, key: &PartitionKey, principal: u64, bytes: &[u8]) {
        if let Some(held) = self.held().get_mut(key) {
            held.live.insert(principal, (bytes.into(), held.watermark));
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, Held>> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl WindowStore for MemoryStore {
    async fn read(&self, key: &PartitionKey, needs: &Needs) -> Result<(Option<Record>, Loaded), Error> {
        let all = self.held();
        let Some(held) = all.get(key) else { return Ok((None, Loaded::default())) };
        let mut live = BTreeMap::new();
        for principal in &needs.principals {
            if let Some((packed, _)) = held.live.get(principal) {
                let state = LiveState::unpack(packed).map_err(|error| Error::corrupt(key, error))?;
                live.insert(*principal, state);
            }
        }
        let asked = needs.ids.iter().flat_map(|(hour, ids)| ids.iter().map(move |id| (*hour, *id)));
        let seen = asked.filter(|(hour, id)| held.ids.get(hour).is_some_and(|(_, ids)| ids.contains(id))).collect();
        let hours = held.ids.iter().map(|(hour, (latest, _))| (*hour, *latest)).collect();
        let loaded = Loaded { watermark: held.watermark, live, seen, hours };
        Ok((Some(held.record.clone()), loaded))
    }

    async fn commit(&self, key: &PartitionKey, from: &Record, to: &Record, changes: &Changes) -> Result<bool, Error> {
        let mut all = self.held();
        let stored = all.get(key).map(|held| held.record.clone()).unwrap_or_default();
        if stored != *from {
            return Ok(false);
        }
        all.entry(key.clone()).or_default().apply(to, changes);
        Ok(true)
    }

    async fn clear(&self, key: &PartitionKey) -> Result<(), Error> {
        self.held().remove(key);
        Ok(())
    }

    async fn check(&self) -> Result<Vec<Finding>, Error> {
        let what = "the state of principals is kept in this process and is lost with it".to_owned();
        Ok(vec![Finding { what, good: true, fix: String::new() }])
    }
}

impl Held {
    fn apply(&mut self, to: &Record, changes: &Changes) {
        self.record = to.clone();
        self.watermark = changes.watermark.or(self.watermark);
        for (principal, state) in &changes.live {
            self.live.insert(*principal, (state.pack().into(), self.watermark));
        }
        for (hour, added) in &changes.ids {
            let held = self.ids.entry(*hour).or_default();
            held.0 = added.latest;
            held.1.extend(&added.ids);
        }
        for hour in &changes.expired {
            self.ids.remove(hour);
        }
        self.sweep();
    }

    fn sweep(&mut self) {
        if self.live.len() < self.sweep_at.max(SWEEP_FROM) {
            return;
        }
        if let Some(now) = self.watermark {
            self.live.retain(|_, (_, written)| written.is_none_or(|written| now.since_ms(written) < IDLE_MS_MAX));
        }
        // Twice as many before the next look, so that looking costs a constant per principal.
        self.sweep_at = self.live.len() * 2;
    }
}
