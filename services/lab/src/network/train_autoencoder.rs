//! Training of the autoencoder on feature vectors of ordinary events.

use candle_core::{Device, Tensor, Var};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use trailwarden_scorer::network::{AutoencoderWeights, CODE, Error, Layer, SIDE, Standard};

use super::descent::{Descent, bound, kept, parameter, shuffle, uniform};

/// How the autoencoder learns.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoencoderOptions {
    /// Times every row is seen.
    pub epochs: usize,
    /// Rows a step.
    pub batch: usize,
    /// Greatest learning rate.
    pub learning_rate: f64,
    pub seed: u64,
}

impl Default for AutoencoderOptions {
    fn default() -> Self {
        Self { epochs: 3, batch: 512, learning_rate: 4e-3, seed: 0 }
    }
}

/// Learns to rebuild `rows` of `columns` values (NaN for unknown): the error that
/// [`Autoencoder::errors`](trailwarden_scorer::network::Autoencoder::errors) tells, averaged over rows.
///
/// # Errors
/// [`Error::Training`] without whole rows or with an option out of range; [`Error::NotFinite`] when training diverges.
pub fn train_autoencoder(
    rows: &[f32],
    columns: usize,
    options: &AutoencoderOptions,
) -> Result<AutoencoderWeights, Error> {
    if rows.is_empty() || columns == 0 || !rows.len().is_multiple_of(columns) {
        return Err(Error::Training { reason: "no rows, or the last one is cut short" });
    }
    if options.epochs == 0 || options.batch == 0 {
        return Err(Error::Training { reason: "no epochs, or empty batches" });
    }
    let column = |column: usize| Standard::of(rows.iter().skip(column).step_by(columns).copied());
    let standards: Vec<Standard> = (0..columns).map(column).collect();
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let network = Network::new(&mut random, columns)?;
    let count = rows.len() / columns;
    let mut descent =
        Descent::new(network.parameters(), options.learning_rate, options.epochs * count.div_ceil(options.batch))?;
    let last = u32::try_from(count).map_err(|_| Error::Training { reason: "too many rows" })?;
    let mut order: Vec<u32> = (0..last).collect();
    for _ in 0..options.epochs {
        shuffle(&mut random, &mut order);
        for members in order.chunks(options.batch) {
            let members = members.iter().map(|member| &rows[*member as usize * columns..][..columns]);
            descent.step(&network.loss(members, &standards)?)?;
        }
    }
    network.kept(standards)
}

/// Weights and bias of each layer while they are learnt.
struct Network([(Var, Var); 4]);

impl Network {
    fn new(random: &mut ChaCha8Rng, columns: usize) -> Result<Self, Error> {
        let mut layer = |rows: usize, outputs: usize| {
            let weights = uniform(random, rows, outputs, bound(rows, outputs))?;
            Ok::<_, Error>((weights, parameter(vec![0.0; outputs], 1, outputs)?))
        };
        Ok(Self([layer(columns, SIDE)?, layer(SIDE, CODE)?, layer(CODE, SIDE)?, layer(SIDE, columns)?]))
    }

    fn parameters(&self) -> Vec<Var> {
        self.0.iter().flat_map(|(weights, bias)| [weights.clone(), bias.clone()]).collect()
    }

    /// Mean over rows of the mean squared error over a row's known columns.
    fn loss<'a>(
        &self,
        rows: impl ExactSizeIterator<Item = &'a [f32]>,
        standards: &[Standard],
    ) -> Result<Tensor, Error> {
        let shape = (rows.len(), standards.len());
        let mut values = Vec::with_capacity(shape.0 * shape.1);
        let mut shares = Vec::with_capacity(shape.0 * shape.1);
        for row in rows {
            let known = row.iter().filter(|value| !value.is_nan()).count();
            let share = 1.0 / (known.max(1) * shape.0) as f32;
            for (value, standard) in row.iter().zip(standards) {
                let value = standard.apply(*value);
                values.push(value.unwrap_or(0.0));
                shares.push(if value.is_some() { share } else { 0.0 });
            }
        }
        let values = Tensor::from_vec(values, shape, &Device::Cpu)?;
        let shares = Tensor::from_vec(shares, shape, &Device::Cpu)?;
        let mut built = values.clone();
        for (at, (weights, bias)) in self.0.iter().enumerate() {
            built = built.matmul(weights)?.broadcast_add(bias)?;
            if at + 1 < self.0.len() {
                built = built.tanh()?;
            }
        }
        Ok(((built - values)?.sqr()? * shares)?.sum_all()?)
    }

    fn kept(&self, standards: Vec<Standard>) -> Result<AutoencoderWeights, Error> {
        let mut layers = <[Layer; 4]>::default();
        for (layer, (weights, bias)) in layers.iter_mut().zip(&self.0) {
            *layer = Layer { weights: kept("layer", weights)?, bias: kept("layer's bias", bias)? };
        }
        Ok(AutoencoderWeights { standards, layers })
    }
}
