//! The run, from fresh servers to the report. Everything that was started stands in [`Stage`], whose [`Stage::tear_down`]
//! is called however the run ends: done, failed, too slow, or interrupted.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use fanfare_engine::id::CampaignId;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::{PgPool, Row as _};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use crate::{
    bare::{self, Bare, Setting},
    binary,
    fleet::{Fleet, Tuning},
    machine::{self, Machine},
    meters::{self, Meters},
    processes, questions,
    report::{self, Report, Round},
    sandbox::{self, SandboxProcess},
    seed::Seeded,
    services::{self, Services},
    verify::{self, Audience},
};

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// People that the campaign goes to.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=50_000_000))]
    recipients: u64,
    /// Where the figures go, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Over::Email)]
    channel: Over,
    /// How long the sandbox takes to answer, in milliseconds.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Recipients of a chunk; the engine's default if absent.
    #[arg(long)]
    chunk: Option<u32>,
    /// Requests that a process has on the wire at once; the engine's default if absent.
    #[arg(long)]
    in_flight: Option<u32>,
    /// `fanfare serve` processes: the first with every role, the others deliver.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Bare loop and campaign, alternately, so many times; the report is the median.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    rounds: u16,
    /// Of every hundred people, so many have an address that the sandbox refuses.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=50))]
    fail_percent: u64,
    /// Let the engine put many messages into a request, as the bare loop does not.
    #[arg(long)]
    batch: bool,
    /// The run is given up after so many minutes.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Over {
    Email,
}

/// A campaign whose rows do not change for so long has come to a stop.
const STALLED: Duration = Duration::from_secs(90);
/// How often the rows are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What has been started.
#[derive(Debug)]
struct Stage {
    folder: PathBuf,
    fleet: Fleet,
    sandbox: Option<SandboxProcess>,
}

impl Stage {
    fn services(&self) -> PathBuf {
        self.folder.join("services")
    }

    async fn tear_down(mut self) {
        println!("\ncleaning up");
        self.fleet.stop().await;
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.stop().await;
        }
        if let Err(error) = services::down(&self.services()).await {
            eprintln!("loadtests: {error:#}");
        }
    }
}

/// Whether every message was right.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    let mut stage =
        Stage { folder: binary::target()?.join("loadtest"), fleet: Fleet::default(), sandbox: None };
    std::fs::create_dir_all(&stage.folder)?;
    let limit = Duration::from_secs(options.minutes * 60);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let result = tokio::select! {
        report = tokio::time::timeout(limit, measure(&options, &mut stage)) =>
            report.unwrap_or_else(|_| bail!("not done after {} minutes (--minutes)", options.minutes)),
        _ = interrupt.recv() => bail_out(),
        _ = terminate.recv() => bail_out(),
    };
    if result.is_err() {
        eprint!("{}", stage.fleet.last_words());
    }
    stage.tear_down().await;
    let report = result?;
    report.print();
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(report.is_clean())
}

fn bail_out() -> anyhow::Result<Report> {
    bail!("interrupted")
}

async fn measure(options: &Options, stage: &mut Stage) -> anyhow::Result<Report> {
    let binary = binary::fanfare().await?;
    let services = Services::up(&stage.services()).await?;
    let pool = services.pool().await?;
    services.check_durability(&pool).await?;
    let bar = bar("seeding people", options.recipients);
    let seeded = Seeded::make(&pool, options.recipients, options.fail_percent, &bar).await?;
    bar.finish();
    let sandbox = SandboxProcess::start(sandbox::Options { latency_ms: options.latency_ms }).await?;
    let sandbox = stage.sandbox.insert(sandbox);
    let bare = Bare::new(sandbox, seeded.campaign_id().await?)?;
    let setting = bare.best(sandbox, options.latency_ms).await?;
    let site =
        Site { options, binary, folder: &stage.folder, services, pool, seeded, sandbox, bare, setting };
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        println!("\nround {number} of {}", options.rounds);
        rounds.push(site.round(&mut stage.fleet).await?);
    }
    Ok(Report {
        median: report::median(&rounds).context("there is at least one round")?,
        recipients: options.recipients,
        workers: options.workers.into(),
        latency_ms: options.latency_ms,
        fail_percent: options.fail_percent,
        batch: options.batch,
        date: sqlx::query_scalar(
            "select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
        )
        .fetch_one(&site.pool)
        .await?,
        machine: Machine::this(),
        commit: machine::commit(),
        rounds,
    })
}

/// What all rounds share.
struct Site<'a> {
    options: &'a Options,
    binary: PathBuf,
    folder: &'a Path,
    services: Services,
    pool: PgPool,
    seeded: Seeded,
    sandbox: &'a SandboxProcess,
    bare: Bare,
    setting: Setting,
}

/// How a campaign went, by the clock.
struct Times {
    whole: Duration,
    freeze: Duration,
    first_message_ms: f64,
}

