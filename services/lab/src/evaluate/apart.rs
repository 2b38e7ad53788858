//! What stands beside the headline: other ways to split, the leaky one among them, and whether generated logs can be
//! told from real ones.

use std::path::Path;

use trailwarden_core::feature::Feature;
use trailwarden_core::hash::hash64_of;

use super::models::Detector;
use super::pool::Pool;
use crate::Error;
use crate::cases;
use crate::dataset::{Dataset, Reader};
use crate::generate::Settings;
use crate::measure::roc_auc;
use crate::table::{GeneratedOrReal, Kind, Protocol, Row};
use crate::train::{Options, Sample, learned_from, trees_on};
use crate::universe::{CALM_SHARE, DAYS, Phase};

/// The test's part of what was split.
const TEST_PERCENT: u64 = 30;

/// Trees under each other protocol, on the headline's own organisations.
pub(super) fn rows(
    rows: &mut Vec<Row>,
    environment: &str,
    organisations: &[&Dataset],
    options: &Options,
    say: &dyn Fn(&str),
) -> Result<(), Error> {
    for protocol in [Protocol::LeaveAccountOut, Protocol::TimeOrdered, Protocol::LeakyRandomSplit] {
        say(protocol.name());
        let mut sample = Sample::default();
        for dataset in organisations {
            let known = learned_from(dataset, options.thinning).filter(|event| !is_test(protocol, dataset, *event));
            sample.add(dataset, &known.collect::<Vec<_>>(), options.thinning);
        }
        let forest = trees_on(&sample, options.trees)?;
        let mut pool = Pool { untested: 1.0 - TEST_PERCENT as f64 / 100.0, ..Pool::default() };
        for dataset in organisations {
            let mut margins = Vec::with_capacity(dataset.len());
            forest.margins(&dataset.rows, &mut margins);
            let held_out = held_out(protocol, dataset);
            let margins: Vec<f64> = held_out.0.iter().map(|event| margins[*event]).collect();
            let made = cases::of_scores(&held_out.1, &margins);
            pool.add(&held_out.1, vec![(Detector::Trees, margins)], vec![(Detector::Trees, made)]);
        }
        let resampling = pool.resampling();
        rows.push(Row {
            detector: Detector::Trees.name().to_owned(),
            kind: Kind::Ours,
            protocol,
            environment: environment.to_owned(),
            metrics: pool.metrics(Detector::Trees, &resampling),
        });
    }
    Ok(())
}

/// Whether an event belongs to the test.
fn is_test(protocol: Protocol, dataset: &Dataset, event: usize) -> bool {
    let meta = &dataset.events[event];
    let dealt = |texts: [&str; 2]| hash64_of(texts) % 100 < TEST_PERCENT;
    match protocol {
        Protocol::LeaveAccountOut => dealt(["account", &dataset.accounts[meta.account as usize]]),
        // Attacks begin when the calm time ends; the later part of them is the test.
        Protocol::TimeOrdered => {
            let share = CALM_SHARE + (1.0 - CALM_SHARE) * (1.0 - TEST_PERCENT as f64 / 100.0);
            // An incident belongs to one side as a whole, by its first event.
            let at = dataset.begins(meta.incident).unwrap_or(meta.at);
            let elapsed_days = at.since_ms(dataset.first) as f64 / trailwarden_core::time::DAY_MS as f64;
            elapsed_days >= f64::from(DAYS) * share
        }
        _ => dealt(["event", &format!("{event} {}", dataset.first)]),
    }
}

