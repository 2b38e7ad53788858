//! `FeatureService`: measures without moving anything, and tells what the features are.

use std::collections::BTreeMap;

use tonic::{Request, Response, Status};
use trailwarden_core::feature::{Family, Feature, SCHEMA_VERSION};
use trailwarden_core::partition::partition_of;
use trailwarden_proto::status::{Fault, Retry, status};
use trailwarden_proto::v1::feature_service_server::FeatureService;
use trailwarden_proto::{convert, v1};
use trailwarden_runtime::Clock;

use crate::partition::{Loaded, Needs, Outcome};
use crate::store::{self, PartitionKey};
use crate::worker::Context;

/// Activities of one request.
const ACTIVITIES_MAX: usize = 256;

/// What is asked of a featurizer.
pub(super) struct Query {
    context: Context,
    tenant: String,
    partitions: u16,
    clock: Clock,
}

impl Query {
    pub(super) fn new(context: Context, tenant: String, partitions: u16, clock: Clock) -> Self {
        Self { context, tenant, partitions, clock }
    }

    /// Measures the activities of one partition, each as if it came next.
    async fn of_partition(&self, partition: u16, asked: &[(usize, &v1::Activity)]) -> Result<Vec<Measured>, Status> {
        let activities = asked.iter().map(|(_, wire)| convert::activity(wire)).collect::<Result<Vec<_>, _>>()?;
        // Whether an event was seen before is not asked: it is measured either way.
        let needs = Needs { ids: BTreeMap::new(), ..self.context.measure.needs(&activities) };
        let key = PartitionKey { tenant: self.tenant.clone(), partition };
        let (record, loaded) = self.context.store.read(&key, &needs).await.map_err(|error| refusal(&error))?;
        let pinned = record.map(|record| record.epoch).unwrap_or_default();
        let epoch = self.context.epochs.again(&pinned).await.map_err(|error| unavailable(&error))?;
        let mut measured = Vec::with_capacity(asked.len());
        for ((place, _), activity) in asked.iter().zip(&activities) {
            let alone = std::slice::from_ref(activity);
            let own = self.context.measure.needs(alone);
            let live = own.principals.iter().filter_map(|key| Some((*key, loaded.live.get(key)?.clone()))).collect();
            let loaded = Loaded { live, watermark: loaded.watermark, ..Loaded::default() };
            let (outcomes, _) = self.context.measure.work(loaded, &epoch, alone, None, (self.clock)());
            let Some(Outcome::Measured { features, .. }) = outcomes.into_iter().next() else {
                return Err(status(Fault::Us, Retry::Never, "an activity was not measured"));
            };
            let features = convert::features_to_wire(&features);
            measured.push(Measured { place: *place, features, epoch: pinned.clone() });
        }
        Ok(measured)
    }
}

struct Measured {
    place: usize,
    features: v1::FeatureVector,
    epoch: String,
}

#[tonic::async_trait]
impl FeatureService for Query {
    async fn measure(&self, request: Request<v1::MeasureRequest>) -> Result<Response<v1::MeasureResponse>, Status> {
        let activities = request.into_inner().activities;
        if activities.len() > ACTIVITIES_MAX {
            let message = format!("{} activities, and at most {ACTIVITIES_MAX} are measured at once", activities.len());
            return Err(status(Fault::Input, Retry::Never, message));
        }
        let mut by_partition: BTreeMap<u16, Vec<(usize, &v1::Activity)>> = BTreeMap::new();
        for (place, activity) in activities.iter().enumerate() {
            let partition = partition_of(&activity.account, &activity.principal, self.partitions);
            by_partition.entry(partition).or_default().push((place, activity));
        }
        let mut measured = Vec::with_capacity(activities.len());
        for (partition, asked) in by_partition {
            measured.extend(self.of_partition(partition, &asked).await?);
        }
        measured.sort_unstable_by_key(|one| one.place);
        let (features, epochs) = measured.into_iter().map(|one| (one.features, one.epoch)).unzip();
        Ok(Response::new(v1::MeasureResponse { features, epochs }))
    }

    async fn describe(&self, _: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        let describe = |feature: &Feature| {
            let definition = feature.definition();
            v1::FeatureDefinition {
                name: definition.name.to_owned(),
                family: family(definition.family).to_owned(),
                formula: definition.formula.to_owned(),
                window: definition.window.to_owned(),
                unit: definition.unit.to_owned(),
            }
        };
        let features = Feature::ALL.iter().map(describe).collect();
        Ok(Response::new(v1::DescribeResponse { feature_schema: SCHEMA_VERSION, features }))
    }
}

const fn family(family: Family) -> &'static str {
    match family {
        Family::Temporal => "temporal",
        Family::Frequency => "frequency",
        Family::Scarcity => "scarcity",
        Family::Categorical => "categorical",
    }
}

/// What a caller is told of the store. Details are for the operator.
fn refusal(error: &store::Error) -> Status {
    tracing::warn!(%error, "cannot read state for a caller");
    match error {
        store::Error::Unusable(_) => status(Fault::Peer, Retry::AfterChange, "the window store cannot be used"),
        _ => status(Fault::Peer, Retry::Later, "the window store does not answer"),
    }
}

fn unavailable(error: &trailwarden_bus::Error) -> Status {
    tracing::warn!(%error, "cannot read an epoch for a caller");
    status(Fault::Peer, Retry::Later, "the broker does not answer")
}
