//! ARCHITECTURE.md's rooms are law: no edge, third party or word that its tables do not allow.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::Metadata;
use trailwarden_tests::packages::{metadata, ours_named_by, reached_by, third_parties_named_by};
use trailwarden_tests::repository::{files, quoted, root, table, text};

struct Room {
    name: String,
    folder: String,
    /// `None` when it may use every room.
    may_depend_on: Option<BTreeSet<String>>,
    fenced: BTreeSet<String>,
}

fn rooms(architecture: &str) -> Vec<Room> {
    let owned = |cell: &str| quoted(cell).into_iter().map(str::to_owned).collect();
    table(architecture, "## Rooms")
        .iter()
        .map(|row| {
            let [crate_and_folder, _, may_depend_on, fenced] = &row[..] else {
                panic!("a room has four cells: {row:?}");
            };
            let [name, folder] = quoted(crate_and_folder)[..] else {
                panic!("a room has a crate and a folder: {crate_and_folder}");
            };
            Room {
                name: name.to_owned(),
                folder: folder.to_owned(),
                may_depend_on: (may_depend_on != "all").then(|| owned(may_depend_on)),
                fenced: owned(fenced),
            }
        })
        .collect()
}

/// Every breach of the table of rooms, in words.
fn breaches(metadata: &Metadata, rooms: &[Room]) -> Vec<String> {
    let mut fences: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for room in rooms {
        for third_party in &room.fenced {
            fences.entry(third_party).or_default().push(&room.name);
        }
    }
    let mut breaches = Vec::new();
    let packages = metadata.workspace_packages();
    for room in rooms {
        if !packages.iter().any(|package| package.name.as_str() == room.name) {
            breaches.push(format!("{} stands in the table, but there is no such crate", room.name));
        }
    }
    for package in packages {
        let name = package.name.as_str();
        let Some(room) = rooms.iter().find(|room| room.name == name) else {
            breaches.push(format!("{name} does not stand in the table of rooms"));
            continue;
        };
        if package.manifest_path != root().join(&room.folder).join("Cargo.toml") {
            breaches.push(format!("{name} is not in {}", room.folder));
        }
        let Some(allowed) = &room.may_depend_on else {
            continue;
        };
        for other in ours_named_by(metadata, package) {
            if !allowed.contains(other) {
                breaches.push(format!("{name} may not depend on {other}"));
            }
        }
        for third_party in third_parties_named_by(metadata, package) {
            if let Some(homes) = fences.get(third_party)
                && !homes.contains(&name)
            {
                breaches.push(format!("{name} may not use {third_party}: fenced to {}", homes.join(", ")));
            }
        }
    }
    breaches
}

#[test]
fn crates_depend_only_on_what_the_table_of_rooms_allows() {
    let rooms = rooms(&text("ARCHITECTURE.md").unwrap());
    let breaches = breaches(&metadata(), &rooms);
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn a_forbidden_edge_a_fenced_third_party_and_an_unknown_crate_are_found() {
    let row = |line: &str| format!("## Rooms\n| a | b | c | d |\n|---|---|---|---|\n{line}\n");
    for (line, expected) in [
        (
            "| `trailwarden-featurizer` (`services/featurizer`) | x | none of ours | - |",
            "may not depend on trailwarden-core",
        ),
        ("| `trailwarden-tests` (`tests`) | x | all | `regex` |", "trailwarden-core does not stand in the table"),
        ("| `trailwarden-core` (`core`) | x | none of ours | - |", "trailwarden-core is not in core"),
        ("| `trailwarden-gone` (`gone`) | x | all | - |", "there is no such crate"),
    ] {
        let found = breaches(&metadata(), &rooms(&row(line)));
        assert!(found.iter().any(|breach| breach.contains(expected)), "{expected}: {found:?}");
    }
    let two = "| `trailwarden-core` (`services/core`) | x | none of ours | - |\n| `trailwarden-tests` (`tests`) | x | all | `regex` |";
    let found = breaches(&metadata(), &rooms(&row(two)));
    assert!(found.contains(&"trailwarden-core may not use regex: fenced to trailwarden-tests".to_owned()), "{found:?}");
}

#[test]
fn what_is_absent_from_a_room_is_not_reached_through_others_either() {
    let metadata = metadata();
    let architecture = text("ARCHITECTURE.md").unwrap();
    for row in table(&architecture, "### What is absent") {
        let name = quoted(&row[0])[0];
        let packages = metadata.workspace_packages();
        let package = packages.iter().find(|package| package.name.as_str() == name).unwrap();
        let reached = reached_by(&metadata, package);
        for absent in quoted(&row[1]) {
            assert!(!reached.contains_key(absent), "{absent} is reached: {}", reached[absent].join(" -> "));
        }
    }
}

#[test]
fn what_a_room_never_says_stands_nowhere_in_its_source() {
    let rooms = rooms(&text("ARCHITECTURE.md").unwrap());
    let mut found = Vec::new();
    for row in table(&text("ARCHITECTURE.md").unwrap(), "### What is absent") {
        let name = quoted(&row[0])[0];
        let folder = &rooms.iter().find(|room| room.name == name).unwrap().folder;
        let words = quoted(&row[2]);
        for path in files() {
            let in_source = path.starts_with(format!("{folder}/src")) && path.extension().is_some_and(|e| e == "rs");
            // Tests may read files; they stand apart or last.
            if !in_source || path.ends_with("tests.rs") || path.iter().any(|part| part == "tests") {
                continue;
            }
            let code = code_of(&text(&path).unwrap());
            found.extend(said(&code, &words).map(|word| format!("{}: {word}", path.display())));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The code without comments and without the tests at its end, each run of white space one space, and groups of
/// imports (`use std::{fs, io}`) written out.
fn code_of(source: &str) -> String {
    let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
    let without_comments: String = source[..end]
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .flat_map(|line| line.split_whitespace().flat_map(|word| [word, " "]))
        .collect();
    let groups: String = without_comments
        .split("use std::{")
        .skip(1)
        .filter_map(|rest| rest.split(';').next())
        .flat_map(|group| group.split([',', '{', '}']))
        .map(|item| format!(" std::{}", item.trim()))
        .collect();
    without_comments + &groups
}

/// The words that stand in the code, not as a part of a longer name.
fn said<'a>(code: &str, words: &[&'a str]) -> impl Iterator<Item = &'a str> {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    words
        .iter()
        .copied()
        .filter(move |word| {
            code.match_indices(word).any(|(at, _)| {
                let before = code[..at].chars().next_back();
                let after = code[at + word.len()..].chars().next();
                !before.is_some_and(in_name) && !after.is_some_and(in_name)
            })
        })
        .collect::<Vec<_>>()
        .into_iter()
}

#[test]
fn words_are_found_however_they_are_imported() {
    let words = ["std::fs", "async fn", "SystemTime", "std::time"];
    for (source, expected) in [
        ("use std::fs::File;", vec!["std::fs"]),
        ("use std::{fmt, fs};", vec!["std::fs"]),
        ("use std::{\n    fmt,\n    time::{Duration, SystemTime},\n};", vec!["SystemTime", "std::time"]),
        ("pub async\n  fn f() {}", vec!["async fn"]),
        ("// std::fs is absent\nlet x = std::fsync; // SystemTime", vec![]),
        ("use std::fmt;\n#[cfg(test)]\nmod tests {\n use std::fs;\n}", vec![]),
    ] {
        assert_eq!(said(&code_of(source), &words).collect::<Vec<_>>(), expected, "{source}");
    }
}
