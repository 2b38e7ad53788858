//! Every channel against a server that looks at what it is sent: a real mail server, AWS' interfaces as moto has them, and HTTP
//! servers of several moods.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod receiver;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use trailwarden_bus::{Bus, Layout, Memory, Subject};
use trailwarden_core::alert::{Alert, Kind, Step, StepState};
use trailwarden_core::level::Severity;
use trailwarden_core::time::Timestamp;
use trailwarden_notify::channel::{self, Channel, Deps, Error, Told, signature};
use trailwarden_notify::config::{ChannelKind, ChannelSpec, Language, Security};
use trailwarden_notify::throttle::Message;
use trailwarden_notify::words::words;
use trailwarden_servers::{Moto, Smtp};

use receiver::{Mood, Receiver};

const CASE_URL: &str = "https://console.example/cases/{id}";
const KEY: &str = "a secret that is long enough";
const EVIL: &str = "eve\r\nBcc: all@example.org <!channel> *bold* <https://evil.example|click> & \u{202e}txt";

fn now() -> Timestamp {
    Timestamp::parse("2026-03-22T12:10:03Z").unwrap()
}

fn message(principal: &str) -> Message {
    let alert = Alert {
        account: "111122223333".to_owned(),
        case: Some("10703b6e".to_owned()),
        score: Some(0.97),
        verdict: "malicious".to_owned(),
        reasons: vec!["created a credential for another principal".to_owned()],
        steps: vec![Step {
            playbook: "disable_access_key".to_owned(),
            target: principal.to_owned(),
            state: StepState::Waits { approvers: 1 },
        }],
        ..Alert::new("case:10703b6e:1", Kind::Case, Severity::Critical, now(), principal)
    };
    Message { id: "00112233445566778899aabbccddeeff".to_owned(), alert: alert.bounded(), count: 4, since: now() }
}

fn environment() -> Vec<(OsString, OsString)> {
    [
        ("AWS_ACCESS_KEY_ID", "example"),
        ("AWS_SECRET_ACCESS_KEY", "example"),
        ("PASSWORD", "correct horse"),
        ("WRONG", "wrong horse"),
        ("SECRET", KEY),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into()
}

fn opened_on(bus: Arc<dyn Bus>, spec: &ChannelSpec, more: &[(&str, &str)]) -> Result<Arc<dyn Channel>, String> {
    let mut environment = environment();
    environment.extend(more.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    let deps = Deps { bus, tenant: "default", environment: &environment, clock: Arc::new(now) };
    channel::open(spec, &deps).map_err(|error| error.to_string())
}

fn opened(spec: &ChannelSpec) -> Result<Arc<dyn Channel>, String> {
    opened_on(Arc::new(Memory::default()), spec, &[])
}

async fn tell(channel: &dyn Channel, message: &Message, language: Language) -> Result<(), Error> {
    let words = words(message, language, Some(CASE_URL), now());
    channel.send(&Told { message, words: &words, at: now() }).await
}

fn mail(server: &Smtp, security: Security, to: &[&str]) -> ChannelSpec {
    ChannelSpec {
        server: Some(server.address()),
        security: Some(security),
        ca_file: (security != Security::None).then(|| server.ca_file()),
        from: Some("Trailwarden <alerts@example.org>".to_owned()),
        to: to.iter().map(|address| (*address).to_owned()).collect(),
        ..ChannelSpec::new("mail", ChannelKind::Email)
    }
}

/// The headers of a mail, unfolded, and its text.
fn read(mail: &str) -> (Vec<String>, String) {
    let mail = mail.replace("\r\n", "\n");
    let (head, body) = mail.split_once("\n\n").unwrap();
    let headers = head.replace("\n ", " ").replace("\n\t", " ").lines().map(str::to_owned).collect::<Vec<_>>();
    let coding = headers.iter().find_map(|header| header.strip_prefix("Content-Transfer-Encoding: ")).unwrap_or("7bit");
    let text = match coding {
        "base64" => String::from_utf8(STANDARD.decode(body.replace('\n', "")).unwrap()).unwrap(),
        "quoted-printable" => unquoted(&body.replace("=\n", "")),
        _ => body.to_owned(),
    };
    (headers, text.replace("\r\n", "\n"))
}

/// Quoted-printable: `=` and two digits for a byte.
fn unquoted(text: &str) -> String {
    let mut parts = text.split('=');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn mail_goes_out_in_the_clear_to_this_machine_and_encrypted_and_known_to_all_others() {
    for (mode, security) in [("none", Security::None), ("starttls", Security::Starttls), ("tls", Security::Tls)] {
        let server = Smtp::start(mode, Some(("trailwarden", "correct horse")));
        let spec = ChannelSpec {
            user: Some("trailwarden".to_owned()),
            password_variable: Some("PASSWORD".to_owned()),
            ..mail(&server, security, &["oncall@example.org", "team@example.org"])
        };
        tell(&*opened(&spec).unwrap(), &message("ada"), Language::English).await.unwrap();
        let taken: Value = serde_json::from_str(&server.mail(1)).unwrap();
        assert_eq!(taken["from"], "alerts@example.org");
        assert_eq!(taken["to"], serde_json::json!(["oncall@example.org", "team@example.org"]));
        assert_eq!((&taken["is_known"], &taken["is_encrypted"]), (&Value::Bool(true), &Value::Bool(mode != "none")));
        let (headers, text) = read(taken["mail"].as_str().unwrap());
        for header in [
            "Subject: [CRITICAL] malicious activity by ada in 111122223333",
            "Message-ID: <00112233445566778899aabbccddeeff@example.org>",
            "References: <case-10703b6e@example.org>",
            "Auto-Submitted: auto-generated",
            "Date: Sun, 22 Mar 2026 12:10:03 +0000",
        ] {
            assert!(headers.iter().any(|found| found == header), "{header}: {headers:#?}");
        }
        assert!(text.contains("Look at the case: https://console.example/cases/10703b6e"), "{text}");
        assert!(text.contains("3 more of this kind were held back"), "{text}");

        let wrong = ChannelSpec { password_variable: Some("WRONG".to_owned()), ..spec.clone() };
        let error = tell(&*opened(&wrong).unwrap(), &message("ada"), Language::English).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }) && !error.to_string().contains("horse"), "{error}");
        // A server that asks for encryption or a login is not talked to without.
        let stranger = ChannelSpec { user: None, password_variable: None, ..spec.clone() };
        assert!(tell(&*opened(&stranger).unwrap(), &message("ada"), Language::English).await.is_err());
        if mode != "none" {
            let unbelieved = ChannelSpec { ca_file: None, ..spec };
            let error = tell(&*opened(&unbelieved).unwrap(), &message("ada"), Language::English).await.unwrap_err();
            assert!(matches!(error, Error::Failed { .. }), "{error}");
        }
        assert_eq!(server.taken(), 1);
    }
}

