//! The threads that read: each takes a file or a chunk of one, parses it, and keeps what it found.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};

use trailwarden_core::activity::{Activity, Observation};
use trailwarden_core::record::RecordView;
use trailwarden_core::time::{MINUTE_MS, Timestamp};

use crate::duplicates::Occurrences;
use crate::feed::{Lines, Piece, feed};
use crate::limits::Limits;
use crate::normalise::with_activity;
use crate::parse::{Record, Rejection};
use crate::reason::{Place, RejectReason, Tally};
use crate::shape::Sink;
use crate::source::{Source, Stream};
use crate::store::{Run, Store};
use crate::{Error, Options, Progress, walk};

/// Turns a record into what is kept of it. Called from several threads.
pub trait Observe: Sync {
    fn observe<'a>(&self, view: &RecordView<'a>, activity: Activity<'a>) -> Observation<'a>;
}

/// Events later than this beyond now are counted as future.
const FUTURE_MS: i64 = 5 * MINUTE_MS;

/// What all threads share.
pub(crate) struct Shared<'s, O> {
    pub(crate) sources: &'s [Source<'s>],
    pub(crate) options: &'s Options,
    pub(crate) observe: &'s O,
    pub(crate) progress: &'s (dyn Fn(Progress) + Sync),
    pub(crate) bytes_total: u64,
    desk: Mutex<Desk>,
    /// Signalled when the desk changes.
    changed: Condvar,
    large_document: Mutex<()>,
    has_failed: AtomicBool,
    bytes_done: AtomicU64,
    records_done: AtomicU64,
    files_done: AtomicU64,
    runs: AtomicU32,
}

/// Work to be taken. Chunks go first, so that little waits in memory.
#[derive(Default)]
struct Desk {
    next_source: usize,
    chunks: VecDeque<(usize, Lines)>,
    /// Threads that read a file and may yet put chunks here.
    readers: usize,
}

enum Work {
    Source(usize),
    Lines(usize, Lines),
    Done,
}

/// What a thread found.
pub(crate) struct Found {
    pub(crate) runs: Vec<Run>,
    pub(crate) occurrences: Occurrences,
    pub(crate) tally: Tally,
    pub(crate) accepted: u64,
    pub(crate) future: u64,
    pub(crate) rejected: u64,
    pub(crate) bytes_inflated: u64,
    pub(crate) accounts: BTreeMap<String, u64>,
}

impl<'s, O: Observe> Shared<'s, O> {
    pub(crate) fn new(
        sources: &'s [Source<'s>],
        options: &'s Options,
        observe: &'s O,
        progress: &'s (dyn Fn(Progress) + Sync),
    ) -> Self {
        Self {
            sources,
            options,
            observe,
            progress,
            bytes_total: sources.iter().map(|source| source.bytes).sum(),
            desk: Mutex::default(),
            changed: Condvar::new(),
            large_document: Mutex::new(()),
            has_failed: AtomicBool::new(false),
            bytes_done: AtomicU64::new(0),
            records_done: AtomicU64::new(0),
            files_done: AtomicU64::new(0),
            runs: AtomicU32::new(0),
        }
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_done.load(Ordering::Relaxed)
    }

    /// Works until nothing is left.
    pub(crate) fn work(&self) -> Result<Found, Error> {
        let mut worker = Worker::new(self);
        let result = worker.run();
        if result.is_err() {
            self.has_failed.store(true, Ordering::Relaxed);
            self.changed.notify_all();
        }
        result.map(|()| worker.finish())
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // The desk is whole between any two statements, so a panic elsewhere leaves it usable.
        self.desk.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn take(&self) -> Work {
        let mut desk = self.desk();
        loop {
            if self.has_failed.load(Ordering::Relaxed) {
                return Work::Done;
            }
            if let Some((source, lines)) = desk.chunks.pop_front() {
                return Work::Lines(source, lines);
            }
            if desk.next_source < self.sources.len() {
                desk.next_source += 1;
                desk.readers += 1;
                return Work::Source(desk.next_source - 1);
            }
            if desk.readers == 0 {
                return Work::Done;
            }
            desk = self.changed.wait(desk).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Puts a chunk where another thread can take it; gives it back when enough wait already.
    fn offer(&self, source: usize, lines: Lines) -> Option<Lines> {
        let threads = self.options.threads.get();
        let mut desk = self.desk();
        if threads == 1 || desk.chunks.len() >= 2 * threads {
            return Some(lines);
        }
        desk.chunks.push_back((source, lines));
        self.changed.notify_one();
        None
    }

    fn report(&self) {
        (self.progress)(Progress {
            files_done: self.files_done.load(Ordering::Relaxed),
            files_total: self.sources.len() as u64,
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
            bytes_total: self.bytes_total,
            records: self.records_done.load(Ordering::Relaxed),
        });
    }
}

/// Takes a reader off the desk however its file ends.
struct Reading<'d>(&'d Mutex<Desk>, &'d Condvar);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).readers -= 1;
        self.1.notify_all();
    }
}

