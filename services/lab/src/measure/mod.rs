//! How well scores separate attacks from the ordinary: by event, by incident, and how sure that is.
//!
//! Everything here works on plain slices. An event is raised when its score lies *above* a threshold, never at it;
//! scores that are not a number rank last. A figure that the data cannot give is `None`, never 0.

mod bootstrap;
mod curves;
mod event;
mod incident;
mod shuffle;

#[cfg(test)]
mod tests;

pub use bootstrap::{Estimate, Resampling};
pub use curves::{Point, ReliabilityBin, expected_calibration_error, precision_recall_curve, reduced, reliability};
pub use event::{Confusion, average_precision, roc_auc, threshold_at_false_positive_rate};
pub use incident::{
    BENIGN, Case, GroupRecall, RecallAtBudget, TimeToDetect, alerts_per_account_day, false_cases_allowed, found_above,
    recall, recall_at_budget, recall_at_budget_estimate, recall_by_budget, recall_by_group, threshold_at_budget,
    time_to_detect,
};
pub use shuffle::shuffled_labels;

/// The false-positive rates an event at which recall is reported.
pub const FALSE_POSITIVE_RATES: [f64; 3] = [1e-4, 1e-3, 1e-2];

/// Positions from the highest score to the lowest; equal scores keep the order of the events.
fn descending(scores: &[f64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.sort_by(|&a, &b| comparable(scores[b as usize]).total_cmp(&comparable(scores[a as usize])));
    order
}

/// Not a number ranks last, and the two zeros are one score.
fn comparable(score: f64) -> f64 {
    if score.is_nan() { f64::NEG_INFINITY } else { score + 0.0 }
}