impl Site<'_> {
    async fn round(&self, fleet: &mut Fleet) -> anyhow::Result<Round> {
        let bare = self.bare.measure(self.sandbox, self.setting).await?;
        println!(
            "  bare loop, {}: {:.0}/s over {} requests",
            bare.setting, bare.requests_per_second, bare.requests
        );
        self.sandbox.reset().await?;
        let campaign = self.seeded.campaign().await?;
        let tuning = Tuning {
            workers: self.options.workers.into(),
            chunk: self.options.chunk,
            in_flight: self.options.in_flight,
            batch: self.options.batch,
        };
        let from = (&self.services, &self.pool);
        fleet.start(&self.binary, self.folder, from, self.sandbox.url(), tuning).await?;
        let commits = self.meters(fleet).commits().await?;
        let before = self.meters(fleet).read().await?;
        let times = self.campaign(fleet, campaign).await?;
        let after = self.meters(fleet).read().await?;
        let commits = self.meters(fleet).commits().await? - commits;
        let pids = fleet.pids()?;
        let peaks: Vec<u64> = pids.into_iter().map(processes::peak_rss).collect::<anyhow::Result<_>>()?;
        fleet.stop().await;
        let bar = bar("checking messages", self.options.recipients);
        let audience = Audience { people: self.options.recipients, fail_percent: self.options.fail_percent };
        let verdict = verify::verify(&self.pool, self.sandbox, campaign, audience, &bar).await?;
        bar.finish();
        questions::show_states(&self.pool, campaign).await?;
        let (unsent_first_page_ms, unsent) = questions::not_sent(&self.seeded, campaign).await?;
        println!(
            "\nfirst page of who was not sent, and why: {unsent} recipients, {unsent_first_page_ms:.1} ms"
        );
        let messages_per_second = bare::per(self.options.recipients, times.whole);
        Ok(Round {
            messages_per_second,
            bare_requests_per_second: bare.requests_per_second,
            ratio: messages_per_second / bare.requests_per_second,
            cost: meters::cost(&before, &after, commits, self.options.recipients),
            peak_rss_bytes: peaks.into_iter().max().unwrap_or_default(),
            verdict,
            first_message_ms: times.first_message_ms,
            freeze_seconds: times.freeze.as_secs_f64(),
            seconds: times.whole.as_secs_f64(),
            unsent_first_page_ms,
            bare,
        })
    }

    fn meters<'m>(&'m self, fleet: &'m Fleet) -> Meters<'m> {
        Meters { services: &self.services, pool: &self.pool, fleet, sandbox: self.sandbox }
    }

    /// Launches, and waits for the last record.
    async fn campaign(&self, fleet: &mut Fleet, campaign: CampaignId) -> anyhow::Result<Times> {
        self.seeded.launch(campaign).await?;
        let launched = Instant::now();
        let launched_us = self.sandbox.clock_us().await?;
        let bar = bar("sending", self.options.recipients);
        let mut freeze = None;
        let (mut last, mut changed) = (State::default(), launched);
        loop {
            let state = self.state(campaign).await?;
            if !state.launching {
                freeze.get_or_insert_with(|| launched.elapsed());
            }
            if state.is_done(self.options.recipients) {
                break;
            }
            if state != last {
                (last, changed) = (state, Instant::now());
                bar.set_position(state.settled);
            }
            fleet.check()?;
            ensure!(changed.elapsed() < STALLED, "nothing has moved for {STALLED:?}: {state:?}");
            tokio::time::sleep(LOOK).await;
        }
        let whole = launched.elapsed();
        bar.set_position(self.options.recipients);
        bar.finish();
        println!(
            "  sent and recorded in {:.1} s: {:.0}/s",
            whole.as_secs_f64(),
            bare::per(self.options.recipients, whole)
        );
        let first_us = self.sandbox.summary().await?.lanes.iter().filter_map(|lane| lane.first_us).min();
        let first = Duration::from_micros(first_us.context("nothing was sent")?.saturating_sub(launched_us));
        Ok(Times { whole, freeze: freeze.unwrap_or(whole), first_message_ms: first.as_secs_f64() * 1e3 })
    }

    async fn state(&self, campaign: CampaignId) -> anyhow::Result<State> {
        let row = sqlx::query(
            "select k.state = 'launching' as launching, k.frozen, count(*) filter (where c.done_at is null) as open,
                    coalesce(sum(c.accepted + c.failed + c.suppressed + c.unknown), 0) as settled
             from campaigns k left join chunks c on c.campaign_id = k.id where k.id = $1 group by k.id",
        )
        .bind(campaign.uuid())
        .fetch_one(&self.pool)
        .await?;
        Ok(State {
            launching: row.get("launching"),
            frozen: u64::try_from(row.get::<i32, _>("frozen"))?,
            open: u64::try_from(row.get::<i64, _>("open"))?,
            settled: u64::try_from(row.get::<i64, _>("settled"))?,
        })
    }
}

/// How far a campaign has come, by its rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct State {
    launching: bool,
    frozen: u64,
    /// Chunks with members that have no outcome.
    open: u64,
    /// Recipients with a final outcome.
    settled: u64,
}

impl State {
    const fn is_done(self, people: u64) -> bool {
        !self.launching && self.frozen == people && self.open == 0
    }
}

/// A progress bar; where there is no terminal, a line that says what is being done.
fn bar(what: &'static str, of: u64) -> ProgressBar {
    let bar = ProgressBar::new(of);
    if bar.is_hidden() {
        println!("  {what}: {of}");
    }
    if let Ok(style) =
        ProgressStyle::with_template("  {msg:18} [{bar:40}] {human_pos}/{human_len} {per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
