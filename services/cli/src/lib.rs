//! Composition of the stages and the operator's commands.

pub mod config;
