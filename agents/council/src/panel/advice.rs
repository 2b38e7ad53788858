//! A small model of our own as the judge's stand-in: what it is shown, and which way its weight leans.
//!
//! It sees the claims that stand as sentences of the vocabulary, and nothing of the evidence itself: a model of its size is
//! confused by handles. What it writes is not asked for; its log-odds are read, and near even it abstains.

use serde::Serialize;
use trailwarden_core::negotiation::brain::{Lean, Standing};
use trailwarden_models::{Form, Weighed};

use super::question::digest;

/// From these log-odds on, either way, it leans: odds of e to one. Small models err often where they are less sure.
const LEANS_FROM: f64 = 1.0;
/// Claims that it is shown. More are no clearer, and cost time.
const CLAIMS_MAX: usize = 24;
/// Where the claims stand in the prompt.
const PLACE: &str = "{findings}";
/// The answers, each one token of every vocabulary: an attack, innocent work.
const ANSWERS: [&str; 2] = ["A", "B"];

fn text() -> &'static str {
    include_str!("../../prompts/local.md")
}

/// SHA-256 of its prompt, hex.
pub(super) fn prompt_digest() -> String {
    digest(text())
}

/// What a local model is asked: [`trailwarden_models::Vote`] is made of it. The first line, which names the version, is not told.
#[must_use]
pub fn local_form() -> Form {
    let told = text().split_once("\n\n").map_or(text(), |(_, told)| told);
    let (before, after) = told.split_once(PLACE).unwrap_or((told, ""));
    Form { before: before.to_owned(), after: after.to_owned(), answers: ANSWERS.map(str::to_owned) }
}

/// The claims as it is shown them.
pub(super) fn content(standing: &[Standing]) -> String {
    let mut shown = standing.iter().map(|claim| claim.predicate.definition().sentence).collect::<Vec<_>>();
    shown.dedup();
    match shown.is_empty() {
        true => "None.".to_owned(),
        false => shown[..shown.len().min(CLAIMS_MAX)].join(" "),
    }
}

/// Its answer as a transcript keeps it; a replay reads the lean alone.
#[derive(Serialize)]
struct Advice {
    lean: Lean,
    log_odds: f64,
    raw: f64,
    leaning: f64,
}

/// Which way a weight leans, and what is kept of it.
pub(super) fn advice(weighed: Weighed) -> (Lean, String) {
    let Weighed { log_odds, raw, leaning } = weighed;
    let lean = match log_odds {
        sure if sure >= LEANS_FROM => Lean::Malicious,
        sure if sure <= -LEANS_FROM => Lean::Benign,
        _ => Lean::Abstain,
    };
    let kept = serde_json::to_string(&Advice { lean, log_odds, raw, leaning });
    (lean, kept.expect("plain fields serialise"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leans_where_it_is_sure_and_abstains_near_even_and_without_a_number() {
        let lean = |log_odds| advice(Weighed { log_odds, raw: 0.0, leaning: 0.0 }).0;
        let sure = [1.0, 7.0, f64::INFINITY].map(lean);
        assert_eq!(sure, [Lean::Malicious; 3]);
        assert_eq!([-1.0, -7.0].map(lean), [Lean::Benign; 2]);
        assert_eq!([0.0, 0.99, -0.99, f64::NAN].map(lean), [Lean::Abstain; 4]);
    }

    #[test]
    fn the_form_holds_its_place_and_not_its_version() {
        let form = local_form();
        assert!(text().lines().next().is_some_and(|line| line.starts_with("Judge by a local model, version ")));
        assert!(form.before.starts_with("Cases ") && form.before.ends_with("Findings: "), "{}", form.before);
        assert!(form.after.starts_with("\nIs it "), "{}", form.after);
        assert_eq!(content(&[]), "None.");
    }
}
