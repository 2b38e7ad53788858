//! The store on Redis or Valkey, single or clustered.
//!
//! All keys of a partition share the hash tag `{tenant.p017}`, so one script commits them: `tw:{tenant.p017}:record` and
//! `:clock` (hashes), `:s:<principal>` (a packed state each), `:i:<hour>` (a set of id hashes each).

mod connection;
mod reply;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Pipeline, Value};
use trailwarden_core::fence::Record;
use trailwarden_runtime::Clock;

pub use connection::Servers;

use super::{Error, Finding, PartitionKey, WindowStore, check};
use crate::partition::{Changes, Hour, Loaded, Needs};
pub(super) use connection::Connections;

/// State of a principal that was idle for so long, on the wall clock, is worthless: windows reach back a day.
const IDLE_MAX: Duration = Duration::from_secs(72 * 3_600);
/// Keys or ids that one command asks for.
const ASKED_MAX: usize = 512;
/// Bounds on one commit: a script holds up all else on its server while it runs.
const COMMIT_STATES_MAX: usize = 8_192;
const COMMIT_IDS_MAX: usize = 65_536;

const COMMIT: &str = include_str!("remote/commit.lua");

/// The store on Redis or Valkey.
pub struct RedisStore {
    connections: Connections,
    /// Name of the commit script on the server.
    commit: String,
    clock: Clock,
}

impl RedisStore {
    /// Connects at the first call, and anew whenever the connection fails. `clock` is compared with the server's.
    ///
    /// # Errors
    /// [`Error::Unusable`] when an address cannot be read.
    pub fn new(servers: Servers, clock: Clock) -> Result<Self, Error> {
        // The server names scripts by SHA-1, which is computed by the client library.
        let commit = redis::Script::new(COMMIT).get_hash().to_owned();
        Ok(Self { connections: Connections::new(servers)?, commit, clock })
    }

