//! A CloudTrail record, typed and borrowing, as far as every event needs it. The rest of the record is only
//! walked over; rules read it through [`RecordView`].

mod lenient;

use std::borrow::Cow;

use memchr::memchr2_iter;
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess};
use serde_json::value::RawValue;
use trailwarden_core::record::{Head, Parts};
use trailwarden_core::time::Timestamp;

use self::lenient::{Fields, Flag, Object, Text};
use crate::limits::Limits;
use crate::reason::RejectReason;

/// Why a record is not an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) reason: RejectReason,
    pub(crate) detail: Cow<'static, str>,
}

impl Rejection {
    pub(crate) fn new(reason: RejectReason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// The fields that every event needs. Optional fields of another JSON type than expected count as absent.
#[derive(Debug, Default)]
pub(crate) struct Record<'a> {
    pub(crate) event_time: Text<'a>,
    pub(crate) event_source: Text<'a>,
    pub(crate) event_name: Text<'a>,
    pub(crate) event_type: Text<'a>,
    pub(crate) event_category: Text<'a>,
    pub(crate) event_id: Text<'a>,
    pub(crate) shared_event_id: Text<'a>,
    pub(crate) aws_region: Text<'a>,
    pub(crate) source_ip_address: Text<'a>,
    pub(crate) user_agent: Text<'a>,
    pub(crate) error_code: Text<'a>,
    pub(crate) error_message: Text<'a>,
    pub(crate) recipient_account_id: Text<'a>,
    pub(crate) read_only: Flag,
    pub(crate) from_console: Flag,
    pub(crate) identity: UserIdentity<'a>,
    pub(crate) envelope: Envelope<'a>,
    pub(crate) request_parameters: Option<&'a RawValue>,
    pub(crate) response_elements: Option<&'a RawValue>,
    pub(crate) additional_event_data: Option<&'a RawValue>,
    identity_is_mistyped: bool,
}

/// `userIdentity`.
#[derive(Debug, Default)]
pub(crate) struct UserIdentity<'a> {
    pub(crate) kind: Text<'a>,
    pub(crate) arn: Text<'a>,
    pub(crate) account_id: Text<'a>,
    pub(crate) principal_id: Text<'a>,
    pub(crate) user_name: Text<'a>,
    pub(crate) access_key_id: Text<'a>,
    pub(crate) credential_id: Text<'a>,
    pub(crate) invoked_by: Text<'a>,
    pub(crate) on_behalf_of: Object<OnBehalfOf<'a>>,
    pub(crate) context: Object<SessionContext<'a>>,
}

#[derive(Debug, Default)]
pub(crate) struct OnBehalfOf<'a> {
    pub(crate) user_id: Text<'a>,
}

/// `userIdentity.sessionContext`.
#[derive(Debug, Default)]
pub(crate) struct SessionContext<'a> {
    pub(crate) issuer: Object<Issuer<'a>>,
    pub(crate) attributes: Object<Attributes<'a>>,
    pub(crate) ec2_role_delivery: Text<'a>,
}

#[derive(Debug, Default)]
pub(crate) struct Issuer<'a> {
    pub(crate) kind: Text<'a>,
    pub(crate) arn: Text<'a>,
}

#[derive(Debug, Default)]
pub(crate) struct Attributes<'a> {
    pub(crate) mfa: Text<'a>,
    pub(crate) from_console: Flag,
}

/// What tells a wrapper of records, or a file of another kind, from a record.
#[derive(Debug, Default)]
pub(crate) struct Envelope<'a> {
    /// `Records` of a delivered file, or `Events` of LookupEvents.
    pub(crate) records: Option<&'a RawValue>,
    /// `CloudTrailEvent`: a record as a string.
    pub(crate) cloudtrail_event: Text<'a>,
    /// `detail` of an EventBridge event.
    pub(crate) detail: Option<&'a RawValue>,
    pub(crate) is_digest: bool,
}

