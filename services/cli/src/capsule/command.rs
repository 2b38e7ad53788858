//! `scan --capsules`, `case export` and `replay`: capsules written, and judged again.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use trailwarden_collector::Input;
use trailwarden_core::level::Verdict;
use trailwarden_core::negotiation::Judgement;
use trailwarden_council::panel::{Call, Ended, Transcript, deliberate};
use trailwarden_pipeline::capsule::file::Head;
use trailwarden_pipeline::capsule::{Capsule, Stage};
use trailwarden_runtime::Clock;

use super::{Replayed, Taken, Wanted, find, open, replay, scanner_of, surroundings as otherwise, take};
use crate::command::{Surroundings, WRONG, print, tell};
use crate::config::Config;
use crate::findings::Findings;
use crate::models;
use crate::scan::Scanner;
use crate::untrusted::{name, visible, visible_json};

/// Exit code of a replay that came to something else.
const DIFFERENT: u8 = 1;
/// Capsules that one scan writes, the most urgent cases first.
const CASES_MAX: usize = 50;
/// Events of all capsules of one scan together: what is kept of them while the input is read again.
const EVENTS_OF_ALL_MAX: usize = 8_192;
/// Characters of one line about a difference.
const LINE_CHARS_MAX: usize = 600;
/// What a capsule holds, said wherever one is written.
const HOLDS: &str = "they hold raw records: names, addresses, and whatever secrets callers put in";

/// What `replay` was asked for.
#[derive(Debug)]
pub struct ReplayRequest {
    pub file: PathBuf,
    pub diff: bool,
    pub ask_again: bool,
    pub show: bool,
    pub records: bool,
    pub config: Option<PathBuf>,
}

