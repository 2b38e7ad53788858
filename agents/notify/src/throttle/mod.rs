//! What is told at once, what is held back and counted, and what is tried again: pure, and told the time.
//!
//! A slot is one kind of alert for one principal on one channel. It tells at most once in [`QUIET_MS`]; what comes meanwhile
//! is counted, and the count goes with the next one. A share is what one message of the bus holds of all slots; replicas
//! move it by compare-and-set, so that what is written here happens in one order whoever does it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use trailwarden_bus::Sequence;
use trailwarden_core::alert::Alert;
use trailwarden_core::level::Severity;
use trailwarden_core::time::{MINUTE_MS, SECOND_MS, Timestamp};
use trailwarden_runtime::sigv4::hex;

/// The same kind for the same principal is told at most once in this time.
pub const QUIET_MS: i64 = 5 * MINUTE_MS;
/// Shares of a tenant.
pub const SHARES: u16 = 16;
/// Slots of a share that are told apart; what comes beyond shares two slots a channel: what is critical, and the rest.
pub const SLOTS_MAX: usize = 64;
/// Sources that a share knows the place of.
const SOURCES_MAX: usize = 16;
/// How often a message is tried before it is given up.
pub const ATTEMPTS_MAX: u32 = 8;
/// Failures after which the channel itself is an alert.
pub const TROUBLE_AT: u32 = 3;
/// Between two attempts: doubling from the first to the last.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// A pause that a service asks for counts as this at most.
const RETRY_ASKED_MAX: Duration = Duration::from_secs(3_600);
/// Whoever took a message to send has this long to say what came of it; then somebody else takes it.
pub const LEASE_MS: i64 = 60 * SECOND_MS;

/// What stands for the principals that a full share does not tell apart, where it is not critical and where it is.
const MANY: &str = "…";
const MANY_CRITICAL: &str = "…|critical";

/// How far a source was worked off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub sequence: Sequence,
    /// The broker's clock when it stored that message: a stream that was made anew numbers from 1 again.
    pub stored_at: Timestamp,
}

impl Position {
    fn covers(self, other: Self) -> bool {
        other.sequence <= self.sequence && other.stored_at <= self.stored_at
    }
}

/// An alert on its way to one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The same however often it is tried: receivers that know it drop the second.
    pub id: String,
    /// The worst of those that it stands for, and of those as bad the latest.
    pub alert: Alert,
    /// Alerts that it stands for, that one included.
    pub count: u64,
    /// When the first of them came.
    pub since: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    alert: Alert,
    count: u64,
    since: Timestamp,
    not_before: Timestamp,
}

impl Waiting {
    fn merge(&mut self, alert: &Alert) {
        self.count = self.count.saturating_add(1);
        if alert.severity >= self.alert.severity {
            self.alert = alert.clone();
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sending {
    message: Message,
    attempts: u32,
    not_before: Timestamp,
    /// Somebody sends it, until then.
    leased_until: Option<Timestamp>,
}

/// One kind of alert for one principal on one channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Slot {
    told_at: Option<Timestamp>,
    sending: Option<Sending>,
    waiting: Option<Waiting>,
}

impl Slot {
    /// From when on it may tell again.
    fn free_at(&self, now: Timestamp) -> Timestamp {
        match self.told_at {
            // A time far ahead was written by a clock that was wrong.
            Some(told_at) if told_at.since_ms(now) <= QUIET_MS => told_at.plus_ms(QUIET_MS),
            _ => now,
        }
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        self.sending.is_none() && self.waiting.is_none() && self.free_at(now) <= now
    }
}

/// An alert for one channel, not before a time: quiet hours end then.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub channel: String,
    pub alert: Alert,
    pub not_before: Timestamp,
}

/// A message that somebody took to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub channel: String,
    /// The share that it came from.
    pub share: u16,
    /// Names the slot; given back with what came of it.
    pub key: String,
    pub message: Message,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Sent,
    /// Trying again may help, after a pause that the service may have asked for.
    Failed {
        retry_after: Option<Duration>,
    },
    /// Trying again does not help.
    Refused,
}

/// What follows from an attempt that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// The message was given up and is in nobody's hands any more.
    pub dead: Option<Message>,
    /// The channel should be told of on others now.
    pub is_news: bool,
}

/// One share of the slots, as the bus holds it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    sources: BTreeMap<String, Position>,
    slots: BTreeMap<String, Slot>,
}

/// The share that a note belongs to.
pub fn share_of(note: &Note) -> u16 {
    let hash = digest(&SHA256, key(note).as_bytes());
    let bytes = hash.as_ref();
    u16::from_be_bytes([bytes[0], bytes[1]]) % SHARES
}

/// What is throttled together. A severity of its own, so that what gets worse is told at once. A channel's name holds no `|`.
fn key(note: &Note) -> String {
    let Alert { kind, severity, account, principal, .. } = &note.alert;
    format!("{}|{kind}|{severity}|{account}|{principal}", note.channel)
}

impl Share {
    /// Takes a source's notes in, once: what was taken in before changes nothing. Whether anything changed.
    pub fn take(&mut self, source: &str, position: Position, notes: &[Note], now: Timestamp) -> bool {
        if self.sources.get(source).is_some_and(|known| known.covers(position)) {
            return false;
        }
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(source) {
            // Sources are the program's own few; more than those are left over from other versions.
            self.sources.pop_first();
        }
        self.sources.insert(source.to_owned(), position);
        for note in notes {
            self.note(note, now);
        }
        true
    }

