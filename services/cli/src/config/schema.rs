//! Which keys there are, what each takes, and which one a misspelt name was meant to be.

use std::fmt;

use serde::Deserialize;
use toml::{Table, Value};
use trailwarden_notify::config::{ChannelSpec, RouteSpec};

/// Every key there is. A test holds it against the types above and the default file.
pub(super) const KEYS: &[Key] = &[
    whole("collector", "line_bytes_max", 1 << 10, 1 << 30),
    whole("collector", "document_bytes_max", 1 << 10, 1 << 32),
    whole("collector", "inflated_bytes_max", 1 << 10, 1 << 40),
    whole("collector", "inflation_ratio_max", 2, 1 << 20),
    whole("collector", "record_bytes_max", 1 << 10, 1 << 28),
    // serde_json refuses 128 levels whatever is asked for.
    whole("collector", "nesting_max", 8, 120),
    whole("scan", "threads", 0, 256),
    whole("scan", "memory_mib_max", 16, 1 << 20),
    of("detections", "rules", Kind::Texts(Form::Any)),
    of("detections", "disable", Kind::Texts(Form::Any)),
    of("organisation", "accounts", Kind::Texts(Form::Account)),
    of("organisation", "automation", Kind::Texts(Form::Arn)),
    of("organisation", "administrators", Kind::Texts(Form::Arn)),
    of("organisation", "protected", Kind::Texts(Form::Arn)),
    whole("features", "warm_up_h", 0, 24 * 366),
    of("model", "use", Kind::Choice(&["all", "trees", "none"])),
    of("model", "bundle", Kind::Text),
    whole("cases", "quiet_min", 1, 24 * 60),
    whole("cases", "hours_max", 1, 24 * 7),
    of("routing", "close_below", Kind::Probability),
    of("routing", "automatic_above", Kind::Probability),
    of("routing", "calibration", Kind::Text),
    of("routing", "automatic_without_models", Kind::Truth),
    of("report", "language", Kind::Choice(&["en", "ko"])),
    of("playbooks", "files", Kind::Texts(Form::Any)),
    of("response", "evidence", Kind::Text),
    of("run", "tenant", Kind::Word),
    whole("run", "partitions", 1, 1_000),
    whole("run", "drain_s", 1, 3_600),
    of("bus", "url", Kind::Text),
    whole("bus", "replicas", 1, 5),
    // A day's windows, twice: what is shorter cannot be rebuilt.
    whole("bus", "kept_h", 48, 24 * 366),
    whole("bus", "stream_mib_max", 16, 1 << 30),
    of("windows", "url", Kind::Text),
    of("windows", "cluster", Kind::Truth),
    of("archive", "location", Kind::Text),
    whole("archive", "flush_events", 1, 1 << 20),
    whole("archive", "flush_s", 1, 3_600),
    of("council", "provider", Kind::Choice(&["openai", "ollama", "anthropic", "bedrock", "gemini"])),
    of("council", "url", Kind::Text),
    of("council", "model", Kind::Text),
    of("council", "key_variable", Kind::Text),
    of("council", "access_key_variable", Kind::Text),
    of("council", "secret_key_variable", Kind::Text),
    of("council", "session_token_variable", Kind::Text),
    of("council", "region", Kind::Text),
    of("council", "output", Kind::Choice(&["schema", "tool"])),
    of("council", "roles", Kind::Texts(Form::Role)),
    of("council", "ask_from", Kind::Choice(&["informational", "low", "medium", "high", "critical"])),
    whole("council", "requests_a_minute", 1, 1_000_000),
    whole("council", "tokens_a_day", 1, 1 << 50),
    of("council", "price_input", Kind::Dollars),
    of("council", "price_output", Kind::Dollars),
    of("council", "dollars_a_day", Kind::Dollars),
    of("council", "local_model", Kind::Text),
    of("council", "local_sha256", Kind::Digest),
    of("council", "local_folder", Kind::Text),
    of("notify", "language", Kind::Choice(&["en", "ko"])),
    of("notify", "case_url", Kind::Text),
    of("notify", "time_zone", Kind::Text),
    of("notify", "channels", Kind::Channels),
    of("notify", "routes", Kind::Routes),
    of("executor", "mode", Kind::Choice(&["dry_run", "approval"])),
    of("executor", "approvers", Kind::Text),
    of("executor", "key", Kind::Text),
    of("executor", "trails", Kind::Text),
    of("executor", "external_id_variable", Kind::Text),
    of("executor", "partition", Kind::Choice(&["aws", "aws-cn", "aws-us-gov"])),
    of("executor", "management_account", Kind::Text),
    whole("executor", "active_principals", 1, 1 << 30),
    of("executor", "kill_switch", Kind::Truth),
    of("listen", "collector", Kind::Address),
    of("listen", "featurizer", Kind::Address),
    of("listen", "scorer", Kind::Address),
    of("listen", "council", Kind::Address),
    of("listen", "status", Kind::Address),
    of("telemetry", "otlp", Kind::Text),
    of("telemetry", "log", Kind::Text),
    of("telemetry", "format", Kind::Choice(&["json", "text"])),
];

