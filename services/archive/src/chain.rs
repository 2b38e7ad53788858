//! How far a table has come, and where its flushes end.

use std::sync::Arc;

use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use trailwarden_bus::Sequence;

use crate::Error;

/// A position or a declaration is a line; whatever is longer is not ours.
const OBJECT_BYTES_MAX: u64 = 4 * 1024;

/// Up to where a table holds its stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Grows when the broker's stream was made anew: its sequences begin again at 1 and mean other batches.
    pub(crate) generation: u32,
    /// Last sequence that is durable here.
    pub(crate) through: Sequence,
    /// Latest time at which the broker stored any of them.
    pub(crate) stored_at_ms: i64,
    /// Flushes so far; positions are written to two places in turn, so that one is whole whenever the power goes.
    pub(crate) flushes: u64,
}

impl Position {
    /// Whether a message at this place of the stream cannot be the one that is archived.
    pub(crate) fn is_of_another_stream(&self, sequence: Sequence, stored_at_ms: i64) -> bool {
        sequence <= self.through && stored_at_ms > self.stored_at_ms
    }
}

#[derive(Serialize, Deserialize)]
struct Declaration {
    last: Sequence,
}

/// One table's positions and declarations in the store.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    objects: Arc<dyn ObjectStore>,
    table: &'static str,
}

impl Chain {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, table: &'static str) -> Self {
        Self { objects, table }
    }

    /// Where the table stands; before its first flush at the beginning of the stream.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a position that is none: guessing would double rows or leave some out.
    pub(crate) async fn position(&self) -> Result<Position, Error> {
        let found: [Option<Option<Position>>; 2] =
            [self.read(&self.position_path(0)).await?, self.read(&self.position_path(1)).await?];
        let is_damaged = found.iter().any(|slot| matches!(slot, Some(None)));
        match found.into_iter().flatten().flatten().max_by_key(|position| position.flushes) {
            Some(position) => Ok(position),
            None if is_damaged => {
                Err(Error::Damaged { path: self.position_path(0).to_string(), what: "neither position can be read" })
            }
            None => Ok(Position::default()),
        }
    }

    /// Declares that the flush after `position` ends at `last`, unless it was declared before; where it ends.
    pub(crate) async fn declare(&self, position: &Position, last: Sequence) -> Result<Sequence, Error> {
        let path = self.declaration_path(position);
        let payload = || payload(&Declaration { last });
        match self.objects.put_opts(&path, payload(), PutMode::Create.into()).await {
            Ok(_) => return Ok(last),
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(Some(Declaration { last })) = self.read(&path).await? {
            return Ok(last);
        }
        // Torn when the power went: no file of this flush was written yet.
        self.objects.put(&path, payload()).await?;
        Ok(last)
    }

    /// Remembers that the table has come to `position`.
    pub(crate) async fn advance(&self, position: &Position) -> Result<(), Error> {
        self.objects.put(&self.position_path(position.flushes % 2), payload(position)).await?;
        Ok(())
    }

    /// `None` without such an object, `Some(None)` when it cannot be read.
    async fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<Option<T>>, Error> {
        let found = match self.objects.get(path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if found.meta.size > OBJECT_BYTES_MAX {
            return Ok(Some(None));
        }
        Ok(Some(serde_json::from_slice(&found.bytes().await?).ok()))
    }

    fn position_path(&self, slot: u64) -> Path {
        Path::from(format!("positions/{}-{slot}.json", self.table))
    }

    fn declaration_path(&self, position: &Position) -> Path {
        let Position { generation, through, .. } = position;
        Path::from(format!("flushes/{}/{generation:04}/{:020}.json", self.table, through + 1))
    }
}

/// Plain numbers, which JSON always holds.
fn payload(value: &impl Serialize) -> PutPayload {
    serde_json::to_vec(value).unwrap_or_default().into()
}
