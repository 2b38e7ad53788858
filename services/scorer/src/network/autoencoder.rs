//! A network that learns to rebuild ordinary feature vectors through a narrow middle; what it cannot rebuild is strange.
//!
//! Columns -> [`SIDE`] -> [`CODE`] -> [`SIDE`] -> columns, tanh within, plain at the end. Each column is brought to one
//! scale first ([`Standard`]); an unknown value is read as the column's mean and left out of the error.

use serde::{Deserialize, Serialize};

use super::activation::tangent;
use super::dense::Dense;
use super::{Error, Matrix};

/// Width of the layers beside the middle.
pub const SIDE: usize = 32;
/// Width of the middle.
pub const CODE: usize = 12;

/// Columns that a network may have: bounds what hostile weights can ask for.
const COLUMNS_MAX: usize = 4096;
/// Standard deviations beyond which a value is cut.
const STANDARD_MAX: f32 = 5.0;
/// A column that hardly varied is not stretched without end.
const DEVIATION_MIN: f32 = 1e-2;

/// Brings one column to one scale: (sign(x) ln(1 + |x|) - mean) / deviation, cut to [-5, 5].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standard {
    pub mean: f32,
    /// Above 0.
    pub deviation: f32,
}

impl Standard {
    /// Of the known values of one column; of none, mean 0 and deviation 1.
    pub fn of(values: impl Iterator<Item = f32>) -> Self {
        // Welford 1962, in double precision.
        let (mut count, mut mean, mut squares) = (0.0_f64, 0.0, 0.0);
        for value in values.filter(|value| value.is_finite()).map(|value| f64::from(compressed(value))) {
            count += 1.0;
            let difference = value - mean;
            mean += difference / count;
            squares += difference * (value - mean);
        }
        if count == 0.0 {
            return Self { mean: 0.0, deviation: 1.0 };
        }
        Self { mean: mean as f32, deviation: ((squares / count).sqrt() as f32).max(DEVIATION_MIN) }
    }

    /// `None` for an unknown value (NaN). An infinity is cut as any large value.
    pub fn apply(&self, value: f32) -> Option<f32> {
        let standard = (compressed(value) - self.mean) / self.deviation;
        (!value.is_nan()).then(|| standard.clamp(-STANDARD_MAX, STANDARD_MAX))
    }
}

/// sign(x) ln(1 + |x|): counts and seconds span many powers of ten.
fn compressed(value: f32) -> f32 {
    value.abs().ln_1p().copysign(value)
}

/// One layer: rows are inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    pub weights: Matrix,
    /// 1 x outputs.
    pub bias: Matrix,
}

/// What is learnt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AutoencoderWeights {
    /// By column; their number is the network's.
    pub standards: Vec<Standard>,
    /// Columns -> [`SIDE`] -> [`CODE`] -> [`SIDE`] -> columns.
    pub layers: [Layer; 4],
}

/// The network ready to rebuild.
pub struct Autoencoder {
    standards: Vec<Standard>,
    layers: Vec<(Dense, Vec<f32>)>,
}

impl Autoencoder {
    /// # Errors
    /// [`Error::Shape`] or [`Error::NotFinite`] for weights that are not an autoencoder's.
    pub fn new(weights: &AutoencoderWeights) -> Result<Self, Error> {
        let columns = weights.standards.len();
        if !(1..=COLUMNS_MAX).contains(&columns) {
            return Err(Error::shape("standards", (1, COLUMNS_MAX), (1, columns)));
        }
        let usable = |standard: &Standard| {
            standard.mean.is_finite() && standard.deviation.is_finite() && standard.deviation >= DEVIATION_MIN
        };
        if !weights.standards.iter().all(usable) {
            return Err(Error::NotFinite { name: "standards" });
        }
        let widths = [columns, SIDE, CODE, SIDE, columns];
        let layer = |(layer, width): (&Layer, &[usize])| {
            let weights = Dense::new(&layer.weights, "layer", width[0], width[1])?;
            Ok((weights, layer.bias.values("layer's bias", 1, width[1])?))
        };
        let layers = weights.layers.iter().zip(widths.windows(2)).map(layer).collect::<Result<_, Error>>()?;
        Ok(Self { standards: weights.standards.clone(), layers })
    }

    pub fn columns(&self) -> usize {
        self.standards.len()
    }

    /// Mean squared error of each row over its known columns, in squared standard deviations; 0 for a row without any.
    /// `rows` holds rows of `columns` values, NaN for unknown. Always finite.
    ///
    /// # Errors
    /// [`Error::Shape`] when the columns are not the network's or the last row is cut short.
    pub fn errors(&self, rows: &[f32], columns: usize) -> Result<Vec<f32>, Error> {
        if columns != self.columns() || !rows.len().is_multiple_of(columns) {
            return Err(Error::shape("rows", (rows.len() / self.columns(), self.columns()), (rows.len(), columns)));
        }
        Ok(rows.chunks_exact(columns).map(|row| self.error(row)).collect())
    }

    fn error(&self, row: &[f32]) -> f32 {
        let scaled: Vec<Option<f32>> =
            row.iter().zip(&self.standards).map(|(value, standard)| standard.apply(*value)).collect();
        let mut values: Vec<f32> = scaled.iter().map(|value| value.unwrap_or(0.0)).collect();
        for (at, (weights, bias)) in self.layers.iter().enumerate() {
            let mut sums = vec![0.0; bias.len()];
            weights.multiply(&values, &mut sums);
            let last = at + 1 == self.layers.len();
            for (sum, bias) in sums.iter_mut().zip(bias) {
                *sum = if last { *sum + bias } else { tangent(*sum + bias) };
            }
            values = sums;
        }
        let known = scaled.iter().zip(&values).filter_map(|(scaled, built)| Some(scaled.as_ref()? - built));
        let (count, sum) =
            known.fold((0.0, 0.0), |(count, sum), difference| (count + 1.0, sum + difference * difference));
        sum / f32::max(count, 1.0)
    }
}
