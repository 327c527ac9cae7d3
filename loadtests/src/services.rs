//! The private Postgres and Redis of one run, and the proof that nothing of their durability is off.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use sqlx::{PgPool, Row as _, postgres::PgPoolOptions};
use tokio::process::Command;
use url::Url;

use crate::binary::checkout;

#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) database_url: String,
    pub(crate) redis_url: String,
    pub(crate) postmaster: u32,
    pub(crate) redis: u32,
}

/// What has to hold for a figure to count, by the servers' own word.
const POSTGRES: [(&str, &str); 3] =
    [("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")];
const REDIS: [(&str, &str); 2] = [("appendonly", "yes"), ("appendfsync", "everysec")];
/// Shown beside them.
const SIZES: [&str; 4] = ["shared_buffers", "max_wal_size", "checkpoint_timeout", "wal_compression"];

fn script() -> PathBuf {
    checkout().join("deploy/services.sh")
}

impl Services {
    /// Fresh servers, whatever an earlier run may have left in the folder.
    pub(crate) async fn up(dir: &Path) -> anyhow::Result<Self> {
        down(dir).await?;
        let status = Command::new(script())
            .arg("up")
            .arg("--dir")
            .arg(dir)
            .status()
            .await
            .context("deploy/services.sh")?;
        ensure!(status.success(), "the private servers did not start");
        let told = Command::new("bash")
            .args(["-c", "env=$(\"$1\" env --dir \"$2\") && eval \"$env\" && printf '%s\\n' \"$DATABASE_URL\" \"$REDIS_URL\" \"$FANFARE_PG_PID_FILE\" \"$FANFARE_REDIS_PID_FILE\"", "-"])
            .arg(script())
            .arg(dir)
            .output()
            .await
            .context("bash")?;
        let told = String::from_utf8(told.stdout).context("deploy/services.sh env")?;
        let lines: Vec<&str> = told.lines().collect();
        let [database_url, redis_url, postgres_pid, redis_pid] = lines[..] else {
            bail!("`deploy/services.sh env` did not tell where the servers are");
        };
        Ok(Self {
            database_url: database_url.to_owned(),
            redis_url: redis_url.to_owned(),
            postmaster: pid(postgres_pid)?,
            redis: pid(redis_pid)?,
        })
    }

    pub(crate) fn postgres_address(&self) -> anyhow::Result<SocketAddr> {
        address(&self.database_url)
    }

    pub(crate) fn redis_address(&self) -> anyhow::Result<SocketAddr> {
        address(&self.redis_url)
    }

    pub(crate) async fn pool(&self) -> anyhow::Result<PgPool> {
        Ok(PgPoolOptions::new().max_connections(4).connect(&self.database_url).await?)
    }

    pub(crate) async fn redis(&self) -> anyhow::Result<redis::aio::MultiplexedConnection> {
        Ok(redis::Client::open(self.redis_url.as_str())?.get_multiplexed_async_connection().await?)
    }

    /// A number that Redis tells of itself.
    pub(crate) async fn redis_says(&self, section: &str, name: &str) -> anyhow::Result<u64> {
        let info: String = redis::cmd("INFO").arg(section).query_async(&mut self.redis().await?).await?;
        let number = info.lines().find_map(|line| line.strip_prefix(name));
        Ok(number.with_context(|| format!("Redis does not tell {name}"))?.trim().parse()?)
    }

    /// Prints the settings that matter, and fails when a figure would be worth nothing.
    pub(crate) async fn check_durability(&self, pool: &PgPool) -> anyhow::Result<()> {
        let names: Vec<&str> = POSTGRES.iter().map(|(name, _)| *name).chain(SIZES).collect();
        let rows =
            sqlx::query("select name, current_setting(name) as value from pg_settings where name = any ($1)")
                .bind(&names)
                .fetch_all(pool)
                .await?;
        let settings: Vec<(String, String)> =
            rows.iter().map(|row| (row.get("name"), row.get("value"))).collect();
        assert_settings("Postgres", &settings, &POSTGRES)?;
        let mut redis = self.redis().await?;
        let mut settings = Vec::new();
        for (name, _) in REDIS {
            let pair: Vec<String> = redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut redis).await?;
            settings.push((name.to_owned(), pair.get(1).cloned().unwrap_or_default()));
        }
        assert_settings("Redis", &settings, &REDIS)
    }
}

fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let addresses = Url::parse(url)?.socket_addrs(|| None).context("a server's address")?;
    addresses.first().copied().context("a server has an address")
}

/// The URL with another address in it.
pub(crate) fn at(url: &str, address: SocketAddr) -> anyhow::Result<String> {
    let mut url = Url::parse(url).context("a server's URL")?;
    url.set_ip_host(address.ip())
        .and_then(|()| url.set_port(Some(address.port())))
        .map_err(|()| anyhow!("a server's URL has no address"))?;
    Ok(url.into())
}

/// Ends the servers of a folder and deletes their data; none is fine.
pub(crate) async fn down(dir: &Path) -> anyhow::Result<()> {
    let status = Command::new(script())
        .args(["down", "--wipe", "--dir"])
        .arg(dir)
        .status()
        .await
        .context("deploy/services.sh")?;
    ensure!(status.success(), "the private servers in {} did not end", dir.display());
    Ok(())
}

fn assert_settings(
    server: &str,
    settings: &[(String, String)],
    wanted: &[(&str, &str)],
) -> anyhow::Result<()> {
    let shown: Vec<String> = settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
    println!("{server}: {}", shown.join(", "));
    for (name, wanted) in wanted {
        let found = settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        ensure!(
            found == Some(*wanted),
            "{server} has {name} = {found:?} instead of {wanted}: the figures would be worth nothing"
        );
    }
    Ok(())
}

fn pid(file: &str) -> anyhow::Result<u32> {
    let text = std::fs::read_to_string(file).with_context(|| format!("the pid file {file}"))?;
    text.lines().next().unwrap_or_default().trim().parse().with_context(|| format!("the pid file {file}"))
}
