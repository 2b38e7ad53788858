//! One stream in memory: what it holds, what it refuses.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use trailwarden_core::time::Timestamp;

use crate::layout::Bounds;
use crate::{Error, Outgoing, Published, Sequence, Stored};

/// What a stored message costs beyond its own bytes.
const OVERHEAD_BYTES: u64 = 64;

#[derive(Debug)]
struct Entry {
    stored: Stored,
    bytes: u64,
    at: Instant,
}

/// The messages of one stream, in order. Sequences run over all subjects, as on a broker.
#[derive(Debug)]
pub(super) struct Log {
    name: String,
    bounds: Bounds,
    duplicate_window: Duration,
    entries: BTreeMap<Sequence, Entry>,
    /// Sequences that each subject holds, oldest first.
    subjects: BTreeMap<String, VecDeque<Sequence>>,
    /// Ids within the window, and their order of age.
    ids: BTreeMap<String, Sequence>,
    ids_by_age: VecDeque<(Instant, String)>,
    bytes: u64,
    last: Sequence,
}

impl Log {
    pub(super) fn new(name: String, bounds: Bounds, duplicate_window: Duration) -> Self {
        Self {
            name,
            bounds,
            duplicate_window,
            entries: BTreeMap::new(),
            subjects: BTreeMap::new(),
            ids: BTreeMap::new(),
            ids_by_age: VecDeque::new(),
            bytes: 0,
            last: 0,
        }
    }

    /// Changes the bounds; what is there stays until they act on it.
    pub(super) fn bound(&mut self, bounds: Bounds, duplicate_window: Duration) {
        (self.bounds, self.duplicate_window) = (bounds, duplicate_window);
    }

    /// In a broker's order: the expected sequence is looked at before the id.
    pub(super) fn publish(
        &mut self,
        subject: &str,
        message: Outgoing,
        now: Instant,
        stored_at: Timestamp,
    ) -> Result<Published, Error> {
        self.forget_old(now);
        if let Some(expected) = message.expected
            && self.last_of(subject) != expected
        {
            return Err(Error::Refused { subject: subject.to_owned(), expected });
        }
        if let Some(sequence) = message.id.as_ref().and_then(|id| self.ids.get(id)) {
            return Ok(Published::Duplicate(*sequence));
        }
        let bytes = OVERHEAD_BYTES
            + (subject.len() + message.payload.len()) as u64
            + message.headers.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum::<u64>();
        if self.bytes + bytes > self.bounds.bytes_max {
            return Err(Error::Full { stream: self.name.clone() });
        }
        self.last += 1;
        let sequence = self.last;
        if let Some(id) = message.id {
            self.ids.insert(id.clone(), sequence);
            self.ids_by_age.push_back((now, id));
        }
        let Outgoing { payload, headers, .. } = message;
        let stored = Stored { subject: subject.to_owned(), sequence, payload, headers, stored_at };
        self.entries.insert(sequence, Entry { stored, bytes, at: now });
        self.bytes += bytes;
        let of_subject = self.subjects.entry(subject.to_owned()).or_default();
        of_subject.push_back(sequence);
        if self.bounds.per_subject_max.is_some_and(|most| of_subject.len() as u64 > most)
            && let Some(oldest) = of_subject.front().copied()
        {
            self.remove(oldest);
        }
        Ok(Published::Stored(sequence))
    }

    /// Drops what is older than the bounds say. Called before every look at the log.
    pub(super) fn forget_old(&mut self, now: Instant) {
        if let Some(kept) = self.bounds.kept {
            while let Some((sequence, entry)) = self.entries.first_key_value()
                && now.duration_since(entry.at) >= kept
            {
                self.remove(*sequence);
            }
        }
        while let Some((at, _)) = self.ids_by_age.front()
            && now.duration_since(*at) >= self.duplicate_window
            && let Some((_, id)) = self.ids_by_age.pop_front()
        {
            self.ids.remove(&id);
        }
    }

    /// A message was acknowledged: it goes where it is kept only until then.
    pub(super) fn done(&mut self, sequence: Sequence) {
        if self.bounds.until_done {
            self.remove(sequence);
        }
    }

    fn remove(&mut self, sequence: Sequence) {
        let Some(entry) = self.entries.remove(&sequence) else {
            return;
        };
        self.bytes -= entry.bytes;
        if let Some(of_subject) = self.subjects.get_mut(&entry.stored.subject) {
            // Nearly always the oldest of its subject.
            of_subject.binary_search(&sequence).ok().map(|place| of_subject.remove(place));
            if of_subject.is_empty() {
                self.subjects.remove(&entry.stored.subject);
            }
        }
    }

    pub(super) fn messages(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn get(&self, sequence: Sequence) -> Option<&Stored> {
        self.entries.get(&sequence).map(|entry| &entry.stored)
    }

    /// Sequence of the latest message of a subject; 0 when there is none.
    pub(super) fn last_of(&self, subject: &str) -> Sequence {
        self.subjects.get(subject).and_then(|sequences| sequences.back()).copied().unwrap_or_default()
    }

    /// Messages of one subject after a sequence.
    pub(super) fn of_subject<'a>(&'a self, subject: &str, after: Sequence) -> impl Iterator<Item = &'a Stored> {
        let sequences = self.subjects.get(subject).into_iter().flatten();
        sequences.skip_while(move |sequence| **sequence <= after).filter_map(|sequence| self.get(*sequence))
    }

    /// Messages of all subjects after a sequence.
    pub(super) fn after(&self, after: Sequence) -> impl Iterator<Item = &Stored> {
        self.entries.range(after.saturating_add(1)..).map(|(_, entry)| &entry.stored)
    }
}
