//! Cutting what waits for one partition into batches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use trailwarden_core::time::Timestamp;
use trailwarden_proto::convert::Table;
use trailwarden_proto::v1;
use trailwarden_runtime::telemetry::Links;

use super::documents::Routed;
use super::receipt::Receipt;

/// Encoded bytes of a batch, but for one observation that has as many alone: half of what a broker takes by default.
pub(super) const BATCH_BYTES_MAX: usize = 512 << 10;

/// One request's records for one partition.
pub(super) struct Part {
    pub(super) stream: Arc<str>,
    pub(super) sequence: u64,
    /// In the order of the request.
    pub(super) routed: VecDeque<Routed>,
    /// Rules that they refer to.
    pub(super) rules: Arc<[String]>,
    pub(super) receipt: Arc<Receipt>,
    /// The request's span.
    pub(super) links: Links,
}

/// What waits for one partition, in the order in which it came.
#[derive(Default)]
pub(super) struct Waiting {
    parts: VecDeque<Part>,
    events: usize,
    bytes: usize,
}

/// A batch that is ready to go.
pub(super) struct Sealed {
    pub(super) batch: v1::ActivityBatch,
    /// Whom to tell of how many records once it is durable.
    pub(super) receipts: Vec<(Arc<Receipt>, usize)>,
    /// Latest event time in it that is believed.
    pub(super) latest: Option<Timestamp>,
    /// Spans of the requests.
    pub(super) links: Links,
}

impl Waiting {
    pub(super) fn push(&mut self, part: Part) {
        self.events += part.routed.len();
        self.bytes += part.routed.iter().map(|routed| routed.bytes).sum::<usize>();
        self.parts.push_back(part);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Whether there is enough for a full batch.
    pub(super) fn fills(&self, events_max: usize) -> bool {
        self.events >= events_max || self.bytes >= BATCH_BYTES_MAX
    }

    /// The next batch. Its id tells what it is made of: the same records of the same requests give the same one.
    pub(super) fn seal(&mut self, partition: u16, events_max: usize) -> Sealed {
        let mut table = Table::default();
        let mut observations = Vec::with_capacity(events_max.min(self.events));
        let (mut receipts, mut links) = (Vec::new(), Links::default());
        let mut id = Sha256::new();
        id.update(partition.to_le_bytes());
        let (mut bytes, mut latest) = (0, None);
        while let Some(part) = self.parts.front_mut() {
            let before = observations.len();
            while let Some(next) = part.routed.front() {
                let has_room = bytes + next.bytes <= BATCH_BYTES_MAX || observations.is_empty();
                if observations.len() >= events_max.max(1) || !has_room {
                    break;
                }
                let Some(Routed { bytes: own, id: event, believed, mut observation, .. }) = part.routed.pop_front()
                else {
                    break;
                };
                if table.adopt(&mut observation, &part.rules).is_err() {
                    // Both were made by one reader, so this is a defect; without its matches the event is still one.
                    tracing::error!("an observation and its table of rules do not belong together");
                    observation.matches.clear();
                }
                bytes += own;
                latest = latest.max(believed);
                id.update(event.to_le_bytes());
                observations.push(observation);
            }
            let taken = observations.len() - before;
            if taken > 0 {
                id.update((taken as u64).to_le_bytes());
                id.update(part.sequence.to_le_bytes());
                id.update(part.stream.as_bytes());
                receipts.push((Arc::clone(&part.receipt), taken));
                links.join(part.links.clone());
            }
            if !part.routed.is_empty() {
                break;
            }
            self.parts.pop_front();
        }
        self.events -= observations.len();
        self.bytes -= bytes;
        let id = id.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let batch = v1::ActivityBatch { id, observations, rules: table.into_ids(), watermark_ms: 0 };
        Sealed { batch, receipts, latest, links }
    }
}

/// How long a batch waits for company: not at all while requests come alone, longer the more share a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Requests in the batch before, beyond one.
    company: u32,
}

impl Pace {
    /// Company from which on the whole linger is worth its while.
    const BUSY: u32 = 4;

    pub(super) fn linger(self, linger_max: Duration) -> Duration {
        linger_max * self.company.min(Self::BUSY) / Self::BUSY
    }

