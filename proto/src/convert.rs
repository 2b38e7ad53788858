//! The only conversions between the wire and the domain. What comes in is checked here and nowhere else; text is borrowed
//! where the domain's type allows it.

mod activity;
mod alert;
mod measured;
mod observation;
#[cfg(test)]
mod tests;

pub use activity::{activity, activity_to_wire};
pub use alert::{alert, alert_to_wire};
pub use measured::{agrees, features, features_to_wire, level, level_to_wire, sequence, sequence_to_wire};
pub use observation::{Rules, Table};
