//! Replay capsules as an operator meets them: written by one program in one place, judged again in another.
#![allow(clippy::disallowed_methods, reason = "reads files that the suite itself wrote")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::BTreeMap;
use std::path::Path;

use trailwarden_tests::command::trailwarden;
use trailwarden_tests::repository::root;

const INCIDENT: &str = "tests/fixtures/incident/incident.jsonl";

/// The capsules of a folder, by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn the_demo_leaves_a_capsule_that_replays_elsewhere() {
    let (made, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = trailwarden(["demo"]).in_folder(made.path()).run();
    run.assert_code(0);
    assert!(run.stderr.contains("trailwarden-demo.capsule"), "{}", run.told());
    let capsule = elsewhere.path().join("sent.capsule");
    std::fs::rename(made.path().join("trailwarden-demo.capsule"), &capsule).unwrap();
    drop(made);
    let replay =
        |argument: &str| trailwarden(["replay", "sent.capsule"]).arg(argument).in_folder(elsewhere.path()).run();
    let run = replay("--diff");
    run.assert_code(0);
    let digest = run.stdout.lines().next().and_then(|line| line.strip_prefix("equal ")).unwrap();
    assert_eq!(digest.len(), 64, "{}", run.told());
    let stages = ["records", "parse", "rules", "features", "score", "case", "evidence", "claims", "verdict", "plan"];
    let told: Vec<&str> = run.stdout.lines().filter_map(|line| line.strip_suffix(" equal")).map(str::trim).collect();
    assert_eq!(told, stages);
    let run = replay("--show");
    run.assert_code(0);
    assert!(run.stdout.contains(digest) && run.stdout.contains("secrets"), "{}", run.told());
    // The records inside are a file as CloudTrail delivers it.
    let run = replay("--records");
    run.assert_code(0);
    let delivered: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(delivered["Records"].as_array().unwrap().len() > 10);
    // A file that was cut on its way is refused.
    let bytes = std::fs::read(&capsule).unwrap();
    std::fs::write(&capsule, &bytes[..bytes.len() / 2]).unwrap();
    let run = replay("--diff");
    run.assert_code(2);
    assert!(run.stderr.contains("the file was cut"), "{}", run.told());
}

#[test]
fn a_scan_writes_the_same_capsules_whatever_the_threads_and_a_case_can_be_exported_by_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let scanned = |threads: &str| {
        let capsules = folder.path().join(threads);
        let run =
            trailwarden(["scan", INCIDENT, "--threads", threads, "--capsules"]).arg(&capsules).in_folder(root()).run();
        run.assert_code(0);
        assert!(run.stderr.contains("capsules   1 of 1 cases"), "{}", run.told());
        files(&capsules)
    };
    let (one, other) = (scanned("1"), scanned("4"));
    assert!(one == other, "capsules differ");
    let (name, bytes) = one.first_key_value().unwrap();
    let out = folder.path().join("exported");
    let id = name.strip_suffix(".capsule").unwrap();
    let export =
        |id: &str| trailwarden(["case", "export", id, "--logs", INCIDENT, "--out"]).arg(&out).in_folder(root()).run();
    export(id).assert_code(0);
    assert!(std::fs::read(&out).unwrap() == *bytes);
    let run = export("0000000000000000");
    run.assert_code(2);
    assert!(run.stderr.contains("makes no case"), "{}", run.told());
}

#[test]
fn what_cannot_be_done_is_said_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let run = trailwarden(["scan", "-", "--capsules", "out"]).in_folder(folder.path()).run();
    run.assert_code(2);
    assert!(run.stderr.contains("need the input twice"), "{}", run.told());
    let run = trailwarden(["case", "export", "1", "--out", "out"]).in_folder(folder.path()).run();
    run.assert_code(2);
    assert!(run.stderr.contains("--logs"), "{}", run.told());
    std::fs::write(folder.path().join("other"), "{\"Records\":[]}\n").unwrap();
    let run = trailwarden(["replay", "other"]).in_folder(folder.path()).run();
    run.assert_code(2);
    assert!(run.stderr.contains("no capsule"), "{}", run.told());
    let run = trailwarden(["replay", "absent"]).in_folder(folder.path()).run();
    run.assert_code(2);
}
