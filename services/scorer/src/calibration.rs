//! From a margin to a probability: isotonic regression.
//!
//! The fit is the monotone function of the score nearest to the labels in weighted least squares, found by pooling
//! adjacent violators (Ayer, Brunk, Ewing, Reid and Silverman, "An Empirical Distribution Function for Sampling with
//! Incomplete Information", 1955); to calibrate a classifier with it is by Zadrozny and Elkan, "Transforming Classifier
//! Scores into Accurate Multiclass Probability Estimates", 2002. Between the pools it is linear.

use serde::{Deserialize, Serialize};

use crate::Error;

/// The most knots of a calibration.
pub const KNOTS_MAX: usize = 1 << 16;
/// The lowest probability that is given; one minus it is the highest. A finite sample proves no certainty.
pub const PROBABILITY_MIN: f64 = 1e-6;

/// A monotone function from scores to probabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Knot>", into = "Vec<Knot>")]
pub struct Isotonic {
    knots: Vec<Knot>,
}

/// At this score, this probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Knot {
    pub score: f64,
    pub probability: f64,
}

/// Rows of one mean label, from the score `first` to the score `last`.
struct Pool {
    first: f64,
    last: f64,
    positive: f64,
    weight: f64,
}

impl Pool {
    fn mean(&self) -> f64 {
        self.positive / self.weight
    }
}

impl Isotonic {
    /// Fits the rows' labels to their scores. Rows of weight 0 do not count; the order of the rows does not matter
    /// beyond the rounding of sums.
    ///
    /// # Errors
    /// [`Error::Calibration`] if the lengths differ, a score is not finite, a weight is not finite or negative, or no
    /// row counts; [`Error::TooLarge`] for a fit of more than [`KNOTS_MAX`] knots.
    pub fn fit(scores: &[f64], labels: &[bool], weights: &[f64]) -> Result<Isotonic, Error> {
        if scores.len() != labels.len() || scores.len() != weights.len() {
            return Err(Error::Calibration("scores, labels and weights differ in number"));
        }
        if scores.iter().any(|score| !score.is_finite()) {
            return Err(Error::Calibration("a score is not finite"));
        }
        if weights.iter().any(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            return Err(Error::Calibration("a weight is not finite or negative"));
        }
        let mut order: Vec<usize> = (0..scores.len()).filter(|&row| weights[row] > 0.0).collect();
        order.sort_by(|&a, &b| (scores[a] + 0.0).total_cmp(&(scores[b] + 0.0)));
        let mut pools: Vec<Pool> = Vec::new();
        let mut rows = order.into_iter().peekable();
        while let Some(row) = rows.next() {
            let score = scores[row] + 0.0;
            let mut pool = Pool { first: score, last: score, positive: 0.0, weight: 0.0 };
            let mut same = Some(row);
            // Equal scores are one point, for one score has one probability.
            while let Some(row) = same {
                pool.weight += weights[row];
                pool.positive += if labels[row] { weights[row] } else { 0.0 };
                same = rows.next_if(|&next| scores[next] == score);
            }
            while let Some(before) = pools.pop_if(|before| before.mean() >= pool.mean()) {
                pool.first = before.first;
                pool.weight += before.weight;
                pool.positive += before.positive;
            }
            pools.push(pool);
        }
        if pools.iter().any(|pool| !pool.weight.is_finite()) {
            return Err(Error::Calibration("the weights add up beyond every number"));
        }
        let mut knots = Vec::with_capacity(pools.len() * 2);
        for pool in &pools {
            // Rounding may put a mean beyond 1.
            let probability = pool.mean().clamp(0.0, 1.0);
            knots.push(Knot { score: pool.first, probability });
            if pool.last > pool.first {
                knots.push(Knot { score: pool.last, probability });
            }
        }
        Isotonic::try_from(knots)
    }

    /// The same with one knot a level, in its middle: levels are where nothing told scores apart, not where scores are
    /// worth the same, and a ranking should not lose them (after Oron and Flournoy, "Centered Isotonic Regression:
    /// Point and Interval Estimation for Dose-Response Studies", 2017, with the middle for their weighted mean).
    ///
    /// # Errors
    /// [`Error::Calibration`] where two middles cannot be told apart.
    pub fn centred(&self) -> Result<Isotonic, Error> {
        let levels = self.knots.chunk_by(|a, b| a.probability == b.probability);
        let middle = |level: &[Knot]| {
            let (first, last) = (level.first()?, level.last()?);
            Some(Knot { score: first.score / 2.0 + last.score / 2.0, probability: first.probability })
        };
        Isotonic::try_from(levels.filter_map(middle).collect::<Vec<_>>())
    }

    /// The probability at `score`, between [`PROBABILITY_MIN`] and one minus it: linear between knots, level beyond
    /// the first and the last. NaN counts as the lowest score.
    pub fn probability(&self, score: f64) -> f64 {
        let above = self.knots.partition_point(|knot| knot.score <= score);
        let probability = match (above.checked_sub(1).and_then(|below| self.knots.get(below)), self.knots.get(above)) {
            (Some(below), Some(above)) => {
                // Halved, so that the distance of two finite scores is finite.
                let part = (score / 2.0 - below.score / 2.0) / (above.score / 2.0 - below.score / 2.0);
                let between = below.probability + part * (above.probability - below.probability);
                between.clamp(below.probability, above.probability)
            }
            (Some(knot), None) | (None, Some(knot)) => knot.probability,
            (None, None) => PROBABILITY_MIN,
        };
        probability.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN)
    }

    /// The knots by rising score.
    pub fn knots(&self) -> &[Knot] {
        &self.knots
    }
}

