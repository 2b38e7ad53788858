//! Hostile and broken input: a clear line, the right exit code, the rest processed, memory bounded.
#![allow(clippy::disallowed_methods, reason = "reads files that the suite itself wrote")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use trailwarden_tests::command::{Run, event_ids, trailwarden};
use trailwarden_tests::records::{document, event_id, gzip, lines, quiet, write_repeated, write_repeated_gzip};

/// Good records lie before and after the bad file in the order of names.
const GOOD: u64 = 60;
/// Records of a bad file that are good in themselves are numbered from here.
const INSIDE: u64 = 1_000;

struct Scanned {
    run: Run,
    ids: Vec<String>,
}

impl Scanned {
    fn holds(&self, numbers: impl IntoIterator<Item = u64>) -> bool {
        let ids: BTreeSet<&str> = self.ids.iter().map(String::as_str).collect();
        numbers.into_iter().all(|n| ids.contains(event_id(n).as_str()))
    }

    /// Events that were neither beside nor inside the bad file by number.
    fn others(&self) -> usize {
        let ours: BTreeSet<String> = (0..GOOD).chain(INSIDE..INSIDE + 100).map(event_id).collect();
        self.ids.iter().filter(|id| !ours.contains(*id)).count()
    }
}

/// Scans a folder with good files and what `spoil` puts beside them; demands that the good ones come out, that it
/// exits with 0 and that memory stays within its cap.
fn scan_beside(spoil: impl FnOnce(&Path)) -> Scanned {
    scan_beside_with(spoil, &[])
}

fn scan_beside_with(spoil: impl FnOnce(&Path), environment: &[(&str, &str)]) -> Scanned {
    let root = tempfile::tempdir().unwrap();
    let logs = root.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let good: Vec<Value> = (0..GOOD).map(quiet).collect();
    let (before, after) = good.split_at(good.len() / 2);
    std::fs::write(logs.join("a-good.json"), document(before)).unwrap();
    std::fs::write(logs.join("z-good.jsonl.gz"), gzip(&lines(after))).unwrap();
    spoil(&logs);
    let events = root.path().join("events");
    let mut scan = trailwarden(["scan"]).arg(&logs).arg("--events").arg(&events);
    for (name, text) in environment {
        scan = scan.env(name, text);
    }
    let run = scan.run();
    run.assert_code(0);
    assert!(events.is_file(), "no events were written\n{}", run.told());
    let scanned = Scanned { ids: event_ids(&events), run };
    assert!(scanned.holds(0..GOOD), "good records are missing\n{}", scanned.run.told());
    scanned.run.assert_memory_is_bounded(scanned.ids.len() as u64);
    scanned
}

fn inside(count: u64) -> Vec<Value> {
    (INSIDE..INSIDE + count).map(quiet).collect()
}

#[test]
fn a_truncated_gzip_is_named() {
    let whole = gzip(&lines(&inside(40)));
    for length in [2, 9, 12, whole.len() / 2, whole.len() - 1] {
        let scanned = scan_beside(|logs| std::fs::write(logs.join("m-cut.jsonl.gz"), &whole[..length]).unwrap());
        scanned.run.assert_says(&["m-cut.jsonl.gz"]).assert_says(&["truncated", "cut short", "incomplete", "gzip"]);
        assert_eq!(scanned.others(), 0);
    }
}

#[test]
fn a_gzip_that_is_none_is_named() {
    let scanned = scan_beside(|logs| std::fs::write(logs.join("m-plain.json.gz"), "no gzip at all").unwrap());
    scanned.run.assert_says(&["m-plain.json.gz"]);
}

#[test]
fn bombs_are_stopped_at_a_cap() {
    let zeros = vec![b'0'; 16 << 20];
    // One member of 2 GiB, as a document and as a line; 10 GiB as 640 members.
    let open = br#"{"Records":[{"eventName":""#;
    for name in ["m-bomb.json.gz", "m-bomb.jsonl.gz"] {
        let scanned = scan_beside(|logs| write_repeated_gzip(&logs.join(name), open, &zeros, 128, b"\"}]}\n"));
        scanned.run.assert_says(&[name]);
        assert_eq!(scanned.others(), 0);
    }
    let member = gzip(&zeros);
    let scanned = scan_beside(|logs| {
        let path = logs.join("m-bomb.json.gz");
        write_repeated(&path, &gzip(open), &member, 640, &gzip(b"\"}]}\n"));
        assert!(path.metadata().unwrap().len() * 500 < 10 << 30, "it is a bomb");
    });
    scanned.run.assert_says(&["m-bomb.json.gz"]).assert_says(&["inflate", "bomb", "ratio"]);
}