/// More is a slip of the finger, and millionths of it are still exact.
const DOLLARS_MAX: f64 = 1e6;
/// Roles of the council that a model may answer for.
const ROLES: &[&str] = &["analysis", "context", "sceptic", "judge", "responder", "reporter"];

pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A whole number, both bounds included.
    Whole {
        min: i64,
        max: i64,
    },
    Probability,
    /// US dollars.
    Dollars,
    /// A SHA-256 in hexadecimal.
    Digest,
    Choice(&'static [&'static str]),
    Text,
    /// Letters, digits, `-` and `_`: fit for names on a broker and in a store.
    Word,
    /// `host:port`.
    Address,
    Truth,
    Texts(Form),
    /// Ways to reach a person, each a table of its own.
    Channels,
    /// What goes to which of them.
    Routes,
}

#[derive(Clone, Copy)]
pub(super) enum Form {
    Any,
    Account,
    Arn,
    Role,
}

const fn of(section: &'static str, name: &'static str, kind: Kind) -> Key {
    Key { section, name, kind }
}

const fn whole(section: &'static str, name: &'static str, min: i64, max: i64) -> Key {
    of(section, name, Kind::Whole { min, max })
}

pub(super) fn key(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

impl Kind {
    /// The value as the types want it, or what is wrong with it.
    pub(super) fn check(self, value: Value) -> Result<Value, String> {
        match (self, value) {
            (Self::Whole { min, max }, Value::Integer(number)) if (min..=max).contains(&number) => {
                Ok(Value::Integer(number))
            }
            (Self::Probability, Value::Float(number)) if (0.0..=1.0).contains(&number) => Ok(Value::Float(number)),
            (Self::Probability, Value::Integer(number @ 0..=1)) => Ok(Value::Float(number as f64)),
            (Self::Dollars, Value::Float(number)) if (0.0..=DOLLARS_MAX).contains(&number) => Ok(Value::Float(number)),
            (Self::Dollars, Value::Integer(number)) if (0..=DOLLARS_MAX as i64).contains(&number) => {
                Ok(Value::Float(number as f64))
            }
            (Self::Digest, Value::String(text)) if is_sha256(&text) => Ok(Value::String(text)),
            (Self::Choice(words), Value::String(word)) if words.contains(&word.as_str()) => Ok(Value::String(word)),
            (Self::Text, Value::String(text)) if !text.trim().is_empty() => Ok(Value::String(text)),
            (Self::Word, Value::String(word)) if is_word(&word) => Ok(Value::String(word)),
            (Self::Address, Value::String(text)) if text.parse::<std::net::SocketAddr>().is_ok() => {
                Ok(Value::String(text))
            }
            (Self::Truth, Value::Boolean(truth)) => Ok(Value::Boolean(truth)),
            (Self::Texts(form), Value::Array(texts)) => {
                match texts.iter().find(|text| !text.as_str().is_some_and(|text| form.fits(text))) {
                    Some(bad) => Err(found(bad)),
                    None => Ok(Value::Array(texts)),
                }
            }
            (Self::Channels, Value::Array(tables)) => each::<ChannelSpec>(tables),
            (Self::Routes, Value::Array(tables)) => each::<RouteSpec>(tables),
            (_, value) => Err(found(&value)),
        }
    }

    /// A variable's text as a TOML value; what does not read as the kind stays text and fails the check.
    pub(super) fn read(self, text: &str) -> Value {
        match self {
            Self::Whole { .. } => text.trim().parse().map(Value::Integer).ok(),
            Self::Probability | Self::Dollars => text.trim().parse().map(Value::Float).ok(),
            Self::Truth => text.trim().parse().map(Value::Boolean).ok(),
            Self::Choice(_) | Self::Text | Self::Digest | Self::Word | Self::Address => None,
            Self::Texts(_) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(Value::Array(items.map(Value::from).collect()))
            }
            // As it would stand in the file.
            Self::Channels | Self::Routes => {
                format!("it = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("it"))
            }
        }
        .unwrap_or_else(|| Value::from(text))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Probability => f.write_str("a probability from 0 to 1"),
            Self::Dollars => write!(f, "dollars, from 0 to {DOLLARS_MAX}"),
            Self::Digest => f.write_str("a SHA-256: 64 hexadecimal digits"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Self::Text => f.write_str("a text"),
            Self::Word => f.write_str("a word of at most 32 letters, digits, `-` and `_`"),
            Self::Address => f.write_str("an address and a port: `127.0.0.1:7401`"),
            Self::Truth => f.write_str("true or false"),
            Self::Channels => {
                f.write_str("a list of tables, `[[notify.channels]]`, each with name, kind and what that kind takes")
            }
            Self::Routes => f.write_str(
                "a list of tables, `[[notify.routes]]`, each with channels, and accounts, from and about as needed",
            ),
            Self::Texts(Form::Any) => f.write_str("a list of texts"),
            Self::Texts(Form::Role) => write!(f, "a list of roles: {}", ROLES.join(", ")),
            Self::Texts(Form::Account) => f.write_str("a list of account ids, each 12 digits in quotes"),
            Self::Texts(Form::Arn) => {
                f.write_str("a list of ARNs of users or roles, each in full: `arn:aws:iam::111122223333:role/name`")
            }
        }
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The tables, where each is a `T`; else the first that is none, and why.
fn each<T: for<'de> Deserialize<'de>>(tables: Vec<Value>) -> Result<Value, String> {
    for table in &tables {
        if let Err(error) = T::deserialize(table.clone()) {
            let why = error.to_string();
            return Err(format!("{}: {}", found(table), why.lines().next().unwrap_or_default()));
        }
    }
    Ok(Value::Array(tables))
}

fn is_word(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=32).contains(&text.len()) && text.bytes().all(fits)
}

impl Form {
    fn fits(self, text: &str) -> bool {
        match self {
            Self::Any => !text.trim().is_empty(),
            Self::Role => ROLES.contains(&text),
            Self::Account => text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()),
            Self::Arn => {
                // A pattern or a session's ARN equals no principal, so it would protect nobody and say nothing.
                let mut parts = text.splitn(6, ':');
                let is_principal = |resource: &str| !resource.is_empty() && !resource.starts_with("assumed-role/");
                parts.next() == Some("arn") && parts.nth(4).is_some_and(is_principal) && !text.contains('*')
            }
        }
    }
}

/// A value as a message shows it, cut short: it may be anything.
pub(super) fn found(value: &Value) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Names the known key that is nearest: the same name in another section, else the fewest edits, if few enough.
pub(super) fn nearest(key: &str) -> Option<String> {
    let last = key.rsplit('.').next().unwrap_or(key);
    let distance = |known: &Key| {
        let dotted = format!("{}.{}", known.section, known.name);
        let whole = strsim::damerau_levenshtein(key, &dotted);
        whole.min(strsim::damerau_levenshtein(last, known.name))
    };
    let by_key = KEYS.iter().map(|known| (distance(known), format!("{}.{}", known.section, known.name)));
    let by_section =
        KEYS.iter().map(|known| (strsim::damerau_levenshtein(key, known.section), known.section.to_owned()));
    by_key
        .chain(by_section)
        .min()
        .filter(|(edits, _)| *edits <= (last.chars().count() / 3).max(2))
        .map(|(_, name)| name)
}
