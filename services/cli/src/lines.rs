//! The lines that `--events` and `--cases` write: the contract with whoever reads them by machine.
//! Keys, their order and their meaning are promised; change them only with an issue.

use std::fmt::Display;
use std::io::{self, Write};

use serde::{Serialize, Serializer};
use trailwarden_core::activity::Activity;
use trailwarden_core::detection::Rule;
use trailwarden_core::language::Language;
use trailwarden_core::level::Level;
use trailwarden_core::negotiation::Brain;
use trailwarden_core::time::Timestamp;

use crate::findings::Finding;
use crate::line::Line;

/// One event as `--events` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EventLine<'a> {
    pub event_id: &'a str,
    #[serde(serialize_with = "as_text")]
    pub event_time: Timestamp,
    pub account: &'a str,
    pub principal: &'a str,
    pub api: Api<'a>,
    #[serde(serialize_with = "rounded")]
    pub score: f64,
    pub level: Level,
}

/// `iam:PutUserPolicy`, joined only as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api<'a> {
    pub service: &'a str,
    pub call: &'a str,
}

impl<'a> EventLine<'a> {
    pub fn new(activity: &Activity<'a>, score: f64, level: Level) -> Self {
        Self {
            event_id: activity.event_id,
            event_time: activity.event_time,
            account: activity.account,
            principal: activity.principal,
            api: Api { service: activity.service, call: activity.call },
            score,
            level,
        }
    }
}

impl Serialize for Api<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:{}", self.service, self.call))
    }
}

/// `deterministic`, `llm:<model>` or `recorded`.
pub fn brain_text(brain: &Brain) -> String {
    match brain {
        Brain::Deterministic => "deterministic".to_owned(),
        Brain::Llm(model) => format!("llm:{model}"),
        Brain::Recorded => "recorded".to_owned(),
    }
}

/// Writes one line of `--events`.
pub fn write_event(out: &mut impl Write, line: &EventLine<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// Writes one line of `--cases`; `rules` are those that the finding's detections index.
pub fn write_case(out: &mut impl Write, finding: &Finding, rules: &[Rule], language: Language) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Line::of(finding, rules, language))?;
    out.write_all(b"\n")
}

fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Nine decimals: a bound is finer than what people read, and so short a number reads back as it was written.
pub(crate) fn finely<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let value = (value * 1e9).round() / 1e9;
    serializer.serialize_f64(if value.is_finite() { value + 0.0 } else { 0.0 })
}

/// Six decimals, so that a last bit of floating point never shows; what is not a number is 0.
pub(crate) fn rounded<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let value = (value * 1e6).round() / 1e6;
    // Adding zero turns -0.0 into 0.0.
    serializer.serialize_f64(if value.is_finite() { value + 0.0 } else { 0.0 })
}