    async fn run(&self, key: &PartitionKey, pipeline: &Pipeline) -> Result<Vec<Value>, Error> {
        self.connections.pipeline(pipeline).await.map_err(|error| reply::failure(key, &error))
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses may hold passwords.
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl WindowStore for RedisStore {
    async fn read(&self, key: &PartitionKey, needs: &Needs) -> Result<(Option<Record>, Loaded), Error> {
        let mut pipeline = redis::pipe();
        // One transaction: a commit of somebody else comes before all of it or after.
        pipeline.atomic();
        pipeline.cmd("HMGET").arg(record(key)).arg(&["input", "output", "epoch", "life"]);
        pipeline.cmd("HGETALL").arg(clock(key));
        let principals: Vec<u64> = needs.principals.iter().copied().collect();
        for some in principals.chunks(ASKED_MAX) {
            pipeline.cmd("MGET").arg(some.iter().map(|principal| state(key, *principal)).collect::<Vec<_>>());
        }
        let asked: Vec<(Hour, u128)> =
            needs.ids.iter().flat_map(|(hour, ids)| ids.iter().map(move |id| (*hour, *id))).collect();
        let by_hour = || asked.chunk_by(|a, b| a.0 == b.0).flat_map(|hour| hour.chunks(ASKED_MAX));
        for some in by_hour() {
            let ids: Vec<[u8; 16]> = some.iter().map(|(_, id)| id.to_be_bytes()).collect();
            pipeline.cmd("SMISMEMBER").arg(ids_of(key, some[0].0)).arg(members(&ids));
        }
        let mut answers = self.run(key, &pipeline).await?.into_iter();
        let Some((record, life)) = reply::record(key, answers.next())? else {
            return Ok((None, Loaded::default()));
        };
        let (watermark, hours) = reply::clock(key, answers.next())?;
        let mut loaded = Loaded { watermark, hours, ..Loaded::default() };
        for some in principals.chunks(ASKED_MAX) {
            reply::states(key, &life, some, answers.next(), &mut loaded.live)?;
        }
        for some in by_hour() {
            // A set whose hour the clock does not name was left behind by an earlier life.
            let answer = answers.next();
            if loaded.hours.contains_key(&some[0].0) {
                reply::seen(key, some, answer, &mut loaded.seen)?;
            }
        }
        Ok((Some(record), loaded))
    }

    async fn commit(&self, key: &PartitionKey, from: &Record, to: &Record, changes: &Changes) -> Result<bool, Error> {
        let ids: usize = changes.ids.values().map(|added| added.ids.len()).sum();
        if changes.live.len() > COMMIT_STATES_MAX || ids > COMMIT_IDS_MAX {
            return Err(Error::Unusable(format!("{} states and {ids} ids at once are too many", changes.live.len())));
        }
        let arguments = Arguments::of(key, from, to, changes);
        let evaluated = self.connections.command(&arguments.command("EVALSHA", &self.commit)).await;
        let answer = match evaluated {
            Err(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript) => {
                self.connections.command(&arguments.command("EVAL", COMMIT)).await
            }
            other => other,
        };
        match answer.map_err(|error| reply::failure(key, &error))? {
            Value::Int(1) => Ok(true),
            Value::Int(0) => Ok(false),
            other => Err(Error::Unusable(format!("the commit script answers {other:?}"))),
        }
    }

    async fn clear(&self, key: &PartitionKey) -> Result<(), Error> {
        // States and ids are named by the record's life and the clock's hours, so they are gone with these two. Ids that
        // the clock names go too: a key of another kind in their place would fail every read.
        let mut asked = redis::pipe();
        asked.cmd("HGETALL").arg(clock(key));
        let hours = match self.run(key, &asked).await {
            Ok(answers) => reply::clock(key, answers.into_iter().next()).map(|(_, hours)| hours).unwrap_or_default(),
            Err(Error::Corrupt { .. }) => Default::default(),
            Err(error) => return Err(error),
        };
        let mut pipeline = redis::pipe();
        pipeline.cmd("UNLINK").arg(record(key)).arg(clock(key));
        pipeline.arg(hours.keys().map(|hour| ids_of(key, *hour)).collect::<Vec<_>>());
        self.run(key, &pipeline).await.map(drop)
    }

    async fn check(&self) -> Result<Vec<Finding>, Error> {
        check::check(&self.connections, &self.clock).await
    }
}

/// What the commit script is given.
#[derive(Debug)]
struct Arguments {
    keys: Vec<String>,
    values: Vec<Vec<u8>>,
}

impl Arguments {
    fn of(key: &PartitionKey, from: &Record, to: &Record, changes: &Changes) -> Self {
        let mut keys = vec![record(key), clock(key)];
        keys.extend(changes.live.keys().map(|principal| state(key, *principal)));
        // An hour that is given up gets nothing any more.
        let added: Vec<_> = changes.ids.iter().filter(|(hour, _)| !changes.expired.contains(hour)).collect();
        keys.extend(added.iter().map(|(hour, _)| ids_of(key, **hour)));
        keys.extend(changes.expired.iter().map(|hour| ids_of(key, *hour)));

        let text = |text: &str| text.as_bytes().to_vec();
        let number = |number: u64| number.to_string().into_bytes();
        let mut values = vec![
            number(from.input),
            number(from.output),
            text(&from.epoch),
            number(to.input),
            number(to.output),
            text(&to.epoch),
            number(IDLE_MAX.as_millis() as u64),
            changes.watermark.map_or_else(Vec::new, |at| text(&at.as_millis().to_string())),
            number(changes.live.len() as u64),
            number(added.len() as u64),
            number(changes.expired.len() as u64),
        ];
        values.extend(changes.live.values().map(trailwarden_core::live::LiveState::pack));
        for (hour, added) in added {
            values.push(text(&hour.to_string()));
            values.push(text(&added.latest.as_millis().to_string()));
            values.push(number(added.ids.len() as u64));
            values.extend(added.ids.iter().map(|id| id.to_be_bytes().to_vec()));
        }
        values.extend(changes.expired.iter().map(|hour| text(&hour.to_string())));
        Self { keys, values }
    }

    fn command(&self, name: &str, script: &str) -> redis::Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys);
        for value in &self.values {
            command.arg(value.as_slice());
        }
        command
    }
}

fn record(key: &PartitionKey) -> String {
    format!("tw:{{{key}}}:record")
}

fn clock(key: &PartitionKey) -> String {
    format!("tw:{{{key}}}:clock")
}

fn state(key: &PartitionKey, principal: u64) -> String {
    format!("tw:{{{key}}}:s:{principal:016x}")
}

fn ids_of(key: &PartitionKey, hour: Hour) -> String {
    format!("tw:{{{key}}}:i:{hour}")
}

fn members(ids: &[[u8; 16]]) -> Vec<&[u8]> {
    ids.iter().map(<[u8; 16]>::as_slice).collect()
}
