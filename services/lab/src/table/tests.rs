use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::measure;

fn fake_environments() -> Vec<Environment> {
    let environment = |name: &str, events, prevalence| Environment {
        name: name.to_owned(),
        events,
        prevalence,
        incidents: 240,
        accounts: 18,
        days: 30.0,
        generator: "4be1c0ffee5eed0123456789abcdef".to_owned(),
        seeds: vec![41, 42],
    };
    vec![
        environment("hard, 1 M events", 1_000_000, 0.023),
        environment("hard, rare", 1_000_000, 0.0001),
        environment("plain, 300 k events", 300_000, 0.031),
    ]
}

const DETECTORS: [(&str, Kind, f64); 10] = [
    ("combination", Kind::Ours, 0.584),
    ("trees", Kind::Ours, 0.566),
    ("LSTM", Kind::Ours, 0.431),
    ("one GBDT on raw fields", Kind::Trained, 0.352),
    ("logistic regression", Kind::Trained, 0.291),
    ("rarity", Kind::Untrained, 0.172),
    ("first seen", Kind::Untrained, 0.094),
    ("isolation forest", Kind::Untrained, 0.071),
    ("autoencoder", Kind::Untrained, 0.083),
    ("rules of the public set", Kind::Untrained, 0.049),
];

fn fake_rows(environments: &[Environment]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (place, environment) in environments.iter().enumerate() {
        for protocol in Protocol::ALL {
            for (detector, kind, strength) in DETECTORS {
                let gain = match (kind, protocol) {
                    (Kind::Untrained, _) => 0.0,
                    (_, Protocol::LeaveCampaignAndOrganisationOut) => 0.0,
                    (_, Protocol::LeaveAccountOut) => 0.08,
                    (_, Protocol::TimeOrdered) => 0.13,
                    (_, Protocol::LeakyRandomSplit) => 0.36,
                };
                if place == 0 || protocol == Protocol::LeaveCampaignAndOrganisationOut {
                    let metrics = fake_metrics((strength + gain) / (1.0 + place as f64), environment.prevalence);
                    let (detector, environment) = (detector.to_owned(), environment.name.clone());
                    rows.push(Row { detector, kind, protocol, environment, metrics });
                }
            }
        }
    }
    rows
}

/// Invented figures of the size one expects, from a seed; measured nowhere.
fn fake() -> Evaluation {
    let environments = fake_environments();
    let rows = fake_rows(&environments);
    let around = |value: f64, reach: f64| Estimate { value, low: value - reach, high: value + reach };
    let band = |name: &str, at_most, measured| Band { name: name.to_owned(), at_most, measured };
    let campaign = |name: &str, found| GroupRecall { group: name.to_owned(), found, incidents: 16 };
    Evaluation {
        version: "0.1.0".to_owned(),
        feature_schema: 1,
        model: Some("9d2f7a61c3b84e5500".to_owned()),
        shipped: None,
        environments,
        rows,
        differences: vec![Difference {
            ours: "combination".to_owned(),
            other: "rarity".to_owned(),
            environment: "hard, 1 M events".to_owned(),
            average_precision: around(0.412, 0.037),
        }],
        campaigns: vec![
            campaign("stolen pipeline key, mining", 16),
            campaign("snapshot shared outwards", 13),
            campaign("slow role chaining", 5),
            campaign("console takeover", 14),
            campaign("backdoor user", 15),
            campaign("secrets read at night", 9),
            campaign("mail sending abuse", 12),
        ],
        label_shuffle: Some(LabelShuffle { average_precision: around(0.0236, 0.002), prevalence: 0.023 }),
        without_error_codes: Some(Ablation { with: around(0.584, 0.03), without: around(0.561, 0.031) }),
        generated_or_real: Some(GeneratedOrReal {
            roc_auc: 0.93,
            generated: 20_000,
            real: 2_000,
            told_by: vec!["principal_24h".to_owned(), "agent_family".to_owned()],
        }),
        bands: vec![
            band("incidents found by the public rules", 0.5, Some(0.38)),
            band("average precision of the isolation forest", 0.1, Some(0.071)),
            band("one GBDT on raw fields over ours", 0.7, Some(0.72)),
            band("autoencoder", 0.2, None),
        ],
        curves: DETECTORS.iter().enumerate().map(|(at, d)| fake_curves(d.0, d.1, d.2, at as u64)).collect(),
        reliability: (0..10)
            .map(|bin| f64::from(bin) / 10.0 + 0.05)
            .map(|p| ReliabilityBin { predicted: p, observed: p.powf(1.2), events: (1e6 * (-6.0 * p).exp()) as u64 })
            .collect(),
        intervals: "95 % percentile intervals of 500 resamples of incidents and of benign account-days".to_owned(),
        notes: vec![
            "Campaigns of fewer than four calls a day by a stolen role are missed in two of three incidents."
                .to_owned(),
            "An account without any history raises three times as many false cases in its first day.".to_owned(),
        ],
    }
}

