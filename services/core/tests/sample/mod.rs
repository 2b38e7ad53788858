//! Turns a CloudTrail record into what core works on, as far as core's own tests need it. The collector's
//! reader is the real one; core may not depend on it.

use serde_json::Value;
use trailwarden_core::activity::{Activity, Credential, PrincipalKind};
use trailwarden_core::record::{Head, RecordView};
use trailwarden_core::time::Timestamp;

/// A record with all text that its activity borrows.
pub(crate) struct Sample {
    record: Value,
    raw: String,
    principal: String,
    session: String,
    call: String,
}

impl Sample {
    pub(crate) fn new(record: Value) -> Self {
        let raw = record.to_string();
        let principal = principal(&record);
        let session = match text(&record, "/userIdentity/accessKeyId") {
            "" if text(&record, "/eventName") == "ConsoleLogin" => format!("console:{principal}"),
            key => key.to_owned(),
        };
        let name = text(&record, "/eventName");
        let version = name.find("20").filter(|at| {
            let suffix = &name[*at..];
            suffix.len() >= 8 && suffix.bytes().take(8).all(|byte| byte.is_ascii_digit())
        });
        let call = name[..version.unwrap_or(name.len())].to_owned();
        Self { record, raw, principal, session, call }
    }

    pub(crate) fn view(&self) -> RecordView<'_> {
        let (head, is_partial) = head(&self.record);
        RecordView::new(&self.raw, head, is_partial)
    }

    pub(crate) fn activity(&self) -> Activity<'_> {
        let record = &self.record;
        let kind = kind(record);
        let account = match text(record, "/recipientAccountId") {
            "" => text(record, "/userIdentity/accountId"),
            account => account,
        };
        let mfa = match text(record, "/userIdentity/sessionContext/attributes/mfaAuthenticated") {
            "" => match text(record, "/additionalEventData/MFAUsed") {
                "" => None,
                used => Some(used == "Yes"),
            },
            authenticated => Some(authenticated == "true"),
        };
        let arn = text(record, "/userIdentity/arn");
        Activity {
            event_id: text(record, "/eventID"),
            shared_event_id: None,
            event_time: Timestamp::parse(text(record, "/eventTime")).unwrap_or_default(),
            account,
            region: text(record, "/awsRegion"),
            service: text(record, "/eventSource").trim_end_matches(".amazonaws.com"),
            call: &self.call,
            principal: &self.principal,
            principal_kind: kind,
            session: &self.session,
            session_name: arn.rsplit('/').next().unwrap_or_default(),
            credential: credential(record, kind),
            mfa,
            source: text(record, "/sourceIPAddress"),
            user_agent: text(record, "/userAgent"),
            error_code: record.pointer("/errorCode").and_then(Value::as_str),
            read_only: record.pointer("/readOnly").and_then(Value::as_bool),
        }
    }
}

/// The head of a record, and whether a field of it has another type than text.
fn head(record: &Value) -> (Head<'_>, bool) {
    let mut is_partial = false;
    let mut text = |pointer: &str| match record.pointer(pointer) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) => {
            is_partial = true;
            None
        }
    };
    let head = Head {
        event_name: text("/eventName").unwrap_or_default(),
        event_source: text("/eventSource").unwrap_or_default(),
        event_type: text("/eventType"),
        aws_region: text("/awsRegion"),
        source_ip_address: text("/sourceIPAddress"),
        user_agent: text("/userAgent"),
        error_code: text("/errorCode"),
        error_message: text("/errorMessage"),
        recipient_account_id: text("/recipientAccountId"),
        identity_type: text("/userIdentity/type"),
        identity_arn: text("/userIdentity/arn"),
        identity_account_id: text("/userIdentity/accountId"),
        identity_user_name: text("/userIdentity/userName"),
        identity_access_key_id: text("/userIdentity/accessKeyId"),
        identity_invoked_by: text("/userIdentity/invokedBy"),
        issuer_type: text("/userIdentity/sessionContext/sessionIssuer/type"),
        issuer_arn: text("/userIdentity/sessionContext/sessionIssuer/arn"),
        mfa_authenticated: text("/userIdentity/sessionContext/attributes/mfaAuthenticated"),
    };
    (head, is_partial)
}

fn text<'v>(record: &'v Value, pointer: &str) -> &'v str {
    record.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn kind(record: &Value) -> PrincipalKind {
    match text(record, "/userIdentity/type") {
        "IAMUser" => PrincipalKind::IamUser,
        "AssumedRole" | "Role" => PrincipalKind::Role,
        "Root" => PrincipalKind::Root,
        "AWSService" => PrincipalKind::AwsService,
        "AWSAccount" => PrincipalKind::CrossAccount,
        "FederatedUser" | "SAMLUser" | "WebIdentityUser" | "IdentityCenterUser" => PrincipalKind::Federated,
        _ => PrincipalKind::Unknown,
    }
}

fn principal(record: &Value) -> String {
    match kind(record) {
        PrincipalKind::Role => text(record, "/userIdentity/sessionContext/sessionIssuer/arn").to_owned(),
        PrincipalKind::AwsService => text(record, "/userIdentity/invokedBy").to_owned(),
        _ => text(record, "/userIdentity/arn").to_owned(),
    }
}

fn credential(record: &Value, kind: PrincipalKind) -> Credential {
    let key = text(record, "/userIdentity/accessKeyId");
    let session_name = text(record, "/userIdentity/arn").rsplit('/').next().unwrap_or_default().to_owned();
    if kind == PrincipalKind::Root {
        Credential::Root
    } else if kind == PrincipalKind::AwsService || !text(record, "/userIdentity/invokedBy").is_empty() {
        Credential::Service
    } else if text(record, "/eventName") == "ConsoleLogin" || text(record, "/sessionCredentialFromConsole") == "true" {
        Credential::Console
    } else if kind == PrincipalKind::Role && session_name.starts_with("i-") {
        Credential::InstanceRole
    } else if key.starts_with("AKIA") {
        Credential::LongTermKey
    } else if key.starts_with("ASIA") {
        Credential::TemporaryKey
    } else {
        Credential::Unknown
    }
}

/// `patch` laid over `base`: objects are merged, anything else is replaced, null removes.
pub(crate) fn merged(base: &Value, patch: &Value) -> Value {
    let (Value::Object(base), Value::Object(patch)) = (base, patch) else {
        return patch.clone();
    };
    let mut result = base.clone();
    for (key, value) in patch {
        if value.is_null() {
            result.remove(key);
        } else {
            let under = result.get(key).cloned().unwrap_or(Value::Null);
            result.insert(key.clone(), merged(&under, value));
        }
    }
    Value::Object(result)
}
