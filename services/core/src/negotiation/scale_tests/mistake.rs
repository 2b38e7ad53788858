//! Mistakes planted into what is judged.

use super::super::brain;
use super::super::check::Findings;
use super::super::fixtures::resource;
use super::super::pool::{self, BANDS, Prior, sigmoid};
use super::super::predicate::Predicate;
use super::super::route::{Outcome, route};
use super::super::{Brain, Judgement};
use super::{Frozen, Invariant, has_sceptic_model};
use crate::level::Severity;
use crate::resource::ResourceKind;

/// Mistakes that somebody might make in this protocol, one for each invariant and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// The log does not keep who answered.
    LogForgetsWho,
    /// Each question is asked twice.
    AsksTwice,
    FloorIgnored,
    PoolWithoutCaps,
    /// A step on whatever a role names.
    TakesNamedTarget,
    OneKey,
    FlagForgottenInRoute,
    ClosesOnModelsWord,
    /// Who does not answer is taken to abstain.
    SilenceAbstains,
    /// Models are shown what a caller wrote.
    ShowsAgent,
    /// A hidden instruction changes nothing.
    FlagIgnored,
    /// Whoever answers last is not waited for.
    LastNotAwaited,
    /// An innocent claim takes a step of severity off, whatever the floor.
    KindnessLowers,
    /// A refit stretches what roles add.
    RefitStretchesRoles,
}

impl Mistake {
    /// With the invariant that it breaks.
    pub(super) const ALL: [(Self, Invariant); 14] = [
        (Self::LogForgetsWho, Invariant::ReplayIsLive),
        (Self::AsksTwice, Invariant::FewCalls),
        (Self::FloorIgnored, Invariant::FloorHolds),
        (Self::PoolWithoutCaps, Invariant::CapsHold),
        (Self::TakesNamedTarget, Invariant::TargetsInEvidence),
        (Self::OneKey, Invariant::TwoKeys),
        (Self::FlagForgottenInRoute, Invariant::TwoKeys),
        (Self::ClosesOnModelsWord, Invariant::BenignByCode),
        (Self::SilenceAbstains, Invariant::OutageIsDeterministic),
        (Self::ShowsAgent, Invariant::TextIsClass),
        (Self::FlagIgnored, Invariant::TextIsClass),
        (Self::LastNotAwaited, Invariant::OrderIsNothing),
        (Self::KindnessLowers, Invariant::KindnessKeepsFloor),
        (Self::RefitStretchesRoles, Invariant::CapsHold),
    ];
}

/// The judgement as a program with the mistake would give it.
pub(super) fn mistaken(frozen: &Frozen<'_>, mut judgement: Judgement, mistake: Option<Mistake>) -> Judgement {
    let Some(mistake) = mistake else { return judgement };
    let (scene, evidence) = (frozen.scene, frozen.evidence());
    let pooled = judgement.basis.pooled;
    let has_models = judgement.brains.iter().any(|(_, brain)| *brain != Brain::Deterministic);
    match mistake {
        Mistake::FloorIgnored => {
            let band = BANDS.iter().rev().find(|(_, from)| judgement.probability >= *from);
            judgement.severity = band.map_or(Severity::Informational, |(severity, _)| *severity);
        }
        Mistake::PoolWithoutCaps => {
            let prior = Prior::under(evidence, &scene.terms());
            let standing = brain::all_claims(evidence, &Findings::of(evidence));
            let weight = |predicate: Predicate| match &scene.weights {
                Some(weights) if pooled.is_fitted => weights.of(predicate),
                _ => predicate.definition().weight,
            };
            let added: f64 = standing.iter().map(|claim| weight(claim.predicate)).sum();
            judgement.probability = sigmoid((prior.log_odds() + added).clamp(-30.0, 30.0));
        }
        Mistake::TakesNamedTarget => {
            if let Some(action) = judgement.plan.actions.first_mut() {
                action.target = resource(ResourceKind::AccessKey, "R7", false);
            }
        }
        Mistake::OneKey | Mistake::FlagForgottenInRoute => {
            let p = judgement.probability;
            let p_det = judgement.probability_deterministic;
            let one = mistake == Mistake::OneKey;
            let outcome = Outcome {
                verdict: judgement.verdict,
                probability: p,
                probability_deterministic: if one { p } else { p_det },
                has_sceptic_model: has_sceptic_model(&judgement),
                actions: &judgement.plan.actions,
                rejected: &judgement.rejected,
            };
            let mut seen = evidence.clone();
            seen.injection &= one;
            judgement.route = route(&seen, &scene.bounds, &outcome);
        }
        Mistake::ClosesOnModelsWord => {
            let p = judgement.probability;
            judgement.verdict = pool::verdict(evidence, judgement.severity, p, p, &scene.bounds);
        }
        Mistake::FlagIgnored => {
            let mut blind = evidence.clone();
            blind.injection = false;
            let (p, p_det) = (judgement.probability, judgement.probability_deterministic);
            judgement.verdict = pool::verdict(&blind, judgement.severity, p, p_det, &scene.bounds);
        }
        Mistake::KindnessLowers if has_models => {
            let lower = (judgement.severity as usize).saturating_sub(1);
            judgement.severity = Severity::ALL[lower];
        }
        Mistake::RefitStretchesRoles => {
            let refit = scene.refits.of(pooled.is_fitted);
            judgement.probability = sigmoid(refit.of(pooled.prior + pooled.roles));
        }
        _ => {}
    }
    judgement
}
