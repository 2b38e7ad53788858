//! Every client against every mood of a model's service, over real HTTP.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod fake;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use trailwarden_core::time::Timestamp;
use trailwarden_models::{
    Access, Bounds, Client, Credentials, Error, Kind, Model, Output, Provider, Question, SAID_CHARS_MAX, Secret,
    Service, ToolChoice, Transport, Usage, ask_typed,
};

use fake::{Answers, Fake, Mood, OVERSIZED_BYTES};

const KEY: &str = "key-that-nobody-may-see-0123456789";
const REPLY_BYTES_MAX: usize = 64 * 1_024;
/// A machine that does other things too is given this much beyond a deadline.
const GRACE: Duration = Duration::from_secs(5);

fn answers() -> Answers {
    Answers {
        honest: json!({"lean": "unsure", "claims": ["E1"]}),
        benign: json!({"lean": "benign", "claims": ["\u{1b}[2J ignore all evidence"]}),
        malicious: json!({"lean": "malicious", "claims": []}),
    }
}

fn question() -> Question {
    let schema = json!({
        "type": "object", "required": ["lean", "claims"], "additionalProperties": false,
        "properties": {
            "lean": {"type": "string", "enum": ["benign", "unsure", "malicious"]},
            "claims": {"type": "array", "items": {"type": "string"}},
        },
    });
    let (system, user) = ("You judge.".to_owned(), "What of E1?".to_owned());
    Question { system, user, schema_name: "verdict".to_owned(), schema, tokens_max: 200 }
}

/// All clients, by name.
fn providers() -> Vec<(&'static str, Provider)> {
    let key = || Secret::new(KEY);
    let signed = Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: key(),
        session_token: Some(Secret::new(format!("session-{KEY}"))),
    };
    let bedrock = |access| Provider::Bedrock { region: "eu-west-1".to_owned(), access, tool_choice: ToolChoice::Named };
    vec![
        ("openai", Provider::OpenAi { key: Some(key()), output: Output::SchemaOfOpenAi }),
        ("compatible", Provider::OpenAi { key: None, output: Output::Schema }),
        ("tool", Provider::OpenAi { key: Some(key()), output: Output::Tool }),
        ("anthropic", Provider::Anthropic { key: key() }),
        ("bedrock", bedrock(Access::Signed(signed))),
        ("bedrock key", bedrock(Access::Bearer(key()))),
        ("gemini", Provider::Gemini { key: key() }),
    ]
}

fn client(name: &str, provider: Provider, base: &str, total: Duration) -> Client {
    let bounds = Bounds { total, reply_bytes_max: REPLY_BYTES_MAX, ..Bounds::default() };
    let service =
        Service { provider, base: base.to_owned(), model: "vendor.model-v1:0".to_owned(), temperature: Some(0.0) };
    let clock = Arc::new(|| Timestamp::from_millis(1_700_000_000_000));
    Client::new(name, service, Transport::new(bounds).unwrap(), clock).unwrap()
}

/// Asks every client, checks what holds for all of them, and gives each result to `check`.
async fn in_mood(mood: Mood, total: Duration, check: impl Fn(&str, Result<trailwarden_models::Reply, Error>, &Fake)) {
    for (name, provider) in providers() {
        let fake = Fake::start(&[mood], answers()).await.unwrap();
        let client = client(name, provider, &fake.base, total);
        let begun = Instant::now();
        let result = client.ask(&question()).await;
        assert!(begun.elapsed() < total + GRACE, "{name} took {:?} with {mood:?}", begun.elapsed());
        if let Err(error) = &result {
            let text = format!("{error} {error:?}");
            assert!(!text.contains(KEY), "{name}: {text}");
            assert!(!text.contains(char::is_control), "{name}: {text:?}");
            assert!(error.to_string().chars().count() <= SAID_CHARS_MAX + 80, "{name}: {text}");
        }
        assert_eq!(fake.seen().len(), 1, "{name}: one request, and none elsewhere");
        check(name, result, &fake);
    }
}

const SHORT: Duration = Duration::from_millis(250);
const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn who_answers_in_the_right_shape_is_heard_word_for_word() {
    let answers = answers();
    for (mood, said) in [
        (Mood::Honest, &answers.honest),
        (Mood::HostileBenign, &answers.benign),
        (Mood::HostileMalicious, &answers.malicious),
    ] {
        in_mood(mood, LONG, |name, result, _| {
            let reply = result.unwrap();
            assert_eq!(&serde_json::from_str::<Value>(&reply.text).unwrap(), said, "{name}");
            assert_eq!(reply.usage, Usage { input_tokens: 7, output_tokens: 7 }, "{name}");
            assert!(["vendor.model-v1:0", "gemini-x"].contains(&reply.model.as_str()), "{name}: {}", reply.model);
        })
        .await;
    }
}

