//! How fast reading is, stage by stage.
//!
//! `read_speed generate FOLDER-OF-JSONL OUT.jsonl EVENTS` repeats the records of a folder (field `event` of each line)
//! under new event ids and times; `read_speed measure THREADS PATH...` reads files and prints the figures,
//! the last line as JSON.

use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufWriter, Read, Write};
use std::time::Instant;

use serde_json::Value;
use trailwarden_collector::{Input, Limits, Observe, Options, collect};
use trailwarden_core::activity::{Activity, Observation};
use trailwarden_core::record::RecordView;
use trailwarden_core::time::{SECOND_MS, Timestamp};

struct Plain;

impl Observe for Plain {
    fn observe<'a>(&self, _: &RecordView<'a>, activity: Activity<'a>) -> Observation<'a> {
        Observation { activity, links: Vec::new(), matches: Vec::new(), details: None }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["generate", folder, out, events] => generate(folder, out, events.parse()?),
        ["measure", threads, paths @ ..] => measure(threads.parse()?, paths),
        _ => Err("usage: generate FOLDER OUT EVENTS | measure THREADS PATH...".into()),
    }
}

fn generate(folder: &str, out: &str, events: u64) -> Result<(), Box<dyn Error>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        for line in fs::read_to_string(&path)?.lines() {
            let mut row: Value = serde_json::from_str(line)?;
            let is_valid = row["event"]["eventTime"].as_str().and_then(Timestamp::parse).is_some();
            if is_valid {
                row["event"]["eventID"] = "@ID".into();
                row["event"]["eventTime"] = "@TIME".into();
                records.push(row["event"].to_string());
            }
        }
    }
    records.sort_unstable();
    let mut out = BufWriter::new(File::create(out)?);
    let start = Timestamp::parse("2024-01-01T00:00:00Z").unwrap_or_default();
    let mut seed = 7_u64;
    for event in 0..events {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let record = &records[(seed >> 33) as usize % records.len()];
        let id = format!("{:08x}-{:04x}-4000-8000-{event:012x}", seed >> 32, (seed >> 16) & 0xffff);
        // Fifty events a second, delivered up to a quarter of an hour late.
        let second = (event / 50 + (seed >> 40) % 900) as i64;
        let time = start.plus_ms(second * SECOND_MS).to_string();
        writeln!(out, "{}", record.replace("@ID", &id).replace("@TIME", &time))?;
    }
    out.flush()?;
    Ok(())
}

fn measure(threads: usize, paths: &[&str]) -> Result<(), Box<dyn Error>> {
    let inputs: Vec<Input> = paths.iter().map(|path| Input::from_argument(*path)).collect();
    let options = Options { limits: Limits::default(), threads: threads.try_into()?, now: Timestamp::from_millis(0) };
    let inflate_s = inflate(paths)?;
    let start = Instant::now();
    let mut first_s = None;
    let mut text_bytes = 0;
    let summary = collect(&inputs, &options, &Plain, &|_| {}, |observation| {
        first_s.get_or_insert_with(|| start.elapsed().as_secs_f64());
        text_bytes += observation.activity.principal.len();
    })?;
    let total_s = start.elapsed().as_secs_f64();
    let first_s = first_s.unwrap_or(total_s);
    black_box(text_bytes);
    println!("read alone     {inflate_s:8.3} s (one thread, inflated where compressed)");
    println!("until ordered  {first_s:8.3} s");
    println!("handing out    {:8.3} s", total_s - first_s);
    println!("rejected {:?}, runs spilled {}", summary.rejected, summary.runs_spilled);
    let figures = serde_json::json!({
        "threads": threads, "records": summary.records, "events": summary.events, "duplicates": summary.duplicates,
        "bytes": summary.bytes_inflated, "read_alone_s": inflate_s, "until_ordered_s": first_s, "total_s": total_s,
        "events_per_s": summary.records as f64 / total_s,
        "microseconds_an_event_a_thread": total_s * 1e6 * threads as f64 / summary.records as f64,
    });
    println!("{figures}");
    Ok(())
}

fn inflate(paths: &[&str]) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let mut buffer = vec![0; 1 << 20];
    for path in paths.iter().filter(|path| fs::metadata(path).is_ok_and(|metadata| metadata.is_file())) {
        let mut reader: Box<dyn Read> = if path.ends_with(".gz") {
            Box::new(flate2::bufread::MultiGzDecoder::new(std::io::BufReader::new(File::open(path)?)))
        } else {
            Box::new(File::open(path)?)
        };
        while reader.read(&mut buffer)? > 0 {}
    }
    Ok(start.elapsed().as_secs_f64())
}
