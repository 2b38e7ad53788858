//! The route: whether a case may be closed or acted upon without a person, and if not, why.

use super::check::Finding;
use super::evidence::Evidence;
use super::pool::is_raised;
use super::response::has_narrow_step;
use super::said::Hold;
use super::{Bounds, RejectedClaim, Route};
use crate::level::Verdict;
use crate::plan::Action;

/// What a route is decided on.
pub(super) struct Outcome<'a> {
    pub(super) verdict: Verdict,
    pub(super) probability: f64,
    /// The same without any model's contribution: the second key.
    pub(super) probability_deterministic: f64,
    /// Whether a model answered for the sceptic.
    pub(super) has_sceptic_model: bool,
    pub(super) actions: &'a [Action],
    pub(super) rejected: &'a [RejectedClaim],
}

pub(super) fn route(evidence: &Evidence, bounds: &Bounds, outcome: &Outcome<'_>) -> Route {
    if outcome.verdict == Verdict::Benign {
        return Route::Closed;
    }
    let is_false = |claim: &RejectedClaim| claim.finding != Finding::Unknown.as_str();
    let unfit = outcome.rejected.iter().any(is_false);
    let act_from = bounds.automatic_from(outcome.has_sceptic_model);
    let is_likely = |bound: f64| outcome.probability >= bound && outcome.probability_deterministic >= bound;
    if outcome.verdict == Verdict::Malicious
        && act_from.is_some_and(is_likely)
        && has_narrow_step(outcome.actions)
        && !evidence.injection
        && !unfit
    {
        return Route::Automatic;
    }
    let mut why = vec![if outcome.verdict == Verdict::Insufficient {
        let rests = bounds.closing_rests_on();
        match bounds.close_below() {
            None => Hold::NothingCloses { rests },
            Some(bound) => Hold::NotClosed { bound_percent: percent(bound), rests },
        }
    } else {
        let rests = bounds.acting_rests_on();
        match act_from {
            None => Hold::NothingActs { rests },
            Some(bound) if !is_likely(bound) => Hold::NotAbove { bound_percent: percent(bound), rests },
            Some(_) if !has_narrow_step(outcome.actions) => Hold::NoNarrowStep,
            Some(_) => Hold::Verdict(outcome.verdict),
        }
    }];
    if outcome.verdict == Verdict::Insufficient {
        why.extend(is_raised(evidence).then_some(Hold::Raised));
        why.extend(evidence.is_listed_by_model().then_some(Hold::Listed));
    }
    why.extend(evidence.floor.map(Hold::Floor));
    why.extend(evidence.injection.then_some(Hold::Instructions));
    why.extend(unfit.then_some(Hold::FalseClaim));
    Route::Person { why }
}

fn percent(bound: f64) -> u8 {
    (bound.clamp(0.0, 1.0) * 100.0).round() as u8
}
