//! Fitted weights of the pool: a logistic regression over what stage one and the surviving claims say.
//!
//! log-odds = intercept + `learned` x logit(the model's word on the case) + what each severity's detections weigh + what each
//! standing predicate weighs. Signs are constrained: a claim for an innocent cause never speaks for an attack, and nothing
//! else speaks against one. Roles' caps hold over it as over the published priors.

use serde::{Deserialize, Serialize};

use super::predicate::Predicate;
use crate::level::Severity;

/// Detections of one severity that count.
pub const DETECTIONS_MAX: usize = 3;
/// Bounds of the model's word before its logit is taken.
const LEARNED_MIN: f64 = 0.001;
/// No single thing decides a case.
pub const WEIGHT_MAX: f64 = 8.0;

/// Weights in log-odds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    pub intercept: f64,
    /// Of the log-odds that the model gives the case.
    pub learned: f64,
    /// Of a detection, by severity from informational to critical; the first [`DETECTIONS_MAX`] of each count.
    pub severities: [f64; Severity::ALL.len()],
    /// Of claims, by the predicate's name; one that is not named weighs nothing.
    pub predicates: Vec<(String, f64)>,
}

impl Weights {
    /// Whether every number is finite and within its sign, and every predicate one of the vocabulary.
    pub fn are_sound(&self) -> bool {
        let is_weight = |weight: f64| (0.0..=WEIGHT_MAX).contains(&weight);
        let is_claim = |(name, weight): &(String, f64)| {
            let sign = Predicate::named(name).map(|predicate| if predicate.is_benign() { -1.0 } else { 1.0 });
            sign.is_some_and(|sign| is_weight(weight * sign))
        };
        self.intercept.abs() <= 4.0 * WEIGHT_MAX
            && is_weight(self.learned)
            && self.severities.iter().all(|weight| is_weight(*weight))
            && self.predicates.iter().all(is_claim)
    }

    /// What a claim of this predicate weighs.
    pub fn of(&self, predicate: Predicate) -> f64 {
        let known = self.predicates.iter().find(|(name, _)| name == predicate.name());
        known.map_or(0.0, |(_, weight)| *weight)
    }

    /// The log-odds of the model's word on a case, within bounds.
    pub fn log_odds(learned: f64) -> f64 {
        super::pool::logit(learned.clamp(LEARNED_MIN, 1.0 - LEARNED_MIN))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::fixtures::{Caller, single};
    use super::*;

    fn weights() -> Weights {
        let predicates = vec![("new_source_network".to_owned(), 0.5), ("mfa_session".to_owned(), -0.8)];
        Weights { intercept: -1.0, learned: 0.9, severities: [0.0, 0.1, 0.2, 0.3, 0.4], predicates }
    }

    #[test]
    fn what_no_fit_could_give_is_unsound() {
        assert!(weights().are_sound());
        for spoil in [
            (|weights| weights.intercept = f64::NAN) as fn(&mut Weights),
            |weights| weights.learned = -0.1,
            |weights| weights.severities[3] = f64::INFINITY,
            |weights| weights.predicates[0].1 = -0.1,
            |weights| weights.predicates[1].1 = 0.1,
            |weights| weights.predicates[0].0 = "approved_by_the_team".to_owned(),
            |weights| weights.predicates[0].1 = 9.0,
        ] {
            let mut spoilt = weights();
            spoil(&mut spoilt);
            assert!(!spoilt.are_sound(), "{spoilt:?}");
        }
    }

    #[test]
    fn fitted_weights_speak_where_the_model_does_and_priors_where_it_abstains() {
        let mut scene = single(Caller::Mfa, Severity::High);
        let by_priors = scene.judged().probability;
        scene.weights = Some(Arc::new(weights()));
        assert_eq!(scene.judged().probability, by_priors, "the model abstains");
        scene.learned = Some(0.5);
        // An even chance by the model, one detection of high severity, and MFA.
        let expected = super::super::pool::sigmoid(-1.0 + 0.3 - 0.8);
        assert!((scene.judged().probability - expected).abs() < 1e-9, "{} {expected}", scene.judged().probability);
    }
}
