//! The stages in one process, each a step over plain values: activity -> features -> detections ->
//! score -> signal -> case. What reads and what writes stands outside.
//!
//! [`Observer`] runs on the threads that parse; [`Describer`] and [`Engine`] see all events in order.

use std::collections::BTreeSet;

use trailwarden_collector::Observe;
use trailwarden_core::activity::{Activity, Details, Observation};
use trailwarden_core::api::Vocabulary;
use trailwarden_core::baseline;
use trailwarden_core::case::{self, Case, Signal};
use trailwarden_core::detection::{Correlator, Rule, RuleIndex, RuleSet};
use trailwarden_core::feature::FeatureVector;
use trailwarden_core::level::{Level, Severity};
use trailwarden_core::link::Link;
use trailwarden_core::negotiation::{event_score, joined, level};
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

/// Whether a request names accounts beside its own, and all of them are among `accounts`.
fn names_only(accounts: &BTreeSet<String>, activity: &Activity<'_>, details: &Details) -> bool {
    if details.parameters_are_cut() {
        return false;
    }
    let mut others = account_ids(&details.parameters).filter(|account| *account != activity.account).peekable();
    others.peek().is_some() && others.all(|account| accounts.contains(account))
}

/// The account ids that stand in a text: runs of exactly 12 digits.
fn account_ids(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_digit()).filter(|run| run.len() == 12)
}

/// An event with all that is known of it before it is scored.
#[derive(Debug)]
pub struct Described<'a> {
    pub activity: Activity<'a>,
    pub links: Vec<Link>,
    pub details: Option<Details>,
    pub features: FeatureVector,
    /// Rules, correlations and first-seen facts, ordered, none twice.
    pub detections: Vec<RuleIndex>,
}

/// The stages before the score: features and detections, fed in order of (event time, event id).
#[derive(Debug)]
pub struct Describer<'a> {
    rules: &'a RuleSet,
    vocabulary: &'a Vocabulary,
    featurizer: Featurizer,
    correlator: Correlator,
    /// Accounts of the operator's: what is shared with one of them is not shared outside.
    accounts: BTreeSet<String>,
}

impl<'a> Describer<'a> {
    /// `horizon` is the latest event time to believe; what lies beyond it moves no window.
    pub fn new(
        rules: &'a RuleSet,
        vocabulary: &'a Vocabulary,
        baseline: baseline::Limits,
        horizon: Timestamp,
        accounts: BTreeSet<String>,
    ) -> Self {
        let featurizer = Featurizer::new(baseline, horizon);
        Self { rules, vocabulary, featurizer, correlator: Correlator::new(rules), accounts }
    }

    /// Measures one event and names the detections that fire on it.
    pub fn step<'e>(&mut self, observation: Observation<'e>) -> Described<'e> {
        let Observation { activity, links, mut matches, details } = observation;
        if let Some(details) = &details {
            let accounts = &self.accounts;
            let rules = self.rules;
            matches.retain(|hit| !rules.is_about_outsiders(hit.rule) || !names_only(accounts, &activity, details));
        }
        let access = self.vocabulary.access_level(activity.service, activity.call);
        let features = self.featurizer.step(&activity, access);
        let mut detections: Vec<RuleIndex> =
            matches.iter().map(|hit| hit.rule).filter(|rule| self.rules.fires(*rule, &features)).collect();
        if !matches.is_empty() {
            let correlated = self.correlator.step(activity.event_time, &matches);
            detections.extend(correlated.into_iter().filter(|rule| self.rules.fires(*rule, &features)));
            detections.sort_unstable();
            detections.dedup();
        }
        Described { activity, links, details, features, detections }
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
    describer: Describer<'a>,
    scorer: Option<&'a Scorer>,
    cases: case::Builder,
    horizon: Timestamp,
}

impl<'a> Engine<'a> {
    /// Without a scorer, events are worth what their detections are.
    pub fn new(describer: Describer<'a>, scorer: Option<&'a Scorer>, cases: case::Limits) -> Self {
        let horizon = describer.featurizer.horizon();
        Self { describer, scorer, cases: case::Builder::new(cases), horizon }
    }

    /// Takes one event through all stages.
    pub fn step(&mut self, observation: Observation<'_>) -> Step {
        let event = self.describer.step(observation);
        let mut step = self.score(event);
        self.weigh(&mut step.cases);
        step
    }

    /// Asks the model what it makes of each case as a whole.
    fn weigh(&self, cases: &mut [Case]) {
        let Some(scorer) = self.scorer else { return };
        for case in cases {
            let spoken_of = || case.signals.iter().filter_map(|signal| signal.learned);
            if spoken_of().next().is_some() {
                case.learned = Some(scorer.case_probability(spoken_of()));
            }
        }
    }

    fn score(&mut self, event: Described<'_>) -> Step {
        let Described { activity, links, details, features, detections } = event;
        let rules = self.describer.rules.rules();
        let found = || detections.iter().map(|rule| &rules[usize::from(rule.0)]);
        let detected = event_score(found().map(|rule| rule.severity));
        let learned =
            self.scorer.and_then(|scorer| scorer.probability(&features, || self.describer.sequence(&activity)));
        let score = learned.map_or(detected, |learned| joined(detected, learned));
        let level = level(score, found().map(|rule| rule.severity).max(), found().filter_map(|rule| rule.floor).max());
        let is_signal = !detections.is_empty() || score >= SIGNAL_FROM;
        let signal = is_signal.then(|| {
            let details = details.unwrap_or_default();
            Signal { learned, ..Signal::new(&activity, score, level, detections, features, details) }
        });
        // A lying clock must not end everybody's cases.
        let now = activity.event_time.min(self.horizon);
        Step { score, level, cases: self.cases.step(now, &links, signal) }
    }

    /// Ends all cases.
    pub fn finish(&mut self) -> Vec<Case> {
        let mut cases = self.cases.finish();
        self.weigh(&mut cases);
        cases
    }

    /// The earliest event time of a case that has not ended; none of the cases to come begins before it.
    pub fn oldest_open(&self) -> Option<Timestamp> {
        self.cases.oldest_open()
    }

    /// What was forgotten or left out for want of room, by what it was.
    pub fn forgotten(&self) -> [(&'static str, u64); 6] {
        let Describer { featurizer, correlator, .. } = &self.describer;
        [
            ("principals with live windows", featurizer.forgotten()),
            ("events beyond an overfull hour's baseline", featurizer.left_out()),
            ("correlation groups", correlator.evicted()),
            ("matches too late for their correlation", correlator.late()),
            ("links between credentials", self.cases.links_forgotten()),
            ("cases ended before their time", self.cases.cut_short()),
        ]
    }
}

/// Score from which on an event without any detection is worth keeping.
pub const SIGNAL_FROM: f64 = 0.10;
/// Probability from which on the model makes a case by itself. Low, so that the list ends about where a person's
/// budget does: on generated organisations that are hard, some one false case an account a day reaches it.
pub const WORTH_JUDGING: f64 = 0.05;
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

/// Whether a case holds anything beside context: informational rules and faint scores tell what surrounds a case and
/// make none.
pub fn is_worth_judging(case: &Case, rules: &[Rule]) -> bool {
    let is_news = |rule: &RuleIndex| rules[usize::from(rule.0)].severity > Severity::Informational;
    case.learned.is_some_and(|learned| learned >= WORTH_JUDGING)
        || case.signals.iter().flat_map(|signal| &signal.detections).any(is_news)
}
