//! A dead letter as a message of the dead-letter stream.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{CLAIM, DeadLetter, Error, Outgoing, PAYLOAD_BYTES_MAX, Stored, Stream, Subject};

const SUBJECT: &str = "Tw-Dead-Subject";
const SEQUENCE: &str = "Tw-Dead-Sequence";
const PLACE: &str = "Tw-Dead-Place";
const REASON: &str = "Tw-Dead-Reason";

/// Where the dead letters of a tenant stand: `tw.dead.default.letter.<identity>`.
const LETTER: &str = "letter";
/// Where it is noted that one was sent again: `tw.dead.default.redriven.<its sequence>`.
const REDRIVEN: &str = "redriven";

/// Bytes of a reason that are kept: it may quote a log line, which has no bound of its own.
const REASON_BYTES_MAX: usize = 1_024;

/// Said of a letter whose payload stood in an object that the bus no longer keeps.
const GONE: &str = "; what it held is no longer kept";

/// What selects every letter of a tenant.
pub(crate) fn filter(tenant: &str) -> String {
    format!("{}.>", Subject::below(Stream::Dead, tenant, LETTER))
}

/// The letter as a message on a subject of its own, on which it is the first: so it is stored once, however long
/// after the broker forgot the message's id.
pub(crate) fn message(tenant: &str, letter: &DeadLetter) -> (Subject, Outgoing) {
    let mut digest = Sha256::new();
    digest.update(letter.subject.as_bytes());
    digest.update([0xff]);
    digest.update(letter.sequence.to_be_bytes());
    digest.update(letter.place.map_or(u64::MAX, u64::from).to_be_bytes());
    digest.update(&letter.payload);
    let identity = hex(&digest.finalize()[..16]);

    let reason = &letter.reason[..letter.reason.floor_char_boundary(REASON_BYTES_MAX)];
    let mut headers = BTreeMap::from([
        (SUBJECT.to_owned(), escaped(&letter.subject)),
        (SEQUENCE.to_owned(), letter.sequence.to_string()),
        (REASON.to_owned(), escaped(reason)),
    ]);
    if let Some(place) = letter.place {
        headers.insert(PLACE.to_owned(), place.to_string());
    }
    let payload = carried(&letter.payload, &mut headers);
    let subject = Subject::below(Stream::Dead, tenant, &format!("{LETTER}.{identity}"));
    (subject, Outgoing { payload, id: None, expected: Some(0), headers })
}

/// The object that must hold a payload which is too large for a message; `None` where a message takes it. Whoever else
/// publishes on the broker may fill a message to the last byte, which leaves no room for what a letter says of it.
pub(crate) fn object(payload: &Bytes) -> Option<String> {
    (payload.len() > PAYLOAD_BYTES_MAX).then(|| format!("dead/{}", hex(&Sha256::digest(payload))))
}

/// What a message carries of a payload: all of it, or nothing and the name of the object that holds it.
pub(crate) fn carried(payload: &Bytes, headers: &mut BTreeMap<String, String>) -> Bytes {
    match object(payload) {
        Some(name) => {
            headers.insert(CLAIM.to_owned(), name);
            Bytes::new()
        }
        None => payload.clone(),
    }
}

/// What was found of a letter's payload. An object that is damaged, or whose name cannot be, is as good as gone: it must
/// not keep all other letters from being read.
///
/// # Errors
/// Whatever trying again may mend.
pub(crate) fn found(content: Result<Option<Bytes>, Error>) -> Result<Option<Bytes>, Error> {
    match content {
        Err(Error::Invalid { .. }) => Ok(None),
        content => content,
    }
}

/// The letter that a message of the stream holds, with the payload that was found of it; `None` when it is none.
pub(crate) fn letter(stored: &Stored, content: Option<Bytes>) -> Option<DeadLetter> {
    let header = |name: &str| stored.headers.get(name);
    let place = match header(PLACE) {
        Some(place) => Some(place.parse().ok()?),
        None => None,
    };
    let mut reason = unescaped(header(REASON)?)?;
    if content.is_none() {
        reason.push_str(GONE);
    }
    Some(DeadLetter {
        subject: unescaped(header(SUBJECT)?)?,
        sequence: header(SEQUENCE)?.parse().ok()?,
        place,
        reason,
        payload: content.unwrap_or_default(),
    })
}

