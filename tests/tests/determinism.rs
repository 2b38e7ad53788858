//! The same input gives the same bytes, whatever the files are called, in whatever order, on however many threads.
#![allow(clippy::disallowed_methods, reason = "reads files that the suite itself wrote")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use trailwarden_tests::command::{event_ids, trailwarden};
use trailwarden_tests::records::{document, gzip, intrusion, lines, quiet};

const FILES: usize = 7;

/// Half a day of quiet work with an intrusion, and some records twice.
fn records() -> Vec<Value> {
    let mut records: Vec<Value> = (0..6_000).map(quiet).collect();
    records.extend(intrusion(6_100));
    records.extend((0..6_000).step_by(97).map(quiet));
    records
}

/// Deals the records to files in three shapes; `stride` walks them in another order, `name` names the files.
fn deal(folder: &Path, records: &[Value], stride: usize, name: impl Fn(usize) -> String) {
    let mut hands: Vec<Vec<Value>> = vec![Vec::new(); FILES];
    for n in 0..records.len() {
        // The stride shares no divisor with the count, so each record is dealt once.
        hands[n % FILES].push(records[(n * stride) % records.len()].clone());
    }
    for (number, hand) in hands.iter().enumerate() {
        let (extension, bytes) = match number % 3 {
            0 => ("json", document(hand)),
            1 => ("jsonl", lines(hand)),
            _ => ("json.gz", gzip(&document(hand))),
        };
        std::fs::write(folder.join(format!("{}.{extension}", name(number))), bytes).unwrap();
    }
}

struct Output {
    events: Vec<u8>,
    cases: Vec<u8>,
    report: Vec<u8>,
    stdout: String,
}

fn scan(logs: &Path, threads: &str) -> Output {
    let out = tempfile::tempdir().unwrap();
    let file = |name: &str| out.path().join(name);
    let run = trailwarden(["scan", "--threads", threads])
        .arg(logs)
        .arg("--events")
        .arg(file("events"))
        .arg("--cases")
        .arg(file("cases"))
        .arg("--report")
        .arg(file("report.html"))
        .run();
    run.assert_code(0);
    let read = |name: &str| std::fs::read(file(name)).unwrap();
    Output {
        events: read("events"),
        cases: read("cases"),
        report: read("report.html"),
        // Where it wrote the report differs by intent.
        stdout: run.stdout.replace(&*out.path().to_string_lossy(), "OUT"),
    }
}

fn assert_same(one: &Output, other: &Output, what: &str) {
    assert!(one.events == other.events, "{what}: events differ");
    assert!(one.cases == other.cases, "{what}: cases differ");
    assert!(one.report == other.report, "{what}: reports differ");
    assert_eq!(one.stdout, other.stdout, "{what}");
}

