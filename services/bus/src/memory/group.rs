//! A durable consumer in memory: who has what, what comes again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::log::Log;
use crate::message::selects;
use crate::{Consumer, Lag, Sequence, Stored};

/// A message that was given out and not acknowledged.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// When it comes again.
    due: Instant,
    deliveries: u64,
}

/// What the pullers of one name share.
#[derive(Debug)]
pub(super) struct Group {
    consumer: Consumer,
    /// Everything up to here was given out, or is not for this consumer.
    seen: Sequence,
    pending: BTreeMap<Sequence, Pending>,
}

/// What to do for whoever asks for a message.
#[derive(Debug)]
pub(super) enum Turn {
    /// Give this one out.
    Give(Stored, u64),
    /// It was given out as often as may be: to the dead letters with it.
    GiveUp(Stored, u64),
    /// Nothing until then, or until something changes.
    Wait(Option<Instant>),
}

impl Group {
    pub(super) fn new(consumer: Consumer) -> Self {
        Self { consumer, seen: 0, pending: BTreeMap::new() }
    }

    /// Takes over how the latest to join wants it; what is pending stays pending.
    pub(super) fn join(&mut self, consumer: &Consumer) {
        self.consumer = consumer.clone();
    }

    pub(super) fn next(&mut self, log: &Log, now: Instant) -> Turn {
        // What the stream has forgotten cannot come again.
        self.pending.retain(|sequence, _| log.get(*sequence).is_some());
        let due = self.pending.iter().filter(|(_, pending)| pending.due <= now).map(|(sequence, _)| *sequence).next();
        if let Some(sequence) = due
            && let Some(stored) = log.get(sequence)
            && let Some(pending) = self.pending.get_mut(&sequence)
        {
            if pending.deliveries >= u64::from(self.consumer.deliveries_max) {
                // It stays pending until it is buried.
                return Turn::GiveUp(stored.clone(), pending.deliveries);
            }
            pending.deliveries += 1;
            pending.due = now + self.consumer.ack_wait;
            return Turn::Give(stored.clone(), pending.deliveries);
        }
        if self.pending.len() < self.consumer.in_flight_max
            && let Some(stored) = ahead(&self.consumer.filter, self.seen, log).next()
        {
            self.seen = stored.sequence;
            self.pending.insert(stored.sequence, Pending { due: now + self.consumer.ack_wait, deliveries: 1 });
            return Turn::Give(stored.clone(), 1);
        }
        Turn::Wait(self.pending.values().map(|pending| pending.due).min())
    }

    /// Whoever acknowledges may be late: the message is done with all the same, as on a broker.
    pub(super) fn ack(&mut self, sequence: Sequence) {
        self.pending.remove(&sequence);
    }

    /// Only who has it now can hand it back or ask for time.
    pub(super) fn due_in(&mut self, sequence: Sequence, deliveries: u64, delay: Option<Duration>, now: Instant) {
        if let Some(pending) = self.pending.get_mut(&sequence)
            && pending.deliveries == deliveries
        {
            pending.due = now + delay.unwrap_or(self.consumer.ack_wait);
        }
    }

    pub(super) fn lag(&self, log: &Log) -> Lag {
        Lag {
            pending: ahead(&self.consumer.filter, self.seen, log).count() as u64,
            in_flight: self.pending.len() as u64,
            redelivered: self.pending.values().filter(|pending| pending.deliveries > 1).count() as u64,
            acknowledged: self.pending.keys().next().map_or(self.seen, |first| first.saturating_sub(1)),
        }
    }
}

/// What a consumer was not given yet.
fn ahead<'a>(filter: &'a str, seen: Sequence, log: &'a Log) -> impl Iterator<Item = &'a Stored> {
    log.after(seen).filter(move |stored| selects(filter, &stored.subject))
}
