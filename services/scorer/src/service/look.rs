//! What the scorer makes of one feature batch: a function of the batch alone.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use trailwarden_core::detection::RuleSet;
use trailwarden_core::feature::SCHEMA_VERSION;
use trailwarden_core::gather::{FirstLook, first_look};
use trailwarden_proto::convert::{Rules, agrees, features, level_to_wire, sequence};
use trailwarden_proto::{Invalid, v1, wire};

use crate::Scorer;

/// What batches are looked at with.
pub(super) struct Stage {
    rules: Arc<RuleSet>,
    known: Rules,
    accounts: BTreeSet<String>,
    scorer: Option<Arc<Scorer>>,
}

/// Why a batch cannot be worked on: it is poison, and goes to the dead letters.
#[derive(Debug, thiserror::Error)]
pub(super) enum Poison {
    /// The featurizer's, or of whoever else can publish there.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Ours.
    #[error("scoring ended in a defect")]
    Defect,
}

impl Poison {
    /// For measures.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Defect => "defect",
        }
    }
}

impl Stage {
    pub(super) fn new(rules: Arc<RuleSet>, accounts: BTreeSet<String>, scorer: Option<Arc<Scorer>>) -> Self {
        Self { known: Rules::new(&rules), rules, accounts, scorer }
    }

    pub(super) fn scorer(&self) -> Option<&Arc<Scorer>> {
        self.scorer.as_ref()
    }

    /// The signals of a feature batch, but for their place in the chain. A defect is caught here.
    pub(super) fn signals(&self, payload: &[u8]) -> Result<v1::SignalBatch, Poison> {
        let look = || Ok(self.look(wire::unpack(payload)?)?);
        // Nothing is shared that a panic could leave half done: the stage is only read.
        catch_unwind(AssertUnwindSafe(look)).unwrap_or(Err(Poison::Defect))
    }

    /// The signals that a batch leaves which nobody can read: none, and no time has passed.
    pub(super) fn nothing(&self, watermark_ms: i64) -> v1::SignalBatch {
        v1::SignalBatch {
            watermark_ms,
            previous_watermark_ms: watermark_ms,
            model: self.model().to_owned(),
            feature_schema: SCHEMA_VERSION,
            ..v1::SignalBatch::default()
        }
    }

    fn look(&self, batch: v1::FeatureBatch) -> Result<v1::SignalBatch, Invalid> {
        agrees(batch.feature_schema)?;
        let scored = u32::try_from(batch.events.len()).unwrap_or(u32::MAX);
        let mut events = Vec::new();
        for event in batch.events {
            events.extend(self.event(event, &batch.rules)?);
        }
        Ok(v1::SignalBatch {
            events,
            rules: batch.rules,
            scored,
            ..v1::SignalBatch { previous_watermark_ms: batch.previous_watermark_ms, ..self.nothing(batch.watermark_ms) }
        })
    }

    fn event(&self, event: v1::MeasuredEvent, rules: &[String]) -> Result<Option<v1::ScoredEvent>, Invalid> {
        let missing = |field| Invalid::Field { field, what: "is missing" };
        let told = event.observation.ok_or(missing("events.observation"))?;
        let measured = event.features.ok_or(missing("events.features"))?;
        let vector = features(&measured)?;
        let session = sequence(&event.sequence)?;
        let learned = self.scorer.as_ref().and_then(|scorer| scorer.probability(&vector, || session));
        let FirstLook { score, level, is_kept, .. } =
            first_look(&self.rules, &self.accounts, &self.known.observation(&told, rules)?, &vector, learned);
        Ok(is_kept.then(|| v1::ScoredEvent {
            observation: Some(told),
            features: Some(measured),
            learned,
            score,
            level: level_to_wire(level).into(),
        }))
    }

    pub(super) fn model(&self) -> &str {
        self.scorer.as_ref().map_or("", |scorer| scorer.name())
    }
}
