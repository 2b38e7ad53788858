//! `scan`: from files to judged cases, in order of event time and in bounded memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashSet;
use trailwarden_collector::{Input, Observe, Options, Progress, Summary, collect};
use trailwarden_core::activity::{Activity, Observation};
use trailwarden_core::api::Vocabulary;
use trailwarden_core::baseline;
use trailwarden_core::case::{self, Case};
use trailwarden_core::detection::RuleSet;
use trailwarden_core::feature::SCHEMA_VERSION;
use trailwarden_core::gather::{WORTH_JUDGING, is_worth_judging};
use trailwarden_core::hash::hash64;
use trailwarden_core::language::Language;
use trailwarden_core::level::{Level, Severity};
use trailwarden_core::negotiation::calibration::{self, Calibration};
use trailwarden_core::negotiation::exchange::Ask;
use trailwarden_core::negotiation::{
    Judgement, Negotiation, Terms, freeze, negotiate, negotiate_deterministically, offers,
};
use trailwarden_core::plan::own::OwnPlaybook;
use trailwarden_core::record::RecordView;
use trailwarden_core::registry::Registry;
use trailwarden_core::time::{MINUTE_MS, Timestamp};
use trailwarden_pipeline::rescoring::Rescoring;
use trailwarden_pipeline::{Describer, Engine, Observer, explain};
use trailwarden_scorer::{Scorer, bundle};

use crate::case_lines::{CaseLines, HELD_BYTES_MAX};
use crate::config::{self, Config, Used};
use crate::event_lines::EventLines;
use crate::findings::{Finding, Findings, Reject};
use crate::lines::{EventLine, write_case};
use crate::ocsf::write_finding;
use crate::untrusted::name;
use crate::{own, rules};

/// Cases kept whole for the report and the terminal, the most urgent first. All of them go to `--cases`.
const FINDINGS_KEPT_MAX: usize = 200;
/// Accounts named in the report.
const ACCOUNTS_NAMED_MAX: usize = 1_000;
/// How far ahead of the clock an event may be before its time is not believed.
pub(crate) const CLOCK_SKEW_MS: i64 = 5 * MINUTE_MS;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Rules(#[from] rules::Error),
    #[error(transparent)]
    Playbooks(#[from] own::Error),
    #[error(transparent)]
    Collect(#[from] trailwarden_collector::Error),
    #[error("could not read the model bundle {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the model bundle{}", after(path.as_deref()))]
    Model { path: Option<PathBuf>, source: trailwarden_scorer::Error },
    #[error("could not read the calibration {}", path.display())]
    Uncalibrated { path: PathBuf, source: io::Error },
    #[error("the calibration{}", after(path.as_deref()))]
    Calibration { path: Option<PathBuf>, source: calibration::Invalid },
    #[error(
        "the calibration{} is of cases that {} weighed, and here it is {}: make one anew with `case calibrate`, or take it out",
        after(path.as_deref()),
        model_named(of.as_deref()),
        model_named(here.as_deref())
    )]
    OtherModel { path: Option<PathBuf>, of: Option<String>, here: Option<String> },
    #[error("could not write {what}")]
    Write { what: &'static str, source: io::Error },
}

/// What a scan works with, made once.
#[derive(Debug)]
pub struct Scanner {
    config: Config,
    sources: Sources,
    rules: Arc<RuleSet>,
    vocabulary: Arc<Vocabulary>,
    registry: Arc<Registry>,
    scorer: Option<Arc<Scorer>>,
    terms: Terms,
}

/// What the configuration names and does not hold itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    /// The operator's own rules: name and text of each file.
    pub rules: Vec<(String, String)>,
    /// The operator's own model bundle.
    pub bundle: Option<Vec<u8>>,
    /// The calibration, as a file holds it.
    pub calibration: Option<Vec<u8>>,
    /// The operator's own playbooks.
    pub playbooks: Vec<Arc<OwnPlaybook>>,
}

