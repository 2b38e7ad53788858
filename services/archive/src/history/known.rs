//! Which events of history the archive holds already: the rows themselves say so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringArray};
use datafusion::object_store::path::Path;
use datafusion::object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use futures::TryStreamExt;
use trailwarden_core::hash::hash128_of;

use crate::Error;
use crate::table::{ACCOUNT, DAY, OTHER, Table};

/// Ids that are remembered, over all folders: some 40 MiB. Beyond it folders are read again.
pub(crate) const IDS_MAX: usize = 1 << 20;

/// Folders that are remembered, be they empty.
const FOLDERS_MAX: usize = 4_096;

/// An event and its caller, as everywhere else where events are told apart.
pub(crate) type Id = u128;

/// Account and day, as folders name them.
pub(crate) type Folder = (String, String);

/// The columns that make an id, in its order.
const COLUMNS: [&str; 3] = ["metadata_uid", "cloud_account_uid", "actor_user_uid"];

pub(crate) fn id(event: &str, account: &str, principal: &str) -> Id {
    hash128_of([event, account, principal])
}

/// Ids of the folders that were asked for lately, as the rows there have them.
#[derive(Debug)]
pub(crate) struct Known {
    objects: Arc<dyn ObjectStore>,
    folders: BTreeMap<Folder, BTreeSet<Id>>,
    ids: usize,
    ids_max: usize,
}

impl Known {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, ids_max: usize) -> Self {
        Self { objects, folders: BTreeMap::new(), ids: 0, ids_max }
    }

    pub(crate) fn ids_max(&self) -> usize {
        self.ids_max
    }

    /// Those of `asked` that are there. A folder that is asked for the first time is read.
    pub(crate) async fn among(&mut self, asked: &BTreeMap<Folder, BTreeSet<Id>>) -> Result<BTreeSet<Id>, Error> {
        if self.ids > self.ids_max / 2 || self.folders.len() > FOLDERS_MAX {
            self.folders.retain(|folder, _| asked.contains_key(folder) || *folder == overflow());
            self.ids = self.folders.values().map(BTreeSet::len).sum();
        }
        let mut found = BTreeSet::new();
        for (folder, ids) in asked {
            self.find(folder, ids, &mut found).await?;
        }
        // Where rows go for which a flush had too many folders.
        if !asked.is_empty() {
            let all = asked.values().flatten().copied().collect();
            self.find(&overflow(), &all, &mut found).await?;
        }
        Ok(found)
    }

    /// These are there from now on.
    pub(crate) fn add(&mut self, added: &BTreeMap<Folder, BTreeSet<Id>>) {
        for (folder, ids) in added {
            // Which of the two it went to is not known here, and nobody minds that both say so.
            for folder in [folder, &overflow()] {
                let Some(known) = self.folders.get_mut(folder) else { continue };
                let before = known.len();
                known.extend(ids);
                self.ids += known.len() - before;
            }
        }
    }

    async fn find(&mut self, folder: &Folder, ids: &BTreeSet<Id>, found: &mut BTreeSet<Id>) -> Result<(), Error> {
        if let Some(known) = self.folders.get(folder) {
            found.extend(ids.intersection(known));
            return Ok(());
        }
        // Remembered while there is room; a larger folder is read each time, a file at a time.
        let mut known = Some(BTreeSet::new());
        let (account, day) = folder;
        let prefix = Path::from(format!("{}/{ACCOUNT}={account}/{DAY}={day}", Table::History.name()));
        let mut files: Vec<ObjectMeta> = self.objects.list(Some(&prefix)).try_collect().await?;
        files.retain(|file| file.location.extension() == Some("parquet"));
        for file in files {
            let content = self.objects.get(&file.location).await?.bytes().await?;
            let path = file.location.to_string();
            let read = tokio::task::spawn_blocking(move || ids_of(content));
            let here = read.await.ok().flatten().ok_or(Error::Damaged { path, what: "it is no file of rows" })?;
            found.extend(here.iter().filter(|id| ids.contains(id)));
            known = known.filter(|known| self.ids + known.len() + here.len() <= self.ids_max);
            if let Some(known) = &mut known {
                known.extend(here);
            }
        }
        if let Some(known) = known {
            self.ids += known.len();
            self.folders.insert(folder.clone(), known);
        }
        Ok(())
    }
}

fn overflow() -> Folder {
    (OTHER.to_owned(), OTHER.to_owned())
}

/// The ids of a file's rows; `None` when it is none of ours.
fn ids_of(content: Bytes) -> Option<Vec<Id>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(content).ok()?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
    let mut ids = Vec::new();
    for rows in builder.with_projection(mask).build().ok()? {
        let rows: RecordBatch = rows.ok()?;
        let [event, account, principal] = COLUMNS.map(|name| rows.column_by_name(name)?.as_string_opt::<i32>());
        let (event, account, principal) = (event?, account?, principal?);
        ids.extend((0..rows.num_rows()).map(|row| id(text(event, row), text(account, row), text(principal, row))));
    }
    Some(ids)
}

/// Empty text is NULL.
fn text(column: &StringArray, row: usize) -> &str {
    if column.is_null(row) { "" } else { column.value(row) }
}