#[test]
fn a_bomb_behind_good_records_is_stopped_too() {
    let zeros = vec![b' '; 1 << 20];
    let caps = [("TRAILWARDEN_COLLECTOR__INFLATED_BYTES_MAX", "8388608")];
    let before = lines(&inside(20));
    let scanned =
        scan_beside_with(|logs| write_repeated_gzip(&logs.join("m-late.jsonl.gz"), &before, &zeros, 64, b"\n"), &caps);
    scanned.run.assert_says(&["m-late.jsonl.gz"]);
    assert_eq!(scanned.others(), 0);
}

#[test]
fn a_line_of_50_mb_is_one_rejected_record() {
    let [first, last] = [INSIDE, INSIDE + 1].map(|n| lines(&[quiet(n)]));
    let scanned = scan_beside(|logs| {
        let mut before = first.clone();
        before.extend(br#"{"eventName":""#);
        let mut after = b"\"}\n".to_vec();
        after.extend(&last);
        write_repeated(&logs.join("m-long.jsonl"), &before, &[b'x'; 1 << 20], 50, &after);
    });
    assert!(scanned.holds([INSIDE, INSIDE + 1]), "{}", scanned.run.told());
    assert_eq!(scanned.run.counted("rejected"), 1);
    scanned.run.assert_says(&["m-long.jsonl"]).assert_says(&["line", "too long", "larger"]);
}

#[test]
fn nesting_of_100_000_is_one_rejected_record() {
    const DEPTH: usize = 100_000;
    let objects = format!("{}1{}", r#"{"a":"#.repeat(DEPTH), "}".repeat(DEPTH));
    let mut in_a_field = quiet(INSIDE + 50);
    in_a_field["requestParameters"] = json!("HERE");
    let in_a_field = in_a_field.to_string();
    for deep in [
        objects.clone(),
        format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH)),
        "[".repeat(DEPTH),
        in_a_field.replace("\"HERE\"", &objects),
    ] {
        let mut bytes = lines(&[quiet(INSIDE)]);
        bytes.extend(deep.bytes());
        bytes.push(b'\n');
        bytes.extend(lines(&[quiet(INSIDE + 1)]));
        let scanned = scan_beside(|logs| std::fs::write(logs.join("m-deep.jsonl"), &bytes).unwrap());
        assert!(scanned.holds([INSIDE, INSIDE + 1]), "{}", scanned.run.told());
        assert!(scanned.run.counted("rejected") >= 1);
        scanned.run.assert_says(&["m-deep.jsonl"]);
    }
    let scanned = scan_beside(|logs| std::fs::write(logs.join("m-deep.json"), &objects).unwrap());
    scanned.run.assert_says(&["m-deep.json"]);
}

#[test]
fn a_deep_record_in_a_document_does_not_take_its_neighbours_along() {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(1_000), "}".repeat(1_000));
    let text = format!(r#"{{"Records":[{},{deep},{}]}}"#, quiet(INSIDE), quiet(INSIDE + 1));
    let scanned = scan_beside(|logs| std::fs::write(logs.join("m-deep.json"), &text).unwrap());
    scanned.run.assert_says(&["m-deep.json"]);
    assert!(scanned.holds([INSIDE, INSIDE + 1]), "{}", scanned.run.told());
}

#[test]
fn bytes_that_are_no_text_spoil_only_their_line() {
    let bad = |bytes: &[u8]| {
        let mut record = quiet(INSIDE + 50);
        record["userAgent"] = json!("HERE");
        let text = record.to_string();
        let (before, after) = text.split_once("HERE").unwrap();
        [before.as_bytes(), bytes, after.as_bytes(), b"\n"].concat()
    };
    for (what, line) in [
        ("invalid UTF-8", bad(b"\xff\xfe\xc3\x28")),
        ("a lone surrogate", bad(br"\ud800")),
        ("a NUL in a text", bad(b"a\0b")),
        ("only NULs", b"\0\0\0\0\0\0\n".to_vec()),
        ("a carriage return", b"\r\n".to_vec()),
    ] {
        let bytes = [lines(&[quiet(INSIDE)]), line, lines(&[quiet(INSIDE + 1)])].concat();
        let scanned = scan_beside(|logs| std::fs::write(logs.join("m-bytes.jsonl"), &bytes).unwrap());
        assert!(scanned.holds([INSIDE, INSIDE + 1]), "{what}: {}", scanned.run.told());
    }
}

#[test]
fn bytes_that_are_no_text_are_counted() {
    let mut bytes = lines(&[quiet(INSIDE)]);
    bytes.extend(b"{\"eventName\":\"\xff\xff\"}\n\0\0\0\n");
    let scanned = scan_beside(|logs| std::fs::write(logs.join("m-bytes.jsonl"), &bytes).unwrap());
    assert_eq!(scanned.run.counted("rejected"), 2, "{}", scanned.run.told());
    scanned.run.assert_says(&["m-bytes.jsonl"]);
}

