//! The wire: messages and services of `trailwarden.v1`, and the only conversions between them and the domain.

pub mod convert;
mod invalid;
pub mod status;
pub mod wire;

pub use invalid::Invalid;

/// Generated from `trailwarden/v1/*.proto`.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    missing_docs,
    unreachable_pub,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("trailwarden.v1");

    /// All descriptors, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
