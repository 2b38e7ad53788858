use std::path::Path;

use trailwarden_notify::config::{ChannelKind, ChannelSpec, RouteSpec};
use trailwarden_notify::route::About;

use super::schema::KEYS;
use super::*;

fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Config, Error> {
    let environment = environment.iter().map(|(name, text)| (name.into(), text.into()));
    Config::from_layers(Some((Path::new("mine.toml"), toml)), environment)
}

fn everything_set() -> Config {
    Config {
        scan: Scan { threads: 2, memory_mib_max: 768 },
        detections: Detections {
            rules: vec!["rules/a \"b\".yml".into(), "more".into()],
            disable: ["noisy".to_owned()].into(),
        },
        organisation: Organisation {
            accounts: ["111122223333".to_owned(), "444455556666".to_owned()].into(),
            automation: ["arn:aws:iam::111122223333:role/ci".to_owned()].into(),
            administrators: ["arn:aws-cn:iam::111122223333:user/köpfe/ada".to_owned()].into(),
            protected: ["arn:aws:iam::111122223333:user/break-glass".to_owned()].into(),
        },
        model: Model { bundle: Some("my.bundle".into()), ..Model::default() },
        routing: Routing {
            close_below: Some(0.125),
            automatic_above: Some(1.0),
            calibration: Some("calibration.json".into()),
            automatic_without_models: true,
        },
        bus: Bus { url: Some("nats://127.0.0.1:4222".into()), replicas: 3, ..Bus::default() },
        windows: Windows { url: Some("redis://127.0.0.1".into()), cluster: true },
        council: Council {
            provider: Some(Provider::OpenAi),
            url: Some("http://127.0.0.1:8000".into()),
            model: Some("large".into()),
            key_variable: Some("KEY".into()),
            access_key_variable: Some("AWS_ACCESS_KEY_ID".into()),
            secret_key_variable: Some("AWS_SECRET_ACCESS_KEY".into()),
            session_token_variable: Some("AWS_SESSION_TOKEN".into()),
            region: Some("eu-west-1".into()),
            price_input: Some(0.15),
            price_output: Some(3.0),
            dollars_a_day: Some(20.0),
            local_model: Some("models/small.gguf".into()),
            local_sha256: Some("0123456789abcdef".repeat(4)),
            roles: [Role::Sceptic, Role::Judge].into(),
            ..Council::default()
        },
        notify: Notify {
            case_url: Some("https://console.example/{id}".into()),
            channels: vec![
                ChannelSpec {
                    quiet_hours: Some("22:00-07:00".into()),
                    path: Some("a \"b\".jsonl".into()),
                    mib_max: Some(3),
                    ..ChannelSpec::new("file", ChannelKind::Log)
                },
                ChannelSpec::new("dashboard", ChannelKind::Feed),
            ],
            routes: vec![RouteSpec {
                accounts: ["111122223333".to_owned()].into(),
                from: Severity::High,
                about: [About::Case, About::Anomaly].into(),
                channels: vec!["file".into()],
            }],
            ..Notify::default()
        },
        executor: Executor {
            mode: ExecutorMode::Approval,
            approvers: Some("approvers.jsonl".into()),
            key: Some("executor.key".into()),
            trails: Some("trails.jsonl".into()),
            external_id_variable: Some("EXTERNAL_ID".into()),
            partition: Partition::AwsCn,
            management_account: Some("111122223333".into()),
            ..Executor::default()
        },
        response: Response { evidence: Some("evidence".into()) },
        telemetry: Telemetry { otlp: Some("http://127.0.0.1:4317".into()), ..Telemetry::default() },
        ..Config::default()
    }
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    assert_eq!(load("", &[]).unwrap(), Config::default());
    assert_eq!(Config::default().to_toml(), DEFAULT_TOML);
}

#[test]
fn the_schema_names_exactly_the_keys_of_the_types_and_of_the_default_file() {
    let keys = |table: &Table| -> BTreeSet<String> {
        table
            .iter()
            .flat_map(|(section, values)| {
                let names = values.as_table().unwrap().keys();
                names.map(move |name| format!("{section}.{name}"))
            })
            .collect()
    };
    let schema: BTreeSet<String> = KEYS.iter().map(|key| format!("{}.{}", key.section, key.name)).collect();
    assert_eq!(keys(&table_of(&everything_set())), schema);
    let absent = [
        "evidence",
        "close_below",
        "automatic_above",
        "calibration",
        "bundle",
        "url",
        "otlp",
        "provider",
        "model",
        "key_variable",
        "access_key_variable",
        "secret_key_variable",
        "session_token_variable",
        "region",
        "price_input",
        "price_output",
        "dollars_a_day",
        "local_model",
        "local_sha256",
        "case_url",
        "approvers",
        "key",
        "trails",
        "external_id_variable",
        "management_account",
    ];
    let uncommented = absent
        .iter()
        .fold(DEFAULT_TOML.to_owned(), |text, key| text.replace(&format!("# {key} ="), &format!("{key} =")));
    assert_eq!(keys(&uncommented.parse().unwrap()), schema);
}

