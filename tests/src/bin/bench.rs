//! Throughput of `scan`, stage by stage, over generated logs, or over records repeated with new ids, accounts and times.
//!
//! `bench [--events N] [--threads N] [--runs N] [--keep FILE] [FILE...]`: files hold a record a line and are repeated;
//! without any, an organisation's logs are generated (hard, 2.3 % attacks). Each stage is timed in turn within every
//! run, so figures of one run compare; medians are printed, and one line of JSON last.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]
#![allow(clippy::disallowed_methods, reason = "a bench is about time, and reads its own files")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use trailwarden::config::{Config, Used};
use trailwarden::scan::{Outputs, Scanner};
use trailwarden_collector::{Input, Observe, collect};
use trailwarden_core::activity::{Activity, Observation};
use trailwarden_core::record::RecordView;
use trailwarden_core::time::{DAY_MS, Timestamp};
use trailwarden_lab::generate::{Settings, generate};
use trailwarden_tests::detection_figures::lines;

const EVENTS_DEFAULT: usize = 1_000_000;
const RUNS_DEFAULT: usize = 3;
/// Of the generated organisation; none that the model was trained on.
const SEED: u64 = 77;

struct Options {
    events: usize,
    threads: usize,
    runs: usize,
    /// Where the repeated records stay for a look of one's own.
    keep: Option<PathBuf>,
    files: Vec<PathBuf>,
}

fn main() -> Result<()> {
    let options = options()?;
    let folder = tempfile::tempdir()?;
    let path = options.keep.clone().unwrap_or_else(|| folder.path().join("logs"));
    let (bytes, path) = match options.files.is_empty() {
        true => {
            let settings = Settings::new(options.events as u64, SEED);
            (generate(&settings, &path)?.bytes, path.join("AWSLogs"))
        }
        false => (write_repeated(&options, &path)?, path),
    };
    println!(
        "{} events, {:.1} MB on disk, {} threads, medians of {} runs\n",
        options.events,
        bytes as f64 / 1e6,
        options.threads,
        options.runs
    );

    let mut config = Config::default();
    config.scan.threads = options.threads;
    let scanner = Scanner::from_config(config.clone())?;
    config.model.used = Used::None;
    let without_model = Scanner::from_config(config)?;
    let mut seconds = vec![Vec::new(); STAGES.len()];
    for _ in 0..options.runs {
        for (stage, seconds) in seconds.iter_mut().enumerate() {
            seconds.push(run_stage(stage, if stage < MODEL_STAGE { &without_model } else { &scanner }, &path)?);
        }
    }
    let medians: Vec<f64> = seconds.iter_mut().map(|seconds| median(seconds)).collect();
    println!("  {:<58} {:>8} {:>12} {:>14}", "up to and with", "s", "us an event", "added us");
    let mut before = 0.0;
    for (name, median) in STAGES.iter().zip(&medians) {
        let each = median * 1e6 / options.events as f64;
        println!("  {name:<58} {median:>8.2} {each:>12.2} {:>14.2}", each - before);
        before = each;
    }
    let total = medians.last().copied().unwrap_or_default();
    let summary = json!({
        "events": options.events,
        "threads": options.threads,
        "read_events_per_s": (options.events as f64 / medians[0]).round(),
        "observe_events_per_s": (options.events as f64 / medians[1]).round(),
        "engine_events_per_s": (options.events as f64 / medians[2]).round(),
        "model_us_per_event": ((medians[MODEL_STAGE] - medians[MODEL_STAGE - 1]) * 1e8 / options.events as f64).round() / 100.0,
        "model": scanner.model(),
        "events_per_s": (options.events as f64 / total).round(),
        "us_per_event": (total * 1e8 / options.events as f64).round() / 100.0,
        "peak_memory_mb": peak_memory_mb(),
    });
    println!("\n{summary}");
    Ok(())
}

/// Without a model up to here.
const MODEL_STAGE: usize = 3;

const STAGES: [&str; 5] = [
    "read: parse, normalise, order, deduplicate",
    "observe: + single-event rules, links, resources",
    "engine: + features, correlations, cases",
    "model: + trees on every event",
    "scan: + negotiation, event and case lines",
];

/// Only reads.
struct Nothing;

