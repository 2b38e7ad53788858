//! The detection figures on recorded data: how many detonated techniques end in a case, how many innocent
//! records do, and what two toy detectors make of the same records. Figures without the toys mislead:
//! on this data "the caller is an IAM user" alone looks better than most products.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trailwarden::config::Config;
use trailwarden::scan::{Outputs, Scanner};
use trailwarden_collector::Input;
use trailwarden_core::level::Severity;
use trailwarden_core::time::Timestamp;

use crate::repository::root;

/// Later than every record.
const NOW: &str = "2026-01-01T00:00:00Z";
/// What counts as raised.
const RAISED: Severity = Severity::Medium;

/// All figures of one run.
#[derive(Debug)]
pub struct Figures {
    pub techniques: Vec<Technique>,
    pub benign: Innocent,
    /// Each scenario of the control scanned as a folder of its own.
    pub control: Innocent,
    /// All scenarios of the control in one folder.
    pub control_together: Innocent,
    /// Share of the control's records that call the audit trail's own tampering APIs.
    pub control_tampering: f64,
    /// Names of labelled attack events that the control does not hold.
    pub control_missing: Vec<String>,
}

/// One detonated technique, scanned cold.
#[derive(Debug)]
pub struct Technique {
    pub name: String,
    /// A case of medium severity or above holds a labelled attack event.
    pub found: bool,
    /// What the most severe case said, for those that read the table.
    pub severity: Option<Severity>,
    pub by_user_toy: bool,
    pub by_name_toy: bool,
}

/// Innocent records, counted before deduplication.
#[derive(Debug, Default)]
pub struct Innocent {
    pub records: usize,
    /// Records in a case of medium severity or above: `scenario: api by caller (severity)`.
    pub raised: Vec<String>,
    pub by_user_toy: usize,
    pub by_name_toy: usize,
}

impl Innocent {
    pub fn share(&self, count: usize) -> f64 {
        count as f64 / self.records.max(1) as f64
    }

    fn add(&mut self, other: Self) {
        self.records += other.records;
        self.raised.extend(other.raised);
        self.by_user_toy += other.by_user_toy;
        self.by_name_toy += other.by_name_toy;
    }
}

impl Figures {
    pub fn found(&self) -> usize {
        self.techniques.iter().filter(|technique| technique.found).count()
    }
}

/// Scans everything and counts.
pub fn measure(shared_data: &Path) -> Result<Figures> {
    let scanner = Scanner::from_config(Config::default())?;
    let cloudtrail = shared_data.join("cloudtrail");

    let mut detonations = BTreeMap::<String, Vec<Labelled>>::new();
    for line in lines(&cloudtrail.join("stratus_scrubbed.jsonl"))? {
        let name = line["case"].as_str().context("a case's name")?.to_owned();
        let attack = line["expected"] == Value::Bool(true);
        detonations.entry(name).or_default().push(Labelled { attack, record: line["event"].clone() });
    }
    let attack_names: BTreeSet<String> =
        detonations.values().flatten().filter(|event| event.attack).map(|event| event.name()).collect();
    let techniques = detonations
        .iter()
        .map(|(name, events)| technique(&scanner, name, events, &attack_names))
        .collect::<Result<Vec<_>>>()?;

    let mut benign = Innocent::default();
    for file in ["benign_opensearch_catalog.jsonl", "benign_cloud_custodian.jsonl"] {
        let records: Vec<Value> =
            lines(&cloudtrail.join(file))?.into_iter().map(|mut line| line["event"].take()).collect();
        benign.add(innocent(&scanner, file, &records, &attack_names)?);
    }

    let (mut control, mut together) = (Innocent::default(), Vec::new());
    for path in control_files()? {
        let scenario = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let records = lines(&path)?;
        control.add(innocent(&scanner, &scenario, &records, &attack_names)?);
        together.extend(records);
    }
    let control_together = innocent(&scanner, "all", &together, &attack_names)?;
    let present: BTreeSet<&str> = together.iter().filter_map(|record| record["eventName"].as_str()).collect();
    let tampering = together.iter().filter(|record| tampers_with_trail(record)).count();
    Ok(Figures {
        techniques,
        benign,
        control_tampering: control.share(tampering),
        control,
        control_together,
        control_missing: attack_names.iter().filter(|name| !present.contains(name.as_str())).cloned().collect(),
    })
}

