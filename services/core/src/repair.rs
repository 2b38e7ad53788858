//! Records that JSON's grammar allows and `serde_json` cannot hold as a tree.

/// The key under which `serde_json` takes an object for pre-parsed text.
const RESERVED_KEY: &str = "$serde_json::private::RawValue";

/// `raw` with what would make a tree of it fail replaced: lone surrogates by U+FFFD, numbers beyond a double by
/// their text, and the key that `serde_json` reserves for itself by one without its `$`.
///
/// A caller of AWS can choose such text, and must not hide a record from the rules by it. `raw` is well-formed.
pub fn repair(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut repaired = String::with_capacity(raw.len() + 16);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let end = match byte {
            b'"' => string_end(bytes, at),
            b'-' | b'0'..=b'9' => number_end(bytes, at),
            _ => next_token(bytes, at),
        };
        let token = &raw[at..end];
        match byte {
            b'"' => push_string(&mut repaired, token),
            b'-' | b'0'..=b'9' => push_number(&mut repaired, token),
            _ => repaired.push_str(token),
        }
        at = end;
    }
    repaired
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            // An escaped character is ASCII, so the index stays on a character boundary.
            b'\\' if bytes.get(at + 1).is_some_and(u8::is_ascii) => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn number_end(bytes: &[u8], start: usize) -> usize {
    let rest = &bytes[start..];
    let is_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    start + rest.iter().position(|byte| !is_number(byte)).unwrap_or(rest.len())
}

fn next_token(bytes: &[u8], start: usize) -> usize {
    let rest = &bytes[start..];
    let starts = |byte: &u8| matches!(byte, b'"' | b'-' | b'0'..=b'9');
    start + rest.iter().position(starts).unwrap_or(rest.len())
}

fn push_number(repaired: &mut String, token: &str) {
    let is_finite = token.parse::<f64>().is_ok_and(f64::is_finite);
    if is_finite {
        repaired.push_str(token);
    } else {
        repaired.extend(["\"", token, "\""]);
    }
}

fn push_string(repaired: &mut String, token: &str) {
    let start = repaired.len();
    let mut rest = token;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        repaired.push_str(before);
        let length = match (code_unit(escape), escape.get(6..).and_then(code_unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                repaired.push_str("\\ufffd");
                rest = &escape[6..];
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end),
        };
        repaired.push_str(&escape[..length]);
        rest = &escape[length..];
    }
    repaired.push_str(rest);
    let is_reserved = serde_json::from_str::<String>(&repaired[start..]).is_ok_and(|text| text == RESERVED_KEY);
    if is_reserved {
        repaired.truncate(start);
        repaired.extend(["\"", &RESERVED_KEY[1..], "\""]);
    }
}

/// The UTF-16 code unit of `\uXXXX` at the start of `escape`.
fn code_unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_tree_can_be_built_of_every_well_formed_record() {
        let cases = [
            (r#"{"a":"x\ud83dy","b":1}"#, json!({"a": "x\u{fffd}y", "b": 1})),
            (r#"{"a":"\ude00\ud83d\ude00"}"#, json!({"a": "\u{fffd}\u{1f600}"})),
            (r#"{"a":"\\ud83d","é":[1e999,-2.5e3]}"#, json!({"a": "\\ud83d", "é": ["1e999", -2500.0]})),
            (
                r#"{"p":{"$serde_json::private::RawValue":"no json"},"q":{"\u0024serde_json::private::RawValue":"{}"}}"#,
                json!({"p": {"serde_json::private::RawValue": "no json"}, "q": {"serde_json::private::RawValue": "{}"}}),
            ),
        ];
        for (raw, expected) in cases {
            let tree: Value = serde_json::from_str(&repair(raw)).expect("repaired");
            assert_eq!(tree, expected, "{raw}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_keeps_what_parses(text in ".{0,80}", wild in r#"["\\u0-9dDeE{}\[\]:,$-]{0,40}"#) {
            let _ = repair(&text);
            let _ = repair(&wild);
            let quoted = json!({"key": text}).to_string();
            proptest::prop_assert_eq!(repair(&quoted), quoted);
        }
    }
}
