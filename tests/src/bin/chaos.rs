//! The long form of the fault suite: round after round, a deployment works recorded batches off while faults chosen by a seed
//! befall it, several in a round. Every round must end with the outputs of an undisturbed run. Ends with one line of JSON.
//!
//! `chaos [ROUNDS] [SEED]`; a round that fails names its seed and faults, and the same seed chooses them again.
#![allow(clippy::disallowed_methods, reason = "a tool of its own arguments and clock")]
#![allow(clippy::unwrap_used, reason = "what cannot be set up fails")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints what it does")]

use std::process::ExitCode;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use trailwarden_tests::cluster::{Cluster, Recording, Servers, WORKERS};

const EVENTS: u64 = 20_000;
const FAULTS: usize = 6;

#[derive(Clone, Debug)]
enum Fault {
    /// `kill -9` at once.
    Kill(&'static str),
    /// Held still until the next fault.
    Hold(&'static str),
    StoreEmptied,
    FailOver,
    Broker(usize),
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap());
    let (rounds, seed) = (arguments.next().unwrap_or(20), arguments.next().unwrap_or(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let recording = Recording::new(EVENTS, 9).await;
        let mut failed = Vec::new();
        for round in seed..seed + rounds {
            let (faults, difference) = play(&recording, round).await;
            eprintln!("seed {round}: {faults:?}: {}", difference.as_deref().unwrap_or("equal"));
            failed.extend(difference.map(|_| round));
        }
        println!(
            "{}",
            json!({ "rounds": rounds, "events_a_round": EVENTS, "faults_a_round": FAULTS, "failed_seeds": failed })
        );
        if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    })
}

/// One round: what befell it, and how its outputs differ.
async fn play(recording: &Recording, seed: u64) -> (Vec<Fault>, Option<String>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut cluster = Cluster::on(Servers { brokers: 3, replica: true, ..Servers::default() }).await;
    cluster.publish(&recording.batches).await;
    WORKERS.into_iter().for_each(|role| cluster.run(role, None));
    // Of featurizers there are two, so that one can be held still.
    cluster.run_named("featurizer", "second", None);
    let mut faults = Vec::new();
    for number in 1..=FAULTS {
        let share = EVENTS as usize * number / (FAULTS + 1);
        cluster.measured_at_least(share).await;
        let fault = choose(&mut random, &cluster);
        befall(&mut cluster, &fault);
        faults.push(fault);
    }
    for role in WORKERS.into_iter().chain(["second"]) {
        cluster.process(role).resume();
    }
    let difference = recording.difference(&cluster, 0).await;
    (faults, difference)
}

fn choose(random: &mut ChaCha8Rng, cluster: &Cluster) -> Fault {
    loop {
        return match random.random_range(0..6) {
            0 | 1 => Fault::Kill(WORKERS.choose(random).unwrap()),
            2 => Fault::Hold(["featurizer", "second"].choose(random).unwrap()),
            3 => Fault::StoreEmptied,
            4 if cluster.replica.is_some() => Fault::FailOver,
            5 => Fault::Broker(random.random_range(0..3)),
            _ => continue,
        };
    }
}

fn befall(cluster: &mut Cluster, fault: &Fault) {
    // Whoever was held goes on first: one of two may stand still, not both.
    cluster.process("featurizer").resume();
    cluster.process("second").resume();
    match fault {
        Fault::Kill(role) => {
            cluster.process(role).kill();
            cluster.run(role, None);
        }
        Fault::Hold(name) => cluster.process(name).pause(),
        Fault::StoreEmptied => assert!(cluster.valkey.ask("FLUSHALL").starts_with("+OK")),
        Fault::FailOver => cluster.fail_over(),
        Fault::Broker(member) => {
            cluster.brokers[*member].kill();
            cluster.brokers[*member].restart();
        }
    }
}
