//! Metrics over incidents: what a person on call sees is cases, and what matters is the attack, not its events.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::bootstrap::{Estimate, draw, quantile};
use super::comparable;
use super::curves::Point;

/// The incident number of an event outside every incident.
pub const BENIGN: u32 = 0;

/// A case as the evaluation sees it: what a detector would put before a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    pub score: f64,
    pub account: u32,
    /// Day of the case's first event, counted from the first day of the test period.
    pub day: u32,
    /// Incidents with an event in the case; empty is a false case.
    pub incidents: Vec<u32>,
}

impl Case {
    pub fn is_false(&self) -> bool {
        self.incidents.is_empty()
    }
}

/// Whether any event of each incident scores above the threshold, in ascending order of the incident's number.
///
/// # Panics
/// When the slices differ in length.
pub fn found_above(scores: &[f64], incidents: &[u32], threshold: f64) -> Vec<bool> {
    assert_eq!(scores.len(), incidents.len());
    let mut found = BTreeMap::new();
    for (score, incident) in scores.iter().zip(incidents).filter(|(_, incident)| **incident != BENIGN) {
        *found.entry(*incident).or_insert(false) |= *score > threshold;
    }
    found.into_values().collect()
}

/// Share that is true. `None` of nothing.
pub fn recall(found: &[bool]) -> Option<f64> {
    (!found.is_empty()).then(|| found.iter().filter(|found| **found).count() as f64 / found.len() as f64)
}

/// False cases that `rate` an account a day allows.
pub fn false_cases_allowed(accounts: u32, days: f64, rate: f64) -> u64 {
    (f64::from(accounts) * days * rate + 1e-9).floor().max(0.0) as u64
}

/// The lowest threshold with at most `allowed` false cases above it, for use on earlier data; minus infinity when
/// there are not more false cases than that.
pub fn threshold_at_budget(cases: &[Case], allowed: u64) -> f64 {
    let mut scores: Vec<f64> = cases.iter().filter(|case| case.is_false()).map(|case| comparable(case.score)).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    usize::try_from(allowed).ok().and_then(|at| scores.get(at).copied()).unwrap_or(f64::NEG_INFINITY)
}

/// Incidents found by cases above a threshold, and what that cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecallAtBudget {
    /// Share of all incidents with a case above the threshold.
    pub recall: f64,
    pub threshold: f64,
    pub false_cases: u64,
    /// False cases over accounts times days.
    pub false_cases_per_account_day: f64,
}

/// Incident recall of the cases above `threshold`. With the threshold of [`threshold_at_budget`] on the same cases it
/// is the realised form; on earlier cases it is the form a deployment would see, and the cost stands beside it.
/// `None` without an incident or without time.
pub fn recall_at_budget(cases: &[Case], incidents: u32, account_days: f64, threshold: f64) -> Option<RecallAtBudget> {
    if incidents == 0 || account_days.is_nan() || account_days <= 0.0 {
        return None;
    }
    let raised = || cases.iter().filter(|case| comparable(case.score) > threshold || threshold == f64::NEG_INFINITY);
    let found: BTreeSet<u32> = raised().flat_map(|case| case.incidents.iter().copied()).collect();
    let false_cases = raised().filter(|case| case.is_false()).count() as u64;
    Some(RecallAtBudget {
        recall: found.len() as f64 / f64::from(incidents),
        threshold,
        false_cases,
        false_cases_per_account_day: false_cases as f64 / account_days,
    })
}

/// All cases above the threshold, true and false, over accounts times days.
pub fn alerts_per_account_day(cases: &[Case], account_days: f64, threshold: f64) -> Option<f64> {
    let raised = cases.iter().filter(|case| comparable(case.score) > threshold || threshold == f64::NEG_INFINITY);
    (account_days > 0.0).then(|| raised.count() as f64 / account_days)
}

/// Incident recall (y) over false cases an account a day (x), a point for every false case more that is let through.
/// Each point is what a threshold just above the next false case finds.
pub fn recall_by_budget(cases: &[Case], incidents: u32, account_days: f64) -> Vec<Point> {
    if incidents == 0 || account_days.is_nan() || account_days <= 0.0 {
        return Vec::new();
    }
    let mut best: Vec<f64> = best_scores(cases).into_values().collect();
    best.sort_by(|a, b| b.total_cmp(a));
    let mut costs: Vec<f64> = cases.iter().filter(|case| case.is_false()).map(|case| comparable(case.score)).collect();
    costs.sort_by(|a, b| b.total_cmp(a));
    (0..=costs.len())
        .filter(|&allowed| allowed == 0 || allowed == costs.len() || costs[allowed - 1] > costs[allowed])
        .map(|allowed| {
            let found = costs.get(allowed).map_or(best.len(), |next| best.partition_point(|score| score > next));
            Point { x: allowed as f64 / account_days, y: found as f64 / f64::from(incidents) }
        })
        .collect()
}

