//! The audit log: a chain of entries, each holding the digest of the one before, with checkpoints that the executor signs.
//! Whoever changes, removes or inserts an entry breaks the chain at that place; whoever cuts its end off is found out by a
//! checkpoint, or by a digest that somebody kept elsewhere.

use serde::{Deserialize, Serialize};

use super::approval::Verify;
use super::{digest, unhex};
use crate::time::Timestamp;

/// Entries after which a checkpoint has to follow, whatever they say.
pub const CHECKPOINT_EVERY: u64 = 32;
/// What an entry says at an action's end, whoever wrote it.
const ENDS: [&str; 2] = ["undone", "failed"];
const SIGNED_PREFIX: &[u8] = b"trailwarden checkpoint v1\n";
/// The digest before the first entry.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Characters of what is said.
const DETAIL_CHARS_MAX: usize = 2_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// From 1, without gaps.
    pub ordinal: u64,
    pub at: Timestamp,
    /// Who: an approver, `executor`, `automatic`.
    pub actor: String,
    /// What: `approved`, `refused`, `applied`, `checkpoint`.
    pub what: String,
    pub case: String,
    /// Key of the action; empty where it is about none.
    pub action: String,
    pub detail: String,
    /// An action has come to its end, so a checkpoint has to follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// Digest of the entry before.
    pub previous: String,
    /// Of a checkpoint: the public key and the signature over `previous`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
    /// sha256 over all of the above.
    pub digest: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    pub public_key: String,
    pub signature: String,
}

/// What is to be written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    pub actor: String,
    pub what: String,
    pub case: String,
    pub action: String,
    pub detail: String,
    /// An action has come to its end.
    pub ends: bool,
}

/// Where the log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub ordinal: u64,
    pub digest: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { ordinal: 0, digest: GENESIS.to_owned() }
    }
}

/// The first link that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {ordinal}: {why}")]
pub struct Broken {
    pub ordinal: u64,
    pub why: &'static str,
}

impl Entry {
    /// Whether the next entry has to be a checkpoint: so whoever removes one is found out, and whoever appends after a death
    /// in between makes up for it.
    pub fn asks_for_checkpoint(&self) -> bool {
        let is_end = self.ends || ENDS.contains(&self.what.as_str());
        self.seal.is_none() && (self.ordinal.is_multiple_of(CHECKPOINT_EVERY) || is_end)
    }

    /// The entry that follows `head`.
    pub fn after(head: &Head, note: &Note, at: Timestamp) -> Self {
        Self::sealed(head, note, None, at)
    }

    /// A checkpoint that follows `head`; `seal` signs [`to_seal`] of it.
    pub fn checkpoint(head: &Head, seal: Seal, at: Timestamp) -> Self {
        let note = Note { actor: "executor".to_owned(), what: "checkpoint".to_owned(), ..Note::default() };
        Self::sealed(head, &note, Some(seal), at)
    }

    fn sealed(head: &Head, note: &Note, seal: Option<Seal>, at: Timestamp) -> Self {
        let Note { actor, what, case, action, detail, ends } = note.clone();
        let mut entry = Self {
            ordinal: head.ordinal + 1,
            at,
            actor,
            what,
            case,
            action,
            detail: detail.chars().take(DETAIL_CHARS_MAX).collect(),
            ends,
            previous: head.digest.clone(),
            seal,
            digest: String::new(),
        };
        entry.digest = entry.own_digest();
        entry
    }

    fn own_digest(&self) -> String {
        let bare = Self { digest: String::new(), ..self.clone() };
        digest(&serde_json::to_vec(&bare).unwrap_or_default())
    }

    pub fn head(&self) -> Head {
        Head { ordinal: self.ordinal, digest: self.digest.clone() }
    }

