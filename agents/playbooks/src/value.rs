//! Values of answers: where they are, what is made of them, what they have to show.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::call::{CAPTURED, Derived, Expect, SUPPLIED, When};

/// What is known while a step runs, by name.
pub(crate) type Known = BTreeMap<String, Value>;

/// What stands at a path: member names joined by dots, `[]` for the items of a list (lists in lists become one), `[*]` for
/// them as they are, `[?Name=='x']` for those whose member is this; `@` is the whole. Null where there is nothing.
pub(crate) fn at(value: &Value, path: &str) -> Value {
    if path == "@" {
        return value.clone();
    }
    let (mut found, mut rest, mut is_list) = (vec![value.clone()], path, false);
    while !rest.is_empty() {
        let (part, below) = split(rest);
        rest = below;
        let (name, bracket) = part.split_once('[').unwrap_or((part, ""));
        found = found.iter().filter_map(|value| value.get(name)).filter(|value| !value.is_null()).cloned().collect();
        if bracket == "*]" {
            let inside = |item: &Value| if rest.is_empty() { item.clone() } else { at(item, rest) };
            let lists = found.iter().filter_map(Value::as_array).map(|items| items.iter().map(inside).collect());
            let mut lists: Vec<Value> = lists.map(Value::Array).collect();
            return if is_list { Value::Array(lists) } else { lists.pop().unwrap_or_default() };
        }
        if !bracket.is_empty() {
            let filter = bracket.trim_end_matches(']');
            let items = found.iter().filter_map(Value::as_array).flatten();
            found = items.filter(|item| is_chosen(item, filter)).cloned().collect();
            is_list = true;
        }
    }
    if is_list { Value::Array(found) } else { found.pop().unwrap_or_default() }
}

/// The part before the first dot that stands in no filter, and what follows it.
fn split(path: &str) -> (&str, &str) {
    let mut quoted = false;
    for (place, byte) in path.bytes().enumerate() {
        match byte {
            b'\'' => quoted = !quoted,
            b'.' if !quoted => return (&path[..place], &path[place + 1..]),
            _ => {}
        }
    }
    (path, "")
}

/// Whether an item is one that `?Name=='x'` picks; every item is one that nothing or `*` picks.
fn is_chosen(item: &Value, filter: &str) -> bool {
    let Some((name, text)) = filter.strip_prefix('?').and_then(|filter| filter.split_once("==")) else {
        return true;
    };
    item.get(name).and_then(Value::as_str) == Some(text.trim_matches('\''))
}

/// Whether there is something: not null, not an empty list or text.
pub(crate) fn is_known(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

/// Whether a call is to be made.
pub(crate) fn holds(when: Option<&When>, known: &Known) -> bool {
    match when {
        None => true,
        Some(When::Known(name)) => is_known(known.get(name.as_ref())),
        Some(When::Unknown(name)) => !is_known(known.get(name.as_ref())),
        Some(When::Is(name, text)) => known.get(name.as_ref()).and_then(Value::as_str) == Some(text),
    }
}

/// Parameters with what is known in its places.
///
/// # Errors
/// The name of what is not known.
pub(crate) fn filled(value: &Value, known: &Known) -> Result<Value, String> {
    match value {
        Value::Object(members) => {
            if let Some(name) = marker(members) {
                return known.get(name).filter(|value| !value.is_null()).cloned().ok_or_else(|| name.to_owned());
            }
            let filled = members.iter().map(|(name, value)| Ok((name.clone(), filled(value, known)?)));
            filled.collect::<Result<Map<_, _>, String>>().map(Value::Object)
        }
        Value::Array(items) => items.iter().map(|item| filled(item, known)).collect::<Result<_, _>>().map(Value::Array),
        plain => Ok(plain.clone()),
    }
}

fn marker(members: &Map<String, Value>) -> Option<&str> {
    let (key, name) = members.iter().next().filter(|_| members.len() == 1)?;
    [CAPTURED, SUPPLIED].contains(&key.as_str()).then(|| name.as_str())?
}

/// Names that a value has places for.
pub(crate) fn places<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => match marker(members) {
            Some(name) => found.push(name),
            None => members.values().for_each(|value| places(value, found)),
        },
        Value::Array(items) => items.iter().for_each(|item| places(item, found)),
        _ => {}
    }
}

