//! Innocent twins of the attacks: the same calls, as surprising at first sight, for a good reason.

use super::script::Script;

mod cast;
mod change;
mod moving;
mod review;
mod trial;

/// One innocent story.
#[derive(Clone, Copy, Debug)]
pub struct Lookalike {
    /// The family it looks like.
    pub of: &'static str,
    /// Tells it with about this many events.
    pub play: fn(&mut Script<'_>, u32),
}

const THEMES: [&[Lookalike]; 4] = [change::TWINS, moving::TWINS, review::TWINS, trial::TWINS];

/// Every story, in a fixed order; at least one for each family of attacks.
pub fn all() -> Vec<Lookalike> {
    THEMES.iter().flat_map(|theme| theme.iter().copied()).collect()
}
