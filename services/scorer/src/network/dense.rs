//! A row times a weight matrix, in plain Rust.
//!
//! Candle's product asks for the number of cores at every call, which reads `/proc/cpuinfo` (33 us on two cores, more on
//! more), and starts threads that compete with the scan. Here a row costs the same alone and among many, and each sum
//! is taken in one order without fused operations: the same bits in any batch and on any processor.

use super::{Error, Matrix};

/// Columns of a tile: its sums stay in eight vector registers of four, on every x86-64.
const TILE: usize = 32;

/// A validated weight matrix, cut into tiles of [`TILE`] columns.
pub(super) struct Dense {
    inputs: usize,
    /// By tile, then by input; the last tile is filled up with zeros.
    tiles: Vec<[f32; TILE]>,
}

impl Dense {
    /// # Errors
    /// As [`Matrix::values`].
    pub(super) fn new(matrix: &Matrix, name: &'static str, inputs: usize, outputs: usize) -> Result<Self, Error> {
        Ok(Self::of(&matrix.values(name, inputs, outputs)?, outputs))
    }

    /// Of rows of `outputs` values, one row an input.
    pub(super) fn of(values: &[f32], outputs: usize) -> Self {
        let inputs = values.len() / outputs;
        let mut tiles = vec![[0.0; TILE]; outputs.div_ceil(TILE) * inputs];
        for (input, row) in values.chunks_exact(outputs).enumerate() {
            for (tile, columns) in row.chunks(TILE).enumerate() {
                tiles[tile * inputs + input][..columns.len()].copy_from_slice(columns);
            }
        }
        Self { inputs, tiles }
    }

    /// Writes `row` times the matrix to `product`.
    pub(super) fn multiply(&self, row: &[f32], product: &mut [f32]) {
        for (tile, product) in self.tiles.chunks_exact(self.inputs).zip(product.chunks_mut(TILE)) {
            let mut sums = [0.0; TILE];
            for (value, weights) in row.iter().zip(tile) {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += value * weight;
                }
            }
            product.copy_from_slice(&sums[..product.len()]);
        }
    }
}
