//! The documents of one request, read by the one parser into what goes on the wire.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use rustc_hash::FxHashSet;
use trailwarden_core::activity::{Activity, Observation};
use trailwarden_core::detection::RuleSet;
use trailwarden_core::hash::hash128_of;
use trailwarden_core::partition::partition_of;
use trailwarden_core::time::{MINUTE_MS, Timestamp};
use trailwarden_proto::convert::Table;
use trailwarden_proto::v1;
use trailwarden_proto::wire::size;

use crate::feed::{Piece, feed, feed_whole};
use crate::limits::Limits;
use crate::normalise::with_activity;
use crate::parse::{Record, Rejection};
use crate::reason::{Place, RejectReason};
use crate::shape::Sink;
use crate::source::{GZIP_MAGIC, Origin, Stream};
use crate::{Observe, walk};

/// Records of one request, those that are none included. What it names of them fits into an answer.
pub(super) const RECORDS_MAX: usize = 16_384;
/// What all documents of one request may inflate to.
const REQUEST_BYTES_MAX: u64 = 32 << 20;
/// Encoded bytes of an observation beyond which its texts are cut. CloudTrail's own records stay far below.
const OBSERVATION_BYTES_MAX: usize = 256 << 10;
/// What a cut text keeps. All texts of an observation together have room in a message then.
const TEXT_BYTES_MAX: usize = 2 << 10;
/// Longest event id in an answer.
const NAMED_ID_BYTES_MAX: usize = 128;
/// Events further ahead of the clock are not believed.
const AHEAD_MS_MAX: i64 = 5 * MINUTE_MS;

/// 128 bits of SHA-256 over an event id and its caller, as featurizers have it: nobody who can write event ids can make
/// one event pass for another, and a caller's ids are its own, so that none hides another caller's event with its id.
pub(super) type IdHash = u128;

/// An observation on its way.
#[derive(Debug)]
pub(super) struct Routed {
    pub(super) partition: u16,
    pub(super) id: IdHash,
    /// Encoded.
    pub(super) bytes: usize,
    /// When it happened, if that is believed.
    pub(super) believed: Option<Timestamp>,
    pub(super) observation: v1::Observation,
}

/// What a request held.
#[derive(Debug, Default)]
pub(super) struct Documents {
    /// Distinct by event id and caller, in the order of the request.
    pub(super) routed: Vec<Routed>,
    /// Rule ids that the observations refer to.
    pub(super) rules: Vec<String>,
    /// Event ids that the same caller had before.
    pub(super) duplicates: Vec<String>,
    pub(super) rejected: Vec<v1::RejectedRecord>,
    /// How many of those for which reason.
    pub(super) refusals: BTreeMap<RejectReason, u64>,
    /// Latest event time that is believed.
    pub(super) latest: Option<Timestamp>,
    /// Observations whose texts were cut for their size.
    pub(super) cut: u64,
}

/// How requests are read.
pub(super) struct Reader {
    observe: Arc<dyn Observe + Send + Sync>,
    rules: Arc<RuleSet>,
    limits: Limits,
    partitions: u16,
}

impl Reader {
    pub(super) fn new(
        observe: Arc<dyn Observe + Send + Sync>,
        rules: Arc<RuleSet>,
        limits: Limits,
        partitions: u16,
    ) -> Self {
        let bytes_max = usize::try_from(REQUEST_BYTES_MAX).unwrap_or(usize::MAX);
        let limits = Limits {
            document_bytes_max: limits.document_bytes_max.min(bytes_max),
            line_bytes_max: limits.line_bytes_max.min(bytes_max),
            ..limits
        };
        Self { observe, rules, limits, partitions }
    }

    /// Reads documents of any delivered shape, plain or gzip. `now` is the clock that tells what to believe.
    pub(super) fn read<D: AsRef<[u8]>>(&self, documents: &[D], now: Timestamp) -> Documents {
        let mut gatherer = Gatherer {
            reader: self,
            now,
            document: 0,
            table: Table::default(),
            seen: FxHashSet::default(),
            found: 0,
            is_over: false,
            into: Documents::default(),
        };
        let mut bytes_left = REQUEST_BYTES_MAX;
        for (number, document) in (0..).zip(documents) {
            gatherer.document = number;
            gatherer.is_over = false;
            let found_before = gatherer.found;
            let read =
                catch_unwind(AssertUnwindSafe(|| self.document(document.as_ref(), &mut bytes_left, &mut gatherer)));
            if read.is_err() {
                tracing::error!(document = number, "reading a document ended in a defect");
                gatherer.reject(Place::default(), Rejection::new(RejectReason::Defect, ""));
            } else if gatherer.found == found_before {
                gatherer.reject(Place::default(), Rejection::new(RejectReason::Empty, ""));
            }
        }
        Documents { rules: gatherer.table.into_ids(), ..gatherer.into }
    }

