//! A rule's text value: wildcards, escapes and where in the field it must stand.

/// Where in a field's text a value must stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    Whole,
    Start,
    End,
    Inside,
}

/// A compiled text value. Letter case is ignored (for ASCII) unless the rule says `cased`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    shape: Shape,
    cased: bool,
}

/// The common shapes by their needle, in lower case unless the pattern is cased.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Anything,
    Equal(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Inside(Box<str>),
    Glob(Box<[Token]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Character(char),
    AnyOne,
    AnyMany,
}

impl Pattern {
    pub(crate) fn new(text: &str, placement: Placement, cased: bool) -> Self {
        let mut tokens = Vec::with_capacity(text.len() + 2);
        if matches!(placement, Placement::End | Placement::Inside) {
            tokens.push(Token::AnyMany);
        }
        tokens.extend(tokenise(text));
        if matches!(placement, Placement::Start | Placement::Inside) {
            tokens.push(Token::AnyMany);
        }
        tokens.dedup_by(|a, b| *a == Token::AnyMany && *b == Token::AnyMany);
        if !cased {
            for token in &mut tokens {
                if let Token::Character(character) = token {
                    character.make_ascii_lowercase();
                }
            }
        }
        Self { shape: shape_of(tokens), cased }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match &self.shape {
            Shape::Anything => true,
            Shape::Equal(needle) => text.len() == needle.len() && self.same(text.as_bytes(), needle),
            Shape::Prefix(needle) => text.len() >= needle.len() && self.same(&text.as_bytes()[..needle.len()], needle),
            Shape::Suffix(needle) => {
                text.len() >= needle.len() && self.same(&text.as_bytes()[text.len() - needle.len()..], needle)
            }
            Shape::Inside(needle) if self.cased => text.contains(&**needle),
            Shape::Inside(needle) => contains_ignoring_case(text.as_bytes(), needle.as_bytes()),
            Shape::Glob(tokens) => glob_matches(tokens, text, self.cased),
        }
    }

    /// Whether the pattern may stand anywhere, so that the text of a whole object or array can hold it.
    pub(crate) fn floats(&self) -> bool {
        match &self.shape {
            Shape::Anything | Shape::Inside(_) => true,
            Shape::Glob(tokens) => tokens.first() == Some(&Token::AnyMany) && tokens.last() == Some(&Token::AnyMany),
            _ => false,
        }
    }

    /// The one text (ignoring case) that the pattern matches; `None` when it matches more.
    pub(crate) fn exact(&self) -> Option<&str> {
        match &self.shape {
            Shape::Equal(needle) => Some(needle),
            _ => None,
        }
    }

    fn same(&self, text: &[u8], needle: &str) -> bool {
        if self.cased { text == needle.as_bytes() } else { text.eq_ignore_ascii_case(needle.as_bytes()) }
    }
}

/// Splits a value into literal characters and wildcards. A backslash makes a following `*`, `?` or backslash
/// literal and is itself literal before anything else.
fn tokenise(text: &str) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '*' => Token::AnyMany,
            '?' => Token::AnyOne,
            '\\' => Token::Character(characters.next_if(|next| matches!(next, '*' | '?' | '\\')).unwrap_or('\\')),
            other => Token::Character(other),
        });
    }
    tokens
}

fn shape_of(tokens: Vec<Token>) -> Shape {
    let starts_free = tokens.first() == Some(&Token::AnyMany);
    let ends_free = tokens.len() > 1 && tokens.last() == Some(&Token::AnyMany);
    let middle = &tokens[usize::from(starts_free)..tokens.len() - usize::from(ends_free)];
    let needle: Option<String> = middle
        .iter()
        .map(|token| match token {
            Token::Character(character) => Some(*character),
            _ => None,
        })
        .collect();
    match needle {
        None => Shape::Glob(tokens.into()),
        Some(needle) if needle.is_empty() && starts_free => Shape::Anything,
        Some(needle) => match (starts_free, ends_free) {
            (false, false) => Shape::Equal(needle.into()),
            (false, true) => Shape::Prefix(needle.into()),
            (true, false) => Shape::Suffix(needle.into()),
            (true, true) => Shape::Inside(needle.into()),
        },
    }
}

/// `needle` is in lower case and not empty.
fn contains_ignoring_case(text: &[u8], needle: &[u8]) -> bool {
    let Some((&first, rest)) = needle.split_first() else {
        return true;
    };
    if text.len() < needle.len() {
        return false;
    }
    let starts = &text[..=text.len() - needle.len()];
    memchr::memchr2_iter(first, first.to_ascii_uppercase(), starts)
        .any(|at| text[at + 1..at + needle.len()].eq_ignore_ascii_case(rest))
}

