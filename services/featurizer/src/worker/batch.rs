//! One batch: opened, worked on, and its output written, with whatever cannot be worked on set aside.
//!
//! Pure, except that it gives way to other tasks while it searches for what fails.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use trailwarden_core::activity::Activity;
use trailwarden_core::baseline::Epoch;
use trailwarden_core::feature::SCHEMA_VERSION;
use trailwarden_core::time::Timestamp;
use trailwarden_proto::{convert, v1, wire};

use super::Measure;
use crate::partition::{Changes, Loaded, Needs, Outcome};

/// Activities of one batch; collectors send up to 1,024.
const ACTIVITIES_MAX: usize = 4_096;

/// A batch as the worker holds it.
pub(super) struct Batch {
    wire: v1::ActivityBatch,
    /// Places that are left out, each with the reason; empty for those that somebody buried before.
    dead: BTreeMap<u32, String>,
    stored_at: Timestamp,
    /// Why the message as a whole is none.
    whole: Option<String>,
}

/// Of a batch that was worked on.
pub(super) struct Measured {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) changes: Changes,
    /// The partition's clock before and after.
    pub(super) watermarks: (Option<Timestamp>, Option<Timestamp>),
}

/// Something that was set aside.
pub(super) struct Dead {
    /// `None` for the whole message.
    pub(super) place: Option<u32>,
    pub(super) reason: String,
    /// The same for measures.
    pub(super) word: &'static str,
    pub(super) payload: Bytes,
}

impl Batch {
    /// `known_dead` are places that were set aside when the batch was worked on before.
    pub(super) fn open(payload: &[u8], stored_at: Timestamp, known_dead: &[u32]) -> Self {
        let opened = guarded(|| wire::unpack::<v1::ActivityBatch>(payload).map_err(|error| error.to_string()));
        let opened = opened.and_then(|opened| opened).and_then(|wire| match wire.observations.len() {
            0..=ACTIVITIES_MAX => Ok(wire),
            many => Err(format!("{many} activities at once")),
        });
        match opened {
            Err(reason) => {
                Self { wire: v1::ActivityBatch::default(), dead: BTreeMap::new(), stored_at, whole: Some(reason) }
            }
            Ok(wire) => {
                let mut dead: BTreeMap<u32, String> = known_dead.iter().map(|place| (*place, String::new())).collect();
                for (place, observation) in (0..).zip(&wire.observations) {
                    if let Err(reason) = guarded(|| activity(observation).map(drop)).and_then(|read| read) {
                        dead.entry(place).or_insert(reason);
                    }
                }
                Self { wire, dead, stored_at, whole: None }
            }
        }
    }

    /// A batch whose content is nowhere.
    pub(super) fn lost(stored_at: Timestamp, name: &str) -> Self {
        let whole = Some(format!("{OBJECT} {name} is missing"));
        Self { wire: v1::ActivityBatch::default(), dead: BTreeMap::new(), stored_at, whole }
    }

    /// Sets the whole batch aside.
    pub(super) fn condemn(&mut self, reason: String) {
        self.dead = (0..self.wire.observations.len() as u32).map(|place| (place, String::new())).collect();
        self.whole.get_or_insert(reason);
    }

    /// What of the store it needs. Sets aside whatever makes asking fail.
    pub(super) fn needs(&mut self, measure: &dyn Measure) -> Needs {
        let places = self.living();
        let activities = self.activities(&places);
        if let Ok(needs) = guarded(|| measure.needs(&activities)) {
            return needs;
        }
        let culprits: Vec<(u32, String)> = (places.iter().zip(&activities))
            .filter_map(|(place, activity)| {
                guarded(|| measure.needs(std::slice::from_ref(activity))).err().map(|reason| (*place, reason))
            })
            .collect();
        drop(activities);
        self.dead.extend(culprits);
        let places = self.living();
        let activities = self.activities(&places);
        guarded(|| measure.needs(&activities)).unwrap_or_default()
    }

    /// Works on what is left of the batch.
    ///
    /// # Errors
    /// With the reason when that panics; [`Self::search`] finds out at which record.
    pub(super) fn measure(&self, measure: &dyn Measure, loaded: Loaded, epoch: &Epoch) -> Result<Measured, String> {
        let places = self.living();
        self.measure_first(places.len(), &places, measure, loaded, epoch)
    }

    fn measure_first(
        &self,
        count: usize,
        places: &[u32],
        measure: &dyn Measure,
        loaded: Loaded,
        epoch: &Epoch,
    ) -> Result<Measured, String> {
        let before = loaded.watermark;
        // Without a living record the clock does not move either, so that doing it again needs no more than the dead places.
        if self.whole.is_some() || (places.is_empty() && !self.wire.observations.is_empty()) {
            let watermarks = (before, before);
            return Ok(Measured { outcomes: Vec::new(), changes: Changes::default(), watermarks });
        }
        let activities = self.activities(&places[..count]);
        let tick = (self.wire.watermark_ms != 0).then(|| Timestamp::from_millis(self.wire.watermark_ms));
        let (outcomes, changes) = guarded(|| measure.work(loaded, epoch, &activities, tick, self.stored_at))?;
        if outcomes.len() != activities.len() {
            return Err(format!("{} outcomes of {} activities", outcomes.len(), activities.len()));
        }
        let watermarks = (before, changes.watermark.or(before));
        Ok(Measured { outcomes, changes, watermarks })
    }

