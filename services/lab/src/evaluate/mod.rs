//! `lab evaluate`: every detector, by the published protocol.
//!
//! The headline: models of fold `k` are trained on the other folds' training organisations and measured on fold `k`'s
//! test organisation, so neither organisations nor campaigns were seen. Folds are pooled.

mod apart;
mod models;
mod pool;
mod sample;
mod stage_two;

use std::collections::BTreeSet;
use std::path::Path;

use trailwarden_core::feature::SCHEMA_VERSION;
use trailwarden_core::level::Severity;
use trailwarden_scorer::bundle::Origin;

use crate::Error;
use crate::cases;
use crate::dataset::{Dataset, Reader};
use crate::generate;
use crate::measure::{self, Point};
use crate::table::{
    Ablation, Band, CURVE_POINTS_MAX, Curves, Difference, Environment, Evaluation, LabelShuffle, Protocol, Row,
};
use crate::train::{self, Hosted, Options, Trained};
use crate::universe::{self, FOLDS, Organisation, PREVALENCE, Universe};
use crate::weigh;

use models::{Detector, Models};
use pool::Pool;

pub use sample::{Heard, Outside, Pick};
pub use stage_two::stage_two;

/// Bins of the reliability plot.
const RELIABILITY_BINS: usize = 10;

/// Generates the training organisations, each with its fold.
fn training(reader: &Reader, universe: &Universe, say: &dyn Fn(&str)) -> Result<Vec<(usize, Organisation)>, Error> {
    let all = universe.training().enumerate();
    all.map(|(number, (fold, settings, with_sequences))| {
        say(&format!("training organisation {} of {}", number + 1, FOLDS * universe.training.len()));
        Ok((fold, Organisation::generate(reader, &settings, with_sequences)?))
    })
    .collect()
}

/// Trains on organisations, the pool's weights included.
fn trained(
    reader: &Reader,
    organisations: &[(usize, &Organisation)],
    origin: Origin,
    options: &Options,
    say: &dyn Fn(&str),
) -> Result<Trained, Error> {
    let mut trained = train::train(&hosted(organisations), origin, options, say)?;
    say("the pool's weights");
    trained.bundle.pool = weigh::fit(reader, organisations, &trained)?;
    Ok(trained)
}

fn hosted<'a>(organisations: &[(usize, &'a Organisation)]) -> Vec<Hosted<'a>> {
    let each = organisations.iter();
    each.map(|(fold, organisation)| Hosted { fold: *fold, dataset: &organisation.dataset }).collect()
}

/// All organisations but those of one fold.
fn without(fold: usize, organisations: &[(usize, Organisation)]) -> Vec<(usize, &Organisation)> {
    let others = organisations.iter().filter(|(of, _)| *of != fold);
    others.map(|(of, organisation)| (*of, organisation)).collect()
}

/// Trains a bundle from nothing.
///
/// # Errors
/// When there is no room on disk.
pub fn bundle(universe: &Universe, options: &Options, say: &dyn Fn(&str)) -> Result<Trained, Error> {
    let reader = Reader::new()?;
    let organisations = training(&reader, universe, say)?;
    let organisations: Vec<_> = organisations.iter().map(|(fold, organisation)| (*fold, organisation)).collect();
    let events: usize = organisations.iter().map(|(_, organisation)| organisation.dataset.len()).sum();
    let origin = Origin {
        generator: generate::digest(),
        seeds: universe.training().map(|(_, settings, _)| settings.seed).collect(),
        events: events as u64,
        prevalence: PREVALENCE,
    };
    trained(&reader, &organisations, origin, options, say)
}