/// Greedy matching that only ever goes back to the latest `*`: at most `text` times `tokens` steps.
fn glob_matches(tokens: &[Token], text: &str, cased: bool) -> bool {
    let mut rest = text.chars();
    let mut next = 0;
    let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        let before = rest.clone();
        match (tokens.get(next), rest.next()) {
            (Some(Token::AnyMany), _) => {
                next += 1;
                retry = Some((next, before.clone()));
                rest = before;
                continue;
            }
            (None, None) => return true,
            (Some(Token::AnyOne), Some(_)) => {
                next += 1;
                continue;
            }
            (Some(Token::Character(wanted)), Some(found))
                if *wanted == found || (!cased && wanted.eq_ignore_ascii_case(&found)) =>
            {
                next += 1;
                continue;
            }
            // Text is used up while a character is still wanted: no later start can help.
            (Some(_), None) => return false,
            _ => {}
        }
        let Some((token, start)) = &mut retry else {
            return false;
        };
        if start.next().is_none() {
            return false;
        }
        next = *token;
        rest = start.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wildcards_escapes_placement_and_case() {
        use Placement::{End, Inside, Start, Whole};
        #[rustfmt::skip]
        let cases: &[(&str, Placement, bool, &str, bool)] = &[
            ("abc", Whole, false, "ABC", true), ("abc", Whole, true, "ABC", false), ("abc", Whole, true, "abc", true),
            ("abc", Whole, false, "abcd", false), ("", Whole, false, "", true), ("", Whole, false, "x", false),
            ("a*", Whole, false, "Abcd", true), ("*d", Whole, false, "abcD", true), ("*bc*", Whole, false, "aBCd", true),
            ("a*d", Whole, false, "abcd", true), ("a*d", Whole, false, "abce", false), ("a*d", Whole, false, "ad", true),
            ("a?d", Whole, false, "aéd", true), ("a?d", Whole, false, "ad", false), ("*??", Whole, false, "é", false),
            ("*??", Whole, false, "éa", true), ("*", Whole, false, "", true), ("**", Whole, false, "x", true),
            ("?", Whole, false, "", false), ("a*b*c", Whole, false, "a-b-b-c-c", true), ("a*b*c", Whole, false, "a-b-b-c-d", false),
            (r"a\*d", Whole, false, "a*d", true), (r"a\*d", Whole, false, "abd", false), (r"a\?d", Whole, false, "a?d", true),
            (r"a\\*", Whole, false, r"a\bcd", true), (r"a\\*", Whole, false, "abcd", false), (r"a\\\*", Whole, false, r"a\*", true),
            (r"a\b", Whole, false, r"a\b", true), (r"a\\b", Whole, false, r"a\b", true), (r"a\", Whole, false, r"a\", true),
            ("lambda", Start, false, "LambdaX", true), ("lambda", Start, false, "xlambda", false), ("x", Start, true, "Xy", false),
            ("lambda", End, false, "myLAMBDA", true), ("lambda", End, false, "lambdas", false),
            ("b c", Inside, false, "a B C d", true), ("b c", Inside, true, "a B C d", false), ("", Inside, false, "", true),
            ("*", Inside, false, "anything", true), ("a?c", Inside, false, "xxABCxx", true), ("a*e", Inside, false, "xAbcdEx", true),
            ("*a*", Inside, false, "bab", true), ("long needle", Inside, false, "long", false), ("é", Inside, false, "caféine", true),
            ("A*b?", Whole, true, "AxxbZ", true), ("A*b?", Whole, true, "axxbZ", false),
        ];
        for (pattern, placement, cased, text, expected) in cases {
            let compiled = Pattern::new(pattern, *placement, *cased);
            assert_eq!(compiled.matches(text), *expected, "{pattern} {placement:?} {cased} on {text}: {compiled:?}");
        }
    }

    fn plainly(tokens: &[Token], text: &[char]) -> bool {
        match (tokens.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((Token::AnyMany, rest)), _) => (0..=text.len()).any(|skip| plainly(rest, &text[skip..])),
            (Some((Token::AnyOne, rest)), Some((_, tail))) => plainly(rest, tail),
            (Some((Token::Character(c), rest)), Some((t, tail))) => c.eq_ignore_ascii_case(t) && plainly(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_plain_backtracking(pattern in r"[abA*?\\é]{0,8}", text in r"[abAé*\\]{0,8}") {
            let characters: Vec<char> = text.chars().collect();
            let expected = plainly(&tokenise(&pattern), &characters);
            prop_assert_eq!(Pattern::new(&pattern, Placement::Whole, false).matches(&text), expected);
        }
    }
}
