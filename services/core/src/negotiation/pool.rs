//! The pool: from surviving claims to one probability, a severity, a verdict and a route.
//!
//! Log-odds of the case = stage one's prior + what each role adds, capped. Where a model gave its word on the case, the
//! bundle's fitted [`Weights`] say what everything is worth; where it abstains, a table of published priors does:
//! [`super::score::PRIORS`] for detections and the vocabulary for claims.

use std::sync::Arc;

use super::brain::{Lean, Standing};
use super::check::Findings;
use super::evidence::Evidence;
use super::predicate::Predicate;
use super::refit::Refit;
use super::score::prior;
use super::weights::{DETECTIONS_MAX, Weights};
use super::{Bounds, Role, Terms};
use crate::level::{Severity, Verdict};

/// How far each role may move the log-odds, down and up.
pub const CAPS: [(Role, f64, f64); 4] =
    [(Role::Analysis, -0.5, 2.0), (Role::Context, -1.5, 1.5), (Role::Sceptic, -2.0, 0.0), (Role::Judge, -0.75, 0.75)];

/// Probabilities from which on a case is low, medium, high, critical. One high detection with nothing for or against
/// (.75) is high, one medium (.45) medium; one medium in a session with MFA (.27) low.
pub const BANDS: [(Severity, f64); 4] =
    [(Severity::Low, 0.08), (Severity::Medium, 0.40), (Severity::High, 0.70), (Severity::Critical, 0.90)];

/// Malicious from here on, if more than one ground carries it: by its own prior, a single rule of high severity is
/// wrong once in four times, whoever made the call.
pub const MALICIOUS_FROM: f64 = 0.80;

/// A further distinct detection adds this much log-odds at its severity, each half of the one before.
const FURTHER: [f64; 5] = [0.0, 0.10, 0.40, 0.70, 0.90];
/// All further detections together add at most this much.
const FURTHER_MAX: f64 = 0.90;

/// From here on a person is called.
pub const RAISED: Severity = Severity::Medium;

/// What stage one raises sinks below that only under this probability: the lowest of a case that is worth a look.
const SUNK_BELOW: f64 = BANDS[0].1;

const PROBABILITY_MIN: f64 = 0.001;

pub(super) fn logit(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

pub(super) fn sigmoid(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Stage one's log-odds of the case.
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    /// Of the most probable event.
    pub maximum: f64,
    /// Of detections that are not in that: (index of the detection, log-odds).
    pub further: Vec<(usize, f64)>,
    /// What claims weigh, where that was fitted; `maximum` is the model's word alone then, and all detections are further.
    pub(super) weights: Option<Arc<Weights>>,
    /// The sum of both before labels had a say.
    raw: f64,
    /// What they had to say; both above have it in them.
    refit: Refit,
}

impl Prior {
    /// Under fitted weights where there are any and the model gave its word; else by the published priors. Refitted as the
    /// terms have it.
    pub fn under(evidence: &Evidence, terms: &Terms) -> Self {
        let prior = Self::fitted(evidence, terms.weights.as_ref()).unwrap_or_else(|| Self::of(evidence));
        let refit = terms.refits.of(prior.is_fitted());
        prior.refitted(refit)
    }

    fn fitted(evidence: &Evidence, weights: Option<&Arc<Weights>>) -> Option<Self> {
        let (weights, milli) = (weights?, evidence.learned_milli?);
        let mut counted = [0; Severity::ALL.len()];
        let further = evidence.active().map(|detection| {
            let severity = detection.severity as usize;
            counted[severity] += 1;
            let counts = counted[severity] <= DETECTIONS_MAX;
            (detection.handle.index(), if counts { weights.severities[severity] } else { 0.0 })
        });
        let further = further.collect();
        let maximum = weights.intercept + weights.learned * Weights::log_odds(f64::from(milli) / 1000.0);
        Some(Self::new(maximum, further, Some(weights.clone())))
    }

    fn new(maximum: f64, further: Vec<(usize, f64)>, weights: Option<Arc<Weights>>) -> Self {
        let raw = maximum + further.iter().map(|(_, log_odds)| log_odds).sum::<f64>();
        Self { maximum, further, weights, raw, refit: Refit::default() }
    }

    fn refitted(self, refit: Refit) -> Self {
        let further = self.further.into_iter().map(|(index, log_odds)| (index, refit.slope * log_odds)).collect();
        Self { maximum: refit.of(self.maximum), further, refit, ..self }
    }

    /// Whether fitted weights speak.
    pub fn is_fitted(&self) -> bool {
        self.weights.is_some()
    }

    /// By the published priors.
    pub fn of(evidence: &Evidence) -> Self {
        let Some(top) = evidence.carrying() else {
            return Self::new(logit(PROBABILITY_MIN), Vec::new(), None);
        };
        let probability = evidence.stage_one();
        let mut others: Vec<_> =
            evidence.active().filter(|detection| !top.detections.contains(&detection.handle)).collect();
        others.sort_by_key(|detection| (std::cmp::Reverse(detection.severity), detection.handle));
        let mut room = FURTHER_MAX;
        let mut share = 1.0;
        let mut further = Vec::with_capacity(others.len());
        for detection in others {
            let log_odds = (FURTHER[detection.severity as usize] * share).min(room);
            further.push((detection.handle.index(), log_odds));
            room -= log_odds;
            share /= 2.0;
        }
        Self::new(logit(probability.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN)), further, None)
    }

    pub fn log_odds(&self) -> f64 {
        self.refit.of(self.raw)
    }

    /// The same before labels had a say.
    pub fn log_odds_unrefitted(&self) -> f64 {
        self.raw
    }

    /// What the strongest event adds to the log-odds of an ordinary one (an informational detection's prior).
    pub(super) fn maximum_above_ordinary(&self) -> f64 {
        self.maximum - logit(prior(Severity::Informational))
    }
}

