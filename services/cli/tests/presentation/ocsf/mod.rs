//! Every finding that `--format ocsf` prints is one of OCSF 1.6.0, whatever the logs held.

mod schema;

use serde_json::{Value, json};
use trailwarden::findings::Finding;
use trailwarden::ocsf::{Line, Standing, detection_finding, json_line, of_case, write_finding};
use trailwarden::untrusted::is_hidden;
use trailwarden_core::language::Language;
use trailwarden_core::level::{Severity, Verdict};
use trailwarden_core::negotiation::said::{Said, Summary};
use trailwarden_core::time::Timestamp;
use trailwarden_proto::v1::{Case, CaseLabel, CaseState, CaseTransition, TransitionKind};

use self::schema::problems;
use crate::{hostile, sample};

/// The one line that a scan prints of it, read again and held against the schema.
fn scanned(finding: &Finding) -> Value {
    let mut out = Vec::new();
    write_finding(&mut out, finding, &sample::findings().rules).expect("a vector takes all");
    checked(&String::from_utf8(out).expect("JSON is UTF-8"))
}

fn checked(line: &str) -> Value {
    let text = line.strip_suffix('\n').expect("a whole line");
    assert!(!text.contains(is_hidden), "nothing works on a terminal: {text:.200}");
    let event: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(problems(&event), [""; 0], "{event:#}");
    let number = |name: &str| event[name].as_i64().expect("a number");
    assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
    event
}

/// The case of a finding as a council tells it.
fn wire(finding: &Finding) -> Case {
    let mut line = Vec::new();
    trailwarden::lines::write_case(&mut line, finding, &sample::findings().rules, Language::Korean)
        .expect("a vector takes all");
    let (case, judgement) = (&finding.case, &finding.judgement);
    Case {
        id: case.id.clone(),
        account: case.account.clone(),
        principal: case.principal.clone(),
        session: case.session.clone(),
        first_event_time_ms: case.first_event_time.as_millis(),
        last_event_time_ms: case.last_event_time.as_millis(),
        event_ids: case.signals.iter().map(|signal| signal.event_id.clone()).collect(),
        score: judgement.probability,
        verdict: judgement.verdict.to_string(),
        severity: judgement.severity.to_string(),
        line_json: String::from_utf8(line).expect("JSON is UTF-8").trim_end().to_owned(),
        state: CaseState::Closed.into(),
        revision: 1,
        ..Case::default()
    }
}

fn told(case: &Case, entry: Option<&CaseTransition>) -> Value {
    checked(&json_line(&of_case(case, entry)))
}

fn entry(kind: TransitionKind, number: u32) -> CaseTransition {
    CaseTransition { sequence: 70 + u64::from(number), number, case: None, kind: kind.into() }
}

#[test]
fn every_verdict_and_severity_has_its_place() {
    let finding = &sample::findings().cases[1];
    for verdict in Verdict::ALL {
        for severity in Severity::ALL {
            let mut finding = finding.clone();
            (finding.judgement.verdict, finding.judgement.severity) = (*verdict, *severity);
            let event = scanned(&finding);
            assert_eq!(event["severity"].as_str().map(str::to_lowercase).as_deref(), Some(severity.as_str()));
            assert_eq!(event["is_alert"], *severity >= Severity::Medium);
            assert_eq!(event["unmapped"]["verdict"], verdict.as_str());
            let expected = match verdict {
                Verdict::Benign => "Benign",
                Verdict::Insufficient => "Insufficient Data",
                Verdict::Suspicious => "Suspicious",
                Verdict::Malicious => "True Positive",
            };
            assert_eq!(event["verdict"], expected);
        }
    }
}

