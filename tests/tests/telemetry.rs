//! What a process tells of itself, heard by programs that are not ours: an OpenTelemetry collector and Prometheus' own checker.
#![allow(clippy::print_stdout, reason = "a test says what it is at")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![allow(clippy::disallowed_methods, reason = "reads from a server that the test started itself")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trailwarden_runtime::backoff::retry;
use trailwarden_runtime::metrics::{Behind, Metrics};
use trailwarden_runtime::telemetry::{self, Config, Format, Telemetry};
use trailwarden_servers::free_port;
use trailwarden_tests::cluster::{Feed, organisation};
use trailwarden_tests::command::binary;
use trailwarden_tests::repository::root;

/// Long enough for a busy machine; a test that works does not wait for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that `tests/install_*.sh` installs. Where it is missing the test says so, and in CI that is a failure.
fn program(name: &str) -> Option<PathBuf> {
    let path = root().join("target/servers/bin").join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", path.display());
    println!("not run: {} is missing; tests/install_*.sh installs it", path.display());
    None
}

fn built(otlp: Option<String>) -> (Telemetry, tracing::Dispatch) {
    let config = Config {
        role: "featurizer",
        version: "1.2.3",
        otlp,
        filter: "off".into(),
        format: Format::Json,
        export_every: PATIENCE,
    };
    telemetry::build(config, std::io::sink).unwrap()
}

fn work(metrics: &Metrics) {
    metrics.batch(256);
    metrics.step("publish", Duration::from_millis(3));
    metrics.behind(&[Behind { partition: 3, pending: 12, in_flight: 1 }]);
    metrics.buried("panicked", "out of bounds", "tw.activity.default.p003", 7, Some(2));
    metrics.rejected("not \"JSON\"\n", 4);
    metrics.rebuilt(3, 9, Duration::from_secs(1));
    metrics.state_size(900);
    metrics.event_delay(Duration::from_secs(300));
    metrics.ready(true);
}

/// A collector, and the end of the line behind it, where what it passes on can be looked at.
struct Collector {
    child: Child,
    port: u16,
    passed_on: Receiver<(String, Vec<u8>)>,
}

impl Collector {
    async fn start(program: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let end = listener.local_addr().unwrap().port();
        let (sender, passed_on) = sync_channel(64);
        std::thread::spawn(move || listen(&listener, &sender));
        let (port, other) = (free_port(), free_port());
        let child = Command::new(program)
            .args(["start", "--exporter", "otlp", "--otlp-exporter-protocol", "http", "--disable-batching"])
            .args(["--otlp-exporter-endpoint", &format!("http://127.0.0.1:{end}")])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{port}")])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{other}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let collector = Self { child, port, passed_on };
        let (metrics, shutdown) = (Metrics::nowhere(), CancellationToken::new());
        let connected =
            retry("collector", &metrics, &shutdown, |_| true, || tokio::net::TcpStream::connect(("127.0.0.1", port)));
        tokio::time::timeout(PATIENCE, connected).await.expect("the collector does not answer").unwrap();
        collector
    }

    /// The next body that was passed on to a path and holds `part`.
    fn hears(&self, path: &str, part: &[u8]) -> Vec<u8> {
        loop {
            let (to, body) = self.passed_on.recv_timeout(PATIENCE).expect("the collector passed nothing on");
            if to == path && !places(&body, part).is_empty() {
                return body;
            }
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn listen(listener: &TcpListener, bodies: &SyncSender<(String, Vec<u8>)>) {
    for connection in listener.incoming() {
        let (connection, bodies) = (connection.unwrap(), bodies.clone());
        std::thread::spawn(move || while receive(&connection, &bodies).is_some() {});
    }
}

/// One request of a kept connection; `None` at its end.
fn receive(mut connection: &TcpStream, bodies: &SyncSender<(String, Vec<u8>)>) -> Option<()> {
    let mut reader = BufReader::new(connection);
    let (mut path, mut length) = (None, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end();
        match line.split_once(':') {
            _ if line.is_empty() => break,
            _ if path.is_none() => path = line.split(' ').nth(1).map(str::to_owned),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok(),
            _ => {}
        }
    }
    let body = match length {
        Some(length) => exactly(&mut reader, length)?,
        None => chunks(&mut reader)?,
    };
    connection
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
        .ok()?;
    // The collector compresses whatever it is told.
    let mut plain = Vec::new();
    match body.starts_with(&[0x1f, 0x8b]) {
        true => flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).map(drop).ok()?,
        false => plain = body,
    }
    bodies.send((path?, plain)).ok()
}

fn exactly(reader: &mut impl Read, length: usize) -> Option<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

/// A body whose length was not said: chunks, each after its length in hexadecimal, the last one empty.
fn chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim_end(), 16).ok()?;
        body.extend(exactly(reader, length)?);
        exactly(reader, 2)?;
        if length == 0 {
            return Some(body);
        }
    }
}

