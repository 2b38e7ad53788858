//! The shapes in which records are delivered, walked without building a tree: each record is handed out
//! as its own text, so that what comes before a syntax error is kept.
//!
//! Known shapes: a record; `{"Records":[...]}`; an array; several values one after another; an EventBridge
//! event (`detail`); LookupEvents output (`{"Events":[{"CloudTrailEvent":"..."}]}`), and one such event alone.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::{Deserializer, Error};
use trailwarden_core::record::repair;

use crate::limits::Limits;
use crate::parse::{Record, Rejection, check_nesting, string_end};
use crate::reason::{Place, RejectReason};

/// Takes what is found: records with their text, and what is none.
pub(crate) trait Sink {
    fn record(&mut self, place: Place, raw: &str, record: &Record<'_>);
    fn reject(&mut self, place: Place, rejection: Rejection);
}

/// Wrappers within wrappers: an array of files, and nothing deeper.
const WRAPPERS_MAX: usize = 2;

pub(crate) struct Walker<'s, S> {
    pub(crate) sink: &'s mut S,
    pub(crate) limits: &'s Limits,
    /// 0 for a document.
    pub(crate) line: u64,
    /// The text was cut short, which is reported elsewhere.
    pub(crate) is_cut: bool,
    records: u64,
    /// Where the next whole record behind a broken one starts, as the bytes left from there (0: there is none), so
    /// that several broken records before it do not each look for it.
    next_left: Option<usize>,
    /// Bytes that may yet be parsed in vain in search of a whole record.
    search_left: usize,
}

/// Where the text stops being JSON.
struct Broken {
    offset: usize,
    error: Error,
    /// Nothing behind it could be recovered, and that was said.
    is_reported: bool,
}

/// Bytes parsed in vain in search of a whole record, at most, for each byte of the text: the search stays linear.
const SEARCHES_PER_BYTE: usize = 8;

impl<'s, S: Sink> Walker<'s, S> {
    pub(crate) fn new(sink: &'s mut S, limits: &'s Limits, line: u64, is_cut: bool) -> Self {
        Self { sink, limits, line, is_cut, records: 0, next_left: None, search_left: 0 }
    }

    /// Hands out everything in `text`, which holds any number of JSON values.
    pub(crate) fn walk(&mut self, text: &str) {
        self.search_left = text.len().saturating_mul(SEARCHES_PER_BYTE);
        let mut at = 0;
        let mut is_resumed = false;
        loop {
            at = skip_whitespace(text, at);
            match text.as_bytes().get(at) {
                None => return,
                // What is left of an array whose middle was broken.
                Some(b',' | b']' | b'}') if is_resumed => {
                    at += 1;
                    continue;
                }
                Some(_) => {}
            }
            let before = self.records;
            match self.value(&text[at..], WRAPPERS_MAX) {
                Ok(length) => at += length,
                Err(broken) => {
                    match self.resume(text, at, broken.within(at), before) {
                        Some(next) => at = next,
                        None => return,
                    }
                    is_resumed = true;
                }
            }
        }
    }

    /// Where to go on behind a broken value that no array holds.
    fn resume(&mut self, text: &str, start: usize, broken: Broken, records_before: u64) -> Option<usize> {
        if matches!(text.as_bytes()[start], b'{' | b'[') {
            return self.recover(text, start, broken, records_before).ok();
        }
        // Some other text, whose commas mean nothing.
        self.report(&broken.error, None);
        next_line_of_json(text, broken.offset)
    }

    /// Reports the broken element that starts at `start`; where the text goes on behind it, which is the end of the
    /// element or the next whole record, whatever comes first.
    fn recover(&mut self, text: &str, start: usize, broken: Broken, records_before: u64) -> Result<usize, Broken> {
        if broken.is_reported {
            return Err(broken);
        }
        // The broken element may have swallowed the start of the next, but what was handed out is not read again.
        let from = if self.records == records_before { start + 1 } else { broken.offset.max(start + 1) };
        let next = self.next_record(text, from);
        let within = &text.as_bytes()[start..next.unwrap_or(text.len())];
        match element_end(within).map(|length| start + length).or(next) {
            Some(end) => {
                self.report(&broken.error, None);
                Ok(end)
            }
            None => {
                // A line that is one broken record has no other to lose.
                let is_whole_line = self.line > 0 && start == 0;
                self.report(&broken.error, (!is_whole_line).then(|| text.len() - start));
                Err(Broken { is_reported: true, ..broken })
            }
        }
    }

