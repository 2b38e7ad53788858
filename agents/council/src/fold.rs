//! From batches of signals to entries of case logs: a fold that does not depend on how partitions interleave.

use std::collections::BTreeSet;
use std::sync::Arc;

use trailwarden_core::activity::Observation;
use trailwarden_core::case;
use trailwarden_core::detection::RuleSet;
use trailwarden_core::feature::FeatureVector;
use trailwarden_core::gather::{Detector, Gatherer};
use trailwarden_core::level::Level;
use trailwarden_core::time::Timestamp;
use trailwarden_core::turnstile::{self, Released, Turnstile};
use trailwarden_proto::convert::{self, Rules};
use trailwarden_proto::{Invalid, v1};

use crate::docket::{Docket, Entry};

/// What a fold rests on.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) partitions: u16,
    pub(crate) rules: Arc<RuleSet>,
    /// The operator's own accounts.
    pub(crate) accounts: BTreeSet<String>,
    pub(crate) cases: case::Limits,
}

/// An event with the rule ids of its batch.
#[derive(Debug)]
struct Waiting {
    event: v1::ScoredEvent,
    table: Arc<Vec<String>>,
}

/// All state between signals and logs.
pub(crate) struct Fold {
    /// Boxed, since their places in the order move about.
    turnstile: Turnstile<Box<Waiting>>,
    gatherer: Gatherer<Arc<RuleSet>>,
    docket: Docket,
    rules: Rules,
    /// Of each partition, the clock after its latest batch.
    clocks: Vec<Option<Timestamp>>,
    /// Of the numbers that the stages count, those told of already.
    told: u64,
}

/// An event that could not be taken in.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Place in its batch.
    pub(crate) place: u32,
    pub(crate) event: v1::ScoredEvent,
    /// The rule ids of its batch.
    pub(crate) table: Arc<Vec<String>>,
    pub(crate) why: Invalid,
}

impl Fold {
    pub(crate) fn new(ground: &Ground) -> Self {
        let detector = Detector::new(ground.rules.clone(), ground.accounts.clone());
        Self {
            turnstile: Turnstile::new(ground.partitions),
            gatherer: Gatherer::new(detector, ground.cases),
            docket: Docket::default(),
            rules: Rules::new(&ground.rules),
            clocks: vec![None; usize::from(ground.partitions)],
            told: 0,
        }
    }

    /// Events that wait until all partitions have come to their time.
    pub(crate) fn waiting(&self) -> usize {
        self.turnstile.waiting()
    }

    /// The partition that the others wait for.
    pub(crate) fn slowest(&self) -> u16 {
        (0..).zip(&self.clocks).min_by_key(|(_, clock)| **clock).map_or(0, |(partition, _)| partition)
    }

    /// Takes in the next batch of a partition. Events that cannot be read are left out and returned.
    pub(crate) fn push(&mut self, partition: u16, batch: v1::SignalBatch) -> (Vec<Entry>, Vec<Refused>) {
        let table = Arc::new(batch.rules);
        let (mut items, mut refused) = (Vec::new(), Vec::new());
        for (place, event) in (0..).zip(batch.events) {
            match read(&self.rules, &event, &table) {
                Ok((observation, _)) => {
                    let activity = &observation.activity;
                    let (event_time, event_id) = (activity.event_time, activity.event_id.to_owned());
                    let value = Box::new(Waiting { event, table: table.clone() });
                    items.push(turnstile::Item { event_time, event_id, value });
                }
                Err(why) => refused.push(Refused { place, event, table: table.clone(), why }),
            }
        }
        let previous = Timestamp::from_millis(batch.previous_watermark_ms);
        let watermark = Timestamp::from_millis(batch.watermark_ms);
        if let Some(clock) = self.clocks.get_mut(usize::from(partition)) {
            *clock = (*clock).max(Some(watermark.max(previous)));
        }
        let mut entries = Vec::new();
        for released in self.turnstile.push(partition, previous, watermark, items) {
            match released {
                Released::Item { turn, value } => self.step(turn, &value, &mut entries),
                Released::Tick(now) => {
                    let cases = self.gatherer.advance(now);
                    self.close(cases, &mut entries);
                }
            }
        }
        self.tell();
        (entries, refused)
    }

    fn step(&mut self, turn: Timestamp, waiting: &Waiting, entries: &mut Vec<Entry>) {
        let Ok((observation, features)) = read(&self.rules, &waiting.event, &waiting.table) else {
            // It could be read when it came.
            return;
        };
        let gathered = self.gatherer.step(turn, observation, features, waiting.event.learned);
        self.close(gathered.cases, entries);
        if gathered.level == Level::Critical
            && let Some(place) = gathered.place
            && let Some(case) = self.gatherer.open_case(&place)
        {
            entries.extend(self.docket.critical(case));
        }
    }

    fn close(&mut self, cases: Vec<case::Case>, entries: &mut Vec<Entry>) {
        for case in cases {
            entries.extend(self.docket.closed(case));
        }
    }

    /// Says what was forgotten, when there is more of it than before.
    fn tell(&mut self) {
        let forgotten = self.gatherer.forgotten().into_iter();
        let forgotten = forgotten.chain([
            ("events before their turn", self.turnstile.early()),
            ("cases that stay open in their logs", self.docket.left_open()),
        ]);
        let counts: Vec<(&str, u64)> = forgotten.filter(|(_, count)| *count > 0).collect();
        let sum = counts.iter().map(|(_, count)| count).sum();
        // Doubling keeps a flood from flooding the logs too.
        if sum > self.told.saturating_mul(2) {
            self.told = sum;
            tracing::warn!(?counts, "out of room, so something was forgotten");
        }
    }
}

fn read<'w>(
    rules: &Rules,
    event: &'w v1::ScoredEvent,
    table: &[String],
) -> Result<(Observation<'w>, FeatureVector), Invalid> {
    let missing = |field| Invalid::Field { field, what: "is missing" };
    let observation = event.observation.as_ref().ok_or(missing("observation"))?;
    let features = event.features.as_ref().ok_or(missing("features"))?;
    Ok((rules.observation(observation, table)?, convert::features(features)?))
}
