//! Playbooks of the operator's: the files that the configuration names.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trailwarden_core::plan::own::{FILE_BYTES_MAX, Flaw, OwnPlaybook};
use trailwarden_playbooks::load_own;

use crate::config::Playbooks;

/// Playbooks of one configuration, and entries of one folder that are looked through.
const PLAYBOOKS_MAX: usize = 64;
const ENTRIES_MAX: usize = 10_000;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("could not read the playbook {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("there are more than {PLAYBOOKS_MAX} playbooks of your own")]
    TooMany,
    #[error("{}: {}; `trailwarden playbook test` says all that is wrong", path.display(), first(flaws))]
    Flawed { path: PathBuf, flaws: Vec<Flaw> },
    #[error("{}: another playbook is called {name}", path.display())]
    Duplicate { path: PathBuf, name: String },
}

fn first(flaws: &[Flaw]) -> String {
    flaws.first().map_or_else(|| "it is no playbook".to_owned(), Flaw::to_string)
}

/// The playbooks that the configuration names: files, or folders of .yml and .yaml files; in the order of their names.
///
/// # Errors
/// The first that cannot be read or has a flaw.
pub(crate) fn load(playbooks: &Playbooks) -> Result<Vec<Arc<OwnPlaybook>>, Error> {
    let mut files = Vec::new();
    for path in &playbooks.files {
        files.extend(below(path).map_err(|source| Error::Unreadable { path: path.clone(), source })?);
        if files.len() > PLAYBOOKS_MAX {
            return Err(Error::TooMany);
        }
    }
    let (mut names, mut own) = (BTreeSet::new(), Vec::new());
    for path in files {
        let one = file(&path)?.map_err(|flaws| Error::Flawed { path: path.clone(), flaws })?;
        if !names.insert(one.name.clone()) {
            return Err(Error::Duplicate { path, name: one.name });
        }
        own.push(Arc::new(one));
    }
    own.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(own)
}

/// The playbook of one file, or its flaws.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn file(path: &Path) -> Result<Result<OwnPlaybook, Vec<Flaw>>, Error> {
    let text = read(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    Ok(load_own(&text))
}

/// One byte more than a playbook may have is enough to refuse it.
#[expect(clippy::disallowed_methods, reason = "capped by `take`")]
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn below(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.metadata()?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = path.read_dir()?.take(ENTRIES_MAX).map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yml" || extension == "yaml"));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_flawed_twice_or_too_much_is_refused_by_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let good = include_str!("../../../tests/fixtures/playbooks/lock_user.yml");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.yml"), good).expect("written");
        std::fs::write(at("note.txt"), "no playbook").expect("written");
        let of = |files: Vec<PathBuf>| load(&Playbooks { files });
        let own = of(vec![folder.path().to_owned()]).expect("a playbook");
        assert_eq!(own.iter().map(|own| own.name.as_str()).collect::<Vec<_>>(), ["lock_user"]);
        std::fs::write(at("b.yml"), good).expect("written");
        assert!(matches!(of(vec![folder.path().to_owned()]), Err(Error::Duplicate { .. })));
        std::fs::write(at("b.yml"), good.replace("T2", "T0")).expect("written");
        let flawed = of(vec![at("b.yml")]).expect_err("a tier that there is not").to_string();
        assert!(flawed.contains("b.yml: line ") && flawed.contains("`tier`"), "{flawed}");
        assert!(matches!(of(vec![at("a.yml"); 65]), Err(Error::TooMany)));
        assert!(matches!(of(vec![at("none.yml")]), Err(Error::Unreadable { .. })));
    }
}
