//! `CollectorService.Ingest`: documents in, an answer for each request once all its records are durable or refused for good.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;
use trailwarden_proto::status::{Fault, Retry, status};
use trailwarden_proto::v1;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::{Clock, failpoint, telemetry};

use super::batch::Part;
use super::batcher::{Batcher, Watermark};
use super::documents::{Documents, IdHash, Reader, Routed, named};
use super::receipt::Receipt;
use super::recent::Recent;

/// Clients at once.
const STREAMS_MAX: usize = 256;
/// Requests of one connection that wait for their answer to be read; the next is not read before there is a place. It
/// bounds what a client keeps here that reads no answers: its records take no room once they are durable.
const UNANSWERED_MAX: usize = 32;
/// Documents of one request.
const DOCUMENTS_MAX: usize = 4_096;
/// Longest name of a client's stream.
const STREAM_BYTES_MAX: usize = 256;
/// Requests that are read at once. Each may hold what it inflates to.
const READS_MAX: usize = 4;
/// Encoded observations that are read and not yet durable, over all clients, in KiB.
const IN_FLIGHT_KIB_MAX: u32 = 64 << 10;
/// The same for history, which waits for hours where nobody works it off: what is live must find its room.
const HISTORY_READS_MAX: usize = 1;
const HISTORY_KIB_MAX: u32 = 16 << 10;

/// The service.
#[derive(Clone)]
pub(super) struct Ingest(Arc<Shared>);

struct Shared {
    reader: Arc<Reader>,
    batcher: Batcher,
    watermark: Arc<Watermark>,
    live: Room,
    history: Room,
    clock: Clock,
    metrics: Metrics,
    streams: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// What one lane may take, and what it remembers. Lanes share nothing, so that neither waits for the other, and an event
/// that came as history is still news when it comes live.
struct Room {
    reads: Semaphore,
    in_flight: Arc<Semaphore>,
    kib_max: u32,
    recent: Arc<Recent>,
}

impl Room {
    fn new(reads_max: usize, kib_max: u32) -> Self {
        let in_flight = Arc::new(Semaphore::new(kib_max as usize));
        Self { reads: Semaphore::new(reads_max), in_flight, kib_max, recent: Arc::default() }
    }
}

impl Ingest {
    pub(super) fn new(
        reader: Reader,
        batcher: Batcher,
        watermark: Arc<Watermark>,
        (clock, metrics): (Clock, Metrics),
        shutdown: CancellationToken,
    ) -> Self {
        Self(Arc::new(Shared {
            reader: Arc::new(reader),
            batcher,
            watermark,
            live: Room::new(READS_MAX, IN_FLIGHT_KIB_MAX),
            history: Room::new(HISTORY_READS_MAX, HISTORY_KIB_MAX),
            clock,
            metrics,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            shutdown,
        }))
    }
}

#[tonic::async_trait]
impl v1::collector_service_server::CollectorService for Ingest {
    type IngestStream = Pin<Box<dyn Stream<Item = Result<v1::IngestResponse, Status>> + Send>>;

