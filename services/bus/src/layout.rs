//! Names and bounds of everything on the broker.

use std::fmt;
use std::time::Duration;

use crate::Error;

/// A stream of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// What collectors read: `tw.activity.<tenant>.p017`.
    Activity,
    /// History taken in after the fact: `tw.backfill.<tenant>.p017`. It stays until it is acknowledged, however long that
    /// takes, and frees its room then; one consumer reads it.
    Backfill,
    /// Measured activities: `tw.feature.<tenant>.p017`.
    Feature,
    /// What is worth gathering: `tw.signal.<tenant>.p017`.
    Signal,
    /// Logs of cases: `tw.case.<tenant>.<id>`.
    Case,
    /// Announcements of baseline epochs: `tw.epoch.<tenant>`; what a day has cost so far: `tw.epoch.<tenant>.spent`.
    Epoch,
    /// What could not be worked on: `tw.dead.<tenant>`.
    Dead,
    /// What a person should know of, `tw.alert.<tenant>.raised`, and what was told, `tw.alert.<tenant>.told`.
    Alert,
    /// What is held back of it: the latest state of each share, `tw.throttle.<tenant>.s05`, moved by compare-and-set.
    Throttle,
    /// What is done about cases: `tw.action.<tenant>.life.<key>`, an action's life, and who holds what stands.
    Action,
    /// What people order about cases, `tw.order.<tenant>.case.<id>`, and what of it was refused at the door,
    /// `tw.order.<tenant>.refused`. Apart from actions, so that no number of orders takes their room.
    Order,
    /// The chain of what was allowed and done: `tw.audit.<tenant>`. It is kept until its stream is full, and then nothing
    /// is done any more.
    Audit,
}

impl Stream {
    pub const ALL: [Self; 12] = [
        Self::Activity,
        Self::Backfill,
        Self::Feature,
        Self::Signal,
        Self::Case,
        Self::Epoch,
        Self::Dead,
        Self::Alert,
        Self::Throttle,
        Self::Action,
        Self::Order,
        Self::Audit,
    ];

    /// The word in subjects.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Activity => "activity",
            Self::Backfill => "backfill",
            Self::Feature => "feature",
            Self::Signal => "signal",
            Self::Case => "case",
            Self::Epoch => "epoch",
            Self::Dead => "dead",
            Self::Alert => "alert",
            Self::Throttle => "throttle",
            Self::Action => "action",
            Self::Order => "order",
            Self::Audit => "audit",
        }
    }

    /// The stream's name on the broker for a tenant: `TW_ACTIVITY_default`.
    pub fn name(self, tenant: &str) -> String {
        format!("TW_{}_{tenant}", self.word().to_uppercase())
    }

    /// Every subject that the stream takes.
    pub(crate) fn subjects(self, tenant: &str) -> Vec<String> {
        let whole = Subject::whole(self, tenant);
        vec![whole.to_string(), format!("{whole}.>")]
    }
}

/// The word before a case's id in subjects of orders.
const ORDERS_OF_CASE: &str = "case";

/// One subject of a stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    pub stream: Stream,
    tenant: String,
    /// What follows the tenant: a partition, a case id, or nothing.
    rest: String,
}

impl Subject {
    /// `tw.activity.default.p017`.
    pub fn partition(stream: Stream, tenant: &str, partition: u16) -> Self {
        Self { stream, tenant: tenant.to_owned(), rest: format!("p{partition:03}") }
    }

    /// `tw.case.default.1eeea8c8`.
    pub fn case(tenant: &str, case: &str) -> Self {
        Self { stream: Stream::Case, tenant: tenant.to_owned(), rest: case.to_owned() }
    }

    /// What models cost a tenant: `tw.epoch.default.spent`. It stays like an epoch's announcement, whatever time passes.
    pub fn spent(tenant: &str) -> Self {
        Self::below(Stream::Epoch, tenant, "spent")
    }

    /// `tw.action.default.life.00ff`: a kind of thing and its name.
    pub fn action(tenant: &str, kind: &str, name: &str) -> Self {
        Self { stream: Stream::Action, tenant: tenant.to_owned(), rest: format!("{kind}.{name}") }
    }

