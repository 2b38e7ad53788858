//! The actors that gather signals into cases and judge them.
//!
//! [`service::run`] is all of it: a case builder that folds the signals of all partitions, workers that judge what follows
//! and log it, each under a parent of [`supervision`], and a service that lists, shows, watches and labels what is logged.

mod apart;
mod api;
mod builder;
mod docket;
mod door;
mod drive;
mod entry;
#[cfg(test)]
mod fixtures;
mod fold;
mod follow;
mod judge;
mod log;
#[cfg(test)]
mod mortal;
pub mod panel;
pub mod service;
mod shard;
mod site;
pub mod supervision;
mod view;
mod watch;

pub use door::Approvers;
pub use judge::{Judge, Judged};
