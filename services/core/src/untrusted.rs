//! Text that an attacker may have written, made safe to look at. Markup is escaped by whoever writes
//! markup; this room takes away what works in any medium: terminal escapes, direction overrides,
//! invisible characters, stacked marks and sheer length.

use std::fmt::Write;

/// Characters shown of one name; the rest is counted. The lines of `--cases` keep the whole text.
pub const NAME_CHARS_MAX: usize = 160;

/// More combining marks than this on one letter climb out of their line.
const MARKS_IN_A_ROW_MAX: usize = 2;

/// A stretch of untrusted text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Shown as it stands.
    Plain(&'a str),
    /// Shown as `\u{202e}`.
    Hidden(char),
    /// How many further characters are not shown.
    Cut(usize),
}

/// Cuts text into what can be shown as it stands and what cannot, at most `chars_max` characters of it.
pub fn pieces(text: &str, chars_max: usize) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    // A mark must have a letter of its own to stand on, not one of the text before.
    let (mut plain_from, mut marks) = (0, MARKS_IN_A_ROW_MAX);
    for (shown, (at, character)) in text.char_indices().enumerate() {
        if shown == chars_max {
            push_plain(&mut pieces, &text[plain_from..at]);
            pieces.push(Piece::Cut(text[at..].chars().count()));
            return pieces;
        }
        marks = if is_mark(character) { marks + 1 } else { 0 };
        if is_hidden(character) || marks > MARKS_IN_A_ROW_MAX {
            marks = MARKS_IN_A_ROW_MAX;
            push_plain(&mut pieces, &text[plain_from..at]);
            pieces.push(Piece::Hidden(character));
            plain_from = at + character.len_utf8();
        }
    }
    push_plain(&mut pieces, &text[plain_from..]);
    pieces
}

fn push_plain<'a>(pieces: &mut Vec<Piece<'a>>, text: &'a str) {
    if !text.is_empty() {
        pieces.push(Piece::Plain(text));
    }
}

/// The text on one line, with everything hidden spelled out and cut to `chars_max` characters.
pub fn visible(text: &str, chars_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(chars_max.saturating_add(32)));
    for piece in pieces(text, chars_max) {
        match piece {
            Piece::Plain(plain) => out.push_str(plain),
            Piece::Hidden(character) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
            }
            Piece::Cut(more) => {
                let _ = write!(out, "… (+{} characters)", count(more));
            }
        }
    }
    out
}

/// `1,234,567`.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A name of up to [`NAME_CHARS_MAX`] characters on one line.
pub fn name(text: &str) -> String {
    visible(text, NAME_CHARS_MAX)
}

/// JSON text with what hides in its strings written as JSON's own escapes, so that a copy of it means the same.
pub fn visible_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && is_hidden(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    out
}

/// Addresses of servers, several separated by commas, without user and password: scheme, host and port of each. What does
/// not look like a host may be a part of a password, and is not shown.
pub fn addresses(urls: &str) -> String {
    // What is shown of each address, and whether it is known where its password ends.
    let mut shown: Vec<(String, bool)> = Vec::new();
    for url in urls.split(',') {
        let has_user = url.contains('@');
        if has_user && !url.contains("://") {
            // A comma may stand in a password: then what came before is its beginning.
            while let Some((before, false)) = shown.last() {
                let begins = before.contains("://");
                shown.pop();
                if begins {
                    break;
                }
            }
        }
        shown.push((address(url.trim()), has_user));
    }
    shown.into_iter().map(|(address, _)| address).collect::<Vec<String>>().join(",")
}

fn address(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let after_user = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let authority = after_user.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    let of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let good = !host.is_empty() && host.bytes().all(of_host) && port.bytes().all(|byte| byte.is_ascii_digit());
    let scheme =
        if !scheme.is_empty() && scheme.bytes().all(of_scheme) { format!("{scheme}://") } else { String::new() };
    format!("{scheme}{}", if good { authority } else { "…" })
}

