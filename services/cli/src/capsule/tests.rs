//! Capsules of an authored incident and of a generated organisation: equal when nothing changed, and named when something
//! did, however hostile the file.
#![allow(clippy::disallowed_methods, reason = "reads files of the repository")]

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Value, json};
use trailwarden_collector::Input;
use trailwarden_core::level::{Severity, Verdict};
use trailwarden_core::time::HOUR_MS;
use trailwarden_council::panel::{Limits, Panel, ROLES, deliberate};
use trailwarden_lab::generate::{self, Settings};
use trailwarden_models::{Error as ModelError, Model, Question, Reply, Usage};

use super::*;
use crate::findings::Findings;
use crate::scan::Outputs;

/// Long after all that is read here.
const NOW: Timestamp = Timestamp::from_millis(2_000_000_000_000);

fn incident() -> [Input; 1] {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/incident/incident.jsonl");
    [Input::Path(path)]
}

fn scan(scanner: &Scanner, inputs: &[Input]) -> Findings {
    scanner.scan(inputs, NOW, &|_| {}, Outputs::default()).expect("a scan")
}

/// The capsules of all cases of these inputs, as files.
fn files(scanner: &Scanner, inputs: &[Input], now: Timestamp) -> Vec<Vec<u8>> {
    let cases = scan(scanner, inputs).cases;
    let wanted: Vec<Wanted> = cases.iter().map(|finding| Wanted::of(&finding.case).expect("small")).collect();
    let mut files = Vec::new();
    take(scanner, inputs, now, &wanted, |taken| files.push(taken.capsule.expect("equal when judged again")))
        .expect("room");
    assert_eq!(files.len(), cases.len());
    files
}

fn read(file: &[u8]) -> Capsule {
    Capsule::from_bytes(file).expect("a capsule").0
}

fn defaults() -> Scanner {
    Scanner::from_config(Config::default()).expect("defaults")
}

/// The incident's gravest case.
fn grave() -> Capsule {
    let files = files(&defaults(), &incident(), NOW);
    let capsules = files.iter().map(|file| read(file));
    capsules.max_by_key(|capsule| capsule.about.events).expect("a case")
}

/// A generated organisation, in a folder.
fn organisation(folder: &Path) -> [Input; 1] {
    let settings = Settings { accounts: 4, days: 21, ..Settings::new(24_000, 5) };
    generate::generate(&settings, folder).expect("an organisation");
    [Input::Path(folder.join("AWSLogs"))]
}

#[test]
fn capsules_replay_with_nothing_but_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let scanner = defaults();
    let mut learned = 0;
    for inputs in [&incident(), &organisation(folder.path())] {
        let (one, other) = (files(&scanner, inputs, NOW), files(&scanner, inputs, NOW.plus_ms(HOUR_MS)));
        assert!(one == other, "the same input gives the same capsules, whatever the clock");
        for file in &one {
            let capsule = read(file);
            let replayed = replay(&scanner_of(&capsule).expect("settings"), &capsule).expect("a replay");
            assert_eq!(replayed.differences, []);
            assert_eq!(replayed.outcome, capsule.outcome);
            assert_eq!(replayed.outcome.decided.digest(), capsule.about.verdict_digest);
            let finding = replayed.finding.expect("a case");
            assert_eq!(finding.judgement.verdict.to_string(), capsule.about.verdict);
            learned += usize::from(finding.case.learned.is_some());
        }
    }
    assert!(learned > 1, "some of the cases are of accounts with history");
}

