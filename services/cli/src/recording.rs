//! Councils of models for `lab evaluate --stage 2`: asked now and written down, or read from what was written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use trailwarden_core::negotiation::exchange::Ask;
use trailwarden_core::negotiation::{Judgement, Negotiation};
use trailwarden_council::panel::{Ended, TRANSCRIPT_BYTES_MAX, Transcript, deliberate, replay};
use trailwarden_lab::evaluate::{Heard, Outside, Pick};
use trailwarden_runtime::Clock;

use crate::command::{Surroundings, tell};
use crate::config::Config;
use crate::models;

/// Lines of a recording that are read.
const CASES_MAX: usize = 10_000;
const LINE_BYTES_MAX: usize = TRANSCRIPT_BYTES_MAX + 1_024;

/// How models come into an evaluation.
#[derive(Debug)]
pub enum Models {
    /// The configured ones are asked about a sample, and what they say is written to a file.
    Record { file: PathBuf, config: Option<PathBuf>, sample: usize, seed: u64 },
    /// What was said then is judged anew.
    Recorded { file: PathBuf },
}

/// A line of a recording.
#[derive(Serialize, Deserialize)]
struct Line {
    /// Of the whole deliberation: questions are put side by side.
    seconds: f64,
    transcript: Transcript,
}

impl Models {
    /// Gives `measure` the council that is to be heard.
    pub fn with<T>(
        &self,
        surroundings: &Surroundings<'_>,
        clock: &Clock,
        measure: impl FnOnce(&Outside<'_>) -> Result<T>,
    ) -> Result<T> {
        match self {
            Self::Record { file, config, sample, seed } => {
                let config = Config::load(config.as_deref(), surroundings.environment.iter().cloned())?;
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                let environment = &surroundings.environment;
                let around = models::Surroundings { tenant: "lab", environment, clock, bus: None };
                let panel = runtime.block_on(models::panel(&config.council, around)).context("the council's model")?;
                let Some(panel) = panel else {
                    bail!("no model is configured: set `council.provider` or `council.local_model`");
                };
                // Beside the target, so that an earlier recording stays until there is another.
                let mut out = Recorder::create(file)?;
                let heard = RefCell::new(&mut out);
                let answer = |negotiation: Negotiation, asks: Vec<Ask>| {
                    let began = (surroundings.elapsed)();
                    let (judgement, transcript) = runtime.block_on(deliberate(negotiation, asks, &panel));
                    let seconds = (surroundings.elapsed)().saturating_sub(began).as_secs_f64();
                    heard.borrow_mut().write(&Line { seconds, transcript: transcript.clone() });
                    Some(told(judgement, &transcript, seconds))
                };
                let pick = Pick::Drawn { seed: *seed, cases_max: *sample };
                let name = format!("recorded: {}", panel.names());
                let measured = measure(&Outside { name, pick, answer: &answer })?;
                out.finish(file)?;
                Ok(measured)
            }
            Self::Recorded { file } => {
                let lines = read(file)?;
                let name = format!("recorded: {}", spoke(&lines));
                let pick = Pick::Named(lines.keys().cloned().collect());
                let answer = |negotiation: Negotiation, asks: Vec<Ask>| {
                    let line = lines.get(negotiation.pack().digest())?;
                    match replay(negotiation, asks, &line.transcript) {
                        Ok(judgement) => Some(told(judgement, &line.transcript, line.seconds)),
                        Err(why) => {
                            tell(&format!("a recorded case is left out: {why}\n"));
                            None
                        }
                    }
                };
                measure(&Outside { name, pick, answer: &answer })
            }
        }
    }
}

fn told(judgement: Judgement, transcript: &Transcript, seconds: f64) -> Heard {
    Heard {
        judgement,
        calls: transcript.calls.iter().filter(|call| call.ended != Ended::Skipped).count() as u64,
        tokens: transcript.usage().total(),
        seconds,
        micro_dollars: transcript.micro_dollars(),
    }
}

/// Which models a recording is of.
fn spoke(lines: &BTreeMap<String, Line>) -> String {
    let calls = lines.values().flat_map(|line| &line.transcript.calls);
    let names: std::collections::BTreeSet<&str> = calls.map(|call| call.model.as_str()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// Reads a recording, by the digest of each case's evidence.
fn read(path: &Path) -> Result<BTreeMap<String, Line>> {
    let file = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let mut lines = BTreeMap::new();
    for number in 1.. {
        let mut line = Vec::new();
        #[expect(clippy::disallowed_methods, reason = "taken with a named limit in the same breath")]
        let read = reader.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
        read.with_context(|| format!("could not read {}", path.display()))?;
        if line.is_empty() {
            break;
        }
        if line.len() > LINE_BYTES_MAX || number > CASES_MAX {
            bail!("{}: a recording has at most {CASES_MAX} lines of {LINE_BYTES_MAX} bytes", path.display());
        }
        let line: Line = serde_json::from_slice(&line)
            .with_context(|| format!("{}: line {number} is no recorded case", path.display()))?;
        lines.insert(line.transcript.evidence_digest.clone(), line);
    }
    if lines.is_empty() {
        bail!("{} holds no recorded case", path.display());
    }
    Ok(lines)
}

/// Writes what was said as it is said: models are slow, and what they said must not be lost with the rest.
struct Recorder {
    partial: PathBuf,
    file: File,
    failed: Option<std::io::Error>,
}

impl Recorder {
    fn create(path: &Path) -> Result<Self> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).with_context(|| format!("could not create {}", partial.display()))?;
        Ok(Self { partial, file, failed: None })
    }

    fn write(&mut self, line: &Line) {
        let written = serde_json::to_vec(line).map_err(std::io::Error::from).and_then(|mut text| {
            text.push(b'\n');
            self.file.write_all(&text)
        });
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }

    fn finish(self, path: &Path) -> Result<()> {
        let whole = self.failed.map_or(Ok(()), Err).and_then(|()| self.file.sync_all());
        whole.with_context(|| format!("could not write {}", self.partial.display()))?;
        std::fs::rename(&self.partial, path).with_context(|| format!("could not write {}", path.display()))
    }
}
