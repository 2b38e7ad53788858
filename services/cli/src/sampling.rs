//! What nobody measures in passing is looked at every so often: how far each role is behind, how full the streams are, who
//! is ready. What an operator should know of it is told.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trailwarden_bus::{Bus, Consumer, Error, Outgoing, Stream, Subject as Place};
use trailwarden_core::alert::Alert;
use trailwarden_proto::convert::alert_to_wire;
use trailwarden_proto::wire;
use trailwarden_runtime::Clock;
use trailwarden_runtime::alert::{Health, Look, Thresholds};
use trailwarden_runtime::metrics::{Behind, Metrics};
use trailwarden_runtime::readiness::Readiness;
use trailwarden_runtime::roster::Roster;
use trailwarden_runtime::usage::{Meter, Usage};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(15);
/// The same while something is not there yet, as when a process has just been started.
const SOON: Duration = Duration::from_secs(1);

/// One role as it is looked at.
pub(crate) struct Subject {
    readiness: Readiness,
    /// Those whose lag is the role's.
    consumers: Vec<Consumer>,
    /// Of the role.
    metrics: Metrics,
    /// Whether events come in here first.
    takes_in: bool,
    health: Health,
    /// As last known.
    lag: u64,
}

impl Subject {
    pub(crate) fn new(readiness: Readiness, consumers: Vec<Consumer>, metrics: Metrics, takes_in: bool) -> Self {
        Self { readiness, consumers, metrics, takes_in, health: Health::new(Thresholds::default()), lag: 0 }
    }
}

/// All roles of a process.
pub(crate) struct Sampling {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: Clock,
    /// Of the process.
    pub(crate) metrics: Metrics,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) rosters: Vec<Roster>,
    pub(crate) tenant: String,
    /// Which process this is, for people who look for it.
    pub(crate) place: String,
    pub(crate) usage: Meter,
}

impl Sampling {
    /// Looks until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut dead_letters = 0;
        loop {
            let look = self.look(&mut dead_letters);
            let pause = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                is_whole = look => if is_whole { EVERY } else { SOON },
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One look at everything. Whether all of it was there.
    async fn look(&mut self, dead_letters: &mut u64) -> bool {
        let mut is_whole = true;
        self.rosters.iter().for_each(Roster::measure);
        for stream in Stream::ALL {
            match self.bus.depth(stream).await {
                Ok(messages) => {
                    self.metrics.depth(stream.word(), messages);
                    if stream == Stream::Dead {
                        *dead_letters = messages;
                    }
                }
                Err(_) => is_whole = false,
            }
            // The others would be waited for as long.
            if !is_whole {
                break;
            }
        }
        let at = (self.clock)();
        let process = self.usage.look(at);
        let mut alerts = Vec::new();
        for (place, subject) in self.subjects.iter_mut().enumerate() {
            let ready = subject.readiness.is_ready();
            subject.metrics.ready(ready);
            if is_whole {
                is_whole &= lag(self.bus.as_ref(), subject).await;
            }
            // A letter is in the stream of all roles, and all share a process: one alert of each is enough.
            let (dead_letters, usage) = if place == 0 { (*dead_letters, process) } else { (0, Usage::default()) };
            let event_delay = subject.takes_in.then(|| subject.metrics.take_event_delay()).flatten();
            let look = Look { at, ready, lag: subject.lag, dead_letters, event_delay, usage };
            for change in subject.health.look(look) {
                change.tell(&subject.metrics);
                alerts.push(change.alert(subject.metrics.role(), &self.place, at));
            }
        }
        for alert in alerts {
            self.raise(&alert).await;
        }
        is_whole
    }

    /// Hands an alert to whoever tells people. Where the bus itself is away, the log has it.
    async fn raise(&self, alert: &Alert) {
        let payload = wire::pack(&alert_to_wire(alert));
        // An id of the bus is ASCII, and a machine's name need not be.
        let message = Outgoing { payload, ..Outgoing::default() };
        if let Err(error) = self.bus.publish(&Place::raised(&self.tenant), message).await {
            self.metrics.failed("alert", &error);
        }
    }
}

/// Asks how far a role is behind. Whether the broker knew.
async fn lag(bus: &dyn Bus, subject: &mut Subject) -> bool {
    let (mut behind, mut is_whole) = (Vec::with_capacity(subject.consumers.len()), true);
    for (partition, consumer) in (0..).zip(&subject.consumers) {
        match bus.lag(consumer.stream, &consumer.name).await {
            Ok(lag) => behind.push(Behind { partition, pending: lag.pending, in_flight: lag.in_flight }),
            // The role has not begun.
            Err(Error::Missing { .. }) => is_whole = false,
            // What is known of a part is no answer. Whoever works with the broker says that it is away.
            Err(_) => return false,
        }
    }
    subject.lag = subject.metrics.behind(&behind);
    is_whole
}

#[cfg(test)]
mod tests {
    use trailwarden_bus::{DeadLetter, Layout, Memory};
    use trailwarden_core::time::Timestamp;
    use trailwarden_runtime::telemetry::quiet;

