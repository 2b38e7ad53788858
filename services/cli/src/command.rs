//! The operator's commands: each turns a request into files, text and an exit code.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use trailwarden_collector::Input;
use trailwarden_core::language::Language;
use trailwarden_core::level::Verdict;
use trailwarden_core::time::Timestamp;

use crate::background::Background;
use crate::capsule::command as capsule;
use crate::config::Config;
use crate::findings::Findings;
use crate::life::Live;
use crate::progress::Bar;
use crate::scan::{Outputs, Scanner};
use crate::terminal::{self, Screen};
use crate::untrusted::visible;
use crate::words::Words;
use crate::{demo, life, markdown, outputs, report};

/// Exit code of `--fail-on` when its verdict was reached.
const REACHED: u8 = 1;
/// Exit code for usage, configuration and outputs that cannot be written.
pub(crate) const WRONG: u8 = 2;
/// Exit code when nothing could be read.
pub(crate) const NOTHING_READ: u8 = 3;

/// What the world around a command is like; read once, in `main`.
pub struct Surroundings<'a> {
    pub now: Timestamp,
    /// Time since the program started.
    pub elapsed: &'a dyn Fn() -> Duration,
    pub environment: Vec<(OsString, OsString)>,
    pub stdout_is_terminal: bool,
    pub stderr_is_terminal: bool,
}

impl Surroundings<'_> {
    fn has(&self, name: &str) -> bool {
        self.environment.iter().any(|(key, value)| key == name && !value.is_empty())
    }

    pub(crate) fn screen(&self) -> Screen {
        let columns = self.environment.iter().find(|(key, _)| key == "COLUMNS");
        let width = columns.and_then(|(_, value)| value.to_str()?.parse().ok()).unwrap_or(WIDTH_DEFAULT);
        Screen { colour: self.stdout_is_terminal && !self.has("NO_COLOR"), width }
    }
}

/// Characters of one line of an error.
const ERROR_LINE_CHARS_MAX: usize = 4_096;
/// Columns where the terminal does not say.
const WIDTH_DEFAULT: usize = 120;

/// What rows are printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Jsonl,
    /// An OCSF 1.6 Detection Finding a line
    Ocsf,
    /// Cases in full, to paste into a ticket
    Markdown,
}

/// What `demo` was asked for.
#[derive(Debug)]
pub struct DemoRequest {
    pub seed: u64,
    pub report: PathBuf,
    pub language: Language,
    /// Whether a step is carried out and undone, on an AWS of this machine.
    pub live: bool,
    pub endpoint: Option<String>,
}

/// What `scan` was asked for.
#[derive(Debug)]
pub struct ScanRequest {
    pub paths: Vec<PathBuf>,
    pub cases: Option<PathBuf>,
    pub events: Option<PathBuf>,
    pub report: Option<PathBuf>,
    /// A folder for replay capsules.
    pub capsules: Option<PathBuf>,
    pub fail_on: Option<Verdict>,
    pub format: Format,
    /// The configuration's without it.
    pub language: Option<Language>,
    pub threads: Option<usize>,
    pub config: Option<PathBuf>,
}

