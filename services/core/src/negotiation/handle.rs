//! Handles: the only names that brains see. `E3` is the third event, `R1` the first resource.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// What a handle stands for. The order is the one in which evidence is cited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HandleKind {
    Detection,
    Event,
    Feature,
    Baseline,
    Principal,
    Session,
    Source,
    Agent,
    Resource,
    Account,
    Region,
}

impl HandleKind {
    pub(super) const COUNT: usize = Self::PREFIXES.len();

    /// `IP` and `UA` stand before no shorter prefix of theirs, so the first match is the right one.
    const PREFIXES: &'static [(HandleKind, &'static str)] = &[
        (Self::Detection, "D"),
        (Self::Event, "E"),
        (Self::Feature, "F"),
        (Self::Baseline, "B"),
        (Self::Principal, "P"),
        (Self::Session, "S"),
        (Self::Source, "IP"),
        (Self::Agent, "UA"),
        (Self::Resource, "R"),
        (Self::Account, "A"),
        (Self::Region, "Z"),
    ];

    const fn prefix(self) -> &'static str {
        Self::PREFIXES[self as usize].1
    }
}

/// A pseudonym within one evidence pack, counted from 1 in order of first appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    pub kind: HandleKind,
    number: u16,
}

impl Handle {
    /// The handle of the item at `index` (from 0) of its list.
    pub(super) fn at(kind: HandleKind, index: usize) -> Self {
        let number = u16::try_from(index + 1).unwrap_or(u16::MAX);
        Self { kind, number }
    }

    /// The place in its list, from 0.
    pub fn index(self) -> usize {
        usize::from(self.number) - 1
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.prefix(), self.number)
    }
}

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Written by hand: a pack holds a thousand of them, and formatting would be a third of its cost.
        let prefix = self.kind.prefix().as_bytes();
        let mut text = [0u8; 8];
        let mut start = text.len();
        let mut number = self.number;
        loop {
            start -= 1;
            text[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        start -= prefix.len();
        text[start..start + prefix.len()].copy_from_slice(prefix);
        serializer.serialize_str(std::str::from_utf8(&text[start..]).unwrap_or_default())
    }
}

/// The text is not a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a handle")]
pub struct NotAHandle;

impl FromStr for Handle {
    type Err = NotAHandle;

    /// Reads exactly what [`Handle`]'s `Display` writes: no sign, no leading zero, no blank.
    fn from_str(text: &str) -> Result<Self, NotAHandle> {
        let digits = text.find(|c: char| c.is_ascii_digit()).ok_or(NotAHandle)?;
        let (prefix, number) = text.split_at(digits);
        let kind = HandleKind::PREFIXES
            .iter()
            .find_map(|(kind, known)| (*known == prefix).then_some(*kind))
            .ok_or(NotAHandle)?;
        if number.starts_with('0') || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotAHandle);
        }
        let number = number.parse().map_err(|_| NotAHandle)?;
        Ok(Self { kind, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes_and_nothing_else() {
        for (kind, _) in HandleKind::PREFIXES {
            for index in [0, 11, 65_534] {
                let handle = Handle::at(*kind, index);
                assert_eq!(handle.to_string().parse(), Ok(handle));
                assert_eq!(serde_json::to_string(&handle).expect("text"), format!("\"{handle}\""));
            }
        }
        for bad in ["", "E", "E0", "E01", "E-1", "e1", "E1 ", "E99999", "X1", "1", "E١"] {
            assert_eq!(bad.parse::<Handle>(), Err(NotAHandle), "{bad}");
        }
    }
}
