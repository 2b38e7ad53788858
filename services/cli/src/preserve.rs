//! `case preserve`: a case's records, copied to the evidence store. No account is called, and nothing is written over.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::json;
use trailwarden_archive::evidence::{Copied, Evidence, Item};
use trailwarden_archive::lookup::{ActivityRow, EVENT_IDS_MAX, Query};
use trailwarden_archive::query::{Archive, Limits};
use trailwarden_pipeline::capsule::Capsule;
use trailwarden_proto::v1::Case;

use crate::capsule::command::{ExportRequest, exported};
use crate::command::{Surroundings, print, tell};
use crate::config::Config;
use crate::line::Line;
use crate::untrusted::name;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct PreserveRequest {
    pub(crate) id: String,
    pub(crate) logs: Vec<PathBuf>,
    pub(crate) config: Option<PathBuf>,
}

/// Events of a case that are looked up.
const EVENTS_MAX: usize = 20_000;

/// Where evidence is kept.
fn store(config: &Config, surroundings: &Surroundings<'_>) -> Result<Evidence> {
    let Some(location) = &config.response.evidence else {
        bail!("no evidence store is set: response.evidence names a folder, or s3://bucket/prefix");
    };
    Evidence::open(location, &surroundings.environment).context("response.evidence")
}

/// Copies what the logs hold of a case: its raw records, and the capsule by which it is judged again.
pub(crate) async fn of_logs(request: &PreserveRequest, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let config = Config::load(request.config.as_deref(), surroundings.environment.iter().cloned())?;
    let store = store(&config, surroundings)?;
    let export = ExportRequest {
        id: request.id.clone(),
        out: PathBuf::new(),
        logs: request.logs.clone(),
        known: None,
        config: request.config.clone(),
    };
    let bytes = exported(&export, surroundings)?;
    let (Capsule { records, .. }, _) = Capsule::from_bytes(&bytes)?;
    let items = [
        Item {
            name: "records.json",
            what: "raw records of the case's events, as CloudTrail delivers them".to_owned(),
            bytes: records,
        },
        Item {
            name: "case.capsule",
            what: "replay capsule: `trailwarden replay` judges the case again".to_owned(),
            bytes,
        },
    ];
    let copied = store.keep((&config.run.tenant, &request.id), &items, vec![], surroundings.now).await?;
    told(&copied)
}

/// Copies what a deployment holds of a case: its line, what models said of it, and the archived activities of its events.
pub(crate) async fn of_deployment(case: &Case, config: &Config, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let store = store(config, surroundings)?;
    let line =
        Line::read(case.line_json.as_bytes()).context("the case was logged without a line that this version reads")?;
    let wanted: Vec<String> = line.event_ids.iter().map(|id| id.clone().into_owned()).take(EVENTS_MAX).collect();
    let rows = rows(&line, &wanted, config, surroundings).await?;
    let found: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.event_id.as_str()).collect();
    let lacking: Vec<String> = wanted.iter().filter(|id| !found.contains(id.as_str())).cloned().collect();
    if rows.is_empty() {
        bail!("the archive in {} holds none of the case's {} events", name(&config.archive.location), wanted.len());
    }
    let mut items = vec![
        Item {
            name: "case.json",
            what: "the case as the council logged it last".to_owned(),
            bytes: format!("{}\n", case.line_json.trim_end()).into_bytes(),
        },
        Item {
            name: "activities.jsonl",
            what: "archived activities of the case's events: what was read off each record, and not the record itself"
                .to_owned(),
            bytes: rows.iter().map(row).collect::<String>().into_bytes(),
        },
    ];
    if !case.transcript_json.is_empty() {
        let what = "what models said of the case".to_owned();
        items.push(Item { name: "transcript.json", what, bytes: case.transcript_json.clone().into_bytes() });
    }
    let copied = store.keep((&config.run.tenant, &line.case_id), &items, lacking, surroundings.now).await?;
    told(&copied)
}

/// The archived activities of events, in their order.
async fn rows(
    line: &Line<'_>,
    wanted: &[String],
    config: &Config,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<ActivityRow>> {
    let location = name(&config.archive.location);
    let objects = trailwarden_archive::open(&config.archive.location, false, &surroundings.environment)
        .with_context(|| format!("the archive in {location}; `--logs PATH` copies from logs instead"))?;
    let archive = Archive::open(objects, Limits { rows_max: EVENTS_MAX, ..Limits::default() })?;
    if archive.is_empty().await? {
        bail!("nothing is archived in {location} yet; `--logs PATH` copies from logs instead");
    }
    let mut rows = Vec::new();
    for event_ids in wanted.chunks(EVENT_IDS_MAX) {
        let query = Query {
            from: Some(line.first_event_time),
            until: Some(line.last_event_time.plus_ms(1)),
            event_ids: event_ids.to_vec(),
            ..Query::default()
        };
        rows.extend(archive.lookup(&query, EVENTS_MAX).await?.rows);
    }
    rows.sort_by(|a, b| (a.event_time, &a.event_id).cmp(&(b.event_time, &b.event_id)));
    Ok(rows)
}

fn row(row: &ActivityRow) -> String {
    let line = json!({
        "event_id": row.event_id, "event_time": row.event_time.to_string(), "account": row.account, "region": row.region,
        "service": row.service, "call": row.call, "principal": row.principal, "session": row.session,
        "session_name": row.session_name, "source": row.source, "user_agent": row.user_agent,
        "error_code": row.error_code, "read_only": row.read_only, "rules": row.rules, "resources": row.resources,
    });
    format!("{line}\n")
}

fn told(copied: &Copied) -> Result<ExitCode> {
    for item in &copied.manifest.items {
        print(&format!("{}  {}  {} bytes: {}\n", item.sha256, item.name, item.bytes, item.what))?;
    }
    print(&format!("{}  manifest.json\n", copied.sha256))?;
    let lacking = match copied.manifest.lacking.len() {
        0 => String::new(),
        count => format!("; of {count} events of the case the archive holds nothing"),
    };
    let state = if copied.was_there { "was there already, and is unchanged" } else { "is kept, read-only" };
    tell(&format!("{} {state}{lacking}\n", name(&copied.place)));
    Ok(ExitCode::SUCCESS)
}
