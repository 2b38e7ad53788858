//! What can go wrong between a question and an answer.

use std::time::Duration;

/// Characters of somebody else's text that an error quotes at most.
pub const SAID_CHARS_MAX: usize = 200;

/// Text of others in here is cut to [`SAID_CHARS_MAX`], free of control characters and of the secrets sent.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("no answer within {after:?}")]
    Timeout { after: Duration },
    #[error("the model's service is not reached: {0}")]
    Unreachable(String),
    /// Status 429, or a limit of our own: then `ours` is set and nothing was sent.
    #[error("asked too often{}: {said}", if *ours { " by our own limit" } else { "" })]
    Limited { ours: bool, retry_after: Option<Duration>, said: String },
    #[error("the model's service refuses with status {status}: {said}")]
    Refused { status: u16, said: String },
    #[error("the model's service is unavailable, status {status}: {said}")]
    Unavailable { status: u16, retry_after: Option<Duration>, said: String },
    /// An answer came that is none: no JSON, another shape, no output in it.
    #[error("the answer is malformed: {0}")]
    Malformed(String),
    #[error("the answer is larger than {bytes_max} bytes and was cut off")]
    TooLarge { bytes_max: usize },
    #[error("the day's budget of {of} is spent")]
    BudgetSpent { of: &'static str },
    #[error("asking is paused after failures, for another {wait:?}")]
    BreakerOpen { wait: Duration },
    #[error("a client cannot be made of this: {0}")]
    Configuration(String),
    /// A local model's file is not what was pinned, or nothing that can be run.
    #[error("the local model: {0}")]
    Local(String),
}

/// [`Error`] without what was said: what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Timeout,
    Unreachable,
    Limited,
    Refused,
    Unavailable,
    Malformed,
    TooLarge,
    BudgetSpent,
    BreakerOpen,
    Configuration,
    Local,
}

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The model's service.
    Peer,
    /// Our own bounds or configuration.
    Ours,
}

impl Error {
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Timeout { .. } => Kind::Timeout,
            Self::Unreachable(_) => Kind::Unreachable,
            Self::Limited { .. } => Kind::Limited,
            Self::Refused { .. } => Kind::Refused,
            Self::Unavailable { .. } => Kind::Unavailable,
            Self::Malformed(_) => Kind::Malformed,
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::BudgetSpent { .. } => Kind::BudgetSpent,
            Self::BreakerOpen { .. } => Kind::BreakerOpen,
            Self::Configuration(_) => Kind::Configuration,
            Self::Local(_) => Kind::Local,
        }
    }

    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Limited { ours: true, .. }
            | Self::Refused { .. }
            | Self::BudgetSpent { .. }
            | Self::Configuration(_)
            | Self::Local(_) => Fault::Ours,
            _ => Fault::Peer,
        }
    }

    /// Whether the same question may be answered if it is put again a little later.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Limited { .. } | Self::Unavailable { .. })
    }

    /// How long to wait before that, where somebody said so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Limited { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the service may have worked, and charge for it, though no usage was reported.
    #[must_use]
    pub const fn may_have_cost(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Unreachable(_) | Self::Malformed(_) | Self::TooLarge { .. })
    }
}

/// Somebody else's text as an error may quote it: one line without control characters, cut.
pub(crate) fn quoted(text: &str) -> String {
    let mut kept = String::new();
    let mut characters = 0;
    for word in
        text.split(|c: char| c.is_control() || c.is_whitespace() || is_invisible(c)).filter(|word| !word.is_empty())
    {
        if characters > 0 {
            kept.push(' ');
            characters += 1;
        }
        let room = SAID_CHARS_MAX.saturating_sub(characters);
        kept.extend(word.chars().take(room));
        characters += word.chars().take(room).count();
        if characters >= SAID_CHARS_MAX {
            break;
        }
    }
    kept.truncate(kept.char_indices().nth(SAID_CHARS_MAX).map_or(kept.len(), |(at, _)| at));
    kept
}

/// Characters that turn the direction of what follows, or are not seen: a log line must not be rewritten by them.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_one_short_line() {
        assert_eq!(quoted("a\u{1b}[31m\r\n b\0\u{202e}c  "), "a [31m b c");
        assert_eq!(quoted(&"é".repeat(5_000)).chars().count(), SAID_CHARS_MAX);
        assert_eq!(quoted(&"ab ".repeat(5_000)).chars().count(), SAID_CHARS_MAX);
        assert_eq!(quoted(" \n"), "");
    }
}