#[test]
fn what_is_printed_loads_again_as_the_same() {
    for config in [Config::default(), everything_set()] {
        let printed = config.to_toml();
        assert_eq!(load(&printed, &[]).unwrap(), config, "{printed}");
        assert_eq!(printed.lines().count(), DEFAULT_TOML.lines().count());
    }
}

#[test]
fn passwords_are_not_printed() {
    assert_eq!(everything_set().without_passwords(), None);
    let toml = "[bus]\nurl = 'nats://me:hunter2@a:4222'\n[windows]\nurl = 'redis://b:6379/0'";
    let open = load(toml, &[]).unwrap().without_passwords().expect("there is one").to_toml();
    let socket = load("[windows]\nurl = 'redis+unix:///run/redis.sock?pass=hunter2'", &[]).unwrap();
    assert!(!socket.without_passwords().expect("there is one").to_toml().contains("hunter2"));
    let model = "[council]\nlocal_model = 'https://hub.example/x.gguf?token=hunter2'";
    let model = load(model, &[]).unwrap().without_passwords().expect("there is one").to_toml();
    assert!(!model.contains("hunter2") && model.contains("hub.example"), "{model}");
    let path = load("[council]\nlocal_model = 'my@folder/x.gguf'", &[]).unwrap();
    assert_eq!(path.without_passwords(), None);
    assert!(!open.contains("hunter2") && open.contains("redis://b:6379/0") && open.contains("nats://a:4222"), "{open}");
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let toml = "[scan]\nthreads = 3\nmemory_mib_max = 256\n[detections]\ndisable = ['a']";
    let config = load(
        toml,
        &[
            ("TRAILWARDEN_SCAN__THREADS", " 2 "),
            ("TRAILWARDEN_DETECTIONS__DISABLE", "b, c,"),
            ("TRAILWARDEN_ROUTING__CLOSE_BELOW", "0.05"),
            ("PATH", "/bin"),
            ("TRAILWARDENS", "none of ours"),
        ],
    )
    .unwrap();
    assert_eq!((config.scan.threads, config.scan.memory_mib_max), (2, 256));
    assert_eq!(config.detections.disable, ["b".to_owned(), "c".to_owned()].into());
    assert_eq!(config.routing.close_below, Some(0.05));
    assert_eq!(config.cases, Cases::default());
}

#[test]
fn each_mistake_is_named_with_its_place_and_key() {
    for (toml, environment, expected) in [
        ("[scan]\nthread = 1", &[][..], "mine.toml: unknown key `scan.thread`; did you mean `scan.threads`?"),
        ("threads = 1", &[], "mine.toml: unknown key `threads`; did you mean `scan.threads`?"),
        ("[colector]\nnesting_max = 9", &[], "mine.toml: unknown key `colector`; did you mean `collector`?"),
        ("[cases]\nwarm_up_h = 1", &[], "mine.toml: unknown key `cases.warm_up_h`; did you mean `features.warm_up_h`?"),
        ("[zebra]\nx = 1", &[], "mine.toml: unknown key `zebra`"),
        ("scan = 4", &[], "mine.toml: `scan` wants to be a section, `[scan]`, not 4"),
        ("[scan]\nthreads = 'two'", &[], "mine.toml: `scan.threads` wants a whole number from 0 to 256, not \"two\""),
        ("[scan]\nthreads = -1", &[], "mine.toml: `scan.threads` wants a whole number from 0 to 256, not -1"),
        (
            "[routing]\nclose_below = 2.0",
            &[],
            "mine.toml: `routing.close_below` wants a probability from 0 to 1, not 2.0",
        ),
        (
            "[routing]\nclose_below = nan",
            &[],
            "mine.toml: `routing.close_below` wants a probability from 0 to 1, not nan",
        ),
        (
            "[council]\nprice_input = -1",
            &[],
            "mine.toml: `council.price_input` wants dollars, from 0 to 1000000, not -1",
        ),
        (
            "[council]\nlocal_sha256 = 'abc'",
            &[],
            "mine.toml: `council.local_sha256` wants a SHA-256: 64 hexadecimal digits, not \"abc\"",
        ),
        (
            "[organisation]\naccounts = [111122223333]",
            &[],
            "mine.toml: `organisation.accounts` wants a list of account ids, each 12 digits in quotes, not 111122223333",
        ),
        (
            "[organisation]\nprotected = ['ada']",
            &[],
            "mine.toml: `organisation.protected` wants a list of ARNs of users or roles, each in full: \
             `arn:aws:iam::111122223333:role/name`, not \"ada\"",
        ),
        (
            "[organisation]\nprotected = ['arn:aws:iam::111122223333:role/*']",
            &[],
            "mine.toml: `organisation.protected` wants a list of ARNs of users or roles, each in full: \
             `arn:aws:iam::111122223333:role/name`, not \"arn:aws:iam::111122223333:role/*\"",
        ),
        (
            "",
            &[("TRAILWARDEN_SCAN__THREADS", "many")],
            "environment variable TRAILWARDEN_SCAN__THREADS: `scan.threads` wants a whole number from 0 to 256, not \"many\"",
        ),
        (
            "",
            &[("TRAILWARDEN_SCAN_THREADS", "2")],
            "environment variable TRAILWARDEN_SCAN_THREADS: unknown key `scan_threads`; did you mean `scan.threads`?",
        ),
        (
            "[routing]\nclose_below = 0.9\nautomatic_above = 0.9",
            &[],
            "`routing.close_below` must be lower than `routing.automatic_above`, else a case is both closed and acted upon",
        ),
    ] {
        assert_eq!(load(toml, environment).unwrap_err().to_string(), expected, "{toml} {environment:?}");
    }
}

