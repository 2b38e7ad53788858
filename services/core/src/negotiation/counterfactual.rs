//! The smallest change that gives another verdict, found by concluding again on the changed evidence.
//!
//! First single removals: a detection, a claim, a circumstance. Then, where the model has its word, up to three groups of
//! features as they usually are, scored again by whoever has the model ([`Rescorer`]). Each answer was verified so; none is
//! reckoned from weights.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use super::brain::Standing;
use super::evidence::Evidence;
use super::freeze::Handles;
use super::group::Group;
use super::handle::Handle;
use super::predicate::{Ground, Predicate};
use super::report::name;
use super::said::{Change, Counterfactual};
use crate::level::{Severity, Verdict};

/// Detections whose removal is tried.
const DETECTIONS_MAX: usize = 6;
/// Claims whose removal is tried, of cases that a person is shown.
const CLAIMS_MAX: usize = 6;
/// Groups of features that are changed at once.
const GROUPS_AT_ONCE_MAX: usize = 3;
/// Times that one case is scored again: every group at once, then all choices of one, two and three of the twelve.
pub const RESCORINGS_MAX: usize = 1 + 12 + 66 + 220;

/// Scores a case again with groups of features as they usually are. Core has no model; the shell has.
pub trait Rescorer: fmt::Debug + Send + Sync {
    /// The evidence as it would be frozen then; `None` where the model has no word on the case.
    fn as_usual(&self, groups: &[Group]) -> Option<Evidence>;
}

/// What is concluded on other evidence, without one claim.
pub(super) type Conclude<'a> = dyn Fn(&Evidence, Option<Predicate>) -> (Verdict, Severity) + 'a;

/// What a case was concluded on.
pub(super) struct Concluded<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) handles: &'a Handles,
    pub(super) standing: &'a [Standing],
    pub(super) verdict: Verdict,
}

/// Tries changes, the smallest first, and tells the first that gives another verdict.
///
/// Where one detection carries the case, that it would fall without it is no news: who acted, and how, is tried first.
/// Where no detection of medium severity carries it, the model does, and what it looked at is tried before that.
pub(super) fn find(
    case: &Concluded<'_>,
    rescorer: Option<&dyn Rescorer>,
    conclude: &Conclude<'_>,
) -> Option<Counterfactual> {
    let is_shown = case.verdict >= Verdict::Suspicious;
    let rescorer = rescorer.filter(|_| is_shown);
    let by_groups = |sizes: std::ops::RangeInclusive<usize>| {
        let groups = by_weight(case.evidence);
        sizes.flat_map(|size| choices(&groups, size)).find_map(|chosen| {
            let (verdict, severity) = conclude(&rescorer?.as_usual(&chosen)?, None);
            let change = Change::AsUsual(chosen);
            (verdict < case.verdict).then_some(Counterfactual::Gives { change, verdict, severity })
        })
    };
    let is_learned = rescorer.is_some() && case.evidence.strongest() < Some(Severity::Medium);
    let first = is_learned.then(|| by_groups(1..=1)).flatten();
    if let Some(found) = first.or_else(|| single(case, is_shown, conclude)) {
        return Some(found);
    }
    let (everything, _) = conclude(&rescorer?.as_usual(Group::ALL)?, None);
    if everything >= case.verdict {
        return Some(Counterfactual::NotEvenAll);
    }
    // Single groups may have been tried before.
    let from = if is_learned { 2 } else { 1 };
    Some(by_groups(from..=GROUPS_AT_ONCE_MAX).unwrap_or(Counterfactual::NotWithThree))
}

/// The first single removal that gives another verdict.
fn single(case: &Concluded<'_>, is_shown: bool, conclude: &Conclude<'_>) -> Option<Counterfactual> {
    removals(case, is_shown).into_iter().find_map(|removal| {
        let (verdict, severity) = match removal {
            Removal::Detection(detection) => conclude(&case.evidence.without_detection(detection), None),
            Removal::Claim(predicate) => conclude(case.evidence, Some(predicate)),
            Removal::Mfa => conclude(&case.evidence.with_mfa(), None),
            Removal::Automation(principal) => conclude(&case.evidence.with_automation(principal), None),
        };
        let change = || removal.told(case.handles);
        (verdict != case.verdict).then(|| Counterfactual::Gives { change: change(), verdict, severity })
    })
}

