//! A local model as the judge's stand-in: one that does as it is told, and a real one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use trailwarden_core::level::Severity;
use trailwarden_core::negotiation::predicate::Predicate;
use trailwarden_core::negotiation::{Brain, Judgement, Role};
use trailwarden_models::{Advisor, Error, Pinned, Runner, Vote, Voter, Weighed};

use super::fixtures::{Mood, Scene, Scripted, disputed, rule, scene};
use super::*;

/// Weighs as it is told; `None` hangs.
struct Told(Option<f64>, AtomicU32);

fn told(log_odds: Option<f64>) -> Arc<Told> {
    Arc::new(Told(log_odds, AtomicU32::new(0)))
}

#[async_trait]
impl Advisor for Told {
    fn name(&self) -> &str {
        "told"
    }

    async fn weigh(&self, content: &str, _: Duration) -> Result<Weighed, Error> {
        assert!(Predicate::ALL.iter().any(|it| content.contains(it.definition().sentence)), "{content}");
        self.1.fetch_add(1, Ordering::Relaxed);
        match self.0 {
            Some(log_odds) => Ok(Weighed { log_odds, raw: log_odds, leaning: 0.0 }),
            None => std::future::pending().await,
        }
    }
}

fn deliberated(scene: &Scene, panel: &Panel) -> (Judgement, Transcript, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let begun = Instant::now();
        let (negotiation, asks) = scene.opened();
        let (judgement, transcript) = deliberate(negotiation, asks, panel).await;
        (judgement, transcript, begun.elapsed())
    })
}

fn alone(advisor: Arc<dyn Advisor>) -> Panel {
    Panel::of_local(advisor, Severity::Medium, Limits::default())
}

fn log_odds(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

#[track_caller]
fn replays(scene: &Scene, transcript: &Transcript, judgement: &Judgement) {
    let (negotiation, asks) = scene.opened();
    let again = replay(negotiation, asks, transcript).expect("it is about the same");
    let without_brains = |it: &Judgement| Judgement { brains: Vec::new(), ..it.clone() };
    assert_eq!(without_brains(&again), without_brains(judgement));
}

#[test]
fn its_lean_moves_a_case_by_the_judges_cap_at_most_and_near_even_by_nothing() {
    let scene = disputed();
    let deterministic = scene.deterministic();
    for (weight, moved) in [(50.0, 0.75), (1.0, 0.75), (0.9, 0.0), (-0.9, 0.0), (-1.0, -0.75), (f64::MIN, -0.75)] {
        let (judgement, transcript, _) = deliberated(&scene, &alone(told(Some(weight))));
        let by = log_odds(judgement.probability) - log_odds(deterministic.probability);
        assert!((by - moved).abs() < 1e-9, "{weight} moved it by {by}");
        let judge = (Role::Judge, Brain::Llm("told".to_owned()));
        assert!(judgement.brains.contains(&judge), "{:?}", judgement.brains);
        assert_eq!(transcript.calls.len(), 1);
        let call = &transcript.calls[0];
        assert_eq!((call.ended, call.tokens, call.model.as_str()), (Ended::Answered, Tokens::default(), "told"));
        replays(&scene, &transcript, &judgement);
    }
}

#[test]
fn a_pass_that_does_not_end_in_time_is_done_without() {
    let scene = disputed();
    let (judgement, transcript, took) = deliberated(&scene, &alone(told(None)));
    assert_eq!((judgement, took), (scene.deterministic(), Limits::default().call));
    assert_eq!(transcript.calls[0].ended, Ended::Timeout);
}

#[test]
fn it_speaks_only_where_no_other_model_answers_for_the_judge() {
    let scene = disputed();
    for (mood, asked, ends) in [
        (Mood::Formal, 0, vec![Ended::Answered]),
        (Mood::Absent, 1, vec![Ended::Unreachable, Ended::Answered]),
        (Mood::Garbage, 1, vec![Ended::Malformed, Ended::Malformed, Ended::Answered]),
    ] {
        let advisor = told(Some(3.0));
        let model = Arc::new(Scripted::new(&[mood], 3));
        let panel = Panel::new(model, &[Role::Judge].into(), Severity::Medium, Limits::default());
        let (judgement, transcript, _) = deliberated(&scene, &panel.with_local(advisor.clone()));
        assert_eq!(advisor.1.load(Ordering::Relaxed), asked, "{mood:?}");
        let ended: Vec<Ended> = transcript.calls.iter().map(|call| call.ended).collect();
        assert_eq!(ended, ends);
        let attempts: Vec<u32> = transcript.calls.iter().map(|call| call.attempt).collect();
        assert_eq!(attempts, (1..=ends.len() as u32).collect::<Vec<_>>());
        replays(&scene, &transcript, &judgement);
    }
}

/// A real model votes. It is fetched by `tests/install_model.sh`; where it is not there, that is said.
#[test]
fn a_real_model_votes_in_a_whole_negotiation() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/models");
    let path = PathBuf::from(root).join("smollm2-135m-instruct-q4_1.gguf");
    if !path.is_file() {
        eprintln!("did not run: there is no model; ./tests/install_model.sh fetches it");
        return;
    }
    let sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53".to_owned();
    let runner = Runner::load(&Pinned { path, sha256, bytes_max: 100_000_000 }).expect("the pinned file");
    let vote = Vote::new(Arc::new(runner), &local_form()).expect("a form that fits");
    let panel = alone(Arc::new(Voter::new("smollm2", vote)));
    let grave = vec![rule(Severity::Critical, "logging_tamper"), rule(Severity::High, "external_sharing")];
    for scene in [disputed(), scene(grave, &[vec![0], vec![1]], "aws-cli/2.15.0")] {
        let (judgement, transcript, _) = deliberated(&scene, &panel);
        let call = &transcript.calls[0];
        assert_eq!((call.role, call.ended), (Role::Judge, Ended::Answered));
        let said: serde_json::Value = serde_json::from_str(&call.raw).expect("as written");
        let weight = said["log_odds"].as_f64().expect("a number");
        assert_eq!(said["lean"] == "abstain", weight.abs() < 1.0, "{said}");
        let by = log_odds(judgement.probability) - log_odds(scene.deterministic().probability);
        assert!(by.abs() < 0.75 + 1e-9, "{by}");
        replays(&scene, &transcript, &judgement);
        // The same model on the same claims says the same.
        let (_, again, _) = deliberated(&scene, &panel);
        assert_eq!(again.calls[0].raw, call.raw);
    }
}
