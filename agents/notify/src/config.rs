//! Channels and routes as an operator writes them, and everything that can be wrong with them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use trailwarden_core::level::Severity;
use trailwarden_runtime::secret::Secret;

use crate::route::{About, QuietHours, Route, Router, Rule};

/// Channels and routes of one deployment.
pub const CHANNELS_MAX: usize = 16;
pub const ROUTES_MAX: usize = 64;
/// Recipients of an e-mail.
const RECIPIENTS_MAX: usize = 20;
/// Letters of a channel's name.
const NAME_BYTES_MAX: usize = 32;

/// What people read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    #[default]
    #[serde(rename = "en")]
    English,
    #[serde(rename = "ko")]
    Korean,
}

/// How a channel delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    Email,
    /// Amazon SNS, to a phone number or a topic.
    Sns,
    /// A text message by somebody's HTTP gateway.
    SmsGateway,
    Slack,
    #[serde(rename = "pagerduty")]
    PagerDuty,
    /// `CloudEvents` over HTTP, signed.
    Webhook,
    /// The dashboard's feed on the bus.
    Feed,
    /// A file of JSON lines.
    Log,
}

impl ChannelKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sns => "sns",
            Self::SmsGateway => "sms_gateway",
            Self::Slack => "slack",
            Self::PagerDuty => "pagerduty",
            Self::Webhook => "webhook",
            Self::Feed => "feed",
            Self::Log => "log",
        }
    }

    /// The keys that it takes beside its name, kind and quiet hours: those that it must have, and those that it may.
    const fn keys(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Email => (&["server", "from", "to"], &["security", "user", "password_variable", "ca_file"]),
            Self::Sns => (&["region", "to"], &["url", "key_id_variable", "secret_variable", "token_variable"]),
            Self::SmsGateway => (&["url", "to"], &["token_variable"]),
            Self::Slack => (&["url_variable"], &[]),
            Self::PagerDuty => (&["secret_variable"], &["url"]),
            Self::Webhook => (&["url", "secret_variable"], &[]),
            Self::Feed => (&[], &[]),
            Self::Log => (&["path"], &["mib_max", "files_max"]),
        }
    }
}

/// How an SMTP server is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// TLS from the first byte (port 465).
    #[default]
    Tls,
    /// In the clear, then TLS before anything is said (port 587).
    Starttls,
    /// In the clear; to this machine only.
    None,
}

/// One channel. Which keys it takes depends on its kind; secrets are named by the environment variable that holds them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelSpec {
    pub name: String,
    pub kind: ChannelKind,
    /// `22:00-07:00`: what is not critical waits for their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<String>,
    /// `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_variable: Option<String>,
    /// PEM of an authority that is believed beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Addresses; of SNS one phone number or topic, of a gateway one number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Slack's addresses are secrets themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_variable: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id_variable: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_variable: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_variable: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mib_max: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_max: Option<u32>,
}

/// What goes where. A route without accounts is for all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accounts: BTreeSet<String>,
    #[serde(default = "medium")]
    pub from: Severity,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub about: BTreeSet<About>,
    pub channels: Vec<String>,
}

fn medium() -> Severity {
    Severity::Medium
}

/// Everything about alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    pub language: Language,
    /// Where a case is looked at, with `{id}` for its id; absent, alerts name the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_url: Option<String>,
    /// Of quiet hours, as the IANA names it.
    pub time_zone: String,
    pub channels: Vec<ChannelSpec>,
    pub routes: Vec<RouteSpec>,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            language: Language::English,
            case_url: None,
            time_zone: "UTC".to_owned(),
            channels: Vec::new(),
            routes: Vec::new(),
        }
    }
}

/// What is wrong with a configuration of alerts. The operator's to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("notify.{key} {why}")]
    Key { key: &'static str, why: String },
    #[error("the channel `{channel}` of notify.channels: {why}")]
    Channel { channel: String, why: String },
    #[error("a route of notify.routes: {why}")]
    Route { why: String },
}

