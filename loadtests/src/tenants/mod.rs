//! Does a tenant that has to wait hold up the others?
//!
//! Ten tenants, each with an account of its own, launch a campaign at the same moment. Nine of the accounts have no limit;
//! the tenth has none either, or 50 requests a second, or its tenant does not launch at all. What is compared is how fast
//! the nine are: beside a tenth that waits they should be no slower than beside one that takes its share, and about as
//! fast as alone. The three follow each other in every round, each time another first.
//!
//! The tenth sends to a sink of its own, so that the log of the other holds the nine and nobody else.

mod report;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use fanfare_engine::{domain::channel::Channel, id::CampaignId};
use futures::future;
use sqlx::PgPool;
use tokio::time::Instant;

use self::report::{Measured, Report, Round, Tenth};
use crate::{
    bare::per,
    fleet::{self, Crew, Fleet, Tuning},
    machine::{self, Machine},
    receiver::{self, Kind, Receiver},
    report::figures,
    run::{self, Ground, Stage},
    seed::{self, Seeded},
    services::Services,
    site,
    verify::{self, Audience, Verdict},
};

const NINE: u64 = 9;
/// Requests a second of the tenth, when it is throttled.
const THROTTLE: u32 = 50;

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// People, a tenth of them each tenant's.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(20_000..=10_000_000))]
    recipients: u64,
    /// How often each of the three is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=50))]
    rounds: u16,
    /// `fanfare serve` processes. In a single one all tenants meet.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Where the figures go, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The run is given up after so many minutes.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

/// What the tenth does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TenthIs {
    Free,
    Throttled,
    Absent,
}

/// Whether every message was right, and the throttled account never exceeded.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    let report = run::on_stage(options.minutes, async |stage| measure(&options, stage).await).await?;
    report.print();
    run::write(options.json.as_deref(), &report)?;
    Ok(report.is_clean())
}

async fn measure(options: &Options, stage: &mut Stage) -> anyhow::Result<Report> {
    let Ground { binary, services, pool } = Ground::fresh(stage).await?;
    let each = options.recipients / (NINE + 1);
    let slugs: Vec<String> = (1..=NINE).map(|number| format!("tenant-{number}")).collect();
    let bar = site::bar("seeding people", NINE * each);
    let tenth = Seeded::make(&pool, Channel::Email, (each, 0), &bar).await?;
    let nine = Seeded::several(&pool, Channel::Email, &slugs, each, &bar).await?;
    bar.finish();
    let sink = receiver::Options { receiver: Kind::Sink, latency_ms: 0 };
    // Ends with this function, as its standard input does.
    let of_tenth = Receiver::start(sink).await?;
    let receiver = stage.receiver.insert(Receiver::start(sink).await?);
    let folder = &stage.folder;
    let workers = options.workers.into();
    let site = Site { each, workers, binary, folder, services, pool, slugs, nine, tenth, receiver, of_tenth };
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        println!("\nround {number} of {}", options.rounds);
        rounds.push(site.round(&mut stage.fleet, number.into()).await?);
    }
    site.of_tenth.stop().await;
    Ok(Report {
        figures: figures(&rounds)?,
        recipients: options.recipients,
        throttle: THROTTLE,
        workers: options.workers,
        date: run::date(&site.pool).await?,
        machine: Machine::this(),
        commit: machine::commit(),
        rounds,
    })
}

/// What all rounds share.
struct Site<'a> {
    /// People of a tenant.
    each: u64,
    workers: usize,
    binary: PathBuf,
    folder: &'a Path,
    services: Services,
    pool: PgPool,
    /// Names of the nine.
    slugs: Vec<String>,
    nine: Vec<Seeded>,
    tenth: Seeded,
    receiver: &'a Receiver,
    of_tenth: Receiver,
}

/// The campaigns of one measurement.
struct Campaigns {
    nine: Vec<CampaignId>,
    tenth: Option<CampaignId>,
}