#[derive(Clone, Copy)]
enum Removal {
    Detection(Handle),
    Claim(Predicate),
    Mfa,
    Automation(Handle),
}

impl Removal {
    fn told(self, handles: &Handles) -> Change {
        let name = |handle| name(handles, handle).unwrap_or_default();
        match self {
            Self::Detection(detection) => Change::WithoutDetection(name(detection)),
            Self::Claim(predicate) => Change::WithoutClaim(predicate),
            Self::Mfa => Change::WithMfa,
            Self::Automation(principal) => Change::AsAutomation(name(principal)),
        }
    }
}

fn removals(case: &Concluded<'_>, is_shown: bool) -> Vec<Removal> {
    let evidence = case.evidence;
    let mut detections: Vec<_> = evidence.active().collect();
    detections.sort_by_key(|detection| (Reverse(detection.severity), detection.handle));
    detections.truncate(DETECTIONS_MAX);
    let mut removals: Vec<Removal> = detections.iter().map(|detection| Removal::Detection(detection.handle)).collect();
    let mut circumstances = Vec::with_capacity(2);
    let weighty = evidence.weighty();
    if weighty.iter().any(|event| event.mfa != Some(true)) {
        circumstances.push(Removal::Mfa);
    }
    let principals: BTreeSet<Handle> = weighty.iter().map(|event| event.principal).collect();
    if let (1, Some(principal)) = (principals.len(), principals.first()) {
        circumstances.push(Removal::Automation(*principal));
    }
    if removals.len() == 1 {
        circumstances.append(&mut removals);
        removals = circumstances;
    } else {
        removals.append(&mut circumstances);
    }
    if is_shown {
        removals.extend(claims(case.standing).into_iter().map(Removal::Claim));
    }
    removals
}

/// Claims that no detection grounds (without it they fall anyway), those first that weigh most.
fn claims(standing: &[Standing]) -> Vec<Predicate> {
    let own = standing.iter().map(|claim| claim.predicate);
    let mut own: Vec<Predicate> = own.filter(|one| one.definition().ground != Ground::Detection).collect();
    own.sort_by(|a, b| {
        let weight = |one: &Predicate| one.definition().weight.abs();
        weight(b).total_cmp(&weight(a)).then_with(|| a.cmp(b))
    });
    own.dedup();
    own.truncate(CLAIMS_MAX);
    own
}

/// All groups, those first that moved the model most.
fn by_weight(evidence: &Evidence) -> Vec<Group> {
    let weight = |group: &Group| -> i64 {
        let of_group = evidence.features.iter().filter(|fact| Group::of(fact.feature) == Some(*group));
        of_group.map(|fact| i64::from(fact.weight_milli.max(0))).sum()
    };
    let mut groups = Group::ALL.to_vec();
    groups.sort_by_key(|group| (Reverse(weight(group)), *group));
    groups
}