    /// `tw.order.default.case.1eeea8c8`: what people order about a case.
    pub fn order(tenant: &str, case: &str) -> Self {
        Self { stream: Stream::Order, tenant: tenant.to_owned(), rest: format!("{ORDERS_OF_CASE}.{case}") }
    }

    /// `tw.order.default.refused`: orders that were not let in.
    pub fn refused(tenant: &str) -> Self {
        Self::below(Stream::Order, tenant, "refused")
    }

    /// The case that a subject of [`Self::order`] is about; `None` for any other.
    pub fn ordered_case(text: &str) -> Option<String> {
        let subject = Self::parse(text).filter(|subject| subject.stream == Stream::Order)?;
        Some(subject.rest.strip_prefix(ORDERS_OF_CASE)?.strip_prefix('.')?.to_owned())
    }

    /// `tw.epoch.default`.
    pub fn whole(stream: Stream, tenant: &str) -> Self {
        Self { stream, tenant: tenant.to_owned(), rest: String::new() }
    }

    /// `tw.alert.default.raised`: alerts, by whoever sees what they are about.
    pub fn raised(tenant: &str) -> Self {
        Self::below(Stream::Alert, tenant, "raised")
    }

    /// `tw.alert.default.told`: alerts as they were told, for whoever shows them.
    pub fn told(tenant: &str) -> Self {
        Self::below(Stream::Alert, tenant, "told")
    }

    /// `tw.throttle.default.s05`.
    pub fn throttle(tenant: &str, share: u16) -> Self {
        Self::below(Stream::Throttle, tenant, &format!("s{share:02}"))
    }

    /// A subject whose last words only this room knows.
    pub(crate) fn below(stream: Stream, tenant: &str, rest: &str) -> Self {
        Self { stream, tenant: tenant.to_owned(), rest: rest.to_owned() }
    }

    /// Reads what [`Subject`] writes; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.strip_prefix("tw.")?.split_once('.')?;
        let stream = Stream::ALL.into_iter().find(|stream| stream.word() == word)?;
        let (tenant, rest) = rest.split_once('.').unwrap_or((rest, ""));
        let subject = Self::below(stream, tenant, rest);
        (subject.check().is_ok() && subject.to_string() == text).then_some(subject)
    }

    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Whether it can stand on the broker.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty word, and for a character that the broker reads as something else.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let good = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && !b"*>\"\\".contains(&byte))
        };
        let tenant = !self.tenant.contains('.') && good(&self.tenant);
        if tenant && (self.rest.is_empty() || self.rest.split('.').all(good)) {
            return Ok(());
        }
        Err(Error::Invalid { what: format!("{self:?} is no subject") })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tw.{}.{}", self.stream.word(), self.tenant)?;
        if !self.rest.is_empty() {
            write!(f, ".{}", self.rest)?;
        }
        Ok(())
    }
}

/// What stands on the broker for one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub tenant: String,
    /// Fixed for the life of a deployment.
    pub partitions: u16,
    /// Copies that the broker keeps of each message.
    pub replicas: usize,
    /// How long what moves between stages is kept: at least twice the longest live window.
    pub kept: Duration,
    /// Bytes that each of the large streams may hold; beyond it the stream refuses.
    pub stream_bytes_max: u64,
    /// How long the broker remembers message ids.
    pub duplicate_window: Duration,
}

/// Bytes that the payload of a message may have. Brokers take 1 MiB as they come, headers included, and a dead
/// letter must find room for its own beside the whole of what could not be worked on.
pub const PAYLOAD_BYTES_MAX: usize = (1 << 20) - (32 << 10);

/// What a stream may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) bytes_max: u64,
    /// How long a message stays; `None` for ever. Nothing else frees room, but for `until_done`: what was consumed stays,
    /// since a store that lost its states is rebuilt from it.
    pub(crate) kept: Option<Duration>,
    /// A message goes when it is acknowledged, and not before. Such a stream has one consumer.
    pub(crate) until_done: bool,
    /// Latest messages of each subject that stay; `None` for all.
    pub(crate) per_subject_max: Option<u64>,
}

