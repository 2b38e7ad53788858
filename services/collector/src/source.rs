//! What to read: files, folders, standard input or bytes in memory, opened with gzip recognised by content and capped.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::GzDecoder;
use walkdir::WalkDir;

use crate::limits::Limits;
use crate::reason::{Place, RejectReason, Tally, printable};

/// Something to read.
#[derive(Clone, Debug)]
pub enum Input {
    /// A file, or a folder with all that is below it.
    Path(PathBuf),
    Stdin,
    /// Bytes that are at hand, under the name that problems are reported by.
    Memory {
        name: String,
        bytes: Cow<'static, [u8]>,
    },
}

impl Input {
    /// `-` is standard input, anything else a path.
    pub fn from_argument(argument: impl Into<PathBuf>) -> Self {
        let path = argument.into();
        if path.as_os_str() == "-" { Self::Stdin } else { Self::Path(path) }
    }
}

/// One stream of bytes.
pub(crate) struct Source<'i> {
    pub(crate) name: String,
    pub(crate) origin: Origin<'i>,
    /// 0 where it is not known.
    pub(crate) bytes: u64,
}

pub(crate) enum Origin<'i> {
    File(PathBuf),
    Stdin,
    Memory(&'i [u8]),
}

const NAME_BYTES_MAX: usize = 1024;
const EXTENSIONS: [&str; 3] = ["json", "jsonl", "gz"];

/// All streams of `inputs`, ordered by name; what cannot be found or is not ours goes to `tally`.
pub(crate) fn discover<'i>(inputs: &'i [Input], tally: &mut Tally) -> Vec<Source<'i>> {
    let mut sources = Vec::new();
    for input in inputs {
        match input {
            Input::Stdin => sources.push(Source { name: "-".to_owned(), origin: Origin::Stdin, bytes: 0 }),
            Input::Memory { name, bytes } => sources.push(Source {
                name: printable(name, NAME_BYTES_MAX),
                origin: Origin::Memory(bytes),
                bytes: bytes.len() as u64,
            }),
            Input::Path(path) => discover_path(path, &mut sources, tally),
        }
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    sources
}

fn discover_path(path: &Path, sources: &mut Vec<Source<'_>>, tally: &mut Tally) {
    match fs::metadata(path) {
        Err(error) => {
            let is_missing = error.kind() == io::ErrorKind::NotFound;
            let reason = if is_missing { RejectReason::NotFound } else { RejectReason::Unreadable };
            tally.add(&name_of(path), Place::default(), reason, &error.to_string());
        }
        Ok(metadata) if metadata.is_dir() => discover_folder(path, sources, tally),
        // Named outright, so read whatever its name and kind: it may be a pipe.
        Ok(metadata) => {
            sources.push(Source { name: name_of(path), origin: Origin::File(path.to_owned()), bytes: metadata.len() })
        }
    }
}

fn discover_folder(folder: &Path, sources: &mut Vec<Source<'_>>, tally: &mut Tally) {
    let mut entries = 0_u64;
    for entry in WalkDir::new(folder).follow_links(true) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                entries += 1;
                let reason =
                    if error.loop_ancestor().is_some() { RejectReason::SymlinkLoop } else { RejectReason::Unreadable };
                let name = error.path().map_or_else(|| name_of(folder), name_of);
                let detail = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                tally.add(&name, Place::default(), reason, &detail);
                continue;
            }
        };
        if entry.file_type().is_dir() {
            continue;
        }
        entries += 1;
        let path = entry.path();
        let is_ours = path
            .extension()
            .is_some_and(|extension| EXTENSIONS.iter().any(|ours| extension.eq_ignore_ascii_case(ours)));
        let set_aside = |reason| (name_of(path), reason);
        let (name, reason) = if !entry.file_type().is_file() {
            set_aside(RejectReason::NotRegularFile)
        } else if !is_ours {
            set_aside(RejectReason::OtherExtension)
        } else if path.components().any(|part| part.as_os_str() == "CloudTrail-Digest") {
            set_aside(RejectReason::Digest)
        } else {
            sources.push(Source {
                name: name_of(path),
                bytes: entry.metadata().map_or(0, |metadata| metadata.len()),
                origin: Origin::File(entry.into_path()),
            });
            continue;
        };
        tally.add(&name, Place::default(), reason, "");
    }
    if entries == 0 {
        tally.add(&name_of(folder), Place::default(), RejectReason::EmptyFolder, "");
    }
}

fn name_of(path: &Path) -> String {
    printable(&path.to_string_lossy(), NAME_BYTES_MAX)
}

/// Why a stream ended before its end.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) reason: RejectReason,
    pub(crate) detail: String,
}

/// A stream's bytes, inflated where they are gzip.
pub(crate) struct Stream<'s> {
    reader: Reader<'s>,
    inflated: u64,
    limits: &'s Limits,
    pub(crate) cut: Option<Cut>,
    /// Bytes read before inflation.
    read: &'s AtomicU64,
}

