//! The model bundle: everything that scoring needs, in one file that is named by its hash.
//!
//! Layout: [`MAGIC`], then the bundle in postcard. A bundle is made for one feature schema and refused by any other.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use trailwarden_core::feature::{Feature, SCHEMA_VERSION};
use trailwarden_core::negotiation::Weights;

use crate::Error;
use crate::calibration::Isotonic;
use crate::forest::Forest;
use crate::network::{AutoencoderWeights, EncoderWeights};

/// First bytes of a bundle file.
pub const MAGIC: &[u8; 8] = b"TWBUNDL2";
/// A bundle is at most so large, in bytes.
pub const BYTES_MAX: usize = 5_000_000;

/// What a score is made with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bundle {
    pub schema: Schema,
    pub origin: Origin,
    /// Over the columns of the feature schema; its margin is in log-odds.
    pub forest: Forest,
    /// From the forest's margin to a probability.
    pub calibration: Isotonic,
    /// `None` where they add nothing.
    pub networks: Option<Networks>,
    pub cases: CaseModel,
    /// What stage one's word, detections and claims weigh in a negotiation; `None` for the published priors.
    pub pool: Option<Weights>,
}

/// A logistic regression from the events of a case to the probability that it is an attack. Its coefficients are learned
/// with every incident weighing the same however many cases it makes, its intercept with the root of that: between a chance by case and
/// one by incident.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseModel {
    pub intercept: f64,
    /// Of the most probable event's log-odds, as s(x) = sign(x) ln(1 + |x|).
    pub maximum: f64,
    /// Of the events' mass, likewise.
    pub mass: f64,
}

impl CaseModel {
    /// Log-odds of the most probable event, and the sum of all probabilities. Few large and many small ones are both
    /// signs of an attack, and told apart so.
    pub fn inputs(probabilities: impl Iterator<Item = f64>) -> [f64; 2] {
        let (maximum, mass) = probabilities.fold((1e-6_f64, 0.0), |(maximum, mass), p| (maximum.max(p), mass + p));
        let maximum = maximum.min(1.0 - 1e-6);
        [(maximum / (1.0 - maximum)).ln(), mass]
    }

    /// Probability that a case with events of these probabilities is an attack.
    pub fn probability(&self, probabilities: impl Iterator<Item = f64>) -> f64 {
        let [maximum, mass] = Self::inputs(probabilities);
        let weighed = [(self.maximum, maximum), (self.mass, mass)];
        let log_odds = self.intercept + weighed.iter().map(|(by, x)| by * x.signum() * x.abs().ln_1p()).sum::<f64>();
        1.0 / (1.0 + (-log_odds).exp())
    }
}

/// The features that a bundle was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    pub version: u32,
    /// SHA-256 over names, windows and formulas of all columns in order, hex.
    pub digest: String,
}

impl Schema {
    /// The schema of this program.
    pub fn current() -> Self {
        let mut hasher = Sha256::new();
        for feature in Feature::ALL {
            let definition = feature.definition();
            for text in [definition.name, definition.window, definition.unit, definition.formula] {
                hasher.update(text.as_bytes());
                hasher.update([0]);
            }
        }
        Self { version: SCHEMA_VERSION, digest: hex(&hasher.finalize()) }
    }
}

/// Where a bundle comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Digest of the generator that made the training data.
    pub generator: String,
    pub seeds: Vec<u64>,
    pub events: u64,
    /// Share of attack events in the training data: what the probabilities are calibrated to.
    pub prevalence: f64,
}

/// Networks over the session's sequence and the feature vector, stacked with the trees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Networks {
    pub encoder: EncoderWeights,
    pub autoencoder: AutoencoderWeights,
    pub stack: Stack,
    /// From the stack's log-odds to a probability.
    pub calibration: Isotonic,
    /// Probabilities of the trees between which the networks are asked; outside they cannot change the outcome.
    pub from: f64,
    pub to: f64,
}

/// A logistic regression over what the models say: log-odds = intercept + sum of weight x s(input), with
/// s(x) = sign(x) ln(1 + |x|).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    pub intercept: f64,
    /// Of the forest's margin.
    pub trees: f64,
    /// Of the encoder's logit.
    pub encoder: f64,
    /// Of the autoencoder's error.
    pub autoencoder: f64,
}

impl Stack {
    pub fn log_odds(&self, margin: f64, logit: f64, error: f64) -> f64 {
        let weighed = [(self.trees, margin), (self.encoder, logit), (self.autoencoder, error)];
        self.intercept + weighed.iter().map(|(by, x)| by * x.signum() * x.abs().ln_1p()).sum::<f64>()
    }
}

impl Bundle {
    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond [`BYTES_MAX`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let bytes = postcard::to_extend(self, MAGIC.to_vec()).map_err(|_| Error::Bundle("does not serialise"))?;
        if bytes.len() > BYTES_MAX {
            return Err(Error::TooLarge { what: "bytes in a bundle", limit: BYTES_MAX });
        }
        Ok(bytes)
    }

    /// Whether no number is NaN or infinite: one would silence the model instead of stopping it.
    fn has_sound_numbers(&self) -> bool {
        let CaseModel { intercept, maximum, mass } = self.cases;
        let networks = self.networks.as_ref().map_or([0.0; 6], |networks| {
            let Stack { intercept, trees, encoder, autoencoder } = networks.stack;
            [intercept, trees, encoder, autoencoder, networks.from, networks.to]
        });
        [intercept, maximum, mass, self.origin.prevalence].iter().chain(&networks).all(|number| number.is_finite())
    }

    /// Reads and checks a bundle.
    ///
    /// # Errors
    /// When it is none, is larger than [`BYTES_MAX`], or was trained on another feature schema.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > BYTES_MAX {
            return Err(Error::TooLarge { what: "bytes in a bundle", limit: BYTES_MAX });
        }
        let body = bytes.strip_prefix(MAGIC).ok_or(Error::Bundle("is not a model bundle"))?;
        // The schema stands first, so that a bundle of another time is refused by what it is, not by where it breaks.
        let (schema, _) = postcard::take_from_bytes::<Schema>(body).map_err(|_| Error::Bundle("is damaged"))?;
        let current = Schema::current();
        if schema != current {
            return Err(Error::Schema { found: schema.version, expected: current.version });
        }
        let (bundle, rest) = postcard::take_from_bytes::<Self>(body).map_err(|_| Error::Bundle("is damaged"))?;
        if !rest.is_empty()
            || bundle.forest.columns() != Feature::COUNT
            || !bundle.has_sound_numbers()
            || !bundle.pool.as_ref().is_none_or(Weights::are_sound)
        {
            return Err(Error::Bundle("is damaged"));
        }
        Ok(bundle)
    }
}

/// The name of a bundle: the start of its bytes' SHA-256, 16 hex digits.
pub fn name(bytes: &[u8]) -> String {
    let mut name = hex(&Sha256::digest(bytes));
    name.truncate(16);
    name
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
