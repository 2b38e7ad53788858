//! The published table: what was measured, the best honest figure, and what a leaky split would have claimed.
//!
//! One value, three forms: Markdown for the repository, HTML with plots for a reader, one JSON line for a machine.
//! A figure that was not measured says so; it is never 0.

mod chart;
mod figures;
mod line;
mod markdown;
mod page;
mod plots;
mod stage_two;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use line::json_line;
pub use markdown::markdown;
pub use page::html;
pub use stage_two::{Council, Sampled, Scope, StageTwo, stage_two_markdown};

use crate::measure::{Estimate, GroupRecall, Point, ReliabilityBin, TimeToDetect};

/// Points a curve may have; [`crate::measure::reduced`] brings longer ones down.
pub const CURVE_POINTS_MAX: usize = 200;

/// Everything `lab evaluate` found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub version: String,
    pub feature_schema: u32,
    /// Hash of the model bundle that was measured.
    pub model: Option<String>,
    /// The detector that is shipped, chosen without the test; the headline is its. Otherwise it is the best of ours.
    pub shipped: Option<String>,
    /// The first is the one the headline speaks of.
    pub environments: Vec<Environment>,
    pub rows: Vec<Row>,
    /// Ours minus another detector, on the same resamples.
    pub differences: Vec<Difference>,
    /// Incidents of campaigns that were unseen in training.
    pub campaigns: Vec<GroupRecall>,
    pub label_shuffle: Option<LabelShuffle>,
    pub without_error_codes: Option<Ablation>,
    pub generated_or_real: Option<GeneratedOrReal>,
    pub bands: Vec<Band>,
    pub curves: Vec<Curves>,
    pub reliability: Vec<ReliabilityBin>,
    /// How intervals were made: what was resampled, how often.
    pub intervals: String,
    /// Where it fails, and whatever else a reader must know; plain sentences.
    pub notes: Vec<String>,
}

/// Logs to be judged, all of them generated unless the name says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    pub name: String,
    pub events: u64,
    /// Share of events that belong to an attack.
    pub prevalence: f64,
    pub incidents: u64,
    pub accounts: u64,
    pub days: f64,
    /// Hash of the generator's code, settings and seeds, frozen before training.
    pub generator: String,
    pub seeds: Vec<u64>,
}

/// What a detector could have known of the test events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    LeaveCampaignAndOrganisationOut,
    LeaveAccountOut,
    TimeOrdered,
    LeakyRandomSplit,
}

impl Protocol {
    pub const ALL: [Protocol; 4] =
        [Self::LeaveCampaignAndOrganisationOut, Self::LeaveAccountOut, Self::TimeOrdered, Self::LeakyRandomSplit];

    pub const fn name(self) -> &'static str {
        match self {
            Self::LeaveCampaignAndOrganisationOut => "unseen campaigns and organisations",
            Self::LeaveAccountOut => "unseen accounts",
            Self::TimeOrdered => "later than training",
            Self::LeakyRandomSplit => "random split (leaky, for comparison only)",
        }
    }

    pub const fn meaning(self) -> &'static str {
        match self {
            Self::LeaveCampaignAndOrganisationOut => {
                "Neither the attack campaigns nor the organisations of the test occur in training. The honest headline."
            }
            Self::LeaveAccountOut => "The accounts of the test do not occur in training; their campaigns may.",
            Self::TimeOrdered => "The test is later than the training, in the same organisations.",
            Self::LeakyRandomSplit => {
                "Events are dealt out at random, so that events of one incident stand on both sides. It measures \
                 remembering, and is shown because published figures are often made so."
            }
        }
    }
}

/// What kind of thing a detector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The product's score or one of its parts.
    Ours,
    /// A reference that learnt from labels.
    Trained,
    /// A reference that saw no label: rules, rarity, first-seen facts, isolation forest, autoencoder.
    Untrained,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Trained => "trained reference",
            Self::Untrained => "untrained reference",
        }
    }
}

/// One detector under one protocol in one environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub detector: String,
    pub kind: Kind,
    pub protocol: Protocol,
    pub environment: String,
    pub metrics: Metrics,
}

