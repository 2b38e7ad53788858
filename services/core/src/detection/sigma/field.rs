//! Where a rule's field is found: the record's head, the activity, a derived fact, or the record's tree.

use serde_json::Value;

use crate::activity::Activity;
use crate::detection::derived;
use crate::detection::error::Problem;
use crate::record::{Head, RecordView};
use crate::registry::Registry;

const FIELD_BYTES_MAX: usize = 256;
/// What field names of derived facts start with.
const DERIVED: &str = "trailwarden.";

/// One event, as rules see it.
#[derive(Clone, Copy)]
pub(crate) struct Event<'a> {
    pub(crate) view: &'a RecordView<'a>,
    pub(crate) activity: &'a Activity<'a>,
    pub(crate) registry: &'a Registry,
}

/// A compiled field name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    name: Box<str>,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Read by the collector already; the keys serve records whose head is partial.
    Head(Box<[Box<str>]>),
    /// A text of the activity: no JSON value needs to be made of it.
    Activity(ActivityText),
    Derived(&'static str),
    Tree(Box<[Box<str>]>),
    /// The whole record, for keywords.
    Record,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ActivityText {
    Session,
    Principal,
    Account,
    Source,
    Service,
    Call,
}

/// A field's value in one event. JSON's null counts as absent.
#[derive(Clone, Copy)]
pub(crate) enum Found<'a> {
    Text(&'a str),
    Value(&'a Value),
}

/// What became of a search through a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Hit,
    Miss,
    Absent,
}

impl Field {
    pub(crate) fn new(name: &str) -> Result<Self, Problem> {
        if name.len() > FIELD_BYTES_MAX {
            return Err(Problem::TooLarge { what: "field name in bytes", limit: FIELD_BYTES_MAX });
        }
        let keys = || name.split('.').map(Box::from).collect();
        let place = if let Some(fact) = name.strip_prefix(DERIVED) {
            let known = derived::FIELDS.iter().find(|known| **known == fact);
            let known = known.ok_or_else(|| Problem::UnknownDerivedField(name.to_owned()))?;
            ActivityText::named(known).map_or(Place::Derived(known), Place::Activity)
        } else if RecordView::new("", Head::default(), false).head_field(name).is_some() {
            Place::Head(keys())
        } else {
            Place::Tree(keys())
        };
        Ok(Self { name: name.into(), place })
    }

    pub(crate) fn whole_record() -> Self {
        Self { name: "".into(), place: Place::Record }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How dear a look at the field is, so that the cheap tests of a rule run first.
    pub(crate) fn cost(&self) -> u32 {
        match &self.place {
            Place::Head(_) | Place::Activity(_) => 1,
            Place::Derived("credential" | "mfa" | "denied" | "failed") => 4,
            Place::Derived("instance_session" | "agent_family" | "source_class") => 20,
            // The first look builds the tree.
            Place::Tree(_) => 100,
            Place::Derived(_) => 200,
            Place::Record => 1_000,
        }
    }

    /// The field's text where it was read already: outer `None` when it was not, inner `None` when it is absent.
    pub(crate) fn read_text<'a>(&self, event: &Event<'a>) -> Option<Option<&'a str>> {
        match &self.place {
            Place::Head(_) => {
                let text = event.view.head_field(&self.name)?;
                // These two are never optional in a head: only their empty text can say that they are absent.
                let always_text = matches!(&*self.name, "eventName" | "eventSource");
                Some(text.filter(|text| !(always_text && text.is_empty())))
            }
            Place::Activity(text) => Some(text.of(event.activity)).map(|text| (!text.is_empty()).then_some(text)),
            Place::Derived(_) | Place::Tree(_) | Place::Record => None,
        }
    }

    /// Shows the field's values to `test` until one is a hit. A path through arrays has one value for each
    /// element; an array or object at the path's end is shown whole.
    pub(crate) fn search(&self, event: &Event<'_>, test: &mut dyn FnMut(Found<'_>) -> bool) -> Outcome {
        match self.read_text(event) {
            Some(None) => return Outcome::Absent,
            Some(Some(text)) => return outcome(test(Found::Text(text))),
            None => {}
        }
        let keys: &[Box<str>] = match &self.place {
            Place::Head(keys) | Place::Tree(keys) => keys,
            Place::Derived(fact) => {
                let value = derived::derived(fact, event.view, event.activity, event.registry);
                return value.map_or(Outcome::Absent, |value| search_tree(&value, &[], test));
            }
            Place::Record | Place::Activity(_) => &[],
        };
        match keys.split_first() {
            Some((first, rest)) => {
                event.view.field(first).map_or(Outcome::Absent, |value| search_tree(value, rest, test))
            }
            None => search_tree(event.view.tree(), &[], test),
        }
    }
}

impl ActivityText {
    fn named(fact: &str) -> Option<Self> {
        Some(match fact {
            "session" => Self::Session,
            "principal" => Self::Principal,
            "account" => Self::Account,
            "source" => Self::Source,
            "service" => Self::Service,
            "call" => Self::Call,
            _ => return None,
        })
    }

    fn of<'a>(self, activity: &Activity<'a>) -> &'a str {
        match self {
            Self::Session => activity.session,
            Self::Principal => activity.principal,
            Self::Account => activity.account,
            Self::Source => activity.source,
            Self::Service => activity.service,
            Self::Call => activity.call,
        }
    }
}

fn outcome(hit: bool) -> Outcome {
    if hit { Outcome::Hit } else { Outcome::Miss }
}

fn search_tree(value: &Value, keys: &[Box<str>], test: &mut dyn FnMut(Found<'_>) -> bool) -> Outcome {
    let Some((key, rest)) = keys.split_first() else {
        return match value {
            Value::Null => Outcome::Absent,
            value => outcome(test(Found::Value(value))),
        };
    };
    match value {
        Value::Object(entries) => entries.get(&**key).map_or(Outcome::Absent, |value| search_tree(value, rest, test)),
        Value::Array(elements) => {
            let mut seen = Outcome::Absent;
            for element in elements {
                match search_tree(element, keys, test) {
                    Outcome::Hit => return Outcome::Hit,
                    Outcome::Miss => seen = Outcome::Miss,
                    Outcome::Absent => {}
                }
            }
            seen
        }
        _ => Outcome::Absent,
    }
}