fn fake_metrics(strength: f64, prevalence: f64) -> Metrics {
    let around = |value: f64| {
        let value = value.clamp(0.0, 0.985);
        Some(Estimate { value, low: (value - 0.03).max(0.0), high: (value + 0.028).min(1.0) })
    };
    Metrics {
        average_precision: around(strength),
        incident_recall: [around(strength * 0.5), around(strength * 1.1), around(strength * 1.5)],
        recall_at_one_false_case: around(strength * 1.44),
        recall_at_one_false_case_ahead: Some((strength * 1.38).min(1.0)),
        false_cases_ahead: Some(1.08),
        alerts_per_account_day: Some(1.31),
        time_to_detect: (strength > 0.08).then_some(TimeToDetect {
            median_s: 240.0,
            ninetieth_percentile_s: 16_000.0,
            found: 200,
            missed: 40,
        }),
        roc_auc: Some((0.7 + strength / 3.0).min(0.998)),
        f1: Some(strength.min(0.97)),
        accuracy: Some(0.981),
        precision: Some((strength * 1.1).min(0.98)),
        recall: Some((strength * 0.9).min(0.98)),
        specificity: (strength > 0.06).then_some(0.9964),
        prevalence: Some(prevalence),
    }
}

fn fake_curves(detector: &str, kind: Kind, strength: f64, seed: u64) -> Curves {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let labels: Vec<bool> = (0..20_000).map(|event| event % 43 == 0).collect();
    let scores: Vec<f64> = labels
        .iter()
        .map(|label| {
            let noise: f64 = (0..6).map(|_| rng.random_range(-0.7..0.7)).sum();
            noise + if *label { 5.0 * strength } else { 0.0 }
        })
        .collect();
    let cases: Vec<measure::Case> = (0..240 + 4_000)
        .map(|case| measure::Case {
            score: rng.random_range(0.0..1.0_f64) + if case < 240 { 1.4 * strength } else { 0.0 },
            account: case % 18,
            day: case % 30,
            incidents: if case < 240 { vec![case + 1] } else { Vec::new() },
        })
        .collect();
    Curves {
        detector: detector.to_owned(),
        kind,
        precision_recall: measure::reduced(&measure::precision_recall_curve(&scores, &labels), CURVE_POINTS_MAX),
        recall_by_budget: measure::reduced(&measure::recall_by_budget(&cases, 240, 540.0), CURVE_POINTS_MAX),
    }
}

#[test]
fn figures_as_people_read_them() {
    use super::figures::{count, duration, percent, share};
    for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(count(number), text);
    }
    for (value, text) in
        [(0.5834, "0.583"), (0.0, "0.000"), (0.001_84, "0.0018"), (1.0, "1.000"), (f64::NAN, "not measured")]
    {
        assert_eq!(share(value), text);
    }
    for (value, text) in
        [(0.023, "2.3 %"), (0.0001, "0.01 %"), (0.25, "25 %"), (0.0, "0 %"), (0.031, "3.1 %"), (0.05, "5 %")]
    {
        assert_eq!(percent(value), text);
    }
    for (seconds, text) in [(0.0, "0 s"), (240.0, "4 min"), (16_000.0, "4.4 h"), (200_000.0, "2.3 days")] {
        assert_eq!(duration(seconds), text);
    }
}

