//! SQL over the archive: reading only, within bounds of rows, memory and time.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, UInt64Type};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::SchemaError;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::object_store::ObjectStore;
use datafusion::object_store::path::Path;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::table::Table;

/// A longer statement is no question of a person.
const SQL_BYTES_MAX: usize = 64 * 1_024;
/// Text that one answer may have.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// What sorts and joins may put aside in the system's temporary folder.
const SPILL_BYTES_MAX: u64 = 4 << 30;
/// The store's name within the engine; files of the machine have no name there.
const STORE: &str = "archive://archive/";

/// What one question may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub rows_max: usize,
    pub memory_bytes_max: usize,
    pub time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows_max: 1_000, memory_bytes_max: 512 << 20, time_max: Duration::from_secs(60) }
    }
}

/// What a question came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub columns: Vec<String>,
    /// As many values a row as there are columns. Text may have been written by an attacker.
    pub rows: Vec<Vec<Value>>,
    /// There is more than was taken.
    pub is_cut: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The asker's: what was written is no SQL.
    #[error("this is not SQL that the archive understands: {what}")]
    Syntax { what: String },
    /// The asker's.
    #[error("there is no table `{name}`")]
    UnknownTable { name: String, known: Vec<String> },
    /// The asker's.
    #[error("there is no column `{name}`")]
    UnknownColumn { name: String, known: Vec<String> },
    /// The asker's: sound SQL that means nothing here.
    #[error("{what}")]
    Meaningless { what: String },
    /// The asker's.
    #[error("the archive is for reading: {what}")]
    Forbidden { what: String },
    /// The asker's: ask for less.
    #[error("the question takes more than {} MiB of memory; ask for a shorter time or fewer columns", bytes_max >> 20)]
    Memory { bytes_max: usize },
    /// The asker's: ask for less.
    #[error("no answer within {} s; name an account and days, so that less has to be read", time_max.as_secs())]
    Time { time_max: Duration },
    /// The store's, or ours.
    #[error("the archive could not be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An archive that is open for reading.
pub struct Archive {
    objects: Arc<dyn ObjectStore>,
    context: SessionContext,
    limits: Limits,
}

impl Archive {
    /// Opens the archive in a store.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when the engine cannot be set up.
    pub fn open(objects: Arc<dyn ObjectStore>, limits: Limits) -> Result<Self, Error> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(limits.memory_bytes_max)))
            .with_max_temp_directory_size(SPILL_BYTES_MAX)
            // A flush of a moment ago is to be seen.
            .with_object_list_cache_limit(0)
            .build_arc()
            .map_err(unreadable)?;
        let config = SessionConfig::new()
            .with_default_catalog_and_schema("trailwarden", "archive")
            .with_information_schema(true)
            .with_collect_statistics(false)
            .set_bool("datafusion.execution.parquet.pushdown_filters", true);
        let context = SessionContext::new_with_config_rt(config, runtime);
        let store = ObjectStoreUrl::parse(STORE).map_err(unreadable)?;
        context.register_object_store(store.as_ref(), Arc::clone(&objects));
        for table in Table::ALL {
            let folders = table.folders().iter().map(|name| ((*name).to_owned(), DataType::Utf8)).collect();
            let options = ListingOptions::new(Arc::new(ParquetFormat::default()))
                .with_file_extension(".parquet")
                .with_table_partition_cols(folders);
            let url = ListingTableUrl::parse(format!("{STORE}{}/", table.name())).map_err(unreadable)?;
            let config = ListingTableConfig::new(url).with_listing_options(options).with_schema(table.schema());
            let listing = ListingTable::try_new(config).map_err(unreadable)?;
            context.register_table(table.name(), Arc::new(listing)).map_err(unreadable)?;
        }
        Ok(Self { objects, context, limits })
    }

    /// Whether nothing was archived yet.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when the store does not answer.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        for table in Table::ALL {
            let prefix = Path::from(table.name());
            let first = self.objects.list(Some(&prefix)).try_next().await;
            if first.map_err(|error| Error::Unreadable(Box::new(error)))?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Answers one statement that reads.
    ///
    /// # Errors
    /// See [`Error`]: each says whose turn it is.
    pub fn query<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Answer, Error>> {
        // Boxed here, or the engine's half would be compiled again in every crate that awaits it.
        Box::pin(self.answer(sql))
    }

    async fn answer(&self, sql: &str) -> Result<Answer, Error> {
        if sql.len() > SQL_BYTES_MAX {
            return Err(Error::Syntax { what: format!("it is longer than {} KiB", SQL_BYTES_MAX >> 10) });
        }
        let reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let answer = async {
            let state = self.context.state();
            let plan = state.create_logical_plan(sql).await.map_err(|error| self.explain(error))?;
            reading.verify_plan(&plan).map_err(|error| Error::Forbidden { what: forbidden(&error) })?;
            // A plan about plans stands alone; it is short anyway.
            let is_about_plans =
                matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_));
            let found = self.context.execute_logical_plan(plan).await.map_err(|error| self.explain(error))?;
            let rows_max = self.limits.rows_max;
            let found = match is_about_plans {
                true => found,
                false => found.limit(0, Some(rows_max.saturating_add(1))).map_err(|error| self.explain(error))?,
            };
            self.take(found, rows_max).await
        };
        self.in_time(answer).await
    }

    /// At most `rows_max` rows of what was found.
    pub(crate) async fn take(&self, found: DataFrame, rows_max: usize) -> Result<Answer, Error> {
        let columns = found.schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut answer = Answer { columns, rows: Vec::new(), is_cut: false };
        let mut bytes = 0;
        let mut batches = found.execute_stream().await.map_err(|error| self.explain(error))?;
        while let Some(batch) = batches.try_next().await.map_err(|error| self.explain(error))? {
            let values = batch.columns().iter().map(Values::of).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
            for row in 0..batch.num_rows() {
                if answer.rows.len() >= rows_max || bytes > ANSWER_BYTES_MAX {
                    answer.is_cut = true;
                    return Ok(answer);
                }
                let row: Vec<Value> = values.iter().map(|values| values.get(row)).collect();
                bytes += row.iter().map(|value| value.as_str().map_or(8, str::len)).sum::<usize>();
                answer.rows.push(row);
            }
        }
        Ok(answer)
    }

    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let time_max = self.limits.time_max;
        tokio::time::timeout(time_max, work).await.unwrap_or(Err(Error::Time { time_max }))
    }

    pub(crate) fn context(&self) -> &SessionContext {
        &self.context
    }

    /// The engine's error in words for whoever asked.
    pub(crate) fn explain(&self, error: DataFusionError) -> Error {
        let words = |error: &DataFusionError| error.message().into_owned();
        match error.find_root() {
            DataFusionError::SQL(problem, _) => {
                Error::Syntax { what: problem.to_string().trim_start_matches("sql parser error: ").to_owned() }
            }
            DataFusionError::SchemaError(problem, _) => match &**problem {
                SchemaError::FieldNotFound { field, valid_fields } => {
                    let known: Vec<String> = valid_fields.iter().map(|column| column.name.clone()).collect();
                    Error::UnknownColumn { name: field.name.clone(), known }
                }
                other => Error::Meaningless { what: other.to_string() },
            },
            DataFusionError::Plan(text) if missing_table(text).is_some() => {
                let known = Table::ALL.map(|table| table.name().to_owned()).to_vec();
                Error::UnknownTable { name: missing_table(text).unwrap_or_default().to_owned(), known }
            }
            DataFusionError::ResourcesExhausted(_) => Error::Memory { bytes_max: self.limits.memory_bytes_max },
            problem @ (DataFusionError::Plan(_)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Execution(_)
            | DataFusionError::ArrowError(..)
            | DataFusionError::Configuration(_)) => Error::Meaningless { what: words(problem) },
            _ => unreadable(error),
        }
    }
}