    fn note(&mut self, note: &Note, now: Timestamp) {
        let key = self.place(key(note), note, now);
        let slot = self.slots.entry(key.clone()).or_default();
        let alert = &note.alert;
        let is_free = slot.sending.is_none() && slot.free_at(now) <= now && note.not_before <= now;
        match &mut slot.waiting {
            Some(waiting) => waiting.merge(alert),
            None if is_free => {
                let message = Message { id: id(&key, &alert.id, now), alert: alert.clone(), count: 1, since: now };
                slot.sending = Some(Sending { message, attempts: 0, not_before: now, leased_until: None });
            }
            None => {
                let not_before = note.not_before;
                slot.waiting = Some(Waiting { alert: alert.clone(), count: 1, since: now, not_before });
            }
        }
    }

    /// The key of a slot that there is, or for which there is room.
    fn place(&mut self, key: String, note: &Note, now: Timestamp) -> String {
        if self.slots.contains_key(&key) || self.slots.len() < SLOTS_MAX {
            return key;
        }
        self.slots.retain(|_, slot| !slot.is_idle(now));
        if self.slots.len() < SLOTS_MAX {
            return key;
        }
        // What is critical must not wait behind a flood of what is not, nor for the end of its quiet hours.
        let many = if note.alert.severity < Severity::Critical { MANY } else { MANY_CRITICAL };
        format!("{}|{many}", note.channel)
    }

    /// Takes messages that are due, for whoever calls to send until the lease ends: of each channel as many as `room` says.
    /// `share` is this share's number.
    pub fn claim(&mut self, share: u16, room: impl Fn(&str) -> usize, now: Timestamp) -> Vec<Claim> {
        let mut claims: Vec<Claim> = Vec::new();
        for (key, slot) in &mut self.slots {
            let channel = key.split('|').next().unwrap_or_default();
            if claims.iter().filter(|claim| claim.channel == channel).count() >= room(channel) {
                continue;
            }
            if slot.sending.is_none()
                && slot.waiting.as_ref().is_some_and(|waiting| waiting.not_before <= now)
                && slot.free_at(now) <= now
                && let Some(Waiting { alert, count, since, .. }) = slot.waiting.take()
            {
                let message = Message { id: id(key, &alert.id, now), alert, count, since };
                slot.sending = Some(Sending { message, attempts: 0, not_before: now, leased_until: None });
            }
            let Some(sending) = &mut slot.sending else { continue };
            let is_free = sending.leased_until.is_none_or(|until| until <= now || until.since_ms(now) > 2 * LEASE_MS);
            if is_free && sending.not_before <= now {
                sending.leased_until = Some(now.plus_ms(LEASE_MS));
                let (channel, message) = (channel.to_owned(), sending.message.clone());
                claims.push(Claim { channel, share, key: key.clone(), message });
            }
        }
        claims
    }

    /// Notes what came of an attempt; `None` where it was sent, or where that message is in nobody's hands any more.
    pub fn settle(&mut self, claim: &Claim, outcome: Outcome, now: Timestamp) -> Option<Trouble> {
        let slot = self.slots.get_mut(&claim.key)?;
        let sending = slot.sending.as_mut().filter(|sending| sending.message.id == claim.message.id)?;
        sending.attempts = sending.attempts.saturating_add(1);
        let attempts = sending.attempts;
        let retry_after = match outcome {
            Outcome::Failed { retry_after } if attempts < ATTEMPTS_MAX => retry_after,
            Outcome::Sent | Outcome::Failed { .. } | Outcome::Refused => {
                slot.told_at = Some(now);
                let dead = slot.sending.take().map(|sending| sending.message)?;
                if outcome == Outcome::Sent {
                    return None;
                }
                return Some(Trouble { dead: Some(dead), is_news: attempts < TROUBLE_AT });
            }
        };
        let pause = RETRY_MIN.saturating_mul(1 << (attempts - 1).min(16)).min(RETRY_MAX);
        let pause = pause.max(retry_after.unwrap_or_default().min(RETRY_ASKED_MAX));
        sending.not_before = now.plus_ms(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
        sending.leased_until = None;
        Some(Trouble { dead: None, is_news: attempts == TROUBLE_AT })
    }

    /// Alerts that were taken in and not told yet.
    pub fn held(&self) -> u64 {
        let of = |slot: &Slot| {
            let waiting = slot.waiting.as_ref().map_or(0, |waiting| waiting.count);
            waiting.saturating_add(slot.sending.as_ref().map_or(0, |sending| sending.message.count))
        };
        self.slots.values().map(of).fold(0, u64::saturating_add)
    }

    /// As the bus holds it, within `bytes_max`: where that is too little, alerts lose their details, which their cases have.
    pub fn pack(&mut self, now: Timestamp, bytes_max: usize) -> Vec<u8> {
        self.slots.retain(|_, slot| !slot.is_idle(now));
        // Numbers, texts and maps of these: JSON has each.
        let packed = serde_json::to_vec(self).unwrap_or_default();
        if packed.len() <= bytes_max {
            return packed;
        }
        for slot in self.slots.values_mut() {
            let sending = slot.sending.iter_mut().map(|sending| &mut sending.message.alert);
            for alert in sending.chain(slot.waiting.iter_mut().map(|waiting| &mut waiting.alert)) {
                alert.steps_more =
                    alert.steps_more.saturating_add(u32::try_from(alert.steps.len()).unwrap_or(u32::MAX));
                alert.steps.clear();
                alert.reasons.clear();
                alert.what.clear();
            }
        }
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what [`Share::pack`] wrote; `None` for anything else.
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        serde_json::from_slice(packed).ok()
    }
}

/// Names a message by what it comes from: the same alert in the same slot at the same time is the same message.
fn id(key: &str, alert: &str, now: Timestamp) -> String {
    let text = format!("{key}\n{alert}\n{}", now.as_millis());
    hex(&digest(&SHA256, text.as_bytes()).as_ref()[..16])
}
