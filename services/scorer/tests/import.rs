//! Models that the packages have saved predict here what the packages predict, and nothing that is in a file panics.
//! The files and the predictions are made by `import/author.py`.

use serde::Deserialize;
use std::collections::BTreeMap;

use trailwarden_scorer::Error;
use trailwarden_scorer::import::{Imported, Link, catboost, forust, lightgbm, xgboost};

type Read = fn(&str) -> Result<Imported, Error>;

fn read_forust(text: &str) -> Result<Imported, Error> {
    forust::read(text, 6)
}

const MODELS: [(&str, &str, Read, Link); 11] = [
    ("xgboost_logistic", include_str!("import/xgboost_logistic.json"), xgboost::read, Link::Logistic),
    ("xgboost_squared", include_str!("import/xgboost_squared.json"), xgboost::read, Link::Identity),
    ("xgboost_lossguide", include_str!("import/xgboost_lossguide.json"), xgboost::read, Link::Logistic),
    ("xgboost_2", include_str!("import/xgboost_2.json"), xgboost::read, Link::Logistic),
    ("lightgbm_nan", include_str!("import/lightgbm_nan.txt"), lightgbm::read, Link::Logistic),
    ("lightgbm_zero", include_str!("import/lightgbm_zero.txt"), lightgbm::read, Link::Logistic),
    ("lightgbm_none", include_str!("import/lightgbm_none.txt"), lightgbm::read, Link::Identity),
    ("catboost_min", include_str!("import/catboost_min.json"), catboost::read, Link::Logistic),
    ("catboost_max", include_str!("import/catboost_max.json"), catboost::read, Link::Logistic),
    ("catboost_rmse", include_str!("import/catboost_rmse.json"), catboost::read, Link::Identity),
    ("forust", include_str!("import/forust.json"), read_forust, Link::Logistic),
];

#[derive(Deserialize)]
struct Fixture {
    rows: Vec<Vec<Option<f32>>>,
    predictions: BTreeMap<String, Predictions>,
}

#[derive(Deserialize)]
struct Predictions {
    margin: Vec<f64>,
    prediction: Vec<f64>,
    /// Of the first rows: each column's, then the expected margin.
    #[serde(default)]
    contributions: Vec<Vec<f64>>,
}

