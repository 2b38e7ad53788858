//! When a model may be asked: pure state machines that are told the time.

pub(crate) mod breaker;
pub(crate) mod bucket;
pub(crate) mod budget;
