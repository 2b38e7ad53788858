//! The client: assumes the account's role for one action, signs, sends, reads. One try a call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use trailwarden_core::time::Timestamp;

use super::endpoint::endpoint;
use super::facts::Table;
use super::write::Written;
use super::{Aws, AwsError, BaseCredentials, Credentials, Request, Scope, credentials, read, sign, write};

/// How AWS is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the role in every account: `TrailwardenExecutor`.
    pub role: String,
    /// What the roles' trust policies ask for.
    pub external_id: Option<String>,
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    /// Region of the process, where nothing else names one.
    pub region: String,
    /// Instead of AWS's own addresses. For tests and private endpoints.
    pub endpoint: Option<String>,
    pub base: BaseCredentials,
}

/// From the first byte sent to the last one read.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Answers that are longer are errors; the longest that is used is one page of a list.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Sessions of roles whose credentials are kept.
const SESSIONS_MAX: usize = 256;
/// The shortest that AWS gives.
const SESSION_SECONDS: u32 = 900;
/// AWS's limit for names of sessions and source identities.
const SESSION_NAME_CHARS_MAX: usize = 64;

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// [`Aws`] over HTTPS.
pub struct Client {
    http: reqwest::Client,
    table: Table,
    settings: Settings,
    clock: Clock,
    own: Mutex<Option<Credentials>>,
    sessions: Mutex<BTreeMap<Scope, Credentials>>,
}

impl Client {
    /// # Errors
    /// [`AwsError::Invalid`] where TLS cannot be set up.
    pub fn new(settings: Settings, clock: Clock) -> Result<Self, AwsError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("trailwarden/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| AwsError::invalid(error.to_string()))?;
        let table = Table::compiled_in()?;
        Ok(Self { http, table, settings, clock, own: Mutex::default(), sessions: Mutex::default() })
    }

    async fn own_credentials(&self) -> Result<Credentials, AwsError> {
        let now = (self.clock)();
        let kept = self.own.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(kept) = kept.filter(|kept| kept.is_good(now)) {
            return Ok(kept);
        }
        let fetched = self.settings.base.fetch(&self.http).await?;
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(fetched.clone());
        Ok(fetched)
    }

    /// The role's credentials for a scope: nothing is ever called with the process's own but `AssumeRole`.
    async fn session(&self, scope: &Scope) -> Result<Credentials, AwsError> {
        let now = (self.clock)();
        let kept = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).get(scope).cloned();
        if let Some(kept) = kept.filter(|kept| kept.is_good(now)) {
            return Ok(kept);
        }
        let is_account = scope.account.len() == 12 && scope.account.bytes().all(|byte| byte.is_ascii_digit());
        if !is_account {
            return Err(AwsError::invalid("the target's account is no account number"));
        }
        let name = format!("trailwarden-{}", scope.case);
        let name: String = name
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "-_.@=,+".contains(*c))
            .take(SESSION_NAME_CHARS_MAX)
            .collect();
        let mut parameters = json!({
            "RoleArn": format!("arn:{}:iam::{}:role/{}", self.settings.partition, scope.account, self.settings.role),
            "RoleSessionName": name,
            "SourceIdentity": name,
            "Policy": scope.session_policy,
            "DurationSeconds": SESSION_SECONDS,
        });
        if let Some(id) = &self.settings.external_id {
            parameters["ExternalId"] = json!(id);
        }
        let request =
            Request { service: "sts".to_owned(), operation: "AssumeRole".to_owned(), parameters, region: None };
        let session = credentials::assumed(&self.send(&self.own_credentials().await?, &request).await?)?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, kept| kept.is_good(now));
        if sessions.len() < SESSIONS_MAX {
            sessions.insert(scope.clone(), session.clone());
        }
        Ok(session)
    }

    async fn send(&self, credentials: &Credentials, request: &Request) -> Result<Value, AwsError> {
        let (service, facts) = self.table.operation(&request.service, &request.operation)?;
        let written = write::write(service, &request.operation, facts, &request.parameters)?;
        let region = request.region.as_deref().unwrap_or(&self.settings.region);
        let place = endpoint(&request.service, region, self.settings.endpoint.as_deref())?;
        let Written { method, path, query, headers, body } = written;
        let address = format!("{}{path}{}{query}", place.base, if query.is_empty() { "" } else { "?" });
        let url = reqwest::Url::parse(&address).map_err(|_| AwsError::invalid("the endpoint is no address"))?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(AwsError::invalid("the endpoint has no host")),
        };
        let to_sign = sign::ToSign {
            method: &method,
            host: &host,
            path: &path,
            query: &query,
            headers: &headers,
            body: &body,
            region: &place.signing_region,
            service: &request.service,
            at: (self.clock)(),
        };
        let signed = sign::headers(credentials, &to_sign);
        let method = method.parse().map_err(|_| AwsError::invalid("the table names no method"))?;
        let mut builder = self.http.request(method, url);
        if body.is_empty() {
            // Some services want to be told that there is no body.
            builder = builder.header("content-length", "0");
        }
        builder = builder.body(body);
        for (name, value) in headers.iter().chain(&signed) {
            builder = builder.header(name, value);
        }
        let (status, code, body) = exchange(builder).await?;
        if !(200..300).contains(&status) {
            return Err(read::refusal(status, code.as_deref(), &body));
        }
        read::answer(service.protocol, facts, &body)
    }
}

/// Sends; status, the error's code where a header tells it, and the body.
pub(super) async fn exchange(request: reqwest::RequestBuilder) -> Result<(u16, Option<String>, Vec<u8>), AwsError> {
    // The innermost cause alone: outer ones quote the address.
    let lost = |error: reqwest::Error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        AwsError::Unanswered { message: super::error::cut(&cause.to_string()) }
    };
    let mut response = request.send().await.map_err(lost)?;
    let status = response.status().as_u16();
    let code = response.headers().get("x-amzn-errortype").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(lost)? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(AwsError::Unanswered { message: "the answer is too long".to_owned() });
        }
        body.extend_from_slice(&piece);
    }
    Ok((status, code, body))
}

#[async_trait]
impl Aws for Client {
    async fn call(&self, scope: &Scope, request: &Request) -> Result<Value, AwsError> {
        let session = self.session(scope).await?;
        self.send(&session, request).await
    }
}