fn places(bytes: &[u8], part: &[u8]) -> Vec<usize> {
    (0..bytes.len().saturating_sub(part.len() - 1)).filter(|place| bytes[*place..].starts_with(part)).collect()
}

/// A span's place as protobuf writes it, from a `traceparent`: trace id as field 1, span id as field 2.
fn on_the_wire(traceparent: &str) -> Vec<u8> {
    let parts: Vec<&str> = traceparent.split('-').collect();
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    [&[0x0a, 16][..], &bytes(parts[1]), &[0x12, 8], &bytes(parts[2])].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_spans_with_their_links_and_measures() {
    let Some(program) = program("rotel-agent") else { return };
    let collector = Collector::start(program).await;
    let (telemetry, dispatch) = built(Some(format!("http://127.0.0.1:{}", collector.port)));
    let mut headers = BTreeMap::new();
    tracing::dispatcher::with_default(&dispatch, || {
        tracing::info_span!(target: "trailwarden_tests", "collected").in_scope(|| telemetry::inject(&mut headers));
        let span = tracing::info_span!(target: "trailwarden_tests", "featurized", partition = 3);
        telemetry::extract(&headers).attach(&span);
        span.in_scope(|| work(telemetry.metrics()));
        // Others' spans stay here: those of the exporter itself would beget more of their kind.
        tracing::info_span!(target: "h2", "somebody_elses").in_scope(|| ());
    });
    telemetry.flush(PATIENCE).await.unwrap();

    let spans = collector.hears("/v1/traces", b"featurized");
    let source = on_the_wire(&headers["traceparent"]);
    let found = places(&spans, &source);
    // Once as the first span's own place, and once as the second's link, which is field 13 of a span.
    let links = found.iter().filter(|place| spans[**place - 2] == 13 << 3 | 2).count();
    assert_eq!((found.len(), links), (2, 1), "{:?}", String::from_utf8_lossy(&spans));
    for part in ["collected", "trailwarden-featurizer", "1.2.3", "partition"] {
        assert!(!places(&spans, part.as_bytes()).is_empty(), "{part} is missing");
    }
    assert!(places(&spans, b"somebody_elses").is_empty());

    telemetry.shutdown(PATIENCE).await.unwrap();
    let measures = collector.hears("/v1/metrics", b"trailwarden_events");
    for part in ["trailwarden_step_duration", "trailwarden_lag", "panicked", "trailwarden-featurizer"] {
        assert!(!places(&measures, part.as_bytes()).is_empty(), "{part} is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_collector_costs_no_more_than_the_deadline() {
    let port = free_port();
    let (telemetry, dispatch) = built(Some(format!("http://127.0.0.1:{port}")));
    tracing::dispatcher::with_default(&dispatch, || {
        tracing::info_span!(target: "trailwarden_tests", "lost").in_scope(|| work(telemetry.metrics()));
    });
    assert!(telemetry.flush(PATIENCE).await.is_err());
    assert!(telemetry.metrics_text().contains("trailwarden_events_total{role=\"featurizer\"} 256"));
    assert!(telemetry.shutdown(Duration::ZERO).await.is_err());
}

/// Whether a page is good, and what was said of it.
fn checked(promtool: &Path, page: &str) -> (bool, String) {
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn prometheus_finds_nothing_to_complain_about() {
    let Some(program) = program("promtool") else { return };
    let (telemetry, _) = built(None);
    work(telemetry.metrics());
    let said = |text: &str| checked(&program, text);
    let page = telemetry.metrics_text();
    assert_eq!(said(&page), (true, String::new()), "{page}");
    // It can complain.
    assert!(!said(&page.replace("_seconds", "_ms")).0);
    assert!(!said("trailwarden_events{role=\"a\" 1\n").0);
}

/// All roles in one process, without servers.
struct Running {
    child: Child,
    _folder: tempfile::TempDir,
    collector: String,
    status: u16,
}

impl Running {
    fn start(otlp: Option<u16>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [collector, featurizer, scorer, council, status] = [(); 5].map(|()| free_port());
        let mut command = Command::new(binary());
        command.arg("run").env_clear().current_dir(folder.path()).stdin(Stdio::null()).stderr(Stdio::null());
        let ports = [("COLLECTOR", collector), ("FEATURIZER", featurizer), ("SCORER", scorer), ("COUNCIL", council)];
        for (role, port) in ports.into_iter().chain([("STATUS", status)]) {
            command.env(format!("TRAILWARDEN_LISTEN__{role}"), format!("127.0.0.1:{port}"));
        }
        command.env("TRAILWARDEN_RUN__PARTITIONS", "2").env("TRAILWARDEN_ARCHIVE__FLUSH_S", "1");
        if let Some(port) = otlp {
            command.env("TRAILWARDEN_TELEMETRY__OTLP", format!("http://127.0.0.1:{port}"));
        }
        Self { child: command.spawn().unwrap(), _folder: folder, collector: format!("127.0.0.1:{collector}"), status }
    }

    /// The page of measures; empty while nobody answers.
    fn page(&self) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.status)) {
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
            stream.read_to_string(&mut answer).unwrap();
        }
        answer.split_once("\r\n\r\n").map(|(_, page)| page.to_owned()).unwrap_or_default()
    }

    /// The page once it has all these lines.
    async fn page_with(&self, lines: &[String]) -> String {
        let started = tokio::time::Instant::now();
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        loop {
            looks.tick().await;
            let page = self.page();
            let missing = lines.iter().find(|line| !page.contains(line.as_str()));
            let Some(missing) = missing else { return page };
            assert!(started.elapsed() < PATIENCE, "{missing} is missing\n{page}");
        }
    }

    /// Its exit code when told to stop.
    fn stop(&mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A span as the wire has it: its own place and those that it links to, trace and span id together.
struct Span {
    place: Vec<u8>,
    links: Vec<Vec<u8>>,
    whole: Vec<u8>,
}

/// Length-delimited fields of a protobuf message, numbers and contents; the others are passed over.
fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(message: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        while let Some((byte, rest)) = message.split_first() {
            *message = rest;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let skipped = match key & 7 {
            0 => {
                varint(&mut message);
                continue;
            }
            1 => 8,
            5 => 4,
            _ => varint(&mut message) as usize,
        };
        let (content, rest) = message.split_at(skipped);
        message = rest;
        if key & 7 == 2 {
            fields.push((key >> 3, content));
        }
    }
    fields
}

fn below(messages: Vec<&[u8]>, number: u64) -> Vec<&[u8]> {
    let inner = messages.into_iter().flat_map(fields).filter(|(own, _)| *own == number);
    inner.map(|(_, content)| content).collect()
}

/// All spans of an exported body: resources, scopes, spans.
fn spans(body: &[u8]) -> Vec<Span> {
    let place = |message: &[u8]| [below(vec![message], 1), below(vec![message], 2)].concat().concat();
    let spans = below(below(below(vec![body], 1), 2), 2);
    let span = |whole: &[u8]| Span {
        place: fields(whole).into_iter().filter(|(number, _)| *number <= 2).flat_map(|(_, id)| id.to_vec()).collect(),
        links: below(vec![whole], 13).into_iter().map(place).collect(),
        whole: whole.to_vec(),
    };
    spans.into_iter().map(span).collect()
}

/// Whether a span of one room links to one of another.
fn linked(spans: &[Span], from: &str, to: &str) -> bool {
    let of = |room: &str| spans.iter().filter(move |span| !places(&span.whole, room.as_bytes()).is_empty()).collect();
    let (from, to): (Vec<&Span>, Vec<&Span>) = (of(from), of(to));
    from.iter().any(|span| to.iter().any(|other| span.links.contains(&other.place)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_roles_tell_what_they_did_with_the_same_events() {
    let agent = match program("rotel-agent") {
        Some(program) => Some(Collector::start(program).await),
        None => None,
    };
    let mut running = Running::start(agent.as_ref().map(|agent| agent.port));
    let records = organisation(2_000, 5);
    let feed = Feed { address: running.collector.clone(), stream: "trail".to_owned(), records_a_request: 100 };
    feed.send(&records).await;

    let events = ["collector", "featurizer", "scorer", "archive"]
        .map(|role| format!("trailwarden_events_total{{role=\"{role}\"}} {}\n", records.len()));
    let lag = ["featurizer", "scorer", "council", "archive"]
        .map(|role| format!("trailwarden_lag{{group=\"1\",role=\"{role}\"}} "));
    let others = [
        "trailwarden_bus_depth{role=\"all\",stream=\"activity\"} ",
        "trailwarden_ready_ratio{role=\"council\"} ",
        "trailwarden_event_delay_seconds_count{role=\"collector\"} ",
        "trailwarden_signal_delay_seconds_count{role=\"council\"} ",
        "trailwarden_state_size_bytes_count{role=\"featurizer\"} ",
        "trailwarden_step_duration_seconds_count{role=\"featurizer\",step=\"commit\"} ",
        "trailwarden_step_duration_seconds_count{role=\"archive\",step=\"flush\"} ",
    ]
    .map(str::to_owned);
    let page = running.page_with(&[&events[..], &lag, &others].concat()).await;
    assert!(!page.contains("trailwarden_dead_letters"), "{page}");
    if let Some(promtool) = program("promtool") {
        assert_eq!(checked(&promtool, &page), (true, String::new()), "{page}");
    }
    assert_eq!(running.stop(), Some(0));

    let Some(agent) = agent else { return };
    let mut found = Vec::new();
    let chain =
        [("trailwarden_featurizer::", "trailwarden_collector::"), ("trailwarden_scorer::", "trailwarden_featurizer::")];
    while !chain.iter().all(|(from, to)| linked(&found, from, to)) {
        let body = agent.hears("/v1/traces", b"batch");
        found.extend(spans(&body));
    }
    assert!(linked(&found, "trailwarden_collector::service::batcher", "trailwarden_collector::service::ingest"));
}
