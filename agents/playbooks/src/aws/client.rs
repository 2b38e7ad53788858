//! The client: assumes the account's role for one action, signs, sends, reads. One try a call.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use trailwarden_runtime::Clock;
use trailwarden_runtime::secret::without;
use trailwarden_runtime::sigv4::{self, Credentials, ToSign};
use trailwarden_runtime::transport::{Answer, Answered, Bounds, Error as TransportError, Outgoing, Transport};

use super::credentials::{Kept, assumed};
use super::endpoint::endpoint;
use super::facts::Table;
use super::write::Written;
use super::{Aws, AwsError, BaseCredentials, Request, Scope, read, write};
use crate::policy::EXECUTOR_ROLE;

/// How AWS is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the roles' trust policies ask for.
    pub external_id: Option<String>,
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    /// Region of the process, where nothing else names one.
    pub region: String,
    /// Instead of AWS's own addresses. For tests and private endpoints; `http` to this machine alone.
    pub endpoint: Option<String>,
    pub base: BaseCredentials,
}

/// From the first byte sent to the last one read.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Answers that are longer are errors; the longest that is used is one page of a list.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Sessions of roles whose credentials are kept.
const SESSIONS_MAX: usize = 256;
/// The shortest that AWS gives.
const SESSION_SECONDS: u32 = 900;
/// AWS's limit for names of sessions and source identities.
const SESSION_NAME_CHARS_MAX: usize = 64;

/// [`Aws`] over HTTPS.
pub struct Client {
    transport: Transport,
    table: Table,
    settings: Settings,
    clock: Clock,
    own: Mutex<Option<Kept>>,
    sessions: Mutex<BTreeMap<Scope, Kept>>,
}

impl Client {
    /// # Errors
    /// [`AwsError::Invalid`] for an endpoint that keys must not go to, or where TLS cannot be set up.
    pub fn new(settings: Settings, clock: Clock) -> Result<Self, AwsError> {
        let bounds = Bounds { total: CALL_TIMEOUT, reply_bytes_max: ANSWER_BYTES_MAX, ..Bounds::default() };
        let transport = Transport::new(bounds)?;
        if let Some(endpoint) = &settings.endpoint {
            transport.address(endpoint)?;
        }
        let table = Table::compiled_in()?;
        Ok(Self { transport, table, settings, clock, own: Mutex::default(), sessions: Mutex::default() })
    }

    async fn own_credentials(&self) -> Result<Credentials, AwsError> {
        let now = (self.clock)();
        let kept = self.own.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(kept) = kept.filter(|kept| kept.is_good(now)) {
            return Ok(kept.credentials);
        }
        let fetched = self.settings.base.fetch(&self.transport).await?;
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(fetched.clone());
        Ok(fetched.credentials)
    }

    /// The role's credentials for a scope: nothing is ever called with the process's own but `AssumeRole`.
    async fn session(&self, scope: &Scope) -> Result<Credentials, AwsError> {
        let now = (self.clock)();
        let kept = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).get(scope).cloned();
        if let Some(kept) = kept.filter(|kept| kept.is_good(now)) {
            return Ok(kept.credentials);
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
            "RoleArn": format!("arn:{}:iam::{}:role/{}", self.settings.partition, scope.account, EXECUTOR_ROLE),
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
        let session = assumed(&self.send(&self.own_credentials().await?, &request).await?)?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, kept| kept.is_good(now));
        if sessions.len() < SESSIONS_MAX {
            sessions.insert(scope.clone(), session.clone());
        }
        Ok(session.credentials)
    }

    async fn send(&self, credentials: &Credentials, request: &Request) -> Result<Value, AwsError> {
        let (service, facts) = self.table.operation(&request.service, &request.operation)?;
        let written = write::write(service, &request.operation, facts, &request.parameters)?;
        let region = request.region.as_deref().unwrap_or(&self.settings.region);
        let place = endpoint(&request.service, region, self.settings.endpoint.as_deref())?;
        let Written { method, path, query, headers, body } = written;
        let address = format!("{}{path}{}{query}", place.base, if query.is_empty() { "" } else { "?" });
        let url = Url::parse(&address).map_err(|_| AwsError::invalid("the endpoint is no address"))?;
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let to_sign = ToSign {
            method: &method,
            host: &sigv4::host(&url),
            path: &path,
            query: &query,
            headers: &headers,
            body: &body,
            region: &place.signing_region,
            service: &request.service,
            at: (self.clock)(),
        };
        let signed = sigv4::headers(credentials, &to_sign);
        let mut all = HeaderMap::new();
        for (name, value) in headers.iter().copied().chain(signed.iter().map(|(name, value)| (*name, value.as_str()))) {
            let cannot = || AwsError::invalid(format!("a header cannot hold what {name} needs"));
            let mut value = HeaderValue::try_from(value).map_err(|_| cannot())?;
            value.set_sensitive(true);
            all.insert(HeaderName::try_from(name).map_err(|_| cannot())?, value);
        }
        if body.is_empty() {
            // Some services want to be told that there is no body.
            all.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let method: Method = method.parse().map_err(|_| AwsError::invalid("the table names no method"))?;
        let outgoing = Outgoing { url, headers: all, body, answer: Answer::Any };
        let Answered { status, headers, body } = self.transport.exchange(method, outgoing).await?;
        if !(200..300).contains(&status) {
            let code = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
            // Services may echo what they were sent.
            let said = without(&String::from_utf8_lossy(&body), &credentials.secrets());
            return Err(read::refusal(status, code, said.as_bytes()));
        }
        read::answer(service.protocol, facts, &body)
    }
}

impl From<TransportError> for AwsError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Configuration(message) => Self::Invalid { message },
            // Its texts are short and clean.
            lost => Self::Unanswered { message: lost.to_string() },
        }
    }
}

#[async_trait]
impl Aws for Client {
    async fn call(&self, scope: &Scope, request: &Request) -> Result<Value, AwsError> {
        let session = self.session(scope).await?;
        self.send(&session, request).await
    }
}
