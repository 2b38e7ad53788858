//! What stage one's word, detections and claims are worth together: the pool's weights, fitted on cases of organisations
//! and campaigns that the trees behind those cases never saw.

use std::collections::BTreeMap;

use trailwarden_core::case;
use trailwarden_core::level::Severity;
use trailwarden_core::negotiation::check::Findings;
use trailwarden_core::negotiation::predicate::Predicate;
use trailwarden_core::negotiation::weights::{DETECTIONS_MAX, WEIGHT_MAX, Weights};
use trailwarden_core::negotiation::{brain, freeze};
use trailwarden_scorer::Scorer;

use crate::Error;
use crate::cases::each_of_product;
use crate::dataset::Reader;
use crate::train::{Trained, attack_weight, centring};
use crate::universe::{Organisation, Phase};

/// Ridge penalty on each weight, against the mean log loss a case.
const L2: f64 = 1e-3;
/// Sweeps over all weights; one that moves none by more than [`STILL`] is the last.
const SWEEPS_MAX: usize = 3_000;
const STILL: f64 = 1e-6;
/// Weights are kept to so many parts of one.
const PARTS: f64 = 1_000.0;

const SEVERITIES: usize = Severity::ALL.len();

/// A case as the regression sees it.
struct Known {
    /// Log-odds of the model's word.
    learned: f64,
    detections: [f64; SEVERITIES],
    standing: Vec<Predicate>,
    is_attack: bool,
    /// Organisation and incidents.
    incidents: Vec<(usize, u32)>,
}

/// Fits the weights; `None` where there are no true or no false cases to learn from. `trained` saw all `organisations`, and
/// its trees of each fold none of that fold's.
///
/// # Errors
/// When logs cannot be read.
pub fn fit(
    reader: &Reader,
    organisations: &[(usize, &Organisation)],
    trained: &Trained,
) -> Result<Option<Weights>, Error> {
    let mut cases = Vec::new();
    for (fold, forest) in &trained.forests {
        let mut bundle = trained.bundle.clone();
        (bundle.forest, bundle.networks, bundle.pool) = (forest.clone(), None, None);
        let scorer = Scorer::from_bytes(&bundle.to_bytes()?)?;
        for (place, (_, organisation)) in organisations.iter().enumerate().filter(|(_, (of, _))| of == fold) {
            each_of_product(reader, organisation, Some(&scorer), |case, incidents| {
                if Phase::of(organisation.dataset.first, case.first_event_time) == Phase::Test {
                    let incidents = incidents.into_iter().map(|incident| (place, incident)).collect();
                    cases.extend(known(reader, case, incidents));
                }
            })?;
        }
    }
    let events = organisations.iter().flat_map(|(_, organisation)| {
        let dataset = &organisation.dataset;
        let test = dataset.events.iter().filter(|meta| Phase::of(dataset.first, meta.at) == Phase::Test);
        test.map(|meta| meta.incident > 0)
    });
    let events: Vec<bool> = events.collect();
    Ok(fitted(&cases, attack_weight(events.iter())))
}

/// `None` where the model abstained: the published priors speak there.
fn known(reader: &Reader, case: &case::Case, incidents: Vec<(usize, u32)>) -> Option<Known> {
    let (pack, _) = freeze(case, reader.rules.rules(), reader.registry(), &reader.vocabulary);
    let evidence = pack.evidence();
    let learned = Weights::log_odds(f64::from(evidence.learned_milli?) / 1000.0);
    let mut detections = [0.0; SEVERITIES];
    for detection in evidence.detections.iter().filter(|detection| !detection.events.is_empty()) {
        let count: &mut f64 = &mut detections[detection.severity as usize];
        *count = (*count + 1.0).min(DETECTIONS_MAX as f64);
    }
    let standing = brain::all_claims(evidence, &Findings::of(evidence));
    let standing = standing.into_iter().map(|claim| claim.predicate).collect();
    Some(Known { learned, detections, standing, is_attack: !incidents.is_empty(), incidents })
}

/// As for the case regression ([`crate::train`]), coefficients are those of incidents and the intercept stands between a
/// chance by case and one by incident.
fn fitted(cases: &[Known], attack: f64) -> Option<Weights> {
    if !cases.iter().any(|case| case.is_attack) || cases.iter().all(|case| case.is_attack) {
        return None;
    }
    let mut counts = BTreeMap::<(usize, u32), f64>::new();
    for incident in cases.iter().flat_map(|case| &case.incidents) {
        *counts.entry(*incident).or_default() += 1.0;
    }
    let weights = |power: f64| -> Vec<f64> {
        let most = |case: &Known| case.incidents.iter().map(|incident| counts[incident]).fold(1.0, f64::max);
        cases.iter().map(|case| if case.is_attack { attack * most(case).powf(-power) } else { 1.0 }).collect()
    };
    let labels: Vec<bool> = cases.iter().map(|case| case.is_attack).collect();
    let columns = columns(cases);
    let solution = regression(&columns, &labels, &weights(1.0));
    let rounded: Vec<f64> = solution.iter().map(|weight| (weight * PARTS).round() / PARTS).collect();
    let mut log_odds = vec![0.0; cases.len()];
    for (column, weight) in columns.iter().zip(&rounded) {
        column.values.iter().for_each(|(case, value)| log_odds[*case] += weight * (value + column.centre));
    }
    let intercept = (centring(&log_odds, &labels, &weights(0.5)) * PARTS).round() / PARTS;
    let mut severities = [0.0; SEVERITIES];
    severities.copy_from_slice(&rounded[1..=SEVERITIES]);
    let predicates = Predicate::ALL.iter().zip(&rounded[1 + SEVERITIES..]);
    let predicates = predicates
        .filter(|(_, weight)| **weight != 0.0)
        .map(|(predicate, weight)| (predicate.name().to_owned(), *weight));
    Some(Weights { intercept, learned: rounded[0], severities, predicates: predicates.collect() })
}