impl Observe for Nothing {
    fn observe<'a>(&self, _view: &RecordView<'a>, activity: Activity<'a>) -> Observation<'a> {
        Observation { activity, links: Vec::new(), matches: Vec::new(), details: None }
    }
}

fn run_stage(stage: usize, scanner: &Scanner, path: &Path) -> Result<f64> {
    let inputs = [Input::Path(path.to_owned())];
    let now = Timestamp::parse("2100-01-01T00:00:00Z").context("a constant time")?;
    let options = scanner.options(now);
    let started = Instant::now();
    match stage {
        0 => drop(collect(&inputs, &options, &Nothing, &|_| {})?.in_order(|_| {})?),
        1 => drop(collect(&inputs, &options, &scanner.observer(), &|_| {})?.in_order(|_| {})?),
        2 | MODEL_STAGE => {
            let collected = collect(&inputs, &options, &scanner.observer(), &|_| {})?;
            let mut engine = scanner.engine(now, collected.accounts());
            collected.in_order(|observation| drop(engine.step(observation)))?;
            engine.finish();
        }
        _ => {
            let (mut events, mut cases) = (std::io::sink(), std::io::sink());
            let outputs = Outputs { events: Some(&mut events), cases: Some(&mut cases), ..Outputs::default() };
            scanner.scan(&inputs, now, &|_| {}, outputs)?;
        }
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Writes `events` records: those of the files over and over, each time as other accounts, with new ids, a day later.
fn write_repeated(options: &Options, path: &Path) -> Result<u64> {
    let mut records = Vec::new();
    for file in &options.files {
        records.extend(lines(file)?.into_iter().map(|mut line| match line.get_mut("event") {
            Some(event) => event.take(),
            None => line,
        }));
    }
    records.retain(|record| record["eventTime"].as_str().is_some_and(|time| Timestamp::parse(time).is_some()));
    if records.is_empty() {
        bail!("no records to repeat");
    }
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut bytes = 0;
    for number in 0..options.events {
        let round = number / records.len();
        let record = repeated(&records[number % records.len()], number, round);
        let line = serde_json::to_vec(&record)?;
        bytes += line.len() as u64 + 1;
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(bytes)
}

/// Accounts that the rounds are spread over, and how many of them act on one day.
const ACCOUNTS: usize = 40;

fn repeated(record: &Value, number: usize, round: usize) -> Value {
    let mut record = record.clone();
    record["eventID"] = json!(format!("{number:08x}-0000-4000-8000-{number:012x}"));
    if let Some(time) = record["eventTime"].as_str().and_then(Timestamp::parse) {
        let day = (round / ACCOUNTS) as i64;
        record["eventTime"] = json!(time.plus_ms(day * DAY_MS).to_string());
    }
    rename(&mut record, &format!("{:012}", 100_000_000_000 + round % ACCOUNTS));
    record
}

/// Puts another account wherever one stands as a value of its own or within an ARN.
fn rename(value: &mut Value, account: &str) {
    match value {
        Value::String(text) => {
            let is_account = |part: &str| part.len() == 12 && part.bytes().all(|byte| byte.is_ascii_digit());
            if is_account(text) {
                *text = account.to_owned();
            } else if text.starts_with("arn:") {
                let parts: Vec<&str> =
                    text.split(':').map(|part| if is_account(part) { account } else { part }).collect();
                *text = parts.join(":");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, account)),
        Value::Object(fields) => fields.values_mut().for_each(|field| rename(field, account)),
        _ => {}
    }
}

fn options() -> Result<Options> {
    let mut options = Options { events: EVENTS_DEFAULT, threads: 0, runs: RUNS_DEFAULT, keep: None, files: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--keep" {
            options.keep = Some(arguments.next().context("a file is missing")?.into());
            continue;
        }
        let mut number = || arguments.next().context("a number is missing")?.parse::<usize>().context("not a number");
        match argument.as_str() {
            "--events" => options.events = number()?,
            "--threads" => options.threads = number()?,
            "--runs" => options.runs = number()?.max(1),
            flag if flag.starts_with('-') => bail!("unknown option {flag}"),
            file => options.files.push(file.into()),
        }
    }
    if options.threads == 0 {
        options.threads = std::thread::available_parallelism().map_or(1, usize::from);
    }
    Ok(options)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The most memory this process has held, in MB; `None` where the system does not say.
fn peak_memory_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1000)
}