    /// The start of the first whole record at or behind `from`.
    fn next_record(&mut self, text: &str, from: usize) -> Option<usize> {
        // Every text that is recovered ends where the document ends, so the bytes left name a place in it.
        if let Some(left) = self.next_left.filter(|left| from + left <= text.len()) {
            return (left > 0).then(|| text.len() - left);
        }
        let found = self.search(text, from);
        self.next_left = Some(found.map_or(0, |at| text.len() - at));
        found
    }

    fn search(&mut self, text: &str, from: usize) -> Option<usize> {
        let bytes = text.as_bytes();
        for offset in memchr::memchr_iter(b'{', bytes.get(from..)?) {
            let at = from + offset;
            if !may_start_element(&bytes[..at]) {
                continue;
            }
            let in_vain = match next::<Record<'_>>(&text[at..]) {
                Ok((record, _)) if record.is_complete() => return Some(at),
                Ok((_, length)) => length,
                Err(broken) => broken.offset,
            };
            self.search_left = self.search_left.checked_sub(in_vain + 1)?;
        }
        None
    }

    /// Hands out the value that `text` starts with; returns its length.
    fn value(&mut self, text: &str, wrappers: usize) -> Result<usize, Broken> {
        match text.as_bytes().first() {
            Some(b'{') if wrappers > 0 && is_wrapper(text) => self.members(text, wrappers - 1),
            Some(b'{') => self.object(text, wrappers),
            Some(b'[') if wrappers > 0 => self.elements(text, wrappers - 1),
            Some(b'"') => {
                let (record, length) = next::<Cow<'_, str>>(text)?;
                self.quoted(&record);
                Ok(length)
            }
            _ => self.foreign(text),
        }
    }

    fn object(&mut self, text: &str, wrappers: usize) -> Result<usize, Broken> {
        let broken = match next::<Record<'_>>(text) {
            Ok((record, length)) => {
                self.dispatch(&text[..length], &record, wrappers);
                return Ok(length);
            }
            Err(broken) => broken,
        };
        // The grammar may allow what a string or a number does not.
        if let Ok((_, length)) = next::<IgnoredAny>(text) {
            let repaired = repair(&text[..length]);
            match serde_json::from_str::<Record<'_>>(&repaired) {
                Ok(record) => self.dispatch(&repaired, &record, wrappers),
                Err(error) => self.report(&error, None),
            }
            return Ok(length);
        }
        // A file cut within `Records`, where that was not its first key.
        if wrappers > 0 { self.members(text, wrappers - 1) } else { Err(broken) }
    }

    fn dispatch(&mut self, raw: &str, record: &Record<'_>, wrappers: usize) {
        let envelope = &record.envelope;
        if !record.event_name.is_absent() {
            self.record(raw, record);
        } else if let Some(records) = envelope.records.filter(|records| records.get().starts_with('[') && wrappers > 0)
        {
            // Its syntax was checked when it was set apart.
            let _ = self.elements(records.get(), wrappers - 1);
        } else if let Some(event) = envelope.cloudtrail_event.get() {
            self.quoted(event);
        } else if let Some(detail) = envelope.detail.filter(|detail| detail.get().starts_with('{') && wrappers > 0) {
            let _ = self.object(detail.get(), 0);
        } else {
            self.record(raw, record);
        }
    }

    /// The members of an object that wraps records, one by one.
    fn members(&mut self, text: &str, wrappers: usize) -> Result<usize, Broken> {
        let mut at = skip_whitespace(text, 1);
        if text.as_bytes().get(at) == Some(&b'}') {
            return Ok(at + 1);
        }
        loop {
            let (key, length) = next::<Cow<'_, str>>(&text[at..]).map_err(|broken| broken.within(at))?;
            at = self.expect(text, skip_whitespace(text, at + length), b":")?.1;
            let member = &text[at..];
            let is_records = matches!(key.as_ref(), "Records" | "Events") && member.starts_with('[');
            let length = if is_records {
                self.elements(member, wrappers)
            } else {
                next::<IgnoredAny>(member).map(|(_, length)| length)
            };
            at = skip_whitespace(text, at + length.map_err(|broken| broken.within(at))?);
            let (found, next_at) = self.expect(text, at, b",}")?;
            at = next_at;
            if found == b'}' {
                return Ok(at);
            }
        }
    }

    /// The elements of an array, one by one; a broken one is reported and those behind it are read.
    fn elements(&mut self, text: &str, wrappers: usize) -> Result<usize, Broken> {
        let mut at = skip_whitespace(text, 1);
        let mut is_value_next = text.as_bytes().get(at) != Some(&b']');
        loop {
            match text.as_bytes().get(at) {
                Some(b']') if !is_value_next => return Ok(at + 1),
                Some(b',') if !is_value_next => {
                    at = skip_whitespace(text, at + 1);
                    is_value_next = true;
                }
                // A comma is missing, and nothing else.
                Some(b'{') if !is_value_next => is_value_next = true,
                found => {
                    let before = self.records;
                    let result = if is_value_next {
                        self.value(&text[at..], wrappers)
                    } else {
                        Err(out_of_place(0, found.is_none()))
                    };
                    at = match result {
                        Ok(length) => at + length,
                        Err(broken) => self.recover(text, at, broken.within(at), before)?,
                    };
                    at = skip_whitespace(text, at);
                    is_value_next = false;
                }
            }
        }
    }

    /// The byte at `at`, which must be one of `expected`, and where what follows it starts.
    /// The closing bracket of an object or array ends its value, so nothing is skipped after it.
    fn expect(&self, text: &str, at: usize, expected: &[u8]) -> Result<(u8, usize), Broken> {
        match text.as_bytes().get(at) {
            Some(b'}' | b']') if expected.contains(&text.as_bytes()[at]) => Ok((text.as_bytes()[at], at + 1)),
            Some(byte) if expected.contains(byte) => Ok((*byte, skip_whitespace(text, at + 1))),
            found => Err(out_of_place(at, found.is_none())),
        }
    }

    /// A record as a string, as LookupEvents gives it.
    fn quoted(&mut self, text: &str) {
        let text = text.trim();
        match next::<Record<'_>>(text) {
            _ if !text.starts_with('{') => self.reject(Rejection::new(RejectReason::NotCloudtrail, "a string")),
            Ok((record, length)) if length == text.len() => self.record(text, &record),
            _ => {
                // Only for what the grammar allows and a field does not hold.
                let repaired = repair(text);
                match serde_json::from_str::<Record<'_>>(&repaired) {
                    Ok(record) => self.record(&repaired, &record),
                    Err(error) => self.reject(malformed(&error)),
                }
            }
        }
    }

    /// A value that no shape has here.
    fn foreign(&mut self, text: &str) -> Result<usize, Broken> {
        let (_, length) = next::<IgnoredAny>(text)?;
        let rejection = match check_nesting(&text[..length], self.limits.nesting_max) {
            Err(too_deep) => too_deep,
            Ok(()) => Rejection::new(RejectReason::NotCloudtrail, "neither an object nor an array of them"),
        };
        self.reject(rejection);
        Ok(length)
    }

    fn record(&mut self, raw: &str, record: &Record<'_>) {
        let place = self.place();
        self.sink.record(place, raw, record);
    }

    fn reject(&mut self, rejection: Rejection) {
        let place = self.place();
        self.sink.reject(place, rejection);
    }

    /// `unread` is how many bytes were given up with it.
    fn report(&mut self, error: &Error, unread: Option<usize>) {
        let is_of_the_cut = self.is_cut && error.classify() == Category::Eof;
        if is_of_the_cut {
            return;
        }
        let mut rejection = malformed(error);
        if let Some(bytes) = unread {
            rejection.detail = format!("{}; the remaining {bytes} bytes were not read", rejection.detail).into();
        }
        self.reject(rejection);
    }

    /// The next record's place. Most lines hold one record, whose number says nothing.
    fn place(&mut self) -> Place {
        self.records += 1;
        let is_alone = self.line > 0 && self.records == 1;
        Place { line: self.line, record: if is_alone { 0 } else { self.records } }
    }
}

