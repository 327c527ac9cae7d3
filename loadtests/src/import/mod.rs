//! How fast a file becomes contacts: a list as a back office exports it, taken in by the real binary, `fanfare import`.
//!
//! The people of the file follow from their numbers ([`file`]), so that what the rows should hold afterwards is known
//! without asking the code under test.

mod file;
mod verify;

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use fanfare_engine::domain::channel::Channel;
use serde::Serialize;
use serde_json::json;
use tokio::{process::Command, time::Instant};

use crate::{
    bare::{micros_each, per},
    processes,
    report::{Line, mega},
    run::{self, Ground, Stage},
    seed::{self, Seeded},
    site,
    trial::{self, Bar, Report},
};

/// A million rows in ten seconds.
const ROWS_PER_SECOND: f64 = 100_000.0;
/// How often the importing process is looked at.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Rows of the file.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=20_000_000))]
    rows: u64,
    /// The file is taken into an empty database so many times; the report is the median.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    rounds: u16,
    /// Where the figures go, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The run is given up after so many minutes.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

/// Microseconds of CPU for each row.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct CpuMicros {
    fanfare: f64,
    postgres: f64,
}

/// One import.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Round {
    rows: u64,
    file_bytes: u64,
    /// From the start of the process to its end.
    seconds: f64,
    rows_per_second: f64,
    cpu_micros_per_row: CpuMicros,
    wal_bytes: u64,
    /// Of `fanfare import`.
    peak_rss_bytes: u64,
    #[serde(flatten)]
    verdict: verify::Verdict,
}

impl trial::Round for Round {
    const LINES: &'static [Line<Self>] = &[
        ("rows", |round| round.rows.to_string()),
        ("file, MB", |round| format!("{:.1}", mega(round.file_bytes))),
        ("seconds", |round| format!("{:.2}", round.seconds)),
        ("rows a second", |round| format!("{:.0}", round.rows_per_second)),
        ("CPU fanfare, microseconds a row", |round| format!("{:.2}", round.cpu_micros_per_row.fanfare)),
        ("CPU Postgres", |round| format!("{:.2}", round.cpu_micros_per_row.postgres)),
        ("WAL, MB", |round| format!("{:.1}", mega(round.wal_bytes))),
        ("peak memory of fanfare, MB", |round| format!("{:.1}", mega(round.peak_rss_bytes))),
        ("people who are no contact", |round| round.verdict.missing.to_string()),
        ("contacts that are not as in the file", |round| round.verdict.wrong.to_string()),
        ("contacts and rows too many", |round| round.verdict.beyond.to_string()),
        ("problems reported", |round| round.verdict.problems.to_string()),
    ];

    fn rate(&self) -> f64 {
        self.rows_per_second
    }

    fn is_right(&self) -> bool {
        self.verdict.is_clean()
    }
}

/// Whether everybody became the contact that was meant.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    let report = run::on_stage(options.minutes, async |stage| measure(&options, stage).await).await?;
    report.print();
    run::write(options.json.as_deref(), &report)?;
    Ok(report.is_right())
}

async fn measure(options: &Options, stage: &mut Stage) -> anyhow::Result<Report<Round>> {
    let ground = Ground::fresh(stage).await?;
    // The tenant, and nobody else.
    Seeded::make(&ground.pool, Channel::Email, (0, 0), &site::bar("seeding people", 0)).await?;
    let services = &ground.services;
    let config = json!({"database": {"url": services.database_url}, "redis": {"url": services.redis_url}});
    std::fs::write(stage.folder.join("fanfare.toml"), toml::to_string(&config)?)?;
    println!("  writing a file of {} rows", options.rows);
    let csv = stage.folder.join("people.csv");
    let file_bytes = file::write(&csv, options.rows)?;
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        let round = one((options.rows, file_bytes), &ground, &stage.folder).await?;
        println!("  round {number}: {:.2} s, {:.0} rows/s", round.seconds, round.rows_per_second);
        rounds.push(round);
    }
    std::fs::remove_file(csv)?;
    let said = format!("{ROWS_PER_SECOND:.0} rows a second: a million in 10 s");
    Report::of("import", Bar { rate: ROWS_PER_SECOND, said }, rounds, &ground.pool).await
}

async fn one((rows, file_bytes): (u64, u64), ground: &Ground, folder: &Path) -> anyhow::Result<Round> {
    // As before the first file.
    seed::no_contacts(&ground.pool).await?;
    let own = std::process::id();
    let postgres = || processes::cpu_with_children(ground.services.postmaster);
    let before = (processes::collected(own)?, postgres()?, wal(ground).await?);
    let started = Instant::now();
    let peak_rss_bytes = take(&ground.binary, folder).await?;
    let took = started.elapsed();
    let fanfare = processes::collected(own)?.saturating_sub(before.0);
    let postgres = postgres()?.saturating_sub(before.1);
    Ok(Round {
        rows,
        file_bytes,
        seconds: took.as_secs_f64(),
        rows_per_second: per(rows, took),
        cpu_micros_per_row: CpuMicros {
            fanfare: micros_each(fanfare, rows),
            postgres: micros_each(postgres, rows),
        },
        wal_bytes: wal(ground).await? - before.2,
        peak_rss_bytes,
        verdict: verify::verify(&ground.pool, rows).await?,
    })
}

/// Bytes that were ever written to the log.
async fn wal(ground: &Ground) -> anyhow::Result<u64> {
    let sql = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
    Ok(sqlx::query_scalar::<_, i64>(sql).fetch_one(&ground.pool).await?.unsigned_abs())
}

/// Runs `fanfare import` to its end; returns the most memory that it had.
async fn take(binary: &Path, folder: &Path) -> anyhow::Result<u64> {
    let log = File::create(folder.join("import.log"))?;
    let mut child = Command::new(binary)
        .args(["import", "--tenant", seed::TENANT, "--config"])
        .arg(folder.join("fanfare.toml"))
        .arg(folder.join("people.csv"))
        // Nothing of this environment may change what is measured.
        .env_clear()
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} cannot be started", binary.display()))?;
    let pid = child.id().context("`fanfare import` has a process")?;
    let mut peak = 0;
    let status = loop {
        if let Ok(ended) = tokio::time::timeout(LOOK, child.wait()).await {
            break ended?;
        }
        // A high-water mark: the last look misses no more than what was added in the last moment.
        peak = processes::peak_rss(pid).unwrap_or(peak);
    };
    let said = || std::fs::read_to_string(folder.join("import.log")).unwrap_or_default();
    ensure!(status.success(), "`fanfare import` failed ({status}):\n{}", said());
    Ok(peak)
}
