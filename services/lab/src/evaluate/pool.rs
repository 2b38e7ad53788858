//! What was measured in one environment over all folds, side by side: each event once, scored by models that saw
//! neither its organisation nor its campaign.

use std::collections::BTreeMap;

use trailwarden_core::level::Severity;
use trailwarden_core::time::DAY_MS;

use super::models::Detector;
use crate::cases::Timed;
use crate::dataset::{Dataset, Meta};
use crate::measure::{
    self, Case, Confusion, FALSE_POSITIVE_RATES, RecallAtBudget, Resampling, average_precision, false_cases_allowed,
    found_above, recall_at_budget, recall_at_budget_estimate, roc_auc, threshold_at_budget,
    threshold_at_false_positive_rate, time_to_detect,
};
use crate::table::Metrics;
use crate::universe::{Phase, calm_days, calm_ms, test_days};

/// Resamples of an interval, and their seed.
const RESAMPLES: u32 = 200;
const SEED: u64 = 7;
/// False cases an account a day that a person on call is asked to bear.
pub(super) const FALSE_CASES_A_DAY: f64 = 1.0;
/// Events beyond this false-positive rate count as raised where one threshold is asked for.
const RAISED_RATE: f64 = 1e-3;
/// Events and cases of all folds.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Of the test.
    pub incidents: Vec<u32>,
    pub labels: Vec<bool>,
    pub times_ms: Vec<i64>,
    pub severities: Vec<Option<Severity>>,
    /// An account's day.
    pub blocks: Vec<u32>,
    pub scores: BTreeMap<Detector, Vec<f64>>,
    /// Scores of the calm time, all of them innocent.
    pub calm: BTreeMap<Detector, Vec<f64>>,
    pub cases: BTreeMap<Detector, Vec<Case>>,
    pub calm_cases: BTreeMap<Detector, Vec<Case>>,
    /// Names of incidents, by their number minus 1.
    pub names: Vec<String>,
    pub accounts: u32,
    /// Share of the account-days that hold no event of the test, where only a part is tested.
    pub untested: f64,
}

impl Pool {
    /// Where the next organisation's numbers begin.
    fn offsets(&self) -> (u32, u32) {
        (self.names.len() as u32, self.accounts)
    }

    /// Takes an organisation in: scores by detector, and cases where a detector has its own.
    pub(super) fn add(
        &mut self,
        dataset: &Dataset,
        scores: Vec<(Detector, Vec<f64>)>,
        cases: Vec<(Detector, Vec<Timed>)>,
    ) {
        let (incidents, accounts) = self.offsets();
        let first = dataset.first;
        let phase = |at| Phase::of(first, at);
        for meta in dataset.events.iter().filter(|meta| phase(meta.at) == Phase::Test) {
            let day = (meta.at.since_ms(first) / DAY_MS) as u32;
            self.incidents.push(if meta.incident > 0 { meta.incident + incidents } else { 0 });
            self.labels.push(meta.incident > 0);
            self.times_ms.push(meta.at.as_millis());
            self.severities.push(meta.severity);
            self.blocks.push((meta.account + accounts) * 1_000 + day);
        }
        for (detector, scores) in scores {
            let of = |wanted| {
                let pairs = dataset.events.iter().zip(&scores);
                let is_fit =
                    move |meta: &Meta| phase(meta.at) == wanted && (wanted == Phase::Test || meta.incident == 0);
                pairs.filter(move |(meta, _)| is_fit(meta)).map(|(_, score)| *score)
            };
            self.scores.entry(detector).or_default().extend(of(Phase::Test));
            self.calm.entry(detector).or_default().extend(of(Phase::Calm));
        }
        let calm_days = (calm_ms() / DAY_MS) as u32;
        for (detector, cases) in cases {
            for timed in cases {
                let wanted = phase(timed.first);
                let mut case = timed.case;
                case.account += accounts;
                case.day = case.day.saturating_sub(calm_days);
                case.incidents.iter_mut().for_each(|incident| *incident += incidents);
                match wanted {
                    Phase::WarmUp => {}
                    Phase::Calm => self.calm_cases.entry(detector).or_default().push(case),
                    Phase::Test => self.cases.entry(detector).or_default().push(case),
                }
            }
        }
        self.names.extend(dataset.incidents.iter().cloned());
        self.accounts += dataset.accounts.len() as u32;
    }

