//! Rows on their way into files: columns by folder, then Parquet.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Float32Builder, Float64Builder, RecordBatch, StringBuilder, TimestampMillisecondBuilder,
    UInt64Builder,
};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::schema::types::ColumnPath;
use trailwarden_core::time::Timestamp;

use crate::Error;
use crate::table::{Kind, OTHER, Table, UTC};

/// Folders that one flush writes to. Invented accounts and days share one folder from then on, so that they cannot make
/// a flush write a million files; their columns still say whose and when they are.
pub(crate) const FOLDERS_MAX: usize = 1_024;
/// Rows of which a file keeps statistics together.
const ROW_GROUP_ROWS_MAX: usize = 64 * 1_024;
/// Chance that a bloom filter sends a reader to a row group in vain.
const BLOOM_MISTAKES: f64 = 0.01;

/// One value of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell<'a> {
    /// Empty text is NULL.
    Text(&'a str),
    Time(Timestamp),
    Flag(Option<bool>),
    Number(Option<u64>),
    Measure(Option<f32>),
    Real(Option<f64>),
}

impl Cell<'_> {
    /// What it takes in a column, about.
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + size_of::<i32>(),
            Self::Time(_) | Self::Number(_) | Self::Real(_) => size_of::<u64>(),
            Self::Measure(_) => size_of::<f32>(),
            Self::Flag(_) => 1,
        }
    }
}

enum Column {
    Text(StringBuilder),
    Time(TimestampMillisecondBuilder),
    Flag(BooleanBuilder),
    Number(UInt64Builder),
    Measure(Float32Builder),
    Real(Float64Builder),
}

impl Column {
    /// Without room set aside: a flush may have many folders of few rows.
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(StringBuilder::with_capacity(0, 0)),
            Kind::Time => Self::Time(TimestampMillisecondBuilder::with_capacity(0).with_timezone(UTC)),
            Kind::Flag => Self::Flag(BooleanBuilder::with_capacity(0)),
            Kind::Number => Self::Number(UInt64Builder::with_capacity(0)),
            Kind::Measure => Self::Measure(Float32Builder::with_capacity(0)),
            Kind::Real => Self::Real(Float64Builder::with_capacity(0)),
        }
    }

    fn push(&mut self, cell: Cell<'_>) {
        match (self, cell) {
            (Self::Text(column), Cell::Text("")) => column.append_null(),
            (Self::Text(column), Cell::Text(text)) => column.append_value(text),
            (Self::Time(column), Cell::Time(at)) => column.append_value(at.as_millis()),
            (Self::Flag(column), Cell::Flag(flag)) => column.append_option(flag),
            (Self::Number(column), Cell::Number(number)) => column.append_option(number),
            (Self::Measure(column), Cell::Measure(measure)) => column.append_option(measure),
            (Self::Real(column), Cell::Real(real)) => column.append_option(real),
            // Tables fill their columns in the order in which they define them; a test writes a row of each.
            (column, cell) => {
                debug_assert!(false, "{cell:?} in another kind of column");
                column.push_null();
            }
        }
    }

    fn push_null(&mut self) {
        match self {
            Self::Text(column) => column.append_null(),
            Self::Time(column) => column.append_null(),
            Self::Flag(column) => column.append_null(),
            Self::Number(column) => column.append_null(),
            Self::Measure(column) => column.append_null(),
            Self::Real(column) => column.append_null(),
        }
    }

    fn finish(mut self) -> ArrayRef {
        match &mut self {
            Self::Text(column) => Arc::new(column.finish()),
            Self::Time(column) => Arc::new(column.finish()),
            Self::Flag(column) => Arc::new(column.finish()),
            Self::Number(column) => Arc::new(column.finish()),
            Self::Measure(column) => Arc::new(column.finish()),
            Self::Real(column) => Arc::new(column.finish()),
        }
    }
}

/// Where a file goes: account and day, as folders name them.
type Folder = (String, String);

/// The rows of one flush, by folder.
pub(crate) struct Pages {
    table: Table,
    folders: BTreeMap<Folder, Vec<Column>>,
    rows: usize,
    bytes: usize,
}

impl Pages {
    pub(crate) fn new(table: Table) -> Self {
        Self { table, folders: BTreeMap::new(), rows: 0, bytes: 0 }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// What the rows take, about; columns that grow have set aside up to as much again.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a row, its cells in the order of the table's columns.
    pub(crate) fn add(&mut self, account: &str, day: &str, cells: &[Cell<'_>]) {
        self.rows += 1;
        self.bytes += cells.iter().map(Cell::bytes).sum::<usize>();
        let mut folder = (account.to_owned(), day.to_owned());
        if self.folders.len() >= FOLDERS_MAX && !self.folders.contains_key(&folder) {
            let account = if account.is_empty() { "" } else { OTHER };
            folder = (account.to_owned(), OTHER.to_owned());
        }
        let table = self.table;
        let columns = self
            .folders
            .entry(folder)
            .or_insert_with(|| table.columns().iter().map(|column| Column::new(column.kind)).collect());
        columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(*cell));
    }

    /// One page for each file: its folder below the table's, and how to write it.
    pub(crate) fn finish(self) -> Vec<Page> {
        let table = self.table;
        let pages = self.folders.into_iter().map(|((account, day), columns)| {
            let values = [(crate::table::ACCOUNT, &account), (crate::table::DAY, &day)];
            let named = values.iter().filter(|(name, _)| table.folders().contains(name));
            let folder: Vec<String> = named.map(|(name, value)| format!("{name}={value}")).collect();
            Page { table, folder: format!("{}/{}", table.name(), folder.join("/")), columns }
        });
        pages.collect()
    }
}

/// The rows of one file.
pub(crate) struct Page {
    table: Table,
    /// `activities/account=111122223333/day=2026-01-31`.
    pub(crate) folder: String,
    columns: Vec<Column>,
}

impl Page {
    /// The file's bytes; the same rows give the same bytes.
    pub(crate) fn into_parquet(self) -> Result<Vec<u8>, Error> {
        let table = self.table;
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Rows { table: table.name(), source };
        let arrays: Vec<ArrayRef> = self.columns.into_iter().map(Column::finish).collect();
        let rows = RecordBatch::try_new(table.schema(), arrays).map_err(|error| failed(Box::new(error)))?;
        let properties = properties(table, rows.num_rows());
        let write = || {
            let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties))?;
            writer.write(&rows)?;
            writer.into_inner()
        };
        write().map_err(|error: datafusion::parquet::errors::ParquetError| failed(Box::new(error)))
    }
}

fn properties(table: Table, rows: usize) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by("trailwarden".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX));
    let distinct_max = rows.min(ROW_GROUP_ROWS_MAX) as u64;
    for column in table.columns().iter().filter(|column| column.is_looked_up) {
        let path = || ColumnPath::from(column.name);
        properties = properties
            .set_column_bloom_filter_enabled(path(), true)
            .set_column_bloom_filter_fpp(path(), BLOOM_MISTAKES)
            .set_column_bloom_filter_max_ndv(path(), distinct_max);
    }
    properties.build()
}
