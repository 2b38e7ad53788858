//! A replay gives the same whatever order the partitions' batches come in, as long as each keeps its own.

use std::collections::{BTreeMap, BTreeSet};

use trailwarden_core::activity::{Activity, Credential, Details, Observation, PrincipalKind};
use trailwarden_core::api::Vocabulary;
use trailwarden_core::baseline::{self, Baseline, Epoch, EventKind};
use trailwarden_core::case;
use trailwarden_core::detection::{Match, RuleIndex, RuleSet, builtin};
use trailwarden_core::level::Severity;
use trailwarden_core::link::{Link, Node};
use trailwarden_core::partition::partition_of;
use trailwarden_core::time::{HOUR_MS, Timestamp};
use trailwarden_pipeline::replay::{Error, Recorded, Replay, Setup};
use trailwarden_scorer::Scorer;

const PARTITIONS: u16 = 4;
const START_S: i64 = 1_700_000_000;
const PRINCIPALS: [&str; 9] = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8"];
const LIMITS: baseline::Limits = baseline::Limits {
    warm_up_h: 1,
    principals_max: 100,
    accounts_max: 10,
    hour_kinds_max: 10_000,
    values_max: 16,
    targets_max: 16,
};

/// A plain generator: the same numbers in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((START_S + seconds) * 1_000)
}

fn activity<'a>(event_id: &'a str, event_time: Timestamp, principal: &'a str, call: &'a str) -> Activity<'a> {
    Activity {
        event_id,
        shared_event_id: None,
        event_time,
        account: "111122223333",
        region: "eu-west-1",
        service: "iam",
        call,
        principal,
        principal_kind: PrincipalKind::Role,
        session: principal,
        session_name: "",
        credential: Credential::TemporaryKey,
        mfa: None,
        source: "198.51.100.7",
        user_agent: "aws-cli/2",
        error_code: None,
        read_only: Some(false),
        target: Some(7),
    }
}

/// Rules that are a detection by themselves.
fn loud(rules: &RuleSet) -> Vec<RuleIndex> {
    let loud = rules.rules().iter().zip(0..).filter(|(rule, _)| rule.raises && rule.severity >= Severity::Medium);
    loud.map(|(_, index)| RuleIndex(index)).take(3).collect()
}

/// Some hours of work of all principals, with late ones, doubles, matches and links.
fn observations<'a>(ids: &'a [String], loud: &[RuleIndex]) -> Vec<Observation<'a>> {
    let mut dice = Dice(7);
    let mut now = 0;
    let mut all: Vec<Observation<'a>> = Vec::new();
    for id in ids {
        now += dice.below(40) as i64;
        if dice.below(20) == 0 && !all.is_empty() {
            let again = all[dice.below(all.len() as u64) as usize].clone();
            all.push(again);
            continue;
        }
        let late = if dice.below(10) == 0 { dice.below(1_200) as i64 } else { 0 };
        let principal = PRINCIPALS[dice.below(9) as usize];
        let call = ["ListUsers", "GetUser", "CreateUser"][dice.below(3) as usize];
        let hit = dice.below(12) == 0;
        let rule = loud[dice.below(loud.len() as u64) as usize];
        let links = if dice.below(60) == 0 {
            let child = PRINCIPALS[dice.below(9) as usize];
            vec![Link { parent: Node::Session(principal.into()), child: Node::Session(child.into()) }]
        } else {
            Vec::new()
        };
        all.push(Observation {
            activity: activity(id, at(now - late), principal, call),
            links,
            matches: hit.then(|| Match { rule, counted: Vec::new() }).into_iter().collect(),
            details: hit.then(Details::default),
        });
    }
    all
}

/// Batches of each partition in its order; a batch carries the time its source came to.
fn recorded<'a>(observations: &[Observation<'a>]) -> Vec<Vec<Recorded<'a>>> {
    let mut partitions: Vec<Vec<Recorded<'a>>> = vec![Vec::new(); usize::from(PARTITIONS)];
    for stretch in observations.chunks(100) {
        let tick = stretch.iter().map(|observation| observation.activity.event_time).max();
        let mut batches: Vec<Vec<Observation<'a>>> = vec![Vec::new(); usize::from(PARTITIONS)];
        for observation in stretch {
            let Activity { account, principal, .. } = observation.activity;
            batches[usize::from(partition_of(account, principal, PARTITIONS))].push(observation.clone());
        }
        for (partition, observations) in batches.into_iter().enumerate() {
            let number = partitions[partition].len();
            partitions[partition].push(Recorded {
                partition: partition as u16,
                epoch: if number + partition < 6 { "" } else { "later" }.to_owned(),
                observations,
                tick,
                stored_at: tick.unwrap_or_default(),
            });
        }
    }
    partitions
}

