//! States as they were committed last, so that a batch reads only what is lacking. A saving, never a source of truth:
//! it counts for the record that it was committed with, and for no other.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use trailwarden_core::fence::Record;
use trailwarden_core::live::LiveState;

use crate::partition::Needs;

/// States kept of one partition: some MiB each, and seldom more principals than a few batches bring.
const STATES_MAX: usize = 512;

/// The states of one partition at one record.
#[derive(Debug, Default)]
pub(super) struct Cache {
    record: Option<Record>,
    /// With the commit that touched it last.
    states: FxHashMap<u64, (LiveState, u64)>,
    commits: u64,
}

impl Cache {
    pub(super) fn clear(&mut self) {
        self.record = None;
        self.states.clear();
    }

    /// What of `needs` has to be read.
    pub(super) fn lacking(&self, needs: &Needs) -> Needs {
        let principals = needs.principals.iter().filter(|principal| !self.states.contains_key(principal));
        Needs { principals: principals.copied().collect(), ids: needs.ids.clone() }
    }

    pub(super) fn is_of(&self, record: Option<&Record>) -> bool {
        self.record.is_some() && self.record.as_ref() == record
    }

    /// Moves the needed states out; they come back with the commit, or are read again.
    pub(super) fn take(&mut self, needs: &Needs, live: &mut BTreeMap<u64, LiveState>) {
        for principal in &needs.principals {
            if let Some((state, _)) = self.states.remove(principal) {
                live.insert(*principal, state);
            }
        }
    }

    /// `states` were committed, from one record to another.
    pub(super) fn committed(&mut self, from: &Record, to: &Record, states: BTreeMap<u64, LiveState>) {
        if self.record.as_ref() != Some(from) {
            self.states.clear();
        }
        self.record = Some(to.clone());
        self.commits += 1;
        let commit = self.commits;
        self.states.extend(states.into_iter().map(|(principal, state)| (principal, (state, commit))));
        if self.states.len() > STATES_MAX {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let mut order: Vec<(u64, u64)> =
            self.states.iter().map(|(principal, (_, commit))| (*commit, *principal)).collect();
        order.sort_unstable();
        let surplus = order.len() - STATES_MAX * 7 / 8;
        order.iter().take(surplus).for_each(|(_, principal)| _ = self.states.remove(principal));
    }
}