/// Measures everything. `real` holds logs of a real account that are known to be innocent, if there are any.
///
/// # Errors
/// When there is no room on disk.
pub fn evaluate(
    universe: &Universe,
    options: &Options,
    real: Option<&Path>,
    say: &dyn Fn(&str),
) -> Result<Evaluation, Error> {
    let reader = Reader::new()?;
    let environments = universe.measured;
    let mut pools: Vec<Pool> = environments.iter().map(|_| Pool::default()).collect();
    let mut headline: Vec<Dataset> = Vec::with_capacity(FOLDS);
    let training = training(&reader, universe, say)?;
    for fold in 0..FOLDS {
        say(&format!("fold {} of {FOLDS}", fold + 1));
        let models = Models::fit(&reader, &without(fold, &training), options, say)?;
        for (place, (environment, pool)) in environments.iter().zip(&mut pools).enumerate() {
            say(&format!("{} organisation", environment.name));
            let organisation = Organisation::generate(&reader, &environment.settings(fold), true)?;
            let asked = if place == 0 { &Detector::ALL[..] } else { &Detector::EVERYWHERE };
            measure_organisation(&reader, &models, &organisation, asked, pool)?;
            if place == 0 {
                headline.push(organisation.dataset);
            }
        }
    }
    drop(training);

    let mut evaluation = Evaluation {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        feature_schema: SCHEMA_VERSION,
        shipped: Some(Detector::Shipped.name().to_owned()),
        intervals: "95 % percentile intervals of 200 bootstrap resamples: whole incidents, and apart from them whole \
                    account-days of innocent events, drawn with replacement."
            .to_owned(),
        ..Evaluation::default()
    };
    say("figures");
    for (environment, pool) in environments.iter().zip(&pools) {
        evaluation.environments.push(told(environment, pool));
        rows(&mut evaluation.rows, environment.name, pool);
    }
    if let Some(pool) = pools.first() {
        headline_figures(&mut evaluation, environments[0].name, pool);
    }
    say("other ways to split");
    let leaner = Options { networks: false, ..options.clone() };
    apart::rows(&mut evaluation.rows, environments[0].name, &headline.iter().collect::<Vec<_>>(), &leaner, say)?;
    if let Some(real) = real {
        say("generated or real");
        evaluation.generated_or_real = apart::generated_or_real(&reader, &environments[0].settings(0), real)?;
    }
    evaluation.notes = notes(&evaluation);
    Ok(evaluation)
}

/// Scores an organisation with every detector that was asked for and makes the cases of each.
fn measure_organisation(
    reader: &Reader,
    models: &Models,
    organisation: &Organisation,
    asked: &[Detector],
    pool: &mut Pool,
) -> Result<(), Error> {
    let dataset = &organisation.dataset;
    let (mut scores, mut made) = (Vec::new(), Vec::new());
    for detector in asked {
        let Some(given) = models.scores(*detector, dataset)? else { continue };
        made.push((
            *detector,
            match detector {
                Detector::Shipped => cases::of_product(reader, organisation, Some(&models.shipped))?,
                Detector::WithNetworks => cases::of_product(reader, organisation, Some(&models.scorer))?,
                Detector::Rules => cases::of_product(reader, organisation, None)?,
                _ => cases::of_scores(dataset, &given),
            },
        ));
        scores.push((*detector, given));
    }
    pool.add(dataset, scores, made);
    Ok(())
}

fn told(environment: &universe::Environment, pool: &Pool) -> Environment {
    Environment {
        name: environment.name.to_owned(),
        events: pool.labels.len() as u64,
        prevalence: pool.prevalence(),
        incidents: pool.names.len() as u64,
        accounts: u64::from(pool.accounts),
        days: Pool::days(),
        generator: generate::digest(),
        seeds: (0..FOLDS).map(|fold| environment.settings(fold).seed).collect(),
    }
}

fn rows(rows: &mut Vec<Row>, environment: &str, pool: &Pool) {
    let resampling = pool.resampling();
    for detector in pool.scores.keys().filter(|detector| !detector.is_check()) {
        rows.push(Row {
            detector: detector.name().to_owned(),
            kind: detector.kind(),
            protocol: Protocol::LeaveCampaignAndOrganisationOut,
            environment: environment.to_owned(),
            metrics: pool.metrics(*detector, &resampling),
        });
    }
}