/// Judges a capsule again and says whether all is as it was.
pub fn run(request: &ReplayRequest, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let path = &request.file;
    let (capsule, head) = open(path).with_context(|| format!("the capsule {}", path.display()))?;
    if request.show {
        print(&shown(&capsule, &head))?;
        return Ok(ExitCode::SUCCESS);
    }
    if request.records {
        print(&delivered(&capsule.records))?;
        return Ok(ExitCode::SUCCESS);
    }
    let scanner = scanner_of(&capsule).with_context(|| format!("the capsule {}", path.display()))?;
    let replayed = replay(&scanner, &capsule).with_context(|| format!("the capsule {}", path.display()))?;
    print(&told(&capsule, &replayed, &otherwise(&scanner, &capsule.about), request.diff))?;
    if request.ask_again {
        ask_again(&scanner, &capsule, &replayed, request.config.as_deref(), surroundings)?;
    }
    Ok(if replayed.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

/// The records as text, what hides in their strings escaped; blanks between values stay.
fn delivered(records: &[u8]) -> String {
    let is_blank = |letter: char| matches!(letter, '\t' | '\r');
    let mut text = String::with_capacity(records.len());
    for piece in String::from_utf8_lossy(records).split_inclusive(is_blank) {
        let body = piece.trim_end_matches(is_blank);
        text.push_str(&visible_json(body));
        text.push_str(&piece[body.len()..]);
    }
    text
}

fn told(capsule: &Capsule, replayed: &Replayed, otherwise: &[String], by_stage: bool) -> String {
    let about = &capsule.about;
    let judged = |verdict: &str, severity: &str| format!("{}, {}", name(verdict), name(severity));
    let mut text = match replayed.differences.first() {
        None => format!("equal {}\n", name(&about.verdict_digest)),
        Some(first) => format!("differs at {}: {}\n", first.stage.name(), visible(&first.text, LINE_CHARS_MAX)),
    };
    text.push_str(&format!("case {}: {}", name(&about.case_id), judged(&about.verdict, &about.severity)));
    if !replayed.differences.is_empty() {
        let now = replayed.finding.as_ref().map_or_else(
            || "no case any more".to_owned(),
            |finding| judged(finding.judgement.verdict.as_str(), finding.judgement.severity.as_str()),
        );
        let digest = replayed.outcome.decided.digest();
        text.push_str(&format!(" then, {now} now; digest {} then, {digest} now", name(&about.verdict_digest)));
    }
    text.push('\n');
    for line in otherwise {
        text.push_str(&format!("note: {}\n", visible(line, LINE_CHARS_MAX)));
    }
    if by_stage {
        for stage in Stage::ALL {
            let found = replayed.differences.iter().find(|difference| difference.stage == stage);
            let told = match found {
                None => "equal".to_owned(),
                Some(found) if found.more == 0 => visible(&found.text, LINE_CHARS_MAX),
                Some(found) => format!("{} (and {} more events)", visible(&found.text, LINE_CHARS_MAX), found.more),
            };
            text.push_str(&format!("{:<9} {told}\n", stage.name()));
        }
    }
    text
}

/// What is inside, without any of the records.
fn shown(capsule: &Capsule, head: &Head) -> String {
    let about = &capsule.about;
    let mut text = format!(
        "case       {}: {}, {}\nevents     {}\ndigest     {}\nmade by    {}\nmodel      {}{}\nrules      {}\nanswered   {}\nholds      {}\n\n",
        name(&about.case_id),
        name(&about.verdict),
        name(&about.severity),
        about.events,
        name(&about.verdict_digest),
        name(&about.made_by),
        name(about.model.as_deref().unwrap_or("none")),
        if capsule.bundle.is_some() { ", inside" } else { "" },
        name(&about.rules_digest),
        name(&answered(capsule)),
        name(&head.holds),
    );
    text.push_str("SECTION     BYTES       STORED  SHA-256\n");
    for section in &head.sections {
        let start: String = name(&section.sha256).chars().take(16).collect();
        text.push_str(&format!(
            "{:<10} {:>10} {:>10}  {start}\n",
            name(&section.name),
            section.bytes,
            section.stored_bytes
        ));
    }
    text
}

/// Who answered for the roles; models by their names.
fn answered(capsule: &Capsule) -> String {
    let said: Option<Transcript> = capsule.transcript.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let calls = said.iter().flat_map(|said| &said.calls).filter(|call| call.ended == Ended::Answered);
    let models: BTreeSet<String> = calls.map(|call| format!("llm:{}", call.model)).collect();
    let others = capsule.about.brains.iter().filter(|brain| models.is_empty() || *brain != "recorded").cloned();
    others.chain(models.iter().cloned()).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

/// Refuses inputs that can be read only once.
pub(crate) fn check_inputs(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let is_once = path.as_os_str() == "-"
            || fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
        if is_once {
            bail!("capsules need the input twice, and {} can be read once; save it to a file first", path.display());
        }
    }
    Ok(())
}

/// Writes capsules of a scan's suspicious and malicious cases into a folder, and says what became of them.
pub(crate) fn write_all(
    scanner: &Scanner,
    inputs: &[Input],
    findings: &Findings,
    folder: &Path,
    surroundings: &Surroundings<'_>,
) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    let worth = [Verdict::Suspicious, Verdict::Malicious].map(|verdict| findings.tally.with_verdict(verdict));
    let mut chosen = Chosen::default();
    for finding in findings.by_urgency() {
        if finding.judgement.verdict >= Verdict::Suspicious {
            chosen.add(Wanted::of(&finding.case).map_err(|error| (finding.case.id.clone(), error)));
        }
    }
    let (mut written, mut bytes) = (0_u64, 0);
    let mut failed = Ok(());
    take(scanner, inputs, surroundings.now, &chosen.wanted, |Taken { case_id, capsule }| match capsule {
        Ok(capsule) => {
            let path = folder.join(format!("{case_id}.capsule"));
            let put = write(&path, &capsule);
            if put.is_ok() {
                written += 1;
                bytes += capsule.len() as u64;
            }
            failed = std::mem::replace(&mut failed, Ok(())).and(put);
        }
        Err(error) => chosen.refused.push(format!("case {case_id}: {error}")),
    })?;
    failed?;
    let all: u64 = worth.into_iter().sum();
    let folder = folder.display();
    tell(&format!("capsules   {written} of {all} cases, {} KiB in {folder}; {HOLDS}\n", bytes.div_ceil(1024)));
    for line in &chosen.refused {
        tell(&format!("           none of {}\n", visible(line, LINE_CHARS_MAX)));
    }
    let left = all.saturating_sub(written + chosen.refused.len() as u64);
    if left > 0 {
        tell(&format!(
            "           {left} less urgent cases were left out: a scan writes {CASES_MAX} capsules of {EVENTS_OF_ALL_MAX} events at most\n"
        ));
    }
    Ok(())
}

/// Cases that are to become capsules, within the bounds of one scan.
#[derive(Default)]
struct Chosen {
    wanted: Vec<Wanted>,
    events: usize,
    refused: Vec<String>,
}

impl Chosen {
    fn add(&mut self, case: Result<Wanted, (String, super::Error)>) {
        match case {
            Ok(case) if self.wanted.len() < CASES_MAX && self.events + case.events() <= EVENTS_OF_ALL_MAX => {
                self.events += case.events();
                self.wanted.push(case);
            }
            Ok(_) => {}
            Err((id, error)) => self.refused.push(format!("case {id}: {error}")),
        }
    }
}

/// Writes a capsule. It holds what callers wrote, so nobody else may read it, whoever could read what lay there before.
fn write(path: &Path, capsule: &[u8]) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| {
        #[cfg(unix)]
        if file.metadata()?.is_file() {
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        }
        file.write_all(capsule)
    });
    written.with_context(|| format!("could not write {}", path.display()))
}

