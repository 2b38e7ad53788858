//! What a call touched: the things a playbook can act on and a person asks about first.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::activity::Activity;
use crate::hash::hash64;
use crate::policy::each;
use crate::record::RecordView;

/// A thing in AWS, named by its identifier within an account and region.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resource {
    pub kind: ResourceKind,
    pub account: String,
    pub region: String,
    /// Name, id or ARN as the call gave it; at most 256 bytes. Written by the caller, so never trusted.
    pub id: String,
    /// Whether this event brought it into being.
    pub created: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    User,
    Role,
    AccessKey,
    LoginProfile,
    Instance,
    Bucket,
    Function,
    Trail,
    Detector,
    ConfigRecorder,
    Image,
    Snapshot,
    /// Of a database instance. Those of clusters have calls of their own and are [`Self::Other`].
    DbSnapshot,
    KmsKey,
    Secret,
    Parameter,
    SecurityGroup,
    TrustAnchor,
    Policy,
    Model,
    /// The account as a whole; its id is the account's.
    Account,
    Other,
}

/// Most resources told of one event.
pub const RESOURCES_MAX: usize = 16;
/// Longest id, in bytes.
pub const ID_BYTES_MAX: usize = 256;

/// Where a service's calls name a thing. `[]` in a path goes through a list (or one value instead of it).
struct Place {
    service: &'static str,
    /// The calls it holds for; empty means all of the service's.
    calls: &'static [&'static str],
    path: &'static str,
    kind: ResourceKind,
    /// The calls that bring the thing into being, when they succeed.
    created_by: &'static [&'static str],
}

macro_rules! places {
    ($($service:literal $calls:tt $path:literal => $kind:ident $(, created by $created:tt)?;)+) => {
        const PLACES: &[Place] = &[$(Place {
            service: $service,
            calls: &$calls,
            path: $path,
            kind: ResourceKind::$kind,
            created_by: places!(@list $($created)?),
        }),+];
    };
    (@list) => { &[] };
    (@list $created:tt) => { &$created };
}