#[test]
fn the_headline_is_the_honest_one_and_the_leaky_figure_comes_last() {
    let evaluation = fake();
    let text = markdown::bottom_line(&evaluation);
    let order = [
        "1,000,000 events",
        "2.3 %",
        "combination reaches average precision 0.58",
        "rarity, reaches 0.17",
        "claimed 0.94",
    ];
    let places: Vec<usize> =
        order.iter().map(|part| text.find(part).unwrap_or_else(|| panic!("{part} in {text}"))).collect();
    assert!(places.is_sorted(), "{text}");
    // A better figure under a weaker protocol never becomes the headline.
    assert_eq!(evaluation.headline().unwrap().protocol, Protocol::LeaveCampaignAndOrganisationOut);

    // Nor does a better part of ours, where the shipped one is named.
    let shipped = Evaluation { shipped: Some("trees".to_owned()), ..fake() };
    assert_eq!(shipped.headline().map(|row| row.detector.as_str()), Some("trees"));

    let mut unmeasured = fake();
    unmeasured.rows.retain(|row| row.protocol != Protocol::LeaveCampaignAndOrganisationOut);
    assert_eq!(unmeasured.headline(), None);
    assert!(markdown::bottom_line(&unmeasured).contains("not measured"));
}

#[test]
fn markdown_has_every_row_and_says_what_is_missing() {
    let mut evaluation = fake();
    evaluation.rows[0].metrics = Metrics::default();
    evaluation.rows[1].detector = "trees | pruned".to_owned();
    let text = markdown(&evaluation);
    for heading in ["## What was measured", "## In the form of published tables", "## Controls", "## Where it fails"] {
        assert!(text.contains(heading), "{heading}");
    }
    assert_eq!(text.matches("| rarity |").count(), 12, "six rows, in two tables each");
    assert!(text.contains("trees \\| pruned"));
    let row =
        text.lines().find(|line| line.starts_with("| combination | ours |") && line.contains("not measured")).unwrap();
    assert_eq!(row.matches("not measured").count(), 8, "{row}");
    assert!(text.contains("Hard enough: one GBDT on raw fields over ours | 0.720 | at most 0.700 | no |"));
    assert!(text.contains("Hard enough: autoencoder | not measured | at most 0.200 | not measured |"));
    // Every table line has as many cells as its head.
    let mut cells = 0;
    for line in text.lines().map(|line| line.replace("\\|", "")) {
        cells = match (line.matches('|').count(), cells) {
            (0, _) => 0,
            (found, 0) => found,
            (found, head) if found == head => head,
            (found, head) => panic!("{found} instead of {head}: {line}"),
        };
    }
}

#[test]
fn page_is_whole_and_loads_nothing() {
    let mut evaluation = fake();
    evaluation.notes.push("<script>alert(1)</script>".to_owned());
    let page = html(&evaluation);
    assert_eq!(page, html(&evaluation));
    assert!(!page.contains("<script") && !page.contains("href=") && !page.contains("src=") && !page.contains("url("));
    assert!(!page.contains("NaN") && !page.contains("inf,"));
    assert_eq!(page.matches("<svg viewBox=\"0 0 520").count(), 4);
    assert!(page.find("What was measured").unwrap() < page.find("The honest figures").unwrap());
    assert!(page.find("The honest figures").unwrap() < page.find("What a leaky split would have claimed").unwrap());
    assert!(page.len() < 400_000, "{}", page.len());

    // Nothing measured at all is a page too.
    let empty = html(&Evaluation::default());
    assert!(empty.contains("not measured") && !empty.contains("NaN"));
    assert!(markdown(&Evaluation::default()).contains("not measured"));
}

#[test]
fn one_line_of_json_with_figures_by_name() {
    let evaluation = fake();
    let line = json_line(&evaluation);
    assert!(!line.contains('\n'));
    let read: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(read["headline"]["average_precision"], 0.584);
    assert_eq!(read["detector"], "combination");
    assert_eq!(read["best_untrained"], "rarity");
    assert_eq!(read["label_shuffle_holds"], true);
    // An unmeasured band leaves open whether all hold.
    assert!(read["bands_hold"].is_null());
    assert_eq!(read["rows"].as_array().map(Vec::len), Some(60));
    assert_eq!(read["rows"][0]["protocol"], "leave-campaign-and-organisation-out");

    let empty: serde_json::Value = serde_json::from_str(&json_line(&Evaluation::default())).unwrap();
    assert!(empty["headline"]["average_precision"].is_null() && empty["label_shuffle"].is_null());

    let whole = serde_json::to_string(&evaluation).unwrap();
    assert_eq!(serde_json::from_str::<Evaluation>(&whole).unwrap(), evaluation);
}
