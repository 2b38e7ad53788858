//! Immutable objects in pieces, on a stream of their own.
//!
//! Pieces stand on subjects that carry the content's digest, and the head, which names the digest, is published last: so
//! an object is there whole or not at all, however often its writing was broken off. The stream drops its oldest messages,
//! so the pieces of an old object go before its head does; it counts as gone from then on, and may be stored anew.

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::broker::{Broker, Failure};
use super::streams;
use crate::{Error, Sequence, letter::hex};
use async_nats::HeaderMap;
use async_nats::jetstream::publish::PublishAck;

/// Well below what a broker takes as a message.
const PIECE_BYTES: usize = 512 << 10;
/// An epoch is some megabytes; nothing else is stored this way.
const OBJECT_BYTES_MAX: usize = 256 << 20;

/// What a head says of its object.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    digest: String,
    bytes: usize,
}

impl Head {
    fn of(content: &[u8]) -> Self {
        Self { digest: hex(&Sha256::digest(content)), bytes: content.len() }
    }

    fn read(text: &[u8]) -> Option<Self> {
        let (digest, bytes) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        let bytes = bytes.parse().ok().filter(|bytes| *bytes <= OBJECT_BYTES_MAX)?;
        Some(Self { digest: digest.to_owned(), bytes })
    }

    fn write(&self) -> Bytes {
        let mut text = String::new();
        let _ = write!(text, "{} {}", self.digest, self.bytes);
        text.into()
    }

    fn pieces(&self) -> usize {
        self.bytes.div_ceil(PIECE_BYTES)
    }
}

fn head_subject(tenant: &str, name: &str) -> String {
    format!("tw.object.{tenant}.{name}.head")
}

fn piece_subject(tenant: &str, name: &str, head: &Head, piece: usize) -> String {
    format!("tw.object.{tenant}.{name}.{}.{piece}", head.digest)
}

pub(super) async fn put(broker: &Broker, name: &str, content: &Bytes) -> Result<(), Error> {
    let tenant = broker.tenant();
    if content.len() > OBJECT_BYTES_MAX {
        return Err(Error::Invalid {
            what: format!("object {name} has {} bytes; {OBJECT_BYTES_MAX} are allowed", content.len()),
        });
    }
    let (stream, subject) = (streams::objects(tenant), head_subject(tenant, name));
    let standing = broker.last_of(&stream, &subject).await?.map(|stored| stored.sequence);
    // A head that stands says nothing of its pieces, and whoever is told that the object is there relies on all of them.
    if standing.is_some() && get(broker, name).await?.is_some() {
        return Ok(());
    }
    let head = Head::of(content);
    for piece in 0..head.pieces() {
        let from = piece * PIECE_BYTES;
        let bytes = content.slice(from..content.len().min(from + PIECE_BYTES));
        put_after(broker, piece_subject(tenant, name, &head, piece), 0, bytes).await?;
    }
    // The pieces may just have pushed out the head of an object that was gone.
    let latest = broker.last_of(&stream, &subject).await?.map(|stored| stored.sequence);
    if latest.is_some() && latest != standing {
        return Ok(());
    }
    put_after(broker, subject, latest.unwrap_or_default(), head.write()).await
}

/// Stores it after the latest of its subject. Where another stands by now it is the same piece, or the head of somebody
/// else's object of that name, which came first.
async fn put_after(broker: &Broker, subject: String, latest: Sequence, payload: Bytes) -> Result<(), Error> {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, latest.to_string());
    match broker.ask::<PublishAck>(subject, Some(headers), payload).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_wrong_sequence() => Ok(()),
        Err(Failure::NoResponders) => Err(broker.why_nobody_answers(&streams::objects(broker.tenant())).await),
        Err(failure) => Err(failure.about(&streams::objects(broker.tenant()))),
    }
}

pub(super) async fn get(broker: &Broker, name: &str) -> Result<Option<Bytes>, Error> {
    let tenant = broker.tenant();
    let stream = streams::objects(tenant);
    let Some(stored) = broker.last_of(&stream, &head_subject(tenant, name)).await? else {
        return Ok(None);
    };
    let damaged = || Error::Invalid { what: format!("object {name} is damaged") };
    let head = Head::read(&stored.payload).ok_or_else(damaged)?;
    let mut content = BytesMut::with_capacity(head.bytes);
    for piece in 0..head.pieces() {
        // The oldest objects are dropped piece by piece.
        let Some(stored) = broker.last_of(&stream, &piece_subject(tenant, name, &head, piece)).await? else {
            return Ok(None);
        };
        content.extend_from_slice(&stored.payload);
    }
    if Head::of(&content) != head {
        return Err(damaged());
    }
    Ok(Some(content.freeze()))
}
