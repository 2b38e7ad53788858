//! Derived fields: facts about an event that a rule asks for as `trailwarden.<name>` where CloudTrail has
//! no single field for them, because the meaning lies in a policy document, a list or a comparison.
//!
//! A fact that cannot be told is absent (`None`), so that a rule on it matches neither way.

mod compute;
mod grants;
mod network;

use serde_json::Value;

use crate::activity::{Activity, Credential, PrincipalKind};
use crate::api::{AgentFamily, SourceClass};
use crate::policy::{PolicyFacts, each, is_account};
use crate::record::RecordView;
use crate::registry::Registry;

/// Every derived field, by the name that follows `trailwarden.` in a rule.
pub const FIELDS: &[&str] = &[
    "account",
    "agent_family",
    "call",
    "cidr_world",
    "credential",
    "cross_account",
    "denied",
    "expires_soon",
    "failed",
    "foreign_layer",
    "grant_external",
    "grant_public",
    "instance",
    "instance_session",
    "instances",
    "large_instance",
    "mfa",
    "named_secrets",
    "policy_admin",
    "principal",
    "service",
    "session",
    "source",
    "source_class",
    "target_is_caller",
    "target_user",
    "trail_blinded",
    "trust_any_workflow",
    "trust_external",
    "trust_public",
    "trust_unguarded",
    "unattended_key",
    "world_port",
];

/// The value of a derived field, `field` being its name without `trailwarden.`; `None` when the event
/// does not say. Booleans, strings, or an array of strings for what a value-count correlation counts.
///
/// - `session`, `principal`, `account`, `source`, `service`, `call`: as in [`Activity`].
/// - `credential`: snake case of [`Credential`]. `mfa`, `denied`, `failed`: booleans.
/// - `unattended_key`: the caller holds an IAM user's or root's own key, or an instance's: what leaks, and
///   what no person confirmed with a second factor.
/// - `instance_session`: the credential is one that an EC2 instance was handed.
/// - `instance`: the instance whose credential this is, else the only one the call names.
/// - `instances`: the instances the call names, as an array.
/// - `target_user`: the user that an IAM call acts on. `target_is_caller`: whether that is the caller.
/// - `policy_admin`: the call grants (or asks for) everything, all of IAM, or power over all services.
/// - `grant_public`, `grant_external`: the call opens a resource to everyone, or to an account that is
///   neither its own nor in the registry.
/// - `trust_public`, `trust_external`, `trust_unguarded`: the same for a role's trust; unguarded is external
///   without an external id or other condition on the caller.
/// - `cidr_world`: a rule for the whole internet is added; `world_port`: the gravest of what it opens, one of
///   `all`, `remote_access`, `database`, `other`, `web`.
/// - `large_instance`: accelerated, bare-metal or at least 8xlarge instances are asked for.
/// - `named_secrets`: secrets and parameters asked for, as an array.
/// - `cross_account`: the caller's account is not the one the event was recorded in.
/// - `trail_blinded`: event selectors that leave out management events, or all of them that change something.
/// - `expires_soon`: a lifecycle rule deletes objects within two days.
/// - `foreign_layer`: a function gets a layer of another account.
/// - `agent_family`, `source_class`: as in [`AgentFamily`] and [`SourceClass`].
/// - `trust_any_workflow`: a role trusts an identity provider that serves everyone (a public code host), and
///   no condition says whose workflows may come.
pub fn derived(field: &str, view: &RecordView<'_>, activity: &Activity<'_>, registry: &Registry) -> Option<Value> {
    match field {
        "session" => text(activity.session),
        "principal" => text(activity.principal),
        "account" => text(activity.account),
        "source" => text(activity.source),
        "service" => text(activity.service),
        "call" => text(activity.call),
        "credential" => serde_json::to_value(activity.credential).ok(),
        "mfa" => activity.mfa.map(Value::Bool),
        "denied" => Some(activity.denied().into()),
        "failed" => Some(activity.error_code.is_some().into()),
        "unattended_key" => Some(is_unattended(activity).into()),
        "instance_session" => Some(is_instance_session(view, activity).into()),
        "instance" => text(compute::instance(view, activity)?),
        "instances" => list(compute::instances(view)),
        "target_user" => text(view.text("requestParameters.userName")?),
        "target_is_caller" => target_is_caller(view, activity).map(Value::Bool),
        "policy_admin" => Some(policy_admin(view, activity, registry).into()),
        "grant_public" => Some(grants::of(view, activity, registry).public.into()),
        "grant_external" => Some(grants::of(view, activity, registry).external.into()),
        "trust_public" => trust(view, activity, registry).map(|facts| facts.public_principal.into()),
        "trust_any_workflow" => trust(view, activity, registry).map(|facts| trusts_any_workflow(&facts).into()),
        "trust_external" => trust(view, activity, registry).map(|facts| (!facts.external_accounts.is_empty()).into()),
        "trust_unguarded" => trust(view, activity, registry).map(|facts| (!facts.unguarded_accounts.is_empty()).into()),
        "cidr_world" => Some(network::opened_to_the_world(view).is_some().into()),
        "world_port" => text(network::opened_to_the_world(view)?),
        "large_instance" => Some(compute::is_large(view).into()),
        "named_secrets" => list(named_secrets(view)),
        "cross_account" => cross_account(view, activity).map(Value::Bool),
        "trail_blinded" => trail_blinded(view).map(Value::Bool),
        "agent_family" => text(AgentFamily::of(activity.user_agent).as_str()),
        "source_class" => text(SourceClass::of(activity.source).as_str()),
        "expires_soon" => Some(expires_soon(view).into()),
        "foreign_layer" => Some(foreign_layer(view, activity, registry).into()),
        _ => None,
    }
}

