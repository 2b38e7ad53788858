//! The replay capsule: one case with all that its judgement rests on, in one file, so that it can be judged again
//! elsewhere and any difference be named.
//!
//! It holds the raw records of the case's events and, for each, what the stages knew of the past just before it: its
//! principal's windows, the profiles of the baseline that it was compared with, the groups of correlations that it counted
//! in ([`moment`]). What the council was shown and said, the settings, foreign rules and a foreign model bundle go with it.
//! [`again`] takes the records through the same collector and the same [`Engine`] as a scan does; [`compare`] says, stage
//! by stage, what came out otherwise.
//!
//! A capsule is hostile input ([`file`]): whoever opens one did not make it.

pub mod difference;
pub mod file;
pub mod moment;
mod outcome;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trailwarden_collector::{Input, Observe, Options, collect};
use trailwarden_core::activity::Observation;
use trailwarden_core::case::{Case, HeldLink};
use trailwarden_core::detection::RuleSet;
use trailwarden_core::stored::at_most;

use crate::{Engine, Step};

pub use difference::{Difference, Stage, compare};
pub use moment::Moment;
pub use outcome::{Decided, Outcome, digest};

use moment::Shadow;
use outcome::{Observed, case_text, event_lines};

/// Events that a capsule holds at most.
pub const EVENTS_MAX: usize = 4_096;
/// Links between credentials that a capsule holds at most.
pub const LINKS_MAX: usize = 16_384;

/// A case as it was judged, and what it was judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct Capsule {
    pub about: About,
    /// The raw records as CloudTrail delivers them: `{"Records": [...]}`.
    pub records: Vec<u8>,
    pub before: Before,
    pub outcome: Outcome,
    /// The operator's own rules: name and text of each file.
    pub rules: Vec<(String, String)>,
    /// The model bundle, unless it is the one that ships with the program.
    pub bundle: Option<Vec<u8>>,
    /// The calibration that bounds came from, as a file holds it.
    pub calibration: Option<Vec<u8>>,
    /// What a model of language said, as the log of the case keeps it.
    pub transcript: Option<String>,
}

/// What was known before the case's events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// One for each event that was seen, in order.
    #[serde(deserialize_with = "at_most::<_, _, EVENTS_MAX>")]
    pub moments: Vec<Moment>,
    /// The links of the case's lineage.
    #[serde(deserialize_with = "at_most::<_, _, LINKS_MAX>")]
    pub links: Vec<HeldLink>,
}

/// What a person wants to know of a capsule, and what a replay needs beside its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Version of the program that made it.
    pub made_by: String,
    pub case_id: String,
    pub verdict: String,
    pub severity: String,
    /// SHA-256 over judgement and calls, hex.
    pub verdict_digest: String,
    /// Who answered for each role.
    pub brains: Vec<String>,
    pub events: usize,
    /// Of the feature schema, hex.
    pub features_digest: String,
    /// Of all rules and which of them were silenced, hex.
    pub rules_digest: String,
    /// Name of the model bundle that scored, if one did.
    pub model: Option<String>,
    /// Latest event time that was believed, in milliseconds since 1970.
    pub horizon_ms: i64,
    /// Accounts that counted as the operator's.
    pub accounts: Vec<String>,
    /// The settings that matter to a case, as a configuration file.
    pub settings: String,
}

