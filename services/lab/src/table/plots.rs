//! The five plots of the page.

use maud::{Markup, html};

use super::chart::{Chart, Scale, coordinate};
use super::figures::{percent, share, short};
use super::{CURVE_POINTS_MAX, Curves, Evaluation, Kind, Protocol};
use crate::measure::{self, GroupRecall, ReliabilityBin, expected_calibration_error};

/// The style sheet has as many for each kind.
const COLOURS_OF_A_KIND: usize = 6;
/// Names longer than this are cut beside a plot; the table has them whole.
const NAME_CHARS_MAX: usize = 24;

/// Average precision of every detector with its interval, honest and leaky, in one frame.
pub(super) fn whiskers(evaluation: &Evaluation) -> Markup {
    let Some(environment) = evaluation.headline_environment() else { return html! {} };
    let leaky = evaluation.ranked(Protocol::LeakyRandomSplit, &environment.name);
    let rows: Vec<_> = evaluation
        .ranked(Protocol::LeaveCampaignAndOrganisationOut, &environment.name)
        .into_iter()
        .filter_map(|row| Some((row, row.metrics.average_precision?)))
        .collect();
    let chart = Chart::of_rows(Scale::UNIT, rows.len(), 30.0);
    let inside = html! {
        @for (number, (row, figure)) in rows.iter().enumerate() {
            @let y = chart.row(number);
            text class=(if row.kind == Kind::Ours { "name ours" } else { "name" }) x="0" y=(coordinate(y + 4.0)) { (cut(&row.detector)) }
            @let claimed = leaky.iter().find(|leaky| leaky.detector == row.detector).and_then(|row| row.metrics.average_precision);
            @if let Some(claimed) = claimed {
                line.claim x1=(coordinate(chart.x(figure.value))) x2=(coordinate(chart.x(claimed.value))) y1=(coordinate(y)) y2=(coordinate(y)) {}
                circle.leaky cx=(coordinate(chart.x(claimed.value))) cy=(coordinate(y)) r="4.5" {}
            }
            g class=(kind_class(row.kind)) {
                line.whisker x1=(coordinate(chart.x(figure.low))) x2=(coordinate(chart.x(figure.high))) y1=(coordinate(y)) y2=(coordinate(y)) {}
                circle.point cx=(coordinate(chart.x(figure.value))) cy=(coordinate(y)) r="5" {}
            }
        }
    };
    html! {
        figure.plot {
            figcaption { h3 { "What each detector reaches, and what a leaky split would claim" }
                p.fine { "Average precision with its 95 % interval on unseen campaigns and organisations." } }
            (chart.drawn("Average precision by detector", "average precision", None, &inside))
            ul.legend {
                li { (key("key-ours")) "ours" } li { (key("key-trained")) "trained reference" }
                li { (key("key-untrained")) "untrained reference" } li { (key("key-leaky")) "leaky random split" }
            }
        }
    }
}

pub(super) fn precision_recall(evaluation: &Evaluation) -> Markup {
    let chart = Chart::new(Scale::UNIT, Scale::UNIT);
    let prevalence = evaluation.headline_environment().map(|environment| environment.prevalence);
    let inside = html! {
        @for (curves, class) in drawn_last_first(&evaluation.curves) {
            (chart.line(&measure::reduced(&curves.precision_recall, CURVE_POINTS_MAX), &class))
        }
        // Last, so that the word stays readable among the curves down there.
        @if let Some(prevalence) = prevalence {
            (chart.level(prevalence, &format!("chance, {}", percent(prevalence))))
        }
    };
    html! {
        figure.plot {
            figcaption { h3 { "Precision over recall" } p.fine { "Events. Higher and further right is better." } }
            (chart.drawn("Precision over recall of events", "recall of attack events", Some("precision"), &inside))
            (legend(&evaluation.curves))
        }
    }
}

pub(super) fn recall_by_budget(evaluation: &Evaluation) -> Markup {
    let costs = || evaluation.curves.iter().flat_map(|curves| &curves.recall_by_budget).map(|point| point.x);
    let least = costs().filter(|cost| *cost > 0.0).fold(0.1_f64, f64::min).max(0.01);
    let most = costs().fold(10.0_f64, f64::max).min(100.0);
    let x = Scale::Log { from: 10_f64.powf(least.log10().floor()), to: 10_f64.powf(most.log10().ceil()) };
    let chart = Chart::new(x, Scale::UNIT);
    let inside = html! {
        (chart.upright(1.0, "the budget"))
        @for (curves, class) in drawn_last_first(&evaluation.curves) {
            (chart.steps(&measure::reduced(&curves.recall_by_budget, CURVE_POINTS_MAX), &class))
        }
    };
    html! {
        figure.plot {
            figcaption { h3 { "Incidents found for the false cases one accepts" }
                p.fine { "Cases. Further left is quieter; the scale is logarithmic." } }
            (chart.drawn("Incident recall over false cases", "false cases an account a day", Some("incidents found"), &inside))
            (legend(&evaluation.curves))
        }
    }
}

