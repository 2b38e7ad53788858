//! Capsules taken from a scan's input: it is read a second time, and the events of the cases wanted are followed.
//!
//! A first pass tells which events make which case; only the second can keep their raw records and what was known before
//! each, without keeping those of all events. Both passes are the same functions, so they come to the same cases, and each
//! capsule is judged again before it is handed out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use trailwarden_collector::{Input, Observe, collect};
use trailwarden_core::activity::{Activity, Observation};
use trailwarden_core::case::Case;
use trailwarden_core::hash::hash64;
use trailwarden_core::record::RecordView;
use trailwarden_core::time::Timestamp;
use trailwarden_pipeline::capsule::{Capsule, EVENTS_MAX, Trace};
use trailwarden_pipeline::{Engine, Observer};

use super::{Error, about, decision, heard, replay};
use crate::scan::{CLOCK_SKEW_MS, Scanner};

/// Different records of one event id that are kept until it is known which counts.
const VARIANTS_MAX: usize = 8;

/// A case that is to become a capsule.
#[derive(Clone, Debug)]
pub struct Wanted {
    case_id: String,
    event_ids: BTreeSet<String>,
    /// What models said of it, where they were asked.
    transcript: Option<String>,
}

impl Wanted {
    /// # Errors
    /// When the case has more events than a capsule holds.
    pub fn of(case: &Case) -> Result<Self, Error> {
        let ids = case.signals.iter().map(|signal| &signal.event_id).chain(&case.further_event_ids);
        let event_ids: BTreeSet<String> = ids.cloned().collect();
        match event_ids.len() {
            0..=EVENTS_MAX => Ok(Self { case_id: case.id.clone(), event_ids, transcript: None }),
            events => Err(Error::TooManyEvents { events }),
        }
    }

    /// With what models said of the case elsewhere, as the log of the case keeps it; empty where none was asked.
    pub fn with_transcript(self, transcript: String) -> Self {
        Self { transcript: Some(transcript).filter(|text| !text.is_empty()), ..self }
    }

    pub fn events(&self) -> usize {
        self.event_ids.len()
    }
}

/// A capsule's bytes, or why there is none.
#[derive(Debug)]
pub struct Taken {
    pub case_id: String,
    pub capsule: Result<Vec<u8>, Error>,
}

/// The case of this id in a scan of these inputs, whatever its verdict.
///
/// # Errors
/// When temporary space is lacking.
pub fn find(scanner: &Scanner, inputs: &[Input], now: Timestamp, id: &str) -> Result<Option<Case>, Error> {
    let collected = collect(inputs, &scanner.options(now), &scanner.observer(), &|_| {})?;
    let mut engine = scanner.engine(now, collected.accounts());
    let mut found = None;
    let mut look = |cases: Vec<Case>| {
        let case = cases.into_iter().find(|case| case.id == id);
        found = found.take().or(case);
    };
    collected.in_order(|observation| look(engine.step(observation).cases))?;
    look(engine.finish());
    Ok(found)
}

/// Reads the inputs again and hands out a capsule for each case wanted, as it ends.
///
/// # Errors
/// When temporary space is lacking.
pub fn take(
    scanner: &Scanner,
    inputs: &[Input],
    now: Timestamp,
    wanted: &[Wanted],
    mut each: impl FnMut(Taken),
) -> Result<(), Error> {
    let mut owners = BTreeMap::new();
    for (place, case) in wanted.iter().enumerate() {
        owners.extend(case.event_ids.iter().map(|id| (id.as_str(), place)));
    }
    let spool = Spool::new().map_err(Error::Spool)?;
    let keeping = Keeping { observer: scanner.observer(), owners: &owners, spool: Mutex::new(spool) };
    let collected = collect(inputs, &scanner.options(now), &keeping, &|_| {})?;
    let spool = keeping.spool.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = spool.failure {
        return Err(Error::Spool(error));
    }
    let mut engine = scanner.engine(now, collected.accounts());
    let accounts = scanner.own_accounts().union(collected.accounts()).cloned().collect();
    let mut taking = Taking {
        scanner,
        horizon: now.plus_ms(CLOCK_SKEW_MS),
        accounts,
        spool,
        open: wanted.iter().map(|case| Some((case, Trace::default(), Vec::new()))).collect(),
    };
    collected.in_order(|observation| {
        let cases = match owners.get(observation.activity.event_id).and_then(|place| taking.open[*place].as_mut()) {
            Some((_, trace, events)) => {
                events.push((observation.activity.event_id.to_owned(), content(&observation)));
                trace.step(&mut engine, observation).cases
            }
            None => engine.step(observation).cases,
        };
        cases.into_iter().filter_map(|case| taking.ended(&mut engine, case)).for_each(&mut each);
    })?;
    let last = engine.finish();
    last.into_iter().filter_map(|case| taking.ended(&mut engine, case)).for_each(&mut each);
    for (case, _, _) in taking.open.into_iter().flatten() {
        each(Taken { case_id: case.case_id.clone(), capsule: Err(Error::Changed) });
    }
    Ok(())
}

/// A case wanted, with what passed of it: event ids, each with its record's content.
type Open<'w> = (&'w Wanted, Trace, Vec<(String, u64)>);

