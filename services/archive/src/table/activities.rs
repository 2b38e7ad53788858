//! Rows of `activities`: one a measured event.

use trailwarden_core::feature::Feature;
use trailwarden_core::time::Timestamp;
use trailwarden_proto::v1;

use super::Kind::{Flag, Measure, Number, Text, Time};
use super::{Definition, Origin, account, credential, day, number, principal_kind, rules};
use crate::page::{Cell, Pages};

/// API Activity.
const CLASS_UID: u64 = 6_003;

/// Columns that say what happened, and stand first: those of `history` too. What follows says how it was measured.
pub(super) const PLAIN: usize = 24;

/// In the order in which [`add`] fills them.
pub(super) const COLUMNS: &[Definition] = &[
    Definition::new("time", Time, "time"),
    Definition::new("class_uid", Number, "class_uid"),
    Definition::new("metadata_uid", Text, "metadata.uid: CloudTrail's event id").looked_up(),
    Definition::new("metadata_correlation_uid", Text, "metadata.correlation_uid: the shared event id"),
    Definition::new("api_service_name", Text, "api.service.name"),
    Definition::new("api_operation", Text, "api.operation"),
    Definition::new("cloud_account_uid", Text, "cloud.account.uid"),
    Definition::new("cloud_region", Text, "cloud.region"),
    Definition::new("actor_user_uid", Text, "actor.user.uid: the principal").looked_up(),
    Definition::new("actor_user_type", Text, "actor.user.type: the principal's kind"),
    Definition::new("actor_session_uid", Text, "actor.session.uid: the access key, or the console's session")
        .looked_up(),
    Definition::new("actor_session_name", Text, "ours: session name, written by the caller"),
    Definition::new("actor_session_credential", Text, "actor.user.credential_uid's kind"),
    Definition::new("actor_session_is_mfa", Flag, "actor.session.is_mfa"),
    Definition::new("src_endpoint_ip", Text, "src_endpoint.ip, or src_endpoint.domain where a service called")
        .looked_up(),
    Definition::new("http_request_user_agent", Text, "http_request.user_agent"),
    Definition::new("status", Text, "status: Success or Failure"),
    Definition::new("api_response_error", Text, "api.response.error"),
    Definition::new("api_response_message", Text, "api.response.message; where a rule matched"),
    Definition::new("api_request_data", Text, "api.request.data: parameters, cut to size; where a rule matched"),
    Definition::new("resources", Text, "resources[]: a line `kind id` each; where a rule matched"),
    Definition::new("target", Number, "ours: hash of the thing that the request names").looked_up(),
    Definition::new("read_only", Flag, "ours: CloudTrail's readOnly"),
    Definition::new("rules", Text, "ours: ids of the rules that matched, with spaces between"),
    Definition::new("principal_1h", Measure, "ours: feature"),
    Definition::new("denied_1h", Measure, "ours: feature"),
    Definition::new("session_age", Measure, "ours: feature, s"),
    Definition::new("session_surprise", Measure, "ours: feature, bits"),
    Definition::new("api_rarity_principal", Measure, "ours: feature, bits"),
    Definition::new("source_rarity_principal", Measure, "ours: feature, bits"),
    Definition::new("moved_no_window", Flag, "ours: too late or too far ahead; measured and not remembered"),
    Definition::new("epoch", Text, "ours: baseline epoch that the features rest on"),
    Definition::new("partition", Number, "ours"),
    Definition::new("input_sequence", Number, "ours: its batch in the stream of activities"),
    Definition::new("sequence", Number, "ours: its batch in the stream of features"),
    Definition::new("place", Number, "ours: its place in that batch"),
];

const FEATURES: [Feature; 6] = [
    Feature::Principal1h,
    Feature::Denied1h,
    Feature::SessionAge,
    Feature::SessionSurprise,
    Feature::ApiRarityPrincipal,
    Feature::SourceRarityPrincipal,
];