#[test]
fn files_and_threads_in_another_order_give_identical_bytes() {
    let records = records();
    let logs = TempDir::with_prefix("logs").unwrap();
    let folder = |name: &str| {
        // Each is scanned under one path, so that only what is inside can differ.
        let path = logs.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let plain = folder("plain");
    deal(&plain, &records, 1, |number| format!("file-{number}"));
    let first = scan(&plain, "1");
    assert_same(&first, &scan(&plain, "1"), "twice the same");
    assert_same(&first, &scan(&plain, "2"), "two threads");
    assert_same(&first, &scan(&plain, "5"), "more threads than cores");

    std::fs::remove_dir_all(&plain).unwrap();
    let again = folder("plain");
    deal(&again, &records, 1, |number| format!("renamed-{}", FILES - number));
    assert_same(&first, &scan(&again, "2"), "files renamed");

    std::fs::remove_dir_all(&again).unwrap();
    let shuffled = folder("plain");
    assert_ne!(records.len() % 1_009, 0);
    deal(&shuffled, &records, 1_009, |number| format!("renamed-{}", FILES - number));
    assert_same(&first, &scan(&shuffled, "2"), "records in another order");
    assert!(!first.cases.is_empty(), "the intrusion gives a case");
}

#[test]
fn events_and_cases_come_in_order() {
    let logs = tempfile::tempdir().unwrap();
    deal(logs.path(), &records(), 1_009, |number| format!("file-{number}"));
    let out = tempfile::tempdir().unwrap();
    let (events, cases) = (out.path().join("events"), out.path().join("cases"));
    let run = trailwarden(["scan"]).arg(logs.path()).arg("--events").arg(&events).arg("--cases").arg(&cases).run();
    run.assert_code(0);
    assert_eq!(event_ids(&events).len(), 6_005, "each once");
    for (path, time, id) in [(&events, "event_time", "event_id"), (&cases, "first_event_time", "case_id")] {
        let text = std::fs::read_to_string(path).unwrap();
        let keys: Vec<(String, String)> = text
            .lines()
            .map(|line| {
                let row: Value = serde_json::from_str(line).unwrap();
                (row[time].as_str().unwrap().to_owned(), row[id].as_str().unwrap().to_owned())
            })
            .collect();
        assert!(keys.is_sorted(), "{time}, {id}");
    }
}

/// What programs that read the lines rely on.
#[test]
fn events_and_cases_have_the_promised_keys() {
    let logs = tempfile::tempdir().unwrap();
    std::fs::write(logs.path().join("intrusion.jsonl"), lines(&intrusion(0))).unwrap();
    let out = tempfile::tempdir().unwrap();
    let (events, cases) = (out.path().join("events"), out.path().join("cases"));
    let run = trailwarden(["scan"]).arg(logs.path()).arg("--events").arg(&events).arg("--cases").arg(&cases).run();
    run.assert_code(0);
    let rows = |path: &Path| -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    for event in rows(&events) {
        assert_keys(&event, "account api event_id event_time level principal score");
        assert!((0.0..=1.0).contains(&event["score"].as_f64().unwrap()));
    }
    let cases = rows(&cases);
    assert!(!cases.is_empty(), "{}", run.told());
    for case in &cases {
        assert_keys(
            case,
            "account brains case_id counterfactual event_ids evidence first_event_time language last_event_time plan principal \
             reasons rejected route score session set_aside severity summary techniques verdict",
        );
        for technique in case["techniques"].as_array().unwrap() {
            assert_keys(technique, "event_ids id");
        }
        for reason in case["reasons"].as_array().unwrap() {
            assert_keys(reason, "event_ids role said text weight");
        }
        for action in case["plan"].as_array().unwrap() {
            assert_keys(
                action,
                "account affects calls commands mode notes playbook region target target_kind tier undo",
            );
            assert_eq!(action["mode"], "dry_run");
            for call in action["calls"].as_array().unwrap() {
                assert_keys(call, "operation parameters service");
            }
        }
    }
}

/// What `--cases` writes stays what it is, whatever is printed beside it.
#[test]
fn findings_are_printed_in_the_order_of_the_cases() {
    let logs = tempfile::tempdir().unwrap();
    deal(logs.path(), &records(), 1, |number| format!("file-{number}"));
    let out = tempfile::tempdir().unwrap();
    let cases = out.path().join("cases");
    let run = trailwarden(["scan", "--format", "ocsf"]).arg(logs.path()).arg("--cases").arg(&cases).run();
    run.assert_code(0);
    let told = |text: &str, of: &dyn Fn(&Value) -> (Value, Value)| -> Vec<(Value, Value)> {
        text.lines().map(|line| of(&serde_json::from_str(line).unwrap())).collect()
    };
    let findings = told(&run.stdout, &|event| {
        assert_eq!((&event["class_uid"], &event["type_uid"]), (&2004.into(), &200_401.into()));
        (event["finding_info"]["uid"].clone(), event["finding_info"]["related_events_count"].clone())
    });
    let cases = told(&std::fs::read_to_string(&cases).unwrap(), &|case| {
        (case["case_id"].clone(), case["event_ids"].as_array().unwrap().len().into())
    });
    assert_eq!(findings, cases);
    assert!(!cases.is_empty(), "the intrusion gives a case");
}

fn assert_keys(row: &Value, promised: &str) {
    let keys = row.as_object().unwrap();
    for key in promised.split_whitespace() {
        assert!(keys.contains_key(key), "no {key}: {row}");
    }
}
