//! A calibration: bounds and refits from labelled cases, in a file that is named by its content.
//!
//! A third of the cases (by a hash of their ids) serves the refit where one is asked for and there are enough, and then not the bounds: a
//! bound's promise holds for scores that were made without looking at the cases it rests on. It is asked for and not a matter of
//! course, since it makes probabilities, and with them severities, those of the *labelled* cases: where people label every
//! second case an attack, it raises every second case.

use serde::{Deserialize, Serialize};

use super::conformal::{CONTAINED, MISSED, Promise, Scores};
use super::evidence::sha256_hex;
use super::labels::{Counted, Settled};
use super::pool::sigmoid;
use super::refit::{LABELS_MIN, Point, Refit};
use super::terms::{Bounds, Pooled, Refits};
use crate::hash::hash64;

/// Of the file's layout.
pub const VERSION: u32 = 1;
/// A file beyond it is no calibration.
pub const BYTES_MAX: usize = 64 << 10;
/// Bounds are rounded to whole steps, to the side that lets less pass: a decimal of so few digits reads back as it was.
const STEPS: f64 = 1e9;
/// One case in so many serves the refit.
const REFIT_ONE_IN: u64 = 3;

/// Labelled cases that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    pub attacks: u32,
    pub benign: u32,
}

/// What labels allow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    pub version: u32,
    /// Name of the bundle that weighed the cases, and for whose cases this holds.
    pub model: Option<String>,
    /// All that count.
    pub labelled: Counts,
    pub close: Bounded,
    pub act: Bounded,
    pub act_without_models: Bounded,
    /// Of the pool where fitted weights speak; `None` where labels were too few.
    pub fitted: Option<Refitted>,
    /// Of the pool where the published priors do.
    pub published: Option<Refitted>,
}

/// A bound, and the cases of the dangerous kind that it rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounded {
    pub cases: u32,
    pub at: Option<f64>,
}

/// A refit, and the cases that it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refitted {
    pub refit: Refit,
    pub labelled: Counts,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    digest: String,
    calibration: Calibration,
}

/// Why a file is no calibration. The operator's to mend; trying again does not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    #[error("it has more than {BYTES_MAX} bytes")]
    TooLarge,
    #[error("it is no calibration as `case calibrate` writes them")]
    Shape(#[from] serde_json::Error),
    #[error("it is of version {found}, and this program reads {VERSION}")]
    Version { found: u32 },
    #[error("its digest is not that of its content: somebody changed it by hand")]
    Digest,
    #[error("it holds {what}, which no labels give")]
    Unsound { what: &'static str },
}

/// A calibration, and how it does on the cases that it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibrated {
    pub calibration: Calibration,
    pub closing: Control,
    pub acting: Control,
    pub acting_without_models: Control,
    pub fitted: Option<Fit>,
    pub published: Option<Fit>,
    /// How well the pool ranks labelled cases that no refit was made on; `None` without an attack.
    pub average_precision: Option<f64>,
}

/// A bound on labelled cases. Of the dangerous kind are attacks for closing, and benign cases for steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Control {
    pub at: Option<f64>,
    /// Of the dangerous kind, and how many of them pass.
    pub cases: usize,
    pub passed: usize,
    /// The chance of passing that the bound keeps below; `None` where there are too few.
    pub promised: Option<f64>,
    /// How many pass when each is left out in turn.
    pub left_out: Option<usize>,
    /// Of the other kind, and how many of them pass: what the bound is good for.
    pub others: usize,
    pub others_passed: usize,
}

/// A refit on cases that it was not made on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    pub refitted: Refitted,
    /// Mean logarithmic loss before and after.
    pub before: f64,
    pub after: f64,
}

