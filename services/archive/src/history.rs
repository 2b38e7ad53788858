//! History, taken in after the fact: its rows are kept, and what they teach is laid under the live baseline. It is neither
//! measured nor judged, and never passes through what is live.
//!
//! **Exactly once, by event.** Messages may come in any order, twice, to two archives, again after years. What a flush holds
//! is decided by creating one object that can be created once: batches with only those of their events which no flush
//! before holds, as the rows say that stand there. From then on everything is a function of these objects in the order of
//! their numbers: rows, their files' names, the epoch of history. Messages are acknowledged, and so gone from their stream,
//! once their flush is decided and written. Whoever comes next first does again what is decided and not learned.

mod journal;
mod known;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datafusion::object_store::path::Path;
use datafusion::object_store::{ObjectStoreExt, PutPayload};
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;
use trailwarden_bus::{DeadLetter, Delivery, Sequence};
use trailwarden_core::activity::Activity;
use trailwarden_core::baseline::{Epoch, EventKind, Limits};
use trailwarden_core::time::{MINUTE_MS, Timestamp};
use trailwarden_proto::{convert, v1, wire};
use trailwarden_runtime::failpoint;

use crate::Error;
use crate::epochs::hexadecimal;
use crate::lane::{Bounds, IN_FLIGHT_MAX, Surroundings, WRITES_AT_ONCE};
use crate::page::{FOLDERS_MAX, Pages};
use crate::table::{self, Table};
use journal::{Entry, Journal, Place};
use known::{Folder, Id, Known};

pub(crate) use known::IDS_MAX;

/// Held messages that end a flush. Below [`IN_FLIGHT_MAX`], or the broker would give no more before it.
const HELD_MAX: usize = IN_FLIGHT_MAX / 2;
/// Held payloads, compressed, that end a flush.
const HELD_BYTES_MAX: usize = 32 << 20;
/// Messages that are acknowledged at the same time.
const ACKS_AT_ONCE: usize = 64;
/// Flushes after which the epoch of history is kept while more come; it is also kept when nothing is held.
const KEEP_EVERY: u64 = 16;
/// How often is looked for what another archive decided.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How far ahead of the broker's clock an event may be before its time is not believed; such a one has its row and teaches
/// nothing.
const AHEAD_MS_MAX: i64 = 5 * MINUTE_MS;

/// Where it is told what history taught; `None` until that is known.
pub(crate) type Learned = watch::Sender<Option<Arc<Epoch>>>;

/// A message that was taken and is in no flush yet.
struct Held {
    delivery: Box<dyn Delivery>,
    /// What its batch holds, packed, without what was no event.
    payload: Bytes,
    /// Of its events, in their order.
    ids: Vec<(Folder, Id)>,
}

impl Held {
    fn place(&self) -> (Sequence, Timestamp) {
        let message = self.delivery.message();
        (message.sequence, message.stored_at)
    }
}

/// The lane of history.
pub(crate) struct History {
    around: Surroundings,
    bounds: Bounds,
    limits: Limits,
    journal: Journal,
    known: Known,
    /// What the flushes up to `flushes` taught.
    epoch: Epoch,
    flushes: u64,
    /// Flushes that the kept epoch does not hold.
    unkept: u64,
    learned: Arc<Learned>,
    held: Vec<Held>,
    held_bytes: usize,
    held_events: usize,
    /// Where rows of what is held go: each is looked at for what it has already.
    held_folders: BTreeSet<Folder>,
    opened_at: Option<Instant>,
    looked_at: Instant,
}

impl History {
    /// Takes history up where it stands, and tells what it taught so far. `ids_max` bounds what is remembered of rows.
    pub(crate) async fn open(
        around: Surroundings,
        bounds: Bounds,
        limits: Limits,
        learned: Arc<Learned>,
        ids_max: usize,
    ) -> Result<Self, Error> {
        let (journal, epoch, flushes) = Journal::open(Arc::clone(&around.objects), limits).await?;
        let known = Known::new(Arc::clone(&around.objects), ids_max);
        let mut history = Self {
            around,
            bounds,
            limits,
            journal,
            known,
            epoch,
            flushes,
            unkept: 0,
            learned,
            held: Vec::new(),
            held_bytes: 0,
            held_events: 0,
            held_folders: BTreeSet::new(),
            opened_at: None,
            looked_at: Instant::now(),
        };
        history.catch_up().await?;
        history.tell();
        Ok(history)
    }

    fn tell(&self) {
        self.learned.send_replace(Some(Arc::new(self.epoch.clone())));
    }

