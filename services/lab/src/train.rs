//! Training: from organisations to a bundle.
//!
//! Trees learn from all organisations. What their margins are worth is learned out of fold: every organisation is
//! scored by trees that never saw it, nor, since each organisation hosts its own families of campaigns, the kind of
//! attack in it. So the calibration speaks of attacks that are new.

use std::collections::{BTreeMap, BTreeSet};

use trailwarden_core::case;
use trailwarden_core::feature::Feature;
use trailwarden_core::gather::SIGNAL_FROM;
use trailwarden_scorer::bundle::{Bundle, CaseModel, Networks, Origin, Schema, Stack};
use trailwarden_scorer::calibration::Isotonic;
use trailwarden_scorer::forest::Forest;
use trailwarden_scorer::import::forust;
use trailwarden_scorer::network::{Autoencoder, Encoder};

use crate::Error;
use crate::cases;
use crate::dataset::Dataset;
use crate::network::{AutoencoderOptions, EncoderOptions, train_autoencoder, train_encoder};
use crate::reference::{LogisticOptions, LogisticRegression, TreeOptions, forest_on};
use crate::universe::{PREVALENCE, Phase};

/// Bounds of [`centring`], in log-odds, and its halvings: enough for the last bit that matters.
const CENTRING_MAX: f64 = 20.0;
const CENTRING_STEPS: u32 = 60;

/// How a model is trained.
#[derive(Clone, Debug)]
pub struct Options {
    pub trees: TreeOptions,
    /// Of the innocent events one in so many is learned from, with so much more weight.
    pub thinning: usize,
    pub encoder: EncoderOptions,
    /// Sequences that the encoder learns from at most, a third of them of attacks.
    pub sequences_max: usize,
    pub autoencoder: AutoencoderOptions,
    /// Trees' probabilities between which networks are asked.
    pub band: (f64, f64),
    pub networks: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trees: TreeOptions {
                iterations: 200,
                learning_rate: 0.06,
                depth_max: 7,
                leaves_max: 48,
                min_leaf_weight: 30.0,
                l2: 10.0,
                subsample: 1.0,
                colsample: 0.5,
                ..TreeOptions::default()
            },
            thinning: 16,
            encoder: EncoderOptions { epochs: 2, batch: 256, learning_rate: 2e-3, seed: 1 },
            sequences_max: 90_000,
            autoencoder: AutoencoderOptions { epochs: 2, batch: 256, learning_rate: 1e-3, seed: 1 },
            band: (0.10, 0.95),
            networks: true,
        }
    }
}

/// Rows to fit on.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub rows: Vec<f32>,
    pub labels: Vec<bool>,
    pub weights: Vec<f64>,
}

impl Sample {
    /// All attack events that a model may speak of, and one in `thinning` of the innocent ones.
    pub fn of(organisations: &[&Dataset], thinning: usize) -> Self {
        let mut sample = Self::default();
        for dataset in organisations {
            let events: Vec<usize> = learned_from(dataset, thinning).collect();
            sample.add(dataset, &events, thinning);
        }
        sample
    }

    /// Adds events of an organisation, of whose innocent ones one in `thinning` was chosen.
    pub(crate) fn add(&mut self, dataset: &Dataset, events: &[usize], thinning: usize) {
        let shares = incident_shares(dataset, events);
        for event in events {
            let incident = dataset.events[*event].incident;
            self.rows.extend_from_slice(dataset.row(*event));
            self.labels.push(incident > 0);
            self.weights.push(match shares.get(&incident) {
                Some(share) => *share,
                None => thinning.max(1) as f64,
            });
        }
    }
}

/// What an attack event weighs, by incident: 1 over the root of its incident's events, 1 on average. So a campaign of
/// nine hundred events counts for six of twenty-five, not for thirty-six: to find an incident matters as much as to
/// find its events.
fn incident_shares(dataset: &Dataset, events: &[usize]) -> BTreeMap<u32, f64> {
    let mut sizes = BTreeMap::<u32, f64>::new();
    for incident in events.iter().map(|event| dataset.events[*event].incident).filter(|incident| *incident > 0) {
        *sizes.entry(incident).or_default() += 1.0;
    }
    let events: f64 = sizes.values().sum();
    let roots: f64 = sizes.values().map(|size| size.sqrt()).sum();
    sizes.into_iter().map(|(incident, size)| (incident, events / (roots * size.sqrt()))).collect()
}

impl Sample {
    /// The rows that are no attacks: what an unsupervised detector takes for the ordinary.
    pub fn innocent_rows(&self) -> Vec<f32> {
        let rows = self.rows.chunks_exact(Feature::COUNT).zip(&self.labels);
        rows.filter(|(_, is_attack)| !**is_attack).flat_map(|(row, _)| row).copied().collect()
    }
}

