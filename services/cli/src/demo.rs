//! The demo: an organisation generated on the spot, attacks planted in it, and what a scan finds of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use tempfile::TempDir;
use trailwarden_collector::Input;
use trailwarden_core::level::Severity;
use trailwarden_lab::generate::{self, Settings};

use crate::config::Config;
use crate::findings::{Findings, Planted};

/// The organisation that is shown without a wish.
pub const SEED: u64 = 1;
/// Small enough for seconds, long enough for habits to be known before the first attack.
const EVENTS: u64 = 60_000;
const ACCOUNTS: usize = 6;

/// A line of the truth file: an event of the attack.
#[derive(Debug, Deserialize)]
struct Truth {
    event_id: String,
    campaign: String,
    technique: String,
}

/// The defaults: the demo must show what a first scan of one's own logs would do.
pub fn config() -> Config {
    Config::default()
}

/// An organisation's logs in a folder of their own, gone when this is dropped.
pub struct Organisation {
    folder: TempDir,
    truth: Vec<Truth>,
}

impl Organisation {
    /// Generates one. The same seed gives the same bytes.
    pub fn generate(seed: u64) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let settings = Settings { accounts: ACCOUNTS, ..Settings::new(EVENTS, seed) };
        generate::generate(&settings, folder.path())?;
        let truth = truth(&folder.path().join("truth.jsonl"))?;
        Ok(Self { folder, truth })
    }

    pub fn inputs(&self) -> [Input; 1] {
        [Input::Path(self.folder.path().join("AWSLogs"))]
    }

    /// What was planted, and what of it a case at medium or above holds.
    pub fn planted(&self, findings: &Findings) -> Vec<Planted> {
        let mut cases_of = BTreeMap::<&str, &str>::new();
        for finding in findings.cases.iter().filter(|finding| finding.judgement.severity >= Severity::Medium) {
            for event_id in finding.event_ids() {
                cases_of.insert(event_id, &finding.case.id);
            }
        }
        let mut campaigns = BTreeMap::<&str, (BTreeSet<&str>, BTreeSet<&str>, u64, u64)>::new();
        for event in &self.truth {
            let (techniques, cases, events, found) = campaigns.entry(&event.campaign).or_default();
            techniques.insert(&event.technique);
            *events += 1;
            if let Some(case) = cases_of.get(event.event_id.as_str()) {
                cases.insert(case);
                *found += 1;
            }
        }
        let owned = |set: BTreeSet<&str>| set.into_iter().map(str::to_owned).collect();
        let planted = campaigns.into_iter().map(|(name, (techniques, cases, events, events_found))| Planted {
            name: told(name),
            techniques: owned(techniques),
            events,
            events_found,
            case_ids: owned(cases),
        });
        planted.collect()
    }
}

/// `key_ransom.slow.stolen.1` as `key ransom, slow, stolen principal, 1`.
fn told(campaign: &str) -> String {
    match campaign.split('.').collect::<Vec<_>>()[..] {
        [family, pace, caller, number] => {
            format!("{}, {pace}, {caller} principal, {number}", family.replace('_', " "))
        }
        _ => campaign.to_owned(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a file that was just written here")]
fn truth(path: &Path) -> Result<Vec<Truth>> {
    let text = std::fs::read_to_string(path).context("the truth about the generated logs")?;
    text.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("the truth about the generated logs")
}
