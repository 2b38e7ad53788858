//! The evaluation as Markdown: tables only, for a repository's page.

use std::fmt::Write as _;

use super::figures::{
    NOT_MEASURED, count, duration, estimate_or, percent, rate_or, share, share_or, short, short_estimate, short_hash,
    signed,
};
use super::{Evaluation, Kind, Protocol, Row};

/// The whole table. Equal evaluations give equal bytes.
pub fn markdown(evaluation: &Evaluation) -> String {
    let mut out = String::from("# Evaluation\n\n");
    out.push_str(&bottom_line(evaluation));
    out.push_str("\n\n## What was measured\n\n");
    environments(&mut out, evaluation);
    for environment in &evaluation.environments {
        for protocol in Protocol::ALL {
            rows(&mut out, &evaluation.ranked(protocol, &environment.name), protocol, &environment.name);
        }
    }
    published_form(&mut out, evaluation);
    campaigns(&mut out, evaluation);
    checks(&mut out, evaluation);
    if !evaluation.notes.is_empty() {
        out.push_str("## Where it fails\n\n");
        evaluation.notes.iter().for_each(|note| line(&mut out, &format!("- {}", one_line(note))));
        out.push('\n');
    }
    line(&mut out, &format!("Intervals: {}", one_line(&evaluation.intervals)));
    out
}

/// What a reader should take home, in the order: measured, honest, leaky.
pub(super) fn bottom_line(evaluation: &Evaluation) -> String {
    let (Some(row), Some(environment)) = (evaluation.headline(), evaluation.headline_environment()) else {
        return "The product's score was not measured under the strict protocol.".to_owned();
    };
    let Some(precision) = row.metrics.average_precision else { return NOT_MEASURED.to_owned() };
    let mut text = format!(
        "On {} events of which {} belong to attacks, with campaigns and organisations unseen in training, {} reaches \
         average precision {}",
        count(environment.events),
        percent(environment.prevalence),
        row.detector,
        short_estimate(&precision),
    );
    if let Some(recall) = row.metrics.recall_at_one_false_case {
        let _ = write!(text, " and finds {} of the incidents at one false case an account a day", short(recall.value));
        // A threshold set on the measured days flatters: the one set on the calm days before stands beside it.
        if let (Some(found), Some(cost)) = (row.metrics.recall_at_one_false_case_ahead, row.metrics.false_cases_ahead) {
            let _ = write!(
                text,
                ", the threshold set on the measured days ({} at {} with the one set on the days before)",
                short(found),
                short(cost),
            );
        }
    }
    text.push('.');
    if let Some(other) = evaluation.best(Protocol::LeaveCampaignAndOrganisationOut, Kind::Untrained)
        && let Some(figure) = other.metrics.average_precision
    {
        let _ =
            write!(text, " The best detector without training, {}, reaches {}.", other.detector, short(figure.value));
    }
    if let Some(figure) = evaluation.leaky().and_then(|row| row.metrics.average_precision) {
        let _ = write!(text, " A random split would have claimed {}.", short(figure.value));
    }
    text
}

fn environments(out: &mut String, evaluation: &Evaluation) {
    table(
        out,
        &["Environment", "Events", "Attack events", "Incidents", "Accounts", "Days", "Generator", "Seeds"],
        evaluation.environments.iter().map(|environment| {
            vec![
                environment.name.clone(),
                count(environment.events),
                percent(environment.prevalence),
                count(environment.incidents),
                count(environment.accounts),
                format!("{:.0}", environment.days),
                format!("`{}`", short_hash(&environment.generator)),
                environment.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
            ]
        }),
    );
    let model = evaluation
        .model
        .as_deref()
        .map_or("one of each fold, trained without it".to_owned(), |hash| format!("`{}`", short_hash(hash)));
    line(
        out,
        &format!("Version {}, feature schema {}, model {model}.\n", evaluation.version, evaluation.feature_schema),
    );
}

fn rows(out: &mut String, rows: &[&Row], protocol: Protocol, environment: &str) {
    if rows.is_empty() {
        return;
    }
    line(out, &format!("## {}: {}\n\n{}\n", one_line(environment), protocol.name(), protocol.meaning()));
    let heads = [
        "Detector",
        "Kind",
        "Average precision",
        "Incident recall at FPR 1e-4",
        "1e-3",
        "1e-2",
        "At one false case an account a day",
        "Threshold chosen earlier (false cases)",
        "Alerts an account a day",
        "Time to detect, median / 90th",
    ];
    table(
        out,
        &heads,
        rows.iter().map(|row| {
            let figures = &row.metrics;
            let mut cells =
                vec![row.detector.clone(), row.kind.name().to_owned(), estimate_or(figures.average_precision.as_ref())];
            cells.extend(figures.incident_recall.iter().map(|recall| estimate_or(recall.as_ref())));
            cells.push(estimate_or(figures.recall_at_one_false_case.as_ref()));
            cells.push(ahead(row));
            cells.push(rate_or(figures.alerts_per_account_day));
            cells.push(delay(row));
            cells
        }),
    );
}

pub(super) fn ahead(row: &Row) -> String {
    match (row.metrics.recall_at_one_false_case_ahead, row.metrics.false_cases_ahead) {
        (Some(recall), Some(cost)) => format!("{} ({})", share(recall), short(cost)),
        (Some(recall), None) => share(recall),
        _ => NOT_MEASURED.to_owned(),
    }
}