/// The best score of a case for every incident that any case holds.
fn best_scores(cases: &[Case]) -> BTreeMap<u32, f64> {
    let mut best = BTreeMap::new();
    for case in cases {
        for incident in &case.incidents {
            let score = best.entry(*incident).or_insert(f64::NEG_INFINITY);
            *score = comparable(case.score).max(*score);
        }
    }
    best
}

/// Incident recall at `rate` false cases an account a day with its interval, realised on these cases. Incidents are
/// drawn with replacement, and apart from them the account-days, quiet ones included; each draw chooses its own
/// threshold. `None` without incidents or account-days.
pub fn recall_at_budget_estimate(
    cases: &[Case],
    incidents: u32,
    (accounts, days): (u32, u32),
    rate: f64,
    (resamples, seed): (u32, u64),
) -> Option<Estimate> {
    let account_days = accounts.checked_mul(days).filter(|units| *units > 0)? as usize;
    let allowed = false_cases_allowed(accounts, f64::from(days), rate);
    let threshold = threshold_at_budget(cases, allowed);
    let value = recall_at_budget(cases, incidents, account_days as f64, threshold)?.recall;

    let best: Vec<f64> = best_scores(cases).into_values().take(incidents as usize).collect();
    // Accounts and days are numbered from 0 by the caller; whatever lies beyond shares the last unit.
    let unit = |case: &Case| (case.account as usize * days as usize + case.day as usize).min(account_days - 1);
    let mut costs: Vec<(f64, usize)> =
        cases.iter().filter(|case| case.is_false()).map(|case| (comparable(case.score), unit(case))).collect();
    costs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));

    let (mut of_incident, mut of_day) = (vec![0_u32; incidents as usize], vec![0_u32; account_days]);
    let resampled = (0..resamples).map(|number| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(number));
        draw(&mut rng, &mut of_incident);
        draw(&mut rng, &mut of_day);
        let mut let_through = 0;
        let threshold = costs.iter().find(|(_, unit)| {
            let_through += u64::from(of_day[*unit]);
            let_through > allowed
        });
        let is_found = |score: f64| threshold.is_none_or(|(cost, _)| score > *cost);
        // Incidents without any case stand behind `best` and are never found.
        let hits: u32 =
            best.iter().zip(&of_incident).map(|(score, drawn)| if is_found(*score) { *drawn } else { 0 }).sum();
        f64::from(hits) / f64::from(incidents)
    });
    Some(Estimate::of(value, resampled.collect()))
}

/// How long an attack ran before the first of its events was raised, over the incidents that were found at all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeToDetect {
    pub median_s: f64,
    pub ninetieth_percentile_s: f64,
    pub found: u32,
    pub missed: u32,
}

/// First raised event minus first event of each incident; times in milliseconds, in any order. `None` when nothing
/// was found.
///
/// # Panics
/// When the slices differ in length.
pub fn time_to_detect(times_ms: &[i64], incidents: &[u32], raised: &[bool]) -> Option<TimeToDetect> {
    assert_eq!(times_ms.len(), incidents.len());
    assert_eq!(times_ms.len(), raised.len());
    let mut spans: BTreeMap<u32, (i64, Option<i64>)> = BTreeMap::new();
    for ((time, incident), raised) in times_ms.iter().zip(incidents).zip(raised) {
        if *incident != BENIGN {
            let (first, seen) = spans.entry(*incident).or_insert((*time, None));
            *first = (*first).min(*time);
            if *raised {
                *seen = Some(seen.map_or(*time, |seen| seen.min(*time)));
            }
        }
    }
    let mut delays: Vec<f64> = spans
        .values()
        .filter_map(|(first, seen)| Some(seen.as_ref()?.saturating_sub(*first) as f64 / 1000.0))
        .collect();
    delays.sort_by(f64::total_cmp);
    (!delays.is_empty()).then(|| TimeToDetect {
        median_s: quantile(&delays, 0.5),
        ninetieth_percentile_s: quantile(&delays, 0.9),
        found: delays.len() as u32,
        missed: (spans.len() - delays.len()) as u32,
    })
}

/// Incidents of one group (a campaign, commonly) and how many were found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecall {
    pub group: String,
    pub found: u32,
    pub incidents: u32,
}

/// Found incidents by group, in ascending order of the group's name; one entry an incident in both slices.
///
/// # Panics
/// When the slices differ in length.
pub fn recall_by_group(found: &[bool], groups: &[&str]) -> Vec<GroupRecall> {
    assert_eq!(found.len(), groups.len());
    let mut counts: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for (found, group) in found.iter().zip(groups) {
        let (hits, incidents) = counts.entry(group).or_default();
        *hits += u32::from(*found);
        *incidents += 1;
    }
    let named =
        |(group, (found, incidents)): (&str, (u32, u32))| GroupRecall { group: group.to_owned(), found, incidents };
    counts.into_iter().map(named).collect()
}