impl Calibration {
    /// Finds what settled labels allow; with `refits`, what they teach the pool too.
    pub fn on(settled: &Settled, model: Option<&str>, refits: bool) -> Calibrated {
        let Settled { attacks, benign, .. } = settled;
        let refits = [true, false].map(|is_fitted| refitted(attacks, benign, is_fitted).filter(|_| refits));
        let is_split = refits.iter().any(Option::is_some);
        let bounding = |cases: &[Counted]| -> Vec<Pooled> {
            cases.iter().filter(|case| !(is_split && serves_refit(case))).map(|case| case.pooled).collect()
        };
        let (bounding_attacks, bounding_benign) = (bounding(attacks), bounding(benign));
        let mut calibration = Self {
            version: VERSION,
            model: model.map(str::to_owned),
            labelled: Counts { attacks: count(attacks.len()), benign: count(benign.len()) },
            fitted: refits[0],
            published: refits[1],
            ..Self::default()
        };
        let refits = calibration.refits();
        let closing = control(&bounding_attacks, &bounding_benign, MISSED, close_up_to, |case| {
            let (p, p_det) = case.probabilities(refits);
            if case.may_close { p.max(p_det) } else { f64::INFINITY }
        });
        let acting = |alone: bool| {
            let least = if alone { Bounds::AUTOMATIC_ALONE_MIN } else { Bounds::AUTOMATIC_MIN };
            let score = |case: &Pooled| {
                let (p, p_det) = case.probabilities(refits);
                // The higher the sooner.
                if case.may_act { -(if alone { p_det } else { p.min(p_det) }) } else { f64::INFINITY }
            };
            let control = control(&bounding_benign, &bounding_attacks, CONTAINED, |low| act_above(low, least), score);
            Control { at: control.at.map(|at| -at), ..control }
        };
        let (acting, acting_without_models) = (acting(false), acting(true));
        let bounded = |control: &Control| Bounded { cases: count(control.cases), at: control.at };
        calibration.close = bounded(&closing);
        calibration.act = bounded(&acting);
        calibration.act_without_models = bounded(&acting_without_models);
        let fit = |refitted: Option<Refitted>, is_fitted: bool| {
            let points = points(&bounding_attacks, &bounding_benign, is_fitted);
            let refitted = refitted?;
            Some(Fit { refitted, before: Refit::default().loss(&points)?, after: refitted.refit.loss(&points)? })
        };
        let ranked = |cases: &[Pooled]| -> Vec<f64> { cases.iter().map(|case| case.probabilities(refits).0).collect() };
        Calibrated {
            closing,
            acting,
            acting_without_models,
            fitted: fit(calibration.fitted, true),
            published: fit(calibration.published, false),
            average_precision: average_precision(&ranked(&bounding_attacks), &ranked(&bounding_benign)),
            calibration,
        }
    }

    pub fn refits(&self) -> Refits {
        let refit = |refitted: Option<Refitted>| refitted.map_or_else(Refit::default, |refitted| refitted.refit);
        Refits { fitted: refit(self.fitted), published: refit(self.published) }
    }

    /// SHA-256 of its content, hex.
    pub fn digest(&self) -> String {
        let json = serde_json::to_string(self).expect("numbers and texts serialise");
        sha256_hex(&[json.as_bytes()])
    }

    /// The file, one line.
    pub fn to_json(&self) -> String {
        let file = File { digest: self.digest(), calibration: self.clone() };
        let mut json = serde_json::to_string(&file).expect("numbers and texts serialise");
        json.push('\n');
        json
    }

    /// Reads a file. Whoever could write it may have written anything.
    ///
    /// # Errors
    /// See [`Invalid`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes.len() > BYTES_MAX {
            return Err(Invalid::TooLarge);
        }
        #[derive(Deserialize)]
        struct Versioned {
            calibration: Version,
        }
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Versioned { calibration: Version { version } } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(Invalid::Version { found: version });
        }
        let File { digest, calibration } = serde_json::from_slice(bytes)?;
        if digest != calibration.digest() {
            return Err(Invalid::Digest);
        }
        calibration.unsound().map_or(Ok(calibration), |what| Err(Invalid::Unsound { what }))
    }

    /// What of it no labels give.
    fn unsound(&self) -> Option<&'static str> {
        let Counts { attacks, benign } = self.labelled;
        let rests = |bounded: &Bounded, promise: Promise, all: u32| {
            bounded.cases <= all && (bounded.at.is_none() || promise.allowed(bounded.cases as usize).is_some())
        };
        let within = |at: Option<f64>, low: f64, high: f64| at.is_none_or(|at| (low..=high).contains(&at));
        if !rests(&self.close, MISSED, attacks) || !within(self.close.at, 0.0, Bounds::CLOSE_MAX) {
            return Some("a closing bound");
        }
        for (bounded, least) in
            [(&self.act, Bounds::AUTOMATIC_MIN), (&self.act_without_models, Bounds::AUTOMATIC_ALONE_MIN)]
        {
            if !rests(bounded, CONTAINED, benign) || !within(bounded.at, least, 1.0) {
                return Some("a bound for automatic steps");
            }
        }
        let enough = |labelled: Counts| (labelled.attacks.min(labelled.benign) as usize) >= LABELS_MIN;
        let mut refits = self.fitted.iter().chain(&self.published);
        refits.any(|refitted| !refitted.refit.is_sound() || !enough(refitted.labelled)).then_some("a refit")
    }
}

impl Pooled {
    /// The probability after all roles, and without any model's contribution.
    pub fn probabilities(&self, refits: Refits) -> (f64, f64) {
        let prior = refits.of(self.is_fitted).of(self.prior);
        (sigmoid(prior + self.roles), sigmoid(prior + self.roles_deterministic))
    }
}

