//! The recorded work of a deployment done again in one process.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use trailwarden::config::Config;
use trailwarden::scan::Scanner;
use trailwarden_bus::{Stream, Subject};
use trailwarden_core::baseline::Epoch;
use trailwarden_core::case::Case;
use trailwarden_core::gather::is_worth_judging;
use trailwarden_core::time::Timestamp;
use trailwarden_council::Judge;
use trailwarden_pipeline::replay::{Recorded, Replay, Setup, Step};
use trailwarden_proto::convert::{Rules, features_to_wire, level_to_wire};
use trailwarden_proto::v1::{ActivityBatch, FeatureBatch};
use trailwarden_proto::wire::unpack;

use super::outputs::{Measured, Outputs, Signal, all};
use super::{Cluster, TENANT};

/// What one process makes of the recorded batches.
#[derive(Debug, Default)]
pub struct Replayed {
    pub measured: BTreeMap<String, Measured>,
    /// What the scorer says of every event.
    pub signals: BTreeMap<String, Signal>,
    /// Events that went on to the case builder.
    pub kept: BTreeSet<String>,
    pub cases: BTreeMap<String, String>,
    /// Epochs that batches rested on.
    pub epochs: usize,
}

struct Batch {
    partition: u16,
    wire: ActivityBatch,
    stored_at: Timestamp,
    outcome: FeatureBatch,
}

/// Does everything again that a cluster has recorded, partition after partition: their interleaving does not matter.
pub async fn replayed(cluster: &Cluster) -> Replayed {
    let batches = recorded(cluster).await;
    let mut epochs = BTreeMap::new();
    for batch in &batches {
        let name = &batch.outcome.epoch;
        if !name.is_empty() && !epochs.contains_key(name) {
            let bytes = cluster.bus.object(name).await.unwrap().expect("an epoch that a batch rests on");
            epochs.insert(name.clone(), Epoch::from_bytes(&bytes).unwrap());
        }
    }
    let config = Config::load(Some(&cluster.configuration()), []).unwrap();
    let scanner = Scanner::from_config(config).unwrap();
    let (rule_set, vocabulary, scorer) = (scanner.shared_rules(), scanner.shared_vocabulary(), scanner.shared_scorer());
    let setup = Setup {
        rules: &rule_set,
        vocabulary: &vocabulary,
        scorer: scorer.as_deref(),
        accounts: scanner.own_accounts(),
        partitions: cluster.partitions,
        with_sequences: scanner.uses_networks(),
        baseline: scanner.baseline_limits(),
        cases: scanner.case_limits(),
    };
    let rules = Rules::new(&rule_set);
    let mut out = Replayed { epochs: epochs.len(), ..Replayed::default() };
    let mut replay = Replay::new(setup, epochs);
    for batch in &batches {
        let alive = (0..).zip(&batch.wire.observations).filter(|(place, _)| !batch.outcome.dead.contains(place));
        let observations = alive.map(|(_, wire)| rules.observation(wire, &batch.wire.rules).unwrap());
        let step = replay.push(Recorded {
            partition: batch.partition,
            epoch: batch.outcome.epoch.clone(),
            observations: observations.collect(),
            tick: (batch.wire.watermark_ms != 0).then(|| Timestamp::from_millis(batch.wire.watermark_ms)),
            stored_at: batch.stored_at,
        });
        out.take(step.unwrap(), &scanner);
    }
    assert_eq!(replay.early(), 0, "everything waited for its turn");
    out
}

impl Replayed {
    /// How what a deployment gave differs from this, if it does: the first thing that is lacking, other, or too much.
    pub fn difference(&self, found: &Outputs) -> Option<String> {
        if let Some(twice) = found.doubled.first() {
            return Some(format!("{} events were measured twice, as {twice}", found.doubled.len()));
        }
        let kept = self.signals.iter().filter(|(id, _)| self.kept.contains(*id));
        let kept = kept.map(|(id, signal)| (id.clone(), signal.clone())).collect();
        first_difference("features", &found.measured, &self.measured)
            .or_else(|| first_difference("signal", &found.signals, &kept))
            .or_else(|| first_difference("case", &found.cases, &self.cases))
    }

    fn take(&mut self, step: Step<'_>, scanner: &Scanner) {
        for event in step.measured {
            let vector = features_to_wire(&event.features);
            let measured = Measured { features: vector.encode_to_vec(), read_only: event.read_only };
            let id = event.activity.event_id.to_owned();
            let signal =
                Signal { learned: event.learned, score: event.score, level: level_to_wire(event.level).into() };
            self.measured.insert(id.clone(), measured);
            self.signals.insert(id, signal);
        }
        self.kept.extend(step.finals.into_iter().map(|event| event.event_id));
        let judged = |case: Case| Judge::judge(scanner, case);
        for judged in step.cases.into_iter().map(judged) {
            if is_worth_judging(&judged.case, scanner.rules().rules()) {
                self.cases.insert(judged.case.id.clone(), judged.line_json);
            }
        }
    }
}

/// All activity batches in the order of their partition, each with what the featurizers made of it.
async fn recorded(cluster: &Cluster) -> Vec<Batch> {
    let mut batches = Vec::new();
    for partition in 0..cluster.partitions {
        let bus = cluster.bus.as_ref();
        let outcomes = all(bus, &Subject::partition(Stream::Feature, TENANT, partition)).await;
        let mut outcomes: BTreeMap<u64, FeatureBatch> = outcomes
            .iter()
            .map(|stored| unpack::<FeatureBatch>(&stored.payload).unwrap())
            .map(|batch| (batch.input_sequence, batch))
            .collect();
        let worked_off = outcomes.keys().next_back().copied().unwrap_or_default();
        let stored = all(bus, &Subject::partition(Stream::Activity, TENANT, partition)).await;
        // A collector's tick may have come since.
        for stored in stored.into_iter().filter(|stored| stored.sequence <= worked_off) {
            let outcome = outcomes.remove(&stored.sequence).expect("every batch has its outcome");
            let Ok(wire) = unpack(&stored.payload) else {
                // Poison as a whole: it moves nothing.
                assert!(outcome.events.is_empty(), "events of a message that cannot be read");
                continue;
            };
            batches.push(Batch { partition, wire, stored_at: stored.stored_at, outcome });
        }
        assert!(outcomes.is_empty(), "outcomes without a batch");
    }
    batches
}

fn first_difference<V>(what: &str, found: &BTreeMap<String, V>, expected: &BTreeMap<String, V>) -> Option<String>
where
    V: PartialEq + std::fmt::Debug,
{
    let other = expected.iter().find(|(id, value)| found.get(*id) != Some(value));
    let other = other.map(|(id, value)| format!("{what} of {id}: {:?}\nand not {value:?}", found.get(id)));
    let surplus = || found.keys().find(|id| !expected.contains_key(*id));
    let counts = format!("{} for {}", found.len(), expected.len());
    other
        .or_else(|| surplus().map(|id| format!("{what} of {id} is one too many")))
        .map(|text| format!("{text} ({counts})"))
}