/// What is told of the first environment alone.
fn headline_figures(evaluation: &mut Evaluation, environment: &str, pool: &Pool) {
    let resampling = pool.resampling();
    let ours = Detector::Shipped;
    let Some(scores) = pool.scores.get(&ours) else { return };
    for (other, theirs) in pool.scores.iter().filter(|(other, _)| **other != ours && !other.is_check()) {
        if let Some(difference) = resampling.average_precision_difference(scores, theirs, &pool.labels) {
            evaluation.differences.push(Difference {
                ours: ours.name().to_owned(),
                other: other.name().to_owned(),
                environment: environment.to_owned(),
                average_precision: difference,
            });
        }
    }
    let families: Vec<&str> = pool.names.iter().map(|name| name.split('.').next().unwrap_or(name)).collect();
    evaluation.campaigns = measure::recall_by_group(&pool.found_by_cases(ours), &families);
    let precision = |detector| resampling.average_precision(pool.scores.get(&detector)?, &pool.labels);
    evaluation.label_shuffle = precision(Detector::ShuffledLabels)
        .map(|average_precision| LabelShuffle { average_precision, prevalence: pool.prevalence() });
    evaluation.without_error_codes = precision(Detector::Trees)
        .zip(precision(Detector::WithoutErrorCodes))
        .map(|(with, without)| Ablation { with, without });
    evaluation.bands = bands(pool);
    let reduced = |points: Vec<Point>| measure::reduced(&points, CURVE_POINTS_MAX);
    for (detector, scores) in pool.scores.iter().filter(|(detector, _)| !detector.is_check()) {
        let cases = pool.cases.get(detector).map_or(&[][..], Vec::as_slice);
        evaluation.curves.push(Curves {
            detector: detector.name().to_owned(),
            kind: detector.kind(),
            precision_recall: reduced(measure::precision_recall_curve(scores, &pool.labels)),
            recall_by_budget: reduced(measure::recall_by_budget(cases, pool.names.len() as u32, pool.account_days())),
        });
    }
    evaluation.reliability = measure::reliability(scores, &pool.labels, RELIABILITY_BINS);
}

/// How hard the generated logs are to detectors that are not ours.
fn bands(pool: &Pool) -> Vec<Band> {
    let raised: BTreeSet<u32> = pool
        .incidents
        .iter()
        .zip(&pool.severities)
        .filter(|(incident, severity)| **incident > 0 && **severity >= Some(Severity::Medium))
        .map(|(incident, _)| *incident)
        .collect();
    let ours = pool.average_precision(Detector::Trees);
    let raw = pool.average_precision(Detector::RawTrees);
    vec![
        Band {
            name: "incidents that rules raise at medium or above".to_owned(),
            at_most: 0.5,
            measured: Some(raised.len() as f64 / pool.names.len().max(1) as f64),
        },
        Band {
            name: "average precision of an isolation forest".to_owned(),
            at_most: 0.1,
            measured: pool.average_precision(Detector::IsolationForest),
        },
        Band {
            name: "average precision of trees on raw fields over that of our trees".to_owned(),
            at_most: 0.7,
            measured: raw.zip(ours).map(|(raw, ours)| raw / ours),
        },
    ]
}

/// Where it fails, in sentences that follow from the figures.
fn notes(evaluation: &Evaluation) -> Vec<String> {
    let mut notes = vec![
        "All of these logs are generated. Real ones are stranger and their attacks rarer: expect less, and measure on \
         your own."
            .to_owned(),
    ];
    let mut weak: Vec<_> = evaluation.campaigns.iter().filter(|group| group.found * 2 <= group.incidents).collect();
    weak.sort_by_key(|group| (group.found * 1_000 / group.incidents.max(1), group.group.clone()));
    if !weak.is_empty() {
        let named: Vec<String> =
            weak.iter().map(|group| format!("{} ({} of {})", group.group, group.found, group.incidents)).collect();
        notes.push(format!(
            "Campaigns of which half or fewer are found at one false case an account a day: {}.",
            named.join(", ")
        ));
    }
    notes.push(
        "The rows of other protocols are trained on four organisations with the settings of the headline, which are \
         meant for many more."
            .to_owned(),
    );
    notes
}
