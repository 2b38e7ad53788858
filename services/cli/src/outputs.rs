//! Where a scan may write: never over what it reads, never twice to one place.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// Refuses outputs that are inputs, that a folder being scanned would take for logs, or that are the same file.
pub(crate) fn check(inputs: &[PathBuf], outputs: &[&Path]) -> Result<()> {
    let places: Vec<PathBuf> = outputs.iter().map(|output| place(output)).collect();
    for (index, (output, own)) in outputs.iter().zip(&places).enumerate() {
        if places[..index].contains(own) && own.is_file() | !own.exists() {
            bail!("{} is named for two outputs", output.display());
        }
        for input in inputs {
            let Ok(input) = fs::canonicalize(input) else { continue };
            if *own == input {
                bail!("{} is an input too; writing there would destroy it", output.display());
            }
            if input.is_dir() && own.starts_with(&input) && is_log_name(own) {
                bail!(
                    "{} lies in a folder that is scanned, where its name makes it a log; write elsewhere",
                    output.display()
                );
            }
        }
    }
    Ok(())
}

/// The file a path means, also where it does not exist yet.
fn place(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::canonicalize(path), fs::canonicalize(parent), path.file_name()) {
        (Ok(place), _, _) => place,
        (_, Ok(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

fn is_log_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["json", "jsonl", "gz"].iter().any(|known| extension == *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_and_outputs_are_kept_apart() {
        let folder = tempfile::tempdir().expect("made");
        let logs = folder.path().join("logs");
        fs::create_dir(&logs).expect("made");
        let log = logs.join("a.jsonl");
        fs::write(&log, "{}").expect("written");
        let outside = folder.path().join("events.jsonl");
        let ok = |inputs: &[&PathBuf], outputs: &[&Path]| {
            check(&inputs.iter().map(|path| (*path).clone()).collect::<Vec<_>>(), outputs).is_ok()
        };
        assert!(ok(&[&logs], &[&outside, &logs.join("report.html")]));
        assert!(!ok(&[&log], &[&log]));
        assert!(!ok(&[&log], &[&logs.join("../logs/a.jsonl")]));
        assert!(!ok(&[&logs], &[&logs.join("new.jsonl")]));
        assert!(!ok(&[&log], &[&outside, &outside]));
        assert!(ok(&[&log], &[Path::new("/dev/null"), Path::new("/dev/null")]));
    }
}
