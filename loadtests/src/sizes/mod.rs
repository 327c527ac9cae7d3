//! The API on a large database: how fast a million contacts come in by one request, and how long its questions take where
//! there are millions of messages and campaigns.
//!
//! Contacts come in as any program would send them; messages and campaigns are put into the rows by SQL ([`seed`]), since
//! sending them would take hours. The numbers of the campaign that is asked about are counted by the engine itself, from its
//! events. Questions are asked one after the other over one connection, each with other values every time.

mod bulk;
mod probes;
mod seed;

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use fanfare_engine::domain::channel::Channel;
use serde::Serialize;
use sqlx::PgPool;
use tokio::time::Instant;

use crate::{
    api::{self, Access},
    fleet::{Fleet, Tuning},
    receiver::{self, Kind, Receiver},
    run::{self, Ground, Stage},
    seed::Seeded,
    services::Services,
    site,
    trial::{Bar, Report},
};

/// Messages of a campaign are read to their hundredth page; and a body holds 1 GiB.
const CONTACTS: RangeInclusive<u64> = 2_000..=3_000_000;
/// Messages that one person gets: their campaigns are 28 days apart, and what is older than 13 months is dropped.
const EACH: u64 = 12;
const MESSAGES: RangeInclusive<u64> = 2_000..=EACH * 3_000_000;
const CAMPAIGNS: RangeInclusive<u64> = 1_000..=10_000_000;
/// Campaigns of one tenant: a list is counted, and read by page, so far.
const LISTED: u64 = 100_000;
const TENANTS: RangeInclusive<u64> = 1..=100_000;
/// A million contacts in a minute.
const CONTACTS_PER_SECOND: f64 = 1_000_000.0 / 60.0;
/// How long the engine may take to count the events of the campaign.
const COUNTED_WITHIN: Duration = Duration::from_mins(10);

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Contacts that come in, and recipients of each campaign with messages.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(CONTACTS))]
    contacts: u64,
    /// Messages that are searched, of as many campaigns to everybody as it takes.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(MESSAGES))]
    messages: u64,
    /// Campaigns that are listed.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(CAMPAIGNS))]
    campaigns: u64,
    /// Tenants that have them.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(TENANTS))]
    tenants: u64,
    /// Every question so many times a round.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(50..=10_000))]
    times: u64,
    /// Contacts come in, and questions are asked, so many times; the reports are the medians.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    rounds: u16,
    /// Where the figures go, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The run is given up after so many minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
}

impl Options {
    /// Refuses what cannot be filled or asked about, before anything is started.
    fn check(&self) -> anyhow::Result<()> {
        let Self { contacts, messages, campaigns, tenants, .. } = *self;
        let each = messages / contacts;
        ensure!(
            (1..=EACH).contains(&each),
            "--messages must be 1 to {EACH} times --contacts, and {messages} is {each} times {contacts}"
        );
        let listed = campaigns / tenants;
        ensure!(
            (1..=LISTED).contains(&listed) && campaigns <= LISTED * tenants,
            "--campaigns must be 1 to {LISTED} times --tenants, and {campaigns} is {listed} times {tenants}"
        );
        Ok(())
    }
}

#[derive(Debug, Serialize)]
struct Reports {
    bulk: Report<bulk::Round>,
    questions: Report<probes::Round>,
}

/// Whether everything came in and was found.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    options.check()?;
    let reports = run::on_stage(options.minutes, async |stage| measure(&options, stage).await).await?;
    reports.bulk.print();
    reports.questions.print();
    run::write(options.json.as_deref(), &reports)?;
    Ok(reports.bulk.is_right() && reports.questions.is_right())
}

