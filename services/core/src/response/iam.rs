//! An evaluator of the IAM statements that playbooks put in place: effect, action, resource, and the conditions that are
//! used. What it does not know it refuses to read, so that it never guesses.
//! Source: AWS IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition operators".

use std::collections::BTreeMap;

use serde_json::Value;

use crate::time::Timestamp;

/// A policy document that can be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Statement {
    deny: bool,
    actions: Patterns,
    resources: Patterns,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq)]
struct Patterns {
    texts: Vec<String>,
    /// `NotAction`, `NotResource`.
    inverted: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Condition {
    operator: Operator,
    negated: bool,
    if_exists: bool,
    key: String,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
    Bool,
    DateEquals,
    DateLessThan,
    DateLessThanEquals,
    DateGreaterThan,
    DateGreaterThanEquals,
    Null,
}

/// Who asks for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// `iam:CreateUser`.
    pub action: &'a str,
    /// An ARN; `*` where the call names none.
    pub resource: &'a str,
    /// Condition keys in small letters, with their values.
    pub context: BTreeMap<&'a str, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    ImplicitDeny,
    ExplicitDeny,
}

/// An element that is not known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy cannot be evaluated: {0}")]
pub struct Unknown(String);

fn unknown<T>(what: impl Into<String>) -> Result<T, Unknown> {
    Err(Unknown(what.into()))
}

impl Document {
    /// # Errors
    /// [`Unknown`] for whatever could change the answer and is not understood.
    pub fn parse(text: &str) -> Result<Self, Unknown> {
        let Ok(Value::Object(document)) = serde_json::from_str(text) else {
            return unknown("it is no JSON object");
        };
        if let Some(other) = document.keys().find(|key| !["Version", "Id", "Statement"].contains(&key.as_str())) {
            return unknown(format!("{other:?}"));
        }
        let statements = match document.get("Statement") {
            Some(Value::Array(items)) => items.iter().map(statement).collect::<Result<_, _>>()?,
            Some(one @ Value::Object(_)) => vec![statement(one)?],
            _ => return unknown("it has no statement"),
        };
        Ok(Self { statements })
    }

    /// A principal is not evaluated: the document is asked about those that it is attached to.
    fn applies(&self, request: &Request<'_>) -> impl Iterator<Item = &Statement> {
        self.statements.iter().filter(move |statement| statement.matches(request))
    }
}

/// Evaluates policies of one kind together: an explicit deny wins, then an allow, else nothing is allowed.
pub fn evaluate(documents: &[Document], request: &Request<'_>) -> Decision {
    let applying: Vec<_> = documents.iter().flat_map(|document| document.applies(request)).collect();
    if applying.iter().any(|statement| statement.deny) {
        Decision::ExplicitDeny
    } else if applying.is_empty() {
        Decision::ImplicitDeny
    } else {
        Decision::Allow
    }
}

fn statement(value: &Value) -> Result<Statement, Unknown> {
    let Some(members) = value.as_object() else {
        return unknown("a statement is no object");
    };
    let known = ["Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"];
    if let Some(other) = members.keys().find(|key| !known.contains(&key.as_str())) {
        return unknown(format!("{other:?}"));
    }
    if members.get("Principal").is_some_and(|principal| principal != "*") {
        return unknown("a principal other than *");
    }
    let deny = match members.get("Effect").and_then(Value::as_str) {
        Some("Deny") => true,
        Some("Allow") => false,
        _ => return unknown("an effect"),
    };
    let patterns = |own: &str, not: &str| match (members.get(own), members.get(not)) {
        (Some(value), None) => Ok(Some(Patterns { texts: texts(value)?, inverted: false })),
        (None, Some(value)) => Ok(Some(Patterns { texts: texts(value)?, inverted: true })),
        (None, None) => Ok(None),
        _ => unknown(format!("{own} and {not} together")),
    };
    let Some(actions) = patterns("Action", "NotAction")? else {
        return unknown("a statement without actions");
    };
    // Trust policies name no resource: it is the role that they are attached to.
    let everything = || Patterns { texts: vec!["*".to_owned()], inverted: false };
    let resources = patterns("Resource", "NotResource")?.unwrap_or_else(everything);
    let mut conditions = Vec::new();
    for (operator, keys) in members.get("Condition").and_then(Value::as_object).into_iter().flatten() {
        let Some(keys) = keys.as_object() else {
            return unknown("a condition");
        };
        for (key, values) in keys {
            conditions.push(condition(operator, key, texts(values)?)?);
        }
    }
    if members.get("Condition").is_some_and(|condition| !condition.is_object()) {
        return unknown("a condition");
    }
    Ok(Statement { deny, actions, resources, conditions })
}

