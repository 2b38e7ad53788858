//! Baseline epochs: folded from measured events in the order of their stream, kept in the archive, announced on the bus.
//!
//! The fold is a function of the stream's order alone. An epoch's file names the event that began its running hour, so
//! whoever starts again reads the stream from there and comes to the same epochs, bit for bit.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::object_store::path::Path;
use datafusion::object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use trailwarden_bus::{Bus, Outgoing, Sequence, Stream, Subject};
use trailwarden_core::baseline::{Baseline, Epoch, EventKind, Limits};
use trailwarden_core::time::Timestamp;
use trailwarden_proto::{convert, v1};
use trailwarden_runtime::event::EpochStep;
use trailwarden_runtime::metrics::Metrics;

use crate::Error;

/// While history is caught up with, hours pass faster than anybody can use their epochs: the latest each so often will do.
pub(crate) const EVERY_MS: i64 = 5_000;
/// An epoch at all its limits has about a hundred megabytes.
const EPOCH_BYTES_MAX: u64 = 512 << 20;

/// A place in the stream of features: the archive's generation of it, batch, and event within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) generation: u32,
    pub(crate) sequence: Sequence,
    pub(crate) event: usize,
}

/// The baseline of one tenant, as folded so far.
pub(crate) struct Fold {
    baseline: Baseline,
    /// The first event that the epoch does not hold.
    begins: Place,
    /// Nothing was folded yet, so that the first hour passing says nothing.
    is_empty: bool,
    unpublished: bool,
    published_at: Option<Timestamp>,
    /// What the archive has learned from history, as last heard.
    history: Option<Arc<Epoch>>,
}

impl Fold {
    pub(crate) fn new(limits: Limits) -> Self {
        let baseline = Baseline::new(limits);
        let begins = Place::default();
        Self { baseline, begins, is_empty: true, unpublished: false, published_at: None, history: None }
    }

    fn resume(epoch: Epoch, begins: Place) -> Self {
        // Announced again, in case it was stored and never told.
        let baseline = Baseline::resume(epoch);
        Self { baseline, begins, is_empty: false, unpublished: true, published_at: None, history: None }
    }

    /// The first event that has to be folded again after a start.
    pub(crate) fn begins(&self) -> Place {
        self.begins
    }

    /// Folds a batch that stands at `sequence`. What was too late or too far ahead for the windows is no habit.
    pub(crate) fn add(&mut self, generation: u32, sequence: Sequence, batch: &v1::FeatureBatch) {
        for (event, measured) in batch.events.iter().enumerate() {
            let place = Place { generation, sequence, event };
            if measured.read_only || place < self.begins {
                continue;
            }
            let activity = measured.observation.as_ref().and_then(|observation| observation.activity.as_ref());
            let Some(Ok(activity)) = activity.map(convert::activity) else { continue };
            if self.baseline.advance(activity.event_time) {
                self.begins = place;
                self.unpublished |= !self.is_empty;
            }
            self.is_empty = false;
            self.baseline.add(EventKind::of(&activity), activity.event_time);
        }
    }

    /// Hears what was learned from history: where that is new and anything, there is a new epoch to tell of.
    fn hear(&mut self, history: &Arc<Epoch>) {
        if self.history.as_ref().is_none_or(|heard| !Arc::ptr_eq(heard, history)) {
            self.unpublished |= !history.is_empty();
            self.history = Some(Arc::clone(history));
        }
    }

    /// The epoch to publish now: the latest, when there is a new one and the last was published long enough ago.
    fn due(&self, now: Timestamp, every_ms: i64) -> Option<&Epoch> {
        let waits = self.published_at.is_some_and(|at| now.since_ms(at).unsigned_abs() < every_ms.unsigned_abs());
        (self.unpublished && !waits).then(|| self.baseline.epoch())
    }

    fn published(&mut self, now: Timestamp) {
        self.unpublished = false;
        self.published_at = Some(now);
    }
}

