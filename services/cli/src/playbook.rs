//! `playbook`: what can be done about a case, what the executor's role needs for it, and trying out one of your own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use trailwarden_core::plan::own::OwnPlaybook;
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::resource::Resource;
use trailwarden_core::time::Timestamp;
use trailwarden_playbooks::drill::{self, Seen};
use trailwarden_playbooks::{About, CaseContext, about, about_own, calls, own_policy, playbook_policy};

use crate::command::{Surroundings, WRONG, print, tell};
use crate::config::Config;
use crate::figures::resource_kind;
use crate::untrusted::visible;
use crate::{own, steps};

/// Names the case of a trial.
const CASE: &str = "playbook-test";
/// Characters of what a read saw.
const ANSWER_CHARS_MAX: usize = 400;

#[derive(Clone, Debug, Subcommand)]
pub enum PlaybookCommand {
    /// List the playbooks, who has to agree to each, and what each acts on; yours too
    List,
    /// Print the IAM policy that the executor's role needs in each account for a playbook
    Policy {
        /// Its name, as `playbook list` prints it
        name: String,
    },
    /// Say what is wrong with a playbook of your own, else show what it would do; with `--endpoint` do it there, and undo it
    Test(Trial),
}

/// What a playbook is tried on.
#[derive(Clone, Debug, Args)]
pub struct Trial {
    /// The playbook's file (YAML)
    file: PathBuf,
    /// An AWS of this machine, such as moto's `http://127.0.0.1:5000`: plan, apply, verify, undo, and compare what the
    /// playbook's reads see before and after. The clock leaps over what is waited for, and no credentials of yours are used
    #[arg(long, value_name = "URL", requires = "target")]
    endpoint: Option<String>,
    /// What it acts on: a name, an id or an ARN that is there
    #[arg(long, value_name = "ID")]
    target: Option<String>,
    /// The target's account; by default the first that the playbook answers in, if it names any, else 111122223333
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// The target's region, for services that have any
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    region: String,
    /// The user that an access key belongs to
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
}

/// What is said below the list.
const TIERS: &str =
    "any approver may order T0; T1 and T2 take one who may approve the tier, and T3 two; nothing is done by itself\n";

fn row(name: &str, tier: &str, kind: &str, About { blast_radius, is_leased, unbuilt }: About) -> [String; 5] {
    let undo = match (unbuilt, is_leased) {
        (Some(_), _) => "case preserve",
        (None, true) => "by itself",
        (None, false) => "by a person",
    };
    // Its name where somebody's name follows.
    let own = |text: &str| visible(text, 300);
    [own(name), own(tier), own(kind.trim_end_matches(" of")), own(undo), own(&blast_radius)]
}

fn rows(own: &[Arc<OwnPlaybook>]) -> Vec<[String; 5]> {
    let built_in = Playbook::ALL.iter().map(|playbook| {
        let (tier, kind) = (format!("{:?}", playbook.tier()), resource_kind(playbook.target_kind()));
        row(playbook.as_str(), &tier, kind, about(*playbook))
    });
    let own = own.iter().map(|own| {
        let (tier, kind) = (format!("{:?}", own.tier), resource_kind(own.answers.target));
        row(&own.name, &tier, kind, about_own(own))
    });
    let mut rows: Vec<_> = built_in.chain(own).collect();
    rows.sort();
    rows
}

fn line([name, tier, kind, undo, touches]: [&str; 5]) -> String {
    format!("{name:<28}  {tier:<4}  {kind:<22}  {undo:<13}  {touches}\n")
}

pub fn run(command: &PlaybookCommand, config: Option<&Path>, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let load = || -> Result<Vec<Arc<OwnPlaybook>>> {
        let config = Config::load(config, surroundings.environment.iter().cloned())?;
        Ok(own::load(&config.playbooks)?)
    };
    match command {
        PlaybookCommand::List => {
            print(&line(["PLAYBOOK", "TIER", "ACTS ON", "UNDO", "TOUCHES"]))?;
            for row in &rows(&load()?) {
                print(&line([&row[0], &row[1], &row[2], &row[3], &row[4]]))?;
            }
            tell(TIERS);
        }
        PlaybookCommand::Policy { name } => {
            let policy = match playbook_policy(name) {
                Some(policy) => Some(policy),
                None => load()?.iter().find(|own| own.name == *name).map(own_policy),
            };
            let Some(policy) = policy else {
                bail!("there is no playbook {}; `trailwarden playbook list` names them", visible(name, 64));
            };
            print(&format!("{}\n", serde_json::to_string_pretty(&policy).context("the policy")?))?;
        }
        PlaybookCommand::Test(trial) => return test(trial, surroundings),
    }
    Ok(ExitCode::SUCCESS)
}