    fn document(&self, bytes: &[u8], bytes_left: &mut u64, gatherer: &mut Gatherer<'_>) {
        let limits =
            Limits { inflated_bytes_max: self.limits.inflated_bytes_max.min(*bytes_left), ..self.limits.clone() };
        let is_small = bytes.len() <= limits.line_bytes_max.min(limits.document_bytes_max);
        if !bytes.starts_with(&GZIP_MAGIC) && is_small {
            feed_whole(bytes, |piece| take(piece, &limits, gatherer));
            return;
        }
        if *bytes_left == 0 {
            gatherer.reject(Place::default(), Rejection::new(RejectReason::InflatedTooLarge, ""));
            return;
        }
        // Only threads of one run share documents, and this is one thread.
        let (read, alone) = (AtomicU64::new(0), Mutex::new(()));
        let origin = Origin::Memory(bytes);
        let fed = Stream::open(&origin, &limits, &read).map(|mut stream| {
            let fed = feed(&mut stream, &limits, &alone, |piece| {
                take(piece, &limits, gatherer);
                Ok(())
            });
            *bytes_left = bytes_left.saturating_sub(stream.inflated());
            fed
        });
        if !matches!(fed, Ok(Ok(()))) {
            gatherer.reject(Place::default(), Rejection::new(RejectReason::Unreadable, ""));
        }
    }
}

fn take(piece: Piece, limits: &Limits, sink: &mut Gatherer<'_>) {
    match piece {
        Piece::Lines(lines) => walk::lines(&lines, limits, sink),
        Piece::Document { bytes, is_cut } => walk::document(bytes, is_cut, limits, sink),
        Piece::Rejected(place, rejection) => sink.reject(place, rejection),
    }
}

/// Where the records of one request go.
struct Gatherer<'g> {
    reader: &'g Reader,
    now: Timestamp,
    document: u32,
    table: Table,
    seen: FxHashSet<IdHash>,
    /// Whatever was found: accepted, met again or rejected.
    found: usize,
    /// It was said that this document's further records are not taken.
    is_over: bool,
    into: Documents,
}

impl Gatherer<'_> {
    /// Whether there is room for one more record of this request.
    fn has_room(&mut self, place: Place) -> bool {
        self.found += 1;
        if self.found > RECORDS_MAX && !self.is_over {
            self.is_over = true;
            self.name(place, RejectReason::TooManyRecords);
        }
        self.found <= RECORDS_MAX
    }

    fn name(&mut self, place: Place, reason: RejectReason) {
        // Lines are told by their number; most hold one record.
        let at = if place.line > 0 { place.line } else { place.record };
        let record = u32::try_from(at).unwrap_or(u32::MAX);
        let rejected = v1::RejectedRecord { document: self.document, record, reason: reason.name().to_owned() };
        self.into.rejected.push(rejected);
        *self.into.refusals.entry(reason).or_default() += 1;
    }

    fn keep(&mut self, observation: &Observation<'_>) {
        let activity = &observation.activity;
        let id = id_of(activity);
        if !self.seen.insert(id) {
            self.into.duplicates.push(named(activity.event_id));
            return;
        }
        let believed = Some(activity.event_time).filter(|at| at.since_ms(self.now) <= AHEAD_MS_MAX);
        self.into.latest = self.into.latest.max(believed);
        let partition = partition_of(activity.account, activity.principal, self.reader.partitions);
        let mut observation = self.table.observation(&self.reader.rules, observation);
        let mut bytes = size(&observation);
        if bytes > OBSERVATION_BYTES_MAX {
            cut(&mut observation, id);
            bytes = size(&observation);
            self.into.cut += 1;
        }
        self.into.routed.push(Routed { partition, id, bytes, believed, observation });
    }
}

impl Sink for Gatherer<'_> {
    fn record(&mut self, place: Place, raw: &str, record: &Record<'_>) {
        let event_time = match record.check(raw, &self.reader.limits) {
            Ok(event_time) => event_time,
            Err(rejection) => return self.reject(place, rejection),
        };
        if self.has_room(place) {
            let reader = self.reader;
            with_activity(raw, record, event_time, |view, activity| self.keep(&reader.observe.observe(view, activity)));
        }
    }

    fn reject(&mut self, place: Place, rejection: Rejection) {
        if self.has_room(place) {
            self.name(place, rejection.reason);
        }
    }
}

fn id_of(activity: &Activity<'_>) -> IdHash {
    hash128_of([activity.event_id, activity.account, activity.principal])
}

/// An event id for an answer.
pub(super) fn named(event_id: &str) -> String {
    event_id[..event_id.floor_char_boundary(NAMED_ID_BYTES_MAX)].to_owned()
}

/// Cuts all texts of an observation that nobody but a forger makes so large. What is equal stays equal but for what
/// differs beyond the cut; the event id stays distinct.
fn cut(observation: &mut v1::Observation, id: IdHash) {
    let shorten = |text: &mut String| text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    if let Some(activity) = &mut observation.activity {
        if activity.event_id.len() > TEXT_BYTES_MAX {
            activity.event_id = format!("cut:{id:032x}");
        }
        let v1::Activity {
            account, region, service, call, principal, session, session_name, source, user_agent, ..
        } = activity;
        [account, region, service, call, principal, session, session_name, source, user_agent]
            .into_iter()
            .chain([&mut activity.shared_event_id, &mut activity.error_code].into_iter().flatten())
            .for_each(shorten);
    }
    let nodes = observation.links.iter_mut().flat_map(|link| [&mut link.parent, &mut link.child]).flatten();
    nodes.filter_map(|node| node.kind.as_mut()).for_each(|kind| match kind {
        v1::node::Kind::Session(text) | v1::node::Kind::Principal(text) | v1::node::Kind::Instance(text) => {
            shorten(text);
        }
    });
    let resources = observation.details.iter_mut().flat_map(|details| &mut details.resources);
    resources.flat_map(|resource| [&mut resource.account, &mut resource.region, &mut resource.id]).for_each(shorten);
}