/// What each claim adds, in the order of `standing`, in log-odds.
///
/// A predicate counts once over all roles. By the published priors a role's claims of one direction are related facts, so the
/// strongest counts in full and each further one half of the one before; fitted weights know of each other. The sum is
/// capped, and a cap is shared in proportion.
pub fn contributions(prior: &Prior, standing: &[Standing]) -> Vec<f64> {
    let weights = prior.weights.as_deref();
    let weight = |claim: &Standing| weight(claim, weights);
    let halved = if weights.is_some() { 1.0 } else { 2.0 };
    let mut added = vec![0.0; standing.len()];
    for (role, low, high) in CAPS {
        for benign in [false, true] {
            let mut mine: Vec<usize> = (0..standing.len())
                .filter(|index| standing[*index].role == role && standing[*index].predicate.is_benign() == benign)
                .collect();
            let weigh = |index: &usize| weight(&standing[*index]).abs();
            mine.sort_by(|a, b| {
                weigh(b).total_cmp(&weigh(a)).then_with(|| standing[*a].predicate.cmp(&standing[*b].predicate))
            });
            mine.dedup_by_key(|index| standing[*index].predicate);
            let mut share = 1.0;
            for index in &mine {
                added[*index] = weight(&standing[*index]) * share;
                share /= halved;
            }
            let sum: f64 = mine.iter().map(|index| added[*index]).sum();
            let capped = sum.clamp(low, high);
            if capped != sum {
                for index in &mine {
                    added[*index] *= capped / sum;
                }
            }
        }
    }
    added
}

fn weight(claim: &Standing, weights: Option<&Weights>) -> f64 {
    let definition = claim.predicate.definition();
    let weight = weights.map_or(definition.weight, |weights| weights.of(claim.predicate));
    if claim.strength < definition.strength { weight / 2.0 } else { weight }
}

/// What a judge's lean adds, in log-odds.
pub fn lean_weight(lean: Lean) -> f64 {
    let (_, low, high) = CAPS[3];
    match lean {
        Lean::Benign => low,
        Lean::Malicious => high,
        Lean::Suspicious | Lean::Abstain => 0.0,
    }
}

/// What roles add, in log-odds.
pub fn added(prior: &Prior, standing: &[Standing], judge: f64) -> f64 {
    contributions(prior, standing).iter().sum::<f64>() + judge
}

/// The pooled probability.
pub fn probability(prior: &Prior, standing: &[Standing], judge: f64) -> f64 {
    sigmoid(prior.log_odds() + added(prior, standing, judge))
}

