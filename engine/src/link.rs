//! The way to Redis, for the queue and the limiter.
//!
//! Short commands share one multiplexed connection, which reconnects by itself: a checkout from a pool costs a round
//! trip of its own. Only reads that block have connections of their own, from a pool. No call waits for ever: connecting
//! takes at most a second, an answer half a second, and the kernel drops a connection whose bytes nobody acknowledges.
//!
//! A URL may list several nodes, separated by commas: then they are the first nodes of a Redis Cluster. Every key of
//! one call bears one hash tag, so each call stays on one node.

use std::{sync::Arc, time::Duration};

use deadpool_redis::{Manager, Pool, PoolError, Runtime, Timeouts};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisError,
    RedisFuture, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    io::tcp::TcpSettings,
};
use tokio::sync::OnceCell;

const CONNECT_WITHIN: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Bytes that are not acknowledged for so long mean a dead connection, even if nobody closed it.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(2);
/// How long a blocking read may take beyond the time for which it asked to be blocked.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);
/// More than there are lanes, so that no reader waits for another.
const BLOCKING_CONNECTIONS: usize = 32;

/// What a call to Redis came to, when it came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(
        "the Redis URL cannot be used (expected redis://[user:password@]host:port/db, or several of them separated by commas): {0}"
    )]
    Url(RedisError),
    #[error("Redis cannot be reached: {0}")]
    Unavailable(String),
    #[error("Redis refused a command: {0}")]
    Refused(RedisError),
}

impl From<RedisError> for LinkError {
    fn from(error: RedisError) -> Self {
        let away = error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error();
        // A server that loads its data, or a replica that lost its master, is away too.
        let starting =
            matches!(error.code(), Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "READONLY"));
        if away || starting { Self::Unavailable(error.to_string()) } else { Self::Refused(error) }
    }
}

impl From<PoolError> for LinkError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// A handle on Redis; cheap to clone. Made inside a tokio runtime, whose tasks then drive its connections.
#[derive(Clone)]
pub struct RedisLink {
    way: Way,
}

#[derive(Clone)]
enum Way {
    Single { short: ConnectionManager, blocking: Pool },
    Cluster { client: Arc<ClusterClient>, short: Arc<OnceCell<ClusterConnection>> },
}

impl std::fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The connection's own text holds the URL, and so the password.
        f.write_str(match self.way {
            Way::Single { .. } => "RedisLink(single)",
            Way::Cluster { .. } => "RedisLink(cluster)",
        })
    }
}

impl RedisLink {
    /// Connects when it is first used, so that a process can start before its Redis does.
    pub fn open(url: &str) -> Result<Self, LinkError> {
        let nodes: Vec<&str> = url.split(',').map(str::trim).filter(|node| !node.is_empty()).collect();
        let way = match nodes.as_slice() {
            [] | [_] => single(url.trim()),
            _ => cluster(&nodes),
        };
        way.map(|way| Self { way }).map_err(LinkError::Url)
    }

    /// The shared connection for short commands.
    pub async fn short(&self) -> Result<Connection, LinkError> {
        match &self.way {
            Way::Single { short, .. } => Ok(Connection::Single(short.clone())),
            Way::Cluster { client, short } => {
                let connect = || async { client.get_async_connection().await };
                Ok(Connection::Cluster(short.get_or_try_init(connect).await?.clone()))
            }
        }
    }

    /// A connection that nobody else uses, for reads that block.
    pub async fn blocking(&self) -> Result<BlockingConnection, LinkError> {
        Ok(BlockingConnection(match &self.way {
            Way::Single { blocking, .. } => Blocking::Single(blocking.get().await?),
            Way::Cluster { client, .. } => Blocking::Cluster(client.get_async_connection().await?),
        }))
    }
}

fn reachable(url: &str) -> Result<ConnectionInfo, RedisError> {
    let settings = TcpSettings::default().set_nodelay(true).set_user_timeout(ACKNOWLEDGED_WITHIN);
    Ok(url.into_connection_info()?.set_tcp_settings(settings))
}

fn single(url: &str) -> Result<Way, RedisError> {
    let info = reachable(url)?;
    let short = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN))
        // The next command tries again: a caller decides better than a hidden loop what to do meanwhile.
        .set_number_of_retries(0)
        .set_pipeline_buffer_size(1_024);
    let short = ConnectionManager::new_lazy_with_config(Client::open(info.clone())?, short)?;
    let patient =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_WITHIN)).set_response_timeout(None);
    let timeouts =
        Timeouts { wait: Some(CONNECT_WITHIN), create: Some(CONNECT_WITHIN), recycle: Some(CONNECT_WITHIN) };
    let blocking = Pool::builder(Manager::new_with_config(info, patient)?)
        .max_size(BLOCKING_CONNECTIONS)
        .timeouts(timeouts)
        .runtime(Runtime::Tokio1)
        .build()
        .expect("a runtime is set, and only its absence is an error");
    Ok(Way::Single { short, blocking })
}

fn cluster(nodes: &[&str]) -> Result<Way, RedisError> {
    let nodes = nodes.iter().map(|node| reachable(node)).collect::<Result<Vec<_>, _>>()?;
    let client = ClusterClient::builder(nodes)
        .connection_timeout(CONNECT_WITHIN)
        // Blocking reads use connections of the same client; each call sets its own bound (see `Connection`).
        .response_timeout(Duration::from_secs(60))
        .retries(2)
        .build()?;
    Ok(Way::Cluster { client: Arc::new(client), short: Arc::default() })
}

/// The connection for short commands: a call ends within a second or two, come what may.
#[derive(Clone)]
pub enum Connection {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

async fn in_time<T>(call: RedisFuture<'_, T>) -> redis::RedisResult<T> {
    match tokio::time::timeout(CONNECT_WITHIN + ANSWER_WITHIN, call).await {
        Ok(answer) => answer,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(one) => one.req_packed_command(cmd),
            Self::Cluster(many) => Box::pin(in_time(many.req_packed_command(cmd))),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(one) => one.req_packed_commands(cmd, offset, count),
            Self::Cluster(many) => Box::pin(in_time(many.req_packed_commands(cmd, offset, count))),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(one) => one.get_db(),
            Self::Cluster(many) => many.get_db(),
        }
    }
}

/// A connection for commands that block. Given back to its pool when dropped, and never reused after a failure.
pub struct BlockingConnection(Blocking);

enum Blocking {
    Single(deadpool_redis::Connection),
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for BlockingConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlockingConnection")
    }
}

impl BlockingConnection {
    /// Sends a command that may block for `block`, and waits a second longer at most. A failed connection is closed.
    pub async fn query<T: redis::FromRedisValue>(
        mut self,
        cmd: &Cmd,
        block: Duration,
    ) -> Result<(Self, T), LinkError> {
        let call = async {
            match &mut self.0 {
                Blocking::Single(one) => cmd.query_async::<T>(one).await,
                Blocking::Cluster(many) => cmd.query_async::<T>(many).await,
            }
        };
        let answer = tokio::time::timeout(block + BLOCKING_GRACE, call).await;
        match answer {
            Ok(Ok(value)) => Ok((self, value)),
            Ok(Err(error)) => {
                self.close();
                Err(error.into())
            }
            Err(_) => {
                self.close();
                Err(LinkError::Unavailable("no answer to a blocking read".to_owned()))
            }
        }
    }

    fn close(self) {
        if let Blocking::Single(connection) = self.0 {
            let _: MultiplexedConnection = deadpool_redis::Connection::take(connection);
        }
    }
}
