//! The lab's commands, as a user types them.
#![allow(clippy::disallowed_methods, reason = "reads files that the suite itself wrote")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use trailwarden_tests::command::trailwarden;

fn generate(folder: &Path, seed: &str) -> Value {
    let run = trailwarden(["lab", "generate", "--events", "12000", "--accounts", "3", "--days", "20", "--seed", seed])
        .arg("--out")
        .arg(folder)
        .run();
    run.assert_code(0);
    serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap()
}

/// Bytes of all files below a folder, by path from it.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    let named = files.map(|entry| {
        let path = entry.path().strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        (path, std::fs::read(entry.path()).unwrap())
    });
    named.collect()
}

#[test]
fn generated_logs_repeat_by_seed_and_can_be_scanned() {
    let folder = tempfile::tempdir().unwrap();
    let [one, same, other] = ["one", "same", "other"].map(|name| folder.path().join(name));
    let told = generate(&one, "3");
    assert_eq!(told["events"], 12_000);
    assert!(told["attack_events"].as_u64().unwrap() > 200 && told["incidents"].as_u64().unwrap() > 1, "{told}");
    generate(&same, "3");
    generate(&other, "4");
    assert!(contents(&one) == contents(&same), "the same seed gives other bytes");
    assert!(contents(&one) != contents(&other), "another seed gives the same bytes");

    let truth = std::fs::read_to_string(one.join("truth.jsonl")).unwrap();
    assert_eq!(truth.lines().count() as u64, told["attack_events"].as_u64().unwrap());
    let run = trailwarden(["scan"]).arg(one.join("AWSLogs")).run();
    run.assert_code(0);
    assert!(run.stderr.contains("12,000") && !run.stderr.contains("rejected   1"), "{}", run.told());
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), "dear").unwrap();
    let run = trailwarden(["lab", "generate", "--events", "1000", "--out"]).arg(folder.path()).run();
    run.assert_code(2);
    assert!(run.stderr.contains("not empty"), "{}", run.told());
    assert_eq!(contents(folder.path()).len(), 1);
}

#[test]
fn a_model_of_another_making_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, bundle, config) =
        (folder.path().join("a.jsonl"), folder.path().join("a.bundle"), folder.path().join("a.toml"));
    std::fs::write(&logs, "{}\n").unwrap();
    std::fs::write(&bundle, "not a bundle").unwrap();
    std::fs::write(&config, format!("[model]\nbundle = \"{}\"\n", bundle.display())).unwrap();
    let run = trailwarden(["scan"]).arg(&logs).arg("--config").arg(&config).run();
    run.assert_code(2);
    assert!(run.stderr.contains("a.bundle") && run.stderr.contains("not a model bundle"), "{}", run.told());
}

#[test]
fn what_is_not_built_says_so() {
    let run = trailwarden(["lab", "tune"]).run();
    run.assert_code(2);
    assert!(run.stderr.contains("not built yet"), "{}", run.told());
}
