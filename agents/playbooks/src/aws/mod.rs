//! The only way to AWS that can change something there: one client for every operation that a playbook names, driven by
//! the facts in `data/protocols.json`.

mod client;
mod credentials;
mod endpoint;
mod error;
pub(crate) mod facts;
mod read;
mod write;

use async_trait::async_trait;
use serde_json::Value;

pub use client::{Client, Settings};
pub use credentials::BaseCredentials;
pub use error::AwsError;
pub use trailwarden_runtime::secret::Secret;
pub use trailwarden_runtime::sigv4::Credentials;

/// On whose behalf, and how narrowly, a call is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// 12 digits: the account whose executor role is assumed.
    pub account: String,
    /// Source identity of the role's session: what CloudTrail shows beside each call.
    pub case: String,
    /// The role's session may do no more than this policy says, whatever the role may.
    pub session_policy: String,
}

/// A call whose every value is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub service: String,
    pub operation: String,
    pub parameters: Value,
    pub region: Option<String>,
}

/// Where calls go: AWS, or a twin that a test holds.
#[async_trait]
pub trait Aws: Send + Sync {
    /// Makes one call, once: whether to try again is decided where the action's life is.
    ///
    /// # Errors
    /// Typed by what helps against them.
    async fn call(&self, scope: &Scope, request: &Request) -> Result<Value, AwsError>;
}