impl ChannelSpec {
    /// A channel without any key of its own.
    pub fn new(name: &str, kind: ChannelKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            quiet_hours: None,
            server: None,
            security: None,
            user: None,
            password_variable: None,
            ca_file: None,
            from: None,
            to: Vec::new(),
            region: None,
            url: None,
            url_variable: None,
            key_id_variable: None,
            secret_variable: None,
            token_variable: None,
            path: None,
            mib_max: None,
            files_max: None,
        }
    }

    pub(crate) fn wrong(&self, why: impl fmt::Display) -> Error {
        Error::Channel { channel: self.name.clone(), why: why.to_string() }
    }

    fn set(&self) -> Vec<(&'static str, bool)> {
        vec![
            ("server", self.server.is_some()),
            ("security", self.security.is_some()),
            ("user", self.user.is_some()),
            ("password_variable", self.password_variable.is_some()),
            ("ca_file", self.ca_file.is_some()),
            ("from", self.from.is_some()),
            ("to", !self.to.is_empty()),
            ("region", self.region.is_some()),
            ("url", self.url.is_some()),
            ("url_variable", self.url_variable.is_some()),
            ("key_id_variable", self.key_id_variable.is_some()),
            ("secret_variable", self.secret_variable.is_some()),
            ("token_variable", self.token_variable.is_some()),
            ("path", self.path.is_some()),
            ("mib_max", self.mib_max.is_some()),
            ("files_max", self.files_max.is_some()),
        ]
    }

    fn check(&self) -> Result<(), Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || !self.name.bytes().all(plain) {
            return Err(Error::Key {
                key: "channels",
                why: format!(
                    "wants names of at most {NAME_BYTES_MAX} letters, digits, `-` and `_`, not {:?}",
                    self.name.chars().take(NAME_BYTES_MAX).collect::<String>()
                ),
            });
        }
        let (needed, allowed) = self.kind.keys();
        let set = self.set();
        let is_set = |name: &str| set.iter().any(|(known, set)| *known == name && *set);
        if let Some(missing) = needed.iter().find(|key| !is_set(key)) {
            return Err(self.wrong(format_args!("{} needs `{missing}`", self.kind.as_str())));
        }
        if let Some((odd, _)) = set.iter().find(|(key, set)| *set && !needed.contains(key) && !allowed.contains(key)) {
            return Err(self.wrong(format_args!("{} takes no `{odd}`", self.kind.as_str())));
        }
        let one = matches!(self.kind, ChannelKind::Sns | ChannelKind::SmsGateway);
        if self.to.len() > if one { 1 } else { RECIPIENTS_MAX } {
            // One of two that was reached would be told again with the one that was not.
            let why =
                if one { "takes one recipient; more are channels of their own" } else { "has too many recipients" };
            return Err(self.wrong(why));
        }
        if self.user.is_some() != self.password_variable.is_some() {
            return Err(self.wrong("`user` and `password_variable` go together"));
        }
        if matches!(self.mib_max, Some(0)) || self.mib_max.is_some_and(|mib| mib > 1_024) {
            return Err(self.wrong("`mib_max` is from 1 to 1024"));
        }
        if self.files_max.is_some_and(|files| !(1..=100).contains(&files)) {
            return Err(self.wrong("`files_max` is from 1 to 100"));
        }
        Ok(())
    }
}

impl Notify {
    /// What goes where, if all of it makes sense. Reads no secret.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn router(&self) -> Result<Router, Error> {
        let zone: Tz = self.time_zone.parse().map_err(|_| Error::Key {
            key: "time_zone",
            why: format!(
                "wants a time zone such as `Asia/Seoul`, not {:?}",
                self.time_zone.chars().take(64).collect::<String>()
            ),
        })?;
        if self.case_url.as_deref().is_some_and(|url| !is_case_url(url)) {
            return Err(Error::Key { key: "case_url", why: "wants an http(s) address that holds `{id}`".to_owned() });
        }
        if self.channels.len() > CHANNELS_MAX || self.routes.len() > ROUTES_MAX {
            let why = format!("and routes are at most {CHANNELS_MAX} and {ROUTES_MAX}");
            return Err(Error::Key { key: "channels", why });
        }
        let mut rules: Vec<Rule> = Vec::new();
        for spec in &self.channels {
            spec.check()?;
            if rules.iter().any(|rule| rule.channel == spec.name) {
                return Err(spec.wrong("two channels have this name"));
            }
            let quiet = spec.quiet_hours.as_deref().map(|text| QuietHours::parse(text, zone));
            let wanted = || spec.wrong("`quiet_hours` wants two times that differ: `22:00-07:00`");
            let quiet = quiet.map(|hours| hours.ok_or_else(wanted)).transpose()?;
            rules.push(Rule { channel: spec.name.clone(), quiet });
        }
        let known = |name: &String| self.channels.iter().any(|spec| spec.name == *name);
        let mut routes = Vec::new();
        for spec in &self.routes {
            if spec.channels.is_empty() {
                return Err(Error::Route { why: "it names no channel".to_owned() });
            }
            if let Some(unknown) = spec.channels.iter().find(|name| !known(name)) {
                let unknown: String = unknown.chars().take(NAME_BYTES_MAX).collect();
                return Err(Error::Route { why: format!("there is no channel {unknown:?}") });
            }
            let is_account = |id: &String| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
            if !spec.accounts.iter().all(is_account) {
                return Err(Error::Route { why: "`accounts` are ids of 12 digits, in quotes".to_owned() });
            }
            let about = if spec.about.is_empty() { About::USUAL.into() } else { spec.about.clone() };
            let (accounts, channels) = (spec.accounts.clone(), spec.channels.clone());
            routes.push(Route { accounts, from: spec.from, about, channels });
        }
        if routes.is_empty() {
            let channels = self.channels.iter().map(|spec| spec.name.clone()).collect();
            routes.push(Route { accounts: BTreeSet::new(), from: medium(), about: About::USUAL.into(), channels });
        }
        Ok(Router::new(routes, rules))
    }
}

