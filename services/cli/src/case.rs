//! `case`: what a running council knows of its cases, and what a person says of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use trailwarden_core::level::Verdict;
use trailwarden_core::response::approval::{Intent, SignedOrder};
use trailwarden_core::time::Timestamp;
use trailwarden_proto::v1::case_service_client::CaseServiceClient;
use trailwarden_proto::v1::{
    ApproveCaseRequest, Case, CaseState, CaseTransition, DenyCaseRequest, GetCaseRequest, LabelCaseRequest,
    ListCasesRequest, ListCasesResponse, ReplayCaseRequest, TransitionKind, UndoCaseRequest, WatchCasesRequest,
};

use crate::approver::{self, Signing};
use crate::command::{Format, Surroundings, print, tell};
use crate::config::Config;
use crate::ocsf;
use crate::untrusted::{name, visible_json};

/// How long a single answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is said when an order is on its way.
const SENT: &str = "signed and sent; `trailwarden audit list` tells what the executor makes of it\n";
/// Cases of one page that are asked for.
const LISTED_DEFAULT: u32 = 100;

#[derive(Clone, Debug, Subcommand)]
pub enum CaseCommand {
    /// List cases, latest first
    List {
        /// Only cases with this verdict; may be given several times
        #[arg(long, value_name = "VERDICT")]
        verdict: Vec<Verdict>,
        /// Only cases that are still open
        #[arg(long)]
        open: bool,
        /// At most so many, up to 1000
        #[arg(long, value_name = "N", default_value_t = LISTED_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// Print one case in full, as `scan --cases` would write it, or with `--format ocsf` as a finding
    Get {
        /// Its id, as `case list` prints it
        id: String,
    },
    /// Print every change of a case, as it happens
    Watch {
        /// Begin with this place in the log of all cases, as each row names it; without it, from now on
        #[arg(long, value_name = "SEQUENCE")]
        from: Option<u64>,
    },
    /// Say what a case turned out to be
    Label {
        /// Its id, as `case list` prints it
        id: String,
        /// malicious, suspicious, benign or insufficient
        verdict: Verdict,
        /// Why, in a few words
        #[arg(long, value_name = "TEXT", hide_default_value = true, default_value = "")]
        note: String,
        /// Who says so
        #[arg(long, value_name = "NAME")]
        author: String,
    },
    /// Show the exact calls of a case's plan, and with a key approve them
    Approve {
        /// Its id, as `case list` prints it
        id: String,
        #[command(flatten)]
        signing: Signing,
        /// Only this step of the plan, counted from 1; may be given several times
        #[arg(long = "step", value_name = "N")]
        steps: Vec<usize>,
        /// Hours after which the steps are undone by themselves, up to a week
        #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=168))]
        lease_h: u32,
        /// A proposal that another approver wrote with `--out`: where two have to agree, both sign the same
        #[arg(long, value_name = "FILE", conflicts_with_all = ["steps", "out"])]
        proposal: Option<PathBuf>,
        /// Write the proposal here, for the second approver
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Show the calls and sign nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Deny a proposal, so that nobody's approval of it counts
    Deny {
        /// Its id, as `case list` prints it
        id: String,
        #[command(flatten)]
        signing: Signing,
        /// The proposal, as an approver wrote it with `--out`
        #[arg(long, value_name = "FILE")]
        proposal: PathBuf,
    },
    /// Take back what was done about a case
    Undo {
        /// Its id, as `case list` prints it
        id: String,
        #[command(flatten)]
        signing: Signing,
    },
    /// Judge a case once more from what was recorded (not built yet)
    Replay {
        /// Its id, as `case list` prints it
        id: String,
    },
}

/// Asks the council at `server` (`host:port`), or where the configuration says that it listens.
pub fn run(
    command: CaseCommand,
    server: Option<String>,
    config: Option<&Path>,
    format: Format,
    surroundings: &Surroundings<'_>,
) -> Result<ExitCode> {
    let config = Config::load(config, surroundings.environment.iter().cloned())?;
    let server = server.unwrap_or(config.listen.council);
    let desk = Desk { tenant: config.run.tenant, now: surroundings.now };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start")?;
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{server}")).context("the server's address")?;
        let channel = endpoint.connect_timeout(DEADLINE).connect().await;
        let channel =
            channel.with_context(|| format!("no council answers at {server}; `trailwarden run` starts one"))?;
        ask(command, CaseServiceClient::new(channel), &desk, format).await
    })
}

