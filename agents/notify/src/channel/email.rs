//! E-mail by SMTP.

use std::io::Read;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{self, AsyncSmtpTransport};
use lettre::{AsyncTransport, Tokio1Executor};
use trailwarden_core::time::Timestamp;
use trailwarden_runtime::quoted::quoted;

use super::{Channel, Deps, Error, Told};
use crate::config::{self, ChannelKind, ChannelSpec, Security, secret};

/// Each command's answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// An authority's certificates.
const CA_BYTES_MAX: u64 = 1 << 20;

/// A mail server, and who is written to.
pub(super) struct Email {
    name: String,
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Email {
    pub(super) fn new(spec: &ChannelSpec, deps: &Deps<'_>) -> Result<Self, config::Error> {
        let server = spec.server.as_deref().unwrap_or_default();
        let place = server.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        let Some((host, port)) = place.filter(|(host, _)| !host.is_empty()) else {
            return Err(spec.wrong("`server` wants `host:port`"));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mailbox = |text: &str| {
            text.parse::<Mailbox>().map_err(|_| spec.wrong(format_args!("{:?} is no address", quoted(text))))
        };
        let from = mailbox(spec.from.as_deref().unwrap_or_default())?;
        let to = spec.to.iter().map(|text| mailbox(text)).collect::<Result<_, _>>()?;
        let tls = match spec.security.unwrap_or_default() {
            Security::Tls => Tls::Wrapper(parameters(spec, host)?),
            Security::Starttls => Tls::Required(parameters(spec, host)?),
            Security::None if is_here(host) => Tls::None,
            Security::None => return Err(spec.wrong("`security` \"none\" is only allowed to this machine")),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .timeout(Some(ANSWER_WITHIN));
        if let (Some(user), Some(variable)) = (&spec.user, &spec.password_variable) {
            let password = secret(spec, variable, deps.environment)?;
            builder = builder.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
        }
        Ok(Self { name: spec.name.clone(), server: builder.build(), from, to })
    }

    fn mail(&self, told: &Told<'_>) -> Result<lettre::Message, Error> {
        let Told { message, words, at } = told;
        let domain = self.from.email.domain();
        let mut builder = MessageBuilder::new()
            .from(self.from.clone())
            .date(system_time(*at))
            .message_id(Some(format!("<{}@{domain}>", message.id)))
            .subject(words.subject.clone())
            // Nobody is to answer that they are on holiday (RFC 3834).
            .raw_header(header("Auto-Submitted", "auto-generated"));
        if let Some(case) = &message.alert.case {
            // Mail programs put what is said of one case under one heading.
            let case: String = case.chars().filter(char::is_ascii_alphanumeric).collect();
            builder = builder.references(format!("<case-{case}@{domain}>"));
        }
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let mut text = words.lines().join("\r\n");
        text.push_str("\r\n");
        let part = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(text);
        builder.singlepart(part).map_err(Error::refused)
    }
}

#[async_trait]
impl Channel for Email {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Email
    }

    async fn send(&self, told: &Told<'_>) -> Result<(), Error> {
        let mail = self.mail(told)?;
        self.server.send(mail).await.map(drop).map_err(|error| failure(&error))
    }
}

fn failure(error: &smtp::Error) -> Error {
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        why = format!("{why}: {error}");
        cause = error.source();
    }
    let why = quoted(&why);
    if error.is_permanent() { Error::refused(why) } else { Error::failed(why) }
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn parameters(spec: &ChannelSpec, host: &str) -> Result<TlsParameters, config::Error> {
    let wrong = |error: &dyn std::fmt::Display| spec.wrong(format_args!("TLS: {}", quoted(&error.to_string())));
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = &spec.ca_file {
        let mut pem = Vec::new();
        let file = std::fs::File::open(path).map_err(|error| wrong(&error))?;
        #[expect(clippy::disallowed_methods, reason = "capped by what stands before it")]
        file.take(CA_BYTES_MAX).read_to_end(&mut pem).map_err(|error| wrong(&error))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| wrong(&error))?);
    }
    builder.build().map_err(|error| wrong(&error))
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// For a header; what no clock of the system can show is the epoch.
fn system_time(time: Timestamp) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(0));
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}
