//! How the configuration comes together: defaults, a file over them, the environment over both, and all that is wrong with
//! either.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::schema::{KEYS, Kind, found, key, nearest};
use super::{Config, DEFAULT_TOML};

/// A configuration file is written by hand; one that is larger is not a configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;

const PREFIX: &str = "TRAILWARDEN_";

/// Why there is no configuration to work with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{}: cannot be read: {source}", file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("{}: larger than {FILE_BYTES_MAX} bytes, so it is no configuration file", file.display())]
    TooLarge { file: PathBuf },
    #[error("{}: not TOML: {source}", file.display())]
    Syntax { file: PathBuf, source: toml::de::Error },
    /// All that is wrong, not only the first.
    #[error("{}", problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid { problems: Vec<Problem> },
    #[error("the configuration's schema and its types disagree, which is our mistake: {0}")]
    Schema(#[source] toml::de::Error),
}

/// One thing that is wrong with one key, and where it was set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    #[error("{origin}: unknown key `{key}`{}", nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    Unknown { origin: Origin, key: String, nearest: Option<String> },
    #[error("{origin}: `{key}` wants {wanted}, not {found}")]
    Mistyped { origin: Origin, key: String, wanted: String, found: String },
    #[error(
        "`routing.close_below` must be lower than `routing.automatic_above`, else a case is both closed and acted upon"
    )]
    BoundsCross,
    /// Channels and routes of alerts make no sense together.
    #[error(transparent)]
    Notify(#[from] trailwarden_notify::config::Error),
}

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    /// The variable's whole name.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

impl Config {
    /// The defaults, overlaid by `file` if there is one, overlaid by those of `environment` that begin with
    /// `TRAILWARDEN_`.
    ///
    /// # Errors
    /// [`Error`]: the file cannot be read or is not TOML, or keys are unknown, mistyped or out of bounds; all of them
    /// are listed.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Error> {
        let text = file.map(read_capped).transpose()?;
        Self::from_layers(file.zip(text.as_deref()), environment)
    }

    /// The defaults, overlaid by the text of a configuration file that `name` names in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_text(name: &Path, text: &str) -> Result<Self, Error> {
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(Error::TooLarge { file: name.to_owned() });
        }
        Self::from_layers(Some((name, text)), [])
    }

    pub(super) fn from_layers(
        file: Option<(&Path, &str)>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Error> {
        let mut merged: Table = DEFAULT_TOML.parse().map_err(Error::Schema)?;
        let mut problems = Vec::new();
        if let Some((path, text)) = file {
            let table: Table = text.parse().map_err(|source| Error::Syntax { file: path.to_owned(), source })?;
            overlay_file(&mut merged, path, table, &mut problems);
        }
        overlay_environment(&mut merged, environment, &mut problems);
        if !problems.is_empty() {
            return Err(Error::Invalid { problems });
        }
        let config: Self = merged.try_into().map_err(Error::Schema)?;
        match (config.routing.close_below, config.routing.automatic_above) {
            (Some(close), Some(automatic)) if close >= automatic => problems.push(Problem::BoundsCross),
            _ => {}
        }
        if let Err(error) = config.notify.router() {
            problems.push(error.into());
        }
        if problems.is_empty() { Ok(config) } else { Err(Error::Invalid { problems }) }
    }
}

fn read_capped(path: &Path) -> Result<String, Error> {
    let unreadable = |source| Error::Unreadable { file: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    #[expect(clippy::disallowed_methods, reason = "capped by the line above it")]
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::TooLarge { file: path.to_owned() });
    }
    Ok(text)
}

fn overlay_file(merged: &mut Table, path: &Path, table: Table, problems: &mut Vec<Problem>) {
    let origin = Origin::File(path.to_owned());
    for (section, value) in table {
        if !KEYS.iter().any(|key| key.section == section) {
            problems.push(unknown(origin.clone(), section));
            continue;
        }
        let Value::Table(values) = value else {
            problems.push(Problem::Mistyped {
                origin: origin.clone(),
                wanted: format!("to be a section, `[{section}]`"),
                key: section,
                found: found(&value),
            });
            continue;
        };
        for (name, value) in values {
            overlay(merged, origin.clone(), &section, &name, |_| value, problems);
        }
    }
}

fn overlay_environment(
    merged: &mut Table,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) {
    // Sorted, so that messages come in one order whatever the system's is.
    let variables: BTreeMap<OsString, OsString> = environment.into_iter().collect();
    for (variable, text) in variables {
        // Bytes that are no text are shown as such and fail as an unknown key or a value of the wrong form.
        let (variable, text) = (variable.to_string_lossy(), text.to_string_lossy());
        let Some(rest) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        let lower = rest.to_ascii_lowercase();
        let (section, name) = lower.split_once("__").unwrap_or((&lower, ""));
        let origin = Origin::Environment(variable.clone().into_owned());
        overlay(merged, origin, section, name, |kind| kind.read(&text), problems);
    }
}

fn overlay(
    merged: &mut Table,
    origin: Origin,
    section: &str,
    name: &str,
    value: impl FnOnce(Kind) -> Value,
    problems: &mut Vec<Problem>,
) {
    let dotted = if name.is_empty() { section.to_owned() } else { format!("{section}.{name}") };
    let Some(key) = key(section, name) else {
        problems.push(unknown(origin, dotted));
        return;
    };
    match key.kind.check(value(key.kind)) {
        Ok(value) => {
            let values = merged.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(values) = values {
                values.insert(name.to_owned(), value);
            }
        }
        Err(found) => problems.push(Problem::Mistyped { origin, key: dotted, wanted: key.kind.to_string(), found }),
    }
}

fn unknown(origin: Origin, key: String) -> Problem {
    let nearest = nearest(&key);
    Problem::Unknown { origin, key, nearest }
}
