//! The first thing that anybody runs.
#![allow(clippy::disallowed_methods, reason = "reads files that the binary itself wrote")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::path::Path;

use trailwarden_tests::command::{Run, trailwarden};

fn demo(folder: &Path) -> (Run, String) {
    let run = trailwarden(["demo"]).in_folder(folder).run();
    run.assert_code(0);
    let told = format!("{}\n{}", run.stdout, run.stderr);
    let path = told
        .split(|c: char| c.is_whitespace() || "\"'`()".contains(c))
        .filter(|word| !word.starts_with("FILE"))
        .find(|word| word.trim_end_matches(['.', ',', ':']).ends_with(".html"))
        .unwrap_or_else(|| panic!("it does not say where the report is\n{}", run.told()));
    let path = path.trim_end_matches(['.', ',', ':']).trim_start_matches("file://");
    let report = std::fs::read_to_string(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    (run, report)
}

#[test]
fn the_demo_finds_its_intrusion_and_writes_a_report_that_needs_no_network() {
    let folder = tempfile::tempdir().unwrap();
    let (run, report) = demo(folder.path());
    assert!(run.stdout.to_lowercase().contains("malicious"), "{}", run.told());
    for fetched in ["src=\"http", "src=\"//", "<link", "@import", "url(http", "<iframe", "fetch(", "XMLHttpRequest"] {
        assert!(!report.contains(fetched), "the report fetches: {fetched}");
    }
    assert!(report.len() > 5_000, "the report is a page, not a line");
}

#[test]
fn two_demos_give_identical_bytes() {
    let [one, other] = [(), ()].map(|()| {
        let folder = tempfile::tempdir().unwrap();
        demo(folder.path()).1
    });
    assert!(one == other, "reports differ");
}
