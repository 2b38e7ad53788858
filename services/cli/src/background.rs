//! Writing on a thread of its own, so that formatting lines and the disk do not wait for each other.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes handed over at once.
const BLOCK_BYTES: usize = 1 << 20;
/// Blocks that may wait; beyond them the writer is waited for.
const BLOCKS_MAX: usize = 4;

/// A writer behind a thread. [`Background::finish`] tells whether everything was written.
#[derive(Debug)]
pub struct Background {
    block: Vec<u8>,
    blocks: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Background {
    pub fn new(mut out: impl Write + Send + 'static) -> Self {
        let (blocks, received) = sync_channel::<Vec<u8>>(BLOCKS_MAX);
        let thread = std::thread::spawn(move || {
            for block in received {
                out.write_all(&block)?;
            }
            out.flush()
        });
        Self { block: Vec::with_capacity(BLOCK_BYTES), blocks: Some(blocks), thread: Some(thread) }
    }

    /// Writes what is left and waits.
    ///
    /// # Errors
    /// The first failure to write, whenever it happened.
    pub fn finish(mut self) -> io::Result<()> {
        let handed = self.hand_over();
        self.join().and(handed)
    }

    fn hand_over(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK_BYTES));
        let sent = self.blocks.as_ref().map(|blocks| blocks.send(block));
        match sent {
            Some(Ok(())) => Ok(()),
            // The thread ends early only because it could not write.
            _ => self.join().and(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn join(&mut self) -> io::Result<()> {
        self.blocks = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(written)) => written,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Write for Background {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.block.extend_from_slice(bytes);
        if self.block.len() >= BLOCK_BYTES {
            self.hand_over()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};

    use super::*;

    #[test]
    fn writes_everything_and_tells_when_it_cannot() {
        let file = File::create("/dev/null").expect("there");
        let mut out = Background::new(file);
        (0..100).for_each(|_| out.write_all(&[b'x'; 100_000]).expect("written"));
        out.finish().expect("written");

        let full = OpenOptions::new().write(true).open("/dev/full").expect("there");
        let mut out = Background::new(full);
        let written: io::Result<()> = (0..100).try_for_each(|_| out.write_all(&[b'x'; 100_000]));
        assert!(written.and(out.finish()).is_err());
    }
}
