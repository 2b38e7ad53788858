//! The command line's contract: which exit code when, and what goes to which stream.
#![allow(clippy::disallowed_methods, reason = "reads files that the suite itself wrote")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::path::Path;

use tempfile::TempDir;
use trailwarden_tests::command::{event_ids, trailwarden};
use trailwarden_tests::records::{document, intrusion, lines, quiet};

/// A folder with a day of quiet work, and in another file, if asked for, an intrusion.
fn logs(with_intrusion: bool) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let quiet: Vec<_> = (0..200).map(quiet).collect();
    std::fs::write(folder.path().join("quiet.json"), document(&quiet)).unwrap();
    if with_intrusion {
        std::fs::write(folder.path().join("intrusion.jsonl"), lines(&intrusion(300))).unwrap();
    }
    folder
}

#[test]
fn a_scan_that_finds_an_intrusion_succeeds_unless_told_to_fail() {
    let logs = logs(true);
    for (fail_on, expected) in
        [(None, 0), (Some("benign"), 1), (Some("insufficient"), 1), (Some("suspicious"), 1), (Some("nonsense"), 2)]
    {
        let mut scan = trailwarden(["scan"]).arg(logs.path());
        if let Some(verdict) = fail_on {
            scan = scan.arg("--fail-on").arg(verdict);
        }
        scan.run().assert_code(expected);
    }
}

#[test]
fn a_scan_of_quiet_work_does_not_reach_a_verdict_to_fail_on() {
    let logs = logs(false);
    for verdict in ["suspicious", "malicious"] {
        trailwarden(["scan", "--fail-on", verdict]).arg(logs.path()).run().assert_code(0);
    }
}

#[test]
fn usage_errors_give_2_and_a_hint() {
    for arguments in [
        &[][..],
        &["scan"],
        &["scna", "."],
        &["scan", ".", "--no-such-flag"],
        &["scan", ".", "--threads", "many"],
        &["config", "check"],
        &["demo", "--seed", "x"],
    ] {
        let run = trailwarden(arguments).run();
        run.assert_code(2).assert_says(&["usage", "--help"]);
        assert_eq!(run.stdout, "", "{arguments:?}");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    for (flag, word) in [("--help", "scan"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let run = trailwarden([flag]).run();
        run.assert_code(0);
        assert!(run.stdout.contains(word), "{}", run.told());
    }
}

#[test]
fn nothing_readable_gives_3() {
    let folder = tempfile::tempdir().unwrap();
    let of = |path: &Path| trailwarden(["scan"]).arg(path).run();
    of(folder.path()).assert_code(3).assert_says(&["nothing", "no file", "no readable"]);
    of(&folder.path().join("absent.json")).assert_code(3).assert_says(&["absent.json"]);
    std::fs::write(folder.path().join("prose.json"), "this is no log").unwrap();
    of(folder.path()).assert_code(3).assert_says(&["prose.json"]);
    trailwarden(["scan", "-"]).run().assert_code(3);
}

#[test]
fn one_absent_path_does_not_stop_the_others() {
    let logs = logs(false);
    let events = logs.path().join("events.out");
    let run = trailwarden(["scan"])
        .arg(logs.path().join("absent.json"))
        .arg(logs.path().join("quiet.json"))
        .arg("--events")
        .arg(&events)
        .run();
    run.assert_code(0).assert_says(&["absent.json"]);
    assert_eq!(event_ids(&events).len(), 200);
}

#[test]
fn standard_input_is_read_like_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..50).map(quiet).collect();
    for (name, bytes) in [
        ("lines", lines(&records)),
        ("document", document(&records)),
        ("compressed", trailwarden_tests::records::gzip(&lines(&records))),
    ] {
        let events = folder.path().join(name);
        let run = trailwarden(["scan", "-", "--events"]).arg(&events).stdin(bytes).run();
        run.assert_code(0);
        assert_eq!(event_ids(&events).len(), 50, "{name}: {}", run.told());
    }
}

#[test]
fn the_summary_on_stderr_counts_what_was_read() {
    let logs = logs(true);
    std::fs::copy(logs.path().join("quiet.json"), logs.path().join("again.json")).unwrap();
    std::fs::write(logs.path().join("bad.jsonl"), "{\"eventName\":\n").unwrap();
    let run = trailwarden(["scan"]).arg(logs.path()).run();
    run.assert_code(0);
    assert_eq!(run.counted("duplicates"), 200, "{}", run.told());
    assert_eq!(run.counted("rejected"), 1, "{}", run.told());
    run.assert_says(&["events/s"]).assert_says(&["files"]);
}

#[test]
fn output_that_cannot_be_written_is_an_error_that_names_it() {
    let logs = logs(true);
    for flag in ["--events", "--cases", "--report"] {
        let run = trailwarden(["scan"]).arg(logs.path()).arg(flag).arg(logs.path().join("no/such/folder/out")).run();
        assert!(matches!(run.code, Some(2..=4)), "{flag}: {}", run.told());
        run.assert_says(&["no/such/folder"]);
    }
}

#[test]
fn configuration_is_checked_printed_and_refused_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.toml");
    let bad = folder.path().join("bad.toml");
    std::fs::write(&good, "[scan]\nthreads = 1\n").unwrap();
    std::fs::write(&bad, "[scan]\nthread = 1\n").unwrap();

    let run = trailwarden(["config", "check"]).arg(&good).run();
    assert!(run.assert_code(0).stdout.contains(": ok, "), "{}", run.told());
    for arguments in [&["config", "check"][..], &["config", "print"], &["scan", ".", "--config"]] {
        let run = trailwarden(arguments).arg(&bad).run();
        run.assert_code(2).assert_says(&["scan.threads"]).assert_says(&["bad.toml"]);
    }
    let run = trailwarden(["config", "print"]).env("TRAILWARDEN_SCAN__THREDS", "1").run();
    run.assert_code(2).assert_says(&["TRAILWARDEN_SCAN__THREDS"]);

    let printed = trailwarden(["config", "print"]).arg(&good).env("TRAILWARDEN_CASES__QUIET_MIN", "20").run();
    printed.assert_code(0);
    let again = folder.path().join("again.toml");
    std::fs::write(&again, &printed.stdout).unwrap();
    let reprinted = trailwarden(["config", "print"]).arg(&again).run();
    assert_eq!(reprinted.assert_code(0).stdout, printed.stdout);
    assert!(printed.stdout.contains("quiet_min = 20") && printed.stdout.contains("threads = 1"));
}
