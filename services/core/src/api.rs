//! The closed vocabulary of AWS APIs, and the classes of what callers can write about themselves.

/// What an API can do, as AWS's service authorization reference classes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessLevel {
    List,
    Read,
    Tagging,
    Write,
    PermissionsManagement,
}

/// The APIs that exist, with their access level.
#[derive(Debug, Default)]
pub struct Vocabulary {}

impl Vocabulary {
    /// The vocabulary that is compiled in.
    pub fn builtin() -> Self {
        Self {}
    }

    /// The access level of `iam`, `CreateUser`; `None` when there is no such API.
    pub fn access_level(&self, _service: &str, _call: &str) -> Option<AccessLevel> {
        None
    }
}

/// Who wrote a user agent, as far as it can be told. A caller can write anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgentFamily {
    AwsCli,
    Boto,
    JavaSdk,
    GoSdk,
    JavascriptSdk,
    OtherSdk,
    Terraform,
    CloudFormation,
    Console,
    Browser,
    AwsService,
    Other,
    Empty,
}

impl AgentFamily {
    pub fn of(_user_agent: &str) -> Self {
        Self::Other
    }
}

/// Where a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceClass {
    /// A service's host name, or `AWS Internal`.
    AwsService,
    PrivateAddress,
    PublicAddress,
    Unknown,
}

impl SourceClass {
    pub fn of(_source: &str) -> Self {
        Self::Unknown
    }
}

/// The network a source belongs to, as history remembers it: IPv4 /24, IPv6 /48, or the name itself.
pub fn source_network(source: &str) -> &str {
    source
}
