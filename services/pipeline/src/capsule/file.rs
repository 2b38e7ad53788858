//! A capsule as a file: one line of JSON that says what follows, then each section, compressed.
//!
//! The first line can be read by anybody (`head -n 1`). Each section is named there with its length, before and after it
//! was compressed, and its SHA-256. A file comes from whoever sent it: everything is bounded by a named limit before
//! memory is taken, and what does not agree with its digest is refused.

use std::io::Read;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::outcome::hex;
use super::{About, Before, Capsule, Outcome};

/// Version of the layout.
pub const VERSION: u32 = 1;
/// Bytes of a whole file.
pub const FILE_BYTES_MAX: usize = 128 << 20;
/// Bytes of the raw records of a case.
pub const RECORDS_BYTES_MAX: usize = 64 << 20;
/// What stands in every capsule's first line.
const NOTE: &str = "raw audit records, as they are: names, addresses, and whatever secrets their callers put in";
/// Bytes of the first line.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How hard a section is compressed: beyond that it takes longer and hardly gets smaller.
const LEVEL: i32 = 9;
/// Largest window that a frame may ask for, as a power of two.
const WINDOW_LOG_MAX: u32 = 23;
/// Bytes of each text of the outcome, and of each line of the events: as a tree it takes many times as much.
const TEXT_BYTES_MAX: usize = 8 << 20;
/// Text that a first line may hold anywhere.
const WORD_BYTES_MAX: usize = 200;

/// Every section, with the bytes that it may have.
const SECTIONS: [(&str, usize); 8] = [
    ("about", 1 << 20),
    ("records", RECORDS_BYTES_MAX),
    ("before", 64 << 20),
    ("outcome", 96 << 20),
    ("rules", 8 << 20),
    ("bundle", trailwarden_scorer::bundle::BYTES_MAX),
    ("calibration", trailwarden_core::negotiation::calibration::BYTES_MAX),
    ("transcript", 256 << 10),
];

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub trailwarden_capsule: u32,
    pub holds: String,
    pub case_id: String,
    pub verdict: String,
    pub verdict_digest: String,
    pub sections: Vec<Section>,
}

/// One part of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    pub name: String,
    pub bytes: usize,
    /// As it lies in the file.
    pub stored_bytes: usize,
    /// Of the section itself, hex.
    pub sha256: String,
}