impl TryFrom<Vec<Knot>> for Isotonic {
    type Error = Error;

    fn try_from(knots: Vec<Knot>) -> Result<Isotonic, Error> {
        if knots.is_empty() {
            return Err(Error::Calibration("nothing to fit"));
        }
        if knots.len() > KNOTS_MAX {
            return Err(Error::TooLarge { what: "knots", limit: KNOTS_MAX });
        }
        if knots.iter().any(|knot| !knot.score.is_finite() || !(0.0..=1.0).contains(&knot.probability)) {
            return Err(Error::Calibration("a knot is no score and probability"));
        }
        // Halves of neighbouring scores differ too, save for the smallest numbers there are.
        let rising =
            |pair: &[Knot; 2]| pair[0].score / 2.0 < pair[1].score / 2.0 && pair[0].probability <= pair[1].probability;
        if !knots.array_windows().all(rising) {
            return Err(Error::Calibration("the knots do not rise"));
        }
        Ok(Isotonic { knots })
    }
}

impl From<Isotonic> for Vec<Knot> {
    fn from(isotonic: Isotonic) -> Vec<Knot> {
        isotonic.knots
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fit(rows: &[(f64, bool, f64)]) -> Isotonic {
        let scores: Vec<f64> = rows.iter().map(|row| row.0).collect();
        let labels: Vec<bool> = rows.iter().map(|row| row.1).collect();
        let weights: Vec<f64> = rows.iter().map(|row| row.2).collect();
        Isotonic::fit(&scores, &labels, &weights).unwrap()
    }

    #[test]
    fn violators_are_pooled_by_weight_and_the_rest_is_linear() {
        // 2.0 and 3.0 violate: their mean is 3 of 4. Rows of weight 0 and the order of rows change nothing.
        let isotonic =
            fit(&[(3.0, false, 1.0), (1.0, false, 2.0), (9.0, true, 0.0), (2.0, true, 3.0), (4.0, true, 1.0)]);
        let expect = [(1.0, 0.0), (2.0, 0.75), (3.0, 0.75), (4.0, 1.0)];
        assert_eq!(isotonic.knots(), expect.map(|(score, probability)| Knot { score, probability }));
        for (score, expect) in
            [(1.5, 0.375), (2.7, 0.75), (3.5, 0.875), (1.0, 1e-6), (7.0, 1.0 - 1e-6), (f64::NAN, 1e-6)]
        {
            assert!((isotonic.probability(score) - expect).abs() < 1e-12, "{score}");
        }
        let centred = isotonic.centred().unwrap();
        assert_eq!(
            centred.knots(),
            [(1.0, 0.0), (2.5, 0.75), (4.0, 1.0)].map(|(score, probability)| Knot { score, probability })
        );
        // One score, one probability.
        assert_eq!(fit(&[(0.0, true, 1.0), (-0.0, false, 3.0)]).probability(0.0), 0.25);
    }

    #[test]
    fn what_is_no_monotone_function_is_refused() {
        for (scores, labels, weights) in [
            (vec![], vec![], vec![]),
            (vec![1.0], vec![], vec![1.0]),
            (vec![f64::NAN], vec![true], vec![1.0]),
            (vec![1.0], vec![true], vec![0.0]),
            (vec![1.0], vec![true], vec![-1.0]),
            (vec![1.0, 1.0], vec![true, true], vec![f64::MAX, f64::MAX]),
        ] {
            assert!(Isotonic::fit(&scores, &labels, &weights).is_err(), "{scores:?}");
        }
        for bad in
            [&[][..], &[(0.0, 1.5)], &[(f64::INFINITY, 0.5)], &[(1.0, 0.2), (1.0, 0.3)], &[(1.0, 0.3), (2.0, 0.2)]]
        {
            let bytes = postcard::to_stdvec(bad).unwrap();
            assert!(postcard::from_bytes::<Isotonic>(&bytes).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn the_fit_is_monotone_and_keeps_the_mean(
            rows in prop::collection::vec((-20i32..20, any::<bool>(), 1u32..5), 1..80),
            scores in prop::collection::vec(-12.0f64..12.0, 2..20),
        ) {
            let rows: Vec<_> = rows.into_iter().map(|(s, l, w)| (f64::from(s) / 2.0, l, f64::from(w))).collect();
            let isotonic = fit(&rows);
            let bytes = postcard::to_stdvec(&isotonic).unwrap();
            prop_assert_eq!(&postcard::from_bytes::<Isotonic>(&bytes).unwrap(), &isotonic);
            let mut scores = scores;
            scores.sort_by(f64::total_cmp);
            prop_assert!(scores.is_sorted_by_key(|&score| isotonic.probability(score)));
            // Least squares over a cone: the fitted mean is the mean of the labels, and no residual correlates with the fit.
            let residual = |row: &(f64, bool, f64)| row.2 * (f64::from(row.1) - isotonic.probability(row.0));
            prop_assert!(rows.iter().map(residual).sum::<f64>().abs() < 1e-3);
            prop_assert!(rows.iter().map(|row| residual(row) * isotonic.probability(row.0)).sum::<f64>().abs() < 1e-3);
        }
    }
}
