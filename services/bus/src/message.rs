//! What a message may look like, whoever carries it.

use crate::{Error, Outgoing, PAYLOAD_BYTES_MAX, Sequence};

/// Bytes that the headers of a message may have together.
const HEADER_BYTES_MAX: usize = 8 << 10;

/// Refuses what a broker could not carry, before it is sent.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check(message: &Outgoing) -> Result<(), Error> {
    if message.payload.len() > PAYLOAD_BYTES_MAX {
        let what = format!("a payload of {} bytes; {PAYLOAD_BYTES_MAX} are allowed", message.payload.len());
        return Err(Error::Invalid { what });
    }
    let printable = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let id = message.id.as_deref().unwrap_or_default();
    let mut header_bytes = id.len();
    for (name, value) in &message.headers {
        header_bytes += name.len() + value.len();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') || !printable(value) {
            return Err(Error::Invalid { what: format!("the header {name:?} cannot be sent") });
        }
    }
    if header_bytes > HEADER_BYTES_MAX || !printable(id) {
        return Err(Error::Invalid { what: format!("headers of {header_bytes} bytes, or an id that is not ASCII") });
    }
    Ok(())
}

/// Refuses a consumer's name that the broker would read as something else: it is a word of a subject and of a path.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check_consumer(name: &str) -> Result<(), Error> {
    check_name(name)?;
    if name.contains('/') {
        return Err(Error::Invalid { what: format!("{name:?} is no name for a consumer") });
    }
    Ok(())
}

/// Refuses an object's name that the broker would read as something else.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/=".contains(&byte);
    if !name.is_empty() && name.len() <= 200 && name.bytes().all(good) {
        return Ok(());
    }
    Err(Error::Invalid { what: format!("{name:?} is no name") })
}

/// Whether a subject is among those that a filter selects: `*` stands for a word, `>` for all that follow.
pub(crate) fn selects(filter: &str, subject: &str) -> bool {
    let mut words = subject.split('.');
    for pattern in filter.split('.') {
        match (pattern, words.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (pattern, Some(word)) if pattern == word => {}
            _ => return false,
        }
    }
    words.next().is_none()
}

/// A sequence that was written as text; 0 when it is none.
pub(crate) fn number(text: &[u8]) -> Sequence {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_select_by_word() {
        for (filter, subject, expected) in [
            ("tw.activity.default.p001", "tw.activity.default.p001", true),
            ("tw.activity.default.p001", "tw.activity.default.p0011", false),
            ("tw.activity.default.p001", "tw.activity.default.p001.x", false),
            ("tw.case.default.*", "tw.case.default.1e", true),
            ("tw.case.default.*", "tw.case.default", false),
            ("tw.case.>", "tw.case.default.1e", true),
            ("tw.case.default.>", "tw.case.default", false),
        ] {
            assert_eq!(selects(filter, subject), expected, "{filter} {subject}");
        }
    }
}
