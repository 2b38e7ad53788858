//! What is measured of an activity: features, sequence, level.

use trailwarden_core::feature::{Feature, FeatureVector, SCHEMA_VERSION};
use trailwarden_core::level::Level;
use trailwarden_core::sequence::{API_BUCKETS, GAP_MAX, LENGTH, Sequence, Token, novelty};

use crate::{Invalid, v1};

const KNOWN_BYTES: usize = Feature::COUNT.div_ceil(8);
const TOKEN_BYTES: usize = 8;

/// Checks that a sender means the same by its features.
///
/// # Errors
/// [`Invalid::Disagrees`] when its schema has another version.
pub fn agrees(feature_schema: u32) -> Result<(), Invalid> {
    match feature_schema == SCHEMA_VERSION {
        true => Ok(()),
        false => Err(Invalid::Disagrees { found: feature_schema, expected: SCHEMA_VERSION }),
    }
}

/// A feature vector off the wire. What is unknown stays unknown, and what is known keeps its bits.
///
/// # Errors
/// When bits are set beyond the schema, or values and bits do not agree in number, or a value is no number.
pub fn features(wire: &v1::FeatureVector) -> Result<FeatureVector, Invalid> {
    let wrong = |field, what| Err(Invalid::Field { field, what });
    let is_known = |column: usize| wire.known.get(column / 8).is_some_and(|byte| byte >> (column % 8) & 1 == 1);
    let bits: usize = wire.known.iter().map(|byte| byte.count_ones() as usize).sum();
    let known = (0..Feature::COUNT).filter(|column| is_known(*column));
    if wire.known.len() > KNOWN_BYTES || known.clone().count() != bits {
        return wrong("features.known", "names columns that the schema does not have");
    }
    if wire.values.len() != bits {
        return wrong("features.values", "are not as many as columns are known");
    }
    if wire.values.iter().any(|value| value.is_nan()) {
        return wrong("features.values", "hold something that is no number");
    }
    let mut vector = FeatureVector::default();
    let columns = vector.columns_mut();
    for (column, value) in known.zip(&wire.values) {
        columns[column] = *value;
    }
    Ok(vector)
}

/// A feature vector for the wire.
pub fn features_to_wire(vector: &FeatureVector) -> v1::FeatureVector {
    let mut known = vec![0; KNOWN_BYTES];
    let mut values = Vec::with_capacity(Feature::COUNT);
    for (column, value) in vector.columns().iter().enumerate().filter(|(_, value)| !value.is_nan()) {
        known[column / 8] |= 1 << (column % 8);
        values.push(*value);
    }
    v1::FeatureVector { known, values }
}

/// A level off the wire.
///
/// # Errors
/// When it is not told, or not known.
pub fn level(wire: i32) -> Result<Level, Invalid> {
    match v1::Level::try_from(wire) {
        Ok(v1::Level::None) => Ok(Level::None),
        Ok(v1::Level::Caution) => Ok(Level::Caution),
        Ok(v1::Level::Warning) => Ok(Level::Warning),
        Ok(v1::Level::Critical) => Ok(Level::Critical),
        Ok(v1::Level::Unspecified) => Err(Invalid::Field { field: "level", what: "is not told" }),
        Err(_) => Err(Invalid::Field { field: "level", what: "is not known" }),
    }
}

/// A level for the wire.
pub const fn level_to_wire(level: Level) -> v1::Level {
    match level {
        Level::None => v1::Level::None,
        Level::Caution => v1::Level::Caution,
        Level::Warning => v1::Level::Warning,
        Level::Critical => v1::Level::Critical,
    }
}

/// A session's latest activities off the wire, oldest first: eight bytes a token, the API's bucket little-endian, then gap,
/// access, agent, source, outcome and novelty.
///
/// # Errors
/// When there are too many, or a token holds what no activity gives.
pub fn sequence(wire: &[u8]) -> Result<Sequence, Invalid> {
    let wrong = |what| Err(Invalid::Field { field: "sequence", what });
    let (tokens, rest) = wire.as_chunks::<TOKEN_BYTES>();
    if !rest.is_empty() {
        return wrong("ends within a token");
    }
    if tokens.len() > LENGTH {
        return wrong("is longer than is kept of a session");
    }
    let mut sequence = Sequence::default();
    for &[api_low, api_high, gap, access, agent, source, outcome, novel] in tokens {
        let api = u16::from_le_bytes([api_low, api_high]);
        let within = usize::from(api) < API_BUCKETS
            && gap <= GAP_MAX
            && access <= ACCESS_MAX
            && agent <= AGENT_MAX
            && source <= SOURCE_MAX
            && outcome <= OUTCOME_MAX
            && u32::from(novel) < 1 << novelty::BITS;
        if !within {
            return wrong("holds a token that no activity gives");
        }
        sequence.push(Token { api, gap, access, agent, source, outcome, novelty: novel });
    }
    Ok(sequence)
}

/// As [`Token`] documents them.
const ACCESS_MAX: u8 = 5;
const AGENT_MAX: u8 = 12;
const SOURCE_MAX: u8 = 7;
const OUTCOME_MAX: u8 = 2;

/// A session's latest activities for the wire.
pub fn sequence_to_wire(sequence: &Sequence) -> Vec<u8> {
    let mut wire = Vec::with_capacity(sequence.len() * TOKEN_BYTES);
    for Token { api, gap, access, agent, source, outcome, novelty } in sequence.iter() {
        wire.extend_from_slice(&api.to_le_bytes());
        wire.extend_from_slice(&[gap, access, agent, source, outcome, novelty]);
    }
    wire
}
