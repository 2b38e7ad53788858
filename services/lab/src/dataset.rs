//! Rows to learn from: every event of a generated organisation with its features, its truth and what rules said.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::Path;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use trailwarden_collector::{Collected, Input, Limits, Options, collect};
use trailwarden_core::api::{AgentFamily, SourceClass, Vocabulary};
use trailwarden_core::baseline;
use trailwarden_core::detection::{RuleSet, builtin};
use trailwarden_core::feature::Feature;
use trailwarden_core::gather::Described;
use trailwarden_core::hash::hash64;
use trailwarden_core::level::Severity;
use trailwarden_core::negotiation::event_score;
use trailwarden_core::registry::Registry;
use trailwarden_core::sequence::Sequence;
use trailwarden_core::time::Timestamp;
use trailwarden_pipeline::{Describer, Observer};
use trailwarden_scorer::applies;

use crate::Error;

/// A truth file names this many attack events at most.
const TRUTH_BYTES_MAX: u64 = 1 << 30;

/// What a line of `truth.jsonl` says.
#[derive(Debug, Deserialize)]
struct TruthLine {
    event_id: String,
    campaign: String,
}

/// Which events are part of which incident.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Names of incidents, by their number minus 1.
    pub incidents: Vec<String>,
    /// Number of the incident from 1, by event id.
    events: FxHashMap<String, u32>,
}

impl Truth {
    /// Reads `truth.jsonl` of a generated folder.
    ///
    /// # Errors
    /// When the file cannot be read or a line is not one of a truth file.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("truth.jsonl");
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| read_capped(file, &mut text));
        read.map_err(|source| Error::Read { path: path.clone(), source })?;
        let mut truth = Self::default();
        let mut numbers = BTreeMap::<String, u32>::new();
        for line in text.lines() {
            let line: TruthLine =
                serde_json::from_str(line).map_err(|source| Error::Truth { path: path.clone(), source })?;
            let next = numbers.len() as u32 + 1;
            let number = *numbers.entry(line.campaign.clone()).or_insert(next);
            if number == next {
                truth.incidents.push(line.campaign);
            }
            truth.events.insert(line.event_id, number);
        }
        Ok(truth)
    }

    /// The incident of an event, from 1; 0 for the innocent.
    pub fn incident(&self, event_id: &str) -> u32 {
        self.events.get(event_id).copied().unwrap_or(0)
    }
}

#[expect(clippy::disallowed_methods, reason = "capped by `take`")]
fn read_capped(file: File, text: &mut String) -> std::io::Result<usize> {
    file.take(TRUTH_BYTES_MAX).read_to_string(text)
}

/// Plain fields of an event, as a model without any history would see them.
pub const RAW_COLUMNS: usize = 12;

/// What is known of one event beside its features.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    pub at: Timestamp,
    /// Number of the account in [`Dataset::accounts`].
    pub account: u32,
    pub principal: u64,
    pub session: u64,
    /// From 1; 0 for the innocent.
    pub incident: u32,
    /// What the detections that fired are worth, 0 without any.
    pub detected: f32,
    pub severity: Option<Severity>,
    /// Whether the model says anything of it: the account has history.
    pub applies: bool,
}

/// The events of one organisation, in order of (event time, event id).
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// Row-major, [`Feature::COUNT`] columns; NaN is unknown.
    pub rows: Vec<f32>,
    /// Row-major, [`RAW_COLUMNS`] columns.
    pub raw: Vec<f32>,
    pub events: Vec<Meta>,
    /// The session's latest activities, the event itself included; empty where not wanted.
    pub sequences: Vec<Sequence>,
    pub accounts: Vec<String>,
    /// Names of incidents, by their number minus 1.
    pub incidents: Vec<String>,
    /// First event of each incident, by its number minus 1.
    pub(crate) begins: Vec<Option<Timestamp>>,
    pub first: Timestamp,
    pub last: Timestamp,
}

impl Dataset {
    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The features of an event.
    pub fn row(&self, event: usize) -> &[f32] {
        &self.rows[event * Feature::COUNT..(event + 1) * Feature::COUNT]
    }

    /// When an incident begins; `None` for the innocent, number 0.
    pub fn begins(&self, incident: u32) -> Option<Timestamp> {
        let place = usize::try_from(incident).ok()?.checked_sub(1)?;
        self.begins.get(place).copied().flatten()
    }