/// How bad the case is.
///
/// The probability's band, but at most the strongest detection's severity, or one step more when several signs of
/// different tactics corroborate it; at least one step below it, since no circumstance explains away more than
/// that; and never below a floor. What the model alone raises is at most medium: a score names no abuse.
pub fn severity(evidence: &Evidence, corroborated: bool, probability: f64) -> Severity {
    let reached = BANDS.iter().rev().find(|(_, from)| probability >= *from);
    let band = reached.map_or(Severity::Informational, |(severity, _)| *severity);
    let strongest = evidence.strongest();
    let (lowest, highest) = match strongest {
        None => (Severity::Informational, Severity::Medium),
        Some(strongest) if corroborated => (step(strongest, -1), step(strongest, 1)),
        Some(strongest) => (step(strongest, -1), strongest),
    };
    let highest = if evidence.is_case_learned() { highest.max(Severity::Medium) } else { highest };
    band.clamp(lowest, highest).max(evidence.floor.unwrap_or(Severity::Informational))
}

/// What stage one alone makes of a case, before any role speaks: its probability, and the severity that this and the case's
/// detections give.
pub fn stage_one(evidence: &Evidence) -> (f64, Severity) {
    let probability = probability(&Prior::of(evidence), &[], 0.0);
    (probability, severity(evidence, false, probability))
}

/// Whether stage one calls a person.
pub(super) fn is_raised(evidence: &Evidence) -> bool {
    stage_one(evidence).1 >= RAISED
}

/// How bad the case is, by what its probability rests on. As [`severity`] has it where the published priors speak. Fitted weights
/// know the model's word, so there
/// - what stage one raises sinks below that only where next to nothing speaks for it: a campaign's further cases are faint by
///   themselves, and fitted weights, which look for campaigns, would let them go;
/// - what nobody raises, and faint events alone make, is the least that a scan lists: most attacks have an event that stands
///   out, and what has none is a busy person more often.
pub fn severity_under(prior: &Prior, evidence: &Evidence, corroborated: bool, probability: f64) -> Severity {
    let reached = severity(evidence, corroborated, probability);
    if !prior.is_fitted() {
        return reached;
    }
    match is_raised(evidence) {
        true if probability >= SUNK_BELOW => reached.max(RAISED),
        false if reached < RAISED && evidence.is_faint_throughout() => severity(evidence, corroborated, 0.0),
        _ => reached,
    }
}

/// Whether several signs speak for an attack together.
pub fn is_corroborated(findings: &Findings) -> bool {
    findings.holds(Predicate::SeveralTactics) || findings.holds(Predicate::SeveralWeakSigns)
}

fn step(severity: Severity, by: isize) -> Severity {
    let place = (severity as usize).saturating_add_signed(by);
    Severity::ALL[place.min(Severity::ALL.len() - 1)]
}

/// Whether, at a probability within [`Bounds::CLOSE_MAX`], nothing but a bound keeps the case from being closed: the band is low
/// at most there, so what else is asked does not depend on the probability.
pub fn may_close(evidence: &Evidence) -> bool {
    severity(evidence, true, Bounds::CLOSE_MAX) <= Severity::Low && is_open_to_closing(evidence)
}

/// Whether no rule of this protocol leaves closing to a person, whatever the probability.
fn is_open_to_closing(evidence: &Evidence) -> bool {
    evidence.floor.is_none() && !evidence.injection && !is_raised(evidence) && !evidence.is_listed_by_model()
}

/// Whether, from [`Bounds::AUTOMATIC_MIN`] on, nothing in the evidence but a bound keeps a step from being taken. Whether one is
/// narrow enough, and what roles claimed, is not asked: a calibration would rather count a case too many.
pub fn may_act(evidence: &Evidence, corroborated: bool) -> bool {
    let reached = severity(evidence, corroborated, Bounds::AUTOMATIC_MIN);
    reached >= Severity::High && has_several_grounds(evidence) && !evidence.injection
}

/// What is concluded. `p_det` is the probability without any model's contribution.
pub fn verdict(evidence: &Evidence, severity: Severity, p: f64, p_det: f64, bounds: &Bounds) -> Verdict {
    let is_harmless = severity <= Severity::Low && is_open_to_closing(evidence);
    if is_harmless && bounds.close_below().is_some_and(|bound| p <= bound && p_det <= bound) {
        return Verdict::Benign;
    }
    if severity >= Severity::High && p >= MALICIOUS_FROM && has_several_grounds(evidence) {
        return Verdict::Malicious;
    }
    if severity >= Severity::Medium { Verdict::Suspicious } else { Verdict::Insufficient }
}

/// A critical rule, or two different detections of medium severity or above.
fn has_several_grounds(evidence: &Evidence) -> bool {
    let strong = evidence.active().filter(|detection| detection.severity >= Severity::Medium).count();
    strong >= 2 || evidence.strongest() == Some(Severity::Critical)
}