/// The events that are learned from: all attack events and every n-th of the innocent ones.
pub(crate) fn learned_from(dataset: &Dataset, thinning: usize) -> impl Iterator<Item = usize> + '_ {
    let thinning = thinning.max(1);
    (0..dataset.len()).filter(move |event| {
        let meta = &dataset.events[*event];
        // Of the calm time nothing is learned: that there was no attack yet is no property of an event.
        let in_time = Phase::of(dataset.first, meta.at) == Phase::Test;
        meta.applies && in_time && (meta.incident > 0 || event % thinning == 0)
    })
}

/// Fits trees on organisations.
///
/// # Errors
/// When there is nothing to learn from.
pub fn trees(organisations: &[&Dataset], options: &Options) -> Result<Forest, Error> {
    let sample = Sample::of(organisations, options.thinning);
    trees_on(&sample, options.trees)
}

pub(crate) fn trees_on(sample: &Sample, options: TreeOptions) -> Result<Forest, Error> {
    let trained = forest_on(&sample.rows, Feature::COUNT, &sample.labels, Some(&sample.weights), options)?;
    Ok(forust::read(&trained.json, Feature::COUNT)?.forest)
}

/// A bundle, and what was learned about it on the way.
#[derive(Debug)]
pub struct Trained {
    pub bundle: Bundle,
    /// By organisation and event: the margin of trees that never saw the organisation. NaN where the model abstains.
    pub out_of_fold: Vec<Vec<f64>>,
    /// By fold: trees that never saw its organisations.
    pub forests: BTreeMap<usize, Forest>,
}

/// An organisation and the fold whose campaigns it hosts.
#[derive(Clone, Copy, Debug)]
pub struct Hosted<'a> {
    pub fold: usize,
    pub dataset: &'a Dataset,
}

/// Trains a bundle, all but the pool's weights, which rest on cases ([`crate::weigh`]).
///
/// # Errors
/// When there are fewer than two folds or one of them holds no attack.
pub fn train(
    organisations: &[Hosted<'_>],
    origin: Origin,
    options: &Options,
    say: &dyn Fn(&str),
) -> Result<Trained, Error> {
    let folds: BTreeSet<usize> = organisations.iter().map(|hosted| hosted.fold).collect();
    let mut out_of_fold = vec![Vec::new(); organisations.len()];
    let mut forests = BTreeMap::new();
    for fold in &folds {
        say(&format!("trees without the campaigns of fold {}", fold + 1));
        let others: Vec<&Dataset> =
            organisations.iter().filter(|hosted| hosted.fold != *fold).map(|hosted| hosted.dataset).collect();
        let forest = trees(&others, options)?;
        for (hosted, margins) in organisations.iter().zip(&mut out_of_fold).filter(|(hosted, _)| hosted.fold == *fold) {
            *margins = self::margins(&forest, hosted.dataset);
        }
        forests.insert(*fold, forest);
    }
    let calibration = calibrated(organisations, &out_of_fold)?;
    let cases = case_model(organisations, &out_of_fold, &calibration)?;
    say("trees on all organisations");
    let all: Vec<&Dataset> = organisations.iter().map(|hosted| hosted.dataset).collect();
    let forest = trees(&all, options)?;
    let networks = if options.networks { Some(networks(organisations, &out_of_fold, options, say)?) } else { None };
    let bundle = Bundle { schema: Schema::current(), origin, forest, calibration, networks, cases, pool: None };
    Ok(Trained { bundle, out_of_fold, forests })
}

/// What an attack event weighs where probabilities are learned: training holds more attacks than they are meant for.
pub(crate) fn attack_weight<'a>(labels: impl Iterator<Item = &'a bool>) -> f64 {
    let (attacks, all) =
        labels.fold((0.0, 0.0), |(attacks, all), label| (attacks + f64::from(u8::from(*label)), all + 1.0));
    PREVALENCE / (1.0 - PREVALENCE) * (all - attacks) / f64::max(attacks, 1.0)
}

fn weights(labels: &[bool]) -> Vec<f64> {
    let attack = attack_weight(labels.iter());
    labels.iter().map(|label| if *label { attack } else { 1.0 }).collect()
}

