//! The executor's outside world: its key, the approvers, AWS.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use trailwarden_bus::Bus;
use trailwarden_core::response::limits::Limits;
use trailwarden_council::Approvers;
use trailwarden_playbooks::aws::{BaseCredentials, Client, Settings as AwsSettings};
use trailwarden_playbooks::executor::{Config as Own, Deps, Settings};
use trailwarden_playbooks::keys::{Ed25519, SigningKey, random_hex};
use trailwarden_runtime::Clock;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::Readiness;

use crate::config::{Config, ExecutorMode};
use crate::{approver, own};

/// Bytes of the random part of an executor's name.
const NAME_BYTES: usize = 8;

/// Whether the configuration lets an executor call anything at all.
pub(crate) fn is_on(config: &Config) -> bool {
    config.executor.mode == ExecutorMode::Approval
}

/// Whose orders a council passes on.
pub(crate) fn approvers(config: &Config) -> Result<Option<Approvers>> {
    let Some(file) = &config.executor.approvers else { return Ok(None) };
    let registry = approver::registry(Path::new(file)).context("executor.approvers")?;
    Ok(Some(Approvers { registry, verify: Arc::new(Ed25519) }))
}

/// Makes the executor's world; fails before anything is called where something is missing.
pub(crate) fn world(
    config: &Config,
    environment: &[(OsString, OsString)],
    bus: Arc<dyn Bus>,
    clock: Clock,
    (readiness, metrics): (Readiness, Metrics),
) -> Result<(Own, Deps)> {
    let own = &config.executor;
    if config.bus.url.is_none() {
        bail!("an executor's records have to outlive it: set bus.url");
    }
    let (Some(key), Some(approvers)) = (&own.key, &own.approvers) else {
        bail!("executor.key and executor.approvers are missing; `trailwarden approver keygen` makes what goes there");
    };
    let key = SigningKey::read(&approver::read(Path::new(key))?).context("executor.key")?;
    let registry = approver::registry(Path::new(approvers)).context("executor.approvers")?;
    let environment: BTreeMap<String, String> = environment
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned())))
        .collect();
    let external_id = match &own.external_id_variable {
        Some(name) => Some(environment.get(name).cloned().with_context(|| format!("{name} is not set"))?),
        None => None,
    };
    let aws = AwsSettings {
        external_id,
        partition: own.partition.as_str().to_owned(),
        region: environment.get("AWS_REGION").cloned().unwrap_or_else(|| own.partition.home_region().to_owned()),
        endpoint: environment.get("AWS_ENDPOINT_URL").cloned(),
        base: BaseCredentials::from_environment(&environment)?,
    };
    let client = Client::new(aws, Arc::clone(&clock))?;
    let mut limits = Limits { kill_switch: own.kill_switch, ..Limits::default() };
    limits.protected.extend(config.organisation.protected.iter().cloned());
    let settings = Settings {
        tenant: config.run.tenant.clone(),
        name: random_hex(NAME_BYTES)?,
        registry,
        limits,
        management_account: own.management_account.clone(),
        active_principals: own.active_principals,
        own: own::load(&config.playbooks)?,
        trails: approver::trails_of(config)?,
    };
    Ok((Own { settings }, Deps { bus, aws: Arc::new(client), key: Arc::new(key), clock, readiness, metrics }))
}
