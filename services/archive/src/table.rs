//! The tables, their columns, and where each stands in OCSF.
//!
//! A row of `activities` is an OCSF *API Activity* (class 6003) with its nested names written flat, so that SQL needs no
//! brackets. [`Definition::ocsf`] names each column's place in the class; what has none there is ours (OCSF's `unmapped`).
//! Text that a record does not carry is NULL.

mod activities;
mod cases;
mod history;
mod signals;

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use trailwarden_bus::{Sequence, Stream};
use trailwarden_core::time::{DAY_MS, Timestamp};
use trailwarden_proto::{Invalid, v1, wire};

use crate::page::{Cell, Pages};

/// One table of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Every measured event.
    Activities,
    /// Every event that was worth keeping: with a score, a match or a link.
    Signals,
    /// Every transition of every case.
    Cases,
    /// Every event that was taken in after the fact: learned from, and neither measured nor judged.
    History,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Milliseconds, UTC.
    Time,
    Flag,
    Number,
    /// A measurement, single precision as it was measured.
    Measure,
    Real,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    /// Its place in the OCSF class, or what it says of ours.
    pub ocsf: &'static str,
    /// Whether files carry a bloom filter of it, because people look for single values.
    pub is_looked_up: bool,
}

impl Definition {
    const fn new(name: &'static str, kind: Kind, ocsf: &'static str) -> Self {
        Self { name, kind, ocsf, is_looked_up: false }
    }

    const fn looked_up(self) -> Self {
        Self { is_looked_up: true, ..self }
    }
}

/// The columns that folders carry in their names.
pub(crate) const ACCOUNT: &str = "account";
/// As [`ACCOUNT`].
pub(crate) const DAY: &str = "day";
/// Folder of accounts that are not twelve digits, of days outside years 0 to 9999, and of what exceeds a flush's folders.
pub(crate) const OTHER: &str = "other";

/// What a message of the bus holds for a table.
#[derive(Debug)]
pub(crate) enum Decoded {
    Features(v1::FeatureBatch),
    Signals(v1::SignalBatch),
    Transition(Box<v1::CaseTransition>),
    History(v1::ActivityBatch),
}

/// Where a message stood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) sequence: Sequence,
    pub(crate) partition: Option<u16>,
    pub(crate) stored_at: Timestamp,
}

impl Table {
    pub const ALL: [Self; 4] = [Self::Activities, Self::Signals, Self::Cases, Self::History];
    /// Those that follow a stream in its order; history comes in any.
    pub(crate) const IN_ORDER: [Self; 3] = [Self::Activities, Self::Signals, Self::Cases];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Activities => "activities",
            Self::Signals => "signals",
            Self::Cases => "cases",
            Self::History => "history",
        }
    }

    pub const fn columns(self) -> &'static [Definition] {
        match self {
            Self::Activities => activities::COLUMNS,
            Self::Signals => signals::COLUMNS,
            Self::Cases => cases::COLUMNS,
            Self::History => history::COLUMNS,
        }
    }

    /// Names of the columns in folders' names, outermost first.
    pub const fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Activities | Self::Signals | Self::History => &[ACCOUNT, DAY],
            Self::Cases => &[DAY],
        }
    }

    pub(crate) const fn stream(self) -> Stream {
        match self {
            Self::Activities => Stream::Feature,
            Self::Signals => Stream::Signal,
            Self::Cases => Stream::Case,
            Self::History => Stream::Backfill,
        }
    }

    /// The columns that stand in files.
    pub(crate) fn schema(self) -> SchemaRef {
        let fields = self.columns().iter().map(|column| Field::new(column.name, column.kind.data_type(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    pub(crate) fn decode(self, payload: &Bytes) -> Result<Decoded, Invalid> {
        Ok(match self {
            Self::Activities => Decoded::Features(wire::unpack(payload)?),
            Self::Signals => Decoded::Signals(wire::unpack(payload)?),
            Self::Cases => Decoded::Transition(Box::new(wire::unpack(payload)?)),
            Self::History => Decoded::History(wire::unpack(payload)?),
        })
    }
}

impl Kind {
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Time => DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into())),
            Self::Flag => DataType::Boolean,
            Self::Number => DataType::UInt64,
            Self::Measure => DataType::Float32,
            Self::Real => DataType::Float64,
        }
    }
}