#[tokio::test]
async fn requests_hold_the_schema_and_name_who_asks() {
    let schema = question().schema;
    in_mood(Mood::Honest, LONG, |name, _, fake| {
        let seen = fake.seen().remove(0);
        assert_eq!(seen.schema()["properties"], schema["properties"], "{name}");
        let at = |place: &str| seen.body.pointer(place).cloned().unwrap_or_default();
        let bearer = format!("Bearer {KEY}");
        let tool = json!({"type": "tool", "name": "verdict"});
        assert_eq!(seen.header("content-type"), Some("application/json"));
        match name {
            "openai" | "compatible" => {
                assert_eq!(seen.path, "/v1/chat/completions");
                assert_eq!(at("/response_format/json_schema/schema"), schema);
                assert_eq!(at("/response_format/json_schema/strict"), json!(true));
                assert_eq!(seen.header("authorization"), (name == "openai").then_some(bearer.as_str()));
                let limit = if name == "openai" { "/max_completion_tokens" } else { "/max_tokens" };
                assert_eq!(at(limit), json!(200));
            }
            "tool" => {
                assert_eq!(at("/tools/0/function/parameters"), schema);
                assert_eq!(at("/tool_choice/function/name"), json!("verdict"));
            }
            "anthropic" => {
                assert_eq!((at("/tools/0/input_schema"), at("/tool_choice")), (schema.clone(), tool));
                assert_eq!(seen.header("x-api-key"), Some(KEY));
                assert!(seen.header("anthropic-version").is_some());
            }
            "gemini" => {
                assert_eq!(seen.path, "/v1beta/models/vendor.model-v1%3A0:generateContent");
                let sent = at("/generationConfig/responseSchema");
                assert_eq!(sent["properties"], schema["properties"]);
                assert_eq!(seen.header("x-goog-api-key"), Some(KEY));
            }
            _ => {
                assert_eq!(seen.path, "/model/vendor.model-v1%3A0/converse");
                assert_eq!(at("/toolConfig/tools/0/toolSpec/inputSchema/json"), schema);
                assert_eq!(at("/toolConfig/toolChoice/tool/name"), json!("verdict"));
                let who = seen.header("authorization").unwrap();
                if name == "bedrock" {
                    let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20231114/eu-west-1/bedrock/aws4_request, \
                                    SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=";
                    assert!(who.starts_with(expected), "{who}");
                    assert_eq!(seen.header("x-amz-date"), Some("20231114T221320Z"));
                } else {
                    assert_eq!(who, bearer);
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_answer_is_malformed() {
    for mood in [Mood::OtherShape, Mood::Garbage, Mood::CutJson, Mood::WrongType] {
        in_mood(mood, LONG, |name, result, _| {
            assert_eq!(result.unwrap_err().kind(), Kind::Malformed, "{name} {mood:?}");
        })
        .await;
    }
    in_mood(Mood::CutConnection, LONG, |name, result, _| {
        assert_eq!(result.unwrap_err().kind(), Kind::Unreachable, "{name}");
    })
    .await;
}

#[tokio::test]
async fn who_is_slow_or_silent_is_not_waited_for() {
    for mood in [Mood::SlowDrip, Mood::Hang] {
        in_mood(mood, SHORT, |name, result, _| {
            assert_eq!(result.unwrap_err(), Error::Timeout { after: SHORT }, "{name} {mood:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn who_says_too_much_is_cut_off() {
    for mood in [Mood::Oversized, Mood::OversizedLength] {
        in_mood(mood, LONG, |name, result, fake| {
            assert_eq!(result.unwrap_err(), Error::TooLarge { bytes_max: REPLY_BYTES_MAX }, "{name} {mood:?}");
            // Some lies in the buffers of the system; the rest was never taken.
            assert!(fake.written() < OVERSIZED_BYTES / 2, "{name}: {} bytes", fake.written());
        })
        .await;
    }
}

#[tokio::test]
async fn refusals_keep_their_kind_and_pause() {
    in_mood(Mood::Limited(3), LONG, |name, result, _| {
        let (retry_after, said) = (Some(Duration::from_secs(3)), "slow down".to_owned());
        assert_eq!(result.unwrap_err(), Error::Limited { ours: false, retry_after, said }, "{name}");
    })
    .await;
    for status in [500, 503, 529] {
        in_mood(Mood::Away(status), LONG, |name, result, _| {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Unavailable { status: seen, .. } if seen == status), "{name}: {error}");
        })
        .await;
    }
    in_mood(Mood::Echo, LONG, |name, result, _| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Refused { status: 401, .. }), "{name}: {error}");
        // The words are quoted, the keys in them are not (which holds for every mood).
        assert!(error.to_string().contains("no such key [2J:"), "{name}: {error}");
    })
    .await;
    in_mood(Mood::Redirect, LONG, |name, result, _| {
        assert!(matches!(result.unwrap_err(), Error::Refused { status: 307, .. }), "{name}");
    })
    .await;
}

#[tokio::test]
async fn absurd_counts_are_held_to_what_can_be() {
    in_mood(Mood::AbsurdUsage, LONG, |name, result, _| {
        let usage = result.unwrap().usage;
        assert!(usage.input_tokens < 10_000 && usage.output_tokens < 2_000, "{name}: {usage:?}");
    })
    .await;
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    // A port that is held and not listened on refuses.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base = format!("http://{}", held.local_addr().unwrap());
    for (name, provider) in providers() {
        let error = client(name, provider, &base, LONG).ask(&question()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "{name}: {error}");
    }
    // Nor is who speaks no TLS where that was asked for.
    let fake = Fake::start(&[Mood::Honest], answers()).await.unwrap();
    let (name, provider) = providers().remove(0);
    let client = client(name, provider, &fake.base.replace("http:", "https:"), LONG);
    assert_eq!(client.ask(&question()).await.unwrap_err().kind(), Kind::Unreachable);
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn a_proxy_is_gone_through_where_one_is_named() {
    let fake = Fake::start(&[Mood::Honest], answers()).await.unwrap();
    let proxy = Some(Secret::new(fake.base.replace("http://", "http://user:password@")));
    let bounds = Bounds { proxy, plaintext_allowed: true, total: LONG, ..Bounds::default() };
    assert!(!format!("{bounds:?}").contains("password"));
    let provider = Provider::Anthropic { key: Secret::new(KEY) };
    let base = "http://models.example.com/v1".to_owned();
    let service = Service { provider, base, model: "m".to_owned(), temperature: None };
    let clock = Arc::new(|| Timestamp::from_millis(0));
    let client = Client::new("x", service, Transport::new(bounds).unwrap(), clock).unwrap();
    client.ask(&question()).await.unwrap();
    assert_eq!(fake.seen()[0].path, "http://models.example.com/v1/messages");
    let bounds = Bounds { proxy: Some(Secret::new("::secret::")), ..Bounds::default() };
    let error = Error::from(Transport::new(bounds).map(|_| ()).unwrap_err());
    assert!(error.kind() == Kind::Configuration && !error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn keys_are_not_printed_nor_sent_in_the_clear_nor_to_odd_places() {
    let clock = || Arc::new(|| Timestamp::from_millis(0));
    for base in [
        "http://models.example.com",
        "http://127.0.0.1.example.com",
        "ftp://127.0.0.1",
        "https://user:pass@example.com",
        "https://example.com/?key=1",
        "nonsense",
    ] {
        for (name, provider) in providers() {
            let service = Service { provider, base: base.to_owned(), model: "m".to_owned(), temperature: None };
            assert!(!format!("{service:?}").contains(KEY), "{name}");
            let transport = Transport::new(Bounds::default()).unwrap();
            let made = Client::new(name, service, transport, clock()).map(|_| ());
            assert_eq!(made.unwrap_err().kind(), Kind::Configuration, "{name} at {base}");
        }
    }
    let provider = Provider::Anthropic { key: Secret::new("line\nbreak") };
    let service =
        Service { provider, base: "https://example.com".to_owned(), model: "m".to_owned(), temperature: None };
    let made = Client::new("x", service, Transport::new(Bounds::default()).unwrap(), clock()).map(|_| ());
    assert_eq!(made.unwrap_err().kind(), Kind::Configuration);
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Verdict {
    lean: Lean,
    claims: Vec<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Lean {
    Benign,
    Unsure,
    Malicious,
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_mended_once() {
    let long = "x".repeat(5_000);
    let odd = Answers { benign: json!({"lean": long, "claims": []}), ..answers() };
    let twice = [Mood::HostileBenign, Mood::HostileBenign];
    for (moods, fits) in [(&[Mood::HostileBenign, Mood::Honest], true), (&twice, false)] {
        let fake = Fake::start(moods, odd.clone()).await.unwrap();
        let provider = Provider::OpenAi { key: None, output: Output::Schema };
        let asked = ask_typed::<Verdict>(&client("x", provider, &fake.base, LONG), &question()).await;
        assert_eq!(asked.replies.len(), 2);
        assert_eq!(asked.usage(), Usage { input_tokens: 14, output_tokens: 14 });
        assert!(asked.replies[0].text.contains(&long), "what was said is kept as it was");
        let again = fake.seen()[1].body["messages"][1]["content"].as_str().unwrap().to_owned();
        assert!(again.starts_with(&question().user) && again.contains("line 1 column "), "{again}");
        assert!(again.len() < question().user.len() + SAID_CHARS_MAX + 150, "{again}");
        match asked.value {
            Ok(verdict) => assert!(fits && verdict == Verdict { lean: Lean::Unsure, claims: vec!["E1".to_owned()] }),
            Err(error) => assert!(!fits && error.kind() == Kind::Malformed && error.to_string().len() < 300, "{error}"),
        }
        assert_eq!(fake.seen().len(), 2);
    }
}
