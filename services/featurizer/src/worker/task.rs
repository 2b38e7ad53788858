//! What the fence asks of a worker for one message: read, measure, publish, look, commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use trailwarden_bus::{DeadLetter, Outgoing, PAYLOAD_BYTES_MAX, Published, Stored};
use trailwarden_core::baseline::Epoch;
use trailwarden_core::fence::{Record, Tail};
use trailwarden_proto::wire;
use trailwarden_runtime::telemetry;

use super::batch::{self, Batch, Measured};
use super::{CLAIM, DEAD, Failure, Named, Worker};
use crate::partition::{Changes, Loaded, Needs, Outcome};
use crate::store::Error as StoreError;

/// Deliveries after which the batch itself is taken for what kills its workers.
pub(super) const DELIVERIES_SUSPECT: u64 = 16;

/// A message on its way through the fence.
pub(super) struct Task<'m> {
    message: &'m Stored,
    payload: Bytes,
    /// Given out so often that it seems to kill its workers.
    suspect: bool,
    /// Opened when it is needed; moves into the output.
    batch: Option<Batch>,
    /// Places that are dead, as far as known.
    dead: Vec<u32>,
    needs: Needs,
    /// As read last.
    record: Option<Record>,
    /// What was read with it; given away when it is worked on.
    loaded: Option<Loaded>,
    measured: Option<Done>,
    /// Events and duplicates, as measured last.
    counted: (u64, u64),
}

/// A batch that was worked on.
struct Done {
    epoch: String,
    payload: Bytes,
    headers: BTreeMap<String, String>,
    changes: Changes,
}

impl<'m> Task<'m> {
    pub(super) async fn open(worker: &Worker, message: &'m Stored, deliveries: u64) -> Result<Self, Failure> {
        let (payload, batch) = match worker.payload(message).await {
            Ok(payload) => (payload, None),
            Err(Failure::Unclaimed(name)) => (Bytes::new(), Some(Batch::lost(message.stored_at, &name))),
            Err(failure) => return Err(failure),
        };
        let suspect = deliveries >= DELIVERIES_SUSPECT;
        let needs = Needs::default();
        let mut task = Self {
            message,
            payload,
            suspect,
            batch,
            dead: Vec::new(),
            needs,
            record: None,
            loaded: None,
            measured: None,
            counted: (0, 0),
        };
        if suspect {
            // It may have been published before whoever did so failed to commit: then it is no suspect.
            task.look(worker).await?;
        }
        task.needs = task.batch().needs(worker.context.measure.as_ref());
        Ok(task)
    }

    pub(super) async fn load(&mut self, worker: &mut Worker) -> Result<Option<Record>, Failure> {
        let (record, loaded) = worker.read(&self.needs).await?;
        self.record = record.clone();
        self.loaded = Some(loaded);
        self.measured = None;
        Ok(record)
    }

    /// With which it was measured.
    pub(super) fn epoch(&self) -> &str {
        self.measured.as_ref().map_or("", |done| done.epoch.as_str())
    }

    /// Events measured last.
    pub(super) fn events(&self) -> u64 {
        self.counted.0
    }

    /// Measures with the epoch that is due, unless that was done.
    pub(super) async fn measure(&mut self, worker: &mut Worker, previous_input: u64) -> Result<(), Failure> {
        if self.measured.is_some() {
            return Ok(());
        }
        let pinned = self.record.as_ref().map_or("", |record| record.epoch.as_str());
        let Named { name, epoch } = worker.context.epochs.next_after(pinned).await?;
        let measured = self.compute(worker, &epoch).await?;
        let payload = self.payload.clone();
        for dead in self.batch().burials(&payload) {
            let letter = DeadLetter {
                subject: worker.input.to_string(),
                sequence: self.message.sequence,
                place: dead.place,
                reason: dead.reason,
                payload: dead.payload,
            };
            worker.context.bus.bury(&letter).await?;
            worker.context.metrics.buried(dead.word, &letter.reason, &letter.subject, letter.sequence, letter.place);
        }
        let chain = wire::Chain { input: self.message.sequence, previous_input, epoch: name };
        let output = self.batch().output(&measured, &chain);
        tracing::debug!(
            partition = worker.key.partition,
            input = chain.input,
            events = output.events.len(),
            duplicates = output.duplicates,
            dead = output.dead.len(),
            "batch measured"
        );
        let mut headers = telemetry::hand_on(&self.message.headers);
        headers.insert(wire::TAKEN.to_owned(), self.message.stored_at.as_millis().to_string());
        chain.write(&mut headers);
        if !output.dead.is_empty() {
            headers.insert(DEAD.to_owned(), output.dead.len().to_string());
        }
        let payload = wire::pack(&output);
        // The observations have moved into the output.
        self.batch = None;
        self.dead = output.dead;
        self.measured = Some(Done { epoch: chain.epoch, payload, headers, changes: measured.changes });
        Ok(())
    }

