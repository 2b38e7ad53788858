//! Text messages by Amazon SNS: `Publish` of the query protocol, signed.

use async_trait::async_trait;
use trailwarden_runtime::Clock;
use trailwarden_runtime::sigv4::{self, Credentials, ToSign, encoded};
use trailwarden_runtime::transport::Transport;

use super::{Channel, Deps, Error, Service, Told, short};
use crate::config::{self, ChannelKind, ChannelSpec, secret};

const FORM: &str = "application/x-www-form-urlencoded";
/// Three text messages of the Latin alphabet, and six of Hangul.
const CHARS_MAX: usize = 400;

/// A phone number or a topic.
pub(super) struct Sns {
    name: String,
    service: Service,
    region: String,
    credentials: Credentials,
    to: String,
    clock: Clock,
}

impl Sns {
    pub(super) fn new(spec: &ChannelSpec, transport: Transport, deps: &Deps<'_>) -> Result<Self, config::Error> {
        let region = spec.region.clone().unwrap_or_default();
        if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(spec.wrong("`region` is none"));
        }
        let to = spec.to.first().cloned().unwrap_or_default();
        let is_number = to
            .strip_prefix('+')
            .is_some_and(|digits| (5..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_number && !to.starts_with("arn:") {
            return Err(spec.wrong("`to` wants a number such as `+821012345678`, or a topic's ARN"));
        }
        let held = |own: &Option<String>, usual: &str| secret(spec, own.as_deref().unwrap_or(usual), deps.environment);
        let key_id = held(&spec.key_id_variable, "AWS_ACCESS_KEY_ID")?;
        // A lasting key has no token, so only one that is named must be there.
        let session_token = match &spec.token_variable {
            Some(variable) => Some(secret(spec, variable, deps.environment)?),
            None => secret(spec, "AWS_SESSION_TOKEN", deps.environment).ok(),
        };
        let credentials = Credentials {
            access_key_id: key_id.reveal().to_owned(),
            secret_access_key: held(&spec.secret_variable, "AWS_SECRET_ACCESS_KEY")?,
            session_token,
        };
        let usual = format!("https://sns.{region}.amazonaws.com/");
        let secrets = credentials.session_token.iter().chain([&credentials.secret_access_key]).cloned().collect();
        let service = Service::new(spec, transport, spec.url.as_deref().unwrap_or(&usual), secrets)?;
        Ok(Self { name: spec.name.clone(), service, region, credentials, to, clock: deps.clock.clone() })
    }

    fn body(&self, told: &Told<'_>) -> String {
        let to = if self.to.starts_with('+') { "PhoneNumber" } else { "TopicArn" };
        let text = short(told.words, CHARS_MAX);
        let fields = [
            ("Action", "Publish"),
            ("Version", "2010-03-31"),
            (to, &self.to),
            ("Message", &text),
            ("MessageAttributes.entry.1.Name", "AWS.SNS.SMS.SMSType"),
            ("MessageAttributes.entry.1.Value.DataType", "String"),
            ("MessageAttributes.entry.1.Value.StringValue", "Transactional"),
        ];
        fields.map(|(name, value)| format!("{name}={}", encoded(value, false))).join("&")
    }
}

#[async_trait]
impl Channel for Sns {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Sns
    }

    async fn send(&self, told: &Told<'_>) -> Result<(), Error> {
        let body = self.body(told).into_bytes();
        let url = &self.service.url;
        let request = ToSign {
            method: "POST",
            host: &sigv4::host(url),
            path: url.path(),
            query: "",
            headers: &[("content-type", FORM)],
            body: &body,
            region: &self.region,
            service: "sns",
            at: (self.clock)(),
        };
        let headers = sigv4::headers(&self.credentials, &request);
        self.service.post(FORM, &headers, body).await.map(drop)
    }
}
