//! The room against a bus and a store in memory: nothing lost or doubled wherever it dies, and questions answered.

mod epochs;
mod exactly_once;
mod history;
mod questions;
mod support;
