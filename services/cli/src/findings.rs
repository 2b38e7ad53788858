//! What a scan found, as plain values: all that the report, the terminal and the written lines are made of.
//! No clock stands here, so two scans of one input give equal findings and equal bytes of report.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use trailwarden_collector::Problem;
use trailwarden_core::case::{Case, Signal};
use trailwarden_core::detection::{Rule, RuleIndex};
use trailwarden_core::level::{Severity, Verdict};
use trailwarden_core::negotiation::Judgement;
use trailwarden_core::negotiation::score::prior;
use trailwarden_core::plan::Action;
use trailwarden_core::time::Timestamp;
use trailwarden_playbooks::{CaseContext, Step};

use crate::histogram::{Histogram, LevelCounts};

/// A reason that moves the log-odds by less shows as nothing in one decimal and decided nothing.
const WEIGHT_MIN: f64 = 0.1;

/// What one scan read and found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Trailwarden's version.
    pub version: String,
    pub feature_schema_version: u32,
    /// The model bundle that scored; `None` where rules spoke alone.
    pub model: Option<String>,
    pub input: Input,
    pub levels: LevelCounts,
    pub histogram: Histogram,
    /// The most urgent cases, ordered by (first event time, case id).
    pub cases: Vec<Finding>,
    /// Counts of all cases.
    pub tally: Tally,
    /// The rule set's rules, by [`RuleIndex`].
    pub rules: Vec<Rule>,
    /// For a demo: what was planted, and what of it was found.
    pub planted: Option<Vec<Planted>>,
}

/// What was read, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    pub files: u64,
    /// Distinct events: what was judged.
    pub events: u64,
    /// Records seen before under the same event id.
    pub duplicates: u64,
    /// Records and files that could not be read, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// The first of them, by where they stand.
    pub rejected_listed: Vec<Reject>,
    /// Readable, but not events: digest files and the like, by what they are.
    pub set_aside: BTreeMap<String, u64>,
    pub first_event_time: Option<Timestamp>,
    pub last_event_time: Option<Timestamp>,
    /// Distinct accounts, ordered.
    pub accounts: Vec<String>,
    pub principals: u64,
    /// Of all records, those more than five minutes ahead of the clock: scored, but they moved no window.
    pub future: u64,
    /// What was forgotten for want of room, by what it was.
    pub forgotten: BTreeMap<&'static str, u64>,
    /// Memory that the scan keeps within, beside 64 bytes an event.
    pub memory_cap_bytes: u64,
}

/// How many cases there were, those not kept included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    by_verdict: BTreeMap<Verdict, u64>,
    /// At medium severity or above.
    pub notable: u64,
    pub total: u64,
    /// Stretches of routine changes that no detection made a case of.
    pub context_only: u64,
}

impl Tally {
    /// Counts these cases.
    pub fn of<'a>(judgements: impl IntoIterator<Item = &'a Judgement>) -> Self {
        let mut tally = Self::default();
        judgements.into_iter().for_each(|judgement| tally.add(judgement));
        tally
    }

    pub fn add(&mut self, judgement: &Judgement) {
        *self.by_verdict.entry(judgement.verdict).or_default() += 1;
        self.notable += u64::from(judgement.severity >= Severity::Medium);
        self.total += 1;
    }

    pub fn with_verdict(&self, verdict: Verdict) -> u64 {
        self.by_verdict.get(&verdict).copied().unwrap_or_default()
    }

    /// The gravest verdict; `None` without cases.
    pub fn worst(&self) -> Option<Verdict> {
        self.by_verdict.keys().next_back().copied()
    }
}

/// One thing that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// File, and line or record where known.
    pub place: String,
    pub reason: String,
}

/// One case with the council's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub case: Case,
    pub judgement: Judgement,
    /// The judgement's plan, and behind it what playbooks of the operator's offer.
    pub actions: Vec<Action>,
    /// For each action, in their order: how it would be done.
    pub steps: Vec<Step>,
}

/// An attack that the demo planted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planted {
    pub name: String,
    pub techniques: Vec<String>,
    pub events: u64,
    /// Of those events, how many stand in a case at medium or above.
    pub events_found: u64,
    pub case_ids: Vec<String>,
}

impl Findings {
    pub fn rule(&self, index: RuleIndex) -> Option<&Rule> {
        self.rules.get(usize::from(index.0))
    }

