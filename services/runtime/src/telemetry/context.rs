//! Where work came from, across processes: W3C trace context in the headers of messages.
//!
//! A batch is made of many, and many come of it, so one is not the other's parent: spans are linked.

use std::collections::BTreeMap;

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// More sources are not worth the bytes; the first ones show the way.
const LINKS_MAX: usize = 32;

/// What a message's headers are called.
const TRACE_HEADERS: [&str; 2] = ["traceparent", "tracestate"];

/// The spans that a piece of work came from.
#[derive(Clone, Debug, Default)]
pub struct Links(Vec<SpanContext>);

/// Writes the current span's place into a message's headers, if anybody traces.
pub fn inject(headers: &mut BTreeMap<String, String>) {
    struct Into<'a>(&'a mut BTreeMap<String, String>);
    impl Injector for Into<'_> {
        fn set(&mut self, key: &str, value: String) {
            // An empty `tracestate` says nothing.
            if !value.is_empty() {
                self.0.insert(key.to_owned(), value);
            }
        }
    }
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut Into(headers));
}

/// Headers for a message that is made of another: the current span's place, or, where nobody traces, what the other said.
pub fn hand_on(from: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    inject(&mut headers);
    if headers.is_empty() {
        let named = TRACE_HEADERS.into_iter().filter_map(|name| from.get_key_value(name));
        headers.extend(named.map(|(name, value)| (name.clone(), value.clone())));
    }
    headers
}

/// The current span, for what comes of it elsewhere.
pub fn current() -> Links {
    Links::of(Span::current().context().span().span_context().clone())
}

/// What a message's headers say of where it came from. Whatever is not trace context is none.
pub fn extract(headers: &BTreeMap<String, String>) -> Links {
    struct From<'a>(&'a BTreeMap<String, String>);
    impl Extractor for From<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key).map(String::as_str)
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(String::as_str).collect()
        }
    }
    let context = TraceContextPropagator::new().extract(&From(headers));
    Links::of(context.span().span_context().clone())
}

impl Links {
    fn of(context: SpanContext) -> Self {
        Self(if context.is_valid() { vec![context] } else { Vec::new() })
    }

    /// Takes over what another piece of the same work came from.
    pub fn join(&mut self, other: Self) {
        let room = LINKS_MAX.saturating_sub(self.0.len());
        self.0.extend(other.0.into_iter().take(room));
    }

    /// Links a span to them.
    pub fn attach(&self, span: &Span) {
        for context in &self.0 {
            span.add_link(context.clone());
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
