//! Composition of the stages and the operator's commands.

pub mod background;
mod calibrate;
pub mod capsule;
pub mod case;
mod case_lines;
pub mod command;
pub mod config;
pub mod demo;
pub mod doctor;
mod event_lines;
pub mod figures;
pub mod findings;
pub mod histogram;
pub mod lab;
pub mod line;
pub mod lines;
pub mod markdown;
pub mod models;
pub mod notify;
pub mod ocsf;
mod outputs;
pub mod progress;
pub mod query;
pub mod recording;
pub mod report;
pub mod rules;
pub mod run;
mod sampling;
pub mod scan;
pub mod techniques;
pub mod terminal;
pub mod words;

pub use trailwarden_core::untrusted;
