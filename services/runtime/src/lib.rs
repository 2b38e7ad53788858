//! How every process is observed, served, and stopped.

pub mod alert;
pub mod backoff;
pub mod event;
pub mod failpoint;
pub mod metrics;
pub mod pace;
pub mod readiness;
pub mod roster;
pub mod serve;
pub mod shutdown;
pub mod status;
pub mod telemetry;

use std::sync::Arc;

use trailwarden_core::time::Timestamp;

/// The wall clock, as a parameter.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