    fn batch(&mut self) -> &mut Batch {
        let Self { message, payload, suspect, dead, .. } = self;
        self.batch.get_or_insert_with(|| {
            let mut batch = Batch::open(payload, message.stored_at, dead);
            if *suspect {
                batch.condemn(batch::UNDONE.to_owned());
            }
            batch
        })
    }

    /// Works on what was read; what makes that fail is set aside.
    async fn compute(&mut self, worker: &mut Worker, epoch: &Epoch) -> Result<Measured, Failure> {
        let measured = self.try_to_compute(worker, epoch).await?;
        let duplicates = measured.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Duplicate)).count();
        self.counted = ((measured.outcomes.len() - duplicates) as u64, duplicates as u64);
        tracing::Span::current().record("events", self.counted.0);
        Ok(measured)
    }

    async fn try_to_compute(&mut self, worker: &mut Worker, epoch: &Epoch) -> Result<Measured, Failure> {
        let measure = Arc::clone(&worker.context.measure);
        let loaded = self.loaded(worker).await?;
        let reason = match self.batch().measure(measure.as_ref(), loaded, epoch) {
            Ok(measured) => return Ok(measured),
            Err(reason) => reason,
        };
        tracing::error!(partition = worker.key.partition, input = self.message.sequence, reason, "a batch fails");
        let loaded = self.loaded(worker).await?;
        self.batch().search(measure.as_ref(), &loaded, epoch).await;
        match self.batch().measure(measure.as_ref(), loaded, epoch) {
            Ok(measured) => Ok(measured),
            Err(reason) => {
                // It fails once and not again. Without the whole of it nothing can fail.
                self.batch().condemn(reason);
                let loaded = self.loaded(worker).await?;
                self.batch().measure(measure.as_ref(), loaded, epoch).map_err(Failure::Stuck)
            }
        }
    }

    /// What was read; read once more if it was given away.
    async fn loaded(&mut self, worker: &mut Worker) -> Result<Loaded, Failure> {
        if let Some(loaded) = self.loaded.take() {
            return Ok(loaded);
        }
        let (record, loaded) = worker.read(&self.needs).await?;
        if record != self.record {
            let what = "the record moved between two looks".to_owned();
            return Err(Failure::Store(StoreError::Unavailable(what)));
        }
        Ok(loaded)
    }

    pub(super) async fn publish(&mut self, worker: &Worker, expected: u64) -> Result<u64, Failure> {
        let Some(done) = &self.measured else {
            return Err(Failure::Stuck("nothing was measured".to_owned()));
        };
        let (mut payload, mut headers) = (done.payload.clone(), done.headers.clone());
        if payload.len() > PAYLOAD_BYTES_MAX {
            // By its content, since whoever else publishes for this input may use another epoch.
            let digest = Sha256::digest(&payload);
            let name = format!("feature/{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            worker.context.bus.put_object(&name, std::mem::take(&mut payload)).await?;
            headers.insert(CLAIM.to_owned(), name);
        }
        let outgoing = Outgoing { payload, id: None, expected: Some(expected), headers };
        match worker.context.bus.publish(&worker.output, outgoing).await? {
            Published::Stored(output) | Published::Duplicate(output) => Ok(output),
        }
    }

    /// Where the output subject ends. If that is this very input, done by somebody else, what they found dead is adopted.
    pub(super) async fn look(&mut self, worker: &Worker) -> Result<Option<Tail>, Failure> {
        let Some(last) = worker.context.bus.last(&worker.output).await? else { return Ok(None) };
        let chain = wire::Chain::read(&last.headers).map_err(|error| Failure::Foreign(error.to_string()))?;
        if chain.input == self.message.sequence {
            let dead = match last.headers.contains_key(DEAD) {
                true => batch::dead_of(&worker.payload(&last).await?),
                false => Vec::new(),
            };
            // Exactly as it was published, or the states would not be those that its features were measured with.
            if self.suspect || dead != self.dead {
                (self.suspect, self.dead, self.batch, self.measured) = (false, dead, None, None);
            }
        }
        Ok(Some(chain.tail(last.sequence)))
    }

    pub(super) async fn commit(&mut self, worker: &mut Worker, from: &Record, to: &Record) -> Result<bool, Failure> {
        let changes = match self.measured.take() {
            Some(done) if done.epoch == to.epoch => done.changes,
            _ => {
                let epoch = worker.context.epochs.again(&to.epoch).await?;
                self.compute(worker, &epoch).await?.changes
            }
        };
        let won = worker.context.store.commit(&worker.key, from, to, &changes).await?;
        if won {
            worker.tell(self.counted, to, &changes);
            worker.cache.committed(from, to, changes.live);
        }
        Ok(won)
    }
}