    use super::*;

    #[tokio::test]
    async fn a_look_tells_lag_depth_readiness_and_what_is_wrong() {
        let bus = Memory::default();
        bus.set_up(&Layout::in_memory("default", 2)).await.expect("in memory");
        let telemetry = quiet("all").expect("no exporter");
        let metrics = telemetry.metrics().of("scorer");
        let consumers: Vec<_> = (0..2).map(|number| trailwarden_scorer::service::consumer("default", number)).collect();
        let (readiness, clock) = (Readiness::default(), Arc::new(|| Timestamp::from_millis(0)));
        let subjects = vec![Subject::new(readiness.clone(), consumers.clone(), metrics, false)];
        let shared: Arc<dyn Bus> = Arc::new(bus.clone());
        let rosters = vec![Roster::new(telemetry.metrics().of("council"))];
        let place = rosters[0].enter("case builder");
        place.built();
        let mut sampling = Sampling {
            bus: shared,
            clock,
            metrics: telemetry.metrics().clone(),
            subjects,
            rosters,
            tenant: "default".to_owned(),
            place: "here".to_owned(),
            usage: Meter::default(),
        };
        let mut dead_letters = 0;
        assert!(!sampling.look(&mut dead_letters).await, "its consumers are not there yet");
        for consumer in &consumers {
            bus.subscribe(consumer).await.expect("in memory");
        }
        for _ in 0..1_001 {
            let place = Place::partition(Stream::Feature, "default", 1);
            bus.publish(&place, Outgoing::default()).await.expect("in memory");
        }
        let letter = DeadLetter {
            subject: "tw.feature.default.p001".to_owned(),
            sequence: 1,
            place: None,
            reason: "poison".to_owned(),
            payload: Outgoing::default().payload,
        };
        bus.bury(&letter).await.expect("in memory");
        readiness.set(true);
        assert!(sampling.look(&mut dead_letters).await);
        let page = telemetry.metrics_text();
        for line in [
            "trailwarden_lag{group=\"0\",role=\"scorer\"} 0",
            "trailwarden_lag{group=\"1\",role=\"scorer\"} 1001",
            "trailwarden_bus_depth{role=\"all\",stream=\"feature\"} 1001",
            "trailwarden_bus_depth{role=\"all\",stream=\"dead\"} 1",
            "trailwarden_ready_ratio{role=\"scorer\"} 1",
            "trailwarden_actors{role=\"council\",state=\"idle\"} 1",
            "trailwarden_alert_ratio{alert=\"lag\",role=\"scorer\"} 1",
            "trailwarden_alert_ratio{alert=\"dead_letters\",role=\"scorer\"} 1",
        ] {
            assert!(page.contains(line), "{line} is missing\n{page}");
        }
        let raised = bus.read(&Place::raised("default"), 0, 9).await.expect("in memory");
        let told: Vec<(String, String)> = raised
            .iter()
            .map(|stored| wire::unpack::<trailwarden_proto::v1::Alert>(&stored.payload).expect("an alert"))
            .map(|alert| (alert.kind, alert.principal))
            .collect();
        let own = |kind: &str, who: &str| (kind.to_owned(), who.to_owned());
        assert_eq!(told, [own("lag", "scorer@here"), own("dead_letters", "bus")]);
    }
}
