//! One stream of the bus on its way into one table: gathered in order, flushed whole, acknowledged last.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datafusion::object_store::path::Path;
use datafusion::object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use trailwarden_bus::{Bus, DeadLetter, Delivery, Sequence, Stored, Subject};
use trailwarden_runtime::failpoint;
use trailwarden_runtime::metrics::Metrics;

use crate::Error;
use crate::chain::{Chain, Position};
use crate::epochs::{Fold, hexadecimal};
use crate::page::Pages;
use crate::table::{Decoded, Origin, Table};

/// Messages that may be on their way to one lane unacknowledged.
pub(crate) const IN_FLIGHT_MAX: usize = 4_096;
/// Held messages that end a flush. Below [`IN_FLIGHT_MAX`], or the broker would give no more before it.
const HELD_MAX: usize = IN_FLIGHT_MAX / 2;
/// Held payloads, compressed, that end a flush.
const HELD_BYTES_MAX: usize = 16 << 20;
/// Rows made of them that end a flush.
const ROWS_BYTES_MAX: usize = 24 << 20;
/// Files of a flush that are written at the same time.
pub(crate) const WRITES_AT_ONCE: usize = 4;
/// Messages of one partition that are read at a time to fill a gap.
const READ_AT_ONCE: usize = 16;
/// Acknowledgements on their way at the same time.
const ACKS_AT_ONCE: usize = 64;

/// When a flush ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) events_max: usize,
    pub(crate) after: Duration,
    /// How long a gap in a stream that cannot be read by partition is waited for.
    pub(crate) gap_patience: Duration,
}

/// A message that was taken and is not durable here yet.
struct Held {
    sequence: Sequence,
    payload: Bytes,
    origin: Origin,
    /// `None` where it was read off the stream; the broker gives it out again, and it is acknowledged then.
    delivery: Option<Box<dyn Delivery>>,
    /// Went to the dead letters; its place is kept, it has no rows.
    is_dead: bool,
}

/// A message of the stream, from the broker or read.
struct Arrived {
    stored: Stored,
    delivery: Option<Box<dyn Delivery>>,
}

/// What a lane reads from, writes to, and tells.
pub(crate) struct Surroundings {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) metrics: Metrics,
    /// Whose turn it is to write: what one flush takes beside its rows shall not come on top of what another takes.
    pub(crate) writing: Arc<Semaphore>,
}

/// One stream on its way into its table.
pub(crate) struct Lane {
    table: Table,
    tenant: String,
    /// Partitions whose subjects can be read one by one; none for cases, whose ids nobody lists.
    partitions: u16,
    bus: Arc<dyn Bus>,
    objects: Arc<dyn ObjectStore>,
    metrics: Metrics,
    writing: Arc<Semaphore>,
    chain: Chain,
    bounds: Bounds,
    position: Position,
    /// Where this flush has to end, because somebody declared so before.
    ends: Option<Sequence>,
    held: VecDeque<Held>,
    held_bytes: usize,
    pages: Pages,
    opened_at: Option<Instant>,
    /// Arrived before what stands before it.
    ahead: BTreeMap<Sequence, Arrived>,
    gap_since: Option<Instant>,
    pub(crate) fold: Option<Fold>,
}

impl Lane {
    /// Takes up a table where it stands. `fold` is what the epochs rest on, for the lane that carries them.
    pub(crate) async fn open(
        table: Table,
        tenant: &str,
        partitions: u16,
        Surroundings { bus, objects, metrics, writing }: Surroundings,
        bounds: Bounds,
        fold: Option<Fold>,
    ) -> Result<Self, Error> {
        let chain = Chain::new(Arc::clone(&objects), table.name());
        let position = chain.position().await?;
        let mut lane = Self {
            table,
            tenant: tenant.to_owned(),
            partitions: if table == Table::Cases { 0 } else { partitions },
            bus,
            objects,
            metrics,
            writing,
            chain,
            bounds,
            position,
            ends: None,
            held: VecDeque::new(),
            held_bytes: 0,
            pages: Pages::new(table),
            opened_at: None,
            ahead: BTreeMap::new(),
            gap_since: None,
            fold,
        };
        lane.fold_again().await?;
        Ok(lane)
    }