impl Sources {
    fn read(config: &Config) -> Result<Self, Error> {
        let capped = |path: &PathBuf, bytes_max| File::open(path).and_then(|file| read_capped(file, bytes_max));
        let path = config.model.bundle.as_ref().filter(|_| config.model.used != Used::None);
        let bundle = path.map(|path| {
            capped(path, bundle::BYTES_MAX).map_err(|source| Error::Unreadable { path: path.clone(), source })
        });
        let calibration = config.routing.calibration.as_ref().map(|path| {
            capped(path, calibration::BYTES_MAX).map_err(|source| Error::Uncalibrated { path: path.clone(), source })
        });
        Ok(Self {
            rules: rules::own(&config.detections)?,
            bundle: bundle.transpose()?,
            calibration: calibration.transpose()?,
            playbooks: own::load(&config.playbooks)?,
        })
    }
}

/// Where lines go, as they are found.
#[derive(Default)]
pub struct Outputs<'a> {
    pub events: Option<&'a mut (dyn Write + Send)>,
    pub cases: Option<&'a mut dyn Write>,
    /// The same cases as OCSF findings.
    pub findings: Option<&'a mut dyn Write>,
}

impl Scanner {
    /// Loads the rules and the model that the configuration names.
    pub fn from_config(config: Config) -> Result<Self, Error> {
        let sources = Sources::read(&config)?;
        Self::from_sources(config, sources)
    }

    /// As [`Scanner::from_config`], with what was read before.
    pub fn from_sources(config: Config, sources: Sources) -> Result<Self, Error> {
        let rules = Arc::new(rules::assemble(&sources.rules, &config.detections.disable)?);
        let registry = Arc::new(config.registry());
        let scorer = scorer(&config.model, sources.bundle.as_deref())?.map(Arc::new);
        let terms = terms(&config, scorer.as_deref(), sources.calibration.as_deref())?;
        let vocabulary = Arc::new(Vocabulary::builtin());
        Ok(Self { config, sources, rules, vocabulary, registry, scorer, terms })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The name of the model bundle that scores, if one does.
    pub fn model(&self) -> Option<&str> {
        self.scorer.as_deref().map(Scorer::name)
    }

    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    pub fn observer(&self) -> Observer<'_> {
        Observer { rules: &self.rules, registry: &self.registry }
    }

