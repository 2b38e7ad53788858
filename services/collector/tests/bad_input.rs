//! Bad input: each kind is counted under its reason, and the rest is read.

mod support;

use support::{count, gzip, memory, options, read, record, records, rejected, run};
use trailwarden_collector::{Input, Limits, Options, RejectReason};

#[test]
fn a_gzip_truncated_at_any_byte_keeps_the_records_before_the_cut() {
    // Stored in blocks of hardly compressible text, so that cuts fall everywhere.
    let records = records(12);
    for text in [records.join("\n"), format!("{{\"Records\":[{}]}}", records.join(","))] {
        let whole = gzip(text.as_bytes());
        let mut most = 0;
        for length in 2..whole.len() {
            let summary = read(&whole[..length]);
            assert_eq!(rejected(&summary), [("truncated_gzip", 1)], "{length} of {}", whole.len());
            assert!(summary.events >= most, "{length}");
            most = summary.events;
        }
        assert!(most >= 10, "{most}");
    }
    let many: String = support::records(3000).join("\n");
    let whole = gzip(many.as_bytes());
    let summary = read(&whole[..whole.len() / 2]);
    assert!((1000..2000).contains(&summary.events), "{}", summary.events);
    assert_eq!(rejected(&summary), [("truncated_gzip", 1)]);
}

#[test]
fn a_corrupt_gzip_keeps_what_came_before() {
    let mut whole = gzip(records(5).join("\n").as_bytes());
    let end = whole.len();
    whole[end - 6] ^= 0xff;
    let summary = read(whole.clone());
    assert_eq!((rejected(&summary), summary.events), (vec![("corrupt_gzip", 1)], 5));
    whole[end - 6] ^= 0xff;
    whole.extend_from_slice(b"trailing bytes that are no member");
    let summary = read(whole.clone());
    assert_eq!((rejected(&summary), summary.events), (vec![("trailing_data", 1)], 5));
    for zeros in [1, 9, 512, 100_000] {
        let padding = vec![0; zeros];
        let summary = read([&whole[..end], &padding, &gzip(record("z", 1).as_bytes()), &padding].concat());
        assert_eq!((rejected(&summary), summary.events), (vec![], 6), "{zeros}");
    }
}

#[test]
fn a_bomb_stops_early() {
    let mut bytes = records(3).join("\n").into_bytes();
    bytes.push(b'\n');
    bytes.resize(bytes.len() + (80 << 20), 0);
    let summary = read(gzip(&bytes));
    assert_eq!(summary.events, 3);
    assert_eq!(count(&summary, RejectReason::InflatedTooLarge), 1, "{:?}", summary.problems);
    assert!(summary.bytes_inflated < 70 << 20, "{}", summary.bytes_inflated);
    let options = Options { limits: Limits { inflated_bytes_max: 2 << 20, ..Limits::default() }, ..options(1) };
    let many = records(20_000).join("\n");
    let (summary, _) = run(&[memory("long", gzip(many.as_bytes()))], &options);
    assert_eq!(rejected(&summary), [("inflated_too_large", 1)]);
    assert!((1000..8000).contains(&summary.events), "{}", summary.events);
}

#[test]
fn long_lines_and_large_records_and_documents() {
    let long = record(&"x".repeat(50 << 20), 1);
    let first = format!("{long}\n{}\n", record("a", 1));
    let last = format!("{}\n{}\n{long}", record("a", 1), record("b", 1));
    for (text, events) in [(first, 1), (last, 2)] {
        let summary = read(text);
        assert_eq!((rejected(&summary), summary.events), (vec![("line_too_long", 1)], events));
    }
    let large = record(&"x".repeat(2 << 20), 1);
    let summary = read(format!("{}\n{large}\n{}", record("a", 1), record("b", 1)));
    assert_eq!((rejected(&summary), summary.events), (vec![("record_too_large", 1)], 2));
    assert_eq!(summary.problems[0].place.line, 2);
    let options = Options { limits: Limits { document_bytes_max: 100_000, ..Limits::default() }, ..options(1) };
    let document = format!("{{\"Records\":[\n{}]}}", records(1000).join(",\n"));
    let (summary, _) = run(&[memory("document", document)], &options);
    assert_eq!(rejected(&summary), [("document_too_large", 1)]);
    assert!((100..200).contains(&summary.events), "{}", summary.events);
}

