//! Why something was not read, and the list of what was not.

use std::collections::BTreeMap;
use std::fmt;

use crate::limits::Limits;

/// Why a file, a line or a record was not read. The names are stable: reports and scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RejectReason {
    MalformedJson,
    InvalidUtf8,
    /// A required field is absent; the detail names it.
    MissingField,
    /// A required field holds something else; the detail names it.
    InvalidField,
    TooDeep,
    RecordTooLarge,
    LineTooLong,
    DocumentTooLarge,
    InflatedTooLarge,
    TruncatedGzip,
    CorruptGzip,
    /// Bytes behind a whole gzip that are neither padding nor another one.
    TrailingData,
    /// Well-formed, but nothing of a CloudTrail record is in it.
    NotCloudtrail,
    NotFound,
    Unreadable,
    SymlinkLoop,
    EmptyFile,
    EmptyFolder,
    /// Well-formed and of a known shape, with no record in it. Set aside, yet listed: it tells why nothing was read.
    Empty,
    /// A digest file: it proves integrity and holds no events.
    Digest,
    /// A CloudTrail Insights event: a measurement, not a call.
    Insight,
    /// A file of a folder whose name does not end in `.json`, `.jsonl` or `.gz`.
    OtherExtension,
    /// A pipe, socket or device within a folder.
    NotRegularFile,
    /// A request has more records than one may have; from the named one on, none of its document was taken.
    TooManyRecords,
    /// Reading ended in a defect of ours; what came before it in its document was taken.
    Defect,
}

impl RejectReason {
    pub fn name(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::MissingField => "missing_field",
            Self::InvalidField => "invalid_field",
            Self::TooDeep => "too_deep",
            Self::RecordTooLarge => "record_too_large",
            Self::LineTooLong => "line_too_long",
            Self::DocumentTooLarge => "document_too_large",
            Self::InflatedTooLarge => "inflated_too_large",
            Self::TruncatedGzip => "truncated_gzip",
            Self::CorruptGzip => "corrupt_gzip",
            Self::TrailingData => "trailing_data",
            Self::NotCloudtrail => "not_cloudtrail",
            Self::NotFound => "not_found",
            Self::Unreadable => "unreadable",
            Self::SymlinkLoop => "symlink_loop",
            Self::EmptyFile => "empty_file",
            Self::EmptyFolder => "empty_folder",
            Self::Empty => "empty",
            Self::Digest => "digest",
            Self::Insight => "insight",
            Self::OtherExtension => "other_extension",
            Self::NotRegularFile => "not_regular_file",
            Self::TooManyRecords => "too_many_records",
            Self::Defect => "defect",
        }
    }

    /// Recognised and left aside on purpose: counted apart, and not listed as a problem but for [`RejectReason::Empty`].
    pub fn is_set_aside(self) -> bool {
        matches!(self, Self::Empty | Self::Digest | Self::Insight | Self::OtherExtension | Self::NotRegularFile)
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where in its file something was found, counted from 1; 0 where the count does not apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, for line-delimited input.
    pub line: u64,
    /// The record within its line or document.
    pub record: u64,
}

/// Something that was not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Path as given or found, control characters escaped.
    pub file: String,
    pub place: Place,
    pub reason: RejectReason,
    /// At most [`Limits::detail_bytes_max`] bytes, control characters escaped.
    pub detail: String,
}

/// Counts by reason, and the first problems by file and place, whatever order they were met in.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counts: BTreeMap<RejectReason, u64>,
    problems: BTreeMap<(Problem, u64), ()>,
    problems_max: usize,
    detail_bytes_max: usize,
}

impl Tally {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { problems_max: limits.problems_max, detail_bytes_max: limits.detail_bytes_max, ..Self::default() }
    }

    pub(crate) fn add(&mut self, file: &str, place: Place, reason: RejectReason, detail: &str) {
        *self.counts.entry(reason).or_default() += 1;
        let is_listed = !reason.is_set_aside() || reason == RejectReason::Empty;
        if !is_listed || self.is_beyond(file, place) {
            return;
        }
        let problem =
            Problem { file: file.to_owned(), place, reason, detail: printable(detail, self.detail_bytes_max) };
        self.insert(problem);
    }

    pub(crate) fn absorb(&mut self, other: Self) {
        for (reason, count) in other.counts {
            *self.counts.entry(reason).or_default() += count;
        }
        for ((problem, _), ()) in other.problems {
            self.insert(problem);
        }
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_keys().map(|(problem, _)| problem).collect()
    }

    fn insert(&mut self, problem: Problem) {
        // Equal problems (a file named twice) are kept apart by a running number.
        let mut number = 0;
        while self.problems.contains_key(&(problem.clone(), number)) {
            number += 1;
        }
        self.problems.insert((problem, number), ());
        if self.problems.len() > self.problems_max {
            self.problems.pop_last();
        }
    }

    fn is_beyond(&self, file: &str, place: Place) -> bool {
        self.problems.len() >= self.problems_max
            && self
                .problems
                .last_key_value()
                .is_none_or(|((last, _), ())| (file, place) > (last.file.as_str(), last.place))
    }
}

/// `text` with control characters escaped, cut to `bytes_max` at a character.
pub(crate) fn printable(text: &str, bytes_max: usize) -> String {
    let mut printable = String::new();
    for character in text.chars() {
        let start = printable.len();
        // Also what reorders text on a terminal.
        if character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
        if printable.len() > bytes_max {
            printable.truncate(start);
            break;
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_first_problems_whatever_the_order() {
        let limits = Limits { problems_max: 3, ..Limits::default() };
        let place = |line| Place { line, record: 0 };
        let tally = |lines: &[u64]| {
            let mut tally = Tally::new(&limits);
            for &line in lines {
                tally.add("a", place(line), RejectReason::MalformedJson, "x");
            }
            tally
        };
        let mut merged = tally(&[9, 2, 7, 7, 1]);
        merged.absorb(tally(&[3, 8]));
        assert_eq!(merged.counts[&RejectReason::MalformedJson], 7);
        let lines: Vec<u64> = merged.into_problems().iter().map(|problem| problem.place.line).collect();
        assert_eq!(lines, [1, 2, 3]);
    }

    #[test]
    fn a_detail_is_cut_and_escaped() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}", 200), "a\\u{1b}[2Jb\\u{202e}");
        assert_eq!(printable("ééé", 5), "éé");
        assert_eq!(printable("a\nb", 2), "a");
    }
}
