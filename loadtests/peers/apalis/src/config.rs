//! What the harness tells, and what a job is.

use std::path::PathBuf;

use anyhow::Context as _;
use apalis_redis::RedisStorage;
use fanfare_templates::Published;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) const QUEUE: &str = "letters";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    pub(crate) database_url: String,
    pub(crate) redis_url: String,
    pub(crate) sink_url: String,
    pub(crate) api_key: String,
    pub(crate) sender: Sender,
    pub(crate) letter: Published,
    pub(crate) people: PathBuf,
    pub(crate) settings: Settings,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sender {
    pub(crate) email: String,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settings {
    pub(crate) backend: Backend,
    /// apalis' workers in this process.
    pub(crate) workers: usize,
    /// Jobs at once, of each of them.
    pub(crate) concurrency: usize,
    /// Jobs fetched together.
    pub(crate) batch: usize,
    /// Jobs enqueued together.
    pub(crate) bulk: usize,
    /// To Postgres.
    pub(crate) connections: u32,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    Redis,
    Postgres,
}

/// One recipient.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) n: i32,
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) address: String,
    pub(crate) variables: Value,
}

pub(crate) fn read() -> anyhow::Result<Config> {
    let path = std::env::var("PEER_CONFIG").context("PEER_CONFIG")?;
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

pub(crate) async fn redis_storage(config: &Config) -> anyhow::Result<RedisStorage<Job>> {
    let connection = apalis_redis::connect(config.redis_url.as_str()).await?;
    let settings = apalis_redis::Config::default()
        .queue(QUEUE)
        .batch_size(config.settings.batch)
        // "Can be turned off for tasks that last shorter than a worker heartbeat": half a minute, here milliseconds.
        .lock_tasks(false)
        // Nobody listens.
        .emit_events(false);
    Ok(RedisStorage::new(connection).with_config(settings))
}

pub(crate) fn postgres_storage(
    pool: &sqlx::PgPool,
    settings: &Settings,
) -> apalis_postgres::PostgresStorage<Job> {
    let config = apalis_postgres::Config::default().queue(QUEUE).batch_size(settings.batch).lock_tasks(false);
    apalis_postgres::PostgresStorage::new(pool).with_config(config)
}

pub(crate) async fn pool(config: &Config) -> anyhow::Result<sqlx::PgPool> {
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(config.settings.connections);
    Ok(options.connect(&config.database_url).await?)
}