async fn measure(options: &Options, stage: &mut Stage) -> anyhow::Result<Reports> {
    let Ground { binary, services, pool } = Ground::fresh(stage).await?;
    // The tenant and its templates, and nobody else.
    Seeded::make(&pool, Channel::Email, (0, 0), &site::bar("seeding people", 0)).await?;
    let sink = receiver::Options { receiver: Kind::Sink, latency_ms: 0 };
    let receiver = stage.receiver.insert(Receiver::start(sink).await?);
    let folder = stage.folder.as_path();
    let site = Site { options, binary, folder, services, pool, receiver };
    let fleet = &mut stage.fleet;
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        let access = site.start(fleet, &format!("bulk-{number}")).await?;
        let round = bulk::round(&site, fleet, &access).await?;
        println!("  bulk, round {number} of {}: {:.1} s", options.rounds, round.seconds());
        rounds.push(round);
        fleet.stop().await;
    }
    let said = format!("{CONTACTS_PER_SECOND:.0} contacts a second: a million in 60 s");
    let bar = Bar { rate: CONTACTS_PER_SECOND, said };
    let bulk = Report::of("api-size, POST /api/contacts/bulk", bar, rounds, &site.pool).await?;
    let large = seed::fill(&site.pool, options).await?;
    let access = site.start(fleet, "questions").await?;
    site.counted(fleet, &large).await?;
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        println!("  questions, round {number} of {}", options.rounds);
        rounds.push(probes::round(&site, fleet, &access, &large).await?);
    }
    fleet.stop().await;
    let bar = Bar { rate: 1.0, said: "every question within its time at the 99th percentile".to_owned() };
    let questions = Report::of("api-size, questions", bar, rounds, &site.pool).await?;
    Ok(Reports { bulk, questions })
}

/// What all rounds share.
struct Site<'a> {
    options: &'a Options,
    binary: PathBuf,
    folder: &'a Path,
    services: Services,
    pool: PgPool,
    receiver: &'a Receiver,
}

impl Site<'_> {
    /// A `fanfare serve`, and a way into it. Callers are not to be held up by limits.
    async fn start(&self, fleet: &mut Fleet, owner: &str) -> anyhow::Result<Access> {
        let wanted = api::Wanted { per_second: 100_000, send_wait_ms: None };
        let tuning = Tuning { api: Some(wanted), ..Tuning::plain(Channel::Email) };
        let from = (&self.services, &self.pool);
        fleet.start(&self.binary, self.folder, from, self.receiver.url(), tuning).await?;
        Access::make(&self.binary, self.folder, fleet.address(), owner).await
    }

    /// Waits until the engine has counted the events of the campaign, and tidies up after the seeding.
    async fn counted(&self, fleet: &mut Fleet, large: &seed::Large) -> anyhow::Result<()> {
        let until = Instant::now() + COUNTED_WITHIN;
        let delivered = "select coalesce(sum(recipients), 0)::bigint from campaign_hours
                         where campaign_id = $1 and measure = 'delivered'";
        let wanted = i64::try_from(self.options.contacts)?;
        while sqlx::query_scalar::<_, i64>(delivered)
            .bind(large.campaign.uuid())
            .fetch_one(&self.pool)
            .await?
            != wanted
        {
            fleet.check()?;
            ensure!(Instant::now() < until, "the events were not counted within {COUNTED_WITHIN:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        for statement in ["vacuum analyze", "checkpoint"] {
            sqlx::query(statement).execute(&self.pool).await.context(statement)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    /// What is said of these options; nothing of those that are taken.
    fn said(line: &str) -> String {
        match Line::try_parse_from(std::iter::once("api-size").chain(line.split_whitespace())) {
            Ok(Line { options }) => options.check().err().map(|error| error.to_string()).unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn sizes_that_cannot_be_filled_are_refused_by_name() {
        for taken in [
            "",
            "--contacts 2000 --messages 24000 --campaigns 1000 --tenants 1",
            "--contacts 3000000 --messages 36000000",
            "--campaigns 100000 --tenants 1",
            "--campaigns 10000000 --tenants 100000",
            "--campaigns 100000 --tenants 100000",
        ] {
            assert_eq!(said(taken), "", "{taken}");
        }
        for (line, named) in [
            ("--contacts 1999", "2000..=3000000"),
            ("--contacts 3000001", "2000..=3000000"),
            ("--messages 36000001", "36000000"),
            ("--contacts 2000 --messages 26000", "1 to 12 times --contacts"),
            ("--contacts 2000 --messages 1000", "2000..="),
            ("--contacts 3000 --messages 2000", "1 to 12 times --contacts"),
            ("--tenants 100001", "1..=100000"),
            ("--tenants 0", "1..=100000"),
            ("--campaigns 10000001", "10000000"),
            ("--campaigns 1000 --tenants 1001", "1 to 100000 times --tenants"),
            ("--campaigns 100001 --tenants 1", "1 to 100000 times --tenants"),
        ] {
            assert!(said(line).contains(named), "{line}: {}", said(line));
        }
    }
}
