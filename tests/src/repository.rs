//! The repository itself, as the tests of the house look it over.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate stands in a folder of the root")
}

/// All files that belong to the repository, from its root, ordered. Build output, version control and what the
/// root's `.gitignore` names are left out.
pub fn files() -> Vec<PathBuf> {
    let ignored = std::fs::read_to_string(root().join(".gitignore")).unwrap_or_default();
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let kept = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name != ".git" && !ignored.contains(&name)
    };
    WalkDir::new(root())
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || kept(entry.path()))
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(root()).unwrap().to_owned())
        .collect()
}

/// A file's text by its path from the root; `None` when it is not text.
///
/// # Panics
/// When there is no such file.
pub fn text(path: impl AsRef<Path>) -> Option<String> {
    let path = root().join(path);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8(bytes).ok()
}

/// The development data beside the repository; `None`, said on stderr, where it is not there.
///
/// # Panics
/// When it is absent in CI, where a skipped test would look like a passed one.
pub fn shared_data() -> Option<PathBuf> {
    let data = root().join("../shared/data");
    if data.is_dir() {
        return Some(data);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing, and in CI nothing is skipped", data.display());
    eprintln!("did not run: {} is missing", data.display());
    None
}

/// The rows of the Markdown table that follows the heading `heading` (its whole line), cells trimmed.
///
/// # Panics
/// When there is no such heading or no table below it.
pub fn table(markdown: &str, heading: &str) -> Vec<Vec<String>> {
    let below = markdown.lines().skip_while(|line| line.trim() != heading).skip(1);
    let rows: Vec<Vec<String>> = below
        .skip_while(|line| !line.starts_with('|') && !line.starts_with('#'))
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(rows.len() > 2, "no table under {heading:?}");
    rows[2..].to_vec()
}

/// What stands between backticks in a cell.
pub fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_under_their_heading() {
        let markdown = "## A\n\n| x |\n|---|\n| no |\n\n## B\ntext\n| x | y |\n|---|---|\n| `a`, `b` | c |\nend";
        let rows = table(markdown, "## B");
        assert_eq!(rows, [["`a`, `b`", "c"]]);
        assert_eq!(quoted(&rows[0][0]), ["a", "b"]);
    }

    #[test]
    fn the_repository_is_found() {
        let files = files();
        assert!(files.iter().any(|path| path == Path::new("tests/src/repository.rs")));
        assert!(!files.iter().any(|path| path.starts_with("target")));
    }
}
