//! `playbook`: what can be done about a case, and what the executor's role needs for it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use trailwarden_core::plan::Playbook;
use trailwarden_playbooks::{About, about};

use crate::command::{print, tell};
use crate::figures::resource_kind;
use crate::untrusted::visible;

#[derive(Clone, Debug, Subcommand)]
pub enum PlaybookCommand {
    /// List the playbooks, who has to agree to each, and what each acts on
    List,
    /// Print the IAM policy that the executor's role needs in each account for a playbook
    Policy {
        /// Its name, as `playbook list` prints it
        name: String,
    },
    /// Run the tests of a playbook of your own (not built yet)
    Test {
        /// The playbook's file
        file: PathBuf,
    },
}

/// What is said below the list.
const TIERS: &str =
    "any approver may order T0; T1 and T2 take one who may approve the tier, and T3 two; nothing is done by itself\n";

fn row(playbook: Playbook) -> [String; 5] {
    let About { blast_radius, is_leased, unbuilt } = about(playbook);
    let undo = match (unbuilt, is_leased) {
        (Some(_), _) => "not built yet",
        (None, true) => "by itself",
        (None, false) => "by a person",
    };
    // Its name where somebody's name follows.
    let kind = resource_kind(playbook.target_kind()).trim_end_matches(" of");
    let own = str::to_owned;
    [own(playbook.as_str()), format!("{:?}", playbook.tier()), own(kind), own(undo), own(blast_radius)]
}

fn line([name, tier, kind, undo, touches]: [&str; 5]) -> String {
    format!("{name:<28}  {tier:<4}  {kind:<22}  {undo:<13}  {touches}\n")
}

pub fn run(command: &PlaybookCommand) -> Result<ExitCode> {
    match command {
        PlaybookCommand::List => {
            let mut rows: Vec<_> = Playbook::ALL.iter().map(|playbook| row(*playbook)).collect();
            rows.sort();
            print(&line(["PLAYBOOK", "TIER", "ACTS ON", "UNDO", "TOUCHES"]))?;
            for row in &rows {
                print(&line([&row[0], &row[1], &row[2], &row[3], &row[4]]))?;
            }
            tell(TIERS);
        }
        PlaybookCommand::Policy { name } => {
            let Some(policy) = trailwarden_playbooks::playbook_policy(name) else {
                bail!("there is no playbook {}; `trailwarden playbook list` names them", visible(name, 64));
            };
            print(&format!("{}\n", serde_json::to_string_pretty(&policy).context("the policy")?))?;
        }
        PlaybookCommand::Test { .. } => bail!("playbooks of your own are not built yet: there is nothing to test"),
    }
    Ok(ExitCode::SUCCESS)
}