struct Worker<'w, O> {
    shared: &'w Shared<'w, O>,
    gatherer: Gatherer<'w, O>,
    bytes_inflated: u64,
}

/// Where the records of one thread go.
struct Gatherer<'w, O> {
    accounts: BTreeMap<String, u64>,
    observe: &'w O,
    limits: &'w Limits,
    now: Timestamp,
    /// The file that is being read.
    file: &'w str,
    store: Store<'w>,
    tally: Tally,
    accepted: u64,
    future: u64,
    /// Records that are none, without what was set aside.
    rejected: u64,
    /// Whatever was found: accepted, rejected or set aside.
    found: u64,
    failure: Option<Error>,
}

impl<'w, O: Observe> Worker<'w, O> {
    fn new(shared: &'w Shared<'w, O>) -> Self {
        let options = shared.options;
        let bytes_max = options.limits.memory_bytes_max / options.threads;
        Self {
            shared,
            gatherer: Gatherer {
                observe: shared.observe,
                limits: &options.limits,
                now: options.now,
                file: "",
                store: Store::new(bytes_max, &shared.runs),
                tally: Tally::new(&options.limits),
                accepted: 0,
                future: 0,
                rejected: 0,
                accounts: BTreeMap::new(),
                found: 0,
                failure: None,
            },
            bytes_inflated: 0,
        }
    }

    fn run(&mut self) -> Result<(), Error> {
        loop {
            match self.shared.take() {
                Work::Source(source) => self.read(source)?,
                Work::Lines(source, lines) => self.lines(source, lines)?,
                Work::Done => return Ok(()),
            }
        }
    }

    fn finish(self) -> Found {
        let (runs, occurrences) = self.gatherer.store.finish();
        Found {
            runs,
            occurrences,
            tally: self.gatherer.tally,
            accepted: self.gatherer.accepted,
            future: self.gatherer.future,
            rejected: self.gatherer.rejected,
            bytes_inflated: self.bytes_inflated,
            accounts: self.gatherer.accounts,
        }
    }

    fn read(&mut self, number: usize) -> Result<(), Error> {
        let _reading = Reading(&self.shared.desk, &self.shared.changed);
        let shared = self.shared;
        let source = &shared.sources[number];
        let read = AtomicU64::new(0);
        let mut told = 0;
        let limits = &shared.options.limits;
        match Stream::open(&source.origin, limits, &read) {
            Err(error) => {
                self.reject(number, Place::default(), Rejection::new(RejectReason::Unreadable, error.to_string()))
            }
            Ok(mut stream) => feed(&mut stream, limits, &shared.large_document, |piece| {
                let now_read = read.load(Ordering::Relaxed);
                shared.bytes_done.fetch_add(now_read - told, Ordering::Relaxed);
                told = now_read;
                self.piece(number, piece)
            })?,
        }
        shared.bytes_done.fetch_add(read.load(Ordering::Relaxed) - told, Ordering::Relaxed);
        shared.files_done.fetch_add(1, Ordering::Relaxed);
        shared.report();
        Ok(())
    }

    fn piece(&mut self, source: usize, piece: Piece) -> Result<(), Error> {
        match piece {
            Piece::Rejected(place, rejection) => {
                self.reject(source, place, rejection);
                Ok(())
            }
            Piece::Lines(lines) if lines.has_more => match self.shared.offer(source, lines) {
                Some(lines) => self.lines(source, lines),
                None if self.shared.has_failed.load(Ordering::Relaxed) => Err(Error::Stopped),
                None => Ok(()),
            },
            Piece::Lines(lines) => self.lines(source, lines),
            Piece::Document { bytes, is_cut } => self.document(source, bytes, is_cut),
        }
    }

