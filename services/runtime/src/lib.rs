//! How every process is observed, served, and stopped; and how it asks others over HTTP.

pub mod alert;
pub mod backoff;
pub mod event;
pub mod failpoint;
pub mod metrics;
pub mod pace;
pub mod quoted;
pub mod readiness;
pub mod roster;
pub mod secret;
pub mod serve;
pub mod shutdown;
pub mod sigv4;
pub mod status;
pub mod telemetry;
pub mod transport;
pub mod usage;

use std::sync::Arc;

use trailwarden_core::time::Timestamp;

/// The wall clock, as a parameter.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
