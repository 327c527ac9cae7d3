//! What is looked at while campaigns are sent: every second what changes fast, every minute what costs more to ask.

use std::{cell::Cell, collections::BTreeMap, convert::Infallible, time::Duration};

use serde::Serialize;
use sqlx::{PgPool, Row as _};
use tokio::time::{Instant, MissedTickBehavior};

use crate::{bare::per, processes, report::mega, services::Services, webhooks};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// What every message, or every moment, writes to.
const HOT: [&str; 9] = [
    "acceptances",
    "account_pace",
    "campaigns",
    "chunks",
    "duties",
    "events",
    "inbox",
    "recipients",
    "results",
];

#[derive(Debug, Clone, Copy)]
pub(super) struct Second {
    pub(super) rss_bytes: u64,
    inbox: u64,
}

/// A table with its indexes, all of its partitions together.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Table {
    pub(super) bytes: u64,
    /// Row versions that nobody sees any more, as Postgres estimates.
    pub(super) dead: u64,
}

/// How things stand, and how the minute before went. The first is how they stood before the first campaign.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Minute {
    pub(super) at_seconds: f64,
    /// Recipients with an outcome, of all campaigns.
    pub(super) recorded: u64,
    /// Outcomes of this minute, over that part of it in which a campaign was under way.
    pub(super) messages_per_second: f64,
    /// The mean of this minute.
    pub(super) rss_bytes: u64,
    /// Webhooks that waited, at most.
    pub(super) most_inbox: u64,
    pub(super) database_bytes: u64,
    pub(super) redis_bytes: u64,
    pub(super) tables: BTreeMap<String, Table>,
}

#[derive(Debug)]
pub(super) struct Watch<'a> {
    services: &'a Services,
    pool: &'a PgPool,
    pid: u32,
    begun: Instant,
    /// When the minute began, and at which second.
    minute: (Instant, usize),
    /// How much of this minute a campaign was under way.
    busy: Duration,
    pub(super) seconds: Vec<Second>,
    pub(super) minutes: Vec<Minute>,
}

impl<'a> Watch<'a> {
    pub(super) async fn begin(services: &'a Services, pool: &'a PgPool, pid: u32) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let mut watch = Self {
            services,
            pool,
            pid,
            begun,
            minute: (begun, 0),
            busy: Duration::ZERO,
            seconds: Vec::new(),
            minutes: Vec::new(),
        };
        watch.second().await?;
        watch.minute().await?;
        Ok(watch)
    }

    /// Goes on until it fails or is dropped.
    pub(super) async fn run(&mut self, busy: &Cell<bool>) -> anyhow::Result<Infallible> {
        let mut ticks = tokio::time::interval(SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        loop {
            ticks.tick().await;
            let now = Instant::now();
            if busy.get() {
                self.busy += now - last;
            }
            last = now;
            self.second().await?;
            if self.minute.0.elapsed() >= MINUTE {
                self.minute().await?;
            }
        }
    }

    async fn second(&mut self) -> anyhow::Result<()> {
        let (rss_bytes, inbox) = (processes::rss(self.pid)?, webhooks::backlog(self.pool).await?);
        self.seconds.push(Second { rss_bytes, inbox });
        Ok(())
    }

    /// Ends the minute, however long it was.
    pub(super) async fn minute(&mut self) -> anyhow::Result<()> {
        let recorded = self.recorded().await?;
        let before = self.minutes.last().map_or(recorded, |minute| minute.recorded);
        let seconds = &self.seconds[self.minute.1..];
        let minute = Minute {
            at_seconds: self.begun.elapsed().as_secs_f64(),
            recorded,
            messages_per_second: if self.busy.is_zero() { 0.0 } else { per(recorded - before, self.busy) },
            rss_bytes: mean_rss(seconds),
            most_inbox: seconds.iter().map(|second| second.inbox).max().unwrap_or(0),
            database_bytes: sqlx::query_scalar::<_, i64>("select pg_database_size(current_database())")
                .fetch_one(self.pool)
                .await?
                .unsigned_abs(),
            redis_bytes: self.services.redis_says("memory", "used_memory:").await?,
            tables: self.tables().await?,
        };
        minute.print();
        self.minutes.push(minute);
        (self.minute, self.busy) = ((Instant::now(), self.seconds.len()), Duration::ZERO);
        Ok(())
    }

    async fn recorded(&self) -> anyhow::Result<u64> {
        let sql = "select coalesce(sum(accepted + failed + suppressed + unknown), 0)::bigint from chunks";
        Ok(sqlx::query_scalar::<_, i64>(sql).fetch_one(self.pool).await?.unsigned_abs())
    }

    async fn tables(&self) -> anyhow::Result<BTreeMap<String, Table>> {
        let rows = sqlx::query(
            "select coalesce(pg_partition_root(relid), relid)::regclass::text as name,
                    sum(pg_total_relation_size(relid))::bigint as bytes, sum(n_dead_tup)::bigint as dead
             from pg_stat_user_tables
             where coalesce(pg_partition_root(relid), relid)::regclass::text = any ($1)
             group by 1",
        )
        .bind(HOT)
        .fetch_all(self.pool)
        .await?;
        let number = |row: &sqlx::postgres::PgRow, name: &str| row.get::<i64, _>(name).unsigned_abs();
        let table = |row| Table { bytes: number(row, "bytes"), dead: number(row, "dead") };
        Ok(rows.iter().map(|row| (row.get("name"), table(row))).collect())
    }
}

/// 0 of none.
pub(super) fn mean_rss(seconds: &[Second]) -> u64 {
    let sum: u64 = seconds.iter().map(|second| second.rss_bytes).sum();
    sum.checked_div(seconds.len() as u64).unwrap_or(0)
}

impl Minute {
    fn print(&self) {
        let dead: u64 = self.tables.values().map(|table| table.dead).sum();
        println!(
            "  {:>6.0} s: {:>7.0} messages/s, {} in all; fanfare {:.1} MB, inbox at most {}, Redis {:.1} MB, Postgres {:.0} MB, {dead} dead rows",
            self.at_seconds,
            self.messages_per_second,
            self.recorded,
            mega(self.rss_bytes),
            self.most_inbox,
            mega(self.redis_bytes),
            mega(self.database_bytes),
        );
    }
}
