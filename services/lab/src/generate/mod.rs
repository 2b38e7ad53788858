//! Seeded logs of an invented organisation: its innocent routine, strange and ordinary, with attack campaigns and
//! their innocent twins mixed in. Declared synthetic; shares no code with features or detections.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

pub mod agent;
pub mod call;
pub mod campaign;
pub mod layout;
pub mod lookalike;
pub mod names;
pub mod network;
mod plan;
pub mod record;
mod routine;
pub mod script;
pub mod settings;
pub mod world;
mod world_build;
mod world_people;

use layout::Written;
use plan::Planned;
use script::Recorded;
pub use settings::{Setting, Settings};
use world::World;

/// Changes whenever the same settings give other bytes on purpose.
pub const VERSION: &str = "trailwarden log generator 2";

/// Why logs could not be generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The asker's mistake; trying again does not help.
    #[error("{0}")]
    Settings(String),
    /// The disk's; may pass.
    #[error("writing {path}: {source}")]
    Write { path: std::path::PathBuf, source: std::io::Error },
}

/// What came to be.
#[derive(Clone, Debug)]
pub struct Summary {
    pub events: u64,
    pub attack_events: u64,
    pub incidents: Vec<Incident>,
    /// Files of records; the truth is not counted.
    pub files: u64,
    /// After compression.
    pub bytes: u64,
}

/// One attack campaign as it was played.
#[derive(Clone, Debug)]
pub struct Incident {
    /// `<family>.<fast|slow>.<stolen|new>.<n>`
    pub name: String,
    pub family: &'static str,
    /// `fast` or `slow`.
    pub pace: &'static str,
    /// `stolen` or `new`.
    pub caller: &'static str,
    /// `userIdentity.arn` of the first attack call (host name or account id where there is none).
    pub attacker: String,
    /// Attack events.
    pub events: u64,
    pub first_ms: i64,
    pub last_ms: i64,
    /// Ids of the accounts in whose trails attack events stand.
    pub accounts: Vec<String>,
}

/// Writes an organisation's logs into an empty folder: `AWSLogs/…` as CloudTrail delivers them, and `truth.jsonl`
/// with a line `{"event_id","campaign","technique"}` for every attack event.
///
/// # Errors
/// Where the settings are out of bounds or a file cannot be written.
pub fn generate(settings: &Settings, out: &Path) -> Result<Summary, Error> {
    settings.check()?;
    layout::prepare(out)?;
    let world = World::build(settings);
    let mut planned = plan::stories(&world, settings)?;
    let events = planned.events;
    let units = units(&world, settings, &mut planned);
    let routine: u64 = units.iter().map(|unit| unit.quota).sum();
    let written = write_all(&world, out, units)?;
    layout::write_truth(out, &mut planned.truth, |at| planned.incidents[at].name.clone())?;
    Ok(Summary {
        events: events + routine,
        attack_events: planned.attack_events,
        incidents: planned.incidents,
        files: written.files,
        bytes: written.bytes,
    })
}

/// SHA-256, hexadecimal, over [`VERSION`] and the records of a small fixed organisation: tells one generator from
/// another in the tables that its logs led to.
pub fn digest() -> String {
    let mut settings = Settings::new(12_000, 7);
    settings.accounts = 3;
    settings.days = 10;
    let world = World::build(&settings);
    let mut hash = Sha256::new();
    hash.update(VERSION);
    if let Ok(mut planned) = plan::stories(&world, &settings) {
        for unit in units(&world, &settings, &mut planned) {
            for record in unit.records(&world) {
                hash.update(&record.body);
            }
        }
        for one in &planned.truth {
            hash.update(&one.event_id);
            hash.update(one.technique);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One account's day: the unit of work. Independent of all others.
struct Unit {
    day: i64,
    account: usize,
    /// Routine records.
    quota: u64,
    stories: Vec<Recorded>,
}

impl Unit {
    fn records(self, world: &World) -> Vec<Recorded> {
        let mut records = routine::day(world, self.account, self.day, self.quota);
        records.extend(self.stories);
        records
    }
}

fn units(world: &World, settings: &Settings, planned: &mut Planned) -> Vec<Unit> {
    plan::quotas(world, settings.events.saturating_sub(planned.events))
        .into_iter()
        .map(|((day, account), quota)| Unit {
            day,
            account,
            quota,
            stories: planned.stories.remove(&(day, account)).unwrap_or_default(),
        })
        .collect()
}

/// Threads share the units out; what each writes does not depend on who writes it.
fn write_all(world: &World, out: &Path, units: Vec<Unit>) -> Result<Written, Error> {
    let units: Vec<Mutex<Option<Unit>>> = units.into_iter().map(|unit| Mutex::new(Some(unit))).collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<Written, Error> {
        let mut written = Written::default();
        while let Some(slot) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
            let unit = slot.lock().ok().and_then(|mut slot| slot.take());
            let Some(unit) = unit else { continue };
            let part = [unit.day as u64, unit.account as u64];
            let more = layout::write(world, out, &part, unit.records(world))?;
            written.files += more.files;
            written.bytes += more.bytes;
        }
        Ok(written)
    };
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(8));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut written = Written::default();
        for worker in workers {
            let more = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            written.files += more.files;
            written.bytes += more.bytes;
        }
        Ok(written)
    })
}