/// Most values that one event contributes to a list field; what CloudTrail's own caps leave is below it.
const LIST_MAX: usize = 64;

fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| text.into())
}

fn list<'v>(texts: impl IntoIterator<Item = &'v str>) -> Option<Value> {
    let values: Vec<Value> = texts.into_iter().take(LIST_MAX).map(Value::from).collect();
    (!values.is_empty()).then_some(Value::Array(values))
}

/// The texts at a dotted path, where one text may stand in for a list.
fn texts<'v>(view: &'v RecordView<'_>, path: &str) -> impl Iterator<Item = &'v str> {
    view.value(path)
        .into_iter()
        .flat_map(each)
        .filter_map(|value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
        .filter(|text| !text.is_empty())
}

fn is_unattended(activity: &Activity<'_>) -> bool {
    let own_key = match activity.credential {
        Credential::LongTermKey | Credential::InstanceRole | Credential::Root => true,
        // A user's temporary key or console session that AWS says was obtained without MFA.
        Credential::TemporaryKey | Credential::Console => {
            activity.principal_kind == PrincipalKind::IamUser && activity.mfa == Some(false)
        }
        Credential::Service | Credential::Unknown => false,
    };
    own_key && activity.mfa != Some(true)
}

fn is_instance_session(view: &RecordView<'_>, activity: &Activity<'_>) -> bool {
    activity.principal_kind == PrincipalKind::Role
        && (crate::link::is_instance_id(activity.session_name)
            || activity.credential == Credential::InstanceRole
            // Most records do not even hold the word, and then need no tree.
            || (view.raw().contains("ec2RoleDelivery")
                && view.value("userIdentity.sessionContext.ec2RoleDelivery").is_some()))
}

fn target_is_caller(view: &RecordView<'_>, activity: &Activity<'_>) -> Option<bool> {
    let caller = view.text("userIdentity.userName").unwrap_or_default();
    let is_user = activity.principal_kind == PrincipalKind::IamUser;
    match view.text("requestParameters.userName") {
        Some(target) => Some(is_user && caller.eq_ignore_ascii_case(target)),
        // The call names a device and no user: only a device that bears the caller's name tells whose it is.
        None if activity.call == "DeleteVirtualMFADevice" => {
            let device = view.text("requestParameters.serialNumber")?.rsplit('/').next()?;
            (is_user && !caller.is_empty() && device.eq_ignore_ascii_case(caller)).then_some(true)
        }
        None => matches!(activity.principal_kind, PrincipalKind::IamUser | PrincipalKind::Root).then_some(true),
    }
}

/// AWS managed policies that hand out an account, by the end of their ARN.
const ADMIN_POLICIES: [&str; 6] = [
    "/AdministratorAccess",
    "/IAMFullAccess",
    "/PowerUserAccess",
    "/AmazonEKSClusterAdminPolicy",
    "/AWSOrganizationsFullAccess",
    "/AdministratorAccess-Amplify",
];

fn policy_admin(view: &RecordView<'_>, activity: &Activity<'_>, registry: &Registry) -> bool {
    const ARNS: [&str; 4] = ["policyArn", "policyArns", "managedPolicyArn", "managedPolicyArns"];
    const DOCUMENTS: [&str; 3] = ["policyDocument", "policy", "inlinePolicy"];
    let Some(parameters) = view.value("requestParameters") else {
        return false;
    };
    let is_admin_arn = |arn: &str| arn.starts_with("arn:aws") && ADMIN_POLICIES.iter().any(|name| arn.ends_with(name));
    ARNS.iter().filter_map(|name| parameters.get(name)).any(|arns| {
        each(arns)
            .iter()
            .filter_map(|arn| arn.as_str().or_else(|| arn.get("arn")?.as_str()))
            .any(|arn| is_admin_arn(arn) && !arn.contains(&format!("::{}:", activity.account)))
    }) || DOCUMENTS
        .iter()
        .filter_map(|name| PolicyFacts::of(parameters.get(name)?, activity.account, &registry.accounts))
        .any(|facts| facts.allows_everything)
}

fn trust(view: &RecordView<'_>, activity: &Activity<'_>, registry: &Registry) -> Option<PolicyFacts> {
    let path = match activity.call {
        "CreateRole" => "requestParameters.assumeRolePolicyDocument",
        "UpdateAssumeRolePolicy" => "requestParameters.policyDocument",
        _ => return None,
    };
    PolicyFacts::of(view.value(path)?, activity.account, &registry.accounts)
}

fn trusts_any_workflow(facts: &PolicyFacts) -> bool {
    const SERVE_EVERYONE: [&str; 4] =
        ["token.actions.githubusercontent.com", "gitlab.com", "app.terraform.io", "api.bitbucket.org"];
    facts.unguarded_federated.iter().any(|provider| SERVE_EVERYONE.iter().any(|known| provider.ends_with(known)))
}

fn named_secrets<'v>(view: &'v RecordView<'_>) -> impl Iterator<Item = &'v str> {
    ["secretId", "secretIdList", "name", "names", "path"]
        .into_iter()
        .flat_map(move |key| texts(view, &format!("requestParameters.{key}")).collect::<Vec<_>>())
}

fn cross_account(view: &RecordView<'_>, activity: &Activity<'_>) -> Option<bool> {
    let caller = view.text("userIdentity.accountId").filter(|account| is_account(account))?;
    is_account(activity.account).then_some(caller != activity.account)
}

/// Whether selectors leave out management events, or those among them that change something; `None` when the call sets none.
fn trail_blinded(view: &RecordView<'_>) -> Option<bool> {
    if let Some(selectors) = view.value("requestParameters.eventSelectors").and_then(Value::as_array) {
        let records = |selector: &Value| {
            let reads_only = selector.get("readWriteType").and_then(Value::as_str) == Some("ReadOnly");
            !reads_only && !is_false(selector.get("includeManagementEvents"))
        };
        return Some(!selectors.iter().any(records));
    }
    let selectors = view.value("requestParameters.advancedEventSelectors")?.as_array()?;
    let records = |selector: &Value| {
        let fields = || selector.get("fieldSelectors").and_then(Value::as_array).into_iter().flatten();
        let lists = |name: &str, test: &str, value: &str| {
            fields().any(|field| {
                field.get("field").and_then(Value::as_str) == Some(name)
                    && each(field.get(test).unwrap_or(&Value::Null)).iter().any(|listed| listed == value)
            })
        };
        let reads_only = (lists("readOnly", "equals", "true") && !lists("readOnly", "equals", "false"))
            || lists("readOnly", "notEquals", "false");
        lists("eventCategory", "equals", "Management") && !reads_only
    };
    Some(!selectors.iter().any(records))
}

/// CloudTrail writes booleans as booleans or as text, by service.
fn is_false(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(flag)) => !flag,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("false"),
        _ => false,
    }
}

fn expires_soon(view: &RecordView<'_>) -> bool {
    const DAYS_MAX: u64 = 2;
    let rules = ["Rule", "Rules", "rules"]
        .into_iter()
        .find_map(|key| view.value("requestParameters.LifecycleConfiguration")?.get(key));
    rules.into_iter().flat_map(each).any(|rule| {
        let enabled = rule.get("Status").and_then(Value::as_str) != Some("Disabled");
        let days = ["Expiration", "NoncurrentVersionExpiration"]
            .into_iter()
            .filter_map(|key| rule.get(key))
            .filter_map(|expiration| expiration.get("Days").or_else(|| expiration.get("NoncurrentDays")))
            .filter_map(|days| days.as_u64().or_else(|| days.as_str()?.parse().ok()))
            .min();
        enabled && days.is_some_and(|days| days <= DAYS_MAX)
    })
}

fn foreign_layer(view: &RecordView<'_>, activity: &Activity<'_>, registry: &Registry) -> bool {
    texts(view, "requestParameters.layers")
        .filter_map(crate::policy::account_of)
        .any(|account| account != activity.account && !registry.accounts.contains(account))
}
