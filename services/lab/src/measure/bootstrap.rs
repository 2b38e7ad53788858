//! Intervals by resampling whole incidents and whole benign blocks, because events of one incident or one account's
//! day are not independent: resampling single events would claim far too much certainty.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::incident::BENIGN;
use super::{comparable, descending};

/// A figure with the 95 % percentile interval of its bootstrap (Efron and Tibshirani 1993, chapter 13).
/// Where every resample agrees, as with a recall of 0 or 1, it has no width; what remains uncertain is then about 3 in
/// the number of incidents (Hanley and Lippman-Hand 1983).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Estimate {
    pub(super) fn of(value: f64, mut resampled: Vec<f64>) -> Self {
        resampled.retain(|figure| !figure.is_nan());
        if resampled.is_empty() {
            return Self { value, low: value, high: value };
        }
        resampled.sort_by(f64::total_cmp);
        Self { value, low: quantile(&resampled, 0.025), high: quantile(&resampled, 0.975) }
    }
}

/// Linear between order statistics (type 7 of Hyndman and Fan 1996); `sorted` is not empty.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (low, part) = (at.floor() as usize, at.fract());
    match sorted.get(low + 1) {
        Some(next) if part > 0.0 => sorted[low] + part * (next - sorted[low]),
        _ => sorted[low],
    }
}

/// What is drawn together, and the seed of the draws. Detectors measured with one `Resampling` see the same
/// resamples, so their differences are paired.
#[derive(Clone, Debug)]
pub struct Resampling {
    unit_of_event: Vec<u32>,
    incidents: u32,
    blocks: u32,
    resamples: u32,
    seed: u64,
}

impl Resampling {
    /// Events of an incident are drawn with it; events outside ([`BENIGN`]) with their block, commonly the account's
    /// day or the session. Incidents and blocks are drawn apart, each as many as there are, with replacement.
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn new(incidents: &[u32], blocks: &[u32], resamples: u32, seed: u64) -> Self {
        assert_eq!(incidents.len(), blocks.len());
        let (mut of_incident, mut of_block) = (BTreeMap::new(), BTreeMap::new());
        for (incident, block) in incidents.iter().zip(blocks) {
            if *incident == BENIGN {
                of_block.insert(*block, 0_u32)
            } else {
                of_incident.insert(*incident, 0_u32)
            };
        }
        let units = of_incident.values_mut().chain(of_block.values_mut());
        units.enumerate().for_each(|(number, unit)| *unit = number as u32);
        let unit_of_event = incidents
            .iter()
            .zip(blocks)
            .map(|(incident, block)| if *incident == BENIGN { of_block[block] } else { of_incident[incident] })
            .collect();
        Self { unit_of_event, incidents: of_incident.len() as u32, blocks: of_block.len() as u32, resamples, seed }
    }

    /// Average precision with its interval. `None` without a positive event.
    ///
    /// # Panics
    /// When the slices differ from the events in number.
    pub fn average_precision(&self, scores: &[f64], labels: &[bool]) -> Option<Estimate> {
        let ranked = self.ranked(scores, labels);
        let value = super::average_precision(scores, labels)?;
        Some(Estimate::of(value, self.over_resamples(|weights| ranked.average_precision(weights))))
    }

    /// Average precision of the first detector minus that of the second, on the same resamples.
    ///
    /// # Panics
    /// When the slices differ from the events in number.
    pub fn average_precision_difference(&self, first: &[f64], second: &[f64], labels: &[bool]) -> Option<Estimate> {
        let (one, other) = (self.ranked(first, labels), self.ranked(second, labels));
        let value = super::average_precision(first, labels)? - super::average_precision(second, labels)?;
        let resampled =
            self.over_resamples(|weights| one.average_precision(weights) - other.average_precision(weights));
        Some(Estimate::of(value, resampled))
    }

    /// Share of found incidents with its interval, the threshold being fixed beforehand. `found` has one entry an
    /// incident, in ascending order of its number, as [`super::found_above`] gives it.
    ///
    /// # Panics
    /// When `found` differs from the incidents in number.
    pub fn incident_recall(&self, found: &[bool]) -> Option<Estimate> {
        assert_eq!(found.len(), self.incidents as usize);
        let value = super::recall(found)?;
        let resampled = self.over_resamples(|weights| {
            let hits: u32 = found.iter().zip(weights).map(|(found, weight)| if *found { *weight } else { 0 }).sum();
            f64::from(hits) / found.len() as f64
        });
        Some(Estimate::of(value, resampled))
    }

    fn over_resamples(&self, mut figure: impl FnMut(&[u32]) -> f64) -> Vec<f64> {
        let mut weights = vec![0_u32; (self.incidents + self.blocks) as usize];
        (0..self.resamples)
            .map(|number| {
                let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
                rng.set_stream(u64::from(number));
                let (incidents, blocks) = weights.split_at_mut(self.incidents as usize);
                draw(&mut rng, incidents);
                draw(&mut rng, blocks);
                figure(&weights)
            })
            .collect()
    }

    fn ranked(&self, scores: &[f64], labels: &[bool]) -> Ranked {
        assert_eq!(scores.len(), self.unit_of_event.len());
        assert_eq!(labels.len(), self.unit_of_event.len());
        let order = descending(scores);
        // What ranks below the last positive event cannot change the average precision.
        let length = order.iter().rposition(|&event| labels[event as usize]).map_or(0, |last| {
            let lowest = comparable(scores[order[last] as usize]);
            last + order[last..].iter().take_while(|&&event| comparable(scores[event as usize]) == lowest).count()
        });
        let entries = (0..length)
            .map(|at| {
                let event = order[at] as usize;
                let ends = at + 1 == length || comparable(scores[event]) != comparable(scores[order[at + 1] as usize]);
                Entry { unit: self.unit_of_event[event], positive: u32::from(labels[event]), ends_threshold: ends }
            })
            .collect();
        Ranked { entries }
    }
}

/// How often each of the units is drawn when as many are drawn with replacement.
pub(super) fn draw(rng: &mut ChaCha8Rng, multiplicities: &mut [u32]) {
    multiplicities.fill(0);
    for _ in 0..multiplicities.len() {
        let drawn = rng.random_range(0..multiplicities.len());
        multiplicities[drawn] += 1;
    }
}

/// Events in descending order of score, sorted once; a resample is one pass with other multiplicities.
struct Ranked {
    entries: Vec<Entry>,
}

struct Entry {
    unit: u32,
    positive: u32,
    ends_threshold: bool,
}

impl Ranked {
    fn average_precision(&self, weights: &[u32]) -> f64 {
        let (mut positives, mut raised, mut gained, mut pending) = (0_u64, 0_u64, 0.0, 0_u64);
        for entry in &self.entries {
            let weight = u64::from(weights[entry.unit as usize]);
            raised += weight;
            pending += weight * u64::from(entry.positive);
            if entry.ends_threshold && pending > 0 {
                positives += pending;
                gained += pending as f64 * positives as f64 / raised as f64;
                pending = 0;
            }
        }
        if positives == 0 { f64::NAN } else { gained / positives as f64 }
    }
}
