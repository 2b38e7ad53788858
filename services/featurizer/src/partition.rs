//! One partition's work on one batch: a function of (epoch, state, batch, the broker's clock), so it can be done again.

use std::collections::{BTreeMap, BTreeSet};

use trailwarden_core::activity::Activity;
use trailwarden_core::api::Vocabulary;
use trailwarden_core::baseline::Epoch;
use trailwarden_core::feature::FeatureVector;
use trailwarden_core::hash::{hash64, hash128_of};
use trailwarden_core::live::LiveState;
use trailwarden_core::sequence::Sequence;
use trailwarden_core::time::{HOUR_MS, MINUTE_MS, Timestamp};

use crate::measure::Subject;

/// How far ahead of the broker's clock an event may be before its time is not believed.
pub const AHEAD_MS_MAX: i64 = 5 * MINUTE_MS;
/// How far behind the partition's clock ids are held for sure: the live windows' 24 h and a margin, so that nothing is
/// counted twice.
pub const ID_REACH_MS: i64 = 26 * HOUR_MS;
/// How long ids are held at least, by the broker's clock, however far behind or ahead their events are: who sends again
/// after a failure does so within minutes, and while history is caught up with, days of events go by in that time.
pub const ID_HOLD_MS: i64 = 15 * MINUTE_MS;
/// Hours whose ids are held at once. Only a history of months with few events an hour brings more within
/// [`ID_HOLD_MS`]; then those go first to which nothing was added for longest.
pub const HOURS_MAX: usize = 4_096;
/// Hours that one batch gives up because of their age: what is left is given up by the next.
const EXPIRED_MAX: usize = 256;

/// An event id as the id sets hold it: 128 bits of SHA-256 over the id and its caller. Who can write event ids could find
/// two that a fast hash takes for one, and hide an event behind another; and a caller's ids are its own, so that what
/// counts as a duplicate does not hang on who shares its partition.
pub type IdHash = u128;

/// Hours since 1970: ids are kept by the hour of their event.
pub type Hour = i64;

/// Ids of the events of one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdSet {
    /// The broker's clock when one of them came last, for the first time or again.
    pub latest: Timestamp,
    pub ids: BTreeSet<IdHash>,
}

/// What of the store a batch needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Keys of principals whose live state is read.
    pub principals: BTreeSet<u64>,
    /// Ids that are asked for, by hour.
    pub ids: BTreeMap<Hour, BTreeSet<IdHash>>,
}

/// What the store held of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// The partition's clock: latest event time that was believed; `None` before the first event.
    pub watermark: Option<Timestamp>,
    pub live: BTreeMap<u64, LiveState>,
    /// Those of the asked ids that were seen before.
    pub seen: BTreeSet<(Hour, IdHash)>,
    /// Hours of which ids are held, each with the broker's clock when the latest came.
    pub hours: BTreeMap<Hour, Timestamp>,
}

/// What a batch changed; committed in one step with the record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub watermark: Option<Timestamp>,
    pub live: BTreeMap<u64, LiveState>,
    pub ids: BTreeMap<Hour, IdSet>,
    /// Hours whose ids are given up: none of them is expected again.
    pub expired: BTreeSet<Hour>,
}

/// What became of one activity.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every outcome is measured, so that a box would only cost")]
pub enum Outcome {
    Measured {
        features: FeatureVector,
        /// The session's latest activities, if they were asked for.
        sequence: Option<Sequence>,
        /// Older than the windows or further ahead than is believed: measured, and moved no state.
        read_only: bool,
    },
    /// Seen before.
    Duplicate,
}

/// How batches are worked on; equal on all workers of a deployment.
#[derive(Clone, Copy, Debug)]
pub struct Method<'a> {
    pub vocabulary: &'a Vocabulary,
    /// Whether sequences go with the features, for networks.
    pub with_sequences: bool,
}

impl IdSet {
    pub(crate) fn extend(&mut self, added: Self) {
        self.latest = added.latest;
        self.ids.extend(added.ids);
    }
}

impl Needs {
    pub fn of(activities: &[Activity<'_>]) -> Self {
        let mut needs = Self::default();
        for activity in activities {
            needs.principals.insert(hash64(activity.principal));
            needs.ids.entry(hour_of(activity.event_time)).or_default().insert(id_of(activity));
        }
        needs
    }
}

impl Method<'_> {
    /// Works on a batch. `tick` is the event time that its source has come to; `stored_at` is the broker's clock when it took the
    /// batch in, and what lies more than five minutes ahead of it moves nothing.
    ///
    /// Events are taken one by one, so a batch that is cut in two ends in the same state with the same outcomes, but for
    /// ids that are given up between the halves.
    pub fn work(
        &self,
        loaded: Loaded,
        epoch: &Epoch,
        activities: &[Activity<'_>],
        tick: Option<Timestamp>,
        stored_at: Timestamp,
    ) -> (Vec<Outcome>, Changes) {
        let mut work = Work {
            method: *self,
            epoch,
            stored_at,
            believed: stored_at.plus_ms(AHEAD_MS_MAX),
            watermark: loaded.watermark,
            live: loaded.live,
            seen: loaded.seen,
            moved: BTreeSet::new(),
            ids: BTreeMap::new(),
        };
        let outcomes = activities.iter().map(|activity| work.step(activity)).collect();
        if let Some(tick) = tick {
            work.advance(tick.min(work.believed));
        }
        (outcomes, work.into_changes(loaded.hours))
    }
}

/// A batch on its way.
struct Work<'a> {
    method: Method<'a>,
    epoch: &'a Epoch,
    /// The broker's clock.
    stored_at: Timestamp,
    /// Latest event time to believe.
    believed: Timestamp,
    watermark: Option<Timestamp>,
    live: BTreeMap<u64, LiveState>,
    seen: BTreeSet<(Hour, IdHash)>,
    /// Principals whose state changed.
    moved: BTreeSet<u64>,
    /// Ids that this batch brought, by hour; hours of which it brought known ones alone are there too.
    ids: BTreeMap<Hour, BTreeSet<IdHash>>,
}

