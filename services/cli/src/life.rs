//! A step's life, shown: in dry run by the state machine alone, or against an AWS of this machine.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use trailwarden_collector::{Input, collect};
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::resource::ResourceKind;
use trailwarden_core::response::hold::Joined;
use trailwarden_core::response::life::{Event, Life, Nature, State, WATCH_EVERY_MS, Work};
use trailwarden_core::response::rehearsal::{PastCall, Rehearsed, rehearse};
use trailwarden_core::time::{DAY_MS, HOUR_MS, Timestamp};
use trailwarden_playbooks::drill::{self, Told};
use trailwarden_playbooks::{CaseContext, Denial, Undo, Whose, calls, denial};

use crate::command::print;
use crate::figures::short_id;
use crate::findings::{Finding, Findings};
use crate::scan::Scanner;
use crate::untrusted::{name, visible};
use crate::words::Words;

/// How long the demo's step may stand.
const LEASE_MS: i64 = 24 * HOUR_MS;
/// How far back a denial is rehearsed, and calls that are looked at.
const PAST_MS: i64 = 14 * DAY_MS;
const CALLS_MAX: usize = 50_000;
const LINE_CHARS_MAX: usize = 300;
/// Pieces of work of one life.
const TURNS_MAX: usize = 100;

/// The step that is shown: of the most urgent case that has one, the first that denies a user or a role everything. The
/// tourniquet, which leaves the most, would show little.
fn shown(findings: &Findings) -> Option<(&Finding, &Action)> {
    let cases = findings.by_urgency();
    let denies = |finding: &&Finding, action: &&Action| {
        let context = context(finding);
        action.playbook != Playbook::QuarantineUserSoft
            && matches!(action.target.kind, ResourceKind::User | ResourceKind::Role)
            && denial(action, &context).is_some()
    };
    let mut steps = cases.iter().flat_map(|finding| finding.actions.iter().map(|action| (*finding, action)));
    steps.find(|(finding, action)| denies(finding, action))
}

fn context(finding: &Finding) -> CaseContext<'_> {
    CaseContext { case_id: &finding.case.id, reference_time: finding.case.last_event_time }
}

/// The whole life of one step in dry run, a line each; nothing is called. Empty where no case has such a step.
///
/// # Errors
/// When the input cannot be read again.
pub(crate) fn dry_run(
    scanner: &Scanner,
    inputs: &[Input],
    findings: &Findings,
    now: Timestamp,
    words: &Words,
) -> Result<Vec<String>> {
    let Some((finding, action)) = shown(findings) else { return Ok(vec![]) };
    let (w, began) = (&words.life, finding.case.last_event_time);
    let mut lines = vec![w.dry_head.to_owned()];
    let mut put = |at_ms: i64, what: &str, text: &str| {
        lines.push(format!("  {:<8}  {what:<10}  {}", after(at_ms), visible(text, LINE_CHARS_MAX)));
    };
    put(0, w.plan, &plan(finding, action));
    for call in &calls(action, &context(finding)).calls {
        put(0, "", &trailwarden_playbooks::cli_text(call));
    }
    if let Some(denial) = denial(action, &context(finding)) {
        put(0, w.rehearse, &rehearsed(scanner, inputs, finding, &denial, now)?);
    }
    put(0, w.approve, (w.approvers)(action.least_tier()));
    for (at, work, state) in lived(action, finding) {
        put(at.since_ms(began), (w.work)(work), (w.state)(state));
    }
    Ok(lines)
}

fn plan(finding: &Finding, action: &Action) -> String {
    let target = &action.target;
    let case = short_id(&finding.case.id);
    format!(
        "{} {} {} ({}, {case})",
        action.name(),
        crate::figures::resource_kind(target.kind),
        name(&target.id),
        name(&target.account)
    )
}

/// What the step would have blocked in the input's last days.
fn rehearsed(
    scanner: &Scanner,
    inputs: &[Input],
    finding: &Finding,
    denial: &Denial,
    now: Timestamp,
) -> Result<String> {
    let own: BTreeSet<&str> = finding.event_ids().into_iter().collect();
    let (until, mut past) = (finding.case.last_event_time, Vec::new());
    let since = until.plus_ms(-PAST_MS);
    let collected = collect(inputs, &scanner.options(now), &scanner.observer(), &|_| {})?;
    collected.in_order(|observation| {
        let activity = &observation.activity;
        let is_whose = match &denial.whose {
            Whose::Principal(arn) => activity.principal == arn,
            Whose::Key(id) => activity.session == id,
        };
        let is_then = (since..=until).contains(&activity.event_time);
        if is_whose && is_then && past.len() < CALLS_MAX {
            // Long-term keys are no tokens; whatever else was used was issued before it was.
            let is_token = !activity.session.starts_with("AKIA");
            past.push(PastCall {
                action: format!("{}:{}", activity.service, activity.call),
                resource: "*".to_owned(),
                principal: activity.principal.to_owned(),
                token_issued_at: is_token.then_some(activity.event_time),
                suspected: own.contains(activity.event_id),
                failed: activity.error_code.is_some(),
            });
        }
    })?;
    let told = rehearse(&denial.policy, &past).context("the rehearsal")?;
    Ok(Rehearsed::Told { since, is_cut: past.len() == CALLS_MAX, told }.text())
}