fn calibrated(organisations: &[Hosted<'_>], out_of_fold: &[Vec<f64>]) -> Result<Isotonic, Error> {
    let known =
        || organisations.iter().zip(out_of_fold).flat_map(|(hosted, margins)| measured(hosted.dataset, margins));
    let scores: Vec<f64> = known().map(|(margin, _)| margin).collect();
    let labels: Vec<bool> = known().map(|(_, is_attack)| is_attack).collect();
    Ok(Isotonic::fit(&scores, &labels, &weights(&labels))?.centred()?)
}

/// A group of events that stands for a case.
struct KnownCase {
    /// What [`CaseModel`] looks at.
    inputs: [f32; 2],
    is_attack: bool,
    /// Cases of its incident, of the one with most; 1 for an innocent case.
    of_incident: f64,
}

/// What a case is worth by its events' probabilities, learned from cases of organisations and campaigns that the trees
/// did not see.
///
/// A slow campaign makes hundreds of faint cases and a fast one a single loud case, and to be found, each needs one.
/// So the coefficients are those of incidents: a case weighs 1 over the cases of its incident. With those weights
/// alone, a case would be told the chance of being its incident's only one. The intercept is set with 1 over the
/// root, between that and the chance of any case: many faint cases of one incident are worth more than one of them,
/// and less than so many incidents.
fn case_model(
    organisations: &[Hosted<'_>],
    out_of_fold: &[Vec<f64>],
    calibration: &Isotonic,
) -> Result<CaseModel, Error> {
    let (mut cases, mut events) = (Vec::new(), Vec::new());
    for (hosted, margins) in organisations.iter().zip(out_of_fold) {
        known_cases(hosted.dataset, margins, calibration, &mut cases);
        let test = hosted.dataset.events.iter().filter(|meta| Phase::of(hosted.dataset.first, meta.at) == Phase::Test);
        events.extend(test.map(|meta| meta.incident > 0));
    }
    // As much rarer as attack events are weighed down, attack cases are.
    let attack = attack_weight(events.iter());
    let weights = |power: f64| -> Vec<f64> {
        let weight = |case: &KnownCase| if case.is_attack { attack * case.of_incident.powf(-power) } else { 1.0 };
        cases.iter().map(weight).collect()
    };
    let inputs: Vec<f32> = cases.iter().flat_map(|case| case.inputs).collect();
    let labels: Vec<bool> = cases.iter().map(|case| case.is_attack).collect();
    let fitted = LogisticRegression::fit(&inputs, 2, &labels, Some(&weights(1.0)), LogisticOptions::default())?;
    let (intercept, coefficients) = fitted.plain();
    let shift = centring(&fitted.log_odds(&inputs), &labels, &weights(0.5));
    Ok(CaseModel { intercept: intercept + shift, maximum: coefficients[0], mass: coefficients[1] })
}

fn known_cases(dataset: &Dataset, margins: &[f64], calibration: &Isotonic, cases: &mut Vec<KnownCase>) {
    let probabilities: Vec<f64> = margins.iter().map(|margin| calibration.probability(*margin)).collect();
    let mut groups = cases::groups(dataset, &probabilities, SIGNAL_FROM);
    groups.retain(|group| Phase::of(dataset.first, group.first) == Phase::Test);
    let incidents = |group: &cases::Group| -> BTreeSet<u32> {
        let of_events = group.events.iter().map(|event| dataset.events[*event].incident);
        of_events.filter(|incident| *incident > 0).collect()
    };
    let mut counts = BTreeMap::<u32, f64>::new();
    for incident in groups.iter().flat_map(incidents) {
        *counts.entry(incident).or_default() += 1.0;
    }
    cases.extend(groups.iter().map(|group| {
        let mut of_events: Vec<f64> = group.events.iter().map(|event| probabilities[*event]).collect();
        // A case keeps so many of its events in full.
        of_events.sort_by(|a, b| b.total_cmp(a));
        of_events.truncate(case::Limits::default().signals_full_max);
        let incidents = incidents(group);
        let sizes = incidents.iter().filter_map(|incident| counts.get(incident));
        KnownCase {
            inputs: CaseModel::inputs(of_events.into_iter()).map(|input| input as f32),
            is_attack: !incidents.is_empty(),
            of_incident: sizes.fold(1.0, |most, size| f64::max(most, *size)),
        }
    }));
}

/// What to add to log-odds so that their probabilities add up to the labels, by bisection.
pub(crate) fn centring(log_odds: &[f64], labels: &[bool], weights: &[f64]) -> f64 {
    let surplus = |shift: f64| -> f64 {
        let rows = log_odds.iter().zip(labels).zip(weights);
        rows.map(|((log_odds, label), weight)| {
            weight * (1.0 / (1.0 + (-(log_odds + shift)).exp()) - f64::from(u8::from(*label)))
        })
        .sum()
    };
    let (mut low, mut high) = (-CENTRING_MAX, CENTRING_MAX);
    for _ in 0..CENTRING_STEPS {
        let middle = f64::midpoint(low, high);
        if surplus(middle) > 0.0 { high = middle } else { low = middle }
    }
    f64::midpoint(low, high)
}

/// Margins of all events; NaN where the model abstains.
pub fn margins(forest: &Forest, dataset: &Dataset) -> Vec<f64> {
    let mut margins = Vec::with_capacity(dataset.len());
    forest.margins(&dataset.rows, &mut margins);
    for (margin, meta) in margins.iter_mut().zip(&dataset.events) {
        if !meta.applies {
            *margin = f64::NAN;
        }
    }
    margins
}

/// Margin and truth of the events that the model speaks of, from the time in which attacks happen.
fn measured<'a>(dataset: &'a Dataset, margins: &'a [f64]) -> impl Iterator<Item = (f64, bool)> + 'a {
    let told = dataset.events.iter().zip(margins);
    told.filter(|(meta, _)| meta.applies && Phase::of(dataset.first, meta.at) == Phase::Test)
        .map(|(meta, margin)| (*margin, meta.incident > 0))
}

/// Networks from all folds but the first; how much to believe them from the first, which they never saw.
fn networks(
    organisations: &[Hosted<'_>],
    out_of_fold: &[Vec<f64>],
    options: &Options,
    say: &dyn Fn(&str),
) -> Result<Networks, Error> {
    let held_out = organisations.first().map_or(0, |hosted| hosted.fold);
    let (mut sequences, mut labels, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    let told = |hosted: &&Hosted<'_>| !hosted.dataset.sequences.is_empty();
    let learned =
        || organisations.iter().filter(told).filter(|hosted| hosted.fold != held_out).map(|hosted| hosted.dataset);
    for (is_attack, wanted) in [(true, options.sequences_max / 3), (false, options.sequences_max / 3 * 2)] {
        let wanted_kind = |dataset: &Dataset, event: &usize| {
            let meta = &dataset.events[*event];
            let in_time = Phase::of(dataset.first, meta.at) == Phase::Test;
            meta.applies && in_time && (meta.incident > 0) == is_attack
        };
        let there: usize =
            learned().map(|dataset| (0..dataset.len()).filter(|event| wanted_kind(dataset, event)).count()).sum();
        let step = there.div_ceil(wanted.max(1)).max(1);
        for dataset in learned() {
            for event in (0..dataset.len()).filter(|event| wanted_kind(dataset, event)).step_by(step) {
                sequences.push(dataset.sequences[event]);
                labels.push(f32::from(u8::from(is_attack)));
                if !is_attack {
                    rows.extend_from_slice(dataset.row(event));
                }
            }
        }
    }
    say(&format!("the encoder, on {} sequences", sequences.len()));
    let encoder = train_encoder(&sequences, &labels, &vec![1.0; labels.len()], &options.encoder)?;
    say(&format!("the autoencoder, on {} rows", rows.len() / Feature::COUNT));
    let autoencoder = train_autoencoder(&rows, Feature::COUNT, &options.autoencoder)?;

    say("the stack");
    let (runner, coder) = (Encoder::new(&encoder)?, Autoencoder::new(&autoencoder)?);
    let (mut inputs, mut truth) = (Vec::new(), Vec::new());
    let judging = organisations.iter().zip(out_of_fold);
    for (hosted, margins) in judging.filter(|(hosted, _)| hosted.fold == held_out && told(hosted)) {
        let dataset = hosted.dataset;
        for event in learned_from(dataset, options.thinning) {
            let logit = runner.logits(&dataset.sequences[event..=event]).first().copied().unwrap_or(0.0);
            let error = coder.errors(dataset.row(event), Feature::COUNT)?.first().copied().unwrap_or(0.0);
            inputs.extend([margins[event] as f32, logit, error]);
            truth.push(dataset.events[event].incident > 0);
        }
    }
    // Weighed to the prevalence that probabilities are meant for, whatever thinning left.
    let attack = attack_weight(truth.iter());
    let weights: Vec<f64> = truth.iter().map(|label| if *label { attack } else { 1.0 }).collect();
    let stack = stack(&inputs, &truth, &weights)?;
    let log_odds: Vec<f64> = inputs
        .chunks_exact(3)
        .map(|input| stack.log_odds(f64::from(input[0]), f64::from(input[1]), f64::from(input[2])))
        .collect();
    let calibration = Isotonic::fit(&log_odds, &truth, &weights)?;
    Ok(Networks { encoder, autoencoder, stack, calibration, from: options.band.0, to: options.band.1 })
}

fn stack(inputs: &[f32], labels: &[bool], weights: &[f64]) -> Result<Stack, Error> {
    let fitted = LogisticRegression::fit(inputs, 3, labels, Some(weights), LogisticOptions::default())?;
    let (intercept, coefficients) = fitted.plain();
    Ok(Stack { intercept, trees: coefficients[0], encoder: coefficients[1], autoencoder: coefficients[2] })
}
