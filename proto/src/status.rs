//! The one table from what went wrong to what a caller is told.

use std::fmt;

use tonic::{Code, Status};

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request.
    Input,
    /// Something that we depend on: the broker, the store.
    Peer,
    Us,
}

/// Whether sending the same again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    Never,
    /// As it is, after a while.
    Later,
    /// Once something else has changed: a version, a set-up.
    AfterChange,
}

/// The code for a fault.
pub const fn code(fault: Fault, retry: Retry) -> Code {
    match (fault, retry) {
        (Fault::Input, Retry::Never) => Code::InvalidArgument,
        (Fault::Input, Retry::Later) => Code::ResourceExhausted,
        (Fault::Input | Fault::Peer, Retry::AfterChange) => Code::FailedPrecondition,
        (Fault::Peer | Fault::Us, Retry::Later) => Code::Unavailable,
        (Fault::Peer | Fault::Us, _) => Code::Internal,
    }
}

/// What a caller is told.
pub fn status(fault: Fault, retry: Retry, message: impl fmt::Display) -> Status {
    Status::new(code(fault, retry), message.to_string())
}

/// What was asked for does not exist.
pub fn absent(what: impl fmt::Display) -> Status {
    Status::not_found(format!("there is no {what}"))
}

/// What was asked for is part of the contract and not built yet.
pub fn not_built(what: impl fmt::Display) -> Status {
    Status::unimplemented(format!("{what} is not built yet"))
}
