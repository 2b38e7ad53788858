//! From measured events to cases: detections with correlations, the final score, and the case builder.
//!
//! The same decisions serve one process and a cluster. In a cluster an event is looked at twice: [`first_look`] sees it
//! alone and decides whether it goes on, [`Gatherer`] sees those that went on in one order and has the last word.

use std::collections::BTreeSet;
use std::ops::Deref;

use crate::activity::{Activity, Details, Observation};
use crate::case::{self, Case, Place, Signal};
use crate::detection::{Correlator, Match, Rule, RuleIndex, RuleSet};
use crate::feature::FeatureVector;
use crate::level::{Level, Severity};
use crate::link::Link;
use crate::negotiation::{event_score, joined, level};
use crate::time::Timestamp;

/// Score from which on an event without any detection is worth keeping.
pub const SIGNAL_FROM: f64 = 0.10;
/// Probability from which on the model makes a case by itself. Low, so that the list ends about where a person's
/// budget does: on generated organisations that are hard, some one false case an account a day reaches it.
pub const WORTH_JUDGING: f64 = 0.05;

/// Whether a case holds anything beside context: informational rules and faint scores tell what surrounds a case and
/// make none.
pub fn is_worth_judging(case: &Case, rules: &[Rule]) -> bool {
    let is_news = |rule: &RuleIndex| rules[usize::from(rule.0)].severity > Severity::Informational;
    case.learned.is_some_and(|learned| learned >= WORTH_JUDGING)
        || case.signals.iter().flat_map(|signal| &signal.detections).any(is_news)
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

/// Names what fires on events, fed in order of time.
#[derive(Debug)]
pub struct Detector<R> {
    rules: R,
    correlator: Correlator,
    /// Accounts of the operator's: what is shared with one of them is not shared outside.
    accounts: BTreeSet<String>,
}

impl<R: Deref<Target = RuleSet>> Detector<R> {
    pub fn new(rules: R, accounts: BTreeSet<String>) -> Self {
        Self { correlator: Correlator::new(&rules), rules, accounts }
    }

    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Names the detections that fire on a measured event, correlations with earlier ones among them.
    pub fn step<'e>(&mut self, observation: Observation<'e>, features: FeatureVector) -> Described<'e> {
        let Observation { activity, links, mut matches, details } = observation;
        matches.retain(|hit| stands(hit, &self.rules, &self.accounts, &activity, details.as_ref()));
        let fires = |rule: &RuleIndex| self.rules.fires(*rule, &features);
        let mut detections: Vec<RuleIndex> = matches.iter().map(|hit| hit.rule).filter(fires).collect();
        if !matches.is_empty() {
            let correlated = self.correlator.step(activity.event_time, &matches);
            detections.extend(correlated.into_iter().filter(fires));
            detections.sort_unstable();
            detections.dedup();
        }
        Described { activity, links, details, features, detections }
    }

    /// What correlations remember.
    pub fn correlator(&self) -> &Correlator {
        &self.correlator
    }

    /// As [`Detector::correlator`], to be put back as it was.
    pub fn correlator_mut(&mut self) -> &mut Correlator {
        &mut self.correlator
    }

    /// What was forgotten or left out for want of room, by what it was.
    pub fn forgotten(&self) -> [(&'static str, u64); 2] {
        [
            ("correlation groups", self.correlator.evicted()),
            ("matches too late for their correlation", self.correlator.late()),
        ]
    }
}

/// What became of an event.
#[derive(Debug)]
pub struct Gathered {
    pub score: f64,
    pub level: Level,
    /// Where its signal lies, if it became one.
    pub place: Option<Place>,
    /// Cases that are over, by (first event time, id).
    pub cases: Vec<Case>,
}

/// All that is stateful after the features: fed in one order, it ends in the same cases.
#[derive(Debug)]
pub struct Gatherer<R> {
    detector: Detector<R>,
    cases: case::Builder,
}

impl<R: Deref<Target = RuleSet>> Gatherer<R> {
    pub fn new(detector: Detector<R>, limits: case::Limits) -> Self {
        Self { detector, cases: case::Builder::new(limits) }
    }

    pub fn rules(&self) -> &RuleSet {
        self.detector.rules()
    }

    /// Takes a measured event in. `now` is the time that all events have come to; `learned` is what the model gives the
    /// event, `None` where it abstains.
    pub fn step(
        &mut self,
        now: Timestamp,
        observation: Observation<'_>,
        features: FeatureVector,
        learned: Option<f64>,
    ) -> Gathered {
        let Described { activity, links, details, features, detections } = self.detector.step(observation, features);
        let (score, level) = judge(self.detector.rules(), &detections, learned);
        let is_signal = !detections.is_empty() || score >= SIGNAL_FROM;
        let signal = is_signal.then(|| {
            let details = details.unwrap_or_default();
            Signal { learned, ..Signal::new(&activity, score, level, detections, features, details) }
        });
        let place = signal.as_ref().map(Place::of);
        Gathered { score, level, place, cases: self.cases.step(now, &links, signal) }
    }

