//! A cluster's recorded work done again in one process: the same stages in the same order of each partition, with the same
//! epochs, end in the same features, scores and cases.
//!
//! Nothing here knows a bus or a store: batches come as they were stored, in the order of their partition, and partitions
//! in whatever order. What a case was shown under while it was open is the council's doing and is not replayed.

use std::collections::{BTreeMap, BTreeSet};

use trailwarden_core::activity::{Activity, Observation};
use trailwarden_core::api::Vocabulary;
use trailwarden_core::baseline::{self, Epoch};
use trailwarden_core::case::{self, Case};
use trailwarden_core::detection::RuleSet;
use trailwarden_core::feature::FeatureVector;
use trailwarden_core::gather::{Detector, Gathered, Gatherer, first_look};
use trailwarden_core::level::Level;
use trailwarden_core::time::Timestamp;
use trailwarden_core::turnstile::{Item, Released, Turnstile};
use trailwarden_featurizer::partition::{Method, Needs, Outcome, State};
use trailwarden_scorer::Scorer;

use crate::weigh;

/// What a deployment worked with.
#[derive(Debug)]
pub struct Setup<'a> {
    pub rules: &'a RuleSet,
    pub vocabulary: &'a Vocabulary,
    pub scorer: Option<&'a Scorer>,
    /// Accounts of the operator's.
    pub accounts: BTreeSet<String>,
    pub partitions: u16,
    /// Whether sequences went with the features.
    pub with_sequences: bool,
    pub baseline: baseline::Limits,
    pub cases: case::Limits,
}

/// One activity batch with all that its outcome rests on.
#[derive(Clone, Debug)]
pub struct Recorded<'a> {
    pub partition: u16,
    /// The epoch that the batch was worked on with; empty before the first.
    pub epoch: String,
    /// Without those that went to the dead letters.
    pub observations: Vec<Observation<'a>>,
    /// Event time that the source had come to.
    pub tick: Option<Timestamp>,
    /// The broker's clock when it took the batch in.
    pub stored_at: Timestamp,
}

/// An event as the scorer saw it: alone.
#[derive(Clone, Debug)]
pub struct Measured<'a> {
    pub activity: Activity<'a>,
    pub features: FeatureVector,
    pub read_only: bool,
    /// What the model gives it; `None` where it abstains.
    pub learned: Option<f64>,
    /// By the model and the event's own rules, before correlations.
    pub score: f64,
    pub level: Level,
}

/// An event that went on, with correlations.
#[derive(Clone, Debug, PartialEq)]
pub struct Final {
    pub event_id: String,
    pub score: f64,
    pub level: Level,
}

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Step<'a> {
    /// In the order of the batch, duplicates left out.
    pub measured: Vec<Measured<'a>>,
    pub duplicates: usize,
    /// Events of this and earlier batches whose turn came.
    pub finals: Vec<Final>,
    /// Cases that are over.
    pub cases: Vec<Case>,
}

/// Why a record cannot be replayed: it names what was not given. The record is at fault.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    #[error("the epoch `{0}` is not among those recorded")]
    UnknownEpoch(String),
}

/// An event on its way to the case builder.
#[derive(Debug)]
struct Kept<'a> {
    observation: Observation<'a>,
    features: FeatureVector,
    learned: Option<f64>,
}

/// All stages of a cluster with the state of all partitions.
#[derive(Debug)]
pub struct Replay<'a> {
    setup: Setup<'a>,
    before_all: Epoch,
    epochs: BTreeMap<String, Epoch>,
    partitions: BTreeMap<u16, State>,
    turnstile: Turnstile<Kept<'a>>,
    gatherer: Gatherer<&'a RuleSet>,
}

