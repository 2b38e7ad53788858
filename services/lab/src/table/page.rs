//! The evaluation as one HTML page that loads and runs nothing.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figures::{NOT_MEASURED, count, interval, percent, rate_or, share, share_or, short, short_hash};
use super::markdown::{ahead, bottom_line, checked, delay, published};
use super::{Environment, Evaluation, Kind, Protocol, Row, plots};
use crate::measure::Estimate;

const STYLE: &str = include_str!("style.css");

/// The page. Equal evaluations give equal bytes.
pub fn html(evaluation: &Evaluation) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                title { "Trailwarden evaluation" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (masthead(evaluation))
                main.wrap {
                    (measured(evaluation))
                    (honest(evaluation))
                    (plotted(evaluation))
                    (leaky(evaluation))
                    (elsewhere(evaluation))
                    (published_form(evaluation))
                    (controls(evaluation))
                    (notes(evaluation))
                }
                footer.wrap {
                    p {
                        "Trailwarden " (evaluation.version) " · feature schema " (evaluation.feature_schema)
                        @if let Some(model) = &evaluation.model { " · model " code { (short_hash(model)) } }
                        " · nothing in this file loads or runs anything"
                    }
                }
            }
        }
    }
    .into_string()
}

fn masthead(evaluation: &Evaluation) -> Markup {
    let honest = evaluation.headline();
    let found = honest.and_then(|row| row.metrics.recall_at_one_false_case);
    let precision = |row: Option<&Row>| row.and_then(|row| row.metrics.average_precision);
    let untrained = evaluation.best(Protocol::LeaveCampaignAndOrganisationOut, Kind::Untrained);
    html! {
        header.masthead {
            div.wrap {
                p.brand { strong { "Trailwarden" } " evaluation" }
                h1 {
                    @match found {
                        Some(found) => {
                            "Finds " (short(found.value)) " of attacks it has never seen, at one false case an account a day."
                        },
                        None => "How well it finds attacks it has never seen.",
                    }
                }
                p.lead { (bottom_line(evaluation)) }
                ul.verdicts {
                    @if let Some(environment) = evaluation.headline_environment() {
                        li { span.figure { (count(environment.events)) } span { "events, " (percent(environment.prevalence)) " attack events" } }
                    }
                    (chip("chip-honest", precision(honest), "honest average precision"))
                    (chip("chip-untrained", precision(untrained), "best without training"))
                    (chip("chip-leaky", precision(evaluation.leaky()), "what a leaky split would claim"))
                }
            }
        }
    }
}

fn chip(class: &str, figure: Option<Estimate>, meaning: &str) -> Markup {
    html! {
        li class=(class) {
            span.figure { (figure.map_or("–".to_owned(), |figure| short(figure.value))) }
            span { (meaning) @if figure.is_none() { ": " (NOT_MEASURED) } }
        }
    }
}

fn measured(evaluation: &Evaluation) -> Markup {
    html! {
        section #measured {
            h2 { "What was measured" }
            @if evaluation.environments.is_empty() { p.muted { "No environment was measured." } }
            div.scroll {
                table.grid.stacked {
                    thead { tr {
                        th { "Environment" } th.num { "Events" } th.num { "Attack events" } th.num { "Incidents" }
                        th.num { "Accounts" } th.num { "Days" } th { "Generator" } th { "Seeds" }
                    } }
                    tbody { @for environment in &evaluation.environments { (environment_row(environment)) } }
                }
            }
            dl.protocols {
                @for protocol in Protocol::ALL {
                    dt { (protocol.name()) } dd { (protocol.meaning()) }
                }
            }
        }
    }
}

fn environment_row(environment: &Environment) -> Markup {
    let seeds: Vec<String> = environment.seeds.iter().map(u64::to_string).collect();
    html! {
        tr {
            td.what { div { strong { (environment.name) } } }
            td.num data-label="Events" { div { (count(environment.events)) } }
            td.num data-label="Attack events" { div { (percent(environment.prevalence)) } }
            td.num data-label="Incidents" { div { (count(environment.incidents)) } }
            td.num data-label="Accounts" { div { (count(environment.accounts)) } }
            td.num data-label="Days" { div { (format!("{:.0}", environment.days)) } }
            td data-label="Generator" { div { code { (short_hash(&environment.generator)) } } }
            td data-label="Seeds" { div { (seeds.join(", ")) } }
        }
    }
}

