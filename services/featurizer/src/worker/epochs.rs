//! Baseline epochs as they are announced: loaded by name, the latest few kept.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use trailwarden_bus::{Bus, Error, Stream, Subject};
use trailwarden_core::baseline::{Epoch, Limits};
use trailwarden_runtime::event::EpochStep;
use trailwarden_runtime::metrics::Metrics;

/// Decoded epochs that are kept: the latest, the one before that partitions still rest on, and those of a rebuild.
const HELD_MAX: usize = 4;
/// Bytes of a name; longer ones are not ours.
const NAME_BYTES_MAX: usize = 128;
/// How often is asked for a new one; they come once an hour.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// An epoch with its name; the empty name is that of the epoch which knows nothing.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: String,
    pub epoch: Arc<Epoch>,
}

/// Epochs of one tenant (`epoch/<SHA-256 of the content>`), shared by all its partitions in a process.
pub struct Epochs {
    bus: Arc<dyn Bus>,
    announced: Subject,
    /// What is known before anything was folded.
    empty: Named,
    held: Mutex<Held>,
    metrics: Metrics,
}

#[derive(Default)]
struct Held {
    latest: Option<Named>,
    /// Used last comes last.
    recent: Vec<Named>,
}

impl Epochs {
    pub fn new(bus: Arc<dyn Bus>, tenant: &str, limits: Limits, metrics: Metrics) -> Self {
        let empty = Named { name: String::new(), epoch: Arc::new(Epoch::new(limits)) };
        let announced = Subject::whole(Stream::Epoch, tenant);
        Self { bus, announced, empty, held: Mutex::default(), metrics }
    }

    /// Asks for new epochs until `shutdown`.
    pub async fn follow(&self, shutdown: &CancellationToken) {
        let mut turn = tokio::time::interval(ASK_EVERY);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = turn.tick() => {}
            }
            if let Err(error) = self.refresh().await {
                self.metrics.failed("epoch", &error);
            }
        }
    }

    /// Looks for the latest announced epoch and loads it, so that no batch waits for it.
    ///
    /// # Errors
    /// When the bus does not answer; the epoch known so far stays.
    pub async fn refresh(&self) -> Result<(), Error> {
        let Some(announced) = self.bus.last(&self.announced).await? else { return Ok(()) };
        let name = match std::str::from_utf8(&announced.payload) {
            Ok(name) if !name.is_empty() && name.len() <= NAME_BYTES_MAX => name,
            _ => {
                tracing::error!(sequence = announced.sequence, "an announcement names no epoch");
                return Ok(());
            }
        };
        if self.lock().latest.as_ref().is_some_and(|latest| latest.name == name) {
            return Ok(());
        }
        if let Some(named) = self.load(name).await? {
            self.metrics.epoch(EpochStep::Adopted, name);
            self.lock().latest = Some(named);
        }
        Ok(())
    }

    /// The epoch for a partition's next batch: the latest known, unless the partition rests on a later one, of which
    /// another process knew first.
    ///
    /// # Errors
    /// When the bus does not answer.
    pub async fn next_after(&self, pinned: &str) -> Result<Named, Error> {
        let latest = self.lock().latest.clone();
        if let Some(latest) = latest.as_ref().filter(|latest| latest.name == pinned) {
            return Ok(latest.clone());
        }
        let pinned = self.load(pinned).await?;
        Ok(match (latest, pinned) {
            (Some(latest), Some(pinned)) if pinned.epoch.hour() > latest.epoch.hour() => pinned,
            (Some(latest), _) => latest,
            (None, Some(pinned)) => pinned,
            (None, None) => self.empty.clone(),
        })
    }

    /// The epoch of that name, for doing again what was done with it. One that is gone for good is an empty one.
    ///
    /// # Errors
    /// When the bus does not answer.
    pub async fn again(&self, name: &str) -> Result<Arc<Epoch>, Error> {
        Ok(self.load(name).await?.unwrap_or_else(|| self.empty.clone()).epoch)
    }

    /// `None` when there is none of that name, or it cannot be read.
    async fn load(&self, name: &str) -> Result<Option<Named>, Error> {
        if name.is_empty() {
            return Ok(Some(self.empty.clone()));
        }
        {
            let mut held = self.lock();
            if let Some(place) = held.recent.iter().position(|named| named.name == name) {
                let named = held.recent.remove(place);
                held.recent.push(named.clone());
                return Ok(Some(named));
            }
        }
        let Some(content) = self.bus.object(name).await? else {
            tracing::error!(epoch = name, "an epoch is missing");
            return Ok(None);
        };
        // Tens of megabytes may be decoded; other partitions go on meanwhile.
        let owned = name.to_owned();
        let epoch = match tokio::task::spawn_blocking(move || decode(&owned, &content)).await {
            Ok(Ok(epoch)) => epoch,
            Ok(Err(why)) => {
                tracing::error!(epoch = name, why, "an epoch cannot be read");
                return Ok(None);
            }
            Err(_) => {
                tracing::error!(epoch = name, "reading an epoch failed");
                return Ok(None);
            }
        };
        let named = Named { name: name.to_owned(), epoch: Arc::new(epoch) };
        let mut held = self.lock();
        if held.recent.len() >= HELD_MAX {
            held.recent.remove(0);
        }
        held.recent.push(named.clone());
        Ok(Some(named))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decode(name: &str, content: &Bytes) -> Result<Epoch, String> {
    let digest: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    if name.strip_prefix("epoch/") != Some(digest.as_str()) {
        return Err("its name is not that of its content".to_owned());
    }
    Epoch::from_bytes(content).map_err(|error| error.to_string())
}
