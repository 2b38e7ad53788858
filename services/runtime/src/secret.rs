//! Keys that are never printed.

use std::fmt;

use serde::Deserialize;

/// A key or token. It prints as stars, wherever it is printed.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// For whoever sends it, and nobody else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A text with stars where one of the secrets stood: others may echo what they were sent.
pub fn without(text: &str, secrets: &[&Secret]) -> String {
    let said = secrets.iter().map(|secret| secret.reveal()).filter(|said| !said.is_empty());
    said.fold(text.to_owned(), |text, said| text.replace(said, "***"))
}
