//! A selection of a rule's detection: a map of fields (all must hold), a list of such maps or of keywords (any).

use super::document::{Node, wrong_shape};
use super::field::{Event, Field};
use super::matcher::{Matcher, field_matches};
use super::modifier::Modified;
use crate::detection::error::Problem;

const TESTS_MAX: usize = 1_000;

/// A compiled selection.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    All(Vec<Selection>),
    Any(Vec<Selection>),
    Field(FieldTest),
}

/// A field held against values.
#[derive(Clone, Debug)]
pub(crate) struct FieldTest {
    pub(crate) field: Field,
    pub(crate) matchers: Vec<Matcher>,
    /// Each matcher must be met, not any.
    pub(crate) all: bool,
}

impl Selection {
    pub(crate) fn parse(name: &str, node: &Node) -> Result<Self, Problem> {
        match node {
            Node::Map(entries) => Self::map(name, entries),
            Node::List(items) if items.is_empty() || items.len() > TESTS_MAX => {
                Err(wrong_shape(name, "a list with 1 to 1000 entries"))
            }
            Node::List(items) => {
                let tests: Result<Vec<Self>, Problem> = items
                    .iter()
                    .map(|item| match item {
                        Node::Map(entries) => Self::map(name, entries),
                        Node::Text(_) => Self::field("", item),
                        Node::Null | Node::List(_) => Err(wrong_shape(name, "a list of maps or of keywords")),
                    })
                    .collect();
                Ok(joined(tests?, Self::Any))
            }
            Node::Text(_) => Self::field("", node),
            Node::Null => Err(wrong_shape(name, "a map or a list")),
        }
    }

    pub(crate) fn asks_for(&self, fields: &[&str]) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.asks_for(fields)),
            Self::Field(test) => fields.contains(&test.field.name()),
        }
    }

    fn map(name: &str, entries: &[(String, Node)]) -> Result<Self, Problem> {
        if entries.is_empty() || entries.len() > TESTS_MAX {
            return Err(wrong_shape(name, "a map with 1 to 1000 fields"));
        }
        let tests: Result<Vec<Self>, Problem> = entries.iter().map(|(key, value)| Self::field(key, value)).collect();
        Ok(joined(tests?, Self::All))
    }

    /// A field without a name is a keyword: a value anywhere in the record.
    fn field(key: &str, values: &Node) -> Result<Self, Problem> {
        let with_placement;
        let (key, field) = match key.split('|').next().unwrap_or_default() {
            "" => {
                let anywhere = key.is_empty() || key == "|all";
                with_placement = format!("{key}{}", if anywhere { "|contains" } else { "" });
                (with_placement.as_str(), Field::whole_record())
            }
            name => (key, Field::new(name)?),
        };
        let modified = Modified::parse(key)?;
        Ok(Self::Field(FieldTest { field, matchers: modified.matchers(values)?, all: modified.all }))
    }

    pub(crate) fn matches(&self, event: &Event<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(event)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(event)),
            Self::Field(test) => field_matches(&test.field, &test.matchers, test.all, event),
        }
    }

    /// How dear the test is in the worst case.
    pub(crate) fn cost(&self) -> u32 {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().fold(0, |sum, part| sum.saturating_add(part.cost())),
            Self::Field(test) => test.matchers.iter().fold(test.field.cost(), |sum, matcher| {
                sum.saturating_add(match matcher {
                    Matcher::Regex(_) => 10,
                    Matcher::Reference { field, .. } => field.cost(),
                    _ => 0,
                })
            }),
        }
    }
}

/// Joins tests, the cheapest first.
fn joined(mut tests: Vec<Selection>, join: fn(Vec<Selection>) -> Selection) -> Selection {
    tests.sort_by_key(Selection::cost);
    match tests.len() {
        1 => tests.swap_remove(0),
        _ => join(tests),
    }
}