/// Where epochs are kept and told of.
pub(crate) struct Epochs {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) tenant: String,
    pub(crate) metrics: Metrics,
    /// What was learned from history; `None` until that is known.
    pub(crate) history: watch::Receiver<Option<Arc<Epoch>>>,
}

impl Epochs {
    /// Publishes the fold's epoch when it is due: kept in the archive, then with history under it on the bus, then announced.
    /// History never enters the fold itself, so that this stays a function of the live stream alone.
    pub(crate) async fn publish(&self, fold: &mut Fold, now: Timestamp, every_ms: i64) -> Result<(), Error> {
        // An epoch without what history taught would take back what was told before a start.
        let Some(history) = self.history.borrow().clone() else { return Ok(()) };
        fold.hear(&history);
        let Some(epoch) = fold.due(now, every_ms) else { return Ok(()) };
        let mut content = Bytes::from(epoch.to_bytes());
        let mut hash = hexadecimal(&Sha256::digest(&content));
        if !fold.is_empty {
            let path = file(epoch.hour(), fold.begins, &hash);
            self.objects.put(&path, PutPayload::from(content.clone())).await?;
        }
        if !history.is_empty() {
            content = epoch.over(&history).to_bytes().into();
            hash = hexadecimal(&Sha256::digest(&content));
        }
        let name = format!("epoch/{hash}");
        self.metrics.epoch(EpochStep::Folded, &name);
        self.bus.put_object(&name, content).await?;
        let announced = Subject::whole(Stream::Epoch, &self.tenant);
        let latest = self.bus.last(&announced).await?;
        if latest.is_none_or(|latest| latest.payload != name.as_bytes()) {
            self.bus.publish(&announced, Outgoing { payload: name.clone().into(), ..Outgoing::default() }).await?;
        }
        self.metrics.epoch(EpochStep::Announced, &name);
        fold.published(now);
        Ok(())
    }

    /// The latest epoch that the archive holds whole, as a fold to go on with; an empty one without any.
    pub(crate) async fn recover(&self, limits: Limits) -> Result<Fold, Error> {
        let prefix = Path::from(FOLDER);
        let found: Vec<_> = self.objects.list(Some(&prefix)).try_collect().await?;
        let mut epochs: Vec<(Place, String, Path)> = found
            .into_iter()
            .filter(|meta| meta.size <= EPOCH_BYTES_MAX)
            .filter_map(|meta| named(meta.location.filename()?).map(|(place, hash)| (place, hash, meta.location)))
            .collect();
        epochs.sort();
        while let Some((begins, hash, path)) = epochs.pop() {
            let content = self.objects.get(&path).await?.bytes().await?;
            if hexadecimal(&Sha256::digest(&content)) != hash {
                tracing::warn!(path = path.as_ref(), "an epoch in the archive is damaged; taking the one before it");
                continue;
            }
            match Epoch::from_bytes(&content) {
                Ok(epoch) => return Ok(Fold::resume(epoch, begins)),
                Err(error) => {
                    tracing::warn!(path = path.as_ref(), %error, "an epoch of another version; taking the one before it")
                }
            }
        }
        Ok(Fold::new(limits))
    }
}

const FOLDER: &str = "epochs";

fn file(hour: i64, begins: Place, hash: &str) -> Path {
    let Place { generation, sequence, event } = begins;
    Path::from(format!("{FOLDER}/{hour:010}-{generation:04}-{sequence:020}-{event:05}-{hash}.bin"))
}

/// What a file's name says: where its running hour begins, and the hash of its bytes.
fn named(file: &str) -> Option<(Place, String)> {
    let mut parts = file.strip_suffix(".bin")?.rsplitn(5, '-');
    let hash = parts.next().filter(|hash| hash.len() == 64)?.to_owned();
    let event = parts.next()?.parse().ok()?;
    let sequence = parts.next()?.parse().ok()?;
    let generation = parts.next()?.parse().ok()?;
    Some((Place { generation, sequence, event }, hash))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