/// The figures of EVALUATION.md, rule 5. Accuracy to specificity stand at one threshold chosen on earlier data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    pub average_precision: Option<Estimate>,
    /// At 1e-4, 1e-3 and 1e-2 false positives an event.
    pub incident_recall: [Option<Estimate>; 3],
    /// Incident recall at one false case an account a day, the threshold realised on the test itself.
    pub recall_at_one_false_case: Option<Estimate>,
    /// The same with the threshold chosen on earlier data.
    pub recall_at_one_false_case_ahead: Option<f64>,
    /// What that earlier threshold let through, false cases an account a day.
    pub false_cases_ahead: Option<f64>,
    pub alerts_per_account_day: Option<f64>,
    pub time_to_detect: Option<TimeToDetect>,
    pub roc_auc: Option<f64>,
    pub f1: Option<f64>,
    pub accuracy: Option<f64>,
    pub precision: Option<f64>,
    pub recall: Option<f64>,
    pub specificity: Option<f64>,
    pub prevalence: Option<f64>,
}

/// Average precision of ours minus another's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub ours: String,
    pub other: String,
    pub environment: String,
    pub average_precision: Estimate,
}

/// Trained on labels without meaning; the interval must contain the prevalence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelShuffle {
    pub average_precision: Estimate,
    pub prevalence: f64,
}

impl LabelShuffle {
    pub fn holds(&self) -> bool {
        self.average_precision.low <= self.prevalence && self.prevalence <= self.average_precision.high
    }
}

/// Average precision with and without something.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ablation {
    pub with: Estimate,
    pub without: Estimate,
}

/// A classifier that tries to tell generated benign records from real ones by our features: near .5 they look alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeneratedOrReal {
    pub roc_auc: f64,
    pub generated: u64,
    pub real: u64,
    /// The features that give it away, the strongest first.
    pub told_by: Vec<String>,
}

/// What a reference detector may reach at most for the generator to count as hard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Band {
    pub name: String,
    pub at_most: f64,
    pub measured: Option<f64>,
}

impl Band {
    pub fn holds(&self) -> Option<bool> {
        self.measured.map(|measured| measured <= self.at_most)
    }
}

/// A detector's curves in the headline's environment, at most [`CURVE_POINTS_MAX`] points each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    pub detector: String,
    pub kind: Kind,
    /// Precision over recall.
    pub precision_recall: Vec<Point>,
    /// Incident recall over false cases an account a day.
    pub recall_by_budget: Vec<Point>,
}

impl Evaluation {
    /// The environment the headline speaks of.
    pub fn headline_environment(&self) -> Option<&Environment> {
        self.environments.first()
    }

    /// Rows of one protocol and environment, the best average precision first, the unmeasured last.
    pub fn ranked(&self, protocol: Protocol, environment: &str) -> Vec<&Row> {
        let of = |row: &&Row| row.protocol == protocol && row.environment == environment;
        let mut rows: Vec<&Row> = self.rows.iter().filter(of).collect();
        let precision = |row: &Row| row.metrics.average_precision.map_or(f64::NEG_INFINITY, |figure| figure.value);
        rows.sort_by(|a, b| precision(b).total_cmp(&precision(a)));
        rows
    }

    /// Our best row in the headline's environment under a protocol.
    pub fn best(&self, protocol: Protocol, kind: Kind) -> Option<&Row> {
        let rows = self.ranked(protocol, &self.headline_environment()?.name);
        rows.into_iter().find(|row| row.kind == kind && row.metrics.average_precision.is_some())
    }

    /// Our headline row under the strictest protocol: the shipped detector's, or the best of ours.
    pub fn headline(&self) -> Option<&Row> {
        let protocol = Protocol::LeaveCampaignAndOrganisationOut;
        let Some(shipped) = &self.shipped else { return self.best(protocol, Kind::Ours) };
        self.ranked(protocol, &self.headline_environment()?.name).into_iter().find(|row| row.detector == *shipped)
    }

    /// The row of the headline's environment under the leaky split: of the same detector, else of our best there.
    pub fn leaky(&self) -> Option<&Row> {
        let honest = self.headline()?;
        let rows = self.ranked(Protocol::LeakyRandomSplit, &honest.environment);
        let same = rows.iter().find(|row| row.detector == honest.detector).copied();
        same.or_else(|| rows.into_iter().find(|row| row.kind == Kind::Ours))
    }
}
