//! Correlations from YAML to the events at which they fire.

use serde_json::json;
use trailwarden_core::detection::{Correlator, GROUPS_MAX, Problem, RuleIndex, RuleSet};
use trailwarden_core::time::Timestamp;

use crate::support::evaluate;

const BASES: &str = "
title: A
id: rule-a
name: a
detection: {s: {eventName: A}, condition: s}
---
title: B
id: rule-b
name: b
detection: {s: {eventName: B}, condition: s}
---
title: C
id: rule-c
name: c
detection: {s: {eventName: C}, condition: s}
";
/// Where a correlation stands behind the three base rules.
const FOURTH: RuleIndex = RuleIndex(3);

fn with(correlation: &str) -> String {
    format!("{BASES}---\ntitle: correlation\nid: correlation\ncorrelation: {correlation}\n")
}

fn load(correlation: &str) -> RuleSet {
    let yaml = with(correlation);
    RuleSet::load(&[("c.yml", &yaml)]).unwrap_or_else(|error| panic!("{error}"))
}

/// One event: seconds, call, principal, and a value to count.
type Step<'s> = (i64, &'s str, &'s str, &'s str);

/// At which events the correlation fires.
fn fires(rules: &RuleSet, steps: &[Step<'_>]) -> Vec<bool> {
    let mut correlator = Correlator::new(rules);
    steps
        .iter()
        .map(|(seconds, call, principal, value)| {
            let record = json!({
                "eventSource": "x.amazonaws.com",
                "eventName": call,
                "userIdentity": {"arn": principal},
                "requestParameters": {"name": value},
            });
            let matches = evaluate(rules, &record.to_string());
            let fired = correlator.step(Timestamp::from_millis(seconds * 1_000), &matches);
            assert!(fired.is_empty() || fired == [FOURTH]);
            !fired.is_empty()
        })
        .collect()
}

fn check(correlation: &str, steps: &[Step<'_>], expected: &[bool]) {
    assert_eq!(fires(&load(correlation), steps), expected, "{correlation}");
}

const NO: bool = false;
const YES: bool = true;

#[test]
fn event_counts_slide_and_keep_groups_apart() {
    let count = "{type: event_count, rules: [a, b], group-by: [userIdentity.arn], timespan: 10s, condition: {gte: 3}}";
    check(
        count,
        &[
            (0, "A", "p", ""),
            (1, "B", "p", ""),
            (2, "A", "q", ""),
            (3, "C", "p", ""),
            (4, "A", "p", ""),
            (10, "A", "p", ""),
            (15, "A", "p", ""),
            (20, "A", "p", ""),
            (99, "A", "p", ""),
        ],
        &[NO, NO, NO, NO, YES, YES, NO, YES, NO],
    );
    // Late by less than the timespan counts, by more does not.
    let late = [(100, "A", "p", ""), (101, "A", "p", ""), (95, "A", "p", ""), (80, "A", "p", "")];
    check(count, &late, &[NO, NO, YES, NO]);
    check(
        "{type: event_count, rules: [a], timespan: 10s, condition: {gt: 1, lte: 3}}",
        &[(0, "A", "p", ""), (1, "A", "q", ""), (2, "A", "p", ""), (3, "A", "p", ""), (4, "A", "p", "")],
        &[NO, YES, YES, NO, NO],
    );
    check(
        "{type: event_count, rules: [rule-a], timespan: 1m, condition: {eq: 1}}",
        &[(0, "A", "p", ""), (30, "A", "p", ""), (180, "A", "p", "")],
        &[YES, NO, YES],
    );
}

#[test]
fn value_counts_count_distinct_values() {
    let count = "{type: value_count, rules: [a], group-by: [userIdentity.arn], timespan: 10s,
        condition: {field: requestParameters.name, gte: 2}}";
    check(
        count,
        &[
            (0, "A", "p", "x"),
            (1, "A", "p", "x"),
            (2, "A", "q", "y"),
            (3, "A", "p", "y"),
            (4, "A", "p", "x"),
            (14, "A", "p", "x"),
            (15, "A", "p", "y"),
        ],
        &[NO, NO, NO, YES, YES, NO, YES],
    );
    let rules = load(count);
    let many = r#"{"eventName":"A","userIdentity":{"arn":"p"},"requestParameters":[{"name":["x","y"]},{"name":"x"}]}"#;
    // The first element of `name` is an array: its elements are values.
    assert_eq!(evaluate(&rules, many)[0].counted.len(), 2);
    for missing in
        [r#"{"eventName":"A","userIdentity":{"arn":"p"}}"#, r#"{"eventName":"A","requestParameters":{"name":"x"}}"#]
    {
        assert!(evaluate(&rules, missing)[0].counted.is_empty(), "{missing}");
    }
}

#[test]
fn temporal_wants_all_rules_in_any_order() {
    let temporal = "{type: temporal, rules: [a, b], group-by: [userIdentity.arn], timespan: 10s}";
    check(
        temporal,
        &[(0, "B", "p", ""), (1, "A", "q", ""), (2, "B", "p", ""), (12, "A", "p", ""), (23, "B", "p", "")],
        &[NO, NO, NO, YES, NO],
    );
    check(
        "{type: temporal, rules: [a, b, c], timespan: 10s, condition: {gte: 2}}",
        &[(0, "A", "p", ""), (1, "A", "p", ""), (2, "C", "p", "")],
        &[NO, NO, YES],
    );
}

#[test]
fn temporal_ordered_wants_the_order() {
    let ordered = "{type: temporal_ordered, rules: [a, b, c], group-by: [userIdentity.arn], timespan: 10s}";
    check(
        ordered,
        &[(0, "C", "p", ""), (1, "B", "p", ""), (2, "A", "p", ""), (3, "B", "p", ""), (4, "C", "p", "")],
        &[NO, NO, NO, NO, YES],
    );
    // A repeated beginning does not undo a chain, and the latest beginning lives longest.
    check(
        ordered,
        &[(0, "A", "p", ""), (1, "B", "p", ""), (2, "A", "p", ""), (3, "C", "p", ""), (12, "C", "p", "")],
        &[NO, NO, NO, YES, NO],
    );
    check(
        ordered,
        &[(0, "A", "p", ""), (5, "A", "p", ""), (6, "B", "p", ""), (14, "C", "p", ""), (16, "C", "p", "")],
        &[NO, NO, NO, YES, NO],
    );
    // Within one second, and when events come late, the order of arrival does not matter.
    check(ordered, &[(0, "C", "p", ""), (0, "B", "p", ""), (0, "A", "p", "")], &[NO, NO, YES]);
    check(ordered, &[(1, "A", "p", ""), (9, "C", "p", ""), (5, "B", "p", "")], &[NO, NO, YES]);
    // A flood between two steps hides nothing.
    let mut flood = vec![(0, "A", "p", "")];
    flood.extend((0..5_000).map(|_| (1, "B", "p", "")));
    flood.push((2, "C", "p", ""));
    assert_eq!(fires(&load(ordered), &flood).last(), Some(&true));
}

#[test]
fn base_rules_are_silent_unless_told_otherwise() {
    let raises = |yaml: &str| -> Vec<bool> {
        let rules = RuleSet::load(&[("c.yml", yaml)]).unwrap_or_else(|error| panic!("{error}"));
        rules.rules().iter().map(|rule| rule.raises).collect()
    };
    let count = with("{type: event_count, rules: [a, b], timespan: 1m, condition: {gte: 3}}");
    assert_eq!(raises(&count), [false, false, true, true]);
    let generated = with("{type: event_count, rules: [a], timespan: 1m, condition: {gte: 3}, generate: true}");
    assert_eq!(raises(&generated), [true, true, true, true]);
    let explicit = count.replacen("name: a\n", "name: a\ntrailwarden: {raises: true}\n", 1);
    assert_eq!(raises(&explicit), [true, false, true, true]);
    let silent = count.replacen("name: c\n", "name: c\ntrailwarden: {raises: false}\n", 1);
    assert_eq!(raises(&silent), [false, false, false, true]);
}

#[test]
fn aliases_join_different_fields() {
    let rules = load(
        "{type: temporal, rules: [a, b], group-by: [who], timespan: 10s,
          aliases: {who: {a: userIdentity.arn, b: requestParameters.name}}}",
    );
    assert_eq!(fires(&rules, &[(0, "A", "p", "-"), (1, "B", "-", "q"), (2, "B", "-", "p")]), [NO, NO, YES]);
}

#[test]
fn wrong_correlations_are_refused() {
    let problem = |correlation: &str| match RuleSet::load(&[("c.yml", &with(correlation))]) {
        Ok(_) => panic!("loads: {correlation}"),
        Err(error) => error.problem,
    };
    let missing = |name: &str| Problem::MissingRule(name.to_owned());
    let cases = [
        ("{type: event_count, rules: [z], timespan: 1m, condition: {gte: 1}}", missing("z")),
        ("{type: event_count, rules: [correlation], timespan: 1m, condition: {gte: 1}}", missing("correlation")),
        ("{type: temporal, rules: [a, rule-a], timespan: 1m}", Problem::RepeatedRule("rule-a".to_owned())),
        ("{type: event_count, rules: [a], timespan: 1m}", Problem::Missing("condition")),
        ("{type: event_count, rules: [a], condition: {gte: 1}}", Problem::Missing("timespan")),
        ("{type: event_count, rules: [a], timespan: 1m, condition: {lt: 5}}", Problem::NoLowerBound),
        ("{type: event_count, rules: [a], timespan: 1m, condition: {gte: 0}}", Problem::NoLowerBound),
        ("{type: value_count, rules: [a], timespan: 1m, condition: {gte: 2}}", Problem::Missing("field")),
        ("{rules: [a], timespan: 1m}", Problem::Missing("type")),
        ("{type: temporal, timespan: 1m}", Problem::Missing("rules")),
    ];
    for (correlation, expected) in cases {
        assert_eq!(problem(correlation), expected, "{correlation}");
    }
    for shape in [
        "{type: magic, rules: [a], timespan: 1m}",
        "{type: temporal, rules: [a], timespan: 1m, groupby: [a]}",
        "{type: temporal_ordered, rules: [a, b], timespan: 1m, condition: {gte: 1}}",
        "{type: temporal, rules: [a], timespan: 1 minute}",
        "{type: event_count, rules: [a], timespan: 1m, condition: {gte: 100000}}",
        "{type: event_count, rules: [a], timespan: 1m, condition: {gte: -1}}",
        "{type: temporal, rules: [a, b], group-by: [w], timespan: 1m, aliases: {w: {a: x}}}",
    ] {
        problem(shape);
    }
    let first_seen = with("{type: temporal, rules: [a, b], timespan: 1m}").replacen(
        "name: a\n",
        "name: a\ntrailwarden: {first_seen: first_api_account}\n",
        1,
    );
    let error = RuleSet::load(&[("c.yml", &first_seen)]).expect_err("refused");
    assert!(matches!(error.problem, Problem::CorrelatedFirstSeen(_)));
}

#[test]
fn memory_is_bounded_and_the_oldest_group_goes_first() {
    let rules =
        load("{type: event_count, rules: [a], group-by: [userIdentity.arn], timespan: 1h, condition: {gte: 2}}");
    let template = evaluate(&rules, r#"{"eventName":"A","userIdentity":{"arn":"p"}}"#);
    let in_group = |group: u64| {
        let mut matches = template.clone();
        matches[0].counted[0].group_hash = group;
        matches
    };
    let mut correlator = Correlator::new(&rules);
    let groups = GROUPS_MAX as u64;
    for group in 0..groups {
        assert!(correlator.step(Timestamp::from_millis(1_000), &in_group(group)).is_empty());
    }
    // Group 0 is seen again, so that group 1 is now the oldest.
    assert_eq!(correlator.step(Timestamp::from_millis(2_000), &in_group(0)), [FOURTH]);
    assert_eq!(correlator.evicted(), 0);
    correlator.step(Timestamp::from_millis(3_000), &in_group(groups));
    assert_eq!(correlator.evicted(), 1);
    assert_eq!(correlator.step(Timestamp::from_millis(4_000), &in_group(0)), [FOURTH]);
    assert!(correlator.step(Timestamp::from_millis(4_000), &in_group(1)).is_empty());
    // Groups whose time is over are no loss.
    let evicted = correlator.evicted();
    correlator.step(Timestamp::from_millis(100_000_000), &in_group(groups + 1));
    assert_eq!(correlator.evicted(), evicted);
}
