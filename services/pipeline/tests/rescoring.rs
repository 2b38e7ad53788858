//! A case scored again: the same case gives the same evidence, and what is usual moves the model towards the ordinary.

use std::sync::Arc;

use trailwarden_core::activity::{Credential, Details, PrincipalKind};
use trailwarden_core::api::Vocabulary;
use trailwarden_core::case::{Case, Signal};
use trailwarden_core::detection::{RuleSet, builtin};
use trailwarden_core::feature::{Feature, FeatureVector};
use trailwarden_core::gather::judge_again;
use trailwarden_core::level::Level;
use trailwarden_core::negotiation::counterfactual::Rescorer;
use trailwarden_core::negotiation::evidence_of;
use trailwarden_core::negotiation::group::Group;
use trailwarden_core::registry::Registry;
use trailwarden_core::sequence::Sequence;
use trailwarden_core::time::Timestamp;
use trailwarden_pipeline::rescoring::Rescoring;
use trailwarden_pipeline::weigh;
use trailwarden_scorer::Scorer;

/// A stranger in a hurry: everything that can be rare is, everything that can be counted is high.
fn strange() -> FeatureVector {
    let mut features = FeatureVector::default();
    for feature in Feature::ALL {
        let value = match feature.definition().unit {
            "bits" => 9.0,
            "0 or 1" => 1.0,
            "events" | "APIs" | "things" | "sources" | "sessions" => 40.0,
            "ratio" => 12.0,
            _ => 1.0,
        };
        features.set(*feature, value);
    }
    features
}

fn signal(number: usize, scorer: &Scorer, rules: &RuleSet) -> Signal {
    let features = strange();
    let mut signal = Signal {
        event_id: format!("event-{number:03}"),
        event_time: Timestamp::from_millis(1_700_000_000_000 + 1_000 * number as i64),
        account: "111122223333".into(),
        region: "eu-west-1".into(),
        service: "iam".into(),
        call: "ListUsers".into(),
        principal: "arn:aws:iam::111122223333:user/ann".into(),
        principal_kind: PrincipalKind::IamUser,
        session: "AKIAEXAMPLE".into(),
        session_name: String::new(),
        credential: Credential::LongTermKey,
        mfa: Some(false),
        source: "198.51.100.7".into(),
        user_agent: "aws-cli/2.15.0".into(),
        error_code: None,
        read_only: Some(true),
        score: 0.0,
        level: Level::None,
        detections: Vec::new(),
        learned: scorer.probability(&features, Sequence::default),
        features,
        reasons: Vec::new(),
        details: Details::default(),
    };
    judge_again(&mut signal, rules);
    signal
}

fn rescoring() -> Rescoring {
    let scorer = Scorer::builtin().expect("it ships").without_networks();
    let rules = RuleSet::load(builtin::RULES).expect("they ship");
    let signals: Vec<Signal> = (0..90).map(|number| signal(number, &scorer, &rules)).collect();
    let mut case = Case {
        id: "c0ffee".into(),
        account: "111122223333".into(),
        principal: signals[0].principal.clone(),
        session: "AKIAEXAMPLE".into(),
        first_event_time: signals[0].event_time,
        last_event_time: signals[89].event_time,
        signals,
        further_event_ids: Vec::new(),
        learned: None,
        replaces: Vec::new(),
    };
    weigh(&mut case, &scorer);
    Rescoring {
        case,
        scorer: Arc::new(scorer),
        rules: Arc::new(rules),
        registry: Arc::new(Registry::default()),
        vocabulary: Arc::new(Vocabulary::builtin()),
    }
}

#[test]
fn nothing_changed_is_nothing_changed() {
    let rescoring = rescoring();
    let frozen = evidence_of(&rescoring.case, rescoring.rules.rules(), &rescoring.registry, &rescoring.vocabulary);
    assert_eq!(rescoring.as_usual(&[]), Some(frozen));
}

#[test]
fn all_as_usual_is_less_of_an_attack() {
    let rescoring = rescoring();
    let learned = |groups: &[Group]| rescoring.as_usual(groups).and_then(|evidence| evidence.learned_milli);
    let (before, after) = (learned(&[]).expect("a word"), learned(Group::ALL).expect("a word"));
    assert!(before >= 300 && after < before / 2, "{before} {after}");
    assert_eq!(learned(Group::ALL), learned(Group::ALL));
}

#[test]
fn what_the_model_does_not_speak_of_is_not_scored_again() {
    let mut rescoring = rescoring();
    rescoring.case.learned = None;
    assert_eq!(rescoring.as_usual(&[Group::Rate]), None);
}
