//! What a role is told: its prompt, the evidence, and the shape of the answer.
//!
//! Nothing in here was written by a caller: the evidence is frozen, and claims are shown as types and handles.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trailwarden_core::negotiation::Role;
use trailwarden_core::negotiation::brain::{
    CLAIMS_PER_OPINION_MAX, EVIDENCE_PER_CLAIM_MAX, PICKS_MAX, SENTENCE_BYTES_MAX, Standing, TECHNIQUES_PER_OPINION_MAX,
};
use trailwarden_core::negotiation::evidence::EvidencePack;
use trailwarden_core::negotiation::exchange::{Ask, Question};
use trailwarden_core::negotiation::predicate::{Predicate, Strength};
use trailwarden_core::negotiation::rebuttal::{ATTACKS_PER_REBUTTAL_MAX, Attack};
use trailwarden_models as models;

use super::Round;

/// A handle as the evidence writes it.
const HANDLE: &str = "^(D|E|F|B|P|S|IP|UA|R|A|Z)[1-9][0-9]{0,4}$";
const TECHNIQUE: &str = "^T[0-9]{4}([.][0-9]{3})?$";

/// What one role is told in every case.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    pub(super) system: String,
    /// SHA-256 of it, hex.
    pub(super) digest: String,
}

impl Prompt {
    pub(super) fn of(role: Role) -> Self {
        let mut system = text(role).to_owned();
        let owned: Vec<&Predicate> = owned(role).collect();
        if !owned.is_empty() {
            system.push_str("\nVocabulary:\n");
        }
        for predicate in owned {
            let definition = predicate.definition();
            let strength = strength(definition.strength);
            system.push_str(&format!("- {} (at most {strength}): {}\n", definition.name, definition.meaning));
        }
        let digest = digest(&system);
        Self { system, digest }
    }

    /// A question of the negotiation as a model is asked it.
    pub(super) fn question(&self, pack: &EvidencePack, ask: &Ask) -> models::Question {
        let round = Round::of(&ask.question);
        models::Question {
            system: self.system.clone(),
            user: format!("Evidence:\n{}\n\n{}", pack.canonical_json(), task(&ask.question)),
            schema_name: format!("{}_{}", name(ask.role), round.name()),
            schema: schema(ask),
            tokens_max: tokens_max(round),
        }
    }
}

/// SHA-256 of a text, hex.
pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(role: Role) -> &'static str {
    match role {
        Role::Analysis => include_str!("../../prompts/analysis.md"),
        Role::Context => include_str!("../../prompts/context.md"),
        Role::Sceptic => include_str!("../../prompts/sceptic.md"),
        Role::Judge => include_str!("../../prompts/judge.md"),
        Role::Responder => include_str!("../../prompts/responder.md"),
        Role::Reporter => include_str!("../../prompts/reporter.md"),
    }
}

const fn name(role: Role) -> &'static str {
    match role {
        Role::Analysis => "analysis",
        Role::Context => "context",
        Role::Sceptic => "sceptic",
        Role::Judge => "judge",
        Role::Responder => "responder",
        Role::Reporter => "reporter",
    }
}

const fn strength(strength: Strength) -> &'static str {
    match strength {
        Strength::Weak => "weak",
        Strength::Moderate => "moderate",
        Strength::Strong => "strong",
    }
}

/// Tokens of an answer: the longest that makes sense, and a little more.
const fn tokens_max(round: Round) -> u32 {
    match round {
        Round::Opinion => 1_200,
        Round::Rebuttal | Round::Choice => 300,
        Round::Lean => 60,
        Round::Report => 160,
    }
}

fn owned(role: Role) -> impl Iterator<Item = &'static Predicate> {
    Predicate::ALL.iter().filter(move |predicate| predicate.owner() == role)
}

/// An attack as it is shown and played.
pub(super) fn attack(attack: &Attack) -> String {
    format!("{} on {}", attack.by.name(), attack.on.name())
}

fn task(question: &Question) -> String {
    let list = |items: Vec<String>| items.iter().map(|item| format!("- {item}\n")).collect::<String>();
    match question {
        Question::Opinion => "Give your opinion.".to_owned(),
        Question::Rebut(open) => {
            format!("Give your rebuttal. Attacks that may be played:\n{}", list(open.iter().map(attack).collect()))
        }
        Question::Lean(standing) => format!("Say which way these claims lean:\n{}", list(claims(standing))),
        Question::Choose(options) => {
            let options = options.iter().map(|option| format!("{} {}", option.playbook.as_str(), option.target));
            format!("Pick from these steps:\n{}", list(options.collect()))
        }
        Question::Report(standing) => format!("Write the sentence. Claims that stand:\n{}", list(claims(standing))),
    }
}

fn claims(standing: &[Standing]) -> Vec<String> {
    let claim = |claim: &Standing| {
        let handles: Vec<String> = claim.evidence.iter().map(ToString::to_string).collect();
        format!("{}, {}: {}", claim.predicate.name(), strength(claim.strength), handles.join(" "))
    };
    standing.iter().map(claim).collect()
}

/// The shape of an answer, built of the closed vocabulary.
fn schema(ask: &Ask) -> Value {
    let one_of = |names: Vec<String>| json!({"type": "string", "enum": names});
    let handles = || json!({"type": "array", "minItems": 1, "maxItems": EVIDENCE_PER_CLAIM_MAX, "items": {"type": "string", "pattern": HANDLE}});
    let object = |properties: Value| {
        let required: Vec<&String> = properties.as_object().map(|fields| fields.keys().collect()).unwrap_or_default();
        json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
    };
    let list = |items: Value, most: usize| json!({"type": "array", "maxItems": most, "items": items});
    match &ask.question {
        Question::Opinion => {
            let predicates = owned(ask.role).map(|predicate| predicate.name().to_owned()).collect();
            let claim = object(json!({
                "predicate": one_of(predicates),
                "evidence": handles(),
                "strength": {"type": "string", "enum": ["weak", "moderate", "strong"]},
            }));
            let mut opinion = json!({"claims": list(claim, CLAIMS_PER_OPINION_MAX), "abstain": {"type": "boolean"}});
            if ask.role == Role::Analysis {
                let technique = object(json!({"id": {"type": "string", "pattern": TECHNIQUE}, "evidence": handles()}));
                opinion["techniques"] = list(technique, TECHNIQUES_PER_OPINION_MAX);
            }
            object(opinion)
        }
        Question::Rebut(open) => {
            let attacks = one_of(open.iter().map(attack).collect());
            object(json!({"attacks": list(attacks, ATTACKS_PER_REBUTTAL_MAX)}))
        }
        Question::Lean(_) => {
            object(json!({"lean": {"type": "string", "enum": ["benign", "suspicious", "malicious", "abstain"]}}))
        }
        Question::Choose(options) => {
            let options = options.iter().map(|option| format!("{} {}", option.playbook.as_str(), option.target));
            object(json!({"steps": list(one_of(options.collect()), PICKS_MAX)}))
        }
        Question::Report(_) => {
            object(json!({"sentence": {"type": "string", "minLength": 1, "maxLength": SENTENCE_BYTES_MAX}}))
        }
    }
}
