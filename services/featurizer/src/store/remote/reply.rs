//! What the server answers, read with suspicion.

use std::collections::{BTreeMap, BTreeSet};

use redis::{ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value};
use trailwarden_core::fence::Record;
use trailwarden_core::live::LiveState;
use trailwarden_core::time::Timestamp;

use crate::partition::{Hour, IdHash};
use crate::store::{Error, PartitionKey};

/// Bytes that name the life of a record in front of each state.
const LIFE_BYTES: usize = 16;

/// Says who is at fault and whether a retry helps.
pub(super) fn failure(key: &PartitionKey, error: &RedisError) -> Error {
    let what = error.to_string();
    match error.kind() {
        // Scripts and transactions wrap what their commands were told.
        _ if what.contains("WRONGTYPE") => Error::corrupt(key, what),
        _ if what.contains("OOM") => Error::Unusable(format!("it is full: {what}")),
        _ if ["NOAUTH", "WRONGPASS", "NOPERM"].iter().any(|code| what.contains(code)) => Error::Unusable(what),
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported => {
            Error::Unusable(what)
        }
        ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::CrossSlot) => Error::Unusable(what),
        ErrorKind::Server(ServerErrorKind::ResponseError) if what.contains("unknown command") => Error::Unusable(what),
        ErrorKind::UnexpectedReturnType => Error::corrupt(key, what),
        _ => Error::Unavailable(what),
    }
}

fn read<T: FromRedisValue>(key: &PartitionKey, what: &str, value: Option<Value>) -> Result<T, Error> {
    let value = value.ok_or_else(|| Error::corrupt(key, format_args!("no answer about {what}")))?;
    redis::from_redis_value(value).map_err(|error| Error::corrupt(key, format_args!("{what}: {error}")))
}

/// The record with the name of its life; `None` when there is none.
pub(super) fn record(key: &PartitionKey, value: Option<Value>) -> Result<Option<(Record, Vec<u8>)>, Error> {
    type Fields = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);
    let fields: Fields = read(key, "the record", value)?;
    let (input, output, epoch, life) = match fields {
        (None, None, None, None) => return Ok(None),
        (Some(input), Some(output), Some(epoch), Some(life)) => (input, output, epoch, life),
        _ => return Err(Error::corrupt(key, "the record lacks a field")),
    };
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
    let record = number(&input).zip(number(&output)).zip(String::from_utf8(epoch).ok());
    let Some(((input, output), epoch)) = record.filter(|_| life.len() == LIFE_BYTES) else {
        return Err(Error::corrupt(key, "the record is none"));
    };
    Ok(Some((Record { input, output, epoch }, life)))
}

/// Watermark, and the hours of which ids are held, each with the broker's clock when the latest came.
pub(super) type Clock = (Option<Timestamp>, BTreeMap<Hour, Timestamp>);

/// The partition's clock.
pub(super) fn clock(key: &PartitionKey, value: Option<Value>) -> Result<Clock, Error> {
    let fields: BTreeMap<String, String> = read(key, "the clock", value)?;
    let (mut watermark, mut hours) = (None, BTreeMap::new());
    for (name, value) in fields {
        let number = |text: &str| text.parse::<i64>().map_err(|error| Error::corrupt(key, error));
        let time = || number(&value).map(Timestamp::from_millis);
        match name.strip_prefix('h') {
            Some(hour) => _ = hours.insert(number(hour)?, time()?),
            None if name == "watermark" => watermark = Some(time()?),
            None => return Err(Error::corrupt(key, "the clock has an unknown field")),
        }
    }
    Ok((watermark, hours))
}

/// States of principals in the order in which they were asked for.
pub(super) fn states(
    key: &PartitionKey,
    life: &[u8],
    asked: &[u64],
    value: Option<Value>,
    live: &mut BTreeMap<u64, LiveState>,
) -> Result<(), Error> {
    let packed: Vec<Option<Vec<u8>>> = read(key, "states", value)?;
    if packed.len() != asked.len() {
        return Err(Error::corrupt(key, "states are missing"));
    }
    for (principal, packed) in asked.iter().zip(packed) {
        let Some(packed) = packed else { continue };
        let (of, state) =
            packed.split_at_checked(LIFE_BYTES).ok_or_else(|| Error::corrupt(key, "a state is too short"))?;
        // What belongs to another life is none of this one; what names no life at all was not written by us.
        if !of.iter().all(u8::is_ascii_digit) {
            return Err(Error::corrupt(key, "a state names no life"));
        }
        if of == life {
            let state = LiveState::unpack(state).map_err(|error| Error::corrupt(key, error))?;
            live.insert(*principal, state);
        }
    }
    Ok(())
}

/// Which of the asked ids are held.
pub(super) fn seen(
    key: &PartitionKey,
    asked: &[(Hour, IdHash)],
    value: Option<Value>,
    seen: &mut BTreeSet<(Hour, IdHash)>,
) -> Result<(), Error> {
    let held: Vec<i64> = read(key, "ids", value)?;
    if held.len() != asked.len() {
        return Err(Error::corrupt(key, "ids are missing"));
    }
    seen.extend(asked.iter().zip(held).filter(|(_, held)| *held == 1).map(|(id, _)| *id));
    Ok(())
}