#[test]
fn channels_and_routes_come_from_tables_or_a_variable_and_are_checked_together() {
    let toml = "[[notify.channels]]\nname = 'dashboard'\nkind = 'feed'\n[[notify.routes]]\nfrom = 'high'\nchannels = ['dashboard']";
    let notify = load(toml, &[]).unwrap().notify;
    assert_eq!(notify.channels, [ChannelSpec::new("dashboard", ChannelKind::Feed)]);
    assert_eq!(notify.routes[0].from, Severity::High);
    let variable = ("TRAILWARDEN_NOTIFY__CHANNELS", "[{ name = 'team', kind = 'feed' }]");
    let error = load(toml, &[variable]).unwrap_err().to_string();
    assert_eq!(error, "a route of notify.routes: there is no channel \"dashboard\"");
    for (toml, words) in [
        ("[notify]\nchannels = ['mail']", "wants a list of tables"),
        ("[[notify.channels]]\nname = 'x'\nkind = 'log'\npaht = 'y'", "unknown field `paht`, expected one of"),
        ("[[notify.channels]]\nname = 'x'\nkind = 'pigeon'", "unknown variant `pigeon`, expected one of `email`"),
        ("[[notify.channels]]\nname = 'x'\nkind = 'log'", "the channel `x` of notify.channels: log needs `path`"),
        ("[[notify.routes]]\nchannel = ['x']", "unknown field `channel`"),
        ("[notify]\ntime_zone = 'Mars'", "notify.time_zone wants a time zone"),
        ("[notify]\nlanguage = 'kr'", "`notify.language` wants one of en, ko"),
    ] {
        let error = load(toml, &[]).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn all_mistakes_are_listed_and_long_values_are_cut() {
    let toml = format!("[scan]\nthread = 1\nthreads = '{}'\n[zebra]\nx = 1", "é".repeat(5_000));
    let message = load(&toml, &[("TRAILWARDEN_X", "")]).unwrap_err().to_string();
    assert_eq!(message.lines().count(), 4, "{message}");
    assert!(message.len() < 1_000, "{message}");
}

#[test]
fn files_that_are_none_are_named() {
    let folder = std::env::temp_dir();
    let refused = |path: &Path| Config::load(Some(path), []).unwrap_err();
    assert!(matches!(refused(&folder), Error::Unreadable { .. }));
    assert!(matches!(refused(Path::new("no/such.toml")), Error::Unreadable { .. }));
    assert!(matches!(load("[scan\nthreads", &[]).unwrap_err(), Error::Syntax { .. }));
}

#[test]
fn the_registry_is_what_the_operator_vouched_for() {
    let registry = everything_set().registry();
    assert!(registry.accounts.contains("444455556666"));
    assert!(registry.automation.contains("arn:aws:iam::111122223333:role/ci"));
    assert_eq!(registry.administrators.len() + registry.protected.len(), 2);
}
