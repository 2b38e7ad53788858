//! Generated logs are what they claim to be: exact, repeatable, readable, and true to their labels.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use trailwarden_collector::{Input, Limits, Observe, Options, collect};
use trailwarden_core::activity::{Activity, Observation};
use trailwarden_core::record::RecordView;
use trailwarden_core::time::Timestamp;
use trailwarden_lab::generate::{Setting, Settings, Summary, generate};

fn settings(seed: u64) -> Settings {
    let mut settings = Settings::new(30_000, seed);
    settings.accounts = 4;
    settings.days = 14;
    settings
}

fn made(settings: &Settings) -> (tempfile::TempDir, Summary) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let summary = generate(settings, folder.path()).expect("valid settings");
    (folder, summary)
}

/// Path below the folder and content of every file.
#[expect(clippy::disallowed_methods, reason = "files of our own making")]
fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = std::fs::read(&path).expect("a file");
                files.insert(path.strip_prefix(folder).expect("below").to_owned(), content);
            }
        }
    }
    files
}

fn truth(folder: &Path) -> Vec<serde_json::Value> {
    let content = bytes(folder).remove(Path::new("truth.jsonl")).expect("a truth");
    let text = String::from_utf8(content).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Counts what every record of AWS has and a record lacks.
struct Complete;

impl Observe for Complete {
    fn observe<'a>(&self, view: &RecordView<'a>, activity: Activity<'a>) -> Observation<'a> {
        for name in [
            "eventVersion",
            "userIdentity.type",
            "eventTime",
            "eventSource",
            "eventName",
            "awsRegion",
            "sourceIPAddress",
            "userAgent",
            "requestID",
            "eventID",
            "readOnly",
            "eventType",
            "managementEvent",
            "recipientAccountId",
            "eventCategory",
        ] {
            assert!(view.value(name).is_some(), "{name} is missing in {}", view.raw());
        }
        for name in ["requestParameters", "responseElements"] {
            assert!(view.raw().contains(&format!("\"{name}\":")), "{name} is missing in {}", view.raw());
        }
        let kind = view.text("userIdentity.type").unwrap_or_default();
        match kind {
            "AssumedRole" => {
                for name in ["sessionIssuer.arn", "attributes.creationDate", "attributes.mfaAuthenticated"] {
                    let path = format!("userIdentity.sessionContext.{name}");
                    assert!(view.value(&path).is_some(), "{path} is missing in {}", view.raw());
                }
                assert!(view.text("userIdentity.accessKeyId").is_some_and(|key| key.starts_with("ASIA")));
            }
            "IAMUser" => assert!(view.value("userIdentity.userName").is_some()),
            "AWSService" => assert!(view.value("userIdentity.invokedBy").is_some()),
            "Root" | "AWSAccount" | "SAMLUser" | "WebIdentityUser" | "FederatedUser" => {}
            other => panic!("{other}: {}", view.raw()),
        }
        Observation { activity, links: Vec::new(), matches: Vec::new(), details: None }
    }
}

#[test]
fn the_same_settings_give_the_same_bytes() {
    let (first, _) = made(&settings(3));
    let (second, _) = made(&settings(3));
    let (other, _) = made(&settings(4));
    let first = bytes(first.path());
    assert!(first == bytes(second.path()));
    let other = bytes(other.path());
    let in_common = first.keys().filter(|path| other.contains_key(*path)).count();
    assert_eq!(in_common, 1, "only the truth's name is in both");
}

#[test]
fn exact_readable_and_true() {
    for setting in [Setting::Hard, Setting::Plain] {
        let mut settings = settings(11);
        settings.setting = setting;
        let (folder, summary) = made(&settings);
        assert_eq!(summary.events, settings.events);
        let wanted = settings.events as f64 * settings.attack_share;
        assert!((summary.attack_events as f64 / wanted - 1.0).abs() < 0.01, "{} of {wanted}", summary.attack_events);

        let input = Input::Path(folder.path().join("AWSLogs"));
        let options = Options {
            limits: Limits::default(),
            threads: NonZeroUsize::new(2).expect("positive"),
            now: Timestamp::parse("2030-01-01T00:00:00Z").expect("valid"),
        };
        let mut ids = BTreeSet::new();
        let read = collect(&[input], &options, &Complete, &|_| {})
            .and_then(|collected| {
                collected.in_order(|one| {
                    ids.insert(one.activity.event_id.to_owned());
                })
            })
            .expect("temporary files work");
        assert_eq!((read.rejections(), read.duplicates), (0, 0), "{:?}", read.problems);
        assert!(read.set_aside.is_empty());
        assert_eq!((read.events, read.files), (settings.events, summary.files));

        let truth = truth(folder.path());
        assert_eq!(truth.len() as u64, summary.attack_events);
        let mut by_campaign: BTreeMap<&str, u64> = BTreeMap::new();
        for line in &truth {
            assert!(ids.contains(line["event_id"].as_str().expect("an id")));
            assert!(line["technique"].as_str().is_some_and(|technique| technique.starts_with('T')));
            *by_campaign.entry(line["campaign"].as_str().expect("a name")).or_default() += 1;
        }
        let told: BTreeMap<&str, u64> = summary.incidents.iter().map(|one| (one.name.as_str(), one.events)).collect();
        assert_eq!(by_campaign, told);
        let warm_up = 14 * 86_400_000 * 4 / 10;
        let start_ms = trailwarden_lab::generate::world::START_MS;
        assert!(summary.incidents.iter().all(|one| one.first_ms - start_ms >= warm_up - 86_400_000));
    }
}

#[test]
fn only_the_families_asked_for() {
    let mut settings = settings(5);
    let (_folder, all) = made(&settings);
    let families: BTreeSet<&str> = all.incidents.iter().map(|one| one.family).collect();
    assert!(families.len() > 3, "{families:?}");
    settings.families = families.iter().take(2).map(|family| (*family).to_owned()).collect();
    let (_folder, some) = made(&settings);
    let planted: BTreeSet<String> = some.incidents.iter().map(|one| one.family.to_owned()).collect();
    assert_eq!(planted, settings.families.iter().cloned().collect());
    settings.families = vec!["no-such-family".to_owned()];
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(generate(&settings, folder.path()).is_err());
}

#[test]
fn a_folder_in_use_is_refused() {
    let (folder, _) = made(&settings(6));
    assert!(generate(&settings(6), folder.path()).is_err());
}

#[test]
fn the_digest_is_the_generators_own() {
    let digest = trailwarden_lab::generate::digest();
    assert_eq!(digest.len(), 64);
    assert_eq!(digest, trailwarden_lab::generate::digest());
}

#[test]
fn few_attacks_are_counted_as_exactly_as_many() {
    for (events, share, wanted) in [(60_000, 0.0005, 30), (2_000, 0.02, 40), (9_000, 0.0, 0)] {
        let mut settings = settings(events);
        (settings.events, settings.attack_share) = (events, share);
        let (_folder, summary) = made(&settings);
        assert_eq!((summary.events, summary.attack_events), (events, wanted));
    }
}
