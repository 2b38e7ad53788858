//! One AWS call as data, and the names that calls are about.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};
use trailwarden_core::plan::Action;
use trailwarden_core::resource::ResourceKind;
use trailwarden_core::time::Timestamp;

use crate::CaseContext;

/// One AWS call, as the API models name it.
///
/// A value that is not known before the step runs is an object with one key: [`CAPTURED`] for what an earlier
/// call of the same step keeps, [`SUPPLIED`] for what the executor or a person provides. An object, so that no
/// name in a record can pass for one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Call {
    /// As CloudTrail's event source and botocore name it: `iam`, `ec2`, `config`.
    pub service: &'static str,
    /// `UpdateAccessKey`.
    pub operation: &'static str,
    /// Parameters by their API names.
    pub parameters: Value,
    /// Where to call; `None` for services without regions, or where the record names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What to remember of the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keeps: Vec<Kept>,
    /// The call is made only so; always without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// Made once for each place of these kept lists, which have equally many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub each: Vec<&'static str>,
    /// What the call would make may be there already, made before a crash: looked up first, and kept as its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unless: Option<Box<Lookup>>,
    /// Error codes that are an answer here: what is to be read is not there, what is to be done needs no doing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerates: Vec<&'static str>,
}

/// What has to be so for a call to be made. Names are those of [`Kept`] and of supplied values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    Known(Cow<'static, str>),
    Unknown(Cow<'static, str>),
    Is(Cow<'static, str>, Cow<'static, str>),
}

/// A read, and where in its answer the value is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lookup {
    pub call: Call,
    /// As in [`Kept`]; `[?Name=='x']` picks items of a list.
    pub path: String,
}

/// A read that shows whether a step stands. Where its call is not to be made, there is nothing that it has to show.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    pub read: Lookup,
    pub expect: Expect,
}

/// What a read has to show. Values may hold captured ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    Equals(Value),
    /// This and nothing beside it, as what AWS answers: what is empty may be left out.
    Same(Value),
    /// A list with an item that has at least these members.
    Contains(Value),
    /// A list of at least one, each of them this.
    Every(Value),
    /// A policy document with this one's statements among its own.
    Statements(String),
    /// Nothing, or not there.
    Nothing,
    /// At least one.
    Any,
}

/// A policy document made of one that was captured (or of nothing) by adding another's statements.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Derived {
    pub name: &'static str,
    pub from: &'static str,
    pub adding: String,
}

/// A value of a call's answer that later calls use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// What [`CAPTURED`] refers to; lower-case letters, digits and underscores.
    pub name: Cow<'static, str>,
    /// Where it is in the answer, as a JMESPath of member names and `[]`; `@` is the whole answer.
    pub path: Cow<'static, str>,
    /// An answer that means as much as none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unset: Option<&'static str>,
}

pub const CAPTURED: &str = "$captured";
pub const SUPPLIED: &str = "$supplied";

pub(crate) fn captured(name: &str) -> Value {
    json!({ CAPTURED: name })
}

pub(crate) fn supplied(name: &'static str) -> Value {
    json!({ SUPPLIED: name })
}

impl Call {
    /// A call of a service without regions.
    pub(crate) fn global(service: &'static str, operation: &'static str, parameters: Value) -> Self {
        Self { service, operation, parameters, ..Self::default() }
    }

    pub(crate) fn when(self, when: When) -> Self {
        Self { when: Some(when), ..self }
    }

    pub(crate) fn each(self, lists: &[&'static str]) -> Self {
        Self { each: lists.to_vec(), ..self }
    }

    pub(crate) fn unless(self, call: Self, path: impl Into<String>) -> Self {
        Self { unless: Some(Box::new(Lookup { call, path: path.into() })), ..self }
    }

    pub(crate) fn tolerating(self, codes: &[&'static str]) -> Self {
        Self { tolerates: codes.to_vec(), ..self }
    }

    /// A check by this read.
    pub(crate) fn shows(self, path: impl Into<String>, expect: Expect) -> Check {
        Check { read: Lookup { call: self, path: path.into() }, expect }
    }

    pub(crate) fn keeping(self, keeps: &[Kept]) -> Self {
        Self { keeps: keeps.to_vec(), ..self }
    }
}

pub(crate) fn kept(name: &'static str, path: &'static str) -> Kept {
    Kept { name: name.into(), path: path.into(), unset: None }
}

/// An action's target with the names that its calls need.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// As the record gave it: a name, an id or an ARN.
    pub(crate) id: &'a str,
    /// The last part of an ARN, else the id: what IAM, EC2 and S3 want.
    pub(crate) name: &'a str,
    pub(crate) owner: Option<&'a str>,
    /// 12 digits, else empty.
    pub(crate) account: &'a str,
    region: &'a str,
    /// The case's id, fit for AWS names and tags.
    pub(crate) case: String,
    pub(crate) reference_time: Timestamp,
    pub(crate) kind: ResourceKind,
}

/// How much of a case's id goes into names; AWS's narrowest limit here is 128 characters.
const CASE_CHARS_MAX: usize = 64;

impl<'a> Target<'a> {
    pub(crate) fn new(action: &'a Action, case: &CaseContext<'_>) -> Self {
        let resource = &action.target;
        let account = resource.account.as_str();
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        Self {
            id: &resource.id,
            name: last_part(&resource.id),
            owner: action.owner.as_deref().filter(|owner| !owner.is_empty()).map(last_part),
            account: if is_account { account } else { "" },
            region: &resource.region,
            case: case
                .case_id
                .chars()
                .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
                .take(CASE_CHARS_MAX)
                .collect(),
            reference_time: case.reference_time,
            kind: resource.kind,
        }
    }

    /// Empty where the record names none.
    pub(crate) fn region(&self) -> &'a str {
        self.region
    }

    /// Whether the names can be AWS's: no blanks, no control or shell characters, not empty.
    pub(crate) fn is_ordinary(&self) -> bool {
        is_ordinary(self.id) && is_ordinary(self.name) && self.owner.is_none_or(is_ordinary)
    }

    /// `aws`, `aws-cn` or `aws-us-gov`: the second part of the target's ARN, else what its region belongs to.
    pub(crate) fn partition(&self) -> &'static str {
        const PARTITIONS: [&str; 3] = ["aws", "aws-cn", "aws-us-gov"];
        let named = self.id.strip_prefix("arn:").and_then(|rest| rest.split(':').next());
        if let Some(partition) = PARTITIONS.into_iter().find(|known| named == Some(known)) {
            return partition;
        }
        match self.region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }

    /// A call in the target's region.
    pub(crate) fn call(&self, service: &'static str, operation: &'static str, parameters: Value) -> Call {
        let region = Some(self.region).filter(|region| !region.is_empty()).map(str::to_owned);
        Call { region, ..Call::global(service, operation, parameters) }
    }

    /// `TrailwardenQuarantine-<case>`: what a step creates carries its case, so that undoing finds it.
    pub(crate) fn label(&self, purpose: &str) -> String {
        format!("Trailwarden{purpose}-{}", self.case)
    }
}

/// Whether a name can be AWS's.
pub(crate) fn is_ordinary(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_/:-".contains(&byte))
}

/// `arn:aws:iam::111122223333:user/path/alice` and `arn:aws:s3:::bucket` without what stands before the name.
fn last_part(id: &str) -> &str {
    if !id.starts_with("arn:") {
        return id;
    }
    id.rsplit(['/', ':']).next().unwrap_or(id)
}