#[test]
fn files_of_nothing_are_no_failure() {
    for (name, bytes) in [
        ("m-empty.json", &b""[..]),
        ("m-blank.jsonl", b"\n\n  \n"),
        ("m-none.json", br#"{"Records":[]}"#),
        ("m-bom.json", b"\xef\xbb\xbf{\"Records\":[]}"),
    ] {
        let scanned = scan_beside(|logs| std::fs::write(logs.join(name), bytes).unwrap());
        assert_eq!(scanned.others(), 0, "{name}");
    }
}

#[test]
fn missing_and_mistyped_fields_are_rejected_only_where_nothing_can_stand_for_them() {
    let with = |n: u64, field: &str, value: Option<Value>| {
        let mut record = quiet(INSIDE + n);
        match value {
            Some(value) => record[field] = value,
            None => drop(record.as_object_mut().unwrap().remove(field)),
        }
        record
    };
    let needed = ["eventTime", "eventSource", "eventName"];
    let mut rejected: Vec<Value> = needed.iter().zip(0..).map(|(field, n)| with(n, field, None)).collect();
    rejected.extend(needed.iter().zip(10..).map(|(field, n)| with(n, field, Some(json!(7)))));
    rejected.push(with(20, "eventTime", Some(json!("yesterday"))));
    rejected.push(with(21, "eventName", Some(json!(""))));
    let optional = ["userIdentity", "awsRegion", "recipientAccountId", "userAgent", "eventVersion", "requestID"];
    let mut accepted: Vec<Value> = optional.iter().zip(30..).map(|(field, n)| with(n, field, None)).collect();
    accepted.push(with(40, "userIdentity", Some(json!({}))));
    accepted.push(with(41, "recipientAccountId", Some(json!("123"))));
    accepted.push(with(42, "requestParameters", Some(json!("a text"))));
    let numbers: Vec<u64> = (30..36).chain(40..43).map(|n| INSIDE + n).collect();
    let not_a_record = b"17\n\"text\"\nnull\n[]\ntrue\n";

    let bytes = [lines(&rejected), lines(&accepted), not_a_record.to_vec()].concat();
    let scanned = scan_beside(|logs| std::fs::write(logs.join("m-fields.jsonl"), &bytes).unwrap());
    assert!(scanned.holds(numbers), "{}", scanned.run.told());
    assert_eq!(scanned.ids.len() as u64, GOOD + accepted.len() as u64, "{}", scanned.run.told());
    let counted = scanned.run.counted("rejected");
    // An empty array holds no record, so it may also count as nothing.
    let least = rejected.len() as u64 + 4;
    assert!((least..=least + 1).contains(&counted), "{}", scanned.run.told());
    scanned.run.assert_says(&["m-fields.jsonl"]).assert_says(&["eventTime", "event time", "time"]);
}

#[test]
fn every_field_may_be_of_any_type_without_harm() {
    let mut records = Vec::new();
    let fields: Vec<String> = quiet(0).as_object().unwrap().keys().cloned().collect();
    let values = [
        json!(null),
        json!(-1),
        json!(1e300),
        json!(true),
        json!([]),
        json!([[{}]]),
        json!({"a": {"b": 1}}),
        json!(""),
    ];
    for field in &fields {
        for value in &values {
            let mut record = quiet(INSIDE + records.len() as u64);
            record[field] = value.clone();
            records.push(record);
        }
    }
    let scanned = scan_beside(|logs| std::fs::write(logs.join("m-types.jsonl"), lines(&records)).unwrap());
    let duplicates = scanned.run.counted("duplicates");
    let accounted = scanned.ids.len() as u64 - GOOD + scanned.run.counted("rejected") + duplicates;
    assert_eq!(accounted, records.len() as u64, "nothing is dropped unseen\n{}", scanned.run.told());
}

#[test]
fn a_record_without_an_id_collapses_with_its_duplicates() {
    let mut record = quiet(INSIDE);
    record.as_object_mut().unwrap().remove("eventID");
    let records = [record.clone(), record.clone(), record];
    let scanned = scan_beside(|logs| std::fs::write(logs.join("m-ids.jsonl"), lines(&records)).unwrap());
    assert_eq!(scanned.others(), 1, "{}", scanned.run.told());
    assert_eq!(scanned.run.counted("duplicates"), 2);
}

#[test]
fn a_million_duplicates_are_one_event() {
    const TIMES: u64 = 1_000_000;
    let mut record = quiet(INSIDE);
    for field in ["requestParameters", "responseElements", "requestID", "eventCategory"] {
        record.as_object_mut().unwrap().remove(field);
    }
    record["userIdentity"] = json!({"type": "AWSService", "invokedBy": "config.amazonaws.com"});
    let line = lines(&[record]);
    let chunk = line.repeat(1_000);
    let scanned = scan_beside(|logs| write_repeated(&logs.join("m-again.jsonl"), b"", &chunk, TIMES / 1_000, b""));
    assert_eq!(scanned.ids.len() as u64, GOOD + 1);
    assert_eq!(scanned.run.counted("duplicates"), TIMES - 1, "{}", scanned.run.told());
}

#[test]
fn many_events_stay_within_the_printed_memory() {
    const EVENTS: u64 = 400_000;
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs.jsonl");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&logs).unwrap());
    for n in 0..EVENTS {
        serde_json::to_writer(&mut file, &quiet(n)).unwrap();
        std::io::Write::write_all(&mut file, b"\n").unwrap();
    }
    std::io::Write::flush(&mut file).unwrap();
    let run = trailwarden(["scan"])
        .arg(&logs)
        .env("TRAILWARDEN_SCAN__THREADS", "2")
        .env("TRAILWARDEN_SCAN__MEMORY_MIB_MAX", "64")
        .env("TRAILWARDEN_COLLECTOR__DOCUMENT_BYTES_MAX", "16777216")
        .env("TRAILWARDEN_COLLECTOR__LINE_BYTES_MAX", "1048576")
        .run();
    run.assert_code(0).assert_memory_is_bounded(EVENTS);
    assert!(run.memory_cap_bytes() <= 256 << 20, "the cap follows the configuration\n{}", run.told());
}

#[test]
fn years_1970_and_9999_are_events_like_others() {
    let times = ["1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z", "9999-12-30T23:59:59Z", "2199-01-01T00:00:00Z"];
    let records: Vec<Value> = (INSIDE..)
        .zip(times)
        .map(|(n, time)| {
            let mut record = quiet(n);
            record["eventTime"] = json!(time);
            record
        })
        .collect();
    let scanned = scan_beside(|logs| std::fs::write(logs.join("m-times.jsonl"), lines(&records)).unwrap());
    assert!(scanned.holds(INSIDE..INSIDE + times.len() as u64), "{}", scanned.run.told());
    assert_eq!(scanned.ids.first(), Some(&event_id(INSIDE)), "ordered by event time");
}

#[test]
#[cfg(unix)]
fn what_cannot_be_opened_is_named() {
    let scanned = scan_beside(|logs| {
        // Permission bits do not stop root, these do stop everybody.
        std::os::unix::fs::symlink("nowhere", logs.join("m-gone.json")).unwrap();
        std::fs::create_dir(logs.join("m-folder.json")).unwrap();
        let secret = logs.join("m-secret.json");
        std::fs::write(&secret, document(&inside(1))).unwrap();
        let nobody = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        std::fs::set_permissions(&secret, nobody).unwrap();
        if std::fs::File::open(&secret).is_ok() {
            std::fs::remove_file(&secret).unwrap();
            std::os::unix::fs::symlink("nowhere", &secret).unwrap();
        }
    });
    scanned.run.assert_says(&["m-gone.json"]).assert_says(&["m-secret.json"]);
    assert_eq!(scanned.others(), 0);
}

#[test]
#[cfg(unix)]
fn a_symlink_loop_is_walked_once() {
    let scanned = scan_beside(|logs| {
        let below = logs.join("m-below");
        std::fs::create_dir(&below).unwrap();
        std::fs::write(below.join("inside.jsonl"), lines(&inside(5))).unwrap();
        std::os::unix::fs::symlink("..", below.join("m-loop")).unwrap();
        std::os::unix::fs::symlink("m-self", logs.join("m-self")).unwrap();
    });
    assert!(scanned.holds(INSIDE..INSIDE + 5), "{}", scanned.run.told());
    assert_eq!(scanned.run.counted("duplicates"), 0, "no file was read twice\n{}", scanned.run.told());
    scanned.run.assert_says(&["m-loop", "loop"]);
}

#[test]
fn stdout_closed_early_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().join("events");
    let logs = folder.path().join("logs.jsonl");
    std::fs::write(&logs, lines(&inside(50))).unwrap();
    let run = trailwarden(["scan"]).arg(&logs).arg("--events").arg(&events).with_stdout_closed().run();
    run.assert_code(0);
    assert_eq!(event_ids(&events).len(), 50, "what goes to files is still written");
    for arguments in [&["config", "print"][..], &["--help"]] {
        trailwarden(arguments).with_stdout_closed().run().assert_code(0);
    }
}
