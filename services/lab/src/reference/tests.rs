use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trailwarden_core::feature::Feature;

use super::*;
use crate::measure::{average_precision, roc_auc};

/// Rows of noise with an interaction, a threshold, unknown values and columns that say nothing; about a tenth positive.
fn seeded_rows(count: usize, columns: usize, seed: u64) -> (Vec<f32>, Vec<bool>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut rows: Vec<f32> = (0..count * columns).map(|_| rng.random_range(-1.0..1.0)).collect();
    let labels = rows
        .chunks_exact_mut(columns)
        .map(|row| {
            let odds = 3.0 * row[0] - 2.0 * row[1] + 4.0 * f32::from(row[2] > 0.5) * row[3] - 4.0;
            let label = rng.random_bool(f64::from(1.0 / (1.0 + (-odds).exp())));
            row[4] = if rng.random_bool(0.3) { f32::NAN } else { row[4] };
            row[5] = row[5].signum() * (row[5].abs() * 9.0).exp_m1();
            label
        })
        .collect();
    (rows, labels)
}

#[test]
fn isolation_forest_finds_outliers_and_repeats() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let labels: Vec<bool> = (0..2_000).map(|row| row % 100 == 0).collect();
    let mut rows = Vec::new();
    for outlier in &labels {
        // A blob around 0; outliers on a ring around it; one column constant, one unknown now and then.
        let (angle, reach) =
            (rng.random_range(0.0..std::f32::consts::TAU), if *outlier { 4.0 } else { rng.random_range(0.0..1.0) });
        let unknown = if rng.random_bool(0.1) { f32::NAN } else { rng.random_range(0.0..1.0) };
        rows.extend([reach * angle.cos(), reach * angle.sin(), 7.0, unknown]);
    }
    let options = IsolationOptions { trees: 100, seed: 9, ..Default::default() };
    let scores = IsolationForest::fit(&rows, 4, options).unwrap().scores(&rows);
    assert!(roc_auc(&scores, &labels).unwrap() > 0.99);
    assert!(average_precision(&scores, &labels).unwrap() > 0.8);
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    let alone = IsolationForest::fit(&rows, 4, IsolationOptions { threads: 1, ..options }).unwrap().scores(&rows);
    assert!(scores == alone);
    let other = IsolationForest::fit(&rows, 4, IsolationOptions { seed: 10, ..options }).unwrap().scores(&rows);
    assert!(scores != other);

    // No rows, rows without any difference, and too few of them.
    let forest = IsolationForest::fit(&rows, 4, options).unwrap();
    assert!(forest.scores(&[]).is_empty());
    assert_eq!(forest.scores(&rows[..4]), scores[..1]);
    let flat = IsolationForest::fit(&[f32::NAN; 40], 4, options).unwrap().scores(&[1.0; 8]);
    assert!(flat.iter().all(|score| *score == flat[0]));
    assert!(matches!(IsolationForest::fit(&rows[..4], 4, options), Err(Error::Degenerate(_))));
    assert!(matches!(IsolationForest::fit(&rows[..5], 4, options), Err(Error::Shape { .. })));
}

#[test]
fn logistic_regression_recovers_what_was_planted() {
    let (rows, labels) = seeded_rows(20_000, 8, 1);
    let model = LogisticRegression::fit(&rows, 8, &labels, None, LogisticOptions::default()).unwrap();
    let by = &model.coefficients;
    assert!(by[0] > 1.0 && by[1] < -0.6 && by[3] > 0.1, "{by:?}");
    assert!(by[4..].iter().all(|coefficient| coefficient.abs() < 0.1), "{by:?}");
    let odds = model.log_odds(&rows);
    assert!(roc_auc(&odds, &labels).unwrap() > 0.85);
    // Maximum likelihood with an intercept: predicted and observed positives agree.
    let predicted: f64 = odds.iter().map(|odds| 1.0 / (1.0 + (-odds).exp())).sum();
    let observed = labels.iter().filter(|label| **label).count() as f64;
    assert!((predicted - observed).abs() < 0.001 * observed, "{predicted} {observed}");

    let (half, half_labels) = (&rows[..8 * 500], &labels[..500]);
    let options = LogisticOptions { l2: 1e-3, ..Default::default() };
    let plain = LogisticRegression::fit(half, 8, half_labels, None, options).unwrap();
    let balanced =
        LogisticRegression::fit(half, 8, half_labels, None, LogisticOptions { balanced: true, ..options }).unwrap();
    assert!(balanced.intercept > plain.intercept + 1.0);
    assert!(matches!(LogisticRegression::fit(half, 8, &[true; 500], None, options), Err(Error::Degenerate(_))));
}

