//! Writes the report of findings that were made up for tests to the path given, and prints what the terminal would show.

use std::process::ExitCode;

use trailwarden::findings::Findings;
use trailwarden::{report, terminal};

#[path = "../tests/presentation/hostile.rs"]
#[allow(dead_code)]
mod hostile;
#[path = "../tests/presentation/sample/mod.rs"]
#[allow(dead_code)]
mod sample;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        eprintln!("usage: sample_report FILE.html [sample|quiet|nothing|hostile] [COLUMNS]");
        return ExitCode::from(2);
    };
    let findings = match arguments.next().as_deref() {
        Some("quiet") => Findings { cases: vec![], ..sample::findings() },
        Some("nothing") => Findings::default(),
        Some("hostile") => hostile::findings(),
        _ => sample::findings(),
    };
    let width = arguments.next().and_then(|columns| columns.parse().ok()).unwrap_or(100);
    if let Err(error) = std::fs::write(&path, report::html(&findings)) {
        eprintln!("{path}: {error}");
        return ExitCode::FAILURE;
    }
    let screen = terminal::Screen { colour: false, width };
    print!("{}{}", terminal::cases(&findings, screen), terminal::planted(&findings, screen));
    eprint!("{}", terminal::summary(&findings.input, 0.31));
    ExitCode::SUCCESS
}
