//! What others say, as a log line or an error may repeat it.

/// Characters of somebody else's text that an error quotes at most.
pub const SAID_CHARS_MAX: usize = 200;

/// Somebody else's text as an error may quote it: one line without control characters, cut.
pub fn quoted(text: &str) -> String {
    let mut kept = String::new();
    let mut characters = 0;
    for word in
        text.split(|c: char| c.is_control() || c.is_whitespace() || is_invisible(c)).filter(|word| !word.is_empty())
    {
        if characters > 0 {
            kept.push(' ');
            characters += 1;
        }
        let room = SAID_CHARS_MAX.saturating_sub(characters);
        kept.extend(word.chars().take(room));
        characters += word.chars().take(room).count();
        if characters >= SAID_CHARS_MAX {
            break;
        }
    }
    kept.truncate(kept.char_indices().nth(SAID_CHARS_MAX).map_or(kept.len(), |(at, _)| at));
    kept
}

/// Characters that turn the direction of what follows, or are not seen: a log line must not be rewritten by them.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_one_short_line() {
        assert_eq!(quoted("a\u{1b}[31m\r\n b\0\u{202e}c  "), "a [31m b c");
        assert_eq!(quoted(&"é".repeat(5_000)).chars().count(), SAID_CHARS_MAX);
        assert_eq!(quoted(&"ab ".repeat(5_000)).chars().count(), SAID_CHARS_MAX);
        assert_eq!(quoted(" \n"), "");
    }
}
