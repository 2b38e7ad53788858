#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::*;
use crate::event::EpochStep;
use crate::metrics::Behind;

#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn built(filter: &str, format: Format) -> (Telemetry, Dispatch, Lines) {
    let lines = Lines::default();
    let config = Config {
        role: "featurizer",
        version: "1.2.3",
        otlp: None,
        filter: filter.into(),
        format,
        export_every: Duration::from_secs(60),
    };
    let writer = lines.clone();
    let (telemetry, dispatch) = build(config, move || writer.clone()).unwrap();
    (telemetry, dispatch, lines)
}

fn everything(metrics: &Metrics) {
    metrics.batch(256);
    metrics.duplicates(3);
    metrics.signals(2);
    metrics.cases("judged", 1);
    metrics.step("publish", Duration::from_millis(2));
    metrics.call("trailwarden.v1.CaseService/List".into(), "ok", Duration::from_millis(1));
    let behind = |partition, pending| Behind { partition, pending, in_flight: 1 };
    assert_eq!(metrics.behind(&[behind(1, 10), behind(17, 5), behind(2, 1)]), 16);
    metrics.depth("activity", 9);
    metrics.state_size(900);
    metrics.event_delay(Duration::from_secs(240));
    metrics.signal_delay(Duration::from_millis(40));
    metrics.ready(true);
    metrics.failed("store", &io::Error::other("gone"));
    metrics.retrying("bus", 1, Duration::from_millis(50), &io::Error::other("gone"));
    metrics.buried("panicked", "out of bounds", "tw.activity.default.p001", 7, Some(3));
    metrics.rejected("too_large", 2);
    metrics.redelivered("tw.activity.default.p001", 7, 2);
    metrics.rebuilt(1, 12, Duration::from_secs(1));
    metrics.epoch(EpochStep::Adopted, "epoch/ab");
    metrics.alert("lag", true);
}

#[test]
fn every_instrument_is_on_the_page_under_our_name_with_help_and_role() {
    let (telemetry, dispatch, _) = built("off", Format::Json);
    tracing::dispatcher::with_default(&dispatch, || everything(telemetry.metrics()));
    let text = telemetry.metrics_text();
    let named: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(named.len(), 22, "{text}");
    for name in &named {
        assert!(name.starts_with("trailwarden_") || *name == "target_info", "{name}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
    for line in [
        "trailwarden_events_total{role=\"featurizer\"} 256",
        "trailwarden_lag{group=\"1\",role=\"featurizer\"} 15",
        "trailwarden_dead_letters_total{reason=\"panicked\",role=\"featurizer\"} 1",
        "trailwarden_state_size_bytes_bucket{role=\"featurizer\",le=\"1024\"} 1",
        "trailwarden_step_duration_seconds_count{role=\"featurizer\",step=\"publish\"} 1",
    ] {
        assert!(text.contains(line), "{line} is missing\n{text}");
    }
}

#[test]
fn roles_in_one_process_are_told_apart() {
    let (telemetry, _, _) = built("off", Format::Json);
    telemetry.metrics().of("scorer").batch(5);
    telemetry.metrics().batch(7);
    let text = telemetry.metrics_text();
    assert!(text.contains("trailwarden_events_total{role=\"scorer\"} 5"), "{text}");
    assert!(text.contains("trailwarden_events_total{role=\"featurizer\"} 7"), "{text}");
}

#[test]
fn a_log_line_is_one_object_with_its_data_in_fields() {
    let (telemetry, dispatch, lines) = built("info", Format::Json);
    tracing::dispatcher::with_default(&dispatch, || {
        let span = tracing::info_span!("batch", partition = 3);
        span.in_scope(|| {
            telemetry.metrics().buried("panicked", "out of bounds", "tw.activity.default.p003", 7, Some(2));
            // Not asked for at this level, and counted all the same.
            telemetry.metrics().rejected("line\nbreak", 1);
        });
    });
    let text = lines.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in [
        "\"level\":\"WARN\"",
        "\"message\":\"record went to the dead letters\"",
        "\"reason\":\"panicked\"",
        "\"sequence\":7",
        "\"partition\":3",
        "\"target\":\"trailwarden_runtime::event\"",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let page = telemetry.metrics_text();
    assert!(page.contains("trailwarden_rejects_total{reason=\"line\\nbreak\",role=\"featurizer\"} 1"), "{page}");
}

#[test]
fn the_latest_delay_is_told_once() {
    let telemetry = quiet("all").unwrap();
    let (collector, other) = (telemetry.metrics().of("collector"), telemetry.metrics());
    [9, 7].into_iter().for_each(|delay_s| collector.event_delay(Duration::from_secs(delay_s)));
    assert_eq!([other.take_event_delay(), other.take_event_delay()], [Some(Duration::from_secs(7)), None]);
}

#[test]
fn a_wrong_filter_is_the_operators() {
    let config = Config {
        role: "all",
        version: "0",
        otlp: None,
        filter: "trailwarden=loud".into(),
        format: Format::Text,
        export_every: Duration::from_secs(60),
    };
    assert!(matches!(build(config, io::stderr), Err(Error::Filter { .. })));
}

#[test]
fn headers_lead_from_one_process_to_the_next_and_hostile_ones_lead_nowhere() {
    let tracers = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(tracers.tracer(SCOPE));
    let mut headers = BTreeMap::new();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        tracing::info_span!("batch").in_scope(|| inject(&mut headers));
    });
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["traceparent"]);
    let mut links = extract(&headers);
    assert_eq!(links.len(), 1);
    for _ in 0..100 {
        links.join(extract(&headers));
    }
    assert_eq!(links.len(), 32);

    for hostile in ["", "00", "00-0-0-0", "ff-00000000000000000000000000000000-0000000000000000-01", "\u{0}\u{fffd}"] {
        assert!(extract(&BTreeMap::from([("traceparent".into(), hostile.into())])).is_empty(), "{hostile:?}");
    }
    let mut nobody_traces = BTreeMap::new();
    inject(&mut nobody_traces);
    assert!(nobody_traces.is_empty() && current().is_empty());
    headers.insert("Tw-Input".into(), "7".into());
    assert_eq!(hand_on(&headers).keys().collect::<Vec<_>>(), ["traceparent"]);
}
