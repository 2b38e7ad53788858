//! The bus within one process, with the same promises except surviving it.

mod group;
mod log;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use trailwarden_core::time::Timestamp;

use crate::{
    Bus, CLAIM, Consumer, DeadLetter, Delivery, Error, Lag, Layout, Outgoing, Published, Sequence, Stored, Stream,
    Subject, Subscription, letter, message,
};
use group::{Group, Turn};
use log::Log;

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The bus within one process. Clones share what they hold.
#[derive(Clone)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    /// Wakes whoever waits for a message.
    changed: Arc<Notify>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct State {
    tenant: String,
    bytes_max: u64,
    streams: BTreeMap<Stream, Log>,
    groups: BTreeMap<(Stream, String), Group>,
    objects: BTreeMap<String, Bytes>,
    /// Names of objects, oldest first; the oldest go when there are too many bytes.
    object_names: VecDeque<String>,
    object_bytes: u64,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Default for Memory {
    /// Its clock begins at the epoch and goes with tokio's, which a test may pause.
    fn default() -> Self {
        let start = Instant::now();
        Self::with_clock(Arc::new(move || {
            Timestamp::from_millis(i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX))
        }))
    }
}

impl Memory {
    /// `clock` is the broker's: what it says when a message is stored is that message's time.
    pub fn with_clock(clock: Arc<dyn Fn() -> Timestamp + Send + Sync>) -> Self {
        Self { state: Arc::default(), changed: Arc::default(), clock }
    }