macro_rules! keys {
    ($name:ident { $($text:literal => $variant:ident),+ $(,)? }) => {
        #[derive(Deserialize)]
        #[serde(field_identifier)]
        enum $name {
            $(#[serde(rename = $text)] $variant,)+
            #[serde(other)]
            Other,
        }
    };
}

keys!(RecordKey {
    "eventTime" => EventTime, "eventSource" => EventSource, "eventName" => EventName, "eventType" => EventType,
    "eventCategory" => EventCategory, "eventID" => EventId, "sharedEventID" => SharedEventId, "awsRegion" => AwsRegion,
    "sourceIPAddress" => SourceIpAddress, "userAgent" => UserAgent, "errorCode" => ErrorCode,
    "errorMessage" => ErrorMessage, "recipientAccountId" => RecipientAccountId, "readOnly" => ReadOnly,
    "sessionCredentialFromConsole" => FromConsole, "userIdentity" => UserIdentity, "Records" => Records,
    "Events" => Events, "CloudTrailEvent" => CloudtrailEvent, "detail" => Detail,
    "digestStartTime" => DigestStartTime, "requestParameters" => RequestParameters,
    "responseElements" => ResponseElements, "additionalEventData" => AdditionalEventData,
});

impl<'de> Fields<'de> for Record<'de> {
    fn fill<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key()? {
            match key {
                RecordKey::EventTime => self.event_time = map.next_value()?,
                RecordKey::EventSource => self.event_source = map.next_value()?,
                RecordKey::EventName => self.event_name = map.next_value()?,
                RecordKey::EventType => self.event_type = map.next_value()?,
                RecordKey::EventCategory => self.event_category = map.next_value()?,
                RecordKey::EventId => self.event_id = map.next_value()?,
                RecordKey::SharedEventId => self.shared_event_id = map.next_value()?,
                RecordKey::AwsRegion => self.aws_region = map.next_value()?,
                RecordKey::SourceIpAddress => self.source_ip_address = map.next_value()?,
                RecordKey::UserAgent => self.user_agent = map.next_value()?,
                RecordKey::ErrorCode => self.error_code = map.next_value()?,
                RecordKey::ErrorMessage => self.error_message = map.next_value()?,
                RecordKey::RecipientAccountId => self.recipient_account_id = map.next_value()?,
                RecordKey::ReadOnly => self.read_only = map.next_value()?,
                RecordKey::FromConsole => self.from_console = map.next_value()?,
                RecordKey::UserIdentity => {
                    let identity: Object<UserIdentity<'de>> = map.next_value()?;
                    self.identity_is_mistyped |= identity.is_mistyped;
                    self.identity = identity.fields;
                }
                RecordKey::Records | RecordKey::Events => self.envelope.records = Some(map.next_value()?),
                RecordKey::CloudtrailEvent => self.envelope.cloudtrail_event = map.next_value()?,
                RecordKey::RequestParameters => self.request_parameters = Some(map.next_value()?),
                RecordKey::ResponseElements => self.response_elements = Some(map.next_value()?),
                RecordKey::AdditionalEventData => self.additional_event_data = Some(map.next_value()?),
                RecordKey::Detail => self.envelope.detail = Some(map.next_value()?),
                RecordKey::DigestStartTime => {
                    let _: IgnoredAny = map.next_value()?;
                    self.envelope.is_digest = true;
                }
                RecordKey::Other => {
                    let _: IgnoredAny = map.next_value()?;
                }
            }
        }
        Ok(())
    }
}

keys!(IdentityKey {
    "type" => Kind, "arn" => Arn, "accountId" => AccountId, "principalId" => PrincipalId, "userName" => UserName,
    "accessKeyId" => AccessKeyId, "credentialId" => CredentialId, "invokedBy" => InvokedBy,
    "onBehalfOf" => OnBehalfOf, "sessionContext" => Context,
});

impl<'de> Fields<'de> for UserIdentity<'de> {
    fn fill<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key()? {
            match key {
                IdentityKey::Kind => self.kind = map.next_value()?,
                IdentityKey::Arn => self.arn = map.next_value()?,
                IdentityKey::AccountId => self.account_id = map.next_value()?,
                IdentityKey::PrincipalId => self.principal_id = map.next_value()?,
                IdentityKey::UserName => self.user_name = map.next_value()?,
                IdentityKey::AccessKeyId => self.access_key_id = map.next_value()?,
                IdentityKey::CredentialId => self.credential_id = map.next_value()?,
                IdentityKey::InvokedBy => self.invoked_by = map.next_value()?,
                IdentityKey::OnBehalfOf => self.on_behalf_of = map.next_value()?,
                IdentityKey::Context => self.context = map.next_value()?,
                IdentityKey::Other => {
                    let _: IgnoredAny = map.next_value()?;
                }
            }
        }
        Ok(())
    }
}

keys!(OnBehalfOfKey { "userId" => UserId });