#[test]
fn settings_and_foreign_rules_and_models_go_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let rule = folder.path().join("own.yml");
    let text = "title: Own\nid: 00000000-0000-4000-8000-000000000001\nstatus: test\nlevel: high\n\
                logsource: {product: aws, service: cloudtrail}\n\
                detection: {selection: {eventSource: iam.amazonaws.com}, condition: selection}\n";
    std::fs::write(&rule, text).expect("written");
    let mut config = Config::default();
    config.detections.rules = vec![rule];
    config.detections.disable.insert(defaults().rules().rules()[0].id.clone());
    config.cases.quiet_min = 40;
    config.bus.url = Some("nats://user:hunter2@broker:4222".to_owned());
    let scanner = Scanner::from_config(config).expect("settings");
    let file = files(&scanner, &incident(), NOW).swap_remove(0);
    drop(folder);
    let capsule = read(&file);
    assert!(!capsule.about.settings.contains("hunter2"), "servers are nobody's business");
    assert_eq!(capsule.rules, [("rule file 1".to_owned(), text.to_owned())]);
    let elsewhere = scanner_of(&capsule).expect("settings");
    assert_eq!((elsewhere.config().cases.quiet_min, surroundings(&elsewhere, &capsule.about)), (40, vec![]));
    assert_eq!(replay(&elsewhere, &capsule).expect("a replay").differences, []);
    // Without them it is not the same, and the program says what is otherwise.
    let bare = Capsule { rules: Vec::new(), ..capsule };
    let scanner = scanner_of(&bare).expect("settings");
    assert_eq!(surroundings(&scanner, &bare.about), ["the built-in rules are others"]);
    assert_eq!(replay(&scanner, &bare).expect("a replay").differences[0].stage, Stage::Rules);
}

/// Replaces what follows the first `key` up to the next `,`, `}` or `]`.
fn put(text: &mut String, key: &str, value: &str) {
    let from = text.find(key).unwrap_or_else(|| panic!("no {key}")) + key.len();
    let to = from + text[from..].find([',', '}', ']']).expect("an end");
    text.replace_range(from..to, value);
}

#[test]
fn a_planted_divergence_is_named_at_its_stage() {
    let capsule = grave();
    let scanner = defaults();
    let check = |stage: Stage, words: &[&str], plant: &dyn Fn(&mut Capsule)| {
        let mut planted = capsule.clone();
        plant(&mut planted);
        let differences = replay(&scanner, &planted).expect("a replay").differences;
        let first = differences.first().unwrap_or_else(|| panic!("{stage:?} goes unnoticed"));
        assert_eq!(first.stage, stage, "{differences:?}");
        for word in words {
            assert!(first.text.contains(word), "{stage:?}: {}", first.text);
        }
    };
    check(Stage::Records, &["the record of event", "gives no event any more"], &|capsule| {
        let text = String::from_utf8(capsule.records.clone()).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        let without = [&lines[..1], &lines[2..]].concat().join("\n");
        capsule.records = without.into_bytes();
    });
    check(Stage::Parse, &["region of event", "was \"moon-1\", is"], &|capsule| {
        put(&mut capsule.outcome.events, "\"region\":", "\"moon-1\"");
    });
    check(Stage::Rules, &["matches[0].rule of event", "was \"another\", is"], &|capsule| {
        put(&mut capsule.outcome.events, "\"rule\":", "\"another\"");
    });
    check(Stage::Features, &["feature session_age of event", "was 9999.0, is"], &|capsule| {
        put(&mut capsule.outcome.events, "\"session_age\":", "9999.0");
    });
    check(Stage::Score, &["score of event", "was 0.125, is"], &|capsule| {
        put(&mut capsule.outcome.events, "\"score\":", "0.125");
    });
    check(Stage::Case, &["session of the case was \"ASIA0\", is"], &|capsule| {
        put(&mut capsule.outcome.case, "\"session\":", "\"ASIA0\"");
    });
    check(Stage::Evidence, &["of the evidence was 77, is"], &|capsule| {
        put(&mut capsule.outcome.decided.evidence, "\"schema\":", "77");
    });
    check(Stage::Claims, &["claim \"", "weighed 9.5, weighs"], &|capsule| {
        put(&mut capsule.outcome.decided.judgement, "\"weight\":", "9.5");
    });
    check(Stage::Verdict, &["severity of the judgement was \"low\", is \"critical\""], &|capsule| {
        put(&mut capsule.outcome.decided.judgement, "\"severity\":", "\"low\"");
    });
    check(Stage::Plan, &["operation of the plan's calls was \"Nothing\", is"], &|capsule| {
        put(&mut capsule.outcome.decided.calls, "\"operation\":", "\"Nothing\"");
    });
}

