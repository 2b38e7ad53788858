//! `case`: what a running council knows of its cases, and what a person says of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use trailwarden_core::language::Language;
use trailwarden_core::level::Verdict;
use trailwarden_core::plan::own::OwnPlaybook;
use trailwarden_core::response::approval::{Intent, Proposal, SignedOrder};
use trailwarden_core::time::Timestamp;
use trailwarden_playbooks::GoodTrail;
use trailwarden_playbooks::executor::History;
use trailwarden_proto::v1::case_service_client::CaseServiceClient;
use trailwarden_proto::v1::{
    ApproveCaseRequest, Case, CaseState, CaseTransition, DenyCaseRequest, GetCaseRequest, LabelCaseRequest,
    ListCasesRequest, ListCasesResponse, ReplayCaseRequest, TransitionKind, UndoCaseRequest, WatchCasesRequest,
};

use crate::approver::{self, MaybeSigning, Signing, Written};
use crate::calibrate;
use crate::capsule::command::{ExportRequest, Known, export};
use crate::command::{Format, Surroundings, print, tell};
use crate::config::Config;
use crate::line::Line;
use crate::preserve::{self, PreserveRequest};
use crate::rehearsal::Past;
use crate::untrusted::{name, visible_json};
use crate::{done, markdown, ocsf, own};