    /// The stateful stages, empty. `now` is the clock at the start. Whose trails somebody holds, theirs are the
    /// accounts: `recorded_in` count as the operator's beside those that the registry names.
    pub fn engine(&self, now: Timestamp, recorded_in: &BTreeSet<String>) -> Engine<'_> {
        let accounts = self.registry.accounts.union(recorded_in).cloned().collect();
        self.engine_until(now.plus_ms(CLOCK_SKEW_MS), accounts)
    }

    /// As [`Scanner::engine`], with the latest event time to believe and all accounts of the operator's.
    pub fn engine_until(&self, horizon: Timestamp, accounts: BTreeSet<String>) -> Engine<'_> {
        let (baseline, cases) = (self.baseline_limits(), self.case_limits());
        let describer = Describer::new(&self.rules, &self.vocabulary, baseline, horizon, accounts);
        Engine::new(describer, self.scorer.as_deref(), cases)
    }

    pub fn baseline_limits(&self) -> baseline::Limits {
        baseline::Limits { warm_up_h: self.config.features.warm_up_h, ..baseline::Limits::default() }
    }

    pub fn case_limits(&self) -> case::Limits {
        case::Limits {
            quiet_min: self.config.cases.quiet_min,
            length_h_max: self.config.cases.hours_max,
            ..case::Limits::default()
        }
    }

    /// Accounts that the operator vouches for.
    pub fn own_accounts(&self) -> BTreeSet<String> {
        self.registry.accounts.clone()
    }

    pub fn shared_rules(&self) -> Arc<RuleSet> {
        Arc::clone(&self.rules)
    }

    pub fn shared_vocabulary(&self) -> Arc<Vocabulary> {
        Arc::clone(&self.vocabulary)
    }

    pub fn shared_scorer(&self) -> Option<Arc<Scorer>> {
        self.scorer.clone()
    }

    /// Whether the model asks for sessions' sequences.
    pub fn uses_networks(&self) -> bool {
        self.scorer.is_some() && self.config.model.used == Used::All
    }

    /// How inputs are read.
    pub fn options(&self, now: Timestamp) -> Options {
        let all = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = NonZeroUsize::new(self.config.scan.threads).unwrap_or(all);
        Options { limits: self.config.limits(), threads, now }
    }

    /// Reads the inputs and judges what is in them. `now` is the clock at the start.
    ///
    /// # Errors
    /// When an output cannot be written or temporary space is lacking. What is wrong with the input is counted.
    pub fn scan(
        &self,
        inputs: &[Input],
        now: Timestamp,
        progress: &(dyn Fn(Progress) + Sync),
        outputs: Outputs<'_>,
    ) -> Result<Findings, Error> {
        let options = self.options(now);
        let collected = collect(inputs, &options, &self.observer(), progress)?;
        let mut engine = self.engine(now, collected.accounts());
        std::thread::scope(|scope| {
            let event_lines = outputs.events.map(|out| EventLines::new(scope, out));
            let mut gathered = Gathered::new(self, event_lines, outputs.cases, outputs.findings);
            let mut written = Ok(());
            let summary = collected.in_order(|observation| {
                if written.is_ok() {
                    written = gathered.step(&mut engine, observation);
                }
            })?;
            gathered.finish_event_lines()?;
            written?;
            gathered.cases(engine.finish(), None)?;
            Ok(gathered.into_findings(summary, &options, &engine))
        })
    }

    /// Opens a negotiation about a case, for whoever answers in it; the model scores the case again where that is asked.
    pub fn opened(&self, case: &Case) -> (Negotiation, Vec<Ask>) {
        let (pack, handles) = freeze(case, self.rules.rules(), &self.registry, &self.vocabulary);
        let (negotiation, asks) = Negotiation::open(pack, handles, self.terms.clone());
        let Some(scorer) = self.shared_scorer().filter(|_| case.learned.is_some()) else {
            return (negotiation, asks);
        };
        let rescoring = Rescoring {
            case: case.clone(),
            scorer,
            rules: self.shared_rules(),
            registry: Arc::clone(&self.registry),
            vocabulary: self.shared_vocabulary(),
        };
        (negotiation.with_rescorer(Arc::new(rescoring)), asks)
    }

    /// The language that cases are told in.
    pub fn language(&self) -> Language {
        self.config.report.language
    }

    /// What negotiations are held under.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Judges a case; where it is grave enough to be read and the model has a part in it, with the model's reasons.
    pub fn finding(&self, mut case: Case) -> Finding {
        let terms = &self.terms;
        let rules = self.rules.rules();
        let judged = |case: &Case| negotiate_deterministically(case, rules, &self.registry, &self.vocabulary, terms);
        let mut judgement = judged(&case);
        let is_read = judgement.severity >= Severity::Medium && case.learned.is_some_and(|p| p >= WORTH_JUDGING);
        if let Some(scorer) = self.scorer.as_deref().filter(|_| is_read)
            && explain(&mut case, scorer)
        {
            let (negotiation, asks) = self.opened(&case);
            judgement = negotiate(negotiation, asks, Negotiation::deterministic_answer);
        }
        self.found(case, judgement)
    }

    /// A judged case with the steps that could be taken.
    pub fn found(&self, case: Case, judgement: Judgement) -> Finding {
        let offers = offers(&self.sources.playbooks, &case, &judgement, &self.registry);
        Finding::new(case, judgement, offers)
    }
}

/// What collectors read off raw records, for as long as they run.
#[derive(Debug)]
pub struct ServiceObserver(pub Arc<Scanner>);

impl Observe for ServiceObserver {
    fn observe<'a>(&self, view: &RecordView<'a>, activity: Activity<'a>) -> Observation<'a> {
        self.0.observer().observe(view, activity)
    }
}

