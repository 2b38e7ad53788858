//! The ordered scales: how bad (severity), how loud (level), what was decided (verdict).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! scale {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($text => Ok($name::$variant),)+
                    _ => Err(UnknownWord { word: text.to_owned(), known: &[$($text),+] }),
                }
            }
        }
    };
}

/// A word that is not on its scale.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{word}` is not one of {}", known.join(", "))]
pub struct UnknownWord {
    pub word: String,
    pub known: &'static [&'static str],
}

scale! {
    /// How bad a detection or case is, if it is what it looks like.
    Severity {
        Informational = "informational",
        Low = "low",
        Medium = "medium",
        High = "high",
        Critical = "critical",
    }
}

scale! {
    /// How loudly an event is raised.
    Level {
        None = "none",
        Caution = "caution",
        Warning = "warning",
        Critical = "critical",
    }
}

scale! {
    /// What the council concluded, in the order of `--fail-on`.
    Verdict {
        Benign = "benign",
        Insufficient = "insufficient",
        Suspicious = "suspicious",
        Malicious = "malicious",
    }
}
