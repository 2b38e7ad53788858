//! Whole negotiations over real HTTP: every client against every mood of a model's service.

#[path = "../../../models/tests/fake/mod.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the clients' own tests, which use more of it")]
mod fake;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::time::Instant;
use trailwarden_core::hash::hash64;
use trailwarden_core::level::Severity;
use trailwarden_core::negotiation::{Brain, Judgement, Role};
use trailwarden_core::time::Timestamp;
use trailwarden_models::{
    Access, Bounds, Client, Credentials, Gateway, Model, Output, Policy, Provider, Secret, Service, ToolChoice,
    Transport,
};

use super::fixtures::{Draw, Scene, disputed};
use super::tests::{any_scene, floor, replayed, without_brains};
use super::*;
pub(crate) use fake::{Fake, Mood, Seen};

const KEY: &str = "key-that-nobody-may-see-0123456789";
/// Where nobody may be waited for long. A busy machine then hears less of those who would answer, and judges as well.
const SHORT: Duration = Duration::from_millis(300);
/// A machine that does other things too is given this much beyond a deadline.
const GRACE: Duration = Duration::from_secs(20);

/// All moods, with what a call ends as.
const MOODS: [(Mood, Ended); 17] = [
    (Mood::Honest, Ended::Answered),
    (Mood::HostileBenign, Ended::Answered),
    (Mood::HostileMalicious, Ended::Answered),
    (Mood::AbsurdUsage, Ended::Answered),
    (Mood::OtherShape, Ended::Malformed),
    (Mood::Garbage, Ended::Malformed),
    (Mood::CutJson, Ended::Malformed),
    (Mood::WrongType, Ended::Malformed),
    (Mood::CutConnection, Ended::Unreachable),
    (Mood::SlowDrip, Ended::Timeout),
    (Mood::Hang, Ended::Timeout),
    (Mood::Limited(60), Ended::Limited),
    (Mood::Away(503), Ended::Unavailable),
    (Mood::Echo, Ended::Refused),
    (Mood::Redirect, Ended::Refused),
    (Mood::Oversized, Ended::TooLarge),
    (Mood::OversizedLength, Ended::TooLarge),
];

/// Every provider that a configuration may name.
fn providers() -> [(&'static str, Provider); 5] {
    let key = || Secret::new(KEY);
    let signed = Access::Signed(Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: key(),
        session_token: Some(Secret::new(format!("session-{KEY}"))),
    });
    let region = "eu-west-1".to_owned();
    [
        ("openai", Provider::OpenAi { key: Some(key()), output: Output::SchemaOfOpenAi }),
        ("ollama", Provider::OpenAi { key: None, output: Output::Schema }),
        ("anthropic", Provider::Anthropic { key: key() }),
        ("bedrock", Provider::Bedrock { region, access: signed, tool_choice: ToolChoice::Named }),
        ("gemini", Provider::Gemini { key: key() }),
    ]
}

/// Which role a request asks: prompts say so in their first line.
pub(crate) fn role(seen: &Seen) -> Role {
    let body = seen.body.to_string();
    let is_told = |role: &Role| body.contains(&format!("{role:?}, version "));
    ROLES.into_iter().find(is_told).expect("a prompt of ours")
}

/// Speaks in form: whatever fits the schema, or the worst that does.
fn voice(seen: &Seen, mood: Mood) -> Value {
    let schema = seen.schema();
    let mut drawn = Draw { state: hash64(&schema.to_string()), is_wild: false }.value(&schema);
    let worst = match mood {
        Mood::HostileBenign => "benign",
        Mood::HostileMalicious => "malicious",
        _ => return drawn,
    };
    if !drawn["lean"].is_null() {
        drawn["lean"] = worst.into();
    }
    let names = schema.pointer("/properties/claims/items/properties/predicate/enum").and_then(Value::as_array);
    if let Some(names) = names {
        let cited = ["E1", "D1", "E2", "F1", "B1"];
        let claim = |name: &Value| json!({"predicate": name, "evidence": cited, "strength": "strong"});
        drawn["claims"] = names.iter().map(claim).collect();
        drawn["abstain"] = false.into();
    }
    drawn
}

/// A service whose moods go by the request.
pub(crate) async fn service(temper: impl Fn(&Seen) -> Mood + Send + Sync + 'static) -> Fake {
    Fake::speaking(Box::new(move |seen, _| temper(seen)), Box::new(voice)).await.expect("a free port")
}

/// A panel of all roles, with a gateway and a client of its own.
pub(crate) fn panel(provider: Provider, fake: &Fake, call: Duration) -> Panel {
    let clock = Arc::new(|| Timestamp::from_millis(1_700_000_000_000));
    let model = "vendor.model-v1:0".to_owned();
    let service = Service { provider, base: fake.base.clone(), model, temperature: None };
    let transport = Transport::new(Bounds::default()).expect("no proxy");
    let client = Client::new("distant", service, transport, clock.clone()).expect("an address of this machine");
    let policy = Policy { retry_pause: Duration::from_millis(1), ..Policy::default() };
    let gateway = Arc::new(Gateway::new(Arc::new(client), policy, clock));
    let model: Arc<dyn Model> = Arc::new(gateway.of_tenant("default"));
    let limits = Limits { call, case: call * 6, ..Limits::default() };
    Panel::new(model, &ROLES.into_iter().collect(), Severity::Medium, limits)
}

