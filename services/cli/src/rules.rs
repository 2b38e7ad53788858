//! Which rules run: those that ship with the program, and the operator's Sigma files.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use trailwarden_core::detection::{self, RuleSet, builtin};
use trailwarden_pipeline::capsule;

use crate::config::Detections;

/// A rule file is written by hand; one that is larger is none.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Rule files that one folder may hold, folders below it included.
const FILES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 16;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("could not read rules from {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} holds more than {FILES_MAX} rule files", path.display())]
    TooMany { path: PathBuf },
    #[error(transparent)]
    Rule(#[from] detection::Error),
    #[error("detections.disable names the rule `{id}`, and there is none with that id")]
    Unknown { id: String },
}

/// The operator's own rule files: path and text of each.
pub fn own(detections: &Detections) -> Result<Vec<(String, String)>, Error> {
    let mut files = Vec::new();
    for path in &detections.rules {
        find(path, 0, &mut files)?;
    }
    let mut own = Vec::with_capacity(files.len());
    for file in files {
        let text = read(&file).map_err(|source| Error::Unreadable { path: file.clone(), source })?;
        own.push((file.display().to_string(), text));
    }
    Ok(own)
}

/// The built-in rules and the operator's own, with those silenced that the configuration disables.
pub fn assemble(own: &[(String, String)], disable: &BTreeSet<String>) -> Result<RuleSet, Error> {
    let own = own.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let documents: Vec<(&str, &str)> = builtin::RULES.iter().copied().chain(own).collect();
    let mut rules = RuleSet::load(&documents)?;
    for id in disable {
        if !rules.silence(id) {
            return Err(Error::Unknown { id: id.clone() });
        }
    }
    Ok(rules)
}

/// SHA-256 over all rules and what of them is silenced, hex. What files are called does not count.
pub fn digest(own: &[(String, String)], disable: &BTreeSet<String>) -> String {
    let texts = builtin::RULES.iter().map(|(_, text)| *text).chain(own.iter().map(|(_, text)| text.as_str()));
    capsule::digest(texts.chain(disable.iter().map(String::as_str)))
}

/// Gathers the `.yml` and `.yaml` files at or below `path`, by name. A file that is named itself may be called anything.
fn find(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    if !path.metadata().map_err(unreadable)?.is_dir() {
        if files.len() == FILES_MAX {
            return Err(Error::TooMany { path: path.to_owned() });
        }
        files.push(path.to_owned());
        return Ok(());
    }
    let entries: BTreeSet<PathBuf> = path
        .read_dir()
        .map_err(unreadable)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()
        .map_err(unreadable)?;
    for entry in entries {
        let is_rule = entry.extension().is_some_and(|extension| extension == "yml" || extension == "yaml");
        if is_rule || (entry.is_dir() && depth < DEPTH_MAX) {
            find(&entry, depth + 1, files)?;
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "capped by the line above it")]
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}
