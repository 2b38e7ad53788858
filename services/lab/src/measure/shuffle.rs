//! Labels without meaning, to prove that a figure comes from the labels.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The same labels on other events. Without blocks every label moves alone. With blocks (a session or an incident
/// each) the labels are read off block by block in a shuffled order and laid down block by block in the first order,
/// so that attack labels still stand together, as they did. The number of positive labels never changes.
///
/// # Panics
/// When the slices differ in length.
pub fn shuffled_labels(labels: &[bool], blocks: Option<&[u32]>, seed: u64) -> Vec<bool> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let Some(blocks) = blocks else {
        let mut shuffled = labels.to_vec();
        shuffled.shuffle(&mut rng);
        return shuffled;
    };
    assert_eq!(labels.len(), blocks.len());
    let mut events_of: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (event, block) in blocks.iter().enumerate() {
        events_of.entry(*block).or_default().push(event);
    }
    let mut order: Vec<&Vec<usize>> = events_of.values().collect();
    order.shuffle(&mut rng);
    let read = order.into_iter().flatten().map(|event| labels[*event]);
    let mut shuffled = vec![false; labels.len()];
    for (event, label) in events_of.values().flatten().zip(read) {
        shuffled[*event] = label;
    }
    shuffled
}