    /// Takes what the broker gave. What is no event goes to the dead letters.
    pub(crate) async fn take(&mut self, delivery: Box<dyn Delivery>) -> Result<(), Error> {
        let message = delivery.message();
        let place = (message.sequence, message.stored_at);
        if let Some(held) = self.held.iter_mut().find(|held| held.place() == place) {
            // Given out again while it is held here: the broker listens to the later delivery.
            held.delivery = delivery;
            return Ok(());
        }
        let content = self.around.bus.content(message).await?.unwrap_or_default();
        let batch: v1::ActivityBatch = match wire::unpack(&content) {
            Ok(batch) => batch,
            Err(error) => {
                self.bury(&*delivery, None, error.to_string(), content).await?;
                return Ok(delivery.ack().await?);
            }
        };
        let (mut ids, mut sound) = (Vec::with_capacity(batch.observations.len()), BTreeSet::new());
        for (number, observation) in (0_u32..).zip(&batch.observations) {
            let why = match observation.activity.as_ref().map(convert::activity) {
                Some(Ok(activity)) => {
                    ids.push(identity(&activity));
                    sound.insert(number);
                    continue;
                }
                Some(Err(error)) => error.to_string(),
                None => "an observation of nothing".to_owned(),
            };
            self.bury(&*delivery, Some(number), why, wire::pack(&only(&batch, |other| other == number))).await?;
        }
        let is_whole = sound.len() == batch.observations.len();
        let payload = if is_whole { content } else { wire::pack(&only(&batch, |number| sound.contains(&number))) };
        self.opened_at.get_or_insert_with(Instant::now);
        self.held_bytes += payload.len();
        self.held_events += ids.len();
        for (folder, _) in &ids {
            if !self.held_folders.contains(folder) {
                self.held_folders.insert(folder.clone());
            }
        }
        self.held.push(Held { delivery, payload, ids });
        if self.is_full() { self.flush().await } else { Ok(()) }
    }

    async fn bury(
        &self,
        delivery: &dyn Delivery,
        place: Option<u32>,
        reason: String,
        payload: Bytes,
    ) -> Result<(), Error> {
        let message = delivery.message();
        let letter =
            DeadLetter { subject: message.subject.clone(), sequence: message.sequence, place, reason, payload };
        self.around.bus.bury(&letter).await?;
        self.around.metrics.buried("invalid", &letter.reason, &letter.subject, letter.sequence, place);
        Ok(())
    }

    /// Whether the next thing to do is a flush, and not to take more.
    pub(crate) fn is_full(&self) -> bool {
        self.held_folders.len() >= FOLDERS_MAX
            || self.held_events >= self.bounds.events_max
            || self.held.len() >= HELD_MAX
            || self.held_bytes >= HELD_BYTES_MAX
    }

    /// Does what time asks for: a flush that has waited long enough, a look at what others decided, an epoch to keep.
    pub(crate) async fn tend(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if self.is_full() || self.opened_at.is_some_and(|at| at + self.bounds.after <= now) {
            return self.flush().await;
        }
        if self.looked_at + LOOK_EVERY <= now {
            self.catch_up().await?;
        }
        if self.held.is_empty() { self.keep().await } else { Ok(()) }
    }