enum Reader<'s> {
    Plain(Box<dyn Read + 's>),
    Gzip(Box<Members<BufReader<Box<dyn Read + 's>>>>),
}

pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const GZIP_READ_BYTES: usize = 64 * 1024;

impl<'s> Stream<'s> {
    /// `read` is set to the bytes taken from the source as they are taken.
    pub(crate) fn open(origin: &'s Origin<'_>, limits: &'s Limits, read: &'s AtomicU64) -> io::Result<Self> {
        let raw: Box<dyn Read + 's> = match origin {
            Origin::File(path) => Box::new(File::open(path)?),
            Origin::Stdin => Box::new(io::stdin()),
            Origin::Memory(bytes) => Box::new(*bytes),
        };
        Self::new(raw, limits, read)
    }

    #[expect(clippy::disallowed_methods, reason = "capped by `take`")]
    fn new(mut raw: Box<dyn Read + 's>, limits: &'s Limits, read: &'s AtomicU64) -> io::Result<Self> {
        let mut start = Vec::with_capacity(GZIP_MAGIC.len());
        raw.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut start)?;
        let is_gzip = start == GZIP_MAGIC;
        let whole: Box<dyn Read + 's> = Box::new(io::Cursor::new(start).chain(raw));
        let reader = if is_gzip {
            let counted: Box<dyn Read + 's> = Box::new(Counted { inner: whole, read });
            Reader::Gzip(Box::new(Members::new(BufReader::with_capacity(GZIP_READ_BYTES, counted))))
        } else {
            Reader::Plain(whole)
        };
        Ok(Self { reader, inflated: 0, limits, cut: None, read })
    }

    #[expect(clippy::disallowed_methods, reason = "capped by `take`")]
    /// Appends to `buffer` until it holds `length` bytes; false once the stream has ended, whether whole or cut.
    pub(crate) fn fill(&mut self, buffer: &mut Vec<u8>, length: usize) -> bool {
        while buffer.len() < length {
            if self.cut.is_some() {
                return false;
            }
            // In steps, so that a bomb is noticed early.
            let wanted = (length - buffer.len()).min(crate::feed::CHUNK_BYTES);
            buffer.reserve(wanted);
            let before = buffer.len();
            let result = match &mut self.reader {
                Reader::Plain(reader) => reader.by_ref().take(wanted as u64).read_to_end(buffer),
                Reader::Gzip(reader) => reader.by_ref().take(wanted as u64).read_to_end(buffer),
            };
            let taken = (buffer.len() - before) as u64;
            self.inflated += taken;
            // Counted here and not by a wrapper, which would have the buffer zeroed before every read.
            if matches!(self.reader, Reader::Plain(_)) {
                self.read.fetch_add(taken, Ordering::Relaxed);
            }
            self.cut = match result {
                Err(error) => Some(self.cut_by(&error)),
                Ok(0) => return false,
                Ok(_) => self.beyond_limits(),
            };
        }
        true
    }

    /// Bytes handed out so far, after inflation.
    pub(crate) fn inflated(&self) -> u64 {
        self.inflated
    }

    fn cut_by(&self, error: &io::Error) -> Cut {
        let reason = match (&self.reader, error.kind()) {
            (Reader::Gzip(members), _) if members.has_trailing_data => RejectReason::TrailingData,
            (Reader::Gzip(_), io::ErrorKind::UnexpectedEof) => RejectReason::TruncatedGzip,
            (Reader::Gzip(_), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => RejectReason::CorruptGzip,
            _ => RejectReason::Unreadable,
        };
        let detail = format!("after {} bytes: {error}", self.inflated);
        Cut { reason, detail }
    }

    fn beyond_limits(&self) -> Option<Cut> {
        if matches!(self.reader, Reader::Plain(_)) {
            return None;
        }
        let read = self.read.load(Ordering::Relaxed).max(1);
        let ratio = self.inflated / read;
        let is_beyond = self.inflated > self.limits.inflated_bytes_max
            || (self.inflated > Limits::INFLATION_FREE_BYTES && ratio > self.limits.inflation_ratio_max);
        is_beyond.then(|| Cut {
            reason: RejectReason::InflatedTooLarge,
            detail: format!("{} bytes from {read}", self.inflated),
        })
    }
}

/// The members of a gzip one after another, as gzip(1) reads them: zeros behind a member are padding.
struct Members<R> {
    /// `None` behind the last member.
    member: Option<GzDecoder<R>>,
    has_trailing_data: bool,
}

impl<R: BufRead> Members<R> {
    #[expect(clippy::disallowed_methods, reason = "the one place that inflates; `Stream::fill` caps it")]
    fn new(input: R) -> Self {
        Self { member: Some(GzDecoder::new(input)), has_trailing_data: false }
    }

    /// Skips padding; false when nothing follows it.
    fn is_followed(&mut self, input: &mut R) -> io::Result<bool> {
        loop {
            let bytes = input.fill_buf()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            match bytes.get(zeros) {
                None if zeros == 0 => return Ok(false),
                None => input.consume(zeros),
                Some(&byte) => {
                    input.consume(zeros);
                    self.has_trailing_data = byte != GZIP_MAGIC[0];
                    return Ok(true);
                }
            }
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(mut input) = self.member.take().map(GzDecoder::into_inner) else { break };
            if !self.is_followed(&mut input)? {
                break;
            }
            if self.has_trailing_data {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "trailing data"));
            }
            self.member = Self::new(input).member;
        }
        Ok(0)
    }
}

struct Counted<'c, R> {
    inner: R,
    read: &'c AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
