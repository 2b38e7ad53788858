//! Who acts, with which credential: principal, kind, session and credential from a record's `userIdentity`.

use std::borrow::Cow;

use crate::activity::{Credential, PrincipalKind};

/// What a record says about its caller. Absent text is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity<'a> {
    /// `userIdentity.type`.
    pub kind: &'a str,
    pub arn: &'a str,
    pub account: &'a str,
    pub principal_id: &'a str,
    pub user_name: &'a str,
    pub access_key_id: &'a str,
    /// Stands in for the access key where a bearer token was used (Identity Center).
    pub credential_id: &'a str,
    pub invoked_by: &'a str,
    /// `onBehalfOf.userId`: the person behind an Identity Center token.
    pub on_behalf_of: &'a str,
    /// `sessionContext.sessionIssuer.arn`.
    pub issuer_arn: &'a str,
    /// `sessionCredentialFromConsole`.
    pub from_console: bool,
    /// The event itself is a sign-in to the console.
    pub signs_in: bool,
    /// `sessionContext.ec2RoleDelivery` is present: an instance's metadata service handed the credential out.
    pub ec2_role_delivery: bool,
}

/// Who acts: the fields of an [`Activity`](crate::activity::Activity) that its identity decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller<'a> {
    pub principal: Cow<'a, str>,
    pub kind: PrincipalKind,
    pub session: Cow<'a, str>,
    pub session_name: &'a str,
    pub credential: Credential,
}

pub const UNKNOWN: &str = "unknown";

/// What AWS writes in place of what it will not tell.
const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

impl<'a> Caller<'a> {
    pub fn of(identity: &Identity<'a>) -> Self {
        let (kind, principal) = principal(identity);
        let session_name = session_name(identity, kind);
        let credential = credential(identity, kind, session_name);
        let key = first(&[identity.access_key_id, identity.credential_id]);
        let session = if !key.is_empty() && key != HIDDEN {
            Cow::Borrowed(key)
        } else if identity.signs_in || identity.from_console {
            // A role's sessions may be different people's; its session name tells them apart.
            match kind {
                PrincipalKind::Role | PrincipalKind::Federated if !session_name.is_empty() => {
                    Cow::Owned(format!("console:{principal}/{session_name}"))
                }
                _ => Cow::Owned(format!("console:{principal}")),
            }
        } else {
            Cow::Borrowed("")
        };
        Self { principal, kind, session, session_name, credential }
    }
}

fn principal<'a>(identity: &Identity<'a>) -> (PrincipalKind, Cow<'a, str>) {
    let kind = kind(identity);
    let named = |names: &[&'a str]| Cow::Borrowed(first(names));
    let principal = match kind {
        PrincipalKind::IamUser => match (identity.arn, identity.user_name) {
            ("", "") => named(&[identity.principal_id]),
            ("", name) => Cow::Owned(format!("arn:aws:iam::{}:user/{name}", identity.account)),
            (arn, _) => Cow::Borrowed(arn),
        },
        PrincipalKind::Role => role(identity),
        PrincipalKind::Root if identity.arn.is_empty() && !identity.account.is_empty() => {
            Cow::Owned(format!("arn:aws:iam::{}:root", identity.account))
        }
        PrincipalKind::Root => named(&[identity.arn]),
        PrincipalKind::AwsService => named(&[identity.invoked_by, identity.principal_id, identity.arn]),
        PrincipalKind::CrossAccount => match (identity.account, without_session(identity.principal_id)) {
            (account, "") => named(&[account]),
            ("", id) => named(&[id]),
            (account, id) => Cow::Owned(format!("{account}/{id}")),
        },
        PrincipalKind::Federated => {
            named(&[identity.on_behalf_of, identity.arn, identity.principal_id, identity.user_name])
        }
        PrincipalKind::Unknown => Cow::Borrowed(UNKNOWN),
    };
    if principal.is_empty() { (PrincipalKind::Unknown, Cow::Borrowed(UNKNOWN)) } else { (kind, principal) }
}

fn kind(identity: &Identity<'_>) -> PrincipalKind {
    match identity.kind {
        "IAMUser" => PrincipalKind::IamUser,
        "AssumedRole" | "Role" => PrincipalKind::Role,
        "Root" => PrincipalKind::Root,
        "AWSService" => PrincipalKind::AwsService,
        "AWSAccount" => PrincipalKind::CrossAccount,
        "FederatedUser" | "SAMLUser" | "WebIdentityUser" | "IdentityCenterUser" | "Directory" => {
            PrincipalKind::Federated
        }
        _ => kind_by_arn(identity),
    }
}

/// For a type that is missing, `Unknown` or not one that AWS documents.
fn kind_by_arn(identity: &Identity<'_>) -> PrincipalKind {
    match arn_resource(identity.arn) {
        Some("root") => PrincipalKind::Root,
        Some(resource) if resource.starts_with("user/") => PrincipalKind::IamUser,
        Some(resource) if resource.starts_with("assumed-role/") || resource.starts_with("role/") => PrincipalKind::Role,
        Some(resource) if resource.starts_with("federated-user/") => PrincipalKind::Federated,
        _ if !identity.on_behalf_of.is_empty() => PrincipalKind::Federated,
        _ if !identity.invoked_by.is_empty() => PrincipalKind::AwsService,
        _ => PrincipalKind::Unknown,
    }
}

fn role<'a>(identity: &Identity<'a>) -> Cow<'a, str> {
    if !identity.issuer_arn.is_empty() {
        return Cow::Borrowed(identity.issuer_arn);
    }
    let rebuilt = || {
        let name = assumed_role(identity.arn)?.0;
        let mut parts = identity.arn.splitn(6, ':');
        let (partition, account) = (parts.nth(1)?, parts.nth(2)?);
        Some(Cow::Owned(format!("arn:{partition}:iam::{account}:role/{name}")))
    };
    // Without an ARN of the role the id of the role, then whatever names the caller.
    rebuilt().unwrap_or_else(|| {
        let id = without_session(identity.principal_id);
        let is_role = arn_resource(identity.arn).is_some_and(|resource| resource.starts_with("role/"));
        let arn = if is_role { identity.arn } else { "" };
        Cow::Borrowed(first(&[arn, id, identity.arn, identity.user_name]))
    })
}

