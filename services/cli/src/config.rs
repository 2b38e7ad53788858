//! Configuration: documented defaults, then one TOML file, then `TRAILWARDEN_…` variables; unknown keys are refused.
//!
//! The environment comes in as a parameter: only `main` reads it. Whatever is wrong here is the operator's to mend, and
//! trying again does not help; the exit code is 2.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Table;
use trailwarden_core::language::Language;
use trailwarden_core::level::Severity;
use trailwarden_core::negotiation::{Bounds, Role};
use trailwarden_core::registry::Registry;
use trailwarden_notify::config::Notify;

use crate::untrusted::addresses;
use schema::key;

pub use layers::{Error, Origin, Problem};

mod layers;
mod schema;

/// Every key with its default and what it means; what `config print` prints when nothing is changed.
pub const DEFAULT_TOML: &str = include_str!("config.default.toml");

/// The effective configuration. What each key means is said in `config.default.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub collector: Collector,
    pub scan: Scan,
    pub detections: Detections,
    pub organisation: Organisation,
    pub features: Features,
    pub model: Model,
    pub cases: Cases,
    pub routing: Routing,
    pub report: Report,
    pub playbooks: Playbooks,
    pub response: Response,
    pub run: Run,
    pub bus: Bus,
    pub windows: Windows,
    pub archive: Archive,
    pub council: Council,
    pub notify: Notify,
    pub executor: Executor,
    pub listen: Listen,
    pub telemetry: Telemetry,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collector {
    pub line_bytes_max: usize,
    pub document_bytes_max: usize,
    pub inflated_bytes_max: u64,
    pub inflation_ratio_max: u64,
    pub record_bytes_max: usize,
    pub nesting_max: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    /// 0 takes every core.
    pub threads: usize,
    /// Of what was read, before it goes to a temporary file; one part of the cap that a scan prints.
    pub memory_mib_max: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detections {
    pub rules: Vec<PathBuf>,
    pub disable: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organisation {
    pub accounts: BTreeSet<String>,
    pub automation: BTreeSet<String>,
    pub administrators: BTreeSet<String>,
    pub protected: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    pub warm_up_h: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    #[serde(rename = "use")]
    pub used: Used,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<PathBuf>,
}

/// How much of the model is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Used {
    #[default]
    Trees,
    All,
    None,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    pub quiet_min: u32,
    pub hours_max: u32,
}

/// Bounds that the operator sets by hand, and the calibration that fills what they leave open; with neither, nothing is closed
/// or done without a person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routing {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_below: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automatic_above: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<PathBuf>,
    pub automatic_without_models: bool,
}

/// How cases are told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub language: Language,
}

/// Playbooks besides the built-in ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Playbooks {
    pub files: Vec<PathBuf>,
}

/// What belongs to acting on cases and is no executor's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// A folder, or `s3://bucket/prefix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// What all processes of one deployment share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub tenant: String,
    pub partitions: u16,
    pub drain_s: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    /// Absent, the bus lives in the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub replicas: usize,
    pub kept_h: u64,
    pub stream_mib_max: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// Absent, windows live in the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub cluster: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// A folder, or `s3://bucket/prefix`.
    pub location: String,
    pub flush_events: usize,
    pub flush_s: u64,
}

/// The model that the council asks; none without a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Council {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Name of the environment variable that holds the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_variable: Option<String>,
    /// Names of those that hold an AWS access key, for Bedrock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_variable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_variable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token_variable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    pub output: Output,
    pub roles: BTreeSet<Role>,
    pub ask_from: Severity,
    pub requests_a_minute: u64,
    pub tokens_a_day: u64,
    /// US dollars for a million tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_input: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_output: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dollars_a_day: Option<f64>,
    /// A GGUF file, or the address of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_sha256: Option<String>,
    pub local_folder: PathBuf,
}

/// Who carries approved plans out, and whether anybody does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Executor {
    pub mode: ExecutorMode,
    /// A file: a line of JSON for each approver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<String>,
    /// A file: the key that signs checkpoints of the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A file of trails as they should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trails: Option<String>,
    /// Name of the environment variable that holds the external id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id_variable: Option<String>,
    pub partition: Partition,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub management_account: Option<String>,
    pub active_principals: usize,
    pub kill_switch: bool,
}

/// Whether anything is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutorMode {
    #[default]
    DryRun,
    Approval,
}

/// A part of AWS that knows nothing of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partition {
    #[default]
    Aws,
    AwsCn,
    AwsUsGov,
}

impl Partition {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsCn => "aws-cn",
            Self::AwsUsGov => "aws-us-gov",
        }
    }

    /// Where services without regions are.
    pub const fn home_region(self) -> &'static str {
        match self {
            Self::Aws => "us-east-1",
            Self::AwsCn => "cn-north-1",
            Self::AwsUsGov => "us-gov-west-1",
        }
    }
}

/// Whose way of asking a model's service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    #[serde(rename = "openai")]
    OpenAi,
    Ollama,
    Anthropic,
    Bedrock,
    Gemini,
}

/// How a service that speaks like OpenAI is held to the shape of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    #[default]
    Schema,
    Tool,
}