places! {
    "iam" [] "requestParameters.userName" => User, created by ["CreateUser"];
    "iam" [] "requestParameters.roleName" => Role, created by ["CreateRole"];
    "iam" [] "requestParameters.accessKeyId" => AccessKey;
    "iam" ["CreateAccessKey"] "responseElements.accessKey.accessKeyId" => AccessKey, created by ["CreateAccessKey"];
    "iam" ["CreateAccessKey"] "responseElements.accessKey.userName" => User;
    "iam" ["CreateLoginProfile", "UpdateLoginProfile", "DeleteLoginProfile"] "requestParameters.userName"
        => LoginProfile, created by ["CreateLoginProfile"];
    "iam" [] "requestParameters.policyArn" => Policy;
    "iam" ["CreatePolicy"] "responseElements.policy.arn" => Policy, created by ["CreatePolicy"];
    "iam" ["PutUserPolicy", "PutRolePolicy", "PutGroupPolicy", "DeleteUserPolicy", "DeleteRolePolicy"]
        "requestParameters.policyName" => Policy, created by ["PutUserPolicy", "PutRolePolicy", "PutGroupPolicy"];
    "iam" [] "requestParameters.groupName" => Other, created by ["CreateGroup"];
    "iam" [] "requestParameters.sAMLProviderArn" => Other;
    "iam" ["CreateSAMLProvider"] "responseElements.sAMLProviderArn" => Other, created by ["CreateSAMLProvider"];
    "iam" ["CreateOpenIDConnectProvider"] "responseElements.openIDConnectProviderArn"
        => Other, created by ["CreateOpenIDConnectProvider"];
    "sts" [] "requestParameters.roleArn" => Role;
    "sts" [] "responseElements.credentials.accessKeyId" => AccessKey, created by [
        "AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "GetSessionToken", "GetFederationToken", "AssumeRoot"];
    "ec2" [] "requestParameters.instanceId" => Instance;
    "ec2" [] "requestParameters.instancesSet.items[].instanceId" => Instance;
    "ec2" ["RunInstances"] "responseElements.instancesSet.items[].instanceId" => Instance, created by ["RunInstances"];
    "ec2" [] "requestParameters.imageId" => Image;
    "ec2" ["RunInstances"] "requestParameters.instancesSet.items[].imageId" => Image;
    "ec2" ["CreateImage", "CopyImage", "RegisterImage"] "responseElements.imageId"
        => Image, created by ["CreateImage", "CopyImage", "RegisterImage"];
    "ec2" [] "requestParameters.snapshotId" => Snapshot;
    "ec2" ["CreateSnapshot", "CopySnapshot"] "responseElements.snapshotId"
        => Snapshot, created by ["CreateSnapshot", "CopySnapshot"];
    "ec2" [] "requestParameters.groupId" => SecurityGroup;
    "ec2" ["CreateSecurityGroup"] "responseElements.groupId" => SecurityGroup, created by ["CreateSecurityGroup"];
    "ec2" ["ModifySecurityGroupRules"] "requestParameters.ModifySecurityGroupRulesRequest.GroupId" => SecurityGroup;
    "ec2" ["DeleteFlowLogs"] "requestParameters.DeleteFlowLogsRequest.FlowLogId[].content" => Other;
    "ec2-instance-connect" [] "requestParameters.instanceId" => Instance;
    "ssm" [] "requestParameters.instanceIds[]" => Instance;
    "ssm" [] "requestParameters.instanceId" => Instance;
    "ssm" ["StartSession"] "requestParameters.target" => Instance;
    "ssm" ["GetParameter", "PutParameter", "DeleteParameter"] "requestParameters.name"
        => Parameter, created by ["PutParameter"];
    "ssm" [] "requestParameters.names[]" => Parameter;
    "ssm" ["GetParametersByPath"] "requestParameters.path" => Parameter;
    "secretsmanager" [] "requestParameters.secretId" => Secret;
    "secretsmanager" [] "requestParameters.secretIdList[]" => Secret;
    "secretsmanager" ["CreateSecret"] "requestParameters.name" => Secret, created by ["CreateSecret"];
    "s3" [] "requestParameters.bucketName" => Bucket, created by ["CreateBucket"];
    "lambda" [] "requestParameters.functionName" => Function, created by ["CreateFunction"];
    "cloudtrail" ["StopLogging", "StartLogging", "DeleteTrail", "UpdateTrail", "CreateTrail"] "requestParameters.name"
        => Trail, created by ["CreateTrail"];
    "cloudtrail" [] "requestParameters.trailName" => Trail;
    "guardduty" [] "requestParameters.detectorId" => Detector;
    "guardduty" ["CreateDetector"] "responseElements.detectorId" => Detector, created by ["CreateDetector"];
    "config" [] "requestParameters.configurationRecorderName" => ConfigRecorder;
    "config" ["PutConfigurationRecorder"] "requestParameters.configurationRecorder.name"
        => ConfigRecorder, created by ["PutConfigurationRecorder"];
    "rds" [] "requestParameters.dBSnapshotIdentifier" => DbSnapshot, created by ["CreateDBSnapshot"];
    "rds" ["CopyDBSnapshot"] "responseElements.dBSnapshotIdentifier" => DbSnapshot, created by ["CopyDBSnapshot"];
    "rds" [] "requestParameters.dBClusterSnapshotIdentifier" => Other, created by ["CreateDBClusterSnapshot"];
    "rds" ["CopyDBClusterSnapshot"] "responseElements.dBClusterSnapshotIdentifier"
        => Other, created by ["CopyDBClusterSnapshot"];
    "rds" [] "requestParameters.dBInstanceIdentifier" => Other, created by ["CreateDBInstance"];
    "kms" [] "requestParameters.keyId" => KmsKey;
    "kms" ["CreateKey"] "responseElements.keyMetadata.keyId" => KmsKey, created by ["CreateKey"];
    "rolesanywhere" [] "requestParameters.trustAnchorId" => TrustAnchor;
    "rolesanywhere" ["CreateTrustAnchor"] "responseElements.trustAnchor.trustAnchorId"
        => TrustAnchor, created by ["CreateTrustAnchor"];
    "rolesanywhere" ["CreateProfile"] "requestParameters.roleArns[]" => Role;
    "bedrock" [] "requestParameters.modelId" => Model;
    "bedrock-runtime" [] "requestParameters.modelId" => Model;
    "route53resolver" [] "requestParameters.resolverQueryLogConfigId" => Other;
    "events" [] "requestParameters.name" => Other;
    "sns" [] "requestParameters.topicArn" => Other;
    "sqs" [] "requestParameters.queueUrl" => Other;
    "ecr" [] "requestParameters.repositoryName" => Other;
}

/// What an event touched, in the order of the table, none twice.
pub fn touched(view: &RecordView<'_>, activity: &Activity<'_>) -> Vec<Resource> {
    let mut found: Vec<Resource> = Vec::new();
    let places = PLACES.iter().filter(|place| {
        place.service == activity.service && (place.calls.is_empty() || place.calls.contains(&activity.call))
    });
    for place in places {
        let mut ids = Vec::new();
        // Of the whole record only the part that the path begins with becomes a tree.
        let Some((part, rest)) = place.path.split_once('.') else { continue };
        if let Some(value) = view.field(part) {
            collect(value, rest, &mut ids);
        }
        for id in ids {
            let resource = Resource {
                kind: place.kind,
                account: activity.account.to_owned(),
                region: activity.region.to_owned(),
                id: cut(id).to_owned(),
                created: activity.error_code.is_none() && place.created_by.contains(&activity.call),
            };
            if found.len() < RESOURCES_MAX && !found.contains(&resource) {
                found.push(resource);
            }
        }
    }
    found
}

/// The texts at a path, at most [`RESOURCES_MAX`] of them.
fn collect<'v>(value: &'v Value, path: &str, ids: &mut Vec<&'v str>) {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let (key, through_list) = match step.strip_suffix("[]") {
        Some(key) => (key, true),
        None => (step, false),
    };
    let Some(next) = value.get(key) else {
        return;
    };
    let values = if through_list { each(next) } else { std::slice::from_ref(next) };
    for value in values {
        if ids.len() >= RESOURCES_MAX {
            return;
        }
        if !rest.is_empty() {
            collect(value, rest, ids);
        } else if let Some(id) = value.as_str().filter(|id| !id.is_empty()) {
            ids.push(id);
        }
    }
}

