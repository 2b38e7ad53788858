//! What the operator has written down of things as they should be: what is restored to, where an attacker has changed more than
//! a switch. CloudTrail's record of a change tells what was set, and nobody what was there before.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use trailwarden_core::plan::{Action, Playbook};

pub(crate) const GOOD_BUCKET: &str = "good_bucket_name";
pub(crate) const GOOD_SELECTORS: &str = "good_event_selectors";
pub(crate) const GOOD_ADVANCED_SELECTORS: &str = "good_advanced_event_selectors";
/// Of a bucket's name.
const BUCKET_CHARS_MAX: usize = 63;
/// Selectors of one trail; CloudTrail takes five, or five hundred conditions of advanced ones.
const SELECTORS_MAX: usize = 500;
/// Of all that is supplied to one step.
const BYTES_MAX: usize = 64 << 10;

/// A trail as it should be, in CloudTrail's own words: what `get-trail` and `get-event-selectors` answered when all was well.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoodTrail {
    /// The account that it belongs to.
    pub account: String,
    /// Its name or ARN.
    pub trail: String,
    #[serde(rename = "S3BucketName", default)]
    pub bucket: Option<String>,
    #[serde(rename = "EventSelectors", default)]
    pub selectors: Option<Value>,
    #[serde(rename = "AdvancedEventSelectors", default)]
    pub advanced_selectors: Option<Value>,
}

/// What is known good of an action's target, by the names that its step has places for; nothing for other playbooks.
pub fn known_good(action: &Action, trails: &[GoodTrail]) -> BTreeMap<String, Value> {
    let name = |id: &str| id.rsplit(['/', ':']).next().unwrap_or(id).to_owned();
    let is_it =
        |trail: &&GoodTrail| trail.account == action.target.account && name(&trail.trail) == name(&action.target.id);
    let good = trails.iter().find(is_it).filter(|_| action.playbook == Playbook::RestoreTrail);
    let values = good.into_iter().flat_map(|good| {
        let bucket = good.bucket.as_ref().map(|bucket| json!(bucket));
        [
            (GOOD_BUCKET, bucket),
            (GOOD_SELECTORS, good.selectors.clone()),
            (GOOD_ADVANCED_SELECTORS, good.advanced_selectors.clone()),
        ]
    });
    values.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Why a step is not begun with what its proposal supplies.
///
/// # Errors
/// In words.
pub fn check_supplied(action: &Action, supplied: &BTreeMap<String, Value>) -> Result<(), String> {
    if supplied.is_empty() {
        return Ok(());
    }
    if action.playbook != Playbook::RestoreTrail {
        return Err("the step has no place for what is supplied to it".to_owned());
    }
    if !serde_json::to_vec(supplied).is_ok_and(|text| text.len() <= BYTES_MAX) {
        return Err("what is supplied to it is too long".to_owned());
    }
    if supplied.contains_key(GOOD_SELECTORS) && supplied.contains_key(GOOD_ADVANCED_SELECTORS) {
        return Err("a trail has either event selectors or advanced ones".to_owned());
    }
    let is_bucket = |text: &str| {
        (3..=BUCKET_CHARS_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    for (name, value) in supplied {
        let is_good = match name.as_str() {
            GOOD_BUCKET => value.as_str().is_some_and(is_bucket),
            GOOD_SELECTORS | GOOD_ADVANCED_SELECTORS => value
                .as_array()
                .is_some_and(|list| (1..=SELECTORS_MAX).contains(&list.len()) && list.iter().all(Value::is_object)),
            _ => false,
        };
        if !is_good {
            return Err(format!("{name} is none that the step has a place for"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use trailwarden_core::resource::Resource;

    use super::*;

    fn action(playbook: Playbook, id: &str) -> Action {
        let target = Resource {
            kind: playbook.target_kind(),
            account: "111122223333".to_owned(),
            region: String::new(),
            id: id.to_owned(),
            created: false,
        };
        Action::proposed(playbook, target)
    }

    #[test]
    fn a_trail_is_known_by_its_account_and_name() {
        let line = r#"{"account":"111122223333","trail":"main","S3BucketName":"logs","EventSelectors":[{"ReadWriteType":"All"}]}"#;
        let trails = [serde_json::from_str::<GoodTrail>(line).expect("a trail")];
        for id in ["main", "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main"] {
            let good = known_good(&action(Playbook::RestoreTrail, id), &trails);
            assert_eq!(good.keys().collect::<Vec<_>>(), [GOOD_BUCKET, GOOD_SELECTORS]);
            assert_eq!(check_supplied(&action(Playbook::RestoreTrail, id), &good), Ok(()));
            assert!(check_supplied(&action(Playbook::TagUser, "ann"), &good).is_err());
        }
        assert!(known_good(&action(Playbook::RestoreTrail, "other"), &trails).is_empty());
        assert!(known_good(&action(Playbook::RestoreDetector, "main"), &trails).is_empty());
    }

    #[test]
    fn what_a_step_has_no_place_for_is_refused() {
        let restore = action(Playbook::RestoreTrail, "main");
        let check = |value: Value| check_supplied(&restore, &serde_json::from_value(value).expect("a map"));
        for value in [
            json!({ "new_password": "x" }),
            json!({ GOOD_BUCKET: "a b" }),
            json!({ GOOD_BUCKET: 1 }),
            json!({ GOOD_SELECTORS: [] }),
            json!({ GOOD_SELECTORS: ["x"] }),
            json!({ GOOD_SELECTORS: [{}], GOOD_ADVANCED_SELECTORS: [{}] }),
            json!({ GOOD_SELECTORS: [{ "x": "y".repeat(BYTES_MAX) }] }),
        ] {
            assert!(check(value.clone()).is_err(), "{value:.80}");
        }
        assert_eq!(check(json!({})), Ok(()));
    }
}