/// The model that the configuration asks for.
fn scorer(model: &config::Model, bundle: Option<&[u8]>) -> Result<Option<Scorer>, Error> {
    let loaded = match (model.used, bundle) {
        (Used::None, _) => return Ok(None),
        (_, None) => Scorer::builtin(),
        (_, Some(bytes)) => Scorer::from_bytes(bytes),
    };
    let scorer = loaded.map_err(|source| Error::Model { path: model.bundle.clone(), source })?;
    Ok(Some(if model.used == Used::Trees { scorer.without_networks() } else { scorer }))
}

#[expect(clippy::disallowed_methods, reason = "capped by `take`, one byte beyond what is accepted")]
fn read_capped(file: File, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What negotiations are held under: bounds set by hand, then those of the calibration that the configuration names.
fn terms(config: &Config, scorer: Option<&Scorer>, calibration: Option<&[u8]>) -> Result<Terms, Error> {
    let bounds = config.bounds();
    let terms = scorer.map_or_else(|| bounds.into(), |scorer| scorer.terms(bounds));
    let Some(bytes) = calibration else { return Ok(terms) };
    let path = || config.routing.calibration.clone();
    let calibration = Calibration::from_json(bytes).map_err(|source| Error::Calibration { path: path(), source })?;
    if calibration.model.as_deref() != terms.model.as_deref() {
        let here = terms.model.as_deref().map(str::to_owned);
        return Err(Error::OtherModel { path: path(), of: calibration.model, here });
    }
    Ok(Terms {
        bounds: bounds.or_calibrated(&calibration, config.routing.automatic_without_models),
        refits: calibration.refits(),
        calibration: Some(calibration.digest().into()),
        ..terms
    })
}

fn after(path: Option<&Path>) -> String {
    path.map(|path| format!(" {}", path.display())).unwrap_or_default()
}

fn model_named(model: Option<&str>) -> String {
    // The name in a file may be anything.
    model.map_or_else(|| "no model".to_owned(), |model| format!("the model {}", name(model)))
}

/// What a scan gathers on its way: lines out in order, and the findings worth keeping.
struct Gathered<'s, 'e, 'o> {
    scanner: &'s Scanner,
    event_lines: Option<EventLines<'e>>,
    case_lines: Option<CaseLines<'o>>,
    finding_lines: Option<CaseLines<'o>>,
    findings: Findings,
    accounts: BTreeSet<String>,
    principals: FxHashSet<u64>,
}

impl<'s, 'e, 'o> Gathered<'s, 'e, 'o> {
    fn new(
        scanner: &'s Scanner,
        event_lines: Option<EventLines<'e>>,
        cases: Option<&'o mut dyn Write>,
        as_ocsf: Option<&'o mut dyn Write>,
    ) -> Self {
        let held_bytes_max = if cases.is_some() && as_ocsf.is_some() { HELD_BYTES_MAX / 2 } else { HELD_BYTES_MAX };
        let findings = Findings {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            feature_schema_version: SCHEMA_VERSION,
            model: scanner.model().map(str::to_owned),
            rules: scanner.rules.rules().to_vec(),
            ..Findings::default()
        };
        Self {
            scanner,
            event_lines,
            case_lines: cases.map(|out| CaseLines::new(out, held_bytes_max)),
            finding_lines: as_ocsf.map(|out| CaseLines::new(out, held_bytes_max)),
            findings,
            accounts: BTreeSet::new(),
            principals: FxHashSet::default(),
        }
    }

