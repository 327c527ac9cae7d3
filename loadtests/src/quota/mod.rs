//! Is the quota of an account kept, and is it used?
//!
//! One account of 1,000 requests a second, four `fanfare serve`, one campaign. While it runs, at fixed points, a process is
//! stopped and goes on ([`faults`]), Redis forgets everything, and one process is cut off from Redis. The sink's log tells
//! when each request arrived ([`arrivals`]): never more than the quota in any second, whatever happens, and nearly all of
//! it where nothing does.
//!
//! What a stopped process had on its way when its lease ended is sent again by another under the same idempotency key,
//! which the provider turns down. The sink does not: such requests are counted, and told apart from duplicates by their key.

mod arrivals;
mod faults;
mod report;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use fanfare_engine::{domain::channel::Channel, id::CampaignId};
use sqlx::PgPool;
use tokio::time::Instant;

use self::{
    arrivals::{Arrivals, Span},
    faults::{Faults, Struck},
    report::{Report, Round},
};
use crate::{
    fleet::{self, Crew, Fleet, Tuning},
    machine::{self, Machine},
    proxy::Proxy,
    receiver::{self, Kind, Receiver},
    report::figures,
    run::{self, Ground, Stage},
    seed::Seeded,
    services::Services,
    site,
    verify::{self, Audience},
};

/// Requests a second.
const QUOTA: u32 = 1_000;
const PROCESSES: usize = 4;
/// After the first message, and before the last: an account begins and ends with what one process has.
const EDGE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// People that the campaign goes to: a second for every thousand. Fewer would leave no time between the faults.
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(30_000..=3_600_000))]
    recipients: u64,
    /// Campaigns, one after the other; each strikes other processes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    rounds: u16,
    /// Where the figures go, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The run is given up after so many minutes.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

/// Whether every message was right and the quota was kept.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    let report = run::on_stage(options.minutes, async |stage| measure(&options, stage).await).await?;
    report.print();
    run::write(options.json.as_deref(), &report)?;
    Ok(report.is_clean())
}

async fn measure(options: &Options, stage: &mut Stage) -> anyhow::Result<Report> {
    let Ground { binary, services, pool } = Ground::fresh(stage).await?;
    let bar = site::bar("seeding people", options.recipients);
    let seeded = Seeded::make(&pool, Channel::Email, (options.recipients, 0), &bar).await?;
    bar.finish();
    let sink = receiver::Options { receiver: Kind::Sink, latency_ms: 0 };
    let receiver = stage.receiver.insert(Receiver::start(sink).await?);
    let people = options.recipients;
    let site = Site { people, binary, folder: &stage.folder, services, pool, seeded, receiver };
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        println!("\nround {number} of {}", options.rounds);
        rounds.push(site.round(&mut stage.fleet, number.into()).await?);
    }
    Ok(Report {
        figures: figures(&rounds)?,
        quota: QUOTA,
        recipients: people,
        processes: PROCESSES,
        date: run::date(&site.pool).await?,
        machine: Machine::this(),
        commit: machine::commit(),
        rounds,
    })
}

/// What all rounds share.
struct Site<'a> {
    people: u64,
    binary: PathBuf,
    folder: &'a Path,
    services: Services,
    pool: PgPool,
    seeded: Seeded,
    receiver: &'a Receiver,
}

impl Site<'_> {
    async fn round(&self, fleet: &mut Fleet, number: usize) -> anyhow::Result<Round> {
        self.receiver.reset().await?;
        let campaigns = self.seeded.campaigns(None).await?;
        // From round to round every process is stopped once, and cut off once.
        let (stopped, cut_off) = (number % PROCESSES, (number + 1) % PROCESSES);
        let mut proxy = Proxy::start(self.services.redis_address()?, Duration::ZERO)?;
        fleet.serve(&self.crew(cut_off, &proxy)).await?;
        let mut faults = Faults {
            receiver: self.receiver,
            services: &self.services,
            proxy: &mut proxy,
            stopped: (stopped, *fleet.pids()?.get(stopped).context("there are four")?),
            cut_off,
        };
        self.seeded.launch(&campaigns).await?;
        let (launched, launched_us) = (Instant::now(), self.receiver.clock_us().await?);
        let ((), struck) = tokio::try_join!(
            site::settled(&self.pool, fleet, &campaigns, self.people),
            faults.strike(launched, Duration::from_secs(self.people / u64::from(QUOTA))),
        )?;
        let recorded = launched.elapsed();
        fleet.stop().await;
        self.judge(&campaigns, launched_us, recorded, &struck).await
    }

    fn crew<'c>(&'c self, cut_off: usize, proxy: &Proxy) -> Crew<'c> {
        let tuning = Tuning { workers: PROCESSES, quota: Some(QUOTA), ..Tuning::plain(Channel::Email) };
        Crew {
            binary: &self.binary,
            folder: self.folder,
            services: &self.services,
            pool: &self.pool,
            receiver_url: self.receiver.url(),
            tuning,
            accounts: vec![fleet::account(self.receiver.url(), tuning)],
            redis: Some((cut_off, proxy.address())),
        }
    }

    async fn judge(
        &self,
        campaigns: &[CampaignId],
        launched_us: u64,
        recorded: Duration,
        struck: &[Struck],
    ) -> anyhow::Result<Round> {
        let bar = site::bar("checking messages", self.people);
        let audience =
            Audience { channel: Channel::Email, people: self.people, fail_percent: 0, delivered: false };
        let (verdict, _) = verify::verify(&self.pool, self.receiver, campaigns, audience, &bar).await?;
        bar.finish();
        let arrivals = Arrivals::read(self.receiver, launched_us).await?;
        let whole = arrivals.whole().context("nothing was sent")?;
        ensure!(
            struck.iter().all(|struck| struck.to_us < whole.to_us),
            "the campaign ended before all faults had come"
        );
        let disturbed: Vec<Span> = struck.iter().map(|struck| struck.disturbed()).collect();
        Ok(Round::of(&arrivals, &whole.without(&disturbed, EDGE), struck, verdict, recorded))
    }
}
