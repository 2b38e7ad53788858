//! `audit`: whether what is written down about what was allowed and done still hangs together.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use trailwarden_bus::{Bus as _, Connection, JetStream, Stream, Subject};
use trailwarden_playbooks::executor::verify_audit;

use crate::command::{Surroundings, print};
use crate::config::Config;
use crate::untrusted::{addresses, visible_json};

/// Entries that are read at once.
const PAGE: usize = 512;

#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Walk the whole log and name the first link that does not hold; exits with 1 then
    Verify {
        /// Public key of an executor whose checkpoints are trusted; may be given several times
        #[arg(long = "trust", value_name = "HEX", required = true)]
        trusted: Vec<String>,
    },
    /// Print every entry as a line of JSON
    List,
}

pub fn run(command: AuditCommand, config: Option<&Path>, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let config = Config::load(config, surroundings.environment.iter().cloned())?;
    let Some(url) = &config.bus.url else {
        bail!("the audit log stands on the bus: set bus.url");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start")?;
    runtime.block_on(async {
        let tenant = config.run.tenant.clone();
        let connection = Connection { url: url.clone(), tenant: tenant.clone() };
        let bus = JetStream::connect(connection).await.with_context(|| format!("the bus at {}", addresses(url)))?;
        crate::doctor::answers(&bus).await?;
        match command {
            AuditCommand::Verify { trusted } => Ok(match verify_audit(&bus, &tenant, &trusted).await? {
                Ok(found) => {
                    print(&format!(
                        "the audit log holds: {} entries, {} checkpoints, ends at {}\n",
                        found.head.ordinal, found.checkpoints, found.head.digest
                    ))?;
                    ExitCode::SUCCESS
                }
                Err(broken) => {
                    print(&format!("the audit log is broken at {broken}\n"))?;
                    ExitCode::FAILURE
                }
            }),
            AuditCommand::List => {
                let (subject, mut after) = (Subject::whole(Stream::Audit, &tenant), 0);
                loop {
                    let page = bus.read(&subject, after, PAGE).await?;
                    let Some(last) = page.last() else {
                        return Ok(ExitCode::SUCCESS);
                    };
                    after = last.sequence;
                    for stored in &page {
                        print(&format!("{}\n", visible_json(&String::from_utf8_lossy(&stored.payload))))?;
                    }
                }
            }
        }
    })
}