/// Each piece of work of a life in which AWS does as it is asked, with where the action stands after it. Of the watch, the
/// first look and the last.
fn lived(action: &Action, finding: &Finding) -> Vec<(Timestamp, Work, State)> {
    let began = finding.case.last_event_time;
    let step = calls(action, &context(finding));
    let nature = Nature {
        reversible: matches!(step.undo, Undo::Calls(_)),
        alternative: step.instead.is_some(),
        undoes_again: false,
    };
    let mut life = Life::new(nature, began.plus_ms(LEASE_MS), began);
    let mut lived: Vec<(Timestamp, Work, State)> = Vec::new();
    for _ in 0..TURNS_MAX {
        let Some((at, _)) = life.due() else { break };
        life.begin(at);
        let Some((_, work)) = life.due() else { break };
        let event = match work {
            Work::Capture => Event::Captured { already: false },
            Work::Join => Event::Joined(Joined::Held),
            Work::Apply => Event::Applied,
            Work::Inspect | Work::ReadBack => Event::Stands(true),
            Work::Undo => Event::UndoApplied,
            Work::CheckUndone => Event::IsBack(true),
        };
        if life.handle(event, at).is_err() {
            break;
        }
        // Nothing else wants the effect here, so there is nothing to tell of asking for it.
        if work != Work::Join {
            lived.push((at, work, life.state));
        }
    }
    let is_watch = |at: usize| {
        at > 0 && at + 1 < lived.len() && {
            let (before, one, next) = (lived[at - 1], lived[at], lived[at + 1]);
            one.1 == Work::ReadBack && next.1 == Work::ReadBack && one.0.since_ms(before.0) == WATCH_EVERY_MS
        }
    };
    (0..lived.len()).filter(|at| !is_watch(*at)).map(|at| lived[at]).collect()
}

/// `+60 s`, `+30 min`, `+24 h`.
fn after(ms: i64) -> String {
    match ms / 1_000 {
        seconds if seconds < 120 => format!("+{seconds} s"),
        seconds if seconds < 2 * 3_600 => format!("+{} min", seconds / 60),
        seconds => format!("+{} h", seconds / 3_600),
    }
}

/// An AWS of this machine for the demo: one that is named, or moto where it is installed.
pub(crate) struct Live {
    endpoint: String,
    _process: Option<Process>,
}

/// Killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where `tests/install_servers.sh` puts it, from the working folder.
const MOTO: &str = "target/servers/bin/moto_server";
/// Tries to reach it, and the pause between two.
const TRIES_MAX: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);

impl Live {
    /// # Errors
    /// In words, how to get it, where there is none.
    pub(crate) fn at(endpoint: Option<&str>) -> Result<Self> {
        if let Some(endpoint) = endpoint {
            return Ok(Self { endpoint: endpoint.to_owned(), _process: None });
        }
        let program = PathBuf::from(MOTO);
        if !program.is_file() {
            bail!(
                "`--live` needs an AWS of this machine, and {MOTO} is not there: `./tests/install_servers.sh` installs it in \
                 a clone, or `pip install 'moto[server]'` and `moto_server -p 5000` start one for \
                 `--endpoint http://127.0.0.1:5000`"
            );
        }
        Self::started(&program)
    }

    fn started(program: &Path) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|free| free.local_addr())
            .context("no free port")?
            .port();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process(command.spawn().with_context(|| format!("{} does not start", program.display()))?);
        for _ in 0..TRIES_MAX {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(Self { endpoint: format!("http://127.0.0.1:{port}"), _process: Some(process) });
            }
            if process.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "a server says nowhere that it listens but by answering")]
            std::thread::sleep(PAUSE);
        }
        bail!("{} does not answer", program.display());
    }

    /// Brings the demo's step through its life there, the account compared before and after.
    ///
    /// # Errors
    /// When no case has such a step, or AWS does not answer.
    pub(crate) fn run(&self, findings: &Findings, now: Timestamp, words: &Words) -> Result<bool> {
        let Some((finding, action)) = shown(findings) else {
            bail!(
                "no case of this organisation has a step that denies a user or a role something; try another `--seed`"
            );
        };
        print(&format!("{}\n  {}\n", (words.life.live_head)(&name(&self.endpoint)), plan(finding, action)))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start")?;
        let told: Told = runtime.block_on(async {
            drill::provide(&self.endpoint, &action.target).await?;
            let client = drill::client(&self.endpoint, "us-east-1", Arc::new(move || now))?;
            drill::run(action, &finding.case.id, Arc::new(client), now).await
        })?;
        crate::playbook::show(&told)?;
        Ok(told.is_good())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_unit() {
        for (ms, expect) in [(0, "+0 s"), (60_000, "+60 s"), (1_860_000, "+31 min"), (LEASE_MS, "+24 h")] {
            assert_eq!(after(ms), expect);
        }
    }

    #[test]
    fn without_moto_it_says_how_to_get_it() {
        let told = Live::started(Path::new("target/no-such-moto")).err().map(|error| error.to_string());
        assert!(told.is_some_and(|told| told.contains("does not start")));
        assert!(Live::at(Some("http://127.0.0.1:1")).is_ok());
    }
}
