//! A rule's detection, compiled: its selections and condition, and which events it can match at all.

use super::condition::{Condition, joined};
use super::document::{Node, wrong_shape};
use super::field::Event;
use super::matcher::Matcher;
use super::selection::{FieldTest, Selection};
use crate::detection::error::Problem;

const SELECTIONS_MAX: usize = 100;
/// A cover that would grow beyond this is given up, which costs time only.
const COVER_KEYS_MAX: usize = 512;

/// A compiled `detection` block.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    selections: Vec<Selection>,
    /// `None` matches every event.
    condition: Option<Condition>,
}

/// What an event must at least have to be matched, letter case aside: a service and a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// `eventSource`, or the activity's service.
    pub(crate) source: Option<Box<str>>,
    /// `eventName`, or the activity's call.
    pub(crate) name: Option<Box<str>>,
}

impl Program {
    pub(crate) fn always() -> Self {
        Self { selections: Vec::new(), condition: None }
    }

    pub(crate) fn parse(detection: &Node) -> Result<Self, Problem> {
        let Node::Map(entries) = detection else {
            return Err(wrong_shape("detection", "a map"));
        };
        if entries.len() > SELECTIONS_MAX {
            return Err(Problem::TooLarge { what: "number of selections", limit: SELECTIONS_MAX });
        }
        if entries.iter().any(|(name, _)| name == "timeframe") {
            return Err(Problem::UnknownKey { key: "timeframe".to_owned(), of: "detection" });
        }
        let named = || entries.iter().filter(|(name, _)| name != "condition");
        let names: Vec<&str> = named().map(|(name, _)| name.as_str()).collect();
        let selections: Result<Vec<Selection>, Problem> =
            named().map(|(name, node)| Selection::parse(name, node)).collect();
        let selections = selections?;

        let texts = detection.texts("condition")?;
        if texts.is_empty() {
            return Err(Problem::Missing("condition"));
        }
        // Several conditions are alternatives.
        let conditions: Result<Vec<Condition>, Problem> =
            texts.iter().map(|text| Condition::parse(text, &names)).collect();
        let mut condition = joined(conditions?, Condition::Any);
        order_by_cost(&mut condition, &selections);
        Ok(Self { selections, condition: Some(condition) })
    }

    /// Whether any selection looks at one of these fields.
    pub(crate) fn asks_for(&self, fields: &[&str]) -> bool {
        self.selections.iter().any(|selection| selection.asks_for(fields))
    }

    pub(crate) fn matches(&self, event: &Event<'_>) -> bool {
        self.condition.as_ref().is_none_or(|condition| self.holds(condition, event))
    }

    fn holds(&self, condition: &Condition, event: &Event<'_>) -> bool {
        match condition {
            Condition::Selection(place) => self.selections[*place].matches(event),
            Condition::Not(inner) => !self.holds(inner, event),
            Condition::All(parts) => parts.iter().all(|part| self.holds(part, event)),
            Condition::Any(parts) => parts.iter().any(|part| self.holds(part, event)),
        }
    }

    /// Keys of which every matching event has at least one; `None` when any event may match.
    pub(crate) fn cover(&self) -> Option<Vec<Key>> {
        let mut keys = self.condition_cover(self.condition.as_ref()?)?;
        keys.sort();
        keys.dedup();
        Some(keys)
    }

    fn condition_cover(&self, condition: &Condition) -> Option<Vec<Key>> {
        match condition {
            Condition::Selection(place) => selection_cover(&self.selections[*place]),
            Condition::Not(_) => None,
            Condition::All(parts) => both(parts.iter().map(|part| self.condition_cover(part))),
            Condition::Any(parts) => either(parts.iter().map(|part| self.condition_cover(part))),
        }
    }
}

fn selection_cover(selection: &Selection) -> Option<Vec<Key>> {
    match selection {
        Selection::All(parts) => both(parts.iter().map(selection_cover)),
        Selection::Any(parts) => either(parts.iter().map(selection_cover)),
        Selection::Field(test) => field_cover(test),
    }
}

fn field_cover(test: &FieldTest) -> Option<Vec<Key>> {
    if test.all || test.matchers.len() > COVER_KEYS_MAX {
        return None;
    }
    let key: fn(Box<str>) -> Key = match test.field.name() {
        "eventName" | "trailwarden.call" => |text| Key { source: None, name: Some(text) },
        "eventSource" | "trailwarden.service" => |text| Key { source: Some(text), name: None },
        _ => return None,
    };
    let exact = |matcher: &Matcher| match matcher {
        Matcher::Pattern(pattern) => pattern.exact().map(|text| key(text.into())),
        _ => None,
    };
    test.matchers.iter().map(exact).collect()
}

/// All parts must hold, so each part's cover is one: join them, or keep the first where that grows too large.
fn both(covers: impl Iterator<Item = Option<Vec<Key>>>) -> Option<Vec<Key>> {
    covers.flatten().reduce(|left, right| {
        if left.len().saturating_mul(right.len()) > COVER_KEYS_MAX {
            return left;
        }
        let mut joined = Vec::with_capacity(left.len() * right.len());
        for key in &left {
            joined.extend(right.iter().map(|other| Key {
                source: key.source.clone().or_else(|| other.source.clone()),
                name: key.name.clone().or_else(|| other.name.clone()),
            }));
        }
        joined.sort();
        joined.dedup();
        joined
    })
}

fn either(mut covers: impl Iterator<Item = Option<Vec<Key>>>) -> Option<Vec<Key>> {
    covers.try_fold(Vec::new(), |mut union, cover| {
        union.extend(cover?);
        (union.len() <= COVER_KEYS_MAX).then_some(union)
    })
}

/// Reorders parts so that cheap ones decide first, and returns the cost.
fn order_by_cost(condition: &mut Condition, selections: &[Selection]) -> u32 {
    match condition {
        Condition::Selection(place) => selections[*place].cost(),
        Condition::Not(inner) => order_by_cost(inner, selections),
        Condition::All(parts) | Condition::Any(parts) => {
            let mut costs: Vec<(u32, Condition)> = std::mem::take(parts)
                .into_iter()
                .map(|mut part| (order_by_cost(&mut part, selections), part))
                .collect();
            costs.sort_by_key(|(cost, _)| *cost);
            let sum = costs.iter().fold(0_u32, |sum, (cost, _)| sum.saturating_add(*cost));
            *parts = costs.into_iter().map(|(_, part)| part).collect();
            sum
        }
    }
}
