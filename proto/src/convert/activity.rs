//! Activities.

use trailwarden_core::activity::{Activity, Credential, PrincipalKind};
use trailwarden_core::time::Timestamp;

use crate::{Invalid, v1};

/// An activity off the wire.
///
/// # Errors
/// When it has no event id, or does not tell a kind of principal or credential that is known.
pub fn activity(wire: &v1::Activity) -> Result<Activity<'_>, Invalid> {
    if wire.event_id.is_empty() {
        return Err(Invalid::Field { field: "activity.event_id", what: "is empty" });
    }
    Ok(Activity {
        event_id: &wire.event_id,
        shared_event_id: wire.shared_event_id.as_deref(),
        event_time: Timestamp::from_millis(wire.event_time_ms),
        account: &wire.account,
        region: &wire.region,
        service: &wire.service,
        call: &wire.call,
        principal: &wire.principal,
        principal_kind: principal_kind(wire.principal_kind)?,
        session: &wire.session,
        session_name: &wire.session_name,
        credential: credential(wire.credential)?,
        mfa: wire.mfa,
        source: &wire.source,
        user_agent: &wire.user_agent,
        error_code: wire.error_code.as_deref(),
        read_only: wire.read_only,
        target: wire.target,
    })
}

/// An activity for the wire.
pub fn activity_to_wire(activity: &Activity<'_>) -> v1::Activity {
    v1::Activity {
        event_id: activity.event_id.to_owned(),
        shared_event_id: activity.shared_event_id.map(ToOwned::to_owned),
        event_time_ms: activity.event_time.as_millis(),
        account: activity.account.to_owned(),
        region: activity.region.to_owned(),
        service: activity.service.to_owned(),
        call: activity.call.to_owned(),
        principal: activity.principal.to_owned(),
        principal_kind: principal_kind_to_wire(activity.principal_kind).into(),
        session: activity.session.to_owned(),
        session_name: activity.session_name.to_owned(),
        credential: credential_to_wire(activity.credential).into(),
        mfa: activity.mfa,
        source: activity.source.to_owned(),
        user_agent: activity.user_agent.to_owned(),
        error_code: activity.error_code.map(ToOwned::to_owned),
        read_only: activity.read_only,
        target: activity.target,
    }
}

/// A domain's enum and the wire's, which knows one word more: that nothing was told.
macro_rules! same_words {
    ($field:literal, $from:ident, $to:ident, $name:ident: $($variant:ident),+ $(,)?) => {
        fn $from(wire: i32) -> Result<$name, Invalid> {
            match v1::$name::try_from(wire) {
                $(Ok(v1::$name::$variant) => Ok($name::$variant),)+
                Ok(v1::$name::Unspecified) => Err(Invalid::Field { field: $field, what: "is not told" }),
                Err(_) => Err(Invalid::Field { field: $field, what: "is not known" }),
            }
        }

        const fn $to(domain: $name) -> v1::$name {
            match domain { $($name::$variant => v1::$name::$variant),+ }
        }
    };
}

same_words!(
    "activity.principal_kind", principal_kind, principal_kind_to_wire, PrincipalKind:
    IamUser, Role, Root, AwsService, CrossAccount, Federated, Unknown,
);
same_words!(
    "activity.credential", credential, credential_to_wire, Credential:
    LongTermKey, TemporaryKey, Console, InstanceRole, Service, Root, Unknown,
);