/// A negotiation, and what holds of each whatever a service does.
async fn held(name: &str, scene: &Scene, panel: &Panel) -> (Judgement, Transcript) {
    let (negotiation, asks) = scene.opened();
    let begun = Instant::now();
    let (judgement, transcript) = deliberate(negotiation, asks, panel).await;
    assert!(begun.elapsed() < panel.patience() + GRACE, "{name} took {:?}", begun.elapsed());
    let made: Vec<&Call> = transcript.calls.iter().filter(|call| call.ended != Ended::Skipped).collect();
    assert!(made.len() <= 12, "{name}: {} calls", made.len());
    let deterministic = scene.deterministic();
    assert_eq!(judgement.probability_deterministic, deterministic.probability_deterministic, "{name}");
    assert!(judgement.severity >= floor(scene), "{name}: {} under the floor", judgement.severity);
    let spoke: BTreeSet<Role> =
        transcript.calls.iter().filter(|call| call.ended == Ended::Answered).map(|call| call.role).collect();
    for (role, brain) in &judgement.brains {
        assert!(*brain == Brain::Deterministic || spoke.contains(role), "{name}: {role:?} did not speak");
    }
    if spoke.is_empty() {
        assert_eq!(judgement, deterministic, "{name}");
    }
    let json = transcript.to_json();
    assert!(json.len() < TRANSCRIPT_BYTES_MAX && !json.contains(KEY), "{name}");
    let read: Transcript = serde_json::from_str(&json).expect("as written");
    let again = replayed(scene, &read).expect("it is about the same");
    assert_eq!(without_brains(&again), without_brains(&judgement), "{name}");
    (judgement, transcript)
}

#[tokio::test]
async fn every_client_through_every_mood_ends_in_a_judgement_that_says_how() {
    let scene = disputed();
    let pairs = providers().into_iter().flat_map(|(name, provider)| MOODS.map(|mood| (name, provider.clone(), mood)));
    let all = pairs.map(|(name, provider, (mood, ended))| {
        let scene = &scene;
        async move {
            let name = format!("{name}, {mood:?}");
            let fake = service(move |_| mood).await;
            let is_slow = ended == Ended::Timeout;
            let panel = panel(provider, &fake, if is_slow { SHORT } else { Limits::default().call });
            let (judgement, transcript) = held(&name, scene, &panel).await;
            let ends: Vec<Ended> = transcript.calls.iter().map(|call| call.ended).collect();
            assert_eq!(ends[0], ended, "{name}");
            // After failures nothing is asked; absurd counts and time that was lost leave nothing to ask with.
            let further = match ended {
                Ended::Answered => &[Ended::Answered, Ended::Skipped][..],
                Ended::Limited => &[Ended::Limited],
                _ => &[ended, Ended::Paused, Ended::Skipped],
            };
            assert!(ends.iter().all(|end| further.contains(end)), "{name}: {ends:?}");
            let by_model = judgement.brains.iter().filter(|(_, brain)| *brain == Brain::Llm("distant".to_owned()));
            assert_eq!(by_model.count() > 0, ended == Ended::Answered, "{name}");
            if mood == Mood::Honest {
                assert!(ends.iter().all(|end| *end == Ended::Answered) && ends.len() >= 5, "{name}: {ends:?}");
            }
            fake.seen().len()
        }
    });
    let asked: usize = join_all(all).await.into_iter().sum();
    assert!(asked >= 5 * 17 * 3, "{asked} requests");
}

/// Each role meets a mood of its own, drawn anew for each case.
#[tokio::test]
async fn moods_mixed_by_role_lose_no_case() {
    const CASES: u64 = 60;
    let mut runner = TestRunner::deterministic();
    let scenes = (0..CASES).map(|_| any_scene().new_tree(&mut runner).expect("a scene").current());
    let scenes: Vec<Scene> = scenes.collect();
    let all = scenes.iter().zip(0_u64..).map(|(scene, case)| async move {
        let (name, provider) = providers()[(case % 5) as usize].clone();
        let drawn = move |role: Role| MOODS[(hash64(&format!("{case} {role:?}")) % 17) as usize];
        let fake = service(move |seen| drawn(role(seen)).0).await;
        let name = format!("case {case} by {name}");
        let (_, transcript) = held(&name, scene, &panel(provider, &fake, SHORT)).await;
        for call in &transcript.calls {
            let ended = drawn(call.role).1;
            // What a busy machine does not hear in time is a timeout, whoever spoke.
            let known = [ended, Ended::Timeout, Ended::Paused, Ended::Skipped];
            assert!(known.contains(&call.ended), "{name}: {:?} ended as {:?}", call.role, call.ended);
        }
        transcript.calls.iter().filter(|call| call.ended == Ended::Answered).count()
    });
    let answered: usize = join_all(all).await.into_iter().sum();
    assert!(answered > 0, "nobody was heard at all");
}
