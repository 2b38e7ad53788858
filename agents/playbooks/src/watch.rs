//! Steps that bring watching back and keep its records.

use serde_json::json;

use crate::call::{Call, Expect, Target, When, kept, supplied};
use crate::good::{GOOD_ADVANCED_SELECTORS, GOOD_BUCKET, GOOD_SELECTORS};
use crate::{Step, Undo, told_of};

const NOTHING_TO_UNDO: &str = "nothing: it restores what was; stopping it again is for its owner";

pub(crate) fn restore_trail(target: &Target<'_>) -> Step {
    let cloudtrail = |operation, parameters| target.call("cloudtrail", operation, parameters);
    Step {
        captured_first: vec![
            cloudtrail("GetTrail", json!({ "Name": target.id })).keeping(&[kept("trail", "Trail")]),
            cloudtrail("GetEventSelectors", json!({ "TrailName": target.id }))
                .keeping(&[kept("event_selectors", "EventSelectors")]),
        ],
        calls: vec![
            cloudtrail("StartLogging", json!({ "Name": target.id })),
            cloudtrail(
                "UpdateTrail",
                json!({
                    "Name": target.id,
                    "S3BucketName": supplied(GOOD_BUCKET),
                    "IsMultiRegionTrail": true,
                    "IncludeGlobalServiceEvents": true,
                    "EnableLogFileValidation": true,
                }),
            )
            .when(When::Known(GOOD_BUCKET.into())),
            cloudtrail(
                "PutEventSelectors",
                json!({ "TrailName": target.id, "EventSelectors": supplied(GOOD_SELECTORS) }),
            )
            .when(When::Known(GOOD_SELECTORS.into())),
            cloudtrail(
                "PutEventSelectors",
                json!({ "TrailName": target.id, "AdvancedEventSelectors": supplied(GOOD_ADVANCED_SELECTORS) }),
            )
            .when(When::Known(GOOD_ADVANCED_SELECTORS.into())),
        ],
        verify: vec![
            cloudtrail("GetTrailStatus", json!({ "Name": target.id })).shows("IsLogging", Expect::Equals(json!(true))),
            cloudtrail("GetTrail", json!({ "Name": target.id })).when(When::Known(GOOD_BUCKET.into())).shows(
                "Trail",
                Expect::Equals(json!({
                    "S3BucketName": supplied(GOOD_BUCKET),
                    "IsMultiRegionTrail": true,
                    "IncludeGlobalServiceEvents": true,
                    "LogFileValidationEnabled": true,
                })),
            ),
            cloudtrail("GetEventSelectors", json!({ "TrailName": target.id }))
                .when(When::Known(GOOD_SELECTORS.into()))
                .shows("EventSelectors", Expect::Same(supplied(GOOD_SELECTORS))),
            cloudtrail("GetEventSelectors", json!({ "TrailName": target.id }))
                .when(When::Known(GOOD_ADVANCED_SELECTORS.into()))
                .shows("AdvancedEventSelectors", Expect::Same(supplied(GOOD_ADVANCED_SELECTORS))),
        ],
        undo: Undo::Words(NOTHING_TO_UNDO.into()),
        blast_radius: "none: the trail records again".into(),
        notes: told_of([
            "Only logging is restored, unless the operator has written down what the trail should be (executor.trails): \
             then its bucket and selectors are, and are read back.",
            "A trail that was deleted is created anew by a person.",
        ]),
        ..Step::blank()
    }
}

pub(crate) fn restore_detector(target: &Target<'_>) -> Step {
    let read = target.call("guardduty", "GetDetector", json!({ "DetectorId": target.name }));
    let enable = json!({ "DetectorId": target.name, "Enable": true });
    Step {
        captured_first: vec![read.keeping(&[kept("detector_status", "Status")])],
        calls: vec![target.call("guardduty", "UpdateDetector", enable)],
        verify: vec![
            target
                .call("guardduty", "GetDetector", json!({ "DetectorId": target.name }))
                .shows("Status", Expect::Equals(json!("ENABLED"))),
        ],
        undo: Undo::Words(NOTHING_TO_UNDO.into()),
        blast_radius: "none: the detector detects again".into(),
        notes: told_of(["A detector that was deleted is created anew by a person; its findings are gone."]),
        ..Step::blank()
    }
}

pub(crate) fn restore_config_recorder(target: &Target<'_>) -> Step {
    let parameters = json!({ "ConfigurationRecorderName": target.name });
    Step {
        calls: vec![target.call("config", "StartConfigurationRecorder", parameters)],
        verify: vec![
            target
                .call(
                    "config",
                    "DescribeConfigurationRecorderStatus",
                    json!({ "ConfigurationRecorderNames": [target.name] }),
                )
                .shows("ConfigurationRecordersStatus[].recording", Expect::Every(json!(true))),
        ],
        undo: Undo::Words(NOTHING_TO_UNDO.into()),
        blast_radius: "none: the recorder records again".into(),
        notes: told_of(["A recorder without a delivery channel does not start: restore the channel first."]),
        ..Step::blank()
    }
}

/// The evidence store is ours, so its region is not the target's.
pub(crate) fn preserve_logs(target: &Target<'_>) -> Step {
    let key = format!("cases/{}/{}/records.jsonl.gz", target.account, target.case);
    Step {
        calls: vec![Call::global(
            "s3",
            "PutObject",
            json!({
                "Bucket": supplied("evidence_bucket"),
                "Key": key,
                "Body": supplied("records_file"),
                "ChecksumAlgorithm": "SHA256",
                "ObjectLockLegalHoldStatus": "ON",
            }),
        )],
        verify: vec![],
        undo: Undo::Words("nothing: the copy stays until a person lifts its legal hold (s3 PutObjectLegalHold)".into()),
        blast_radius: "none: a copy of the case's raw records".into(),
        notes: told_of(["The evidence bucket needs object lock."]),
        ..Step::blank()
    }
}