impl<'a> Replay<'a> {
    /// `epochs` by the ids that batches name.
    pub fn new(setup: Setup<'a>, epochs: BTreeMap<String, Epoch>) -> Self {
        let detector = Detector::new(setup.rules, setup.accounts.clone());
        Self {
            before_all: Epoch::new(setup.baseline),
            epochs,
            partitions: BTreeMap::new(),
            turnstile: Turnstile::new(setup.partitions),
            gatherer: Gatherer::new(detector, setup.cases),
            setup,
        }
    }

    /// Partitions of which nothing was ever recorded are not waited for.
    pub fn known(&mut self, partitions: &BTreeSet<u16>) -> Step<'a> {
        let released = self.turnstile.known(partitions);
        self.gathered(released)
    }

    /// Does a batch again.
    ///
    /// # Errors
    /// When it names an epoch that was not given.
    pub fn push(&mut self, batch: Recorded<'a>) -> Result<Step<'a>, Error> {
        let Recorded { partition, epoch, observations, tick, stored_at } = batch;
        let epoch = match epoch.as_str() {
            "" => &self.before_all,
            id => self.epochs.get(id).ok_or_else(|| Error::UnknownEpoch(id.to_owned()))?,
        };
        let activities: Vec<Activity<'a>> =
            observations.iter().map(|observation| observation.activity.clone()).collect();
        let method = Method { vocabulary: self.setup.vocabulary, with_sequences: self.setup.with_sequences };
        let state = self.partitions.entry(partition).or_default();
        let loaded = state.load(&Needs::of(&activities));
        let previous = loaded.watermark.unwrap_or_default();
        let (outcomes, changes) = method.work(loaded, epoch, &activities, tick, stored_at);
        let watermark = changes.watermark.unwrap_or_default();
        state.apply(changes);

        let mut step = Step::default();
        let mut kept = Vec::new();
        for (observation, outcome) in observations.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Duplicate => step.duplicates += 1,
                Outcome::Measured { features, sequence, read_only } => {
                    let learned = self
                        .setup
                        .scorer
                        .and_then(|scorer| scorer.probability(&features, || sequence.unwrap_or_default()));
                    let look = first_look(self.setup.rules, &self.setup.accounts, &observation, &features, learned);
                    let activity = observation.activity.clone();
                    let (score, level) = (look.score, look.level);
                    let seen = features.clone();
                    step.measured.push(Measured { activity, features: seen, read_only, learned, score, level });
                    if look.is_kept {
                        let (event_time, event_id) = (observation.activity.event_time, observation.activity.event_id);
                        let value = Kept { observation, features, learned };
                        kept.push(Item { event_time, event_id: event_id.to_owned(), value });
                    }
                }
            }
        }
        let released = self.turnstile.push(partition, previous, watermark, kept);
        let Step { finals, cases, .. } = self.gathered(released);
        Ok(Step { finals, cases, ..step })
    }

    /// Lets all that waits have its turn and ends all cases.
    pub fn finish(&mut self) -> Step<'a> {
        let released = self.turnstile.finish();
        let mut step = self.gathered(released);
        let ended = self.gatherer.finish();
        step.cases.extend(self.weighed(ended));
        step
    }

    /// Events whose turn came too early for want of room: their order may not be the cluster's.
    pub fn early(&self) -> u64 {
        self.turnstile.early()
    }

    fn gathered(&mut self, released: Vec<Released<Kept<'a>>>) -> Step<'a> {
        let mut step = Step::default();
        for released in released {
            let ended = match released {
                Released::Tick(now) => self.gatherer.advance(now),
                Released::Item { turn, value: Kept { observation, features, learned } } => {
                    let event_id = observation.activity.event_id.to_owned();
                    let Gathered { score, level, cases, .. } = self.gatherer.step(turn, observation, features, learned);
                    step.finals.push(Final { event_id, score, level });
                    cases
                }
            };
            step.cases.extend(self.weighed(ended));
        }
        step
    }

    fn weighed(&self, mut cases: Vec<Case>) -> Vec<Case> {
        if let Some(scorer) = self.setup.scorer {
            cases.iter_mut().for_each(|case| weigh(case, scorer));
        }
        cases
    }
}
