//! Every instrument there is, in one place: what is measured, by which labels, in which unit.
//!
//! A [`Metrics`] is a role's handle to them, cheap to clone and passed in; nothing looks a meter up. Labels are words of
//! the program, never words of a log line, so their number is bounded. What is worth a log line as well is an event:
//! see `event.rs`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use tokio::time::Instant;

/// Partitions are told apart by so many groups at most, so that a large deployment has no more time series than a small one.
pub const PARTITION_GROUPS: u16 = 16;

/// Seconds; one step of one batch takes from some microseconds in memory to some seconds on a bad day.
const STEP_BOUNDS_S: [f64; 14] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
/// Seconds; `CloudTrail` delivers after five minutes on average.
const DELAY_BOUNDS_S: [f64; 10] = [1.0, 10.0, 60.0, 120.0, 300.0, 600.0, 900.0, 3_600.0, 21_600.0, 86_400.0];
/// Bytes; 4 KiB is what a principal's live state may take.
const STATE_BOUNDS_BYTES: [f64; 8] = [128.0, 256.0, 512.0, 1_024.0, 2_048.0, 3_072.0, 4_096.0, 8_192.0];

/// One role's instruments.
#[derive(Clone)]
pub struct Metrics {
    role: &'static str,
    instruments: Arc<Instruments>,
}

struct Instruments {
    batches: Counter<u64>,
    events: Counter<u64>,
    duplicates: Counter<u64>,
    signals: Counter<u64>,
    history: Counter<u64>,
    cases: Counter<u64>,
    model_calls: Counter<u64>,
    model_tokens: Counter<u64>,
    model_cost: Counter<f64>,
    errors: Counter<u64>,
    step_duration: Histogram<f64>,
    calls: Histogram<f64>,
    lag: Gauge<u64>,
    in_flight: Gauge<u64>,
    depth: Gauge<u64>,
    dead_letters: Counter<u64>,
    rejects: Counter<u64>,
    redeliveries: Counter<u64>,
    rebuilds: Counter<u64>,
    epochs: Counter<u64>,
    state_size: Histogram<u64>,
    event_delay: Histogram<f64>,
    signal_delay: Histogram<f64>,
    ready: Gauge<u64>,
    alert: Gauge<u64>,
    actors: Gauge<u64>,
    mailbox: Gauge<u64>,
    restarts: Counter<u64>,
    told: Counter<u64>,
    /// Milliseconds, for whoever looks after the role's health; [`NO_DELAY`] when nothing came since the last look.
    latest_delay_ms: AtomicU64,
}

const NO_DELAY: u64 = u64::MAX;

/// How far the consumer of one partition is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    pub partition: u16,
    /// Messages not yet given out.
    pub pending: u64,
    /// Messages given out and not acknowledged.
    pub in_flight: u64,
}

/// Measures the steps of a batch one after the other.
#[derive(Debug)]
pub struct Stopwatch<'a> {
    metrics: &'a Metrics,
    began: Instant,
    since: Instant,
}

