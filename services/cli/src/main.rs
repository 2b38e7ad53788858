//! The one binary: reads the command line, the environment and the clock, and calls the rest.
//!
//! Exit codes: 0 done; 1 `--fail-on` was reached; 2 usage, configuration or an output that cannot be
//! written; 3 nothing could be read.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use trailwarden::approver::{self, ApproverCommand};
use trailwarden::audit::{self, AuditCommand};
use trailwarden::case::{self, CaseCommand};
use trailwarden::command::{self, Surroundings};
use trailwarden::notify::{self, NotifyCommand};
use trailwarden::playbook::{self, PlaybookCommand};
use trailwarden::recording::Models;
use trailwarden::run::{self, Role};
use trailwarden::{capsule, doctor, lab, query};
use trailwarden_core::language::Language;
use trailwarden_core::level::Verdict;
use trailwarden_core::negotiation::Bounds;
use trailwarden_core::time::Timestamp;

/// The system's allocator keeps what was freed in as many arenas as there were threads, so that a role which writes a large
/// file now and then holds ever more of what it no longer needs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Finds malicious abuse of legitimate APIs in AWS CloudTrail, explains it, and proposes a reversible response.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Generate an organisation, plant attacks, find them: no server, no network, no files of yours
    Demo(Demo),
    /// Scan files or folders of CloudTrail and print the cases that matter
    Scan(Scan),
    /// Ask the archive in SQL: tables activities, signals, cases and history
    Query(Query),
    /// Judge the case of a replay capsule again, offline; exits with 1 when anything is not as it was
    Replay(Replay),
    /// Show or check the configuration
    #[command(subcommand)]
    Config(Config),
    /// Run one role of a deployment, or all of them in one process, until told to stop
    Run(Run),
    /// Offline: generate logs, train a model, evaluate
    #[command(subcommand)]
    Lab(Lab),
    /// List, watch and label the cases of a running deployment
    Case(CaseArguments),
    /// Try the channels that people are told by
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// What can be done about a case, and what the executor needs for it
    Playbook(PlaybookArguments),
    /// Keys of those who approve
    #[command(subcommand)]
    Approver(ApproverCommand),
    /// What was allowed and done, and whether its record still holds
    Audit(AuditArguments),
    /// Check the servers that a deployment needs, and say what to do where one is not as it should be; exits with 1 then
    Doctor(Doctor),
}

/// What `run --help` says last.
const RUN_SETTINGS: &str = "Broker, store, archive and addresses are settings: `trailwarden config print` shows them all. Without bus.url and \
    windows.url everything stays in this process and nothing outlives it. With them, `trailwarden doctor --set-up` comes \
    first, once: it makes the streams and says what is not as it should be.";

#[derive(Debug, Args)]
#[command(after_long_help = RUN_SETTINGS)]
struct Run {
    /// What to run; may be given several times
    #[arg(long = "role", value_name = "ROLE", value_enum, default_value = "all")]
    roles: Vec<Role>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Die at a named place, the n-th time it is passed: `featurizer.published:3`. For tests
    #[arg(long, value_name = "PLACE:N", value_parser = place, hide = true)]
    die_at: Option<(String, u64)>,
    /// Measure at most so many events a second. For benches
    #[arg(long, value_name = "EVENTS_PER_S", hide = true)]
    pace: Option<u32>,
}

fn place(text: &str) -> Result<(String, u64), String> {
    let parts = text.rsplit_once(':').and_then(|(name, nth)| Some((name.to_owned(), nth.parse().ok()?)));
    parts.ok_or_else(|| "a place and a number: `featurizer.published:3`".to_owned())
}

