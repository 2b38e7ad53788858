//! Every delivered shape gives the same events.

mod support;

use support::{count, gzip, memory, options, read, record, records, rejected, run};
use trailwarden_collector::RejectReason;

#[test]
fn every_shape_gives_the_same_events() {
    let records = records(7);
    let whole = format!("{{\"Records\":[{}]}}", records.join(","));
    let envelopes: Vec<String> = records
        .iter()
        .map(|record| {
            format!(r#"{{"version":"0","id":"x","detail-type":"AWS API Call via CloudTrail","detail":{record}}}"#)
        })
        .collect();
    let looked_up: Vec<String> = records
        .iter()
        .map(|record| {
            let quoted = serde_json::Value::from(record.as_str());
            format!(r#"{{"EventId":"x","EventName":"y","ReadOnly":"true","CloudTrailEvent":{quoted}}}"#)
        })
        .collect();
    let quoted: Vec<String> =
        records.iter().map(|record| serde_json::Value::from(record.as_str()).to_string()).collect();
    let pretty = |text: &str| {
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(text).expect("valid")).expect("valid")
    };
    let (first, rest) = whole.split_at(whole.len() / 2);
    let members = [gzip(first.as_bytes()), gzip(rest.as_bytes())].concat();
    let array = format!("[{}]", records.join(","));
    let shapes: Vec<(&str, Vec<u8>)> = vec![
        ("a delivered file", whole.clone().into()),
        ("compressed", gzip(whole.as_bytes())),
        ("compressed in two members", members),
        ("a byte order mark", format!("\u{feff}{whole}").into()),
        ("records not first", whole.replacen('{', r#"{"a":[1,{}],"b":null,"#, 1).into()),
        ("records last of many keys", whole.replacen('{', r#"{"NextToken":"x","#, 1).into()),
        ("pretty", pretty(&whole).into()),
        ("an array", array.clone().into()),
        ("a pretty array", pretty(&array).into()),
        ("an array, a record a line", format!("[\n{}\n]\n", records.join(",\n")).into()),
        ("an array, commas first", format!("[{}\n]", records.join("\n,")).into()),
        ("an array of files", format!("[{whole},{{\"Records\":[]}}]").into()),
        ("a record a line", records.join("\n").into()),
        ("with blank lines and returns", format!("\n\r\n{}\r\n\n", records.join("\r\n\n")).into()),
        ("one after another", records.concat().into()),
        ("pretty, one after another", records.iter().map(|record| pretty(record)).collect::<String>().into()),
        ("a file a line", format!("{whole}\n{{\"Records\":[]}}\n{whole}").into()),
        ("event bridge", envelopes.join("\n").into()),
        ("an array of event bridge", format!("[{}]", envelopes.join(",")).into()),
        ("lookup", format!("{{\"Events\":[{}],\"NextToken\":\"x\"}}", looked_up.join(",")).into()),
        ("lookup, pretty", pretty(&format!("{{\"Events\":[{}]}}", looked_up.join(","))).into()),
        ("lookup, an event a line", looked_up.join("\n").into()),
        ("strings", quoted.join("\n").into()),
    ];
    let (_, expected) = run(&[memory("plain", records.join("\n"))], &options(1));
    for (name, bytes) in shapes {
        let (summary, events) = run(&[memory(name, bytes)], &options(1));
        assert_eq!(rejected(&summary), [], "{name}: {:?}", summary.problems);
        assert_eq!(events, expected, "{name}");
    }
}

#[test]
fn what_is_not_an_event_is_set_aside_or_named() {
    let digest = r#"{"awsAccountId":"111122223333","digestStartTime":"2024-05-01T10:00:00Z","logFiles":[]}"#;
    assert_eq!(count(&read(digest), RejectReason::Digest), 1);
    let insight = r#"{"Records":[{"eventVersion":"1.07","eventTime":"2024-05-01T10:00:00Z","eventType":"AwsCloudTrailInsight","eventCategory":"Insight","insightDetails":{}}]}"#;
    assert_eq!(count(&read(insight), RejectReason::Insight), 1);
    for foreign in [
        "{}",
        "[1]",
        "[[[]]]",
        "\"text\"",
        r#"{"event":{}}"#,
        r#"{"detail":{"findings":1}}"#,
        "version account eni\n2 1111 eni-1\n",
    ] {
        let summary = read(foreign);
        assert_eq!(rejected(&summary), [("not_cloudtrail", 1)], "{foreign}");
    }
    // A wrapper of our development data is not a shape, and an empty file of records is no problem.
    assert_eq!(read(format!(r#"{{"event":{}}}"#, record("a", 1))).events, 0);
    for empty in [r#"{"Records":[]}"#, "[]", "{\"Records\":[]}\n{\"Records\":[]}\n"] {
        let summary = read(empty);
        assert_eq!((rejected(&summary), count(&summary, RejectReason::Empty)), (vec![], 1), "{empty}");
        assert_eq!(summary.problems.len(), 1);
    }
    for scalar in ["42", "null"] {
        assert_eq!(read(scalar).problems[0].detail, "neither an object nor an array of them");
    }
}

#[test]
fn a_record_without_an_id_gets_one_from_its_content() {
    let without = record("x", 1).replace(r#""eventID":"x","#, "");
    let reordered = serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(&without).expect("valid"));
    let text = format!("{without}\n{}\n", record("x", 1).replace(r#""eventID":"x""#, r#""eventID":7"#));
    let inputs = [memory("a", text), memory("b", reordered.expect("valid"))];
    let (summary, events) = run(&inputs, &options(2));
    assert_eq!((summary.events, summary.duplicates, summary.conflicting), (2, 1, 0));
    assert!(events.iter().all(|event| event.contains("derived:")), "{events:?}");
}
