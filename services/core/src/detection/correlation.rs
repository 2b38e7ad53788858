//! A Sigma correlation: what it asks of the matches of its rules, and what one match contributes.

use super::error::Problem;
use super::sigma::{Event, Field, Found, Node, wrong_shape};
use super::{CountedValue, RuleIndex};
use crate::hash::{TextHasher, hash64};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

/// The largest count that a correlation may ask for; it bounds what is kept for each group.
pub const COUNT_MAX: u32 = 1_024;
/// Distinct values that one event can contribute to a value count; an event that holds more counts for this many.
pub const VALUES_PER_EVENT_MAX: usize = 256;
const TIMESPAN_MS_MAX: i64 = 30 * DAY_MS;
pub(super) const RULES_MAX: usize = 64;
const GROUP_FIELDS_MAX: usize = 16;

/// A `correlation` block, read. Its rules are still names.
#[derive(Clone, Debug)]
pub(crate) struct Correlation {
    pub(crate) rules: Vec<String>,
    pub(crate) kind: Kind,
    pub(crate) timespan_ms: i64,
    /// Whether its rules raise on their own as well.
    pub(crate) generate: bool,
    group_by: Vec<String>,
    aliases: Vec<(String, Vec<(String, String)>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    EventCount(Bounds),
    ValueCount {
        field: String,
        bounds: Bounds,
    },
    /// The bounds are over the number of distinct rules that matched.
    Temporal(Bounds),
    TemporalOrdered,
}

/// The counts that meet a condition, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) min: u32,
    pub(crate) max: Option<u32>,
}

/// What one base rule's match contributes to one correlation.
#[derive(Clone, Debug)]
pub(crate) struct Contribution {
    pub(crate) correlation: RuleIndex,
    group: Vec<Field>,
    counted: Counted,
}

#[derive(Clone, Debug)]
enum Counted {
    Event,
    Rule(RuleIndex),
    Values(Field),
}

impl Correlation {
    pub(crate) fn parse(node: &Node) -> Result<Self, Problem> {
        const KEYS: &[&str] = &["type", "rules", "group-by", "timespan", "condition", "generate", "aliases"];
        node.entries_of("correlation", KEYS)?;
        let rules = owned(node.texts("rules")?);
        if rules.is_empty() {
            return Err(Problem::Missing("rules"));
        }
        let group_by = owned(node.texts("group-by")?);
        for (what, count, limit) in [
            ("number of correlated rules", rules.len(), RULES_MAX),
            ("number of group-by fields", group_by.len(), GROUP_FIELDS_MAX),
        ] {
            if count > limit {
                return Err(Problem::TooLarge { what, limit });
            }
        }
        Ok(Self {
            kind: Kind::parse(node, rules.len())?,
            timespan_ms: timespan(node.text("timespan")?.ok_or(Problem::Missing("timespan"))?)?,
            generate: node.flag("generate")?.unwrap_or(false),
            aliases: aliases(node)?,
            rules,
            group_by,
        })
    }

    /// What a match of `rule`, which the correlation calls `reference`, contributes to it.
    pub(crate) fn contribution(
        &self,
        correlation: RuleIndex,
        rule: RuleIndex,
        reference: &str,
    ) -> Result<Contribution, Problem> {
        let field = |name: &str| {
            let alias = self.aliases.iter().find(|(alias, _)| alias == name);
            let aliased = alias.and_then(|(_, fields)| fields.iter().find(|(rule, _)| rule == reference));
            match (alias, aliased) {
                (Some(_), None) => Err(Problem::MissingRule(format!("{name}.{reference}"))),
                (_, Some((_, field))) => Field::new(field),
                (None, None) => Field::new(name),
            }
        };
        Ok(Contribution {
            correlation,
            group: self.group_by.iter().map(|name| field(name)).collect::<Result<_, _>>()?,
            counted: match &self.kind {
                Kind::EventCount(_) => Counted::Event,
                Kind::ValueCount { field: name, .. } => Counted::Values(field(name)?),
                Kind::Temporal(_) | Kind::TemporalOrdered => Counted::Rule(rule),
            },
        })
    }
}

impl Kind {
    fn parse(node: &Node, rules: usize) -> Result<Self, Problem> {
        let condition = node.get("condition").filter(|condition| **condition != Node::Null);
        let needed = || condition.ok_or(Problem::Missing("condition"));
        match node.text("type")?.ok_or(Problem::Missing("type"))? {
            "event_count" => Ok(Self::EventCount(Bounds::parse(needed()?, &[])?)),
            "value_count" => {
                let condition = needed()?;
                let field = condition.text("field")?.ok_or(Problem::Missing("field"))?;
                Ok(Self::ValueCount { bounds: Bounds::parse(condition, &["field"])?, field: field.to_owned() })
            }
            "temporal" => match condition {
                Some(condition) => Ok(Self::Temporal(Bounds::parse(condition, &[])?)),
                // The number of rules is capped well below what `u32` holds.
                None => Ok(Self::Temporal(Bounds { min: u32::try_from(rules).unwrap_or(COUNT_MAX), max: None })),
            },
            "temporal_ordered" if condition.is_some() => {
                Err(Problem::UnknownKey { key: "condition".to_owned(), of: "temporal_ordered" })
            }
            "temporal_ordered" => Ok(Self::TemporalOrdered),
            other => Err(Problem::UnknownWord { word: other.to_owned(), scale: "correlation type" }),
        }
    }
}