/// Whether a character acts on its surroundings, or cannot be seen, instead of standing for itself.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{2000}'..='\u{200F}' | '\u{2028}'..='\u{202F}' | '\u{205F}'..='\u{206F}' | '\u{2800}' | '\u{3000}' | '\u{3164}'
            | '\u{E000}'..='\u{F8FF}' | '\u{FE00}'..='\u{FE0E}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFD}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}' | '\u{F0000}'..='\u{10FFFF}')
}

fn is_mark(character: char) -> bool {
    matches!(character,
        '\u{0300}'..='\u{036F}' | '\u{0483}'..='\u{0489}' | '\u{0591}'..='\u{05BD}' | '\u{0610}'..='\u{061A}' | '\u{064B}'..='\u{065F}'
        | '\u{0E31}' | '\u{0E34}'..='\u{0E3A}' | '\u{0E47}'..='\u{0E4E}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}'
        | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_out_what_acts_or_hides_and_counts_what_it_cuts() {
        for (text, expect) in [
            ("ci-deploy", "ci-deploy"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\u{202e}gpj.exe", "a\\u{202e}gpj.exe"),
            ("two\r\nlines\t", "two\\u{d}\\u{a}lines\\u{9}"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
            ("e\u{301}", "e\u{301}"),
            ("e\u{301}\u{301}\u{301}\u{301}", "e\u{301}\u{301}\\u{301}\\u{301}"),
            ("\u{301}e\u{7}\u{301}", "\\u{301}e\\u{7}\\u{301}"),
            ("مدير", "مدير"),
            ("", ""),
        ] {
            assert_eq!(visible(text, 100), expect, "{text:?}");
        }
        assert_eq!(visible("0123456789abc", 10), "0123456789… (+3 characters)");
        assert_eq!(
            name(&"x".repeat(10_240)).chars().count(),
            NAME_CHARS_MAX + "… (+10,080 characters)".chars().count()
        );
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({"name": "a\u{202e}b\u{e0041}\u{7}"});
        let shown = visible_json(&serde_json::to_string_pretty(&value).expect("JSON"));
        assert!(shown.contains(r"a\u202eb\udb40\udc41\u0007"), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
    }

    #[test]
    fn addresses_are_shown_without_passwords() {
        for (urls, expect) in [
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("nats://me:secret@bus.example:4222", "nats://bus.example:4222"),
            ("nats://a:4222, nats://me:secret@b:4222,nats://token-secret@c", "nats://a:4222,nats://b:4222,nats://c"),
            ("me:secret@a:4222,me:secret@b:4222,c:4222", "a:4222,b:4222,c:4222"),
            ("redis://:secret@cache:6379/0?password=secret#secret", "redis://cache:6379"),
            ("rediss://me:se@cr/e?t@[::1]:6379/0", "rediss://[::1]:6379"),
            ("redis://[::1]/0", "redis://[::1]"),
            ("nats://me:secret", "nats://…"),
            ("nats://me:12,secret@a:4222", "a:4222"),
            ("nats://me:1,2,3@a:4222,nats://b:4222", "a:4222,nats://b:4222"),
            ("me:se://cret@a:4222", "a:4222"),
            ("nats://me:secret@\u{1b}[31m", "nats://…"),
            ("unix:///run/redis.sock", "unix://…"),
            ("", "…"),
        ] {
            let shown = addresses(urls);
            assert_eq!(shown, expect, "{urls:?}");
            assert!(!shown.contains("secret") && !shown.contains("me"), "{shown}");
        }
    }

    #[test]
    fn pieces_lose_nothing() {
        let text = "a\u{202e}b\u{7}c".repeat(50);
        let total: usize = pieces(&text, 77)
            .iter()
            .map(|piece| match piece {
                Piece::Plain(plain) => plain.chars().count(),
                Piece::Hidden(_) => 1,
                Piece::Cut(more) => *more,
            })
            .sum();
        assert_eq!(total, text.chars().count());
    }
}
