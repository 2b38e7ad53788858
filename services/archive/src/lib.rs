//! The archive: what was measured, scored and judged, as Parquet by account and day, and the baseline epochs folded from
//! it. It keeps what the bus forgets, and answers in SQL.
//!
//! ```text
//! activities/account=111122223333/day=2026-01-31/<first>-<last>-<hash>.parquet   one row an event
//! signals/account=111122223333/day=2026-01-31/<first>-<last>-<hash>.parquet      one row an event worth keeping
//! cases/day=2026-01-31/<first>-<last>-<hash>.parquet                             one row a transition of a case
//! history/account=111122223333/day=2026-01-31/<flush>-<hash>.parquet          one row an event taken in after the fact
//! epochs/<hour>-<generation>-<sequence>-<place>-<sha256>.bin                     what is ordinary, as of an hour
//! flushes/<table>/<generation>/<first>.json                                      where each flush ends
//! positions/<table>-<0 or 1>.json                                                how far each table has come
//! flushes/history/<flush>.bin                                                    what that flush of history holds
//! learned/<flush>-<sha256>.bin                                                   what history taught up to that flush
//! ```
//!
//! **Exactly once.** A flush holds the batches `first..=last` of a stream. Before its first file is written, where it
//! ends is declared by an object that can be created only once; from then on its files are a pure function of the
//! stream, names and rows alike, so whoever writes them again (a process that died between writing and acknowledging, a
//! second archive) writes the same files over them. Batches are acknowledged after the files and the position behind
//! them are durable. Nothing is told apart at query time, since nothing is there twice. History comes in no order and may
//! come again years later, so it is told apart by event: see `history.rs`.

mod bucket;
mod chain;
mod epochs;
pub mod evidence;
mod history;
mod lane;
mod location;
pub mod lookup;
mod page;
pub mod query;
pub mod service;
mod table;
#[cfg(test)]
mod tests;

pub use datafusion::object_store::ObjectStore;
pub use location::open;
pub use table::{Definition, Kind, Table};

/// Why the archive did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operator's, or the store's: a name that is none, a store that does not answer. The latter passes.
    #[error("the archive's store does not do as asked")]
    Store(#[from] datafusion::object_store::Error),
    /// See the bus.
    #[error(transparent)]
    Bus(#[from] trailwarden_bus::Error),
    /// Ours: rows that do not fit their table.
    #[error("could not write rows of {table}")]
    Rows { table: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// The operator's: somebody else wrote into the archive.
    #[error("{path} in the archive is damaged: {what}")]
    Damaged { path: String, what: &'static str },
    /// The operator's: no place for an archive.
    #[error("{location}: {what}")]
    Location { location: String, what: String },
    /// The operator's: nothing stands there.
    #[error("{location}: there is no such folder")]
    Absent { location: String },
}

impl Error {
    /// Whether trying the same again can help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(_) => true,
            Self::Bus(error) => error.is_transient(),
            _ => false,
        }
    }
}
