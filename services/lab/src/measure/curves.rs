//! Curves as short lists of points, for plots.

use serde::{Deserialize, Serialize};

use super::event::by_threshold;

/// One point of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

/// Precision (y) over recall (x), a point for every threshold at which a positive event is gained.
///
/// # Panics
/// When the slices differ in length.
pub fn precision_recall_curve(scores: &[f64], labels: &[bool]) -> Vec<Point> {
    assert_eq!(scores.len(), labels.len());
    let all = labels.iter().filter(|label| **label).count() as f64;
    let mut points = Vec::new();
    by_threshold(scores, labels, |step| {
        if step.new_positives > 0 {
            let raised = (step.positives + step.negatives) as f64;
            points.push(Point { x: step.positives as f64 / all, y: step.positives as f64 / raised });
        }
    });
    points
}

/// At most `points_max` of the points, both ends kept, evenly spread along the drawn line so that steep parts keep
/// their shape. Nothing is smoothed: every point that is left was measured.
pub fn reduced(points: &[Point], points_max: usize) -> Vec<Point> {
    if points.len() <= points_max || points_max < 2 {
        return points.iter().copied().take(points_max).collect();
    }
    let span = |of: fn(&Point) -> f64| {
        let (low, high) =
            points.iter().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if high > low { high - low } else { 1.0 }
    };
    let (width, height) = (span(|p| p.x), span(|p| p.y));
    let mut along = vec![0.0; points.len()];
    for at in 1..points.len() {
        let (dx, dy) = ((points[at].x - points[at - 1].x) / width, (points[at].y - points[at - 1].y) / height);
        along[at] = along[at - 1] + dx.hypot(dy);
    }
    let total = along[points.len() - 1];
    let last = points.len() - 1;
    let mut kept = Vec::with_capacity(points_max);
    let mut from = 0;
    for step in 0..points_max {
        let goal = total * step as f64 / (points_max - 1) as f64;
        let at = if step + 1 == points_max { last } else { from + along[from..].partition_point(|done| *done < goal) };
        // Each point at most once; the end stays free for the last step.
        if step > 0 && (at < from || (at >= last && step + 1 < points_max)) {
            continue;
        }
        kept.push(points[at.min(last)]);
        from = at + 1;
        if from > last {
            break;
        }
    }
    kept
}

/// Events whose predicted probability falls into one bin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Mean predicted probability.
    pub predicted: f64,
    /// Share of positive events.
    pub observed: f64,
    pub events: u64,
}

/// Predicted probability against observed share, in `bins` bins of equal width; empty bins are left out. Values
/// outside 0 to 1 count at the ends, values that are not a number not at all.
///
/// # Panics
/// When the slices differ in length.
pub fn reliability(probabilities: &[f64], labels: &[bool], bins: usize) -> Vec<ReliabilityBin> {
    assert_eq!(probabilities.len(), labels.len());
    let bins = bins.max(1);
    let mut sums = vec![(0.0, 0_u64, 0_u64); bins];
    for (probability, label) in probabilities.iter().zip(labels).filter(|(p, _)| !p.is_nan()) {
        let probability = probability.clamp(0.0, 1.0);
        let bin = &mut sums[((probability * bins as f64) as usize).min(bins - 1)];
        *bin = (bin.0 + probability, bin.1 + u64::from(*label), bin.2 + 1);
    }
    sums.into_iter()
        .filter(|(_, _, events)| *events > 0)
        .map(|(sum, positives, events)| ReliabilityBin {
            predicted: sum / events as f64,
            observed: positives as f64 / events as f64,
            events,
        })
        .collect()
}

/// Mean distance between predicted and observed, weighted by events (Naeini, Cooper, Hauskrecht 2015).
pub fn expected_calibration_error(bins: &[ReliabilityBin]) -> Option<f64> {
    let events: u64 = bins.iter().map(|bin| bin.events).sum();
    let distance: f64 = bins.iter().map(|bin| bin.events as f64 * (bin.predicted - bin.observed).abs()).sum();
    (events > 0).then(|| distance / events as f64)
}
