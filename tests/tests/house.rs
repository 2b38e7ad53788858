//! The house's own order: no file too long, no word that belongs elsewhere, no promise in the README that the binary
//! does not keep, none of the development data.
#![allow(clippy::disallowed_methods, reason = "reads files of the repository, not hostile input")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use trailwarden_tests::command::trailwarden;
use trailwarden_tests::repository::{files, root, shared_data, text};

const LINES_MAX: usize = 600;

/// Files that may be longer, each with its reason.
const LONGER: &[(&str, &str)] = &[];

#[test]
fn no_source_file_is_too_long() {
    let mut too_long = Vec::new();
    for path in files() {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let lines = text(&path).map_or(0, |text| text.lines().count());
        let excused = LONGER.iter().any(|(excused, _)| path == Path::new(excused));
        if lines > LINES_MAX && !excused {
            too_long.push(format!("{}: {lines} lines, at most {LINES_MAX}", path.display()));
        }
        assert!(!excused || lines > LINES_MAX, "{}: needs no excuse any more", path.display());
    }
    assert!(too_long.is_empty(), "{}", too_long.join("\n"));
    for (path, reason) in LONGER {
        assert!(root().join(path).is_file() && !reason.is_empty(), "{path}: excused, but absent");
    }
}

#[test]
fn no_word_that_belongs_elsewhere() {
    // Written in halves, so that this list does not find itself.
    let words = [
        concat!("/wo", "rk/"),
        concat!("/tmp", "/wt"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/user"),
        concat!("/tmp/", "bash"),
        concat!("<<<<", "<<< "),
        concat!(">>>>", ">>> "),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("as an AI ", "model"),
        concat!("the integ", "rator"),
    ];
    let mut found = Vec::new();
    for path in files() {
        for (number, line) in text(&path).unwrap_or_default().lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_record_of_the_development_data_stands_in_the_repository() {
    let Some(data) = shared_data() else {
        return;
    };
    // Placeholders repeat; a real event's id stands once in each set that holds it.
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for entry in std::fs::read_dir(data.join("cloudtrail")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let row: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
                if let Some(id) = row["event"]["eventID"].as_str().filter(|id| is_uuid(id)) {
                    *counts.entry(id.to_owned()).or_default() += 1;
                }
            }
        }
    }
    let real: BTreeSet<&str> = counts.iter().filter(|(_, count)| **count <= 2).map(|(id, _)| id.as_str()).collect();
    assert!(real.len() > 500, "only {} ids were read", real.len());
    let mut found = Vec::new();
    for path in files() {
        let text = text(&path).unwrap_or_default();
        let words = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
        found.extend(words.filter(|word| real.contains(word)).map(|id| format!("{}: {id}", path.display())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// A command of ours that a document tells its reader to type.
#[derive(Debug, PartialEq)]
enum Told {
    /// Words for `trailwarden`: subcommands, flags, paths.
    Trailwarden(Vec<String>),
    Just(String),
    /// A script of the repository, from its root.
    Script(String),
}

fn told(document: &str) -> Vec<Told> {
    let mut told = Vec::new();
    let mut in_shell = false;
    for line in document.replace("\\\n", " ").lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            in_shell = !in_shell && ["sh", "bash", "console", "shell"].contains(&language.trim());
            continue;
        }
        if !in_shell {
            continue;
        }
        let line = line.split(" #").next().unwrap_or_default().trim_start_matches("$ ");
        for command in line.split(['|', ';', '&', '>']) {
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            let Some(first) = words.first() else {
                continue;
            };
            let after = |word: &str| words.iter().position(|found| found == word).map(|at| words[at + 1..].to_vec());
            if first == "trailwarden" || first.ends_with("/trailwarden") {
                told.push(Told::Trailwarden(words[1..].to_vec()));
            } else if first == "cargo"
                && words.get(1).is_some_and(|word| word == "run")
                && !words.iter().any(|word| word == "--bin")
            {
                told.extend(after("--").map(Told::Trailwarden));
            } else if first == "just" {
                told.extend(words.get(1).cloned().map(Told::Just));
            } else if let Some(script) = first.strip_prefix("./") {
                told.push(Told::Script(script.to_owned()));
            }
        }
    }
    told
}

#[test]
fn commands_are_read_out_of_a_document() {
    let document = "text `trailwarden no`\n```sh\n$ cargo run --release -- demo   # twenty seconds\ntrailwarden scan \\\n  logs --fail-on \
                    malicious | head\njust ci\n./tests/run.sh\ncargo run --release -p trailwarden-tests --bin bench -- x\n```\n```rust\ntrailwarden no\n```\n";
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        told(document),
        [
            Told::Trailwarden(words("demo")),
            Told::Trailwarden(words("scan logs --fail-on malicious")),
            Told::Just("ci".to_owned()),
            Told::Script("tests/run.sh".to_owned()),
        ]
    );
}

#[test]
fn every_command_of_the_readme_is_one_that_works() {
    let told = told(&text("README.md").unwrap());
    let justfile = text("justfile").unwrap();
    assert!(
        told.iter()
            .any(|told| matches!(told, Told::Trailwarden(words) if words.first().is_some_and(|word| word == "demo"))),
        "the README shows how to run the demo"
    );
    for told in &told {
        match told {
            Told::Trailwarden(words) => assert_known_to_the_binary(words),
            Told::Just(recipe) => assert!(
                justfile.lines().any(|line| line.split([' ', ':']).next() == Some(recipe)),
                "the justfile has no recipe {recipe}"
            ),
            Told::Script(path) => assert!(root().join(path).is_file(), "there is no {path}"),
        }
    }
}

/// Subcommands are followed as long as the help knows them; every flag must stand in the last one's help.
fn assert_known_to_the_binary(words: &[String]) {
    let mut path: Vec<&str> = Vec::new();
    let mut help = help_of(&path);
    for word in words.iter().take_while(|word| !word.starts_with('-')) {
        if !lists_command(&help, word) {
            break;
        }
        path.push(word);
        help = help_of(&path);
    }
    let bare = words.iter().all(|word| ["--help", "--version", "-h", "-V", "help"].contains(&word.as_str()));
    assert!(!path.is_empty() || bare, "trailwarden has no such command: {words:?}\n{help}");
    for flag in words.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
        let name = flag.split('=').next().unwrap();
        let known = help.split(|c: char| c != '-' && !c.is_alphanumeric()).any(|word| word == name);
        assert!(known, "trailwarden {} has no {name}\n{help}", path.join(" "));
    }
}

fn help_of(path: &[&str]) -> String {
    let run = trailwarden(path).arg("--help").run();
    run.assert_code(0);
    run.stdout
}

fn lists_command(help: &str, word: &str) -> bool {
    let commands = help.lines().skip_while(|line| line.trim() != "Commands:").skip(1);
    commands.take_while(|line| line.starts_with(' ')).any(|line| line.split_whitespace().next() == Some(word))
}
