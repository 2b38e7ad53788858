//! What can go wrong between a question and an answer.

use std::time::Duration;

use trailwarden_runtime::transport;

/// Text of others in here is cut to [`crate::SAID_CHARS_MAX`], free of control characters and of the secrets sent.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("no answer within {after:?}")]
    Timeout { after: Duration },
    #[error("the model's service is not reached: {0}")]
    Unreachable(String),
    /// Status 429, or a limit of our own: then `ours` is set and nothing was sent.
    #[error("asked too often{}: {said}", if *ours { " by our own limit" } else { "" })]
    Limited { ours: bool, retry_after: Option<Duration>, said: String },
    #[error("the model's service refuses with status {status}: {said}")]
    Refused { status: u16, said: String },
    #[error("the model's service is unavailable, status {status}: {said}")]
    Unavailable { status: u16, retry_after: Option<Duration>, said: String },
    /// An answer came that is none: no JSON, another shape, no output in it.
    #[error("the answer is malformed: {0}")]
    Malformed(String),
    #[error("the answer is larger than {bytes_max} bytes and was cut off")]
    TooLarge { bytes_max: usize },
    #[error("the day's budget of {of} is spent")]
    BudgetSpent { of: &'static str },
    #[error("asking is paused after failures, for another {wait:?}")]
    BreakerOpen { wait: Duration },
    #[error("a client cannot be made of this: {0}")]
    Configuration(String),
    /// A local model's file is not what was pinned, or nothing that can be run.
    #[error("the local model: {0}")]
    Local(String),
}

/// [`Error`] without what was said: what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Timeout,
    Unreachable,
    Limited,
    Refused,
    Unavailable,
    Malformed,
    TooLarge,
    BudgetSpent,
    BreakerOpen,
    Configuration,
    Local,
}

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The model's service.
    Peer,
    /// Our own bounds or configuration.
    Ours,
}

impl Error {
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Timeout { .. } => Kind::Timeout,
            Self::Unreachable(_) => Kind::Unreachable,
            Self::Limited { .. } => Kind::Limited,
            Self::Refused { .. } => Kind::Refused,
            Self::Unavailable { .. } => Kind::Unavailable,
            Self::Malformed(_) => Kind::Malformed,
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::BudgetSpent { .. } => Kind::BudgetSpent,
            Self::BreakerOpen { .. } => Kind::BreakerOpen,
            Self::Configuration(_) => Kind::Configuration,
            Self::Local(_) => Kind::Local,
        }
    }

    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Limited { ours: true, .. }
            | Self::Refused { .. }
            | Self::BudgetSpent { .. }
            | Self::Configuration(_)
            | Self::Local(_) => Fault::Ours,
            _ => Fault::Peer,
        }
    }

    /// Whether the same question may be answered if it is put again a little later.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Limited { .. } | Self::Unavailable { .. })
    }

    /// How long to wait before that, where somebody said so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Limited { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the service may have worked, and charge for it, though no usage was reported.
    #[must_use]
    pub const fn may_have_cost(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Unreachable(_) | Self::Malformed(_) | Self::TooLarge { .. })
    }
}

impl From<transport::Error> for Error {
    fn from(error: transport::Error) -> Self {
        match error {
            transport::Error::Timeout { after } => Self::Timeout { after },
            transport::Error::Unreachable(why) => Self::Unreachable(why),
            transport::Error::Limited { retry_after, said } => Self::Limited { ours: false, retry_after, said },
            transport::Error::Refused { status, said } => Self::Refused { status, said },
            transport::Error::Unavailable { status, retry_after, said } => {
                Self::Unavailable { status, retry_after, said }
            }
            transport::Error::Malformed(what) => Self::Malformed(what),
            transport::Error::TooLarge { bytes_max } => Self::TooLarge { bytes_max },
            transport::Error::Configuration(what) => Self::Configuration(what),
            // What the transport learns to tell apart later is, until it is told apart here, a service out of reach.
            other => Self::Unreachable(other.to_string()),
        }
    }
}