/// The events of the test and, for thresholds, the innocent ones of the calm time.
fn held_out(protocol: Protocol, dataset: &Dataset) -> (Vec<usize>, Dataset) {
    let places: Vec<usize> = (0..dataset.len())
        .filter(|event| {
            let calm = Phase::of(dataset.first, dataset.events[*event].at) != Phase::Test;
            is_test(protocol, dataset, *event) || (calm && protocol == Protocol::TimeOrdered)
        })
        .collect();
    let mut part = Dataset {
        events: places.iter().map(|event| dataset.events[*event]).collect(),
        accounts: dataset.accounts.clone(),
        first: dataset.first,
        last: dataset.last,
        ..Dataset::default()
    };
    // Incidents are numbered anew: those that have no event in the test are not missed there.
    let mut numbers = std::collections::BTreeMap::new();
    for meta in part.events.iter_mut().filter(|meta| meta.incident > 0) {
        let next = numbers.len() as u32 + 1;
        let number = *numbers.entry(meta.incident).or_insert(next);
        if number == next {
            part.incidents.push(dataset.incidents[meta.incident as usize - 1].clone());
        }
        meta.incident = number;
    }
    (places, part)
}

/// Rows of each kind at most.
const ROWS_MAX: usize = 20_000;
/// Features named that give it away.
const NAMED_MAX: usize = 5;

/// Trees that try to tell generated innocent events from real ones by what a single event shows: features that need
/// history are left out, since the real logs are too short to have any.
pub(super) fn generated_or_real(
    reader: &Reader,
    settings: &Settings,
    real: &Path,
) -> Result<Option<GeneratedOrReal>, Error> {
    let generated = crate::universe::Organisation::generate(reader, settings, false)?;
    let real = reader.innocent(real)?;
    let (one, other) = (cold_rows(&generated.dataset), cold_rows(&real));
    let count = (one.len().min(other.len()) / Feature::COUNT).min(ROWS_MAX);
    if count < 100 {
        return Ok(None);
    }
    let (train, test) = (split(&one, &other, count, 0), split(&one, &other, count, 1));
    let forest = trees_on(&train, crate::reference::TreeOptions::default())?;
    let mut margins = Vec::new();
    forest.margins(&test.rows, &mut margins);
    let mut weights = vec![0.0; Feature::COUNT];
    for row in test.rows.chunks_exact(Feature::COUNT).step_by(10) {
        weights.iter_mut().zip(forest.contributions(row)).for_each(|(sum, weight)| *sum += weight.abs());
    }
    let mut order: Vec<Feature> = Feature::ALL.to_vec();
    order.sort_by(|a, b| weights[*b as usize].total_cmp(&weights[*a as usize]));
    let told_by = order.into_iter().take(NAMED_MAX).map(|feature| feature.definition().name.to_owned()).collect();
    let roc_auc = roc_auc(&margins, &test.labels).unwrap_or(f64::NAN);
    Ok(Some(GeneratedOrReal { roc_auc, generated: count as u64, real: count as u64, told_by }))
}

/// Rows of innocent events without what rests on history.
fn cold_rows(dataset: &Dataset) -> Vec<f32> {
    let needs_history = |feature: &&Feature| feature.definition().window == "epochs";
    let innocent = (0..dataset.len()).filter(|event| dataset.events[*event].incident == 0);
    let mut rows: Vec<f32> = innocent.flat_map(|event| dataset.row(event)).copied().collect();
    let known = [Feature::HourRateRatio, Feature::Novel1h, Feature::SessionNovel];
    let session = [Feature::SessionSurprise, Feature::SessionSurpriseMax];
    for row in rows.chunks_exact_mut(Feature::COUNT) {
        for feature in Feature::ALL.iter().filter(needs_history).chain(&known).chain(&session) {
            row[*feature as usize] = f32::NAN;
        }
    }
    rows
}

/// Every second of evenly drawn rows: the generated ones are positive.
fn split(generated: &[f32], real: &[f32], count: usize, part: usize) -> Sample {
    let mut sample = Sample::default();
    for (rows, label) in [(generated, true), (real, false)] {
        let step = rows.len() / Feature::COUNT / count;
        for row in rows.chunks_exact(Feature::COUNT).step_by(step.max(1)).take(count).skip(part).step_by(2) {
            sample.rows.extend_from_slice(row);
            sample.labels.push(label);
            sample.weights.push(1.0);
        }
    }
    sample
}
