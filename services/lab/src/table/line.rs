//! The evaluation as one JSON line, figures by name.

use serde_json::{Map, Value, json};

use crate::measure::Estimate;
use crate::table::{Evaluation, Kind, Metrics, Protocol, Row};

/// One line without a line break: the headline's figures under plain names, and every row's. Curves stay out; what
/// was not measured is null.
pub fn json_line(evaluation: &Evaluation) -> String {
    let headline = evaluation.headline();
    let metrics = headline.map(|row| row.metrics).unwrap_or_default();
    let untrained = evaluation.best(Protocol::LeaveCampaignAndOrganisationOut, Kind::Untrained);
    let precision = |row: Option<&Row>| row.and_then(|row| row.metrics.average_precision).map(|figure| figure.value);
    let rows: Vec<Value> = evaluation
        .rows
        .iter()
        .map(|row| {
            let mut figures = named(&row.metrics);
            figures.insert("detector".to_owned(), json!(row.detector));
            figures.insert("kind".to_owned(), json!(row.kind));
            figures.insert("protocol".to_owned(), json!(row.protocol));
            figures.insert("environment".to_owned(), json!(row.environment));
            Value::Object(figures)
        })
        .collect();
    json!({
        "version": evaluation.version,
        "feature_schema": evaluation.feature_schema,
        "model": evaluation.model,
        "environment": evaluation.headline_environment().map(|environment| &environment.name),
        "generator": evaluation.headline_environment().map(|environment| &environment.generator),
        "detector": headline.map(|row| &row.detector),
        "headline": named(&metrics),
        "average_precision_leaky": precision(evaluation.leaky()),
        "best_untrained": untrained.map(|row| &row.detector),
        "average_precision_best_untrained": precision(untrained),
        "average_precision_differences": evaluation.differences,
        "label_shuffle": evaluation.label_shuffle,
        "label_shuffle_holds": evaluation.label_shuffle.as_ref().map(crate::table::LabelShuffle::holds),
        "without_error_codes": evaluation.without_error_codes,
        "generated_or_real_roc_auc": evaluation.generated_or_real.as_ref().map(|found| found.roc_auc),
        "bands": evaluation.bands,
        "bands_hold": all_hold(evaluation),
        "environments": evaluation.environments,
        "rows": rows,
    })
    .to_string()
}

/// `None` while a band is unmeasured or there is none.
fn all_hold(evaluation: &Evaluation) -> Option<bool> {
    let held: Option<Vec<bool>> = evaluation.bands.iter().map(crate::table::Band::holds).collect();
    held.filter(|held| !held.is_empty()).map(|held| held.into_iter().all(|holds| holds))
}

fn named(metrics: &Metrics) -> Map<String, Value> {
    let mut figures = Map::new();
    let mut with_interval = |name: &str, figure: Option<Estimate>| {
        figures.insert(name.to_owned(), json!(figure.map(|figure| figure.value)));
        figures.insert(format!("{name}_low"), json!(figure.map(|figure| figure.low)));
        figures.insert(format!("{name}_high"), json!(figure.map(|figure| figure.high)));
    };
    with_interval("average_precision", metrics.average_precision);
    for (rate, figure) in ["1e4", "1e3", "1e2"].iter().zip(metrics.incident_recall) {
        with_interval(&format!("incident_recall_fpr_{rate}"), figure);
    }
    with_interval("recall_at_one_false_case", metrics.recall_at_one_false_case);
    for (name, figure) in [
        ("recall_at_one_false_case_ahead", metrics.recall_at_one_false_case_ahead),
        ("false_cases_ahead", metrics.false_cases_ahead),
        ("alerts_per_account_day", metrics.alerts_per_account_day),
        ("time_to_detect_median_s", metrics.time_to_detect.map(|delay| delay.median_s)),
        ("time_to_detect_p90_s", metrics.time_to_detect.map(|delay| delay.ninetieth_percentile_s)),
        ("roc_auc", metrics.roc_auc),
        ("f1", metrics.f1),
        ("accuracy", metrics.accuracy),
        ("precision", metrics.precision),
        ("recall", metrics.recall),
        ("specificity", metrics.specificity),
        ("prevalence", metrics.prevalence),
    ] {
        figures.insert(name.to_owned(), json!(figure));
    }
    figures
}