    /// The next sequence that is missing here.
    fn next(&self) -> Sequence {
        self.held.back().map_or(self.position.through, |held| held.sequence) + 1
    }

    /// Takes what the broker gave.
    pub(crate) async fn take(&mut self, delivery: Box<dyn Delivery>) -> Result<(), Error> {
        let message = delivery.message();
        let sequence = message.sequence;
        if self.position.is_of_another_stream(sequence, message.stored_at.as_millis()) {
            self.begin_anew().await?;
        }
        if sequence <= self.position.through {
            return Ok(delivery.ack().await?);
        }
        if sequence < self.next() {
            // Given out again while it is held here: the broker listens to the later delivery.
            if let Ok(at) = self.held.binary_search_by_key(&sequence, |held| held.sequence) {
                self.held[at].delivery = Some(delivery);
                return Ok(());
            }
            // Was left out as lost, and is not.
            tracing::error!(
                table = self.table.name(),
                sequence,
                "a batch came after it was given up; its rows are missing"
            );
            return Ok(delivery.ack().await?);
        }
        let stored = delivery.message().clone();
        self.ahead.insert(sequence, Arrived { stored, delivery: Some(delivery) });
        self.take_ahead().await
    }

    /// Takes what arrived early and is next now, filling what is missing before it.
    async fn take_ahead(&mut self) -> Result<(), Error> {
        while let Some((sequence, _)) = self.ahead.first_key_value() {
            let (sequence, next) = (*sequence, self.next());
            if sequence > next {
                if self.partitions > 0 {
                    self.fill(next, sequence).await?;
                } else if !self.has_waited_enough() {
                    return Ok(());
                }
                if sequence > self.next() && self.position != Position::default() {
                    let missing = sequence - self.next();
                    tracing::error!(
                        table = self.table.name(),
                        from = self.next(),
                        missing,
                        "messages are gone from the stream before they were archived"
                    );
                }
            }
            self.gap_since = None;
            if let Some(arrived) = self.ahead.remove(&sequence) {
                self.hold(arrived).await?;
            }
            if self.is_full() {
                self.flush().await?;
            }
        }
        Ok(())
    }

    fn has_waited_enough(&mut self) -> bool {
        let since = *self.gap_since.get_or_insert_with(Instant::now);
        since.elapsed() >= self.bounds.gap_patience
    }

    /// Reads what stands between two sequences: given to a process that died, or to another archive.
    async fn fill(&mut self, from: Sequence, to: Sequence) -> Result<(), Error> {
        let mut after = from.saturating_sub(1);
        while after + 1 < to {
            let (read, through) = self.read(after, to).await?;
            for stored in read {
                self.hold(Arrived { stored, delivery: None }).await?;
                if self.is_full() {
                    self.flush().await?;
                }
            }
            after = through;
        }
        Ok(())
    }

    /// What stands after `after` and before `to`, in order, as far as it was read; and how far that is.
    async fn read(&self, after: Sequence, to: Sequence) -> Result<(Vec<Stored>, Sequence), Error> {
        let mut read = Vec::new();
        let mut through = to.saturating_sub(1);
        for partition in 0..self.partitions {
            let subject = Subject::partition(self.table.stream(), &self.tenant, partition);
            let found = self.bus.read(&subject, after, READ_AT_ONCE).await?;
            if found.len() >= READ_AT_ONCE
                && let Some(last) = found.last()
            {
                through = through.min(last.sequence);
            }
            read.extend(found);
        }
        read.retain(|stored| stored.sequence <= through);
        read.sort_unstable_by_key(|stored| stored.sequence);
        Ok((read, through))
    }

