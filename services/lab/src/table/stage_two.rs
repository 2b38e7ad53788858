//! The second stage's figures as Markdown.

use std::fmt::Write as _;

use serde::Serialize;

use super::figures::{NOT_MEASURED, count, percent, short_hash};
use super::markdown::table;

/// What became of stage one's cases.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StageTwo {
    pub version: String,
    pub environment: String,
    /// Of the code and settings that made the logs.
    pub generator: String,
    pub seeds: Vec<u64>,
    pub events: u64,
    /// Cases with a probability up to this were closed: set by hand for this run, not learned from labelled cases.
    pub close_up_to: f64,
    pub councils: Vec<Council>,
    /// A council from outside on a sample of the cases, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sampled>,
}

/// Councils on a sample of the cases that stage one puts at medium or above.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sampled {
    pub picked: u64,
    /// Of those, cases that the council from outside had an answer to; all are measured on these.
    pub heard: u64,
    /// The one from outside comes last.
    pub councils: Vec<Council>,
}

/// One way to hold the second stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Council {
    pub name: String,
    /// All cases that a scan lists.
    pub listed: Scope,
    /// Those that stage one alone puts at medium or above.
    pub raised: Scope,
    /// Calls of a model, and its tokens, over all cases.
    pub calls: u64,
    pub tokens: u64,
    /// What that cost, by the configured prices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_dollars: Option<u64>,
    /// On one thread, freezing the evidence included.
    pub seconds: f64,
}

/// Cases, counted before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// Without any event of an attack.
    pub false_cases: u64,
    /// Closed as benign.
    pub false_closed: u64,
    /// Not closed, of less severity than stage one gave.
    pub false_lowered: u64,
    /// Of more severity than stage one gave.
    pub false_raised: u64,
    pub true_cases: u64,
    /// Closed as benign.
    pub true_closed: u64,
    /// Not closed, of less severity than stage one gave.
    pub true_lowered: u64,
    /// Of those: from medium or above to below.
    pub true_sunk: u64,
    /// Attacks with at least one case here.
    pub attacks: u64,
    /// Those of which no case is left: all closed, or below medium where stage one had put them above.
    pub attacks_lost: u64,
}

impl Scope {
    /// False cases closed or lowered, of all false ones; `None` without any.
    pub fn removed(&self) -> Option<f64> {
        share(self.false_closed + self.false_lowered, self.false_cases)
    }

    /// True cases closed or sunk below medium, of all true ones; `None` without any.
    pub fn lost(&self) -> Option<f64> {
        share(self.true_closed + self.true_sunk, self.true_cases)
    }

    /// Attacks of which no case is left, of all; `None` without any.
    pub fn attacks_lost(&self) -> Option<f64> {
        share(self.attacks_lost, self.attacks)
    }
}

fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// The whole table. Equal figures give equal bytes.
pub fn stage_two_markdown(told: &StageTwo) -> String {
    let mut out = String::from("# The second stage\n\n");
    let seeds: Vec<String> = told.seeds.iter().map(u64::to_string).collect();
    let _ = writeln!(
        out,
        "{} events of the {} organisations (seeds {}; generator {}), campaigns and organisations unseen in training. Cases \
         of low severity at most, without a floor or a flag, that neither stage one raises nor the model lists, were closed up to a \
         probability of {:.2}: a bound set by hand for this run, not learned from labelled cases.\n",
        count(told.events),
        told.environment,
        seeds.join(", "),
        short_hash(&told.generator),
        told.close_up_to,
    );
    for (title, of) in [
        ("Cases that stage one alone puts at medium or above", (|council| council.raised) as fn(&Council) -> Scope),
        ("All cases that a scan lists", |council| council.listed),
    ] {
        let _ = writeln!(out, "## {title}\n");
        let head = [
            "Council",
            "False cases",
            "closed",
            "lowered",
            "removed",
            "raised further",
            "True cases",
            "closed",
            "lowered",
            "sunk below medium",
            "lost",
            "Attacks",
            "with no case left",
        ];
        table(&mut out, &head, told.councils.iter().map(|council| row(&council.name, &of(council))));
    }
    out.push_str("## Cost\n\n");
    let head = ["Council", "Model calls", "Tokens", "Cases a second on one thread"];
    table(
        &mut out,
        &head,
        told.councils.iter().map(|council| {
            let cases = council.listed.false_cases + council.listed.true_cases;
            let rate = if council.seconds > 0.0 {
                count((cases as f64 / council.seconds) as u64)
            } else {
                NOT_MEASURED.to_owned()
            };
            vec![council.name.clone(), count(council.calls), count(council.tokens), rate]
        }),
    );
    out.push_str(
        "Stage one's severity is its own: the model's word on the case and its detections, before any role speaks. Random claims \
         go through the same check as a model's.",
    );
    match &told.sample {
        Some(sampled) => {
            out.push_str("\n\n");
            sample(&mut out, sampled);
        }
        None => out.push_str(" A council of models was not measured: there is no recording of one.\n"),
    }
    out
}

/// What a council from outside made of a sample, beside the others on the same.
fn sample(out: &mut String, sampled: &Sampled) {
    let Sampled { picked, heard, councils } = sampled;
    let sides = councils.first().map(|council| (council.raised.false_cases, council.raised.true_cases));
    let (false_cases, true_cases) = sides.unwrap_or_default();
    let _ = writeln!(
        out,
        "## On a sample, with models\n\nOf {} cases that were picked among those at medium or above, {} were heard: n = {} false \
         and {} true ones. They are not in the proportion in which they come. Attacks are those with a case in the sample.\n",
        count(*picked),
        count(*heard),
        count(false_cases),
        count(true_cases),
    );
    let head = [
        "Council",
        "False cases",
        "closed",
        "lowered",
        "removed",
        "raised further",
        "True cases",
        "closed",
        "lowered",
        "sunk below medium",
        "lost",
        "Attacks",
        "with no case left",
    ];
    table(out, &head, councils.iter().map(|council| row(&council.name, &council.raised)));
    let head = ["Council", "Model calls", "Tokens", "Seconds", "Seconds a case", "US dollars"];
    let a_case = |seconds: f64| seconds / (*heard).max(1) as f64;
    let costs = councils.iter().map(|council| {
        let dollars = council.micro_dollars.map(|cost| format!("{:.4}", cost as f64 / 1e6));
        vec![
            council.name.clone(),
            count(council.calls),
            count(council.tokens),
            format!("{:.1}", council.seconds),
            format!("{:.3}", a_case(council.seconds)),
            dollars.unwrap_or_else(|| NOT_MEASURED.to_owned()),
        ]
    });
    table(out, &head, costs);
}

fn row(name: &str, scope: &Scope) -> Vec<String> {
    let part = |share: Option<f64>| share.map_or_else(|| NOT_MEASURED.to_owned(), percent);
    vec![
        name.to_owned(),
        count(scope.false_cases),
        count(scope.false_closed),
        count(scope.false_lowered),
        part(scope.removed()),
        count(scope.false_raised),
        count(scope.true_cases),
        count(scope.true_closed),
        count(scope.true_lowered),
        count(scope.true_sunk),
        part(scope.lost()),
        count(scope.attacks),
        part(scope.attacks_lost()),
    ]
}
