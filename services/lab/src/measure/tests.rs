use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn close(left: Option<f64>, right: f64) {
    let left = left.expect("measurable");
    assert!((left - right).abs() < 1e-12, "{left} is not {right}");
}

/// Scores .9 .8 .8 .3 .1 and positives at .9, one of the .8 and .1.
const SCORES: [f64; 5] = [0.8, 0.9, 0.1, 0.8, 0.3];
const LABELS: [bool; 5] = [false, true, true, true, false];

#[test]
fn average_precision_takes_ties_as_one_threshold() {
    // .9: 1/3 x 1/1; .8: 1/3 x 2/3; .3: nothing; .1: 1/3 x 3/5.
    close(average_precision(&SCORES, &LABELS), (1.0 + 2.0 / 3.0 + 3.0 / 5.0) / 3.0);
    // One score for all is the prevalence, whatever the order.
    close(average_precision(&[0.5; 5], &LABELS), 0.6);
    assert_eq!(average_precision(&[0.5], &[false]), None);
    assert_eq!(average_precision(&[], &[]), None);
    // Not a number ranks last, together with minus infinity.
    close(average_precision(&[f64::NAN, 1.0, f64::NEG_INFINITY], &[true, false, false]), 1.0 / 3.0);
}

#[test]
fn roc_auc_counts_ties_half() {
    // Pairs won: .9 beats .8 and .3; .8 ties .8 and beats .3; .1 beats nothing: 2 + 1.5 + 0 of 6.
    close(roc_auc(&SCORES, &LABELS), 3.5 / 6.0);
    close(roc_auc(&[1.0, 1.0], &[true, false]), 0.5);
    assert_eq!(roc_auc(&[1.0], &[true]), None);
}

#[test]
fn confusion_by_hand() {
    let counts = Confusion::above(&SCORES, &LABELS, 0.3);
    assert_eq!(counts, Confusion { true_positives: 2, false_positives: 1, true_negatives: 1, false_negatives: 1 });
    for (figure, expected) in [
        (counts.precision(), 2.0 / 3.0),
        (counts.recall(), 2.0 / 3.0),
        (counts.specificity(), 0.5),
        (counts.false_positive_rate(), 0.5),
        (counts.accuracy(), 0.6),
        (counts.f1(), 2.0 / 3.0),
        (counts.prevalence(), 0.6),
    ] {
        close(figure, expected);
    }
    assert_eq!(Confusion::above(&SCORES, &LABELS, 1.0).precision(), None);
}

#[test]
fn a_false_positive_rate_is_never_exceeded() {
    let benign: Vec<f64> = (0..300).map(f64::from).collect();
    for (rate, above) in [(0.01, 3), (0.0, 0), (1e-4, 0), (0.5, 150)] {
        let threshold = threshold_at_false_positive_rate(&benign, rate).unwrap();
        assert_eq!(benign.iter().filter(|score| **score > threshold).count(), above, "{rate}");
    }
    assert_eq!(threshold_at_false_positive_rate(&benign, 1.0), Some(f64::NEG_INFINITY));
    // Ties are left below the threshold, not let through.
    assert_eq!(threshold_at_false_positive_rate(&[1.0; 100], 0.5), Some(1.0));
    assert_eq!(threshold_at_false_positive_rate(&[], 0.5), None);
}

fn case(score: f64, day: u32, incidents: &[u32]) -> Case {
    Case { score, account: 0, day, incidents: incidents.to_vec() }
}

#[test]
fn incident_recall_at_an_alert_budget() {
    let cases = [case(0.9, 0, &[1]), case(0.8, 0, &[]), case(0.7, 1, &[1, 2]), case(0.6, 1, &[]), case(0.5, 1, &[3])];
    let at = |allowed| recall_at_budget(&cases, 4, 2.0, threshold_at_budget(&cases, allowed)).unwrap();
    assert_eq!((at(0).recall, at(0).threshold, at(0).false_cases), (0.25, 0.8, 0));
    assert_eq!((at(1).recall, at(1).threshold, at(1).false_cases_per_account_day), (0.5, 0.6, 0.5));
    // The fourth incident never became a case: no budget finds it.
    assert_eq!((at(9).recall, at(9).threshold, at(9).false_cases), (0.75, f64::NEG_INFINITY, 2));
    // A threshold from earlier data costs what it costs.
    assert_eq!(recall_at_budget(&cases, 4, 2.0, 0.55).map(|at| at.false_cases_per_account_day), Some(1.0));
    assert_eq!(alerts_per_account_day(&cases, 2.0, 0.6), Some(1.5));
    assert_eq!(false_cases_allowed(10, 3.0, 0.1), 3);
    assert_eq!(recall_at_budget(&cases, 0, 2.0, 0.5), None);

    let curve = recall_by_budget(&cases, 4, 2.0);
    let pairs: Vec<_> = curve.iter().map(|point| (point.x, point.y)).collect();
    assert_eq!(pairs, [(0.0, 0.25), (0.5, 0.5), (1.0, 0.75)]);

    let estimate = recall_at_budget_estimate(&cases, 4, (1, 2), 1.0, (300, 7)).unwrap();
    assert_eq!(estimate.value, 0.75);
    assert!(estimate.low < 0.75 && estimate.high > 0.75 && estimate.high <= 1.0, "{estimate:?}");
}