    /// Whether the entry follows `head` and is whole. `trusted`: keys of executors, in hexadecimal digits.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self, head: &Head, trusted: &[String], verify: &dyn Verify) -> Result<(), Broken> {
        let broken = |why| Err(Broken { ordinal: head.ordinal + 1, why });
        if self.ordinal != head.ordinal + 1 {
            return broken("an entry is missing, or stands twice");
        }
        if self.previous != head.digest {
            return broken("it does not follow the entry before it");
        }
        if self.digest != self.own_digest() {
            return broken("it was changed");
        }
        if (self.what == "checkpoint") != self.seal.is_some() {
            return broken("a checkpoint without a signature, or a signature without a checkpoint");
        }
        let Some(seal) = &self.seal else {
            return Ok(());
        };
        if !trusted.contains(&seal.public_key) {
            return broken("a checkpoint of a key that is not trusted");
        }
        let good = unhex(&seal.public_key)
            .zip(unhex(&seal.signature))
            .is_some_and(|(key, signature)| verify.verify(&key, &to_seal(head), &signature));
        if good { Ok(()) } else { broken("a checkpoint whose signature is forged") }
    }
}

/// What a checkpoint signs.
pub fn to_seal(head: &Head) -> Vec<u8> {
    [SIGNED_PREFIX, format!("{}\n{}", head.ordinal, head.digest).as_bytes()].concat()
}

/// What a walk over a whole log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub head: Head,
    pub checkpoints: u64,
}

/// A walk over a log, entry by entry.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    found: Verified,
    /// The last entry asks for a checkpoint.
    is_owed: bool,
}

const UNSEALED: &str = "a checkpoint is missing: one has to follow the entry before, and this is none";

impl Walk {
    /// # Errors
    /// What does not hold of the entry, or of the place that it stands at.
    pub fn step(&mut self, entry: &Entry, trusted: &[String], verify: &dyn Verify) -> Result<(), Broken> {
        entry.check(&self.found.head, trusted, verify)?;
        if self.is_owed && entry.seal.is_none() {
            return Err(Broken { ordinal: entry.ordinal, why: UNSEALED });
        }
        self.is_owed = entry.asks_for_checkpoint();
        self.found.head = entry.head();
        self.found.checkpoints += u64::from(entry.seal.is_some());
        Ok(())
    }

    /// How far it has come.
    pub fn head(&self) -> &Head {
        &self.found.head
    }

    /// # Errors
    /// When the log ends where a checkpoint has to follow: its end was cut off, or whoever wrote it died at that moment and
    /// nobody has written since.
    pub fn end(self) -> Result<Verified, Broken> {
        let why = "a checkpoint is missing: the log ends before it (an executor that writes puts it there)";
        match self.is_owed {
            true => Err(Broken { ordinal: self.found.head.ordinal + 1, why }),
            false => Ok(self.found),
        }
    }
}