/// `x` of `table 'trailwarden.archive.x' not found`.
fn missing_table(text: &str) -> Option<&str> {
    let name = text.strip_prefix("table '")?.split_once("' not found")?.0;
    Some(name.strip_prefix("trailwarden.archive.").unwrap_or(name))
}

fn forbidden(error: &DataFusionError) -> String {
    let text = error.message().into_owned();
    let what = text.rsplit_once(": ").map_or(text.as_str(), |(_, what)| what);
    format!("`{what}` changes something or reaches elsewhere")
}

fn unreadable(error: DataFusionError) -> Error {
    Error::Unreadable(Box::new(error))
}

/// A column's values, one by one.
enum Values<'a> {
    Flag(&'a ArrayRef),
    Signed(ArrayRef),
    Unsigned(ArrayRef),
    Single(&'a ArrayRef),
    Double(&'a ArrayRef),
    Text(ArrayRef),
    Other(&'a ArrayRef, ArrayFormatter<'a>),
}

/// Numbers and text as such, times and everything else as the engine writes them.
impl<'a> Values<'a> {
    fn of(column: &'a ArrayRef) -> Result<Self, DataFusionError> {
        const FORMAT: FormatOptions<'static> = FormatOptions::new();
        let cast = |to: &DataType| datafusion::arrow::compute::cast(column, to);
        Ok(match column.data_type() {
            DataType::Boolean => Self::Flag(column),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                Self::Signed(cast(&DataType::Int64)?)
            }
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
                Self::Unsigned(cast(&DataType::UInt64)?)
            }
            DataType::Float32 => Self::Single(column),
            DataType::Float64 => Self::Double(column),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text(cast(&DataType::Utf8)?),
            _ => Self::Other(column, ArrayFormatter::try_new(column, &FORMAT)?),
        })
    }

    fn get(&self, row: usize) -> Value {
        let is_null = match self {
            Self::Flag(column) | Self::Single(column) | Self::Double(column) | Self::Other(column, _) => {
                column.is_null(row)
            }
            Self::Signed(column) | Self::Unsigned(column) | Self::Text(column) => column.is_null(row),
        };
        if is_null {
            return Value::Null;
        }
        match self {
            Self::Flag(column) => column.as_boolean().value(row).into(),
            Self::Signed(column) => column.as_primitive::<Int64Type>().value(row).into(),
            Self::Unsigned(column) => column.as_primitive::<UInt64Type>().value(row).into(),
            // By its shortest text, or 0.1 would become 0.10000000149.
            Self::Single(column) => {
                let text = column.as_primitive::<Float32Type>().value(row).to_string();
                text.parse::<f64>().map_or(Value::Null, Value::from)
            }
            Self::Double(column) => column.as_primitive::<Float64Type>().value(row).into(),
            Self::Text(column) => column.as_string::<i32>().value(row).into(),
            Self::Other(_, formatter) => formatter.value(row).to_string().into(),
        }
    }
}