#[test]
fn found_incidents_and_their_delay() {
    let incidents = [0, 5, 5, 9, 0, 9, 2];
    let scores = [0.9, 0.1, 0.7, 0.2, 0.3, 0.6, 0.0];
    let found = found_above(&scores, &incidents, 0.5);
    assert_eq!(found, [false, true, true]);
    let raised = scores.map(|score| score > 0.5);
    let times = [0, 4_000, 1_000, 0, 0, 60_000, 5];
    // Incident 5 is raised by its first event, although a later line; incident 9 after a minute.
    let delay = time_to_detect(&times, &incidents, &raised).unwrap();
    assert_eq!((delay.median_s, delay.ninetieth_percentile_s, delay.found, delay.missed), (30.0, 54.0, 2, 1));
    assert_eq!(time_to_detect(&times, &incidents, &[false; 7]), None);

    let groups = recall_by_group(&found, &["mining", "theft", "mining"]);
    assert_eq!((groups[0].group.as_str(), groups[0].found, groups[0].incidents), ("mining", 1, 2));
    assert_eq!((groups[1].group.as_str(), groups[1].found, groups[1].incidents), ("theft", 1, 1));
}

#[test]
fn the_interval_holds_the_truth_about_as_often_as_it_says() {
    // 40 incidents, each found with chance .7: the interval of the share should hold .7 nearly always.
    let incidents: Vec<u32> = (1..=40).collect();
    let blocks = vec![0; 40];
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let holds = (0..200)
        .filter(|&run| {
            let found: Vec<bool> = (0..40).map(|_| rng.random_bool(0.7)).collect();
            let interval = Resampling::new(&incidents, &blocks, 200, run).incident_recall(&found).unwrap();
            interval.low <= 0.7 && 0.7 <= interval.high
        })
        .count();
    assert!((176..=199).contains(&holds), "{holds} of 200");
}

struct Simulated {
    strong: Vec<f64>,
    weak: Vec<f64>,
    incidents: Vec<u32>,
    blocks: Vec<u32>,
    labels: Vec<bool>,
}

/// 60 incidents of 5 events among 5,000 benign ones in 100 blocks; the first scorer sees, the second half-sees.
fn simulated() -> Simulated {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let incidents: Vec<u32> = (0..5_300).map(|event| if event < 300 { 1 + event / 5 } else { BENIGN }).collect();
    let blocks: Vec<u32> = (0..5_300).map(|event| event / 53).collect();
    let labels: Vec<bool> = incidents.iter().map(|incident| *incident != BENIGN).collect();
    let noise: Vec<f64> = (0..5_300).map(|_| rng.random_range(0.0..1.0)).collect();
    let scored = |gain: f64| labels.iter().zip(&noise).map(|(l, n)| n + if *l { gain } else { 0.0 }).collect();
    Simulated { strong: scored(0.9), weak: scored(0.5), incidents, blocks, labels }
}

#[test]
fn bootstrap_of_average_precision_is_paired_and_seeded() {
    let Simulated { strong, weak, incidents, blocks, labels } = simulated();
    let resampling = Resampling::new(&incidents, &blocks, 200, 1);
    let estimate = resampling.average_precision(&strong, &labels).unwrap();
    assert_eq!(Some(estimate.value), average_precision(&strong, &labels));
    assert!(estimate.low < estimate.value && estimate.value < estimate.high && estimate.low > 0.8, "{estimate:?}");
    assert_eq!(Some(estimate), Resampling::new(&incidents, &blocks, 200, 1).average_precision(&strong, &labels));
    assert_ne!(Some(estimate), Resampling::new(&incidents, &blocks, 200, 2).average_precision(&strong, &labels));

    let difference = resampling.average_precision_difference(&strong, &weak, &labels).unwrap();
    let other = resampling.average_precision(&weak, &labels).unwrap();
    assert!(difference.low > 0.0);
    // The same noise stands in both, so pairing must beat two separate intervals.
    assert!(difference.high - difference.low < (estimate.high - estimate.low) + (other.high - other.low));
    let none = resampling.average_precision_difference(&weak, &weak, &labels).unwrap();
    assert_eq!((none.low, none.high), (0.0, 0.0));
}