impl Work<'_> {
    fn step(&mut self, activity: &Activity<'_>) -> Outcome {
        let at = activity.event_time;
        let subject = Subject::new(activity, self.method.vocabulary.access_level(activity.service, activity.call));
        let id = (hour_of(at), id_of(activity));
        // The hour is named also where nothing is added to it: who sends again may do so once more.
        let added = self.ids.entry(id.0).or_default();
        if self.seen.contains(&id) || !added.insert(id.1) {
            return Outcome::Duplicate;
        }
        let counts = at <= self.believed && id.0 >= oldest_hour(self.watermark);
        if counts {
            self.advance(at);
        }
        self.measure(&subject, counts)
    }

    fn measure(&mut self, subject: &Subject<'_, '_>, counts: bool) -> Outcome {
        let principal = subject.kind.principal();
        let mut fresh = None;
        let state = match self.live.get_mut(&principal) {
            Some(state) => state,
            None => fresh.insert(subject.fresh(self.believed)),
        };
        let taken = counts && subject.is_within(state);
        let features = subject.measure(state, self.epoch, taken);
        let sequence = self.method.with_sequences.then(|| subject.sequence(state));
        if taken {
            self.moved.insert(principal);
            self.live.extend(fresh.map(|state| (principal, state)));
        }
        Outcome::Measured { features, sequence, read_only: !taken }
    }

    fn advance(&mut self, at: Timestamp) {
        self.watermark = self.watermark.max(Some(at));
    }

    fn into_changes(mut self, mut hours: BTreeMap<Hour, Timestamp>) -> Changes {
        self.live.retain(|principal, _| self.moved.contains(principal));
        let added = std::mem::take(&mut self.ids).into_iter();
        let latest = |hour: Hour| hours.get(&hour).copied().map_or(self.stored_at, |held| held.max(self.stored_at));
        let ids: BTreeMap<_, _> = added.map(|(hour, ids)| (hour, IdSet { latest: latest(hour), ids })).collect();
        hours.extend(ids.iter().map(|(hour, added)| (*hour, added.latest)));
        let mut expired = self.expired(&hours);
        expired.retain(|hour| !ids.contains_key(hour));
        Changes { watermark: self.watermark, live: self.live, ids, expired }
    }

    /// Hours that are given up, of all that are held.
    fn expired(&self, hours: &BTreeMap<Hour, Timestamp>) -> BTreeSet<Hour> {
        let reach = oldest_hour(self.watermark)..=hour_of(self.believed);
        let beyond = hours.iter().filter(|(hour, _)| !reach.contains(hour));
        let mut beyond: Vec<(Timestamp, Hour)> = beyond.map(|(hour, latest)| (*latest, *hour)).collect();
        beyond.sort_unstable();
        let too_many = hours.len().saturating_sub(HOURS_MAX);
        let places = (0..).zip(beyond).take(EXPIRED_MAX.max(too_many));
        let gone =
            places.filter(|(place, (latest, _))| *place < too_many || self.stored_at.since_ms(*latest) >= ID_HOLD_MS);
        gone.map(|(_, (_, hour))| hour).collect()
    }
}

/// The first hour whose ids are still held.
fn oldest_hour(watermark: Option<Timestamp>) -> Hour {
    watermark.map_or(Hour::MIN, |watermark| hour_of(watermark.plus_ms(-ID_REACH_MS)))
}

fn hour_of(at: Timestamp) -> Hour {
    at.as_millis().div_euclid(HOUR_MS)
}

fn id_of(activity: &Activity<'_>) -> IdHash {
    hash128_of([activity.event_id, activity.account, activity.principal])
}

/// All of a partition's state in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    watermark: Option<Timestamp>,
    live: BTreeMap<u64, LiveState>,
    ids: BTreeMap<Hour, IdSet>,
}

impl State {
    /// What a batch needs of it.
    pub fn load(&self, needs: &Needs) -> Loaded {
        let live =
            needs.principals.iter().filter_map(|principal| Some((*principal, self.live.get(principal)?.clone())));
        let held = |hour: &Hour, id: &IdHash| self.ids.get(hour).is_some_and(|held| held.ids.contains(id));
        let asked = needs.ids.iter().flat_map(|(hour, ids)| ids.iter().map(|id| (*hour, *id)));
        Loaded {
            watermark: self.watermark,
            live: live.collect(),
            seen: asked.filter(|(hour, id)| held(hour, id)).collect(),
            hours: self.ids.iter().map(|(hour, held)| (*hour, held.latest)).collect(),
        }
    }

    /// Takes in what a batch changed.
    pub fn apply(&mut self, changes: Changes) {
        self.watermark = changes.watermark;
        self.live.extend(changes.live);
        for (hour, added) in changes.ids {
            match self.ids.get_mut(&hour) {
                Some(held) => held.extend(added),
                None => _ = self.ids.insert(hour, added),
            }
        }
        changes.expired.iter().for_each(|hour| {
            self.ids.remove(hour);
        });
    }
}

#[cfg(test)]
mod tests;
