//! What loads, what it becomes, and how refusals read.

use trailwarden_core::detection::{Problem, RuleSet};
use trailwarden_core::feature::{Feature, FeatureVector};
use trailwarden_core::level::Severity;

use crate::support::evaluate;

const RULE: &str = r#"
title: Trail stopped
id: 6fd1c7b8-0000-4000-8000-000000000001
name: trail_stopped
status: test
description: |
    Someone stopped a trail.
author: us
date: 2024-01-01
tags:
    - attack.defense_evasion
    - attack.defense-impairment
    - attack.t1562.008
    - attack.g0016
    - attack.stealth
    - cve.2024-1
logsource:
    product: aws
    service: cloudtrail
detection:
    selection:
        eventName: StopLogging
    condition: selection
falsepositives: Maintenance
level: high
trailwarden:
    predicate: logging_tamper
    floor: medium
"#;

fn problem(yaml: &str) -> Problem {
    match RuleSet::load(&[("bad.yml", yaml)]) {
        Ok(_) => panic!("loads: {yaml}"),
        Err(error) => error.problem,
    }
}

#[test]
fn a_rule_keeps_what_its_file_says() {
    let rules = RuleSet::load(&[("r.yml", RULE)]).expect("valid");
    let rule = &rules.rules()[0];
    assert_eq!(rule.id, "6fd1c7b8-0000-4000-8000-000000000001");
    assert_eq!(rule.title, "Trail stopped");
    assert_eq!(rule.description, "Someone stopped a trail.");
    assert_eq!(rule.severity, Severity::High);
    assert_eq!(rule.techniques, ["T1562.008"]);
    assert_eq!(rule.tactics, ["defense-evasion", "defense-impairment", "stealth"]);
    assert_eq!(rule.false_positives, ["Maintenance"]);
    assert_eq!(rule.predicate.as_deref(), Some("logging_tamper"));
    assert_eq!(rule.floor, Some(Severity::Medium));
    assert!(rule.raises);
}

#[test]
fn files_hold_several_documents() {
    let two = format!("{RULE}---\ntitle: Second\nid: second\ndetection: {{s: {{a: b}}, condition: s}}\n");
    let rules = RuleSet::load(&[("two.yml", &two)]).expect("valid");
    assert_eq!(rules.rules().len(), 2);
    assert_eq!(rules.rules()[1].severity, Severity::Medium);
    assert_eq!(RuleSet::load(&[("empty.yml", "# nothing\n")]).expect("valid").rules().len(), 0);
}

#[test]
fn refusals_name_the_file_and_the_rule() {
    let yaml = RULE.replace("eventName: StopLogging", "eventName|sounds_like: StopLogging");
    let error = RuleSet::load(&[("good.yml", "# empty"), ("rules/trail.yml", &yaml)]).expect_err("unknown modifier");
    assert_eq!(
        error.to_string(),
        "rules/trail.yml: rule `Trail stopped`: unknown modifier `sounds_like` on field `eventName`"
    );
    let error = RuleSet::load(&[("broken.yml", "title: [")]).expect_err("no YAML");
    assert!(error.to_string().starts_with("broken.yml: not readable as YAML: "), "{error}");
}

