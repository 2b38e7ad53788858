//! A reader of Sigma rules: YAML documents to compiled rules.
//!
//! How fields of CloudTrail records meet Sigma's values:
//! - A dotted path goes through arrays: the field has the value of each element. An array at the path's end
//!   counts by its elements, and numbers and booleans count by their text.
//! - Values that may stand anywhere (`contains`, `*x*`) and regular expressions are also held against the compact
//!   JSON text of an object or array, and against every text beneath it.
//! - `null` matches a field that is absent or null; `exists` counts null as absent.
//! - Letter case is ignored for ASCII letters, except with `cased`, `re` and in field names.
//! - Keywords may stand anywhere in the record.

mod condition;
mod document;
mod field;
mod matcher;
mod modifier;
mod program;
mod rule;
mod selection;
mod value;

pub(crate) use document::{Node, read, wrong_shape};
pub(crate) use field::{Event, Field, Found};
pub(crate) use program::{Key, Program};
pub(crate) use rule::{Body, RuleDocument, label};
