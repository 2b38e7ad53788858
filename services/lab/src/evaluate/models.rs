//! Every detector of the table, as trained for one fold, and the scores that it gives an organisation's events.

use std::collections::{BTreeMap, BTreeSet};

use trailwarden_core::feature::Feature;
use trailwarden_core::negotiation::joined;
use trailwarden_scorer::Scorer;
use trailwarden_scorer::bundle::{Bundle, Origin};
use trailwarden_scorer::forest::Forest;
use trailwarden_scorer::network::{Autoencoder, Encoder};

use crate::Error;
use crate::dataset::{Dataset, Meta, RAW_COLUMNS, Reader};
use crate::reference::{
    IsolationForest, IsolationOptions, LogisticOptions, LogisticRegression, TrainedTrees, TreeOptions,
    first_seen_scores, forest_on, rarity_scores,
};

use crate::table::Kind;
use crate::train::{self, Hosted, Options, Sample, trees_on};
use crate::universe::Organisation;

use super::{hosted, trained};

/// A detector of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detector {
    /// What the product gives an event by default: trees and detections.
    Shipped,
    /// The same with networks where they are asked.
    WithNetworks,
    Trees,
    Lstm,
    Rules,
    FirstSeen,
    Rarity,
    IsolationForest,
    Autoencoder,
    Logistic,
    RawTrees,
    WithoutErrorCodes,
    ShuffledLabels,
}

impl Detector {
    /// In the order of the table.
    pub(super) const ALL: [Detector; 13] = [
        Self::Shipped,
        Self::WithNetworks,
        Self::Trees,
        Self::Lstm,
        Self::Rules,
        Self::FirstSeen,
        Self::Rarity,
        Self::IsolationForest,
        Self::Autoencoder,
        Self::Logistic,
        Self::RawTrees,
        Self::WithoutErrorCodes,
        Self::ShuffledLabels,
    ];

    /// Those that are measured in every environment.
    pub(super) const EVERYWHERE: [Detector; 6] =
        [Self::Shipped, Self::WithNetworks, Self::Trees, Self::Rules, Self::Rarity, Self::IsolationForest];

    /// Not a detector of the table, but a check on it.
    pub(super) const fn is_check(self) -> bool {
        matches!(self, Self::WithoutErrorCodes | Self::ShuffledLabels)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Shipped => "trees and rules (as shipped)",
            Self::WithNetworks => "trees, rules and networks",
            Self::Trees => "trees",
            Self::Lstm => "LSTM",
            Self::Rules => "rules",
            Self::FirstSeen => "first seen",
            Self::Rarity => "rarity",
            Self::IsolationForest => "isolation forest",
            Self::Autoencoder => "autoencoder",
            Self::Logistic => "logistic regression",
            Self::RawTrees => "trees on raw fields",
            Self::WithoutErrorCodes => "trees without error codes",
            Self::ShuffledLabels => "trees on shuffled labels",
        }
    }

    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Shipped | Self::WithNetworks | Self::Trees | Self::Lstm => Kind::Ours,
            Self::Rules | Self::FirstSeen | Self::Rarity | Self::IsolationForest | Self::Autoencoder => Kind::Untrained,
            Self::Logistic | Self::RawTrees | Self::WithoutErrorCodes | Self::ShuffledLabels => Kind::Trained,
        }
    }
}

/// What error codes give away.
const ERROR_FEATURES: [Feature; 4] = [Feature::Denied, Feature::Failed, Feature::Denied10m, Feature::Denied1h];
/// Trees of the reference detectors: plain settings, none tuned.
const REFERENCE_TREES: TreeOptions = TreeOptions {
    iterations: 100,
    learning_rate: 0.1,
    depth_max: 6,
    leaves_max: 31,
    l2: 1.0,
    min_leaf_weight: 1.0,
    subsample: 1.0,
    colsample: 1.0,
    seed: 0,
    bins: 255,
    threads: 2,
};

/// Everything trained for one fold.
pub(super) struct Models {
    pub bundle: Bundle,
    /// With its networks.
    pub scorer: Scorer,
    /// As the product runs it by default.
    pub shipped: Scorer,
    encoder: Option<Encoder>,
    autoencoder: Option<Autoencoder>,
    isolation: IsolationForest,
    logistic: LogisticRegression,
    raw: RawModel,
    without_error_codes: Forest,
    shuffled: Forest,
}

/// Trees on plain fields; APIs and error codes are encoded by how often they were part of attacks in training.
struct RawModel {
    trees: TrainedTrees,
    rates: Rates,
}

