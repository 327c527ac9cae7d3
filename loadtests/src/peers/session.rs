//! One measurement of a peer, from fresh servers to the verdict.
//!
//! The clock is that of Postgres: it starts when the producer is let go, and ends with the time that stands in the last
//! record, so how often the rows are looked at changes nothing. A burn-down is timed from the first record to the last.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use fanfare_engine::{
    domain::channel::Channel,
    id::{CampaignId, Ids, MessageId},
};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::{PgPool, Row as _, postgres::PgPoolOptions};
use tokio::time::Instant;

use super::{
    audience::{self, Places},
    crew::Crew,
    peer::Installed,
    settings::Settings,
};
use crate::{
    binary,
    meters::{self, Cost, Meters},
    receiver::{self, Kind, Receiver},
    services::{self, Services},
    site,
    verify::{self, Audience, Claimed, Claims, Verdict},
};

/// Records that do not get more for so long: the peer has come to a stop.
const STALLED: Duration = Duration::from_secs(60);
/// Each look counts the records, which costs Postgres about ten milliseconds.
const LOOK: Duration = Duration::from_secs(1);
/// The peer's database on the run's Postgres.
const DATABASE: &str = "peers";
/// As its users would keep an outcome: one row a recipient. The time is the moment of the insert.
const TABLE: &str = "create table peer_results (
    n integer primary key,
    address text not null,
    provider_id text not null,
    at timestamptz not null default clock_timestamp()
)";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Workers wait, then everybody is enqueued: until the last record.
    Whole,
    /// Everybody is enqueued, then the workers start.
    BurnDown,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Measured {
    pub(crate) messages_per_second: f64,
    pub(crate) seconds: f64,
    /// How long the producer took, to a second.
    pub(crate) enqueue_seconds: f64,
    #[serde(skip)]
    pub(crate) cost: Cost,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) verdict: Verdict,
}

pub(crate) struct Session<'a> {
    peer: &'a Installed,
    settings: &'a Settings,
    recipients: u64,
    mode: Mode,
    folder: PathBuf,
    crew: Crew,
    receiver: Option<Receiver>,
}

/// What there is to read from while a session runs.
struct Ground {
    services: Services,
    pool: PgPool,
    campaign: CampaignId,
}

