//! The end of the audit chain on the bus. An entry is appended where the chain ends as expected and nowhere else.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;
use trailwarden_bus::{Bus, Error as BusError, Outgoing, Published, Sequence, Stream, Subject};
use trailwarden_core::response::audit::{Broken, CHECKPOINT_EVERY, Entry, Head, Note, verify};
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

    /// Appends a note, and a signed checkpoint after `seal` or where one is due.
    pub(super) async fn append(&self, note: &Note, seal: bool, at: Timestamp) -> Result<(), AuditError> {
        let mut end = self.end.lock().await;
        self.put(&mut end, |head| Entry::after(head, note, at)).await?;
        let is_due = end.as_ref().is_some_and(|end| end.head.ordinal % CHECKPOINT_EVERY == 0);
        if seal || is_due {
            self.put(&mut end, |head| Entry::checkpoint(head, self.key.seal(head), at)).await?;
        }
        Ok(())
    }

    async fn put(&self, end: &mut Option<End>, make: impl Fn(&Head) -> Entry + Send) -> Result<(), AuditError> {
        for _ in 0..RACES_MAX {
            let known = match end.take() {
                Some(known) => known,
                None => self.find_end().await?,
            };
            let entry = make(&known.head);
            let unreadable = |error: serde_json::Error| AuditError::Unreadable(error.to_string());
            let payload = Bytes::from(serde_json::to_vec(&entry).map_err(unreadable)?);
            let message = Outgoing { payload, expected: Some(known.sequence), ..Outgoing::default() };
            match self.bus.publish(&self.subject, message).await {
                Ok(Published::Stored(sequence) | Published::Duplicate(sequence)) => {
                    *end = Some(End { head: entry.head(), sequence });
                    return Ok(());
                }
                // Somebody else was faster, or our own first try arrived and its answer did not.
                Err(BusError::Refused { .. }) => {
                    let found = self.find_end().await?;
                    let is_ours = found.head == entry.head();
                    *end = Some(found);
                    if is_ours {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(AuditError::Raced)
    }

    async fn find_end(&self) -> Result<End, AuditError> {
        let Some(stored) = self.bus.last(&self.subject).await? else {
            return Ok(End::default());
        };
        let entry = read(&stored.payload)?;
        Ok(End { head: entry.head(), sequence: stored.sequence })
    }
}

fn read(payload: &[u8]) -> Result<Entry, AuditError> {
    serde_json::from_slice(payload).map_err(|error| AuditError::Unreadable(error.to_string()))
}

/// What a walk over the whole log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub head: Head,
    pub checkpoints: u64,
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
    let (mut after, mut found) = (0, Verified { head: Head::default(), checkpoints: 0 });
    loop {
        let page = bus.read(&subject, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(Ok(found));
        };
        after = last.sequence;
        for stored in &page {
            let Ok(entry) = read(&stored.payload) else {
                return Ok(Err(Broken { ordinal: found.head.ordinal + 1, why: "it is no entry" }));
            };
            if let Err(broken) = entry.check(&found.head, trusted, &Ed25519) {
                return Ok(Err(broken));
            }
            found = Verified { head: entry.head(), checkpoints: found.checkpoints + u64::from(entry.seal.is_some()) };
        }
    }
}

/// As [`verify_audit`], of entries that were written down elsewhere, a line each.
///
/// # Errors
/// [`Broken`] at the first line that does not hold.
pub fn verify_lines(text: &str, trusted: &[String]) -> Result<Head, Broken> {
    let mut entries = Vec::new();
    for (nth, line) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
        entries
            .push(serde_json::from_str(line).map_err(|_| Broken { ordinal: nth as u64 + 1, why: "it is no entry" })?);
    }
    verify(&entries, trusted, &Ed25519)
}
