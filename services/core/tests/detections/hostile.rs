//! Nothing that a rule file or a record holds makes the engine panic, and the index never changes an answer.

use proptest::prelude::*;
use serde_json::{Value, json};
use trailwarden_core::detection::{Correlator, RuleSet};
use trailwarden_core::time::Timestamp;

use crate::support::evaluate;

/// One rule with every kind of test, over the field names that arbitrary records use.
const EVERYTHING: &str = r#"
title: t
id: base
detection:
    text: {a: [x, null, 'y*z', '?'], "b|contains": [a, '"'], "c|startswith": é, "a.b|endswith": x}
    other: {"a|re": 'x.*y', "b|cidr": 10.0.0.0/8, "c|gt": 3, "eventName|fieldref": a.b, "userAgent|exists": false}
    list: [{a|contains|all: [x, y]}, {eventName: A}, {eventSource: b}, {trailwarden.call: A}]
    words: [x, 'a*b']
    condition: 1 of them or not all of them
---
title: c
id: c
correlation: {type: value_count, rules: [base], group-by: [a, eventName], timespan: 1m, condition: {field: b, gte: 2}}
"#;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("x".to_owned()),
        Just("A".to_owned()),
        Just("b".to_owned()),
        Just("10.1.2.3".to_owned()),
        "\\PC{0,12}",
        any::<String>()
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn record() -> impl Strategy<Value = Value> {
    (text(), text(), value(), value(), value(), value()).prop_map(|(name, source, a, b, c, agent)| {
        json!({"eventName": name, "eventSource": source, "a": a, "b": b, "c": c, "userAgent": agent})
    })
}

/// A test of a detection, as YAML flow text.
fn test() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ABC]".prop_map(|name| format!("eventName: {name}")),
        "[ABC]".prop_map(|name| format!("trailwarden.call: [{name}, B]")),
        "[bx]".prop_map(|source| format!("eventSource: {source}.amazonaws.com")),
        "[bx]".prop_map(|source| format!("trailwarden.service: {source}")),
        Just("eventName|startswith: A".to_owned()),
        Just("eventName|cased: a".to_owned()),
        "[xy]".prop_map(|text| format!("a: {text}")),
    ]
}

/// A condition over the selections `s0` to `s3`.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof!["s[0-3]", Just("1 of s*".to_owned()), Just("all of them".to_owned())];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("not ({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) or ({b})")),
        ]
    })
}

proptest! {
    #[test]
    fn loading_never_panics(yaml in any::<String>()) {
        let _ = RuleSet::load(&[("x.yml", &yaml)]);
    }

    #[test]
    fn loading_near_rules_never_panics(detection in "[a-c{}\\[\\]:|*?&!'\"\\n ,-]{0,60}", condition in "\\PC{0,30}") {
        let _ = RuleSet::load(&[("x.yml", &format!("title: t\nid: i\ndetection:\n  s: {detection}\n  condition: s\n"))]);
        let _ = RuleSet::load(&[("x.yml", &format!("title: t\nid: i\ndetection:\n  s: {{a: b}}\n  condition: {condition}\n"))]);
        let _ = RuleSet::load(&[("x.yml", &format!("title: t\nid: i\ncorrelation:\n  timespan: {condition}\n  rules: {detection}\n"))]);
    }

    #[test]
    fn evaluating_never_panics(records in prop::collection::vec((record(), any::<i64>()), 1..6)) {
        let rules = RuleSet::load(&[("x.yml", EVERYTHING)]).expect("valid");
        let mut correlator = Correlator::new(&rules);
        for (record, millis) in records {
            let matches = evaluate(&rules, &record.to_string());
            correlator.step(Timestamp::from_millis(millis), &matches);
        }
    }

    /// `not not` hides a condition from the index without changing it.
    #[test]
    fn the_index_never_changes_an_answer(
        tests in prop::collection::vec(prop::collection::vec(test(), 1..3), 4),
        condition in condition(),
        name in "[ABCa]", call_version in prop_oneof![Just(""), Just("20150331v2")], source in "[bx](\\.amazonaws\\.com)?",
        a in "[xy]",
    ) {
        let lists: Vec<String> = tests
            .iter()
            .enumerate()
            .map(|(place, tests)| {
                let maps: Vec<String> = tests.iter().map(|test| format!("{{{test}}}")).collect();
                format!("  s{place}: [{}]", maps.join(", "))
            })
            .collect();
        let rule = |id: &str, condition: &str| {
            format!("title: {id}\nid: {id}\ndetection:\n{}\n  condition: {condition}\n", lists.join("\n"))
        };
        let yaml = format!("{}---\n{}", rule("indexed", &condition), rule("always", &format!("not not ({condition})")));
        let rules = RuleSet::load(&[("x.yml", &yaml)]).expect("valid");
        let record = json!({"eventName": format!("{name}{call_version}"), "eventSource": source, "a": a});
        let matches = evaluate(&rules, &record.to_string());
        prop_assert!(matches.is_empty() || matches.len() == 2, "{yaml} on {record}: {matches:?}");
    }
}
