//! Attacks of several steps after published incidents, fast and slow, by stolen and by new principals.

use super::script::Script;

#[macro_use]
pub(in crate::generate) mod vocabulary;
mod access;
pub(in crate::generate) mod actor;
mod compute;
mod data;
mod destruction;
pub(in crate::generate) mod entry;
mod persistence;
pub(in crate::generate) mod phase;
mod pipeline;
#[cfg(test)]
mod tests;

/// How a campaign spends its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Minutes to two hours.
    Fast,
    /// A few small steps at a time, over two to eight days.
    Slow,
}

impl Pace {
    pub const ALL: [Self; 2] = [Self::Fast, Self::Slow];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
        }
    }
}

/// Whose credential makes most of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// An existing principal's.
    Stolen,
    /// A principal that the campaign brings: a fresh user, a role session of a new name, a foreign account, a
    /// federated user.
    New,
}

impl Caller {
    pub const ALL: [Self; 2] = [Self::Stolen, Self::New];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stolen => "stolen",
            Self::New => "new",
        }
    }
}

/// One campaign to be played.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub pace: Pace,
    pub caller: Caller,
    /// Attack events wanted; a campaign makes half to twice as many, at least about eight.
    pub volume: u32,
    /// Index of the account attacked.
    pub victim: usize,
}

/// A family of attacks.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// Name in the truth file.
    pub family: &'static str,
    /// The published incident or report behind it.
    pub source: &'static str,
    pub play: fn(&mut Script<'_>, &Plan),
}

const THEMES: [&[Campaign]; 6] = [
    access::FAMILIES,
    pipeline::FAMILIES,
    data::FAMILIES,
    compute::FAMILIES,
    persistence::FAMILIES,
    destruction::FAMILIES,
];

/// Every family, in a fixed order.
pub fn all() -> Vec<Campaign> {
    THEMES.iter().flat_map(|theme| theme.iter().copied()).collect()
}
