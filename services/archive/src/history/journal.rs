//! The flushes of history, one after the other, each decided by an object that can be created once; and what they taught.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use trailwarden_core::baseline::{Epoch, Limits};
use trailwarden_core::time::Timestamp;

use crate::Error;
use crate::epochs::hexadecimal;

const LEARNED: &str = "learned";
/// An epoch at all its limits has about a hundred megabytes.
const LEARNED_BYTES_MAX: u64 = 512 << 20;
/// A flush ends at 32 MiB; a batch may lie on top.
const FLUSH_BYTES_MAX: u64 = 64 << 20;
/// What stands in the place of a flush that is written and learned: its number stays taken.
const DONE: &[u8] = b"done";
/// Epochs of history that are kept. The flushes since the one before the latest are kept too, so a damaged one costs nothing.
const KEPT: usize = 3;

/// One batch of a flush: no event of it is in any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The broker's clock when it took the batch in.
    pub(crate) stored_at: Timestamp,
    /// A packed batch of activities.
    pub(crate) payload: Bytes,
}

/// What stands at a number.
#[derive(Debug)]
pub(crate) enum Place {
    /// Nothing, or what was torn when the power went: nobody was told that it is safe.
    Free,
    Flush(Vec<Entry>),
    /// It was learned, and is in a later epoch than ours.
    Done,
}

/// The flushes in the store.
#[derive(Debug)]
pub(crate) struct Journal {
    objects: Arc<dyn ObjectStore>,
    /// Numbers and files of the epochs that are there, in order.
    kept: Vec<(u64, Path)>,
}

impl Journal {
    /// Finds the latest epoch of history that is whole: it holds the flushes up to the number that is returned.
    pub(crate) async fn open(objects: Arc<dyn ObjectStore>, limits: Limits) -> Result<(Self, Epoch, u64), Error> {
        let found: Vec<_> = objects.list(Some(&Path::from(LEARNED))).try_collect().await?;
        let found = found.into_iter().filter(|meta| meta.size <= LEARNED_BYTES_MAX);
        let mut kept: Vec<(u64, String, Path)> = found
            .filter_map(|meta| named(meta.location.filename()?).map(|(at, hash)| (at, hash, meta.location)))
            .collect();
        kept.sort();
        let latest = kept.last().map_or(0, |(number, ..)| *number);
        let mut whole = None;
        while let Some((number, hash, path)) = kept.last() {
            let content = objects.get(path).await?.bytes().await?;
            let is_sound = hexadecimal(&Sha256::digest(&content)) == *hash;
            match Epoch::from_bytes(&content) {
                Ok(epoch) if is_sound => {
                    whole = Some((epoch, *number));
                    break;
                }
                _ => tracing::warn!(path = path.as_ref(), "an epoch of history is damaged or of another version"),
            }
            kept.pop();
        }
        let (epoch, number) = whole.unwrap_or_else(|| {
            if latest > 0 {
                tracing::error!("what history taught cannot be read and begins anew; its rows are there");
            }
            (Epoch::new(limits), latest)
        });
        let kept = kept.into_iter().map(|(number, _, path)| (number, path)).collect();
        Ok((Self { objects, kept }, epoch, number))
    }

    /// What stands at a number.
    pub(crate) async fn at(&self, number: u64) -> Result<Place, Error> {
        let path = flush(number);
        let found = match self.objects.get(&path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(Place::Free),
            Err(error) => return Err(error.into()),
        };
        if found.meta.size > FLUSH_BYTES_MAX {
            return Err(Error::Damaged { path: path.to_string(), what: "it is too large for a flush" });
        }
        let content = found.bytes().await?;
        if content == DONE {
            return Ok(Place::Done);
        }
        Ok(read(&content).map_or(Place::Free, Place::Flush))
    }

    /// Decides that `entries` are the flush of that number, unless another is; whether they are. Durable when it returns.
    pub(crate) async fn decide(&self, number: u64, entries: &[Entry]) -> Result<bool, Error> {
        let (path, payload) = (flush(number), PutPayload::from(write(entries)));
        match self.objects.put_opts(&path, payload.clone(), PutMode::Create.into()).await {
            Ok(_) => return Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if !matches!(self.at(number).await?, Place::Free) {
            return Ok(false);
        }
        self.objects.put(&path, payload).await?;
        Ok(true)
    }

    /// Keeps the epoch that holds the flushes up to `number`, then gives up what it makes needless.
    pub(crate) async fn keep(&mut self, number: u64, epoch: &Epoch) -> Result<(), Error> {
        if self.kept.last().is_some_and(|(latest, _)| *latest >= number) {
            return Ok(());
        }
        let content = Bytes::from(epoch.to_bytes());
        let path = Path::from(format!("{LEARNED}/{number:020}-{}.bin", hexadecimal(&Sha256::digest(&content))));
        self.objects.put(&path, PutPayload::from(content)).await?;
        let before = self.kept.last().map_or(0, |(number, _)| *number);
        // A process may have died here; what it did not come to is done now.
        let since = self.kept.len().checked_sub(KEPT).map_or(0, |place| self.kept[place].0);
        self.kept.push((number, path));
        for done in since + 1..=before {
            self.objects.put(&flush(done), PutPayload::from_static(DONE)).await?;
        }
        while self.kept.len() > KEPT {
            let (_, path) = self.kept.remove(0);
            // One that stays only takes room.
            let _ = self.objects.delete(&path).await;
        }
        Ok(())
    }
}

fn flush(number: u64) -> Path {
    Path::from(format!("flushes/history/{number:020}.bin"))
}

/// What an epoch's name says: the flushes that it holds, and the hash of its bytes.
fn named(file: &str) -> Option<(u64, String)> {
    let (number, hash) = file.strip_suffix(".bin")?.split_once('-')?;
    (hash.len() == 64).then_some((number.parse().ok()?, hash.to_owned()))
}

/// SHA-256 of what follows; of each entry its time, its length, its bytes. Numbers are little-endian.
fn write(entries: &[Entry]) -> Vec<u8> {
    let mut content = vec![0; 32];
    for Entry { stored_at, payload } in entries {
        content.extend(stored_at.as_millis().to_le_bytes());
        content.extend((payload.len() as u64).to_le_bytes());
        content.extend(payload);
    }
    let hash = Sha256::digest(&content[32..]);
    content[..32].copy_from_slice(&hash);
    content
}

/// `None` for what is not whole.
fn read(content: &Bytes) -> Option<Vec<Entry>> {
    let (hash, mut rest) = content.split_first_chunk::<32>()?;
    if Sha256::digest(rest).as_slice() != hash {
        return None;
    }
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (stored_at, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let (payload, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let stored_at = Timestamp::from_millis(i64::from_le_bytes(*stored_at));
        entries.push(Entry { stored_at, payload: content.slice_ref(payload) });
        rest = after;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_is_read_as_it_was_written_or_not_at_all() {
        let entry = |at, bytes: &'static [u8]| Entry { stored_at: Timestamp::from_millis(at), payload: bytes.into() };
        let entries = vec![entry(-1, b"one"), entry(i64::MAX, b""), entry(7, b"three")];
        let content = Bytes::from(write(&entries));
        assert_eq!(read(&content), Some(entries));
        for cut in 0..content.len() {
            assert_eq!(read(&content.slice(..cut)), None, "{cut}");
        }
        assert_eq!(read(&Bytes::from_static(DONE)), None);
    }
}
