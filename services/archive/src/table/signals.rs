//! Rows of `signals`: one an event that goes on, with its score.

use trailwarden_core::time::Timestamp;
use trailwarden_proto::v1;

use super::Kind::{Flag, Number, Real, Text, Time};
use super::{Definition, Origin, account, day, number, rules};
use crate::page::{Cell, Pages};

/// In the order in which [`add`] fills them.
pub(super) const COLUMNS: &[Definition] = &[
    Definition::new("time", Time, "time"),
    Definition::new("metadata_uid", Text, "metadata.uid: CloudTrail's event id").looked_up(),
    Definition::new("api_service_name", Text, "api.service.name"),
    Definition::new("api_operation", Text, "api.operation"),
    Definition::new("cloud_account_uid", Text, "cloud.account.uid"),
    Definition::new("cloud_region", Text, "cloud.region"),
    Definition::new("actor_user_uid", Text, "actor.user.uid: the principal").looked_up(),
    Definition::new("actor_session_uid", Text, "actor.session.uid: the access key, or the console's session")
        .looked_up(),
    Definition::new("src_endpoint_ip", Text, "src_endpoint.ip, or src_endpoint.domain where a service called")
        .looked_up(),
    Definition::new("api_response_error", Text, "api.response.error"),
    Definition::new("score", Real, "ours: by the model and the event's own rules"),
    Definition::new("level", Text, "ours: none, caution, warning or critical"),
    Definition::new("learned", Real, "ours: by the model alone; NULL where it abstains"),
    Definition::new("model", Text, "ours: name of the model bundle"),
    Definition::new("rules", Text, "ours: ids of the rules that matched, with spaces between"),
    Definition::new("links", Number, "ours: credentials that the event issued"),
    Definition::new("read_only", Flag, "ours: CloudTrail's readOnly"),
    Definition::new("partition", Number, "ours"),
    Definition::new("input_sequence", Number, "ours: its batch in the stream of features"),
    Definition::new("sequence", Number, "ours: its batch in the stream of signals"),
    Definition::new("place", Number, "ours: its place in that batch"),
];

pub(super) fn add(pages: &mut Pages, batch: &v1::SignalBatch, origin: Origin) {
    let nothing = v1::Observation::default();
    let nobody = v1::Activity::default();
    for (place, event) in batch.events.iter().enumerate() {
        let observation = event.observation.as_ref().unwrap_or(&nothing);
        let activity = observation.activity.as_ref().unwrap_or(&nobody);
        let at = Timestamp::from_millis(activity.event_time_ms);
        let rules = rules(observation, &batch.rules);
        let cells = [
            Cell::Time(at),
            Cell::Text(&activity.event_id),
            Cell::Text(&activity.service),
            Cell::Text(&activity.call),
            Cell::Text(&activity.account),
            Cell::Text(&activity.region),
            Cell::Text(&activity.principal),
            Cell::Text(&activity.session),
            Cell::Text(&activity.source),
            Cell::Text(activity.error_code.as_deref().unwrap_or_default()),
            Cell::Real(Some(event.score)),
            Cell::Text(level(event.level)),
            Cell::Real(event.learned),
            Cell::Text(&batch.model),
            Cell::Text(&rules),
            number(observation.links.len() as u64),
            Cell::Flag(activity.read_only),
            Cell::Number(origin.partition.map(u64::from)),
            number(batch.input_sequence),
            number(origin.sequence),
            number(place as u64),
        ];
        pages.add(account(&activity.account), &day(at), &cells);
    }
}

fn level(level: i32) -> &'static str {
    match v1::Level::try_from(level) {
        Ok(v1::Level::None) => "none",
        Ok(v1::Level::Caution) => "caution",
        Ok(v1::Level::Warning) => "warning",
        Ok(v1::Level::Critical) => "critical",
        Ok(v1::Level::Unspecified) | Err(_) => "",
    }
}
