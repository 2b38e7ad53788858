//! Calibrations on invented labels.

use proptest::prelude::*;

use super::*;
use crate::level::Verdict;
use crate::negotiation::labels::{LabelledCase, settle};

fn counted(kind: &str, at: usize, prior: f64) -> Counted {
    let pooled = Pooled { prior, may_close: true, may_act: true, ..Pooled::default() };
    Counted { case_id: format!("{kind}{at}"), pooled }
}

/// Attacks from log-odds 0 to 4, benign cases from -6 to -1.
fn settled(attacks: usize, benign: usize) -> Settled {
    let spread = |cases: usize, from: f64, to: f64, at: usize| from + (to - from) * at as f64 / cases.max(2) as f64;
    Settled {
        attacks: (0..attacks).map(|at| counted("a", at, spread(attacks, 0.0, 4.0, at))).collect(),
        benign: (0..benign).map(|at| counted("b", at, spread(benign, -6.0, -1.0, at))).collect(),
        ..Settled::default()
    }
}

#[test]
fn below_the_numbers_of_the_protocol_nothing_passes() {
    let few = Calibration::on(&settled(198, 998), Some("m"), true);
    assert_eq!((few.closing.at, few.acting.at, few.acting_without_models.at), (None, None, None));
    assert_eq!((few.closing.promised, few.closing.left_out), (None, None));
    assert_eq!(few.calibration.labelled, Counts { attacks: 198, benign: 998 });

    let enough = Calibration::on(&settled(199, 999), Some("m"), true);
    // The lowest attack stands at an even chance, so the cap is what binds; all benign cases are below it but the highest.
    assert_eq!(enough.closing.at, Some(Bounds::CLOSE_MAX));
    assert_eq!((enough.closing.passed, enough.closing.cases, enough.closing.others_passed), (0, 199, 980));
    assert_eq!((enough.acting.at, enough.acting_without_models.at), (Some(0.90), Some(0.95)));
    assert_eq!(enough.acting.promised, Some(0.001));
    assert_eq!(enough.average_precision, Some(1.0));
    // A third of 199 would leave too few.
    assert_eq!((enough.calibration.fitted, enough.calibration.published), (None, None));
}

#[test]
fn one_attack_that_looks_innocent_closes_the_bound_below_it() {
    let mut labels = settled(199, 999);
    labels.attacks[7].pooled.prior = -4.0;
    let found = Calibration::on(&labels, None, true);
    let at = found.closing.at.expect("enough");
    let score = sigmoid(-4.0);
    assert!(at < score && at > score - 2e-9, "{at}");
    assert_eq!((found.closing.passed, found.closing.left_out), (0, None));
    // With 399, one of them may pass; two may not.
    let mut labels = settled(399, 999);
    labels.attacks[7].pooled.prior = -4.0;
    let found = Calibration::on(&labels, None, true);
    assert_eq!((found.closing.at, found.closing.passed, found.closing.left_out), (Some(0.25), 1, Some(1)));
    labels.attacks[8].pooled.prior = -4.5;
    assert!(Calibration::on(&labels, None, true).closing.at.expect("enough") < score);
    // One that nothing would close anyway does not bind; nor one at 0, below which no bound is.
    labels.attacks[7].pooled.may_close = false;
    assert_eq!(Calibration::on(&labels, None, true).closing.at, Some(0.25));
    labels.attacks[7].pooled = Pooled { prior: -256.0, ..labels.attacks[8].pooled };
    labels.attacks[8].pooled.prior = -256.0;
    assert_eq!(Calibration::on(&labels, None, true).closing.at, None);
}

#[test]
fn a_benign_case_that_looks_like_an_attack_lifts_the_bound_for_steps() {
    let mut labels = settled(10, 999);
    labels.benign[3].pooled.prior = 5.0;
    let found = Calibration::on(&labels, None, true);
    let at = found.acting.at.expect("enough");
    assert!(at > sigmoid(5.0) && at < sigmoid(5.0) + 2e-9, "{at}");
    assert_eq!((found.acting.passed, found.acting.others_passed), (0, 0));
    // Certain by all that is known: no bound is above it.
    labels.benign[3].pooled.prior = 256.0;
    assert_eq!(Calibration::on(&labels, None, true).acting.at, None);
}

#[test]
fn with_more_labels_a_third_refits_the_pool_and_the_rest_bounds_it() {
    let mut labels = settled(900, 3_000);
    // Half of the cases in the middle are of the other kind, so that there is something to be learned.
    for case in labels.benign.iter_mut().step_by(5) {
        case.pooled.prior += 4.0;
    }
    let found = Calibration::on(&labels, Some("m"), true);
    let fit = found.published.expect("enough");
    assert!(fit.after < fit.before, "{fit:?}");
    assert!(fit.refitted.labelled.attacks > 250 && fit.refitted.labelled.attacks < 350, "{fit:?}");
    let Counts { attacks, benign } = fit.refitted.labelled;
    assert_eq!(found.closing.cases, 900 - attacks as usize);
    assert_eq!(found.acting.cases, 3_000 - benign as usize);
    assert_eq!(found.calibration.fitted, None, "no case was weighed by fitted weights");
    let unasked = Calibration::on(&labels, Some("m"), false);
    assert_eq!((unasked.calibration.published, unasked.closing.cases), (None, 900), "all of them bound");
}

