//! The lab's commands: what they say while they work, and the line of JSON that they end with.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::json;
use trailwarden_lab::evaluate::Outside;
use trailwarden_lab::train::Options;
use trailwarden_lab::universe::Universe;
use trailwarden_lab::{evaluate, generate, table};
use trailwarden_runtime::Clock;
use trailwarden_scorer::bundle;

use crate::command::{Surroundings, print, tell};
use crate::recording::Models;

/// How strange the innocent are, and how careful the attackers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Setting {
    Plain,
    Hard,
}

impl Setting {
    pub fn settings(self, events: u64, accounts: usize, days: u32, seed: u64) -> generate::Settings {
        let setting = match self {
            Self::Plain => generate::Setting::Plain,
            Self::Hard => generate::Setting::Hard,
        };
        generate::Settings { accounts, days, setting, ..generate::Settings::new(events, seed) }
    }
}

/// Writes an organisation's logs.
pub fn generate(out: &Path, settings: &generate::Settings, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    settings.check()?;
    if out.is_dir()
        && out.read_dir().with_context(|| format!("could not look into {}", out.display()))?.next().is_some()
    {
        bail!("{} is not empty; logs of two organisations would mix", out.display());
    }
    let summary = generate::generate(settings, out)?;
    let seconds = (surroundings.elapsed)().as_secs_f64();
    tell(&format!("logs       {}\ntruth      {}\n", out.join("AWSLogs").display(), out.join("truth.jsonl").display()));
    let line = json!({
        "events": summary.events,
        "attack_events": summary.attack_events,
        "incidents": summary.incidents.len(),
        "files": summary.files,
        "bytes": summary.bytes,
        "seed": settings.seed,
        "generator": generate::digest(),
        "seconds": (seconds * 10.0).round() / 10.0,
    });
    print(&format!("{line}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Trains the default bundle from nothing.
pub fn train(out: &Path, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    // Beside the target, so that what was there stays until there is better.
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = File::create(&partial).with_context(|| format!("could not create {}", partial.display()))?;
    let said = |text: &str| tell(&format!("{:>5.0} s  {text}\n", (surroundings.elapsed)().as_secs_f64()));
    let trained = evaluate::bundle(&Universe::PUBLISHED, &Options::default(), &said)?;
    let bytes = trained.bundle.to_bytes()?;
    file.write_all(&bytes).with_context(|| format!("could not write {}", partial.display()))?;
    std::fs::rename(&partial, out).with_context(|| format!("could not write {}", out.display()))?;
    tell(&format!("bundle     {}\n", out.display()));
    let line = json!({
        "bundle": bundle::name(&bytes),
        "bytes": bytes.len(),
        "trees": trained.bundle.forest.trees(),
        "networks": trained.bundle.networks.is_some(),
        "events": trained.bundle.origin.events,
        "generator": trained.bundle.origin.generator,
        "seconds": (surroundings.elapsed)().as_secs_f64().round(),
    });
    print(&format!("{line}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Measures every detector and writes the table.
pub fn evaluate(
    markdown: &Path,
    report: &Path,
    real: Option<&Path>,
    surroundings: &Surroundings<'_>,
) -> Result<ExitCode> {
    let create = |path: &Path| File::create(path).with_context(|| format!("could not create {}", path.display()));
    let (mut markdown_file, mut report_file) = (create(markdown)?, create(report)?);
    let said = |text: &str| tell(&format!("{:>5.0} s  {text}\n", (surroundings.elapsed)().as_secs_f64()));
    let evaluation = evaluate::evaluate(&Universe::PUBLISHED, &Options::default(), real, &said)?;
    let text = table::markdown(&evaluation);
    markdown_file.write_all(text.as_bytes()).with_context(|| format!("could not write {}", markdown.display()))?;
    let page = table::html(&evaluation);
    report_file.write_all(page.as_bytes()).with_context(|| format!("could not write {}", report.display()))?;
    tell(&format!("table      {}\npage       {}\n", markdown.display(), report.display()));
    print(&format!("{text}\n{}\n", table::json_line(&evaluation)))?;
    Ok(ExitCode::SUCCESS)
}

/// Measures the second stage and prints its table, that of models on a sample included where they are asked for.
pub fn stage_two(
    close_up_to: f64,
    models: Option<&Models>,
    clock: &Clock,
    surroundings: &Surroundings<'_>,
) -> Result<ExitCode> {
    let said = |text: &str| tell(&format!("{:>5.0} s  {text}\n", (surroundings.elapsed)().as_secs_f64()));
    let elapsed = || (surroundings.elapsed)();
    let (universe, options) = (&Universe::PUBLISHED, Options::default());
    let measured = |outside: Option<&Outside<'_>>| {
        Ok(evaluate::stage_two(universe, &options, close_up_to, outside, &elapsed, &said)?)
    };
    let told = match models {
        Some(models) => models.with(surroundings, clock, |outside| measured(Some(outside)))?,
        None => measured(None)?,
    };
    print(&format!("{}\n{}\n", table::stage_two_markdown(&told), serde_json::to_string(&told)?))?;
    Ok(ExitCode::SUCCESS)
}
