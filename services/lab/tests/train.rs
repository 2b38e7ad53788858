//! Training on a small universe: it learns what carries over, and gives the same bytes twice.

use std::time::Duration;

use trailwarden_lab::dataset::{Dataset, Reader};
use trailwarden_lab::evaluate::{evaluate, stage_two};
use trailwarden_lab::measure::average_precision;
use trailwarden_lab::table::{Council, Protocol, html, json_line, markdown, stage_two_markdown};
use trailwarden_lab::train::{Hosted, Options, Trained, train};
use trailwarden_lab::universe::{Organisation, Phase, Universe};
use trailwarden_scorer::bundle::Origin;

fn organisations() -> Vec<Dataset> {
    let reader = Reader::new().expect("rules that ship");
    let training = Universe::SMALL.training();
    training
        .map(|(_, settings, with)| Organisation::generate(&reader, &settings, with).expect("room").dataset)
        .collect()
}

fn options() -> Options {
    let mut options = Options { thinning: 2, sequences_max: 600, ..Options::default() };
    options.trees.iterations = 30;
    options
}

fn trained(organisations: &[Dataset]) -> Trained {
    let hosted: Vec<Hosted<'_>> =
        organisations.iter().enumerate().map(|(fold, dataset)| Hosted { fold, dataset }).collect();
    train(&hosted, Origin::default(), &options(), &|_| {}).expect("enough to learn from")
}

#[test]
fn campaigns_never_seen_are_ranked_above_the_ordinary_and_the_bytes_repeat() {
    let organisations = organisations();
    let once = trained(&organisations);
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    for (dataset, margins) in organisations.iter().zip(&once.out_of_fold) {
        for (meta, margin) in dataset.events.iter().zip(margins) {
            assert_eq!(meta.applies, !margin.is_nan(), "a margin exactly where the model speaks");
            if meta.applies && Phase::of(dataset.first, meta.at) == Phase::Test {
                scores.push(*margin);
                labels.push(meta.incident > 0);
            }
        }
    }
    let prevalence = labels.iter().filter(|label| **label).count() as f64 / labels.len() as f64;
    let precision = average_precision(&scores, &labels).expect("attacks");
    assert!(precision > 1.5 * prevalence, "{precision:.3} at {prevalence:.3}");

    let bytes = once.bundle.to_bytes().expect("small");
    assert!(bytes == trained(&organisations).bundle.to_bytes().expect("small"), "two trainings differ");
}

#[test]
fn the_whole_table_is_filled_on_a_small_universe() {
    let evaluation = evaluate(&Universe::SMALL, &options(), None, &|_| {}).expect("room on disk");
    let strict = Protocol::LeaveCampaignAndOrganisationOut;
    for detector in ["trees and rules (as shipped)", "LSTM", "rules", "isolation forest", "trees on raw fields"] {
        let row = evaluation.rows.iter().find(|row| row.detector == detector && row.protocol == strict);
        let metrics = &row.unwrap_or_else(|| panic!("no row of {detector}")).metrics;
        assert!(metrics.average_precision.is_some() && metrics.recall_at_one_false_case.is_some(), "{detector}");
    }
    for protocol in Protocol::ALL {
        assert!(evaluation.rows.iter().any(|row| row.protocol == protocol), "nothing under {}", protocol.name());
    }
    assert!(evaluation.label_shuffle.is_some() && evaluation.without_error_codes.is_some());
    assert_eq!(evaluation.bands.len(), 3);
    assert!(evaluation.generated_or_real.is_none(), "nothing real was given");
    assert!(markdown(&evaluation).contains("unseen campaigns") && html(&evaluation).contains("</html>"));
    serde_json::from_str::<serde_json::Value>(&json_line(&evaluation)).expect("one line of JSON");
}

#[test]
fn the_second_stage_is_measured_beside_random_claims() {
    let measured = |close_up_to| {
        stage_two(&Universe::SMALL, &options(), close_up_to, None, &|| Duration::ZERO, &|_| {}).expect("room on disk")
    };
    let told = measured(0.0);
    let [council, random] = told.councils.as_slice() else { panic!("two councils") };
    for scope in [|council: &Council| council.listed, |council: &Council| council.raised] {
        let (ours, theirs) = (scope(council), scope(random));
        assert_eq!((ours.false_cases, ours.true_cases), (theirs.false_cases, theirs.true_cases), "the same cases");
        assert!(ours.true_cases > 0 && ours.false_cases > 0, "{ours:?}");
        assert_eq!((ours.false_closed, ours.true_closed), (0, 0), "nothing is closed up to a probability of 0");
    }
    assert!(council.raised.false_cases < council.listed.false_cases);
    // The highest bound that there is closes some.
    let closing = measured(1.0);
    assert!(closing.councils[0].listed.false_closed > 0, "{closing:?}");
    assert!(closing.close_up_to < 1.0, "what is told is what was done");
    let text = stage_two_markdown(&closing);
    assert!(text.contains("random claims") && text.contains("set by hand"), "{text}");
}
