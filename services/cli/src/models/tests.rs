use std::io::{Read, Write};

use trailwarden_core::level::Severity;
use trailwarden_core::negotiation::Role;
use trailwarden_core::time::Timestamp;

use super::*;

/// Of a file that is no model.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn made(own: &Council) -> Result<Option<Panel>, String> {
    let environment = ["KEY", "ID", "SECRET", "TOKEN"].map(|name| (name.into(), format!(" {name}-value ").into()));
    let environment = [&environment[..], &[("EMPTY".into(), "".into())]].concat();
    let clock: Clock = Arc::new(|| Timestamp::from_millis(0));
    let surroundings = Surroundings { tenant: "default", environment: &environment, clock: &clock, bus: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(panel(own, surroundings)).map_err(|error| error.to_string())
}

#[track_caller]
fn says(own: Council, word: &str) {
    let said = made(&own).expect_err("something is wrong");
    assert!(said.contains(word), "{said}");
}

fn whole(provider: Provider) -> Council {
    Council {
        provider: Some(provider),
        model: Some("m".into()),
        key_variable: Some("KEY".into()),
        region: Some("eu-west-1".into()),
        roles: [Role::Judge].into(),
        ..Council::default()
    }
}

#[test]
fn every_provider_is_asked_with_what_it_needs_and_says_what_is_missing() {
    assert!(made(&Council::default()).expect("nothing is wrong with none").is_none());
    for provider in [Provider::OpenAi, Provider::Ollama, Provider::Anthropic, Provider::Bedrock, Provider::Gemini] {
        let whole = whole(provider);
        let panel = made(&whole).expect("all is there").expect("a panel");
        assert!(panel.is_asked(Severity::Medium) && !panel.is_asked(Severity::Low));
        assert!(panel.prompt_digest(Role::Judge).is_some() && panel.prompt_digest(Role::Sceptic).is_none());
        says(Council { model: None, ..whole.clone() }, "council.model");
        says(Council { key_variable: Some("EMPTY".into()), ..whole.clone() }, "EMPTY");
        says(Council { url: Some("http://models.example".into()), ..whole.clone() }, "http");
        let keyless = made(&Council { key_variable: None, ..whole.clone() });
        match provider {
            Provider::OpenAi | Provider::Ollama => assert!(keyless.is_ok()),
            _ => assert!(keyless.expect_err("a key is missing").contains("council.key_variable")),
        }
        if provider == Provider::Bedrock {
            says(Council { region: None, ..whole.clone() }, "council.region");
        }
    }
}

#[test]
fn ollama_is_asked_on_this_machine_and_held_to_a_schema() {
    let (way, base) = way(&Council::default(), Provider::Ollama, "m", &[]).expect("nothing is needed");
    assert!(matches!(way, Way::OpenAi { key: None, output: Held::Schema }), "{way:?}");
    assert_eq!(base, "http://127.0.0.1:11434");
}

#[test]
fn bedrock_is_asked_with_a_key_of_its_own_or_a_signature() {
    let signing = Council {
        key_variable: None,
        access_key_variable: Some("ID".into()),
        secret_key_variable: Some("SECRET".into()),
        ..whole(Provider::Bedrock)
    };
    assert!(made(&signing).expect("all is there").is_some());
    let environment = ["ID", "SECRET", "TOKEN"].map(|name| (name.into(), format!("{name}-value\n").into()));
    let with_token = Council { session_token_variable: Some("TOKEN".into()), ..signing.clone() };
    for (own, token) in [(&signing, None), (&with_token, Some(Secret::new("TOKEN-value")))] {
        let credentials = signed(own, &environment).expect("all is there");
        assert_eq!(credentials.access_key_id, "ID-value");
        assert_eq!((credentials.secret_access_key, credentials.session_token), (Secret::new("SECRET-value"), token));
    }
    says(Council { secret_key_variable: None, ..signing.clone() }, "council.secret_key_variable");
    says(Council { secret_key_variable: Some("EMPTY".into()), ..signing.clone() }, "council.secret_key_variable");
    says(Council { session_token_variable: Some("NONE".into()), ..signing }, "NONE");
}

#[test]
fn prices_come_both_or_not_at_all_and_money_needs_them() {
    let priced = |read, written, a_day| Council {
        price_input: read,
        price_output: written,
        dollars_a_day: a_day,
        ..whole(Provider::OpenAi)
    };
    assert!(made(&priced(Some(0.15), Some(3.0), Some(20.0))).is_ok());
    says(priced(Some(1.0), None, None), "council.price_output");
    says(priced(None, Some(1.0), None), "council.price_input");
    says(priced(None, None, Some(1.0)), "council.price_input");
    let price = price(&priced(Some(0.15), Some(3.0), None)).expect("both").expect("a price");
    assert_eq!((price.input_micro_dollars_a_million, price.output_micro_dollars_a_million), (150_000, 3_000_000));
}

#[test]
fn a_local_model_is_the_pinned_file_or_none() {
    let local = |place: &str, sha256: Option<&str>| Council {
        local_model: Some(place.to_owned()),
        local_sha256: sha256.map(str::to_owned),
        ..Council::default()
    };
    says(local("x.gguf", None), "council.local_sha256");
    says(local("/nowhere/x.gguf", Some(ABC)), "cannot be read");
    says(local("http://models.example/x.gguf", Some(ABC)), "https");
    let mut file = tempfile::NamedTempFile::new().expect("room");
    file.write_all(b"abd").expect("room");
    let path = file.path().to_str().expect("plain").to_owned();
    says(local(&path, Some(ABC)), "another one was pinned");

    let real = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/models/smollm2-135m-instruct-q4_1.gguf");
    if !std::path::Path::new(real).is_file() {
        eprintln!("did not run whole: there is no model; ./tests/install_model.sh fetches it");
        return;
    }
    let sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
    let panel = made(&local(real, Some(sha256))).expect("the pinned file").expect("a panel");
    assert!(format!("{panel:?}").contains("local:smollm2-135m-instruct-q4_1@b179c952"), "{panel:?}");
}

#[test]
fn a_model_that_cannot_be_fetched_yet_is_tried_again_and_another_one_is_not() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/small.gguf", listener.local_addr().expect("bound"));
    let serving = std::thread::spawn(move || {
        for (status, body) in [("503 away", ""), ("404 gone", ""), ("200 OK", "abc")] {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let _ = stream.read(&mut [0; 2_048]);
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).expect("somebody listens");
        }
    });
    let folder = tempfile::tempdir().expect("room");
    let distant = Distant { url, sha256: ABC.to_owned(), bytes_max: 10, folder: folder.path().to_owned() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let brought = runtime.block_on(brought(&distant, ABC.to_owned(), Duration::from_millis(1)));
    // It is the pinned file, and no model.
    assert_eq!(brought.map(|_| ()).expect_err("no model").kind(), Kind::Local);
    serving.join().expect("asked three times");
    assert!(folder.path().join(format!("{ABC}.gguf")).is_file());
}