/// Writes the capsule of the most urgent case beside the demo's report, and says so.
pub(crate) fn write_one(
    scanner: &Scanner,
    inputs: &[Input],
    findings: &Findings,
    path: &Path,
    surroundings: &Surroundings<'_>,
) -> Result<()> {
    let Some(finding) = findings.by_urgency().first().copied() else { return Ok(()) };
    match Wanted::of(&finding.case).map_err(Into::into).and_then(|wanted| taken(scanner, inputs, &wanted, surroundings))
    {
        Ok(bytes) => {
            write(path, &bytes)?;
            tell(&format!("capsule    {}; `trailwarden replay` judges its case again\n", path.display()));
        }
        Err(error) => tell(&format!("capsule    none: {}\n", visible(&format!("{error:#}"), LINE_CHARS_MAX))),
    }
    Ok(())
}

fn taken(scanner: &Scanner, inputs: &[Input], wanted: &Wanted, surroundings: &Surroundings<'_>) -> Result<Vec<u8>> {
    let mut capsule = None;
    take(scanner, inputs, surroundings.now, std::slice::from_ref(wanted), |taken| capsule = Some(taken.capsule))?;
    Ok(capsule.context("the case was not found again")??)
}

/// What `case export` was asked for.
#[derive(Debug)]
pub struct ExportRequest {
    pub id: String,
    pub out: PathBuf,
    pub logs: Vec<PathBuf>,
    /// The case as a deployment knows it, if one was asked.
    pub known: Option<Known>,
    pub config: Option<PathBuf>,
}

/// What a deployment says of a case.
#[derive(Debug)]
pub struct Known {
    pub verdict: String,
    pub severity: String,
    /// Empty where no model was asked.
    pub transcript: String,
}

/// Writes the capsule of one case of the logs named.
pub fn export(request: &ExportRequest, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    if request.logs.is_empty() {
        tell(
            "trailwarden: a deployment does not keep raw records yet, so a capsule is made from the logs themselves: name \
             them with `--logs PATH`. The case's id is the same there as long as its first event is.\n",
        );
        return Ok(ExitCode::from(WRONG));
    }
    crate::outputs::check(&request.logs, &[&request.out])?;
    let bytes = exported(request, surroundings)?;
    write(&request.out, &bytes)?;
    tell(&format!("capsule    {}, {} KiB; {HOLDS}\n", request.out.display(), bytes.len().div_ceil(1024)));
    Ok(ExitCode::SUCCESS)
}

/// The capsule of one case of the logs named.
///
/// # Errors
/// When they make no such case.
pub(crate) fn exported(request: &ExportRequest, surroundings: &Surroundings<'_>) -> Result<Vec<u8>> {
    check_inputs(&request.logs)?;
    let config = Config::load(request.config.as_deref(), surroundings.environment.iter().cloned())?;
    let scanner = Scanner::from_config(config)?;
    let inputs: Vec<Input> = request.logs.iter().map(Input::from_argument).collect();
    let Some(case) = find(&scanner, &inputs, surroundings.now, &request.id)? else {
        bail!("a scan of these logs makes no case {}; `scan --cases` lists those that it makes", name(&request.id));
    };
    let mut wanted = Wanted::of(&case)?;
    if let Some(known) = &request.known {
        wanted = wanted.with_transcript(known.transcript.clone());
    }
    let bytes = taken(&scanner, &inputs, &wanted, surroundings)?;
    if let Some(known) = &request.known {
        let (Capsule { about, .. }, _) = Capsule::from_bytes(&bytes)?;
        if (&about.verdict, &about.severity) != (&known.verdict, &known.severity) {
            let told =
                format!("{}, {} there, {}, {} here", known.verdict, known.severity, about.verdict, about.severity);
            tell(&format!(
                "the deployment judged otherwise ({}): it knew another past, or has other settings\n",
                visible(&told, LINE_CHARS_MAX)
            ));
        }
    }
    Ok(bytes)
}

/// Brings the case before the model that the configuration names, and says how far it agrees with what was said.
fn ask_again(
    scanner: &Scanner,
    capsule: &Capsule,
    replayed: &Replayed,
    config: Option<&Path>,
    surroundings: &Surroundings<'_>,
) -> Result<()> {
    let config = Config::load(config, surroundings.environment.iter().cloned())?;
    let now = surroundings.now;
    let clock: Clock = Arc::new(move || now);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start")?;
    let around = models::Surroundings {
        tenant: &config.run.tenant,
        environment: &surroundings.environment,
        clock: &clock,
        bus: None,
    };
    let Some(panel) = runtime.block_on(models::panel(&config.council, around))? else {
        bail!(
            "`--ask-again` asks the models that `council.provider` or `council.local_model` names, and none is named"
        );
    };
    let Some(finding) = &replayed.finding else {
        bail!("nothing can be asked: no case came of the capsule's records");
    };
    let (negotiation, asks) = scanner.opened(&finding.case);
    let (judgement, transcript) = runtime.block_on(deliberate(negotiation, asks, &panel));
    let then: Option<Transcript> = capsule.transcript.as_deref().and_then(|text| serde_json::from_str(text).ok());
    print(&agreement(&finding.judgement, then.as_ref(), &judgement, &transcript))?;
    Ok(())
}

