//! The stages in one process, each a step over plain values: activity -> features -> detections ->
//! score -> signal -> case. What reads and what writes stands outside.

use std::collections::BTreeSet;

use trailwarden_collector::Observe;
use trailwarden_core::activity::{Activity, Details, Observation};
use trailwarden_core::api::Vocabulary;
use trailwarden_core::baseline;
use trailwarden_core::case::{self, Case, Signal};
use trailwarden_core::detection::{Correlator, RuleIndex, RuleSet};
use trailwarden_core::level::Level;
use trailwarden_core::negotiation::{event_score, level};
use trailwarden_core::record::RecordView;
use trailwarden_core::registry::Registry;
use trailwarden_core::time::Timestamp;
use trailwarden_core::{link, resource};
use trailwarden_featurizer::Featurizer;

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

/// How loud an event is, and what ended with it.
#[derive(Debug)]
pub struct Step {
    pub score: f64,
    pub level: Level,
    /// Cases that are over, by (first event time, id).
    pub cases: Vec<Case>,
}

/// The stateful stages, fed in order of (event time, event id).
#[derive(Debug)]
pub struct Engine<'a> {
    rules: &'a RuleSet,
    vocabulary: &'a Vocabulary,
    featurizer: Featurizer,
    correlator: Correlator,
    cases: case::Builder,
    horizon: Timestamp,
    /// Accounts of the operator's: what is shared with one of them is not shared outside.
    accounts: BTreeSet<String>,
}

impl<'a> Engine<'a> {
    /// `horizon` is the latest event time to believe; what lies beyond it moves no window.
    pub fn new(
        rules: &'a RuleSet,
        vocabulary: &'a Vocabulary,
        baseline: baseline::Limits,
        cases: case::Limits,
        horizon: Timestamp,
        accounts: BTreeSet<String>,
    ) -> Self {
        Self {
            rules,
            vocabulary,
            featurizer: Featurizer::new(baseline, horizon),
            correlator: Correlator::new(rules),
            cases: case::Builder::new(cases),
            horizon,
            accounts,
        }
    }

    /// Takes one event through all stages.
    pub fn step(&mut self, observation: Observation<'_>) -> Step {
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
        let rules = self.rules.rules();
        let severities = || detections.iter().map(|rule| &rules[usize::from(rule.0)]);
        let score = event_score(severities().map(|rule| rule.severity));
        let level = level(
            score,
            severities().map(|rule| rule.severity).max(),
            severities().filter_map(|rule| rule.floor).max(),
        );
        let signal = (!detections.is_empty())
            .then(|| Signal::new(&activity, score, level, detections, features, details.unwrap_or_default()));
        // A lying clock must not end everybody's cases.
        let now = activity.event_time.min(self.horizon);
        Step { score, level, cases: self.cases.step(now, &links, signal) }
    }

    /// Ends all cases.
    pub fn finish(&mut self) -> Vec<Case> {
        self.cases.finish()
    }

    /// The earliest event time of a case that has not ended; none of the cases to come begins before it.
    pub fn oldest_open(&self) -> Option<Timestamp> {
        self.cases.oldest_open()
    }

    /// What was forgotten or left out for want of room, by what it was.
    pub fn forgotten(&self) -> [(&'static str, u64); 6] {
        [
            ("principals with live windows", self.featurizer.forgotten()),
            ("events beyond an overfull hour's baseline", self.featurizer.left_out()),
            ("correlation groups", self.correlator.evicted()),
            ("matches too late for their correlation", self.correlator.late()),
            ("links between credentials", self.cases.links_forgotten()),
            ("cases ended before their time", self.cases.cut_short()),
        ]
    }
}