/// Adds rows of [`Table::History`].
pub(crate) use history::add as add_history;

pub(crate) const UTC: &str = "+00:00";

impl Decoded {
    /// Adds the message's rows.
    pub(crate) fn add_to(&self, pages: &mut Pages, origin: Origin) {
        match self {
            Self::Features(batch) => activities::add(pages, batch, origin),
            Self::Signals(batch) => signals::add(pages, batch, origin),
            Self::Transition(transition) => cases::add(pages, transition, origin),
            Self::History(batch) => history::add(pages, batch),
        }
    }
}

/// The folder of a day, as `2026-01-31`.
pub(crate) fn day(at: Timestamp) -> String {
    let text = Timestamp::from_millis(at.as_millis().div_euclid(DAY_MS).saturating_mul(DAY_MS)).to_string();
    match text.split_once('T') {
        Some((day, _)) if day.len() == 10 => day.to_owned(),
        _ => OTHER.to_owned(),
    }
}

/// The folder of an account.
pub(crate) fn account(account: &str) -> &str {
    if account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) { account } else { OTHER }
}

/// The names of the rules that matched, one after another.
fn rules(observation: &v1::Observation, names: &[String]) -> String {
    let ids = observation.matches.iter().filter_map(|found| names.get(usize::try_from(found.rule).ok()?));
    ids.map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn number(value: impl Into<u64>) -> Cell<'static> {
    Cell::Number(Some(value.into()))
}

fn principal_kind(kind: i32) -> &'static str {
    use v1::PrincipalKind as Wire;
    match Wire::try_from(kind) {
        Ok(Wire::IamUser) => "iam_user",
        Ok(Wire::Role) => "role",
        Ok(Wire::Root) => "root",
        Ok(Wire::AwsService) => "aws_service",
        Ok(Wire::CrossAccount) => "cross_account",
        Ok(Wire::Federated) => "federated",
        Ok(Wire::Unknown) => "unknown",
        Ok(Wire::Unspecified) | Err(_) => "",
    }
}

fn credential(credential: i32) -> &'static str {
    use v1::Credential as Wire;
    match Wire::try_from(credential) {
        Ok(Wire::LongTermKey) => "long_term_key",
        Ok(Wire::TemporaryKey) => "temporary_key",
        Ok(Wire::Console) => "console",
        Ok(Wire::InstanceRole) => "instance_role",
        Ok(Wire::Service) => "service",
        Ok(Wire::Root) => "root",
        Ok(Wire::Unknown) => "unknown",
        Ok(Wire::Unspecified) | Err(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_ours_whatever_a_record_says() {
        assert_eq!(account("111122223333"), "111122223333");
        for hostile in ["", "../../etc", "11112222333a", "1111222233334", "other", "１１１１２２２２３３３３"]
        {
            assert_eq!(account(hostile), OTHER, "{hostile}");
        }
        for (millis, expect) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (253_402_300_799_999, "9999-12-31"),
            (i64::MAX, OTHER),
            (i64::MIN, OTHER),
        ] {
            assert_eq!(day(Timestamp::from_millis(millis)), expect);
        }
    }

    #[test]
    fn columns_have_one_name_each_and_none_of_a_folder() {
        for table in Table::ALL {
            let mut names: Vec<&str> =
                table.columns().iter().map(|column| column.name).chain(table.folders().iter().copied()).collect();
            names.sort_unstable();
            names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1], "{}", table.name()));
        }
    }
}
