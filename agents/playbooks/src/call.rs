//! One AWS call as data, and the names that calls are about.

use serde::Serialize;
use serde_json::{Value, json};
use trailwarden_core::plan::Action;
use trailwarden_core::time::Timestamp;

use crate::CaseContext;

/// One AWS call, as the API models name it.
///
/// A value that is not known before the step runs is an object with one key: [`CAPTURED`] for what an earlier
/// call of the same step keeps, [`SUPPLIED`] for what the executor or a person provides. An object, so that no
/// name in a record can pass for one.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
}

/// A value of a call's answer that later calls use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// What [`CAPTURED`] refers to; lower-case letters and underscores.
    pub name: &'static str,
    /// Where it is in the answer, as a JMESPath of member names and `[]`; `@` is the whole answer.
    pub path: &'static str,
}

pub const CAPTURED: &str = "$captured";
pub const SUPPLIED: &str = "$supplied";

pub(crate) fn captured(name: &'static str) -> Value {
    json!({ CAPTURED: name })
}

pub(crate) fn supplied(name: &'static str) -> Value {
    json!({ SUPPLIED: name })
}

impl Call {
    /// A call of a service without regions.
    pub(crate) fn global(service: &'static str, operation: &'static str, parameters: Value) -> Self {
        Self { service, operation, parameters, region: None, keeps: vec![] }
    }

    pub(crate) fn keeping(self, keeps: &[Kept]) -> Self {
        Self { keeps: keeps.to_vec(), ..self }
    }
}

pub(crate) fn kept(name: &'static str, path: &'static str) -> Kept {
    Kept { name, path }
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
        }
    }

    /// Whether the names can be AWS's: no blanks, no control or shell characters, not empty.
    pub(crate) fn is_ordinary(&self) -> bool {
        let ordinary = |text: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_/:-".contains(&byte))
        };
        ordinary(self.id) && ordinary(self.name) && self.owner.is_none_or(ordinary)
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

/// `arn:aws:iam::111122223333:user/path/alice` and `arn:aws:s3:::bucket` without what stands before the name.
fn last_part(id: &str) -> &str {
    if !id.starts_with("arn:") {
        return id;
    }
    id.rsplit(['/', ':']).next().unwrap_or(id)
}