/// Lints, plans, and where there is an AWS to do it on, does.
fn test(trial: &Trial, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let own = match own::file(&trial.file)? {
        Ok(own) => Arc::new(own),
        Err(flaws) => {
            let file = visible(&trial.file.to_string_lossy(), ANSWER_CHARS_MAX);
            flaws.iter().for_each(|flaw| tell(&format!("{file}: {}\n", visible(&flaw.to_string(), ANSWER_CHARS_MAX))));
            return Ok(ExitCode::from(WRONG));
        }
    };
    let action = action(&own, trial);
    let context = CaseContext { case_id: CASE, reference_time: surroundings.now };
    let step = calls(&action, &context);
    print(&format!(
        "{} ({:?}) on {} {}\n",
        own.name,
        own.tier,
        resource_kind(action.target.kind),
        visible(&action.target.id, 256)
    ))?;
    for line in steps::lines(&step) {
        print(&format!("{line}\n"))?;
    }
    let policy = own_policy(&own);
    let needed: Vec<&str> =
        policy["Statement"][0]["Action"].as_array().into_iter().flatten().filter_map(|it| it.as_str()).collect();
    print(&format!("   needs   {}\n", needed.join(", ")))?;
    let Some(endpoint) = &trial.endpoint else {
        tell(
            "it was linted and planned, and nothing was called; `--endpoint` and `--target` try it on an AWS of this machine\n",
        );
        return Ok(ExitCode::SUCCESS);
    };
    let told = drilled(endpoint, &trial.region, &action, surroundings.now)?;
    show(&told)?;
    Ok(if told.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn action(own: &Arc<OwnPlaybook>, trial: &Trial) -> Action {
    let target = Resource {
        kind: own.answers.target,
        account: trial
            .account
            .as_ref()
            .or(own.answers.accounts.first())
            .map_or("111122223333", String::as_str)
            .to_owned(),
        region: trial.region.clone(),
        id: trial.target.clone().unwrap_or_else(|| "example".to_owned()),
        created: false,
    };
    Action { owner: trial.owner.clone(), ..Action::of_own(Arc::clone(own), target) }
}

/// A step's whole life on the AWS at an endpoint.
pub(crate) fn drilled(endpoint: &str, region: &str, action: &Action, now: Timestamp) -> Result<drill::Told> {
    let client = drill::client(endpoint, region, Arc::new(move || now))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start")?;
    Ok(runtime.block_on(drill::run(action, CASE, Arc::new(client), now))?)
}

/// What came of a drill, a line each.
pub(crate) fn show(told: &drill::Told) -> Result<()> {
    for entry in &told.audit {
        if entry.what == "refused" {
            print(&format!("   refused {}\n", visible(&entry.detail, ANSWER_CHARS_MAX)))?;
        }
    }
    for (at, text) in &told.evidence {
        print(&format!("   {at} {}\n", visible(text, ANSWER_CHARS_MAX)))?;
    }
    for seen in &told.seen {
        print(&format!("   {}\n", compared(seen, told.reversible)))?;
    }
    print(&format!("   audit   {} entries, and each follows from the one before\n", told.audit.len()))?;
    let (verified, ended) = (if told.stood { "verified" } else { "NOT verified" }, outcome(told));
    print(&format!("{verified}, {ended}\n"))?;
    Ok(())
}

fn outcome(told: &drill::Told) -> &'static str {
    match (told.reversible, told.is_good()) {
        (true, true) => "undone, and the account is as it was",
        (false, true) => "and nothing to undo",
        (_, false) => "and it did not end as it should",
    }
}

fn compared(Seen { read, before, during, after }: &Seen, reversible: bool) -> String {
    let text = |value: &serde_json::Value| visible(&value.to_string(), ANSWER_CHARS_MAX);
    match (before == during, before == after) {
        (true, true) => format!("{read}: the same throughout"),
        (false, true) => format!("{read}: changed while it stood, and is as it was"),
        _ if reversible => format!("{read}: was {}, and is {}", text(before), text(after)),
        _ => format!("{read}: changed, as it should"),
    }
}
