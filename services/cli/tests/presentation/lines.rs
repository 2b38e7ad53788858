use trailwarden::findings::Finding;
use trailwarden::line::Line;
use trailwarden::lines::{Api, EventLine, write_case, write_event};
use trailwarden_core::language::Language;
use trailwarden_core::level::Level;

use crate::{hostile, sample};

fn case_line(finding: &Finding) -> String {
    let mut out = Vec::new();
    write_case(&mut out, finding, &sample::findings().rules, Language::English).expect("a vector takes all");
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Top-level keys in the order they are written.
fn keys(line: &str) -> Vec<String> {
    let (mut keys, mut depth, mut text, mut escaped, mut current) = (Vec::new(), 0, false, false, String::new());
    for character in line.chars() {
        match (text, character) {
            (true, _) if escaped => escaped = false,
            (true, '\\') => escaped = true,
            (true, '"') => text = false,
            (true, other) => current.push(other),
            (false, '"') => (text, current) = (true, String::new()),
            (false, ':') if depth == 1 => keys.push(current.clone()),
            (false, '{' | '[') => depth += 1,
            (false, '}' | ']') => depth -= 1,
            _ => {}
        }
    }
    keys
}

#[test]
fn an_event_line_keeps_its_contract() {
    let line = EventLine {
        event_id: "e-1",
        event_time: sample::time("2024-07-30T21:31:21Z"),
        account: "111122223333",
        principal: "arn:aws:iam::111122223333:user/x",
        api: Api { service: "iam", call: "PutUserPolicy" },
        score: 0.123_456_789,
        level: Level::Warning,
    };
    let mut out = Vec::new();
    write_event(&mut out, &line).expect("a vector takes all");
    write_event(&mut out, &EventLine { score: -0.0, level: Level::None, ..line }).expect("a vector takes all");
    let text = String::from_utf8(out).expect("JSON is UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        r#"{"event_id":"e-1","event_time":"2024-07-30T21:31:21Z","account":"111122223333","principal":"arn:aws:iam::111122223333:user/x","api":"iam:PutUserPolicy","score":0.123457,"level":"warning"}"#
    );
    assert!(lines[1].ends_with(r#""score":0.0,"level":"none"}"#), "{}", lines[1]);
}

#[test]
fn a_case_line_keeps_its_contract() {
    let findings = sample::findings();
    let line = case_line(&findings.cases[1]);
    assert_eq!(
        keys(&line).join(" "),
        "case_id account principal session first_event_time last_event_time event_ids score verdict severity techniques reasons plan brains \
          language summary set_aside rejected counterfactual route evidence judged_under pool"
    );
    let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(value["verdict"], "malicious");
    assert_eq!(value["event_ids"].as_array().map(Vec::len), Some(8));
    assert_eq!(value["plan"][0]["target"], "AKIAIOSFODNN7EXAMPLE");
    assert_eq!(value["plan"][0]["tier"], "T1");
    assert_eq!(value["plan"][0]["mode"], "dry_run");
    assert_eq!(value["plan"][0]["calls"][0]["parameters"]["Status"], "Inactive");
    assert_eq!(value["brains"]["sceptic"], "deterministic");
    for (part, expected) in [
        ("techniques", r#"{"id":"T1562.008","event_ids":["#),
        (
            "reasons",
            r#"{"text":"The audit trail was stopped or weakened. (Detected by “Trail stopped or deleted”.)","weight":3.2,"event_ids":["#,
        ),
        (
            "plan",
            r#"{"playbook":"disable_access_key","target":"AKIAIOSFODNN7EXAMPLE","tier":"T1","mode":"dry_run","calls":[{"service":"iam","operation":"UpdateAccessKey","parameters":{"#,
        ),
    ] {
        assert!(line.contains(&format!("\"{part}\":[{expected}")), "{part}: {line}");
    }
    let sweep: serde_json::Value = serde_json::from_str(&case_line(&findings.cases[2])).expect("JSON");
    assert_eq!(sweep["event_ids"].as_array().map(Vec::len), Some(412), "further event ids are named too");
    assert_eq!(sweep["brains"]["sceptic"], "llm:local-1.5b");
}

#[test]
fn a_line_tells_in_another_language_what_it_says() {
    for (finding, rules) in
        [(&sample::findings().cases[1], sample::findings().rules), (&hostile::findings().cases[0], vec![])]
    {
        let english = Line::of(finding, &rules, Language::English);
        let korean = Line::of(finding, &rules, Language::Korean);
        let text = |line: &Line<'_>| serde_json::to_string(line).expect("JSON");
        assert_ne!(text(&english), text(&korean));
        let read = Line::read(text(&english).as_bytes()).expect("a line");
        assert_eq!(text(&read), text(&english), "what is read is written again as it was");
        assert_eq!(text(&read.retold(Language::Korean)), text(&korean));
    }
}

#[test]
fn a_line_of_another_version_keeps_its_texts() {
    let mut value: serde_json::Value = serde_json::from_str(&case_line(&sample::findings().cases[1])).expect("JSON");
    value["reasons"][0]["said"] = serde_json::json!({ "dreamt": true });
    value["route"]["why"] = serde_json::json!([{ "dreamt": true }]);
    for member in ["language", "summary", "set_aside", "rejected", "counterfactual", "evidence"] {
        value.as_object_mut().expect("an object").remove(member);
    }
    let line = Line::read(value.to_string().as_bytes()).expect("a line").retold(Language::Korean);
    assert!(line.reasons[0].text.starts_with("The audit trail was stopped"));
    assert!(line.reasons[1].text.starts_with("탐지: "));
    assert!(line.route.text.starts_with("To a person"));
}

#[test]
fn hostile_text_stays_on_one_line_of_json() {
    let line = case_line(&hostile::findings().cases[0]);
    assert_eq!(line.matches('\n').count(), 1);
    let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(value["case_id"], hostile::HOSTILE);
    assert_eq!(value["score"], 0.0, "what is not a number is 0");
}
