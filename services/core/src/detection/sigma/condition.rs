//! A rule's condition: selections joined by `and`, `or`, `not`, parentheses, `1 of` and `all of`.

use super::value::{Pattern, Placement};
use crate::detection::error::Problem;

const CONDITION_BYTES_MAX: usize = 4 * 1024;
const NESTING_MAX: usize = 32;

/// A condition over a detection's selections, which it names by their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Selection(usize),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Condition {
    /// Reads a condition over the selections `names`.
    pub(crate) fn parse(text: &str, names: &[&str]) -> Result<Self, Problem> {
        if text.len() > CONDITION_BYTES_MAX {
            return Err(Problem::TooLarge { what: "condition in bytes", limit: CONDITION_BYTES_MAX });
        }
        let mut parser = Parser { words: words(text), next: 0, names };
        let condition = parser.alternatives(0)?;
        match parser.peek() {
            None => Ok(condition),
            Some(word) => Err(Problem::ConditionToken(word.to_owned())),
        }
    }
}

/// Splits at white space; parentheses are words of their own.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for chunk in text.split_whitespace() {
        for part in chunk.split_inclusive(['(', ')']) {
            let word = part.trim_end_matches(['(', ')']);
            words.extend([word, &part[word.len()..]].into_iter().filter(|word| !word.is_empty()));
        }
    }
    words
}

struct Parser<'t> {
    words: Vec<&'t str>,
    next: usize,
    names: &'t [&'t str],
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t str> {
        self.words.get(self.next).copied()
    }

    fn take(&mut self) -> Result<&'t str, Problem> {
        let word = self.peek().ok_or(Problem::ConditionEnd)?;
        self.next += 1;
        Ok(word)
    }

    /// Takes the next word if it is the keyword and no selection of that name exists.
    fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.eq_ignore_ascii_case(keyword) && !self.names.contains(&word));
        self.next += usize::from(found);
        found
    }

    fn alternatives(&mut self, depth: usize) -> Result<Condition, Problem> {
        let mut parts = vec![self.conjunction(depth)?];
        while self.take_keyword("or") {
            parts.push(self.conjunction(depth)?);
        }
        Ok(joined(parts, Condition::Any))
    }

    fn conjunction(&mut self, depth: usize) -> Result<Condition, Problem> {
        let mut parts = vec![self.negation(depth)?];
        while self.take_keyword("and") {
            parts.push(self.negation(depth)?);
        }
        Ok(joined(parts, Condition::All))
    }

    fn negation(&mut self, depth: usize) -> Result<Condition, Problem> {
        if depth > NESTING_MAX {
            return Err(Problem::TooLarge { what: "nesting of the condition", limit: NESTING_MAX });
        }
        if self.take_keyword("not") {
            return Ok(Condition::Not(Box::new(self.negation(depth + 1)?)));
        }
        if self.take_keyword("(") {
            let inner = self.alternatives(depth + 1)?;
            return match self.take()? {
                ")" => Ok(inner),
                other => Err(Problem::ConditionToken(other.to_owned())),
            };
        }
        self.operand()
    }

    fn operand(&mut self) -> Result<Condition, Problem> {
        let word = self.take()?;
        if let Some(place) = self.names.iter().position(|name| *name == word) {
            return Ok(Condition::Selection(place));
        }
        let quantified = self.peek().is_some_and(|next| next.eq_ignore_ascii_case("of"));
        if !quantified {
            return Err(if is_name(word) {
                Problem::MissingSelection(word.to_owned())
            } else {
                Problem::ConditionToken(word.to_owned())
            });
        }
        let join = match word.to_ascii_lowercase().as_str() {
            "1" | "any" => Condition::Any,
            "all" => Condition::All,
            _ => return Err(Problem::ConditionToken(word.to_owned())),
        };
        self.next += 1;
        let pattern = self.take()?;
        Ok(joined(self.selected(pattern)?, join))
    }

    /// The selections that a pattern names. `them` is all but those whose name starts with an underscore.
    fn selected(&self, pattern: &str) -> Result<Vec<Condition>, Problem> {
        let them = pattern.eq_ignore_ascii_case("them");
        let compiled = Pattern::new(pattern, Placement::Whole, true);
        let places = self
            .names
            .iter()
            .enumerate()
            .filter(|(_, name)| if them { !name.starts_with('_') } else { compiled.matches(name) });
        let selected: Vec<Condition> = places.map(|(place, _)| Condition::Selection(place)).collect();
        if selected.is_empty() {
            return Err(Problem::MissingSelection(pattern.to_owned()));
        }
        Ok(selected)
    }
}

