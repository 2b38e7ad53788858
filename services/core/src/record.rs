//! A raw record as rules see it: any field by its dotted path, the common ones without building a tree.

use std::cell::OnceCell;

use serde_json::Value;

pub use crate::repair::repair;

/// Fields that most rules ask for, already read by the collector. `None` when absent, null or not a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head<'a> {
    pub event_name: &'a str,
    pub event_source: &'a str,
    pub event_type: Option<&'a str>,
    pub aws_region: Option<&'a str>,
    pub source_ip_address: Option<&'a str>,
    pub user_agent: Option<&'a str>,
    pub error_code: Option<&'a str>,
    pub error_message: Option<&'a str>,
    pub recipient_account_id: Option<&'a str>,
    pub identity_type: Option<&'a str>,
    pub identity_arn: Option<&'a str>,
    pub identity_account_id: Option<&'a str>,
    pub identity_user_name: Option<&'a str>,
    pub identity_access_key_id: Option<&'a str>,
    pub identity_invoked_by: Option<&'a str>,
    pub issuer_type: Option<&'a str>,
    pub issuer_arn: Option<&'a str>,
    /// `userIdentity.sessionContext.attributes.mfaAuthenticated`.
    pub mfa_authenticated: Option<&'a str>,
}

/// The large parts of a record, as JSON text of their own, so that only the part that a rule asks for becomes a
/// tree. `None` when absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts<'a> {
    pub request_parameters: Option<&'a str>,
    pub response_elements: Option<&'a str>,
    pub additional_event_data: Option<&'a str>,
}

/// One raw record under examination. Trees of its fields are built on first use only.
#[derive(Debug)]
pub struct RecordView<'a> {
    pub head: Head<'a>,
    raw: &'a str,
    /// A head field had another JSON type than string: paths are answered from the tree alone.
    head_is_partial: bool,
    parts: Option<Parts<'a>>,
    part_trees: [OnceCell<Value>; 3],
    tree: OnceCell<Value>,
}

impl<'a> RecordView<'a> {
    /// `raw` is the record's JSON text, already known to be well-formed and of bounded depth.
    pub fn new(raw: &'a str, head: Head<'a>, head_is_partial: bool) -> Self {
        Self { head, raw, head_is_partial, parts: None, part_trees: Default::default(), tree: OnceCell::new() }
    }

    /// The same record with its parts known.
    pub fn with_parts(self, parts: Parts<'a>) -> Self {
        Self { parts: Some(parts), ..self }
    }

    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// The whole record as a tree; `Value::Null` if the text does not parse.
    pub fn tree(&self) -> &Value {
        self.tree.get_or_init(|| parsed(self.raw))
    }

    /// The value of a field at the record's top level; `None` when absent.
    pub fn field(&self, name: &str) -> Option<&Value> {
        let Some(parts) = &self.parts else {
            return self.tree().get(name);
        };
        let (place, text) = match name {
            "requestParameters" => (0, parts.request_parameters),
            "responseElements" => (1, parts.response_elements),
            "additionalEventData" => (2, parts.additional_event_data),
            _ => return self.tree().get(name),
        };
        text.map(|text| self.part_trees[place].get_or_init(|| parsed(text)))
    }

    /// A head field's text by its dotted path: outer `None` when the path is not a head field (ask the tree),
    /// inner `None` when the record does not have it.
    pub fn head_field(&self, path: &str) -> Option<Option<&'a str>> {
        if self.head_is_partial {
            return None;
        }
        let head = &self.head;
        Some(match path {
            "eventName" => Some(head.event_name),
            "eventSource" => Some(head.event_source),
            "eventType" => head.event_type,
            "awsRegion" => head.aws_region,
            "sourceIPAddress" => head.source_ip_address,
            "userAgent" => head.user_agent,
            "errorCode" => head.error_code,
            "errorMessage" => head.error_message,
            "recipientAccountId" => head.recipient_account_id,
            "userIdentity.type" => head.identity_type,
            "userIdentity.arn" => head.identity_arn,
            "userIdentity.accountId" => head.identity_account_id,
            "userIdentity.userName" => head.identity_user_name,
            "userIdentity.accessKeyId" => head.identity_access_key_id,
            "userIdentity.invokedBy" => head.identity_invoked_by,
            "userIdentity.sessionContext.sessionIssuer.type" => head.issuer_type,
            "userIdentity.sessionContext.sessionIssuer.arn" => head.issuer_arn,
            "userIdentity.sessionContext.attributes.mfaAuthenticated" => head.mfa_authenticated,
            _ => return None,
        })
    }

    /// The value at a dotted path of object keys; `None` when absent.
    pub fn value(&self, path: &str) -> Option<&Value> {
        let mut keys = path.split('.');
        let first = self.field(keys.next()?)?;
        keys.try_fold(first, |value, key| value.get(key))
    }

    /// The text at a dotted path; `None` when absent or not a string.
    pub fn text(&self, path: &str) -> Option<&str> {
        match self.head_field(path) {
            Some(text) => text,
            None => self.value(path)?.as_str(),
        }
    }
}

/// Text that JSON's grammar allows and a tree refuses must not blind the rules, so it is repaired first.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| serde_json::from_str(&repair(text)).unwrap_or(Value::Null))
}