impl Site<'_> {
    async fn round(&self, fleet: &mut Fleet, number: usize) -> anyhow::Result<Round> {
        let mut order = [TenthIs::Free, TenthIs::Throttled, TenthIs::Absent];
        order.rotate_left(number % 3);
        let mut measured = Vec::new();
        for tenth in order {
            let one = self.one(fleet, tenth).await?;
            println!("  the nine, beside a tenth that is {tenth:?}: {:.0}/s", one.messages_per_second);
            measured.push((tenth, one));
        }
        let of = |wanted| {
            let found = measured.iter().find(|(tenth, _)| *tenth == wanted);
            found.map(|(_, measured)| measured.clone()).context("each is measured once")
        };
        Ok(Round::of(of(TenthIs::Free)?, of(TenthIs::Throttled)?, of(TenthIs::Absent)?))
    }

    async fn one(&self, fleet: &mut Fleet, tenth: TenthIs) -> anyhow::Result<Measured> {
        self.receiver.reset().await?;
        self.of_tenth.reset().await?;
        // What the one before has left to be written is not for this one to wait for.
        sqlx::query("checkpoint").execute(&self.pool).await?;
        let campaigns = self.campaigns(tenth).await?;
        fleet.serve(&self.crew(tenth)).await?;
        let begun_us = self.receiver.clock_us().await?;
        let begun = Instant::now();
        self.launch(&campaigns).await?;
        site::settled(&self.pool, fleet, &campaigns.nine, NINE * self.each).await?;
        let recorded = begun.elapsed();
        let seen_of_tenth = self.tenth(tenth).await?;
        if let Some(campaign) = campaigns.tenth {
            if tenth == TenthIs::Throttled {
                self.tenth.cancel(campaign).await?;
            }
            // Also what follows from a cancellation is over before anything else is measured.
            site::settled(&self.pool, fleet, &[campaign], self.each).await?;
        }
        fleet.stop().await;
        let verdict = self.verify(&campaigns.nine, self.receiver, NINE * self.each).await?;
        let of_tenth = match campaigns.tenth {
            Some(campaign) if tenth == TenthIs::Free => {
                self.verify(&[campaign], &self.of_tenth, self.each).await?
            }
            _ => Verdict::default(),
        };
        ensure!(of_tenth.is_clean(), "the tenth, which nothing holds up, was sent wrong: {of_tenth:?}");
        let last_us = self.receiver.summary().await?.lanes.iter().filter_map(|lane| lane.last_us).max();
        let took = Duration::from_micros(last_us.context("nothing was sent")?.saturating_sub(begun_us));
        Ok(Measured {
            messages_per_second: per(NINE * self.each, took),
            seconds: took.as_secs_f64(),
            recorded_seconds: recorded.as_secs_f64(),
            tenth: seen_of_tenth,
            verdict,
        })
    }

    async fn campaigns(&self, tenth: TenthIs) -> anyhow::Result<Campaigns> {
        let nine = future::try_join_all(self.nine.iter().map(|tenant| tenant.campaigns(None))).await?;
        let tenth = match tenth {
            TenthIs::Absent => None,
            TenthIs::Free | TenthIs::Throttled => self.tenth.campaigns(None).await?.first().copied(),
        };
        Ok(Campaigns { nine: nine.into_iter().flatten().collect(), tenth })
    }

    /// All at once, as far as connections allow; the tenth is the first.
    async fn launch(&self, campaigns: &Campaigns) -> anyhow::Result<()> {
        let nine = self.nine.iter().zip(&campaigns.nine);
        let tenth = campaigns.tenth.iter().map(|campaign| (&self.tenth, campaign));
        let launches =
            tenth.chain(nine).map(|(tenant, campaign)| tenant.launch(std::slice::from_ref(campaign)));
        future::try_join_all(launches).await?;
        Ok(())
    }

    fn crew(&self, tenth: TenthIs) -> Crew<'_> {
        let tuning = Tuning { workers: self.workers, ..Tuning::plain(Channel::Email) };
        let throttle = (tenth == TenthIs::Throttled).then_some(THROTTLE);
        let account = |tenant: &str, receiver: &Receiver, quota| {
            let mut account = fleet::account(receiver.url(), Tuning { quota, ..tuning });
            account["tenant"] = tenant.into();
            account
        };
        let mut accounts = vec![account(seed::TENANT, &self.of_tenth, throttle)];
        accounts.extend(self.slugs.iter().map(|slug| account(slug, self.receiver, None)));
        Crew {
            binary: &self.binary,
            folder: self.folder,
            services: &self.services,
            pool: &self.pool,
            receiver_url: self.receiver.url(),
            tuning,
            accounts,
            redis: None,
        }
    }

    /// How far the tenth has come.
    async fn tenth(&self, tenth: TenthIs) -> anyhow::Result<Tenth> {
        let lanes = self.of_tenth.summary().await?.lanes;
        let seen = Tenth {
            messages: lanes.iter().map(|lane| lane.messages).sum(),
            most_requests_in_a_second: lanes.iter().map(|lane| lane.max_requests_in_a_second).sum(),
        };
        ensure!(
            tenth != TenthIs::Throttled || (1..self.each).contains(&seen.messages),
            "the throttled campaign did not send beside the nine the whole time: {} of {}",
            seen.messages,
            self.each
        );
        Ok(seen)
    }

    async fn verify(
        &self,
        campaigns: &[CampaignId],
        receiver: &Receiver,
        people: u64,
    ) -> anyhow::Result<Verdict> {
        let bar = site::bar("checking messages", people);
        let audience = Audience { channel: Channel::Email, people, fail_percent: 0, delivered: false };
        let (verdict, _) = verify::verify(&self.pool, receiver, campaigns, audience, &bar).await?;
        bar.finish();
        Ok(verdict)
    }
}