fn is_case_url(url: &str) -> bool {
    let parsed = reqwest::Url::parse(&url.replace("{id}", "0"));
    url.contains("{id}") && parsed.is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
}

/// A secret that a variable holds.
///
/// # Errors
/// [`Error::Channel`] when it is not set, empty, or no text.
pub(crate) fn secret(
    spec: &ChannelSpec,
    variable: &str,
    environment: &[(OsString, OsString)],
) -> Result<Secret, Error> {
    let held = environment.iter().find(|(name, _)| name == variable).and_then(|(_, value)| value.to_str());
    let held = held.map(str::trim).filter(|value| !value.is_empty());
    held.map(Secret::new).ok_or_else(|| spec.wrong(format_args!("the environment variable {variable} is not set")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> ChannelSpec {
        ChannelSpec {
            server: Some("127.0.0.1:25".into()),
            from: Some("a@example.org".into()),
            to: vec!["b@example.org".into()],
            ..ChannelSpec::new("mail", ChannelKind::Email)
        }
    }

    fn route(channels: &[&str]) -> RouteSpec {
        RouteSpec {
            accounts: BTreeSet::new(),
            from: Severity::High,
            about: BTreeSet::new(),
            channels: channels.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let whole = Notify { channels: vec![mail()], routes: vec![route(&["mail"])], ..Notify::default() };
        assert!(whole.router().is_ok() && Notify::default().router().is_ok());
        let with = |spec: ChannelSpec| Notify { channels: vec![spec], routes: Vec::new(), ..Notify::default() };
        let routed = |spec: RouteSpec| Notify { routes: vec![spec], ..whole.clone() };
        for (notify, word) in [
            (Notify { time_zone: "Mars/Base".into(), ..whole.clone() }, "notify.time_zone"),
            (Notify { case_url: Some("https://console.example/cases".into()), ..whole.clone() }, "{id}"),
            (Notify { case_url: Some("javascript:{id}".into()), ..whole.clone() }, "notify.case_url"),
            (Notify { channels: vec![mail(), mail()], ..whole.clone() }, "two channels"),
            (Notify { channels: vec![mail(); 17], ..whole.clone() }, "at most 16"),
            (with(ChannelSpec { name: "a|b".into(), ..mail() }), "letters"),
            (with(ChannelSpec { server: None, ..mail() }), "needs `server`"),
            (with(ChannelSpec { region: Some("x".into()), ..mail() }), "takes no `region`"),
            (with(ChannelSpec { user: Some("x".into()), ..mail() }), "password_variable"),
            (with(ChannelSpec { quiet_hours: Some("22-7".into()), ..mail() }), "22:00-07:00"),
            (with(ChannelSpec { to: vec![String::new(); 21], ..mail() }), "recipients"),
            (
                with(ChannelSpec {
                    mib_max: Some(0),
                    path: Some("x".into()),
                    ..ChannelSpec::new("l", ChannelKind::Log)
                }),
                "mib_max",
            ),
            (routed(route(&[])), "no channel"),
            (routed(route(&["male"])), "\"male\""),
            (routed(RouteSpec { accounts: ["42".to_owned()].into(), ..route(&["mail"]) }), "12 digits"),
        ] {
            let error = notify.router().expect_err(word).to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
        let environment = [("SET".into(), " key ".into()), ("EMPTY".into(), " ".into())];
        assert_eq!(secret(&mail(), "SET", &environment), Ok(Secret::new("key")));
        assert!(secret(&mail(), "EMPTY", &environment).is_err() && secret(&mail(), "ABSENT", &environment).is_err());
    }

    #[test]
    fn unknown_keys_are_refused_and_known_ones_named() {
        let error =
            serde_json::from_str::<ChannelSpec>(r#"{"name": "x", "kind": "log", "paht": "y"}"#).expect_err("unknown");
        assert!(error.to_string().contains("paht") && error.to_string().contains("`path`"), "{error}");
        let error = serde_json::from_str::<RouteSpec>(r#"{"channel": ["x"]}"#).expect_err("unknown");
        assert!(error.to_string().contains("`channels`"), "{error}");
    }
}
