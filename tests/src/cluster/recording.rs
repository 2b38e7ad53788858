//! Recorded work, to be done by deployments that something befalls.

use std::collections::BTreeSet;

use bytes::Bytes;
use trailwarden_bus::Stream;
use trailwarden_core::time::Timestamp;

use super::{Cluster, feed_disturbed, last_time, organisation, outputs, replayed, whole};

/// Subject and payload of a message.
pub type Batch = (String, Bytes);

/// Activity batches as a collector published them.
pub struct Recording {
    /// In the order of the stream.
    pub batches: Vec<Batch>,
    /// The latest event time.
    pub last: Timestamp,
    /// Ids of all events.
    pub events: BTreeSet<String>,
}

impl Recording {
    /// What a collector makes of an invented organisation's records, disturbed.
    pub async fn new(events: u64, seed: u64) -> Self {
        let records = organisation(events, seed);
        let mut cluster = Cluster::start().await;
        cluster.run("collector", None);
        feed_disturbed(&cluster, &records).await;
        let stored = whole(cluster.bus.as_ref(), Stream::Activity).await;
        let batches = stored.into_iter().map(|stored| (stored.subject, stored.payload)).collect();
        let events = records.iter().map(|record| record.event_id.clone()).collect();
        Self { batches, last: last_time(&records), events }
    }

    /// The batches in two halves, so that a fault falls between work that is done and work to come.
    pub fn halves(&self) -> (&[Batch], &[Batch]) {
        self.batches.split_at(self.batches.len() / 2)
    }

    /// Waits until a deployment has worked it off, and tells what is wrong with what came out: events lost or measured twice,
    /// another number of dead letters, or anything that differs from what one process makes of the same batches with the
    /// same epochs, undisturbed.
    pub async fn difference(&self, cluster: &Cluster, dead: usize) -> Option<String> {
        cluster.drain(self.last).await;
        // A broker that has just changed its leader may say too early that nothing waits.
        cluster.measured_at_least(self.events.len()).await;
        cluster.worked_off(&["featurizer", "scorer", "council"], &[]).await;
        let found = outputs(cluster).await;
        let measured: BTreeSet<String> = found.measured.keys().cloned().collect();
        if let Some(lost) = self.events.difference(&measured).next() {
            return Some(format!("{} of {} events were measured; not {lost}", measured.len(), self.events.len()));
        }
        if found.dead != dead {
            return Some(format!("{} dead letters and not {dead}", found.dead));
        }
        replayed(cluster).await.difference(&found)
    }
}