    /// Time has come to `now` without an event. Returns the cases that ended by it.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Case> {
        self.cases.step(now, &[], None)
    }

    /// The case of a signal as it would be if it ended now; `None` when it is over. From then on whichever case the
    /// signal ends in names this one's id in [`Case::replaces`], should its own be another.
    pub fn open_case(&mut self, place: &Place) -> Option<Case> {
        self.cases.open_case(place)
    }

    /// Ends all cases.
    pub fn finish(&mut self) -> Vec<Case> {
        self.cases.finish()
    }

    /// The earliest event time of a case that has not ended; none of the cases to come begins before it.
    pub fn oldest_open(&self) -> Option<Timestamp> {
        self.cases.oldest_open()
    }

    /// What names the detections, with all that it remembers.
    pub fn detector_mut(&mut self) -> &mut Detector<R> {
        &mut self.detector
    }

    /// What gathers signals into cases, with all links that hold.
    pub fn cases_mut(&mut self) -> &mut case::Builder {
        &mut self.cases
    }

    /// What was forgotten or left out for want of room, by what it was.
    pub fn forgotten(&self) -> [(&'static str, u64); 4] {
        let [groups, late] = self.detector.forgotten();
        let links = ("links between credentials", self.cases.links_forgotten());
        [groups, late, links, ("cases ended before their time", self.cases.cut_short())]
    }
}

/// What an event is worth by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstLook {
    /// The rules whose matches stand, in order; the others are taken back.
    pub matches: Vec<RuleIndex>,
    /// By the model and the event's own rules, before correlations.
    pub score: f64,
    pub level: Level,
    /// Whether the event goes on: correlations, lineages or cases may need it.
    pub is_kept: bool,
}

/// Looks at one measured event without any other: what it is worth, and whether it goes on to the [`Gatherer`], which
/// would do the same with it as if all events had gone on.
pub fn first_look(
    rules: &RuleSet,
    accounts: &BTreeSet<String>,
    observation: &Observation<'_>,
    features: &FeatureVector,
    learned: Option<f64>,
) -> FirstLook {
    let Observation { activity, links, matches, details } = observation;
    let standing = matches.iter().filter(|hit| stands(hit, rules, accounts, activity, details.as_ref()));
    let matches: Vec<RuleIndex> = standing.map(|hit| hit.rule).collect();
    let detections: Vec<RuleIndex> = matches.iter().copied().filter(|rule| rules.fires(*rule, features)).collect();
    let (score, level) = judge(rules, &detections, learned);
    let is_kept = !matches.is_empty() || !links.is_empty() || score >= SIGNAL_FROM;
    FirstLook { matches, score, level, is_kept }
}

/// Judges a signal once more after its features and the model's word were changed: a first-seen rule falls with its
/// feature; other detections stand, correlations with them.
pub fn judge_again(signal: &mut Signal, rules: &RuleSet) {
    signal.detections.retain(|rule| rules.fires(*rule, &signal.features));
    (signal.score, signal.level) = judge(rules, &signal.detections, signal.learned);
}

/// Score and level of an event by what fired on it and what the model gives it.
fn judge(rules: &RuleSet, detections: &[RuleIndex], learned: Option<f64>) -> (f64, Level) {
    let found = || detections.iter().filter_map(|rule| rules.rule(*rule));
    let detected = event_score(found().map(|rule| rule.severity));
    let score = learned.map_or(detected, |learned| joined(detected, learned));
    let strongest = found().map(|rule| rule.severity).max();
    (score, level(score, strongest, found().filter_map(|rule| rule.floor).max()))
}

/// Whether a match stands. Rules that ask whether an account is foreign run before it is known whose trails are read, so
/// their matches are taken back where all accounts named turn out to be the operator's.
fn stands(
    hit: &Match,
    rules: &RuleSet,
    accounts: &BTreeSet<String>,
    activity: &Activity<'_>,
    details: Option<&Details>,
) -> bool {
    details.is_none_or(|details| !rules.is_about_outsiders(hit.rule) || !names_only(accounts, activity, details))
}

/// Whether a request names accounts beside its own, and all of them are among `accounts`.
fn names_only(accounts: &BTreeSet<String>, activity: &Activity<'_>, details: &Details) -> bool {
    if details.parameters_are_cut() || hides_digits(&details.parameters) {
        return false;
    }
    let mut others = account_ids(&details.parameters).filter(|account| *account != activity.account).peekable();
    others.peek().is_some() && others.all(|account| accounts.contains(account))
}

/// Whether a document within a text may hold digits that only its reader sees: escaped (`\u0037`), URL-encoded (`%37`), or
/// both. No serialiser writes digits so; a caller might, so that a stranger's account goes unnoticed beside one of the
/// operator's.
fn hides_digits(text: &str) -> bool {
    let is_digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let has = |form: &str| text.match_indices(form).any(|(at, _)| is_digit(at + form.len()));
    has("\\u003") || has("%3") || text.contains("%5C") || text.contains("%5c")
}

/// The account ids that stand in a text: runs of exactly 12 digits.
fn account_ids(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_digit()).filter(|run| run.len() == 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_that_only_a_documents_reader_sees_are_noticed() {
        for (text, expected) in [
            (r#"{"policyDocument":"{\"AWS\":\"arn:aws:iam::777788889999:root\"}"}"#, false),
            (r#"{"policyDocument":"{\"Resource\":\"a\\u003cb\\u003e\"}"}"#, false),
            (r#"{"policyDocument":"%7B%22AWS%22%3A%22arn%3Aaws%3Aiam%3A%3A777788889999%3Aroot%22%7D"}"#, false),
            (r#"{"policyDocument":"{\"AWS\":\"\\u003777788889999\"}"}"#, true),
            (r#"{"policyDocument":"%7B%22AWS%22%3A%22%3777788889999%22%7D"}"#, true),
            (r#"{"policyDocument":"%7B%22AWS%22%3A%22%5Cu003777788889999%22%7D"}"#, true),
        ] {
            assert_eq!(hides_digits(text), expected, "{text}");
        }
    }
}
