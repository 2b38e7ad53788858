//! `audit`: whether what is written down about what was allowed and done still hangs together.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use trailwarden_bus::{Bus as _, Connection, JetStream, Stream, Subject};
use trailwarden_core::response::audit::Entry;
use trailwarden_core::response::unhex;
use trailwarden_playbooks::executor::verify_audit;
use trailwarden_playbooks::keys::SigningKey;

use crate::approver;
use crate::command::{Surroundings, print};
use crate::config::Config;
use crate::untrusted::{addresses, visible, visible_json};

/// Entries that are read at once.
const PAGE: usize = 512;
/// Of a public key.
const KEY_BYTES: usize = 32;

#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Walk the whole log and name the first link that does not hold; exits with 1 then
    Verify {
        /// Public key of an executor whose checkpoints are trusted; may be given several times. Without one, that of
        /// `executor.key`
        #[arg(long = "trust", value_name = "HEX")]
        trusted: Vec<String>,
    },
    /// Print entries as lines of JSON, oldest first
    List {
        /// Only those about this case
        #[arg(long, value_name = "ID")]
        case: Option<String>,
    },
}

pub fn run(command: AuditCommand, config: Option<&Path>, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let config = Config::load(config, surroundings.environment.iter().cloned())?;
    let Some(url) = &config.bus.url else {
        bail!("the audit log stands on the bus: set bus.url");
    };
    let trusted = match &command {
        AuditCommand::Verify { trusted } => checked(trusted, &config)?,
        AuditCommand::List { .. } => vec![],
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start")?;
    runtime.block_on(async {
        let tenant = config.run.tenant.clone();
        let connection = Connection { url: url.clone(), tenant: tenant.clone() };
        let bus = JetStream::connect(connection).await.with_context(|| format!("the bus at {}", addresses(url)))?;
        crate::doctor::answers(&bus).await?;
        match command {
            AuditCommand::Verify { .. } => Ok(match verify_audit(&bus, &tenant, &trusted).await? {
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
            AuditCommand::List { case } => {
                let (subject, mut after) = (Subject::whole(Stream::Audit, &tenant), 0);
                loop {
                    let page = bus.read(&subject, after, PAGE).await?;
                    let Some(last) = page.last() else {
                        return Ok(ExitCode::SUCCESS);
                    };
                    after = last.sequence;
                    for stored in &page {
                        let is_about = case.as_ref().is_none_or(|case| about(&stored.payload).as_ref() == Some(case));
                        // Whoever reads may have seen enough.
                        if is_about
                            && !print(&format!("{}\n", visible_json(&String::from_utf8_lossy(&stored.payload))))?
                        {
                            return Ok(ExitCode::SUCCESS);
                        }
                    }
                }
            }
        }
    })
}

/// The keys to trust.
fn checked(trusted: &[String], config: &Config) -> Result<Vec<String>> {
    if let Some(wrong) = trusted.iter().find(|key| unhex(key).is_none_or(|key| key.len() != KEY_BYTES)) {
        bail!("{} is no public key: 64 hexadecimal digits, as `approver keygen` prints them", visible(wrong, 80));
    }
    match &config.executor.key {
        Some(file) if trusted.is_empty() => {
            let key = SigningKey::read(&approver::read(Path::new(file))?).context("executor.key")?;
            Ok(vec![key.public()])
        }
        None if trusted.is_empty() => {
            bail!("whose checkpoints are trusted? give the executor's public key: --trust HEX")
        }
        // As they are written down.
        _ => Ok(trusted.iter().map(|key| key.to_ascii_lowercase()).collect()),
    }
}

/// The case that an entry is about.
fn about(payload: &[u8]) -> Option<String> {
    serde_json::from_slice::<Entry>(payload).ok().map(|entry| entry.case)
}