/// Hash of the thing that a request names: the value of the alphabetically first top-level parameter whose name ends
/// like one that identifies (`bucketName`, `secretId`, `roleArn`, `queueUrl`, ...). Rough on purpose: it tells one
/// bucket from another for every service alike, at a fraction of the cost of [`touched`].
///
/// `parameters` is the JSON text of `requestParameters`; `None` when it names nothing.
pub fn target(parameters: &str) -> Option<u64> {
    let names: Names<'_> = serde_json::from_str(parameters).ok()?;
    names.0.map(|(_, id)| hash64(&id))
}

/// How the names of parameters end that identify a thing.
const IDENTIFYING: [&str; 6] = ["Name", "Id", "Arn", "ARN", "Url", "Identifier"];

/// The first identifying parameter and its text.
struct Names<'a>(Option<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Names<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Names<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Names<'de>, A::Error> {
                let mut first: Option<(Cow<'de, str>, Cow<'de, str>)> = None;
                while let Some(Borrowed(name)) = map.next_key()? {
                    let identifies = IDENTIFYING.iter().any(|end| name.ends_with(end));
                    if !identifies || first.as_ref().is_some_and(|(earlier, _)| *earlier <= name) {
                        map.next_value::<de::IgnoredAny>()?;
                        continue;
                    }
                    let value: &'de RawValue = map.next_value()?;
                    if let Ok(Borrowed(id)) = serde_json::from_str(value.get()) {
                        first = Some((name, id));
                    }
                }
                Ok(Names(first))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Text that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

/// The longest start of an id that fits, cut between characters.
fn cut(id: &str) -> &str {
    &id[..id.floor_char_boundary(ID_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_what_the_request_names() {
        for (parameters, name) in [
            (r#"{"key":"a/b","bucketName":"ledger","Host":"x"}"#, Some("ledger")),
            (
                r#"{"roleSessionName":"s","roleArn":"arn:aws:iam::111122223333:role/r"}"#,
                Some("arn:aws:iam::111122223333:role/r"),
            ),
            (r#"{"secretId":"caf\u00e9"}"#, Some("café")),
            (r#"{"instanceId":{"a":1},"userName":"mia"}"#, Some("mia")),
            (r#"{"maxResults":5}"#, None),
            (r#"{"nameOfNothing":"x"}"#, None),
            ("null", None),
            ("[1]", None),
            ("{", None),
        ] {
            assert_eq!(target(parameters), name.map(hash64), "{parameters}");
        }
    }
}