pub(super) fn add(pages: &mut Pages, batch: &v1::FeatureBatch, origin: Origin) {
    let nothing = v1::Observation::default();
    let nobody = v1::Activity::default();
    for (place, event) in batch.events.iter().enumerate() {
        let observation = event.observation.as_ref().unwrap_or(&nothing);
        let activity = observation.activity.as_ref().unwrap_or(&nobody);
        let resources = observation.details.as_ref().map(resources).unwrap_or_default();
        let rules = rules(observation, &batch.rules);
        let [rate, denied, age, surprise, api, source] = features(event.features.as_ref());
        let measured = [
            Cell::Measure(rate),
            Cell::Measure(denied),
            Cell::Measure(age),
            Cell::Measure(surprise),
            Cell::Measure(api),
            Cell::Measure(source),
            Cell::Flag(Some(event.read_only)),
            Cell::Text(&batch.epoch),
            Cell::Number(origin.partition.map(u64::from)),
            number(batch.input_sequence),
            number(origin.sequence),
            number(place as u64),
        ];
        let cells = [plain(observation, activity, &resources, &rules).as_slice(), &measured].concat();
        pages.add(account(&activity.account), &day(Timestamp::from_millis(activity.event_time_ms)), &cells);
    }
}

/// What happened, as the first columns tell it.
pub(super) fn plain<'a>(
    observation: &'a v1::Observation,
    activity: &'a v1::Activity,
    resources: &'a str,
    rules: &'a str,
) -> [Cell<'a>; PLAIN] {
    let details = observation.details.as_ref();
    let error = activity.error_code.as_deref();
    [
        Cell::Time(Timestamp::from_millis(activity.event_time_ms)),
        number(CLASS_UID),
        Cell::Text(&activity.event_id),
        Cell::Text(activity.shared_event_id.as_deref().unwrap_or_default()),
        Cell::Text(&activity.service),
        Cell::Text(&activity.call),
        Cell::Text(&activity.account),
        Cell::Text(&activity.region),
        Cell::Text(&activity.principal),
        Cell::Text(principal_kind(activity.principal_kind)),
        Cell::Text(&activity.session),
        Cell::Text(&activity.session_name),
        Cell::Text(credential(activity.credential)),
        Cell::Flag(activity.mfa),
        Cell::Text(&activity.source),
        Cell::Text(&activity.user_agent),
        Cell::Text(if error.is_some() { "Failure" } else { "Success" }),
        Cell::Text(error.unwrap_or_default()),
        Cell::Text(details.map_or("", |details| &details.error_message)),
        Cell::Text(details.map_or("", |details| &details.parameters)),
        Cell::Text(resources),
        Cell::Number(activity.target),
        Cell::Flag(activity.read_only),
        Cell::Text(rules),
    ]
}

pub(super) fn resources(details: &v1::Details) -> String {
    // What a caller wrote must not look like a second line. Each line ends, so that a whole id can be looked for.
    let lines =
        details.resources.iter().map(|resource| format!("{} {}\n", resource.kind, resource.id.replace('\n', " ")));
    lines.collect()
}

/// The values that a person looks for, off the wire form: known ones stand in order of columns.
fn features(vector: Option<&v1::FeatureVector>) -> [Option<f32>; FEATURES.len()] {
    FEATURES.map(|feature| {
        let vector = vector?;
        let column = feature as usize;
        let byte = *vector.known.get(column / 8)?;
        if byte & (1 << (column % 8)) == 0 {
            return None;
        }
        let whole: u32 = vector.known[..column / 8].iter().map(|byte| byte.count_ones()).sum();
        let below = (byte & ((1 << (column % 8)) - 1)).count_ones();
        vector.values.get((whole + below) as usize).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_are_found_by_their_column_and_nothing_else_is() {
        let mut vector = v1::FeatureVector { known: vec![0; Feature::COUNT.div_ceil(8)], values: Vec::new() };
        for feature in Feature::ALL.iter().copied().filter(|feature| *feature != Feature::SessionAge) {
            vector.known[feature as usize / 8] |= 1 << (feature as usize % 8);
            vector.values.push(feature as usize as f32);
        }
        let expect = FEATURES.map(|feature| (feature != Feature::SessionAge).then_some(feature as usize as f32));
        assert_eq!(features(Some(&vector)), expect);
        assert_eq!(features(Some(&v1::FeatureVector { known: vec![0xff; 2], values: vec![1.0] })), [None; 6]);
        assert_eq!(features(None), [None; 6]);
    }
}
