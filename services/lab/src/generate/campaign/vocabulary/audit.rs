//! What watches: trails, detectors, recorders, logs, alarms and costs.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{arn, hex, one, pick, uuid};
use crate::generate::call::Call;
use crate::generate::world::Account;

plain! {
    read trails = "cloudtrail" "DescribeTrails";
    read detectors = "guardduty" "ListDetectors";
    read recorders = "config" "DescribeConfigurationRecorders";
    read security_hub = "securityhub" "DescribeHub";
    read alarms = "monitoring" "DescribeAlarms";
    read analyzers = "access-analyzer" "ListAnalyzers";
}

calls! {
    read trail_status = "cloudtrail" "GetTrailStatus" |account, rng| {"name": account.trail};
    read event_selectors = "cloudtrail" "GetEventSelectors" |account, rng| {"trailName": account.trail};
    read lookup_events = "cloudtrail" "LookupEvents" |account, rng| {"maxResults": 50, "lookupAttributes": [
        {"attributeKey": one(&["AccessKeyId", "Username", "EventName"], rng), "attributeValue": super::user_name(account, rng)}]};
    write stop_logging = "cloudtrail" "StopLogging" |account, rng| {"name": account.trail};
    write start_logging = "cloudtrail" "StartLogging" |account, rng| {"name": account.trail};
    write narrow_selectors = "cloudtrail" "PutEventSelectors" |account, rng| {
        "trailName": account.trail, "eventSelectors": [{"readWriteType": one(&["WriteOnly", "All"], rng),
            "includeManagementEvents": true, "dataResources": []}],
    } => {"trailARN": arn(account, "cloudtrail", &format!("trail/{}", account.trail))};
    read detector = "guardduty" "GetDetector" |account, rng| {"detectorId": account.detector};
    read findings = "guardduty" "ListFindings" |account, rng| {"detectorId": account.detector, "maxResults": 50};
    write finding_filter = "guardduty" "CreateFilter" |account, rng| {
        "detectorId": account.detector, "name": super::new_name(rng), "action": "ARCHIVE", "rank": 1,
        "findingCriteria": {"criterion": {"severity": {"lessThan": rng.random_range(4..8)}}},
    } => {"name": "filter"};
    write update_detector = "guardduty" "UpdateDetector" |account, rng| {
        "detectorId": account.detector, "enable": rng.random_bool(0.5),
        "findingPublishingFrequency": one(&["SIX_HOURS", "FIFTEEN_MINUTES"], rng),
    };
    write stop_recorder = "config" "StopConfigurationRecorder" |account, rng| {"configurationRecorderName": "default"};
    read log_groups = "logs" "DescribeLogGroups" |account, rng| {"limit": 50};
    read log_streams = "logs" "DescribeLogStreams" |account, rng| {
        "logGroupName": pick(rng, &account.log_groups), "orderBy": "LastEventTime",
    };
    read filter_log_events = "logs" "FilterLogEvents" |account, rng| {
        "logGroupName": pick(rng, &account.log_groups), "limit": one(&[100, 1000], rng),
    } + data;
    read log_query = "logs" "StartQuery" |account, rng| {
        "logGroupName": pick(rng, &account.log_groups), "queryString": "HIDDEN_DUE_TO_SECURITY_REASONS",
    } => {"queryId": uuid(rng)};
    write retention = "logs" "PutRetentionPolicy" |account, rng| {
        "logGroupName": pick(rng, &account.log_groups), "retentionInDays": one(&[1, 3, 7, 14, 30], rng),
    };
    write delete_log_stream = "logs" "DeleteLogStream" |account, rng| {
        "logGroupName": pick(rng, &account.log_groups), "logStreamName": hex(rng, 32),
    };
    write mute_alarms = "monitoring" "DisableAlarmActions" |account, rng| {"alarmNames": [super::new_name(rng)]};
    read costs = "ce" "GetCostAndUsage" |account, rng| {
        "timePeriod": {"start": "2026-02-01", "end": "2026-03-01"}, "granularity": one(&["DAILY", "MONTHLY"], rng),
        "metrics": ["UnblendedCost"],
    };
}