#[test]
fn a_finding_tells_what_happened_who_and_what_to_do() {
    let event = scanned(&sample::findings().cases[1]);
    for (pointer, expected) in [
        ("/time", json!(sample::time("2024-07-30T21:45:21Z").as_millis())),
        ("/start_time", json!(sample::time("2024-07-30T21:31:21Z").as_millis())),
        ("/severity", json!("Critical")),
        ("/status", json!("New")),
        ("/confidence", json!("High")),
        ("/confidence_score", json!(100)),
        ("/metadata/version", json!("1.6.0")),
        ("/metadata/uid", json!("3f9a1c2e77d04b51")),
        ("/finding_info/uid", json!("3f9a1c2e77d04b51")),
        ("/finding_info/title", json!("Malicious use of AWS by ci-deploy in account 111122223333")),
        ("/finding_info/related_events_count", json!(8)),
        ("/finding_info/attacks/0/technique/uid", json!("T1562")),
        ("/finding_info/attacks/0/sub_technique/uid", json!("T1562.008")),
        ("/finding_info/attacks/0/sub_technique/src_url", json!("https://attack.mitre.org/techniques/T1562/008/")),
        ("/finding_info/attacks/4/technique/name", json!("Data from Cloud Storage")),
        ("/finding_info/related_events/5/attacks/0/sub_technique/uid", json!("T1562.008")),
        ("/cloud/account/uid", json!("111122223333")),
        ("/cloud/cloud_partition", json!("aws")),
        ("/evidences/2/api/operation", json!("AttachUserPolicy")),
        ("/evidences/2/api/service/name", json!("iam")),
        ("/evidences/2/src_endpoint/ip", json!("198.51.100.23")),
        ("/evidences/2/actor/user/type", json!("User")),
        ("/evidences/2/actor/session/credential_uid", json!("AKIAIOSFODNN7EXAMPLE")),
        ("/evidences/2/data/rules/0", json!("Administrator policy attached")),
        ("/evidences/4/api/response/error", json!("AccessDenied")),
        ("/resources/0/uid", json!("111122223333")),
        ("/unmapped/plan/0/mode", json!("dry_run")),
        ("/unmapped/brains/sceptic", json!("deterministic")),
    ] {
        assert_eq!(event.pointer(pointer), Some(&expected), "{pointer}");
    }
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    assert!(
        text("/message")
            .starts_with("A long-term key of IAM user ci-deploy, without MFA, granted far-reaching permissions"),
        "{}",
        text("/message")
    );
    assert!(
        text("/finding_info/desc")
            .contains("(Detected by “Trail stopped or deleted”.) Detected: Administrator policy attached.")
    );
    assert!(text("/finding_info/desc").contains("Against: The operator has named the caller as automation."));
    let step = "1. disable_access_key on AKIAIOSFODNN7EXAMPLE (tier T1, dry run): iam:UpdateAccessKey {";
    assert!(text("/remediation/desc").starts_with(step), "{}", text("/remediation/desc"));
    let observed = event["observables"].as_array().expect("a list");
    let values: Vec<&str> = observed.iter().filter_map(|one| one["value"].as_str()).collect();
    for value in ["198.51.100.23", "AKIAIOSFODNN7EXAMPLE", "111122223333", "payroll-exports-eu"] {
        assert!(values.contains(&value), "{value}: {values:?}");
    }
    assert!(event["metadata"].get("is_truncated").is_none());
}

#[test]
fn a_scan_and_a_council_give_the_same_finding_of_the_same_case() {
    for finding in &sample::findings().cases {
        let (mut scanned, mut told) = (scanned(finding), told(&wire(finding), None));
        for event in [&mut scanned, &mut told] {
            let members = event.as_object_mut().expect("an object");
            for seen_by_one in ["evidences", "observables"] {
                assert!(members.remove(seen_by_one).is_some());
            }
            let unmapped = members["unmapped"].as_object_mut().expect("an object");
            unmapped.retain(|name, _| !["state", "revision"].contains(&name.as_str()));
            members["metadata"].as_object_mut().expect("an object").remove("is_truncated");
        }
        assert_eq!(scanned, told);
    }
}

#[test]
fn a_council_tells_how_a_case_stands() {
    let case = wire(&sample::findings().cases[1]);
    let labelled = |verdict: &str| Case {
        label: Some(CaseLabel {
            verdict: verdict.into(),
            note: "seen".into(),
            author: "kim".into(),
            at_ms: 7,
            ..CaseLabel::default()
        }),
        ..case.clone()
    };
    let merged = Case { state: CaseState::Merged.into(), merged_into: "other".into(), ..case.clone() };
    let revised = Case { revision: 2, ..case.clone() };
    use TransitionKind::{Closed, Judged, Labelled, Merged};
    for (case, kind, expected) in [
        (&case, None, ["Create", "New", "True Positive"]),
        (&case, Some(Judged), ["Create", "New", "True Positive"]),
        (&revised, Some(Judged), ["Update", "New", "True Positive"]),
        (&case, Some(Closed), ["Update", "New", "True Positive"]),
        (&labelled("benign"), Some(Labelled), ["Update", "Suppressed", "False Positive"]),
        (&labelled("malicious"), None, ["Update", "In Progress", "True Positive"]),
        (&labelled("insufficient"), None, ["Update", "In Progress", "Insufficient Data"]),
        (&labelled(hostile::HOSTILE), None, ["Update", "In Progress", "Unknown"]),
        (&merged, Some(Merged), ["Close", "Merged", "True Positive"]),
    ] {
        let entry = kind.map(|kind| entry(kind, 3));
        let event = told(case, entry.as_ref());
        assert_eq!([&event["activity_name"], &event["status"], &event["verdict"]], expected, "{kind:?}");
        assert_eq!(event["unmapped"]["verdict"], "malicious", "the council's own verdict stays");
        let uid = if entry.is_some() { "3f9a1c2e77d04b51/3" } else { "3f9a1c2e77d04b51" };
        assert_eq!(
            (&event["metadata"]["uid"], event["metadata"]["sequence"].as_u64()),
            (&json!(uid), entry.map(|_| 73))
        );
        assert_eq!(event["finding_info"]["uid"], "3f9a1c2e77d04b51");
    }
}

