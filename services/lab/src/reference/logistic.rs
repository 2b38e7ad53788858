//! Logistic regression on standardised features, the plainest trained detector.
//!
//! Our own Newton steps rather than `linfa-logistic`, which takes neither sample weights nor a start near the
//! solution, and holds every row in double width; with some 60 columns the normal equations are small.

use super::{Error, median, row_count};

/// Rows that set medians, means and deviations.
const SCALE_ROWS_MAX: usize = 100_000;

/// How the regression is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogisticOptions {
    /// Ridge penalty on each coefficient but the intercept, against the mean log loss a row.
    pub l2: f64,
    /// Weighs both kinds of label alike, on top of the given weights.
    pub balanced: bool,
    pub iterations_max: usize,
}

impl Default for LogisticOptions {
    fn default() -> Self {
        Self { l2: 1e-4, balanced: false, iterations_max: 25 }
    }
}

/// A fitted regression.
#[derive(Clone, Debug)]
pub struct LogisticRegression {
    medians: Vec<f32>,
    means: Vec<f64>,
    scales: Vec<f64>,
    /// By column, on standardised values.
    pub coefficients: Vec<f64>,
    pub intercept: f64,
}

impl LogisticRegression {
    /// Ridge-penalised maximum likelihood by Newton steps (iteratively reweighted least squares; Hastie, Tibshirani,
    /// Friedman 2009, 4.4.1), a step halved until the loss falls. Unknown values take the column's median, each value
    /// x becomes sign(x) ln(1 + |x|), then mean 0 and deviation 1.
    pub fn fit(
        rows: &[f32],
        columns: usize,
        labels: &[bool],
        weights: Option<&[f64]>,
        options: LogisticOptions,
    ) -> Result<Self, Error> {
        let count = row_count(rows, columns, labels, weights)?;
        if !(options.l2 > 0.0 && options.l2.is_finite()) {
            return Err(Error::Option("l2 is above 0, so that the solution is finite"));
        }
        let mut model = Self::scaled_on(rows, columns);
        let weights = row_weights(labels, weights, options.balanced)?;
        let mut features = Vec::with_capacity(rows.len());
        rows.chunks_exact(columns).for_each(|row| features.extend(model.standardised(row).map(|value| value as f32)));

        let width = columns + 1;
        let mut solution = vec![0.0; width];
        let mut now = Pass::over(&features, columns, labels, &weights, &solution, options.l2);
        for _ in 0..options.iterations_max {
            let Some(step) = solved(&mut now.hessian.clone(), &now.gradient, width) else { break };
            let decrement: f64 = step.iter().zip(&now.gradient).map(|(step, slope)| step * slope).sum();
            if decrement < 1e-16 {
                break;
            }
            let mut length = 1.0;
            let next = loop {
                let tried: Vec<f64> = solution.iter().zip(&step).map(|(at, step)| at - length * step).collect();
                let pass = Pass::over(&features, columns, labels, &weights, &tried, options.l2);
                if pass.loss <= now.loss || length < 1e-3 {
                    break (tried, pass);
                }
                length /= 2.0;
            };
            (solution, now) = next;
        }
        debug_assert_eq!(features.len(), count * columns);
        model.intercept = solution[columns];
        solution.truncate(columns);
        model.coefficients = solution;
        Ok(model)
    }

    /// Log-odds, one a row.
    ///
    /// # Panics
    /// When the rows are not of the trained width.
    pub fn log_odds(&self, rows: &[f32]) -> Vec<f64> {
        let columns = self.coefficients.len();
        assert!(rows.len().is_multiple_of(columns));
        let dot = |row| self.standardised(row).zip(&self.coefficients).map(|(x, by)| x * by).sum::<f64>();
        rows.chunks_exact(columns).map(|row| self.intercept + dot(row)).collect()
    }

    /// Intercept and coefficients on sign(x) ln(1 + |x|) itself, not standardised.
    pub fn plain(&self) -> (f64, Vec<f64>) {
        let coefficients: Vec<f64> = self.coefficients.iter().zip(&self.scales).map(|(by, scale)| by * scale).collect();
        let shift: f64 = coefficients.iter().zip(&self.means).map(|(by, mean)| by * mean).sum();
        (self.intercept - shift, coefficients)
    }

