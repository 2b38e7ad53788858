//! Networks: an LSTM over a session's latest activities and an autoencoder over feature vectors.
//!
//! They are learnt with candle in the lab and run here in plain Rust (why: `dense.rs`); the tests hold them to candle's
//! own. A row's result does not depend on what else is in a batch, nor on the processor's vectors.

pub mod activation;
mod autoencoder;
mod dense;
mod encoder;
mod matrix;
pub mod token;

pub use autoencoder::{Autoencoder, AutoencoderWeights, CODE, Layer, SIDE, Standard};
pub use encoder::{EMBEDDING, Encoder, EncoderWeights, GATES, HEAD, HIDDEN};
pub use matrix::Matrix;

/// What can be wrong with a network's weights, or with what it is to learn from. The input is at fault and a retry
/// does not help, except for [`Error::Candle`], which is ours.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{name} is to be {expected_rows} x {expected_columns}, found {found_rows} x {found_columns}")]
    Shape { name: &'static str, expected_rows: usize, expected_columns: usize, found_rows: usize, found_columns: usize },
    #[error("{name} holds NaN or an infinity")]
    NotFinite { name: &'static str },
    /// A training set or an option that nothing can be learnt with.
    #[error("cannot train: {reason}")]
    Training { reason: &'static str },
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
}

impl Error {
    fn shape(name: &'static str, expected: (usize, usize), found: (usize, usize)) -> Self {
        Self::Shape {
            name,
            expected_rows: expected.0,
            expected_columns: expected.1,
            found_rows: found.0,
            found_columns: found.1,
        }
    }
}

#[cfg(test)]
mod tests;