    fn step<'a>(&mut self, engine: &mut Engine<'_>, observation: Observation<'a>) -> Result<(), Error> {
        self.meet(&observation.activity);
        let line = EventLine::new(&observation.activity, 0.0, Level::None);
        let step = engine.step(observation);
        self.event(&EventLine { score: step.score, level: step.level, ..line })?;
        match step.cases.is_empty() {
            true => Ok(()),
            false => self.cases(step.cases, engine.oldest_open()),
        }
    }

    fn meet(&mut self, activity: &Activity<'_>) {
        let input = &mut self.findings.input;
        let at = activity.event_time;
        input.first_event_time = Some(input.first_event_time.map_or(at, |first| first.min(at)));
        input.last_event_time = Some(input.last_event_time.map_or(at, |last| last.max(at)));
        self.principals.insert(hash64(activity.principal));
        if self.accounts.len() < ACCOUNTS_NAMED_MAX && !self.accounts.contains(activity.account) {
            self.accounts.insert(activity.account.to_owned());
        }
    }

    fn event(&mut self, line: &EventLine<'_>) -> Result<(), Error> {
        self.findings.levels.add(line.level, 1);
        self.findings.histogram.record(line.event_time, line.level);
        let pushed = self.event_lines.as_mut().map_or(Ok(()), |lines| lines.push(line));
        pushed.map_err(|source| Error::Write { what: "events", source })
    }

    fn finish_event_lines(&mut self) -> Result<(), Error> {
        let finished = self.event_lines.take().map_or(Ok(()), EventLines::finish);
        finished.map_err(|source| Error::Write { what: "events", source })
    }

    /// Judges cases that ended. Those that begin before `settled` (all, without it) go out in order.
    fn cases(&mut self, ended: Vec<Case>, settled: Option<Timestamp>) -> Result<(), Error> {
        for case in ended {
            if !is_worth_judging(&case, self.scanner.rules.rules()) {
                self.findings.tally.context_only += 1;
                continue;
            }
            let finding = self.scanner.finding(case);
            self.put_out(&finding).map_err(|source| Error::Write { what: "cases", source })?;
            self.findings.keep(finding, FINDINGS_KEPT_MAX);
        }
        let mut all = self.case_lines.iter_mut().chain(&mut self.finding_lines);
        all.try_for_each(|lines| lines.release(settled)).map_err(|source| Error::Write { what: "cases", source })
    }

    fn put_out(&mut self, finding: &Finding) -> io::Result<()> {
        let (first_event_time, id) = (finding.span().0, &finding.case.id);
        if let Some(lines) = &mut self.case_lines {
            let mut line = Vec::new();
            write_case(&mut line, finding, self.scanner.rules.rules(), self.scanner.language())?;
            lines.push(first_event_time, id, line)?;
        }
        if let Some(lines) = &mut self.finding_lines {
            let mut line = Vec::new();
            write_finding(&mut line, finding, self.scanner.rules.rules())?;
            lines.push(first_event_time, id, line)?;
        }
        Ok(())
    }

    fn into_findings(self, summary: Summary, options: &Options, engine: &Engine<'_>) -> Findings {
        let mut findings = self.findings;
        findings.finish(FINDINGS_KEPT_MAX);
        let input = &mut findings.input;
        input.files = summary.files;
        input.events = summary.events;
        input.duplicates = summary.duplicates;
        input.future = summary.future;
        let by_name = |counts: BTreeMap<trailwarden_collector::RejectReason, u64>| {
            counts.into_iter().map(|(reason, count)| (reason.name().to_owned(), count)).collect()
        };
        input.rejected = by_name(summary.rejected);
        input.set_aside = by_name(summary.set_aside);
        input.rejected_listed = summary.problems.iter().map(Reject::from).collect();
        input.forgotten = engine.forgotten().into_iter().filter(|(_, count)| *count > 0).collect();
        input.accounts = self.accounts.into_iter().collect();
        input.principals = self.principals.len() as u64;
        input.memory_cap_bytes = memory_cap_bytes(options);
        findings
    }
}

/// What the stateful stages may hold at most: see the table of state in ARCHITECTURE.md.
const STATE_BYTES_MAX: usize = 120 << 20;

fn memory_cap_bytes(options: &Options) -> u64 {
    (options.limits.memory_bytes_cap(options.threads.get()) + STATE_BYTES_MAX) as u64
}
