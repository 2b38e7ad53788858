//! How much of a case one finding takes in: texts in a log are as long as whoever wrote them liked.

use crate::figures::count;

/// No ARN of IAM is longer: its path has up to 512 characters, its name 128.
const NAME_CHARS_MAX: usize = 700;
const TEXT_CHARS_MAX: usize = 2_000;

/// Takes texts and lists in as far as they are bounded, and remembers whether anything was left out.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    pub(super) is_cut: bool,
}

impl Bounds {
    /// A name or an id.
    pub(super) fn name(&mut self, text: &str) -> String {
        self.cut(text, NAME_CHARS_MAX)
    }

    /// A name where the schema asks for one.
    pub(super) fn required(&mut self, text: &str) -> String {
        if text.is_empty() { "unknown".to_owned() } else { self.name(text) }
    }

    /// A sentence.
    pub(super) fn text(&mut self, text: &str) -> String {
        self.cut(text, TEXT_CHARS_MAX)
    }

    /// The first of a list.
    pub(super) fn first<'a, T>(&mut self, all: &'a [T], items_max: usize) -> &'a [T] {
        self.is_cut |= all.len() > items_max;
        &all[..all.len().min(items_max)]
    }

    fn cut(&mut self, text: &str, chars_max: usize) -> String {
        let Some((at, _)) = text.char_indices().nth(chars_max) else { return text.to_owned() };
        self.is_cut = true;
        format!("{}… (+{} characters)", &text[..at], count(text[at..].chars().count() as u64))
    }
}