fn session_name<'a>(identity: &Identity<'a>, kind: PrincipalKind) -> &'a str {
    let after_colon = identity.principal_id.split_once(':').map_or("", |(_, name)| name);
    match kind {
        PrincipalKind::Role => match assumed_role(identity.arn) {
            Some((_, session)) => session,
            None => after_colon,
        },
        PrincipalKind::CrossAccount => after_colon,
        PrincipalKind::Federated => {
            let from_arn = arn_resource(identity.arn).and_then(|resource| resource.strip_prefix("federated-user/"));
            first(&[identity.user_name, from_arn.unwrap_or(""), after_colon])
        }
        PrincipalKind::IamUser => {
            let from_arn = identity.arn.rsplit_once('/').map_or("", |(_, name)| name);
            first(&[identity.user_name, from_arn])
        }
        PrincipalKind::Root | PrincipalKind::AwsService | PrincipalKind::Unknown => identity.user_name,
    }
}

fn credential(identity: &Identity<'_>, kind: PrincipalKind, session_name: &str) -> Credential {
    let key = identity.access_key_id;
    if kind == PrincipalKind::AwsService || !identity.invoked_by.is_empty() {
        Credential::Service
    } else if kind == PrincipalKind::Root {
        Credential::Root
    } else if identity.from_console || identity.signs_in {
        Credential::Console
    } else if identity.ec2_role_delivery || (kind == PrincipalKind::Role && is_instance_id(session_name)) {
        Credential::InstanceRole
    } else if key.starts_with("AKIA") {
        Credential::LongTermKey
    } else if key.starts_with("ASIA") {
        Credential::TemporaryKey
    } else {
        Credential::Unknown
    }
}

/// Role name and session name of `arn:aws:sts::111122223333:assumed-role/Name/session`.
fn assumed_role(arn: &str) -> Option<(&str, &str)> {
    let rest = arn_resource(arn)?.strip_prefix("assumed-role/")?;
    Some(rest.split_once('/').unwrap_or((rest, "")))
}

/// What follows the account in an ARN: `user/path/name`.
fn arn_resource(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    (parts.next() == Some("arn")).then_some(())?;
    parts.nth(4)
}

/// `AROAEXAMPLE` of `AROAEXAMPLE:session`.
fn without_session(principal_id: &str) -> &str {
    principal_id.split_once(':').map_or(principal_id, |(id, _)| id)
}

/// `i-` with 8 or 17 hexadecimal digits.
fn is_instance_id(name: &str) -> bool {
    name.strip_prefix("i-").is_some_and(|digits| {
        matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn first<'a>(names: &[&'a str]) -> &'a str {
    names.iter().copied().find(|name| !name.is_empty()).unwrap_or("")
}

#[cfg(test)]
mod tests;
