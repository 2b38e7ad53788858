//! Records as rules see them, made from JSON.

use serde_json::Value;
use trailwarden_core::activity::{Activity, Credential, PrincipalKind};
use trailwarden_core::detection::{Match, RuleSet};
use trailwarden_core::record::{Head, RecordView};
use trailwarden_core::registry::Registry;
use trailwarden_core::time::Timestamp;

/// The matches of one record, given as JSON text.
pub(crate) fn evaluate(rules: &RuleSet, raw: &str) -> Vec<Match> {
    let record: Value = serde_json::from_str(raw).expect("valid JSON");
    let (head, is_partial) = head(&record);
    let view = RecordView::new(raw, head, is_partial);
    let mut matches = Vec::new();
    rules.evaluate(&view, &activity(&record), &Registry::default(), &mut matches);
    matches
}

/// The head of a record, and whether a field of it has another type than text.
pub(crate) fn head(record: &Value) -> (Head<'_>, bool) {
    let mut is_partial = false;
    let mut text = |path: &str| {
        let found = path.split('.').try_fold(record, |value, key| value.get(key));
        match found {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.as_str()),
            Some(_) => {
                is_partial = true;
                None
            }
        }
    };
    let head = Head {
        event_name: text("eventName").unwrap_or_default(),
        event_source: text("eventSource").unwrap_or_default(),
        event_type: text("eventType"),
        aws_region: text("awsRegion"),
        source_ip_address: text("sourceIPAddress"),
        user_agent: text("userAgent"),
        error_code: text("errorCode"),
        error_message: text("errorMessage"),
        recipient_account_id: text("recipientAccountId"),
        identity_type: text("userIdentity.type"),
        identity_arn: text("userIdentity.arn"),
        identity_account_id: text("userIdentity.accountId"),
        identity_user_name: text("userIdentity.userName"),
        identity_access_key_id: text("userIdentity.accessKeyId"),
        identity_invoked_by: text("userIdentity.invokedBy"),
        issuer_type: text("userIdentity.sessionContext.sessionIssuer.type"),
        issuer_arn: text("userIdentity.sessionContext.sessionIssuer.arn"),
        mfa_authenticated: text("userIdentity.sessionContext.attributes.mfaAuthenticated"),
    };
    (head, is_partial)
}

/// As much of an activity as derived facts and correlations ask for.
pub(crate) fn activity(record: &Value) -> Activity<'_> {
    let text = |path: &str| {
        let found = path.split('.').try_fold(record, |value, key| value.get(key));
        found.and_then(Value::as_str).unwrap_or_default()
    };
    let source = text("eventSource");
    let name = text("eventName");
    let version = name.find("20").unwrap_or(name.len());
    Activity {
        event_id: text("eventID"),
        shared_event_id: None,
        event_time: Timestamp::parse(text("eventTime")).unwrap_or_default(),
        account: text("recipientAccountId"),
        region: text("awsRegion"),
        service: source.strip_suffix(".amazonaws.com").unwrap_or(source),
        call: &name[..version],
        principal: text("userIdentity.arn"),
        principal_kind: PrincipalKind::Unknown,
        session: text("userIdentity.accessKeyId"),
        session_name: "",
        credential: Credential::Unknown,
        mfa: None,
        source: text("sourceIPAddress"),
        user_agent: text("userAgent"),
        error_code: record.get("errorCode").and_then(Value::as_str),
        read_only: None,
    }
}
