//! Cases of an organisation, as a person on call would see them: those of the whole product, and those that a
//! detector's event scores alone would make.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use trailwarden_core::baseline;
use trailwarden_core::case;
use trailwarden_core::gather::is_worth_judging;
use trailwarden_core::level::Severity;
use trailwarden_core::negotiation::{Bounds, Terms, negotiate_deterministically};
use trailwarden_core::time::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};
use trailwarden_pipeline::{Describer, Engine};
use trailwarden_scorer::Scorer;

use crate::Error;
use crate::dataset::{Dataset, FAR, Reader, Truth};
use crate::measure::Case;
use crate::universe::{Organisation, Phase};

/// A case with the time it began.
#[derive(Clone, Debug)]
pub struct Timed {
    pub first: Timestamp,
    pub case: Case,
    pub severity: Option<Severity>,
}

/// Quiet minutes that end a case, and hours that it lasts at most: the product's defaults.
const QUIET_MS: i64 = 15 * MINUTE_MS;
const LENGTH_MS: i64 = 6 * HOUR_MS;
/// Of the events, those that score highest make a detector's cases: this share of all.
const RAISED_SHARE: f64 = 0.03;

/// Events of one principal in one account, gathered like a case of the product.
#[derive(Clone, Debug)]
pub struct Group {
    pub first: Timestamp,
    latest: Timestamp,
    pub account: u32,
    /// Places in the dataset, in time.
    pub events: Vec<usize>,
}

/// Groups of the events that score at least `from`, by their first events.
pub fn groups(dataset: &Dataset, scores: &[f64], from: f64) -> Vec<Group> {
    let mut running: FxHashMap<(u32, u64), usize> = FxHashMap::default();
    let mut groups: Vec<Group> = Vec::new();
    for (event, meta) in dataset.events.iter().enumerate().filter(|(event, _)| scores[*event] >= from) {
        let key = (meta.account, meta.principal);
        let open = running.get(&key).copied().filter(|open| {
            let group = &groups[*open];
            meta.at.since_ms(group.latest) <= QUIET_MS && meta.at.since_ms(group.first) <= LENGTH_MS
        });
        match open {
            Some(open) => {
                groups[open].latest = meta.at;
                groups[open].events.push(event);
            }
            None => {
                running.insert(key, groups.len());
                groups.push(Group { first: meta.at, latest: meta.at, account: meta.account, events: vec![event] });
            }
        }
    }
    groups
}

/// Cases from event scores: the highest-scoring events of one principal in one account, each case worth its highest.
pub fn of_scores(dataset: &Dataset, scores: &[f64]) -> Vec<Timed> {
    // From before the first attack, where there is such a time: a bound must not know the test.
    let of_phase = |calm: bool| {
        let pairs = dataset.events.iter().zip(scores).filter(move |(_, score)| !score.is_nan());
        pairs
            .filter(move |(meta, _)| !calm || Phase::of(dataset.first, meta.at) == Phase::Calm)
            .map(|(_, score)| *score)
    };
    let mut ranked: Vec<f64> = of_phase(true).collect();
    if ranked.is_empty() {
        ranked = of_phase(false).collect();
    }
    if ranked.is_empty() {
        return Vec::new();
    }
    let kept = ((ranked.len() as f64 * RAISED_SHARE) as usize).min(ranked.len() - 1);
    let (_, bound, _) = ranked.select_nth_unstable_by(kept, |a, b| b.total_cmp(a));
    // Above it, not at it: a detector that gives few different scores must not raise everything.
    let groups = groups(dataset, scores, bound.next_up());
    let cases = groups.into_iter().map(|group| {
        let of = |event: &usize| dataset.events[*event].incident;
        let incidents: BTreeSet<u32> = group.events.iter().map(of).filter(|incident| *incident > 0).collect();
        let score = group.events.iter().map(|event| scores[*event]).fold(f64::NEG_INFINITY, f64::max);
        let day = day(dataset.first, group.first);
        let case = Case { score, account: group.account, day, incidents: incidents.into_iter().collect() };
        Timed { first: group.first, case, severity: None }
    });
    cases.collect()
}

fn day(first: Timestamp, at: Timestamp) -> u32 {
    at.since_ms(first).div_euclid(DAY_MS).max(0) as u32
}

/// The cases that a scan of an organisation's logs ends with, each judged by the deterministic council.
///
/// # Errors
/// When the logs cannot be read.
pub fn of_product(reader: &Reader, organisation: &Organisation, scorer: Option<&Scorer>) -> Result<Vec<Timed>, Error> {
    let dataset = &organisation.dataset;
    let numbers: BTreeMap<&str, u32> = dataset.accounts.iter().zip(0..).map(|(name, at)| (name.as_str(), at)).collect();
    let mut ended = Vec::new();
    each_of_product(reader, organisation, scorer, |case, incidents| {
        let terms = scorer.map_or_else(Terms::default, |scorer| scorer.terms(Bounds::default()));
        let (rules, vocabulary) = (reader.rules.rules(), &reader.vocabulary);
        let judgement = negotiate_deterministically(case, rules, reader.registry(), vocabulary, &terms);
        let account = numbers.get(case.account.as_str()).copied().unwrap_or(0);
        let first = case.first_event_time;
        ended.push(Timed {
            first,
            case: Case { score: judgement.probability, account, day: day(dataset.first, first), incidents },
            severity: Some(judgement.severity),
        });
    })?;
    Ok(ended)
}

/// Calls `take` with each case that a scan of an organisation's logs ends with, in the order in which they end, and with
/// the numbers (from 1) of the incidents that its events are part of, in order; none for a false case.
///
/// # Errors
/// When the logs cannot be read.
pub fn each_of_product(
    reader: &Reader,
    organisation: &Organisation,
    scorer: Option<&Scorer>,
    mut take: impl FnMut(&case::Case, Vec<u32>),
) -> Result<(), Error> {
    let truth = Truth::read(organisation.folder())?;
    let collected = reader.collect(&organisation.folder().join("AWSLogs"), FAR)?;
    let describer = Describer::new(
        &reader.rules,
        &reader.vocabulary,
        baseline::Limits::default(),
        FAR,
        collected.accounts().clone(),
    );
    let mut engine = Engine::new(describer, scorer, case::Limits::default());
    let mut take_all = |cases: Vec<case::Case>| {
        for case in cases.into_iter().filter(|case| is_worth_judging(case, reader.rules.rules())) {
            let ids = case.signals.iter().map(|signal| &signal.event_id).chain(&case.further_event_ids);
            let mut incidents: Vec<u32> = ids.map(|id| truth.incident(id)).filter(|incident| *incident > 0).collect();
            incidents.sort_unstable();
            incidents.dedup();
            take(&case, incidents);
        }
    };
    collected.in_order(|observation| take_all(engine.step(observation).cases))?;
    take_all(engine.finish());
    Ok(())
}