#[test]
fn deep_nesting_is_rejected_and_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for field in ["requestParameters", "userIdentity", "userAgent", "Records", "detail"] {
        let record = record("deep", 1).replace(r#""readOnly":true"#, &format!(r#""{field}":{deep}"#));
        for text in [record.clone(), format!(r#"{{"Records":[{record}]}}"#), format!("[{record}]")] {
            let summary = read(format!("{text}\n{}", support::record("a", 1)));
            assert_eq!((rejected(&summary), summary.events), (vec![("too_deep", 1)], 1), "{field}");
        }
    }
    assert_eq!(rejected(&read(deep)), [("too_deep", 1)]);
    assert_eq!(rejected(&read("[".repeat(100_000))), [("malformed_json", 1)]);
    assert_eq!(rejected(&read("{\"Records\":[".repeat(100_000))), [("malformed_json", 1)]);
    // Wide is not deep, and brackets in text are none.
    let wide = record("wide", 1).replace(r#""readOnly":true"#, &format!(r#""a":[{}[]]"#, "[],".repeat(500)));
    let text = record("text", 1).replace("aws-cli/2.15", &"[{\\\"".repeat(200));
    assert_eq!(read(format!("{wide}\n{text}")).events, 2);
}

#[test]
fn invalid_utf8_rejects_its_record_alone() {
    let bad = [record("bad", 1).replace("aws-cli", "aws").as_bytes(), b"\n"].concat();
    let bad: Vec<u8> = String::from_utf8_lossy(&bad).replace("192.0.2.7", "@@").into_bytes();
    let bad: Vec<u8> = bad.iter().map(|byte| if *byte == b'@' { 0xff } else { *byte }).collect();
    let (a, b) = (record("a", 1), record("b", 2));
    let lines = [a.as_bytes(), b"\n", &bad, b.as_bytes()].concat();
    let document = [b"{\"Records\":[", a.as_bytes(), b",", &bad, b",", b.as_bytes(), b"]}"].concat();
    for bytes in [lines, document] {
        let summary = read(bytes);
        assert_eq!((rejected(&summary), summary.events), (vec![("invalid_utf8", 1)], 2));
    }
    let wide: Vec<u8> = a.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(rejected(&read([b"\xff\xfe".as_slice(), &wide].concat())), [("invalid_utf8", 1)]);
}

#[test]
fn broken_records_do_not_take_others_along() {
    let (a, b) = (record("a", 1), record("b", 2));
    for broken in ["{\"eventTime\":", "{oops}", "\0", "{\"eventTime\":\"\0\"}", "}", "{\"a\":\"\\q\"}"] {
        let summary = read(format!("{a}\n{broken}\n{b}\n"));
        assert_eq!((rejected(&summary), summary.events), (vec![("malformed_json", 1)], 2), "{broken:?}");
        assert_eq!(summary.problems[0].place.line, 2, "{broken:?}");
        let summary = read(format!("{{\"Records\":[{a},{broken},{b}]}}"));
        assert_eq!((rejected(&summary), summary.events), (vec![("malformed_json", 1)], 2), "{broken:?}");
        assert_eq!(summary.problems[0].place.record, 2, "{broken:?}");
        let summary = read(format!("{{\"Records\":[\n{a},\n{broken},\n{b}\n]}}"));
        assert_eq!((rejected(&summary), summary.events), (vec![("malformed_json", 1)], 2), "{broken:?}");
    }
    for cut in [12, 60, a.len()] {
        let summary = read(format!("{{\"more\":1,\"Records\":[{a},{}", &b[..cut.min(b.len() - 1)]));
        assert_eq!((rejected(&summary), summary.events), (vec![("malformed_json", 1)], 1), "{cut}");
    }
}

#[test]
fn one_broken_record_of_a_document_costs_itself_alone() {
    let breaks: [(&str, &str); 11] = [
        (r#""eventVersion":"1.08""#, r#""eventVersion" "1.08""#),
        (r#""eventVersion":"1.08""#, r#""eventVersion":1.0.9"#),
        ("aws-cli", "aws\u{1}cli"),
        ("aws-cli", "aws\ncli"),
        (r#""readOnly":true"#, r#""readOnly":NaN"#),
        (r#""readOnly""#, "readOnly"),
        (r#""111122223333"}"#, r#""111122223333",}"#),
        // No brackets that match, or no string that ends where it should.
        (r#""userName":"ana"}"#, r#""userName":"ana""#),
        (r#""recipientAccountId":"111122223333"}"#, r#""recipientAccountId":"111122223333"#),
        (r#"aws-cli/2.15""#, "aws-cli/2.15"),
        (r#"{"bucketName":"example"}"#, r#"{"bucketName":["example"}"#),
    ];
    for (from, to) in breaks {
        for number in [0, 499, 999] {
            let mut records = records(1000);
            let pretty = records[number].replace("\",\"", "\",\n    \"");
            assert!(records[number].contains(from), "{from}");
            records[number] = records[number].replacen(from, to, 1);
            let mut spread = records.clone();
            spread[number] = pretty.replacen(from, to, 1);
            for text in [
                format!("{{\"Records\":[{}]}}", records.join(",")),
                format!("[{}]", records.join(", ")),
                format!("{{\n  \"Records\": [\n    {}\n  ]\n}}\n", spread.join(",\n    ")),
            ] {
                let summary = read(text);
                // The last one may take the end of the document along.
                let rejections = 1..=if number == 999 { 3 } else { 1 };
                assert_eq!(summary.events, 999, "{to} in {number}: {:?}", summary.problems);
                assert!(rejections.contains(&summary.rejections()), "{to} in {number}: {:?}", summary.problems);
                assert_eq!(summary.problems[0].place.record, number as u64 + 1, "{to}");
            }
        }
    }
    let commas = format!("[{}{}]", records(500).join(","), records(1000)[500..].join(","));
    let summary = read(commas);
    assert_eq!((rejected(&summary), summary.events), (vec![], 1000));
    let lost = format!("[{},{{\"a\":[1}},{{\"b\":2}}]", record("a", 1));
    let summary = read(lost);
    assert!(summary.problems[0].detail.ends_with("the remaining 17 bytes were not read"), "{:?}", summary.problems);
}

#[test]
fn many_broken_records_take_linear_time() {
    for (broken, per_line) in [("{\"a\":,", 1), ("{\"a\" 1}", 1), ("{\"a", 1)] {
        let good = r#"{"eventTime":"2024-05-01T10:00:00Z","eventSource":"a.b","eventName":"c"}"#;
        let text = format!("[\n{}\n]", [good, broken].join(",\n") + &format!(",\n{good},\n{broken}").repeat(99_999));
        let summary = read(text);
        assert_eq!(summary.events + summary.duplicates, 100_000, "{broken}");
        assert!(summary.rejections() >= 100_000 * per_line, "{broken}: {}", summary.rejections());
    }
    // Nothing but openings: each could hold all that follow.
    read(format!("[{}", "{\"a\":[0,".repeat(200_000)));
    read(format!("[{}]", "{\"a\" 1},".repeat(200_000)));
}

#[test]
fn text_that_a_tree_refuses_is_read_all_the_same() {
    let text = |parameters: &str| {
        let id = parameters.len().to_string();
        record(&id, 1).replace(r#"{"bucketName":"example"}"#, parameters)
    };
    let cases = [
        text(r#"{"name":"\ud83d"}"#),
        text(r#"{"number":1e999}"#),
        text(r#"{"$serde_json::private::RawValue":"not json"}"#),
        record("agent", 1).replace("aws-cli/2.15", "cut \\ud83d"),
    ];
    let (summary, events) = run(&[memory("input", cases.join("\n"))], &options(1));
    assert_eq!((rejected(&summary), summary.events), (vec![], 4));
    assert!(events.iter().all(|event| event.contains("parameters")), "{events:#?}");
}

#[test]
fn required_fields_are_named_and_optional_ones_are_not_needed() {
    let check = |from: &str, to: &str, expected: &[(&str, u64)], detail: &str| {
        let text = record("a", 1);
        assert!(text.contains(from), "{from}");
        let summary = read(text.replace(from, to));
        assert_eq!(rejected(&summary), expected, "{to}");
        let found = summary.problems.first().map_or("", |problem| problem.detail.as_str());
        assert_eq!(found, detail, "{to}");
    };
    let time = r#""eventTime":"2024-05-01T10:00:01Z""#;
    let source = r#""eventSource":"s3.amazonaws.com""#;
    let missing = [("missing_field", 1)];
    let invalid = [("invalid_field", 1)];
    check(time, r#""x":1"#, &missing, "eventTime");
    check(time, r#""eventTime":null"#, &missing, "eventTime");
    check(time, r#""eventTime":1714557601"#, &invalid, "eventTime");
    check(time, r#""eventTime":"...""#, &invalid, "eventTime");
    check(time, r#""eventTime":"2024-05-01""#, &invalid, "eventTime");
    check(source, r#""eventSource":"...""#, &invalid, "eventSource");
    check(source, r#""eventSource":{"a":1}"#, &invalid, "eventSource");
    check("GetBucketAcl", "", &invalid, "eventName");
    check("GetBucketAcl", "a\\u0000b", &invalid, "eventName");
    check("GetBucketAcl", &"x".repeat(300), &invalid, "eventName");
    for time in
        ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2024-05-01T10:00:01.123456Z", "2024-05-01T10:00:01+02:00"]
    {
        check("2024-05-01T10:00:01Z", time, &[], "");
    }
    for (from, to) in [
        (r#""awsRegion":"eu-west-1""#, r#""awsRegion":7"#),
        (r#""userAgent":"aws-cli/2.15""#, r#""userAgent":["a",{"b":[]}]"#),
        (r#""recipientAccountId":"111122223333""#, r#""recipientAccountId":"7***""#),
        (r#""readOnly":true"#, r#""readOnly":"maybe""#),
        (r#""userIdentity":{"#, r#""userIdentity":"nobody","x":{"#),
        (r#""userIdentity":{"#, r#""userIdentity":null,"x":{"#),
        (r#""type":"IAMUser""#, r#""type":false,"sessionContext":[1]"#),
        (r#""eventID":"a""#, r#""eventID":"a","eventID":"b""#),
    ] {
        check(from, to, &[], "");
    }
    let future = read(record("a", 1).replace("2024", "9999"));
    assert_eq!((future.events, future.future), (1, 1));
}

#[test]
fn files_and_folders_that_cannot_be_read_are_listed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let day = root.join("AWSLogs/111122223333/CloudTrail/eu-west-1/2024/05/01");
    let digests = root.join("AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2024/05/01");
    let empty = root.join("empty");
    for path in [&day, &digests, &empty] {
        std::fs::create_dir_all(path).expect("folder");
    }
    let whole = format!("{{\"Records\":[{}]}}", records(4).join(","));
    std::fs::write(day.join("a.json.gz"), gzip(whole.as_bytes())).expect("file");
    std::fs::write(day.join("b.JSON"), &whole).expect("file");
    std::fs::write(day.join("nothing.json"), "").expect("file");
    std::fs::write(day.join("readme.txt"), "text").expect("file");
    std::fs::write(digests.join("d.json.gz"), gzip(b"{}")).expect("file");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(root, day.join("loop")).expect("link");
        std::os::unix::fs::symlink(root.join("gone"), day.join("dangling.json")).expect("link");
    }
    let paths = [root.to_owned(), empty, root.join("missing"), root.join("AWSLogs\u{1b}")];
    let inputs = paths.map(Input::from_argument);
    let (summary, events) = run(&inputs, &options(2));
    assert_eq!((events.len(), summary.duplicates, summary.files), (4, 4, 3));
    let mut expected = vec![("not_found", 2), ("empty_file", 1), ("empty_folder", 1)];
    if cfg!(unix) {
        expected.extend([("symlink_loop", 1), ("unreadable", 1)]);
    }
    expected.sort_unstable();
    let mut found = rejected(&summary);
    found.sort_unstable();
    assert_eq!(found, expected, "{:#?}", summary.problems);
    assert_eq!(count(&summary, RejectReason::Digest), 1);
    assert_eq!(count(&summary, RejectReason::OtherExtension), 1);
    assert!(summary.problems.iter().any(|problem| problem.file.ends_with("AWSLogs\\u{1b}")));
    // Nothing at all is a summary too.
    let (summary, events) = run(&[], &options(2));
    assert_eq!((summary.files, events.len()), (0, 0));
}

#[test]
fn the_list_of_problems_is_bounded() {
    let text: String =
        (0..5000).map(|n| format!("{{\"eventName\":\"{n}\u{1b}\\u001b{}\"}}\n", "x".repeat(500))).collect();
    let good = record("a", 1);
    let summary = read(format!("{text}{good}"));
    assert_eq!(summary.rejections(), 5000);
    assert_eq!(summary.problems.len(), 100);
    let lines: Vec<u64> = summary.problems.iter().map(|problem| problem.place.line).collect();
    assert_eq!(lines, (1..=100).collect::<Vec<_>>());
    assert!(summary.problems.iter().all(|problem| problem.detail.len() <= 200 && !problem.detail.contains('\u{1b}')));
}
