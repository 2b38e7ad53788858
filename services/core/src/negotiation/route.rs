//! The route: whether a case may be closed or acted upon without a person, and if not, why.

use super::check::Finding;
use super::evidence::Evidence;
use super::response::has_narrow_step;
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
    let mut why: Vec<String> = Vec::new();
    if outcome.verdict == Verdict::Insufficient {
        why.push(match bounds.close_below() {
            None => format!("nothing is closed without a person ({})", bounds.closing_rests_on()),
            Some(bound) => format!("not closed under the bound of {bound:.2}, {}", bounds.closing_rests_on()),
        });
    } else {
        why.push(match act_from {
            None => format!("no step is taken without a person ({})", bounds.acting_rests_on()),
            Some(bound) if !is_likely(bound) => {
                format!("not above the bound of {bound:.2} for automatic steps, {}", bounds.acting_rests_on())
            }
            Some(_) if !has_narrow_step(outcome.actions) => "no narrow, reversible step fits".to_owned(),
            Some(_) => format!("the verdict is {}", outcome.verdict),
        });
    }
    if let Some(floor) = evidence.floor {
        why.push(format!("policy sets severity to at least {floor}"));
    }
    if evidence.injection {
        why.push("a text written by a caller has the form of instructions".to_owned());
    }
    if unfit {
        why.push("a role claimed what the evidence does not show".to_owned());
    }
    Route::Person { why: why.join("; ") }
}
