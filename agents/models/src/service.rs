//! Clients of the services that models are asked at.

use async_trait::async_trait;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use trailwarden_runtime::quoted::quoted;
use trailwarden_runtime::sigv4::{self, ToSign};
use trailwarden_runtime::transport::{Answer, Outgoing};

use crate::wire::{Said, anthropic, bedrock, gemini, openai};
use crate::{Clock, Credentials, Error, Model, Question, Reply, Secret, Transport, Usage};

/// Letters of a schema's name that every service takes.
const SCHEMA_NAME_CHARS_MAX: usize = 64;
const JSON: &str = "application/json";

/// Where a model is asked, and which.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    pub provider: Provider,
    /// Address without the path that the provider's API adds, for example `https://api.openai.com`; with or without `/v1`.
    pub base: String,
    /// The model's name at the service; for Bedrock also the ARN of an inference profile.
    pub model: String,
    /// Sent only where set: some models refuse any.
    pub temperature: Option<f32>,
}

/// The four ways to ask.
#[derive(Clone, Debug, Deserialize)]
pub enum Provider {
    /// OpenAI, vLLM, llama.cpp, Ollama's `/v1`, gateways.
    OpenAi {
        key: Option<Secret>,
        output: Output,
    },
    Anthropic {
        key: Secret,
    },
    Bedrock {
        region: String,
        access: Access,
        tool_choice: ToolChoice,
    },
    Gemini {
        key: Secret,
    },
}

/// How an OpenAI-compatible service is asked for structured output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Output {
    /// `response_format` with a strict JSON schema.
    Schema,
    /// The same, and the bound on tokens by the name that OpenAI's own newer models want.
    SchemaOfOpenAi,
    /// A tool that must be called, for services that know no `json_schema`.
    Tool,
}

/// How Bedrock knows who asks.
#[derive(Clone, Debug, Deserialize)]
pub enum Access {
    /// An API key of Bedrock's.
    Bearer(Secret),
    Signed(Credentials),
}

/// How strongly Bedrock holds a model to the tool: by name for Claude and Nova, `Any` for Mistral, `Auto` for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ToolChoice {
    Named,
    Any,
    Auto,
}

/// A model at a service.
pub struct Client {
    name: String,
    service: Service,
    url: Url,
    transport: Transport,
    clock: Clock,
}

impl Client {
    /// # Errors
    /// [`Error::Configuration`] for an address that is none or sends keys in the clear, and for keys that no header holds.
    pub fn new(name: impl Into<String>, service: Service, transport: Transport, clock: Clock) -> Result<Self, Error> {
        let mut url = transport.address(&service.base)?;
        let path = match &service.provider {
            Provider::OpenAi { .. } => "/v1/chat/completions".to_owned(),
            Provider::Anthropic { .. } => "/v1/messages".to_owned(),
            Provider::Bedrock { .. } => bedrock::path(&service.model),
            Provider::Gemini { .. } => gemini::path(&service.model),
        };
        let base = url.path().trim_end_matches('/');
        let base = if path.starts_with("/v1/") { base.strip_suffix("/v1").unwrap_or(base) } else { base };
        let path = format!("{base}{path}");
        url.set_path(&path);
        let client = Self { name: name.into(), service, url, transport, clock };
        client.headers(b"")?;
        Ok(client)
    }

    fn body(&self, question: &Question) -> Value {
        let Service { provider, model, temperature, .. } = &self.service;
        match provider {
            Provider::OpenAi { output, .. } => openai::body(model, *output, *temperature, question),
            Provider::Anthropic { .. } => anthropic::body(model, *temperature, question),
            Provider::Bedrock { tool_choice, .. } => bedrock::body(*tool_choice, *temperature, question),
            Provider::Gemini { .. } => gemini::body(*temperature, question),
        }
    }

    fn headers(&self, body: &[u8]) -> Result<HeaderMap, Error> {
        let bearer = |key: &Secret| vec![("authorization", format!("Bearer {}", key.reveal()))];
        let named = match &self.service.provider {
            Provider::OpenAi { key, .. } => key.as_ref().map(bearer).unwrap_or_default(),
            Provider::Anthropic { key } => {
                vec![("x-api-key", key.reveal().to_owned()), ("anthropic-version", "2023-06-01".to_owned())]
            }
            Provider::Gemini { key } => vec![("x-goog-api-key", key.reveal().to_owned())],
            Provider::Bedrock { access: Access::Bearer(key), .. } => bearer(key),
            Provider::Bedrock { access: Access::Signed(credentials), region, .. } => {
                let request = ToSign {
                    method: "POST",
                    host: &sigv4::host(&self.url),
                    path: self.url.path(),
                    query: "",
                    headers: &[("content-type", JSON)],
                    body,
                    region,
                    service: "bedrock",
                    at: (self.clock)(),
                };
                sigv4::headers(credentials, &request)
            }
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        for (name, value) in named {
            let mut value = HeaderValue::try_from(value)
                .map_err(|_| Error::Configuration(format!("a header cannot hold what {name} needs")))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }

    fn secrets(&self) -> Vec<&Secret> {
        match &self.service.provider {
            Provider::OpenAi { key, .. } => key.iter().collect(),
            Provider::Anthropic { key } | Provider::Gemini { key } => vec![key],
            Provider::Bedrock { access: Access::Bearer(key), .. } => vec![key],
            Provider::Bedrock { access: Access::Signed(credentials), .. } => credentials.secrets(),
        }
    }

    fn said(&self, body: &[u8], schema_name: &str) -> Result<Said, Error> {
        match &self.service.provider {
            Provider::OpenAi { output, .. } => openai::said(body, *output, schema_name),
            Provider::Anthropic { .. } => anthropic::said(body, schema_name),
            Provider::Bedrock { .. } => bedrock::said(body, schema_name),
            Provider::Gemini { .. } => gemini::said(body),
        }
    }
}

#[async_trait]
impl Model for Client {
    fn name(&self) -> &str {
        &self.name
    }

    async fn ask(&self, question: &Question) -> Result<Reply, Error> {
        let name = &question.schema_name;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > SCHEMA_NAME_CHARS_MAX || !name.chars().all(plain) {
            return Err(Error::Configuration("the schema's name is not plain".to_owned()));
        }
        let body = self.body(question).to_string().into_bytes();
        let request = Outgoing { url: self.url.clone(), headers: self.headers(&body)?, body, answer: Answer::Json };
        let answer = self.transport.post(request, &self.secrets()).await?;
        let said = self.said(&answer, name)?;
        // A service that does not count is reckoned as if all that was granted had been used.
        let usage = said.usage.unwrap_or_else(|| Usage::foreseen(question)).plausible(question);
        Ok(Reply { text: said.text, usage, model: quoted(said.model.as_deref().unwrap_or(&self.service.model)) })
    }
}
