//! From a checked record to an [`Activity`].

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};
use trailwarden_core::activity::Activity;
use trailwarden_core::api::strip_version;
use trailwarden_core::principal::{Caller, Identity};
use trailwarden_core::record::{Head, RecordView};
use trailwarden_core::resource::target;
use trailwarden_core::time::Timestamp;

use crate::parse::Record;

/// Calls `observe` with the record as rules see it and the activity it stands for.
pub(crate) fn with_activity<R>(
    raw: &str,
    record: &Record<'_>,
    event_time: Timestamp,
    observe: impl for<'a> FnOnce(&RecordView<'a>, Activity<'a>) -> R,
) -> R {
    let (head, is_partial) = record.head();
    let view = RecordView::new(raw, head, is_partial).with_parts(record.parts());
    let service = service(head.event_source);
    let call = strip_version(head.event_name);
    // Every event of the sign-in service is a person at the console, but for a program that asks for a sign-in token.
    let signs_in = service == "signin" && call != "GetSigninToken";
    let caller = Caller::of(&identity(record, &head, signs_in));
    let derived_id;
    let event_id = match record.event_id.get() {
        Some(id) if !id.is_empty() => id,
        _ => {
            derived_id = derive_event_id(view.tree());
            &derived_id
        }
    };
    let mfa = record.identity.context.fields.attributes.fields.mfa.as_bool();
    let activity = Activity {
        event_id,
        shared_event_id: record.shared_event_id.get().filter(|id| !id.is_empty()),
        event_time,
        account: head
            .recipient_account_id
            .filter(|account| !account.is_empty())
            .or(head.identity_account_id)
            .unwrap_or_default(),
        region: head.aws_region.unwrap_or_default(),
        service,
        call,
        principal: &caller.principal,
        principal_kind: caller.kind,
        session: &caller.session,
        session_name: caller.session_name,
        credential: caller.credential,
        mfa: if signs_in { mfa.or_else(|| mfa_of_sign_in(&view)) } else { mfa },
        source: head.source_ip_address.unwrap_or_default(),
        user_agent: head.user_agent.unwrap_or_default(),
        error_code: head.error_code.filter(|code| !code.is_empty()),
        read_only: record.read_only.0,
        target: record.parts().request_parameters.and_then(target),
    };
    observe(&view, activity)
}

fn identity<'a>(record: &'a Record<'_>, head: &Head<'a>, signs_in: bool) -> Identity<'a> {
    let identity = &record.identity;
    let context = &identity.context.fields;
    let attributes = &context.attributes.fields;
    Identity {
        kind: head.identity_type.unwrap_or_default(),
        arn: head.identity_arn.unwrap_or_default(),
        account: head.identity_account_id.unwrap_or_default(),
        principal_id: identity.principal_id.get().unwrap_or_default(),
        user_name: head.identity_user_name.unwrap_or_default(),
        access_key_id: head.identity_access_key_id.unwrap_or_default(),
        credential_id: identity.credential_id.get().unwrap_or_default(),
        invoked_by: head.identity_invoked_by.unwrap_or_default(),
        on_behalf_of: identity.on_behalf_of.fields.user_id.get().unwrap_or_default(),
        issuer_arn: head.issuer_arn.unwrap_or_default(),
        from_console: record.from_console.0 == Some(true) || attributes.from_console.0 == Some(true),
        signs_in,
        ec2_role_delivery: !context.ec2_role_delivery.is_absent(),
    }
}

fn mfa_of_sign_in(view: &RecordView<'_>) -> Option<bool> {
    match view.text("additionalEventData.MFAUsed")? {
        "Yes" => Some(true),
        "No" => Some(false),
        _ => None,
    }
}

/// `iam` of `iam.amazonaws.com`.
fn service(event_source: &str) -> &str {
    let partitions = [".amazonaws.com", ".amazonaws.com.cn"];
    let stripped = partitions.iter().find_map(|suffix| event_source.strip_suffix(suffix));
    stripped.unwrap_or(event_source)
}

/// An id for a record that has none: SHA-256, cut to 128 bits, over the record with its keys in order,
/// so that two deliveries of it are found to be one.
fn derive_event_id(tree: &Value) -> String {
    let digest = Sha256::digest(tree.to_string().as_bytes());
    let mut id = String::from("derived:");
    for byte in &digest[..16] {
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_without_its_partition() {
        assert_eq!(service("iam.amazonaws.com"), "iam");
        assert_eq!(service("iam.amazonaws.com.cn"), "iam");
        assert_eq!(service("idp.example.com"), "idp.example.com");
    }

    #[test]
    fn the_order_of_keys_does_not_change_a_derived_id() {
        let id = |text: &str| derive_event_id(&serde_json::from_str(text).expect("valid"));
        assert_eq!(id(r#"{"a":1,"b":{"c":2,"d":3}}"#), id(r#"{ "b":{"d":3,"c":2}, "a":1 }"#));
        assert_ne!(id(r#"{"a":1}"#), id(r#"{"a":2}"#));
    }
}