    pub(super) fn prevalence(&self) -> f64 {
        self.labels.iter().filter(|label| **label).count() as f64 / self.labels.len().max(1) as f64
    }

    pub(super) fn account_days(&self) -> f64 {
        f64::from(self.accounts) * f64::from(test_days()) * (1.0 - self.untested)
    }

    pub(super) fn days() -> f64 {
        f64::from(test_days())
    }

    pub(super) fn resampling(&self) -> Resampling {
        Resampling::new(&self.incidents, &self.blocks, RESAMPLES, SEED)
    }

    /// The threshold on cases that lets one false case an account a day through, chosen on the test and on the calm
    /// time before it.
    pub(super) fn case_thresholds(&self, detector: Detector) -> (f64, f64) {
        let of = |cases: &BTreeMap<Detector, Vec<Case>>, days| {
            let allowed = false_cases_allowed(self.accounts, days, FALSE_CASES_A_DAY * (1.0 - self.untested));
            threshold_at_budget(cases.get(&detector).map_or(&[], Vec::as_slice), allowed)
        };
        (of(&self.cases, f64::from(test_days())), of(&self.calm_cases, calm_days()))
    }

    /// Whether each incident is found by a case above the realised threshold, by number.
    pub(super) fn found_by_cases(&self, detector: Detector) -> Vec<bool> {
        let (threshold, _) = self.case_thresholds(detector);
        let mut found = vec![false; self.names.len()];
        for case in self.cases.get(&detector).into_iter().flatten().filter(|case| case.score > threshold) {
            for incident in &case.incidents {
                if let Some(found) = found.get_mut(*incident as usize - 1) {
                    *found = true;
                }
            }
        }
        found
    }

    /// All figures of one detector.
    pub(super) fn metrics(&self, detector: Detector, resampling: &Resampling) -> Metrics {
        let Some(scores) = self.scores.get(&detector) else { return Metrics::default() };
        let calm = self.calm.get(&detector).map_or(&[][..], Vec::as_slice);
        let incident_recall = FALSE_POSITIVE_RATES.map(|rate| {
            let threshold = threshold_at_false_positive_rate(calm, rate)?;
            resampling.incident_recall(&found_above(scores, &self.incidents, threshold))
        });
        let raised_from = threshold_at_false_positive_rate(calm, RAISED_RATE);
        let confusion = raised_from.map(|threshold| Confusion::above(scores, &self.labels, threshold));
        let raised = raised_from.map(|from| scores.iter().map(|score| *score > from).collect::<Vec<_>>());
        let cases = self.cases.get(&detector).map_or(&[][..], Vec::as_slice);
        let planted = self.names.len() as u32;
        let (_, ahead) = self.case_thresholds(detector);
        let ahead: Option<RecallAtBudget> = recall_at_budget(cases, planted, self.account_days(), ahead);
        Metrics {
            average_precision: resampling.average_precision(scores, &self.labels),
            incident_recall,
            recall_at_one_false_case: recall_at_budget_estimate(
                cases,
                planted,
                (self.accounts, test_days()),
                FALSE_CASES_A_DAY * (1.0 - self.untested),
                (RESAMPLES, SEED),
            ),
            recall_at_one_false_case_ahead: ahead.map(|found| found.recall),
            false_cases_ahead: ahead.map(|found| found.false_cases_per_account_day),
            alerts_per_account_day: ahead
                .and_then(|found| measure::alerts_per_account_day(cases, self.account_days(), found.threshold)),
            time_to_detect: raised.and_then(|raised| time_to_detect(&self.times_ms, &self.incidents, &raised)),
            roc_auc: roc_auc(scores, &self.labels),
            f1: confusion.and_then(|counts| counts.f1()),
            accuracy: confusion.and_then(|counts| counts.accuracy()),
            precision: confusion.and_then(|counts| counts.precision()),
            recall: confusion.and_then(|counts| counts.recall()),
            specificity: confusion.and_then(|counts| counts.specificity()),
            prevalence: Some(self.prevalence()),
        }
    }

    pub(super) fn average_precision(&self, detector: Detector) -> Option<f64> {
        average_precision(self.scores.get(&detector)?, &self.labels)
    }
}
