//! Which of several records with one event id counts, whatever order and thread they were read in.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

/// Shards by the hash's first bits: sorted one by one, in parallel, so that little is held twice.
const SHARDS: usize = 32;
const BLOCK_ROWS: usize = 1024;

/// One accepted record, 32 bytes. Ordered so that the first of each id is the one that counts:
/// the smallest content; equal contents give equal output, so which of those is taken does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Occurrence {
    /// SHA-256 of the event id, cut to 128 bits. It costs 0.1 microseconds with SHA instructions, and nobody who can
    /// write event ids can make one event pass for the duplicate of another.
    id: u128,
    content: u64,
    run: u32,
    sequence: u32,
}

impl Occurrence {
    pub(crate) fn new(event_id: &str, content: u64, run: u32, sequence: u32) -> Self {
        let digest = Sha256::digest(event_id.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self { id: u128::from_be_bytes(id), content, run, sequence }
    }
}

/// One thread's occurrences by shard, in blocks so that growth wastes little.
#[derive(Default)]
pub(crate) struct Occurrences {
    shards: [Vec<Vec<Occurrence>>; SHARDS],
}

impl Occurrences {
    pub(crate) fn push(&mut self, occurrence: Occurrence) {
        let shard = &mut self.shards[(occurrence.id >> 123) as usize];
        match shard.last_mut() {
            Some(block) if block.len() < BLOCK_ROWS => block.push(occurrence),
            _ => {
                let mut block = Vec::with_capacity(BLOCK_ROWS);
                block.push(occurrence);
                shard.push(block);
            }
        }
    }
}

/// The records that do not count, by run.
#[derive(Debug, Default)]
pub(crate) struct Losers {
    by_run: BTreeMap<u32, Vec<u64>>,
    /// Records whose id another record has too.
    pub(crate) duplicates: u64,
    /// Those of them whose content differs from the one that counts.
    pub(crate) conflicting: u64,
}

impl Losers {
    pub(crate) fn of_run(&self, run: u32) -> &[u64] {
        self.by_run.get(&run).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, occurrence: &Occurrence, is_conflicting: bool) {
        self.duplicates += 1;
        self.conflicting += u64::from(is_conflicting);
        let bits = self.by_run.entry(occurrence.run).or_default();
        let (word, bit) = (occurrence.sequence as usize / 64, occurrence.sequence % 64);
        if bits.len() <= word {
            bits.resize(word + 1, 0);
        }
        bits[word] |= 1 << bit;
    }
}

/// Whether a run's record is among those that `bits` marks.
pub(crate) fn is_marked(bits: &[u64], sequence: u32) -> bool {
    bits.get(sequence as usize / 64).is_some_and(|word| word & (1 << (sequence % 64)) != 0)
}

pub(crate) fn find(all: Vec<Occurrences>, threads: NonZeroUsize) -> Losers {
    let mut shards: Vec<Vec<Vec<Occurrence>>> = (0..SHARDS).map(|_| Vec::new()).collect();
    for occurrences in all {
        for (shard, blocks) in shards.iter_mut().zip(occurrences.shards) {
            shard.extend(blocks);
        }
    }
    let shards: Vec<_> = shards.into_iter().map(Mutex::new).collect();
    let next_shard = AtomicUsize::new(0);
    let losers = Mutex::new(Losers::default());
    let work = || {
        while let Some(shard) = shards.get(next_shard.fetch_add(1, Ordering::Relaxed)) {
            let blocks = std::mem::take(&mut *shard.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
            let mut rows = Vec::with_capacity(blocks.iter().map(Vec::len).sum());
            for block in blocks {
                rows.extend(block);
            }
            rows.sort_unstable();
            let mut losers = losers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            for same in rows.chunk_by(|a, b| a.id == b.id) {
                for other in &same[1..] {
                    losers.add(other, other.content != same[0].content);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get() {
            scope.spawn(work);
        }
        work();
    });
    losers.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}
