//! What can be wrong with a rule file. The fault is always the file's; reading it again changes nothing.

/// A rule file that was refused: where, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {}{problem}", rule.as_ref().map_or_else(String::new, |rule| format!("rule `{rule}`: ")))]
pub struct Error {
    /// The file's name, as it was given to the loader.
    pub file: String,
    /// The rule's title or id; `None` when the file could not be read as far as that.
    pub rule: Option<String>,
    pub problem: Problem,
}

/// Why a rule was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    #[error("not readable as YAML: {0}")]
    Yaml(String),
    #[error("{what} is over its limit of {limit}")]
    TooLarge { what: &'static str, limit: usize },
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{key}` must be {expected}")]
    WrongShape { key: String, expected: &'static str },
    #[error("`{key}` is not a key of `{of}`")]
    UnknownKey { key: String, of: &'static str },
    #[error("unknown modifier `{modifier}` on field `{field}`")]
    UnknownModifier { field: String, modifier: String },
    #[error("modifiers of `{0}` contradict each other")]
    ModifierConflict(String),
    #[error("`{value}` on `{field}` is not {expected}")]
    BadValue { field: String, value: String, expected: &'static str },
    #[error("regular expression `{pattern}`: {message}")]
    BadRegex { pattern: String, message: String },
    #[error("`{0}` is not a derived field")]
    UnknownDerivedField(String),
    #[error("condition: unexpected `{0}`")]
    ConditionToken(String),
    #[error("condition: ends too early")]
    ConditionEnd,
    #[error("condition refers to `{0}`, which is no selection")]
    MissingSelection(String),
    #[error("`{word}` is not a {scale}")]
    UnknownWord { word: String, scale: &'static str },
    #[error("`{word}` is not a predicate; the nearest are {}", nearest.join(", "))]
    UnknownPredicate { word: String, nearest: Vec<&'static str> },
    #[error("written for log source `{0}`, not for aws/cloudtrail")]
    LogSource(String),
    #[error("the id or name `{0}` is taken by an earlier rule")]
    Duplicate(String),
    #[error("correlation refers to `{0}`, which is no single-event rule of this set")]
    MissingRule(String),
    #[error("correlation refers to `{0}` twice")]
    RepeatedRule(String),
    #[error("correlation refers to `{0}`, a first-seen rule, whose matches say nothing before its feature is known")]
    CorrelatedFirstSeen(String),
    #[error("correlation condition must set a lower bound (gt, gte or eq)")]
    NoLowerBound,
    #[error("{0}")]
    Contradiction(&'static str),
}