pub(super) fn calibration(bins: &[ReliabilityBin]) -> Markup {
    let chart = Chart::new(Scale::UNIT, Scale::UNIT);
    let points: Vec<measure::Point> =
        bins.iter().map(|bin| measure::Point { x: bin.predicted, y: bin.observed }).collect();
    let most = bins.iter().map(|bin| bin.events).max().unwrap_or(1).max(2) as f64;
    let ends = [measure::Point { x: 0.0, y: 0.0 }, measure::Point { x: 1.0, y: 1.0 }];
    let inside = html! {
        (chart.line(&ends, "guide"))
        (chart.line(&points, "curve o0"))
        @for bin in bins {
            @let radius = 2.5 + 4.5 * (bin.events.max(1) as f64).ln() / most.ln();
            circle.point.bin cx=(coordinate(chart.x(bin.predicted))) cy=(coordinate(chart.y(bin.observed))) r=(coordinate(radius)) {}
        }
    };
    html! {
        figure.plot {
            figcaption { h3 { "Whether a probability means what it says" }
                p.fine {
                    "On the dashed line it does. A larger dot holds more events."
                    @if let Some(error) = expected_calibration_error(bins) { " Expected calibration error " (share(error)) "." }
                }
            }
            (chart.drawn("Calibration", "predicted probability", Some("observed share of attacks"), &inside))
        }
    }
}

pub(super) fn campaigns(groups: &[GroupRecall]) -> Markup {
    let mut groups: Vec<&GroupRecall> = groups.iter().collect();
    let recall = |group: &GroupRecall| f64::from(group.found) / f64::from(group.incidents.max(1));
    groups.sort_by(|a, b| recall(a).total_cmp(&recall(b)).then_with(|| a.group.cmp(&b.group)));
    html! {
        div.columns.campaigns {
            @for half in groups.chunks(groups.len().div_ceil(2).max(1)) {
                table.bars {
                    @for group in half {
                        @let class = if recall(group) < 0.5 { "low" } else { "" };
                        tr {
                            th scope="row" { (group.group) }
                            td.num { (group.found) " of " (group.incidents) }
                            td.bar aria-hidden="true" {
                                div { span class=(class) style=(format!("width:{}%", coordinate(100.0 * recall(group)))) {} }
                            }
                            td.num.share { (short(recall(group))) }
                        }
                    }
                }
            }
        }
    }
}

/// Class of every curve; ours are drawn last, so that they lie on top.
fn drawn_last_first(curves: &[Curves]) -> Vec<(&Curves, String)> {
    let mut drawn = classed(curves);
    drawn.sort_by_key(|(curves, _)| match curves.kind {
        Kind::Untrained => 0,
        Kind::Trained => 1,
        Kind::Ours => 2,
    });
    drawn
}

/// `curve o0`, `curve t1`, `curve u2`: the kind and the number within it, which set colour and dashes.
fn classed(curves: &[Curves]) -> Vec<(&Curves, String)> {
    let mut seen = [0; 3];
    curves
        .iter()
        .map(|curves| {
            let (letter, at) = match curves.kind {
                Kind::Ours => ('o', 0),
                Kind::Trained => ('t', 1),
                Kind::Untrained => ('u', 2),
            };
            let class = format!("curve {letter}{}", seen[at] % COLOURS_OF_A_KIND);
            seen[at] += 1;
            (curves, class)
        })
        .collect()
}

fn legend(curves: &[Curves]) -> Markup {
    html! {
        ul.legend {
            @for (curves, class) in classed(curves) {
                li {
                    svg.key viewBox="0 0 26 10" aria-hidden="true" { polyline class=(class) points="1,5 25,5" {} }
                    (curves.detector)
                }
            }
        }
    }
}

fn key(class: &str) -> Markup {
    html! { svg.key viewBox="0 0 26 10" aria-hidden="true" { circle class=(class) cx="13" cy="5" r="4" {} } }
}

fn kind_class(kind: Kind) -> &'static str {
    match kind {
        Kind::Ours => "kind-ours",
        Kind::Trained => "kind-trained",
        Kind::Untrained => "kind-untrained",
    }
}

fn cut(name: &str) -> String {
    if name.chars().count() <= NAME_CHARS_MAX {
        return name.to_owned();
    }
    name.chars().take(NAME_CHARS_MAX - 1).chain(['…']).collect()
}