#[test]
fn state_that_is_not_what_it_was_shows_in_the_features() {
    let capsule = grave();
    let mut before = json!(capsule.before);
    let moments = before["moments"].as_array_mut().expect("moments");
    let known = moments.iter_mut().find(|moment| moment["live"].get("State").is_some()).expect("somebody was known");
    known["live"] = json!("Unknown");
    let planted = Capsule { before: serde_json::from_value(before).expect("its own shape"), ..capsule };
    let differences = replay(&defaults(), &planted).expect("a replay").differences;
    assert_eq!(differences[0].stage, Stage::Features);
    assert!(differences[0].text.starts_with("feature "), "{}", differences[0].text);
}

#[test]
fn each_kind_of_state_is_there_because_some_case_needs_it() {
    let (folder, scanner) = (tempfile::tempdir().expect("a folder"), defaults());
    let files = files(&scanner, &organisation(folder.path()), NOW);
    let capsules: Vec<Capsule> = files.iter().map(|file| read(file)).collect();
    let strip = |capsule: &Capsule, kind: &str| {
        let mut before = json!(capsule.before);
        match kind {
            "links" => before["links"] = json!([]),
            kind => {
                let without = json!({"live": "AsLeft", "epoch": null, "groups": []});
                let moments = before["moments"].as_array_mut().expect("moments");
                moments.iter_mut().for_each(|moment| moment[kind] = without[kind].clone());
            }
        }
        Capsule { before: serde_json::from_value(before).expect("its own shape"), ..capsule.clone() }
    };
    for kind in ["live", "epoch", "groups", "links"] {
        let differs =
            |capsule: &&Capsule| !replay(&scanner, &strip(capsule, kind)).expect("a replay").differences.is_empty();
        let needing = capsules.iter().filter(differs).count();
        assert!(needing > 0, "none of {} cases needs {kind}", capsules.len());
    }
}

#[test]
fn what_is_no_capsule_or_was_changed_is_refused_in_words() {
    let file = grave().to_bytes().expect("small");
    let says = |bytes: &[u8], words: &str| {
        let error = Capsule::from_bytes(bytes).expect_err("refused").to_string();
        assert!(error.contains(words), "{error}");
    };
    let head = file.iter().position(|byte| *byte == b'\n').expect("a first line");
    says(b"", "no capsule");
    says(b"{\"Records\":[]}\n", "no capsule");
    says(&file[..head], "no capsule");
    says(&file[..head + 40], "the file was cut");
    says(&file[..file.len() - 1], "the file was cut");
    says(&[file.as_slice(), b"x"].concat(), "after its last section");
    let text = |from: &str, to: &str| {
        let line = String::from_utf8(file[..head].to_vec()).expect("text");
        assert!(line.contains(from), "{line}");
        [line.replacen(from, to, 1).as_bytes(), &file[head..]].concat()
    };
    says(&text("\"trailwarden_capsule\":1", "\"trailwarden_capsule\":2"), "version 2");
    says(&text("\"about\"", "\"later\""), "section `later` is unknown");
    says(&text("\"records\"", "\"about\""), "stands twice");
    says(&text("malicious", "benign"), "does not agree");
    says(&text("\"bytes\":", "\"bytes\":9"), "section");
    let mut altered = file.clone();
    altered[head + 60] ^= 1;
    says(&altered, "not what it was");
    for length in (0..file.len()).step_by(97) {
        assert!(Capsule::from_bytes(&file[..length]).is_err(), "{length}");
    }
    // Whoever can compute digests can change what was recorded, but not what is judged.
    let mut forged = grave();
    forged.about.verdict = "benign".to_owned();
    says(&forged.to_bytes().expect("small"), "does not agree");
    put(&mut forged.outcome.decided.judgement, "\"verdict\":", "\"benign\"");
    forged.about.verdict_digest = forged.outcome.decided.digest();
    let differences = replay(&defaults(), &read(&forged.to_bytes().expect("small"))).expect("a replay").differences;
    assert_eq!(differences[0].text, "verdict of the judgement was \"benign\", is \"malicious\"");
}