    fn add(&mut self, event: &Described<'_>, rules: &RuleSet, truth: &Truth, account: u32) {
        let activity = &event.activity;
        if self.events.is_empty() {
            self.first = activity.event_time;
        }
        self.last = activity.event_time;
        self.rows.extend_from_slice(event.features.columns());
        self.raw.extend_from_slice(&raw(event));
        let incident = truth.incident(activity.event_id);
        if let Some(place) = (incident as usize).checked_sub(1) {
            self.begins.resize(self.begins.len().max(place + 1), None);
            self.begins[place].get_or_insert(activity.event_time);
        }
        let severities = || event.detections.iter().map(|rule| rules.rules()[usize::from(rule.0)].severity);
        self.events.push(Meta {
            at: activity.event_time,
            account,
            principal: hash64(activity.principal),
            session: hash64(activity.session),
            incident,
            detected: event_score(severities()) as f32,
            severity: severities().max(),
            applies: applies(&event.features),
        });
    }
}

/// Categories as small hashes: what a table of plain fields would be encoded to.
fn raw(event: &Described<'_>) -> [f32; RAW_COLUMNS] {
    let activity = &event.activity;
    let code = |text: &str| (hash64(text) % 4_096) as f32;
    let flag = |value: Option<bool>| value.map_or(f32::NAN, |value| f32::from(u8::from(value)));
    [
        (trailwarden_core::hash::hash64_of([activity.service, activity.call]) % 4_096) as f32,
        code(activity.service),
        code(activity.region),
        code(activity.error_code.unwrap_or_default()),
        f32::from(AgentFamily::of(activity.user_agent) as u8),
        f32::from(SourceClass::of(activity.source) as u8),
        f32::from(activity.credential as u8),
        f32::from(activity.principal_kind as u8),
        f32::from(activity.event_time.hour_of_day()),
        f32::from(activity.event_time.weekday()),
        flag(activity.mfa),
        flag(activity.read_only),
    ]
}

/// The rules that ship, and what else an organisation's logs are read with.
#[derive(Debug)]
pub struct Reader {
    pub rules: RuleSet,
    pub vocabulary: Vocabulary,
    registry: Registry,
}

impl Reader {
    /// # Errors
    /// When a rule that ships does not compile.
    pub fn new() -> Result<Self, Error> {
        let rules = RuleSet::load(builtin::RULES)?;
        Ok(Self { rules, vocabulary: Vocabulary::builtin(), registry: Registry::default() })
    }

    /// Nothing is vouched for in generated logs.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Reads a file or all logs under a folder.
    ///
    /// # Errors
    /// When temporary space is lacking.
    pub fn collect(&self, logs: &Path, now: Timestamp) -> Result<Collected, Error> {
        let observer = Observer { rules: &self.rules, registry: &self.registry };
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let options = Options { limits: Limits::default(), threads, now };
        Ok(collect(&[Input::Path(logs.to_owned())], &options, &observer, &|_| {})?)
    }

    /// The stages before the score, empty.
    pub fn describer(&self, accounts: BTreeSet<String>, now: Timestamp) -> Describer<'_> {
        Describer::new(&self.rules, &self.vocabulary, baseline::Limits::default(), now, accounts)
    }

    /// Takes a generated folder through features and detections.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn dataset(&self, folder: &Path, with_sequences: bool) -> Result<Dataset, Error> {
        let truth = Truth::read(folder)?;
        self.described(self.collect(&folder.join("AWSLogs"), FAR)?, &truth, with_sequences)
    }

    /// Takes logs that are known to be innocent through features and detections.
    ///
    /// # Errors
    /// When temporary space is lacking.
    pub fn innocent(&self, logs: &Path) -> Result<Dataset, Error> {
        self.described(self.collect(logs, FAR)?, &Truth::default(), false)
    }

    fn described(&self, collected: Collected, truth: &Truth, with_sequences: bool) -> Result<Dataset, Error> {
        let mut describer = self.describer(collected.accounts().clone(), FAR);
        let mut dataset = Dataset { incidents: truth.incidents.clone(), ..Dataset::default() };
        let mut accounts = BTreeMap::<String, u32>::new();
        collected.in_order(|observation| {
            let event = describer.step(observation);
            let account = match accounts.get(event.activity.account) {
                Some(account) => *account,
                None => {
                    let next = accounts.len() as u32;
                    accounts.insert(event.activity.account.to_owned(), next);
                    dataset.accounts.push(event.activity.account.to_owned());
                    next
                }
            };
            dataset.add(&event, &self.rules, truth, account);
            if with_sequences {
                dataset.sequences.push(describer.sequence(&event.activity));
            }
        })?;
        Ok(dataset)
    }
}

/// Generated time is not the clock's: all of it is believed.
pub const FAR: Timestamp = Timestamp::from_millis(i64::MAX / 2);
