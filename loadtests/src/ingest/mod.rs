//! How fast webhooks are taken in (in Postgres before the 2xx), and how fast what they say is applied.
//!
//! A campaign is sent to the sink and recorded, then, to a `fanfare serve` that has just been started, the sink tells that every
//! message was delivered: one event a request, as Brevo does unless told otherwise, or many. Nothing is sent meanwhile. Taking in
//! and applying go on side by side, as they do in production, so the first pays for the second.

mod report;
mod verify;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use fanfare_engine::{domain::channel::Channel, id::CampaignId};
use serde::Serialize;
use sqlx::PgPool;
use tokio::time::Instant;

use self::report::Round;
use crate::{
    fleet::{Fleet, Tuning},
    meters::{self, Meters},
    processes,
    receiver::{self, Kind, Receiver},
    run::{self, Ground, Stage},
    seed::Seeded,
    services::Services,
    sink::{CONNECTIONS, Wanted},
    site,
    trial::{Bar, Report},
    webhooks,
};

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Messages that are told of.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=50_000_000))]
    messages: u64,
    /// Every mode so many times, each with a campaign of its own; the report is the median.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    rounds: u16,
    /// One of the modes instead of both.
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Connections that webhooks come over, instead of what the mode says.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: Option<u16>,
    /// Where the figures go, as JSON, by mode.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The run is given up after so many minutes.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

/// How events come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "camelCase")]
enum Mode {
    /// One event a request.
    Single,
    /// Up to 500 events a request.
    Batched,
}

impl Mode {
    const fn most(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Batched => 500,
        }
    }

    const fn connections(self) -> usize {
        match self {
            Self::Single => CONNECTIONS,
            Self::Batched => 16,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Single => "ingest, one event a request",
            Self::Batched => "ingest, up to 500 events a request",
        }
    }

    fn bar(self) -> Bar {
        let rate = match self {
            Self::Single => 25_000.0,
            Self::Batched => 60_000.0,
        };
        Bar { rate, said: format!("{rate:.0} events taken in a second") }
    }
}

/// Whether every message has its event.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    let reports = run::on_stage(options.minutes, async |stage| measure(&options, stage).await).await?;
    reports.values().for_each(Report::print);
    Ok(reports.values().all(Report::is_right))
}

async fn measure(options: &Options, stage: &mut Stage) -> anyhow::Result<BTreeMap<Mode, Report<Round>>> {
    let Ground { binary, services, pool } = Ground::fresh(stage).await?;
    let people = site::bar("seeding people", options.messages);
    let seeded = Seeded::make(&pool, Channel::Email, (options.messages, 0), &people).await?;
    people.finish();
    let sink = receiver::Options { receiver: Kind::Sink, latency_ms: 0 };
    let receiver = stage.receiver.insert(Receiver::start(sink).await?);
    let folder = &stage.folder;
    let site = Site { options, binary, folder, services, pool, seeded, receiver };
    let modes = options.mode.map_or_else(|| vec![Mode::Single, Mode::Batched], |mode| vec![mode]);
    let mut reports = BTreeMap::new();
    for mode in modes {
        let mut rounds = Vec::new();
        for number in 1..=options.rounds {
            println!("\n{}, round {number} of {}", mode.name(), options.rounds);
            rounds.push(site.round(&mut stage.fleet, mode).await?);
        }
        reports.insert(mode, Report::of(mode.name(), mode.bar(), rounds, &site.pool).await?);
        // What has been measured is not lost with what comes after it.
        run::write(options.json.as_deref(), &reports)?;
    }
    Ok(reports)
}

/// What all rounds share.
struct Site<'a> {
    options: &'a Options,
    binary: PathBuf,
    folder: &'a Path,
    services: Services,
    pool: PgPool,
    seeded: Seeded,
    receiver: &'a Receiver,
}

impl Site<'_> {
    async fn round(&self, fleet: &mut Fleet, mode: Mode) -> anyhow::Result<Round> {
        self.receiver.reset().await?;
        let campaign = self.sent(fleet).await?;
        self.start(fleet).await?;
        let wanted = Wanted {
            address: fleet.address(),
            path: webhooks::path(&self.seeded).await?,
            most: mode.most(),
            connections: self.options.connections.map_or(mode.connections(), Into::into),
        };
        let reported = self.meters(fleet).reported().await?;
        let before = (self.meters(fleet).read().await?, reported);
        self.receiver.hook(&wanted).await?;
        let started = Instant::now();
        self.receiver.tell().await?;
        webhooks::applied(&self.pool, self.receiver, fleet, self.options.messages).await?;
        let applied = started.elapsed();
        let after = self.meters(fleet).read().await?;
        let after = (after, self.meters(fleet).reported().await?);
        let hooked = self.receiver.hooked().await?;
        let pid = *fleet.pids()?.first().context("there is one process")?;
        let peak_rss_bytes = processes::peak_rss(pid)?;
        self.receiver.unhook().await?;
        fleet.stop().await;
        let cost = meters::cost(&before, &after, self.options.messages);
        let verdict = verify::verify(&self.pool, campaign).await?;
        let round = Round::of(&wanted, hooked, applied, cost, peak_rss_bytes, verdict);
        println!("  {}", round.said());
        Ok(round)
    }

    /// A campaign of which every message is recorded as accepted, and of whose cost nothing is left to be paid.
    async fn sent(&self, fleet: &mut Fleet) -> anyhow::Result<CampaignId> {
        let campaigns = self.seeded.campaigns(None).await?;
        self.start(fleet).await?;
        self.seeded.launch(&campaigns).await?;
        site::settled(&self.pool, fleet, &campaigns, self.options.messages).await?;
        fleet.stop().await;
        for statement in ["vacuum analyze", "checkpoint"] {
            sqlx::query(statement).execute(&self.pool).await?;
        }
        campaigns.first().copied().context("there is one campaign")
    }

    async fn start(&self, fleet: &mut Fleet) -> anyhow::Result<()> {
        let (from, tuning) = ((&self.services, &self.pool), Tuning::plain(Channel::Email));
        fleet.start(&self.binary, self.folder, from, self.receiver.url(), tuning).await
    }

    fn meters<'m>(&'m self, fleet: &'m Fleet) -> Meters<'m> {
        Meters { services: &self.services, pool: &self.pool, fleet, receiver: self.receiver }
    }
}