#[test]
fn shuffled_labels_prove_nothing() {
    let Simulated { strong, blocks, labels, .. } = simulated();
    let prevalence = 300.0 / 5_300.0;
    for by in [None, Some(blocks.as_slice())] {
        let shuffled = shuffled_labels(&labels, by, 5);
        assert_eq!(shuffled.iter().filter(|label| **label).count(), 300);
        assert!(shuffled != labels);
        assert!(shuffled == shuffled_labels(&labels, by, 5));
        // Each shuffled positive is its own incident here.
        let own: Vec<u32> =
            shuffled.iter().zip(1..).map(|(label, number)| if *label { number } else { BENIGN }).collect();
        let interval = Resampling::new(&own, &blocks, 200, 1).average_precision(&strong, &shuffled).unwrap();
        assert!(interval.low <= prevalence * 1.05 && prevalence * 0.95 <= interval.high, "{interval:?}");
    }
    // By blocks the labels of a block stay together.
    let together = shuffled_labels(&[true, true, false, false, false, false], Some(&[0, 0, 1, 1, 2, 2]), 1);
    assert!(together.chunks(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn curves_and_calibration() {
    let curve = precision_recall_curve(&SCORES, &LABELS);
    let pairs: Vec<_> = curve.iter().map(|point| (point.x, point.y)).collect();
    assert_eq!(pairs, [(1.0 / 3.0, 1.0), (2.0 / 3.0, 2.0 / 3.0), (1.0, 0.6)]);

    let bins = reliability(&[0.0, 0.1, 0.9, 1.0, f64::NAN], &[false, true, true, true, true], 2);
    assert_eq!(bins.len(), 2);
    assert_eq!((bins[0].predicted, bins[0].observed, bins[0].events), (0.05, 0.5, 2));
    assert_eq!((bins[1].predicted, bins[1].observed, bins[1].events), (0.95, 1.0, 2));
    close(expected_calibration_error(&bins), 0.25);
}

#[test]
fn reduced_keeps_ends_and_steep_parts() {
    let points: Vec<Point> =
        (0..100_000).map(|at| f64::from(at) / 1e5).map(|x| Point { x, y: (-50.0 * x).exp() }).collect();
    let short = reduced(&points, 200);
    assert!(short.len() > 150 && short.len() <= 200);
    assert_eq!((short[0], short[short.len() - 1]), (points[0], points[99_999]));
    assert!(short.windows(2).all(|pair| pair[0].x < pair[1].x && pair[0].y - pair[1].y < 0.02));
    assert_eq!(reduced(&points[..5], 200), points[..5]);
    let jump = [Point { x: 0.0, y: 0.0 }, Point { x: 0.0, y: 1.0 }, Point { x: 1.0, y: 1.0 }];
    assert_eq!(reduced(&jump, 2), [jump[0], jump[2]]);
}

proptest! {
    /// What is promised about any scores: bounds, and that only the order counts.
    #[test]
    fn metrics_see_only_the_order(events in prop::collection::vec((0_u8..20, any::<bool>()), 1..60)) {
        let scores: Vec<f64> = events.iter().map(|(score, _)| f64::from(*score)).collect();
        let labels: Vec<bool> = events.iter().map(|(_, label)| *label).collect();
        let stretched: Vec<f64> = scores.iter().map(|score| score.exp()).collect();
        prop_assert_eq!(average_precision(&scores, &labels), average_precision(&stretched, &labels));
        prop_assert_eq!(roc_auc(&scores, &labels), roc_auc(&stretched, &labels));
        prop_assert!(average_precision(&scores, &labels).is_none_or(|figure| figure > 0.0 && figure <= 1.0 + 1e-12));
        let reversed: Vec<f64> = scores.iter().map(|score| -score).collect();
        if let (Some(up), Some(down)) = (roc_auc(&scores, &labels), roc_auc(&reversed, &labels)) {
            prop_assert!((up + down - 1.0).abs() < 1e-9);
        }
        // A resample of one unit each is the sample itself.
        let incidents: Vec<u32> = labels.iter().map(|label| u32::from(*label)).collect();
        let blocks = vec![0; labels.len()];
        if let Some(estimate) = Resampling::new(&incidents, &blocks, 3, 0).average_precision(&scores, &labels) {
            prop_assert!((estimate.low - estimate.value).abs() < 1e-12 && (estimate.high - estimate.value).abs() < 1e-12);
        }
    }
}
