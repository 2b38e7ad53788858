//! Case lines on their way out: cases end in another order than they began, and lines go out by when they began.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use trailwarden_core::time::Timestamp;

/// Bytes of lines that wait in memory, of all outputs together; those beyond wait in a temporary file.
pub(crate) const HELD_BYTES_MAX: usize = 32 << 20;

/// Lines by (first event time, case id), written as soon as nothing can come before them.
pub(crate) struct CaseLines<'o> {
    out: &'o mut dyn Write,
    waiting: BTreeMap<(Timestamp, String), Line>,
    held_bytes: usize,
    held_bytes_max: usize,
    file: Option<File>,
    file_bytes: u64,
}

enum Line {
    Held(Vec<u8>),
    Filed { offset: u64, length: usize },
}

impl<'o> CaseLines<'o> {
    /// Of what waits, holds `held_bytes_max` in memory.
    pub(crate) fn new(out: &'o mut dyn Write, held_bytes_max: usize) -> Self {
        Self { out, waiting: BTreeMap::new(), held_bytes: 0, held_bytes_max, file: None, file_bytes: 0 }
    }

    pub(crate) fn push(&mut self, first_event_time: Timestamp, case_id: &str, line: Vec<u8>) -> io::Result<()> {
        let line =
            if self.held_bytes + line.len() <= self.held_bytes_max { Line::Held(line) } else { self.put_away(&line)? };
        if let Line::Held(bytes) = &line {
            self.held_bytes += bytes.len();
        }
        self.waiting.insert((first_event_time, case_id.to_owned()), line);
        Ok(())
    }

    /// Writes the lines of cases that began before `settled`; all of them without it.
    pub(crate) fn release(&mut self, settled: Option<Timestamp>) -> io::Result<()> {
        while let Some(entry) = self.waiting.first_entry() {
            if settled.is_some_and(|settled| entry.key().0 >= settled) {
                break;
            }
            let bytes = match entry.remove() {
                Line::Held(bytes) => {
                    self.held_bytes -= bytes.len();
                    bytes
                }
                Line::Filed { offset, length } => self.fetch(offset, length)?,
            };
            self.out.write_all(&bytes)?;
        }
        Ok(())
    }

    fn put_away(&mut self, line: &[u8]) -> io::Result<Line> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile()?),
        };
        let offset = self.file_bytes;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(line)?;
        self.file_bytes += line.len() as u64;
        Ok(Line::Filed { offset, length: line.len() })
    }

    fn fetch(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(&mut bytes)?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_out_in_order_from_memory_and_from_the_file() {
        let mut out = Vec::new();
        let mut lines = CaseLines::new(&mut out, HELD_BYTES_MAX);
        let at = Timestamp::from_millis;
        for number in (0..9).rev() {
            let line = vec![b'0' + number as u8; 5 << 20];
            lines.push(at(number), "id", line).expect("kept");
        }
        assert!(lines.file.is_some());
        lines.release(Some(at(2))).expect("written");
        lines.release(None).expect("written");
        out.dedup();
        assert_eq!(String::from_utf8_lossy(&out), "012345678");
    }
}
