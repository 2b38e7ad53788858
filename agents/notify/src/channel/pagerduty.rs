//! PagerDuty, Events API v2. What is said of one case is one incident; a condition that ends resolves its own.

use async_trait::async_trait;
use serde_json::{Value, json};
use trailwarden_core::level::Severity;
use trailwarden_runtime::secret::Secret;
use trailwarden_runtime::transport::Transport;

use super::{Channel, Deps, Error, Service, Told, data};
use crate::config::{self, ChannelKind, ChannelSpec, secret};
use crate::words::Link;

const USUAL: &str = "https://events.pagerduty.com/v2/enqueue";
/// Characters of a summary, and of a key.
const SUMMARY_CHARS_MAX: usize = 1_024;
const KEY_CHARS_MAX: usize = 255;

pub(super) struct PagerDuty {
    name: String,
    service: Service,
    routing_key: Secret,
    tenant: String,
}

impl PagerDuty {
    pub(super) fn new(spec: &ChannelSpec, transport: Transport, deps: &Deps<'_>) -> Result<Self, config::Error> {
        let routing_key = secret(spec, spec.secret_variable.as_deref().unwrap_or_default(), deps.environment)?;
        let url = spec.url.as_deref().unwrap_or(USUAL);
        let service = Service::new(spec, transport, url, vec![routing_key.clone()])?;
        Ok(Self { name: spec.name.clone(), service, routing_key, tenant: deps.tenant.to_owned() })
    }

    fn body(&self, told: &Told<'_>) -> Value {
        let alert = &told.message.alert;
        let key = match &alert.case {
            Some(case) => format!("case:{case}"),
            None => format!("{}:{}:{}", alert.kind, alert.account, alert.principal),
        };
        let key: String = format!("{}:{key}", self.tenant).chars().take(KEY_CHARS_MAX).collect();
        let links = match &told.words.link {
            Some(Link::Address { url, label }) => vec![json!({ "href": url, "text": label })],
            Some(Link::Command { .. }) | None => Vec::new(),
        };
        let severity = match alert.severity {
            Severity::Critical => "critical",
            Severity::High => "error",
            Severity::Medium => "warning",
            Severity::Low | Severity::Informational => "info",
        };
        let summary: String = told.words.subject.chars().take(SUMMARY_CHARS_MAX).collect();
        json!({
            "routing_key": self.routing_key.reveal(),
            "event_action": if alert.ended { "resolve" } else { "trigger" },
            "dedup_key": key,
            "client": "Trailwarden",
            "links": links,
            "payload": {
                "summary": summary,
                "source": if alert.account.is_empty() { &alert.principal } else { &alert.account },
                "severity": severity,
                "timestamp": told.at.to_string(),
                "component": alert.principal,
                "class": alert.kind,
                "custom_details": data(told),
            },
        })
    }
}

#[async_trait]
impl Channel for PagerDuty {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::PagerDuty
    }

    async fn send(&self, told: &Told<'_>) -> Result<(), Error> {
        self.service.post_json(&[], &self.body(told)).await.map(drop)
    }
}
