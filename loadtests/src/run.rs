//! The run, from fresh servers to the report. Everything that was started stands in [`Stage`], whose [`Stage::tear_down`]
//! is called however the run ends: done, failed, too slow, or interrupted.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::{Args, FromArgMatches as _, ValueEnum};
use sqlx::PgPool;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    bare::Bare,
    binary,
    fleet::Fleet,
    machine::{self, Machine},
    older,
    proxy::Proxy,
    receiver::{self, Kind, Receiver},
    report::{self, Report},
    scenario::{Scenario, Setup},
    seed::Seeded,
    services::{self, Services},
    site::{Site, bar},
};

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[arg(long, value_enum, default_value_t = Scenario::Judged)]
    scenario: Scenario,
    #[command(flatten)]
    how: How,
    /// Where the figures go, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AllOptions {
    #[command(flatten)]
    how: How,
    /// Where the figures go, as JSON, by scenario.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What may be set beside the scenario.
#[derive(Debug, Clone, Args)]
pub(crate) struct How {
    /// People that the campaign goes to.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=50_000_000))]
    pub(crate) recipients: u64,
    /// How long an answer takes, in milliseconds, instead of what the scenario says.
    #[arg(long)]
    latency_ms: Option<u64>,
    /// Recipients of a chunk; the engine's default if absent.
    #[arg(long)]
    pub(crate) chunk: Option<u32>,
    /// Requests that a process has on the wire at once; the engine's default if absent.
    #[arg(long)]
    pub(crate) in_flight: Option<u32>,
    /// `fanfare serve` processes, instead of what the scenario says: the first with every role, the others deliver.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Option<u16>,
    /// Results that the database holds before the launch, instead of what the scenario says.
    #[arg(long)]
    older_results: Option<u64>,
    /// Bare loop and campaign, alternately, so many times; the report is the median.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    rounds: u16,
    /// Of every hundred people, so many have an address that the sandbox refuses.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=50))]
    pub(crate) fail_percent: u64,
    /// The run is given up after so many minutes.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

/// What is to be measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) scenario: Scenario,
    pub(crate) setup: Setup,
    pub(crate) how: &'a How,
}

/// What has been started.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) folder: PathBuf,
    pub(crate) fleet: Fleet,
    pub(crate) receiver: Option<Receiver>,
}

impl Stage {
    pub(crate) fn services(&self) -> PathBuf {
        self.folder.join("services")
    }

    async fn tear_down(mut self) {
        println!("\ncleaning up");
        self.fleet.stop().await;
        if let Some(receiver) = self.receiver.take() {
            receiver.stop().await;
        }
        if let Err(error) = services::down(&self.services()).await {
            eprintln!("loadtests: {error:#}");
        }
    }
}

/// The binary under test, and fresh servers that would lose nothing.
pub(crate) struct Ground {
    pub(crate) binary: PathBuf,
    pub(crate) services: Services,
    pub(crate) pool: PgPool,
}

impl Ground {
    pub(crate) async fn fresh(stage: &Stage) -> anyhow::Result<Self> {
        let binary = binary::fanfare().await?;
        let services = Services::up(&stage.services()).await?;
        let pool = services.pool().await?;
        services.check_durability(&pool).await?;
        Ok(Self { binary, services, pool })
    }
}

/// Whether every message was right.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    let report = scenario(options.scenario, &options.how).await?;
    write(options.json.as_deref(), &report)?;
    Ok(report.is_clean())
}

/// Every scenario, one after the other, each from fresh servers.
pub(crate) async fn all(options: AllOptions) -> anyhow::Result<bool> {
    let mut reports = BTreeMap::new();
    for &name in Scenario::value_variants() {
        reports.insert(name, scenario(name, &options.how).await?);
        // What has been measured is not lost with what comes after it.
        write(options.json.as_deref(), &reports)?;
    }
    Ok(reports.values().all(Report::is_clean))
}

/// One campaign of the scenario `single`, for whoever compares something with it.
pub(crate) async fn single(recipients: u64) -> anyhow::Result<Report> {
    // Everything else as on the command line.
    let command = How::augment_args(clap::Command::new("single"));
    let matches = command.try_get_matches_from(["single", "--recipients", &recipients.to_string()])?;
    scenario(Scenario::Single, &How::from_arg_matches(&matches)?).await
}

