//! Which rules could match an event at all, by its service and call: most events touch none.

use rustc_hash::FxHashMap;

use super::sigma::{Key, Program};

const SOURCE_SUFFIX: &str = ".amazonaws.com";

/// Rules by the hash of what they need. A colliding hash costs an evaluation, never a wrong answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    by_key: FxHashMap<u64, Vec<u16>>,
    /// Rules that name neither service nor call.
    always: Vec<u16>,
}

impl Index {
    pub(crate) fn add(&mut self, rule: u16, program: &Program) {
        let Some(keys) = program.cover() else {
            self.always.push(rule);
            return;
        };
        for Key { source, name } in keys {
            let source = source.map(|source| source_hash(&source));
            let name = name.map(|name| fold_hash(&name));
            let rules = self.by_key.entry(key_hash(source, name)).or_default();
            if rules.last() != Some(&rule) {
                rules.push(rule);
            }
        }
    }

    /// Calls `visit` with every rule that could match; with some of them more than once. Sources are those of
    /// the record and of the activity, which also knows other partitions' domains; names are with and without
    /// their version.
    pub(crate) fn candidates(&self, sources: [&str; 2], names: [&str; 2], mut visit: impl FnMut(u16)) {
        let mut look = |key| {
            if let Some(rules) = self.by_key.get(&key) {
                rules.iter().copied().for_each(&mut visit);
            }
        };
        let sources = both(sources.map(source_hash));
        let names = both(names.map(fold_hash));
        for source in sources.into_iter().flatten() {
            look(key_hash(Some(source), None));
            names.into_iter().flatten().for_each(|name| look(key_hash(Some(source), Some(name))));
        }
        names.into_iter().flatten().for_each(|name| look(key_hash(None, Some(name))));
        self.always.iter().copied().for_each(visit);
    }
}

/// The second only where it differs from the first.
fn both([first, second]: [u64; 2]) -> [Option<u64>; 2] {
    [Some(first), (second != first).then_some(second)]
}

/// `iam.amazonaws.com` and `iam` alike, so that keys over `eventSource` and over the service meet.
fn source_hash(source: &str) -> u64 {
    let split = source.len().saturating_sub(SOURCE_SUFFIX.len());
    match source.split_at_checked(split) {
        Some((service, suffix)) if suffix.eq_ignore_ascii_case(SOURCE_SUFFIX) => fold_hash(service),
        _ => fold_hash(source),
    }
}

fn key_hash(source: Option<u64>, name: Option<u64>) -> u64 {
    // Distinct constants for what is absent keep the three kinds of key apart.
    mix(mix(0x9e37_79b9, source.unwrap_or(0x5bd1_e995)), name.unwrap_or(0x27d4_eb2f))
}

/// Hashes with bit 5 of every byte set: texts that differ only in letter case hash alike.
fn fold_hash(text: &str) -> u64 {
    const CASE_BITS: u64 = 0x2020_2020_2020_2020;
    let chunks = text.as_bytes().chunks(8);
    chunks.fold(text.len() as u64, |hash, chunk| {
        let word = match chunk.try_into() {
            Ok(bytes) => u64::from_le_bytes(bytes),
            Err(_) => chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        mix(hash, word | CASE_BITS)
    })
}

fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_ignore_case_and_the_domain_and_little_else() {
        assert_eq!(fold_hash("DeleteTrail"), fold_hash("deletetrail"));
        assert_eq!(source_hash("IAM.amazonaws.com"), source_hash("iam"));
        let words = ["", "a", "aa", "iam", "sts", "DeleteTrail", "DeleteTrails", "StopLogging", "PutBucketPolicy"];
        for (place, left) in words.iter().enumerate() {
            for right in &words[place + 1..] {
                assert_ne!(fold_hash(left), fold_hash(right), "{left} {right}");
            }
        }
        for odd in ["é", "🦀.amazonaws.com", ".amazonaws.com", "xé.amazonaws.co"] {
            source_hash(odd);
        }
    }
}
