//! Offline: seeded logs to learn from, training, and evaluation that may be believed.

pub mod cases;
pub mod dataset;
pub mod evaluate;
pub mod generate;
pub mod measure;
pub mod network;
pub mod reference;
pub mod table;
pub mod train;
pub mod universe;
pub mod weigh;

use std::path::PathBuf;

/// Why the lab stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Generate(#[from] generate::Error),
    #[error(transparent)]
    Rules(#[from] trailwarden_core::detection::Error),
    #[error(transparent)]
    Collect(#[from] trailwarden_collector::Error),
    #[error(transparent)]
    Reference(#[from] reference::Error),
    #[error(transparent)]
    Model(#[from] trailwarden_scorer::Error),
    #[error(transparent)]
    Network(#[from] trailwarden_scorer::network::Error),
    #[error("could not read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is no truth file", path.display())]
    Truth { path: PathBuf, source: serde_json::Error },
    #[error("no temporary folder")]
    Folder(#[source] std::io::Error),
}
