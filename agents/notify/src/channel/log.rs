//! A file of JSON lines, for whoever gathers files. It is turned over when it is full, and the oldest goes.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{Channel, Error, Told, data};
use crate::config::{self, ChannelKind, ChannelSpec};

const MIB_USUAL: u32 = 16;
const FILES_USUAL: u32 = 5;

pub(super) struct LogFile {
    name: String,
    file: Arc<File>,
}

/// Where lines go, and how many stay.
struct File {
    path: PathBuf,
    bytes_max: u64,
    files_max: u32,
    /// One line after the other.
    turn: Mutex<()>,
}

impl LogFile {
    pub(super) fn new(spec: &ChannelSpec) -> Result<Self, config::Error> {
        let path = spec.path.clone().unwrap_or_default();
        if path.file_name().is_none() {
            return Err(spec.wrong("`path` names no file"));
        }
        let bytes_max = u64::from(spec.mib_max.unwrap_or(MIB_USUAL)) << 20;
        let files_max = spec.files_max.unwrap_or(FILES_USUAL);
        let file = File { path, bytes_max, files_max, turn: Mutex::new(()) };
        Ok(Self { name: spec.name.clone(), file: Arc::new(file) })
    }
}

#[async_trait]
impl Channel for LogFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Log
    }

    async fn send(&self, told: &Told<'_>) -> Result<(), Error> {
        let mut line = data(told).to_string().into_bytes();
        line.push(b'\n');
        let file = Arc::clone(&self.file);
        let written = tokio::task::spawn_blocking(move || file.append(&line)).await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::failed(format_args!("{}: {error}", self.file.path.display()))),
            Err(_) => Err(Error::failed("writing was broken off")),
        }
    }
}

impl File {
    fn append(&self, line: &[u8]) -> io::Result<()> {
        // A line that was broken off by a panic leaves the file as a crash would.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let held = fs::metadata(&self.path).map_or(0, |file| file.len());
        if held > 0 && held + line.len() as u64 > self.bytes_max {
            self.turn_over()?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(line)?;
        file.sync_data()
    }

    /// `alerts.jsonl` becomes `alerts.jsonl.1` and so on; the last of them is overwritten.
    fn turn_over(&self) -> io::Result<()> {
        for n in (1..self.files_max).rev() {
            let from = numbered(&self.path, n - 1);
            if from.exists() {
                fs::rename(from, numbered(&self.path, n))?;
            }
        }
        if self.files_max == 1 {
            fs::remove_file(&self.path)?;
        }
        Ok(())
    }
}

fn numbered(path: &Path, n: u32) -> PathBuf {
    if n == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test reads its own files")]
    fn a_full_file_is_turned_over_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.jsonl");
        let file = File { path: path.clone(), bytes_max: 10, files_max: 3, turn: Mutex::default() };
        for n in 0..9 {
            file.append(format!("line{n}\n").as_bytes()).expect("written");
        }
        let text = |n| fs::read(numbered(&path, n)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!([0, 1, 2].map(|n| text(n).expect("there")), ["line8\n", "line7\n", "line6\n"]);
        assert!(text(3).is_err());
    }
}
