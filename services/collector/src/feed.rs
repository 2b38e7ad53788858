//! Cuts a stream into pieces that can be parsed apart: chunks of whole lines, or one document.

use std::sync::Mutex;

use serde::de::IgnoredAny;
use serde_json::Deserializer;
use serde_json::error::Category;

use crate::Error;
use crate::limits::Limits;
use crate::parse::Rejection;
use crate::reason::{Place, RejectReason};
use crate::source::Stream;

/// Line input is parsed in chunks of about this size.
pub(crate) const CHUNK_BYTES: usize = 1024 * 1024;
/// What is read before the layout is looked at, at first.
const WINDOW_BYTES: usize = 64 * 1024;
/// Lines looked at before a file counts as something else than JSON.
const LINES_LOOKED_AT: usize = 64;
/// A first line up to this length is parsed to see whether it is whole.
const FIRST_LINE_BYTES_MAX: usize = 1024 * 1024;
/// Documents from this size on are held one at a time.
const LARGE_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Part of a file.
pub(crate) enum Piece {
    Lines(Lines),
    Document { bytes: Vec<u8>, is_cut: bool },
    Rejected(Place, Rejection),
}

/// Whole lines.
pub(crate) struct Lines {
    pub(crate) bytes: Vec<u8>,
    /// The number of the first of them.
    pub(crate) first: u64,
    /// The last one was cut short.
    pub(crate) is_cut: bool,
    /// More of this file follows.
    pub(crate) has_more: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Empty,
    /// Each line is for itself.
    Lines,
    /// Values of several lines, or so long that they are better held together.
    Document,
    Foreign(RejectReason, &'static str),
}

/// Reads `stream` to its end. `large_document` is held while a large document is.
pub(crate) fn feed(
    stream: &mut Stream<'_>,
    limits: &Limits,
    large_document: &Mutex<()>,
    mut take: impl FnMut(Piece) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut window = Vec::new();
    let mut length = WINDOW_BYTES.min(limits.line_bytes_max);
    let layout = loop {
        let has_more = stream.fill(&mut window, length);
        match layout(&window, !has_more) {
            Some(layout) => break layout,
            None if length >= limits.line_bytes_max => break layout_of_long_line(&window),
            None => length = (length * 4).min(limits.line_bytes_max),
        }
    };
    if window.starts_with(BYTE_ORDER_MARK) {
        window.drain(..BYTE_ORDER_MARK.len());
    }
    match layout {
        Layout::Lines => feed_lines(stream, limits, window, &mut take)?,
        Layout::Document => feed_document(stream, limits, large_document, window, &mut take)?,
        Layout::Empty if stream.cut.is_some() => {}
        Layout::Empty => take(rejected(Place::default(), RejectReason::EmptyFile, ""))?,
        Layout::Foreign(reason, detail) => take(rejected(Place::default(), reason, detail))?,
    }
    match stream.cut.take() {
        Some(cut) => take(Piece::Rejected(Place::default(), Rejection::new(cut.reason, cut.detail))),
        None => Ok(()),
    }
}

/// As [`feed`], for a text that is whole and plain and longer than neither a line nor a document may be.
pub(crate) fn feed_whole(text: &[u8], mut take: impl FnMut(Piece)) {
    let layout = layout(text, true).unwrap_or(Layout::Document);
    let bytes = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).to_vec();
    take(match layout {
        Layout::Lines => Piece::Lines(Lines { bytes, first: 1, is_cut: false, has_more: false }),
        Layout::Document => Piece::Document { bytes, is_cut: false },
        Layout::Empty => rejected(Place::default(), RejectReason::EmptyFile, ""),
        Layout::Foreign(reason, detail) => rejected(Place::default(), reason, detail),
    });
}

fn rejected(place: Place, reason: RejectReason, detail: impl Into<std::borrow::Cow<'static, str>>) -> Piece {
    Piece::Rejected(place, Rejection::new(reason, detail))
}

/// The layout of a file that starts with `window`; `None` when more of it must be seen.
fn layout(window: &[u8], is_whole: bool) -> Option<Layout> {
    if window.starts_with(b"\xff\xfe") || window.starts_with(b"\xfe\xff") {
        return Some(Layout::Foreign(RejectReason::InvalidUtf8, "the file is UTF-16"));
    }
    let text = window.strip_prefix(BYTE_ORDER_MARK).unwrap_or(window).trim_ascii_start();
    if text.is_empty() {
        return is_whole.then_some(Layout::Empty);
    }
    let Some(line_end) = memchr::memchr(b'\n', text) else {
        return is_whole.then_some(if looks_like_json(text) { Layout::Document } else { foreign(text) });
    };
    let lines = text.split(|byte| *byte == b'\n');
    if !lines.take(LINES_LOOKED_AT).any(looks_like_json) {
        return Some(foreign(text));
    }
    if !looks_like_json(text) {
        return Some(Layout::Lines);
    }
    let first = text[..line_end].trim_ascii_end();
    if text[line_end..].trim_ascii().is_empty() && is_whole {
        return Some(Layout::Document);
    }
    // A pretty-printed document has short first lines, so a long one that ends like a value is taken for one.
    let ends_like_value = first.ends_with(b"}") || first.ends_with(b"]") || first.ends_with(b"\"");
    let is_open = match first.len() {
        0..FIRST_LINE_BYTES_MAX => is_open(first),
        _ => !ends_like_value,
    };
    Some(if is_open { Layout::Document } else { Layout::Lines })
}