/// The letter for a message that a consumer was given too often.
pub(crate) fn given_up(message: Stored, consumer: &str, deliveries: u64) -> DeadLetter {
    DeadLetter {
        subject: message.subject,
        sequence: message.sequence,
        place: None,
        reason: format!("given out {deliveries} times to {consumer} and never acknowledged"),
        payload: message.payload,
    }
}

/// Where the note goes that the letter at `sequence` was sent again.
pub(crate) fn note(tenant: &str, sequence: u64) -> Subject {
    Subject::below(Stream::Dead, tenant, &format!("{REDRIVEN}.{sequence}"))
}

/// Where a letter may be sent again to: only to what begins a chain. A message that the product itself publishes
/// further on is chained to its predecessor, and one that is not would look like a store that has rolled back.
///
/// # Errors
/// [`Error::Invalid`] for every other subject, and for a letter of which nothing is left to send.
pub(crate) fn way_back(letter: &DeadLetter) -> Result<Subject, Error> {
    let invalid =
        |why| Error::Invalid { what: format!("a dead letter of {} cannot be sent again: {why}", letter.subject) };
    let subject = Subject::parse(&letter.subject).ok_or_else(|| invalid("it is no subject of the bus"))?;
    match subject.stream {
        Stream::Activity | Stream::Backfill if letter.payload.is_empty() => {
            Err(invalid("nothing of it is left to send"))
        }
        Stream::Activity | Stream::Backfill => Ok(subject),
        // An alert that could not be told is raised again.
        Stream::Alert if !letter.payload.is_empty() && subject == Subject::raised(subject.tenant()) => Ok(subject),
        _ => Err(invalid("what it holds is made anew from its activities")),
    }
}

/// Printable ASCII as it is, all else and `%` as `%` and two digits: a header can hold it, and it is read back exactly.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02x}");
        }
    }
    escaped
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_passes_through_a_header() {
        for text in ["", "plain text", "100 %", "line\r\nbreak", "übel\u{0}"] {
            let escaped = escaped(text);
            assert!(escaped.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{escaped}");
            assert_eq!(unescaped(&escaped).as_deref(), Some(text));
        }
        assert_eq!(unescaped("%f"), None);
        assert_eq!(unescaped("%ff"), None);
    }

    #[test]
    fn only_the_beginning_of_a_chain_takes_a_letter_back() {
        let letter = |subject: &str| DeadLetter {
            subject: subject.to_owned(),
            sequence: 1,
            place: None,
            reason: String::new(),
            payload: Bytes::from_static(b"x"),
        };
        assert!(way_back(&letter("tw.activity.default.p003")).is_ok());
        assert!(way_back(&letter("tw.feature.default.p003")).is_err());
        assert!(way_back(&letter("file:x.json")).is_err());
        let empty = DeadLetter { payload: Bytes::new(), ..letter("tw.activity.default.p003") };
        assert!(way_back(&empty).is_err(), "its object is gone");
    }

    #[test]
    fn a_letter_is_listed_though_its_object_is_gone() {
        let whole = DeadLetter {
            subject: "tw.activity.default.p003".to_owned(),
            sequence: 17,
            place: None,
            reason: "not protobuf".to_owned(),
            payload: Bytes::from(vec![7; PAYLOAD_BYTES_MAX + 1]),
        };
        let (subject, Outgoing { payload, headers, .. }) = message("default", &whole);
        assert!(payload.is_empty());
        assert_eq!(headers.get(CLAIM), object(&whole.payload).as_ref());
        let stored_at = trailwarden_core::time::Timestamp::default();
        let stored = Stored { subject: subject.to_string(), sequence: 1, payload, headers, stored_at };
        assert_eq!(letter(&stored, Some(whole.payload.clone())).as_ref(), Some(&whole));
        let gone = letter(&stored, None).expect("it is still a letter");
        assert!(gone.payload.is_empty() && gone.reason.ends_with("no longer kept"), "{}", gone.reason);
        let damaged = Error::Invalid { what: "object dead/00 is damaged".to_owned() };
        assert!(matches!(found(Err(damaged)), Ok(None)));
    }
}
