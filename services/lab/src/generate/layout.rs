//! Where records go: the folders and file names of an organisation's trail in S3.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rand::RngExt;

use super::Error;
use super::names::stream;
use super::record::civil;
use super::script::Recorded;
use super::world::{DAY_MS, World};

/// Records in one file.
const RECORDS_MAX: usize = 2_000;

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    pub files: u64,
    /// After compression.
    pub bytes: u64,
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Write { path, source }
}

/// Makes the folder; it must not hold anything yet, so that two organisations never mix.
///
/// # Errors
/// Where the folder cannot be made or is not empty.
pub fn prepare(out: &Path) -> Result<(), Error> {
    fs::create_dir_all(out).map_err(failed(out))?;
    let mut inside = fs::read_dir(out).map_err(failed(out))?;
    if inside.next().is_some() {
        return Err(Error::Settings(format!("{} is not empty", out.display())));
    }
    Ok(())
}

/// Writes records as CloudTrail delivers them: one file an account, region and stretch of a day. `part` tells one
/// batch of records from all others of the same world.
///
/// # Errors
/// Where a file cannot be written.
pub fn write(world: &World, out: &Path, part: &[u64], mut records: Vec<Recorded>) -> Result<Written, Error> {
    let day = |record: &Recorded| record.at_ms.div_euclid(DAY_MS);
    records.sort_by(|a, b| {
        let place = |record: &Recorded| (record.account, record.region, day(record), record.at_ms);
        place(a).cmp(&place(b)).then_with(|| a.event_id.cmp(&b.event_id))
    });
    let mut seed_parts = vec![90];
    seed_parts.extend_from_slice(part);
    let mut rng = stream(world.seed, &seed_parts);
    let mut written = Written::default();
    for same in records.chunk_by(|a, b| (a.account, a.region, day(a)) == (b.account, b.region, day(b))) {
        for chunk in same.chunks(RECORDS_MAX) {
            let Some(last) = chunk.last() else { continue };
            let suffix: String = (0..16)
                .map(|_| {
                    let letter = rng.random_range(0..52_u8);
                    char::from(if letter < 26 { b'A' + letter } else { b'a' + letter - 26 })
                })
                .collect();
            // Delivered some minutes later, on the same day's folder.
            let minute = (last.at_ms.rem_euclid(DAY_MS) / 60_000 + 5).min(1_439) / 5 * 5;
            let (year, month, date) = civil(day(last));
            let account = &world.accounts[last.account].id;
            let folder: PathBuf = out.join(format!(
                "AWSLogs/{}/{account}/CloudTrail/{}/{year:04}/{month:02}/{date:02}",
                world.organisation_id, last.region
            ));
            fs::create_dir_all(&folder).map_err(failed(&folder))?;
            let path = folder.join(format!(
                "{account}_CloudTrail_{}_{year:04}{month:02}{date:02}T{:02}{:02}Z_{suffix}.json.gz",
                last.region,
                minute / 60,
                minute % 60
            ));
            let bytes = compress(chunk).map_err(failed(&path))?;
            fs::write(&path, &bytes).map_err(failed(&path))?;
            written.files += 1;
            written.bytes += bytes.len() as u64;
        }
    }
    Ok(written)
}

fn compress(records: &[Recorded]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(records.len() * 200), Compression::new(1));
    encoder.write_all(b"{\"Records\":[")?;
    for (at, record) in records.iter().enumerate() {
        if at > 0 {
            encoder.write_all(b",")?;
        }
        encoder.write_all(&record.body)?;
    }
    encoder.write_all(b"]}")?;
    encoder.finish()
}

/// One attack event of the truth.
#[derive(Clone, Debug)]
pub struct Truth {
    pub at_ms: i64,
    pub event_id: String,
    /// Index of the incident.
    pub incident: usize,
    pub technique: &'static str,
}

/// Writes `truth.jsonl`: one line an attack event, in order of (time, id).
///
/// # Errors
/// Where the file cannot be written.
pub fn write_truth(out: &Path, truth: &mut [Truth], name_of: impl Fn(usize) -> String) -> Result<(), Error> {
    truth.sort_by(|a, b| (a.at_ms, &a.event_id).cmp(&(b.at_ms, &b.event_id)));
    let mut text = String::new();
    for one in truth.iter() {
        let line = serde_json::json!({
            "event_id": one.event_id, "campaign": name_of(one.incident), "technique": one.technique,
        });
        text.push_str(&line.to_string());
        text.push('\n');
    }
    let path = out.join("truth.jsonl");
    fs::write(&path, text).map_err(failed(&path))
}