fn honest(evaluation: &Evaluation) -> Markup {
    let Some(environment) = evaluation.headline_environment() else { return html! {} };
    let protocol = Protocol::LeaveCampaignAndOrganisationOut;
    html! {
        section #honest {
            h2 { "The honest figures" }
            p.above {
                (protocol.meaning()) " Environment " strong { (environment.name) }
                ", where a detector that guesses has average precision " (share(environment.prevalence)) "."
            }
            (figures_table(&evaluation.ranked(protocol, &environment.name)))
            p.fine.below {
                "AP: average precision of events. Incident recall: an incident counts as found when any of its events is raised, at the "
                "given false-positive rate an event, and at one false case an account a day. \"Earlier\" is what a threshold chosen on "
                "earlier data finds, with the false cases an account a day that it lets through. Time to detect counts the found "
                "incidents only. Brackets: " (evaluation.intervals)
            }
        }
    }
}

/// The operational figures of some rows.
fn figures_table(rows: &[&Row]) -> Markup {
    html! {
        @if rows.is_empty() { p.muted { "Not measured." } } @else {
            div.scroll {
                table.grid.stacked.detectors {
                    thead {
                        tr {
                            th rowspan="2" { "Detector" } th.num rowspan="2" { "AP" }
                            th.group colspan="3" { "Incident recall at false positives an event of" }
                            th.num rowspan="2" { "At one false case" br; "an account a day" } th.num rowspan="2" { "Alerts an" br; "account a day" }
                            th.num rowspan="2" { "Time to detect" br; "median / 90th" }
                        }
                        tr { th.num { "1e-4" } th.num { "1e-3" } th.num { "1e-2" } }
                    }
                    tbody {
                        @for row in rows {
                            @let metrics = &row.metrics;
                            tr.ours[row.kind == Kind::Ours] {
                                td.what { div { strong { (row.detector) } span.kind { (row.kind.name()) } } }
                                (estimate("Average precision", metrics.average_precision))
                                (estimate("Incidents at 1e-4", metrics.incident_recall[0]))
                                (estimate("Incidents at 1e-3", metrics.incident_recall[1]))
                                (estimate("Incidents at 1e-2", metrics.incident_recall[2]))
                                td.num data-label="At one false case" {
                                    div {
                                        (estimate_cell(metrics.recall_at_one_false_case))
                                        @if metrics.recall_at_one_false_case_ahead.is_some() { span.interval { "earlier " (ahead(row)) } }
                                    }
                                }
                                td.num data-label="Alerts a day" { div { (plain(rate_or(metrics.alerts_per_account_day))) } }
                                td.num data-label="Time to detect" { div { (plain(delay(row))) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn estimate(label: &str, figure: Option<Estimate>) -> Markup {
    html! { td.num data-label=(label) { div { (estimate_cell(figure)) } } }
}

fn estimate_cell(figure: Option<Estimate>) -> Markup {
    html! {
        @match figure {
            Some(figure) => { b { (share(figure.value)) } span.interval { (interval(&figure)) } },
            None => span.missing { (NOT_MEASURED) },
        }
    }
}

fn plain(text: String) -> Markup {
    html! { @if text == NOT_MEASURED { span.missing { (text) } } @else { (text) } }
}

fn plotted(evaluation: &Evaluation) -> Markup {
    html! {
        section #plots {
            h2 { "In pictures" }
            div.plots {
                (plots::whiskers(evaluation))
                @if !evaluation.curves.is_empty() { (plots::recall_by_budget(evaluation)) (plots::precision_recall(evaluation)) }
                @if !evaluation.reliability.is_empty() { (plots::calibration(&evaluation.reliability)) }
            }
            @if !evaluation.campaigns.is_empty() {
                h3.apart { "Campaigns unseen in training, the worst first" }
                p.fine.above { "Incidents found at one false case an account a day." }
                (plots::campaigns(&evaluation.campaigns))
            }
        }
    }
}

/// Average precision under every protocol side by side, the leaky one last and marked.
fn leaky(evaluation: &Evaluation) -> Markup {
    let Some(environment) = evaluation.headline_environment() else { return html! {} };
    let mut detectors: Vec<&Row> = Vec::new();
    for row in Protocol::ALL.iter().flat_map(|protocol| evaluation.ranked(*protocol, &environment.name)) {
        if detectors.iter().all(|known| known.detector != row.detector) {
            detectors.push(row);
        }
    }
    let precision = |detector: &str, protocol: Protocol| {
        let rows = evaluation.ranked(protocol, &environment.name);
        rows.into_iter().find(|row| row.detector == detector).and_then(|row| row.metrics.average_precision)
    };
    html! {
        section #leaky {
            h2 { "What a leaky split would have claimed" }
            p.above {
                "The same detectors, events and average precision; only what may be known beforehand differs. The last column is "
                strong { "not" } " a result: events of one incident stand on both sides of it."
            }
            div.scroll {
                table.grid.stacked {
                    thead { tr {
                        th { "Detector" }
                        @for protocol in Protocol::ALL { th.num.leaky[protocol == Protocol::LeakyRandomSplit] { (heading(protocol)) } }
                    } }
                    tbody {
                        @for row in detectors {
                            tr.ours[row.kind == Kind::Ours] {
                                td.what { div { strong { (row.detector) } span.kind { (row.kind.name()) } } }
                                @for protocol in Protocol::ALL {
                                    td.num.leaky[protocol == Protocol::LeakyRandomSplit] data-label=(heading(protocol)) {
                                        div { (estimate_cell(precision(&row.detector, protocol))) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

const fn heading(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::LeakyRandomSplit => "leaky random split",
        other => other.name(),
    }
}

/// Whatever else was measured, folded.
fn elsewhere(evaluation: &Evaluation) -> Markup {
    let headline = evaluation.headline_environment().map(|environment| environment.name.as_str());
    html! {
        section #elsewhere {
            h2 { "Other environments and protocols" }
            @for environment in &evaluation.environments {
                @for protocol in Protocol::ALL {
                    @let rows = evaluation.ranked(protocol, &environment.name);
                    @let shown = Some(environment.name.as_str()) == headline && protocol == Protocol::LeaveCampaignAndOrganisationOut;
                    @if !rows.is_empty() && !shown {
                        details open[protocol == Protocol::LeaveCampaignAndOrganisationOut] {
                            summary { (environment.name) ", " (percent(environment.prevalence)) " attack events: " (protocol.name()) }
                            (figures_table(&rows))
                        }
                    }
                }
            }
        }
    }
}

fn published_form(evaluation: &Evaluation) -> Markup {
    let Some(environment) = evaluation.headline_environment() else { return html! {} };
    let shown = [Protocol::LeaveCampaignAndOrganisationOut, Protocol::LeakyRandomSplit];
    html! {
        section #published {
            h2 { "In the form of published tables" }
            p.above {
                "One threshold a row, chosen on earlier data. Without the prevalence these figures say little: recall .991 at specificity "
                ".945 is a precision of .858 where a quarter of the events are attacks, and .0018 where 0.01 % are."
            }
            div.scroll {
                table.grid.stacked {
                    thead { tr {
                        th { "Detector" } th { "Protocol" } th.num { "AUC" } th.num { "F1" } th.num { "Accuracy" }
                        th.num { "Precision" } th.num { "Recall" } th.num { "Specificity" } th.num { "Prevalence" }
                    } }
                    tbody {
                        @for row in shown.iter().flat_map(|protocol| evaluation.ranked(*protocol, &environment.name)) {
                            @let leaky = row.protocol == Protocol::LeakyRandomSplit;
                            tr.ours[row.kind == Kind::Ours].leaky[leaky] {
                                td.what { div { strong { (row.detector) } } }
                                td data-label="Protocol" { div { (heading(row.protocol)) } }
                                @for (label, figure) in PUBLISHED.iter().zip(published(row)) {
                                    td.num data-label=(label) { div { (plain(share_or(figure))) } }
                                }
                                td.num data-label="Prevalence" { div { (plain(row.metrics.prevalence.map_or(NOT_MEASURED.to_owned(), percent))) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

const PUBLISHED: [&str; 6] = ["AUC", "F1", "Accuracy", "Precision", "Recall", "Specificity"];

fn controls(evaluation: &Evaluation) -> Markup {
    html! {
        section #controls {
            h2 { "Whether to believe it" }
            div.scroll {
                table.grid.stacked {
                    thead { tr { th { "Control" } th { "Measured" } th { "Expected" } th { "Holds" } } }
                    tbody {
                        @for check in checked(evaluation) {
                            tr {
                                td.what { div { strong { (check.name) } } }
                                td data-label="Measured" { div { (plain(check.measured)) } }
                                td data-label="Expected" { div { (check.expected) } }
                                td data-label="Holds" {
                                    div {
                                        @match check.outcome.as_str() {
                                            "yes" => span.chip.holds { "holds" },
                                            "no" => span.chip.fails { "fails" },
                                            other => (plain(other.to_owned())),
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn notes(evaluation: &Evaluation) -> Markup {
    html! {
        @if !evaluation.notes.is_empty() {
            section #fails {
                h2 { "Where it fails" }
                ul.notes { @for note in &evaluation.notes { li { (note) } } }
            }
        }
    }
}