/// Addresses of the roles' gRPC servers, and of the page for probes and metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    pub collector: String,
    pub featurizer: String,
    pub scorer: String,
    pub council: String,
    pub status: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// `http://127.0.0.1:4317`; absent, nothing is exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<String>,
    pub log: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Json,
    Text,
}

impl Default for Run {
    fn default() -> Self {
        Self { tenant: "default".into(), partitions: 16, drain_s: 20 }
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self { url: None, replicas: 1, kept_h: 48, stream_mib_max: 8_192 }
    }
}

impl Default for Archive {
    fn default() -> Self {
        Self { location: "trailwarden-archive".into(), flush_events: 100_000, flush_s: 60 }
    }
}

impl Default for Council {
    fn default() -> Self {
        Self {
            provider: None,
            url: None,
            model: None,
            key_variable: None,
            access_key_variable: None,
            secret_key_variable: None,
            session_token_variable: None,
            region: None,
            output: Output::default(),
            roles: trailwarden_council::panel::ROLES.into(),
            ask_from: Severity::Medium,
            requests_a_minute: 300,
            tokens_a_day: 5_000_000,
            price_input: None,
            price_output: None,
            dollars_a_day: None,
            local_model: None,
            local_sha256: None,
            local_folder: "trailwarden-models".into(),
        }
    }
}

impl Default for Executor {
    fn default() -> Self {
        Self {
            mode: ExecutorMode::default(),
            approvers: None,
            key: None,
            trails: None,
            external_id_variable: None,
            partition: Partition::default(),
            management_account: None,
            active_principals: 1_000,
            kill_switch: false,
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let own = |port: u16| format!("127.0.0.1:{port}");
        Self { collector: own(7401), featurizer: own(7402), scorer: own(7403), council: own(7404), status: own(7400) }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp: None, log: "info".into(), format: LogFormat::Json }
    }
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            line_bytes_max: 16 << 20,
            document_bytes_max: 256 << 20,
            inflated_bytes_max: 8 << 30,
            inflation_ratio_max: 200,
            record_bytes_max: 1 << 20,
            nesting_max: 64,
        }
    }
}

impl Default for Scan {
    fn default() -> Self {
        Self { threads: 0, memory_mib_max: 512 }
    }
}

impl Default for Features {
    fn default() -> Self {
        Self { warm_up_h: 168 }
    }
}

impl Default for Cases {
    fn default() -> Self {
        Self { quiet_min: 15, hours_max: 6 }
    }
}

impl Config {
    /// The configuration as documented TOML: the default file with the values that differ put in place. Loading it
    /// gives the same configuration.
    pub fn to_toml(&self) -> String {
        let (mine, defaults) = (table_of(self), table_of(&Self::default()));
        let mut text = String::with_capacity(DEFAULT_TOML.len());
        let mut section = "";
        for line in DEFAULT_TOML.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
            }
            let name = line.trim_start_matches("# ").split(" = ").next().unwrap_or_default();
            let value = mine.get(section).and_then(|values| values.get(name));
            let changed = value != defaults.get(section).and_then(|values| values.get(name));
            match value {
                Some(value) if changed && key(section, name).is_some() => {
                    text.push_str(&format!("{name} = {value}\n"));
                }
                _ => {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        text
    }

    /// The same, with nothing left of the addresses of servers that may hold a password; `None` when there are none.
    pub fn without_passwords(&self) -> Option<Self> {
        let mut open = self.clone();
        let Council { url, local_model, .. } = &mut open.council;
        // A path may hold these signs, and no password.
        let local_model =
            if local_model.as_ref().is_some_and(|it| it.contains("://")) { local_model } else { &mut None };
        let urls = [&mut open.bus.url, &mut open.windows.url, url, local_model, &mut open.telemetry.otlp];
        for url in urls.into_iter().flatten().filter(|url| url.contains(['@', '?', '#'])) {
            *url = addresses(url);
        }
        (open != *self).then_some(open)
    }

    /// Bounds on reading.
    pub fn limits(&self) -> trailwarden_collector::Limits {
        let own = &self.collector;
        trailwarden_collector::Limits {
            line_bytes_max: own.line_bytes_max,
            document_bytes_max: own.document_bytes_max,
            inflated_bytes_max: own.inflated_bytes_max,
            inflation_ratio_max: own.inflation_ratio_max,
            record_bytes_max: own.record_bytes_max,
            nesting_max: own.nesting_max,
            memory_bytes_max: self.scan.memory_mib_max << 20,
            ..trailwarden_collector::Limits::default()
        }
    }

    /// What may happen without a person: what the operator set by hand.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            close_up_to: self.routing.close_below,
            act_from: self.routing.automatic_above,
            act_from_without_models: self.routing.automatic_above,
            ..Bounds::default()
        }
    }

    /// What the operator vouches for, as the decisions know it.
    pub fn registry(&self) -> Registry {
        let organisation = self.organisation.clone();
        Registry {
            accounts: organisation.accounts,
            automation: organisation.automation,
            administrators: organisation.administrators,
            protected: organisation.protected,
        }
    }
}

fn table_of(config: &Config) -> Table {
    Table::try_from(config).expect("numbers, texts and lists are all that it holds, and TOML has each")
}

#[cfg(test)]
mod tests;
