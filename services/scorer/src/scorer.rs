//! The scorer: a bundle at work.

use std::fmt;
use std::sync::Arc;

use trailwarden_core::feature::{Feature, FeatureVector};
use trailwarden_core::negotiation::{Bounds, Terms, Weights};
use trailwarden_core::sequence::Sequence;

use crate::Error;
use crate::bundle::{Bundle, CaseModel, Stack, name};
use crate::calibration::Isotonic;
use crate::forest::Forest;
use crate::network::{Autoencoder, Encoder};

/// The bundle that ships with the program.
const DEFAULT: &[u8] = include_bytes!("../bundle/default.bundle");

/// Whether a model says anything of an event: without history of the account, what it would rest on is unknown.
pub fn applies(features: &FeatureVector) -> bool {
    features.get(Feature::ApiRarityAccount).is_some()
}

/// What one feature adds to an event's log-odds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    pub feature: Feature,
    /// `None` when unknown.
    pub value: Option<f32>,
    /// Shapley value, in log-odds.
    pub weight: f64,
}

/// Scores events. Immutable, and shared between threads.
#[derive(Debug)]
pub struct Scorer {
    name: String,
    forest: Forest,
    calibration: Isotonic,
    networks: Option<Loaded>,
    cases: CaseModel,
    pool: Option<Arc<Weights>>,
}

struct Loaded {
    encoder: Encoder,
    autoencoder: Autoencoder,
    stack: Stack,
    calibration: Isotonic,
    from: f64,
    to: f64,
}

impl Scorer {
    /// The model that ships with the program.
    ///
    /// # Errors
    /// When the program was built with a bundle of another feature schema.
    pub fn builtin() -> Result<Self, Error> {
        Self::from_bytes(DEFAULT)
    }

    /// Takes a bundle file's bytes.
    ///
    /// # Errors
    /// As [`Bundle::from_bytes`]; and when networks do not fit their shapes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let Bundle { forest, calibration, networks, cases, pool, .. } = Bundle::from_bytes(bytes)?;
        let networks = networks.map(|networks| {
            Ok::<_, Error>(Loaded {
                encoder: Encoder::new(&networks.encoder)?,
                autoencoder: Autoencoder::new(&networks.autoencoder)?,
                stack: networks.stack,
                calibration: networks.calibration,
                from: networks.from,
                to: networks.to,
            })
        });
        Ok(Self {
            name: name(bytes),
            forest,
            calibration,
            networks: networks.transpose()?,
            cases,
            pool: pool.map(Arc::new),
        })
    }

    /// The bundle's name: the start of its hash.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same without its networks.
    pub fn without_networks(self) -> Self {
        Self { networks: None, ..self }
    }

    /// Whether networks have a part in what it says.
    pub fn has_networks(&self) -> bool {
        self.networks.is_some()
    }

    /// Probability that an event is part of an attack, at the prevalence that the bundle was trained at; `None` where
    /// it abstains. `sequence` is asked only where it can change the outcome.
    pub fn probability(&self, features: &FeatureVector, sequence: impl FnOnce() -> Sequence) -> Option<f64> {
        if !applies(features) {
            return None;
        }
        let margin = self.forest.margin(features.columns());
        let alone = self.calibration.probability(margin);
        match &self.networks {
            Some(networks) if (networks.from..networks.to).contains(&alone) => {
                Some(networks.probability(margin, features, &sequence()).unwrap_or(alone))
            }
            _ => Some(alone),
        }
    }

    /// Probability that a case is an attack, from those of its events.
    pub fn case_probability(&self, events: impl Iterator<Item = f64>) -> f64 {
        self.cases.probability(events)
    }

    /// The terms of negotiations about cases that this model weighed.
    pub fn terms(&self, bounds: Bounds) -> Terms {
        let model = Some(self.name.as_str().into());
        Terms { bounds, weights: self.pool.clone(), model, ..Terms::default() }
    }

    /// What each feature adds to the log-odds that the trees give an event: exact Shapley values, largest first.
    pub fn reasons(&self, features: &FeatureVector) -> Vec<Reason> {
        let weights = self.forest.contributions(features.columns());
        let mut reasons: Vec<Reason> = Feature::ALL
            .iter()
            .zip(weights)
            .filter(|(_, weight)| *weight != 0.0)
            .map(|(feature, weight)| Reason { feature: *feature, value: features.get(*feature), weight })
            .collect();
        reasons.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()).then(a.feature.cmp(&b.feature)));
        reasons
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("stack", &self.stack).finish_non_exhaustive()
    }
}

impl Loaded {
    fn probability(&self, margin: f64, features: &FeatureVector, sequence: &Sequence) -> Option<f64> {
        let logit = *self.encoder.logits(std::slice::from_ref(sequence)).first()?;
        let error = *self.autoencoder.errors(features.columns(), Feature::COUNT).ok()?.first()?;
        let log_odds = self.stack.log_odds(margin, f64::from(logit), f64::from(error));
        Some(self.calibration.probability(log_odds))
    }
}