    /// Every change is made whole before anything can panic, so a poisoned lock hides nothing half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, subject: &Subject, message: Outgoing) -> Result<Published, Error> {
        subject.check()?;
        let name = subject.to_string();
        let published = self.state().log(subject.stream, subject.tenant())?.publish(
            &name,
            message,
            Instant::now(),
            (self.clock)(),
        )?;
        self.changed.notify_waiters();
        Ok(published)
    }

    fn bury_now(&self, letter: &DeadLetter) -> Result<(), Error> {
        let tenant = self.state().tenant.clone();
        if let Some(name) = letter::object(&letter.payload) {
            self.state().put(&name, letter.payload.clone())?;
        }
        let (subject, message) = letter::message(&tenant, letter);
        match self.store(&subject, message) {
            Ok(_) | Err(Error::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl State {
    /// A stream as it stands now.
    fn log(&mut self, stream: Stream, tenant: &str) -> Result<&mut Log, Error> {
        if tenant != self.tenant {
            return Err(missing(stream, tenant));
        }
        let log = self.streams.get_mut(&stream).ok_or_else(|| missing(stream, tenant))?;
        log.forget_old(Instant::now());
        Ok(log)
    }

    /// A consumer and its stream as they stand now.
    fn group(&mut self, stream: Stream, name: &str) -> Result<(&mut Group, &Log), Error> {
        let (Some(log), Some(group)) = (self.streams.get_mut(&stream), self.groups.get_mut(&(stream, name.to_owned())))
        else {
            return Err(Error::Missing { what: format!("consumer {name} of stream {}", stream.word()) });
        };
        log.forget_old(Instant::now());
        Ok((group, log))
    }

    /// A consumer is done with a message.
    fn done(&mut self, stream: Stream, consumer: &str, sequence: Sequence) -> Result<(), Error> {
        self.group(stream, consumer)?.0.ack(sequence);
        if let Some(log) = self.streams.get_mut(&stream) {
            log.done(sequence);
        }
        Ok(())
    }

    fn put(&mut self, name: &str, content: Bytes) -> Result<(), Error> {
        let tenant = self.tenant.clone();
        self.log(Stream::Epoch, &tenant)?;
        if self.objects.contains_key(name) {
            return Ok(());
        }
        if content.len() as u64 > self.bytes_max {
            return Err(Error::Full { stream: "of objects".to_owned() });
        }
        self.object_bytes += content.len() as u64;
        self.objects.insert(name.to_owned(), content);
        self.object_names.push_back(name.to_owned());
        while self.object_bytes > self.bytes_max
            && let Some(oldest) = self.object_names.pop_front()
        {
            let freed = self.objects.remove(&oldest).map_or(0, |content| content.len() as u64);
            self.object_bytes -= freed;
        }
        Ok(())
    }
}

fn missing(stream: Stream, tenant: &str) -> Error {
    Error::Missing { what: format!("stream {}", stream.name(tenant)) }
}

#[async_trait]
impl Bus for Memory {
    async fn set_up(&self, layout: &Layout) -> Result<(), Error> {
        Subject::whole(Stream::Activity, &layout.tenant).check()?;
        let mut state = self.state();
        if !state.streams.is_empty() && state.tenant != layout.tenant {
            return Err(Error::Invalid { what: format!("this bus belongs to tenant {}", state.tenant) });
        }
        state.tenant.clone_from(&layout.tenant);
        state.bytes_max = layout.stream_bytes_max;
        for stream in Stream::ALL {
            let (bounds, name) = (layout.bounds(stream), stream.name(&layout.tenant));
            let log = state.streams.entry(stream).or_insert_with(|| Log::new(name, bounds, layout.duplicate_window));
            log.bound(bounds, layout.duplicate_window);
        }
        Ok(())
    }

    async fn publish(&self, subject: &Subject, message: Outgoing) -> Result<Published, Error> {
        message::check(&message)?;
        self.store(subject, message)
    }

    async fn last(&self, subject: &Subject) -> Result<Option<Stored>, Error> {
        let name = subject.to_string();
        let mut state = self.state();
        let log = state.log(subject.stream, subject.tenant())?;
        Ok(log.get(log.last_of(&name)).cloned())
    }

    async fn read(&self, subject: &Subject, after: Sequence, messages_max: usize) -> Result<Vec<Stored>, Error> {
        let mut state = self.state();
        let log = state.log(subject.stream, subject.tenant())?;
        Ok(log.of_subject(&subject.to_string(), after).take(messages_max).cloned().collect())
    }

    async fn subscribe(&self, consumer: &Consumer) -> Result<Box<dyn Subscription>, Error> {
        message::check_consumer(&consumer.name)?;
        let mut state = self.state();
        if !state.streams.contains_key(&consumer.stream) {
            return Err(missing(consumer.stream, &state.tenant));
        }
        let group = state.groups.entry((consumer.stream, consumer.name.clone()));
        group.or_insert_with(|| Group::new(consumer.clone())).join(consumer);
        Ok(Box::new(Puller { bus: self.clone(), stream: consumer.stream, name: consumer.name.clone() }))
    }

    async fn lag(&self, stream: Stream, consumer: &str) -> Result<Lag, Error> {
        let mut state = self.state();
        let (group, log) = state.group(stream, consumer)?;
        Ok(group.lag(log))
    }

    async fn depth(&self, stream: Stream) -> Result<u64, Error> {
        let mut state = self.state();
        let tenant = state.tenant.clone();
        Ok(state.log(stream, &tenant)?.messages())
    }

    async fn bury(&self, letter: &DeadLetter) -> Result<(), Error> {
        self.bury_now(letter)
    }

    async fn dead_letters(&self, after: Sequence, letters_max: usize) -> Result<Vec<(Sequence, DeadLetter)>, Error> {
        let mut state = self.state();
        let tenant = state.tenant.clone();
        let filter = letter::filter(&tenant);
        state.log(Stream::Dead, &tenant)?;
        let State { streams, objects, .. } = &*state;
        let stored = streams.get(&Stream::Dead).into_iter().flat_map(|log| log.after(after));
        let letters = stored.filter(|stored| message::selects(&filter, &stored.subject)).filter_map(|stored| {
            let content = match stored.headers.get(CLAIM) {
                None => Some(stored.payload.clone()),
                Some(name) => objects.get(name).cloned(),
            };
            Some((stored.sequence, letter::letter(stored, content)?))
        });
        Ok(letters.take(letters_max).collect())
    }

    async fn put_object(&self, name: &str, content: Bytes) -> Result<(), Error> {
        message::check_name(name)?;
        self.state().put(name, content)
    }

    async fn object(&self, name: &str) -> Result<Option<Bytes>, Error> {
        message::check_name(name)?;
        let mut state = self.state();
        let tenant = state.tenant.clone();
        state.log(Stream::Epoch, &tenant)?;
        Ok(state.objects.get(name).cloned())
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// One puller of a consumer.
struct Puller {
    bus: Memory,
    stream: Stream,
    name: String,
}

#[async_trait]
impl Subscription for Puller {
    async fn next(&mut self, patience: Duration) -> Result<Option<Box<dyn Delivery>>, Error> {
        let end = Instant::now() + patience;
        loop {
            let changed = self.bus.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Listening from before the look, so that nothing slips in between.
            changed.as_mut().enable();
            let now = Instant::now();
            let turn = {
                let mut state = self.bus.state();
                let (group, log) = state.group(self.stream, &self.name)?;
                group.next(log, now)
            };
            match turn {
                Turn::Give(message, deliveries) => {
                    let (bus, stream, name) = (self.bus.clone(), self.stream, self.name.clone());
                    return Ok(Some(Box::new(Given { bus, stream, name, message, deliveries })));
                }
                Turn::GiveUp(message, deliveries) => {
                    let sequence = message.sequence;
                    self.bus.bury_now(&letter::given_up(message, &self.name, deliveries))?;
                    self.bus.state().done(self.stream, &self.name, sequence)?;
                    self.bus.changed.notify_waiters();
                }
                Turn::Wait(_) if now >= end => return Ok(None),
                Turn::Wait(due) => {
                    let until = due.map_or(end, |due| due.min(end));
                    let _ = timeout_at(until, changed).await;
                }
            }
        }
    }
}

/// A message that was given out.
struct Given {
    bus: Memory,
    stream: Stream,
    name: String,
    message: Stored,
    deliveries: u64,
}

impl Given {
    fn change(&self, change: impl FnOnce(&mut Group)) -> Result<(), Error> {
        change(self.bus.state().group(self.stream, &self.name)?.0);
        self.bus.changed.notify_waiters();
        Ok(())
    }
}

#[async_trait]
impl Delivery for Given {
    fn message(&self) -> &Stored {
        &self.message
    }

    fn deliveries(&self) -> u64 {
        self.deliveries
    }

    async fn ack(self: Box<Self>) -> Result<(), Error> {
        self.bus.state().done(self.stream, &self.name, self.message.sequence)?;
        self.bus.changed.notify_waiters();
        Ok(())
    }

    async fn hand_back(self: Box<Self>, delay: Duration) -> Result<(), Error> {
        self.change(|group| group.due_in(self.message.sequence, self.deliveries, Some(delay), Instant::now()))
    }

    async fn progress(&self) -> Result<(), Error> {
        self.change(|group| group.due_in(self.message.sequence, self.deliveries, None, Instant::now()))
    }
}
