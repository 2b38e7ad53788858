//! `ScorerService`: score and explain, over the same model as the stream.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};
use trailwarden_core::feature::FeatureVector;
use trailwarden_core::level::Level;
use trailwarden_core::negotiation::level;
use trailwarden_core::sequence::Sequence;
use trailwarden_proto::convert::{agrees, features, level_to_wire};
use trailwarden_proto::status::{Fault, Retry, status};
use trailwarden_proto::v1;

use super::look::Stage;
use crate::Scorer;

/// Vectors of one call.
const VECTORS_MAX: usize = 1_024;
/// Calls that are worked on at once; the stream comes first.
const CALLS_MAX: usize = 2;

/// The service.
pub(super) struct Api {
    stage: Arc<Stage>,
    calls: Arc<Semaphore>,
}

impl Api {
    pub(super) fn new(stage: Arc<Stage>) -> Self {
        Self { stage, calls: Arc::new(Semaphore::new(CALLS_MAX)) }
    }

    fn scorer(&self) -> Result<Arc<Scorer>, Status> {
        let none = || status(Fault::Peer, Retry::AfterChange, "this scorer runs without a model");
        self.stage.scorer().cloned().ok_or_else(none)
    }

    /// Works on a thread of its own, so that a large call holds up no partition.
    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
        // Nobody closes it, so there is always a permit to come.
        let permit = Arc::clone(&self.calls).acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(|_| status(Fault::Us, Retry::Never, "scoring ended in a defect"))
    }
}

#[tonic::async_trait]
impl v1::scorer_service_server::ScorerService for Api {
    async fn score(&self, request: Request<v1::ScoreRequest>) -> Result<Response<v1::ScoreResponse>, Status> {
        let v1::ScoreRequest { feature_schema, features: vectors } = request.into_inner();
        agrees(feature_schema)?;
        if vectors.len() > VECTORS_MAX {
            return Err(status(Fault::Input, Retry::Never, "`features` are more than 1024"));
        }
        let vectors = vectors.iter().map(features).collect::<Result<Vec<_>, _>>()?;
        let scorer = self.scorer()?;
        let model = scorer.name().to_owned();
        // A vector alone has no session, so networks see one without activities.
        let score = move |vector: &FeatureVector| {
            let probability = scorer.probability(vector, Sequence::default);
            let level = probability.map_or(Level::None, |probability| level(probability, None, None));
            v1::Score { probability, level: level_to_wire(level).into() }
        };
        let scores = self.work(move || vectors.iter().map(score).collect()).await?;
        Ok(Response::new(v1::ScoreResponse { scores, model }))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let v1::ExplainRequest { feature_schema, features: vector } = request.into_inner();
        agrees(feature_schema)?;
        let vector = vector.ok_or_else(|| status(Fault::Input, Retry::Never, "`features` is missing"))?;
        let vector = features(&vector)?;
        let scorer = self.scorer()?;
        let explained = self.work(move || {
            let probability = scorer.probability(&vector, Sequence::default);
            let reasons = scorer.reasons(&vector).into_iter().map(|reason| v1::Reason {
                feature: reason.feature.definition().name.to_owned(),
                value: reason.value,
                weight: reason.weight,
            });
            v1::ExplainResponse { probability, reasons: reasons.collect(), model: scorer.name().to_owned() }
        });
        Ok(Response::new(explained.await?))
    }
}
