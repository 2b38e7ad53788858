//! Who hears of what, once: routes and quiet hours, the throttle, words in English and Korean, and the channels.
//!
//! What is decided is pure and told the time ([`route`], [`throttle`], [`words`]); [`service::run`] is the shell that
//! watches the bus, moves the throttle's state by compare-and-set, and sends.

pub mod channel;
pub mod config;
mod intake;
pub mod route;
pub mod service;
pub mod store;
pub mod throttle;
pub mod words;
