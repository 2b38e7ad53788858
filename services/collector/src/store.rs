//! Observations, encoded and kept until they can be handed out in order: in memory as long as they fit,
//! else in sorted runs of an unnamed temporary file.

use std::cmp::Ordering;
use std::fs::File;
use std::hash::Hasher;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU32, Ordering as Atomic};
use std::sync::{Arc, Mutex};

use postcard::ser_flavors::Flavor;
use rustc_hash::FxHasher;
use trailwarden_core::activity::Observation;
use trailwarden_core::time::Timestamp;

use crate::Error;
use crate::duplicates::{Occurrence, Occurrences};

const BLOCK_BYTES: usize = 1024 * 1024;
/// A block with less room than this is full, so that an observation rarely makes its block grow.
const BLOCK_ROOM_BYTES: usize = 16 * 1024;
/// Length and sequence in the run (both u32), event time (i64).
pub(crate) const HEADER_BYTES: usize = 16;

/// One thread's observations.
pub(crate) struct Store<'s> {
    run: u32,
    runs: &'s AtomicU32,
    blocks: Vec<Vec<u8>>,
    rows: Vec<Row>,
    bytes: usize,
    bytes_max: usize,
    spill: Option<Spill>,
    finished: Vec<Run>,
    occurrences: Occurrences,
}

/// Where an observation lies, and enough of its key to order most of them without looking.
#[derive(Clone, Copy)]
struct Row {
    event_time: i64,
    /// The first eight bytes of the event id.
    id_start: u64,
    block: u32,
    offset: u32,
}

/// Observations in the order of [`Item`].
pub(crate) struct Run {
    pub(crate) number: u32,
    pub(crate) data: RunData,
}

pub(crate) enum RunData {
    Memory { blocks: Vec<Vec<u8>>, places: Vec<(u32, u32)> },
    Spilled { file: Arc<Mutex<File>>, start: u64, end: u64 },
}

struct Spill {
    file: Arc<Mutex<File>>,
    end: u64,
}

impl<'s> Store<'s> {
    /// `runs` numbers the runs of all threads.
    pub(crate) fn new(bytes_max: usize, runs: &'s AtomicU32) -> Self {
        Self {
            run: runs.fetch_add(1, Atomic::Relaxed),
            runs,
            blocks: Vec::new(),
            rows: Vec::new(),
            bytes: 0,
            bytes_max,
            spill: None,
            finished: Vec::new(),
            occurrences: Occurrences::default(),
        }
    }

    pub(crate) fn push(&mut self, observation: &Observation<'_>) -> Result<(), Error> {
        let sequence = u32::try_from(self.rows.len()).map_err(|_| Error::TooMany)?;
        let is_full = |block: &Vec<u8>| block.capacity() - block.len() < BLOCK_ROOM_BYTES;
        if self.blocks.last().is_none_or(is_full) {
            self.blocks.push(Vec::with_capacity(BLOCK_BYTES));
            self.bytes += BLOCK_BYTES;
        }
        let block_number = self.blocks.len() - 1;
        let Some(block) = self.blocks.last_mut() else {
            return Err(Error::TooMany);
        };
        let offset = block.len();
        let capacity = block.capacity();
        let activity = &observation.activity;
        let time = activity.event_time.as_millis();
        block.extend_from_slice(&[0; HEADER_BYTES]);
        postcard::serialize_with_flavor(observation, Tail(block)).map_err(Error::Encoding)?;
        let length = u32::try_from(block.len() - offset - HEADER_BYTES).map_err(|_| Error::TooMany)?;
        block[offset..offset + 4].copy_from_slice(&length.to_le_bytes());
        block[offset + 4..offset + 8].copy_from_slice(&sequence.to_le_bytes());
        block[offset + 8..offset + HEADER_BYTES].copy_from_slice(&time.to_le_bytes());
        self.bytes += block.capacity() - capacity;
        // The encoding stands for the content: records that differ only elsewhere give the same output.
        let mut content = FxHasher::default();
        content.write(&block[offset + HEADER_BYTES..]);
        self.occurrences.push(Occurrence::new(activity.event_id, content.finish(), self.run, sequence));
        self.rows.push(Row {
            event_time: time,
            id_start: id_start(activity.event_id),
            block: u32::try_from(block_number).map_err(|_| Error::TooMany)?,
            offset: u32::try_from(offset).map_err(|_| Error::TooMany)?,
        });
        if self.bytes + self.rows.len() * size_of::<Row>() > self.bytes_max {
            self.spill().map_err(Error::Spill)?;
        }
        Ok(())
    }

