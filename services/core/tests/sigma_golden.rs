//! The public Sigma rules for CloudTrail load as they are and match exactly what two other evaluators agree on.
#![allow(clippy::disallowed_methods, reason = "reads the data set that it is about")]
#![allow(clippy::print_stdout, reason = "a test that could not run says so")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use trailwarden_core::detection::RuleSet;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");

/// The data folder; `None`, said aloud, where it is absent. On CI its absence is a failure.
fn data() -> Option<PathBuf> {
    let folder = PathBuf::from(DATA);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "{DATA} is absent");
    println!("did not run: {DATA} is absent");
    None
}

fn sigma_rules(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder.join("sigma"))
        .expect("readable folder")
        .map(|entry| entry.expect("readable entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .collect();
    files.sort();
    let read = |path: PathBuf| (path.display().to_string(), fs::read_to_string(&path).expect("readable rule"));
    files.into_iter().map(read).collect()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("readable file");
    let parse = |line| serde_json::from_str(line).expect("a JSON line");
    text.lines().map(parse).collect()
}

fn place(row: &Value) -> (String, usize) {
    let file = row["file"].as_str().expect("a file name");
    let line = row["line"].as_u64().expect("a line number");
    (file.to_owned(), usize::try_from(line).expect("a small number"))
}

#[test]
fn public_rules_match_exactly_the_golden_hits() {
    let Some(folder) = data() else { return };
    let files = sigma_rules(&folder);
    let documents: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let rules = RuleSet::load(&documents).expect("every public rule loads");
    assert_eq!(rules.rules().len(), 57);

    let rejects: BTreeSet<(String, usize)> =
        lines(&folder.join("cloudtrail/expected_rejects.jsonl")).iter().map(place).collect();
    let mut golden: BTreeMap<(String, usize), BTreeSet<String>> = BTreeMap::new();
    for row in lines(&folder.join("sigma/golden_hits.jsonl")) {
        let ids = row["rules"].as_array().expect("a list").iter();
        let ids = ids.map(|id| id.as_str().expect("an id").to_owned());
        golden.entry(place(&row)).or_default().extend(ids);
    }

    let mut evaluated = 0;
    let mut differences = Vec::new();
    for entry in fs::read_dir(folder.join("cloudtrail")).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if !name.ends_with(".jsonl") || name == "expected_rejects.jsonl" {
            continue;
        }
        for (line, row) in lines(&path).iter().enumerate() {
            let place = (name.clone(), line);
            if rejects.contains(&place) {
                continue;
            }
            let expected = golden.remove(&place).unwrap_or_default();
            let matches = support::evaluate(&rules, &row["event"].to_string());
            let found: BTreeSet<String> =
                matches.iter().map(|matched| rules.rules()[usize::from(matched.rule.0)].id.clone()).collect();
            evaluated += 1;
            if found != expected {
                differences.push(format!("{name}:{line} expected {expected:?}, found {found:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(golden.is_empty(), "golden rows of no evaluated line: {golden:?}");
    println!("{evaluated} records agree");
}