impl<'de> Fields<'de> for OnBehalfOf<'de> {
    fn fill<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key()? {
            match key {
                OnBehalfOfKey::UserId => self.user_id = map.next_value()?,
                OnBehalfOfKey::Other => {
                    let _: IgnoredAny = map.next_value()?;
                }
            }
        }
        Ok(())
    }
}

keys!(ContextKey { "sessionIssuer" => Issuer, "attributes" => Attributes, "ec2RoleDelivery" => Ec2RoleDelivery });

impl<'de> Fields<'de> for SessionContext<'de> {
    fn fill<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key()? {
            match key {
                ContextKey::Issuer => self.issuer = map.next_value()?,
                ContextKey::Attributes => self.attributes = map.next_value()?,
                ContextKey::Ec2RoleDelivery => self.ec2_role_delivery = map.next_value()?,
                ContextKey::Other => {
                    let _: IgnoredAny = map.next_value()?;
                }
            }
        }
        Ok(())
    }
}

keys!(IssuerKey { "type" => Kind, "arn" => Arn });

impl<'de> Fields<'de> for Issuer<'de> {
    fn fill<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key()? {
            match key {
                IssuerKey::Kind => self.kind = map.next_value()?,
                IssuerKey::Arn => self.arn = map.next_value()?,
                IssuerKey::Other => {
                    let _: IgnoredAny = map.next_value()?;
                }
            }
        }
        Ok(())
    }
}

keys!(AttributesKey { "mfaAuthenticated" => Mfa, "sessionCredentialFromConsole" => FromConsole });

impl<'de> Fields<'de> for Attributes<'de> {
    fn fill<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key()? {
            match key {
                AttributesKey::Mfa => self.mfa = map.next_value()?,
                AttributesKey::FromConsole => self.from_console = map.next_value()?,
                AttributesKey::Other => {
                    let _: IgnoredAny = map.next_value()?;
                }
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Record<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Object::deserialize(deserializer)?.fields)
    }
}

const EVENT_NAME_BYTES_MAX: usize = 256;
/// The longest name that DNS allows.
const HOST_NAME_BYTES_MAX: usize = 253;