    /// Learns from a batch that had records of so many requests.
    pub(super) fn learn(&mut self, requests: usize) {
        self.company = u32::try_from(requests.saturating_sub(1)).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(id: u128, bytes: usize, rule: u32) -> Routed {
        let matches = vec![v1::RuleMatch { rule, counted: Vec::new() }];
        let activity = Some(v1::Activity { event_id: id.to_string(), ..v1::Activity::default() });
        let observation = v1::Observation { activity, matches, ..v1::Observation::default() };
        Routed { partition: 3, id, bytes, believed: None, observation }
    }

    fn waiting(requests: &[(&str, u64, std::ops::Range<u128>)], bytes: usize) -> Waiting {
        let mut waiting = Waiting::default();
        for (stream, sequence, ids) in requests {
            let (receipt, _) = Receipt::new(ids.clone().count(), None);
            waiting.push(Part {
                stream: (*stream).into(),
                sequence: *sequence,
                routed: ids.clone().map(|id| routed(id, bytes, (id % 2) as u32)).collect(),
                rules: Arc::from([format!("{stream}-0"), format!("{stream}-1")]),
                receipt,
                links: Links::default(),
            });
        }
        waiting
    }

    fn cut(mut waiting: Waiting, events_max: usize) -> Vec<(String, usize, usize)> {
        let mut batches = Vec::new();
        while !waiting.is_empty() {
            let Sealed { batch, receipts, .. } = waiting.seal(3, events_max);
            assert_eq!(receipts.iter().map(|(_, count)| count).sum::<usize>(), batch.observations.len());
            batches.push((batch.id, batch.observations.len(), receipts.len()));
        }
        assert_eq!(waiting.bytes, 0);
        batches
    }

    fn shapes(batches: &[(String, usize, usize)]) -> Vec<(usize, usize)> {
        batches.iter().map(|(_, events, requests)| (*events, *requests)).collect()
    }

    #[test]
    fn batches_are_cut_by_number_and_by_bytes() {
        let small = cut(waiting(&[("a", 1, 0..300), ("a", 2, 300..310)], 100), 256);
        assert_eq!(shapes(&small), [(256, 1), (54, 2)]);
        let large = cut(waiting(&[("a", 1, 0..5)], BATCH_BYTES_MAX / 2), 256);
        assert_eq!(shapes(&large), [(2, 1), (2, 1), (1, 1)]);
        let too_large = cut(waiting(&[("a", 1, 0..2)], BATCH_BYTES_MAX + 1), 256);
        assert_eq!(shapes(&too_large), [(1, 1), (1, 1)]);
    }

    #[test]
    fn an_id_tells_what_a_batch_is_made_of() {
        let id = |requests: &[(&str, u64, std::ops::Range<u128>)]| cut(waiting(requests, 9), 256)[0].0.clone();
        let first = id(&[("a", 1, 0..9), ("b", 7, 9..12)]);
        assert_eq!(first, id(&[("a", 1, 0..9), ("b", 7, 9..12)]));
        for other in [
            vec![("a", 2, 0..9), ("b", 7, 9..12)],
            vec![("a", 1, 0..9), ("c", 7, 9..12)],
            vec![("a", 1, 0..8), ("b", 7, 8..12)],
            vec![("a", 1, 0..9)],
        ] {
            assert_ne!(first, id(&other), "{other:?}");
        }
    }

    #[test]
    fn rules_of_several_requests_share_one_table() {
        let mut waiting = waiting(&[("a", 1, 0..3), ("b", 1, 3..5)], 9);
        let batch = waiting.seal(3, 256).batch;
        let rules: Vec<&str> =
            batch.observations.iter().map(|told| batch.rules[told.matches[0].rule as usize].as_str()).collect();
        assert_eq!(rules, ["a-0", "a-1", "a-0", "b-1", "b-0"]);
    }

    #[test]
    fn who_is_alone_does_not_wait() {
        let most = Duration::from_millis(20);
        let mut pace = Pace::default();
        let mut linger = |requests| {
            pace.learn(requests);
            pace.linger(most)
        };
        assert_eq!([linger(1), linger(0)], [Duration::ZERO; 2]);
        assert!(linger(2) > Duration::ZERO && linger(2) < linger(4));
        assert_eq!([linger(5), linger(500)], [most; 2]);
    }
}
