//! What can be wrong with a message.

use crate::status::{Fault, Retry, status};

/// Why a message is none. The sender's fault; sending the same again does not help.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// A field holds what it cannot.
    #[error("`{field}` {what}")]
    Field { field: &'static str, what: &'static str },
    /// The sender measures features that this program does not know, or by other formulas.
    #[error("measured by version {found} of the features, and this program has version {expected}")]
    Disagrees { found: u32, expected: u32 },
    /// A message larger than is taken; `limit` is in units of `what`.
    #[error("{found} {what}, and at most {limit} are taken")]
    TooLarge { what: &'static str, found: usize, limit: usize },
    #[error("the payload is not compressed as it should be")]
    Compression,
    #[error("the payload is not the message that it should be: {0}")]
    Encoding(#[from] prost::DecodeError),
}

impl From<Invalid> for tonic::Status {
    fn from(invalid: Invalid) -> Self {
        let retry = match invalid {
            Invalid::Disagrees { .. } => Retry::AfterChange,
            _ => Retry::Never,
        };
        status(Fault::Input, retry, invalid)
    }
}
