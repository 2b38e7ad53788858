//! Event lines, formatted and written on a thread of their own while the next events are judged.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use trailwarden_core::level::Level;
use trailwarden_core::time::Timestamp;

use crate::lines::{Api, EventLine, write_event};

/// Bytes of text handed over at once.
const BLOCK_BYTES: usize = 256 * 1024;
/// Blocks that may wait; beyond them the thread is waited for.
const BLOCKS_MAX: usize = 8;

/// Where event lines go. [`EventLines::finish`] tells whether everything was written.
pub(crate) struct EventLines<'s> {
    block: Block,
    blocks: SyncSender<Block>,
    thread: ScopedJoinHandle<'s, io::Result<()>>,
}

/// Lines not yet formatted, their texts one after another.
#[derive(Default)]
struct Block {
    text: String,
    rows: Vec<Row>,
}

struct Row {
    /// Where event id, account, principal, service and call end in the block's text.
    ends: [usize; 5],
    event_time: Timestamp,
    score: f64,
    level: Level,
}

impl<'s> EventLines<'s> {
    pub(crate) fn new(scope: &'s Scope<'s, '_>, out: &'s mut (dyn Write + Send)) -> Self {
        let (blocks, received) = sync_channel(BLOCKS_MAX);
        Self { block: Block::default(), blocks, thread: scope.spawn(move || write(&received, out)) }
    }

    /// Takes a line.
    ///
    /// # Errors
    /// When nothing can be written any more; [`EventLines::finish`] tells why.
    pub(crate) fn push(&mut self, line: &EventLine<'_>) -> io::Result<()> {
        self.block.push(line);
        if self.block.text.len() < BLOCK_BYTES {
            return Ok(());
        }
        let next = Block {
            text: String::with_capacity(self.block.text.len()),
            rows: Vec::with_capacity(self.block.rows.len()),
        };
        let full = std::mem::replace(&mut self.block, next);
        self.blocks.send(full).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Writes what is left and waits.
    ///
    /// # Errors
    /// The first failure to write, whenever it happened.
    pub(crate) fn finish(self) -> io::Result<()> {
        // The thread ends early only because it could not write, which it tells itself.
        let _ = self.blocks.send(self.block);
        drop(self.blocks);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn write(blocks: &Receiver<Block>, out: &mut (dyn Write + Send)) -> io::Result<()> {
    let mut formatted = Vec::new();
    for block in blocks {
        formatted.clear();
        block.format(&mut formatted)?;
        out.write_all(&formatted)?;
    }
    Ok(())
}

impl Block {
    fn push(&mut self, line: &EventLine<'_>) {
        let texts = [line.event_id, line.account, line.principal, line.api.service, line.api.call];
        let ends = texts.map(|text| {
            self.text.push_str(text);
            self.text.len()
        });
        self.rows.push(Row { ends, event_time: line.event_time, score: line.score, level: line.level });
    }

    fn format(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let mut start = 0;
        for row in &self.rows {
            let [event_id, account, principal, service, call] =
                row.ends.map(|end| &self.text[std::mem::replace(&mut start, end)..end]);
            let api = Api { service, call };
            let (event_time, score, level) = (row.event_time, row.score, row.level);
            write_event(out, &EventLine { event_id, event_time, account, principal, api, score, level })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: EventLine<'_> = EventLine {
        event_id: "e",
        event_time: Timestamp::from_millis(0),
        account: "",
        principal: "né",
        api: Api { service: "iam", call: "ListUsers" },
        score: 0.5,
        level: Level::None,
    };

    /// The lines written, or the error.
    fn written(out: &mut (dyn Write + Send), count: usize) -> io::Result<()> {
        std::thread::scope(|scope| {
            let mut lines = EventLines::new(scope, out);
            let pushed = (0..count).try_for_each(|_| lines.push(&LINE));
            lines.finish().and(pushed)
        })
    }

    #[test]
    fn writes_every_line_as_it_came_and_tells_when_it_cannot() {
        let mut expected = Vec::new();
        write_event(&mut expected, &LINE).expect("memory");
        // A line has more than eight bytes of text.
        for count in [0, 1, BLOCK_BYTES / 2] {
            let mut out = Vec::new();
            written(&mut out, count).expect("memory");
            assert!(out == expected.repeat(count), "{count} lines");
        }
        let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("there");
        assert!(written(&mut full, BLOCK_BYTES / 2).is_err());
    }
}