impl Record<'_> {
    /// Whether the record is an event, and when it happened. `raw` is its text.
    pub(crate) fn check(&self, raw: &str, limits: &Limits) -> Result<Timestamp, Rejection> {
        if raw.len() > limits.record_bytes_max {
            let detail = format!("{} bytes, at most {} are read", raw.len(), limits.record_bytes_max);
            return Err(Rejection::new(RejectReason::RecordTooLarge, detail));
        }
        check_nesting(raw, limits.nesting_max)?;
        if self.envelope.is_digest && self.event_name.is_absent() {
            return Err(Rejection::new(RejectReason::Digest, ""));
        }
        if self.is_insight() {
            return Err(Rejection::new(RejectReason::Insight, ""));
        }
        let event_time = self.event_time.get().and_then(Timestamp::parse);
        let required = [
            ("eventTime", &self.event_time, event_time.is_some()),
            ("eventSource", &self.event_source, self.event_source.get().is_some_and(is_host_name)),
            ("eventName", &self.event_name, self.event_name.get().is_some_and(is_event_name)),
        ];
        match event_time {
            Some(time) if required.iter().all(|(_, _, is_valid)| *is_valid) => return Ok(time),
            _ => {}
        }
        if required.iter().all(|(_, text, _)| text.is_absent()) {
            return Err(Rejection::new(RejectReason::NotCloudtrail, "has none of eventTime, eventSource, eventName"));
        }
        let is_missing_only = required.iter().all(|(_, text, is_valid)| *is_valid || text.is_absent());
        let names = required.iter().filter(|(_, _, is_valid)| !is_valid);
        let detail = names.map(|(name, _, _)| *name).collect::<Vec<_>>().join(", ");
        let reason = if is_missing_only { RejectReason::MissingField } else { RejectReason::InvalidField };
        Err(Rejection::new(reason, detail))
    }

    /// Insights records have neither source nor name of their own.
    fn is_insight(&self) -> bool {
        (self.event_source.is_absent() || self.event_name.is_absent())
            && (self.event_category.get() == Some("Insight") || self.event_type.get() == Some("AwsCloudTrailInsight"))
    }

    /// Whether it is a record or holds some, rather than an object within a record.
    pub(crate) fn is_complete(&self) -> bool {
        let is_event = !self.event_name.is_absent() && !self.event_time.is_absent();
        let envelope = &self.envelope;
        is_event || envelope.records.is_some() || envelope.cloudtrail_event.get().is_some() || envelope.detail.is_some()
    }

    /// The parts that rules look into, as they stand.
    pub(crate) fn parts(&self) -> Parts<'_> {
        Parts {
            request_parameters: self.request_parameters.map(RawValue::get),
            response_elements: self.response_elements.map(RawValue::get),
            additional_event_data: self.additional_event_data.map(RawValue::get),
        }
    }

    /// The head that rules read, and whether a field of it had another type than text.
    /// The source is the global partition's, so that rules hold for China, where it may end in `.amazonaws.com.cn`.
    pub(crate) fn head(&self) -> (Head<'_>, bool) {
        let identity = &self.identity;
        let context = &identity.context.fields;
        let issuer = &context.issuer.fields;
        let head = Head {
            event_name: self.event_name.get().unwrap_or_default(),
            event_source: without_partition(self.event_source.get().unwrap_or_default()),
            event_type: self.event_type.get(),
            aws_region: self.aws_region.get(),
            source_ip_address: self.source_ip_address.get(),
            user_agent: self.user_agent.get(),
            error_code: self.error_code.get(),
            error_message: self.error_message.get(),
            recipient_account_id: self.recipient_account_id.get(),
            identity_type: identity.kind.get(),
            identity_arn: identity.arn.get(),
            identity_account_id: identity.account_id.get(),
            identity_user_name: identity.user_name.get(),
            identity_access_key_id: identity.access_key_id.get(),
            identity_invoked_by: identity.invoked_by.get(),
            issuer_type: issuer.kind.get(),
            issuer_arn: issuer.arn.get(),
            mfa_authenticated: context.attributes.fields.mfa.get(),
        };
        let texts = [
            &self.event_type,
            &self.aws_region,
            &self.source_ip_address,
            &self.user_agent,
            &self.error_code,
            &self.error_message,
            &self.recipient_account_id,
            &identity.kind,
            &identity.arn,
            &identity.account_id,
            &identity.user_name,
            &identity.access_key_id,
            &identity.invoked_by,
            &issuer.kind,
            &issuer.arn,
            &context.attributes.fields.mfa,
        ];
        let is_partial = texts.iter().any(|text| text.is_mistyped())
            || self.identity_is_mistyped
            || identity.context.is_mistyped
            || context.issuer.is_mistyped
            || context.attributes.is_mistyped;
        (head, is_partial)
    }
}

fn without_partition(event_source: &str) -> &str {
    match event_source.strip_suffix(".cn") {
        Some(global) if global.ends_with(".amazonaws.com") => global,
        _ => event_source,
    }
}

/// Counts brackets first, which is cheap: few records have enough of them to be too deep.
pub(crate) fn check_nesting(raw: &str, nesting_max: usize) -> Result<(), Rejection> {
    let brackets: usize = raw.as_bytes().chunks(255).map(count_opening).sum();
    if brackets <= nesting_max || nesting(raw.as_bytes()) <= nesting_max {
        return Ok(());
    }
    let detail = format!("deeper than {nesting_max} levels");
    Err(Rejection::new(RejectReason::TooDeep, detail))
}

/// `[` is 0x5b and `{` is 0x7b. A chunk of at most 255 bytes keeps the count in a byte, which vectorises.
fn count_opening(chunk: &[u8]) -> usize {
    let count = chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    usize::from(count)
}

fn nesting(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = string_end(bytes, at + 1),
            _ => {}
        }
        at += 1;
    }
    deepest
}

/// The index of the quote that closes the string whose content starts at `start`.
pub(crate) fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut escaped = usize::MAX;
    for offset in memchr2_iter(b'"', b'\\', &bytes[start.min(bytes.len())..]) {
        let at = start + offset;
        if at == escaped {
            continue;
        }
        if bytes[at] == b'"' {
            return at;
        }
        escaped = at + 1;
    }
    bytes.len()
}

/// `iam.amazonaws.com`: at least two labels of letters, digits and inner hyphens.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= HOST_NAME_BYTES_MAX && text.contains('.') && text.split('.').all(is_label)
}

/// Names start with a letter or digit; a few services write spaces and punctuation into them.
fn is_event_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/ ".contains(&byte);
    text.len() <= EVENT_NAME_BYTES_MAX
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(is_inner)
}