/// Whether what was read is what it has to be.
pub(crate) fn shows(read: &Value, expect: &Expect, known: &Known) -> bool {
    match expect {
        Expect::Nothing => !is_known(Some(read)),
        Expect::Any => is_known(Some(read)),
        Expect::Equals(value) => filled(value, known).is_ok_and(|value| has(read, &value)),
        Expect::Same(value) => filled(value, known).is_ok_and(|value| is_alike(read, &value)),
        Expect::Contains(value) => match (filled(value, known), read) {
            (Ok(value), Value::Array(items)) => items.iter().any(|item| has(item, &value)),
            _ => false,
        },
        Expect::Every(value) => match (filled(value, known), read) {
            (Ok(value), Value::Array(items)) => !items.is_empty() && items.iter().all(|item| has(item, single(&value))),
            _ => false,
        },
        Expect::Statements(text) => {
            let (read, wanted) = (statements(read), statements(&json!(text)));
            !wanted.is_empty() && wanted.iter().all(|statement| read.contains(statement))
        }
    }
}

/// A list of one as what it holds.
fn single(value: &Value) -> &Value {
    match value {
        Value::Array(items) if items.len() == 1 => &items[0],
        other => other,
    }
}

/// Whether a value has at least the members of another.
fn has(value: &Value, least: &Value) -> bool {
    match (value, least) {
        (Value::Object(own), Value::Object(least)) => {
            least.iter().all(|(name, least)| own.get(name).is_some_and(|own| has(own, least)))
        }
        (own, least) => own == least,
    }
}

/// Whether two values are the same but for members that say nothing.
fn is_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(own), Value::Object(wanted)) => {
            let covers = |of: &Map<String, Value>, with: &Map<String, Value>| {
                of.iter().all(|(name, value)| match with.get(name) {
                    Some(other) => is_alike(value, other),
                    None => !is_known(Some(value)),
                })
            };
            covers(own, wanted) && covers(wanted, own)
        }
        (Value::Array(own), Value::Array(wanted)) => {
            own.len() == wanted.len() && own.iter().zip(wanted).all(|(own, wanted)| is_alike(own, wanted))
        }
        (one, other) => one == other || (!is_known(Some(one)) && !is_known(Some(other))),
    }
}

/// The statements of a policy document: JSON, a text of it, or such a text percent-encoded, as IAM answers.
fn statements(document: &Value) -> Vec<Value> {
    let parsed = match document {
        Value::String(text) => parsed(text),
        other => other.clone(),
    };
    match parsed.get("Statement") {
        Some(Value::Array(items)) => items.clone(),
        Some(one) => vec![one.clone()],
        None => vec![],
    }
}

fn parsed(text: &str) -> Value {
    let plain = serde_json::from_str(text);
    plain.unwrap_or_else(|_| serde_json::from_str(&percent_decoded(text)).unwrap_or_default())
}

