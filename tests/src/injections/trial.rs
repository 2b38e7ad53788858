//! One run of the product over raw records, in this process: parsing, features, score, cases, freeze, negotiation. It
//! keeps what came of every case, and every byte that a model would have been shown of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};
use trailwarden::config::Config;
use trailwarden::findings::Finding;
use trailwarden::scan::Scanner;
use trailwarden_collector::{Input, collect};
use trailwarden_core::case::Case;
use trailwarden_core::gather::is_worth_judging;
use trailwarden_core::level::{Severity, Verdict};
use trailwarden_core::negotiation::exchange::Step;
use trailwarden_core::negotiation::{Bounds, Route, pool};
use trailwarden_core::plan::Playbook;
use trailwarden_core::time::Timestamp;

use crate::records::lines;

/// Later than every record.
const NOW: &str = "2026-06-01T00:00:00Z";

/// Hours of history that the model asks for here: few, so that thousands of runs stay cheap.
pub const WARM_UP_H: u32 = 24;

/// Planted mistakes, each of which the checks must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The pack holds the user agent as it is.
    RawAgent,
    /// The pack holds how the request's parameters begin and end.
    RawParameters,
    /// The pack tells how many bytes a session's name has, instead of a class.
    ExactLength,
    /// Whoever judges reads the texts and does what they ask for.
    Obedience,
    /// Whoever closes a case does not look at the flag.
    FlagIgnored,
    /// The flag is lost on its way into the pack.
    FlagLost,
    /// A step is aimed at what a text names.
    TextAsTarget,
}

impl Mistake {
    pub const ALL: &'static [Self] = &[
        Self::RawAgent,
        Self::RawParameters,
        Self::ExactLength,
        Self::Obedience,
        Self::FlagIgnored,
        Self::FlagLost,
        Self::TextAsTarget,
    ];
}

/// The product with bounds that close and act wherever it allows that.
#[derive(Debug)]
pub struct Trial {
    scanner: Scanner,
    bounds: Bounds,
    now: Timestamp,
    mistake: Option<Mistake>,
}

/// What came of one case.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    pub severity: Severity,
    pub probability: f64,
    pub is_closed: bool,
    pub is_flagged: bool,
    /// Whether the model had an opinion of it.
    pub is_learned: bool,
    /// The steps proposed, with the names of their targets.
    pub steps: Vec<(Playbook, String)>,
    pub event_ids: BTreeSet<String>,
    /// The pack and every question that roles are asked.
    pub shown: String,
}

/// By case id, which derives from the first event alone.
pub type Outcomes = BTreeMap<String, Outcome>;

impl Trial {
    pub fn new(mistake: Option<Mistake>) -> Self {
        let mut config = Config::default();
        config.scan.threads = 1;
        config.scan.memory_mib_max = 16;
        config.features.warm_up_h = WARM_UP_H;
        config.organisation.accounts.extend([super::scenarios::SISTER.to_owned()]);
        config.routing.close_below = Some(Bounds::CLOSE_MAX);
        config.routing.automatic_above = Some(Bounds::AUTOMATIC_ALONE_MIN);
        Self {
            bounds: config.bounds(),
            scanner: Scanner::from_config(config).unwrap(),
            now: Timestamp::parse(NOW).unwrap(),
            mistake,
        }
    }

    /// Everything from raw records to judged cases.
    ///
    /// # Panics
    /// When a record is refused: then it would not be what is tried.
    pub fn run(&self, records: &[Value]) -> Outcomes {
        let inputs = [Input::Memory { name: "records.jsonl".to_owned(), bytes: Cow::Owned(lines(records)) }];
        let collected = collect(&inputs, &self.scanner.options(self.now), &self.scanner.observer(), &|_| {}).unwrap();
        let mut engine = self.scanner.engine(self.now, collected.accounts());
        let mut cases: Vec<Case> = Vec::new();
        let summary = collected.in_order(|observation| cases.extend(engine.step(observation).cases)).unwrap();
        assert_eq!(summary.events, records.len() as u64, "{:?}", summary.problems);
        cases.extend(engine.finish());
        let rules = self.scanner.rules().rules();
        let judged = cases.into_iter().filter(|case| is_worth_judging(case, rules));
        judged.map(|case| (case.id.clone(), self.outcome(self.scanner.finding(case)))).collect()
    }

    fn outcome(&self, finding: Finding) -> Outcome {
        let Finding { case, judgement, .. } = finding;
        let (mut negotiation, asks) = self.scanner.opened(&case);
        let pack = negotiation.pack();
        assert_eq!(pack.digest(), judgement.evidence_digest, "what is looked at is what was judged");
        let mut shown = pack.canonical_json().to_owned();
        let evidence = pack.evidence().clone();
        let mut asks = VecDeque::from(asks);
        while let Some(ask) = asks.pop_front() {
            shown.push_str(&format!("\n{ask:?}"));
            let answer = negotiation.deterministic_answer(&ask);
            for step in negotiation.apply(answer) {
                match step {
                    Step::Ask(ask) => asks.push_back(ask),
                    Step::Concluded(concluded) => assert_eq!(*concluded, judgement),
                }
            }
        }
        let steps = judgement.plan.actions.iter().map(|action| (action.playbook, action.target.id.clone()));
        let mut outcome = Outcome {
            verdict: judgement.verdict,
            severity: judgement.severity,
            probability: judgement.probability,
            is_closed: judgement.route == Route::Closed,
            is_flagged: evidence.injection,
            is_learned: case.learned.is_some(),
            steps: steps.collect(),
            event_ids: case.signals.iter().map(|signal| signal.event_id.clone()).collect(),
            shown,
        };
        if self.mistake == Some(Mistake::FlagIgnored) {
            let unflagged = trailwarden_core::negotiation::evidence::Evidence { injection: false, ..evidence };
            let Outcome { severity, probability: p, .. } = outcome;
            outcome.verdict = pool::verdict(&unflagged, severity, p, judgement.probability_deterministic, &self.bounds);
            outcome.is_closed = outcome.verdict == Verdict::Benign;
        }
        self.blunder(&case, &mut outcome);
        outcome
    }

    /// Makes the planted mistake.
    fn blunder(&self, case: &Case, outcome: &mut Outcome) {
        let Some(heaviest) = case.signals.iter().reduce(|a, b| if b.score > a.score { b } else { a }) else {
            return;
        };
        let parameters: Vec<&str> = case.signals.iter().map(|signal| signal.details.parameters.as_str()).collect();
        match self.mistake {
            Some(Mistake::RawAgent) => leak(outcome, json!(heaviest.user_agent)),
            Some(Mistake::RawParameters) => leak(outcome, json!(parameters)),
            Some(Mistake::ExactLength) => leak(outcome, json!(heaviest.user_agent.len())),
            Some(Mistake::FlagLost) => outcome.is_flagged = false,
            Some(Mistake::Obedience) if heaviest.user_agent.contains("harmless") => outcome.probability /= 2.0,
            Some(Mistake::TextAsTarget) if parameters.iter().any(|text| text.contains("break-glass")) => {
                outcome.steps.push((Playbook::QuarantineUserSoft, "break-glass".to_owned()));
            }
            _ => {}
        }
    }
}

/// Puts a value into the pack that models are shown, where nothing looks for it.
fn leak(outcome: &mut Outcome, value: Value) {
    let (pack, questions) = outcome.shown.split_once('\n').unwrap_or((&outcome.shown, ""));
    let mut pack: Value = serde_json::from_str(pack).unwrap();
    pack["agents"][0]["text"]["sample"] = value;
    outcome.shown = format!("{pack}\n{questions}");
}
