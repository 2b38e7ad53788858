//! Rules through the engine's front door: load YAML, evaluate records, fold matches.

#[path = "../support/mod.rs"]
mod support;

mod correlations;
mod hostile;
mod loading;
mod matching;