/// A plain generator: the same numbers in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

#[test]
fn no_change_of_bytes_makes_it_panic() {
    let (capsule, mut dice) = (grave(), Dice(3));
    let file = capsule.to_bytes().expect("small");
    for _ in 0..4_000 {
        let mut bytes = file.clone();
        for _ in 0..1 + dice.below(4) {
            let place = dice.below(bytes.len());
            bytes[place] = dice.below(256) as u8;
        }
        bytes.truncate(if dice.below(4) == 0 { dice.below(bytes.len()) } else { bytes.len() });
        // A change that is taken changed nothing that matters.
        assert!(Capsule::from_bytes(&bytes).map_or(true, |(read, _)| read == capsule));
    }
}

/// Changes one number of a tree, whichever the dice say.
fn disturb(value: &mut Value, dice: &mut Dice) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            let place = dice.below(items.len());
            disturb(&mut items[place], dice);
        }
        Value::Object(fields) if !fields.is_empty() => {
            let place = dice.below(fields.len());
            if let Some(field) = fields.values_mut().nth(place) {
                disturb(field, dice);
            }
        }
        Value::Number(_) => {
            let odd = [json!(0), json!(255), json!(i64::MAX), json!(i64::MIN), json!(1)];
            *value = odd[dice.below(odd.len())].clone();
        }
        _ => {}
    }
}

#[test]
fn no_change_of_what_the_digests_cover_makes_it_panic() {
    let (capsule, mut dice, scanner) = (grave(), Dice(4), defaults());
    let before = json!(capsule.before);
    let mut replays = 0;
    for _ in 0..400 {
        let mut planted = capsule.clone();
        match dice.below(3) {
            0 => {
                let mut disturbed = before.clone();
                (0..1 + dice.below(3)).for_each(|_| disturb(&mut disturbed, &mut dice));
                let Ok(read) = serde_json::from_value(disturbed) else { continue };
                planted.before = read;
            }
            1 => {
                for _ in 0..1 + dice.below(8) {
                    let place = dice.below(planted.records.len());
                    planted.records[place] = dice.below(256) as u8;
                }
            }
            _ => {
                planted.about.horizon_ms = [i64::MIN, 0, i64::MAX][dice.below(3)];
                planted.about.accounts.truncate(dice.below(2));
                planted.outcome.events.truncate(dice.below(3) * 20);
            }
        }
        let Ok((read, _)) = Capsule::from_bytes(&planted.to_bytes().expect("small")) else { continue };
        replay(&scanner, &read).expect("a replay");
        replays += 1;
    }
    assert!(replays > 150, "{replays} of them could be replayed");
}

/// A model that says the same in each round.
struct Scripted;

impl Model for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn ask<'s, 'q, 'f>(
        &'s self,
        question: &'q Question,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, ModelError>> + Send + 'f>>
    where
        's: 'f,
        'q: 'f,
    {
        let answer = match question.schema_name.rsplit('_').next().unwrap_or_default() {
            "opinion" => json!({"claims": [], "abstain": false}),
            "rebuttal" => json!({"attacks": []}),
            "lean" => json!({"lean": "benign"}),
            "choice" => json!({"steps": []}),
            _ => json!({"sentence": "Somebody did something."}),
        };
        let reply = Reply { text: answer.to_string(), usage: Usage::default(), model: "scripted".to_owned() };
        Box::pin(std::future::ready(Ok(reply)))
    }
}

