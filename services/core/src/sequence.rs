//! The latest activities of one session as compact tokens, oldest first: what sequence networks read.

/// Activities that are kept of a session.
pub const LENGTH: usize = 32;
/// APIs are told apart by a hash bucket; two may share one.
pub const API_BUCKETS: usize = 1024;
/// Largest value of [`Token::gap`].
pub const GAP_MAX: u8 = 17;

/// One activity, in eight bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// 0 to [`API_BUCKETS`] - 1.
    pub api: u16,
    /// `floor(log2(1 + seconds since the principal's previous activity))`, 0 to [`GAP_MAX`] (a day and more, or not known).
    pub gap: u8,
    /// Ordinal of the API's access level plus 1; 0 outside the vocabulary. 0 to 5.
    pub access: u8,
    /// Ordinal of the user agent's family, 0 to 12.
    pub agent: u8,
    /// Ordinal of the source's class, 0 to 7.
    pub source: u8,
    /// 0 done, 1 failed, 2 refused for lack of permission.
    pub outcome: u8,
    /// Bits of [`novelty`].
    pub novelty: u8,
}

/// What was new about an activity, as bits of [`Token::novelty`]; all 0 without history.
pub mod novelty {
    pub const HISTORY_KNOWN: u8 = 1;
    pub const API_OF_PRINCIPAL: u8 = 1 << 1;
    pub const SOURCE_OF_PRINCIPAL: u8 = 1 << 2;
    pub const AGENT_OF_PRINCIPAL: u8 = 1 << 3;
    pub const API_OF_ACCOUNT: u8 = 1 << 4;
    pub const REGION_OF_ACCOUNT: u8 = 1 << 5;
    /// Bits in use.
    pub const BITS: u32 = 6;
}

/// Up to [`LENGTH`] tokens; when full, the oldest leaves.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    tokens: [Token; LENGTH],
    /// Where the next token goes.
    next: u8,
    length: u8,
}

impl Default for Sequence {
    fn default() -> Self {
        Self { tokens: [Token::default(); LENGTH], next: 0, length: 0 }
    }
}

/// Equal when the tokens are, wherever in the ring they stand.
impl PartialEq for Sequence {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Sequence {}

impl Sequence {
    pub fn push(&mut self, token: Token) {
        self.tokens[usize::from(self.next)] = token;
        self.next = (self.next + 1) % LENGTH as u8;
        self.length = (self.length + 1).min(LENGTH as u8);
    }

    pub fn len(&self) -> usize {
        usize::from(self.length)
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Token> + '_ {
        let start = usize::from(self.next) + LENGTH - self.len();
        (0..self.len()).map(move |step| self.tokens[(start + step) % LENGTH])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leaves_first() {
        let mut sequence = Sequence::default();
        assert!(sequence.is_empty() && sequence.iter().next().is_none());
        for api in 0..50 {
            sequence.push(Token { api, ..Token::default() });
            let kept: Vec<u16> = sequence.iter().map(|token| token.api).collect();
            let expected: Vec<u16> = (u16::saturating_sub(api + 1, LENGTH as u16)..=api).collect();
            assert_eq!(kept, expected);
        }
    }
}
