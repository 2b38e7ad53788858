//! One activity as numbers: what an encoder reads at each step.
//!
//! A step's input is the API's embedding (16, learnt), then [`DENSE`] plain columns: the gap (1, divided by its
//! largest value), one-hot access (6), agent (13), source (4) and outcome (3), and the novelty bits (6). Ordinals out
//! of range are taken as the last in range, so a hostile or newer token reads as something known.

use trailwarden_core::sequence::{API_BUCKETS, GAP_MAX, Token, novelty};

pub const ACCESSES: usize = 6;
pub const AGENTS: usize = 13;
pub const SOURCES: usize = 4;
pub const OUTCOMES: usize = 3;
pub const NOVELTIES: usize = novelty::BITS as usize;
pub const GAPS: usize = GAP_MAX as usize + 1;

/// First columns of the groups within a step's plain columns.
pub const ACCESS: usize = 1;
pub const AGENT: usize = ACCESS + ACCESSES;
pub const SOURCE: usize = AGENT + AGENTS;
pub const OUTCOME: usize = SOURCE + SOURCES;
pub const NOVELTY: usize = OUTCOME + OUTCOMES;
/// Plain columns of a step.
pub const DENSE: usize = NOVELTY + NOVELTIES;

/// A token with every ordinal in range.
pub fn clamped(token: Token) -> Token {
    Token {
        api: token.api.min(API_BUCKETS as u16 - 1),
        gap: token.gap.min(GAP_MAX),
        access: token.access.min(ACCESSES as u8 - 1),
        agent: token.agent.min(AGENTS as u8 - 1),
        source: token.source.min(SOURCES as u8 - 1),
        outcome: token.outcome.min(OUTCOMES as u8 - 1),
        novelty: token.novelty & ((1 << NOVELTIES) - 1),
    }
}

/// The plain columns of a step.
pub fn dense(token: Token) -> [f32; DENSE] {
    let token = clamped(token);
    let mut columns = [0.0; DENSE];
    columns[0] = f32::from(token.gap) / f32::from(GAP_MAX);
    columns[ACCESS + usize::from(token.access)] = 1.0;
    columns[AGENT + usize::from(token.agent)] = 1.0;
    columns[SOURCE + usize::from(token.source)] = 1.0;
    columns[OUTCOME + usize::from(token.outcome)] = 1.0;
    for bit in 0..NOVELTIES {
        columns[NOVELTY + bit] = f32::from(token.novelty >> bit & 1);
    }
    columns
}
