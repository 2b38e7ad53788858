//! The closed vocabulary of AWS APIs, and the classes of what callers can write about themselves.

mod caller;
mod vocabulary;

pub use caller::{AgentFamily, SourceClass, source_network};
pub use vocabulary::{AccessLevel, Vocabulary, strip_version};