    async fn ingest(
        &self,
        request: Request<Streaming<v1::IngestRequest>>,
    ) -> Result<Response<Self::IngestStream>, Status> {
        let crowded = |_| status(Fault::Input, Retry::Later, "there are too many clients");
        let seat = Arc::clone(&self.0.streams).try_acquire_owned().map_err(crowded)?;
        let (sender, answers) = mpsc::channel(UNANSWERED_MAX);
        let conversation = Arc::clone(&self.0).converse(request.into_inner(), sender, seat);
        tokio::spawn(conversation.in_current_span());
        // In the order of the requests; the first failure ends the stream, and the client sends again what was not answered.
        let answers = ReceiverStream::new(answers).then(|taken: Result<Taken, Status>| async {
            match taken {
                Ok(taken) => taken.answer().await,
                Err(refusal) => Err(refusal),
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

impl Shared {
    /// Takes request after request until the client ends, fails or is gone, or the process stops.
    async fn converse(
        self: Arc<Self>,
        mut requests: Streaming<v1::IngestRequest>,
        answers: mpsc::Sender<Result<Taken, Status>>,
        _seat: OwnedSemaphorePermit,
    ) {
        let mut sequences = BTreeMap::new();
        loop {
            // A place for the answer comes first, so that what nobody reads is bounded.
            let place = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                place = answers.reserve() => place,
            };
            let Ok(place) = place else { return };
            let next = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                () = answers.closed() => return,
                next = requests.next() => next,
            };
            let taken = match next {
                Some(Ok(request)) => match check(&request, &mut sequences) {
                    Ok(lane) => {
                        let span = tracing::debug_span!("request", documents = request.documents.len());
                        self.take(lane, request).instrument(span).await
                    }
                    Err(refusal) => Err(refusal),
                },
                // The client broke off; there is nobody to tell.
                Some(Err(_)) | None => return,
            };
            let is_over = taken.is_err();
            place.send(taken);
            if is_over {
                return;
            }
        }
    }

    /// Reads a request and hands its records to their partitions.
    async fn take(&self, lane: v1::Lane, request: v1::IngestRequest) -> Result<Taken, Status> {
        let v1::IngestRequest { sequence, stream, documents, .. } = request;
        let room = if lane == v1::Lane::Backfill { &self.history } else { &self.live };
        // Nobody closes this semaphore, nor that of the room below.
        let reading = room.reads.acquire().await;
        let (reader, now) = (Arc::clone(&self.reader), (self.clock)());
        let mut stopwatch = self.metrics.stopwatch();
        // On a thread of its own: a request may take milliseconds, and a hostile one many.
        let read = tokio::task::spawn_blocking(move || reader.read(&documents, now)).await;
        let Documents { mut routed, rules, mut duplicates, rejected, refusals, latest, cut } =
            read.map_err(|_| status(Fault::Us, Retry::Never, "reading ended in a defect"))?;
        stopwatch.lap("read");
        failpoint::hit("collector.read");
        if cut > 0 {
            tracing::warn!(observations = cut, "texts were cut for their size");
        }
        let known = room.recent.known(&stream, routed.iter().map(|routed| routed.id));
        let mut known = known.into_iter();
        routed.retain(|routed| {
            let is_known = known.next().unwrap_or(false);
            if is_known {
                let activity = routed.observation.activity.as_ref();
                duplicates.push(named(activity.map_or("", |activity| &activity.event_id)));
            }
            !is_known
        });
        self.metrics.duplicates(duplicates.len() as u64);
        refusals.iter().for_each(|(reason, records)| self.metrics.rejected(reason.name(), *records));
        let kib = routed.iter().map(|routed| routed.bytes).sum::<usize>().div_ceil(1 << 10);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX).min(room.kib_max);
        let taken = Arc::clone(&room.in_flight).acquire_many_owned(kib).await.ok();
        drop(reading);
        if let Some(latest) = latest.filter(|_| lane == v1::Lane::Live) {
            self.watermark.see(latest, now);
        }
        let ids: Vec<IdHash> = routed.iter().map(|routed| routed.id).collect();
        let (receipt, durable) = Receipt::new(ids.len(), taken);
        self.dispatch(lane, (&stream, sequence), routed, rules, &receipt).await?;
        let accepted = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let answer = v1::IngestResponse { sequence, accepted, duplicates, rejected };
        Ok(Taken { answer, durable, stream, ids, recent: Arc::clone(&room.recent) })
    }

    async fn dispatch(
        &self,
        lane: v1::Lane,
        (stream, sequence): (&str, u64),
        routed: Vec<Routed>,
        rules: Vec<String>,
        receipt: &Arc<Receipt>,
    ) -> Result<(), Status> {
        let (stream, rules): (Arc<str>, Arc<[String]>) = (stream.into(), rules.into());
        let mut parts = BTreeMap::<u16, VecDeque<Routed>>::new();
        for one in routed {
            parts.entry(one.partition).or_default().push_back(one);
        }
        let links = telemetry::current();
        for (partition, routed) in parts {
            let links = links.clone();
            let (stream, rules, receipt) = (Arc::clone(&stream), Arc::clone(&rules), Arc::clone(receipt));
            self.batcher.send(lane, partition, Part { stream, sequence, routed, rules, receipt, links }).await?;
        }
        Ok(())
    }
}

/// Whether a request keeps to the contract; the lane that it asks for.
fn check(request: &v1::IngestRequest, sequences: &mut BTreeMap<String, u64>) -> Result<v1::Lane, Status> {
    let refuse = |what: &str| Err(status(Fault::Input, Retry::Never, what));
    let v1::IngestRequest { sequence, stream, documents, lane } = request;
    if stream.len() > STREAM_BYTES_MAX {
        return refuse("`stream` is longer than 256 bytes");
    }
    if documents.len() > DOCUMENTS_MAX {
        return refuse("`documents` are more than 4096");
    }
    let lane = match v1::Lane::try_from(*lane) {
        Ok(lane @ (v1::Lane::Live | v1::Lane::Backfill)) => lane,
        _ => return refuse("`lane` is neither live nor backfill"),
    };
    // One stream a connection is what clients do; the bound is for those that do not.
    if !sequences.contains_key(stream) && sequences.len() >= STREAMS_MAX {
        return refuse("there are more than 256 streams on one connection");
    }
    let last = sequences.entry(stream.clone()).or_default();
    if *sequence <= *last {
        return refuse("`sequence` does not grow");
    }
    *last = *sequence;
    Ok(lane)
}

/// A request whose records are on their way.
struct Taken {
    answer: v1::IngestResponse,
    durable: oneshot::Receiver<Result<(), Status>>,
    stream: String,
    ids: Vec<IdHash>,
    recent: Arc<Recent>,
}

impl Taken {
    async fn answer(self) -> Result<v1::IngestResponse, Status> {
        let unknown = |_| status(Fault::Us, Retry::Later, "the collector ended before the records were durable");
        self.durable.await.map_err(unknown)??;
        self.recent.remember(&self.stream, self.ids);
        Ok(self.answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use tokio::task::JoinSet;
    use trailwarden_bus::Bus;

    use super::super::tests::{config, full, now, reader, record, request};
    use super::*;

    /// An ingest whose batches go to `bus`, by tasks that end with `tasks`.
    fn ingest(bus: Arc<dyn Bus>, tasks: &mut JoinSet<()>) -> Ingest {
        let measures = telemetry::quiet("collector").unwrap();
        let clock: Clock = Arc::new(now);
        let (metrics, stop) = (measures.metrics().clone(), CancellationToken::new());
        let config = config(Duration::from_secs(3_600));
        let batcher = Batcher::start(&config, &bus, (&clock, &metrics), &stop, tasks);
        Ingest::new(reader(), batcher, Arc::default(), (clock, metrics), stop)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn room_is_taken_by_what_is_not_durable_and_by_nothing_else() {
        let (full, mut tasks) = (full(usize::MAX).await, JoinSet::new());
        let mut ingest = ingest(Arc::clone(&full) as Arc<dyn Bus>, &mut tasks);
        // For one small request.
        let room = Arc::new(Semaphore::new(1));
        Arc::get_mut(&mut ingest.0).unwrap().live.in_flight = Arc::clone(&room);
        let take = |number: u64| {
            let documents = [record(&format!("e{number}"), "mia")];
            ingest.0.take(v1::Lane::Live, request(number, v1::Lane::Live, &documents))
        };

        // The client is gone; its records are still here.
        drop(take(1).await.unwrap());
        assert_eq!(room.available_permits(), 0);
        // The broker takes them, and nobody's unread answer keeps the others from their turn.
        full.refusals.store(0, Ordering::SeqCst);
        let unread = take(2).await.unwrap();
        assert_eq!(take(3).await.unwrap().answer().await.unwrap().accepted, 1);
        assert_eq!(unread.answer().await.unwrap().accepted, 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn history_that_nobody_takes_holds_up_nothing_that_is_live() {
        let (full, mut tasks) = (full(usize::MAX).await, JoinSet::new());
        let mut ingest = ingest(Arc::clone(&full) as Arc<dyn Bus>, &mut tasks);
        Arc::get_mut(&mut ingest.0).unwrap().history = Room::new(1, 1);
        let take = |lane, number: u64| {
            let shared = Arc::clone(&ingest.0);
            let request = request(number, lane, &[record(&format!("e{number}"), "mia")]);
            async move { shared.take(lane, request).await.unwrap() }
        };
        let first = take(v1::Lane::Backfill, 1).await;
        let waits = tokio::spawn(take(v1::Lane::Backfill, 2));
        while ingest.0.history.reads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let live = tokio::time::timeout(Duration::from_secs(60), take(v1::Lane::Live, 3)).await.unwrap();
        assert!(!waits.is_finished(), "there is room for one");
        full.refusals.store(0, Ordering::SeqCst);
        for taken in [live, first, waits.await.unwrap()] {
            assert_eq!(taken.answer().await.unwrap().accepted, 1);
        }
    }

    #[test]
    fn a_request_that_breaks_the_contract_is_refused() {
        let good = v1::IngestRequest { sequence: 3, stream: "s".into(), documents: Vec::new(), lane: 1 };
        let mut sequences = BTreeMap::new();
        assert_eq!(check(&good, &mut sequences).ok(), Some(v1::Lane::Live));
        let other = v1::IngestRequest { stream: "t".into(), lane: 2, sequence: 1, ..good.clone() };
        assert_eq!(check(&other, &mut sequences).ok(), Some(v1::Lane::Backfill));
        for bad in [
            good.clone(),
            v1::IngestRequest { sequence: 0, stream: "u".into(), ..good.clone() },
            v1::IngestRequest { sequence: 4, lane: 0, ..good.clone() },
            v1::IngestRequest { sequence: 4, lane: 3, ..good.clone() },
            v1::IngestRequest { sequence: 4, stream: "s".repeat(300), ..good.clone() },
            v1::IngestRequest { sequence: 4, documents: vec![Default::default(); DOCUMENTS_MAX + 1], ..good.clone() },
        ] {
            let refusal = check(&bad, &mut sequences).unwrap_err();
            assert_eq!(refusal.code(), tonic::Code::InvalidArgument, "{bad:?}");
        }
    }
}
