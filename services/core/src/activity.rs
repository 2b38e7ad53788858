//! An activity: one normalised event. Everything downstream of the collector sees events as these.

use serde::{Deserialize, Serialize};

use crate::detection::Match;
use crate::link::Link;
use crate::resource::Resource;
use crate::time::Timestamp;

/// One normalised event, borrowing its text from wherever it was read.
///
/// Absent text is the empty string; `Option` is kept where absence says something of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activity<'a> {
    /// CloudTrail's `eventID`, or one derived from the record's content where it has none.
    pub event_id: &'a str,
    /// Marks one cross-account act that was delivered under two event ids.
    pub shared_event_id: Option<&'a str>,
    pub event_time: Timestamp,
    /// The account the event was recorded in, else the caller's; empty when neither is named.
    pub account: &'a str,
    pub region: &'a str,
    /// `eventSource` without `.amazonaws.com`: `iam`.
    pub service: &'a str,
    /// `eventName` without a version suffix: `UpdateFunctionCode`, not `UpdateFunctionCode20150331v2`.
    pub call: &'a str,
    /// Who acts: see [`PrincipalKind`] for what stands here.
    pub principal: &'a str,
    pub principal_kind: PrincipalKind,
    /// One credential's use: the access key id, else `console:<principal>` for a console sign-in (with the
    /// session name behind it for a role), else empty.
    pub session: &'a str,
    /// Role session name or user name; written by the caller, so never trusted.
    pub session_name: &'a str,
    pub credential: Credential,
    /// Whether the credential was obtained with MFA; `None` when the record does not say.
    pub mfa: Option<bool>,
    /// `sourceIPAddress`: an address or a service's host name.
    pub source: &'a str,
    pub user_agent: &'a str,
    pub error_code: Option<&'a str>,
    pub read_only: Option<bool>,
    /// Hash of the thing that the request names (see [`crate::resource::target`]); `None` when it names none.
    pub target: Option<u64>,
}

impl Activity<'_> {
    /// `iam:PutUserPolicy`.
    pub fn api(&self) -> String {
        format!("{}:{}", self.service, self.call)
    }

    /// Whether AWS refused the call for lack of permission (as opposed to a call that was wrong or throttled).
    pub fn denied(&self) -> bool {
        self.error_code.is_some_and(is_denial)
    }
}

/// Whether an error code says that permission was lacking. Services spell it in many ways
/// (`AccessDenied`, `AccessDeniedException`, `Client.UnauthorizedOperation`, `UnauthorizedAccess`, ...).
pub fn is_denial(error_code: &str) -> bool {
    ["AccessDenied", "Unauthorized", "NotAuthorized", "Forbidden"].iter().any(|word| error_code.contains(word))
}

/// An activity with all that was read off its raw record while that was still in memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation<'a> {
    #[serde(borrow)]
    pub activity: Activity<'a>,
    /// Credentials this event issued or instances it took hold of.
    pub links: Vec<Link>,
    /// Single-event rules that matched, ordered by rule.
    pub matches: Vec<Match>,
    /// Kept only where a rule matched: what the event touched and its request, cut to size.
    pub details: Option<Details>,
}

/// What a person or a playbook needs of the raw record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    pub resources: Vec<Resource>,
    /// `requestParameters` as JSON text, at most [`Details::PARAMETERS_BYTES_MAX`] bytes.
    pub parameters: String,
    pub error_message: String,
}

impl Details {
    pub const PARAMETERS_BYTES_MAX: usize = 2 * 1024;
    pub const ERROR_MESSAGE_BYTES_MAX: usize = 1024;

    /// Whether the parameters were longer than is kept: they end with `…` then.
    pub fn parameters_are_cut(&self) -> bool {
        self.parameters.ends_with('…')
    }
}

/// What kind of caller stands behind a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// The user's ARN.
    IamUser,
    /// The role's ARN (`arn:aws:iam::111122223333:role/Name`), never the session's.
    Role,
    /// `arn:aws:iam::<account>:root`.
    Root,
    /// The service's host name, `config.amazonaws.com`.
    AwsService,
    /// A caller of another account: `<account>/<principal id>`.
    CrossAccount,
    /// A federated, SAML, web-identity or Identity Center user.
    Federated,
    /// The record names nobody: `unknown`.
    Unknown,
}

/// What the caller held. An attacker cannot set this: AWS writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// An IAM user's `AKIA…` key.
    LongTermKey,
    /// `ASIA…`: an assumed role, `GetSessionToken` or federation.
    TemporaryKey,
    /// A person in the console.
    Console,
    /// Credentials that an instance's metadata service handed out.
    InstanceRole,
    /// A service acting for itself, or for a principal (`invokedBy`).
    Service,
    Root,
    Unknown,
}
