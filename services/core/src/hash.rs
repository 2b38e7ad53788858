//! The one stable hash: equal over runs, machines and versions, so that whatever is keyed, ordered or
//! identified by it replays. SipHash-1-3 with fixed keys; it is not secret and authenticates nothing.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13Wide};

/// 64 bits of a text.
pub fn hash64(text: &str) -> u64 {
    hash64_of([text])
}

/// 64 bits of several texts; where one ends and the next begins matters.
pub fn hash64_of<const N: usize>(texts: [&str; N]) -> u64 {
    let mut hasher = SipHasher13::new();
    for text in texts {
        hasher.write(text.as_bytes());
        hasher.write_u8(0xff);
    }
    hasher.finish()
}

/// 128 bits of a text: for identities over a whole input, where 64 bits would collide.
pub fn hash128(text: &str) -> u128 {
    let mut hasher = SipHasher13Wide::new();
    hasher.write(text.as_bytes());
    hasher.finish128().as_u128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_stable_and_separates() {
        assert_ne!(hash64_of(["ab", "c"]), hash64_of(["a", "bc"]));
        assert_eq!(hash64("iam"), hash64("iam"));
        assert_ne!(hash128(""), hash128("\0"));
    }
}