/// How long a single answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is said when an order is on its way.
const SENT: &str = "signed and sent; `trailwarden audit list --case ID` tells what the executor makes of it\n";
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
    /// Print one case in full: as `scan --cases` would write it, with `--format ocsf` as a finding, with `--format markdown`
    /// as a ticket
    Get {
        /// Its id, as `case list` prints it
        id: String,
        /// Tell it in this language, en or ko; as it was logged without it
        #[arg(long, value_name = "LANGUAGE")]
        language: Option<Language>,
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
        /// The case is of generated or rehearsed logs (a drill): it counts for no bound
        #[arg(long)]
        synthetic: bool,
    },
    /// Make bounds and a refit of the pool of labelled cases, for `routing.calibration` to name
    Calibrate(calibrate::Arguments),
    /// Write a case as a replay capsule: one file that `replay` judges again, offline. With `--server`, what models said of
    /// it there goes with it
    Export {
        /// Its id, as `case list` or `scan --cases` prints it
        id: String,
        /// Where to write the capsule. It holds raw records
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The logs that hold the case's events: files or folders. A deployment does not keep raw records yet
        #[arg(long, value_name = "PATH")]
        logs: Vec<PathBuf>,
    },
    /// Copy a case's records to the evidence store, with a list of their digests. Nothing there is written over, and no
    /// account is called, so nobody need approve it
    Preserve {
        /// Its id, as `case list` or `scan --cases` prints it
        id: String,
        /// The logs that hold the case's raw records: files or folders. Without them the archived activities are copied, since
        /// a deployment does not keep raw records
        #[arg(long, value_name = "PATH")]
        logs: Vec<PathBuf>,
    },
    /// Show the exact calls of a case's plan, and with a key approve them
    Approve {
        /// Its id, as `case list` prints it
        id: String,
        #[command(flatten)]
        signing: MaybeSigning,
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
        /// Show the calls and sign nothing, as without a key
        #[arg(long)]
        dry_run: bool,
        /// Approve also steps of which nobody knows what they would have blocked in the past
        #[arg(long)]
        unrehearsed: bool,
    },
    /// Ask in your own name for steps of a case's plan: others have to approve them
    Propose {
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
        /// Write the proposal here, for whoever approves it (`case approve --proposal`)
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Deny a proposal for good, so that nobody's approval of it counts
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
    /// Let what was done about a case stand for as long again from now, if you may approve such steps; T3 takes two
    Renew {
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
    let load = || Config::load(config, surroundings.environment.iter().cloned());
    if let CaseCommand::Calibrate(asked) = &command
        && !asked.labels.is_empty()
    {
        return calibrate::of_files(asked, load()?, format);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start")?;
    if let CaseCommand::Export { id, out, logs } = command {
        let known =
            server.filter(|_| !logs.is_empty()).map(|server| runtime.block_on(known(&server, &id))).transpose()?;
        let request = ExportRequest { id, out, logs, known, config: config.map(Path::to_owned) };
        return export(&request, surroundings);
    }
    if let CaseCommand::Preserve { id, logs } = &command
        && !logs.is_empty()
    {
        let request = PreserveRequest { id: id.clone(), logs: logs.clone(), config: config.map(Path::to_owned) };
        return runtime.block_on(preserve::of_logs(&request, surroundings));
    }
    let config = load()?;
    let server = server.unwrap_or_else(|| config.listen.council.clone());
    runtime.block_on(async {
        let council = council(&server).await?;
        match command {
            CaseCommand::Calibrate(asked) => calibrate::of_council(&asked, config, council, format).await,
            CaseCommand::Preserve { id, .. } => {
                let mut council = council;
                let case = answered(council.get(timed(GetCaseRequest { id })).await)?;
                preserve::of_deployment(&case, &config, surroundings).await
            }
            command => {
                let past = Past { location: &config.archive.location, environment: &surroundings.environment };
                let trails = approver::trails_of(&config)?;
                let own = own::load(&config.playbooks)?;
                let tenant = config.run.tenant.clone();
                let desk = Desk { tenant, now: surroundings.now, past, trails, own, config: &config };
                ask(command, council, &desk, format).await
            }
        }
    })
}

async fn council(server: &str) -> Result<Council> {
    let endpoint = Endpoint::from_shared(format!("http://{server}")).context("the server's address")?;
    let channel = endpoint.connect_timeout(DEADLINE).connect().await;
    let channel = channel.with_context(|| format!("no council answers at {server}; `trailwarden run` starts one"))?;
    Ok(CaseServiceClient::new(channel))
}

/// A case as the council at `server` knows it.
async fn known(server: &str, id: &str) -> Result<Known> {
    let request = timed(GetCaseRequest { id: id.to_owned() });
    let Case { verdict, severity, transcript_json, .. } = answered(council(server).await?.get(request).await)?;
    Ok(Known { verdict, severity, transcript: transcript_json })
}

/// Where an approver signs.
struct Desk<'a> {
    tenant: String,
    now: Timestamp,
    past: Past<'a>,
    /// Trails as they should be.
    trails: Vec<GoodTrail>,
    /// Playbooks of the operator's.
    own: Vec<Arc<OwnPlaybook>>,
    config: &'a Config,
}

type Council = CaseServiceClient<Channel>;

async fn ask(command: CaseCommand, mut council: Council, desk: &Desk<'_>, format: Format) -> Result<ExitCode> {
    if format == Format::Markdown && !matches!(command, CaseCommand::Get { .. }) {
        bail!("only `case get` tells a case in Markdown");
    }
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
        CaseCommand::Get { id, language } => {
            let case = answered(council.get(timed(GetCaseRequest { id: id.clone() })).await)?;
            let text = in_full(&case, language, format)?;
            let history = match done::of_case(desk.config, &id).await {
                Ok(history) => history.filter(|history| !history.is_empty()),
                Err(error) => {
                    tell(&format!("what was done is not known: {}\n", name(&format!("{error:#}"))));
                    None
                }
            };
            print(&with_history(text, history.as_ref(), format)?)?;
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
        CaseCommand::Label { id, verdict, note, author, synthetic } => {
            let request = LabelCaseRequest { id, verdict: verdict.to_string(), note, author, synthetic };
            print(&line(&answered(council.label(timed(request)).await)?, format))?;
        }
        // They need more than a council: see `run`.
        CaseCommand::Calibrate(_) | CaseCommand::Export { .. } | CaseCommand::Preserve { .. } => {}
        command @ (CaseCommand::Propose { .. }
        | CaseCommand::Approve { .. }
        | CaseCommand::Deny { .. }
        | CaseCommand::Undo { .. }
        | CaseCommand::Renew { .. }) => return order(command, council, desk).await,
        CaseCommand::Replay { id } => drop(answered(council.replay(timed(ReplayCaseRequest { id })).await)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// A rehearsed proposal of what the council planned for a case.
async fn planned(council: &mut Council, desk: &Desk<'_>, id: &str, steps: &[usize], lease_h: u32) -> Result<Proposal> {
    let case = answered(council.get(timed(GetCaseRequest { id: id.to_owned() })).await)?;
    let place = (desk.tenant.as_str(), id);
    let written = Written { own: &desk.own, trails: &desk.trails };
    let mut proposal = approver::proposal(place, &case.line_json, steps, lease_h, written, desk.now)?;
    desk.past.rehearse(&mut proposal, &case.line_json).await?;
    Ok(proposal)
}

/// Signs an order about a case and sends it on its way.
async fn order(command: CaseCommand, mut council: Council, desk: &Desk<'_>) -> Result<ExitCode> {
    let sign = |signing: &Signing, intent, case: &str, proposal: &str| {
        approver::sign(signing, intent, &desk.tenant, case, proposal, desk.now)
    };
    match command {
        CaseCommand::Propose { id, signing, steps, lease_h, out } => {
            let mut proposal = planned(&mut council, desk, &id, &steps, lease_h).await?;
            proposal.requester.clone_from(&signing.approver);
            let text = serde_json::to_string(&proposal)?;
            approver::show(&text)?;
            std::fs::write(&out, &text).with_context(|| format!("cannot write {}", out.display()))?;
            let SignedOrder { order, signature } = sign(&signing, Intent::Propose, &id, &text)?;
            let request = ApproveCaseRequest { id, order_json: order, signature, proposal_json: text };
            answered(council.approve(timed(request)).await)?;
        }
        CaseCommand::Approve { id, signing, steps, lease_h, proposal, out, dry_run, unrehearsed } => {
            let text = match proposal {
                Some(path) => approver::read(&path)?,
                None => serde_json::to_string(&planned(&mut council, desk, &id, &steps, lease_h).await?)?,
            };
            let unknown = approver::show(&text)?;
            if let Some(out) = out {
                std::fs::write(&out, &text).with_context(|| format!("cannot write {}", out.display()))?;
            }
            let Some(signing) = signing.given().filter(|_| !dry_run) else {
                tell("nothing is signed, so nothing will be called; `--key`, `--approver` and `--reason` approve it\n");
                return Ok(ExitCode::SUCCESS);
            };
            if let (Some(first), false) = (unknown.first(), unrehearsed) {
                bail!("what step {first} would have blocked is not known; `--unrehearsed` approves it all the same");
            }
            let SignedOrder { order, signature } = sign(&signing, Intent::Approve, &id, &text)?;
            let request = ApproveCaseRequest { id, order_json: order, signature, proposal_json: text };
            answered(council.approve(timed(request)).await)?;
        }
        CaseCommand::Deny { id, signing, proposal } => {
            let SignedOrder { order, signature } = sign(&signing, Intent::Deny, &id, &approver::read(&proposal)?)?;
            answered(council.deny(timed(DenyCaseRequest { id, order_json: order, signature })).await)?;
        }
        CaseCommand::Undo { id, signing } => {
            let SignedOrder { order, signature } = sign(&signing, Intent::Undo, &id, "")?;
            answered(council.undo(timed(UndoCaseRequest { id, order_json: order, signature })).await)?;
        }
        CaseCommand::Renew { id, signing } => {
            let SignedOrder { order, signature } = sign(&signing, Intent::Renew, &id, "")?;
            let proposal_json = String::new();
            let request = ApproveCaseRequest { id, order_json: order, signature, proposal_json };
            answered(council.approve(timed(request)).await)?;
        }
        // The others order nothing: see `ask`.
        _ => return Ok(ExitCode::SUCCESS),
    }
    tell(SENT);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// The answer, or the server's words.
pub(crate) fn answered<T>(response: Result<tonic::Response<T>, tonic::Status>) -> Result<T> {
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
        Format::Jsonl | Format::Markdown => {
            format!("{{\"sequence\":{sequence},\"kind\":\"{kind}\",\"case\":{}}}\n", json(&case.line_json))
        }
        Format::Table => format!("{sequence:>8}  {kind:<8}  {}", line(case, format)),
    }
}

/// The line that `scan --cases` would write, with what hides in its strings escaped: it may be read on a terminal.
fn json(line_json: &str) -> String {
    // Line breaks mean nothing between the values of JSON, and within them they are escaped.
    visible_json(&line_json.trim_end().replace('\n', " "))
}

/// A case in full, so never as a row; in `language` where it is asked for and the case's line is one of this version's.
fn in_full(case: &Case, language: Option<Language>, format: Format) -> Result<String> {
    let read =
        || Line::read(case.line_json.as_bytes()).context("the case was logged without a line that this version reads");
    match (format, language) {
        (Format::Markdown, _) => Ok(markdown::retold(read()?, language)),
        (Format::Table | Format::Jsonl, Some(language)) => {
            Ok(format!("{}\n", json(&serde_json::to_string(&read()?.retold(language))?)))
        }
        (Format::Table | Format::Jsonl, None) => Ok(line(case, Format::Jsonl)),
        (Format::Ocsf, _) => Ok(line(case, Format::Ocsf)),
    }
}

/// A case in full with what was done about it: a member of its line, a section of a ticket; a finding tells of none.
fn with_history(text: String, history: Option<&History>, format: Format) -> Result<String> {
    let Some(history) = history else { return Ok(text) };
    match format {
        Format::Markdown => Ok(format!("{text}{}", done::section(history))),
        Format::Ocsf => Ok(text),
        Format::Jsonl => done::added(&text, history),
        Format::Table => {
            done::told(history).iter().for_each(|line| tell(&format!("{line}\n")));
            done::added(&text, history)
        }
    }
}

/// A case as a row, as the line that `scan --cases` would write, or as a finding. Any text of it may be an attacker's.
fn line(case: &Case, format: Format) -> String {
    match format {
        Format::Table => row(case),
        Format::Jsonl | Format::Markdown => format!("{}\n", json(&case.line_json)),
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
            label: Some(CaseLabel { verdict: text(), note: text(), author: text(), ..CaseLabel::default() }),
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
    fn what_no_line_tells_is_refused_in_words_and_never_guessed() {
        let unread = Case { line_json: r#"{"case_id":"x"}"#.into(), ..Case::default() };
        for format in [Format::Markdown, Format::Table, Format::Jsonl] {
            let refused = in_full(&unread, Some(Language::Korean), format).expect_err("it is no line of a case");
            assert!(refused.to_string().contains("without a line"), "{refused}");
        }
        let whole = in_full(&unread, None, Format::Table).expect("as it was logged");
        assert_eq!(whole, "{\"case_id\":\"x\"}\n", "in full, so never as a row");
    }

    #[test]
    fn a_line_of_json_keeps_its_meaning() {
        let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        assert_eq!(read(&line(&hostile(), Format::Jsonl))["id"], HOSTILE);
        let transition = CaseTransition { sequence: 7, case: Some(hostile()), ..CaseTransition::default() };
        assert_eq!(read(&change(&transition, Format::Jsonl))["case"]["id"], HOSTILE);
    }
}
