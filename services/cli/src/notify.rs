//! `notify`: whether alerts arrive; and the channels of a configuration, for the role and for `doctor`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use trailwarden_bus::{Bus, Layout, Memory};
use trailwarden_notify::channel::{self, Channel, Deps};
use trailwarden_notify::config::{ChannelKind, ChannelSpec, Error};
use trailwarden_notify::service;
use trailwarden_runtime::Clock;

use crate::command::{Surroundings, print, tell};
use crate::config::Config;
use crate::doctor;
use crate::untrusted::{addresses, name, visible};

/// Exit code when a channel did not take its test.
const FAILED: u8 = 1;
/// Characters shown of what a channel says.
const ERROR_CHARS_MAX: usize = 400;

#[derive(Clone, Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send a test to every channel, past routes and throttle, and say what came of it; exits with 1 when one did not take it
    Test {
        /// Only this channel; may be given several times
        #[arg(long, value_name = "NAME")]
        channel: Vec<String>,
        /// Configuration file (TOML)
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Does it. `clock` is the wall's.
pub fn run(command: NotifyCommand, clock: Clock, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let NotifyCommand::Test { channel, config } = command;
    let config = Config::load(config.as_deref(), surroundings.environment.iter().cloned())?;
    let specs = asked(&config, &channel)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start")?;
    runtime.block_on(test(&config, &specs, clock, surroundings))
}

/// The channels that were asked for, each once; all where none is named.
fn asked(config: &Config, names: &[String]) -> Result<Vec<ChannelSpec>> {
    let known = &config.notify.channels;
    if known.is_empty() {
        bail!("no channel is configured; `trailwarden config print` shows how, at [notify]");
    }
    if let Some(unknown) = names.iter().find(|asked| !known.iter().any(|spec| spec.name == **asked)) {
        let names: Vec<&str> = known.iter().map(|spec| spec.name.as_str()).collect();
        bail!("there is no channel `{}`; there are: {}", name(unknown), names.join(", "));
    }
    Ok(known.iter().filter(|spec| names.is_empty() || names.contains(&spec.name)).cloned().collect())
}

async fn test(
    config: &Config,
    specs: &[ChannelSpec],
    clock: Clock,
    surroundings: &Surroundings<'_>,
) -> Result<ExitCode> {
    let bus = feed_bus(config, specs).await?;
    let own = role(config)?;
    let mut failed = 0;
    for spec in specs {
        let outcome = match open(config, spec, Arc::clone(&bus), &clock, surroundings) {
            Ok(channel) => {
                let outcomes = service::test(&[channel], &own, &clock).await;
                outcomes.into_iter().find_map(|(_, outcome)| outcome.err()).map(|error| error.to_string())
            }
            Err(error) => Some(error.to_string()),
        };
        let line = match &outcome {
            None => format!("sent    {} ({})\n", spec.name, spec.kind.as_str()),
            Some(why) => {
                failed += 1;
                format!("FAILED  {} ({}): {}\n", spec.name, spec.kind.as_str(), visible(why, ERROR_CHARS_MAX))
            }
        };
        print(&line)?;
    }
    tell(&match failed {
        0 => "notify     every channel took its test; whether it arrived, its reader knows\n".to_owned(),
        1 => "notify     one channel did not take its test\n".to_owned(),
        many => format!("notify     {many} channels did not take their test\n"),
    });
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The bus, where a channel needs it; one in memory stands in where none does.
async fn feed_bus(config: &Config, specs: &[ChannelSpec]) -> Result<Arc<dyn Bus>> {
    let needs_bus = specs.iter().any(|spec| spec.kind == ChannelKind::Feed);
    match &config.bus.url {
        Some(url) if needs_bus => {
            let bus = doctor::connect(url, config).await;
            Ok(Arc::new(bus.with_context(|| format!("the bus at {}", addresses(url)))?))
        }
        None if needs_bus => bail!("a channel of kind `feed` is on the bus, and none is configured; set bus.url"),
        _ => {
            let bus = Memory::default();
            bus.set_up(&Layout::in_memory(&config.run.tenant, 1)).await.context("the bus in memory")?;
            Ok(Arc::new(bus))
        }
    }
}

/// One channel of a configuration.
///
/// # Errors
/// See [`Error`].
pub(crate) fn open(
    config: &Config,
    spec: &ChannelSpec,
    bus: Arc<dyn Bus>,
    clock: &Clock,
    surroundings: &Surroundings<'_>,
) -> Result<Arc<dyn Channel>, Error> {
    let deps =
        Deps { bus, tenant: &config.run.tenant, environment: &surroundings.environment, clock: Arc::clone(clock) };
    channel::open(spec, &deps)
}

/// How the role tells alerts.
///
/// # Errors
/// See [`Error`].
pub(crate) fn role(config: &Config) -> Result<service::Config, Error> {
    Ok(service::Config {
        tenant: config.run.tenant.clone(),
        router: config.notify.router()?,
        language: config.notify.language,
        case_url: config.notify.case_url.clone(),
    })
}