    fn scaled_on(rows: &[f32], columns: usize) -> Self {
        let stride = (rows.len() / columns).div_ceil(SCALE_ROWS_MAX);
        let sampled = |column: usize| rows.iter().skip(column).step_by(columns * stride).copied();
        let medians: Vec<f32> = (0..columns).map(|column| median(sampled(column).collect())).collect();
        let (means, scales) = (0..columns)
            .map(|column| {
                let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
                for value in sampled(column).map(|value| compressed(value, medians[column])) {
                    count += 1.0;
                    let delta = value - mean;
                    mean += delta / count;
                    squares += delta * (value - mean);
                }
                let deviation = (squares / count).sqrt();
                // A column that does not vary says nothing: its value is 0 everywhere.
                (mean, if deviation > 1e-9 { 1.0 / deviation } else { 0.0 })
            })
            .unzip();
        Self { medians, means, scales, coefficients: Vec::new(), intercept: 0.0 }
    }

    fn standardised<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        let scaling = self.medians.iter().zip(&self.means).zip(&self.scales);
        row.iter().zip(scaling).map(|(value, ((median, mean), scale))| (compressed(*value, *median) - mean) * scale)
    }
}

fn compressed(value: f32, median: f32) -> f64 {
    let value = f64::from(if value.is_finite() { value } else { median });
    value.signum() * value.abs().ln_1p()
}

/// Weights that sum to 1.
fn row_weights(labels: &[bool], weights: Option<&[f64]>, balanced: bool) -> Result<Vec<f64>, Error> {
    let mut weights = weights.map_or_else(|| vec![1.0; labels.len()], <[f64]>::to_vec);
    let of = |kind: bool, weights: &[f64]| -> f64 {
        labels.iter().zip(weights).filter(|(label, _)| **label == kind).map(|(_, weight)| weight).sum()
    };
    let (positive, negative) = (of(true, &weights), of(false, &weights));
    if positive <= 0.0 || negative <= 0.0 {
        return Err(Error::Degenerate("one kind of label has no weight"));
    }
    for (weight, label) in weights.iter_mut().zip(labels) {
        *weight /= match (balanced, label) {
            (false, _) => positive + negative,
            (true, true) => 2.0 * positive,
            (true, false) => 2.0 * negative,
        };
    }
    Ok(weights)
}

/// Loss, gradient and hessian at one point; the intercept stands last.
struct Pass {
    loss: f64,
    gradient: Vec<f64>,
    hessian: Vec<f64>,
}

impl Pass {
    fn over(features: &[f32], columns: usize, labels: &[bool], weights: &[f64], at: &[f64], l2: f64) -> Self {
        let width = columns + 1;
        let mut pass = Self { loss: 0.0, gradient: vec![0.0; width], hessian: vec![0.0; width * width] };
        let mut row = vec![1.0; width];
        for ((values, label), weight) in features.chunks_exact(columns).zip(labels).zip(weights) {
            row.iter_mut().zip(values).for_each(|(to, from)| *to = f64::from(*from));
            let odds: f64 = row.iter().zip(at).map(|(x, by)| x * by).sum();
            let signed = if *label { odds } else { -odds };
            // ln(1 + e^-z) without overflow.
            pass.loss += weight * ((-signed.abs()).exp().ln_1p() + (-signed).max(0.0));
            let probability = 1.0 / (1.0 + (-odds).exp());
            let slope = weight * (probability - f64::from(u8::from(*label)));
            let curvature = weight * probability * (1.0 - probability);
            for (column, value) in row.iter().enumerate() {
                pass.gradient[column] += slope * value;
                let scaled = curvature * value;
                let line = &mut pass.hessian[column * width..][..=column];
                line.iter_mut().zip(&row).for_each(|(sum, other)| *sum += scaled * other);
            }
        }
        for (column, coefficient) in at[..columns].iter().enumerate() {
            pass.loss += 0.5 * l2 * coefficient * coefficient;
            pass.gradient[column] += l2 * coefficient;
            pass.hessian[column * width + column] += l2;
        }
        pass.hessian[width * width - 1] += 1e-12;
        pass
    }
}

/// Solves `matrix` x = `right` by Cholesky's factorisation of the lower triangle, in place. `None` unless positive
/// definite.
fn solved(matrix: &mut [f64], right: &[f64], width: usize) -> Option<Vec<f64>> {
    for row in 0..width {
        for column in 0..=row {
            let inner: f64 = (0..column).map(|k| matrix[row * width + k] * matrix[column * width + k]).sum();
            let rest = matrix[row * width + column] - inner;
            matrix[row * width + column] = if row == column {
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / matrix[column * width + column]
            };
        }
    }
    let mut x = right.to_vec();
    for row in 0..width {
        let inner: f64 = (0..row).map(|k| matrix[row * width + k] * x[k]).sum();
        x[row] = (x[row] - inner) / matrix[row * width + row];
    }
    for row in (0..width).rev() {
        let inner: f64 = (row + 1..width).map(|k| matrix[k * width + row] * x[k]).sum();
        x[row] = (x[row] - inner) / matrix[row * width + row];
    }
    Some(x)
}
