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
use trailwarden::command::{self, Surroundings};
use trailwarden::lab;
use trailwarden_core::level::Verdict;
use trailwarden_core::time::Timestamp;

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
    /// Show or check the configuration
    #[command(subcommand)]
    Config(Config),
    /// Run as a service (not built yet)
    Run(Unbuilt),
    /// Offline: generate logs, train a model, evaluate
    #[command(subcommand)]
    Lab(Lab),
    /// List, watch, label, approve and undo cases of a running service (not built yet)
    Case(Unbuilt),
    /// Check the servers that a service needs (not built yet)
    Doctor(Unbuilt),
}

#[derive(Debug, Args)]
struct Demo {
    /// Another seed is another organisation with other attacks
    #[arg(long, value_name = "N", default_value_t = trailwarden::demo::SEED)]
    seed: u64,
    /// Where to write the HTML report
    #[arg(long, value_name = "FILE", default_value = "trailwarden-demo.html")]
    report: PathBuf,
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
    /// Write a report to read and to check: one HTML file that needs no network
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Exit with 1 when a case reaches this verdict: benign, insufficient, suspicious or malicious
    #[arg(long, value_name = "VERDICT")]
    fail_on: Option<Verdict>,
    /// What to print on standard output
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    format: command::Format,
    /// Threads that read and parse; 0 takes every core. The output is the same with any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256))]
    threads: Option<u16>,
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
}

/// Whatever is given to a command that is not there yet.
#[derive(Debug, Args)]
struct Unbuilt {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

#[expect(clippy::disallowed_methods, reason = "the shell is where the clock and the environment are read")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let started = Instant::now();
    let surroundings = Surroundings {
        now: Timestamp::from_millis(now.map_or(0, |since| since.as_millis().try_into().unwrap_or(i64::MAX))),
        elapsed: &|| started.elapsed(),
        environment: std::env::vars_os().collect(),
        stdout_is_terminal: std::io::stdout().is_terminal(),
        stderr_is_terminal: std::io::stderr().is_terminal(),
    };
    let outcome = match arguments.command {
        Command::Demo(demo) => command::demo(demo.seed, &demo.report, &surroundings),
        Command::Scan(scan) => command::scan(
            command::ScanRequest {
                paths: scan.paths,
                cases: scan.cases,
                events: scan.events,
                report: scan.report,
                fail_on: scan.fail_on,
                format: scan.format,
                threads: scan.threads.map(usize::from),
                config: scan.config,
            },
            &surroundings,
        ),
        Command::Config(Config::Print { file }) => command::config_print(file.as_deref(), &surroundings),
        Command::Config(Config::Check { file }) => command::config_check(&file, &surroundings),
        Command::Run(_) => command::not_built("run", "the services and the message bus"),
        Command::Lab(Lab::Generate(asked)) => {
            let Generate { out, events, accounts, days, seed, setting } = asked;
            lab::generate(&out, &setting.settings(events, accounts, days, seed), &surroundings)
        }
        Command::Lab(Lab::Train(asked)) => lab::train(&asked.out, &surroundings),
        Command::Lab(Lab::Evaluate(asked)) => {
            lab::evaluate(&asked.markdown, &asked.report, asked.real.as_deref(), &surroundings)
        }
        Command::Lab(Lab::Tune(_)) => command::not_built("lab tune", "the search for settings"),
        Command::Case(_) => command::not_built("case", "the services and the message bus"),
        Command::Doctor(_) => command::not_built("doctor", "the services and the message bus"),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            command::tell(&format!("trailwarden: {error:#}\n"));
            ExitCode::from(2)
        }
    }
}