/// Scans, writes what was asked for, prints the cases and, on stderr, what was read.
pub fn scan(request: ScanRequest, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let mut config = Config::load(request.config.as_deref(), surroundings.environment.iter().cloned())?;
    if let Some(threads) = request.threads {
        config.scan.threads = threads;
    }
    if let Some(language) = request.language {
        config.report.language = language;
    }
    let words = Words::of(config.report.language);
    let scanner = Scanner::from_config(config)?;
    let inputs: Vec<Input> = request.paths.iter().map(Input::from_argument).collect();

    let named = [request.events.as_deref(), request.cases.as_deref(), request.report.as_deref()];
    outputs::check(&request.paths, &named.into_iter().flatten().collect::<Vec<_>>())?;
    if request.capsules.is_some() {
        capsule::check_inputs(&request.paths)?;
    }
    // Opened before the work, so that a wrong path is told at once.
    let mut events = request.events.as_deref().map(create).transpose()?;
    let mut cases = request.cases.as_deref().map(create).transpose()?;
    let mut report_file = request.report.as_deref().map(create).transpose()?;
    let mut printed = Printed::default();

    let bar = Bar::new(surroundings.stderr_is_terminal);
    let findings = {
        let file = cases.as_mut().map(|file| file as &mut dyn Write);
        let (cases, findings) = match request.format {
            Format::Table | Format::Markdown => (file, None),
            Format::Jsonl => (Some(file.unwrap_or(&mut printed)), None),
            Format::Ocsf => (file, Some(&mut printed as &mut dyn Write)),
        };
        let events = events.as_mut().map(|file| file as &mut (dyn Write + Send));
        let outputs = Outputs { events, cases, findings };
        scanner.scan(&inputs, surroundings.now, &|progress| bar.update(progress), outputs)?
    };
    bar.finish();
    finish(events, request.events.as_deref())?;
    finish(cases, request.cases.as_deref())?;
    if let (Some(file), Some(path)) = (&mut report_file, &request.report) {
        file.write_all(told(&findings, path, words).as_bytes()).context("could not write the report")?;
    }
    finish(report_file, request.report.as_deref())?;

    let text = match request.format {
        Format::Table => terminal::cases(&findings, surroundings.screen(), words),
        Format::Markdown => markdown::report(&findings, words),
        Format::Jsonl | Format::Ocsf => String::new(),
    };
    printed.write_all(text.as_bytes()).context("could not write to standard output")?;
    printed.flush().context("could not write to standard output")?;
    tell(&terminal::summary(&findings.input, (surroundings.elapsed)().as_secs_f64()));
    if let Some(path) = &request.report {
        tell(&format!("report     {}\n", path.display()));
    }
    if let Some(folder) = &request.capsules {
        capsule::write_all(&scanner, &inputs, &findings, folder, surroundings)?;
    }
    if findings.input.events == 0 {
        tell("trailwarden: nothing could be read; the lines above say what was found instead\n");
    }
    if printed.is_closed {
        tell("trailwarden: standard output was closed before everything was printed\n");
    }
    Ok(exit_code(&findings, request.fail_on))
}

