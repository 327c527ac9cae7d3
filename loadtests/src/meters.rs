//! What sending to everybody cost: CPU of every process, commits, log, Redis commands and allocations, as differences of two readings.
//!
//! Commits are counted by the statistics of Postgres, which its processes report a second late: that reading waits.

use std::time::Duration;

use anyhow::Context as _;
use fanfare_engine::metrics::ALLOCATIONS;
use serde::Serialize;
use sqlx::PgPool;

use crate::{
    bare::{self, micros_each},
    processes::{self, Pids},
    receiver::Receiver,
    services::Services,
};

/// How long the processes of Postgres may take to report.
const REPORTED_AFTER: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    sender: Duration,
    postgres: Duration,
    redis: Duration,
    receiver: Duration,
    wal_bytes: i64,
    redis_commands: u64,
    /// Of the processes under test, where they tell.
    allocations: Option<u64>,
}

/// Transactions, and syncs of the log where this version counts them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reported {
    commits: i64,
    syncs: Option<i64>,
}

/// Microseconds of CPU for each message.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CpuMicros {
    pub(crate) fanfare: f64,
    pub(crate) postgres: f64,
    pub(crate) redis: f64,
    pub(crate) receiver: f64,
}

impl CpuMicros {
    pub(crate) fn sum(self) -> f64 {
        self.fanfare + self.postgres + self.redis + self.receiver
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cost {
    pub(crate) cpu_micros_per_message: CpuMicros,
    pub(crate) commits_per_message: f64,
    pub(crate) wal_syncs_per_message: Option<f64>,
    pub(crate) wal_bytes_per_message: f64,
    pub(crate) redis_commands_per_message: f64,
    pub(crate) allocations_per_message: Option<f64>,
}

/// Where to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meters<'a> {
    pub(crate) services: &'a Services,
    pub(crate) pool: &'a PgPool,
    pub(crate) fleet: &'a dyn Pids,
    pub(crate) receiver: &'a Receiver,
}

impl Meters<'_> {
    pub(crate) async fn read(&self) -> anyhow::Result<Reading> {
        let mut sender = Duration::ZERO;
        for pid in self.fleet.pids()? {
            sender += processes::cpu_with_children(pid)?;
        }
        Ok(Reading {
            sender,
            postgres: processes::cpu_with_children(self.services.postmaster)?,
            redis: processes::cpu_with_children(self.services.redis)?,
            receiver: processes::cpu(self.receiver.pid()?)?,
            wal_bytes: sqlx::query_scalar(
                "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint",
            )
            .fetch_one(self.pool)
            .await?,
            redis_commands: self.services.redis_says("stats", "total_commands_processed:").await?,
            allocations: self.allocations().await?,
        })
    }

    async fn allocations(&self) -> anyhow::Result<Option<u64>> {
        let Some(process) = self.fleet.metrics() else { return Ok(None) };
        // The process that asks itself for one-time passwords is the load test's own, and tells nothing.
        let Ok(answer) = bare::client()?.get(format!("http://{process}/metrics")).send().await else {
            return Ok(None);
        };
        let told = answer.error_for_status()?.text().await?;
        let count = told.lines().find_map(|line| line.strip_prefix(ALLOCATIONS)?.trim().parse().ok());
        count.map(Some).with_context(|| format!("{process} does not tell {ALLOCATIONS}"))
    }

    /// What Postgres counts, all of it reported.
    pub(crate) async fn reported(&self) -> anyhow::Result<Reported> {
        tokio::time::sleep(REPORTED_AFTER).await;
        // From version 18 on the syncs are counted elsewhere.
        let (commits, syncs) = sqlx::query_as(
            "select xact_commit, (to_jsonb(w) ->> 'wal_sync')::bigint
             from pg_stat_database, pg_stat_wal w where datname = current_database()",
        )
        .fetch_one(self.pool)
        .await?;
        Ok(Reported { commits, syncs })
    }
}

#[expect(clippy::cast_precision_loss, reason = "means")]
pub(crate) fn cost(before: &(Reading, Reported), after: &(Reading, Reported), messages: u64) -> Cost {
    let ((before, told_before), (after, told)) = (before, after);
    let cpu = |of: fn(&Reading) -> Duration| micros_each(of(after).saturating_sub(of(before)), messages);
    let each = |amount: f64| amount / messages.max(1) as f64;
    Cost {
        cpu_micros_per_message: CpuMicros {
            fanfare: cpu(|reading| reading.sender),
            postgres: cpu(|reading| reading.postgres),
            redis: cpu(|reading| reading.redis),
            receiver: cpu(|reading| reading.receiver),
        },
        commits_per_message: each((told.commits - told_before.commits) as f64),
        wal_syncs_per_message: told
            .syncs
            .zip(told_before.syncs)
            .map(|(syncs, before)| each((syncs - before) as f64)),
        wal_bytes_per_message: each((after.wal_bytes - before.wal_bytes) as f64),
        redis_commands_per_message: each((after.redis_commands - before.redis_commands) as f64),
        allocations_per_message: after
            .allocations
            .zip(before.allocations)
            .map(|(count, before)| each((count - before) as f64)),
    }
}