/// What one weight multiplies, by case, where it is not 0.
struct Column {
    values: Vec<(usize, f64)>,
    /// Taken off every value, so that the intercept and this weight do not pull at each other.
    centre: f64,
    /// 1, or -1 for a claim of an innocent cause.
    sign: f64,
}

/// The model's word, then severities, then predicates in the vocabulary's order.
fn columns(cases: &[Known]) -> Vec<Column> {
    let centre = cases.iter().map(|case| case.learned).sum::<f64>() / cases.len() as f64;
    let learned = cases.iter().enumerate().map(|(place, case)| (place, case.learned - centre)).collect();
    let mut columns = vec![Column { values: learned, centre, sign: 1.0 }];
    for severity in 0..SEVERITIES {
        let counted = cases.iter().enumerate().map(|(place, case)| (place, case.detections[severity]));
        let values = counted.filter(|(_, count)| *count > 0.0).collect();
        columns.push(Column { values, centre: 0.0, sign: 1.0 });
    }
    for predicate in Predicate::ALL {
        let holding = cases.iter().enumerate().filter(|(_, case)| case.standing.contains(predicate));
        let values = holding.map(|(place, _)| (place, 1.0)).collect();
        columns.push(Column { values, centre: 0.0, sign: if predicate.is_benign() { -1.0 } else { 1.0 } });
    }
    columns
}

/// Ridge-penalised logistic regression under sign constraints, by coordinate descent on a bound of the loss's curvature
/// (Boehning and Lindsay 1988: p(1 - p) is at most a quarter), so that every step goes down. One weight a column.
fn regression(columns: &[Column], labels: &[bool], weights: &[f64]) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    let share: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
    let target: Vec<f64> = labels.iter().map(|label| f64::from(u8::from(*label))).collect();
    let mut log_odds = vec![0.0; labels.len()];
    let residual = |log_odds: &[f64], case: usize| share[case] * (1.0 / (1.0 + (-log_odds[case]).exp()) - target[case]);
    let curvatures: Vec<f64> = columns
        .iter()
        .map(|column| L2 + column.values.iter().map(|(case, value)| share[*case] * value * value / 4.0).sum::<f64>())
        .collect();
    let mut solution = vec![0.0; columns.len()];
    for _ in 0..SWEEPS_MAX {
        // The intercept: its curvature is at most a quarter of all.
        let slope: f64 = (0..labels.len()).map(|case| residual(&log_odds, case)).sum();
        log_odds.iter_mut().for_each(|log_odds| *log_odds -= slope * 4.0);
        let mut moved = (slope * 4.0).abs();
        for ((column, curvature), weight) in columns.iter().zip(&curvatures).zip(&mut solution) {
            let slope = L2 * *weight
                + column.values.iter().map(|(case, value)| value * residual(&log_odds, *case)).sum::<f64>();
            let to = *weight - slope / curvature;
            let to = if to * column.sign > 0.0 { to.clamp(-WEIGHT_MAX, WEIGHT_MAX) } else { 0.0 };
            let step = to - *weight;
            if step != 0.0 {
                *weight = to;
                column.values.iter().for_each(|(case, value)| log_odds[*case] += step * value);
            }
            moved = moved.max(step.abs());
        }
        if moved < STILL {
            break;
        }
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A case with detections of medium severity.
    fn case(learned: f64, medium: f64, standing: &[Predicate], is_attack: bool, place: usize) -> Known {
        let mut detections = [0.0; SEVERITIES];
        detections[Severity::Medium as usize] = medium;
        let incidents = if is_attack { vec![(place, 1)] } else { Vec::new() };
        Known { learned, detections, standing: standing.to_vec(), is_attack, incidents }
    }

    #[test]
    fn weights_follow_the_cases_within_their_signs() {
        use Predicate as P;
        let mut cases = Vec::new();
        for place in 0..400 {
            let is_attack = place % 4 == 0;
            // New networks tell attacks; MFA, of all things, comes with them too, and routine with the innocent.
            let mut standing = Vec::new();
            if (place / 4) % 10 < (if is_attack { 8 } else { 2 }) {
                standing.push(P::NewSourceNetwork);
            }
            if (place / 4) % 10 < (if is_attack { 9 } else { 1 }) {
                standing.push(P::MfaSession);
            }
            if !is_attack && place % 3 == 0 {
                standing.push(P::BaselineMatch);
            }
            let learned = if is_attack { 0.5 } else { -1.0 } + f64::from(u8::from(place % 7 == 0));
            cases.push(case(learned, f64::from(u8::from(is_attack)), &standing, is_attack, place));
        }
        let weights = fitted(&cases, 1.0).expect("both kinds");
        assert!(weights.are_sound(), "{weights:?}");
        assert!(weights.of(P::NewSourceNetwork) > 0.3 && weights.learned > 0.3 && weights.severities[2] > 0.3);
        assert!(weights.of(P::BaselineMatch) < -0.1);
        assert_eq!(weights.of(P::MfaSession), 0.0, "an innocent claim never speaks for an attack");
        assert_eq!(weights.of(P::RootUse), 0.0, "what never was weighs nothing");
    }

    #[test]
    fn without_both_kinds_there_is_nothing_to_fit() {
        assert_eq!(fitted(&[], 1.0), None);
        assert_eq!(fitted(&[case(1.0, 1.0, &[], true, 0)], 1.0), None);
    }
}
