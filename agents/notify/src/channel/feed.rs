//! The dashboard's feed: what was told, as JSON on the bus, for whoever shows it.

use std::sync::Arc;

use async_trait::async_trait;
use trailwarden_bus::{Bus, Outgoing, Subject};

use super::{Channel, Deps, Error, Told, data};
use crate::config::{ChannelKind, ChannelSpec};

pub(super) struct Feed {
    name: String,
    bus: Arc<dyn Bus>,
    subject: Subject,
}

impl Feed {
    pub(super) fn new(spec: &ChannelSpec, deps: &Deps<'_>) -> Self {
        Self { name: spec.name.clone(), bus: Arc::clone(&deps.bus), subject: Subject::told(deps.tenant) }
    }
}

#[async_trait]
impl Channel for Feed {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Feed
    }

    async fn send(&self, told: &Told<'_>) -> Result<(), Error> {
        let payload = data(told).to_string().into_bytes().into();
        // Sent again soon after, it is stored once.
        let message = Outgoing { payload, id: Some(told.message.id.clone()), ..Outgoing::default() };
        match self.bus.publish(&self.subject, message).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_transient() => Err(Error::failed(error)),
            Err(error) => Err(Error::refused(error)),
        }
    }
}