/// Why a case was not made a capsule, or a capsule not replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input's: it is larger than a capsule may be.
    #[error("its {what} are more than the {most} that a capsule may hold")]
    TooMuch { what: &'static str, most: usize },
    /// The machine's: no room for temporary files.
    #[error(transparent)]
    Collect(#[from] trailwarden_collector::Error),
    #[error(transparent)]
    File(#[from] file::Error),
}

/// The events of one case as they pass through an engine, with what was known before each.
#[derive(Debug, Default)]
pub struct Trace {
    shadow: Shadow,
    moments: Vec<Moment>,
    observed: Vec<Observed>,
}

impl Trace {
    /// Takes an event of the case through all stages, as [`Engine::step`] does.
    pub fn step(&mut self, engine: &mut Engine<'_>, observation: Observation<'_>) -> Step {
        let activity = observation.activity.clone();
        let matches = observation.matches.clone();
        let mut observed = Observed::of(engine.rules(), &observation);
        let mut moment = self.shadow.before(engine, &activity, &matches);
        let step = engine.step(observation);
        observed.scored(&step);
        self.shadow.after(engine, &activity, &matches, &mut moment);
        self.moments.push(moment);
        self.observed.push(observed);
        step
    }

    /// What was known before the events of this case, which has just ended.
    ///
    /// # Errors
    /// When it is more than a capsule may hold.
    pub fn before(&mut self, engine: &mut Engine<'_>, case: &Case) -> Result<Before, Error> {
        let links = engine.gatherer.cases_mut().links_of(case);
        if links.len() > LINKS_MAX {
            return Err(Error::TooMuch { what: "links between credentials", most: LINKS_MAX });
        }
        Ok(Before { moments: std::mem::take(&mut self.moments), links })
    }

    /// What came of the case: the stages up to it, and what was decided.
    pub fn outcome(&self, rules: &RuleSet, case: &Case, decided: Decided) -> Outcome {
        Outcome { events: event_lines(rules, &self.observed, Some(case)), case: case_text(case), decided }
    }
}

/// What a replay came to before anybody judged it.
#[derive(Debug)]
pub struct Again {
    observed: Vec<Observed>,
    /// The case of the recorded id, else the one that has most events of it; `None` where no event became a signal.
    pub case: Option<Case>,
}

impl Again {
    /// What came of it; `decided` is empty where there is no case.
    pub fn outcome(&self, rules: &RuleSet, decided: Decided) -> Outcome {
        let case = self.case.as_ref();
        Outcome {
            events: event_lines(rules, &self.observed, case),
            case: case.map(case_text).unwrap_or_default(),
            decided,
        }
    }
}

/// Takes a capsule's records through all stages up to the case once more. `engine` is empty and was made with the capsule's
/// settings; `observe` is what reads records in a scan.
///
/// # Errors
/// When temporary space is lacking. What is wrong with the records shows in the outcome.
pub fn again(
    capsule: &Capsule,
    mut engine: Engine<'_>,
    observe: &impl Observe,
    options: &Options,
) -> Result<Again, Error> {
    // The file that a capsule holds is bounded by the capsule.
    let mut options = options.clone();
    options.limits.document_bytes_max = options.limits.document_bytes_max.max(file::RECORDS_BYTES_MAX);
    let records = Cow::Owned(capsule.records.clone());
    let input = Input::Memory { name: "records".to_owned(), bytes: records };
    let collected = collect(&[input], &options, observe, &|_| {})?;
    let moments: BTreeMap<&str, &Moment> =
        capsule.before.moments.iter().map(|moment| (moment.event_id.as_str(), moment)).collect();
    engine.gatherer.cases_mut().hold(&capsule.before.links);
    let (mut observed, mut cases) = (Vec::new(), Vec::new());
    collected.in_order(|observation| {
        // Whoever forged it may have put more in.
        if observed.len() == EVENTS_MAX {
            return;
        }
        if let Some(moment) = moments.get(observation.activity.event_id) {
            moment.restore(&mut engine, &observation.activity);
        }
        let mut seen = Observed::of(engine.rules(), &observation);
        let step = engine.step(observation);
        seen.scored(&step);
        observed.push(seen);
        cases.extend(step.cases);
    })?;
    cases.extend(engine.finish());
    let case = nearest(cases, &capsule.about.case_id, &observed);
    Ok(Again { observed, case })
}

/// The case of this id, else the one with most of these events.
fn nearest(cases: Vec<Case>, id: &str, observed: &[Observed]) -> Option<Case> {
    let shared = |case: &Case| {
        let holds = |event: &&Observed| case.signals.iter().any(|signal| signal.event_id == event.event_id);
        observed.iter().filter(holds).count()
    };
    cases.into_iter().max_by_key(|case| (case.id == id, shared(case)))
}