/// Every choice of `size` groups, in the order of the groups.
fn choices(groups: &[Group], size: usize) -> Vec<Vec<Group>> {
    let Some(fewer) = size.checked_sub(1) else {
        return vec![Vec::new()];
    };
    let with = |at: usize| {
        choices(&groups[at + 1..], fewer).into_iter().map(move |mut rest| {
            rest.insert(0, groups[at]);
            rest
        })
    };
    (0..groups.len()).flat_map(with).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::fixtures::{Caller, Scene, rule};
    use super::super::said::Counterfactual::{Gives, NotEvenAll, NotWithThree};
    use super::super::{Negotiation, evidence_of, freeze, negotiate};
    use super::*;
    use crate::api::Vocabulary;

    /// A model that is at ease once all of these groups are as usual.
    #[derive(Debug)]
    struct Feigned {
        scene: Scene,
        needed: Vec<Group>,
        times: AtomicUsize,
    }

    impl Rescorer for Feigned {
        fn as_usual(&self, groups: &[Group]) -> Option<Evidence> {
            self.times.fetch_add(1, Ordering::Relaxed);
            let mut scene = self.scene.clone();
            if self.needed.iter().all(|group| groups.contains(group)) {
                scene.learned = Some(0.01);
                scene.signals.iter_mut().for_each(|signal| signal.learned = Some(0.01));
            }
            Some(evidence_of(&scene.case(), &scene.rules, &scene.registry, &Vocabulary::builtin()))
        }
    }

    fn found(scene: &Scene, needed: &[Group]) -> Option<Counterfactual> {
        let (pack, handles) = freeze(&scene.case(), &scene.rules, &scene.registry, &Vocabulary::builtin());
        let (negotiation, asks) = Negotiation::open(pack, handles, scene.terms());
        let feigned =
            Arc::new(Feigned { scene: scene.clone(), needed: needed.to_vec(), times: AtomicUsize::default() });
        let negotiation = negotiation.with_rescorer(feigned.clone());
        let found = negotiate(negotiation, asks, Negotiation::deterministic_answer).counterfactual;
        assert!(feigned.times.load(Ordering::Relaxed) <= RESCORINGS_MAX);
        found
    }

    /// What only the model raises.
    fn learned() -> Scene {
        let mut scene = Scene { learned: Some(0.9), ..Scene::default() };
        scene.add(Caller::Role, &[]).learned = Some(0.9);
        scene
    }

    #[test]
    fn the_fewest_groups_that_give_another_verdict_are_told() {
        let gives = |groups: &[Group]| {
            let change = Change::AsUsual(groups.to_vec());
            Some(Gives { change, verdict: Verdict::Insufficient, severity: Severity::Informational })
        };
        for needed in [&[Group::Rate][..], &[Group::Source, Group::Rate], &[Group::Program, Group::Hour, Group::Age]] {
            assert_eq!(found(&learned(), needed), gives(needed), "{needed:?}");
        }
        let four = [Group::Source, Group::Program, Group::Hour, Group::Age];
        assert_eq!(found(&learned(), &four), Some(NotWithThree));
        assert_eq!(learned().judged().counterfactual, None, "nobody scores again, and no removal decides");
    }

    #[test]
    fn what_moved_the_model_most_is_tried_first() {
        use crate::feature::Feature;
        let mut scene = learned();
        scene.signals[0].reasons = vec![(Feature::SinceLast, 0.4), (Feature::Source1h, 1.2)];
        let Some(Gives { change: Change::AsUsual(groups), .. }) = found(&scene, &[]) else { panic!("none") };
        assert_eq!(groups, [Group::Rate]);
    }

    #[test]
    fn what_rules_carry_falls_with_a_rule_or_with_nothing() {
        let mut scene = learned();
        let first = scene.with_rule(rule(Severity::Critical, "impact", None));
        let second = scene.with_rule(rule(Severity::Critical, "persistence", None));
        for rules in [[first, second], [second, first]] {
            scene.add(Caller::Key, &rules).learned = Some(0.9);
        }
        assert_eq!(found(&scene, &[Group::Rate]), Some(NotEvenAll));
        let mut scene = learned();
        let only = scene.with_rule(rule(Severity::Critical, "impact", None));
        scene.add(Caller::Key, &[only]).learned = Some(0.9);
        let told = found(&scene, &[Group::Rate]);
        assert!(matches!(told, Some(Gives { change: Change::WithoutDetection(_), .. })), "{told:?}");
    }

    #[test]
    fn every_choice_is_tried_once_within_the_bound() {
        let all: Vec<Vec<Group>> = (1..=GROUPS_AT_ONCE_MAX).flat_map(|size| choices(Group::ALL, size)).collect();
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!((all.len() + 1, distinct.len()), (RESCORINGS_MAX, all.len()));
        assert!(all.is_sorted_by_key(|choice| choice.len()));
        assert_eq!(all[12], [Group::ALL[0], Group::ALL[1]]);
    }
}