#[derive(Debug, Args)]
struct CaseArguments {
    #[command(subcommand)]
    command: CaseCommand,
    /// The council's address; without it the configuration's `listen.council`
    #[arg(long, value_name = "HOST:PORT", global = true)]
    server: Option<String>,
    /// What to print on standard output
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table", global = true)]
    format: command::Format,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct PlaybookArguments {
    #[command(subcommand)]
    command: PlaybookCommand,
    /// Configuration file (TOML): its `playbooks.files` are yours
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct AuditArguments {
    #[command(subcommand)]
    command: AuditCommand,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Doctor {
    /// Make the streams of this deployment first, or bring them up to date; doing it again changes nothing
    #[arg(long)]
    set_up: bool,
    /// List what could not be worked on, up to 1000; `--dead-letters=SEQUENCE` goes on after that one
    #[arg(long, value_name = "SEQUENCE", num_args = 0..=1, require_equals = true, default_missing_value = "0", conflicts_with = "set_up")]
    dead_letters: Option<u64>,
    /// Send one dead letter back to where it came from, once the cause is mended
    #[arg(long, value_name = "SEQUENCE", conflicts_with_all = ["set_up", "dead_letters"])]
    redrive: Option<u64>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Doctor {
    fn task(&self) -> doctor::Task {
        match (self.redrive, self.dead_letters) {
            (Some(sequence), _) => doctor::Task::Redrive(sequence),
            (None, Some(after)) => doctor::Task::DeadLetters { after },
            (None, None) => doctor::Task::Check { set_up: self.set_up },
        }
    }
}

#[derive(Debug, Args)]
struct Demo {
    /// Another seed is another organisation with other attacks
    #[arg(long, value_name = "N", default_value_t = trailwarden::demo::SEED)]
    seed: u64,
    /// Where to write the report: HTML, or Markdown where the name ends in .md
    #[arg(long, value_name = "FILE", default_value = "trailwarden-demo.html")]
    report: PathBuf,
    /// The language that cases are told in: en or ko
    #[arg(long, value_name = "LANGUAGE", default_value_t)]
    language: Language,
    /// Carry a step out too, on an AWS of this machine (moto, which `tests/install_servers.sh` installs), and undo it
    #[arg(long)]
    live: bool,
    /// Where that AWS answers, if it runs already: `http://127.0.0.1:5000`
    #[arg(long, value_name = "URL", requires = "live")]
    endpoint: Option<String>,
}

#[derive(Debug, Args)]
struct Scan {
    /// Files, folders (the S3 layout too), or `-` for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Write a JSON line for each case
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    /// Write a JSON line for each event
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Write a report to read and to check: one HTML file that needs no network, or Markdown where the name ends in .md
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write a replay capsule for each suspicious or malicious case into this folder. The input is read a second time
    #[arg(long, value_name = "DIR")]
    capsules: Option<PathBuf>,
    /// Exit with 1 when a case reaches this verdict: benign, insufficient, suspicious or malicious
    #[arg(long, value_name = "VERDICT")]
    fail_on: Option<Verdict>,
    /// What to print on standard output
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    format: command::Format,
    /// The language that cases are told in: en or ko; the configuration's `report.language` without it
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<Language>,
    /// Threads that read and parse; 0 takes every core. The output is the same with any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256))]
    threads: Option<u16>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Replay {
    /// A capsule that `scan --capsules`, `demo` or `case export` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Say for every stage whether it is as it was, and the first thing that is not
    #[arg(long)]
    diff: bool,
    /// Ask the model that the configuration names once more, and say how far it agrees with what was said. No replay
    #[arg(long)]
    ask_again: bool,
    /// Say what is inside, and replay nothing
    #[arg(long, conflicts_with_all = ["diff", "ask_again"])]
    show: bool,
    /// Print the raw records as CloudTrail delivers them, and replay nothing
    #[arg(long, conflicts_with_all = ["diff", "ask_again", "show"])]
    records: bool,
    /// Configuration file (TOML), for `--ask-again` alone: all else stands in the capsule
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Query {
    /// One statement that reads; `SHOW COLUMNS FROM activities` names what there is
    #[arg(value_name = "SQL")]
    sql: String,
    /// Where the archive stands; the configuration's `archive.location` without it
    #[arg(long, value_name = "LOCATION")]
    archive: Option<String>,
    /// What to print on standard output
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    format: command::Format,
    /// Rows to print at most
    #[arg(long, value_name = "N", default_value_t = query::ROWS_DEFAULT as u32, value_parser = clap::value_parser!(u32).range(1..=query::ROWS_MAX as i64))]
    limit: u32,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Config {
    /// Print the effective configuration, every key documented
    Print {
        /// Configuration file (TOML); the defaults without it
        file: Option<PathBuf>,
    },
    /// Check a configuration file; exits with 2 when it is wrong
    Check {
        /// Configuration file (TOML)
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Lab {
    /// Write logs of an invented organisation with attacks in them, in the S3 layout, and the truth about them
    Generate(Generate),
    /// Train the model from nothing, on generated organisations
    Train(Train),
    /// Measure every detector by the published protocol and write the table
    Evaluate(Evaluate),
    /// Search for better settings (not built yet)
    Tune(Unbuilt),
}

#[derive(Debug, Args)]
struct Generate {
    /// Where to write; a new or empty folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Events in all, attacks included
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    events: u64,
    /// Accounts of the organisation
    #[arg(long, value_name = "N", default_value_t = 10)]
    accounts: usize,
    /// Days of logs; the first 40 % hold no attack
    #[arg(long, value_name = "N", default_value_t = 28)]
    days: u32,
    /// The same seed and settings give the same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How strange the innocent are, and how careful the attackers
    #[arg(long, value_enum, default_value = "hard")]
    setting: lab::Setting,
}

#[derive(Debug, Args)]
struct Train {
    /// Where to write the bundle
    #[arg(long, value_name = "FILE", default_value = "trailwarden.bundle")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct Evaluate {
    /// Where to write the table as Markdown
    #[arg(long, value_name = "FILE.md", default_value = "trailwarden-evaluation.md")]
    markdown: PathBuf,
    /// Where to write it as a page with plots
    #[arg(long, value_name = "FILE.html", default_value = "trailwarden-evaluation.html")]
    report: PathBuf,
    /// Innocent logs of a real account: how well can generated ones be told from them?
    #[arg(long, value_name = "PATH")]
    real: Option<PathBuf>,
    /// 2 measures instead what the council makes of stage one's cases, and prints that table
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=2), conflicts_with_all = ["markdown", "report", "real"])]
    stage: Option<u8>,
    /// With `--stage 2`: close cases up to this probability, as an operator might set it by hand
    #[arg(long, value_name = "P", default_value_t = 0.15, value_parser = probability, requires = "stage")]
    close_up_to: f64,
    /// With `--stage 2`: ask the configured council's models about a sample of the cases, and write what they say
    #[arg(long, value_name = "FILE", requires = "stage", conflicts_with = "recorded")]
    record: Option<PathBuf>,
    /// With `--stage 2`: judge by what models said then
    #[arg(long, value_name = "FILE", requires = "stage")]
    recorded: Option<PathBuf>,
    /// Cases of the sample at most: half of them false ones, as far as there are so many
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(2..=10_000), requires = "record")]
    sample: u32,
    /// Which sample
    #[arg(long, value_name = "N", default_value_t = 1, requires = "record")]
    sample_seed: u64,
    /// Configuration whose `[council]` is asked
    #[arg(long, value_name = "FILE", requires = "record")]
    config: Option<PathBuf>,
}

impl Evaluate {
    fn models(&self) -> Option<Models> {
        let Self { config, sample, sample_seed, .. } = self;
        let record = self.record.clone().map(|file| Models::Record {
            file,
            config: config.clone(),
            sample: *sample as usize,
            seed: *sample_seed,
        });
        record.or(self.recorded.clone().map(|file| Models::Recorded { file }))
    }
}

fn probability(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
    match (0.0..=Bounds::CLOSE_MAX).contains(&value) {
        true => Ok(value),
        false => Err(format!("cases may be closed up to {} at most", Bounds::CLOSE_MAX)),
    }
}

/// Whatever is given to a command that is not there yet.
#[derive(Debug, Args)]
struct Unbuilt {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

#[expect(clippy::disallowed_methods, reason = "the shell is where the clock is read")]
fn wall_clock() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_millis(now.map_or(0, |since| since.as_millis().try_into().unwrap_or(i64::MAX)))
}

#[expect(clippy::disallowed_methods, reason = "the shell is where the clock and the environment are read")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let surroundings = Surroundings {
        now: wall_clock(),
        elapsed: &|| started.elapsed(),
        environment: std::env::vars_os().collect(),
        stdout_is_terminal: std::io::stdout().is_terminal(),
        stderr_is_terminal: std::io::stderr().is_terminal(),
    };
    let outcome = match arguments.command {
        Command::Demo(asked) => {
            let Demo { seed, report, language, live, endpoint } = asked;
            command::demo(&command::DemoRequest { seed, report, language, live, endpoint }, &surroundings)
        }
        Command::Scan(scan) => command::scan(
            command::ScanRequest {
                paths: scan.paths,
                cases: scan.cases,
                events: scan.events,
                report: scan.report,
                capsules: scan.capsules,
                fail_on: scan.fail_on,
                format: scan.format,
                language: scan.language,
                threads: scan.threads.map(usize::from),
                config: scan.config,
            },
            &surroundings,
        ),
        Command::Query(asked) => {
            let Query { sql, archive, format, limit, config } = asked;
            query::query(query::QueryRequest { sql, archive, format, rows_max: limit as usize, config }, &surroundings)
        }
        Command::Replay(asked) => {
            let Replay { file, diff, ask_again, show, records, config } = asked;
            let request = capsule::command::ReplayRequest { file, diff, ask_again, show, records, config };
            capsule::command::run(&request, &surroundings)
        }
        Command::Config(Config::Print { file }) => command::config_print(file.as_deref(), &surroundings),
        Command::Config(Config::Check { file }) => command::config_check(&file, &surroundings),
        Command::Run(asked) => run::run(
            run::RunRequest { roles: asked.roles, config: asked.config, die_at: asked.die_at, pace: asked.pace },
            std::sync::Arc::new(wall_clock),
            &surroundings,
        ),
        Command::Lab(Lab::Generate(asked)) => {
            let Generate { out, events, accounts, days, seed, setting } = asked;
            lab::generate(&out, &setting.settings(events, accounts, days, seed), &surroundings)
        }
        Command::Lab(Lab::Train(asked)) => lab::train(&asked.out, &surroundings),
        Command::Lab(Lab::Evaluate(asked)) if asked.stage.is_some() => {
            let clock: trailwarden_runtime::Clock = std::sync::Arc::new(wall_clock);
            lab::stage_two(asked.close_up_to, asked.models().as_ref(), &clock, &surroundings)
        }
        Command::Lab(Lab::Evaluate(asked)) => {
            lab::evaluate(&asked.markdown, &asked.report, asked.real.as_deref(), &surroundings)
        }
        Command::Lab(Lab::Tune(_)) => command::not_built("lab tune", "the search for settings"),
        Command::Case(asked) => {
            case::run(asked.command, asked.server, asked.config.as_deref(), asked.format, &surroundings)
        }
        Command::Notify(asked) => notify::run(asked, std::sync::Arc::new(wall_clock), &surroundings),
        Command::Playbook(asked) => playbook::run(&asked.command, asked.config.as_deref(), &surroundings),
        Command::Approver(command) => approver::run(&command),
        Command::Audit(asked) => audit::run(asked.command, asked.config.as_deref(), &surroundings),
        Command::Doctor(asked) => doctor::doctor(asked.task(), asked.config.as_deref(), &surroundings),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            command::tell_error(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}
