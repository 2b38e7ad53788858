//! A bundle is what it was, or it is refused.

use trailwarden_core::feature::{Feature, FeatureVector};
use trailwarden_core::sequence::Sequence;
use trailwarden_scorer::bundle::{BYTES_MAX, Bundle, CaseModel, MAGIC, Origin, Schema, name};
use trailwarden_scorer::calibration::Isotonic;
use trailwarden_scorer::forest::{Forest, Node, Tree};
use trailwarden_scorer::{Error, Scorer};

/// One split on whether the principal came from a new network.
fn bundle() -> Bundle {
    let split = Node::Split {
        feature: Feature::FirstSourcePrincipal as u16,
        threshold: 0.5,
        missing_left: true,
        zero_is_missing: false,
        left: 1,
        right: 2,
    };
    let leaf = |value, cover| Node::Leaf { value, cover };
    let tree = Tree { nodes: vec![split, leaf(-2.0, 90.0), leaf(3.0, 10.0)] };
    Bundle {
        schema: Schema::current(),
        origin: Origin::default(),
        forest: Forest::new(&[tree], 0.0, Feature::COUNT).expect("a tree"),
        calibration: Isotonic::fit(&[-2.0, 3.0], &[false, true], &[1.0, 1.0]).expect("two scores"),
        networks: None,
        cases: CaseModel { intercept: -1.0, maximum: 1.0, mass: 1.0 },
        pool: None,
    }
}

fn event(is_new: f32) -> FeatureVector {
    let mut features = FeatureVector::default();
    features.set(Feature::ApiRarityAccount, 3.0);
    features.set(Feature::FirstSourcePrincipal, is_new);
    features
}

#[test]
fn a_bundle_scores_explains_and_abstains() {
    let bytes = bundle().to_bytes().expect("small");
    let scorer = Scorer::from_bytes(&bytes).expect("whole");
    assert_eq!(scorer.name(), name(&bytes));
    let score = |features: &FeatureVector| scorer.probability(features, Sequence::default);
    assert!(score(&event(1.0)) > score(&event(0.0)));
    assert_eq!(score(&FeatureVector::default()), None, "no history, no opinion");

    let reasons = scorer.reasons(&event(1.0));
    assert_eq!(reasons.len(), 1);
    assert_eq!((reasons[0].feature, reasons[0].value), (Feature::FirstSourcePrincipal, Some(1.0)));
    // 3 against a mean of -2 x 0.9 + 3 x 0.1.
    assert!((reasons[0].weight - 4.5).abs() < 1e-6, "{}", reasons[0].weight);
    assert!(scorer.case_probability([0.9, 0.9].into_iter()) > scorer.case_probability([0.9].into_iter()));
}

#[test]
fn a_bundle_of_another_schema_is_refused_by_its_version() {
    let mut other = bundle();
    other.schema.version += 1;
    match Scorer::from_bytes(&other.to_bytes().expect("small")) {
        Err(Error::Schema { found, expected }) => assert_eq!(found, expected + 1),
        result => panic!("{result:?}"),
    }
    let mut renamed = bundle();
    renamed.schema.digest.replace_range(0..1, if renamed.schema.digest.starts_with('0') { "1" } else { "0" });
    assert!(matches!(Scorer::from_bytes(&renamed.to_bytes().expect("small")), Err(Error::Schema { .. })));
}

#[test]
fn damage_is_told_and_never_a_panic() {
    let bytes = bundle().to_bytes().expect("small");
    assert!(Scorer::from_bytes(&bytes).is_ok());
    for end in 0..bytes.len() {
        assert!(Scorer::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(Scorer::from_bytes(&longer).is_err());
    for at in MAGIC.len()..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0xff;
        // Another number may be as good; what counts is that nothing breaks.
        if let Ok(scorer) = Scorer::from_bytes(&flipped) {
            let probability = scorer.probability(&event(1.0), Sequence::default);
            assert!(probability.is_none_or(|p| (0.0..=1.0).contains(&p)), "flipped at {at}: {probability:?}");
        }
    }
    assert!(matches!(Scorer::from_bytes(&vec![0; BYTES_MAX + 1]), Err(Error::TooLarge { .. })));
}

#[test]
fn the_bundle_that_ships_is_of_this_schema() {
    let scorer = Scorer::builtin().expect("trained on the current features: `just train` makes it anew");
    let likely = scorer.probability(&event(1.0), Sequence::default).expect("known history");
    assert!((0.0..=1.0).contains(&likely));
}
