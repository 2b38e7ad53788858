#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::future::pending;
use std::net::SocketAddr;

use axum::routing::any;
use opentelemetry::metrics::MeterProvider;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::*;

const NAME: &str = "test.v1.TestService";

/// A service without generated code: one method answers, one never does.
fn routes() -> Routes {
    let mut routes = Routes::default();
    let router = routes.axum_router_mut();
    *router = std::mem::take(router)
        .route("/test.v1.TestService/Answer", any(async || Status::ok("").into_http::<axum::body::Body>()))
        .route("/test.v1.TestService/Never", any(async || pending::<()>().await));
    routes
}

async fn started(
    drain: Duration,
) -> (SocketAddr, Readiness, CancellationToken, tokio::task::JoinHandle<Result<(), Error>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
    let server = Server {
        listener,
        routes: routes(),
        names: vec![NAME],
        descriptors: tonic_health::pb::FILE_DESCRIPTOR_SET,
        readiness: readiness.clone(),
        metrics: Metrics::nowhere(),
        drain,
    };
    (address, readiness, shutdown.clone(), tokio::spawn(serve(server, shutdown)))
}

async fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn asks(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn health_follows_readiness_to_the_end() {
    let (address, readiness, shutdown, server) = started(DRAIN_DEFAULT).await;
    let mut client = HealthClient::new(channel(address).await);
    let mut whole = client.watch(asks("")).await.unwrap().into_inner();
    let mut status = async || whole.message().await.unwrap().map(|answer| answer.status());
    // The reporter serves before anybody has told it anything, so that may be seen first.
    let mut first = status().await;
    if first == Some(ServingStatus::Serving) {
        first = status().await;
    }
    assert_eq!(first, Some(ServingStatus::NotServing));
    readiness.set(true);
    assert_eq!(status().await, Some(ServingStatus::Serving));
    assert_eq!(client.check(asks(NAME)).await.unwrap().into_inner().status(), ServingStatus::Serving);
    assert_eq!(client.check(asks("nobody")).await.unwrap_err().code(), Code::NotFound);
    shutdown.cancel();
    assert_eq!(status().await, Some(ServingStatus::NotServing));
    assert!(!readiness.is_ready());
    // The watch is a running call: the server waits for it.
    drop((whole, client));
    server.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn an_open_stream_does_not_hold_the_end_up_for_ever() {
    let (address, _, shutdown, server) = started(Duration::ZERO).await;
    let mut client = HealthClient::new(channel(address).await);
    let stream = client.watch(asks("")).await.unwrap();
    shutdown.cancel();
    server.await.unwrap().unwrap();
    drop(stream);
}

#[tokio::test]
async fn calls_have_deadlines_and_are_measured_by_names_that_exist() {
    let registry = prometheus::Registry::new();
    let page = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build().unwrap();
    let meters = opentelemetry_sdk::metrics::SdkMeterProvider::builder().with_reader(page).build();
    let metrics = Metrics::new(&meters.meter("test"), "test");
    let mut router = call::guarded(routes(), &[NAME], metrics).into_axum_router();
    for (method, timeout, expected) in [
        ("test.v1.TestService/Answer", None, Code::Ok),
        ("test.v1.TestService/Answer", Some("1S"), Code::Ok),
        ("test.v1.TestService/Never", Some("20m"), Code::DeadlineExceeded),
        ("test.v1.TestService/Answer", Some("1n"), Code::DeadlineExceeded),
        ("test.v1.TestService/Answer", Some("soon"), Code::InvalidArgument),
        ("test.v1.TestService/Made-up", None, Code::Unimplemented),
        ("made.up/Made-up", None, Code::Unimplemented),
    ] {
        let mut request = axum::http::Request::post(format!("/{method}"));
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let response = router.call(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), expected, "{method} {timeout:?}");
    }
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let counts: Vec<&str> =
        text.lines().filter(|line| line.starts_with("trailwarden_call_duration_seconds_count")).collect();
    assert_eq!(counts.len(), 4, "{counts:#?}");
    assert!(!text.contains("ade-up"), "{text}");
}