/// Where an approver signs.
struct Desk {
    tenant: String,
    now: Timestamp,
}

type Council = CaseServiceClient<Channel>;

async fn ask(command: CaseCommand, mut council: Council, desk: &Desk, format: Format) -> Result<ExitCode> {
    match command {
        CaseCommand::List { verdict, open, limit } => {
            let verdicts = verdict.iter().map(ToString::to_string).collect();
            let request = ListCasesRequest { verdicts, open_only: open, limit, after: String::new() };
            let ListCasesResponse { cases, next } = answered(council.list(timed(request)).await)?;
            if format == Format::Table {
                print(&HEAD.join("  "))?;
            }
            for case in &cases {
                print(&line(case, format))?;
            }
            if cases.is_empty() {
                tell("there are no such cases yet\n");
            }
            if !next.is_empty() {
                tell(&format!("there are more than these {limit}; `--limit` shows up to 1000\n"));
            }
        }
        CaseCommand::Get { id } => {
            let case = answered(council.get(timed(GetCaseRequest { id })).await)?;
            // In full, so never as a row.
            print(&line(&case, if format == Format::Table { Format::Jsonl } else { format }))?;
        }
        CaseCommand::Watch { from } => {
            let request = WatchCasesRequest { from_sequence: from.unwrap_or_default() };
            let mut transitions = answered(council.watch(Request::new(request)).await)?;
            while let Some(transition) = answered(transitions.message().await.map(tonic::Response::new))? {
                if !print(&change(&transition, format))? {
                    break;
                }
            }
        }
        CaseCommand::Label { id, verdict, note, author } => {
            let request = LabelCaseRequest { id, verdict: verdict.to_string(), note, author };
            print(&line(&answered(council.label(timed(request)).await)?, format))?;
        }
        CaseCommand::Approve { id, signing, steps, lease_h, proposal, out, dry_run } => {
            let text = match proposal {
                Some(path) => approver::read(&path)?,
                None => {
                    let case = answered(council.get(timed(GetCaseRequest { id: id.clone() })).await)?;
                    approver::proposal(&desk.tenant, &id, &case.line_json, &steps, lease_h, desk.now)?
                }
            };
            approver::show(&text)?;
            if let Some(out) = out {
                std::fs::write(&out, &text).with_context(|| format!("cannot write {}", out.display()))?;
            }
            if dry_run {
                tell("nothing is signed\n");
                return Ok(ExitCode::SUCCESS);
            }
            let SignedOrder { order, signature } =
                approver::sign(&signing, Intent::Approve, &desk.tenant, &id, &text, desk.now)?;
            let request = ApproveCaseRequest { id, order_json: order, signature, proposal_json: text };
            answered(council.approve(timed(request)).await)?;
            tell(SENT);
        }
        CaseCommand::Deny { id, signing, proposal } => {
            let text = approver::read(&proposal)?;
            let SignedOrder { order, signature } =
                approver::sign(&signing, Intent::Deny, &desk.tenant, &id, &text, desk.now)?;
            answered(council.deny(timed(DenyCaseRequest { id, order_json: order, signature })).await)?;
            tell(SENT);
        }
        CaseCommand::Undo { id, signing } => {
            let SignedOrder { order, signature } =
                approver::sign(&signing, Intent::Undo, &desk.tenant, &id, "", desk.now)?;
            answered(council.undo(timed(UndoCaseRequest { id, order_json: order, signature })).await)?;
            tell(SENT);
        }
        CaseCommand::Replay { id } => drop(answered(council.replay(timed(ReplayCaseRequest { id })).await)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// The answer, or the server's words.
fn answered<T>(response: Result<tonic::Response<T>, tonic::Status>) -> Result<T> {
    match response {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => bail!("the council says: {}", name(status.message())),
    }
}

const HEAD: [&str; 6] =
    ["STATE ", "SEVERITY     ", "VERDICT     ", "ATTACK", "SINCE (UTC)         ", "CASE, ACCOUNT, WHO\n"];

/// A change of a case, with its place in the log to begin with the next time.
fn change(transition: &CaseTransition, format: Format) -> String {
    let CaseTransition { sequence, case, .. } = transition;
    let kind = match transition.kind() {
        TransitionKind::Judged => "judged",
        TransitionKind::Closed => "closed",
        TransitionKind::Merged => "merged",
        TransitionKind::Labelled => "labelled",
        TransitionKind::Unspecified => "?",
    };
    let Some(case) = case else { return String::new() };
    match format {
        Format::Ocsf => ocsf::json_line(&ocsf::of_case(case, Some(transition))),
        Format::Jsonl => {
            format!("{{\"sequence\":{sequence},\"kind\":\"{kind}\",\"case\":{}}}\n", json(case))
        }
        Format::Table => format!("{sequence:>8}  {kind:<8}  {}", line(case, format)),
    }
}

/// The line that `scan --cases` would write, with what hides in its strings escaped: it may be read on a terminal.
fn json(case: &Case) -> String {
    // Line breaks mean nothing between the values of JSON, and within them they are escaped.
    visible_json(&case.line_json.trim_end().replace('\n', " "))
}

/// A case as a row, as the line that `scan --cases` would write, or as a finding. Any text of it may be an attacker's.
fn line(case: &Case, format: Format) -> String {
    match format {
        Format::Table => row(case),
        Format::Jsonl => format!("{}\n", json(case)),
        Format::Ocsf => ocsf::json_line(&ocsf::of_case(case, None)),
    }
}

fn row(case: &Case) -> String {
    let state = match case.state() {
        CaseState::Open => "open",
        CaseState::Closed => "closed",
        CaseState::Merged => "merged",
        CaseState::Unspecified => "?",
    };
    let label =
        case.label.as_ref().map(|label| format!("  labelled {} by {}", name(&label.verdict), name(&label.author)));
    format!(
        "{state:<6}  {:<13}  {:<12}  {:>4.0} %  {:<20}  {} {} {}{}\n",
        name(&case.severity),
        name(&case.verdict),
        case.score * 100.0,
        Timestamp::from_millis(case.first_event_time_ms).to_string(),
        name(&case.id),
        name(&case.account),
        name(&case.principal),
        label.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::is_hidden;
    use trailwarden_proto::v1::CaseLabel;

    /// A title change, a direction override, the one-byte form of an escape, and a line of its own.
    const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{202e}txt\u{9b}2J\r\nclosed";

    fn hostile() -> Case {
        let text = || HOSTILE.to_owned();
        Case {
            id: text(),
            account: text(),
            principal: text(),
            session: text(),
            verdict: text(),
            severity: text(),
            line_json: format!("{}\n", serde_json::json!({ "id": HOSTILE })),
            label: Some(CaseLabel { verdict: text(), note: text(), author: text(), at_ms: 0 }),
            ..Case::default()
        }
    }

    #[test]
    fn what_an_attacker_wrote_does_nothing_to_the_terminal() {
        let transition = CaseTransition { sequence: 7, case: Some(hostile()), ..CaseTransition::default() };
        for format in [Format::Table, Format::Jsonl, Format::Ocsf] {
            for shown in [line(&hostile(), format), change(&transition, format)] {
                let row = shown.strip_suffix('\n').expect("a whole line");
                assert!(!row.contains(is_hidden), "{row:?}");
                assert!(row.contains("202e"), "it is there to be seen: {row}");
            }
        }
    }

    #[test]
    fn a_line_of_json_keeps_its_meaning() {
        let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        assert_eq!(read(&line(&hostile(), Format::Jsonl))["id"], HOSTILE);
        let transition = CaseTransition { sequence: 7, case: Some(hostile()), ..CaseTransition::default() };
        assert_eq!(read(&change(&transition, Format::Jsonl))["case"]["id"], HOSTILE);
    }
}
