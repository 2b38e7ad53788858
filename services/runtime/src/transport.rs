//! One request over HTTP, with every bound that an untrusted service needs.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde_json::Value;

use crate::quoted::quoted;
use crate::secret::{Secret, without};

/// Bytes of an error's body that are read at all.
const REFUSAL_BYTES_MAX: usize = 4_096;
/// A pause that a service asks for counts as this at most.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// What one call may take.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub connect: Duration,
    /// From the first byte sent to the last one read, connecting included.
    pub total: Duration,
    pub reply_bytes_max: usize,
    /// Proxy to go through, whose address may hold a password; the environment's are not looked at.
    pub proxy: Option<Secret>,
    /// Whether `http` is allowed to other machines. Keys and evidence would be read on the way.
    pub plaintext_allowed: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            total: Duration::from_secs(15),
            reply_bytes_max: 256 * 1_024,
            proxy: None,
            plaintext_allowed: false,
        }
    }
}

/// Connections to services, kept and shared by the clients made of it.
#[derive(Clone)]
pub struct Transport {
    http: Client,
    bounds: Bounds,
}

/// A request, ready to be sent.
pub struct Outgoing {
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub answer: Answer,
}

/// What an answer must be to be taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Json,
    Any,
}

/// What was answered, whatever its status.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Why there is no answer. Text of others in here is short, free of control characters and of the secrets sent.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("no answer within {after:?}")]
    Timeout { after: Duration },
    #[error("the service is not reached: {0}")]
    Unreachable(String),
    /// Status 429.
    #[error("asked too often: {said}")]
    Limited { retry_after: Option<Duration>, said: String },
    #[error("the service refuses with status {status}: {said}")]
    Refused { status: u16, said: String },
    #[error("the service is unavailable, status {status}: {said}")]
    Unavailable { status: u16, retry_after: Option<Duration>, said: String },
    /// An answer came that is none.
    #[error("the answer is malformed: {0}")]
    Malformed(String),
    #[error("the answer is larger than {bytes_max} bytes and was cut off")]
    TooLarge { bytes_max: usize },
    /// The operator's: an address or a proxy that cannot be.
    #[error("{0}")]
    Configuration(String),
}

impl Transport {
    /// # Errors
    /// [`Error::Configuration`] for a proxy that is no address, or where TLS cannot be set up.
    pub fn new(bounds: Bounds) -> Result<Self, Error> {
        let builder = Client::builder()
            .connect_timeout(bounds.connect)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(8)
            .user_agent(concat!("trailwarden/", env!("CARGO_PKG_VERSION")));
        let builder = match &bounds.proxy {
            Some(proxy) => builder.proxy(
                reqwest::Proxy::all(proxy.reveal())
                    .map_err(|_| Error::Configuration("the proxy is no address".to_owned()))?,
            ),
            None => builder,
        };
        let http = builder.build().map_err(|error| Error::Configuration(cause(&error)))?;
        Ok(Self { http, bounds })
    }

    /// A service's address: `http` only to this machine, unless [`Bounds::plaintext_allowed`].
    ///
    /// # Errors
    /// [`Error::Configuration`], which does not repeat the address.
    pub fn address(&self, base: &str) -> Result<Url, Error> {
        let bad = |why: &str| Err(Error::Configuration(format!("the service's address {why}")));
        let Ok(url) = Url::parse(base) else {
            return bad("is no URL");
        };
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return bad("may not hold a user, a password, a query or a fragment");
        }
        match (url.scheme(), url.host_str()) {
            ("https", Some(_)) => Ok(url),
            ("http", Some(host)) if self.bounds.plaintext_allowed || is_loopback(host) => Ok(url),
            ("http", _) => bad("is http, which is only allowed to this machine"),
            _ => bad("is not https"),
        }
    }

    /// Sends, and reads a body. `secrets` are taken out of what an error quotes, should the service echo them.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn post(&self, request: Outgoing, secrets: &[&Secret]) -> Result<Vec<u8>, Error> {
        self.in_time(async {
            let answer = request.answer;
            let response = self.send(Method::POST, request).await?;
            if response.status().is_success() {
                self.read(response, answer).await
            } else {
                Err(refusal(response, secrets).await)
            }
        })
        .await
    }

    /// Sends by any method, and reads whatever is answered: for services whose refusals say more than a status. What is
    /// quoted of it is the caller's to clean.
    ///
    /// # Errors
    /// [`Error`], but none of those that speak of a status.
    pub async fn exchange(&self, method: Method, request: Outgoing) -> Result<Answered, Error> {
        self.in_time(async {
            let answer = request.answer;
            let response = self.send(method, request).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let answer = if status.is_success() { answer } else { Answer::Any };
            let body = self.read(response, answer).await?;
            Ok(Answered { status: status.as_u16(), headers, body })
        })
        .await
    }

    async fn in_time<T>(&self, exchange: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let after = self.bounds.total;
        tokio::time::timeout(after, exchange).await.unwrap_or(Err(Error::Timeout { after }))
    }

    async fn send(&self, method: Method, request: Outgoing) -> Result<Response, Error> {
        let sent = self.http.request(method, request.url).headers(request.headers).body(request.body).send().await;
        sent.map_err(|error| self.failed(error))
    }

    async fn read(&self, mut response: Response, answer: Answer) -> Result<Vec<u8>, Error> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if answer == Answer::Json && !is_json(kind) {
            return Err(Error::Malformed(quoted(&format!("content type {kind:?} is not JSON"))));
        }
        let bytes_max = self.bounds.reply_bytes_max;
        let mut body = Vec::new();
        if response.content_length().is_some_and(|length| length > bytes_max as u64) {
            return Err(Error::TooLarge { bytes_max });
        }
        while let Some(piece) = response.chunk().await.map_err(|error| self.failed(error))? {
            if body.len() + piece.len() > bytes_max {
                return Err(Error::TooLarge { bytes_max });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn failed(&self, error: reqwest::Error) -> Error {
        if error.is_timeout() {
            Error::Timeout { after: if error.is_connect() { self.bounds.connect } else { self.bounds.total } }
        } else {
            Error::Unreachable(cause(&error))
        }
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// Whether a host is this machine.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The innermost cause, which never names the URL.
pub fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if std::ptr::eq(innermost, std::ptr::from_ref(error)) {
        "the request failed".to_owned()
    } else {
        quoted(&innermost.to_string())
    }
}

async fn refusal(mut response: Response, secrets: &[&Secret]) -> Error {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    let mut body = Vec::new();
    while body.len() < REFUSAL_BYTES_MAX
        && let Ok(Some(piece)) = response.chunk().await
    {
        body.extend_from_slice(&piece[..piece.len().min(REFUSAL_BYTES_MAX - body.len())]);
    }
    let said = said(&body, secrets);
    match status {
        StatusCode::TOO_MANY_REQUESTS => Error::Limited { retry_after, said },
        // Bedrock says 408 when its model was too slow, others when the request was: both pass.
        StatusCode::REQUEST_TIMEOUT => Error::Unavailable { status: status.as_u16(), retry_after, said },
        status if status.is_server_error() => Error::Unavailable { status: status.as_u16(), retry_after, said },
        status => Error::Refused { status: status.as_u16(), said },
    }
}

/// What an error's body says: its message where it has one in one of the usual places.
fn said(body: &[u8], secrets: &[&Secret]) -> String {
    let json = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let message = ["/error/message", "/message", "/Message", "/error"]
        .iter()
        .find_map(|place| json.pointer(place).and_then(Value::as_str));
    let text = message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    quoted(&without(&text, secrets))
}
