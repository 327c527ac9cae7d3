//! Does anything grow, slow down or get lost as time goes by?
//!
//! One `fanfare serve`, for as long as asked. Campaigns follow each other, each to the same people; the sink posts a
//! `delivered` webhook for every message, and refuses one address of a hundred. A campaign is over when all its outcomes
//! are recorded and all its webhooks applied; then every message of it is checked, and the sink forgets, before the next
//! is launched. Meanwhile the process, Postgres and Redis are watched ([`watch`]).

mod report;
mod watch;

use std::{cell::Cell, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;
use fanfare_engine::domain::channel::Channel;
use indicatif::ProgressBar;
use serde::Serialize;
use sqlx::PgPool;
use tokio::time::Instant;

use self::{report::Report, watch::Watch};
use crate::{
    bare::per,
    fleet::{Fleet, Tuning},
    processes,
    receiver::{self, Kind, Receiver},
    run::{self, Ground, Stage},
    seed::Seeded,
    sink::{CONNECTIONS, Wanted},
    site,
    verify::{self, Audience, Verdict},
    webhooks,
};

/// Events of a webhook.
const MOST_EVENTS: usize = 500;
/// For building, seeding, the last campaign and the last check.
const BESIDE: u64 = 20;

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// For so long campaigns are launched.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// People that each campaign goes to.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    campaign_of: u64,
    /// Of every hundred people, so many have an address that the sink refuses.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=50))]
    fail_percent: u64,
    /// Where the figures go, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One campaign.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    /// From the launch until every outcome is recorded and every webhook applied.
    seconds: f64,
    messages_per_second: f64,
    #[serde(flatten)]
    verdict: Verdict,
}

/// Whether every message was right, and memory did not grow.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    let report =
        run::on_stage(options.minutes + BESIDE, async |stage| measure(&options, stage).await).await?;
    report.print();
    run::write(options.json.as_deref(), &report)?;
    Ok(report.is_passed())
}

async fn measure(options: &Options, stage: &mut Stage) -> anyhow::Result<Report> {
    let Ground { binary, services, pool } = Ground::fresh(stage).await?;
    let Options { campaign_of, fail_percent, .. } = *options;
    let people = site::bar("seeding people", campaign_of);
    let seeded = Seeded::make(&pool, Channel::Email, (campaign_of, fail_percent), &people).await?;
    people.finish();
    let sink = receiver::Options { receiver: Kind::Sink, latency_ms: 0 };
    let receiver = stage.receiver.insert(Receiver::start(sink).await?);
    let fleet = &mut stage.fleet;
    let tuning = Tuning::plain(Channel::Email);
    fleet.start(&binary, &stage.folder, (&services, &pool), receiver.url(), tuning).await?;
    let path = webhooks::path(&seeded).await?;
    let wanted = Wanted { address: fleet.address(), path, most: MOST_EVENTS, connections: CONNECTIONS };
    let audience = Audience { channel: Channel::Email, people: campaign_of, fail_percent, delivered: true };
    let pid = *fleet.pids()?.first().context("there is one process")?;
    let mut watch = Watch::begin(&services, &pool, pid).await?;
    let soak = Soak { pool: &pool, seeded: &seeded, receiver, wanted, audience, busy: Cell::new(false) };
    let campaigns = tokio::select! {
        sent = soak.campaigns(fleet, Duration::from_secs(options.minutes * 60)) => sent?,
        Err(error) = watch.run(&soak.busy) => return Err(error),
    };
    watch.minute().await?;
    let peak_rss_bytes = processes::peak_rss(pid)?;
    receiver.unhook().await?;
    fleet.stop().await;
    let watched = (watch.seconds, watch.minutes);
    Report::of(options, campaigns, watched, peak_rss_bytes, run::date(&pool).await?)
}

struct Soak<'a> {
    pool: &'a PgPool,
    seeded: &'a Seeded,
    receiver: &'a Receiver,
    wanted: Wanted,
    audience: Audience,
    /// Whether a campaign is under way.
    busy: Cell<bool>,
}

impl Soak<'_> {
    async fn campaigns(&self, fleet: &mut Fleet, how_long: Duration) -> anyhow::Result<Vec<Sent>> {
        let until = Instant::now() + how_long;
        let mut all = Vec::new();
        while Instant::now() < until {
            let sent = self.campaign(fleet).await?;
            if !sent.verdict.is_clean() {
                eprintln!("  campaign {}: {:?}", all.len() + 1, sent.verdict);
            }
            all.push(sent);
        }
        Ok(all)
    }

    async fn campaign(&self, fleet: &mut Fleet) -> anyhow::Result<Sent> {
        self.receiver.reset().await?;
        self.receiver.hook(&self.wanted).await?;
        let campaigns = self.seeded.campaigns(None).await?;
        self.busy.set(true);
        let started = Instant::now();
        self.seeded.launch(&campaigns).await?;
        site::settled(self.pool, fleet, &campaigns, self.audience.people).await?;
        webhooks::applied(self.pool, self.receiver, fleet, self.audience.wanted()).await?;
        let took = started.elapsed();
        self.busy.set(false);
        let (verdict, _) =
            verify::verify(self.pool, self.receiver, &campaigns, self.audience, &ProgressBar::hidden())
                .await?;
        let messages_per_second = per(self.audience.people, took);
        Ok(Sent { seconds: took.as_secs_f64(), messages_per_second, verdict })
    }
}
