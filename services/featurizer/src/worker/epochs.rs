//! Baseline epochs as they are announced: loaded by name, the latest kept, others for as long as somebody works with them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use trailwarden_bus::{Bus, Error, Stream, Subject};
use trailwarden_core::baseline::{Epoch, Limits};
use trailwarden_runtime::event::EpochStep;
use trailwarden_runtime::metrics::Metrics;

/// Epochs whose hours are remembered; some of them are still held by somebody.
const READ_MAX: usize = 64;
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

/// An epoch of an organisation takes megabytes, and partitions move to a new one with their next batch. So only the latest
/// is held here; whoever rebuilds holds the one that it is at.
#[derive(Default)]
struct Held {
    latest: Option<Named>,
    /// Read last comes last.
    read: VecDeque<Read>,
}

/// What is remembered of an epoch that was read.
struct Read {
    name: String,
    hour: i64,
    epoch: Weak<Epoch>,
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
        let (latest, pinned_hour) = {
            let held = self.lock();
            let read = held.read.iter().find(|read| read.name == pinned);
            (held.latest.clone(), read.map(|read| read.hour))
        };
        if let Some(latest) = &latest
            && (latest.name == pinned || pinned_hour.is_some_and(|hour| hour <= latest.epoch.hour()))
        {
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
        let alive = self.lock().read.iter().find(|read| read.name == name).and_then(|read| read.epoch.upgrade());
        if let Some(epoch) = alive {
            return Ok(Some(Named { name: name.to_owned(), epoch }));
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
        held.read.retain(|read| read.name != name);
        if held.read.len() >= READ_MAX {
            held.read.pop_front();
        }
        let epoch = Arc::downgrade(&named.epoch);
        held.read.push_back(Read { name: named.name.clone(), hour: named.epoch.hour(), epoch });
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

#[cfg(test)]
mod tests {
    use trailwarden_bus::{Layout, Memory, Outgoing};
    use trailwarden_core::time::Timestamp;
    use trailwarden_runtime::telemetry::quiet;

    use super::*;

    async fn announce(bus: &Memory, hour: i64) -> String {
        let mut baseline = trailwarden_core::baseline::Baseline::new(Limits::default());
        baseline.advance(Timestamp::from_millis(hour * trailwarden_core::time::HOUR_MS));
        let content = Bytes::from(baseline.epoch().to_bytes());
        let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("epoch/{digest}");
        bus.put_object(&name, content).await.unwrap();
        let outgoing = Outgoing { payload: name.clone().into(), ..Outgoing::default() };
        bus.publish(&Subject::whole(Stream::Epoch, "t"), outgoing).await.unwrap();
        name
    }

    #[tokio::test]
    async fn an_epoch_stays_for_as_long_as_somebody_works_with_it() {
        let bus = Memory::default();
        bus.set_up(&Layout::single("t", 1)).await.unwrap();
        let telemetry = quiet("featurizer").unwrap();
        let epochs = Epochs::new(Arc::new(bus.clone()), "t", Limits::default(), telemetry.metrics().clone());
        assert_eq!(epochs.next_after("").await.unwrap().name, "");

        let first = announce(&bus, 1).await;
        epochs.refresh().await.unwrap();
        let working = epochs.next_after("").await.unwrap();
        assert_eq!(working.name, first);
        let (once, again) = (epochs.again(&first).await.unwrap(), epochs.again(&first).await.unwrap());
        assert!(Arc::ptr_eq(&once, &again) && Arc::ptr_eq(&once, &working.epoch));
        drop((once, again));

        let second = announce(&bus, 2).await;
        epochs.refresh().await.unwrap();
        assert_eq!(epochs.next_after(&first).await.unwrap().name, second);
        let held = Arc::downgrade(&working.epoch);
        assert!(Arc::ptr_eq(&epochs.again(&first).await.unwrap(), &working.epoch));
        drop(working);
        assert!(held.upgrade().is_none(), "nobody works with it");
        // What was let go is read once more where a rebuild asks for it, and is still known to be the earlier one.
        assert_eq!(epochs.again(&first).await.unwrap().hour(), 1);
        assert_eq!(epochs.next_after(&first).await.unwrap().name, second);
    }

    #[tokio::test]
    async fn a_partition_that_rests_on_a_later_epoch_stays_with_it() {
        let bus = Memory::default();
        bus.set_up(&Layout::single("t", 1)).await.unwrap();
        let telemetry = quiet("featurizer").unwrap();
        let epochs = Epochs::new(Arc::new(bus.clone()), "t", Limits::default(), telemetry.metrics().clone());
        let first = announce(&bus, 1).await;
        epochs.refresh().await.unwrap();
        let later = announce(&bus, 2).await;
        assert_eq!(epochs.next_after(&later).await.unwrap().name, later);
        assert_eq!(epochs.next_after(&first).await.unwrap().name, first);
        assert_eq!(epochs.next_after("epoch/nobody").await.unwrap().name, first);
    }
}