/// Generates an organisation, plants attacks in it, scans it, and shows what was planted against what was found.
pub fn demo(asked: &DemoRequest, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let DemoRequest { seed, report: report_path, language, live, endpoint } = asked;
    // What is lacking is said before anything is made.
    let live = live.then(|| Live::at(endpoint.as_deref())).transpose()?;
    let words = Words::of(*language);
    let scanner = Scanner::from_config(demo::config())?;
    let mut report_file = create(report_path)?;
    let organisation = demo::Organisation::generate(*seed)?;
    let mut findings =
        scanner.scan(&organisation.inputs(), surroundings.now, &|_| {}, Outputs::default()).context("the demo")?;
    findings.planted = Some(organisation.planted(&findings));
    report_file.write_all(told(&findings, report_path, words).as_bytes()).context("could not write the report")?;
    finish(Some(report_file), Some(report_path))?;

    let screen = surroundings.screen();
    let life = life::dry_run(&scanner, &organisation.inputs(), &findings, surroundings.now, words)?;
    let text = format!(
        "{}\n{}\n{}\n",
        terminal::cases(&findings, screen, words),
        terminal::planted(&findings, screen, words),
        life.join("\n")
    );
    if !print(&text)? {
        tell("trailwarden: standard output was closed before everything was printed\n");
    }
    tell(&terminal::summary(&findings.input, (surroundings.elapsed)().as_secs_f64()));
    tell(&format!("report     {}\n", report_path.display()));
    let capsule_path = report_path.with_extension("capsule");
    capsule::write_one(&scanner, &organisation.inputs(), &findings, &capsule_path, surroundings)?;
    match live {
        Some(live) if !live.run(&findings, surroundings.now, words)? => Ok(ExitCode::FAILURE),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The report that a path's ending asks for: Markdown, or else a page.
fn told(findings: &Findings, path: &Path, words: &Words) -> String {
    let is_markdown = path.extension().is_some_and(|ending| ["md", "markdown"].iter().any(|known| ending == *known));
    if is_markdown { markdown::report(findings, words) } else { report::html(findings, words) }
}

/// Prints the effective configuration.
pub fn config_print(file: Option<&Path>, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let config = Config::load(file, surroundings.environment.iter().cloned())?;
    match config.without_passwords() {
        Some(open) => {
            print(&open.to_toml())?;
            tell("of addresses that may hold a password, only scheme, host and port are printed\n");
        }
        None => _ = print(&config.to_toml())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks a configuration file and the rules that it names.
pub fn config_check(file: &Path, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let config = Config::load(Some(file), surroundings.environment.iter().cloned())?;
    let scanner = Scanner::from_config(config)?;
    print(&format!("{}: ok, {} rules\n", file.display(), scanner.rules().rules().len()))?;
    Ok(ExitCode::SUCCESS)
}

/// Says that a command is not there yet.
pub fn not_built(name: &str, waits_for: &str) -> Result<ExitCode> {
    tell(&format!(
        "trailwarden: `{name}` is not built yet; it comes with {waits_for}. `scan` and `demo` work today.\n"
    ));
    Ok(ExitCode::from(WRONG))
}

/// Says something on stderr. Whoever closed it does not want to hear.
pub fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says why a command failed. An error may quote a file that somebody sent, so nothing in it acts on the terminal.
pub fn tell_error(why: &str) {
    tell(&format!("trailwarden: {}\n", harmless(why)));
}

/// The lines of a text, with everything hidden in them spelled out.
fn harmless(text: &str) -> String {
    let lines = text.lines().map(|line| visible(line, ERROR_LINE_CHARS_MAX));
    lines.collect::<Vec<_>>().join("\n")
}

fn exit_code(findings: &Findings, fail_on: Option<Verdict>) -> ExitCode {
    if findings.input.events == 0 {
        return ExitCode::from(NOTHING_READ);
    }
    match (fail_on, findings.tally.worst()) {
        (Some(limit), Some(worst)) if worst >= limit => ExitCode::from(REACHED),
        _ => ExitCode::SUCCESS,
    }
}

fn create(path: &Path) -> Result<Background> {
    let file = File::create(path).with_context(|| format!("could not create {}", path.display()))?;
    Ok(Background::new(file))
}

fn finish(file: Option<Background>, path: Option<&Path>) -> Result<()> {
    if let (Some(file), Some(path)) = (file, path) {
        file.finish().with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(())
}

/// Standard output, whose reader may go when it likes: what is written from then on is dropped.
#[derive(Debug, Default)]
struct Printed {
    is_closed: bool,
}

impl Printed {
    fn unless_closed<T>(&mut self, result: io::Result<T>, otherwise: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(otherwise)
            }
            result => result,
        }
    }
}

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let written = io::stdout().write(bytes);
        self.unless_closed(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = io::stdout().flush();
        self.unless_closed(flushed, ())
    }
}

/// Prints; `false` when the reader has gone, which is the reader's right.
pub(crate) fn print(text: &str) -> Result<bool> {
    let mut printed = Printed::default();
    printed.write_all(text.as_bytes()).and_then(|()| printed.flush()).context("could not write to standard output")?;
    Ok(!printed.is_closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_quotes_a_file_does_nothing_to_the_terminal() {
        let told = "the capsule x: not TOML:\n  |\n1 | a\u{1b}]0;owned\u{7}\u{202e} = 1";
        assert_eq!(harmless(told), "the capsule x: not TOML:\n  |\n1 | a\\u{1b}]0;owned\\u{7}\\u{202e} = 1");
        assert!(harmless(&"a".repeat(1 << 20)).len() < 2 * ERROR_LINE_CHARS_MAX);
    }
}