/// Why bytes are no capsule, or a case is none. Whoever made the file is at fault, or the case is too large.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("it is no capsule: its first line does not say that it is one")]
    Foreign,
    #[error("it is a capsule of version {found}, and this program knows version {VERSION}")]
    Version { found: u64 },
    #[error("its first line is damaged: {what}")]
    Head { what: String },
    #[error("its section `{name}` is unknown or stands twice")]
    Unknown { name: String },
    #[error("its section `{name}` is missing")]
    Missing { name: &'static str },
    #[error("its section `{name}` has {bytes} bytes, more than the {most} that it may have")]
    TooLarge { name: String, bytes: usize, most: usize },
    #[error("it ends within its section `{name}`: the file was cut")]
    Cut { name: String },
    #[error("it goes on after its last section")]
    Long,
    #[error("its section `{name}` is not what it was when the capsule was made")]
    Altered { name: String },
    #[error("its section `{name}` cannot be read: {what}")]
    Unreadable { name: &'static str, what: String },
    /// Ours, or the machine's.
    #[error("a section cannot be compressed")]
    Compress(#[source] std::io::Error),
}

impl Capsule {
    /// The file's bytes; equal capsules give equal bytes.
    ///
    /// # Errors
    /// When a section is larger than it may be.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let json = |value: &Value| value.to_string().into_bytes();
        let before = postcard::to_allocvec(&self.before)
            .map_err(|error| Error::Unreadable { name: "before", what: error.to_string() })?;
        let mut parts: Vec<(&'static str, Vec<u8>)> = vec![
            ("about", json(&serde_json::json!(self.about))),
            ("records", self.records.clone()),
            ("before", before),
            ("outcome", json(&serde_json::json!(self.outcome))),
        ];
        if !self.rules.is_empty() {
            parts.push(("rules", json(&serde_json::json!(self.rules))));
        }
        parts.extend(self.bundle.clone().map(|bundle| ("bundle", bundle)));
        parts.extend(self.calibration.clone().map(|calibration| ("calibration", calibration)));
        parts.extend(self.transcript.clone().map(|transcript| ("transcript", transcript.into_bytes())));
        let (mut sections, mut body) = (Vec::new(), Vec::new());
        for (name, bytes) in parts {
            let most = most(name).unwrap_or(0);
            if bytes.len() > most {
                return Err(Error::TooLarge { name: name.to_owned(), bytes: bytes.len(), most });
            }
            let stored = zstd::bulk::compress(&bytes, LEVEL).map_err(Error::Compress)?;
            let sha256 = hex(&Sha256::digest(&bytes));
            sections.push(Section { name: name.to_owned(), bytes: bytes.len(), stored_bytes: stored.len(), sha256 });
            body.extend(stored);
        }
        let head = Head {
            trailwarden_capsule: VERSION,
            holds: NOTE.to_owned(),
            case_id: self.about.case_id.clone(),
            verdict: self.about.verdict.clone(),
            verdict_digest: self.about.verdict_digest.clone(),
            sections,
        };
        let mut file = serde_json::json!(head).to_string().into_bytes();
        file.push(b'\n');
        file.extend(body);
        if file.len() > FILE_BYTES_MAX {
            return Err(Error::TooLarge { name: "all".to_owned(), bytes: file.len(), most: FILE_BYTES_MAX });
        }
        Ok(file)
    }

    /// Reads a file, at most [`FILE_BYTES_MAX`] of it.
    ///
    /// # Errors
    /// See [`Error`]; what is read agrees with its digests and is within its bounds.
    pub fn from_bytes(file: &[u8]) -> Result<(Self, Head), Error> {
        if file.len() > FILE_BYTES_MAX {
            return Err(Error::TooLarge { name: "all".to_owned(), bytes: file.len(), most: FILE_BYTES_MAX });
        }
        let (head, body) = head(file)?;
        let mut parts: [Option<Vec<u8>>; SECTIONS.len()] = Default::default();
        let mut rest = body;
        for section in &head.sections {
            let place = SECTIONS.iter().position(|(name, _)| *name == section.name);
            let Some(place) = place.filter(|place| parts[*place].is_none()) else {
                return Err(Error::Unknown { name: cut(&section.name) });
            };
            let Some((stored, further)) = rest.split_at_checked(section.stored_bytes) else {
                return Err(Error::Cut { name: section.name.clone() });
            };
            parts[place] = Some(inflate(section, SECTIONS[place].1, stored)?);
            rest = further;
        }
        if !rest.is_empty() {
            return Err(Error::Long);
        }
        let capsule = Self::assemble(parts)?;
        let about = &capsule.about;
        let agrees = (&head.case_id, &head.verdict, &head.verdict_digest)
            == (&about.case_id, &about.verdict, &about.verdict_digest)
            && about.verdict_digest == capsule.outcome.decided.digest()
            && about.says_what(&capsule.outcome.decided.judgement);
        if !agrees {
            return Err(Error::Head { what: "it does not agree with what follows".to_owned() });
        }
        Ok((capsule, head))
    }

    fn assemble(parts: [Option<Vec<u8>>; SECTIONS.len()]) -> Result<Self, Error> {
        let [about, records, before, outcome, rules, bundle, calibration, transcript] = parts;
        let needed = |name, part: Option<Vec<u8>>| part.ok_or(Error::Missing { name });
        let before: Before = postcard::from_bytes(&needed("before", before)?)
            .map_err(|error| Error::Unreadable { name: "before", what: error.to_string() })?;
        if !before.moments.iter().all(super::Moment::is_sound) {
            return Err(Error::Unreadable { name: "before", what: "it holds what no state can be".to_owned() });
        }
        let outcome = read::<Outcome>("outcome", &needed("outcome", outcome)?)?;
        if let Some(bytes) = outcome.longest().filter(|bytes| *bytes > TEXT_BYTES_MAX) {
            return Err(Error::TooLarge { name: "outcome".to_owned(), bytes, most: TEXT_BYTES_MAX });
        }
        let transcript = transcript.map(String::from_utf8).transpose();
        Ok(Self {
            about: read::<About>("about", &needed("about", about)?)?,
            records: needed("records", records)?,
            before,
            outcome,
            rules: rules.map(|rules| read("rules", &rules)).transpose()?.unwrap_or_default(),
            bundle,
            calibration,
            transcript: transcript.map_err(|_| Error::Unreadable { name: "transcript", what: "no text".to_owned() })?,
        })
    }
}

impl About {
    /// Whether case, verdict and severity are those of this judgement.
    fn says_what(&self, judgement: &str) -> bool {
        let judgement: Value = serde_json::from_str(judgement).unwrap_or_default();
        let own = [("case_id", &self.case_id), ("verdict", &self.verdict), ("severity", &self.severity)];
        own.into_iter().all(|(name, said)| judgement[name] == said.as_str())
    }
}

/// The first line, and what follows it.
fn head(file: &[u8]) -> Result<(Head, &[u8]), Error> {
    let start = &file[..file.len().min(HEAD_BYTES_MAX)];
    let Some(end) = start.iter().position(|byte| *byte == b'\n') else {
        return Err(Error::Foreign);
    };
    let line: Value = serde_json::from_slice(&start[..end]).map_err(|_| Error::Foreign)?;
    match line.get("trailwarden_capsule").map(Value::as_u64) {
        None => return Err(Error::Foreign),
        Some(Some(found)) if found == u64::from(VERSION) => {}
        Some(found) => return Err(Error::Version { found: found.unwrap_or(0) }),
    }
    let head: Head = serde_json::from_value(line).map_err(|error| Error::Head { what: cut(&error.to_string()) })?;
    Ok((head, &file[end + 1..]))
}

#[expect(clippy::disallowed_methods, reason = "capped by `take`, one byte beyond what is accepted")]
fn inflate(section: &Section, most: usize, stored: &[u8]) -> Result<Vec<u8>, Error> {
    let Section { name, bytes, sha256, .. } = section;
    if *bytes > most {
        return Err(Error::TooLarge { name: name.clone(), bytes: *bytes, most });
    }
    let altered = || Error::Altered { name: name.clone() };
    let mut decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(|_| altered())?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(|_| altered())?;
    let mut inflated = Vec::new();
    decoder.take(*bytes as u64 + 1).read_to_end(&mut inflated).map_err(|_| altered())?;
    if inflated.len() != *bytes || hex(&Sha256::digest(&inflated)) != *sha256 {
        return Err(altered());
    }
    Ok(inflated)
}

fn read<T: serde::de::DeserializeOwned>(name: &'static str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Unreadable { name, what: cut(&error.to_string()) })
}

fn most(name: &str) -> Option<usize> {
    SECTIONS.iter().find(|(known, _)| *known == name).map(|(_, most)| *most)
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(WORD_BYTES_MAX)].to_owned()
}
