//! Parameters by their place (`Tags[0].Key`), made into what a request's shape asks for.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use trailwarden_core::plan::own::{Piece, Slot, Texts, pieces};

use crate::aws::facts::{Scalar, Shape};

/// Items of a list, and steps of a place.
const ITEMS_MAX: usize = 32;
const STEPS_MAX: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Member(String),
    Item(usize),
}

/// Why a parameter is none, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) parameter: String,
    pub(super) why: String,
}

/// The parameters of a request.
///
/// # Errors
/// The first that its shape has no place for.
pub(super) fn built(
    shape: &Shape,
    with: &BTreeMap<String, Texts>,
    fill: &dyn Fn(&str) -> Value,
) -> Result<Value, Wrong> {
    let mut parts = Vec::new();
    for (name, texts) in with {
        let wrong = |why: String| Wrong { parameter: name.clone(), why };
        parts.push((steps(name).map_err(wrong)?, name, texts));
    }
    parts.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    let mut whole = Value::Object(Map::new());
    for (steps, name, texts) in parts {
        let wrong = |why: String| Wrong { parameter: name.clone(), why };
        put(&mut whole, shape, &steps, texts, fill).map_err(wrong)?;
    }
    Ok(whole)
}

fn steps(name: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for part in name.split('.') {
        let (member, items) = part.split_once('[').map_or((part, None), |(member, items)| (member, Some(items)));
        steps.push(Step::Member(member.to_owned()));
        if let Some(items) = items {
            let number = items.strip_suffix(']').and_then(|digits| digits.parse().ok()).filter(|nth| *nth < ITEMS_MAX);
            steps.push(Step::Item(number.ok_or("a list's item is written Tags[0], from 0 on")?));
        }
    }
    if steps.len() > STEPS_MAX { Err("it lies too deep".to_owned()) } else { Ok(steps) }
}

fn put(
    value: &mut Value,
    shape: &Shape,
    steps: &[Step],
    texts: &Texts,
    fill: &dyn Fn(&str) -> Value,
) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        if !value.is_null() {
            return Err("it is given twice".to_owned());
        }
        *value = leaf(shape, texts, fill)?;
        return Ok(());
    };
    match (step, shape) {
        (Step::Member(name), Shape::Structure { members }) => {
            let member = members.get(name).ok_or_else(|| {
                let known: Vec<_> = members.keys().map(String::as_str).collect();
                format!("there is no such parameter; there are {}", known.join(", "))
            })?;
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            let value = value.as_object_mut().ok_or("it is given twice")?.entry(name.clone()).or_insert(Value::Null);
            put(value, &member.shape, rest, texts, fill)
        }
        (Step::Item(nth), Shape::List { item, .. }) => {
            if value.is_null() {
                *value = json!([]);
            }
            let items = value.as_array_mut().ok_or("it is given twice")?;
            if *nth > items.len() {
                return Err("items of a list are counted from 0, and none is left out".to_owned());
            }
            if *nth == items.len() {
                items.push(Value::Null);
            }
            put(&mut items[*nth], item, rest, texts, fill)
        }
        (Step::Member(_), Shape::List { .. }) => Err("this is a list: name its item, as in Tags[0].Key".to_owned()),
        (Step::Item(_), _) => Err("this is no list".to_owned()),
        (Step::Member(_), Shape::Scalar(_)) => Err("nothing lies below this".to_owned()),
    }
}

fn leaf(shape: &Shape, texts: &Texts, fill: &dyn Fn(&str) -> Value) -> Result<Value, String> {
    match (shape, texts) {
        // What was kept may be of any shape; AWS' own answer goes back to it.
        (_, Texts::One(text)) if matches!(pieces(text).as_deref(), Ok([Piece::Slot(Slot::Kept(_))])) => Ok(fill(text)),
        (Shape::Scalar(scalar), Texts::One(text)) => one(*scalar, text, fill),
        (Shape::Scalar(_), Texts::Many(_)) => Err("one text is wanted, and no list".to_owned()),
        (Shape::List { item, .. }, Texts::Many(texts)) => match item.as_ref() {
            Shape::Scalar(scalar) => {
                texts.iter().map(|text| one(*scalar, text, fill)).collect::<Result<_, _>>().map(Value::Array)
            }
            _ => Err("its items are structures: name their members, as in Tags[0].Key".to_owned()),
        },
        (Shape::List { .. }, Texts::One(_)) => Err("a list is wanted: put it in [brackets]".to_owned()),
        (Shape::Structure { members }, _) => {
            let known: Vec<_> = members.keys().map(String::as_str).collect();
            Err(format!("this is a structure: name its members ({}), joined by a dot", known.join(", ")))
        }
    }
}

fn one(scalar: Scalar, text: &str, fill: &dyn Fn(&str) -> Value) -> Result<Value, String> {
    match scalar {
        Scalar::Text => Ok(fill(text)),
        Scalar::Boolean => text.parse::<bool>().map(Value::from).map_err(|_| "true or false is wanted".to_owned()),
        Scalar::Integer => text.parse::<i64>().map(Value::from).map_err(|_| "a whole number is wanted".to_owned()),
    }
}