#[test]
fn predictions_are_those_of_the_packages() {
    let mut fixture: Fixture = serde_json::from_str(include_str!("import/rows.json")).unwrap();
    for (name, text) in [
        ("forust", include_str!("import/forust_predictions.json")),
        ("xgboost_2", include_str!("import/xgboost_2_predictions.json")),
    ] {
        fixture.predictions.insert(name.to_owned(), serde_json::from_str(text).unwrap());
    }
    let rows: Vec<Vec<f32>> =
        fixture.rows.iter().map(|row| row.iter().map(|value| value.unwrap_or(f32::NAN)).collect()).collect();
    assert!(rows.len() > 100 && rows.iter().all(|row| row.len() == 6));
    for (name, text, read, link) in MODELS {
        let model = read(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expect = &fixture.predictions[name];
        assert_eq!((model.link, model.forest.columns(), expect.margin.len()), (link, 6, rows.len()), "{name}");
        let mut margins = Vec::new();
        model.forest.margins(&rows.concat(), &mut margins);
        for (at, row) in rows.iter().enumerate() {
            let far = |got: f64, want: f64| (got - want).abs() > 1e-6;
            assert!(!far(margins[at], expect.margin[at]), "{name} {row:?}: {} {}", margins[at], expect.margin[at]);
            assert!(!far(model.predict(row), expect.prediction[at]), "{name} {row:?}");
        }
        for (row, expect) in rows.iter().zip(&expect.contributions) {
            let mut contributions = model.forest.contributions(row);
            contributions.push(model.forest.expected());
            for (got, want) in contributions.iter().zip(expect) {
                assert!((got - want).abs() < 1e-5, "{name} {row:?}: {contributions:?} {expect:?}");
            }
        }
    }
    let named = xgboost::read(MODELS[0].1).unwrap();
    assert_eq!(named.features, ["c0", "c1", "c2", "c3", "c4", "c5"]);
}

#[test]
fn what_is_cut_short_or_garbage_is_an_error() {
    let readers: [Read; 4] = [xgboost::read, lightgbm::read, catboost::read, read_forust];
    let deep = "[".repeat(100_000);
    for read in readers {
        for text in ["", "{}", "[]", "null", "tree", "tree\n\nend of trees", "\0\u{feff}{", "{\"learner\":", &deep] {
            assert!(read(text).is_err(), "{text:.40}");
        }
    }
    for (name, text, read, _) in MODELS {
        let end = text.find("\nend of trees").unwrap_or(text.trim_end().len() - 1);
        for part in 0..200 {
            assert!(read(&text[..end * part / 200]).is_err(), "{name} at {part}");
        }
        // Another program's file is no model of this one.
        for other in readers {
            assert!(other as usize == read as usize || other(text).is_err(), "{name}");
        }
    }
}

/// Puts hostile values in the place of numbers all over a file. Most are refused, some make another model; none panics.
#[test]
fn hostile_numbers_do_no_harm() {
    let hostile = [
        "-1",
        "0",
        "1",
        "2",
        "99999999999",
        "1e999",
        "-2147483648",
        "nan",
        "18446744073709551616",
        "null",
        "[]",
        "\"\"",
    ];
    for (name, text, read, _) in MODELS {
        let spans = numbers(text);
        let stride = spans.len() / 60;
        let mut refused = 0;
        for (at, &(from, to)) in spans.iter().enumerate().step_by(stride) {
            let value = hostile[at / stride % hostile.len()];
            match read(&[&text[..from], value, &text[to..]].concat()) {
                Err(_) => refused += 1,
                Ok(model) => assert!(model.forest.margin(&[0.5; 6]).is_finite()),
            }
        }
        assert!(refused >= 5, "{name}: {refused}");
    }
}

/// Where the numbers of a text stand.
fn numbers(text: &str) -> Vec<(usize, usize)> {
    let part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | 'e' | 'E' | '+');
    let mut spans = Vec::new();
    let mut from = None;
    for (at, c) in text.char_indices() {
        match (part(c), from) {
            (true, None) => from = Some(at),
            (false, Some(start)) => {
                if text[start..at].parse::<f64>().is_ok() {
                    spans.push((start, at));
                }
                from = None;
            }
            _ => {}
        }
    }
    spans
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let text = |name: &str| MODELS.iter().find(|model| model.0 == name).unwrap().1;
    let [x, l, c, f] = ["xgboost_logistic", "lightgbm_nan", "catboost_min", "forust"].map(text);
    let cases: [(Read, &str, &str, &str, &str); 24] = [
        (xgboost::read, x, "\"name\":\"gbtree\"", "\"name\":\"dart\"", "gbtree"),
        (xgboost::read, x, "\"num_class\":\"0\"", "\"num_class\":\"3\"", "output"),
        (xgboost::read, x, "\"num_target\":\"1\"", "\"num_target\":\"2\"", "output"),
        (xgboost::read, x, "binary:logistic", "rank:pairwise", "objective"),
        (xgboost::read, x, "\"version\":[3", "\"version\":[1", "version"),
        (xgboost::read, x, "\"split_type\":[0", "\"split_type\":[1", "categorical"),
        (xgboost::read, x, "\"categories_nodes\":[]", "\"categories_nodes\":[0]", "categorical"),
        (xgboost::read, x, "\"size_leaf_vector\":\"1\"", "\"size_leaf_vector\":\"2\"", "several"),
        (xgboost::read, x, "\"left_children\":[1", "\"left_children\":[0", "two parents"),
        (xgboost::read, x, "\"left_children\":[1", "\"left_children\":[-1", "negative"),
        (lightgbm::read, l, "num_class=1", "num_class=2", "output"),
        (lightgbm::read, l, "binary sigmoid:1", "poisson", "objective"),
        (lightgbm::read, l, "binary sigmoid:1", "regression sqrt", "objective"),
        (lightgbm::read, l, "num_cat=0", "num_cat=1", "categorical"),
        (lightgbm::read, l, "is_linear=0", "is_linear=1", "linear"),
        (lightgbm::read, l, "left_child=", "left_child=0 ", "left_child"),
        (lightgbm::read, l, "num_leaves=", "num_leaves=9", "leaf_value"),
        (lightgbm::read, l, "max_feature_idx=5", "max_feature_idx=18446744073709551615", "name"),
        (catboost::read, c, "\"Logloss\"", "\"MultiClass\"", "loss"),
        (catboost::read, c, "\"FloatFeature\"", "\"OnlineCtr\"", "numbers"),
        (catboost::read, c, "\"oblivious_trees\"", "\"trees\"", "oblivious"),
        (catboost::read, c, "\"float_features\"", "\"categorical_features\"", "categorical"),
        (read_forust, f, "\"missing\":null", "\"missing\":-1.0", "NaN"),
        (read_forust, f, "\"missing_node\":2,", "\"missing_node\":3,", "branch"),
    ];
    for (read, text, from, to, said) in cases {
        assert!(text.contains(from), "{from}");
        let error = read(&text.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(said), "{from} -> {to}: {error}");
    }
    // A sigmoid of 2 makes the log-odds twice the raw score.
    let (once, twice) = (lightgbm::read(l).unwrap(), lightgbm::read(&l.replacen("sigmoid:1", "sigmoid:2", 1)).unwrap());
    assert!((2.0 * once.forest.margin(&[0.5; 6]) - twice.forest.margin(&[0.5; 6])).abs() < 1e-12);
    let narrow = forust::read(f, 2).unwrap_err().to_string();
    assert!(narrow.contains("column"), "{narrow}");
}
