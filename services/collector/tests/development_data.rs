//! The development data outside the repository: every record is accepted but for the listed ones.
#![allow(clippy::disallowed_methods, reason = "reads the data set that it is about")]
#![allow(clippy::print_stdout, reason = "a test that could not run says so")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;
use support::{memory, options, run};
use trailwarden_collector::RejectReason;

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
}

#[derive(Deserialize)]
struct Expected {
    file: String,
    line: u64,
    invalid: BTreeSet<String>,
}

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/cloudtrail");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", folder.display());
    println!("did not run: {} is missing", folder.display());
    None
}

#[test]
fn every_record_is_accepted_but_for_the_expected_ones() {
    let Some(folder) = folder() else { return };
    let text = std::fs::read_to_string(folder.join("expected_rejects.jsonl")).expect("readable");
    let mut expected: BTreeMap<(String, u64), BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        let row: Expected = serde_json::from_str(line).expect("valid");
        expected.insert((row.file, row.line), row.invalid);
    }
    let mut found = BTreeMap::new();
    let mut records = 0;
    for entry in std::fs::read_dir(&folder).expect("readable") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        if !name.ends_with(".jsonl") || name == "expected_rejects.jsonl" {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        let rows: Vec<Row<'_>> = text.lines().map(|line| serde_json::from_str(line).expect("valid")).collect();
        let lines: Vec<&str> = rows.iter().map(|row| row.event.get()).collect();
        let (summary, _) = run(&[memory(&name, lines.join("\n"))], &options(2));
        assert_eq!(summary.records, lines.len() as u64, "{name}");
        assert!(summary.set_aside.is_empty(), "{name}: {:?}", summary.set_aside);
        records += summary.records;
        for problem in summary.problems {
            assert_eq!(problem.reason, RejectReason::InvalidField, "{problem:?}");
            let fields = problem.detail.split(", ").map(str::to_owned).collect();
            found.insert((problem.file, problem.place.line - 1), fields);
        }
    }
    assert_eq!(found, expected);
    println!("{records} records, {} rejected as expected", found.len());
}