    fn reject(&mut self, source: usize, place: Place, rejection: Rejection) {
        self.gatherer.file = &self.shared.sources[source].name;
        self.gatherer.reject(place, rejection);
    }

    fn lines(&mut self, source: usize, lines: Lines) -> Result<(), Error> {
        self.begin(source, lines.bytes.len());
        let (before, found_before) = (self.gatherer.seen(), self.gatherer.found);
        let is_whole_file = lines.first == 1 && !lines.has_more && !lines.is_cut;
        walk::lines(&lines, self.gatherer.limits, &mut self.gatherer);
        self.set_aside_empty(is_whole_file, found_before);
        self.end(before)
    }

    fn document(&mut self, source: usize, bytes: Vec<u8>, is_cut: bool) -> Result<(), Error> {
        self.begin(source, bytes.len());
        let (before, found_before) = (self.gatherer.seen(), self.gatherer.found);
        walk::document(bytes, is_cut, self.gatherer.limits, &mut self.gatherer);
        self.set_aside_empty(!is_cut, found_before);
        self.end(before)
    }

    /// Lists a file in which nothing was found, neither a record nor a problem.
    fn set_aside_empty(&mut self, is_whole_file: bool, found_before: u64) {
        if is_whole_file && self.gatherer.found == found_before {
            self.gatherer.reject(Place::default(), Rejection::new(RejectReason::Empty, "no record in it"));
        }
    }

    fn begin(&mut self, source: usize, bytes: usize) {
        self.gatherer.file = &self.shared.sources[source].name;
        self.bytes_inflated += bytes as u64;
    }

    fn end(&mut self, seen_before: u64) -> Result<(), Error> {
        let seen = self.gatherer.seen() - seen_before;
        self.shared.records_done.fetch_add(seen, Ordering::Relaxed);
        self.shared.report();
        self.gatherer.failure.take().map_or(Ok(()), Err)
    }
}

impl<O: Observe> Gatherer<'_, O> {
    fn seen(&self) -> u64 {
        self.accepted + self.rejected
    }
}

impl<O> Gatherer<'_, O> {
    /// Counts a successful event of an account's trail.
    fn meet(&mut self, account: &str) {
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        if !is_account {
            return;
        }
        match self.accounts.get_mut(account) {
            Some(count) => *count += 1,
            None => {
                self.accounts.insert(account.to_owned(), 1);
                keep_first_accounts(&mut self.accounts);
            }
        }
    }
}

/// Bounds the accounts by their order, not by when they were met, so that threads do not change which are kept:
/// one of the first of all threads is among the first of each, and so its count is whole.
pub(crate) fn keep_first_accounts(accounts: &mut BTreeMap<String, u64>) {
    while accounts.len() > crate::Collected::ACCOUNTS_MAX {
        accounts.pop_last();
    }
}

impl<O: Observe> Sink for Gatherer<'_, O> {
    fn record(&mut self, place: Place, raw: &str, record: &Record<'_>) {
        let event_time = match record.check(raw, self.limits) {
            Ok(event_time) => event_time,
            Err(rejection) => return self.reject(place, rejection),
        };
        self.accepted += 1;
        self.found += 1;
        self.future += u64::from(event_time.since_ms(self.now) > FUTURE_MS);
        let has_succeeded = record.error_code.get().is_none_or(str::is_empty);
        if let Some(account) = record.recipient_account_id.get().filter(|_| has_succeeded) {
            self.meet(account);
        }
        let (observe, store) = (self.observe, &mut self.store);
        let pushed =
            with_activity(raw, record, event_time, |view, activity| store.push(&observe.observe(view, activity)));
        if let Err(error) = pushed {
            self.failure.get_or_insert(error);
        }
    }

    fn reject(&mut self, place: Place, rejection: Rejection) {
        self.found += 1;
        self.rejected += u64::from(!rejection.reason.is_set_aside() && place != Place::default());
        self.tally.add(self.file, place, rejection.reason, &rejection.detail);
    }
}
