//! Runs the tests that stand beside every rule of our own: `rules/<tactic>.tests.yml`.
//!
//! A test names its rule and gives records it must match and records it must pass over. A record is laid
//! over the base event of its caller (`as`). For a correlation each case is a list of records with `at`
//! in seconds; `repeat: N` gives it N times, a second apart, `{n}` standing for the number in two digits.
#![allow(clippy::disallowed_methods, reason = "reads the data set that it is about")]
#![allow(clippy::print_stdout, reason = "a test that could not run says so")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use support::{Sample, merged};
use trailwarden_core::detection::{Correlator, RuleIndex, RuleSet, builtin};
use trailwarden_core::level::Severity;
use trailwarden_core::registry::Registry;
use trailwarden_core::time::Timestamp;

#[test]
fn every_rule_keeps_its_tests_of_both_sides() {
    let rules = RuleSet::load(builtin::RULES).expect("our own rules load");
    let mut untested: BTreeSet<&str> = rules.rules().iter().map(|rule| rule.title.as_str()).collect();
    let mut faults = Vec::new();
    for (file, _) in builtin::RULES {
        for test in tests_beside(file) {
            let title = test["rule"].as_str().expect("a test names its rule");
            let Some(index) = rules.rules().iter().position(|rule| rule.title == title) else {
                faults.push(format!("{file}: no rule `{title}`"));
                continue;
            };
            untested.remove(title);
            for (side, expected) in [("match", true), ("pass", false)] {
                let cases = test[side].as_array().map(Vec::as_slice).unwrap_or_default();
                if cases.is_empty() {
                    faults.push(format!("{title}: no `{side}` case"));
                }
                for (number, case) in cases.iter().enumerate() {
                    if fires(&rules, index, case) != expected {
                        faults.push(format!("{title}: `{side}` case {number} does not hold"));
                    }
                }
            }
        }
    }
    faults.extend(untested.iter().map(|title| format!("{title}: no tests")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_rule_says_what_a_person_needs() {
    let rules = RuleSet::load(builtin::RULES).expect("our own rules load");
    assert!(rules.rules().iter().filter(|rule| rule.raises).count() >= 48, "enough rules raise");
    for rule in rules.rules() {
        let title = &rule.title;
        assert!(rule.description.len() > 20, "{title}: says why");
        assert!(rule.predicate.is_some(), "{title}: grounds a claim");
        assert!(!rule.techniques.is_empty() && !rule.tactics.is_empty(), "{title}: is placed in ATT&CK");
        assert!(!rule.false_positives.is_empty(), "{title}: names false alarms");
        assert!(rule.floor.is_none_or(|floor| floor >= Severity::High), "{title}: a floor is at least high");
        assert_eq!(rule.id.len(), 36, "{title}: has a UUID");
    }
}

fn tests_beside(file: &str) -> Vec<Value> {
    let name = file.replace(".yml", ".tests.yml");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether the rule at `index` fires anywhere in a case.
fn fires(rules: &RuleSet, index: usize, case: &Value) -> bool {
    let records = match case.as_array() {
        Some(steps) => steps.iter().flat_map(repeated).collect(),
        None => vec![record(case, 0)],
    };
    let mut correlator = Correlator::new(rules);
    let mut fired = Vec::new();
    for record in records {
        let sample = Sample::new(record);
        let activity = sample.activity();
        let mut matches = Vec::new();
        rules.evaluate(&sample.view(), &activity, &Registry::default(), &mut matches);
        fired.extend(correlator.step(activity.event_time, &matches));
        fired.extend(matches.iter().map(|found| found.rule));
    }
    fired.contains(&RuleIndex(u16::try_from(index).expect("few rules")))
}

fn repeated(step: &Value) -> Vec<Value> {
    let at = step["at"].as_i64().unwrap_or_default();
    let times = step["repeat"].as_i64().unwrap_or(1);
    (0..times)
        .map(|number| {
            let text = step.to_string().replace("{n}", &format!("{number:02}"));
            record(&serde_json::from_str(&text).expect("still JSON"), at + number)
        })
        .collect()
}

fn record(patch: &Value, second: i64) -> Value {
    let own = ["at", "repeat", "as"];
    let mut patch = patch.clone();
    let caller = caller(patch["as"].as_str().unwrap_or("key"));
    patch.as_object_mut().expect("a record").retain(|key, _| !own.contains(&key.as_str()));
    let start = Timestamp::parse("2025-03-04T10:00:00Z").expect("a time");
    let base = json!({
        "eventVersion": "1.08", "eventTime": start.plus_ms(second * 1000).to_string(), "awsRegion": "eu-west-1",
        "sourceIPAddress": "203.0.113.7", "recipientAccountId": "111122223333", "eventType": "AwsApiCall"
    });
    merged(&merged(&base, &json!({"userIdentity": caller})), &patch)
}

/// Who acts in a test, by the word under `as`.
fn caller(name: &str) -> Value {
    let account = "111122223333";
    let user = json!({"type": "IAMUser", "accountId": account, "userName": "nina", "arn": "arn:aws:iam::111122223333:user/nina"});
    let role = |session: &str| {
        json!({"type": "AssumedRole", "accountId": account, "accessKeyId": "ASIAIOSFODNN7EXAMPLE",
            "arn": format!("arn:aws:sts::111122223333:assumed-role/deploy/{session}"),
            "sessionContext": {"sessionIssuer": {"arn": "arn:aws:iam::111122223333:role/deploy"},
                "attributes": {"mfaAuthenticated": "false"}}})
    };
    match name {
        "key" => merged(&user, &json!({"accessKeyId": "AKIAIOSFODNN7EXAMPLE"})),
        "login" => user,
        "role" => role("release-17"),
        "instance" => role("i-0123456789abcdef0"),
        "root" => json!({"type": "Root", "accountId": account, "arn": "arn:aws:iam::111122223333:root"}),
        "federated" => json!({"type": "FederatedUser", "accountId": account, "accessKeyId": "ASIAI44QH8DHBEXAMPLE",
            "arn": "arn:aws:sts::111122223333:federated-user/x"}),
        "service" => json!({"type": "AWSService", "invokedBy": "autoscaling.amazonaws.com"}),
        other => panic!("no caller `{other}`"),
    }
}
