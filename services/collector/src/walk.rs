//! From a piece of a stream to its records, whatever shape they come in and whatever bytes are between them.

use crate::feed::{Lines, line_rejection};
use crate::limits::Limits;
use crate::parse::{Record, Rejection};
use crate::reason::{Place, RejectReason};
use crate::shape::{Sink, Walker};

/// Hands out the records of whole lines.
pub(crate) fn lines(lines: &Lines, limits: &Limits, sink: &mut impl Sink) {
    // Checked once for all lines; only where that fails, for each.
    let whole = std::str::from_utf8(&lines.bytes).ok();
    let mut start = 0;
    let mut number = lines.first;
    while start < lines.bytes.len() {
        let line_end = memchr::memchr(b'\n', &lines.bytes[start..]).map_or(lines.bytes.len(), |at| start + at);
        let text = match whole {
            Some(whole) => Ok(&whole[start..line_end]),
            None => std::str::from_utf8(&lines.bytes[start..line_end]),
        };
        let place = Place { line: number, record: 0 };
        match text {
            _ if line_end - start > limits.line_bytes_max => sink.reject(place, line_rejection(limits)),
            Err(error) => {
                let detail = format!("at byte {} of the line", error.valid_up_to());
                sink.reject(place, Rejection::new(RejectReason::InvalidUtf8, detail));
            }
            Ok(text) => {
                let is_cut = lines.is_cut && line_end == lines.bytes.len();
                Walker::new(sink, limits, number, is_cut).walk(text);
            }
        }
        start = line_end + 1;
        number += 1;
    }
}

/// Hands out the records of one document.
pub(crate) fn document(mut bytes: Vec<u8>, is_cut: bool, limits: &Limits, sink: &mut impl Sink) {
    let is_masked = mask_invalid(&mut bytes, is_cut);
    // Masking left only valid text.
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    if is_masked {
        Walker::new(&mut Masked(sink), limits, 0, is_cut).walk(text);
    } else {
        Walker::new(sink, limits, 0, is_cut).walk(text);
    }
}

/// Stands in a document for each byte that is not UTF-8: allowed within JSON strings, and never seen in CloudTrail.
const MASK: u8 = 0x7f;

/// Replaces every invalid byte, so that the records without one can still be told apart.
/// A character that was cut off at the end counts as part of the cut.
fn mask_invalid(bytes: &mut Vec<u8>, is_cut: bool) -> bool {
    let mut is_masked = false;
    let mut valid = 0;
    while let Err(error) = std::str::from_utf8(&bytes[valid..]) {
        let start = valid + error.valid_up_to();
        valid = match error.error_len() {
            None if is_cut => {
                bytes.truncate(start);
                break;
            }
            None => bytes.len(),
            Some(length) => start + length,
        };
        bytes[start..valid].fill(MASK);
        is_masked = true;
    }
    is_masked
}

/// Rejects the records of a document that hold a masked byte.
struct Masked<'m, S>(&'m mut S);

impl<S: Sink> Sink for Masked<'_, S> {
    fn record(&mut self, place: Place, raw: &str, record: &Record<'_>) {
        if raw.as_bytes().contains(&MASK) {
            self.reject(place, Rejection::new(RejectReason::InvalidUtf8, "a byte is not UTF-8"));
        } else {
            self.0.record(place, raw, record);
        }
    }

    fn reject(&mut self, place: Place, rejection: Rejection) {
        self.0.reject(place, rejection);
    }
}
