//! `playbook`: what can be done about a case, and what the executor's role needs for it.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use trailwarden_core::plan::Playbook;

use crate::command::print;

#[derive(Clone, Debug, Subcommand)]
pub enum PlaybookCommand {
    /// List the playbooks, who has to agree to each, and what each acts on
    List,
    /// Print the IAM policy that the executor's role needs in each account for a playbook
    Policy {
        /// Its name, as `playbook list` prints it
        name: String,
    },
}

pub fn run(command: &PlaybookCommand) -> Result<ExitCode> {
    match command {
        PlaybookCommand::List => {
            let mut by_name: BTreeMap<&str, Vec<Playbook>> = BTreeMap::new();
            for playbook in Playbook::ALL {
                by_name.entry(playbook.as_str()).or_default().push(*playbook);
            }
            print("PLAYBOOK                     TIER  ACTS ON\n")?;
            for (name, playbooks) in by_name {
                let tier = playbooks.iter().map(|playbook| playbook.tier()).max();
                let kinds: Vec<_> =
                    playbooks.iter().map(|playbook| crate::figures::resource_kind(playbook.target_kind())).collect();
                let tier = tier.map(|tier| format!("{tier:?}")).unwrap_or_default();
                print(&format!("{name:<27}  {tier:<4}  {}\n", kinds.join(", ")))?;
            }
        }
        PlaybookCommand::Policy { name } => {
            let Some(policy) = trailwarden_playbooks::playbook_policy(name) else {
                bail!("there is no such playbook; `trailwarden playbook list` names them");
            };
            print(&format!("{}\n", serde_json::to_string_pretty(&policy).context("the policy")?))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