impl Stopwatch<'_> {
    /// A step ends here; the next one begins.
    pub fn lap(&mut self, step: &'static str) {
        let now = Instant::now();
        self.metrics.step(step, now - self.since);
        self.since = now;
    }

    /// The next step begins here; what was before is nobody's.
    pub fn skip(&mut self) {
        self.since = Instant::now();
    }

    /// Time since it was started.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Instruments {
    fn new(meter: &Meter) -> Self {
        let counter = |name, unit, what| meter.u64_counter(name).with_unit(unit).with_description(what).build();
        let gauge = |name, unit, what| meter.u64_gauge(name).with_unit(unit).with_description(what).build();
        let seconds = |name, bounds: &[f64], what| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_boundaries(bounds.to_vec());
            histogram.with_description(what).build()
        };
        Self {
            batches: counter("trailwarden_batches", "{batch}", "Batches done with"),
            events: counter("trailwarden_events", "{event}", "Events in them"),
            duplicates: counter("trailwarden_duplicates", "{event}", "Events that had been seen before"),
            signals: counter("trailwarden_signals", "{signal}", "Events worth keeping"),
            history: counter("trailwarden_history", "{event}", "Events of history that were learned from"),
            cases: counter("trailwarden_cases", "{transition}", "What happened to cases, by transition"),
            model_calls: counter("trailwarden_model_calls", "{call}", "Calls of models, by how they ended"),
            model_tokens: counter("trailwarden_model_tokens", "{token}", "Tokens that models read and wrote"),
            model_cost: meter
                .f64_counter("trailwarden_model_cost")
                .with_unit("{dollar}")
                .with_description("What that cost, by the configured prices")
                .build(),
            errors: counter(
                "trailwarden_errors",
                "{error}",
                "What went wrong, by reason; tried again where that helps",
            ),
            step_duration: seconds("trailwarden_step_duration", &STEP_BOUNDS_S, "Time that one step of one batch took"),
            calls: seconds(
                "trailwarden_call_duration",
                &STEP_BOUNDS_S,
                "Time until a call was answered, by method and status",
            ),
            lag: gauge("trailwarden_lag", "{message}", "Messages not yet given out, by group of partitions"),
            in_flight: gauge("trailwarden_in_flight", "{message}", "Messages given out and not acknowledged"),
            depth: gauge("trailwarden_bus_depth", "{message}", "Messages that a stream of the bus holds"),
            dead_letters: counter(
                "trailwarden_dead_letters",
                "{record}",
                "Records that could not be worked on, by reason",
            ),
            rejects: counter("trailwarden_rejects", "{record}", "Records not taken in, by reason"),
            redeliveries: counter("trailwarden_redeliveries", "{message}", "Messages given out once more"),
            rebuilds: counter("trailwarden_rebuilds", "{rebuild}", "Times that states were rebuilt from the streams"),
            epochs: counter("trailwarden_epochs", "{epoch}", "Baseline epochs, by what was done with them"),
            state_size: meter
                .u64_histogram("trailwarden_state_size")
                .with_unit("By")
                .with_boundaries(STATE_BOUNDS_BYTES.to_vec())
                .with_description("Packed live state of a principal")
                .build(),
            event_delay: seconds(
                "trailwarden_event_delay",
                &DELAY_BOUNDS_S,
                "From an event's time to when it was taken in",
            ),
            signal_delay: seconds(
                "trailwarden_signal_delay",
                &STEP_BOUNDS_S,
                "From an event's acknowledgement to its signal",
            ),
            ready: gauge("trailwarden_ready", "1", "Whether the role can do its work"),
            alert: gauge("trailwarden_alert", "1", "Whether a condition that an operator should know of holds"),
            actors: gauge("trailwarden_actors", "{actor}", "Actors, by what they are at"),
            mailbox: gauge("trailwarden_mailbox", "{request}", "Requests that wait in mailboxes of actors"),
            restarts: counter("trailwarden_restarts", "{restart}", "Times that an actor was built anew"),
            told: counter("trailwarden_alerts", "{alert}", "Alerts, by kind of channel and what became of them"),
            latest_delay_ms: AtomicU64::new(NO_DELAY),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::nowhere()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Metrics {
    pub(crate) fn new(meter: &Meter, role: &'static str) -> Self {
        Self { role, instruments: Arc::new(Instruments::new(meter)) }
    }

    /// Measures that nobody reads, for tests and tools.
    pub fn nowhere() -> Self {
        Self::new(&SdkMeterProvider::builder().build().meter("nowhere"), "none")
    }

    /// The same instruments under another role's name, where several share a process.
    pub fn of(&self, role: &'static str) -> Self {
        Self { role, instruments: Arc::clone(&self.instruments) }
    }

    pub fn role(&self) -> &'static str {
        self.role
    }

    /// A batch is done with: published, committed, acknowledged.
    pub fn batch(&self, events: u64) {
        self.batches(1, events);
    }

    /// Several batches are done with at once.
    pub fn batches(&self, batches: u64, events: u64) {
        self.instruments.batches.add(batches, &[self.own()]);
        self.instruments.events.add(events, &[self.own()]);
    }

    pub fn duplicates(&self, events: u64) {
        self.instruments.duplicates.add(events, &[self.own()]);
    }

    pub fn signals(&self, signals: u64) {
        self.instruments.signals.add(signals, &[self.own()]);
    }

    /// Events that were taken in after the fact and learned from.
    pub fn history(&self, events: u64) {
        self.instruments.history.add(events, &[self.own()]);
    }

    /// What happened to cases: `judged`, `closed`, `merged`, `labelled`; `differing` where their log says
    /// something else than what follows; `archived` of what is told of them.
    pub fn cases(&self, transition: &'static str, cases: u64) {
        self.instruments.cases.add(cases, &[self.own(), KeyValue::new("transition", transition)]);
    }

    /// A call of a model, by how it ended.
    pub fn model_call(&self, ended: &'static str) {
        self.instruments.model_calls.add(1, &[self.own(), KeyValue::new("ended", ended)]);
    }

    /// Tokens of models, and what they cost where prices are known.
    pub fn model_usage(&self, read: u64, written: u64, micro_dollars: Option<u64>) {
        for (way, tokens) in [("read", read), ("written", written)] {
            self.instruments.model_tokens.add(tokens, &[self.own(), KeyValue::new("way", way)]);
        }
        if let Some(micro_dollars) = micro_dollars {
            self.instruments.model_cost.add(micro_dollars as f64 / 1e6, &[self.own()]);
        }
    }

    /// One step of one batch: `read`, `compute`, `publish`, `commit`, `acknowledge` and what else a role does.
    pub fn step(&self, step: &'static str, took: Duration) {
        let labels = [self.own(), KeyValue::new("step", step)];
        self.instruments.step_duration.record(took.as_secs_f64(), &labels);
    }

    /// For steps that follow one another, from now on.
    pub fn stopwatch(&self) -> Stopwatch<'_> {
        let now = Instant::now();
        Stopwatch { metrics: self, began: now, since: now }
    }

    /// An answered gRPC call. `method` is one that the server knows, so that callers cannot make up labels.
    pub(crate) fn call(&self, method: String, status: &'static str, took: Duration) {
        let labels = [self.own(), KeyValue::new("method", method), KeyValue::new("status", status)];
        self.instruments.calls.record(took.as_secs_f64(), &labels);
    }

    /// How far the role's consumers are behind, all partitions at once; returns the sum of what is pending.
    pub fn behind(&self, partitions: &[Behind]) -> u64 {
        let mut groups = [None; PARTITION_GROUPS as usize];
        for behind in partitions {
            let group = groups[usize::from(behind.partition % PARTITION_GROUPS)].get_or_insert((0_u64, 0_u64));
            group.0 = group.0.saturating_add(behind.pending);
            group.1 = group.1.saturating_add(behind.in_flight);
        }
        let mut sum = 0_u64;
        for (group, sums) in (0_i64..).zip(groups) {
            let Some((pending, in_flight)) = sums else { continue };
            let labels = [self.own(), KeyValue::new("group", group)];
            self.instruments.lag.record(pending, &labels);
            self.instruments.in_flight.record(in_flight, &labels);
            sum = sum.saturating_add(pending);
        }
        sum
    }

    /// Messages that a stream holds.
    pub fn depth(&self, stream: &'static str, messages: u64) {
        self.instruments.depth.record(messages, &[self.own(), KeyValue::new("stream", stream)]);
    }

    /// Packed size of one principal's live state.
    pub fn state_size(&self, bytes: u64) {
        self.instruments.state_size.record(bytes, &[self.own()]);
    }

    /// From an event's own time to when it was taken in.
    pub fn event_delay(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(NO_DELAY);
        self.instruments.latest_delay_ms.store(delay_ms, Ordering::Relaxed);
        self.instruments.event_delay.record(delay.as_secs_f64(), &[self.own()]);
    }

    /// The latest delay that was measured since this was last asked, by whatever role of the process.
    pub fn take_event_delay(&self) -> Option<Duration> {
        let delay_ms = self.instruments.latest_delay_ms.swap(NO_DELAY, Ordering::Relaxed);
        (delay_ms != NO_DELAY).then(|| Duration::from_millis(delay_ms))
    }

    /// From when the source was told that an event is safe to when its signal was there.
    pub fn signal_delay(&self, delay: Duration) {
        self.instruments.signal_delay.record(delay.as_secs_f64(), &[self.own()]);
    }

    pub fn ready(&self, ready: bool) {
        self.instruments.ready.record(ready.into(), &[self.own()]);
    }

    pub(crate) fn count_error(&self, reason: &'static str) {
        self.instruments.errors.add(1, &[self.own(), KeyValue::new("reason", reason)]);
    }

    pub(crate) fn count_dead_letter(&self, reason: &'static str) {
        self.instruments.dead_letters.add(1, &[self.own(), KeyValue::new("reason", reason)]);
    }

    pub(crate) fn count_rejects(&self, reason: &'static str, records: u64) {
        self.instruments.rejects.add(records, &[self.own(), KeyValue::new("reason", reason)]);
    }

    pub(crate) fn count_redelivery(&self) {
        self.instruments.redeliveries.add(1, &[self.own()]);
    }

    pub(crate) fn count_rebuild(&self) {
        self.instruments.rebuilds.add(1, &[self.own()]);
    }

    /// Actors in one state.
    pub(crate) fn actors(&self, state: &'static str, actors: u64) {
        self.instruments.actors.record(actors, &[self.own(), KeyValue::new("state", state)]);
    }

    /// What waits in all their mailboxes.
    pub(crate) fn mailboxes(&self, requests: u64) {
        self.instruments.mailbox.record(requests, &[self.own()]);
    }

    pub(crate) fn count_restart(&self) {
        self.instruments.restarts.add(1, &[self.own()]);
    }

    pub(crate) fn count_epoch(&self, what: &'static str) {
        self.instruments.epochs.add(1, &[self.own(), KeyValue::new("what", what)]);
    }

    pub(crate) fn alert(&self, name: &'static str, raised: bool) {
        self.instruments.alert.record(raised.into(), &[self.own(), KeyValue::new("alert", name)]);
    }

    /// Alerts by what became of them: `sent`, with those that a message stands for; `failed` (a
    /// message, and will be tried again); `dead`.
    pub fn told(&self, channel: &'static str, outcome: &'static str, alerts: u64) {
        let labels = [self.own(), KeyValue::new("channel", channel), KeyValue::new("outcome", outcome)];
        self.instruments.told.add(alerts, &labels);
    }

    /// The label that every series has. Words of the program are not copied, and a call's labels stand on its stack.
    fn own(&self) -> KeyValue {
        KeyValue::new("role", self.role)
    }
}
