//! What both trainings share: first weights, order, and the way down.

use candle_core::{Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use trailwarden_scorer::network::{Error, Matrix};

/// Gradients of a greater norm are scaled down to it, over all parameters together.
const NORM_MAX: f64 = 1.0;
/// Share of the steps in which the learning rate rises from 0.
const WARM_UP: f64 = 0.05;
/// Share of the learning rate that is left at the last step.
const RATE_AT_END: f64 = 0.05;

/// A parameter whose values lie uniformly within `+-bound`.
pub(super) fn uniform(random: &mut ChaCha8Rng, rows: usize, columns: usize, bound: f32) -> Result<Var, Error> {
    let values = (0..rows * columns).map(|_| random.random_range(-bound..=bound)).collect();
    parameter(values, rows, columns)
}

pub(super) fn parameter(values: Vec<f32>, rows: usize, columns: usize) -> Result<Var, Error> {
    Ok(Var::from_vec(values, (rows, columns), &Device::Cpu)?)
}

/// The bound that keeps the variance of a layer's outputs near that of its inputs (Glorot and Bengio 2010).
pub(super) fn bound(rows: usize, columns: usize) -> f32 {
    (6.0 / (rows + columns) as f32).sqrt()
}

/// Fisher and Yates, in Durstenfeld's form.
pub(super) fn shuffle(random: &mut ChaCha8Rng, order: &mut [u32]) {
    for last in (1..order.len()).rev() {
        order.swap(last, random.random_range(0..=last));
    }
}

/// A parameter as it is kept.
pub(super) fn kept(name: &'static str, parameter: &Var) -> Result<Matrix, Error> {
    let (rows, columns) = parameter.dims2()?;
    Matrix::new(name, rows, columns, &parameter.flatten_all()?.to_vec1::<f32>()?)
}

/// AdamW (Loshchilov and Hutter 2019) with clipped gradients and a rate that rises shortly, then falls in a line.
pub(super) struct Descent {
    /// Always taken in this order.
    parameters: Vec<Var>,
    optimiser: AdamW,
    rate: f64,
    taken: usize,
    planned: usize,
}

impl Descent {
    pub(super) fn new(parameters: Vec<Var>, rate: f64, planned: usize) -> Result<Self, Error> {
        if !(rate.is_finite() && rate > 0.0) {
            return Err(Error::Training { reason: "the learning rate is not above 0" });
        }
        let optimiser = AdamW::new(parameters.clone(), ParamsAdamW { lr: rate, ..ParamsAdamW::default() })?;
        Ok(Self { parameters, optimiser, rate, taken: 0, planned })
    }

    /// One step against the gradient of `loss`, a scalar.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when the gradient is not.
    pub(super) fn step(&mut self, loss: &Tensor) -> Result<(), Error> {
        let mut gradients = loss.backward()?;
        let mut squares = 0.0;
        for parameter in &self.parameters {
            if let Some(gradient) = gradients.get(parameter) {
                squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        let norm = squares.sqrt();
        if !norm.is_finite() {
            return Err(Error::NotFinite { name: "gradient" });
        }
        if norm > NORM_MAX {
            for parameter in &self.parameters {
                if let Some(gradient) = gradients.remove(parameter) {
                    gradients.insert(parameter, (gradient * (NORM_MAX / norm))?);
                }
            }
        }
        self.taken += 1;
        let share = self.taken as f64 / self.planned.max(1) as f64;
        let factor = (share / WARM_UP).min(1.0 - (1.0 - RATE_AT_END) * share.min(1.0));
        self.optimiser.set_learning_rate(self.rate * factor);
        self.optimiser.step(&gradients)?;
        Ok(())
    }
}
