//! The run, from fresh servers to the report. Everything that was started stands in [`Stage`], whose [`Stage::tear_down`]
//! is called however the run ends: done, failed, too slow, or interrupted.

use std::{
    collections::BTreeMap,
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
    task::JoinSet,
    time::Instant,
};
use uuid::Uuid;

use crate::{
    bare::{self, Bare, Setting},
    binary,
    fleet::{Fleet, Tuning},
    machine::{self, Machine},
    meters::{self, Meters},
    older,
    otp::{Latency, Timetable},
    processes,
    proxy::Proxy,
    questions,
    receiver::{self, Kind, Receiver},
    report::{self, Report, Round},
    scenario::{Scenario, Setup, Webhooks},
    seed::Seeded,
    services::{self, Services},
    sink::Wanted,
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
    /// Results that the database holds before the launch, instead of what the scenario says.
    #[arg(long)]
    older_results: Option<u64>,
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

fn write(path: Option<&Path>, figures: &impl serde::Serialize) -> anyhow::Result<()> {
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

/// What all rounds share.
struct Site<'a> {
    plan: &'a Plan<'a>,
    binary: PathBuf,
    folder: &'a Path,
    services: Services,
    pool: PgPool,
    seeded: Seeded,
    /// On the way of the processes under test to Postgres.
    proxy: Option<Proxy>,
    receiver: &'a Receiver,
    bare: Bare,
    setting: Setting,
}

/// How a campaign went, by the clock.
struct Times {
    whole: Duration,
    /// By the receiver's clock.
    launched_us: u64,
    done_us: u64,
    freeze: Duration,
    tenths: Tenths,
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
        let Plan { setup, how, .. } = *self.plan;
        let campaigns = self.seeded.campaigns(setup.campaign_of).await?;
        let tuning = Tuning {
            channel: setup.channel,
            postgres: self.proxy.as_ref().map(Proxy::address),
            workers: setup.workers.into(),
            chunk: how.chunk,
            in_flight: how.in_flight,
            batch: setup.batch,
            otp_per_second: setup.otp_per_second,
            quota: setup.quota,
        };
        let from = (&self.services, &self.pool);
        fleet.start(&self.binary, self.folder, from, self.receiver.url(), tuning).await?;
        if let Some(Webhooks { most }) = setup.webhooks {
            let path = format!("/hooks/{}", self.seeded.account().await?);
            self.receiver.hook(&Wanted { address: fleet.address(), path, most }).await?;
        }
        let snapshot = if setup.held_snapshot { Some(older::snapshot(&self.pool).await?) } else { None };
        let reported = self.meters(fleet).reported().await?;
        let before = (self.meters(fleet).read().await?, reported);
        let times = self.send(fleet, &campaigns).await?;
        let after = self.meters(fleet).read().await?;
        let after = (after, self.meters(fleet).reported().await?);
        drop(snapshot);
        let pids = fleet.pids()?;
        let peaks: Vec<u64> = pids.into_iter().map(processes::peak_rss).collect::<anyhow::Result<_>>()?;
        let timetable = setup
            .otp_per_second
            .map(|per_second| Timetable::read(&fleet.first_log()?, per_second.into()))
            .transpose()?;
        fleet.stop().await;
        let bar = bar("checking messages", how.recipients);
        let audience = Audience {
            channel: setup.channel,
            people: how.recipients,
            fail_percent: how.fail_percent,
            delivered: setup.webhooks.is_some(),
        };
        let (verdict, arrivals) =
            verify::verify(&self.pool, self.receiver, &campaigns, audience, &bar).await?;
        bar.finish();
        questions::show_states(&self.pool, campaigns[0]).await?;
        let (unsent_first_page_ms, unsent) = questions::not_sent(&self.seeded, campaigns[0]).await?;
        println!(
            "\nfirst page of who was not sent, and why: {unsent} recipients, {unsent_first_page_ms:.1} ms"
        );
        let messages_per_second = bare::per(how.recipients, times.whole);
        Ok(Round {
            messages_per_second,
            bare_requests_per_second: bare.requests_per_second,
            ratio: messages_per_second / bare.requests_per_second,
            cost: meters::cost(&before, &after, how.recipients),
            peak_rss_bytes: peaks.into_iter().sum(),
            most_requests_in_a_second: times.most_requests_in_a_second,
            verdict,
            first_message_ms: times.first_message_ms,
            freeze_seconds: times.freeze.as_secs_f64(),
            first_tenth_per_second: times.tenths.first(how.recipients),
            last_tenth_per_second: times.tenths.last(how.recipients),
            seconds: times.whole.as_secs_f64(),
            unsent_first_page_ms,
            otp: timetable
                .map(|timetable| Latency::of(&arrivals, timetable, times.launched_us, times.done_us))
                .transpose()?,
            bare,
        })
    }

    fn meters<'m>(&'m self, fleet: &'m Fleet) -> Meters<'m> {
        Meters { services: &self.services, pool: &self.pool, fleet, receiver: self.receiver }
    }

    /// Launches, and waits for the last record. One campaign's time runs from the acknowledgment of its launch; that of
    /// many from before the first, since launching them is part of the work.
    async fn send(&self, fleet: &mut Fleet, campaigns: &[CampaignId]) -> anyhow::Result<Times> {
        let mut launched = Instant::now();
        self.seeded.launch(campaigns).await?;
        if campaigns.len() == 1 {
            launched = Instant::now();
        }
        let launched_us = self.receiver.clock_us().await?.saturating_sub(micros(launched.elapsed()));
        let ids: Vec<Uuid> = campaigns.iter().map(|campaign| campaign.uuid()).collect();
        let bar = bar("sending", self.plan.how.recipients);
        let mut freeze = None;
        let mut tenths = Tenths::default();
        // What a long run meets by itself comes once, in the middle, where the urgent must not notice it.
        let (mut checkpoint, mut checkpointed) = (JoinSet::new(), false);
        let (mut last, mut changed) = (State::default(), launched);
        loop {
            let state = self.state(&ids).await?;
            if self.plan.setup.otp_per_second.is_some()
                && !checkpointed
                && state.settled * 2 >= self.plan.how.recipients
            {
                let pool = self.pool.clone();
                checkpoint.spawn(async move { sqlx::query("checkpoint").execute(&pool).await });
                checkpointed = true;
            }
            tenths.note(state.settled, self.plan.how.recipients, launched.elapsed());
            if !state.launching {
                freeze.get_or_insert_with(|| launched.elapsed());
            }
            if state.is_done(self.plan.how.recipients) && self.all_applied().await? {
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
        while let Some(made) = checkpoint.join_next().await {
            made??;
        }
        tenths.end = whole;
        Ok(Times {
            whole,
            launched_us,
            done_us: launched_us + micros(whole),
            freeze,
            tenths,
            first_message_ms: first.as_secs_f64() * 1e3,
            most_requests_in_a_second,
        })
    }

    /// Whether every webhook was answered and applied; without webhooks there is nothing to apply.
    async fn all_applied(&self) -> anyhow::Result<bool> {
        Ok(self.plan.setup.webhooks.is_none()
            || self.receiver.hooked().await? >= self.plan.how.recipients
                && sqlx::query_scalar("select not exists (select from inbox)").fetch_one(&self.pool).await?)
    }

    async fn state(&self, campaigns: &[Uuid]) -> anyhow::Result<State> {
        let row = sqlx::query(
            "select (select bool_or(state = 'launching') from campaigns where id = any ($1)) as launching,
                    (select sum(frozen) from campaigns where id = any ($1)) as frozen,
                    count(*) filter (where done_at is null) as open,
                    coalesce(sum(accepted + failed + suppressed + unknown), 0) as settled
             from chunks where campaign_id = any ($1)",
        )
        .bind(campaigns)
        .fetch_one(&self.pool)
        .await?;
        Ok(State {
            launching: row.get("launching"),
            frozen: u64::try_from(row.get::<i64, _>("frozen"))?,
            open: u64::try_from(row.get::<i64, _>("open"))?,
            settled: u64::try_from(row.get::<i64, _>("settled"))?,
        })
    }
}

/// When one tenth and nine tenths of the recipients had an outcome.
#[derive(Debug, Default, Clone, Copy)]
struct Tenths {
    one: Option<Duration>,
    nine: Option<Duration>,
    end: Duration,
}

impl Tenths {
    fn note(&mut self, settled: u64, of: u64, at: Duration) {
        if settled * 10 >= of {
            self.one.get_or_insert(at);
        }
        if settled * 10 >= of * 9 {
            self.nine.get_or_insert(at);
        }
    }

    fn first(self, of: u64) -> f64 {
        bare::per(of / 10, self.one.unwrap_or(self.end))
    }

    /// At least one look long, as far as one can tell.
    fn last(self, of: u64) -> f64 {
        bare::per(of / 10, self.end.saturating_sub(self.nine.unwrap_or_default()).max(LOOK))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
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
