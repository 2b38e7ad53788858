//! The way to the servers: connects when needed, finds the primary among several, gives up in time.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::time::timeout;

use crate::store::Error;

/// Until a connection stands.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Until one call is answered, reconnecting included where it is needed.
const CALL_MAX: Duration = Duration::from_secs(3);
/// Calls that may wait for their answers on one connection.
const IN_FLIGHT_MAX: usize = 128;

/// Where the store is.
#[derive(Clone)]
pub struct Servers {
    /// `redis://user:password@host:6379/0`. Several when one takes over from another: the primary among them is used.
    /// With a cluster, any of its nodes.
    pub urls: Vec<String>,
    pub cluster: bool,
}

/// One connection that all share; made anew after a failure.
pub(crate) struct Connections {
    singles: Vec<Client>,
    cluster: Option<ClusterClient>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    connection: Option<Connection>,
    /// Counts connections, so that a failure ends the one that it befell and none made since.
    made: u64,
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connections {
    pub(super) fn new(servers: Servers) -> Result<Self, Error> {
        let Servers { urls, cluster } = servers;
        if urls.is_empty() {
            return Err(Error::Unusable("it has no address".to_owned()));
        }
        // The library's message does not repeat the address, which may hold a password.
        let unusable = |error: RedisError| Error::Unusable(format!("its address cannot be read: {}", error.category()));
        let singles =
            urls.iter().map(|url| Client::open(url.as_str())).collect::<RedisResult<_>>().map_err(unusable)?;
        let cluster = match cluster {
            false => None,
            true => {
                let builder =
                    ClusterClient::builder(urls).connection_timeout(CONNECT_MAX).response_timeout(CONNECT_MAX);
                Some(builder.retries(2).build().map_err(unusable)?)
            }
        };
        Ok(Self { singles, cluster, held: Mutex::default() })
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// Runs a pipeline. What was sent and not answered in time may have been done.
    pub(super) async fn pipeline(&self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        self.bounded(async |mut connection| match &mut connection {
            Connection::Single(connection) => pipeline.query_async(connection).await,
            Connection::Cluster(connection) => pipeline.query_async(connection).await,
        })
        .await
    }

    /// As [`Self::pipeline`], for one command.
    pub(super) async fn command(&self, command: &Cmd) -> RedisResult<Value> {
        self.bounded(async |mut connection| match &mut connection {
            Connection::Single(connection) => connection.req_packed_command(command).await?.extract_error(),
            Connection::Cluster(connection) => connection.req_packed_command(command).await?.extract_error(),
        })
        .await
    }

    async fn bounded<T>(&self, call: impl AsyncFnOnce(Connection) -> RedisResult<T>) -> RedisResult<T> {
        let mut used = 0;
        let result = timeout(CALL_MAX, async {
            let (connection, made) = self.connection().await?;
            used = made;
            call(connection).await
        });
        let result = result.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        if let Err(error) = &result
            && (error.is_io_error() || error.is_unrecoverable_error() || is_no_primary(error))
        {
            self.give_up(used);
        }
        result
    }

    async fn connection(&self) -> RedisResult<(Connection, u64)> {
        {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(connection) = &held.connection {
                return Ok((connection.clone(), held.made));
            }
        }
        let connection = match &self.cluster {
            Some(cluster) => Connection::Cluster(cluster.get_async_connection().await?),
            None => Connection::Single(self.primary().await?),
        };
        // Several may have connected at once; whoever comes last stays, and nobody is worse off.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.made += 1;
        held.connection = Some(connection.clone());
        Ok((connection, held.made))
    }

    fn give_up(&self, made: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.made == made {
            held.connection = None;
        }
    }

    async fn primary(&self) -> RedisResult<MultiplexedConnection> {
        let mut failure = None;
        for client in &self.singles {
            match primary_at(client).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into()))
    }

    /// A connection to each configured server, whatever its role, for a check-up.
    pub(crate) async fn each(&self) -> Vec<(String, RedisResult<MultiplexedConnection>)> {
        let mut all = Vec::with_capacity(self.singles.len());
        for client in &self.singles {
            all.push((client.get_connection_info().addr().to_string(), open(client).await));
        }
        all
    }
}

async fn open(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_MAX))
        .set_response_timeout(Some(CALL_MAX))
        .set_concurrency_limit(IN_FLIGHT_MAX);
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn primary_at(client: &Client) -> RedisResult<MultiplexedConnection> {
    let mut connection = open(client).await?;
    match redis::cmd("ROLE").query_async::<Vec<Value>>(&mut connection).await {
        Ok(role) => match role.first() {
            Some(Value::BulkString(role)) if role != b"master" => {
                Err(io::Error::new(io::ErrorKind::NotConnected, "none of the servers is a primary").into())
            }
            _ => Ok(connection),
        },
        // Where asking is forbidden, writing will tell.
        Err(error) if !error.is_io_error() => Ok(connection),
        Err(error) => Err(error),
    }
}

/// Whether the server became a replica, or lost its primary: another may have taken over.
fn is_no_primary(error: &RedisError) -> bool {
    let what = error.to_string();
    ["READONLY", "MASTERDOWN", "LOADING"].iter().any(|code| what.contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_refused_without_being_repeated() {
        let servers = Servers { urls: vec!["postgres://me:secret@host".into()], cluster: false };
        let Err(error) = Connections::new(servers) else { panic!("accepted") };
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(Connections::new(Servers { urls: Vec::new(), cluster: true }).is_err());
    }
}
