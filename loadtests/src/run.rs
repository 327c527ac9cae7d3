//! The run, from fresh servers to the report. Everything that was started stands in [`Stage`], whose [`Stage::tear_down`]
//! is called however the run ends: done, failed, too slow, or interrupted.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, FromArgMatches as _, ValueEnum};
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
    receiver::{self, Kind, Receiver},
    report::{self, Report, Round},
    scenario::{Scenario, Setup},
    seed::Seeded,
    services::{self, Services},
    verify::{self, Audience},
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
struct How {
    /// People that the campaign goes to.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=50_000_000))]
    recipients: u64,
    /// How long an answer takes, in milliseconds, instead of what the scenario says.
    #[arg(long)]
    latency_ms: Option<u64>,
    /// Recipients of a chunk; the engine's default if absent.
    #[arg(long)]
    chunk: Option<u32>,
    /// Requests that a process has on the wire at once; the engine's default if absent.
    #[arg(long)]
    in_flight: Option<u32>,
    /// `fanfare serve` processes, instead of what the scenario says: the first with every role, the others deliver.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Option<u16>,
    /// Bare loop and campaign, alternately, so many times; the report is the median.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    rounds: u16,
    /// Of every hundred people, so many have an address that the sandbox refuses.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=50))]
    fail_percent: u64,
    /// The run is given up after so many minutes.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

/// A campaign whose rows do not change for so long has come to a stop.
const STALLED: Duration = Duration::from_secs(90);
/// How often the rows are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What is to be measured.
#[derive(Debug, Clone, Copy)]
struct Plan<'a> {
    scenario: Scenario,
    setup: Setup,
    how: &'a How,
}

/// What has been started.
#[derive(Debug)]
struct Stage {
    folder: PathBuf,
    fleet: Fleet,
    receiver: Option<Receiver>,
}

impl Stage {
    fn services(&self) -> PathBuf {
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

fn write(path: Option<&Path>, figures: &impl serde::Serialize) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, serde_json::to_string_pretty(figures)? + "\n")
        .with_context(|| format!("{} cannot be written", path.display()))
}

async fn scenario(scenario: Scenario, how: &How) -> anyhow::Result<Report> {
    let mut setup = scenario.setup();
    setup.latency_ms = how.latency_ms.unwrap_or(setup.latency_ms);
    setup.workers = how.workers.unwrap_or(setup.workers);
    let plan = Plan { scenario, setup, how };
    let mut stage =
        Stage { folder: binary::target()?.join("loadtest"), fleet: Fleet::default(), receiver: None };
    std::fs::create_dir_all(&stage.folder)?;
    let limit = Duration::from_secs(how.minutes * 60);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let result = tokio::select! {
        report = tokio::time::timeout(limit, measure(&plan, &mut stage)) =>
            report.unwrap_or_else(|_| bail!("not done after {} minutes (--minutes)", how.minutes)),
        _ = interrupt.recv() => bail_out(),
        _ = terminate.recv() => bail_out(),
    };
    if result.is_err() {
        eprint!("{}", stage.fleet.last_words());
    }
    stage.tear_down().await;
    let report = result?;
    report.print();
    Ok(report)
}

fn bail_out() -> anyhow::Result<Report> {
    bail!("interrupted")
}

async fn measure(plan: &Plan<'_>, stage: &mut Stage) -> anyhow::Result<Report> {
    let Plan { scenario, setup, how } = *plan;
    ensure!(
        how.fail_percent == 0 || setup.receiver == Kind::Sandbox,
        "--fail-percent needs the sandbox: a sink refuses nobody"
    );
    let binary = binary::fanfare().await?;
    let services = Services::up(&stage.services()).await?;
    let pool = services.pool().await?;
    services.check_durability(&pool).await?;
    let bar = bar("seeding people", how.recipients);
    let seeded = Seeded::make(&pool, how.recipients, how.fail_percent, &bar).await?;
    bar.finish();
    let options = receiver::Options { receiver: setup.receiver, latency_ms: setup.latency_ms };
    let receiver = Receiver::start(options).await?;
    let receiver = stage.receiver.insert(receiver);
    let bare = Bare::new(receiver, seeded.campaign_id().await?)?;
    let setting = bare.best(receiver, setup.latency_ms).await?;
    let site = Site { plan, binary, folder: &stage.folder, services, pool, seeded, receiver, bare, setting };
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
    plan: &'a Plan<'a>,
    binary: PathBuf,
    folder: &'a Path,
    services: Services,
    pool: PgPool,
    seeded: Seeded,
    receiver: &'a Receiver,
    bare: Bare,
    setting: Setting,
}

