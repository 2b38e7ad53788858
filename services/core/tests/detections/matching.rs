//! What each form of a detection matches.

use trailwarden_core::detection::RuleSet;

use crate::support::evaluate;

/// Whether a detection block (YAML, indented by four) matches the record.
fn matches(detection: &str, record: &str) -> bool {
    let yaml = format!("title: t\nid: i\ndetection:\n{detection}\n");
    let rules = RuleSet::load(&[("t.yml", &yaml)]).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    !evaluate(&rules, record).is_empty()
}

/// Checks one selection body (a flow map or list) against records that must and must not match.
fn check(selection: &str, hits: &[&str], misses: &[&str]) {
    let detection = format!("    sel: {selection}\n    condition: sel");
    for record in hits {
        assert!(matches(&detection, record), "{selection} must match {record}");
    }
    for record in misses {
        assert!(!matches(&detection, record), "{selection} must not match {record}");
    }
}

#[test]
fn plain_values_compare_by_text_and_ignore_case() {
    check("{a: Yes}", &[r#"{"a":"yes"}"#, r#"{"a":"YES"}"#], &[r#"{"a":"no"}"#, "{}", r#"{"A":"yes"}"#]);
    check("{a: true}", &[r#"{"a":true}"#, r#"{"a":"True"}"#], &[r#"{"a":false}"#, r#"{"a":1}"#]);
    check("{a: 'false'}", &[r#"{"a":false}"#], &[r#"{"a":null}"#, "{}"]);
    check("{a: 22}", &[r#"{"a":22}"#, r#"{"a":"22"}"#], &[r#"{"a":220}"#]);
    check("{a: 012345678901}", &[r#"{"a":"012345678901"}"#], &[r#"{"a":"12345678901"}"#]);
    check("{a: ''}", &[r#"{"a":""}"#], &["{}", r#"{"a":null}"#, r#"{"a":"x"}"#]);
    check("{a: [x, y]}", &[r#"{"a":"x"}"#, r#"{"a":"Y"}"#], &[r#"{"a":"z"}"#]);
    check("{a: x, b: y}", &[r#"{"a":"x","b":"y"}"#], &[r#"{"a":"x"}"#, r#"{"b":"y"}"#]);
    check("[{a: x}, {b: y}]", &[r#"{"a":"x"}"#, r#"{"b":"y"}"#], &["{}"]);
}

#[test]
fn head_fields_and_tree_fields_agree() {
    let arn = "userIdentity.sessionContext.sessionIssuer.arn";
    let record = r#"{"userIdentity":{"sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::1:role/X"}}}}"#;
    check(&format!("{{{arn}: 'arn:aws:iam::1:role/x'}}"), &[record], &["{}"]);
    // A head field of another type than text: everything is answered from the tree.
    let partial = r#"{"userIdentity":{"accountId":123,"type":"Root"},"errorCode":["A","B"]}"#;
    check("{userIdentity.accountId: 123}", &[partial], &[]);
    check("{userIdentity.type: root, errorCode: b}", &[partial], &[]);
    check("{errorCode: null}", &["{}", r#"{"errorCode":null}"#], &[partial, r#"{"errorCode":""}"#]);
    check("{eventName: null}", &["{}"], &[r#"{"eventName":"A"}"#]);
}

#[test]
fn null_and_exists() {
    check("{a: null}", &["{}", r#"{"a":null}"#], &[r#"{"a":""}"#, r#"{"a":0}"#, r#"{"a":{}}"#]);
    check("{a: [null, x]}", &["{}", r#"{"a":"x"}"#], &[r#"{"a":"y"}"#]);
    check("{a.b: null}", &["{}", r#"{"a":1}"#, r#"{"a":[{"c":1}]}"#], &[r#"{"a":[{"c":1},{"b":1}]}"#]);
    check("{a|exists: true}", &[r#"{"a":""}"#, r#"{"a":{}}"#], &["{}", r#"{"a":null}"#]);
    check("{a|exists: false}", &["{}", r#"{"a":null}"#], &[r#"{"a":false}"#]);
    check("{awsRegion|exists: true}", &[r#"{"awsRegion":"x"}"#], &["{}"]);
}

#[test]
fn text_modifiers() {
    check("{a|contains: bc}", &[r#"{"a":"aBCd"}"#], &[r#"{"a":"b c"}"#]);
    check("{a|contains: '*'}", &[r#"{"a":""}"#, r#"{"a":{}}"#, r#"{"a":0}"#], &["{}", r#"{"a":null}"#]);
    check("{a|startswith: ab}", &[r#"{"a":"ABc"}"#], &[r#"{"a":"cab"}"#]);
    check("{a|endswith: [bc, x]}", &[r#"{"a":"ABc"}"#, r#"{"a":"x"}"#], &[r#"{"a":"bcd"}"#]);
    check("{a|contains|all: [b, d]}", &[r#"{"a":"abcd"}"#], &[r#"{"a":"abc"}"#, r#"{"a":"d"}"#]);
    check("{a|all: ['*x*', '*y*']}", &[r#"{"a":"y-x"}"#, r#"{"a":["x","y"]}"#], &[r#"{"a":"x"}"#]);
    check("{a|cased: Ab}", &[r#"{"a":"Ab"}"#], &[r#"{"a":"ab"}"#]);
    check("{a|contains|cased: Ab}", &[r#"{"a":"xAbx"}"#], &[r#"{"a":"xabx"}"#]);
    check(r"{a: 'x\*'}", &[r#"{"a":"x*"}"#], &[r#"{"a":"xy"}"#]);
    check("{a: 'x?z*'}", &[r#"{"a":"xyz"}"#, r#"{"a":"X-Z-"}"#], &[r#"{"a":"xz"}"#]);
}

#[test]
fn regular_expressions() {
    check("{a|re: 'b.d$'}", &[r#"{"a":"abcd"}"#], &[r#"{"a":"aBcd"}"#, r#"{"a":"bcde"}"#]);
    check("{a|re|i: 'b.d$'}", &[r#"{"a":"aBcD"}"#], &[]);
    check("{a|re: '^b'}", &[], &[r#"{"a":"a\nb"}"#]);
    check("{a|re|m: '^b'}", &[r#"{"a":"a\nb"}"#], &[]);
    check("{a|re: 'a.b'}", &[], &[r#"{"a":"a\nb"}"#]);
    check("{a|re|s: 'a.b'}", &[r#"{"a":"a\nb"}"#], &[]);
    check("{a|re: '^[0-9]+$'}", &[r#"{"a":12}"#], &[r#"{"a":true}"#]);
    check(r#"{a|re: '"b":\[1'}"#, &[r#"{"a": {"b": [1, 2]}}"#], &[r#"{"a":{"b":[2]}}"#]);
}

#[test]
fn numbers_networks_and_references() {
    check("{a|gt: 5}", &[r#"{"a":6}"#, r#"{"a":"5.5"}"#], &[r#"{"a":5}"#, r#"{"a":"x"}"#, "{}"]);
    check("{a|gte: 5}", &[r#"{"a":5}"#], &[r#"{"a":4.9}"#]);
    check("{a|lt: 5}", &[r#"{"a":-1}"#], &[r#"{"a":5}"#, "{}"]);
    check("{a|lte: 5}", &[r#"{"a":5}"#, r#"{"a":[9,1]}"#], &[r#"{"a":6}"#]);
    check(
        "{sourceIPAddress|cidr: ['10.0.0.0/8', '2001:db8::/32']}",
        &[r#"{"sourceIPAddress":"10.1.2.3"}"#, r#"{"sourceIPAddress":"2001:db8::1"}"#],
        &[r#"{"sourceIPAddress":"11.1.2.3"}"#, r#"{"sourceIPAddress":"ec2.amazonaws.com"}"#],
    );
    check("{a|fieldref: b.c}", &[r#"{"a":"X","b":{"c":"x"}}"#], &[r#"{"a":"x"}"#, r#"{"b":{"c":"x"}}"#, "{}"]);
    check("{a|fieldref|cased: b}", &[r#"{"a":"x","b":"x"}"#], &[r#"{"a":"X","b":"x"}"#]);
    check("{a|fieldref|endswith: b}", &[r#"{"a":"user/bob","b":"Bob"}"#], &[r#"{"a":"bob/x","b":"bob"}"#]);
    check("{a|fieldref|startswith: b}", &[r#"{"a":"bob/x","b":"bob"}"#], &[r#"{"a":"x/bob","b":"bob"}"#]);
    check("{a|fieldref|contains: b}", &[r#"{"a":"x-bob-x","b":"bob"}"#], &[r#"{"a":"x","b":"bob"}"#]);
    check("{a|fieldref: b}", &[r#"{"a":"1","b":[2,1]}"#], &[r#"{"a":"1","b":{"c":1}}"#]);
}

#[test]
fn arrays_and_objects() {
    check("{a.b: x}", &[r#"{"a":[{"b":"y"},{"b":"x"}]}"#, r#"{"a":{"b":["y","x"]}}"#], &[r#"{"a":["x"]}"#]);
    check("{a.b.c: x}", &[r#"{"a":[[{"b":[{"c":"x"}]}]]}"#], &[r#"{"a":{"b":"x"}}"#]);
    check("{a: x}", &[r#"{"a":["y","x"]}"#], &[r#"{"a":{"b":"x"}}"#, r#"{"a":[{"b":"x"}]}"#]);
    check("{a|startswith: x}", &[r#"{"a":["y","xy"]}"#], &[r#"{"a":["yx"]}"#]);
    check(
        r#"{a|contains: '"b":"x'}"#,
        &[r#"{"a": {"b" : "xy"}}"#, r#"{"a": [{"b": "x"}]}"#],
        &[r#"{"a":{"b":"y","c":"x"}}"#],
    );
    // A policy is JSON inside a text: its quotes are escaped in the text of the whole.
    check(
        r#"{requestParameters|contains|all: ['"Allow"', '"s3:GetObject"']}"#,
        &[r#"{"requestParameters":{"policyDocument":"{\"Effect\":\"Allow\",\"Action\":\"s3:GetObject\"}"}}"#],
        &[r#"{"requestParameters":{"policyDocument":"{\"Effect\":\"Deny\",\"Action\":\"s3:GetObject\"}"}}"#],
    );
}

#[test]
fn keywords_stand_anywhere() {
    let record = r#"{"a":{"b":"some \"Quoted\" text"},"n":[1234]}"#;
    check("['\"quoted\"']", &[record], &["{}"]);
    check("[absent, 'so*text']", &[record], &["{}"]);
    check("['1234']", &[record], &["{}"]);
    check("{'|all': [some, text]}", &[record], &[r#"{"a":"some"}"#]);
    check("some", &[record], &["{}"]);
}

#[test]
fn conditions_join_selections() {
    let block = |condition: &str| {
        format!("    sel_a: {{a: x}}\n    sel_b: {{b: x}}\n    filter: {{c: x}}\n    condition: {condition}")
    };
    let cases = [
        ("sel_a and not filter", r#"{"a":"x"}"#, true),
        ("sel_a and not filter", r#"{"a":"x","c":"x"}"#, false),
        ("1 of sel_* and not 1 of filter*", r#"{"b":"x"}"#, true),
        ("all of sel_*", r#"{"b":"x"}"#, false),
        ("all of sel_*", r#"{"a":"x","b":"x"}"#, true),
        ("[sel_a, filter]", r#"{"c":"x"}"#, true),
        ("[sel_a, filter]", r#"{"b":"x"}"#, false),
    ];
    for (condition, record, expected) in cases {
        assert_eq!(matches(&block(condition), record), expected, "{condition} on {record}");
    }
}

#[test]
fn derived_fields_answer_beside_the_record() {
    let record = r#"{"eventSource":"lambda.amazonaws.com","eventName":"UpdateFunctionCode20150331v2",
        "errorCode":"AccessDenied","userIdentity":{"arn":"arn:aws:iam::1:user/bob","accessKeyId":"AKIA1"}}"#;
    check("{trailwarden.call: updatefunctioncode, trailwarden.service: Lambda}", &[record], &["{}"]);
    check("{trailwarden.call: UpdateFunctionCode, eventName|startswith: UpdateFunctionCode2015}", &[record], &[]);
    check("{eventName: UpdateFunctionCode20150331v2, trailwarden.call: UpdateFunctionCode}", &[record], &[]);
    check("{eventName: UpdateFunctionCode}", &[], &[record]);
    check("{trailwarden.denied: true}", &[record], &[r#"{"errorCode":"Throttling"}"#]);
    check("{trailwarden.session: AKIA1, trailwarden.principal|endswith: user/bob}", &[record], &["{}"]);
    check("{trailwarden.session: null}", &["{}"], &[record]);
}

#[test]
fn the_index_misses_nothing() {
    let yaml = |place: usize, name: &str| {
        format!("title: t\nid: '{place}'\ndetection:\n  sel:\n    eventName: {name}\n  condition: sel\n")
    };
    let texts: Vec<String> = (0..300).map(|place| yaml(place, &format!("Call{place}"))).collect();
    let documents: Vec<(&str, &str)> = texts.iter().map(|text| ("r.yml", text.as_str())).collect();
    let rules = RuleSet::load(&documents).expect("valid rules");
    for place in 0..300 {
        let record = format!(r#"{{"eventSource":"x.amazonaws.com","eventName":"CALL{place}"}}"#);
        let found: Vec<usize> = evaluate(&rules, &record).iter().map(|matched| usize::from(matched.rule.0)).collect();
        assert_eq!(found, [place]);
    }
}

#[test]
fn a_rule_met_under_two_keys_matches_once_and_in_order() {
    let documents = [
        ("b.yml", "title: late\nid: b\ndetection: {s: {userAgent: x}, condition: s}"),
        (
            "a.yml",
            "title: twice\nid: a\ndetection: {s: {eventSource: iam.amazonaws.com}, t: {eventName: A}, condition: s or t}",
        ),
    ];
    let rules = RuleSet::load(&documents).expect("valid rules");
    let record = r#"{"eventSource":"iam.amazonaws.com","eventName":"A","userAgent":"x"}"#;
    let found: Vec<u16> = evaluate(&rules, record).iter().map(|matched| matched.rule.0).collect();
    assert_eq!(found, [0, 1]);
}
