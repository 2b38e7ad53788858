//! `field|modifier|modifier`: which test the values of a field are compiled to.

use regex::RegexBuilder;

use super::document::{Node, wrong_shape};
use super::field::Field;
use super::matcher::{Comparison, Matcher, Network};
use super::value::{Pattern, Placement};
use crate::detection::error::Problem;

const VALUE_BYTES_MAX: usize = 4 * 1024;
const VALUES_MAX: usize = 4_096;
/// Compiled size of one regular expression.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// A field name with its modifiers, read.
#[derive(Debug)]
pub(crate) struct Modified<'t> {
    pub(crate) field: &'t str,
    /// Every value must be met, not any.
    pub(crate) all: bool,
    kind: Kind,
    placement: Option<Placement>,
    cased: bool,
    flags: RegexFlags,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Text,
    Regex,
    Cidr,
    Exists,
    Reference,
    Number(Comparison),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RegexFlags {
    ignore_case: bool,
    multi_line: bool,
    dot_matches_new_line: bool,
}

impl<'t> Modified<'t> {
    pub(crate) fn parse(key: &'t str) -> Result<Self, Problem> {
        let mut words = key.split('|');
        let mut read = Self {
            field: words.next().unwrap_or_default(),
            all: false,
            kind: Kind::Text,
            placement: None,
            cased: false,
            flags: RegexFlags::default(),
        };
        for word in words {
            read.add(word, key)?;
        }
        let fits = match read.kind {
            Kind::Text | Kind::Reference => true,
            Kind::Regex | Kind::Cidr | Kind::Number(_) => read.placement.is_none() && !read.cased,
            Kind::Exists => read.placement.is_none() && !read.cased && !read.all,
        };
        if !fits || (read.kind != Kind::Regex && read.flags != RegexFlags::default()) {
            return Err(Problem::ModifierConflict(key.to_owned()));
        }
        Ok(read)
    }

    fn add(&mut self, word: &str, key: &str) -> Result<(), Problem> {
        let kind = match word {
            "all" => return once(&mut self.all, key),
            "cased" => return once(&mut self.cased, key),
            "i" => return once(&mut self.flags.ignore_case, key),
            "m" => return once(&mut self.flags.multi_line, key),
            "s" => return once(&mut self.flags.dot_matches_new_line, key),
            "contains" => return self.place(Placement::Inside, key),
            "startswith" => return self.place(Placement::Start, key),
            "endswith" => return self.place(Placement::End, key),
            "re" => Kind::Regex,
            "cidr" => Kind::Cidr,
            "exists" => Kind::Exists,
            "fieldref" => Kind::Reference,
            "gt" => Kind::Number(Comparison::Greater),
            "gte" => Kind::Number(Comparison::GreaterOrEqual),
            "lt" => Kind::Number(Comparison::Less),
            "lte" => Kind::Number(Comparison::LessOrEqual),
            _ => {
                return Err(Problem::UnknownModifier { field: self.field.to_owned(), modifier: word.to_owned() });
            }
        };
        if self.kind != Kind::Text {
            return Err(Problem::ModifierConflict(key.to_owned()));
        }
        self.kind = kind;
        Ok(())
    }

    fn place(&mut self, placement: Placement, key: &str) -> Result<(), Problem> {
        match self.placement.replace(placement) {
            None => Ok(()),
            Some(_) => Err(Problem::ModifierConflict(key.to_owned())),
        }
    }

    /// Compiles the values that stand beside the field: one, or a list.
    pub(crate) fn matchers(&self, values: &Node) -> Result<Vec<Matcher>, Problem> {
        let values = match values {
            Node::List(values) => values.as_slice(),
            single => std::slice::from_ref(single),
        };
        if values.is_empty() {
            return Err(wrong_shape(self.field, "a value or a list that has some"));
        }
        if values.len() > VALUES_MAX {
            return Err(Problem::TooLarge { what: "number of values of a field", limit: VALUES_MAX });
        }
        values.iter().map(|value| self.matcher(value)).collect()
    }

    fn matcher(&self, value: &Node) -> Result<Matcher, Problem> {
        let text = match value {
            Node::Text(text) if text.len() > VALUE_BYTES_MAX => {
                return Err(Problem::TooLarge { what: "value in bytes", limit: VALUE_BYTES_MAX });
            }
            Node::Text(text) => text,
            Node::Null if self.kind == Kind::Text && self.placement.is_none() => return Ok(Matcher::Null),
            Node::Null => return Err(self.bad("null", "a value that fits the modifier")),
            Node::List(_) | Node::Map(_) => return Err(wrong_shape(self.field, "a value or a list of values")),
        };
        match self.kind {
            Kind::Text => {
                let placement = self.placement.unwrap_or(Placement::Whole);
                Ok(Matcher::Pattern(Pattern::new(text, placement, self.cased)))
            }
            Kind::Regex => self.regex(text),
            Kind::Cidr => {
                Network::parse(text).map(Matcher::Cidr).ok_or_else(|| self.bad(text, "a network such as 10.0.0.0/8"))
            }
            Kind::Exists => text.parse().map(Matcher::Exists).map_err(|_| self.bad(text, "true or false")),
            Kind::Reference => Ok(Matcher::Reference {
                field: Field::new(text)?,
                placement: self.placement.unwrap_or(Placement::Whole),
                cased: self.cased,
            }),
            Kind::Number(comparison) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Matcher::Number(comparison, number)),
                _ => Err(self.bad(text, "a number")),
            },
        }
    }

    fn regex(&self, pattern: &str) -> Result<Matcher, Problem> {
        RegexBuilder::new(pattern)
            .case_insensitive(self.flags.ignore_case)
            .multi_line(self.flags.multi_line)
            .dot_matches_new_line(self.flags.dot_matches_new_line)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build()
            .map(Matcher::Regex)
            .map_err(|error| Problem::BadRegex { pattern: pattern.to_owned(), message: error.to_string() })
    }

    fn bad(&self, value: &str, expected: &'static str) -> Problem {
        Problem::BadValue { field: self.field.to_owned(), value: value.to_owned(), expected }
    }
}

fn once(flag: &mut bool, key: &str) -> Result<(), Problem> {
    match std::mem::replace(flag, true) {
        false => Ok(()),
        true => Err(Problem::ModifierConflict(key.to_owned())),
    }
}
