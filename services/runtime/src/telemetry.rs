//! What a process tells of itself: log lines on stderr, traces by OTLP, measures by OTLP and as a Prometheus page.

mod context;

use std::io;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::{Registry, TextEncoder};
use tracing::Dispatch;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};

use crate::metrics::Metrics;

pub use context::{Links, current, extract, hand_on, inject};

/// Scope of all instruments and spans.
const SCOPE: &str = "trailwarden";
/// Spans of our own rooms go out, not those of the libraries that carry them, which would tell of their own sending.
const SPANS: &str = "off,trailwarden=debug";
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// What to tell, and where.
#[derive(Clone, Debug)]
pub struct Config {
    /// `featurizer`; `all` where all roles share a process.
    pub role: &'static str,
    pub version: &'static str,
    /// `http://127.0.0.1:4317`; `None`: nothing is exported, and the page is there all the same.
    pub otlp: Option<String>,
    /// A level, or levels by module: `info,trailwarden_featurizer=debug`.
    pub filter: String,
    pub format: Format,
    /// Between two exports of measures.
    pub export_every: Duration,
}

/// What log lines look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Json,
    Text,
}

/// The process's voice; held until its end.
#[derive(Debug)]
pub struct Telemetry {
    role: &'static str,
    metrics: Metrics,
    registry: Registry,
    meters: SdkMeterProvider,
    tracers: Option<SdkTracerProvider>,
}

/// A cheap handle to the page of measures.
#[derive(Clone, Debug)]
pub struct Page(Registry);

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operator's.
    #[error("`{filter}` is no filter for log lines")]
    Filter { filter: String, source: tracing_subscriber::filter::ParseError },
    /// The operator's.
    #[error("`{url}` cannot be exported to")]
    Exporter { url: String, source: opentelemetry_otlp::ExporterBuildError },
    /// Ours: an instrument's name or the page's registry.
    #[error("measures cannot be kept: {0}")]
    Metrics(String),
    /// Ours: telemetry was started twice.
    #[error("log lines go somewhere else already")]
    Started,
    /// The peer's: what was still to be sent may be lost. Nothing else is.
    #[error("what was to be exported was not taken in time: {0}")]
    Export(String),
}

/// Starts to tell, for the whole process. With an exporter it must be called inside a multi-threaded tokio runtime,
/// which carries the sending.
///
/// # Errors
/// [`Error`], all but [`Error::Export`].
pub fn start(config: Config) -> Result<Telemetry, Error> {
    let (telemetry, dispatch) = build(config, io::stderr)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| Error::Started)?;
    Ok(telemetry)
}

/// The same without taking the process over: log lines go to `writer`, for whoever uses the dispatch.
///
/// # Errors
/// As [`start`], but for [`Error::Started`].
pub fn build<W>(config: Config, writer: W) -> Result<(Telemetry, Dispatch), Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", format!("trailwarden-{}", config.role)),
            KeyValue::new("service.namespace", "trailwarden"),
            KeyValue::new("service.version", config.version),
        ])
        .build();

    let registry = Registry::new();
    let page = opentelemetry_prometheus::exporter().with_registry(registry.clone()).scope_info_enabled(false);
    let page = page.build().map_err(|error| Error::Metrics(error.to_string()))?;
    let mut meters = SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(page);
    let mut tracers = None;
    if let Some(url) = &config.otlp {
        let wrong = |source| Error::Exporter { url: url.clone(), source };
        let spans = SpanExporter::builder().with_tonic().with_endpoint(url).with_timeout(EXPORT_TIMEOUT);
        let measures = MetricExporter::builder().with_tonic().with_endpoint(url).with_timeout(EXPORT_TIMEOUT);
        let spans = spans.build().map_err(wrong)?;
        let measures = measures.build().map_err(wrong)?;
        let measures = PeriodicReader::builder(measures).with_interval(config.export_every).build();
        meters = meters.with_reader(measures);
        tracers = Some(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(spans).build());
    }
    let meters = meters.build();
    let dispatch = dispatch(&config, BoxMakeWriter::new(writer), tracers.as_ref())?;
    let metrics = Metrics::new(&meters.meter(SCOPE), config.role);
    Ok((Telemetry { role: config.role, metrics, registry, meters, tracers }, dispatch))
}