struct Taking<'w> {
    scanner: &'w Scanner,
    horizon: Timestamp,
    accounts: BTreeSet<String>,
    spool: Spool,
    open: Vec<Option<Open<'w>>>,
}

impl Taking<'_> {
    /// Seals a case that has ended, if it is one of those wanted.
    fn ended(&mut self, engine: &mut Engine<'_>, case: Case) -> Option<Taken> {
        let is_it = |open: &Option<Open<'_>>| open.as_ref().is_some_and(|(wanted, _, _)| wanted.case_id == case.id);
        let place = self.open.iter().position(is_it)?;
        let (wanted, mut trace, events) = self.open[place].take()?;
        let case_id = case.id.clone();
        let transcript = wanted.transcript.clone();
        Some(Taken { case_id, capsule: self.sealed(engine, &mut trace, case, &events, transcript) })
    }

    fn sealed(
        &mut self,
        engine: &mut Engine<'_>,
        trace: &mut Trace,
        case: Case,
        events: &[(String, u64)],
        transcript: Option<String>,
    ) -> Result<Vec<u8>, Error> {
        let before = trace.before(engine, &case)?;
        // The clock is told only where it mattered, so that the same input gives the same capsule.
        let horizon = self.horizon.min(case.last_event_time);
        let records = self.spool.document(events)?;
        let mut finding = self.scanner.finding(case);
        if let Some(transcript) = &transcript {
            finding = heard(self.scanner, &finding, transcript)?.map_err(Error::Diverged)?;
        }
        let decided = decision(self.scanner, &finding)?;
        let about = about(self.scanner, &finding, &decided, horizon, &self.accounts);
        let sources = self.scanner.sources();
        let names = sources.rules.iter().enumerate();
        let capsule = Capsule {
            outcome: trace.outcome(self.scanner.rules(), &finding.case, decided),
            about,
            records,
            before,
            // Where the operator's files lie is nobody's business.
            rules: names.map(|(place, (_, text))| (format!("rule file {}", place + 1), text.clone())).collect(),
            bundle: sources.bundle.clone(),
            calibration: sources.calibration.clone(),
            transcript,
        };
        let bytes = capsule.to_bytes()?;
        let (read, _) = Capsule::from_bytes(&bytes)?;
        let again = replay(self.scanner, &read)?;
        match again.differences.first() {
            None => Ok(bytes),
            Some(difference) => Err(Error::Differs(difference.text.clone())),
        }
    }
}

/// Reads records as a scan does, and keeps the raw text of those wanted.
struct Keeping<'a> {
    observer: Observer<'a>,
    owners: &'a BTreeMap<&'a str, usize>,
    spool: Mutex<Spool>,
}

impl Observe for Keeping<'_> {
    fn observe<'a>(&self, view: &RecordView<'a>, activity: Activity<'a>) -> Observation<'a> {
        let observation = self.observer.observe(view, activity);
        if self.owners.contains_key(observation.activity.event_id) {
            let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
            spool.keep(observation.activity.event_id, content(&observation), view.raw());
        }
        observation
    }
}

/// What was read off a record, hashed: tells which of several records of one event id is the one that counts.
fn content(observation: &Observation<'_>) -> u64 {
    hash64(&serde_json::to_string(observation).unwrap_or_default())
}

/// Raw records in a temporary file.
struct Spool {
    file: File,
    end: u64,
    places: BTreeMap<String, Vec<Place>>,
    failure: Option<io::Error>,
}

#[derive(Clone, Copy)]
struct Place {
    content: u64,
    offset: u64,
    bytes: usize,
}

impl Spool {
    fn new() -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()?, end: 0, places: BTreeMap::new(), failure: None })
    }

    fn keep(&mut self, event_id: &str, content: u64, raw: &str) {
        let places = self.places.entry(event_id.to_owned()).or_default();
        if places.len() >= VARIANTS_MAX {
            return;
        }
        if let Err(error) = self.file.write_all(raw.as_bytes()) {
            self.failure.get_or_insert(error);
            return;
        }
        places.push(Place { content, offset: self.end, bytes: raw.len() });
        self.end += raw.len() as u64;
    }

    /// The records of these events as CloudTrail would deliver them.
    fn document(&mut self, events: &[(String, u64)]) -> Result<Vec<u8>, Error> {
        let mut document = b"{\"Records\":[".to_vec();
        for (number, (event_id, content)) in events.iter().enumerate() {
            let separator: &[u8] = if number == 0 { b"\n" } else { b",\n" };
            document.extend_from_slice(separator);
            document.extend(self.record(event_id, *content)?);
        }
        document.extend_from_slice(b"\n]}\n");
        Ok(document)
    }

    /// Records with equal content give equal output; of several, the same is taken in each run.
    fn record(&mut self, event_id: &str, content: u64) -> Result<Vec<u8>, Error> {
        let places = self.places.get(event_id).cloned().unwrap_or_default();
        let mut best: Option<Vec<u8>> = None;
        for place in places.iter().filter(|place| place.content == content) {
            let mut raw = vec![0; place.bytes];
            self.file.seek(SeekFrom::Start(place.offset)).map_err(Error::Spool)?;
            self.file.read_exact(&mut raw).map_err(Error::Spool)?;
            best = Some(best.map_or(raw.clone(), |best| best.min(raw)));
        }
        best.ok_or(Error::Changed)
    }
}