/// IAM answers policy documents percent-encoded (RFC 3986).
pub(crate) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match digits.filter(|_| bytes[at] == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The document of [`Derived`].
pub(crate) fn derived(derived: &Derived, known: &Known) -> Value {
    let own = known.get(derived.from).unwrap_or(&Value::Null);
    let mut document = match own {
        Value::String(text) => parsed(text),
        other => other.clone(),
    };
    if !document.is_object() {
        document = json!({ "Version": "2012-10-17" });
    }
    let mut all = statements(&document);
    for statement in statements(&json!(derived.adding)) {
        if !all.contains(&statement) {
            all.push(statement);
        }
    }
    document["Statement"] = Value::Array(all);
    json!(document.to_string())
}

/// A kept value as a later call takes it: a policy document that IAM percent-encoded becomes JSON's text again.
pub(crate) fn kept(value: Value) -> Value {
    match &value {
        Value::String(text) if text.starts_with("%7B") || text.starts_with("%7b") => json!(percent_decoded(text)),
        _ => value,
    }
}

/// Whether two values say the same: documents by what they hold, nothing in whatever form it stands.
pub(crate) fn is_same(one: &Value, other: &Value) -> bool {
    let plain = |value: &Value| match value {
        Value::String(text) if text.starts_with('{') => parsed(text),
        other => other.clone(),
    };
    (!is_known(Some(one)) && !is_known(Some(other))) || plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances() -> Value {
        let interface = |id: &str, groups: &[&str]| {
            let groups: Vec<_> = groups.iter().map(|id| json!({ "GroupId": id })).collect();
            json!({ "NetworkInterfaceId": id, "Groups": groups })
        };
        let instance =
            json!({ "VpcId": "v", "NetworkInterfaces": [interface("e1", &["g1", "g2"]), interface("e2", &["g3"])] });
        json!({ "Reservations": [{ "Instances": [instance] }] })
    }

    #[test]
    fn paths() {
        for (path, expect) in [
            ("Reservations[].Instances[].VpcId", json!(["v"])),
            ("Reservations[].Instances[].NetworkInterfaces[].NetworkInterfaceId", json!(["e1", "e2"])),
            ("Reservations[].Instances[].NetworkInterfaces[].Groups[].GroupId", json!(["g1", "g2", "g3"])),
            ("Reservations[].Instances[].NetworkInterfaces[].Groups[*].GroupId", json!([["g1", "g2"], ["g3"]])),
            ("Other[].x", json!([])),
            ("Other.x", Value::Null),
        ] {
            assert_eq!(at(&instances(), path), expect, "{path}");
        }
        let policies = json!({ "Policies": [{ "Name": "a.b", "Id": "p1" }, { "Name": "c", "Id": "p2" }] });
        assert_eq!(at(&policies, "Policies[?Name=='a.b'].Id"), json!(["p1"]));
        assert_eq!(at(&policies, "Policies[].Id"), json!(["p1", "p2"]));
        assert_eq!(at(&policies, "@"), policies);
        assert_eq!(at(&json!({ "a": { "b": null } }), "a.b"), Value::Null);
    }

    #[test]
    fn places_are_filled_or_named() {
        let known = Known::from([("a".to_owned(), json!(["x"])), ("none".to_owned(), Value::Null)]);
        let value = json!({ "P": { CAPTURED: "a" }, "Q": [{ "R": { SUPPLIED: "a" } }] });
        assert_eq!(filled(&value, &known), Ok(json!({ "P": ["x"], "Q": [{ "R": ["x"] }] })));
        assert_eq!(filled(&json!({ CAPTURED: "none" }), &known), Err("none".to_owned()));
        assert!(holds(Some(&When::Known("a".into())), &known) && holds(Some(&When::Unknown("none".into())), &known));
        assert!(!holds(Some(&When::Is("a".into(), "x".into())), &known));
    }

    #[test]
    fn checks() {
        let known = Known::from([("g".to_owned(), json!(["sg"]))]);
        let check = |read: Value, expect: Expect, holds: bool| {
            assert_eq!(shows(&read, &expect, &known), holds, "{read} {expect:?}");
        };
        check(json!([{ "A": 1, "B": 2 }]), Expect::Contains(json!({ "A": 1 })), true);
        check(json!([{ "A": 2 }]), Expect::Contains(json!({ "A": 1 })), false);
        check(Value::Null, Expect::Contains(json!(1)), false);
        let all = || json!([{ "ReadWriteType": "All", "DataResources": [] }]);
        check(all(), Expect::Same(json!([{ "ReadWriteType": "All" }])), true);
        check(json!([{ "ReadWriteType": "All" }]), Expect::Same(all()), true);
        check(json!([{ "ReadWriteType": "All", "Excluded": ["kms"] }]), Expect::Same(all()), false);
        check(json!([]), Expect::Same(all()), false);
        check(json!(["sg", "sg"]), Expect::Every(json!({ CAPTURED: "g" })), true);
        check(json!(["sg", "x"]), Expect::Every(json!({ CAPTURED: "g" })), false);
        check(json!([]), Expect::Every(json!(1)), false);
        check(json!(["sg"]), Expect::Every(json!({ CAPTURED: "unknown" })), false);
        check(json!([]), Expect::Nothing, true);
        check(json!("x"), Expect::Nothing, false);
        check(json!("x"), Expect::Any, true);
        let document = r#"{"Statement":[{"Sid":"A"}]}"#;
        check(
            json!("%7B%22Statement%22%3A%5B%7B%22Sid%22%3A%22A%22%7D%5D%7D"),
            Expect::Statements(document.into()),
            true,
        );
        check(json!(r#"{"Statement":[{"Sid":"B"}]}"#), Expect::Statements(document.into()), false);
        check(json!(r#"{"Statement":{"Sid":"A"}}"#), Expect::Statements(document.into()), true);
        check(json!("%"), Expect::Statements(document.into()), false);
    }

    #[test]
    fn statements_are_added_to_those_that_are_there() {
        let own = Derived { name: "d", from: "p", adding: r#"{"Statement":[{"Sid":"New"}]}"#.to_owned() };
        let of = |policy: Value| {
            let text = derived(&own, &Known::from([("p".to_owned(), policy)]));
            serde_json::from_str::<Value>(text.as_str().expect("text")).expect("JSON")
        };
        assert_eq!(of(Value::Null), json!({ "Version": "2012-10-17", "Statement": [{ "Sid": "New" }] }));
        let old = json!(r#"{"Id":"x","Statement":{"Sid":"Old"}}"#);
        assert_eq!(of(old), json!({ "Id": "x", "Statement": [{ "Sid": "Old" }, { "Sid": "New" }] }));
    }
}
