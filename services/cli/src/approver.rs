//! What an approver does: makes a key, sees the exact calls of a plan, and signs an order about them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use trailwarden_core::plan::own::OwnPlaybook;
use trailwarden_core::plan::{Action, Playbook, Tier};
use trailwarden_core::resource::Resource;
use trailwarden_core::response::approval::{
    APPROVAL_MS, Approver, COUNCIL, Intent, Order, PROPOSAL_BYTES_MAX, Proposal, ProposedStep, Registry, SignedOrder,
};
use trailwarden_core::response::digest;
use trailwarden_core::response::rehearsal::Rehearsed;
use trailwarden_core::time::{HOUR_MS, Timestamp};
use trailwarden_playbooks::executor::LEASE_MS_MAX;
use trailwarden_playbooks::keys::{SigningKey, random_hex};
use trailwarden_playbooks::{CaseContext, GoodTrail, Undo, calls, cli_text, denial, known_good};

use crate::command::{print, tell};
use crate::config::Config;
use crate::line::Line;
use crate::untrusted::visible;

/// Bytes of a file with keys or approvers.
const FILE_BYTES_MAX: u64 = 1 << 20;
const NONCE_BYTES: usize = 16;
/// Characters of one shown call.
const CALL_CHARS_MAX: usize = 8_000;

#[derive(Clone, Debug, Subcommand)]
pub enum ApproverCommand {
    /// Make a key for an approver or for the executor: the private key goes to a file, the public one is printed
    Keygen {
        /// Where to write the private key; must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Whose it is
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What they may approve; may be given several times
        #[arg(long = "tier", value_name = "TIER", value_parser = tier, default_values = ["T1", "T2"])]
        tiers: Vec<Tier>,
    },
}

fn tier(text: &str) -> Result<Tier, String> {
    match text {
        "T0" => Ok(Tier::T0),
        "T1" => Ok(Tier::T1),
        "T2" => Ok(Tier::T2),
        "T3" => Ok(Tier::T3),
        _ => Err("a tier is T0, T1, T2 or T3".to_owned()),
    }
}