pub(crate) fn write(path: Option<&Path>, figures: &impl serde::Serialize) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, serde_json::to_string_pretty(figures)? + "\n")
        .with_context(|| format!("{} cannot be written", path.display()))
}

async fn scenario(scenario: Scenario, how: &How) -> anyhow::Result<Report> {
    let mut setup = scenario.setup();
    setup.latency_ms = how.latency_ms.unwrap_or(setup.latency_ms);
    setup.workers = how.workers.unwrap_or(setup.workers);
    setup.older_results = how.older_results.unwrap_or(setup.older_results);
    let plan = Plan { scenario, setup, how };
    let report = on_stage(how.minutes, async |stage| measure(&plan, stage).await).await?;
    report.print();
    Ok(report)
}

/// Gives what `measure` needs to start things, and ends them however it ends.
pub(crate) async fn on_stage<T>(
    minutes: u64,
    measure: impl AsyncFnOnce(&mut Stage) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut stage =
        Stage { folder: binary::target()?.join("loadtest"), fleet: Fleet::default(), receiver: None };
    std::fs::create_dir_all(&stage.folder)?;
    let limit = Duration::from_secs(minutes * 60);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let result = tokio::select! {
        result = tokio::time::timeout(limit, measure(&mut stage)) =>
            result.unwrap_or_else(|_| bail!("not done after {minutes} minutes (--minutes)")),
        _ = interrupt.recv() => Err(anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow!("interrupted")),
    };
    if result.is_err() {
        eprint!("{}", stage.fleet.last_words());
    }
    stage.tear_down().await;
    result
}

async fn measure(plan: &Plan<'_>, stage: &mut Stage) -> anyhow::Result<Report> {
    let Plan { scenario, setup, how } = *plan;
    ensure!(how.fail_percent == 0 || setup.receiver == Kind::Sandbox, "--fail-percent needs the sandbox");
    let Ground { binary, services, pool } = Ground::fresh(stage).await?;
    let seeded = seed(plan, &pool).await?;
    let proxy = match setup.postgres_ms {
        0 => None,
        // Half of it each way.
        ms => Some(Proxy::start(services.postgres_address()?, Duration::from_micros(ms * 500))?),
    };
    let options = receiver::Options { receiver: setup.receiver, latency_ms: setup.latency_ms };
    let receiver = Receiver::start(options).await?;
    let receiver = stage.receiver.insert(receiver);
    let bare = Bare::new(receiver, setup.channel, seeded.campaign_id().await?)?;
    let setting = bare.best(receiver, setup.latency_ms).await?;
    let site =
        Site { plan, binary, folder: &stage.folder, services, pool, seeded, proxy, receiver, bare, setting };
    let mut rounds = Vec::new();
    for number in 1..=how.rounds {
        println!("\nround {number} of {}", how.rounds);
        rounds.push(site.round(&mut stage.fleet).await?);
    }
    Ok(Report {
        median: report::median(&rounds).context("there is at least one round")?,
        figures: report::figures(&rounds)?,
        scenario,
        receiver: setup.receiver,
        recipients: how.recipients,
        workers: setup.workers.into(),
        latency_ms: setup.latency_ms,
        fail_percent: how.fail_percent,
        batch: setup.batch,
        date: date(&site.pool).await?,
        machine: Machine::this(),
        commit: machine::commit(),
        rounds,
    })
}

pub(crate) async fn date(pool: &PgPool) -> anyhow::Result<String> {
    let sql = "select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    Ok(sqlx::query_scalar(sql).fetch_one(pool).await?)
}

async fn seed(Plan { setup, how, .. }: &Plan<'_>, pool: &PgPool) -> anyhow::Result<Seeded> {
    let people = bar("seeding people", how.recipients);
    let seeded = Seeded::make(pool, setup.channel, (how.recipients, how.fail_percent), &people).await?;
    people.finish();
    if setup.older_results > 0 {
        let results = bar("seeding results", setup.older_results);
        older::results(pool, setup.older_results, &results).await?;
        results.finish();
    }
    Ok(seeded)
}
