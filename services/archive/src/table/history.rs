//! Rows of `history`: one an event that was taken in after the fact. What happened, and nothing measured.

use trailwarden_core::time::Timestamp;
use trailwarden_proto::v1;

use super::activities::{self, PLAIN, plain};
use super::{Definition, account, day, rules};
use crate::page::Pages;

/// In the order in which [`add`] fills them.
pub(super) const COLUMNS: &[Definition] = activities::COLUMNS.split_at(PLAIN).0;

pub(crate) fn add(pages: &mut Pages, batch: &v1::ActivityBatch) {
    for observation in &batch.observations {
        let Some(activity) = &observation.activity else { continue };
        let resources = observation.details.as_ref().map(activities::resources).unwrap_or_default();
        let rules = rules(observation, &batch.rules);
        let at = Timestamp::from_millis(activity.event_time_ms);
        pages.add(account(&activity.account), &day(at), &plain(observation, activity, &resources, &rules));
    }
}
