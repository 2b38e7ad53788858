//! One gRPC server of a role: its services with health, reflection, a deadline on every call, and an orderly end.

mod call;

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::metrics::Metrics;
use crate::readiness::Readiness;

/// Most bytes that one message may have, either way. Services set it, since the generated code does the reading.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Calls that name no deadline of their own get this one.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
/// Calls that name a later one get this one.
pub const DEADLINE_MAX: Duration = Duration::from_secs(120);
/// Calls under way, and streams open, on one connection; further ones wait.
pub const CALLS_PER_CONNECTION_MAX: usize = 256;
/// What running calls and open streams get when none is said.
pub const DRAIN_DEFAULT: Duration = Duration::from_secs(20);

const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(30);
const KEEP_ALIVE_ANSWER_WITHIN: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// What to serve, and where.
pub struct Server {
    pub listener: TcpListener,
    /// The role's services, each with its message limits set.
    pub routes: Routes,
    /// Names of the services, as health reports them: `trailwarden.v1.CaseService`.
    pub names: Vec<&'static str>,
    /// Their encoded descriptors, for reflection.
    pub descriptors: &'static [u8],
    pub readiness: Readiness,
    pub metrics: Metrics,
    /// What running calls and open streams get to end, once it is time to stop.
    pub drain: Duration,
}

/// Serves until `shutdown`; then is not ready, takes no more connections, and lets running calls end while `drain` lasts.
///
/// A unary call has to be answered within its deadline. A stream has to be opened within it; then it has none, and its
/// handler ends it when it is time to stop.
///
/// # Errors
/// When the listener fails or the descriptors are none.
pub async fn serve(server: Server, shutdown: CancellationToken) -> Result<(), Error> {
    let Server { listener, routes, names, descriptors, readiness, metrics, drain } = server;
    let reporter = HealthReporter::new();
    let health = tonic_health::pb::health_server::HealthServer::new(
        tonic_health::server::HealthService::from_health_reporter(reporter.clone()),
    );
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| Error::Descriptors(error.to_string()))?;
    let routes = call::guarded(routes.add_service(health).add_service(reflection), &names, metrics.clone());

    // Told to stop, the role is not ready first, so that nobody sends more to a server that is about to go.
    let closing = CancellationToken::new();
    let close = closing.clone().cancelled_owned();
    let running = tonic::transport::Server::builder()
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX as u32)
        .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_ANSWER_WITHIN))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .add_routes(routes)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), close);
    let mut running = std::pin::pin!(running);
    tokio::select! {
        ended = &mut running => return ended.map_err(Error::Serve),
        () = follow(&reporter, &names, &readiness, &metrics, &shutdown) => {}
    }
    closing.cancel();
    match tokio::time::timeout(drain, running).await {
        Ok(ended) => ended.map_err(Error::Serve),
        Err(_) => {
            let drain_ms = u64::try_from(drain.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(role = metrics.role(), drain_ms, "calls did not end in time and are cut off");
            Ok(())
        }
    }
}

/// Tells health of every change until `shutdown`, and then that it is over.
async fn follow(
    reporter: &HealthReporter,
    names: &[&'static str],
    readiness: &Readiness,
    metrics: &Metrics,
    shutdown: &CancellationToken,
) {
    let mut changes = readiness.watch();
    loop {
        let ready = *changes.borrow_and_update();
        report(reporter, names, ready).await;
        metrics.ready(ready);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            changed = changes.changed() => if changed.is_err() { shutdown.cancelled().await; break },
        }
    }
    readiness.set(false);
    report(reporter, names, false).await;
    metrics.ready(false);
}

async fn report(reporter: &HealthReporter, names: &[&'static str], ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    // The empty name stands for the server as a whole.
    for name in names.iter().copied().chain([""]) {
        reporter.set_service_status(name, status).await;
    }
}

/// Why a server ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operator's: the address, or the machine.
    #[error("the gRPC server stopped")]
    Serve(#[source] tonic::transport::Error),
    /// Ours: the descriptors that were compiled in.
    #[error("the services' descriptors cannot be read: {0}")]
    Descriptors(String),
}

#[cfg(test)]
mod tests;
