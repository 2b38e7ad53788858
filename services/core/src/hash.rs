//! The one stable hash: equal over runs, machines and versions, so that whatever is keyed or ordered by it replays.
//! SipHash-1-3 with fixed keys; it is not secret and authenticates nothing.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// Hashes texts one by one; where one ends and the next begins matters.
#[derive(Clone, Debug, Default)]
pub struct TextHasher(SipHasher13);

impl TextHasher {
    pub fn add(&mut self, text: &str) {
        self.0.write(text.as_bytes());
        // No byte of UTF-8 is 0xff, so texts cannot run into one another.
        self.0.write_u8(0xff);
    }

    pub fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// 64 bits of a text.
pub fn hash64(text: &str) -> u64 {
    hash64_of([text])
}

/// 64 bits of several texts.
pub fn hash64_of<const N: usize>(texts: [&str; N]) -> u64 {
    let mut hasher = TextHasher::default();
    texts.into_iter().for_each(|text| hasher.add(text));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_stable_and_keeps_texts_apart() {
        assert_ne!(hash64_of(["ab", "c"]), hash64_of(["a", "bc"]));
        assert_ne!(hash64_of(["a", "b"]), hash64_of(["b", "a"]));
        assert_ne!(hash64(""), hash64_of(["", ""]));
        // Stored states and case ids are compared across versions.
        assert_eq!(hash64("principal"), PRINCIPAL);
    }

    const PRINCIPAL: u64 = 2679945211751664713;
}
