//! A council of models in `lab evaluate --stage 2`: asked over real HTTP and written down, then judged anew from the file.
#![allow(clippy::disallowed_methods, reason = "reads files that the suite itself wrote")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "../../agents/models/tests/fake/mod.rs"]
#[allow(dead_code, reason = "shared with the clients' own tests, which use more of it")]
mod fake;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use trailwarden::command::Surroundings;
use trailwarden::recording::Models;
use trailwarden_core::time::Timestamp;
use trailwarden_lab::evaluate::stage_two;
use trailwarden_lab::table::{StageTwo, stage_two_markdown};
use trailwarden_lab::train::Options;
use trailwarden_lab::universe::Universe;

use fake::{Fake, Mood, Seen};

/// Claims nothing and leans to an attack.
fn voice(seen: &Seen, _: Mood) -> Value {
    let schema = seen.schema();
    let fields = schema["properties"].as_object().unwrap().keys();
    let said = |field: &str| match field {
        "lean" => json!("malicious"),
        "sentence" => json!("P1 did it."),
        "abstain" => json!(false),
        _ => json!([]),
    };
    fields.map(|field| (field.clone(), said(field))).collect::<serde_json::Map<String, Value>>().into()
}

fn measured(models: &Models) -> Result<StageTwo, anyhow::Error> {
    let mut options = Options { thinning: 2, sequences_max: 600, ..Options::default() };
    options.trees.iterations = 30;
    let surroundings = Surroundings {
        now: Timestamp::from_millis(0),
        elapsed: &|| Duration::ZERO,
        environment: Vec::new(),
        stdout_is_terminal: false,
        stderr_is_terminal: false,
    };
    let clock: trailwarden_runtime::Clock = Arc::new(|| Timestamp::from_millis(0));
    models.with(&surroundings, &clock, |outside| {
        Ok(stage_two(&Universe::SMALL, &options, 0.2, Some(outside), &|| Duration::ZERO, &|_| {})?)
    })
}

fn recorded(file: &Path) -> Result<StageTwo, anyhow::Error> {
    measured(&Models::Recorded { file: file.to_owned() })
}

#[test]
fn what_models_said_of_a_sample_is_measured_and_measured_again_without_them() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Every fourth request meets a service that is away.
    let temper = |_: &Seen, nth: usize| if nth % 4 == 3 { Mood::Away(503) } else { Mood::Honest };
    let fake = runtime.block_on(Fake::speaking(Box::new(temper), Box::new(voice))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (config, file) = (folder.path().join("models.toml"), folder.path().join("said.jsonl"));
    let text = format!(
        "[council]\nprovider = 'ollama'\nurl = '{}'\nmodel = 'm'\nprice_input = 1\nprice_output = 2\n\
         requests_a_minute = 1000000\n",
        fake.base
    );
    std::fs::write(&config, text).unwrap();
    let record = Models::Record { file: file.clone(), config: Some(config), sample: 6, seed: 1 };
    let told = measured(&record).unwrap();
    let sample = told.sample.as_ref().expect("a sample");
    let [deterministic, random, models] = &sample.councils[..] else { panic!("three councils") };
    assert_eq!(
        [&deterministic.name, &random.name, &models.name].map(String::as_str),
        ["deterministic", "random claims", "recorded: m"]
    );
    assert!((2..=6).contains(&sample.picked) && sample.heard == sample.picked, "{sample:?}");
    for council in &sample.councils {
        assert_eq!(council.raised.false_cases + council.raised.true_cases, sample.heard, "on the same cases");
    }
    let asked = fake.seen().len();
    assert!(models.calls > 0 && models.calls <= asked as u64 && models.tokens > 0, "{models:?}");
    assert!(models.micro_dollars.is_some_and(|cost| cost > 0));
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count() as u64, sample.heard);

    let again = recorded(&file).unwrap();
    assert_eq!((&again, fake.seen().len()), (&told, asked), "the same, and nobody was asked");
    let page = stage_two_markdown(&again);
    assert!(page.contains(&format!("n = {} false", models.raised.false_cases)), "{page}");
    assert!(page.contains("| recorded: m |"), "{page}");
}

#[test]
fn what_is_no_recording_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("said.jsonl");
    let said = |text: &str| {
        std::fs::write(&file, text).unwrap();
        format!("{:#}", recorded(&file).unwrap_err())
    };
    assert!(said("").contains("holds no recorded case"));
    assert!(said("{\"seconds\":1}\n").contains("line 1 is no recorded case"));
    assert!(said(&"x".repeat(400_000)).contains("at most"));
    let silent = Models::Record { file: file.clone(), config: None, sample: 2, seed: 1 };
    assert!(format!("{:#}", measured(&silent).unwrap_err()).contains("no model is configured"));
}