/// How a campaign went, by the clock.
struct Times {
    whole: Duration,
    freeze: Duration,
    first_message_ms: f64,
    most_requests_in_a_second: u64,
}

impl Site<'_> {
    async fn round(&self, fleet: &mut Fleet) -> anyhow::Result<Round> {
        let bare = self.bare.measure(self.receiver, self.setting).await?;
        println!(
            "  bare loop, {}: {:.0}/s over {} requests",
            bare.setting, bare.requests_per_second, bare.requests
        );
        self.receiver.reset().await?;
        let campaign = self.seeded.campaign().await?;
        let tuning = Tuning {
            workers: self.plan.setup.workers.into(),
            chunk: self.plan.how.chunk,
            in_flight: self.plan.how.in_flight,
            batch: self.plan.setup.batch,
        };
        let from = (&self.services, &self.pool);
        fleet.start(&self.binary, self.folder, from, self.receiver.url(), tuning).await?;
        let reported = self.meters(fleet).reported().await?;
        let before = (self.meters(fleet).read().await?, reported);
        let times = self.campaign(fleet, campaign).await?;
        let after = self.meters(fleet).read().await?;
        let after = (after, self.meters(fleet).reported().await?);
        let pids = fleet.pids()?;
        let peaks: Vec<u64> = pids.into_iter().map(processes::peak_rss).collect::<anyhow::Result<_>>()?;
        fleet.stop().await;
        let bar = bar("checking messages", self.plan.how.recipients);
        let audience =
            Audience { people: self.plan.how.recipients, fail_percent: self.plan.how.fail_percent };
        let verdict = verify::verify(&self.pool, self.receiver, campaign, audience, &bar).await?;
        bar.finish();
        questions::show_states(&self.pool, campaign).await?;
        let (unsent_first_page_ms, unsent) = questions::not_sent(&self.seeded, campaign).await?;
        println!(
            "\nfirst page of who was not sent, and why: {unsent} recipients, {unsent_first_page_ms:.1} ms"
        );
        let messages_per_second = bare::per(self.plan.how.recipients, times.whole);
        Ok(Round {
            messages_per_second,
            bare_requests_per_second: bare.requests_per_second,
            ratio: messages_per_second / bare.requests_per_second,
            cost: meters::cost(&before, &after, self.plan.how.recipients),
            peak_rss_bytes: peaks.into_iter().sum(),
            most_requests_in_a_second: times.most_requests_in_a_second,
            verdict,
            first_message_ms: times.first_message_ms,
            freeze_seconds: times.freeze.as_secs_f64(),
            seconds: times.whole.as_secs_f64(),
            unsent_first_page_ms,
            bare,
        })
    }

    fn meters<'m>(&'m self, fleet: &'m Fleet) -> Meters<'m> {
        Meters { services: &self.services, pool: &self.pool, fleet, receiver: self.receiver }
    }

    /// Launches, and waits for the last record.
    async fn campaign(&self, fleet: &mut Fleet, campaign: CampaignId) -> anyhow::Result<Times> {
        self.seeded.launch(campaign).await?;
        let launched = Instant::now();
        let launched_us = self.receiver.clock_us().await?;
        let bar = bar("sending", self.plan.how.recipients);
        let mut freeze = None;
        let (mut last, mut changed) = (State::default(), launched);
        loop {
            let state = self.state(campaign).await?;
            if !state.launching {
                freeze.get_or_insert_with(|| launched.elapsed());
            }
            if state.is_done(self.plan.how.recipients) {
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
        bar.set_position(self.plan.how.recipients);
        bar.finish();
        println!(
            "  sent and recorded in {:.1} s: {:.0}/s",
            whole.as_secs_f64(),
            bare::per(self.plan.how.recipients, whole)
        );
        let lanes = self.receiver.summary().await?.lanes;
        let first_us = lanes.iter().filter_map(|lane| lane.first_us).min();
        let most_requests_in_a_second = lanes.iter().map(|lane| lane.max_requests_in_a_second).sum();
        let first = Duration::from_micros(first_us.context("nothing was sent")?.saturating_sub(launched_us));
        let freeze = freeze.unwrap_or(whole);
        Ok(Times { whole, freeze, first_message_ms: first.as_secs_f64() * 1e3, most_requests_in_a_second })
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
pub(crate) fn bar(what: &'static str, of: u64) -> ProgressBar {
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