#[test]
fn newton_by_hand() {
    // One column of -1 and 1, three of four agreeing with it: without a penalty the coefficient is ln 3.
    let rows = [1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0];
    let labels = [true, true, true, false, false, false, false, true];
    let options = LogisticOptions { l2: 1e-12, ..Default::default() };
    let model = LogisticRegression::fit(&rows, 1, &labels, None, options).unwrap();
    assert!((model.coefficients[0] - 3_f64.ln()).abs() < 1e-6 && model.intercept.abs() < 1e-6, "{model:?}");
    // The same as four rows with weights.
    let model = LogisticRegression::fit(
        &[1.0, 1.0, -1.0, -1.0],
        1,
        &[true, false, false, true],
        Some(&[3.0, 1.0, 3.0, 1.0]),
        options,
    )
    .unwrap();
    assert!((model.coefficients[0] - 3_f64.ln()).abs() < 1e-6 && model.intercept.abs() < 1e-6, "{model:?}");
}

#[test]
fn untrained_scores_by_hand() {
    let columns = Feature::COUNT;
    let mut rows = vec![f32::NAN; 2 * columns];
    rows[Feature::ApiRarityPrincipal as usize] = 3.5;
    rows[Feature::AgentRarityAccount as usize] = 2.0;
    rows[Feature::PrincipalAge as usize] = 1e6;
    rows[columns + Feature::FirstApiAccount as usize] = 1.0;
    rows[columns + Feature::FirstAgentPrincipal as usize] = 1.0;
    rows[columns + Feature::FirstApiPrincipal as usize] = 0.0;
    assert_eq!(rarity_scores(&rows, columns), [5.5, 0.0]);
    assert_eq!(first_seen_scores(&rows, columns), [0.0, 2.0]);
    // The lists hold every such feature of the schema, so that the baseline is not weak by omission.
    for feature in Feature::ALL {
        let name = feature.definition().name;
        assert_eq!(RARITY.contains(feature), name.contains("_rarity_"), "{name}");
        assert_eq!(FIRST_SEEN.contains(feature), name.starts_with("first_"), "{name}");
    }
}

#[test]
fn trees_learn_and_repeat_on_any_number_of_threads() {
    // More rows than one of the trainer's blocks, so that the threads share the work.
    let (rows, labels) = seeded_rows(40_000, 8, 4);
    let options = TreeOptions { iterations: 12, subsample: 0.8, colsample: 0.8, seed: 3, ..Default::default() };
    let trees = forest_on(&rows, 8, &labels, None, options).unwrap();
    let again = forest_on(&rows, 8, &labels, None, options).unwrap();
    let alone = forest_on(&rows, 8, &labels, None, TreeOptions { threads: 1, ..options }).unwrap();
    assert!(trees.json == again.json, "two fits differ");
    assert!(trees.json == alone.json, "threads change the trees");
    let other = forest_on(&rows, 8, &labels, None, TreeOptions { seed: 4, ..options }).unwrap();
    assert!(trees.json != other.json);
    assert!(trees.booster.trees.iter().all(|tree| tree.nodes.iter().filter(|node| node.is_leaf).count() <= 31));

    let (unseen, truth) = seeded_rows(70_000, 8, 5);
    let odds = trees.log_odds(&unseen);
    assert!(roc_auc(&odds, &truth).unwrap() > 0.85);
    let chances = trees.probabilities(&unseen[..16]);
    assert!(chances.len() == 2 && chances.iter().all(|chance| (0.0..1.0).contains(chance)));

    for (wrong, label_count) in [(TreeOptions { subsample: 0.0, ..options }, 40_000), (options, 3)] {
        assert!(forest_on(&rows, 8, &labels[..label_count], None, wrong).is_err());
    }
}
