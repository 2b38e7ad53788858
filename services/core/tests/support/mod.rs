//! Turns CloudTrail records, given as JSON, into what core works on. The collector's reader is the real one; core
//! may not depend on it.
#![allow(dead_code, reason = "each test program uses its part")]

use serde_json::Value;
use trailwarden_core::activity::Activity;
use trailwarden_core::api::strip_version;
use trailwarden_core::detection::{Match, RuleSet};
use trailwarden_core::principal::{Caller, Identity};
use trailwarden_core::record::{Head, RecordView};
use trailwarden_core::registry::Registry;
use trailwarden_core::time::Timestamp;

/// The matches of one record, given as JSON text.
pub(crate) fn evaluate(rules: &RuleSet, raw: &str) -> Vec<Match> {
    let sample = Sample::new(serde_json::from_str(raw).expect("valid JSON"));
    let mut matches = Vec::new();
    rules.evaluate(&sample.view(), &sample.activity(), &Registry::default(), &mut matches);
    matches
}

/// A record with all text that its activity borrows.
pub(crate) struct Sample {
    record: Value,
    raw: String,
    principal: String,
    session: String,
}

impl Sample {
    pub(crate) fn new(record: Value) -> Self {
        let caller = caller(&record);
        let (principal, session) = (caller.principal.into_owned(), caller.session.into_owned());
        Self { raw: record.to_string(), principal, session, record }
    }

    pub(crate) fn view(&self) -> RecordView<'_> {
        let (head, is_partial) = head(&self.record);
        RecordView::new(&self.raw, head, is_partial)
    }

    pub(crate) fn activity(&self) -> Activity<'_> {
        let record = &self.record;
        let caller = caller(record);
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
        let source = text(record, "/eventSource");
        Activity {
            event_id: text(record, "/eventID"),
            shared_event_id: None,
            event_time: Timestamp::parse(text(record, "/eventTime")).unwrap_or_default(),
            account,
            region: text(record, "/awsRegion"),
            service: source.strip_suffix(".amazonaws.com").unwrap_or(source),
            call: strip_version(text(record, "/eventName")),
            principal: &self.principal,
            principal_kind: caller.kind,
            session: &self.session,
            session_name: caller.session_name,
            credential: caller.credential,
            mfa,
            source: text(record, "/sourceIPAddress"),
            user_agent: text(record, "/userAgent"),
            error_code: record.pointer("/errorCode").and_then(Value::as_str),
            read_only: record.pointer("/readOnly").and_then(Value::as_bool),
            target: None,
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

fn caller(record: &Value) -> Caller<'_> {
    Caller::of(&Identity {
        kind: text(record, "/userIdentity/type"),
        arn: text(record, "/userIdentity/arn"),
        account: text(record, "/userIdentity/accountId"),
        principal_id: text(record, "/userIdentity/principalId"),
        user_name: text(record, "/userIdentity/userName"),
        access_key_id: text(record, "/userIdentity/accessKeyId"),
        credential_id: "",
        invoked_by: text(record, "/userIdentity/invokedBy"),
        on_behalf_of: "",
        issuer_arn: text(record, "/userIdentity/sessionContext/sessionIssuer/arn"),
        from_console: text(record, "/sessionCredentialFromConsole") == "true",
        signs_in: text(record, "/eventName") == "ConsoleLogin",
        ec2_role_delivery: record.pointer("/userIdentity/sessionContext/ec2RoleDelivery").is_some(),
    })
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