/// Columns of [`Dataset::raw`] that are categories of many values.
const ENCODED: [usize; 4] = [0, 1, 2, 3];
/// Events of the mean rate that every category begins with.
const SMOOTHING: f32 = 20.0;

impl RawModel {
    /// Rates that a row is trained with come from other folds: its own label must not stand in its columns.
    fn fit(hosted: &[Hosted<'_>], thinning: usize) -> Result<Self, Error> {
        let folds: BTreeSet<usize> = hosted.iter().map(|hosted| hosted.fold).collect();
        let (mut rows, mut labels, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for fold in folds {
            let others = RawSample::of(hosted.iter().filter(|hosted| hosted.fold != fold), thinning);
            let own = RawSample::of(hosted.iter().filter(|hosted| hosted.fold == fold), thinning);
            rows.extend(encode(&own.rows, &others.rates()));
            labels.extend(own.labels);
            weights.extend(own.weights);
        }
        let trees = forest_on(&rows, RAW_COLUMNS, &labels, Some(&weights), REFERENCE_TREES)?;
        Ok(Self { trees, rates: RawSample::of(hosted.iter(), thinning).rates() })
    }

    fn scores(&self, dataset: &Dataset) -> Vec<f64> {
        self.trees.probabilities(&encode(&dataset.raw, &self.rates))
    }
}

/// Plain fields to fit on.
#[derive(Default)]
struct RawSample {
    rows: Vec<f32>,
    labels: Vec<bool>,
    weights: Vec<f64>,
}

impl RawSample {
    fn of<'a>(hosted: impl Iterator<Item = &'a Hosted<'a>>, thinning: usize) -> Self {
        let mut sample = Self::default();
        for dataset in hosted.map(|hosted| hosted.dataset) {
            for event in train::learned_from(dataset, thinning) {
                let is_attack = dataset.events[event].incident > 0;
                sample.rows.extend_from_slice(&dataset.raw[event * RAW_COLUMNS..(event + 1) * RAW_COLUMNS]);
                sample.labels.push(is_attack);
                sample.weights.push(if is_attack { 1.0 } else { thinning as f64 });
            }
        }
        sample
    }

    /// By category, how much of it was part of attacks, drawn towards the mean where it is rare.
    fn rates(&self) -> Rates {
        let attacks = self.labels.iter().filter(|label| **label).count() as f32;
        let mean = attacks / self.weights.iter().sum::<f64>().max(1.0) as f32;
        ENCODED.map(|column| {
            let mut counts = BTreeMap::<u32, (f32, f32)>::new();
            for ((row, label), weight) in self.rows.chunks_exact(RAW_COLUMNS).zip(&self.labels).zip(&self.weights) {
                let (attacks, all) = counts.entry(row[column] as u32).or_default();
                *attacks += f32::from(u8::from(*label));
                *all += *weight as f32;
            }
            let rate = |(attacks, all): (f32, f32)| (attacks + SMOOTHING * mean) / (all + SMOOTHING);
            counts.into_iter().map(|(code, counts)| (code, rate(counts))).collect()
        })
    }
}

/// By encoded column and category.
type Rates = [BTreeMap<u32, f32>; ENCODED.len()];

fn encode(rows: &[f32], rates: &Rates) -> Vec<f32> {
    let mut rows = rows.to_vec();
    for row in rows.chunks_exact_mut(RAW_COLUMNS) {
        for (column, rates) in ENCODED.iter().zip(rates) {
            row[*column] = rates.get(&(row[*column] as u32)).copied().unwrap_or(f32::NAN);
        }
    }
    rows
}

impl Models {
    /// Trains everything on organisations of other folds.
    ///
    /// # Errors
    /// When there is nothing to learn from.
    pub(super) fn fit(
        reader: &Reader,
        organisations: &[(usize, &Organisation)],
        options: &Options,
        say: &dyn Fn(&str),
    ) -> Result<Self, Error> {
        let trained = trained(reader, organisations, Origin::default(), options, say)?;
        let hosted = hosted(organisations);
        let organisations: &[&Dataset] = &hosted.iter().map(|hosted| hosted.dataset).collect::<Vec<_>>();
        let scorer = Scorer::from_bytes(&trained.bundle.to_bytes()?)?;
        let shipped = Scorer::from_bytes(&trained.bundle.to_bytes()?)?.without_networks();
        let networks = trained.bundle.networks.as_ref();
        let encoder = networks.map(|networks| Encoder::new(&networks.encoder)).transpose()?;
        let autoencoder = networks.map(|networks| Autoencoder::new(&networks.autoencoder)).transpose()?;

        say("reference detectors");
        let sample = Sample::of(organisations, options.thinning);
        let isolation = IsolationForest::fit(&sample.innocent_rows(), Feature::COUNT, IsolationOptions::default())?;
        let logistic = LogisticRegression::fit(
            &sample.rows,
            Feature::COUNT,
            &sample.labels,
            Some(&sample.weights),
            LogisticOptions::default(),
        )?;
        let raw = RawModel::fit(&hosted, options.thinning)?;
        let mut blind = sample.clone();
        blind.rows = without_error_codes(&blind.rows);
        let without_error_codes = trees_on(&blind, options.trees)?;
        let mut shuffled = sample;
        shuffled.labels = crate::measure::shuffled_labels(&shuffled.labels, None, 1);
        // Weights go with labels: an attack stands for itself.
        shuffled.weights = vec![1.0; shuffled.labels.len()];
        let shuffled = trees_on(&shuffled, REFERENCE_TREES)?;
        Ok(Self {
            bundle: trained.bundle,
            scorer,
            shipped,
            encoder,
            autoencoder,
            isolation,
            logistic,
            raw,
            without_error_codes,
            shuffled,
        })
    }

