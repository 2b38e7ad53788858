//! The stages in one process, each a step over plain values: activity -> features -> detections ->
//! score -> signal -> case. What reads and what writes stands outside.
//!
//! [`Observer`] runs on the threads that parse; [`Describer`] and [`Engine`] see all events in order.

pub mod capsule;
pub mod replay;
pub mod rescoring;

use std::collections::BTreeSet;

use trailwarden_collector::Observe;
use trailwarden_core::activity::{Activity, Details, Observation};
use trailwarden_core::api::Vocabulary;
use trailwarden_core::baseline;
use trailwarden_core::case::{self, Case};
use trailwarden_core::detection::RuleSet;
use trailwarden_core::gather::{Described, Detector, Gathered, Gatherer};
use trailwarden_core::level::Level;
use trailwarden_core::record::RecordView;
use trailwarden_core::registry::Registry;
use trailwarden_core::sequence::Sequence;
use trailwarden_core::time::Timestamp;
use trailwarden_core::{link, resource};
use trailwarden_featurizer::Featurizer;
use trailwarden_scorer::Scorer;

/// Reads off a raw record, while it is in memory, all that later stages need of it.
#[derive(Clone, Copy, Debug)]
pub struct Observer<'a> {
    pub rules: &'a RuleSet,
    pub registry: &'a Registry,
}

impl Observe for Observer<'_> {
    fn observe<'a>(&self, view: &RecordView<'a>, activity: Activity<'a>) -> Observation<'a> {
        let mut matches = Vec::new();
        self.rules.evaluate(view, &activity, self.registry, &mut matches);
        let links = link::issued(view, &activity);
        let details = (!matches.is_empty()).then(|| details(view, &activity));
        Observation { activity, links, matches, details }
    }
}

fn details(view: &RecordView<'_>, activity: &Activity<'_>) -> Details {
    let parameters = view.value("requestParameters").filter(|value| !value.is_null());
    Details {
        resources: resource::touched(view, activity),
        parameters: cut(parameters.map(ToString::to_string).unwrap_or_default(), Details::PARAMETERS_BYTES_MAX),
        error_message: cut(view.text("errorMessage").unwrap_or_default().to_owned(), Details::ERROR_MESSAGE_BYTES_MAX),
    }
}

/// Cuts a text to at most `bytes_max` bytes, between characters, and marks the cut.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = text.floor_char_boundary(bytes_max - "…".len());
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The stages before the score: features and detections, fed in order of (event time, event id).
#[derive(Debug)]
pub struct Describer<'a> {
    vocabulary: &'a Vocabulary,
    featurizer: Featurizer,
    detector: Detector<&'a RuleSet>,
}

impl<'a> Describer<'a> {
    /// `horizon` is the latest event time to believe; what lies beyond it moves no window. `accounts` are the operator's.
    pub fn new(
        rules: &'a RuleSet,
        vocabulary: &'a Vocabulary,
        baseline: baseline::Limits,
        horizon: Timestamp,
        accounts: BTreeSet<String>,
    ) -> Self {
        Self { vocabulary, featurizer: Featurizer::new(baseline, horizon), detector: Detector::new(rules, accounts) }
    }

    /// Measures one event and names the detections that fire on it.
    pub fn step<'e>(&mut self, observation: Observation<'e>) -> Described<'e> {
        let access = self.vocabulary.access_level(observation.activity.service, observation.activity.call);
        let features = self.featurizer.step(&observation.activity, access);
        self.detector.step(observation, features)
    }

    /// The latest activities of the session of the event described last.
    pub fn sequence(&self, activity: &Activity<'_>) -> Sequence {
        self.featurizer.sequence(activity)
    }
}

/// How loud an event is, and what ended with it.
#[derive(Debug)]
pub struct Step {
    pub score: f64,
    pub level: Level,
    /// Cases that are over, by (first event time, id).
    pub cases: Vec<Case>,
}

/// All stateful stages, fed in order of (event time, event id).
#[derive(Debug)]
pub struct Engine<'a> {
    vocabulary: &'a Vocabulary,
    featurizer: Featurizer,
    scorer: Option<&'a Scorer>,
    gatherer: Gatherer<&'a RuleSet>,
}

impl<'a> Engine<'a> {
    /// Without a scorer, events are worth what their detections are.
    pub fn new(describer: Describer<'a>, scorer: Option<&'a Scorer>, cases: case::Limits) -> Self {
        let Describer { vocabulary, featurizer, detector } = describer;
        Self { vocabulary, featurizer, scorer, gatherer: Gatherer::new(detector, cases) }
    }

    pub fn rules(&self) -> &RuleSet {
        self.gatherer.rules()
    }

    /// Takes one event through all stages.
    pub fn step(&mut self, observation: Observation<'_>) -> Step {
        let activity = &observation.activity;
        let access = self.vocabulary.access_level(activity.service, activity.call);
        let features = self.featurizer.step(activity, access);
        let sequence = || self.featurizer.sequence(activity);
        let learned = self.scorer.and_then(|scorer| scorer.probability(&features, sequence));
        // A lying clock must not end everybody's cases.
        let now = activity.event_time.min(self.featurizer.horizon());
        let Gathered { score, level, cases, .. } = self.gatherer.step(now, observation, features, learned);
        Step { score, level, cases: self.weighed(cases) }
    }

    fn weighed(&self, mut cases: Vec<Case>) -> Vec<Case> {
        if let Some(scorer) = self.scorer {
            cases.iter_mut().for_each(|case| weigh(case, scorer));
        }
        cases
    }

    /// Ends all cases.
    pub fn finish(&mut self) -> Vec<Case> {
        let cases = self.gatherer.finish();
        self.weighed(cases)
    }

    /// The earliest event time of a case that has not ended; none of the cases to come begins before it.
    pub fn oldest_open(&self) -> Option<Timestamp> {
        self.gatherer.oldest_open()
    }

    /// What was forgotten or left out for want of room, by what it was.
    pub fn forgotten(&self) -> [(&'static str, u64); 6] {
        let [groups, late, links, cases] = self.gatherer.forgotten();
        let principals = ("principals with live windows", self.featurizer.forgotten());
        let left_out = ("events beyond an overfull hour's baseline", self.featurizer.left_out());
        [principals, left_out, groups, late, links, cases]
    }
}

/// Asks the model what it makes of a case as a whole.
pub fn weigh(case: &mut Case, scorer: &Scorer) {
    let spoken_of = || case.signals.iter().filter_map(|signal| signal.learned);
    if spoken_of().next().is_some() {
        case.learned = Some(scorer.case_probability(spoken_of()));
    }
}

/// Reasons that are kept of one event.
const REASONS_MAX: usize = 8;

/// Asks the model for the reasons of the event that weighs most in a case. Exact reasons cost about as much as scoring a
/// thousand events, so they are asked for cases that a person will read. `false` when the model says nothing of it.
pub fn explain(case: &mut Case, scorer: &Scorer) -> bool {
    let spoken_of = case.signals.iter_mut().filter(|signal| signal.learned.is_some());
    let heaviest = spoken_of.reduce(|best, next| if next.learned > best.learned { next } else { best });
    let Some(signal) = heaviest else { return false };
    let reasons = scorer.reasons(&signal.features).into_iter().take(REASONS_MAX);
    signal.reasons = reasons.map(|reason| (reason.feature, reason.weight as f32)).collect();
    true
}