fn later() -> Epoch {
    let mut baseline = Baseline::new(LIMITS);
    for hour in 0..6 {
        for principal in PRINCIPALS {
            let event = activity("past", at(0).plus_ms((hour - 7) * HOUR_MS), principal, "ListUsers");
            (0..9).for_each(|_| baseline.add(EventKind::of(&event), event.event_time));
        }
    }
    baseline.advance(at(0));
    baseline.epoch().clone()
}

/// The whole outcome as text: features by partition, then scores and cases in the order they came.
fn outcome<'a>(setup: Setup<'a>, partitions: &[Vec<Recorded<'a>>], seed: u64) -> (Vec<Vec<String>>, String, usize) {
    let mut replay = Replay::new(setup, BTreeMap::from([("later".to_owned(), later())]));
    let mut dice = Dice(seed);
    let mut queues: Vec<_> = partitions.iter().map(|batches| batches.iter()).collect();
    let mut measured = vec![Vec::new(); partitions.len()];
    let (mut finals, mut cases) = (Vec::new(), Vec::new());
    while queues.iter().any(|queue| queue.len() > 0) {
        let partition = dice.below(queues.len() as u64) as usize;
        // Some come in long runs, as after a stop.
        for batch in queues[partition].by_ref().take(1 + dice.below(6) as usize) {
            let step = replay.push(batch.clone()).expect("known epochs");
            measured[partition].extend(step.measured.iter().map(|event| format!("{event:?}")));
            finals.extend(step.finals);
            cases.extend(step.cases);
        }
    }
    let step = replay.finish();
    finals.extend(step.finals);
    cases.extend(step.cases);
    assert_eq!(replay.early(), 0);
    (measured, format!("{finals:?} {cases:?}"), cases.len())
}

#[test]
fn interleavings_end_in_the_same() {
    let rules = RuleSet::load(builtin::RULES).expect("own rules");
    let vocabulary = Vocabulary::builtin();
    let scorer = Scorer::builtin().expect("own bundle").without_networks();
    let setup = || Setup {
        rules: &rules,
        vocabulary: &vocabulary,
        scorer: Some(&scorer),
        accounts: BTreeSet::new(),
        partitions: PARTITIONS,
        with_sequences: false,
        baseline: LIMITS,
        cases: case::Limits::default(),
    };
    let ids: Vec<String> = (0..3_000).map(|number| format!("event-{number:05}")).collect();
    let observations = observations(&ids, &loud(&rules));
    let partitions = recorded(&observations);
    let first = outcome(setup(), &partitions, 1);
    assert!(first.2 > 3, "{} cases", first.2);
    assert!(first.0.iter().flatten().any(|event| event.contains("learned: Some")));
    for seed in 2..6 {
        assert!(outcome(setup(), &partitions, seed) == first, "seed {seed}");
    }
}

#[test]
fn an_epoch_that_was_not_given_is_an_error() {
    let rules = RuleSet::load(builtin::RULES).expect("own rules");
    let vocabulary = Vocabulary::builtin();
    let setup = || Setup {
        rules: &rules,
        vocabulary: &vocabulary,
        scorer: None,
        accounts: BTreeSet::new(),
        partitions: PARTITIONS,
        with_sequences: true,
        baseline: LIMITS,
        cases: case::Limits::default(),
    };
    let ids: Vec<String> = (0..600).map(|number| format!("event-{number:05}")).collect();
    let observations = observations(&ids, &loud(&rules));
    let mut replay = Replay::new(setup(), BTreeMap::new());
    let lost = Recorded { epoch: "lost".to_owned(), ..recorded(&observations)[0][0].clone() };
    assert_eq!(replay.push(lost).err(), Some(Error::UnknownEpoch("lost".to_owned())));
}
