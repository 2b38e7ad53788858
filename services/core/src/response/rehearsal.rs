//! Rehearsal: what a proposed deny would have blocked over the principal's own last days.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::iam::{Decision, Document, Request, Unknown, evaluate};
use crate::time::Timestamp;

/// Legitimate calls that a step may have blocked before it needs a person, whatever its tier.
pub const LEGITIMATE_BLOCKED_MAX: u64 = 20;
/// Kinds of call that are told by name.
const EXAMPLES_MAX: usize = 8;
/// Kinds of call that are counted apart.
const KINDS_MAX: usize = 1_024;

/// A call of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCall {
    /// `s3:GetObject`, as IAM names it.
    pub action: String,
    /// ARN of what was called on; `*` where it is not known, so that only denials of everything reach it.
    pub resource: String,
    /// ARN of the caller: the role, not its session.
    pub principal: String,
    /// When its temporary credentials were issued; `None` for long-term keys, and where the record does not say.
    pub token_issued_at: Option<Timestamp>,
    /// Whether it belongs to the case.
    pub suspected: bool,
    /// Whether AWS refused it then: such a call is not blocked by us.
    pub failed: bool,
}

/// What would have happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    pub legitimate_blocked: u64,
    pub legitimate_all: u64,
    pub suspected_blocked: u64,
    pub suspected_all: u64,
    /// Legitimate calls that were blocked most often, with their counts.
    pub examples: Vec<(String, u64)>,
}

impl Rehearsal {
    /// Whether a person has to agree although the tier asks for none.
    pub fn needs_person(&self) -> bool {
        self.legitimate_blocked > LEGITIMATE_BLOCKED_MAX
    }

    pub fn text(&self) -> String {
        let Self { legitimate_blocked, suspected_blocked, .. } = self;
        format!(
            "would have blocked {legitimate_blocked} legitimate calls, {suspected_blocked} of the suspected session"
        )
    }
}

/// What a proposal says of a step's rehearsal; who approves signs it with the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rehearsed {
    /// `since`: the past from then on. `is_cut`: there was more of it than was looked at.
    Told { since: Timestamp, is_cut: bool, told: Rehearsal },
    /// It was not rehearsed, for this reason, and whoever approves knows it.
    Skipped(String),
}

impl Rehearsed {
    /// Whether a person has to agree although the tier asks for none.
    pub fn needs_person(&self) -> bool {
        match self {
            Self::Told { is_cut, told, .. } => *is_cut || told.needs_person(),
            Self::Skipped(_) => true,
        }
    }

    pub fn text(&self) -> String {
        match self {
            Self::Told { since, is_cut, told } => {
                let more = if *is_cut { ", and there was more than was looked at" } else { "" };
                format!("{} of {} since {since}{more}", told.text(), told.legitimate_all + told.suspected_all)
            }
            Self::Skipped(why) => format!("not rehearsed: {why}"),
        }
    }
}

/// Evaluates a policy over the past. The principal has to be one that the policy would be attached to.
///
/// # Errors
/// [`Unknown`] where the policy holds what is not evaluated: then a person has to agree.
pub fn rehearse<'a>(policy: &str, past: impl IntoIterator<Item = &'a PastCall>) -> Result<Rehearsal, Unknown> {
    let document = [Document::parse(policy)?];
    let mut told = Rehearsal::default();
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for call in past.into_iter().filter(|call| !call.failed) {
        let mut context = BTreeMap::from([("aws:principalarn", call.principal.clone())]);
        context.extend(call.token_issued_at.map(|at| ("aws:tokenissuetime", at.to_string())));
        let request = Request { action: &call.action, resource: &call.resource, context };
        let blocked = u64::from(evaluate(&document, &request) == Decision::ExplicitDeny);
        if call.suspected {
            (told.suspected_all, told.suspected_blocked) = (told.suspected_all + 1, told.suspected_blocked + blocked);
            continue;
        }
        (told.legitimate_all, told.legitimate_blocked) = (told.legitimate_all + 1, told.legitimate_blocked + blocked);
        if blocked == 1 && (kinds.len() < KINDS_MAX || kinds.contains_key(call.action.as_str())) {
            *kinds.entry(&call.action).or_default() += 1;
        }
    }
    let mut kinds: Vec<(String, u64)> = kinds.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    kinds.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    kinds.truncate(EXAMPLES_MAX);
    told.examples = kinds;
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(action: &str, issued: Option<i64>, suspected: bool) -> PastCall {
        PastCall {
            action: action.to_owned(),
            resource: "*".to_owned(),
            principal: "arn:aws:iam::111122223333:role/deploy".to_owned(),
            token_issued_at: issued.map(Timestamp::from_millis),
            suspected,
            failed: false,
        }
    }

    #[test]
    fn a_revocation_blocks_what_was_issued_before() {
        let at = Timestamp::from_millis(1_722_375_082_000);
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Deny","Action":"*","Resource":"*",
            "Condition":{{"DateLessThan":{{"aws:TokenIssueTime":"{at}"}}}}}}]}}"#
        );
        let (before, after) = (Some(at.as_millis() - 1_000), Some(at.as_millis()));
        let mut past: Vec<_> = (0..212).map(|_| call("s3:GetObject", before, true)).collect();
        past.extend((0..14).map(|nth| call(if nth < 9 { "s3:ListBucket" } else { "sts:AssumeRole" }, before, false)));
        past.extend((0..50).map(|_| call("s3:PutObject", after, false)));
        past.push(call("s3:PutObject", None, false));
        past.push(PastCall { failed: true, ..call("s3:PutObject", before, false) });
        let told = rehearse(&policy, &past).expect("known");
        assert_eq!(told.text(), "would have blocked 14 legitimate calls, 212 of the suspected session");
        assert_eq!((told.legitimate_all, told.suspected_all, told.needs_person()), (65, 212, false));
        assert_eq!(told.examples, [("s3:ListBucket".to_owned(), 9), ("sts:AssumeRole".to_owned(), 5)]);
        let everything = r#"{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;
        assert!(rehearse(everything, &past).expect("known").needs_person());
        assert!(rehearse("{}", &past).is_err());
    }
}
