//! The languages that a person reads about a case in: what the council says as facts
//! ([`said`](crate::negotiation::said)) becomes sentences here, in one file a language.
//!
//! Both are closed: a claim, feature, reason or word without its sentence does not compile, or a test names it. What a
//! caller, an operator's rule or a model wrote is quoted as it stands, and machine fields are the same in every language.

mod english;
mod english_features;
mod korean;
mod korean_claims;
mod korean_features;
pub mod particle;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::level::{Severity, UnknownWord, Verdict};
use crate::negotiation::group::Group;
use crate::negotiation::predicate::Predicate;
use crate::negotiation::said::{Counterfactual, Hold, Measured, Said, Summary};
use crate::negotiation::{Role, Route};

/// A language that cases are told in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Language {
    #[default]
    #[serde(rename = "en")]
    English,
    #[serde(rename = "ko")]
    Korean,
}

macro_rules! told {
    ($($(#[$meta:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $back:ty;)+) => {
        impl Language {
            $($(#[$meta])* pub fn $name(self, $($argument: $kind),*) -> $back {
                match self {
                    Self::English => english::$name($($argument),*),
                    Self::Korean => korean::$name($($argument),*),
                }
            })+
        }
    };
}

told! {
    /// One sentence: who did what, where.
    summary(summary: &Summary) -> String;
    /// A reason as a sentence.
    reason(said: &Said) -> String;
    /// A claim that another one undercut, and why, in two sentences.
    undercut(claim: Predicate, by: Predicate) -> String;
    /// A claim of the vocabulary as a sentence.
    claim(predicate: Predicate) -> &'static str;
    /// The smallest change that gives another verdict, as a sentence.
    counterfactual(found: &Counterfactual) -> String;
    /// One thing that keeps a case with a person, as the part of a sentence.
    hold(hold: &Hold) -> String;
    /// Where a case goes next, and why.
    route(route: &Route) -> String;
    severity(severity: Severity) -> &'static str;
    verdict(verdict: Verdict) -> &'static str;
    role(role: Role) -> &'static str;
    /// What the check found about a claim that did not survive: `ungrounded` and the like; others as they stand.
    finding(finding: &str) -> String;
    /// What a feature measures, without its value.
    feature(feature: Feature) -> &'static str;
    /// A feature with its value, unit and weight.
    measured(measured: &Measured) -> String;
    /// A group of features as it would be if nothing were unusual.
    group(group: Group) -> &'static str;
}

impl Language {
    pub const ALL: &'static [Language] = &[Language::English, Language::Korean];

    /// As BCP 47 has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Language {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.iter().find(|language| language.as_str() == text);
        known.copied().ok_or_else(|| UnknownWord { word: text.to_owned(), known: &["en", "ko"] })
    }
}

#[cfg(test)]
mod tests;