fn texts(value: &Value) -> Result<Vec<String>, Unknown> {
    let text = |value: &Value| match value {
        Value::String(text) if !text.contains("${") => Ok(text.clone()),
        Value::Bool(yes) => Ok(yes.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        _ => unknown(format!("the value {value}")),
    };
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

fn condition(operator: &str, key: &str, values: Vec<String>) -> Result<Condition, Unknown> {
    let (bare, if_exists) = operator.strip_suffix("IfExists").map_or((operator, false), |bare| (bare, true));
    let (kind, negated) = match bare {
        "StringEquals" => (Operator::StringEquals, false),
        "StringNotEquals" => (Operator::StringEquals, true),
        "StringEqualsIgnoreCase" => (Operator::StringEqualsIgnoreCase, false),
        "StringNotEqualsIgnoreCase" => (Operator::StringEqualsIgnoreCase, true),
        // For ARNs the two are the same, and both take wildcards.
        "StringLike" | "ArnLike" | "ArnEquals" => (Operator::StringLike, false),
        "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => (Operator::StringLike, true),
        "Bool" => (Operator::Bool, false),
        "DateEquals" => (Operator::DateEquals, false),
        "DateNotEquals" => (Operator::DateEquals, true),
        "DateLessThan" => (Operator::DateLessThan, false),
        "DateLessThanEquals" => (Operator::DateLessThanEquals, false),
        "DateGreaterThan" => (Operator::DateGreaterThan, false),
        "DateGreaterThanEquals" => (Operator::DateGreaterThanEquals, false),
        "Null" => (Operator::Null, false),
        other => return unknown(format!("the operator {other}")),
    };
    let is_date = bare.starts_with("Date");
    if is_date && values.iter().any(|value| Timestamp::parse(value).is_none()) {
        return unknown("a date");
    }
    Ok(Condition { operator: kind, negated, if_exists, key: key.to_ascii_lowercase(), values })
}

impl Statement {
    fn matches(&self, request: &Request<'_>) -> bool {
        // Actions are compared without regard to case.
        let action = request.action.to_ascii_lowercase();
        let act = self.actions.any(|pattern| like(&pattern.to_ascii_lowercase(), &action));
        act && self.resources.any(|pattern| like(pattern, request.resource))
            && self.conditions.iter().all(|condition| condition.holds(request))
    }
}

impl Patterns {
    fn any(&self, matches: impl Fn(&str) -> bool) -> bool {
        self.texts.iter().any(|text| matches(text)) != self.inverted
    }
}

impl Condition {
    fn holds(&self, request: &Request<'_>) -> bool {
        let given = request.context.get(self.key.as_str());
        if self.operator == Operator::Null {
            let wanted_absent = self.values.iter().any(|value| value == "true");
            return given.is_none() == wanted_absent;
        }
        let Some(given) = given else {
            // A key that is not in the request: what is to equal it does not, what is not to equal it does.
            return self.if_exists || self.negated;
        };
        self.values.iter().any(|value| self.operator.matches(value, given)) != self.negated
    }
}

impl Operator {
    fn matches(self, value: &str, given: &str) -> bool {
        let dates = || Timestamp::parse(given).zip(Timestamp::parse(value));
        match self {
            Self::StringEquals => value == given,
            Self::StringEqualsIgnoreCase | Self::Bool => value.eq_ignore_ascii_case(given),
            Self::StringLike => like(value, given),
            Self::DateEquals => dates().is_some_and(|(given, value)| given == value),
            Self::DateLessThan => dates().is_some_and(|(given, value)| given < value),
            Self::DateLessThanEquals => dates().is_some_and(|(given, value)| given <= value),
            Self::DateGreaterThan => dates().is_some_and(|(given, value)| given > value),
            Self::DateGreaterThanEquals => dates().is_some_and(|(given, value)| given >= value),
            Self::Null => false,
        }
    }
}

/// `*` stands for any characters, `?` for one. In time linear in the pattern for each character.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the latest `*` stands, and what it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') => (p, t) = (p + 1, t + 1),
            Some(byte) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decide(statements: &[Value], action: &str, resource: &str, context: &[(&'static str, &str)]) -> Decision {
        let text = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        let document = Document::parse(&text).expect("known");
        let context = context.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        evaluate(&[document], &Request { action, resource, context })
    }

    /// The published logic: nothing said is an implicit deny, an allow allows, an explicit deny wins wherever it stands.
    #[test]
    fn explicit_deny_wins_then_allow_then_nothing() {
        let allow = json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "*" });
        let deny = json!({ "Effect": "Deny", "Action": "s3:Delete*", "Resource": "arn:aws:s3:::b/*" });
        for (statements, action, resource, expect) in [
            (vec![], "s3:GetObject", "*", Decision::ImplicitDeny),
            (vec![&allow], "s3:GetObject", "arn:aws:s3:::b/k", Decision::Allow),
            (vec![&allow], "S3:getobject", "arn:aws:s3:::b/k", Decision::Allow),
            (vec![&allow], "iam:CreateUser", "*", Decision::ImplicitDeny),
            (vec![&allow, &deny], "s3:DeleteObject", "arn:aws:s3:::b/k", Decision::ExplicitDeny),
            (vec![&deny, &allow], "s3:DeleteObject", "arn:aws:s3:::b/k", Decision::ExplicitDeny),
            (vec![&allow, &deny], "s3:DeleteObject", "arn:aws:s3:::other/k", Decision::Allow),
            (vec![&allow, &deny], "s3:DeleteObject", "arn:aws:s3:::B/k", Decision::Allow),
            (vec![&deny], "s3:GetObject", "arn:aws:s3:::b/k", Decision::ImplicitDeny),
        ] {
            let statements: Vec<_> = statements.into_iter().cloned().collect();
            assert_eq!(decide(&statements, action, resource, &[]), expect, "{action} {resource}");
        }
        let not = json!({ "Effect": "Deny", "NotAction": ["iam:*", "sts:*"], "Resource": "*" });
        assert_eq!(decide(std::slice::from_ref(&not), "s3:GetObject", "*", &[]), Decision::ExplicitDeny);
        assert_eq!(decide(&[not], "iam:GetUser", "*", &[]), Decision::ImplicitDeny);
    }

    #[test]
    fn conditions_hold_as_published() {
        let check = |operator: &str, key: &str, value: Value, context: &[(&'static str, &str)], expect: bool| {
            let condition = json!({ operator: { key: value } });
            let deny = json!({ "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition });
            let decision = decide(&[deny], "s3:GetObject", "*", context);
            assert_eq!(decision == Decision::ExplicitDeny, expect, "{operator} {value} {context:?}");
        };
        let issued = |time| [("aws:tokenissuetime", time)];
        let at = json!("2024-07-30T21:31:22Z");
        check("DateLessThan", "aws:TokenIssueTime", at.clone(), &issued("2024-07-30T21:31:21Z"), true);
        check("DateLessThan", "aws:TokenIssueTime", at.clone(), &issued("2024-07-30T21:31:22Z"), false);
        // Long-term keys have no such time.
        check("DateLessThan", "aws:TokenIssueTime", at.clone(), &[], false);
        check("DateLessThanIfExists", "aws:TokenIssueTime", at.clone(), &[], true);
        check("DateGreaterThanEquals", "aws:TokenIssueTime", at, &issued("2024-07-30T21:31:22Z"), true);
        let executor = json!("arn:aws:iam::*:role/TrailwardenExecutor");
        let who = |arn| [("aws:principalarn", arn)];
        let own = who("arn:aws:iam::111122223333:role/TrailwardenExecutor");
        check("ArnNotLike", "aws:PrincipalArn", executor.clone(), &own, false);
        check("ArnNotLike", "aws:PrincipalArn", executor.clone(), &who("arn:aws:iam::1:user/alice"), true);
        check("ArnNotLike", "aws:PrincipalArn", executor.clone(), &[], true);
        check("ArnLike", "aws:PrincipalArn", executor, &[], false);
        check("StringEquals", "aws:PrincipalOrgID", json!(["o-1", "o-2"]), &[("aws:principalorgid", "o-2")], true);
        check("StringNotEquals", "aws:PrincipalOrgID", json!(["o-1", "o-2"]), &[("aws:principalorgid", "o-2")], false);
        check("StringEqualsIgnoreCase", "aws:X", json!("A"), &[("aws:x", "a")], true);
        check("Bool", "aws:MultiFactorAuthPresent", json!(false), &[("aws:multifactorauthpresent", "false")], true);
        check("Bool", "aws:MultiFactorAuthPresent", json!("false"), &[], false);
        check("BoolIfExists", "aws:MultiFactorAuthPresent", json!("false"), &[], true);
        check("Null", "aws:TokenIssueTime", json!("true"), &[], true);
        check("Null", "aws:TokenIssueTime", json!("false"), &issued("x"), true);
    }

    #[test]
    fn all_conditions_of_a_statement_have_to_hold() {
        let condition = json!({ "StringEquals": { "a": "1", "b": "2" }, "Bool": { "c": "true" } });
        let deny = json!({ "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition });
        let all = [("a", "1"), ("b", "2"), ("c", "true")];
        assert_eq!(decide(std::slice::from_ref(&deny), "x:Y", "*", &all), Decision::ExplicitDeny);
        assert_eq!(decide(&[deny], "x:Y", "*", &all[..2]), Decision::ImplicitDeny);
    }

    #[test]
    fn wildcards() {
        for (pattern, text, expect) in [
            ("*", "", true),
            ("a*b?c", "axxbyc", true),
            ("a*b?c", "abc", false),
            ("a*b*c", "abbbbc", true),
            ("", "a", false),
            ("?", "", false),
            ("*a", "ba", true),
            ("*a*", "bbabb", true),
        ] {
            assert_eq!(like(pattern, text), expect, "{pattern} {text}");
        }
        let long = "a".repeat(10_000);
        assert!(!like(&"*a".repeat(50), &format!("{long}b")));
    }

    #[test]
    fn what_is_not_known_is_not_read() {
        let statement = |extra: Value| {
            let mut statement = json!({ "Effect": "Deny", "Action": "*", "Resource": "*" });
            for (key, value) in extra.as_object().into_iter().flatten() {
                statement[key] = value.clone();
            }
            json!({ "Statement": [statement] }).to_string()
        };
        assert!(Document::parse(&statement(json!({}))).is_ok());
        for text in [
            statement(json!({ "Effect": "Maybe" })),
            statement(json!({ "Principal": { "AWS": "arn:aws:iam::1:root" } })),
            statement(json!({ "Condition": { "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } } })),
            statement(json!({ "Condition": { "ForAnyValue:StringEquals": { "a": "b" } } })),
            statement(json!({ "Condition": { "DateLessThan": { "a": "tomorrow" } } })),
            statement(json!({ "Condition": [] })),
            statement(json!({ "Resource": "arn:aws:s3:::${aws:username}" })),
            statement(json!({ "NotAction": "*" })),
            statement(json!({ "Other": 1 })),
            "[]".to_owned(),
            "{}".to_owned(),
            String::new(),
        ] {
            assert!(Document::parse(&text).is_err(), "{text}");
        }
    }
}
