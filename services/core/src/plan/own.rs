//! Playbooks that operators write: what one says, how its file is read, and the slots of its texts.
//!
//! Core knows their shape. Which operations there are, and what each deserves, the playbooks room knows: a playbook is
//! good once both have found nothing wrong with it.

mod read;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::level::Severity;
use crate::negotiation::predicate::Predicate;
use crate::plan::Tier;
use crate::resource::ResourceKind;
use crate::response::digest;

pub use read::{FILE_BYTES_MAX, LEASE_H_MAX, read};

/// A playbook of the operator's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnPlaybook {
    /// Lower-case letters, digits and underscores; none of the menu's.
    pub name: String,
    /// Who or what is touched, for people.
    pub affects: String,
    pub answers: Answers,
    /// T1 to T3.
    pub tier: Tier,
    /// The longest that it stands before it is undone by itself.
    pub lease_h: u32,
    pub notes: Vec<String>,
    /// Reads that come first: what they keep is needed later.
    pub capture: Vec<OwnCall>,
    pub steps: Vec<OwnCall>,
    /// What shows that it stands: all of it does.
    pub checks: Vec<OwnCheck>,
    pub undo: OwnUndo,
}

/// Which cases it answers, and on what of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// What it acts on.
    pub target: ResourceKind,
    /// Claims; one of these, or of the techniques, has to stand.
    pub predicates: BTreeSet<Predicate>,
    /// ATT&CK techniques; `T1098` stands for its parts too.
    pub techniques: BTreeSet<String>,
    /// Only cases of this severity and above.
    pub severity: Severity,
    /// Only in these accounts; in all where there are none.
    pub accounts: BTreeSet<String>,
}

/// A call of an operation that the playbooks room's table knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnCall {
    pub service: String,
    pub operation: String,
    /// Parameters by their place: `UserName`, `Tags[0].Key`. Texts may have slots.
    pub with: BTreeMap<String, Texts>,
    /// What of the answer is kept: a name, and where it stands.
    pub keep: BTreeMap<String, String>,
    pub only_if: Option<Condition>,
    /// A read whose object may not be there: that is an empty answer then.
    pub may_be_absent: bool,
}

/// A parameter is a text or a list of texts, and never more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// What has to be so for a call to be made; of kept values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Known(String),
    Unknown(String),
    Is(String, String),
}

impl Condition {
    /// The kept value that it looks at.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(name) | Self::Unknown(name) | Self::Is(name, _) => name,
        }
    }
}

/// A read, and what it has to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnCheck {
    pub read: OwnCall,
    /// Where in the answer the value stands.
    pub at: String,
    pub expect: Expected,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    Equals(String),
    /// A list with this text in it.
    Contains(String),
    /// A list with an item that has these members.
    Has(BTreeMap<String, String>),
    /// A policy document with this one's statements among its own.
    Statements(String),
    Nothing,
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnUndo {
    Calls(Vec<OwnCall>),
    /// Nothing can undo it, and why; such a playbook is T2 at least.
    Nothing(String),
}

impl OwnPlaybook {
    /// sha256 of all that it says, in hexadecimal digits.
    pub fn digest(&self) -> String {
        // A struct of texts and numbers is always JSON.
        digest(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Every call, reads and undo included, with its place in the file.
    pub fn calls(&self) -> Vec<(String, &OwnCall)> {
        let listed = |part: &'static str, calls: &'_ [OwnCall]| -> Vec<(String, usize)> {
            (0..calls.len()).map(|at| (format!("{part}.{at}"), at)).collect()
        };
        let undo = match &self.undo {
            OwnUndo::Calls(calls) => calls.as_slice(),
            OwnUndo::Nothing(_) => &[],
        };
        let mut all = Vec::new();
        for (part, calls) in [("capture", self.capture.as_slice()), ("steps", &self.steps), ("undo", undo)] {
            all.extend(listed(part, calls).into_iter().map(|(place, at)| (place, &calls[at])));
        }
        all.extend(self.checks.iter().enumerate().map(|(at, check)| (format!("checks.{at}"), &check.read)));
        all
    }
}

/// A place in a file, counted from 1; 0 where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

/// What is wrong with a playbook's file, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    pub at: Place,
    pub text: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.line {
            0 => f.write_str(&self.text),
            line => write!(f, "line {line}, column {}: {}", self.at.column, self.text),
        }
    }
}

/// A playbook as far as core can read it, and where each of its parts stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub own: OwnPlaybook,
    places: BTreeMap<String, Place>,
}

impl Draft {
    /// Where a part stands: `steps.0`, `steps.0.with.UserName`; where what holds it does, if it is not known itself.
    pub fn place(&self, part: &str) -> Place {
        let mut part = part;
        loop {
            if let Some(place) = self.places.get(part) {
                return *place;
            }
            let Some((outer, _)) = part.rsplit_once('.') else { return Place::default() };
            part = outer;
        }
    }
}

/// What a text is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot<'a> {
    /// The target's bare name.
    Target,
    /// The target as the record gave it: a name, an id or an ARN.
    TargetId,
    /// The user that an access key belongs to.
    Owner,
    Account,
    Region,
    Case,
    /// A value that was kept; always the whole of a text.
    Kept(&'a str),
}

/// A stretch of a text with slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Plain(&'a str),
    Slot(Slot<'a>),
}

/// What [`pieces`] says of slots that there are.
pub const SLOTS: &str = "${target}, ${target.id}, ${owner}, ${account}, ${region}, ${case} and ${kept.NAME}";

/// Cuts a text at its slots, `${target}` and so on. There is no other templating.
///
/// # Errors
/// In words: a slot that there is not, or one that does not end.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((plain, after)) = rest.split_once("${") {
        if !plain.is_empty() {
            pieces.push(Piece::Plain(plain));
        }
        let (name, after) = after.split_once('}').ok_or("a slot that begins with ${ ends with }")?;
        let slot = match name {
            "target" => Slot::Target,
            "target.id" => Slot::TargetId,
            "owner" => Slot::Owner,
            "account" => Slot::Account,
            "region" => Slot::Region,
            "case" => Slot::Case,
            _ => match name.strip_prefix("kept.") {
                Some(name) if is_word(name) => Slot::Kept(name),
                _ => return Err(format!("there is no such slot; there are {SLOTS}")),
            },
        };
        pieces.push(Piece::Slot(slot));
        rest = after;
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Plain(rest));
    }
    if pieces.len() > 1 && pieces.iter().any(|piece| matches!(piece, Piece::Slot(Slot::Kept(_)))) {
        return Err("a kept value stands alone: nothing comes before or after it".to_owned());
    }
    Ok(pieces)
}

/// Lower-case letters, digits and underscores, a letter first; at most 64.
pub fn is_word(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_closed_and_what_is_kept_stands_alone() {
        assert_eq!(pieces(""), Ok(vec![Piece::Plain("")]));
        assert_eq!(pieces("a$b"), Ok(vec![Piece::Plain("a$b")]));
        assert_eq!(
            pieces("Lock-${case}!"),
            Ok(vec![Piece::Plain("Lock-"), Piece::Slot(Slot::Case), Piece::Plain("!")])
        );
        assert_eq!(pieces("${kept.user}"), Ok(vec![Piece::Slot(Slot::Kept("user"))]));
        for wrong in ["${", "${target", "${other}", "${aws:username}", "x${kept.user}", "${kept.X}", "${kept.}", "${}"]
        {
            assert!(pieces(wrong).is_err(), "{wrong}");
        }
    }
}