    /// The cases with what matters most first: by verdict, severity, probability, then time and id.
    pub fn by_urgency(&self) -> Vec<&Finding> {
        let mut cases: Vec<&Finding> = self.cases.iter().collect();
        cases.sort_by(|a, b| urgency(a, b));
        cases
    }

    /// Takes a case in; when there are half as many again as `kept_max`, the least urgent go.
    pub fn keep(&mut self, finding: Finding, kept_max: usize) {
        self.tally.add(&finding.judgement);
        self.cases.push(finding);
        if self.cases.len() >= kept_max + kept_max / 2 {
            self.cut(kept_max);
        }
    }

    /// Puts the `kept_max` most urgent cases in order.
    pub fn finish(&mut self, kept_max: usize) {
        self.cut(kept_max);
        let key = |finding: &Finding| (finding.case.first_event_time, finding.case.id.clone());
        self.cases.sort_by_key(key);
    }

    fn cut(&mut self, kept_max: usize) {
        self.cases.sort_by(urgency);
        self.cases.truncate(kept_max);
    }

    pub fn rejected(&self) -> u64 {
        self.input.rejected.values().sum()
    }
}

fn urgency(a: &Finding, b: &Finding) -> Ordering {
    let rank = |finding: &Finding| (Reverse(finding.judgement.verdict), Reverse(finding.judgement.severity));
    rank(a)
        .cmp(&rank(b))
        .then_with(|| b.judgement.probability.total_cmp(&a.judgement.probability))
        .then_with(|| a.case.first_event_time.cmp(&b.case.first_event_time))
        .then_with(|| a.case.id.cmp(&b.case.id))
}

impl From<&Problem> for Reject {
    fn from(problem: &Problem) -> Self {
        let at = |name: &str, number: u64| if number == 0 { String::new() } else { format!(", {name} {number}") };
        let place = format!("{}{}{}", problem.file, at("line", problem.place.line), at("record", problem.place.record));
        let detail = if problem.detail.is_empty() { String::new() } else { format!(": {}", problem.detail) };
        Self { place, reason: format!("{}{detail}", problem.reason) }
    }
}

impl Finding {
    /// Spells the judgement's plan out, and `offers` behind it. Sessions would be revoked as of the case's last event, so
    /// that the same input gives the same plan.
    pub fn new(case: Case, judgement: Judgement, offers: Vec<Action>) -> Self {
        let context = CaseContext { case_id: &case.id, reference_time: case.last_event_time };
        let actions: Vec<Action> = judgement.plan.actions.iter().cloned().chain(offers).collect();
        let steps = actions.iter().map(|action| trailwarden_playbooks::calls(action, &context)).collect();
        Self { case, judgement, actions, steps }
    }

    /// The events that make the case, those not kept in full last. What only surrounds it, routine changes that no
    /// reason rests on, is evidence to read and no part of it.
    pub fn event_ids(&self) -> Vec<&str> {
        let kept = self.own_signals().map(|signal| &signal.event_id);
        kept.chain(&self.case.further_event_ids).map(String::as_str).collect()
    }

    /// First and last event time of the events that make the case.
    pub fn span(&self) -> (Timestamp, Timestamp) {
        let times = || self.own_signals().map(|signal| signal.event_time);
        match (times().min(), times().max()) {
            (Some(first), Some(last)) if self.case.further_event_ids.is_empty() => (first, last),
            _ => (self.case.first_event_time, self.case.last_event_time),
        }
    }

    fn own_signals(&self) -> impl Iterator<Item = &Signal> {
        let reasons = self.judgement.reasons.iter().filter(|reason| reason.weight.abs() >= WEIGHT_MIN);
        let cited: BTreeSet<&str> = reasons.flat_map(|reason| &reason.event_ids).map(String::as_str).collect();
        // Informational detections alone stay below half of what a low one is worth.
        let weighs = prior(Severity::Low) / 2.0;
        let signals = self.case.signals.iter();
        signals.filter(move |signal| signal.score >= weighs || cited.contains(signal.event_id.as_str()))
    }

    /// Whether the terminal's table names it.
    pub fn is_notable(&self) -> bool {
        self.judgement.severity >= Severity::Medium
    }

    /// How many signals the case has, those not kept in full included.
    pub fn signals(&self) -> u64 {
        (self.case.signals.len() + self.case.further_event_ids.len()) as u64
    }
}