/// Measures that are not sent and no log lines: for tests and tools that read the page.
///
/// # Errors
/// [`Error::Metrics`].
pub fn quiet(role: &'static str) -> Result<Telemetry, Error> {
    let (filter, format) = ("off".to_owned(), Format::Text);
    let config = Config { role, version: "", otlp: None, filter, format, export_every: EXPORT_TIMEOUT };
    build(config, io::sink).map(|(telemetry, _)| telemetry)
}

fn dispatch(config: &Config, writer: BoxMakeWriter, tracers: Option<&SdkTracerProvider>) -> Result<Dispatch, Error> {
    let wrong = |source| Error::Filter { filter: config.filter.clone(), source };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match config.format {
        // Data stands beside the message, not in a box of its own, so that it can be asked for by name.
        Format::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
        Format::Text => lines.with_ansi(false).boxed(),
    };
    let filter = EnvFilter::builder().parse(&config.filter).map_err(wrong)?;
    let traces = tracers.map(|tracers| {
        let layer = tracing_opentelemetry::layer().with_tracer(tracers.tracer(SCOPE)).with_location(false);
        layer.with_threads(false).with_filter(EnvFilter::new(SPANS))
    });
    Ok(Dispatch::new(tracing_subscriber::registry().with(traces).with(lines.with_filter(filter))))
}

impl Telemetry {
    /// The process's instruments; [`Metrics::of`] where several roles share it.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn page(&self) -> Page {
        Page(self.registry.clone())
    }

    /// All measures as they stand, in Prometheus' text format.
    pub fn metrics_text(&self) -> String {
        self.page().text()
    }

    /// Sends what is to be sent.
    ///
    /// # Errors
    /// [`Error::Export`] when that was not done by `deadline`.
    pub async fn flush(&self, deadline: Duration) -> Result<(), Error> {
        let (meters, tracers) = (self.meters.clone(), self.tracers.clone());
        by(deadline, move || {
            let spans = tracers.map_or(Ok(()), |tracers| tracers.force_flush());
            // Measures go out even when spans do not.
            meters.force_flush().and(spans)
        })
        .await
    }

    /// Sends what is to be sent, and ends.
    ///
    /// # Errors
    /// [`Error::Export`] when that was not done by `deadline`.
    pub async fn shutdown(self, deadline: Duration) -> Result<(), Error> {
        tracing::debug!(role = self.role, "telemetry ends");
        let Self { meters, tracers, .. } = self;
        by(deadline, move || {
            let spans = tracers.map_or(Ok(()), |tracers| tracers.shutdown_with_timeout(deadline));
            meters.shutdown_with_timeout(deadline).and(spans)
        })
        .await
    }
}

/// The exporters block until the peer has answered, so they do it beside the runtime.
async fn by<E: std::fmt::Display + Send + 'static>(
    deadline: Duration,
    send: impl FnOnce() -> Result<(), E> + Send + 'static,
) -> Result<(), Error> {
    match tokio::time::timeout(deadline, tokio::task::spawn_blocking(send)).await {
        Ok(Ok(sent)) => sent.map_err(|error| Error::Export(error.to_string())),
        Ok(Err(panicked)) => Err(Error::Export(panicked.to_string())),
        Err(_) => Err(Error::Export(format!("no answer within {} ms", deadline.as_millis()))),
    }
}

impl Page {
    /// All measures as they stand, in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match TextEncoder::new().encode_utf8(&self.0.gather(), &mut text) {
            Ok(()) => text,
            Err(error) => {
                tracing::error!(%error, "measures cannot be written down");
                String::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;
