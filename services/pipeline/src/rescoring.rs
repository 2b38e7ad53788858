//! A case scored again with groups of features as they usually are: what the counterfactual asks whoever has the model.

use std::sync::Arc;

use trailwarden_core::api::Vocabulary;
use trailwarden_core::case::Case;
use trailwarden_core::detection::RuleSet;
use trailwarden_core::gather::judge_again;
use trailwarden_core::negotiation::counterfactual::Rescorer;
use trailwarden_core::negotiation::evidence::Evidence;
use trailwarden_core::negotiation::evidence_of;
use trailwarden_core::negotiation::group::Group;
use trailwarden_core::registry::Registry;
use trailwarden_core::sequence::Sequence;
use trailwarden_scorer::Scorer;

use crate::weigh;

/// A case with all that it was judged by.
#[derive(Clone, Debug)]
pub struct Rescoring {
    pub case: Case,
    pub scorer: Arc<Scorer>,
    pub rules: Arc<RuleSet>,
    pub registry: Arc<Registry>,
    pub vocabulary: Arc<Vocabulary>,
}

impl Rescorer for Rescoring {
    /// Every event that the model spoke of is changed and scored by the same trees; first-seen rules fall with their
    /// feature; then the case is weighed and frozen as any other. `None` where the model has no word, and where networks
    /// have a part in it: they want the sequence of a session, which a case does not keep.
    fn as_usual(&self, groups: &[Group]) -> Option<Evidence> {
        if self.scorer.has_networks() {
            return None;
        }
        self.case.learned?;
        let mut case = self.case.clone();
        for signal in case.signals.iter_mut().filter(|signal| signal.learned.is_some()) {
            groups.iter().for_each(|group| group.as_usual(&mut signal.features));
            signal.learned = self.scorer.probability(&signal.features, Sequence::default);
            judge_again(signal, &self.rules);
        }
        weigh(&mut case, &self.scorer);
        Some(evidence_of(&case, self.rules.rules(), &self.registry, &self.vocabulary))
    }
}