#[test]
fn a_file_reads_back_as_it_was_and_nothing_else_does() {
    let mut labels = settled(900, 3_000);
    labels.attacks.iter_mut().take(20).for_each(|case| case.pooled.prior = -3.1);
    labels.benign[5].pooled.prior = 6.3;
    let calibration = Calibration::on(&labels, Some("m"), true).calibration;
    let json = calibration.to_json();
    assert_eq!(Calibration::from_json(json.as_bytes()).expect("a file"), calibration);
    assert_eq!(
        Calibration::on(&labels, Some("m"), true).calibration.to_json(),
        json,
        "the same labels, the same bytes"
    );

    let at = calibration.close.at.expect("enough").to_string();
    let widened = json.replace(&at, "0.25");
    assert!(matches!(Calibration::from_json(widened.as_bytes()), Err(Invalid::Digest)));
    let newer = json.replace("\"version\":1", "\"version\":2");
    assert!(matches!(Calibration::from_json(newer.as_bytes()), Err(Invalid::Version { found: 2 })));
    for garbage in
        ["", "{}", "[]", "{\"digest\":\"\",\"calibration\":{}}", &json[..json.len() / 2], &"[".repeat(BYTES_MAX)]
    {
        assert!(matches!(Calibration::from_json(garbage.as_bytes()), Err(Invalid::Shape(_))), "{garbage:.40}");
    }
    assert!(matches!(Calibration::from_json(" ".repeat(BYTES_MAX + 1).as_bytes()), Err(Invalid::TooLarge)));
}

#[test]
fn a_file_with_a_good_digest_may_still_hold_what_no_labels_give() {
    let sound = Calibration::on(&settled(900, 3_000), Some("m"), true).calibration;
    for spoil in [
        (|file| file.close.at = Some(0.3)) as fn(&mut Calibration),
        |file| file.close.cases = 198,
        |file| file.close.cases = 901,
        |file| file.labelled.attacks = 10,
        |file| file.act.at = Some(0.5),
        |file| file.act.cases = 998,
        |file| file.act_without_models.at = Some(1.5),
        |file| file.published = Some(Refitted { refit: Refit { intercept: 9.0, slope: 1.0 }, labelled: file.labelled }),
        |file| file.fitted = Some(Refitted { refit: Refit { intercept: 0.0, slope: -1.0 }, labelled: file.labelled }),
        |file| file.fitted = Some(Refitted { refit: Refit::default(), labelled: Counts { attacks: 49, benign: 900 } }),
    ] {
        let mut file = sound.clone();
        spoil(&mut file);
        assert!(matches!(Calibration::from_json(file.to_json().as_bytes()), Err(Invalid::Unsound { .. })), "{file:?}");
    }
}

#[test]
fn equal_scores_are_ranked_together() {
    assert_eq!(average_precision(&[], &[0.1]), None);
    assert_eq!(average_precision(&[0.5], &[0.5, 0.5, 0.5]), Some(0.25));
    assert_eq!(average_precision(&[0.9, 0.1], &[0.5]), Some((1.0 + 2.0 / 3.0) / 2.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_labelled_gives_a_sound_file_whose_bounds_hold_on_it(
        drawn in prop::collection::vec((-12.0..12.0f64, -2.0..2.0f64, -2.0..2.0f64, any::<[bool; 4]>()), 0..40),
        copies in 1usize..80,
    ) {
        let records: Vec<LabelledCase> = (0..drawn.len() * copies).map(|at| {
            let (prior, roles, roles_deterministic, [is_attack, is_fitted, may_close, may_act]) = drawn[at % drawn.len()];
            LabelledCase {
                case_id: format!("c{at}"),
                label: Some(if is_attack { Verdict::Malicious } else { Verdict::Benign }),
                pooled: Some(Pooled { prior, roles, roles_deterministic, is_fitted, may_close, may_act }),
                ..LabelledCase::default()
            }
        }).collect();
        let settled = settle(&records, None);
        let found = Calibration::on(&settled, None, true);
        let file = found.calibration.to_json();
        prop_assert_eq!(&Calibration::from_json(file.as_bytes()).expect("sound"), &found.calibration);
        for (control, promise) in
            [(found.closing, MISSED), (found.acting, CONTAINED), (found.acting_without_models, CONTAINED)]
        {
            prop_assert!(control.at.is_none() || control.passed <= promise.allowed(control.cases).expect("enough"));
            prop_assert!(control.left_out.is_none_or(|passed| passed as f64 <= promise.rate() * control.cases as f64));
        }
        // By what the council would do with it.
        let refits = found.calibration.refits();
        if let Some(at) = found.closing.at {
            let closed = settled.attacks.iter().filter(|case| {
                let (p, p_det) = case.pooled.probabilities(refits);
                case.pooled.may_close && p <= at && p_det <= at
            });
            prop_assert!(closed.count() <= settled.attacks.len() / 3 + found.closing.passed);
        }
    }
}
