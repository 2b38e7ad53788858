//! Replay capsules: a case of a scan in one file, and the file judged again.

pub mod command;
mod taking;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::Path;

use trailwarden_collector::Options;
use trailwarden_core::time::Timestamp;
use trailwarden_council::panel::{self, Transcript};
use trailwarden_pipeline::capsule::file::{FILE_BYTES_MAX, Head};
use trailwarden_pipeline::capsule::{self, About, Capsule, Decided, Difference, Outcome, Stage, compare};
use trailwarden_scorer::bundle::Schema;

use crate::config::{self, Archive, Bus, Config, Council, Executor, Listen, Response, Run, Scan, Telemetry, Windows};
use crate::findings::Finding;
use crate::lines::brain_text;
use crate::rules;
use crate::scan::{self, Scanner, Sources};

pub use taking::{Taken, Wanted, find, take};

/// Why there is no capsule, or it says nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    #[error(transparent)]
    File(#[from] capsule::file::Error),
    #[error(transparent)]
    Capsule(#[from] capsule::Error),
    #[error("its settings")]
    Settings(#[source] config::Error),
    #[error(transparent)]
    Scan(Box<scan::Error>),
    #[error(transparent)]
    Collect(#[from] trailwarden_collector::Error),
    #[error("what its models said cannot be read")]
    Transcript(#[source] serde_json::Error),
    /// The logs are not those that the deployment saw, or its past was another.
    #[error("what models said of it does not fit what these logs say: {0}")]
    Diverged(panel::Diverged),
    #[error("no room for raw records in a temporary file")]
    Spool(#[source] io::Error),
    #[error("the case has {events} events, and a capsule holds {} at most", capsule::EVENTS_MAX)]
    TooManyEvents { events: usize },
    #[error("its raw records are not what they were: the input changed while it was read")]
    Changed,
    #[error("its plan cannot be written")]
    Plan(#[source] serde_json::Error),
    /// Ours: it would say something else than what was found.
    #[error("judged again it is not the same: {0}")]
    Differs(String),
}

impl From<scan::Error> for Error {
    fn from(error: scan::Error) -> Self {
        Self::Scan(Box::new(error))
    }
}

/// What a replay came to.
#[derive(Debug)]
pub struct Replayed {
    /// `None` where no case came of the records.
    pub finding: Option<Finding>,
    pub outcome: Outcome,
    /// What differs, the first of each stage; empty where all is as recorded.
    pub differences: Vec<Difference>,
}

/// Reads a capsule file.
///
/// # Errors
/// When it is no capsule, or not as it was made.
#[expect(clippy::disallowed_methods, reason = "capped by `take`, one byte beyond what is accepted")]
pub fn open(path: &Path) -> Result<(Capsule, Head), Error> {
    let file = File::open(path).map_err(Error::Unreadable)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(Error::Unreadable)?;
    Ok(Capsule::from_bytes(&bytes)?)
}

/// A scanner with a capsule's settings, rules and model.
///
/// # Errors
/// When the capsule's settings, rules or model are none that this program can use.
pub fn scanner_of(capsule: &Capsule) -> Result<Scanner, Error> {
    let config = Config::from_text(Path::new("the capsule"), &capsule.about.settings).map_err(Error::Settings)?;
    // A capsule carries what it needs: it names no files of whoever opens it.
    let config = settings(&config);
    let Capsule { rules, bundle, calibration, .. } = capsule;
    let sources =
        Sources { rules: rules.clone(), bundle: bundle.clone(), calibration: calibration.clone(), playbooks: vec![] };
    Ok(Scanner::from_sources(config, sources)?)
}

/// Judges a capsule's case again: the same functions as in a scan, from the raw records on.
///
/// # Errors
/// When temporary space is lacking or the capsule's transcript cannot be read.
pub fn replay(scanner: &Scanner, capsule: &Capsule) -> Result<Replayed, Error> {
    let about = &capsule.about;
    let horizon = Timestamp::from_millis(about.horizon_ms);
    let engine = scanner.engine_until(horizon, about.accounts.iter().cloned().collect());
    let options = Options { threads: NonZeroUsize::MIN, ..scanner.options(horizon) };
    let mut again = capsule::again(capsule, engine, &scanner.observer(), &options)?;
    let (mut decided, mut finding, mut unheard) = (Decided::default(), None, None);
    if let Some(case) = again.case.take() {
        let mut judged = scanner.finding(case);
        if let Some(transcript) = &capsule.transcript {
            match heard(scanner, &judged, transcript)? {
                Ok(found) => judged = found,
                Err(diverged) => unheard = Some(diverged.to_string()),
            }
        }
        decided = decision(scanner, &judged)?;
        again.case = Some(judged.case.clone());
        finding = Some(judged);
    }
    let outcome = again.outcome(scanner.rules(), decided);
    let mut differences = compare(&capsule.outcome, &outcome);
    if let Some(text) = unheard {
        differences.retain(|difference| difference.stage != Stage::Claims);
        differences.push(Difference { stage: Stage::Claims, text, more: 0 });
        differences.sort_by_key(|difference| difference.stage);
    }
    Ok(Replayed { finding, outcome, differences })
}

/// The finding as models had a part in it, from what they said then.
fn heard(scanner: &Scanner, finding: &Finding, transcript: &str) -> Result<Result<Finding, panel::Diverged>, Error> {
    let said: Transcript = serde_json::from_str(transcript).map_err(Error::Transcript)?;
    let (negotiation, asks) = scanner.opened(&finding.case);
    let judgement = panel::replay(negotiation, asks, &said);
    Ok(judgement.map(|judgement| Finding::new(finding.case.clone(), judgement, vec![])))
}

/// What was decided, as text.
fn decision(scanner: &Scanner, finding: &Finding) -> Result<Decided, Error> {
    let (negotiation, _) = scanner.opened(&finding.case);
    let calls = serde_json::to_string(&finding.steps).map_err(Error::Plan)?;
    Ok(Decided::new(negotiation.pack().canonical_json(), &finding.judgement, calls))
}

/// What a capsule says of itself.
fn about(
    scanner: &Scanner,
    finding: &Finding,
    decided: &Decided,
    horizon: Timestamp,
    accounts: &BTreeSet<String>,
) -> About {
    let judgement = &finding.judgement;
    let brains = judgement.brains.iter().map(|(_, brain)| brain_text(brain)).collect::<BTreeSet<_>>();
    About {
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
        case_id: finding.case.id.clone(),
        verdict: judgement.verdict.to_string(),
        severity: judgement.severity.to_string(),
        verdict_digest: decided.digest(),
        brains: brains.into_iter().collect(),
        events: finding.case.signals.len() + finding.case.further_event_ids.len(),
        features_digest: Schema::current().digest,
        rules_digest: rules_digest(scanner),
        model: scanner.model().map(str::to_owned),
        horizon_ms: horizon.as_millis(),
        accounts: accounts.iter().cloned().collect(),
        settings: settings(scanner.config()).to_toml(),
    }
}

fn rules_digest(scanner: &Scanner) -> String {
    rules::digest(&scanner.sources().rules, &scanner.config().detections.disable)
}

/// The settings that a case rests on: nothing of servers, files or keys.
fn settings(config: &Config) -> Config {
    let mut settings = Config {
        scan: Scan::default(),
        run: Run::default(),
        bus: Bus::default(),
        windows: Windows::default(),
        archive: Archive::default(),
        council: Council::default(),
        notify: trailwarden_notify::config::Notify::default(),
        response: Response::default(),
        executor: Executor::default(),
        listen: Listen::default(),
        telemetry: Telemetry::default(),
        ..config.clone()
    };
    settings.detections.rules.clear();
    // No judgement rests on them.
    settings.playbooks.files.clear();
    settings.model.bundle = None;
    settings.routing.calibration = None;
    settings
}

/// What is otherwise in this program than in the one that made a capsule, in words.
pub fn surroundings(scanner: &Scanner, about: &About) -> Vec<String> {
    let mut found = Vec::new();
    let own = env!("CARGO_PKG_VERSION");
    if about.made_by != own {
        found.push(format!("made by version {}, replayed by {own}", about.made_by));
    }
    if about.features_digest != Schema::current().digest {
        found.push("features are measured by another schema".to_owned());
    }
    if about.rules_digest != rules_digest(scanner) {
        found.push("the built-in rules are others".to_owned());
    }
    if about.model.as_deref() != scanner.model() {
        let name = |model: Option<&str>| model.unwrap_or("none").to_owned();
        found.push(format!("scored by the model {}, now by {}", name(about.model.as_deref()), name(scanner.model())));
    }
    found
}

#[cfg(test)]
mod tests;