    /// All runs, the last of them in memory, and what is needed to find duplicates.
    pub(crate) fn finish(mut self) -> (Vec<Run>, Occurrences) {
        self.sort();
        let places = self.rows.iter().map(|row| (row.block, row.offset)).collect();
        self.finished.push(Run { number: self.run, data: RunData::Memory { blocks: self.blocks, places } });
        (self.finished, self.occurrences)
    }

    fn sort(&mut self) {
        let blocks = &self.blocks;
        self.rows.sort_unstable_by(|a, b| {
            (a.event_time, a.id_start).cmp(&(b.event_time, b.id_start)).then_with(|| {
                event_id(item_at(blocks, a.block, a.offset)).cmp(event_id(item_at(blocks, b.block, b.offset)))
            })
        });
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill { file: Arc::new(Mutex::new(tempfile::tempfile()?)), end: 0 }),
        };
        let start = spill.end;
        {
            let file = spill.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let mut writer = BufWriter::with_capacity(BLOCK_BYTES, &*file);
            for row in &self.rows {
                let item = item_at(&self.blocks, row.block, row.offset);
                writer.write_all(item)?;
                spill.end += item.len() as u64;
            }
            writer.flush()?;
        }
        self.finished.push(Run {
            number: self.run,
            data: RunData::Spilled { file: Arc::clone(&spill.file), start, end: spill.end },
        });
        self.run = self.runs.fetch_add(1, Atomic::Relaxed);
        self.rows.clear();
        // Freed and not cleared: a block that grew would count for less than it is.
        self.blocks.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// Appends to a block; the slices of a flavour's own vector would be copied byte by byte.
struct Tail<'b>(&'b mut Vec<u8>);

impl Flavor for Tail<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Header and encoding of the observation at a place.
pub(crate) fn item_at(blocks: &[Vec<u8>], block: u32, offset: u32) -> &[u8] {
    let bytes = &blocks[block as usize][offset as usize..];
    &bytes[..HEADER_BYTES + item_length(bytes)]
}

/// The length of the encoding that follows the header `bytes` starts with.
pub(crate) fn item_length(bytes: &[u8]) -> usize {
    u32_at(bytes, 0) as usize
}

pub(crate) fn item_sequence(item: &[u8]) -> u32 {
    u32_at(item, 4)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn item_time(item: &[u8]) -> Timestamp {
    let mut word = [0; 8];
    word.copy_from_slice(&item[8..HEADER_BYTES]);
    Timestamp::from_millis(i64::from_le_bytes(word))
}

/// The event id is the first field of an encoded observation; anything else would decode as garbage or not at all.
fn event_id(item: &[u8]) -> &str {
    postcard::take_from_bytes::<&str>(&item[HEADER_BYTES..]).map_or("", |(id, _)| id)
}

fn id_start(id: &str) -> u64 {
    let mut start = [0; 8];
    for (to, from) in start.iter_mut().zip(id.bytes()) {
        *to = from;
    }
    u64::from_be_bytes(start)
}

/// The order in which events are handed out, for two encoded observations: event time, then event id.
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    item_time(a).cmp(&item_time(b)).then_with(|| event_id(a).cmp(event_id(b)))
}
