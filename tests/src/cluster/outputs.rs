//! What a deployment has put out, in a form that two runs can be compared by.

use std::collections::BTreeMap;

use prost::Message;
use std::time::Duration;

use trailwarden_bus::{Bus, Consumer, Error, Stored, Stream, Subject};
use trailwarden_proto::v1::{CaseTransition, FeatureBatch, SignalBatch, TransitionKind};
use trailwarden_proto::wire::unpack;

use super::{Cluster, TENANT, patiently};

/// Messages that one read asks for.
const READ_MAX: usize = 256;

/// A measured event without what it was measured from.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// As they stand on the wire.
    pub features: Vec<u8>,
    pub read_only: bool,
}

/// What the scorer said of an event that went on.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    pub learned: Option<f64>,
    pub score: f64,
    pub level: i32,
}

/// Everything that a run gave, without places and times that differ from run to run.
#[derive(Debug, Default, PartialEq)]
pub struct Outputs {
    /// By event id.
    pub measured: BTreeMap<String, Measured>,
    /// Event ids that were measured more than once.
    pub doubled: Vec<String>,
    /// By event id.
    pub signals: BTreeMap<String, Signal>,
    /// Closed cases by id, each as the line of `scan --cases`.
    pub cases: BTreeMap<String, String>,
    pub dead: usize,
}

/// Reads all that is there.
pub async fn outputs(cluster: &Cluster) -> Outputs {
    let bus = cluster.bus.as_ref();
    let mut outputs = Outputs::default();
    for partition in 0..cluster.partitions {
        for stored in all(bus, &Subject::partition(Stream::Feature, TENANT, partition)).await {
            let batch: FeatureBatch = unpack(&stored.payload).unwrap();
            for event in batch.events {
                let id = event.observation.as_ref().unwrap().activity.as_ref().unwrap().event_id.clone();
                let features = event.features.unwrap_or_default().encode_to_vec();
                let measured = Measured { features, read_only: event.read_only };
                if outputs.measured.insert(id.clone(), measured).is_some() {
                    outputs.doubled.push(id);
                }
            }
        }
        for stored in all(bus, &Subject::partition(Stream::Signal, TENANT, partition)).await {
            let batch: SignalBatch = unpack(&stored.payload).unwrap();
            for event in batch.events {
                let id = event.observation.as_ref().unwrap().activity.as_ref().unwrap().event_id.clone();
                outputs.signals.insert(id, Signal { learned: event.learned, score: event.score, level: event.level });
            }
        }
    }
    for stored in whole(bus, Stream::Case).await {
        let transition: CaseTransition = unpack(&stored.payload).unwrap();
        let case = transition.case.unwrap();
        if transition.kind == i32::from(TransitionKind::Closed) {
            let said = outputs.cases.insert(case.id.clone(), case.line_json);
            assert!(said.is_none(), "case {} was closed twice", case.id);
        }
    }
    outputs.dead = patiently(async || bus.dead_letters(0, READ_MAX).await).await.len();
    outputs
}

/// All messages of a subject, in order.
pub async fn all(bus: &dyn Bus, subject: &Subject) -> Vec<Stored> {
    let mut messages: Vec<Stored> = Vec::new();
    loop {
        let after = messages.last().map_or(0, |message| message.sequence);
        let read = patiently(async || bus.read(subject, after, READ_MAX).await).await;
        if read.is_empty() {
            return messages;
        }
        messages.extend(read);
    }
}

/// All messages of a stream, whatever their subjects.
pub async fn whole(bus: &dyn Bus, stream: Stream) -> Vec<Stored> {
    patiently(async || look_through(bus, stream).await).await
}

async fn look_through(bus: &dyn Bus, stream: Stream) -> Result<Vec<Stored>, Error> {
    let consumer = Consumer {
        stream,
        name: format!("look-{}", trailwarden_core::hash::hash64(&format!("{:?}", std::time::Instant::now()))),
        filter: format!("tw.{}.{TENANT}.>", stream.word()),
        in_flight_max: READ_MAX,
        ack_wait: Duration::from_secs(60),
        deliveries_max: 3,
        idle_max: Some(Duration::from_secs(60)),
    };
    let mut subscription = bus.subscribe(&consumer).await?;
    let mut messages = Vec::new();
    while let Some(delivery) = subscription.next(Duration::from_secs(1)).await? {
        messages.push(delivery.message().clone());
        delivery.ack().await?;
    }
    Ok(messages)
}