    /// Adds a message's rows. One that is none goes to the dead letters and keeps its place.
    async fn hold(&mut self, arrived: Arrived) -> Result<(), Error> {
        let Arrived { stored, delivery } = arrived;
        let sequence = stored.sequence;
        if sequence < self.next() {
            return Ok(());
        }
        let origin = Origin { sequence, partition: partition(&stored.subject), stored_at: stored.stored_at };
        let decoded = self.table.decode(&stored.payload);
        if let Err(error) = &decoded {
            let reason = error.to_string();
            let (subject, payload) = (stored.subject.clone(), stored.payload.clone());
            let letter = DeadLetter { subject, sequence, place: None, reason, payload };
            self.bus.bury(&letter).await?;
            self.metrics.buried("invalid", &letter.reason, &letter.subject, sequence, None);
        }
        if let (Some(fold), Ok(Decoded::Features(batch))) = (&mut self.fold, &decoded) {
            fold.add(self.position.generation, sequence, batch);
        }
        if let Ok(decoded) = &decoded {
            decoded.add_to(&mut self.pages, origin);
        }
        self.opened_at.get_or_insert_with(Instant::now);
        self.held_bytes += stored.payload.len();
        self.held.push_back(Held { sequence, payload: stored.payload, origin, delivery, is_dead: decoded.is_err() });
        Ok(())
    }

    fn is_full(&self) -> bool {
        match self.ends {
            Some(end) => self.held.back().is_some_and(|held| held.sequence >= end),
            None => {
                self.pages.rows() >= self.bounds.events_max
                    || self.held.len() >= HELD_MAX
                    || self.held_bytes >= HELD_BYTES_MAX
                    || self.pages.bytes() >= ROWS_BYTES_MAX
            }
        }
    }

