//! What detections are worth before any labelled case exists: the published table, an event's score, its level.

use crate::level::{Level, Severity};

/// Probability that an event is part of an attack when one detection of a severity is all that is known.
///
/// These are priors, not measurements: stated openly, and replaced by a fit when labelled cases exist. They follow
/// what rule authors mean by their words. `informational` and `low` describe ordinary acts that are worth a line in
/// a story (one in fifty, one in ten); `medium` is a coin that leans to the innocent cause; `high` is an act that
/// has few innocent causes (three in four); `critical` has almost none. Steps are about 1.1 to 2 nats of log-odds,
/// so that one step of severity weighs more than any single circumstance a role may bring.
pub const PRIORS: [(Severity, f64); 5] = [
    (Severity::Informational, 0.02),
    (Severity::Low, 0.10),
    (Severity::Medium, 0.45),
    (Severity::High, 0.75),
    (Severity::Critical, 0.93),
];

/// The prior of one detection of this severity.
pub const fn prior(severity: Severity) -> f64 {
    PRIORS[severity as usize].1
}

/// An event's score from its detections: a noisy-or in which each further detection, from the strongest down,
/// counts half of the one before, since rules that match one event mostly see one fact. 0 without detections.
///
/// `1 - product over i of (1 - prior_i)^(1/2^i)`
pub fn event_score(severities: impl Iterator<Item = Severity>) -> f64 {
    let mut counts = [0u32; PRIORS.len()];
    for severity in severities {
        let count = &mut counts[severity as usize];
        *count = count.saturating_add(1);
    }
    let (mut innocent, mut exponent) = (1.0f64, 1.0f64);
    for (severity, value) in PRIORS.iter().rev() {
        for _ in 0..counts[*severity as usize] {
            innocent *= (1.0 - value).powf(exponent);
            exponent /= 2.0;
            if exponent < 1e-6 {
                return 1.0 - innocent;
            }
        }
    }
    1.0 - innocent
}

/// What of a detection's log-odds is news to a model that sees the same event: much of what a rule looks for shows in
/// the features too. On organisations kept for development 0.3 to 0.5 ranked events best, 1 cost .01 of average precision.
const NEWS: f64 = 0.4;

/// An event's score where a model speaks too. Priors are stated for an event that is ordinary otherwise, one of
/// [`prior`]`(Informational)`; the model tells how ordinary it is, and what is news of the detections is added:
///
/// `logit(score) = logit(learned) + NEWS (logit(detected) - logit(prior(Informational)))`, and `learned` without
/// detections. It ranks; levels and cases rest on detections' full worth beside it.
pub fn joined(detected: f64, learned: f64) -> f64 {
    if detected <= 0.0 {
        return learned;
    }
    let logit = |p: f64| {
        let p = p.clamp(1e-6, 1.0 - 1e-6);
        (p / (1.0 - p)).ln()
    };
    let log_odds = logit(learned) + NEWS * (logit(detected) - logit(prior(Severity::Informational)));
    1.0 / (1.0 + (-log_odds).exp())
}

/// An event's level: the higher of its score's (0.7 caution, 0.9 warning) and its strongest detection's (medium
/// caution, high warning, critical or any policy floor critical).
pub fn level(score: f64, strongest: Option<Severity>, floor: Option<Severity>) -> Level {
    let by_score = match score {
        score if score >= 0.9 => Level::Warning,
        score if score >= 0.7 => Level::Caution,
        _ => Level::None,
    };
    let by_detection = match strongest {
        Some(Severity::Critical) => Level::Critical,
        Some(Severity::High) => Level::Warning,
        Some(Severity::Medium) => Level::Caution,
        _ => Level::None,
    };
    let by_floor = if floor.is_some() { Level::Critical } else { Level::None };
    by_score.max(by_detection).max(by_floor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Severity::{Critical, High, Informational, Low, Medium};

    #[test]
    fn one_detection_is_worth_its_prior_and_more_add_less() {
        assert!(PRIORS.iter().zip(Severity::ALL).all(|((severity, _), at)| severity == at));
        assert_eq!(event_score([].into_iter()), 0.0);
        for (severity, value) in PRIORS {
            assert!((event_score([severity].into_iter()) - value).abs() < 1e-12);
        }
        let two = event_score([Low, Medium].into_iter());
        assert_eq!(two, event_score([Medium, Low].into_iter()));
        assert!(two > 0.45 && two < 0.50, "{two}");
        assert!(event_score(std::iter::repeat_n(Low, 100_000)) < 0.20);
        assert!(event_score([Critical; 9].into_iter()) < 1.0);
    }

    #[test]
    fn a_model_moves_what_detections_are_worth() {
        let ordinary = prior(Informational);
        for (severity, value) in PRIORS {
            let on_ordinary = joined(value, ordinary);
            assert!((ordinary - 1e-9..=value + 1e-9).contains(&on_ordinary), "{severity:?} on an ordinary event");
            assert!(joined(value, 0.001) < on_ordinary && joined(value, 0.5) >= 0.5 - 1e-9);
        }
        assert_eq!(joined(0.0, 0.3), 0.3);
        assert!((0.0..=1.0).contains(&joined(1.0, 1.0)) && joined(0.0, 0.0) == 0.0);
    }

    #[test]
    fn levels_follow_the_contract() {
        for (score, strongest, floor, expected) in [
            (0.0, None, None, Level::None),
            (0.69, Some(Low), None, Level::None),
            (0.70, Some(Informational), None, Level::Caution),
            (0.90, None, None, Level::Warning),
            (0.10, Some(Medium), None, Level::Caution),
            (0.95, Some(Medium), None, Level::Warning),
            (0.10, Some(High), None, Level::Warning),
            (0.10, Some(Critical), None, Level::Critical),
            (0.10, Some(High), Some(High), Level::Critical),
            (f64::NAN, None, None, Level::None),
        ] {
            assert_eq!(level(score, strongest, floor), expected, "{score} {strongest:?} {floor:?}");
        }
    }
}
