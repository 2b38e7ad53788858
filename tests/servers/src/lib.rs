//! Real servers for tests: each on a free port of 127.0.0.1, with a store of its own that is gone afterwards.
//!
//! A crate of its own, without a dependency on the product, so that the rooms that talk to a server can run their
//! contract suites against it without building everything that the end-to-end tests build.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read files and clocks of their own; what is banned is banned for what reads hostile input"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod moto;
mod nats;
mod process;
mod smtp;
mod valkey;

pub use moto::Moto;
pub use nats::{Nats, NatsOptions};
pub use process::{free_port, program};
pub use smtp::Smtp;
pub use valkey::{Valkey, ValkeyOptions};
