//! The page for probes and scrapers, plain HTTP: `/live`, `/ready`, `/metrics`, and for people `/actors`.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::readiness::Readiness;
use crate::roster::Roster;
use crate::telemetry::Page;

/// What the page shows.
#[derive(Clone, Debug)]
pub struct Status {
    /// The roles of this process. It is ready when all are.
    pub roles: Vec<(&'static str, Readiness)>,
    pub page: Page,
    /// The actors of those roles that have some.
    pub rosters: Vec<Roster>,
}

/// Serves until `shutdown`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, status: Status, shutdown: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router(status)).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

fn router(status: Status) -> Router {
    Router::new()
        .route("/live", get(async || "live\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/actors", get(actors))
        .with_state(Arc::new(status))
}

async fn ready(State(status): State<Arc<Status>>) -> impl IntoResponse {
    let mut text = String::new();
    let mut all = true;
    for (role, readiness) in &status.roles {
        let ready = readiness.is_ready();
        all &= ready;
        let _ = writeln!(text, "{role} {}", if ready { "ready" } else { "not ready" });
    }
    (if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

async fn actors(State(status): State<Arc<Status>>) -> impl IntoResponse {
    status.rosters.iter().map(Roster::to_string).collect::<String>()
}

async fn metrics(State(status): State<Arc<Status>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], status.page.text())
}