pub(crate) fn joined(mut parts: Vec<Condition>, join: fn(Vec<Condition>) -> Condition) -> Condition {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => join(parts),
    }
}

/// Whether a word could name a selection at all.
fn is_name(word: &str) -> bool {
    let keyword = ["and", "or", "not", "of", "them"].iter().any(|keyword| word.eq_ignore_ascii_case(keyword));
    !keyword && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["a", "b", "sel_1", "sel_2", "_helper"];

    /// Evaluates with `a`, `b`, `sel_1`, `sel_2`, `_helper` as given.
    fn value(condition: &Condition, facts: [bool; 5]) -> bool {
        match condition {
            Condition::Selection(place) => facts[*place],
            Condition::Not(inner) => !value(inner, facts),
            Condition::All(parts) => parts.iter().all(|part| value(part, facts)),
            Condition::Any(parts) => parts.iter().any(|part| value(part, facts)),
        }
    }

    #[test]
    fn forms_mean_what_they_say() {
        type Meaning = fn([bool; 5]) -> bool;
        #[rustfmt::skip]
        let cases: &[(&str, Meaning)] = &[
            ("a", |[a, ..]| a),
            ("not a", |[a, ..]| !a),
            ("not not a", |[a, ..]| a),
            ("a and b", |[a, b, ..]| a && b),
            ("a or b and sel_1", |[a, b, s, ..]| a || (b && s)),
            ("(a or b) and sel_1", |[a, b, s, ..]| (a || b) && s),
            ("((a)or(b))and not(sel_1)", |[a, b, s, ..]| (a || b) && !s),
            ("not a and b", |[a, b, ..]| !a && b),
            ("a AND NOT b", |[a, b, ..]| a && !b),
            ("1 of sel_*", |[_, _, s, t, _]| s || t),
            ("any of sel_*", |[_, _, s, t, _]| s || t),
            ("all of sel_*", |[_, _, s, t, _]| s && t),
            ("a and not 1 of sel_*", |[a, _, s, t, _]| a && !(s || t)),
            ("1 of them", |[a, b, s, t, _]| a || b || s || t),
            ("all of them", |[a, b, s, t, _]| a && b && s && t),
            ("all of them and _helper", |[a, b, s, t, h]| a && b && s && t && h),
            ("1 of *_1", |[_, _, s, ..]| s),
            ("1 of a", |[a, ..]| a),
        ];
        for (text, meaning) in cases {
            let condition = Condition::parse(text, NAMES).expect(text);
            for bits in 0..32_u32 {
                let facts = std::array::from_fn(|place| bits >> place & 1 == 1);
                assert_eq!(value(&condition, facts), meaning(facts), "{text} with {facts:?}");
            }
        }
    }

    #[test]
    fn what_is_not_a_condition_is_named() {
        let token = |word: &str| Problem::ConditionToken(word.to_owned());
        let missing = |name: &str| Problem::MissingSelection(name.to_owned());
        let cases = [
            ("", Problem::ConditionEnd),
            ("a and", Problem::ConditionEnd),
            ("(a", Problem::ConditionEnd),
            ("a)", token(")")),
            ("a b", token("b")),
            ("and a", token("and")),
            ("c", missing("c")),
            ("1 of c*", missing("c*")),
            ("3 of sel_*", token("3")),
            ("a | count() > 5", token("|")),
            ("$x", token("$x")),
            ("()", token(")")),
        ];
        for (text, problem) in cases {
            assert_eq!(Condition::parse(text, NAMES), Err(problem), "{text}");
        }
        for deep in ["(".repeat(100) + "a", "not ".repeat(100) + "a", "a or ".repeat(1_000) + "a"] {
            assert!(matches!(Condition::parse(&deep, NAMES), Err(Problem::TooLarge { .. })), "{deep}");
        }
    }
}