impl Broken {
    fn within(self, offset: usize) -> Self {
        Self { offset: self.offset + offset, ..self }
    }
}

/// The JSON value that `text` starts with, and its length.
fn next<'a, T: Deserialize<'a>>(text: &'a str) -> Result<(T, usize), Broken> {
    let mut values = Deserializer::from_str(text).into_iter::<T>();
    match values.next() {
        Some(Ok(value)) => Ok((value, values.byte_offset())),
        Some(Err(error)) => Err(Broken { offset: error_offset(text, &error), error, is_reported: false }),
        None => Err(Broken {
            offset: text.len(),
            error: serde_json::from_str::<IgnoredAny>("").err().unwrap_or_else(custom_error),
            is_reported: false,
        }),
    }
}

/// Lets the parser word it: a lone opening bracket ends too early, any other text is out of place.
fn out_of_place(offset: usize, is_end: bool) -> Broken {
    let sample = if is_end { "[0" } else { "[0 0]" };
    let error = next::<IgnoredAny>(sample).err().map_or_else(custom_error, |broken| broken.error);
    Broken { offset, error, is_reported: false }
}

fn custom_error() -> Error {
    serde::de::Error::custom("unexpected text")
}

/// The parser tells line and column, counted from 1 and in bytes.
fn error_offset(text: &str, error: &Error) -> usize {
    let lines_before = error.line().saturating_sub(1);
    let line_start = match lines_before.checked_sub(1) {
        None => 0,
        Some(nth) => memchr::memchr_iter(b'\n', text.as_bytes()).nth(nth).map_or(text.len(), |at| at + 1),
    };
    (line_start + error.column().saturating_sub(1)).min(text.len())
}

