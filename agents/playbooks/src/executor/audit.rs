//! The end of the audit chain on the bus. An entry is appended where the chain ends as expected and nowhere else.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;
use trailwarden_bus::{Bus, Error as BusError, Outgoing, Published, Sequence, Stream, Subject};
use trailwarden_core::response::audit::{Broken, Entry, Head, Note, Verified, Walk, verify};
use trailwarden_core::time::Timestamp;

use crate::keys::{Ed25519, SigningKey};

/// Others that may append at the same moment before we give up.
const RACES_MAX: usize = 64;
/// Entries that are read at once.
const PAGE: usize = 512;

/// Why nothing could be written down; then nothing is done either.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    #[error("the audit log: {0}")]
    Bus(#[from] BusError),
    #[error("the audit log cannot be read: {0}")]
    Unreadable(String),
    #[error("too many append to the audit log at once")]
    Raced,
}

#[derive(Clone, Debug, Default)]
struct End {
    head: Head,
    sequence: Sequence,
    /// Nothing but a checkpoint may follow.
    owes_checkpoint: bool,
}

impl End {
    fn of(entry: &Entry, sequence: Sequence) -> Self {
        Self { head: entry.head(), sequence, owes_checkpoint: entry.asks_for_checkpoint() }
    }
}

/// Appends to the chain.
pub(super) struct AuditLog {
    bus: Arc<dyn Bus>,
    subject: Subject,
    key: Arc<SigningKey>,
    end: Mutex<Option<End>>,
}

impl AuditLog {
    pub(super) fn new(bus: Arc<dyn Bus>, tenant: &str, key: Arc<SigningKey>) -> Self {
        Self { bus, subject: Subject::whole(Stream::Audit, tenant), key, end: Mutex::default() }
    }

    /// Appends a note, and a signed checkpoint where one has to follow. What an executor that died at such a place has left
    /// to do comes first.
    pub(super) async fn append(&self, note: &Note, at: Timestamp) -> Result<(), AuditError> {
        let mut end = self.end.lock().await;
        let mut is_noted = false;
        for _ in 0..RACES_MAX {
            let known = match end.take() {
                Some(known) => known,
                None => self.find_end().await?,
            };
            let is_checkpoint = known.owes_checkpoint;
            if is_noted && !is_checkpoint {
                *end = Some(known);
                return Ok(());
            }
            let entry = match is_checkpoint {
                true => Entry::checkpoint(&known.head, self.key.seal(&known.head), at),
                false => Entry::after(&known.head, note, at),
            };
            let (next, is_ours) = self.put(&entry, known.sequence).await?;
            is_noted |= is_ours && !is_checkpoint;
            *end = Some(next);
        }
        // What is noted is noted; the checkpoint is whoever's who appends next.
        if is_noted { Ok(()) } else { Err(AuditError::Raced) }
    }

    /// Where the log ends after an entry was to be put there, and whether it was.
    async fn put(&self, entry: &Entry, expected: Sequence) -> Result<(End, bool), AuditError> {
        let unreadable = |error: serde_json::Error| AuditError::Unreadable(error.to_string());
        let payload = Bytes::from(serde_json::to_vec(entry).map_err(unreadable)?);
        let message = Outgoing { payload, expected: Some(expected), ..Outgoing::default() };
        match self.bus.publish(&self.subject, message).await {
            Ok(Published::Stored(sequence) | Published::Duplicate(sequence)) => Ok((End::of(entry, sequence), true)),
            // Somebody else was faster, or our own first try arrived and its answer did not.
            Err(BusError::Refused { .. }) => {
                let found = self.find_end().await?;
                let is_ours = found.head == entry.head();
                Ok((found, is_ours))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn find_end(&self) -> Result<End, AuditError> {
        let Some(stored) = self.bus.last(&self.subject).await? else {
            return Ok(End::default());
        };
        Ok(End::of(&read(&stored.payload)?, stored.sequence))
    }
}

fn read(payload: &[u8]) -> Result<Entry, AuditError> {
    serde_json::from_slice(payload).map_err(|error| AuditError::Unreadable(error.to_string()))
}

/// Reads the whole chain from the bus and checks each link. `trusted`: public keys of executors.
///
/// # Errors
/// [`AuditError`] when the log cannot be read.
pub async fn verify_audit(
    bus: &dyn Bus,
    tenant: &str,
    trusted: &[String],
) -> Result<Result<Verified, Broken>, AuditError> {
    let subject = Subject::whole(Stream::Audit, tenant);
    let (mut after, mut walk) = (0, Walk::default());
    loop {
        let page = bus.read(&subject, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(walk.end());
        };
        after = last.sequence;
        for stored in &page {
            let Ok(entry) = read(&stored.payload) else {
                return Ok(Err(Broken { ordinal: walk.head().ordinal + 1, why: "it is no entry" }));
            };
            if let Err(broken) = walk.step(&entry, trusted, &Ed25519) {
                return Ok(Err(broken));
            }
        }
    }
}

/// As [`verify_audit`], of entries that were written down elsewhere, a line each.
///
/// # Errors
/// [`Broken`] at the first line that does not hold.
pub fn verify_lines(text: &str, trusted: &[String]) -> Result<Verified, Broken> {
    let mut entries = Vec::new();
    for (nth, line) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
        entries
            .push(serde_json::from_str(line).map_err(|_| Broken { ordinal: nth as u64 + 1, why: "it is no entry" })?);
    }
    verify(&entries, trusted, &Ed25519)
}