#[test]
fn what_is_wrong_is_told_apart() {
    let detection = |body: &str| problem(&format!("title: t\nid: i\ndetection: {body}"));
    let selection = |body: &str| detection(&format!("{{s: {body}, condition: s}}"));
    let is_shape = |problem: Problem| matches!(problem, Problem::WrongShape { .. });
    let is_conflict = |problem: Problem| matches!(problem, Problem::ModifierConflict(_));
    let is_value = |problem: Problem| matches!(problem, Problem::BadValue { .. });

    for body in ["{}", "[]", "null", "{a: []}", "{a: {b: c}}", "{a: [[x]]}", "[[x]]", "[null]"] {
        assert!(is_shape(selection(body)), "{body}");
    }
    for body in [
        "{a|contains|startswith: x}",
        "{a|re|cidr: x}",
        "{a|re|contains: x}",
        "{a|i: x}",
        "{a|exists|all: true}",
        "{a|all|all: x}",
        "{a|re|cased: x}",
    ] {
        assert!(is_conflict(selection(body)), "{body}");
    }
    for body in ["{a|cidr: x}", "{a|gt: x}", "{a|gt: .inf}", "{a|exists: maybe}", "{a|contains: null}"] {
        assert!(is_value(selection(body)), "{body}");
    }
    assert!(matches!(selection("{a|re: '('}"), Problem::BadRegex { .. }));
    assert!(matches!(selection("{a|re: '(?=x)'}"), Problem::BadRegex { .. }));
    assert!(matches!(selection("{a|re: '(\\w{500}){500}'}"), Problem::BadRegex { .. }));
    let unknown = selection("{trailwarden.nothing: x}");
    assert_eq!(unknown, Problem::UnknownDerivedField("trailwarden.nothing".to_owned()));
    assert!(matches!(selection(&format!("{{a: '{}'}}", "x".repeat(5_000))), Problem::TooLarge { .. }));
    assert_eq!(detection("{s: {a: b}}"), Problem::Missing("condition"));
    assert_eq!(detection("{s: {a: b}, condition: t}"), Problem::MissingSelection("t".to_owned()));
    assert_eq!(detection("{s: {a: b}, condition: s xor s}"), Problem::ConditionToken("xor".to_owned()));
    assert_eq!(problem("title: t\nid: i"), Problem::Missing("detection"));
    assert_eq!(problem("id: i\ndetection: {s: {a: b}, condition: s}"), Problem::Missing("title"));
    assert_eq!(problem("title: t\ndetection: {s: {a: b}, condition: s}"), Problem::Missing("id"));
    assert!(is_shape(problem("just text")));

    let valid = "title: t\nid: i\ndetection: {s: {a: b}, condition: s}\n";
    let with = |line: &str| problem(&format!("{valid}{line}\n"));
    assert!(matches!(with("level: awful"), Problem::UnknownWord { .. }));
    assert!(matches!(with("trailwarden: {flor: high}"), Problem::UnknownKey { .. }));
    assert!(matches!(with("trailwarden: {floor: higher}"), Problem::UnknownWord { .. }));
    assert!(matches!(with("trailwarden: {first_seen: principal_age}"), Problem::UnknownWord { .. }));
    assert!(matches!(with("trailwarden: {first_seen: first_api_account, raises: true}"), Problem::Contradiction(_)));
    assert!(is_shape(with("trailwarden: {predicate: 'Two Words'}")));
    let misspelt = with("trailwarden: {predicate: loging_tamper}");
    assert!(
        matches!(misspelt, Problem::UnknownPredicate { nearest, .. } if nearest.first() == Some(&"logging_tamper"))
    );
    assert_eq!(with("logsource: {product: windows}"), Problem::LogSource("windows".to_owned()));
    assert!(matches!(problem(&format!("{valid}---\n{valid}")), Problem::Duplicate(_)));
}

#[test]
fn first_seen_rules_fire_by_their_feature() {
    let rules = RuleSet::load(&[(
        "first.yml",
        "title: any\nid: any\ntrailwarden: {first_seen: first_source_principal}\n---\n\
         title: narrow\nid: narrow\ntrailwarden: {first_seen: first_api_account}\n\
         detection: {s: {eventName: A}, condition: s}\n---\n\
         title: plain\nid: plain\ndetection: {s: {eventName: A}, condition: s}\n",
    )])
    .expect("valid");
    let names: Vec<&str> = rules.first_seen().iter().map(|(_, feature)| feature.definition().name).collect();
    assert_eq!(names, ["first_source_principal", "first_api_account"]);

    let matched = |record: &str| -> Vec<_> { evaluate(&rules, record).into_iter().map(|m| m.rule).collect() };
    assert_eq!(matched(r#"{"eventName":"B"}"#).len(), 1);
    let all = matched(r#"{"eventName":"A"}"#);
    assert_eq!(all.len(), 3);

    let mut features = FeatureVector::default();
    let firing = |features: &FeatureVector| all.iter().map(|rule| rules.fires(*rule, features)).collect::<Vec<_>>();
    assert_eq!(firing(&features), [false, false, true], "unknown is not first");
    features.set(Feature::FirstSourcePrincipal, 0.0);
    features.set(Feature::FirstApiAccount, 1.0);
    assert_eq!(firing(&features), [false, true, true]);
}
