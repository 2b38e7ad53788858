//! One value of a rule against one value of an event.

use std::cell::OnceCell;
use std::net::IpAddr;

use regex::Regex;
use serde_json::Value;

use super::field::{Event, Field, Found, Outcome};
use super::value::{Pattern, Placement};

/// What a field's value is held against.
#[derive(Clone, Debug)]
pub(crate) enum Matcher {
    Pattern(Pattern),
    /// The field is absent or null.
    Null,
    /// The field is there and not null, or is not.
    Exists(bool),
    Regex(Regex),
    Cidr(Network),
    Number(Comparison, f64),
    /// The value stands in relation to another field's value.
    Reference {
        field: Field,
        placement: Placement,
        cased: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// An IPv4 or IPv6 network; the address's bits beyond the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

impl Comparison {
    pub(crate) fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
        }
    }
}

/// Whether any of `matchers` (or each of them, with `all`) is met by some value of `field`.
pub(crate) fn field_matches(field: &Field, matchers: &[Matcher], all: bool, event: &Event<'_>) -> bool {
    if all {
        return matchers.iter().all(|matcher| field_matches(field, std::slice::from_ref(matcher), false, event));
    }
    let outcome = match field.read_text(event) {
        Some(None) => Outcome::Absent,
        Some(Some(text)) if any_meets_text(matchers, text, event) => Outcome::Hit,
        Some(Some(_)) => Outcome::Miss,
        None => field.search(event, &mut |found| match found {
            Found::Text(text) => any_meets_text(matchers, text, event),
            Found::Value(value) => any_meets_value(matchers, value, event),
        }),
    };
    match outcome {
        Outcome::Hit => true,
        Outcome::Miss => matchers.iter().any(|matcher| matches!(matcher, Matcher::Exists(true))),
        Outcome::Absent => matchers.iter().any(|matcher| matches!(matcher, Matcher::Null | Matcher::Exists(false))),
    }
}

fn any_meets_text(matchers: &[Matcher], text: &str, event: &Event<'_>) -> bool {
    matchers.iter().any(|matcher| matcher.meets_text(text, event))
}

fn any_meets_value(matchers: &[Matcher], value: &Value, event: &Event<'_>) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(true) => any_meets_text(matchers, "true", event),
        Value::Bool(false) => any_meets_text(matchers, "false", event),
        Value::Number(number) => any_meets_text(matchers, &number.to_string(), event),
        Value::String(text) => any_meets_text(matchers, text, event),
        Value::Array(_) | Value::Object(_) => {
            let compact = OnceCell::new();
            matchers.iter().any(|matcher| {
                (matcher.reads_containers() && matcher.meets_text(compact.get_or_init(|| value.to_string()), event))
                    || elements_meet(matcher, value, event)
            })
        }
    }
}

/// Elements of arrays count as values of the field. What may stand anywhere is sought in every text beneath
/// as well: JSON documents inside a text (policies) are escaped once more in the compact text of the whole.
fn elements_meet(matcher: &Matcher, value: &Value, event: &Event<'_>) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(|element| elements_meet(matcher, element, event)),
        Value::Object(entries) => {
            matcher.reads_containers() && entries.values().any(|entry| elements_meet(matcher, entry, event))
        }
        scalar => any_meets_value(std::slice::from_ref(matcher), scalar, event),
    }
}

impl Matcher {
    fn reads_containers(&self) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.floats(),
            Self::Regex(_) => true,
            _ => false,
        }
    }

    fn meets_text(&self, text: &str, event: &Event<'_>) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.matches(text),
            Self::Null | Self::Exists(_) => false,
            Self::Regex(regex) => regex.is_match(text),
            Self::Cidr(network) => text.parse().is_ok_and(|address| network.contains(address)),
            Self::Number(comparison, limit) => {
                text.trim().parse::<f64>().is_ok_and(|number| comparison.holds(number, *limit))
            }
            Self::Reference { field, placement, cased } => refers(text, field, *placement, *cased, event),
        }
    }
}

fn refers(text: &str, field: &Field, placement: Placement, cased: bool, event: &Event<'_>) -> bool {
    let related = |other: &str| {
        let (text, other) = (text.as_bytes(), other.as_bytes());
        let same = |part: &[u8]| {
            if cased { part == other } else { part.eq_ignore_ascii_case(other) }
        };
        match placement {
            Placement::Whole => same(text),
            Placement::Start => text.len() >= other.len() && same(&text[..other.len()]),
            Placement::End => text.len() >= other.len() && same(&text[text.len() - other.len()..]),
            Placement::Inside => other.is_empty() || text.windows(other.len()).any(same),
        }
    };
    let outcome = field.search(event, &mut |found| match found {
        Found::Text(other) => related(other),
        Found::Value(value) => scalars(value, &related),
    });
    outcome == Outcome::Hit
}

fn scalars(value: &Value, related: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => related(text),
        Value::Bool(_) | Value::Number(_) => related(&value.to_string()),
        Value::Array(elements) => elements.iter().any(|element| scalars(element, related)),
        Value::Null | Value::Object(_) => false,
    }
}

impl Network {
    /// Reads `10.0.0.0/8`, `2001:db8::/32` or a bare address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = width_bits(address);
        let prefix_bits = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|bits| *bits <= width)?,
            None => width,
        };
        Some(Self { address, prefix_bits })
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let width = width_bits(self.address);
        if width != width_bits(address) {
            return false;
        }
        let differing = as_bits(self.address) ^ as_bits(address);
        differing.checked_shr(width - self.prefix_bits).unwrap_or(0) == 0
    }
}

fn width_bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn as_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let cases = [
            ("10.0.0.0/8", "10.200.3.4", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db8::1", true),
        ];
        for (network, address, expected) in cases {
            let parsed = Network::parse(network).expect(network);
            assert_eq!(parsed.contains(address.parse().expect(address)), expected, "{network} {address}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "x", "::/129", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
