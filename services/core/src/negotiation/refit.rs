//! What few labels may teach the pool: an intercept and a slope over stage one's log-odds (Platt, "Probabilistic outputs for support
//! vector machines", 1999), with what roles added as an offset.
//!
//! `logit(p) = intercept + slope x prior + roles`. Roles move the refitted log-odds as far as they moved the others, so their
//! caps hold as they are, and floors know nothing of it; a severity above its floor goes with the probability. The fit is drawn to the identity by a normal prior on both
//! numbers, held within bounds, and abstains below a floor of labels.

use serde::{Deserialize, Serialize};

use super::pool::sigmoid;

/// Labelled cases of each kind below which nothing is refitted.
pub const LABELS_MIN: usize = 50;
/// Bounds of the intercept, in log-odds, either way.
pub const INTERCEPT_MAX: f64 = 2.0;
pub const SLOPE_MIN: f64 = 0.5;
pub const SLOPE_MAX: f64 = 2.0;
/// Standard deviations of the normal prior around the identity.
const INTERCEPT_SPREAD: f64 = 1.0;
const SLOPE_SPREAD: f64 = 0.5;
/// Rounds over both numbers, and halvings in each: the loss is convex, and this settles it to the sixth decimal.
const ROUNDS_MAX: u32 = 60;
const HALVINGS: u32 = 40;
const SETTLED: f64 = 1e-9;

/// A line over stage one's log-odds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refit {
    pub intercept: f64,
    pub slope: f64,
}

impl Default for Refit {
    fn default() -> Self {
        Self { intercept: 0.0, slope: 1.0 }
    }
}

/// A labelled case as the fit sees it, in log-odds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub prior: f64,
    /// What roles added.
    pub roles: f64,
    pub is_attack: bool,
}

impl Refit {
    /// The refitted log-odds.
    pub fn of(self, prior: f64) -> f64 {
        self.intercept + self.slope * prior
    }

    /// Whether both numbers are within their bounds.
    pub fn is_sound(self) -> bool {
        (-INTERCEPT_MAX..=INTERCEPT_MAX).contains(&self.intercept) && (SLOPE_MIN..=SLOPE_MAX).contains(&self.slope)
    }

    /// Fits; `None` with fewer than [`LABELS_MIN`] cases of either kind. Numbers are rounded to six decimals, so that a
    /// file gives them back as they are.
    pub fn fit(points: &[Point]) -> Option<Self> {
        let attacks = points.iter().filter(|point| point.is_attack).count();
        if attacks.min(points.len() - attacks) < LABELS_MIN {
            return None;
        }
        let mut refit = Self::default();
        for _ in 0..ROUNDS_MAX {
            let before = refit;
            refit.intercept = zero(-INTERCEPT_MAX, INTERCEPT_MAX, |intercept| {
                let residuals: f64 = points.iter().map(|point| Self { intercept, ..refit }.residual(point)).sum();
                residuals + intercept / INTERCEPT_SPREAD.powi(2)
            });
            refit.slope = zero(SLOPE_MIN, SLOPE_MAX, |slope| {
                let by_prior = |point: &Point| Self { slope, ..refit }.residual(point) * point.prior;
                points.iter().map(by_prior).sum::<f64>() + (slope - 1.0) / SLOPE_SPREAD.powi(2)
            });
            if (refit.intercept - before.intercept).abs() < SETTLED && (refit.slope - before.slope).abs() < SETTLED {
                break;
            }
        }
        let rounded = |value: f64| (value * 1e6).round() / 1e6;
        Some(Self { intercept: rounded(refit.intercept), slope: rounded(refit.slope) })
    }

    /// By how much the probability is too high.
    fn residual(self, point: &Point) -> f64 {
        sigmoid(self.of(point.prior) + point.roles) - f64::from(u8::from(point.is_attack))
    }

    /// Mean logarithmic loss; `None` without points.
    pub fn loss(self, points: &[Point]) -> Option<f64> {
        let loss = |point: &Point| {
            let log_odds = self.of(point.prior) + point.roles;
            let wrong = if point.is_attack { -log_odds } else { log_odds };
            // ln(1 + e^x) without overflow.
            wrong.max(0.0) + (-wrong.abs()).exp().ln_1p()
        };
        (!points.is_empty()).then(|| points.iter().map(loss).sum::<f64>() / points.len() as f64)
    }
}

/// Where an increasing function is 0 within bounds; the nearer bound where it is not.
fn zero(mut low: f64, mut high: f64, gradient: impl Fn(f64) -> f64) -> f64 {
    if gradient(low) >= 0.0 {
        return low;
    }
    if gradient(high) <= 0.0 {
        return high;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if gradient(middle) > 0.0 { high = middle } else { low = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Cases whose truth follows a line, as evenly as numbers allow.
    fn points(truth: Refit, cases: usize) -> Vec<Point> {
        let mut points = Vec::new();
        for at in 0..cases {
            let prior = (at % 41) as f64 / 5.0 - 4.0;
            let roles = (at % 3) as f64 / 2.0 - 0.5;
            let quantile = (at * 7 % 101) as f64 / 101.0;
            points.push(Point { prior, roles, is_attack: quantile < sigmoid(truth.of(prior) + roles) });
        }
        points
    }

    #[test]
    fn a_line_is_found_again_and_the_identity_stays() {
        for truth in [Refit::default(), Refit { intercept: -1.0, slope: 1.5 }, Refit { intercept: 0.8, slope: 0.7 }] {
            let points = points(truth, 4_000);
            let found = Refit::fit(&points).expect("enough");
            assert!((found.intercept - truth.intercept).abs() < 0.15, "{truth:?} {found:?}");
            assert!((found.slope - truth.slope).abs() < 0.15, "{truth:?} {found:?}");
            assert!(found.loss(&points) <= Refit::default().loss(&points));
        }
    }

    #[test]
    fn few_labels_are_drawn_to_the_identity_and_fewer_are_none() {
        let truth = Refit { intercept: -2.0, slope: 2.0 };
        let many = Refit::fit(&points(truth, 4_000)).expect("enough");
        let few = Refit::fit(&points(truth, 400)).expect("enough");
        assert!(few.intercept.abs() < many.intercept.abs() && few.slope < many.slope, "{few:?} {many:?}");
        let short: Vec<Point> =
            (0..2 * LABELS_MIN - 1).map(|at| Point { prior: 0.0, roles: 0.0, is_attack: at % 2 == 0 }).collect();
        assert_eq!(Refit::fit(&short), None);
        assert_eq!(Refit::fit(&[]), None);
        assert_eq!(Refit::default().loss(&[]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// Whatever people label, the line is sound and keeps the order of cases.
        #[test]
        fn hostile_labels_stay_within_bounds(
            drawn in prop::collection::vec((-64.0..64.0f64, -4.75..4.25f64, any::<bool>()), 100..300),
        ) {
            let points: Vec<Point> =
                drawn.into_iter().map(|(prior, roles, is_attack)| Point { prior, roles, is_attack }).collect();
            if let Some(refit) = Refit::fit(&points) {
                prop_assert!(refit.is_sound(), "{refit:?}");
                prop_assert!(refit.of(1.0) > refit.of(0.0));
                let shuffled: Vec<Point> = points.iter().rev().copied().collect();
                let again = Refit::fit(&shuffled).expect("as many");
                prop_assert!((again.slope - refit.slope).abs() < 1e-5 && (again.intercept - refit.intercept).abs() < 1e-5);
            }
        }
    }
}
