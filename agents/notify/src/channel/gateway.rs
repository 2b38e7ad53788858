//! Text messages by somebody's HTTP gateway: a POST of JSON, with a token where one is named.

use async_trait::async_trait;
use serde_json::json;
use trailwarden_runtime::transport::Transport;

use super::{Channel, Deps, Error, Service, Told, short};
use crate::config::{self, ChannelKind, ChannelSpec, secret};

const CHARS_MAX: usize = 400;

pub(super) struct Gateway {
    name: String,
    service: Service,
    to: String,
}

impl Gateway {
    pub(super) fn new(spec: &ChannelSpec, transport: Transport, deps: &Deps<'_>) -> Result<Self, config::Error> {
        let token = spec.token_variable.as_deref().map(|name| secret(spec, name, deps.environment)).transpose()?;
        let url = spec.url.as_deref().unwrap_or_default();
        let service = Service::new(spec, transport, url, token.into_iter().collect())?;
        Ok(Self { name: spec.name.clone(), service, to: spec.to.first().cloned().unwrap_or_default() })
    }
}

#[async_trait]
impl Channel for Gateway {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::SmsGateway
    }

    async fn send(&self, told: &Told<'_>) -> Result<(), Error> {
        let id = &told.message.id;
        let mut headers = vec![("idempotency-key", id.clone())];
        if let Some(token) = self.service.secrets.first() {
            headers.push(("authorization", format!("Bearer {}", token.reveal())));
        }
        let body = json!({ "id": id, "to": self.to, "text": short(told.words, CHARS_MAX) });
        self.service.post_json(&headers, &body).await.map(drop)
    }
}
