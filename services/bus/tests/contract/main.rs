//! What every bus promises, tried on the one in memory and on a real broker: the same bodies against both.
//!
//! Nothing here sleeps. Where time must pass, a consumer waits for a message that does not come, with bounded patience.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod broker;
mod consume;
mod keep;
mod publish;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trailwarden_bus::{
    Bus, Connection, Consumer, Delivery, JetStream, Layout, Memory, Outgoing, Published, Sequence, Stream, Subject,
};
use trailwarden_servers::{Nats, NatsOptions};

const TENANT: &str = "default";
/// Long enough for anything that does come; only waited out when something is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough to see that something does not come.
const A_MOMENT: Duration = Duration::from_millis(150);

/// A bus under test, and what must live as long.
struct Bench {
    bus: Arc<dyn Bus>,
    layout: Layout,
    _server: Option<Nats>,
}

impl Bench {
    fn in_memory() -> Self {
        Self { bus: Arc::new(Memory::default()), layout: layout(), _server: None }
    }

    async fn on_a_broker() -> Self {
        let server = Nats::with(&NatsOptions { sync_always: true, ..NatsOptions::default() });
        Self { bus: Arc::new(connected(&server).await), layout: layout(), _server: Some(server) }
    }

    async fn set_up(self) -> Self {
        self.bus.set_up(&self.layout).await.unwrap();
        self
    }

    /// Publishes a text, plainly.
    async fn say(&self, subject: &Subject, text: &str) -> Sequence {
        let payload = Bytes::from(text.to_owned());
        match self.bus.publish(subject, Outgoing { payload, ..Outgoing::default() }).await.unwrap() {
            Published::Stored(sequence) => sequence,
            Published::Duplicate(sequence) => panic!("{text} is a duplicate of {sequence}"),
        }
    }

    /// The next message of a consumer, which must come.
    async fn take(&self, consumer: &Consumer) -> Box<dyn Delivery> {
        let mut puller = self.bus.subscribe(consumer).await.unwrap();
        puller.next(PATIENCE).await.unwrap().expect("a message comes")
    }

    /// Lets time pass.
    async fn wait_a_moment(&self) {
        let idle = Consumer {
            name: "idle".to_owned(),
            filter: "tw.backfill.default.idle".to_owned(),
            ..consumer(Stream::Backfill)
        };
        assert!(self.bus.subscribe(&idle).await.unwrap().next(A_MOMENT).await.unwrap().is_none());
    }
}

/// Lets time pass where there may be no broker to wait at.
async fn a_moment() {
    Bench::in_memory().set_up().await.wait_a_moment().await;
}

/// Connects, and waits until the broker answers.
async fn connected(server: &Nats) -> JetStream {
    let bus = JetStream::connect(Connection { url: server.url(), tenant: TENANT.to_owned() }).await.unwrap();
    let answers = async {
        while bus.ping().await.is_err() {
            a_moment().await;
        }
    };
    tokio::time::timeout(PATIENCE, answers).await.unwrap();
    bus
}

fn layout() -> Layout {
    Layout { stream_bytes_max: 64 << 20, ..Layout::single(TENANT, 4) }
}

fn partition(stream: Stream, partition: u16) -> Subject {
    Subject::partition(stream, TENANT, partition)
}

/// A consumer of a stream's first partition, patient enough that nothing comes twice by itself.
fn consumer(stream: Stream) -> Consumer {
    Consumer {
        stream,
        name: "reader".to_owned(),
        filter: partition(stream, 0).to_string(),
        in_flight_max: 1,
        ack_wait: Duration::from_secs(60),
        deliveries_max: 5,
        idle_max: None,
    }
}

/// One test against each bus for every body.
macro_rules! contract {
    ($($module:ident::$body:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $body() {
                super::$module::$body(super::Bench::in_memory().set_up().await).await;
            })+
        }
        mod jetstream {
            $(#[tokio::test]
            async fn $body() {
                super::$module::$body(super::Bench::on_a_broker().await.set_up().await).await;
            })+
        }
    };
}

contract!(
    publish::a_stale_expectation_is_refused,
    publish::an_id_is_stored_once,
    publish::what_cannot_be_carried_is_refused_before_it_is_sent,
    publish::what_is_full_refuses_and_only_age_frees_it,
    publish::history_stays_until_it_is_done_with_and_frees_its_room_then,
    consume::order_holds_over_competing_pullers_and_redeliveries,
    consume::what_is_not_acknowledged_comes_again,
    consume::what_is_handed_back_comes_again_when_it_may,
    consume::progress_keeps_a_message_from_others,
    consume::what_is_given_out_too_often_is_buried,
    consume::as_many_are_in_flight_as_may_be,
    keep::subjects_are_read_back_in_order,
    keep::the_latest_announcements_stay,
    keep::what_a_day_has_cost_stands_apart_and_is_changed_by_one_at_a_time,
    keep::a_state_takes_the_place_of_the_one_before_and_of_no_other,
    keep::objects_are_kept_whole_and_once,
    keep::an_object_that_was_dropped_can_be_stored_anew,
    keep::a_letter_is_buried_once_and_sent_again_once,
    keep::a_letter_that_no_message_can_carry_is_kept_whole,
    keep::setting_up_again_changes_nothing,
);

mod before_set_up {
    #[tokio::test]
    async fn memory_says_what_is_missing() {
        super::publish::without_set_up_everything_is_missing(super::Bench::in_memory()).await;
    }

    #[tokio::test]
    async fn jetstream_says_what_is_missing() {
        super::publish::without_set_up_everything_is_missing(super::Bench::on_a_broker().await).await;
    }
}