/// The same case as models had a part in it.
fn deliberated(scanner: &Scanner, capsule: &Capsule) -> Capsule {
    let finding = replay(scanner, capsule).expect("a replay").finding.expect("a case");
    let (negotiation, asks) = scanner.opened(&finding.case);
    let panel = Panel::new(Arc::new(Scripted), &ROLES.into(), Severity::Low, Limits::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (judgement, transcript) = runtime.block_on(deliberate(negotiation, asks, &panel));
    let judged = Finding::new(finding.case, judgement, vec![]);
    let decided = decision(scanner, &judged).expect("a plan");
    let mut about = capsule.about.clone();
    (about.verdict, about.verdict_digest) = (judged.judgement.verdict.to_string(), decided.digest());
    about.severity = judged.judgement.severity.to_string();
    let outcome = Outcome { decided, ..capsule.outcome.clone() };
    Capsule { about, outcome, transcript: Some(transcript.to_json()), ..capsule.clone() }
}

#[test]
fn what_models_said_is_replayed_from_the_record() {
    let (scanner, plain) = (defaults(), grave());
    let capsule = deliberated(&scanner, &plain);
    assert_ne!(capsule.about.verdict_digest, plain.about.verdict_digest, "the models had their part");
    let capsule = read(&capsule.to_bytes().expect("small"));
    assert_eq!(replay(&scanner_of(&capsule).expect("settings"), &capsule).expect("a replay").differences, []);
    // As `case export` makes it of the logs and what the log of the case keeps.
    let case = find(&scanner, &incident(), NOW, &capsule.about.case_id).expect("room").expect("there");
    let wanted = |text: &str| [Wanted::of(&case).expect("small").with_transcript(text.to_owned())];
    let text = capsule.transcript.clone().expect("models were asked");
    let mut made = None;
    take(&scanner, &incident(), NOW, &wanted(&text), |taken| made = Some(taken.capsule)).expect("room");
    let mut exported = read(&made.take().expect("made").expect("fits"));
    assert!(exported.about.brains.contains(&"recorded".to_owned()));
    exported.about.brains.clone_from(&capsule.about.brains);
    assert_eq!(exported, capsule);
    let other = text.replacen("\"input_digest\":\"", "\"input_digest\":\"0", 1);
    take(&scanner, &incident(), NOW, &wanted(&other), |taken| made = Some(taken.capsule)).expect("room");
    assert!(matches!(made, Some(Err(Error::Diverged(_)))), "{made:?}");
    // Without the transcript it is the judgement of code alone; with another, what was asked does not fit.
    let silent = Capsule { transcript: None, ..capsule.clone() };
    assert!(!replay(&scanner, &silent).expect("a replay").differences.is_empty());
    let changed =
        capsule.transcript.as_deref().map(|text| text.replacen("\"input_digest\":\"", "\"input_digest\":\"0", 1));
    let changed = Capsule { transcript: changed, ..capsule };
    let differences = replay(&scanner, &changed).expect("a replay").differences;
    let claims = differences.iter().find(|difference| difference.stage == Stage::Claims).expect("named");
    assert!(claims.text.contains("was asked something else"), "{}", claims.text);
}

#[test]
fn a_case_of_any_verdict_can_be_found_again() {
    let scanner = defaults();
    let findings = scan(&scanner, &incident());
    let mild = findings.cases.iter().find(|finding| finding.judgement.verdict < Verdict::Suspicious);
    for finding in mild.into_iter().chain(&findings.cases) {
        let found = find(&scanner, &incident(), NOW, &finding.case.id).expect("room").expect("there");
        assert_eq!(found.id, finding.case.id);
    }
    assert!(find(&scanner, &incident(), NOW, "nothing").expect("room").is_none());
}