/// Walks a whole log.
///
/// # Errors
/// The first broken link, or the first checkpoint that is missing.
pub fn verify<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    trusted: &[String],
    verify: &dyn Verify,
) -> Result<Verified, Broken> {
    let mut walk = Walk::default();
    for entry in entries {
        walk.step(entry, trusted, verify)?;
    }
    walk.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Toy;
    impl Verify for Toy {
        fn verify(&self, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
            signature == [key, message].concat()
        }
    }

    const T0: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn log() -> Vec<Entry> {
        let mut head = Head::default();
        let mut entries = Vec::new();
        for nth in 0..6 {
            let entry = if nth == 3 {
                let key = vec![7; 32];
                let signature = super::super::hex(&[key.clone(), to_seal(&head)].concat());
                Entry::checkpoint(&head, Seal { public_key: super::super::hex(&key), signature }, T0)
            } else {
                let note = Note { actor: "ann".to_owned(), what: "approved".to_owned(), ..Note::default() };
                Entry::after(&head, &note, T0.plus_ms(nth))
            };
            head = entry.head();
            entries.push(entry);
        }
        entries
    }

    fn check(entries: &[Entry]) -> Result<u64, u64> {
        let trusted = [super::super::hex(&[7; 32])];
        verify(entries, &trusted, &Toy).map(|found| found.head.ordinal).map_err(|broken| broken.ordinal)
    }

    #[test]
    fn the_first_broken_link_is_named() {
        let good = log();
        assert_eq!(check(&good), Ok(6));
        assert_eq!(check(&[]), Ok(0));
        for at in 0..6 {
            let mut changed = good.clone();
            changed[at].detail.push('x');
            assert_eq!(check(&changed), Err(at as u64 + 1));
            // Changed with a digest that fits: the next one does not follow.
            changed[at].digest = changed[at].own_digest();
            let expect = if at == 5 { Ok(6) } else { Err(at as u64 + 2) };
            assert_eq!(check(&changed), expect, "{at}");
            let mut removed = good.clone();
            removed.remove(at);
            let expect = if at == 5 { Ok(5) } else { Err(at as u64 + 1) };
            assert_eq!(check(&removed), expect);
            let mut twice = good.clone();
            twice.insert(at, good[at].clone());
            assert_eq!(check(&twice), Err(at as u64 + 2));
        }
        let mut swapped = good.clone();
        swapped.swap(1, 2);
        assert_eq!(check(&swapped), Err(2));
        assert!(verify(&good, &[], &Toy).is_err());
        let mut forged = good;
        if let Some(seal) = &mut forged[3].seal {
            seal.signature = "00".to_owned();
        }
        forged[3].digest = forged[3].own_digest();
        assert_eq!(check(&forged), Err(4));
    }

    fn sealed(head: &Head) -> Entry {
        let key = vec![7; 32];
        let signature = super::super::hex(&[key.clone(), to_seal(head)].concat());
        Entry::checkpoint(head, Seal { public_key: super::super::hex(&key), signature }, T0)
    }

    /// A log as it is written: with a checkpoint wherever one has to follow.
    fn long_log(entries: u64) -> Vec<Entry> {
        let (mut log, mut head) = (Vec::<Entry>::new(), Head::default());
        while head.ordinal < entries {
            let note = |what: &str, ends| Note { what: what.to_owned(), ends, ..Note::default() };
            let entry = match log.last() {
                Some(last) if last.asks_for_checkpoint() => sealed(&head),
                _ if head.ordinal == 9 => Entry::after(&head, &note("undone", false), T0),
                _ if head.ordinal == 19 => Entry::after(&head, &note("verified", true), T0),
                _ => Entry::after(&head, &note("applied", false), T0),
            };
            head = entry.head();
            log.push(entry);
        }
        log
    }

    /// The same entries in a chain that holds, without those at some places.
    fn without(log: &[Entry], left_out: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let (mut chain, mut head) = (Vec::new(), Head::default());
        for entry in log.iter().filter(|entry| !left_out(entry)) {
            let Entry { actor, what, case, action, detail, ends, .. } = entry.clone();
            let note = Note { actor, what, case, action, detail, ends };
            let again = if entry.seal.is_some() { sealed(&head) } else { Entry::after(&head, &note, T0) };
            head = again.head();
            chain.push(again);
        }
        chain
    }

    #[test]
    fn a_checkpoint_that_is_missing_is_named() {
        let log = long_log(100);
        assert_eq!(check(&log), Ok(100));
        let places: Vec<u64> = log.iter().filter(|entry| entry.seal.is_some()).map(|entry| entry.ordinal).collect();
        assert_eq!(places, [11, 21, 33, 65, 97]);
        for place in &places {
            assert_eq!(check(&without(&log, |entry| entry.ordinal == *place)), Err(*place));
        }
        // Whoever makes the whole chain anew, and has no key, is found out at the first place that asks for one.
        let bare: Vec<Entry> =
            without(&log, |entry| entry.seal.is_some() || ["undone", "verified"].contains(&entry.what.as_str()));
        assert_eq!(check(&bare), Err(33));
        // The end is cut off right before a checkpoint.
        assert_eq!(check(&log[..10]), Err(11));
        assert_eq!(check(&log[..11]), Ok(11));
    }
}