impl Layout {
    /// Case logs and dead letters wait for people: a month where the rest stays two days.
    const KEPT_FOR_PEOPLE: u32 = 15;
    /// Announcements of epochs that stay, however old: whoever starts needs the latest, and a look back costs nothing.
    const EPOCHS_MAX: u64 = 48;

    /// The largest states of all shares, and as many that take their place.
    const THROTTLE_BYTES: u64 = 32 << 20;

    /// What is not the bulk of the traffic is bounded to this part of a stream's bytes.
    const SIDE_STREAM_SHARE: u64 = 8;

    pub(crate) fn bounds(&self, stream: Stream) -> Bounds {
        let (kept, per_subject_max) = match stream {
            Stream::Activity | Stream::Feature | Stream::Signal => (Some(self.kept), None),
            // Whoever sent it was told that it is safe.
            Stream::Backfill => (None, None),
            Stream::Audit => (None, None),
            Stream::Case | Stream::Dead | Stream::Alert | Stream::Action | Stream::Order => {
                (Some(self.kept.saturating_mul(Self::KEPT_FOR_PEOPLE)), None)
            }
            Stream::Epoch => (None, Some(Self::EPOCHS_MAX)),
            Stream::Throttle => (None, Some(1)),
        };
        let bytes_max = match stream {
            Stream::Activity | Stream::Backfill | Stream::Feature | Stream::Signal => self.stream_bytes_max,
            Stream::Case
            | Stream::Dead
            | Stream::Epoch
            | Stream::Alert
            | Stream::Action
            | Stream::Order
            | Stream::Audit => self.stream_bytes_max / Self::SIDE_STREAM_SHARE,
            Stream::Throttle => Self::THROTTLE_BYTES.min(self.stream_bytes_max),
        };
        Bounds { bytes_max, kept, until_done: stream == Stream::Backfill, per_subject_max }
    }

    /// A layout within one process, which forgets everything when it ends: enough is kept for what is on its way.
    pub fn in_memory(tenant: &str, partitions: u16) -> Self {
        Self { kept: Duration::from_secs(600), stream_bytes_max: 256 << 20, ..Self::single(tenant, partitions) }
    }

    /// A day's windows, twice.
    pub const KEPT_MIN: Duration = Duration::from_secs(48 * 3_600);

    /// A layout on a broker of one machine. A broker sets the whole of every bound aside when the streams are made and
    /// takes at most three quarters of the free disk; these come to 12.0 GiB.
    pub fn single(tenant: &str, partitions: u16) -> Self {
        Self {
            tenant: tenant.to_owned(),
            partitions,
            replicas: 1,
            kept: Self::KEPT_MIN,
            stream_bytes_max: 2 << 30,
            duplicate_window: Duration::from_secs(120),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_read_as_they_are_written() {
        for subject in [
            Subject::partition(Stream::Activity, "default", 17),
            Subject::case("default", "1eeea8c8"),
            Subject::whole(Stream::Epoch, "default"),
            Subject::spent("default"),
            Subject::raised("default"),
            Subject::told("default"),
            Subject::throttle("default", 5),
            Subject::action("default", "life", "00ff"),
            Subject::order("default", "1eeea8c8"),
            Subject::refused("default"),
            Subject::whole(Stream::Audit, "default"),
            Subject::below(Stream::Dead, "default", "letter.00ff"),
        ] {
            assert_eq!(Subject::parse(&subject.to_string()), Some(subject));
        }
        for text in
            ["", "tw.activity", "tw.activity.", "tw.other.default", "tw.case.default.", "tw.case.a b", "tw.case.a.>"]
        {
            assert_eq!(Subject::parse(text), None, "{text}");
        }
        for (text, case) in [
            ("tw.order.default.case.1e", Some("1e")),
            ("tw.order.default.refused", None),
            ("tw.order.default.case", None),
            ("tw.action.default.case.1e", None),
        ] {
            assert_eq!(Subject::ordered_case(text).as_deref(), case, "{text}");
        }
    }
}
