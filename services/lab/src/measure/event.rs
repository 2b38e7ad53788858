//! Metrics over single events.

use serde::{Deserialize, Serialize};

use super::{comparable, descending};

/// Average precision: the sum over thresholds of (recall gained) x (precision there), without interpolation.
/// Events of one score are one threshold, so an order among ties cannot help or hurt.
/// Source: the definition in scikit-learn's user guide under `average_precision_score`, after Manning, Raghavan,
/// Schuetze, Introduction to Information Retrieval (2008), 8.4. `None` without a positive event.
///
/// # Panics
/// When the slices differ in length.
pub fn average_precision(scores: &[f64], labels: &[bool]) -> Option<f64> {
    assert_eq!(scores.len(), labels.len());
    let positives = labels.iter().filter(|label| **label).count();
    let mut gained = 0.0;
    by_threshold(scores, labels, |step| {
        if step.new_positives > 0 {
            gained += step.new_positives as f64 * step.positives as f64 / (step.positives + step.negatives) as f64;
        }
    });
    (positives > 0).then(|| gained / positives as f64)
}

/// The chance that a random positive event scores above a random negative one, ties counted half (Mann and Whitney
/// 1947). `None` without an event of both kinds.
///
/// # Panics
/// When the slices differ in length.
pub fn roc_auc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    assert_eq!(scores.len(), labels.len());
    let positives = labels.iter().filter(|label| **label).count();
    let negatives = labels.len() - positives;
    let mut won = 0.0;
    by_threshold(scores, labels, |step| {
        let below = negatives - step.negatives;
        won += step.new_positives as f64 * (below as f64 + 0.5 * step.new_negatives as f64);
    });
    (positives > 0 && negatives > 0).then(|| won / (positives as f64 * negatives as f64))
}

/// Counts at and above one score.
pub(super) struct Step {
    pub positives: usize,
    pub negatives: usize,
    pub new_positives: usize,
    pub new_negatives: usize,
}

/// Visits every distinct score from the highest down.
pub(super) fn by_threshold(scores: &[f64], labels: &[bool], mut visit: impl FnMut(Step)) {
    let order = descending(scores);
    let (mut positives, mut negatives, mut at) = (0, 0, 0);
    while at < order.len() {
        let score = comparable(scores[order[at] as usize]);
        let (mut new_positives, mut new_negatives) = (0, 0);
        while at < order.len() && comparable(scores[order[at] as usize]) == score {
            if labels[order[at] as usize] {
                new_positives += 1
            } else {
                new_negatives += 1
            }
            at += 1;
        }
        positives += new_positives;
        negatives += new_negatives;
        visit(Step { positives, negatives, new_positives, new_negatives });
    }
}

/// What became of the events at one threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    pub true_positives: u64,
    pub false_positives: u64,
    pub true_negatives: u64,
    pub false_negatives: u64,
}

impl Confusion {
    /// Raised is what scores above the threshold.
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn above(scores: &[f64], labels: &[bool], threshold: f64) -> Self {
        assert_eq!(scores.len(), labels.len());
        let mut counts = Self::default();
        for (score, label) in scores.iter().zip(labels) {
            match (*score > threshold, *label) {
                (true, true) => counts.true_positives += 1,
                (true, false) => counts.false_positives += 1,
                (false, true) => counts.false_negatives += 1,
                (false, false) => counts.true_negatives += 1,
            }
        }
        counts
    }

    /// `None` when nothing was raised.
    pub fn precision(&self) -> Option<f64> {
        share(self.true_positives, self.false_positives)
    }

    pub fn recall(&self) -> Option<f64> {
        share(self.true_positives, self.false_negatives)
    }

    pub fn specificity(&self) -> Option<f64> {
        share(self.true_negatives, self.false_positives)
    }

    /// One minus the specificity.
    pub fn false_positive_rate(&self) -> Option<f64> {
        share(self.false_positives, self.true_negatives)
    }

    pub fn accuracy(&self) -> Option<f64> {
        share(self.true_positives + self.true_negatives, self.false_positives + self.false_negatives)
    }

    /// 2 TP / (2 TP + FP + FN); `None` when there is nothing to find and nothing was raised.
    pub fn f1(&self) -> Option<f64> {
        share(2 * self.true_positives, self.false_positives + self.false_negatives)
    }

    pub fn prevalence(&self) -> Option<f64> {
        share(self.true_positives + self.false_negatives, self.true_negatives + self.false_positives)
    }
}

fn share(part: u64, rest: u64) -> Option<f64> {
    (part + rest > 0).then(|| part as f64 / (part + rest) as f64)
}

/// The lowest threshold with at most `rate` of the benign scores above it. Below one false positive in the number of
/// benign scores nothing finer can be chosen: the threshold is then their maximum. `None` without a benign score.
pub fn threshold_at_false_positive_rate(benign_scores: &[f64], rate: f64) -> Option<f64> {
    let mut scores: Vec<f64> = benign_scores.iter().copied().map(comparable).collect();
    // A billionth is added so that 0.01 x 300 allows 3, as arithmetic on paper does.
    let allowed = (rate.clamp(0.0, 1.0) * scores.len() as f64 + 1e-9).floor() as usize;
    if scores.is_empty() {
        return None;
    }
    if allowed >= scores.len() {
        return Some(f64::NEG_INFINITY);
    }
    let (_, threshold, _) = scores.select_nth_unstable_by(allowed, |a, b| b.total_cmp(a));
    Some(*threshold)
}
