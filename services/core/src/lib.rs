//! The domain of Trailwarden: what an activity, a principal, a detection, a case and a verdict are,
//! and every decision made about them.
//!
//! Nothing here reads a file, a clock or the network, and nothing is asynchronous: each decision is a
//! function of its arguments, so a test drives it with plain values and a replay gives the same bytes.

pub mod activity;
pub mod alert;
pub mod api;
pub mod baseline;
pub mod case;
pub mod detection;
pub mod feature;
pub mod fence;
pub mod gather;
pub mod hash;
pub mod language;
pub mod level;
pub mod link;
pub mod live;
pub mod negotiation;
pub mod partition;
pub mod plan;
pub mod policy;
pub mod principal;
pub mod record;
pub mod registry;
mod repair;
pub mod resource;
pub mod response;
pub mod sequence;
pub mod spelling;
pub mod stored;
pub mod time;
pub mod turnstile;
pub mod untrusted;
pub mod window;