/// How far two deliberations agree, in words.
fn agreement(then: &Judgement, said: Option<&Transcript>, now: &Judgement, says: &Transcript) -> String {
    let verdict = if then.verdict == now.verdict { "the same verdict" } else { "another verdict" };
    let mut text = format!("asked again: {verdict}, {} ({} then)\n", now.verdict, then.verdict);
    let answers =
        |transcript: &Transcript| transcript.calls.iter().filter(|call| call.ended == Ended::Answered).count();
    let Some(said) = said else {
        text.push_str(&format!("{} answers now; no model was asked then\n", answers(says)));
        return text;
    };
    let both: Vec<(&Call, &Call)> =
        said.calls.iter().filter_map(|call| Some((call, counterpart(call, says)?))).collect();
    let agreeing = both.iter().filter(|(then, now)| says_the_same(then, now)).count();
    text.push_str(&format!(
        "agreement {agreeing} of {} answers ({} then, {} now); an agreement rate is not a replay\n",
        both.len(),
        answers(said),
        answers(says)
    ));
    text
}

/// The answer of the same role in the same round.
fn counterpart<'t>(call: &Call, transcript: &'t Transcript) -> Option<&'t Call> {
    let is_it = |other: &&Call| {
        (other.role, other.round, other.ended) == (call.role, call.round, Ended::Answered)
            && call.ended == Ended::Answered
    };
    transcript.calls.iter().find(is_it)
}

/// Whether two answers say the same, in whatever order their lists are.
fn says_the_same(one: &Call, other: &Call) -> bool {
    let read = |call: &Call| serde_json::from_str::<serde_json::Value>(&call.raw).ok().map(|value| unordered(&value));
    read(one) == read(other)
}

/// A tree as text, its lists as sets.
fn unordered(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(items) => {
            let items: BTreeSet<String> = items.iter().map(unordered).collect();
            format!("[{}]", items.into_iter().collect::<Vec<_>>().join(","))
        }
        serde_json::Value::Object(fields) => {
            let fields: BTreeSet<String> =
                fields.iter().map(|(key, value)| format!("{key:?}:{}", unordered(value))).collect();
            format!("{{{}}}", fields.into_iter().collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use trailwarden_core::negotiation::Role;
    use trailwarden_council::panel::{Round, Tokens};

    use super::*;

    fn call(role: Role, raw: &str, ended: Ended) -> Call {
        Call {
            role,
            round: Round::Opinion,
            attempt: 1,
            input_digest: String::new(),
            prompt_digest: String::new(),
            model: "m".to_owned(),
            tokens_max: 1,
            raw: raw.to_owned(),
            tokens: Tokens::default(),
            micro_dollars: None,
            milliseconds: 0,
            ended,
        }
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_reads_a_capsule_even_where_another_file_lay() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.capsule");
        fs::write(&path, "older and longer").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("its own file");
        write(&path, b"new").expect("written");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&path).expect("there").len(), 3);
    }

    #[test]
    fn records_do_nothing_to_the_terminal_and_stay_records() {
        let raw = "{\"Records\":[\r\n\t{\"userAgent\":\"a\u{202e}b\u{9b}2J\"}]}\n";
        let text = delivered(raw.as_bytes());
        assert!(text.contains("a\\u202eb\\u009b2J") && text.contains("\r\n\t{"), "{text}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&text), read(raw));
    }

    #[test]
    fn answers_agree_whatever_the_order_of_their_lists() {
        let one = call(Role::Analysis, r#"{"abstain":false,"claims":[{"a":1},{"b":2}]}"#, Ended::Answered);
        let same = call(Role::Analysis, r#"{"claims":[{"b":2},{"a":1}],"abstain":false}"#, Ended::Answered);
        let other = call(Role::Analysis, r#"{"claims":[{"b":2}],"abstain":false}"#, Ended::Answered);
        assert!(says_the_same(&one, &same) && !says_the_same(&one, &other));
        let transcript =
            |calls| Transcript { version: 1, evidence_digest: String::new(), prompts_digest: String::new(), calls };
        assert!(counterpart(&one, &transcript(vec![call(Role::Sceptic, "{}", Ended::Answered)])).is_none());
        assert!(counterpart(&one, &transcript(vec![call(Role::Analysis, "", Ended::Timeout)])).is_none());
        assert_eq!(counterpart(&one, &transcript(vec![same.clone()])), Some(&same));
    }
}