    /// Decides what the next flush holds of what is held, does it, and acknowledges.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        let metrics = self.around.metrics.clone();
        let mut stopwatch = metrics.stopwatch();
        loop {
            self.catch_up().await?;
            let (entries, fresh) = self.sift().await?;
            if fresh > 0 {
                if !self.journal.decide(self.flushes + 1, &entries).await? {
                    // Another archive was faster; some of these may be in its flush.
                    continue;
                }
                failpoint::hit("archive.history_decided");
                self.perform(&entries).await?;
            }
            let events: usize = self.held.iter().map(|held| held.ids.len()).sum();
            metrics.duplicates((events - fresh) as u64);
            break;
        }
        stopwatch.lap("flush");
        (self.held_bytes, self.held_events, self.opened_at) = (0, 0, None);
        self.held_folders.clear();
        let acks = std::mem::take(&mut self.held).into_iter().map(|held| held.delivery.ack());
        let acks: Vec<_> = futures::stream::iter(acks).buffer_unordered(ACKS_AT_ONCE).collect().await;
        stopwatch.lap("acknowledge");
        let lost = acks.iter().filter(|ack| ack.is_err()).count();
        if lost > 0 {
            tracing::warn!(lost, "acknowledgements of history did not arrive; it comes again and is recognised");
        }
        if self.unkept >= KEEP_EVERY { self.keep().await } else { Ok(()) }
    }

    /// What is held and in no flush before, nor twice in this one; and how many events that are.
    async fn sift(&mut self) -> Result<(Vec<Entry>, usize), Error> {
        let mut asked = BTreeMap::<Folder, BTreeSet<Id>>::new();
        for (folder, id) in self.held.iter().flat_map(|held| &held.ids) {
            match asked.get_mut(folder) {
                Some(ids) => _ = ids.insert(*id),
                None => _ = asked.insert(folder.clone(), BTreeSet::from([*id])),
            }
        }
        let mut seen = self.known.among(&asked).await?;
        let (mut entries, mut fresh) = (Vec::new(), 0);
        for held in &self.held {
            let is_fresh: Vec<bool> = held.ids.iter().map(|(_, id)| seen.insert(*id)).collect();
            let count = is_fresh.iter().filter(|is_fresh| **is_fresh).count();
            if count == 0 {
                continue;
            }
            fresh += count;
            let payload = if count == is_fresh.len() {
                held.payload.clone()
            } else {
                // It was read before, so it can be read.
                let batch: v1::ActivityBatch = wire::unpack(&held.payload).unwrap_or_default();
                wire::pack(&only(&batch, |number| is_fresh.get(number as usize).copied().unwrap_or(false)))
            };
            entries.push(Entry { stored_at: held.delivery.message().stored_at, payload });
        }
        Ok((entries, fresh))
    }

    /// Does what was decided and is not in the epoch: by a process that died, or by another archive.
    async fn catch_up(&mut self) -> Result<(), Error> {
        self.looked_at = Instant::now();
        let mut was_behind = false;
        loop {
            match self.journal.at(self.flushes + 1).await? {
                Place::Free => return Ok(()),
                Place::Flush(entries) => self.perform(&entries).await?,
                // Others have gone on while this one slept, and have given up what it would need.
                Place::Done if !was_behind => {
                    was_behind = true;
                    (self.journal, self.epoch, self.flushes) =
                        Journal::open(Arc::clone(&self.around.objects), self.limits).await?;
                    self.known = Known::new(Arc::clone(&self.around.objects), self.known.ids_max());
                    self.unkept = 0;
                    self.tell();
                }
                Place::Done => {
                    let path = format!("learned, before flush {}", self.flushes + 1);
                    return Err(Error::Damaged { path, what: "the epoch of history that holds it is not there" });
                }
            }
        }
    }

    /// Writes the rows of the next flush and learns from it: a function of its entries and its number.
    async fn perform(&mut self, entries: &[Entry]) -> Result<(), Error> {
        let number = self.flushes + 1;
        let mut pages = Pages::new(Table::History);
        let mut added = BTreeMap::<Folder, BTreeSet<Id>>::new();
        let mut lessons = Vec::new();
        let mut hasher = Sha256::new();
        for Entry { stored_at, payload } in entries {
            hasher.update((payload.len() as u64).to_le_bytes());
            hasher.update(payload);
            // What was decided could be read.
            let Ok(batch) = wire::unpack::<v1::ActivityBatch>(payload) else { continue };
            let activities = batch.observations.iter().filter_map(|observation| observation.activity.as_ref());
            for activity in activities.filter_map(|activity| convert::activity(activity).ok()) {
                let (folder, id) = identity(&activity);
                added.entry(folder).or_default().insert(id);
                if activity.event_time <= stored_at.plus_ms(AHEAD_MS_MAX) {
                    lessons.push((EventKind::of(&activity), activity.event_time));
                }
            }
            table::add_history(&mut pages, &batch);
        }
        let rows = pages.rows();
        self.write(pages, &format!("{number:020}-{}.parquet", hexadecimal(&hasher.finalize()[..8]))).await?;
        failpoint::hit("archive.history_written");
        self.known.add(&added);
        self.epoch.learn(lessons);
        self.flushes = number;
        self.unkept += 1;
        self.around.metrics.history(rows as u64);
        tracing::debug!(number, rows, "history was learned from");
        Ok(())
    }

    async fn write(&self, pages: Pages, name: &str) -> Result<(), Error> {
        // Nobody closes it.
        let _turn = self.around.writing.acquire().await;
        let writes = pages.finish().into_iter().map(|page| {
            let objects = Arc::clone(&self.around.objects);
            let path = Path::from(format!("{}/{name}", page.folder));
            async move {
                let failed = |error| Error::Rows { table: Table::History.name(), source: Box::new(error) };
                let bytes = tokio::task::spawn_blocking(|| page.into_parquet()).await.map_err(failed)??;
                objects.put(&path, PutPayload::from(bytes)).await?;
                Ok::<(), Error>(())
            }
        });
        futures::stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect().await
    }

    /// Keeps what was learned, and tells it.
    async fn keep(&mut self) -> Result<(), Error> {
        if self.unkept == 0 {
            return Ok(());
        }
        self.journal.keep(self.flushes, &self.epoch).await?;
        self.unkept = 0;
        self.tell();
        Ok(())
    }

    /// Gives everything that is in no flush back at once, for whoever comes next.
    pub(crate) async fn hand_back(self) {
        let back = self.held.into_iter().map(|held| held.delivery.hand_back(Duration::ZERO));
        // What does not arrive comes again by itself.
        let _ = futures::stream::iter(back).buffer_unordered(ACKS_AT_ONCE).collect::<Vec<_>>().await;
    }
}

fn identity(activity: &Activity<'_>) -> (Folder, Id) {
    let folder = (table::account(activity.account).to_owned(), table::day(activity.event_time));
    (folder, known::id(activity.event_id, activity.account, activity.principal))
}

/// A batch with some of its observations.
fn only(batch: &v1::ActivityBatch, is_wanted: impl Fn(u32) -> bool) -> v1::ActivityBatch {
    let wanted = (0_u32..).zip(&batch.observations).filter(|(number, _)| is_wanted(*number));
    let observations = wanted.map(|(_, observation)| observation.clone()).collect();
    let (id, rules) = (batch.id.clone(), batch.rules.clone());
    v1::ActivityBatch { id, observations, rules, watermark_ms: batch.watermark_ms }
}