fn count(cases: usize) -> u32 {
    u32::try_from(cases).unwrap_or(u32::MAX)
}

fn serves_refit(case: &Counted) -> bool {
    hash64(&case.case_id).is_multiple_of(REFIT_ONE_IN)
}

/// A refit on the cases that serve it, unless they are too few or bounds would be lost for want of them.
fn refitted(attacks: &[Counted], benign: &[Counted], is_fitted: bool) -> Option<Refitted> {
    let keeps = |cases: &[Counted], promise: Promise| {
        let left = cases.iter().filter(|case| !serves_refit(case)).count();
        promise.allowed(left).is_some() || promise.allowed(cases.len()).is_none()
    };
    if !keeps(attacks, MISSED) || !keeps(benign, CONTAINED) {
        return None;
    }
    let serving = |cases: &[Counted]| -> Vec<Pooled> {
        cases.iter().filter(|case| serves_refit(case)).map(|case| case.pooled).collect()
    };
    let points = points(&serving(attacks), &serving(benign), is_fitted);
    let refit = Refit::fit(&points)?;
    let attacks = points.iter().filter(|point| point.is_attack).count();
    Some(Refitted { refit, labelled: Counts { attacks: count(attacks), benign: count(points.len() - attacks) } })
}

/// The cases over which the fitted weights, or the published priors, spoke.
fn points(attacks: &[Pooled], benign: &[Pooled], is_fitted: bool) -> Vec<Point> {
    let point = |pooled: &Pooled, is_attack: bool| {
        let Pooled { prior, roles, .. } = *pooled;
        (pooled.is_fitted == is_fitted).then_some(Point { prior, roles, is_attack })
    };
    let attacks = attacks.iter().filter_map(|pooled| point(pooled, true));
    attacks.chain(benign.iter().filter_map(|pooled| point(pooled, false))).collect()
}

/// The bound of one promise, and how it does. `bound` makes of a threshold what is applied: below it, or at it, a case passes.
fn control(
    dangerous: &[Pooled],
    others: &[Pooled],
    promise: Promise,
    bound: impl Fn(f64) -> Option<f64>,
    score: impl Fn(&Pooled) -> f64,
) -> Control {
    let scores = Scores::new(dangerous.iter().map(&score));
    let others = Scores::new(others.iter().map(&score));
    // A bound is inclusive.
    let below = |threshold: f64| bound(threshold).map_or(f64::NEG_INFINITY, f64::next_up);
    let threshold = scores.threshold(promise);
    let at = threshold.and_then(&bound);
    let passed = |scores: &Scores| at.map_or(0, |at| scores.below(at.next_up()));
    Control {
        at,
        cases: scores.len(),
        passed: passed(&scores),
        promised: promise.kept(scores.len()),
        left_out: scores.left_out(promise, below),
        others: others.len(),
        others_passed: passed(&others),
    }
}

/// The closing bound below a threshold: at it or above nothing is closed.
fn close_up_to(threshold: f64) -> Option<f64> {
    let at = below(threshold.min(1.0))?.min(Bounds::CLOSE_MAX);
    (at > 0.0).then_some(at)
}

/// The bound for steps, as scores have it (negated), beyond a threshold.
fn act_above(threshold: f64, least: f64) -> Option<f64> {
    let at = below(threshold.min(0.0))?.min(-least);
    (at >= -1.0).then_some(at)
}

/// The next whole step strictly below.
fn below(threshold: f64) -> Option<f64> {
    let step = (threshold * STEPS).ceil() - 1.0;
    [step, step - 1.0].map(|step| step / STEPS).into_iter().find(|at| *at < threshold)
}

/// Mean of precision over attacks, highest scores first; equal scores count together.
fn average_precision(attacks: &[f64], benign: &[f64]) -> Option<f64> {
    if attacks.is_empty() {
        return None;
    }
    let attack = attacks.iter().map(|score| (*score, true));
    let mut ranked: Vec<(f64, bool)> = attack.chain(benign.iter().map(|score| (*score, false))).collect();
    ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut seen, mut found, mut sum) = (0usize, 0usize, 0.0);
    for equal in ranked.chunk_by(|a, b| a.0 == b.0) {
        let new = equal.iter().filter(|(_, is_attack)| *is_attack).count();
        seen += equal.len();
        found += new;
        sum += new as f64 * found as f64 / seen as f64;
    }
    Some(sum / attacks.len() as f64)
}

#[cfg(test)]
#[path = "labelled_tests.rs"]
mod tests;
