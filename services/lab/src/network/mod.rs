//! Training of the networks that [`trailwarden_scorer::network`] runs: candle's automatic differentiation, with the LSTM's
//! recurrence differentiated by hand.
//!
//! The same examples, options and seed give the same bytes on one machine, whatever its number of threads: first weights
//! and order come from a seeded ChaCha, and candle's products split their sums in an order that depends on shapes alone.
//! Processors that differ in vector width may differ.

mod descent;
mod recurrence;
mod train_autoencoder;
mod train_encoder;

pub use trailwarden_scorer::network::Error;
pub use train_autoencoder::{AutoencoderOptions, train_autoencoder};
pub use train_encoder::{EncoderOptions, train_encoder};

#[cfg(test)]
mod tests;
