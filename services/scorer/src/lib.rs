//! The model at work: boosted trees on every event, networks where they can change the outcome, one calibrated
//! probability, and the reasons for it.

pub mod bundle;
pub mod calibration;
pub mod forest;
pub mod import;
pub mod network;
mod scorer;
pub mod service;

pub use scorer::{Reason, Scorer, applies};

/// What can be wrong with a model. Every variant is the model's fault, never a row's, and trying again does not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One tree is not a tree, or holds a number that no model has.
    #[error("tree {tree}: {problem}")]
    Tree { tree: usize, problem: &'static str },
    /// A model larger than this program takes; `limit` is in units of `what`.
    #[error("more than {limit} {what}")]
    TooLarge { what: &'static str, limit: usize },
    /// A forest that cannot stand as a whole.
    #[error("forest: {0}")]
    Forest(&'static str),
    /// Scores that cannot be fitted, or knots that are no monotone function.
    #[error("calibration: {0}")]
    Calibration(&'static str),
    /// A model file that is not what its format says, or uses something that is not supported.
    #[error("{format} model: {problem}")]
    Import { format: &'static str, problem: String },
    #[error("the file {0}")]
    Bundle(&'static str),
    #[error("trained on version {found} of the features, and this program has version {expected}")]
    Schema { found: u32, expected: u32 },
    #[error(transparent)]
    Network(#[from] network::Error),
}
