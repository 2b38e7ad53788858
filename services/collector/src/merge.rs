//! Hands out the observations of all runs in order, without those that lost to a duplicate.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use trailwarden_core::activity::Observation;

use crate::Error;
use crate::duplicates::{Losers, is_marked};
use crate::store::{HEADER_BYTES, Run, RunData, compare, item_at, item_length, item_sequence};

const READ_BYTES_MIN: usize = 16 * 1024;
const READ_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of ordered items that are handed from one thread to the other at once.
const BATCH_BYTES: usize = 256 * 1024;
/// Batches that may wait.
const BATCHES_MAX: usize = 4;

/// Calls `each` in the order of event time and event id. All buffers together take at most about `memory_bytes_max`.
///
/// Ordering jumps all over memory, so it runs ahead on a thread of its own and lays the items out one after another.
pub(crate) fn merge(
    runs: Vec<Run>,
    losers: &Losers,
    memory_bytes_max: usize,
    mut each: impl FnMut(Observation<'_>),
) -> Result<(), Error> {
    let (batches, ordered) = sync_channel(BATCHES_MAX);
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || order(runs, losers, memory_bytes_max, &batches));
        for batch in ordered {
            let mut rest = batch.as_slice();
            while !rest.is_empty() {
                let (item, after) = rest.split_at(HEADER_BYTES + item_length(rest));
                each(postcard::from_bytes(&item[HEADER_BYTES..]).map_err(Error::Encoding)?);
                rest = after;
            }
        }
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(Error::Spill)
    })
}

/// Sends all items that count, in order, until nobody takes them any more.
fn order(runs: Vec<Run>, losers: &Losers, memory_bytes_max: usize, batches: &SyncSender<Vec<u8>>) -> io::Result<()> {
    let read_bytes = (memory_bytes_max / runs.len().max(1)).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
    let mut cursors = Vec::with_capacity(runs.len());
    for run in runs {
        let mut cursor = Cursor::new(run, losers, read_bytes);
        if cursor.advance()? {
            cursors.push(cursor);
        }
    }
    let mut heap: Vec<usize> = (0..cursors.len()).collect();
    for root in (0..heap.len() / 2).rev() {
        sift_down(&mut heap, root, &cursors);
    }
    let mut batch = Vec::with_capacity(BATCH_BYTES);
    while let Some(&first) = heap.first() {
        let cursor = &mut cursors[first];
        let item = cursor.item();
        if batch.len() + item.len() > BATCH_BYTES && !batch.is_empty() {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_BYTES));
            if batches.send(full).is_err() {
                return Ok(());
            }
        }
        batch.extend_from_slice(item);
        if !cursor.advance()? {
            heap.swap_remove(0);
        }
        sift_down(&mut heap, 0, &cursors);
    }
    // Nobody left to take it is no failure of this thread.
    let _ = batches.send(batch);
    Ok(())
}

fn sift_down(heap: &mut [usize], mut root: usize, cursors: &[Cursor<'_>]) {
    let is_less = |a: usize, b: usize| compare(cursors[a].item(), cursors[b].item()).is_lt();
    loop {
        let mut least = root;
        for child in [2 * root + 1, 2 * root + 2] {
            if child < heap.len() && is_less(heap[child], heap[least]) {
                least = child;
            }
        }
        if least == root {
            return;
        }
        heap.swap(root, least);
        root = least;
    }
}

/// A place in a run.
struct Cursor<'l> {
    data: Data,
    losers: &'l [u64],
}

enum Data {
    Memory { blocks: Vec<Vec<u8>>, places: std::vec::IntoIter<(u32, u32)>, current: (u32, u32) },
    Spilled(SpilledData),
}

struct SpilledData {
    file: Arc<Mutex<File>>,
    next: u64,
    end: u64,
    buffer: Vec<u8>,
    /// The current item within the buffer.
    start: usize,
    length: usize,
    read_bytes: usize,
}

impl<'l> Cursor<'l> {
    fn new(run: Run, losers: &'l Losers, read_bytes: usize) -> Self {
        let data = match run.data {
            RunData::Memory { blocks, places } => Data::Memory { blocks, places: places.into_iter(), current: (0, 0) },
            RunData::Spilled { file, start, end } => Data::Spilled(SpilledData {
                file,
                next: start,
                end,
                buffer: Vec::new(),
                start: 0,
                length: 0,
                read_bytes,
            }),
        };
        Self { data, losers: losers.of_run(run.number) }
    }

    /// Moves to the next item that counts; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        loop {
            let is_there = match &mut self.data {
                Data::Memory { places, current, .. } => match places.next() {
                    Some(place) => {
                        *current = place;
                        true
                    }
                    None => false,
                },
                Data::Spilled(spilled) => spilled.advance()?,
            };
            if !is_there || !is_marked(self.losers, item_sequence(self.item())) {
                return Ok(is_there);
            }
        }
    }

    fn item(&self) -> &[u8] {
        match &self.data {
            Data::Memory { blocks, current: (block, offset), .. } => item_at(blocks, *block, *offset),
            Data::Spilled(spilled) => &spilled.buffer[spilled.start..spilled.start + spilled.length],
        }
    }
}

impl SpilledData {
    fn advance(&mut self) -> io::Result<bool> {
        self.start += self.length;
        self.length = 0;
        if !self.hold(HEADER_BYTES)? {
            return Ok(false);
        }
        let length = HEADER_BYTES + item_length(&self.buffer[self.start..]);
        if !self.hold(length)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.length = length;
        Ok(true)
    }

    #[expect(clippy::disallowed_methods, reason = "capped by `take`")]
    /// Makes the buffer hold so many bytes from the current start; false when the run ends before.
    fn hold(&mut self, bytes: usize) -> io::Result<bool> {
        if self.buffer.len() - self.start >= bytes {
            return Ok(true);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let wanted = (self.read_bytes.max(bytes) - self.buffer.len()) as u64;
        let wanted = wanted.min(self.end - self.next);
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        file.seek(SeekFrom::Start(self.next))?;
        let read = Read::by_ref(&mut *file).take(wanted).read_to_end(&mut self.buffer)?;
        self.next += read as u64;
        Ok(self.buffer.len() >= bytes)
    }
}