struct Labelled {
    attack: bool,
    record: Value,
}

impl Labelled {
    fn name(&self) -> String {
        self.record["eventName"].as_str().unwrap_or_default().to_owned()
    }
}

fn technique(scanner: &Scanner, name: &str, events: &[Labelled], attack_names: &BTreeSet<String>) -> Result<Technique> {
    let records: Vec<Value> = events.iter().map(|event| event.record.clone()).collect();
    let raised = raised_ids(scanner, &records)?;
    let attacks: Vec<&Labelled> = events.iter().filter(|event| event.attack).collect();
    let severity = attacks.iter().filter_map(|event| raised.get(event.record["eventID"].as_str()?)).max().copied();
    Ok(Technique {
        name: name.to_owned(),
        found: severity.is_some_and(|severity| severity >= RAISED),
        severity,
        by_user_toy: attacks.iter().any(|event| is_user(&event.record)),
        by_name_toy: attacks.iter().any(|event| attack_names.contains(&event.name())),
    })
}

fn innocent(scanner: &Scanner, scenario: &str, records: &[Value], attack_names: &BTreeSet<String>) -> Result<Innocent> {
    let ids = raised_ids(scanner, records)?;
    let mut result = Innocent { records: records.len(), ..Innocent::default() };
    for record in records {
        result.by_user_toy += usize::from(is_user(record));
        result.by_name_toy += usize::from(record["eventName"].as_str().is_some_and(|name| attack_names.contains(name)));
        let severity = record["eventID"].as_str().and_then(|id| ids.get(id)).copied();
        if let Some(severity) = severity.filter(|severity| *severity >= RAISED) {
            let text = |path: &str| record.pointer(path).and_then(Value::as_str).unwrap_or("-").to_owned();
            let caller = text("/userIdentity/arn");
            result.raised.push(format!("{scenario}: {} by {caller} ({severity})", text("/eventName")));
        }
    }
    Ok(result)
}

/// The event ids in cases, each with its case's severity, after scanning the records as a folder without history.
fn raised_ids(scanner: &Scanner, records: &[Value]) -> Result<BTreeMap<String, Severity>> {
    let folder = tempfile::tempdir()?;
    let mut file = File::create(folder.path().join("records.jsonl"))?;
    for record in records {
        writeln!(file, "{record}")?;
    }
    let now = Timestamp::parse(NOW).context("a constant time")?;
    let inputs = [Input::Path(folder.path().to_owned())];
    let findings = scanner.scan(&inputs, now, &|_| {}, Outputs::default())?;
    let mut ids = BTreeMap::new();
    for finding in &findings.cases {
        for id in finding.event_ids() {
            ids.insert(id.to_owned(), finding.judgement.severity);
        }
    }
    Ok(ids)
}

/// The first toy: whoever is an IAM user.
fn is_user(record: &Value) -> bool {
    record.pointer("/userIdentity/type").and_then(Value::as_str) == Some("IAMUser")
}

fn tampers_with_trail(record: &Value) -> bool {
    record["eventSource"] == "cloudtrail.amazonaws.com"
        && matches!(
            record["eventName"].as_str(),
            Some("StopLogging" | "DeleteTrail" | "UpdateTrail" | "PutEventSelectors" | "PutInsightSelectors")
        )
}

/// The control's scenarios, a file each, by name.
pub fn control_files() -> Result<Vec<PathBuf>> {
    let folder = root().join("tests/fixtures/control");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "no control in {}", folder.display());
    Ok(files)
}

/// A JSON value a line.
pub fn lines(path: &Path) -> Result<Vec<Value>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    BufReader::new(file).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}
