//! How a model is asked: clients of four kinds of service, the gateway before them, and a small model of our own.
//!
//! What comes back is untrusted. Nothing here decides anything about a case: a caller gets text within bounds, in bounded
//! time, or one of a few errors, and every token that may have been paid for is counted.

mod error;
mod gateway;
mod local;
mod model;
mod policy;
mod service;
mod typed;
mod wire;

use std::sync::Arc;

use trailwarden_core::time::Timestamp;

pub use error::{Error, Fault, Kind};
pub use gateway::{Gateway, Policy, Snapshot, ToTenant};
pub use local::{Advisor, Distant, Form, Pinned, Runner, Vote, Voter, Weighed};
pub use model::{Model, Question, Reply, Usage};
pub use policy::breaker::{Breaker, BreakerPolicy, Outcome, Permit, Phase};
pub use policy::bucket::Bucket;
pub use policy::budget::{Budgets, Day, Limits, Price, Reservation, Spent};
pub use service::{Access, Client, Output, Provider, Service, ToolChoice};
pub use trailwarden_runtime::quoted::SAID_CHARS_MAX;
pub use trailwarden_runtime::secret::Secret;
pub use trailwarden_runtime::sigv4::Credentials;
pub use trailwarden_runtime::transport::{Bounds, Transport};
pub use typed::{Asked, ask_typed};

/// The wall clock, as a parameter: signatures carry it, and budgets are counted by its day.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