/// No line ends within a whole window: values without line breaks, one large document, or a line too long.
fn layout_of_long_line(window: &[u8]) -> Layout {
    let text = window.strip_prefix(BYTE_ORDER_MARK).unwrap_or(window).trim_ascii_start();
    let first_value = Deserializer::from_slice(text).into_iter::<IgnoredAny>().next();
    let is_wrapper = text.starts_with(b"[") || {
        let inner = text.strip_prefix(b"{").unwrap_or_default().trim_ascii_start();
        [b"\"Records\"".as_slice(), b"\"Events\"", b"\"NextToken\""].iter().any(|key| inner.starts_with(key))
    };
    if is_wrapper || matches!(first_value, Some(Ok(_))) { Layout::Document } else { Layout::Lines }
}

fn foreign(text: &[u8]) -> Layout {
    let is_scalar = serde_json::from_slice::<IgnoredAny>(text).is_ok();
    let detail = if is_scalar { "neither an object nor an array of them" } else { "the file is not JSON" };
    Layout::Foreign(RejectReason::NotCloudtrail, detail)
}

fn looks_like_json(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'))
}

/// Whether a line ends within a JSON value.
fn is_open(line: &[u8]) -> bool {
    let values = Deserializer::from_slice(line).into_iter::<IgnoredAny>();
    let mut errors = values.filter_map(Result::err);
    errors.next().is_some_and(|error| error.classify() == Category::Eof)
}

fn feed_lines(
    stream: &mut Stream<'_>,
    limits: &Limits,
    window: Vec<u8>,
    take: &mut impl FnMut(Piece) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut chunk = window;
    let mut first = 1;
    // Bytes of `chunk` that are known to hold no line end.
    let mut searched = 0;
    loop {
        let target = chunk.len().max(CHUNK_BYTES).max(searched + CHUNK_BYTES);
        let has_more = stream.fill(&mut chunk, target);
        let line_end = memchr::memrchr(b'\n', &chunk[searched..]).map(|at| searched + at + 1);
        if !has_more {
            let is_cut = stream.cut.is_some();
            return take(Piece::Lines(Lines { bytes: chunk, first, is_cut, has_more }));
        }
        match line_end {
            Some(end) => {
                let mut rest = Vec::with_capacity(CHUNK_BYTES + chunk.len() - end);
                rest.extend_from_slice(&chunk[end..]);
                chunk.truncate(end);
                let lines = memchr::memchr_iter(b'\n', &chunk).count() as u64;
                take(Piece::Lines(Lines { bytes: chunk, first, is_cut: false, has_more }))?;
                first += lines;
                chunk = rest;
                searched = chunk.len();
            }
            None if chunk.len() > limits.line_bytes_max => {
                let place = Place { line: first, record: 0 };
                take(line_too_long(place, limits))?;
                skip_line(stream, &mut chunk);
                first += 1;
                searched = 0;
            }
            None => searched = chunk.len(),
        }
    }
}

pub(crate) fn line_rejection(limits: &Limits) -> Rejection {
    let detail = format!("longer than {} bytes", limits.line_bytes_max);
    Rejection::new(RejectReason::LineTooLong, detail)
}

fn line_too_long(place: Place, limits: &Limits) -> Piece {
    Piece::Rejected(place, line_rejection(limits))
}

/// Leaves in `chunk` what follows the next line end.
fn skip_line(stream: &mut Stream<'_>, chunk: &mut Vec<u8>) {
    loop {
        chunk.clear();
        let has_more = stream.fill(chunk, CHUNK_BYTES);
        if let Some(end) = memchr::memchr(b'\n', chunk) {
            chunk.drain(..=end);
            return;
        }
        if !has_more {
            chunk.clear();
            return;
        }
    }
}

fn feed_document(
    stream: &mut Stream<'_>,
    limits: &Limits,
    large_document: &Mutex<()>,
    mut bytes: Vec<u8>,
    take: &mut impl FnMut(Piece) -> Result<(), Error>,
) -> Result<(), Error> {
    let bytes_max = limits.document_bytes_max.saturating_add(1);
    let mut alone = None;
    if stream.fill(&mut bytes, LARGE_DOCUMENT_BYTES.min(bytes_max)) {
        alone = Some(large_document.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        stream.fill(&mut bytes, bytes_max);
    }
    let is_too_large = bytes.len() > limits.document_bytes_max;
    bytes.truncate(limits.document_bytes_max);
    let is_cut = is_too_large || stream.cut.is_some();
    take(Piece::Document { bytes, is_cut })?;
    drop(alone);
    if is_too_large {
        let detail = format!("only the first {} bytes were read", limits.document_bytes_max);
        take(rejected(Place::default(), RejectReason::DocumentTooLarge, detail))?;
    }
    Ok(())
}