impl Bounds {
    fn parse(condition: &Node, others: &[&str]) -> Result<Self, Problem> {
        const COMPARISONS: &[&str] = &["gt", "gte", "lt", "lte", "eq"];
        let entries = condition.entries_of("condition", &[COMPARISONS, others].concat())?;
        let (mut min, mut max) = (None, None);
        for (key, value) in entries.iter().filter(|(key, _)| COMPARISONS.contains(&key.as_str())) {
            let number = value.as_text().and_then(|text| text.parse::<u32>().ok());
            let number = number.ok_or_else(|| wrong_shape(key, "a whole number"))?;
            if number > COUNT_MAX {
                return Err(Problem::TooLarge { what: "correlation count", limit: COUNT_MAX as usize });
            }
            match key.as_str() {
                "gt" => min = Some(number + 1),
                "gte" => min = Some(number),
                "lt" => max = Some(number.saturating_sub(1)),
                "lte" => max = Some(number),
                _ => (min, max) = (Some(number), Some(number)),
            }
        }
        // A group exists from its first match on, so a bound below one can only be met by what never happened.
        match min {
            Some(min) if min >= 1 => Ok(Self { min, max }),
            _ => Err(Problem::NoLowerBound),
        }
    }

    pub(crate) fn hold(self, count: usize) -> bool {
        count >= self.min as usize && self.max.is_none_or(|max| count <= max as usize)
    }

    /// How many of the latest entries decide the condition.
    pub(crate) fn entries_needed(self) -> usize {
        self.max.map_or(self.min, |max| max.max(self.min) + 1) as usize
    }
}

impl Contribution {
    /// Appends what the event adds. Nothing when it lacks a group-by field or has no value to count.
    pub(crate) fn collect(&self, event: &Event<'_>, out: &mut Vec<CountedValue>) {
        let Some(group_hash) = self.group_hash(event) else {
            return;
        };
        let correlation = self.correlation;
        let start = out.len();
        let mut push = |value_hash| {
            out.push(CountedValue { correlation, group_hash, value_hash });
        };
        match &self.counted {
            Counted::Event => push(0),
            Counted::Rule(rule) => push(u64::from(rule.0)),
            Counted::Values(field) => {
                let mut values = 0;
                for_each_text(field, event, &mut |text| {
                    push(hash64(text));
                    values += 1;
                    values == VALUES_PER_EVENT_MAX
                });
                out[start..].sort_unstable();
                out.dedup();
            }
        }
    }

    fn group_hash(&self, event: &Event<'_>) -> Option<u64> {
        let mut hasher = TextHasher::default();
        for field in &self.group {
            let mut found = false;
            field.search(event, &mut |value| {
                match value {
                    Found::Text(text) => hasher.add(text),
                    Found::Value(serde_json::Value::String(text)) => hasher.add(text),
                    Found::Value(value) => hasher.add(&value.to_string()),
                }
                found = true;
                true
            });
            if !found {
                return None;
            }
        }
        Some(hasher.finish())
    }
}

/// Calls `visit` with each scalar value's text until it returns true.
fn for_each_text(field: &Field, event: &Event<'_>, visit: &mut dyn FnMut(&str) -> bool) {
    fn scalars(value: &serde_json::Value, visit: &mut dyn FnMut(&str) -> bool) -> bool {
        match value {
            serde_json::Value::Null => false,
            serde_json::Value::String(text) => visit(text),
            serde_json::Value::Array(elements) => elements.iter().any(|element| scalars(element, visit)),
            other => visit(&other.to_string()),
        }
    }
    field.search(event, &mut |found| match found {
        Found::Text(text) => visit(text),
        Found::Value(value) => scalars(value, visit),
    });
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

/// Reads `30s`, `10m`, `1h` or `7d`.
fn timespan(text: &str) -> Result<i64, Problem> {
    let unit_ms = match text.as_bytes().last() {
        Some(b's') => SECOND_MS,
        Some(b'm') => MINUTE_MS,
        Some(b'h') => HOUR_MS,
        Some(b'd') => DAY_MS,
        _ => 0,
    };
    let digits = &text[..text.len() - usize::from(unit_ms > 0)];
    let number = digits.parse::<i64>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    number
        .and_then(|number| number.checked_mul(unit_ms))
        .filter(|span| (1..=TIMESPAN_MS_MAX).contains(span))
        .ok_or_else(|| Problem::BadValue {
            field: "timespan".to_owned(),
            value: text.to_owned(),
            expected: "a number of s, m, h or d up to 30d",
        })
}

type Aliases = Vec<(String, Vec<(String, String)>)>;

fn aliases(node: &Node) -> Result<Aliases, Problem> {
    let entries = match node.get("aliases") {
        None | Some(Node::Null) => return Ok(Vec::new()),
        Some(Node::Map(entries)) if entries.len() <= GROUP_FIELDS_MAX => entries,
        Some(_) => return Err(wrong_shape("aliases", "a map with at most 16 entries")),
    };
    entries
        .iter()
        .map(|(alias, fields)| {
            let Node::Map(fields) = fields else {
                return Err(wrong_shape(alias, "a map from rule to field"));
            };
            let fields: Result<Vec<_>, Problem> = fields
                .iter()
                .map(|(rule, field)| {
                    let field = field.as_text().ok_or_else(|| wrong_shape(rule, "a field name"))?;
                    Ok((rule.clone(), field.to_owned()))
                })
                .collect();
            Ok((alias.clone(), fields?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timespans() {
        for (text, expected) in [("30s", 30 * SECOND_MS), ("10m", 10 * MINUTE_MS), ("1h", HOUR_MS), ("7d", 7 * DAY_MS)]
        {
            assert_eq!(timespan(text), Ok(expected));
        }
        for bad in ["", "m", "0m", "-1m", "+1m", "1w", "31d", "10", "1é", "99999999999999999999s", "1 m"] {
            assert!(timespan(bad).is_err(), "{bad}");
        }
    }
}
