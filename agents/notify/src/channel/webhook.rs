//! Any receiver: a `CloudEvents` 1.0 event in its structured JSON form, signed as Standard Webhooks 1.0 describes (HMAC-SHA256
//! over id, time and body), so that nobody can make one up, change one, or send an old one again unnoticed.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::json;
use trailwarden_core::time::SECOND_MS;
use trailwarden_runtime::transport::Transport;

use super::{Channel, Deps, Error, Service, Told, data};
use crate::config::{self, ChannelKind, ChannelSpec, secret};

const CONTENT_TYPE: &str = "application/cloudevents+json";
/// Name of a message, the same each time it is tried.
const ID_HEADER: &str = "webhook-id";
/// When it was sent, in seconds since 1970: receivers refuse what is older than some minutes.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// Secrets as Standard Webhooks writes them; any other text is taken as its bytes.
const SECRET_PREFIX: &str = "whsec_";
const SECRET_BYTES_MIN: usize = 16;

pub(super) struct Webhook {
    name: String,
    service: Service,
    key: Vec<u8>,
    tenant: String,
}

impl Webhook {
    pub(super) fn new(spec: &ChannelSpec, transport: Transport, deps: &Deps<'_>) -> Result<Self, config::Error> {
        let secret = secret(spec, spec.secret_variable.as_deref().unwrap_or_default(), deps.environment)?;
        let key = match secret.reveal().strip_prefix(SECRET_PREFIX) {
            Some(coded) => {
                STANDARD.decode(coded).map_err(|_| spec.wrong("its secret begins with `whsec_` and is no base64"))?
            }
            None => secret.reveal().as_bytes().to_vec(),
        };
        if key.len() < SECRET_BYTES_MIN {
            return Err(spec.wrong(format_args!("its secret has less than {SECRET_BYTES_MIN} bytes")));
        }
        let service = Service::new(spec, transport, spec.url.as_deref().unwrap_or_default(), vec![secret])?;
        Ok(Self { name: spec.name.clone(), service, key, tenant: deps.tenant.to_owned() })
    }
}

#[async_trait]
impl Channel for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Webhook
    }

    async fn send(&self, told: &Told<'_>) -> Result<(), Error> {
        let (id, alert) = (&told.message.id, &told.message.alert);
        let event = json!({
            "specversion": "1.0",
            "id": id,
            "source": format!("/trailwarden/{}", self.tenant),
            "type": format!("dev.trailwarden.alert.{}", alert.kind),
            "subject": alert.case.as_ref().unwrap_or(&alert.principal),
            "time": told.message.since.to_string(),
            "datacontenttype": "application/json",
            "data": data(told),
        });
        let body = event.to_string().into_bytes();
        let at = (told.at.as_millis() / SECOND_MS).to_string();
        let headers =
            [(ID_HEADER, id.clone()), (SIGNATURE_HEADER, signature(&self.key, id, &at, &body)), (TIMESTAMP_HEADER, at)];
        self.service.post(CONTENT_TYPE, &headers, body).await.map(drop)
    }
}

/// The signature of a body sent under an id at a time (seconds since 1970): `v1,` and the base64 of its HMAC-SHA256.
/// Source: Standard Webhooks 1.0, "Signature scheme".
pub fn signature(key: &[u8], id: &str, at: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    for part in [id.as_bytes(), b".", at.as_bytes(), b".", body] {
        context.update(part);
    }
    format!("v1,{}", STANDARD.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn signs_as_the_specification_does() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