/// Whose order it is, and why.
#[derive(Clone, Debug, Args)]
pub struct Signing {
    /// Your private key, as `approver keygen` wrote it
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Your name among the approvers
    #[arg(long, value_name = "NAME")]
    pub approver: String,
    /// Why, in a few words; it is written to the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Who signs, where anything is to be signed.
#[derive(Clone, Debug, Args)]
pub struct MaybeSigning {
    /// Your private key, as `approver keygen` wrote it; without it nothing is signed
    #[arg(long, value_name = "FILE", requires_all = ["approver", "reason"])]
    key: Option<PathBuf>,
    /// Your name among the approvers
    #[arg(long, value_name = "NAME", requires = "key")]
    approver: Option<String>,
    /// Why, in a few words; it is written to the audit log
    #[arg(long, value_name = "TEXT", requires = "key")]
    reason: Option<String>,
}

impl MaybeSigning {
    pub fn given(self) -> Option<Signing> {
        Some(Signing { key: self.key?, approver: self.approver?, reason: self.reason? })
    }
}

/// Makes a key.
pub fn run(command: &ApproverCommand) -> Result<ExitCode> {
    let ApproverCommand::Keygen { out, name, tiers } = command;
    let (text, key) = SigningKey::generate()?;
    let approver = Approver { name: name.clone(), public_key: key.public(), tiers: tiers.iter().copied().collect() };
    Registry::new(vec![approver.clone()]).map_err(anyhow::Error::msg)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(out).with_context(|| format!("cannot make {}", out.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", out.display()))?;
    // A line of the file that `executor.approvers` names.
    print(&format!("{}\n", serde_json::to_string(&approver)?))?;
    tell(&format!(
        "the private key is in {}, for {} alone; the line above goes to the file that `executor.approvers` names \
         (of the executor's own key, its public_key is what `audit verify --trust` wants)\n",
        out.display(),
        visible(name, 128)
    ));
    Ok(ExitCode::SUCCESS)
}

/// A small file, whole.
pub fn read(path: &Path) -> Result<String> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut text = String::new();
    #[expect(clippy::disallowed_methods, reason = "bounded by `take`")]
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}

/// The approvers of a file: a line of JSON each, as `approver keygen` prints it.
pub fn registry(path: &Path) -> Result<Registry> {
    let text = read(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let approvers = lines.map(|line| {
        serde_json::from_str::<Approver>(line).with_context(|| format!("an approver of {}", path.display()))
    });
    Registry::new(approvers.collect::<Result<_>>()?).map_err(anyhow::Error::msg)
}

/// Trails as they should be: of a file, a line of JSON each.
pub fn trails(path: &Path) -> Result<Vec<GoodTrail>> {
    let text = read(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let trails = lines.map(|line| {
        serde_json::from_str::<GoodTrail>(line)
            .with_context(|| format!("executor.trails: a trail of {}", path.display()))
    });
    trails.collect()
}

/// Those that the configuration names, if it does.
///
/// # Errors
/// When the file cannot be read.
pub fn trails_of(config: &Config) -> Result<Vec<GoodTrail>> {
    let trails = config.executor.trails.as_deref().map(|file| trails(Path::new(file)));
    Ok(trails.transpose()?.unwrap_or_default())
}

/// What an operator has written down, beside the case's own plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written<'a> {
    /// Playbooks.
    pub own: &'a [Arc<OwnPlaybook>],
    /// Trails as they should be.
    pub trails: &'a [GoodTrail],
}

/// The council's proposal for the steps of a case's plan whose places are asked for (from 1; all without any).
pub fn proposal(
    (tenant, case): (&str, &str),
    line: &str,
    steps: &[usize],
    lease_h: u32,
    written: Written<'_>,
    now: Timestamp,
) -> Result<Proposal> {
    let line = Line::read(line.as_bytes()).context("the case's plan")?;
    let wanted: BTreeSet<usize> = steps.iter().copied().collect();
    if let Some(beyond) = wanted.iter().find(|nth| **nth == 0 || **nth > line.plan.len()) {
        bail!("the plan has {} steps, and none is number {beyond}", line.plan.len());
    }
    let mut proposed = Vec::new();
    for (at, step) in line.plan.into_iter().enumerate() {
        if !wanted.is_empty() && !wanted.contains(&(at + 1)) {
            continue;
        }
        let Some(kind) = step.target_kind else {
            bail!("step {} does not say what kind of thing it is about", at + 1);
        };
        let known = step.known();
        let target = Resource {
            kind,
            account: step.account.into_owned(),
            region: step.region.into_owned(),
            id: step.target.into_owned(),
            created: false,
        };
        let action = match (known, written.own.iter().find(|own| own.name == step.playbook)) {
            (Some(playbook), _) => Action::proposed(playbook, target),
            (None, Some(own)) if own.answers.target == kind => Action::of_own(Arc::clone(own), target),
            _ => bail!(
                "there is no playbook {} here: neither this version nor `playbooks.files` has it",
                visible(&step.playbook, 64)
            ),
        };
        let action = Action { owner: step.owner.map(Cow::into_owned), ..action };
        let spelled = calls(&action, &CaseContext { case_id: case, reference_time: now });
        let (supplied, spelled) = (known_good(&action, written.trails), serde_json::to_value(&spelled)?);
        proposed.push(ProposedStep { action, spelled, supplied, rehearsed: None });
    }
    if proposed.is_empty() {
        bail!("the case has no plan");
    }
    Ok(Proposal {
        tenant: tenant.to_owned(),
        case: case.to_owned(),
        requester: COUNCIL.to_owned(),
        reference_time: now,
        lease_ms: i64::from(lease_h) * HOUR_MS,
        steps: proposed,
    })
}

/// Shows the exact calls of a proposal, and what its denials would have blocked; the places, from 1, of steps for which nobody
/// knows that.
pub fn show(text: &str) -> Result<Vec<usize>> {
    if text.len() > PROPOSAL_BYTES_MAX {
        bail!("the proposal is too long");
    }
    let proposal: Proposal = serde_json::from_str(text).context("the proposal")?;
    let context = CaseContext { case_id: &proposal.case, reference_time: proposal.reference_time };
    let mut unrehearsed = Vec::new();
    tell(&format!(
        "case {} of tenant {}, asked for by {}, as of {}; what can be undone is undone after {} h\n",
        visible(&proposal.case, 128),
        visible(&proposal.tenant, 64),
        visible(&proposal.requester, 128),
        proposal.reference_time,
        proposal.lease_ms.min(LEASE_MS_MAX) / HOUR_MS
    ));
    for (at, proposed) in proposal.steps.iter().enumerate() {
        let step = calls(&proposed.action, &context);
        if serde_json::to_value(&step)? != proposed.spelled {
            bail!("step {} is not what this version would do; who made the proposal runs another", at + 1);
        }
        let target = &proposed.action.target;
        let what = format!("{} on {} of account {}", proposed.action.name(), target.id, target.account);
        tell(&format!("{}. {} ({:?})\n", at + 1, visible(&what, 400), proposed.action.least_tier()));
        let show = |title: &str, calls: &[trailwarden_playbooks::Call]| {
            for (nth, call) in calls.iter().enumerate() {
                let title = if nth == 0 { title } else { "" };
                tell(&format!("   {title:<7} {}\n", visible(&cli_text(call), CALL_CHARS_MAX)));
            }
        };
        show_supplied(proposed);
        show("reads", &step.captured_first);
        show("calls", &step.calls);
        if let Some(instead) = &step.instead {
            show("or", &instead.calls);
            show("or undo", &instead.undo);
        }
        match &step.undo {
            Undo::Calls(undo) => show("undo", undo),
            Undo::Words(words) => tell(&format!("   undo    {}\n", visible(words, CALL_CHARS_MAX))),
        }
        tell(&format!("   affects {}\n", visible(&step.blast_radius, CALL_CHARS_MAX)));
        match &proposed.rehearsed {
            Some(rehearsed @ Rehearsed::Told { told, .. }) => {
                tell(&format!("   past    {}\n", visible(&rehearsed.text(), CALL_CHARS_MAX)));
                let calls: Vec<String> = told.examples.iter().map(|(call, count)| format!("{call} {count}")).collect();
                if !calls.is_empty() {
                    tell(&format!("           {}\n", visible(&calls.join(", "), CALL_CHARS_MAX)));
                }
                if rehearsed.needs_person() {
                    tell("           that is more than is blocked without a person's thought\n");
                }
            }
            _ if denial(&proposed.action, &context).is_none() => {}
            rehearsed => {
                let why = rehearsed.as_ref().map_or_else(|| "not rehearsed".to_owned(), Rehearsed::text);
                tell(&format!("   past    {}\n", visible(&why, CALL_CHARS_MAX)));
                unrehearsed.push(at + 1);
            }
        }
        for note in &step.notes {
            tell(&format!("   note    {}\n", visible(note, CALL_CHARS_MAX)));
        }
    }
    Ok(unrehearsed)
}

/// What a step is given that its calls leave open.
fn show_supplied(proposed: &ProposedStep) {
    for (name, value) in &proposed.supplied {
        tell(&format!("   given   {}\n", visible(&format!("{name} = {value}"), CALL_CHARS_MAX)));
    }
    if proposed.supplied.is_empty() && proposed.action.playbook == Playbook::RestoreTrail {
        tell("   given   nothing: only logging is restored; executor.trails says what the trail should be\n");
    }
}

/// Signs an order.
pub fn sign(
    signing: &Signing,
    intent: Intent,
    tenant: &str,
    case: &str,
    proposal: &str,
    now: Timestamp,
) -> Result<SignedOrder> {
    let key = SigningKey::read(&read(&signing.key)?)?;
    let order = Order {
        intent,
        tenant: tenant.to_owned(),
        case: case.to_owned(),
        proposal: if proposal.is_empty() { String::new() } else { digest(proposal.as_bytes()) },
        approver: signing.approver.clone(),
        reason: signing.reason.clone(),
        signed_at: now,
        expires_at: now.plus_ms(APPROVAL_MS),
        nonce: random_hex(NONCE_BYTES)?,
    };
    Ok(key.sign(&order))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trailwarden_core::response::rehearsal::Rehearsal;

    use super::*;

    fn line() -> String {
        let step = |playbook: &str, target: &str, kind: &str, tier: &str| {
            json!({
                "playbook": playbook, "target": target, "target_kind": kind, "account": "111122223333", "tier": tier,
                "mode": "dry_run", "calls": [],
            })
        };
        let plan = [
            step("quarantine_user_hard", "alice", "user", "T2"),
            step("tag_and_notify", "deploy", "role", "T0"),
            step("restore_trail", "main", "trail", "T1"),
        ];
        let at = "2026-01-02T03:04:05Z";
        json!({
            "case_id": "c1", "account": "111122223333", "principal": "alice", "session": "", "first_event_time": at,
            "last_event_time": at, "event_ids": [], "score": 0.9, "verdict": "malicious", "severity": "high",
            "techniques": [], "reasons": [], "plan": plan, "brains": {},
        })
        .to_string()
    }

    #[test]
    fn a_plan_becomes_a_proposal_of_the_steps_that_are_asked_for() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let of = |steps: &[usize]| proposal(("default", "c1"), &line(), steps, 24, Written::default(), now);
        let mut all = of(&[]).expect("a proposal");
        assert_eq!(all.steps.len(), 3);
        let second = of(&[2]).expect("a proposal");
        assert_eq!(second.steps[0].action.playbook, Playbook::TagRole);
        for steps in [&[0][..], &[4]] {
            assert!(of(steps).is_err());
        }
        let good = r#"{"account":"111122223333","trail":"main","S3BucketName":"logs-example"}"#;
        let trails = [serde_json::from_str::<GoodTrail>(good).expect("a trail")];
        let known =
            proposal(("default", "c1"), &line(), &[3], 24, Written { trails: &trails, ..Written::default() }, now)
                .expect("a proposal");
        assert_eq!(known.steps[0].supplied["good_bucket_name"], "logs-example");
        assert!(proposal(("default", "c1"), "{}", &[], 24, Written::default(), now).is_err());
        let text = |proposal: &Proposal| serde_json::to_string(proposal).expect("writes");
        // Only the quarantine denies anything.
        assert_eq!(show(&text(&all)).expect("shown"), [1]);
        all.steps[0].rehearsed = Some(Rehearsed::Skipped("there is no archive".to_owned()));
        assert_eq!(show(&text(&all)).expect("shown"), [1]);
        all.steps[0].rehearsed = Some(Rehearsed::Told { since: now, is_cut: false, told: Rehearsal::default() });
        assert!(show(&text(&all)).expect("shown").is_empty());
        assert!(show(&text(&all).replacen("UserName", "RoleName", 1)).is_err());
    }

    #[test]
    fn a_key_is_made_once_and_signs() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("ann.key");
        let keygen = ApproverCommand::Keygen { out: out.clone(), name: "ann".to_owned(), tiers: vec![Tier::T2] };
        run(&keygen).expect("a key");
        assert!(run(&keygen).is_err(), "it is not written over");
        let signing = Signing { key: out, approver: "ann".to_owned(), reason: "seen".to_owned() };
        let signed = sign(&signing, Intent::Undo, "default", "c1", "", Timestamp::from_millis(0)).expect("an order");
        assert!(signed.order.contains("\"undo\""));
        assert_eq!(signed.signature.len(), 128);
    }
}