    /// Finds the records at which working on the batch fails, one after the other, and sets them aside: records are worked
    /// on in order, so the shortest beginning that fails ends with the culprit, and halving finds it.
    pub(super) async fn search(&mut self, measure: &dyn Measure, loaded: &Loaded, epoch: &Epoch) {
        loop {
            let places = self.living();
            let fails = |count| self.measure_first(count, &places, measure, loaded.clone(), epoch).err();
            let Some(mut reason) = fails(places.len()) else { return };
            let (mut good, mut bad) = (0, places.len());
            while bad - good > 1 {
                tokio::task::yield_now().await;
                let middle = good + (bad - good) / 2;
                match fails(middle) {
                    Some(found) => (bad, reason) = (middle, found),
                    None => good = middle,
                }
            }
            if bad == 0 || fails(0).is_some() {
                // Not one of the records: the state or the tick.
                self.condemn(reason);
                return;
            }
            self.dead.insert(places[bad - 1], reason);
        }
    }

    /// What has to be buried before the output may say that it is dead.
    pub(super) fn burials(&self, payload: &Bytes) -> Vec<Dead> {
        if let Some(reason) = &self.whole {
            return vec![Dead { place: None, word: word(reason), reason: reason.clone(), payload: payload.clone() }];
        }
        let mut dead = Vec::new();
        for (place, reason) in &self.dead {
            let Some(observation) = self.wire.observations.get(*place as usize).filter(|_| !reason.is_empty()) else {
                continue;
            };
            // In the form of its subject, so that it can be sent again by itself.
            let alone = v1::ActivityBatch {
                id: format!("{}:{place}", self.wire.id),
                observations: vec![observation.clone()],
                rules: self.wire.rules.clone(),
                watermark_ms: 0,
            };
            dead.push(Dead {
                place: Some(*place),
                word: word(reason),
                reason: reason.clone(),
                payload: wire::pack(&alone),
            });
        }
        dead
    }

    pub(super) fn dead(&self) -> Vec<u32> {
        self.dead.keys().copied().collect()
    }

    /// The output. Observations move over from the batch.
    pub(super) fn output(&mut self, measured: &Measured, chain: &wire::Chain) -> v1::FeatureBatch {
        let living = self.living();
        let mut observations: Vec<Option<v1::Observation>> =
            std::mem::take(&mut self.wire.observations).into_iter().map(Some).collect();
        let mut events = Vec::with_capacity(living.len());
        let mut duplicates = 0;
        for (place, outcome) in living.iter().zip(&measured.outcomes) {
            match outcome {
                Outcome::Duplicate => duplicates += 1,
                Outcome::Measured { features, sequence, read_only } => events.push(v1::MeasuredEvent {
                    observation: observations.get_mut(*place as usize).and_then(Option::take),
                    features: Some(convert::features_to_wire(features)),
                    sequence: sequence.as_ref().map(convert::sequence_to_wire).unwrap_or_default(),
                    read_only: *read_only,
                }),
            }
        }
        let millis = |at: Option<Timestamp>| at.map_or(0, Timestamp::as_millis);
        v1::FeatureBatch {
            input_sequence: chain.input,
            previous_input_sequence: chain.previous_input,
            epoch: chain.epoch.clone(),
            events,
            rules: std::mem::take(&mut self.wire.rules),
            watermark_ms: millis(measured.watermarks.1),
            previous_watermark_ms: millis(measured.watermarks.0),
            duplicates,
            dead: self.dead(),
            feature_schema: SCHEMA_VERSION,
        }
    }

    /// Places that are not set aside.
    fn living(&self) -> Vec<u32> {
        (0..self.wire.observations.len() as u32).filter(|place| !self.dead.contains_key(place)).collect()
    }

    fn activities(&self, places: &[u32]) -> Vec<Activity<'_>> {
        // Those that cannot be read were set aside at the start, so none is left out here.
        places.iter().filter_map(|place| activity(&self.wire.observations[*place as usize]).ok()).collect()
    }
}

/// Places that an output names as dead.
pub(super) fn dead_of(payload: &[u8]) -> Vec<u32> {
    wire::unpack::<v1::FeatureBatch>(payload).map(|output| output.dead).unwrap_or_default()
}

fn activity(observation: &v1::Observation) -> Result<Activity<'_>, String> {
    let wire = observation.activity.as_ref().ok_or("it has no activity")?;
    convert::activity(wire).map_err(|error| error.to_string())
}

/// Runs what may panic on hostile input. Nothing that it changes is used after a panic.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        format!("{PANICKED}: {}", text.chars().take(REASON_CHARS_MAX).collect::<String>())
    })
}

/// What measures call a reason.
fn word(reason: &str) -> &'static str {
    match reason {
        UNDONE => "undone",
        _ if reason.starts_with(OBJECT) => "missing",
        _ if reason.starts_with(PANICKED) => "panicked",
        _ => "invalid",
    }
}

const PANICKED: &str = "working on it failed";
/// The object that should hold the batch.
const OBJECT: &str = "the object";
/// The batch seems to kill whoever works on it.
pub(super) const UNDONE: &str = "given out too often and never done";

/// Of the text of a panic, which may quote what it failed on.
const REASON_CHARS_MAX: usize = 300;
