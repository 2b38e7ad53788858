//! Two detectors without any training: how rare, and how much of it was never seen.

use trailwarden_core::feature::Feature;

/// The rarities that are summed, each in bits.
pub const RARITY: [Feature; 15] = [
    Feature::ApiRarityPrincipal,
    Feature::ApiRarityAccount,
    Feature::ApiRarityPeers,
    Feature::SourceRarityPrincipal,
    Feature::SourceRarityAccount,
    Feature::RegionRarityPrincipal,
    Feature::RegionRarityAccount,
    Feature::AgentRarityPrincipal,
    Feature::AgentRarityAccount,
    Feature::ServiceRarityPrincipal,
    Feature::ServiceRarityAccount,
    Feature::ProgramRarityPrincipal,
    Feature::ProgramRarityAccount,
    Feature::TargetRarityPrincipal,
    Feature::TargetRarityAccount,
];

/// The first-seen facts that are counted.
pub const FIRST_SEEN: [Feature; 10] = [
    Feature::FirstApiPrincipal,
    Feature::FirstApiAccount,
    Feature::FirstSourcePrincipal,
    Feature::FirstRegionAccount,
    Feature::FirstAgentPrincipal,
    Feature::FirstServicePrincipal,
    Feature::FirstProgramPrincipal,
    Feature::FirstTargetPrincipal,
    Feature::FirstTargetAccount,
    Feature::FirstSourceAccount,
];

/// Sum of [`RARITY`] in bits, the unknown ones 0: the event's surprise, were API, source, region and agent
/// independent.
///
/// # Panics
/// When `columns` is 0.
pub fn rarity_scores(rows: &[f32], columns: usize) -> Vec<f64> {
    rows.chunks_exact(columns).map(|row| RARITY.iter().map(|feature| known(row, *feature)).sum()).collect()
}

/// How many of [`FIRST_SEEN`] hold, the unknown ones not.
///
/// # Panics
/// When `columns` is 0.
pub fn first_seen_scores(rows: &[f32], columns: usize) -> Vec<f64> {
    let holds = |row: &[f32], feature| f64::from(u8::from(known(row, feature) > 0.0));
    rows.chunks_exact(columns).map(|row| FIRST_SEEN.iter().map(|feature| holds(row, *feature)).sum()).collect()
}

fn known(row: &[f32], feature: Feature) -> f64 {
    row.get(feature as usize).filter(|value| value.is_finite()).map_or(0.0, |value| f64::from(*value))
}
