//! What the end-to-end suites share: the binary under test, records to feed it, the repository to look over.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read files and clocks of their own; what is banned is banned for what reads hostile input"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![allow(clippy::print_stderr, reason = "a test that could not run says so")]

pub mod cluster;
pub mod command;
pub mod detection_figures;
pub mod fence_model;
pub mod injections;
pub mod packages;
pub mod plans;
pub mod records;
pub mod repository;

pub use trailwarden_servers as servers;
