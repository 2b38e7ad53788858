//! What surrounds the case builder: shards that log what it decides, and dead letters for what it cannot read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::join_all;
use trailwarden_bus::{Bus, DeadLetter, Sequence, Stored, Stream, Subject};
use trailwarden_proto::{v1, wire};
use trailwarden_runtime::metrics::Metrics;

use crate::builder::{Floors, Suspects};
use crate::docket::Entry;
use crate::fold::{Ground, Refused};
use crate::shard::{Brief, Shards};
use crate::supervision::{Failure, pause};

/// Panics of the judge over one case, after which the entry goes to the dead letters.
const PANICS_MAX: u32 = 3;

/// What the builder works with.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) tenant: String,
    pub(crate) ground: Ground,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) shards: Shards,
    pub(crate) floors: Arc<Floors>,
    pub(crate) suspects: Arc<Mutex<Suspects>>,
    pub(crate) metrics: Metrics,
}

impl Site {
    /// Returns once the logs say all that these entries ask for, or a dead letter says why one does not. Entries of one case
    /// keep their order.
    pub(crate) async fn log(&self, entries: Vec<Entry>) {
        let mut by_shard: BTreeMap<usize, Vec<Brief>> = BTreeMap::new();
        for entry in entries {
            by_shard.entry(self.shards.of(&entry.case_id)).or_default().push(Brief::new(entry));
        }
        join_all(by_shard.into_iter().map(|(shard, briefs)| async move {
            for brief in briefs {
                self.log_one(shard, brief).await;
            }
        }))
        .await;
    }

    /// Tries again for as long as that can help: the work that this is part of has a deadline.
    async fn log_one(&self, shard: usize, brief: Brief) {
        let entry = &brief.entry;
        let (mut tries, mut panics) = (0, 0);
        loop {
            let why = match self.shards.ask(shard, brief.clone()).await {
                Ok(Ok(_)) => return,
                Ok(Err(error)) if error.is_transient() => error.to_string(),
                Ok(Err(error)) => return self.bury_entry(entry, &error.to_string()).await,
                Err(Failure::Panicked) => {
                    panics += 1;
                    if panics >= PANICS_MAX {
                        return self.bury_entry(entry, "the judge died over it").await;
                    }
                    Failure::Panicked.to_string()
                }
                Err(failure) => failure.to_string(),
            };
            tries += 1;
            tracing::warn!(case = entry.case_id, tries, why, "entry of a case log could not be made yet");
            tokio::time::sleep(pause(tries, entry.ordinal.into())).await;
        }
    }

    async fn bury_entry(&self, entry: &Entry, why: &str) {
        let (case, ordinal) = (&entry.case_id, entry.ordinal);
        tracing::error!(%case, ordinal, matter = entry.matter.name(), why, "case log has a gap");
        let payload = v1::Case { id: case.clone(), revision: ordinal, ..v1::Case::default() };
        let letter = DeadLetter {
            subject: Subject::case(&self.tenant, case).to_string(),
            sequence: ordinal.into(),
            place: None,
            reason: format!("{}: {why}", entry.matter.name()),
            payload: wire::pack(&payload),
        };
        self.bury("entry", letter).await;
    }

    pub(crate) async fn bury_batch(&self, partition: u16, message: Stored) {
        let Stored { sequence, payload, .. } = message;
        let (word, reason) = match wire::unpack::<v1::SignalBatch>(&payload) {
            Ok(_) => ("undone", "the case builder died over it".to_owned()),
            Err(error) => ("invalid", error.to_string()),
        };
        let subject = Subject::partition(Stream::Signal, &self.tenant, partition).to_string();
        self.bury(word, DeadLetter { subject, sequence, place: None, reason, payload }).await;
    }

    pub(crate) async fn bury_event(&self, partition: u16, sequence: Sequence, refused: Refused) {
        let Refused { place, event, table, why } = refused;
        let reason = why.to_string();
        let alone = v1::SignalBatch { events: vec![event], rules: table.to_vec(), ..v1::SignalBatch::default() };
        let subject = Subject::partition(Stream::Signal, &self.tenant, partition).to_string();
        let payload = wire::pack(&alone);
        self.bury("invalid", DeadLetter { subject, sequence, place: Some(place), reason, payload }).await;
    }

    async fn bury(&self, word: &'static str, letter: DeadLetter) {
        let mut tries = 0;
        while let Err(error) = self.bus.bury(&letter).await {
            tries += 1;
            if !error.is_transient() {
                tracing::error!(subject = letter.subject, sequence = letter.sequence, %error, "dead letter was refused");
                return;
            }
            let delay = pause(tries, letter.sequence);
            self.metrics.retrying("bury", tries, delay, &error);
            tokio::time::sleep(delay).await;
        }
        self.metrics.buried(word, &letter.reason, &letter.subject, letter.sequence, letter.place);
    }
}
