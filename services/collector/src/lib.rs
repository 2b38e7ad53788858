//! Reads CloudTrail in every delivered shape: capped, counted, deduplicated, and handed out in event-time order.
//!
//! [`collect`] and [`Collected::in_order`] are the whole surface. What can be read is read; what cannot is counted by reason in the
//! [`Summary`], and never stops the rest. The result does not depend on the order of files or on threads.

mod duplicates;
mod feed;
mod limits;
mod merge;
mod normalise;
mod parse;
mod reason;
pub mod service;
mod shape;
mod source;
mod store;
mod walk;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::NonZeroUsize;

use trailwarden_core::activity::Observation;
use trailwarden_core::time::Timestamp;

pub use crate::limits::Limits;
pub use crate::reason::{Place, Problem, RejectReason};
pub use crate::source::Input;
pub use crate::worker::Observe;

use crate::reason::Tally;
use crate::worker::Shared;

/// How to read.
#[derive(Clone, Debug)]
pub struct Options {
    pub limits: Limits,
    pub threads: NonZeroUsize,
    /// The time of the start; events more than five minutes later are counted as future.
    pub now: Timestamp,
}

/// How far reading has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub files_done: u64,
    pub files_total: u64,
    /// Bytes as they lie on disk, before inflation.
    pub bytes_done: u64,
    /// 0 where no size is known (standard input).
    pub bytes_total: u64,
    /// Records read so far, accepted or not.
    pub records: u64,
}

/// What was read and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files opened.
    pub files: u64,
    /// Bytes read, before inflation.
    pub bytes_read: u64,
    /// Bytes after inflation.
    pub bytes_inflated: u64,
    /// Records seen: accepted or rejected, without what was set aside.
    pub records: u64,
    /// Events handed out: distinct by event id.
    pub events: u64,
    /// Accepted records beyond the first of their event id.
    pub duplicates: u64,
    /// Duplicates whose content differs from the record that was handed out.
    pub conflicting: u64,
    /// Accepted records (duplicates too) more than five minutes in the future.
    pub future: u64,
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Recognised and left aside: digests, Insights events, files with other extensions.
    pub set_aside: BTreeMap<RejectReason, u64>,
    /// The first problems by file and place; all of them are in `rejected`.
    pub problems: Vec<Problem>,
    /// Sorted runs written to a temporary file because memory was full.
    pub runs_spilled: u64,
}

impl Summary {
    /// Everything that was rejected, whatever the reason.
    pub fn rejections(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// Why collecting stopped. What is wrong with the input never does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Ours or the machine's: no room for temporary files. Retry with room or with more memory.
    #[error("cannot write observations to a temporary file")]
    Spill(#[source] io::Error),
    /// Ours: an observation cannot be written or read back.
    #[error("cannot encode an observation")]
    Encoding(#[source] postcard::Error),
    /// More than 4 billion records in one run; a smaller memory bound makes smaller runs.
    #[error("too many records for one run")]
    TooMany,
    /// Another thread failed first.
    #[error("stopped because another thread failed")]
    Stopped,
}

/// Reads all of `inputs` with `options.threads` threads. Events are handed out by [`Collected::in_order`].
///
/// `observe` turns each record into what is kept of it; it must be a function of its arguments, else the choice
/// among duplicates is not deterministic. `progress` is called from the reading threads, about once a megabyte.
///
/// # Errors
/// Only for failures of temporary files or encoding. An empty [`Summary`] is a result.
pub fn collect(
    inputs: &[Input],
    options: &Options,
    observe: &impl Observe,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Collected, Error> {
    let mut tally = Tally::new(&options.limits);
    let sources = source::discover(inputs, &mut tally);
    let shared = Shared::new(&sources, options, observe, progress);
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads.get()).map(|_| scope.spawn(|| shared.work())).collect();
        let joined = threads.into_iter().map(|thread| {
            // A panic is a defect of ours or of the caller's hook, and goes on as one.
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        joined.collect()
    });
    let mut summary = Summary { files: sources.len() as u64, bytes_read: shared.bytes_read(), ..Summary::default() };
    let (mut runs, mut occurrences, mut accounts) = (Vec::new(), Vec::new(), BTreeMap::<String, u64>::new());
    for found in first_failure(results)? {
        summary.events += found.accepted;
        summary.records += found.accepted + found.rejected;
        summary.future += found.future;
        summary.bytes_inflated += found.bytes_inflated;
        summary.runs_spilled += found.runs.len() as u64 - 1;
        tally.absorb(found.tally);
        runs.extend(found.runs);
        occurrences.push(found.occurrences);
        for (account, count) in found.accounts {
            *accounts.entry(account).or_default() += count;
        }
        worker::keep_first_accounts(&mut accounts);
    }
    accounts.retain(|_, records| *records >= Collected::ACCOUNT_RECORDS_MIN);
    let accounts = accounts.into_keys().collect();
    let losers = duplicates::find(occurrences, options.threads);
    summary.duplicates = losers.duplicates;
    summary.conflicting = losers.conflicting;
    summary.events -= losers.duplicates;
    (summary.set_aside, summary.rejected) = tally.counts.iter().partition(|(reason, _)| reason.is_set_aside());
    summary.problems = tally.into_problems();
    Ok(Collected { summary, accounts, runs, losers, buffer_bytes: options.limits.memory_bytes_max / 4 })
}

/// All that was read, in memory and temporary files.
pub struct Collected {
    summary: Summary,
    accounts: BTreeSet<String>,
    runs: Vec<store::Run>,
    losers: duplicates::Losers,
    buffer_bytes: usize,
}

impl Collected {
    /// What was read and what was not.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The accounts whose trails were read: each the recipient of at least [`Collected::ACCOUNT_RECORDS_MIN`]
    /// successful records, among the first [`Collected::ACCOUNTS_MAX`] by number.
    pub fn accounts(&self) -> &BTreeSet<String> {
        &self.accounts
    }

    pub const ACCOUNTS_MAX: usize = 10_000;
    /// One stray record must not make a stranger's account the operator's own.
    pub const ACCOUNT_RECORDS_MIN: u64 = 3;

    /// Calls `each` for every distinct event in the order of event time and event id.
    ///
    /// # Errors
    /// Failures of temporary files or encoding.
    pub fn in_order(self, mut each: impl FnMut(Observation<'_>)) -> Result<Summary, Error> {
        merge::merge(self.runs, &self.losers, self.buffer_bytes, &mut each)?;
        Ok(self.summary)
    }
}

/// What the threads found, or the failure that made the others stop.
fn first_failure(results: Vec<Result<worker::Found, Error>>) -> Result<Vec<worker::Found>, Error> {
    let mut found = Vec::with_capacity(results.len());
    let mut failure = None;
    for result in results {
        match result {
            Ok(one) => found.push(one),
            Err(Error::Stopped) if failure.is_some() => {}
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(found), Err)
}
