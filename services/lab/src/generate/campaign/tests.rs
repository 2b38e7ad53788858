use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Caller, Pace, Plan, all};
use crate::generate::lookalike;
use crate::generate::script::{Recorded, Script};
use crate::generate::settings::Settings;
use crate::generate::world::{DAY_MS, World};

fn world() -> World {
    World::build(&Settings { accounts: 5, days: 21, ..Settings::new(100_000, 3) })
}

fn play(world: &World, family: usize, plan: &Plan, seed: u64) -> Vec<Recorded> {
    let at_ms = world.start_ms + 8 * DAY_MS + 10 * 3_600_000;
    let mut script = Script::new(world, &[1, seed], at_ms);
    (all()[family].play)(&mut script, plan);
    script.into_records()
}

fn plans(volume: u32) -> Vec<Plan> {
    let mut plans = Vec::new();
    for pace in Pace::ALL {
        for caller in Caller::ALL {
            plans.push(Plan { pace, caller, volume, victim: volume as usize % 5 });
        }
    }
    plans
}

fn parse(record: &Recorded) -> Value {
    serde_json::from_slice(&record.body).unwrap()
}

fn api(record: &Recorded) -> (String, String) {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Names {
        event_source: String,
        event_name: String,
    }
    let names: Names = serde_json::from_slice(&record.body).unwrap();
    (names.event_source, names.event_name)
}

#[test]
fn every_family_has_a_name_a_source_and_a_twin() {
    let families = all();
    let names: BTreeSet<&str> = families.iter().map(|one| one.family).collect();
    assert_eq!(names.len(), families.len());
    assert!(families.len() >= 18);
    let twins: BTreeSet<&str> = lookalike::all().iter().map(|twin| twin.of).collect();
    assert_eq!(names, twins, "a family without a twin, or a twin of nothing");
    assert!(families.iter().all(|one| one.source.len() > 30));
}

#[test]
fn every_family_plays_in_all_variants_near_the_wanted_volume() {
    let world = world();
    let mut off = Vec::new();
    for (at, family) in all().iter().enumerate() {
        for volume in [12, 60, 400] {
            for plan in plans(volume) {
                for seed in 0..2 {
                    let records = play(&world, at, &plan, seed);
                    let attacks: Vec<&Recorded> = records.iter().filter(|record| record.technique.is_some()).collect();
                    let made = attacks.len() as f64 / f64::from(volume);
                    if !(0.5..=2.0).contains(&made) {
                        off.push(format!(
                            "{} {:?} {:?} {volume}: {}",
                            family.family,
                            plan.pace,
                            plan.caller,
                            attacks.len()
                        ));
                    }
                    let times = attacks.iter().map(|record| record.at_ms);
                    let span_ms = times.clone().max().unwrap() - times.min().unwrap();
                    match plan.pace {
                        Pace::Fast => assert!(span_ms < 4 * 3_600_000, "{} took {span_ms} ms", family.family),
                        Pace::Slow => assert!(span_ms > DAY_MS / 4, "{} took {span_ms} ms", family.family),
                    }
                }
            }
        }
    }
    assert!(off.is_empty(), "{} of {}: {:#?}", off.len(), all().len() * 24, &off[..off.len().min(40)]);
}

#[test]
fn every_attack_call_is_labelled_and_only_those() {
    let world = world();
    for at in 0..all().len() {
        for plan in plans(60) {
            for seed in 0..3 {
                let records = play(&world, at, &plan, seed);
                // All that stands unlabelled is the victim's own sign-in or token, before the intruder's first call.
                let first = records.iter().position(|record| record.technique.is_some()).unwrap();
                assert!(records[first..].iter().all(|record| record.technique.is_some()));
                for record in &records[..first] {
                    let name = api(record).1;
                    assert!(
                        matches!(name.as_str(), "AssumeRoleWithSAML" | "ConsoleLogin" | "AssumeRoleWithWebIdentity"),
                        "{name}"
                    );
                }
                for technique in records.iter().filter_map(|record| record.technique) {
                    let digits = technique.strip_prefix('T').unwrap();
                    assert!(digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{technique}");
                }
            }
        }
    }
}

#[test]
fn twins_label_nothing_and_know_every_call_of_the_attacks() {
    let world = world();
    let mut innocent: BTreeSet<(String, String)> = BTreeSet::new();
    for twin in lookalike::all() {
        for seed in 0..30 {
            let mut script = Script::new(&world, &[2, seed], world.start_ms + 5 * DAY_MS);
            (twin.play)(&mut script, 60 + 8 * seed as u32);
            let records = script.into_records();
            assert!(!records.is_empty());
            for record in &records {
                assert!(record.technique.is_none());
                innocent.insert(api(record));
            }
        }
    }
    let mut missing: BTreeMap<(String, String), &str> = BTreeMap::new();
    for (at, family) in all().iter().enumerate() {
        for plan in &plans(120) {
            for seed in 0..2 {
                for record in play(&world, at, plan, seed) {
                    let api = api(&record);
                    if !innocent.contains(&api) {
                        missing.insert(api, family.family);
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "calls that only attackers make: {missing:?}");
}

#[test]
fn the_same_seed_tells_the_same_story_and_ids_are_unique() {
    let world = world();
    let mut ids = BTreeSet::new();
    for at in 0..all().len() {
        for plan in plans(80) {
            let records = play(&world, at, &plan, at as u64);
            let again = play(&world, at, &plan, at as u64);
            assert!(records.iter().map(|one| &one.body).eq(again.iter().map(|one| &one.body)));
            let other = play(&world, at, &plan, 1_000 + at as u64);
            assert!(!records.iter().map(|one| &one.body).eq(other.iter().map(|one| &one.body)));
        }
        let plan = Plan { pace: Pace::Fast, caller: Caller::New, volume: 80, victim: 1 };
        for record in play(&world, at, &plan, 5_000 + at as u64) {
            let body = parse(&record);
            let response = &body["responseElements"];
            for issued in [
                &response["accessKey"]["accessKeyId"],
                &response["credentials"]["accessKeyId"],
                &response["snapshotId"],
            ] {
                if let Some(id) = issued.as_str() {
                    // The copy of a call that stands in two trails repeats its answer.
                    let copy = body["sharedEventID"].is_string();
                    assert!(ids.insert(id.to_owned()) || copy, "{id} issued twice");
                }
            }
        }
    }
    assert!(ids.len() > 20);
}