/// How far the records are.
struct State {
    recorded: u64,
    first: Option<f64>,
    last: Option<f64>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        peer: &'a Installed,
        settings: &'a Settings,
        recipients: u64,
        mode: Mode,
    ) -> anyhow::Result<Self> {
        let folder = binary::target()?.join("peers/session");
        Ok(Self { peer, settings, recipients, mode, folder, crew: Crew::default(), receiver: None })
    }

    pub(crate) async fn measure(&mut self) -> anyhow::Result<Measured> {
        fs::create_dir_all(&self.folder)?;
        let ground = self.prepare().await?;
        let workers = self.settings.processes()?;
        self.crew.start_producer(self.peer, &self.folder).await?;
        if self.mode == Mode::Whole {
            self.crew.start_workers(self.peer, &self.folder, workers).await?;
        }
        let before = (self.meters(&ground)?.read().await?, self.meters(&ground)?.reported().await?);
        let started = now(&ground.pool).await?;
        self.crew.enqueue().await?;
        let mut enqueued = None;
        if self.mode == Mode::BurnDown {
            self.crew.enqueued(STALLED * 10).await?;
            enqueued = Some(now(&ground.pool).await? - started);
            self.crew.start_workers(self.peer, &self.folder, workers).await?;
        }
        let state = self.last_record(&ground.pool, &mut enqueued, started).await?;
        let after = self.meters(&ground)?.read().await?;
        let peak_rss_bytes = self.crew.peak_rss()?;
        self.crew.stop().await;
        // A connection that is idle may keep its counts for ten seconds; one that ends reports them.
        let after = (after, self.meters(&ground)?.reported().await?);
        let from = if self.mode == Mode::Whole { Some(started) } else { state.first };
        let seconds = state.last.zip(from).map(|(last, from)| last - from).context("there are records")?;
        let verdict = self.verdict(&ground).await?;
        let messages_per_second = crate::bare::per(self.recipients, Duration::from_secs_f64(seconds));
        println!(
            "  {}: {messages_per_second:.0}/s, {}",
            match self.mode {
                Mode::Whole => "enqueued, sent and recorded",
                Mode::BurnDown => "burn-down of a full queue",
            },
            if verdict.is_clean() { "every message was right" } else { "NOT EVERY MESSAGE WAS RIGHT" }
        );
        Ok(Measured {
            messages_per_second,
            seconds,
            enqueue_seconds: enqueued.unwrap_or(seconds),
            cost: meters::cost(&before, &after, self.recipients),
            peak_rss_bytes,
            verdict,
        })
    }

    /// Fresh servers, the sink, an empty table, and what the programs read.
    async fn prepare(&mut self) -> anyhow::Result<Ground> {
        let services = Services::up(&services_folder(&self.folder)).await?;
        let server = services.pool().await?;
        services.check_durability(&server).await?;
        sqlx::query(sqlx::AssertSqlSafe(format!("create database {DATABASE}"))).execute(&server).await?;
        server.close().await;
        let (base, _) = services.database_url.rsplit_once('/').context("the URL names a database")?;
        let database_url = format!("{base}/{DATABASE}");
        let pool = PgPoolOptions::new().max_connections(2).connect(&database_url).await?;
        sqlx::query(TABLE).execute(&pool).await?;
        let options = receiver::Options { receiver: Kind::Sink, latency_ms: 0 };
        let receiver = self.receiver.insert(Receiver::start(options).await?);
        let campaign = Ids::from_entropy().next(Timestamp::UNIX_EPOCH);
        let places =
            Places { services: &services, database_url: &database_url, receiver, settings: self.settings };
        audience::write_config(&self.folder, &places)?;
        audience::write_people(&self.folder, campaign, self.recipients)?;
        sqlx::query("checkpoint").execute(&pool).await?;
        Ok(Ground { services, pool, campaign })
    }

    fn meters<'m>(&'m self, ground: &'m Ground) -> anyhow::Result<Meters<'m>> {
        Ok(Meters {
            services: &ground.services,
            pool: &ground.pool,
            fleet: &self.crew,
            receiver: self.sink()?,
        })
    }

    fn sink(&self) -> anyhow::Result<&Receiver> {
        self.receiver.as_ref().context("the sink runs")
    }

    async fn last_record(
        &mut self,
        pool: &PgPool,
        enqueued: &mut Option<f64>,
        started: f64,
    ) -> anyhow::Result<State> {
        let bar = site::bar("sending", self.recipients);
        let (mut recorded, mut changed) = (0, Instant::now());
        loop {
            tokio::time::sleep(LOOK).await;
            if enqueued.is_none() && self.crew.has_enqueued() {
                *enqueued = Some(now(pool).await? - started);
            }
            let state = state(pool).await?;
            bar.set_position(state.recorded);
            if state.recorded >= self.recipients {
                bar.finish();
                return Ok(state);
            }
            if state.recorded != recorded {
                (recorded, changed) = (state.recorded, Instant::now());
            }
            self.crew.check()?;
            ensure!(changed.elapsed() < STALLED, "{recorded} records, and no more for {STALLED:?}");
        }
    }

    async fn verdict(&self, ground: &Ground) -> anyhow::Result<Verdict> {
        let audience =
            Audience { channel: Channel::Email, people: self.recipients, fail_percent: 0, delivered: false };
        let bar = site::bar("checking messages", self.recipients);
        let claimed = async |ids: &[MessageId]| claimed(&ground.pool, ids).await;
        let (mut verdict, _) =
            verify::messages(self.sink()?, &[ground.campaign], audience, &bar, claimed).await?;
        bar.finish();
        verdict.wrong_state = state(&ground.pool).await?.recorded.abs_diff(self.recipients);
        Ok(verdict)
    }

    pub(crate) fn last_words(&self) -> String {
        self.crew.last_words()
    }

    /// Whatever was started ends, and its files go.
    pub(crate) async fn tear_down(mut self) {
        self.crew.stop().await;
        if let Some(receiver) = self.receiver.take() {
            receiver.stop().await;
        }
        if let Err(error) = services::down(&services_folder(&self.folder)).await {
            eprintln!("loadtests: {error:#}");
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("loadtests: {} cannot be removed: {error}", self.folder.display());
        }
    }
}

fn services_folder(folder: &Path) -> PathBuf {
    folder.join("services")
}

/// The clock of Postgres, in seconds.
async fn now(pool: &PgPool) -> anyhow::Result<f64> {
    Ok(sqlx::query_scalar("select extract(epoch from clock_timestamp())::float8").fetch_one(pool).await?)
}

async fn state(pool: &PgPool) -> anyhow::Result<State> {
    let row = sqlx::query(
        "select count(*) as recorded, extract(epoch from min(at))::float8 as first,
                extract(epoch from max(at))::float8 as last
         from peer_results",
    )
    .fetch_one(pool)
    .await?;
    Ok(State {
        recorded: row.get::<i64, _>("recorded").unsigned_abs(),
        first: row.get("first"),
        last: row.get("last"),
    })
}

/// What the peer recorded of some recipients.
async fn claimed(pool: &PgPool, messages: &[MessageId]) -> anyhow::Result<Claims> {
    let Some(campaign) = messages.first().map(|message| message.campaign) else { return Ok(Claims::new()) };
    let rows = sqlx::query("select n, address, provider_id from peer_results where n = any ($1)")
        .bind(messages.iter().map(|message| message.n).collect::<Vec<_>>())
        .fetch_all(pool)
        .await?;
    let claimed = rows.iter().map(|row| {
        (
            (campaign, row.get("n")),
            Claimed { address: row.get("address"), provider_id: row.get("provider_id") },
        )
    });
    Ok(claimed.collect())
}
