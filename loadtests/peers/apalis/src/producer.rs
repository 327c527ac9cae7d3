//! Enqueues everybody with `push_bulk` once a line comes on standard input; then waits for its end.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
};

use apalis::prelude::*;
use redis::Script;

use crate::config::{self, Backend, Config, Job, QUEUE};

/// The release pushes every job into its schedule, from where a worker's next look takes all that are due at once. Lua
/// can hand on some 8,000 values, so a queue that is filled while no worker looks would never be read. This moves
/// them in time, as such a look would.
const PROMOTE: &str = "
    local due = redis.call('zrangebyscore', KEYS[1], 0, ARGV[1], 'limit', 0, 5000)
    if #due > 0 then
        redis.call('rpush', KEYS[2], unpack(due))
        redis.call('zrem', KEYS[1], unpack(due))
    end
    return #due";

pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    match config.settings.backend {
        Backend::Redis => {
            let mut storage = config::redis_storage(&config).await?;
            let (mut connection, promote) = (storage.get_connection().clone(), Script::new(PROMOTE));
            for jobs in begin(&config)? {
                storage.push_bulk(jobs?).await?;
                let mut invocation = promote.key(format!("{QUEUE}:scheduled"));
                invocation.key(format!("{QUEUE}:active")).arg("+inf");
                let _: u32 = invocation.invoke_async(&mut connection).await?;
            }
        }
        Backend::Postgres => {
            let pool = config::pool(&config).await?;
            apalis_postgres::PostgresStorage::setup(&pool).await?;
            let mut storage = config::postgres_storage(&pool, &config.settings);
            for jobs in begin(&config)? {
                storage.push_bulk(jobs?).await?;
            }
        }
    }
    println!("done");
    let mut rest = String::new();
    tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut rest)).await??;
    Ok(())
}

/// Says that it is ready, waits for the line, then gives the jobs by as many as are enqueued together.
fn begin(config: &Config) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Vec<Job>>> + use<>> {
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    let mut lines = BufReader::new(File::open(&config.people)?).lines();
    let bulk = config.settings.bulk;
    Ok(std::iter::from_fn(move || {
        let jobs = lines.by_ref().take(bulk).map(|line| Ok(serde_json::from_str(&line?)?));
        let jobs: anyhow::Result<Vec<Job>> = jobs.collect();
        jobs.map(|jobs| Some(jobs).filter(|jobs| !jobs.is_empty())).transpose()
    }))
}
