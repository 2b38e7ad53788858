//! Brings a partition's forgotten states back: its inputs are worked on once more, with the epochs and without the
//! records that the outputs of then name, and nothing is published.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use trailwarden_bus::{Sequence, Stored};
use trailwarden_core::baseline::Epoch;
use trailwarden_core::fence::{Record, Tail};
use trailwarden_proto::wire;

use super::batch::{self, Batch};
use super::{DEAD, Failure, Worker};
use crate::partition::{Changes, Loaded, Needs};

/// Messages that are read, worked on and committed together.
const PAGE: usize = 16;
/// Principals from which on a page ends early: stores bound what one commit may hold, and a batch may bring as many again.
const PRINCIPALS_FULL: usize = 4_096;

/// An output as far as its input's second time needs it.
struct Link {
    tail: Tail,
    dead: Vec<u32>,
}

/// Outputs in order, read as they are needed.
struct Links {
    ahead: VecDeque<Link>,
    /// Where the latest that was read stands.
    read_to: Sequence,
    until: Tail,
}

impl Worker {
    /// Works up to the end of the chain, unless somebody else is at it. Begins with what the broker still holds. How many
    /// inputs it worked on.
    pub(super) async fn rebuild(&mut self, from: Record, until: &Tail) -> Result<u64, Failure> {
        self.cache.clear();
        if let Some(last) = self.context.bus.last(&self.input).await?
            && last.sequence < until.input
        {
            return Err(Failure::Foreign("it names an input that the stream has never held".to_owned()));
        }
        let mut record = from;
        let mut inputs = 0;
        // The epoch that it is at stays over pages, so that it is read once.
        let mut rests_on = None;
        while record.input < until.input {
            let mut page = self.context.bus.read(&self.input, record.input, PAGE).await?;
            page.retain(|message| message.sequence <= until.input);
            let Some(to) = self.page(&record, &page, until, &mut rests_on).await? else { return Ok(inputs) };
            tracing::debug!(
                partition = self.key.partition,
                input = to.input,
                until = until.input,
                "state rebuilt so far"
            );
            inputs += page.iter().filter(|message| message.sequence <= to.input).count() as u64;
            record = to;
        }
        Ok(inputs)
    }

    /// Works on some inputs and commits; the record afterwards, or `None` when it was not as expected.
    async fn page(
        &mut self,
        from: &Record,
        page: &[Stored],
        until: &Tail,
        rests_on: &mut Option<Arc<Epoch>>,
    ) -> Result<Option<Record>, Failure> {
        // Anew for each page: the one before may have ended early.
        let mut links = Links { ahead: VecDeque::new(), read_to: from.output, until: until.clone() };
        let mut steps = Vec::with_capacity(page.len());
        let mut needs = Needs::default();
        for message in page {
            let link = links.of(self, message.sequence).await?;
            let mut batch = self.open(message, &link.dead).await?;
            let own = batch.needs(self.context.measure.as_ref());
            needs.principals.extend(&own.principals);
            own.ids.iter().for_each(|(hour, ids)| needs.ids.entry(*hour).or_default().extend(ids));
            steps.push((message.sequence, link, batch, own));
            if needs.principals.len() >= PRINCIPALS_FULL {
                break;
            }
        }
        let (record, loaded) = self.context.store.read(&self.key, &needs).await?;
        if record.unwrap_or_default() != *from {
            return Ok(None);
        }
        let mut overlay = Overlay { loaded, changes: Changes::default() };
        let mut to = from.clone();
        for (sequence, link, mut batch, own) in steps {
            if link.tail.previous_input < sequence && link.tail.input > sequence {
                // The chain went past it: it was given up and set aside whole, and nothing of it is remembered.
                to.input = sequence;
                continue;
            }
            let epoch = rests_on.insert(self.context.epochs.again(&link.tail.epoch).await?);
            let changes = self.again(&mut batch, &overlay.for_batch(&own), epoch).await;
            overlay.apply(changes);
            // An input whose output is lost stands before the next output that is there.
            let output = if link.tail.input == sequence { link.tail.output } else { to.output };
            to = Record { input: sequence, output, epoch: link.tail.epoch };
            // Ids of an hour cannot be given up and added in one commit.
            if !overlay.changes.expired.is_empty() {
                break;
            }
        }
        if page.is_empty() {
            // What is left of the inputs has outlived its time.
            to = Record { input: until.input, output: until.output, epoch: until.epoch.clone() };
        }
        let won = self.context.store.commit(&self.key, from, &to, &overlay.changes).await?;
        Ok(won.then_some(to))
    }