#[test]
fn a_case_without_its_line_is_told_from_the_message() {
    let case = wire(&sample::findings().cases[1]);
    // Half of a pair of surrogates is no text, so no such line is one of ours.
    for line_json in ["", "{}", r#"{"case_id":"\ud800"}"#, "null"] {
        let event = told(&Case { line_json: line_json.into(), ..case.clone() }, None);
        assert_eq!((&event["severity"], &event["verdict"]), (&json!("Critical"), &json!("True Positive")));
        assert_eq!(event["finding_info"]["uid"], "3f9a1c2e77d04b51");
        assert_eq!(event["metadata"]["is_truncated"], true);
    }
    let nothing = told(&Case::default(), None);
    assert_eq!((&nothing["severity"], &nothing["finding_info"]["uid"]), (&json!("Unknown"), &json!("unknown")));
}

#[test]
fn whatever_a_log_holds_a_finding_is_whole_and_bounded() {
    let mut finding = hostile::findings().cases.remove(0);
    assert_eq!(scanned(&finding)["finding_info"]["uid"], hostile::HOSTILE);
    told(&wire(&finding), Some(&entry(TransitionKind::Judged, 1)));

    let long = format!("{}{}", hostile::HOSTILE, "\u{202e}".repeat(350_000));
    finding.judgement.summary = Summary::Written(long.clone());
    finding.judgement.reasons[0].said = Said::Detected { title: long.clone() };
    finding.judgement.reasons = vec![finding.judgement.reasons[0].clone(); 20];
    finding.judgement.techniques = vec![finding.judgement.techniques[0].clone(); 300];
    finding.case.further_event_ids = (0..300).map(|at| format!("{at}{}", "9".repeat(10_000))).collect();
    (finding.case.principal, finding.case.account) = (long.clone(), long.clone());
    finding.case.signals[0].user_agent = long.clone();
    finding.case.signals = vec![finding.case.signals[0].clone(); 40];
    finding.case.signals[0].source = long.clone();
    finding.case.signals[0].details.error_message = long;
    let event = scanned(&finding);
    assert_eq!(event["metadata"]["is_truncated"], true);
    let bytes = json_line(&event).len();
    assert!(bytes < 4 << 20, "{bytes} bytes of some seventy million");
}

#[test]
fn the_check_can_fail() {
    let mut line = Line::read(wire(&sample::findings().cases[1]).line_json.as_bytes()).expect("a line");
    let good = detection_finding(&line, &Standing::default(), None);
    assert_eq!(problems(&good), [""; 0]);
    for (pointer, name, value) in [
        ("", "colour", json!("red")),
        ("", "severity_id", json!(7)),
        ("", "severity", json!("Fatal")),
        ("", "time", json!("2024-07-30T21:31:21Z")),
        ("", "time", json!(1.5)),
        ("", "evidences", json!([])),
        ("", "evidences", json!([{ "uid": "x" }])),
        ("", "finding_info", Value::Null),
        ("", "message", json!("")),
        ("/cloud", "provider", Value::Null),
        ("/metadata", "version", json!(1)),
        ("/metadata/product", "product", json!({})),
        ("/evidences/0", "src_endpoint", json!({ "ip": "here" })),
        ("/evidences/0/actor/user", "type_id", json!(5)),
        ("/evidences/0/actor/user", "type_id", json!("1")),
        ("/evidences/0/actor/user", "type", json!("Root")),
        ("/evidences/0/actor", "nickname", json!("x")),
        ("/evidences/0/actor/session", "is_mfa", json!("yes")),
        ("/cloud/account", "type_id", json!(77)),
        ("/finding_info", "uid", Value::Null),
        ("/finding_info", "types", json!("Abuse")),
        ("/finding_info", "related_events_count", json!(i64::MAX)),
        ("/finding_info", "created_time", json!("2024")),
        ("/finding_info/analytic", "type_id", Value::Null),
        ("/finding_info/attacks/0/technique", "src_url", json!("javascript:alert(1)")),
        ("/finding_info/attacks/0", "technique", json!([])),
        ("/finding_info/related_events/0", "uid", Value::Null),
        ("/metadata", "product", Value::Null),
        ("/metadata", "profiles", json!([])),
        ("/metadata", "profiles", json!([1])),
        ("/observables/0", "type_id", json!(0)),
        ("/resources/0", "role_id", json!(9)),
        ("", "unmapped", json!([])),
        ("", "is_alert", json!(1)),
        ("", "type_uid", json!(200_402_000)),
    ] {
        let mut bad = good.clone();
        let place = bad.pointer_mut(pointer).expect("it is there");
        place[name] = value.clone();
        if value.is_null() {
            place.as_object_mut().expect("an object").remove(name);
        }
        let last = pointer.rsplit('/').next().unwrap_or_default();
        let found = problems(&bad);
        let is_named = |problem: &String| problem.contains(name) || !last.is_empty() && problem.contains(last);
        assert!(!found.is_empty() && found.iter().all(is_named), "{pointer} {name} {value}: {found:?}");
    }
    (line.last_event_time, line.score) = (Timestamp::from_millis(i64::MAX), f64::NAN);
    checked(&json_line(&detection_finding(&line, &Standing::default(), None)));
}