    /// Scores of all events of an organisation that none of the models saw.
    ///
    /// # Errors
    /// When the networks refuse the rows.
    pub(super) fn scores(&self, detector: Detector, dataset: &Dataset) -> Result<Option<Vec<f64>>, Error> {
        let columns = Feature::COUNT;
        let events = || dataset.events.iter();
        let scores = match detector {
            Detector::WithNetworks if self.encoder.is_none() => return Ok(None),
            Detector::WithNetworks => self.combined(dataset),
            Detector::Shipped => {
                let trees = self.trees(dataset);
                let score = |meta: &Meta, learned| {
                    let detected = f64::from(meta.detected);
                    if meta.applies { joined(detected, learned) } else { detected }
                };
                events().zip(trees).map(|(meta, learned)| score(meta, learned)).collect()
            }
            Detector::Trees => self.trees(dataset),
            Detector::Lstm => match &self.encoder {
                Some(encoder) => encoder.logits(&dataset.sequences).into_iter().map(f64::from).collect(),
                None => return Ok(None),
            },
            Detector::Rules => events().map(|meta| f64::from(meta.detected)).collect(),
            Detector::FirstSeen => first_seen_scores(&dataset.rows, columns),
            Detector::Rarity => rarity_scores(&dataset.rows, columns),
            Detector::IsolationForest => self.isolation.scores(&dataset.rows),
            Detector::Autoencoder => match &self.autoencoder {
                Some(coder) => coder.errors(&dataset.rows, columns)?.into_iter().map(f64::from).collect(),
                None => return Ok(None),
            },
            Detector::Logistic => self.logistic.log_odds(&dataset.rows),
            Detector::RawTrees => self.raw.scores(dataset),
            Detector::WithoutErrorCodes => {
                let mut margins = Vec::new();
                self.without_error_codes.margins(&without_error_codes(&dataset.rows), &mut margins);
                margins
            }
            Detector::ShuffledLabels => {
                let mut margins = Vec::new();
                self.shuffled.margins(&dataset.rows, &mut margins);
                margins
            }
        };
        Ok(Some(scores))
    }

    fn trees(&self, dataset: &Dataset) -> Vec<f64> {
        let margins = train::margins(&self.bundle.forest, dataset);
        let probability = |margin: f64| if margin.is_nan() { 0.0 } else { self.bundle.calibration.probability(margin) };
        margins.into_iter().map(probability).collect()
    }

    fn combined(&self, dataset: &Dataset) -> Vec<f64> {
        let mut features = trailwarden_core::feature::FeatureVector::default();
        (0..dataset.len())
            .map(|event| {
                features.columns_mut().copy_from_slice(dataset.row(event));
                let sequence = || dataset.sequences.get(event).copied().unwrap_or_default();
                let detected = f64::from(dataset.events[event].detected);
                self.scorer.probability(&features, sequence).map_or(detected, |learned| joined(detected, learned))
            })
            .collect()
    }
}

fn without_error_codes(rows: &[f32]) -> Vec<f32> {
    let mut rows = rows.to_vec();
    for row in rows.chunks_exact_mut(Feature::COUNT) {
        ERROR_FEATURES.iter().for_each(|feature| row[*feature as usize] = f32::NAN);
    }
    rows
}
