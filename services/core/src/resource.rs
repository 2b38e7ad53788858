//! What a call touched: the things a playbook can act on and a person asks about first.

use serde::{Deserialize, Serialize};

/// A thing in AWS, named by its identifier within an account and region.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resource {
    pub kind: ResourceKind,
    pub account: String,
    pub region: String,
    /// Name, id or ARN as the call gave it; at most 256 bytes. Written by the caller, so never trusted.
    pub id: String,
    /// Whether this event brought it into being.
    pub created: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    User,
    Role,
    AccessKey,
    LoginProfile,
    Instance,
    Bucket,
    Function,
    Trail,
    Detector,
    ConfigRecorder,
    Image,
    Snapshot,
    DbSnapshot,
    KmsKey,
    Secret,
    Parameter,
    SecurityGroup,
    TrustAnchor,
    Policy,
    Model,
    Other,
}