    async fn open(&self, message: &Stored, dead: &[u32]) -> Result<Batch, Failure> {
        match self.payload(message).await {
            Ok(payload) => Ok(Batch::open(&payload, message.stored_at, dead)),
            Err(Failure::Unclaimed(name)) => Ok(Batch::lost(message.stored_at, &name)),
            Err(failure) => Err(failure),
        }
    }

    async fn again(&self, batch: &mut Batch, loaded: &Loaded, epoch: &Epoch) -> Changes {
        let measure = self.context.measure.as_ref();
        if let Ok(measured) = batch.measure(measure, loaded.clone(), epoch) {
            return measured.changes;
        }
        batch.search(measure, loaded, epoch).await;
        batch.measure(measure, loaded.clone(), epoch).map(|measured| measured.changes).unwrap_or_default()
    }
}

impl Links {
    /// The output of an input, or of the next input that has one.
    async fn of(&mut self, worker: &Worker, input: Sequence) -> Result<Link, Failure> {
        loop {
            match self.ahead.front() {
                Some(link) if link.tail.input < input => _ = self.ahead.pop_front(),
                Some(link) if link.tail.input > input => return Ok(link.clone_for_gap()),
                Some(_) => break,
                None => {
                    if !self.fill(worker).await? {
                        return Ok(Link { tail: self.until.clone(), dead: Vec::new() });
                    }
                }
            }
        }
        Ok(self.ahead.pop_front().unwrap_or_else(|| Link { tail: self.until.clone(), dead: Vec::new() }))
    }

    /// Reads on. Whether there was more.
    async fn fill(&mut self, worker: &Worker) -> Result<bool, Failure> {
        let page = worker.context.bus.read(&worker.output, self.read_to, PAGE).await?;
        for message in page.iter().filter(|message| message.sequence <= self.until.output) {
            self.read_to = message.sequence;
            let chain = wire::Chain::read(&message.headers).map_err(|error| Failure::Foreign(error.to_string()))?;
            let dead = match message.headers.contains_key(DEAD) {
                true => batch::dead_of(&worker.payload(message).await?),
                false => Vec::new(),
            };
            self.ahead.push_back(Link { tail: chain.tail(message.sequence), dead });
        }
        Ok(!self.ahead.is_empty())
    }
}

impl Link {
    /// For an input without an output of its own: the epoch counts, the dead places are another's.
    fn clone_for_gap(&self) -> Self {
        Self { tail: self.tail.clone(), dead: Vec::new() }
    }
}

/// States of a partition with changes that are not committed yet.
struct Overlay {
    loaded: Loaded,
    changes: Changes,
}

impl Overlay {
    /// What one batch would have read had all before it been committed.
    fn for_batch(&self, needs: &Needs) -> Loaded {
        let held = &self.loaded;
        let live =
            needs.principals.iter().filter_map(|principal| Some((*principal, held.live.get(principal)?.clone())));
        let asked = needs.ids.iter().flat_map(|(hour, ids)| ids.iter().map(move |id| (*hour, *id)));
        Loaded {
            watermark: held.watermark,
            live: live.collect(),
            seen: asked.filter(|id| held.seen.contains(id)).collect::<BTreeSet<_>>(),
            hours: held.hours.clone(),
        }
    }

    fn apply(&mut self, changes: Changes) {
        let Changes { watermark, live, ids, expired } = changes;
        let (held, all) = (&mut self.loaded, &mut self.changes);
        held.watermark = watermark.or(held.watermark);
        all.watermark = watermark.or(all.watermark);
        for (hour, added) in ids {
            held.hours.insert(hour, added.latest);
            held.seen.extend(added.ids.iter().map(|id| (hour, *id)));
            match all.ids.get_mut(&hour) {
                Some(before) => before.extend(added),
                None => _ = all.ids.insert(hour, added),
            }
        }
        for hour in expired {
            held.hours.remove(&hour);
            held.seen.retain(|(of, _)| *of != hour);
            all.ids.remove(&hour);
            all.expired.insert(hour);
        }
        for (principal, state) in live {
            held.live.insert(principal, state.clone());
            all.live.insert(principal, state);
        }
    }
}