    /// When the flush that is being gathered is due; `None` while there is nothing in it.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.opened_at.map(|at| at + self.bounds.after)
    }

    /// Does what time asks for: a gap that stays one, a flush that has waited long enough.
    pub(crate) async fn tend(&mut self) -> Result<(), Error> {
        self.take_ahead().await?;
        if self.due_at().is_some_and(|due| due <= Instant::now()) {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes what is held: where it ends, its files, the position behind it, the acknowledgements.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        let Some(last) = self.held.back().map(|held| held.sequence) else { return Ok(()) };
        let end = self.chain.declare(&self.position, last).await?;
        if end > last {
            // A process before this one gathered more; so will this one.
            self.ends = Some(end);
            self.opened_at = Some(Instant::now());
            return Ok(());
        }
        let later = self.held.split_off(self.held.partition_point(|held| held.sequence <= end));
        if !later.is_empty() {
            self.lay_out_again();
        }
        let metrics = self.metrics.clone();
        let mut stopwatch = metrics.stopwatch();
        let written = self.write(end).await;
        if written.is_err() {
            self.held.extend(later);
            self.lay_out_again();
            self.opened_at = Some(Instant::now());
            return written;
        }
        stopwatch.lap("flush");
        let done = std::mem::replace(&mut self.held, later);
        self.ends = None;
        self.opened_at = (!self.held.is_empty()).then(Instant::now);
        self.lay_out_again();
        let acks: Vec<_> = done.into_iter().filter_map(|held| held.delivery).map(|delivery| delivery.ack()).collect();
        let acks: Vec<_> = futures::stream::iter(acks).buffer_unordered(ACKS_AT_ONCE).collect().await;
        stopwatch.lap("acknowledge");
        let lost = acks.iter().filter(|ack| ack.is_err()).count();
        if lost > 0 {
            tracing::warn!(
                table = self.table.name(),
                lost,
                "acknowledgements did not arrive; the messages come again and are recognised"
            );
        }
        Ok(())
    }

    /// Makes what is held durable, and remembers that it is.
    async fn write(&mut self, end: Sequence) -> Result<(), Error> {
        // Nobody closes it; without a turn it would only be less orderly.
        let turn = self.writing.clone().acquire_owned().await;
        let pages = std::mem::replace(&mut self.pages, Pages::new(self.table));
        let rows = pages.rows();
        let name = self.file_name(end);
        let writes = pages.finish().into_iter().map(|page| {
            let objects = Arc::clone(&self.objects);
            let path = Path::from(format!("{}/{name}", page.folder));
            let table = self.table.name();
            async move {
                // Away from whoever answers requests: a large file takes a good part of a second.
                let encoded = tokio::task::spawn_blocking(|| page.into_parquet());
                let bytes = encoded.await.map_err(|error| Error::Rows { table, source: Box::new(error) })??;
                let size = bytes.len();
                // Over what a process wrote that died in it: the same rows, or a torn file.
                objects.put(&path, PutPayload::from(bytes)).await?;
                Ok::<usize, Error>(size)
            }
        });
        let sizes: Vec<usize> = futures::stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect().await?;
        drop(turn);
        failpoint::hit("archive.written");
        let stored_at_ms = self.held.iter().map(|held| held.origin.stored_at.as_millis()).max();
        let position = Position {
            generation: self.position.generation,
            through: end,
            stored_at_ms: stored_at_ms.map_or(self.position.stored_at_ms, |at| at.max(self.position.stored_at_ms)),
            flushes: self.position.flushes + 1,
        };
        self.chain.advance(&position).await?;
        self.position = position;
        // Each in its own words: activities are the events that everybody counts.
        match self.table {
            Table::Activities => self.metrics.batches(self.held.len() as u64, rows as u64),
            Table::Signals => self.metrics.signals(rows as u64),
            Table::Cases => self.metrics.cases("archived", rows as u64),
            // It has a lane of its own kind.
            Table::History => {}
        }
        let (files, bytes) = (sizes.len(), sizes.iter().sum::<usize>());
        tracing::debug!(table = self.table.name(), end, rows, files, bytes, "flushed");
        Ok(())
    }

    /// The range that the flush stands for, and a hash of the messages in it.
    fn file_name(&self, end: Sequence) -> String {
        let mut hasher = Sha256::new();
        for held in &self.held {
            hasher.update(held.sequence.to_le_bytes());
            hasher.update((held.payload.len() as u64).to_le_bytes());
            hasher.update(&held.payload);
        }
        let hash = hexadecimal(&hasher.finalize()[..8]);
        format!("{:020}-{end:020}-{hash}.parquet", self.position.through + 1)
    }

    /// Makes the rows of what is held, and of nothing else.
    fn lay_out_again(&mut self) {
        self.pages = Pages::new(self.table);
        self.held_bytes = self.held.iter().map(|held| held.payload.len()).sum();
        for held in self.held.iter().filter(|held| !held.is_dead) {
            if let Ok(decoded) = self.table.decode(&held.payload) {
                decoded.add_to(&mut self.pages, held.origin);
            }
        }
    }

    /// The broker's stream is not the one that is archived: its sequences began again.
    async fn begin_anew(&mut self) -> Result<(), Error> {
        self.flush().await?;
        let Position { generation, flushes, .. } = self.position;
        tracing::warn!(
            table = self.table.name(),
            generation = generation + 1,
            "the stream was made anew; the archive keeps what it has and goes on"
        );
        self.position = Position { generation: generation + 1, flushes: flushes + 1, ..Position::default() };
        self.chain.advance(&self.position).await?;
        self.held.clear();
        self.ahead.clear();
        self.lay_out_again();
        (self.ends, self.opened_at) = (None, None);
        Ok(())
    }

    /// Folds what was archived and is in no epoch yet: the hour that was running when the process ended.
    async fn fold_again(&mut self) -> Result<(), Error> {
        let Some(mut fold) = self.fold.take() else { return Ok(()) };
        let begins = fold.begins();
        let same = begins.generation == self.position.generation;
        let mut after = if same { begins.sequence.saturating_sub(1) } else { 0 };
        while after < self.position.through {
            let (read, through) = self.read(after, self.position.through + 1).await?;
            for stored in read {
                if let Ok(Decoded::Features(batch)) = self.table.decode(&stored.payload) {
                    fold.add(self.position.generation, stored.sequence, &batch);
                }
            }
            after = through;
        }
        self.fold = Some(fold);
        Ok(())
    }

    /// Gives everything that is not durable back at once, for whoever comes next.
    pub(crate) async fn hand_back(self) {
        let early = self.ahead.into_values().filter_map(|arrived| arrived.delivery);
        let held = self.held.into_iter().filter_map(|held| held.delivery);
        let back: Vec<_> = held.chain(early).map(|delivery| delivery.hand_back(Duration::ZERO)).collect();
        // What does not arrive comes again by itself.
        let _ = futures::stream::iter(back).buffer_unordered(ACKS_AT_ONCE).collect::<Vec<_>>().await;
    }
}

/// `17` of `tw.feature.default.p017`.
fn partition(subject: &str) -> Option<u16> {
    subject.rsplit_once(".p")?.1.parse().ok()
}
