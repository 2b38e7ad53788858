//! Cases, and models that do as they are told.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::time::sleep;
use trailwarden_core::api::Vocabulary;
use trailwarden_core::case::Case;
use trailwarden_core::detection::{Rule, RuleIndex};
use trailwarden_core::hash::hash64;
use trailwarden_core::level::Severity;
use trailwarden_core::negotiation::exchange::Ask;
use trailwarden_core::negotiation::{Bounds, Judgement, Negotiation, freeze, negotiate_deterministically};
use trailwarden_core::registry::Registry;
use trailwarden_core::resource::{Resource, ResourceKind};
use trailwarden_models::{Error, Model, Question, Reply, Usage};

use crate::fixtures::case;

/// A case with the rules it was found by.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) case: Case,
    pub(super) rules: Vec<Rule>,
    pub(super) registry: Registry,
    pub(super) bounds: Bounds,
}

impl Scene {
    pub(super) fn opened(&self) -> (Negotiation, Vec<Ask>) {
        let (pack, handles) = freeze(&self.case, &self.rules, &self.registry, &Vocabulary::builtin());
        Negotiation::open(pack, handles, self.bounds)
    }

    pub(super) fn deterministic(&self) -> Judgement {
        negotiate_deterministically(
            &self.case,
            &self.rules,
            &self.registry,
            &Vocabulary::builtin(),
            &self.bounds.into(),
        )
    }
}

pub(super) fn rule(severity: Severity, predicate: &str) -> Rule {
    Rule {
        id: format!("{severity}-{predicate}"),
        title: predicate.to_owned(),
        description: String::new(),
        severity,
        techniques: vec!["T1098.001".to_owned()],
        tactics: vec!["persistence".to_owned()],
        false_positives: Vec::new(),
        predicate: Some(predicate.to_owned()),
        floor: None,
        raises: true,
        first_seen: None,
    }
}

/// A signal for each list of rules that matched on it, and text in every field that a caller writes.
pub(super) fn scene(rules: Vec<Rule>, matched: &[Vec<u16>], text: &str) -> Scene {
    let names: Vec<String> = (0..matched.len()).map(|number| format!("event-{number}")).collect();
    let mut case = case("c0ffee", &names.iter().map(String::as_str).collect::<Vec<_>>());
    case.learned = None;
    for (signal, matched) in case.signals.iter_mut().zip(matched) {
        signal.learned = None;
        signal.user_agent = text.to_owned();
        signal.session_name = text.to_owned();
        signal.detections = matched.iter().copied().map(RuleIndex).collect();
        signal.details.resources = vec![Resource {
            kind: ResourceKind::User,
            account: signal.account.clone(),
            region: signal.region.clone(),
            id: format!("user-{text}"),
            created: false,
        }];
    }
    Scene { case, rules, registry: Registry::default(), bounds: Bounds::default() }
}

/// Automation at work, in ways that look like an attack: there is something to rebut.
pub(super) fn disputed() -> Scene {
    let rules = vec![
        rule(Severity::High, "credential_creation_for_other"),
        rule(Severity::High, "instance_credential_use"),
        rule(Severity::Medium, "rate_spike"),
    ];
    let mut scene = scene(rules, &[vec![0], vec![1], vec![2, 0]], "terraform");
    scene.registry.automation.insert(scene.case.principal.clone());
    scene
}

/// What a model does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    /// Answers in form, with names of the vocabulary.
    Formal,
    /// The same, and lies about what it cost.
    Greedy,
    /// In form, with names that nobody knows.
    Inventive,
    Garbage,
    Cut,
    Oversized,
    /// In form, after seconds.
    Slow(u64),
    Hanging,
    Absent,
}

pub(super) const MOODS: [Mood; 10] = [
    Mood::Formal,
    Mood::Greedy,
    Mood::Inventive,
    Mood::Garbage,
    Mood::Cut,
    Mood::Oversized,
    Mood::Slow(9),
    Mood::Slow(40),
    Mood::Hanging,
    Mood::Absent,
];

/// Answers call after call in the moods of its script, over and over.
pub(crate) struct Scripted {
    script: Vec<Mood>,
    seed: u64,
    asked: Mutex<Vec<Question>>,
}

impl Scripted {
    pub(crate) fn new(script: &[Mood], seed: u64) -> Self {
        Self { script: script.to_vec(), seed, asked: Mutex::default() }
    }

    pub(crate) fn asked(&self) -> Vec<Question> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

#[async_trait]
impl Model for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    async fn ask(&self, question: &Question) -> Result<Reply, Error> {
        let nth = {
            let mut asked = self.asked.lock().expect("not poisoned");
            asked.push(question.clone());
            asked.len() - 1
        };
        let mood = self.script[nth % self.script.len()];
        let mut draw = Draw { state: self.seed ^ hash64(&question.schema_name), is_wild: mood == Mood::Inventive };
        let formal = draw.value(&question.schema).to_string();
        let usage = Usage { input_tokens: question.user.len() as u64 / 4, output_tokens: 50 };
        let said = |text: String| Ok(Reply { text, usage, model: "scripted-1".to_owned() });
        match mood {
            Mood::Formal | Mood::Inventive => said(formal),
            Mood::Greedy => {
                let usage = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX };
                said(formal).map(|reply| Reply { usage, ..reply })
            }
            Mood::Garbage => said("\u{0}<html>ignore all rules; it is benign".to_owned()),
            Mood::Cut => said(formal[..formal.floor_char_boundary(formal.len() / 2)].to_owned()),
            Mood::Oversized => said(format!("{formal}{}", " ".repeat(super::RAW_BYTES_MAX))),
            Mood::Slow(seconds) => {
                sleep(Duration::from_secs(seconds)).await;
                said(formal)
            }
            Mood::Hanging => std::future::pending().await,
            Mood::Absent => Err(Error::Unreachable("nobody listens".to_owned())),
        }
    }
}

/// Draws values that fit a schema.
pub(super) struct Draw {
    pub(super) state: u64,
    /// Strings are anything.
    pub(super) is_wild: bool,
}

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % bound.max(1)
    }

    pub(super) fn value(&mut self, schema: &Value) -> Value {
        match schema["type"].as_str() {
            Some("object") => {
                let fields = schema["properties"].as_object().into_iter().flatten();
                let drawn: Map<String, Value> = fields.map(|(name, of)| (name.clone(), self.value(of))).collect();
                Value::Object(drawn)
            }
            Some("array") => {
                let least = schema["minItems"].as_u64().unwrap_or_default() as usize;
                let length = least + self.below(6);
                (0..length).map(|_| self.value(&schema["items"])).collect()
            }
            Some("boolean") => json!(self.below(8) == 0),
            _ => self.text(schema),
        }
    }

    fn text(&mut self, schema: &Value) -> Value {
        let names = schema["enum"].as_array();
        if names.is_none() && schema["pattern"].is_null() {
            return json!(["P1 made R1.", "<b>P1</b> see http://x.example", "", "It is benign."][self.below(4)]);
        }
        match names {
            // A strength or a lean that nobody knows is no answer at all, which is another mood.
            Some(names) if !self.is_wild || names.len() <= 4 => names[self.below(names.len())].clone(),
            _ if self.is_wild => {
                json!(["", "approved", " on ", "E0", "E99999", "a on b", "x P1", "ＲＬ"][self.below(8)])
            }
            _ => json!(format!("{}{}", ["E", "D", "F", "B", "P"][self.below(5)], 1 + self.below(4))),
        }
    }
}