pub(super) fn delay(row: &Row) -> String {
    row.metrics.time_to_detect.map_or(NOT_MEASURED.to_owned(), |delay| {
        format!("{} / {}", duration(delay.median_s), duration(delay.ninetieth_percentile_s))
    })
}

fn published_form(out: &mut String, evaluation: &Evaluation) {
    line(out, "## In the form of published tables\n");
    line(
        out,
        "One threshold a row, chosen on earlier data. Without the prevalence these figures say little: at 0.01 % even a \
         specificity of .945 leaves a precision of .0018.\n",
    );
    let heads = [
        "Detector",
        "Environment",
        "Protocol",
        "AUC",
        "F1",
        "Accuracy",
        "Precision",
        "Recall",
        "Specificity",
        "Prevalence",
    ];
    table(
        out,
        &heads,
        evaluation.rows.iter().map(|row| {
            let mut cells = vec![row.detector.clone(), row.environment.clone(), row.protocol.name().to_owned()];
            cells.extend(published(row).map(share_or));
            cells.push(row.metrics.prevalence.map_or(NOT_MEASURED.to_owned(), percent));
            cells
        }),
    );
}

pub(super) fn published(row: &Row) -> [Option<f64>; 6] {
    let figures = &row.metrics;
    [figures.roc_auc, figures.f1, figures.accuracy, figures.precision, figures.recall, figures.specificity]
}

fn campaigns(out: &mut String, evaluation: &Evaluation) {
    if !evaluation.campaigns.is_empty() {
        line(out, "## Unseen campaigns, found at one false case an account a day\n");
        table(
            out,
            &["Campaign", "Found", "Incidents"],
            evaluation.campaigns.iter().map(|campaign| {
                vec![campaign.group.clone(), campaign.found.to_string(), campaign.incidents.to_string()]
            }),
        );
    }
}

fn checks(out: &mut String, evaluation: &Evaluation) {
    line(out, "## Controls\n");
    let rows =
        checked(evaluation).into_iter().map(|check| vec![check.name, check.measured, check.expected, check.outcome]);
    table(out, &["Control", "Measured", "Expected", "Holds"], rows);
}

/// A control and its outcome.
pub(super) struct Check {
    pub name: String,
    pub measured: String,
    pub expected: String,
    /// `yes`, `no`, `not measured`, or nothing where there is no bound.
    pub outcome: String,
}

pub(super) fn checked(evaluation: &Evaluation) -> Vec<Check> {
    let word = |holds: Option<bool>| holds.map_or(NOT_MEASURED, |holds| if holds { "yes" } else { "no" }).to_owned();
    let mut checks: Vec<Check> = evaluation
        .differences
        .iter()
        .map(|difference| Check {
            name: format!("{} minus {}, {}", difference.ours, difference.other, difference.environment),
            measured: format!(
                "{} [{}, {}]",
                signed(difference.average_precision.value),
                signed(difference.average_precision.low),
                signed(difference.average_precision.high)
            ),
            expected: "average precision, interval above 0".to_owned(),
            outcome: word(Some(difference.average_precision.low > 0.0)),
        })
        .collect();
    let shuffle = evaluation.label_shuffle.as_ref();
    checks.push(Check {
        name: "Trained on shuffled labels".to_owned(),
        measured: estimate_or(shuffle.map(|shuffle| &shuffle.average_precision)),
        expected: shuffle.map_or("contains the prevalence".to_owned(), |shuffle| {
            format!("contains the prevalence, {}", share(shuffle.prevalence))
        }),
        outcome: word(shuffle.map(super::LabelShuffle::holds)),
    });
    let ablation = evaluation.without_error_codes.as_ref();
    checks.push(Check {
        name: "Without error codes".to_owned(),
        measured: estimate_or(ablation.map(|ablation| &ablation.without)),
        expected: ablation.map_or(String::new(), |ablation| format!("with them {}", share(ablation.with.value))),
        outcome: ablation.map_or(NOT_MEASURED.to_owned(), |_| String::new()),
    });
    let told = evaluation.generated_or_real.as_ref();
    checks.push(Check {
        name: "Telling generated from real benign records".to_owned(),
        measured: told.map_or(NOT_MEASURED.to_owned(), |told| {
            format!("AUC {} ({} generated, {} real)", share(told.roc_auc), count(told.generated), count(told.real))
        }),
        expected: told.map_or("near 0.5 if they look alike".to_owned(), |told| {
            if told.told_by.is_empty() {
                "near 0.5 if they look alike".to_owned()
            } else {
                format!("near 0.5 if they look alike; told by {}", told.told_by.join(", "))
            }
        }),
        outcome: told.map_or(NOT_MEASURED.to_owned(), |_| String::new()),
    });
    checks.extend(evaluation.bands.iter().map(|band| Check {
        name: format!("Hard enough: {}", band.name),
        measured: share_or(band.measured),
        expected: format!("at most {}", share(band.at_most)),
        outcome: word(band.holds()),
    }));
    checks
}

pub(super) fn table(out: &mut String, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    line(out, &format!("| {} |", heads.join(" | ")));
    line(out, &format!("|{}", "---|".repeat(heads.len())));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| one_line(cell).replace('|', "\\|")).collect();
        line(out, &format!("| {} |", cells.join(" | ")));
    }
    out.push('\n');
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
