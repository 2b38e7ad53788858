//! The second net: what a consumer gave up goes to the dead letters.
//!
//! The broker announces such a message once, to whoever listens at that moment. A stream listens always, so that none is
//! missed when every process is down; one durable consumer of it, which all processes share, does the burying.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::sleep;

use super::JetStream;
use super::broker::Broker;
use super::puller::Puller;
use super::streams;
use crate::{Consumer, Delivery, Error, Stream, Subscription, letter};

/// The consumer's durable name.
const NAME: &str = "undertaker";
const PATIENCE: Duration = Duration::from_secs(30);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// What the broker says of a message that was given out too often, as far as it is needed here.
#[derive(Debug, Deserialize)]
struct GivenUp {
    stream: String,
    consumer: String,
    stream_seq: u64,
    deliveries: u64,
}

/// Goes on for ever; the task that runs it is stopped from outside.
pub(super) async fn bury_what_is_given_up(broker: Broker) {
    let mut retry = RETRY_MIN;
    loop {
        let worked = work(&broker, &mut retry).await;
        if let Err(error) = worked {
            tracing::warn!(%error, "messages that were given up wait to be buried");
        }
        sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
    }
}

async fn work(broker: &Broker, retry: &mut Duration) -> Result<(), Error> {
    let stream = streams::advisories(broker.tenant());
    let consumer = Consumer {
        // Which stream it is said to be of does not matter here: the puller is told by name.
        stream: Stream::Dead,
        name: NAME.to_owned(),
        filter: String::new(),
        in_flight_max: 16,
        ack_wait: Duration::from_secs(30),
        deliveries_max: u32::MAX,
        idle_max: None,
    };
    let mut puller = Puller::join(broker.clone(), stream, &consumer).await?;
    loop {
        if let Some(delivery) = puller.next(PATIENCE).await? {
            bury(broker, delivery).await?;
        }
        *retry = RETRY_MIN;
    }
}

async fn bury(broker: &Broker, delivery: Box<dyn Delivery>) -> Result<(), Error> {
    let given_up: GivenUp = match serde_json::from_slice(&delivery.message().payload) {
        Ok(given_up) => given_up,
        Err(error) => {
            tracing::error!(%error, sequence = delivery.message().sequence, "an advisory that cannot be read");
            return delivery.ack().await;
        }
    };
    let GivenUp { stream, consumer, stream_seq, deliveries } = given_up;
    match broker.at(&stream, stream_seq).await? {
        Some(message) => {
            tracing::error!(
                stream,
                consumer,
                sequence = stream_seq,
                deliveries,
                "a message was given up and is buried"
            );
            let letter = letter::given_up(message, &consumer, deliveries);
            match JetStream::new(broker.clone()).bury_once(&letter).await {
                // It never will be taken, and must not keep those behind it from being buried.
                Err(error @ Error::Invalid { .. }) => {
                    tracing::error!(stream, consumer, sequence = stream_seq, %error, "it cannot be buried")
                }
                buried => buried?,
            }
        }
        None => {
            tracing::error!(stream, consumer, sequence = stream_seq, "a message was given up and is no longer kept")
        }
    }
    delivery.ack().await
}
