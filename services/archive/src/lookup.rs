//! What stages ask the archive: activities by time, principal, session, source, resource or id.

use datafusion::arrow::datatypes::DataType;
use datafusion::functions::string::expr_fn::contains;
use datafusion::logical_expr::{Expr, cast, col, lit};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use futures::future::BoxFuture;
use serde_json::Value;
use trailwarden_core::hash::hash64;
use trailwarden_core::time::{DAY_MS, Timestamp};

use crate::query::{Archive, Error};
use crate::table::{self, OTHER, Table};

/// Event ids that one question may name.
pub const EVENT_IDS_MAX: usize = 1_000;
/// Days that are named one by one, so that other folders are not even listed; a longer time reads all that stand in it.
const DAYS_MAX: i64 = 62;

/// Which activities. What is `None` or empty does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// First event time, included.
    pub from: Option<Timestamp>,
    /// Last event time, excluded.
    pub until: Option<Timestamp>,
    pub account: Option<String>,
    pub principal: Option<String>,
    /// Access key id, or a console's session.
    pub session: Option<String>,
    /// Source address, or a service's host name.
    pub source: Option<String>,
    /// A thing that the request named or touched, by the id that the call gave.
    pub resource: Option<String>,
    /// At most [`EVENT_IDS_MAX`].
    pub event_ids: Vec<String>,
}

/// One archived activity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivityRow {
    pub event_id: String,
    pub event_time: Timestamp,
    pub account: String,
    pub region: String,
    pub service: String,
    pub call: String,
    pub principal: String,
    pub session: String,
    pub session_name: String,
    pub source: String,
    pub user_agent: String,
    pub error_code: Option<String>,
    pub read_only: Option<bool>,
    /// Rules that matched.
    pub rules: Vec<String>,
    /// `(kind, id)` of what the event touched; known where a rule matched.
    pub resources: Vec<(String, String)>,
}

/// What was found, by event time and id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub rows: Vec<ActivityRow>,
    /// There are more.
    pub is_cut: bool,
}

impl Archive {
    /// The earliest `rows_max` activities that a question asks for.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn lookup<'a>(&'a self, query: &'a Query, rows_max: usize) -> BoxFuture<'a, Result<Found, Error>> {
        Box::pin(self.find(query, rows_max))
    }

    async fn find(&self, query: &Query, rows_max: usize) -> Result<Found, Error> {
        if query.event_ids.len() > EVENT_IDS_MAX {
            return Err(Error::Meaningless { what: format!("more than {EVENT_IDS_MAX} event ids in one question") });
        }
        let found = async {
            let found = self.frame(query, rows_max).await.map_err(|error| self.explain(error))?;
            self.take(found, rows_max).await
        };
        let answer = self.in_time(found).await?;
        Ok(Found { rows: answer.rows.iter().map(|row| activity(row)).collect(), is_cut: answer.is_cut })
    }

    async fn frame(&self, query: &Query, rows_max: usize) -> Result<DataFrame, datafusion::error::DataFusionError> {
        let mut frame = self.context().table(Table::Activities.name()).await?;
        for condition in conditions(query) {
            frame = frame.filter(condition)?;
        }
        let columns =
            std::iter::once(cast(col("time"), DataType::Int64)).chain(TEXTS.map(col)).chain([col("read_only")]);
        frame
            .sort(vec![col("time").sort(true, true), col("metadata_uid").sort(true, true)])?
            .limit(0, Some(rows_max.saturating_add(1)))?
            .select(columns.collect::<Vec<_>>())
    }
}

/// The columns that [`activity`] reads after the time, before the flag.
const TEXTS: [&str; 13] = [
    "metadata_uid",
    "cloud_account_uid",
    "cloud_region",
    "api_service_name",
    "api_operation",
    "actor_user_uid",
    "actor_session_uid",
    "actor_session_name",
    "src_endpoint_ip",
    "http_request_user_agent",
    "api_response_error",
    "rules",
    "resources",
];

fn conditions(query: &Query) -> Vec<Expr> {
    let time = |at: Timestamp| lit(ScalarValue::TimestampMillisecond(Some(at.as_millis()), Some(table::UTC.into())));
    let equal = |column: &str, value: &Option<String>| value.as_ref().map(|value| col(column).eq(lit(value.as_str())));
    let resource = query.resource.as_ref().map(|id| {
        let named = col("target").eq(lit(hash64(id)));
        named.or(contains(col("resources"), lit(format!(" {id}\n"))))
    });
    let ids = (!query.event_ids.is_empty())
        .then(|| col("metadata_uid").in_list(query.event_ids.iter().map(|id| lit(id.as_str())).collect(), false));
    let account = query
        .account
        .as_ref()
        .map(|account| col(table::ACCOUNT).in_list(vec![lit(table::account(account)), lit(OTHER)], false));
    [
        query.from.map(|from| col("time").gt_eq(time(from))),
        query.until.map(|until| col("time").lt(time(until))),
        days(query),
        account,
        equal("cloud_account_uid", &query.account),
        equal("actor_user_uid", &query.principal),
        equal("actor_session_uid", &query.session),
        equal("src_endpoint_ip", &query.source),
        resource,
        ids,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The folders in which the asked time may lie.
fn days(query: &Query) -> Option<Expr> {
    let (from, until) = (query.from?, query.until?);
    let (first, last) = (from.as_millis().div_euclid(DAY_MS), until.as_millis().div_euclid(DAY_MS));
    let listed = (0..=DAYS_MAX).contains(&last.saturating_sub(first));
    listed.then(|| {
        let days = (first..=last).map(|day| table::day(Timestamp::from_millis(day.saturating_mul(DAY_MS))));
        col(table::DAY).in_list(days.chain([OTHER.to_owned()]).map(lit).collect(), false)
    })
}

fn activity(row: &[Value]) -> ActivityRow {
    let text = |column: usize| row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned();
    let resources = text(13);
    ActivityRow {
        event_time: Timestamp::from_millis(row.first().and_then(Value::as_i64).unwrap_or_default()),
        event_id: text(1),
        account: text(2),
        region: text(3),
        service: text(4),
        call: text(5),
        principal: text(6),
        session: text(7),
        session_name: text(8),
        source: text(9),
        user_agent: text(10),
        error_code: Some(text(11)).filter(|code| !code.is_empty()),
        read_only: row.get(14).and_then(Value::as_bool),
        rules: text(12).split_whitespace().map(str::to_owned).collect(),
        resources: resources
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(kind, id)| (kind.to_owned(), id.to_owned()))
            .collect(),
    }
}