#[tokio::test]
async fn mail_in_korean_with_hostile_names_is_one_mail_to_whom_it_is_meant_for() {
    let server = Smtp::start("none", None);
    let channel = opened(&mail(&server, Security::None, &["oncall@example.org"])).unwrap();
    tell(&*channel, &message(EVIL), Language::Korean).await.unwrap();
    let taken: Value = serde_json::from_str(&server.mail(1)).unwrap();
    assert_eq!(taken["to"], serde_json::json!(["oncall@example.org"]));
    let (headers, text) = read(taken["mail"].as_str().unwrap());
    assert!(!headers.iter().any(|header| header.starts_with("Bcc")), "{headers:#?}");
    assert!(headers.iter().any(|header| header.starts_with("Subject: =?utf-8?b?")), "{headers:#?}");
    assert!(text.contains("공격일 확률") && text.contains("심각도: 긴급"), "{text}");
    assert!(text.contains("\\u{d}\\u{a}Bcc") && !text.contains("https://evil"), "{text}");
}

#[tokio::test]
async fn a_mail_server_says_whether_trying_again_helps() {
    let server = Smtp::start("none", None);
    for (address, is_final) in [("unknown@example.org", true), ("busy@example.org", false)] {
        let channel = opened(&mail(&server, Security::None, &[address])).unwrap();
        let error = tell(&*channel, &message("ada"), Language::English).await.unwrap_err();
        assert_eq!(matches!(error, Error::Refused { .. }), is_final, "{error}");
    }
    let nobody =
        ChannelSpec { server: Some("127.0.0.1:1".to_owned()), ..mail(&server, Security::None, &["a@example.org"]) };
    let error = tell(&*opened(&nobody).unwrap(), &message("ada"), Language::English).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
    for (spec, word) in [
        (
            ChannelSpec {
                server: Some("mail.example:25".to_owned()),
                ..mail(&server, Security::None, &["a@example.org"])
            },
            "this machine",
        ),
        (
            ChannelSpec { server: Some("mail.example".to_owned()), ..mail(&server, Security::Tls, &["a@example.org"]) },
            "host:port",
        ),
        (mail(&server, Security::None, &["a\r\nBcc: b@example.org"]), "no address"),
        (
            ChannelSpec {
                ca_file: Some(PathBuf::from("/nowhere")),
                ..mail(&server, Security::Tls, &["a@example.org"])
            },
            "TLS",
        ),
    ] {
        let error = opened(&spec).err().unwrap();
        assert!(error.contains(word) && error.contains("`mail`"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_messages_go_through_sns() {
    let moto = Moto::start();
    let topic = moto.query("sns", "Action=CreateTopic&Version=2010-03-31&Name=alerts");
    assert!(topic.contains("arn:aws:sns:us-east-1:123456789012:alerts"));
    moto.query("sqs", "Action=CreateQueue&Version=2012-11-05&QueueName=phone");
    moto.query(
        "sns",
        "Action=Subscribe&Version=2010-03-31&TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A123456789012%3Aalerts&Protocol=sqs&Endpoint=arn%3Aaws%3Asqs%3Aus-east-1%3A123456789012%3Aphone",
    );
    let spec = |to: &str| ChannelSpec {
        region: Some("us-east-1".to_owned()),
        url: Some(moto.url()),
        to: vec![to.to_owned()],
        ..ChannelSpec::new("phone", ChannelKind::Sns)
    };
    let channel = opened(&spec("arn:aws:sns:us-east-1:123456789012:alerts")).unwrap();
    tell(&*channel, &message("ada & bob + 50 % = \u{d55c}"), Language::Korean).await.unwrap();
    let received = moto.query("sqs", "Action=ReceiveMessage&Version=2012-11-05&QueueUrl=phone");
    let body = received.split("<Body>").nth(1).and_then(|rest| rest.split("</Body>").next()).unwrap();
    let body: Value = serde_json::from_str(&body.replace("&quot;", "\"").replace("&amp;", "&")).unwrap();
    let text = body["Message"].as_str().unwrap();
    assert!(text.starts_with("[긴급] 악성 활동: ada & bob + 50 % = 한 (계정 111122223333)"), "{text}");
    assert!(text.ends_with(" https://console.example/cases/10703b6e") && text.chars().count() <= 400, "{text}");

    tell(&*opened(&spec("+821012345678")).unwrap(), &message("ada"), Language::English).await.unwrap();
    let error = opened(&spec("arn:aws:sns:us-east-1:123456789012:gone")).unwrap();
    let error = tell(&*error, &message("ada"), Language::English).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    for (spec, word) in [
        (spec("010-1234"), "+821012345678"),
        (ChannelSpec { region: Some("evil.example/".to_owned()), ..spec("+821012345678") }, "region"),
        (ChannelSpec { key_id_variable: Some("NOT_SET".to_owned()), ..spec("+821012345678") }, "NOT_SET"),
    ] {
        let error = opened(&spec).err().unwrap();
        assert!(error.contains(word), "{error}");
    }
}

#[tokio::test]
async fn slack_shows_what_it_is_told_and_obeys_none_of_it() {
    let receiver = Receiver::start(vec![Mood::Takes]).await;
    let spec = ChannelSpec { url_variable: Some("HOOK".to_owned()), ..ChannelSpec::new("team", ChannelKind::Slack) };
    let hook = format!("{}/services/T0/B0/hidden-part", receiver.url);
    let channel = opened_on(Arc::new(Memory::default()), &spec, &[("HOOK", &hook)]).unwrap();
    tell(&*channel, &message(EVIL), Language::English).await.unwrap();
    let asked = receiver.asked(1).await;
    assert_eq!(asked[0].path, "/services/T0/B0/hidden-part");
    let body: Value = serde_json::from_slice(&asked[0].body).unwrap();
    let blocks = body["blocks"].as_array().unwrap();
    assert_eq!(blocks[0]["type"], "header");
    assert!(blocks[0]["text"]["text"].as_str().unwrap().chars().count() <= 150);
    let mut markup = Vec::new();
    let mut texts = vec![body["text"].clone()];
    for block in blocks {
        let fields = block["fields"].as_array().cloned().unwrap_or_default();
        for text in fields.iter().chain(block.get("text")) {
            if text["type"] == "mrkdwn" { &mut markup } else { &mut texts }.push(text["text"].clone());
        }
    }
    // The one text with markup is the link that we made.
    assert_eq!(markup, ["<https://console.example/cases/10703b6e|Look at the case>"]);
    for text in texts.iter().map(|text| text.as_str().unwrap()) {
        assert!(!text.contains(['<', '>', '\r']) && !text.contains("://"), "{text}");
        assert!(!text.replace("&lt;", "").replace("&gt;", "").replace("&amp;", "").contains('&'), "{text}");
    }
    let http = "http://hooks.example/services/x";
    let error = opened_on(Arc::new(Memory::default()), &spec, &[("HOOK", http)]).err().unwrap();
    assert!(error.contains("http") && !error.contains("services/x"), "{error}");
}

#[tokio::test]
async fn pagerduty_gets_one_incident_a_case_and_resolves_what_is_over() {
    let receiver = Receiver::start(vec![Mood::Takes, Mood::Takes, Mood::Takes]).await;
    let spec = ChannelSpec {
        url: Some(format!("{}/v2/enqueue", receiver.url)),
        secret_variable: Some("SECRET".to_owned()),
        ..ChannelSpec::new("pager", ChannelKind::PagerDuty)
    };
    let channel = opened(&spec).unwrap();
    tell(&*channel, &message(EVIL), Language::English).await.unwrap();
    let lag = |ended| {
        let alert = Alert { ended, ..Alert::new("x", Kind::Lag, Severity::Medium, now(), "scorer@node-1") };
        Message { alert, ..message("ada") }
    };
    tell(&*channel, &lag(false), Language::English).await.unwrap();
    tell(&*channel, &lag(true), Language::English).await.unwrap();
    let asked = receiver.asked(3).await;
    let bodies: Vec<Value> = asked.iter().map(|asked| serde_json::from_slice(&asked.body).unwrap()).collect();
    let case = &bodies[0];
    assert_eq!((&case["routing_key"], &case["event_action"]), (&Value::from(KEY), &Value::from("trigger")));
    assert_eq!(case["dedup_key"], "default:case:10703b6e");
    assert_eq!(case["payload"]["severity"], "critical");
    assert_eq!(case["payload"]["source"], "111122223333");
    assert_eq!(case["payload"]["custom_details"]["count"], 4);
    assert_eq!(case["links"][0]["href"], "https://console.example/cases/10703b6e");
    let steps = [&bodies[1], &bodies[2]].map(|body| (body["dedup_key"].clone(), body["event_action"].clone()));
    assert_eq!(
        steps,
        [
            ("default:lag::scorer@node-1".into(), "trigger".into()),
            ("default:lag::scorer@node-1".into(), "resolve".into())
        ]
    );
    assert_eq!(bodies[1]["payload"]["severity"], "warning");
}

#[tokio::test]
async fn webhooks_are_cloudevents_that_nobody_else_can_sign() {
    let receiver = Receiver::start(vec![Mood::Takes]).await;
    let spec = ChannelSpec {
        url: Some(format!("{}/events", receiver.url)),
        secret_variable: Some("SECRET".to_owned()),
        ..ChannelSpec::new("hook", ChannelKind::Webhook)
    };
    tell(&*opened(&spec).unwrap(), &message(EVIL), Language::English).await.unwrap();
    let asked = receiver.asked(1).await.remove(0);
    assert_eq!(asked.header("content-type"), "application/cloudevents+json");
    let event: Value = serde_json::from_slice(&asked.body).unwrap();
    for (attribute, expected) in [
        ("specversion", "1.0"),
        ("id", "00112233445566778899aabbccddeeff"),
        ("source", "/trailwarden/default"),
        ("type", "dev.trailwarden.alert.case"),
        ("subject", "10703b6e"),
        ("time", "2026-03-22T12:10:03Z"),
        ("datacontenttype", "application/json"),
    ] {
        assert_eq!(event[attribute], expected, "{attribute}");
    }
    assert_eq!(event["data"]["severity"], "critical");
    assert_eq!(event["data"]["steps"][0]["state"]["waits"]["approvers"], 1);

    // As a receiver looks at it.
    let (id, at) = (asked.header("webhook-id"), asked.header("webhook-timestamp"));
    assert_eq!((id, at), ("00112233445566778899aabbccddeeff", "1774181403"));
    let signed = asked.header("webhook-signature");
    assert_eq!(signed, signature(KEY.as_bytes(), id, at, &asked.body));
    let mut changed = asked.body.clone();
    changed[10] ^= 1;
    for forged in [
        signature(b"another secret, long enough", id, at, &asked.body),
        signature(KEY.as_bytes(), "another", at, &asked.body),
        signature(KEY.as_bytes(), id, "1774181404", &asked.body),
        signature(KEY.as_bytes(), id, at, &changed),
    ] {
        assert_ne!(signed, forged);
    }
    let open = |secret: &str| {
        opened_on(
            Arc::new(Memory::default()),
            &ChannelSpec { secret_variable: Some("OWN".to_owned()), ..spec.clone() },
            &[("OWN", secret)],
        )
    };
    assert!(open("short").is_err() && open("whsec_not base64").is_err());
    assert!(open(&format!("whsec_{}", STANDARD.encode([7; 24]))).is_ok());
}

#[tokio::test]
async fn a_gateway_is_given_a_key_and_what_fails_says_whether_to_try_again() {
    let moods = vec![
        Mood::Takes,
        Mood::Says(429, "Retry-After: 7\r\n"),
        Mood::Says(503, ""),
        Mood::Says(400, ""),
        Mood::Says(302, "Location: http://127.0.0.1:1/\r\n"),
        Mood::Garbage,
        Mood::Endless,
        Mood::HangsUp,
    ];
    let receiver = Receiver::start(moods).await;
    let spec = ChannelSpec {
        url: Some(format!("{}/send", receiver.url)),
        to: vec!["+821012345678".to_owned()],
        token_variable: Some("SECRET".to_owned()),
        ..ChannelSpec::new("gateway", ChannelKind::SmsGateway)
    };
    let channel = opened(&spec).unwrap();
    let failed = |retry_s: Option<u64>| (false, retry_s.map(Duration::from_secs));
    for expected in [
        None,
        Some(failed(Some(7))),
        Some(failed(None)),
        Some((true, None)),
        Some((true, None)),
        Some(failed(None)),
        // What is said without end was said after it was taken.
        None,
        Some(failed(None)),
    ] {
        let outcome = tell(&*channel, &message("ada"), Language::English).await;
        let found = outcome.as_ref().err().map(|error| {
            assert!(!error.to_string().contains(KEY), "{error}");
            match error {
                Error::Failed { retry_after, .. } => (false, *retry_after),
                _ => (true, None),
            }
        });
        assert_eq!(found, expected, "{outcome:?}");
    }
    let asked = receiver.asked(8).await;
    assert_eq!(asked[0].header("authorization"), format!("Bearer {KEY}"));
    // The same however often it is tried.
    assert!(asked.iter().all(|asked| asked.header("idempotency-key") == "00112233445566778899aabbccddeeff"));
    let body: Value = serde_json::from_slice(&asked[0].body).unwrap();
    assert_eq!(body["to"], "+821012345678");
    assert!(body["text"].as_str().unwrap().starts_with("[CRITICAL] malicious activity by ada"));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_says_nothing_is_left_after_a_while() {
    let receiver = Receiver::start(vec![Mood::Silent]).await;
    let spec = ChannelSpec {
        url: Some(receiver.url.clone()),
        to: vec!["+821012345678".to_owned()],
        ..ChannelSpec::new("gateway", ChannelKind::SmsGateway)
    };
    let error = tell(&*opened(&spec).unwrap(), &message("ada"), Language::English).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
}

#[tokio::test]
async fn the_feed_and_the_file_hold_what_was_told() {
    let bus = Arc::new(Memory::default());
    bus.set_up(&Layout::in_memory("default", 1)).await.unwrap();
    let feed = opened_on(bus.clone(), &ChannelSpec::new("feed", ChannelKind::Feed), &[]).unwrap();
    for _ in 0..2 {
        tell(&*feed, &message(EVIL), Language::English).await.unwrap();
    }
    let told = bus.read(&Subject::told("default"), 0, 9).await.unwrap();
    assert_eq!(told.len(), 1, "the same message is stored once");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.jsonl");
    let spec = ChannelSpec { path: Some(path.clone()), ..ChannelSpec::new("file", ChannelKind::Log) };
    let file = opened(&spec).unwrap();
    tell(&*file, &message(EVIL), Language::English).await.unwrap();
    tell(&*file, &message("ada"), Language::English).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test reads its own files")]
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], serde_json::from_slice::<Value>(&told[0].payload).unwrap());
    assert_eq!(lines[1]["subject"], "[CRITICAL] malicious activity by ada in 111122223333");
    let lost = ChannelSpec { path: Some(folder.path().join("no/such/folder.jsonl")), ..spec };
    let error = tell(&*opened(&lost).unwrap(), &message("ada"), Language::English).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
}