fn malformed(error: &Error) -> Rejection {
    let message = error.to_string();
    // Line and column are those of a part of the text; the place is told otherwise.
    let what = message.split(" at line ").next().unwrap_or_default();
    Rejection::new(RejectReason::MalformedJson, what.to_owned())
}

/// Whether the first key of an object is the one that holds records.
fn is_wrapper(text: &str) -> bool {
    let rest = &text[skip_whitespace(text, 1)..];
    rest.starts_with("\"Records\"") || rest.starts_with("\"Events\"")
}

/// The start of the first line after `broken_at` that begins with a whole JSON object.
fn next_line_of_json(text: &str, broken_at: usize) -> Option<usize> {
    // The parser's offset may lie within a character.
    let from = text.as_bytes().get(broken_at..)?;
    for offset in memchr::memchr_iter(b'\n', from) {
        let start = broken_at + offset + 1;
        let line = text[start..].lines().next().unwrap_or_default();
        let starts_object = line.trim_start().starts_with('{');
        if starts_object && next::<IgnoredAny>(line).is_ok() {
            return Some(start);
        }
    }
    None
}

/// Where the element that `bytes` start with ends, by its brackets alone: before the comma, the bracket of the array
/// or the next object. `None` when the brackets do not match.
fn element_end(bytes: &[u8]) -> Option<usize> {
    let mut closers = Vec::new();
    let mut has_closed = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at + 1),
            b',' | b']' if closers.is_empty() => return Some(at),
            b'{' if closers.is_empty() && has_closed => return Some(at),
            b'{' => closers.push(b'}'),
            b'[' => closers.push(b']'),
            b'}' | b']' => {
                if closers.pop() != Some(byte) {
                    return None;
                }
                has_closed |= closers.is_empty();
            }
            _ => {}
        }
        at += 1;
    }
    (has_closed && closers.is_empty() && at == bytes.len()).then_some(at)
}

/// Whether an element of an array may start behind `before`: after a comma or an object, or as a line.
fn may_start_element(before: &[u8]) -> bool {
    // No more is looked at than a line's indent, so that blanks are not walked over for every brace.
    let tail = &before[before.len().saturating_sub(INDENT_BYTES_MAX)..];
    let end = tail.trim_ascii_end();
    matches!(end.last(), Some(b',' | b'}')) || tail[end.len()..].contains(&b'\n')
}

const INDENT_BYTES_MAX: usize = 64;

fn skip_whitespace(text: &str, at: usize) -> usize {
    let rest = text.as_bytes().get(at..).unwrap_or_default();
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    at + rest.iter().position(|byte| !is_space(byte)).unwrap_or(rest.len())
}
