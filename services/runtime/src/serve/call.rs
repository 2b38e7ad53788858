//! What every call goes through: a deadline, a span, a measure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tokio::time::Instant;
use tonic::service::Routes;
use tonic::{Code, Status};
use tracing::Instrument;

use super::{DEADLINE_DEFAULT, DEADLINE_MAX};
use crate::metrics::Metrics;
use crate::telemetry;

const TIMEOUT_HEADER: &str = "grpc-timeout";
/// Digits that the protocol allows the header.
const TIMEOUT_DIGITS_MAX: usize = 8;
/// The transport enforces the header as well, and calls it "cancelled"; we answer a little sooner, and by the right name.
const SOONER: u32 = 16;

#[derive(Clone)]
struct Desk {
    /// Services whose methods may be labels.
    names: Arc<[&'static str]>,
    metrics: Metrics,
}

/// The same routes behind the desk.
pub(super) fn guarded(mut routes: Routes, names: &[&'static str], metrics: Metrics) -> Routes {
    let desk = Desk { names: names.into(), metrics };
    let router = routes.axum_router_mut();
    *router = std::mem::take(router).layer(from_fn_with_state(desk, handle));
    routes
}

async fn handle(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let service = path.split('/').next().unwrap_or_default();
    let known = desk.names.contains(&service);
    let span = match known {
        true => tracing::info_span!("call", method = path),
        // Probes ask often and tell little.
        false => tracing::Span::none(),
    };
    telemetry::extract(&trace_headers(request.headers())).attach(&span);

    let response = match deadline(request.headers()) {
        Some(left) if !left.is_zero() => {
            let answered = tokio::time::timeout(left, next.run(request).instrument(span)).await;
            answered.unwrap_or_else(|_| too_late(left))
        }
        Some(left) => too_late(left),
        None => Status::invalid_argument("grpc-timeout cannot be read").into_http(),
    };
    let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
    // A caller may ask for any name; only those that there are become labels.
    if known && code != Code::Unimplemented {
        desk.metrics.call(path, name_of(code), began.elapsed());
    }
    response
}

fn too_late(left: Duration) -> Response {
    Status::deadline_exceeded(format!("not done within {} ms", left.as_millis())).into_http()
}

/// How long the call may take; `None` when its header is none that the protocol knows.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let Some(header) = headers.get(TIMEOUT_HEADER) else { return Some(DEADLINE_DEFAULT) };
    let text = header.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > TIMEOUT_DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    let asked = match unit {
        "H" => Duration::from_secs(number.saturating_mul(3_600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    };
    let left = asked.saturating_sub(asked / SOONER).min(DEADLINE_MAX);
    // Timers know milliseconds; less than one is none.
    Some(if left < Duration::from_millis(1) { Duration::ZERO } else { left })
}

fn trace_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let wanted = ["traceparent", "tracestate"].into_iter();
    wanted.filter_map(|name| Some((name.to_owned(), headers.get(name)?.to_str().ok()?.to_owned()))).collect()
}

fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_what_the_caller_asks_for_up_to_ours() {
        let ms = Duration::from_millis;
        for (header, expected) in [
            (None, Some(DEADLINE_DEFAULT)),
            (Some("16S"), Some(ms(15_000))),
            (Some("1600m"), Some(ms(1_500))),
            (Some("99999999H"), Some(DEADLINE_MAX)),
            (Some("900u"), Some(Duration::ZERO)),
            (Some("1n"), Some(Duration::ZERO)),
            (Some("0S"), Some(Duration::ZERO)),
            (Some("100000000S"), None),
            (Some("S"), None),
            (Some(""), None),
            (Some("5"), None),
            (Some("5s"), None),
            (Some("-5S"), None),
            (Some("+5S"), None),
            (Some("5 S"), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(TIMEOUT_HEADER, header.parse().unwrap());
            }
            assert_eq!(deadline(&headers), expected, "{header:?}");
        }
    }
}
