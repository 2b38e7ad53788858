//! The incident that ships with the program: two days of a small organisation, and one intrusion.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;
use trailwarden_collector::Input;
use trailwarden_core::level::Severity;

use crate::config::Config;
use crate::findings::{Findings, Planted};

const INCIDENT: &[u8] = include_bytes!("../demo/incident.jsonl");
const TRUTH: &str = include_str!("../demo/truth.jsonl");
/// What the report calls the input.
const NAME: &str = "demo/incident.jsonl";

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

pub fn inputs() -> [Input; 1] {
    [Input::Memory { name: NAME.to_owned(), bytes: INCIDENT.into() }]
}

/// What was planted, and what of it a case at medium or above holds.
pub fn planted(findings: &Findings) -> Result<Vec<Planted>> {
    let mut cases_of = BTreeMap::<&str, &str>::new();
    for finding in findings.cases.iter().filter(|finding| finding.judgement.severity >= Severity::Medium) {
        for event_id in finding.event_ids() {
            cases_of.insert(event_id, &finding.case.id);
        }
    }
    let truth: Vec<Truth> =
        TRUTH.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("the demo's truth file")?;
    let mut campaigns = BTreeMap::<&str, (BTreeSet<&str>, BTreeSet<&str>, u64, u64)>::new();
    for event in &truth {
        let (techniques, cases, events, found) = campaigns.entry(&event.campaign).or_default();
        techniques.insert(&event.technique);
        *events += 1;
        if let Some(case) = cases_of.get(event.event_id.as_str()) {
            cases.insert(case);
            *found += 1;
        }
    }
    let owned = |set: BTreeSet<&str>| set.into_iter().map(str::to_owned).collect();
    Ok(campaigns
        .into_iter()
        .map(|(name, (techniques, cases, events, events_found))| Planted {
            name: name.to_owned(),
            techniques: owned(techniques),
            events,
            events_found,
            case_ids: owned(cases),
        })
        .collect())
}
