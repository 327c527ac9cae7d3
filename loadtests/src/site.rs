//! One round: the bare loop, then a campaign, from its launch to the last record, by real processes; then the check.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use fanfare_engine::id::CampaignId;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::{PgPool, Row as _};
use tokio::{task::JoinSet, time::Instant};
use uuid::Uuid;

use crate::{
    api::{Access, Calls, Load},
    bare::{self, Bare, Setting},
    fleet::{Fleet, Tuning},
    meters::{self, Meters},
    older,
    otp::{Latency, Timetable},
    processes,
    proxy::Proxy,
    questions,
    receiver::Receiver,
    report::Round,
    run::Plan,
    scenario::Webhooks,
    seed::Seeded,
    services::Services,
    sink::{CONNECTIONS, Wanted},
    verify::{self, Audience},
    webhooks,
};

/// A campaign whose rows do not change for so long has come to a stop.
const STALLED: Duration = Duration::from_secs(90);
/// How often the rows are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What all rounds share.
pub(crate) struct Site<'a> {
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) binary: PathBuf,
    pub(crate) folder: &'a Path,
    pub(crate) services: Services,
    pub(crate) pool: PgPool,
    pub(crate) seeded: Seeded,
    /// On the way of the processes under test to Postgres.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) receiver: &'a Receiver,
    pub(crate) bare: Bare,
    pub(crate) setting: Setting,
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
    pub(crate) async fn round(&self, fleet: &mut Fleet) -> anyhow::Result<Round> {
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
            api: setup.api,
        };
        let from = (&self.services, &self.pool);
        fleet.start(&self.binary, self.folder, from, self.receiver.url(), tuning).await?;
        if let Some(Webhooks { most }) = setup.webhooks {
            let path = webhooks::path(&self.seeded).await?;
            let wanted = Wanted { address: fleet.address(), path, most, connections: CONNECTIONS };
            self.receiver.hook(&wanted).await?;
        }
        let load = self.load(fleet, campaigns[0]).await?;
        let snapshot = if setup.held_snapshot { Some(older::snapshot(&self.pool).await?) } else { None };
        let reported = self.meters(fleet).reported().await?;
        let before = (self.meters(fleet).read().await?, reported);
        let times = self.send(fleet, &campaigns).await?;
        let after = self.meters(fleet).read().await?;
        let after = (after, self.meters(fleet).reported().await?);
        let asked = match load {
            Some(load) => Some(load.end().await?),
            None => None,
        };
        drop(snapshot);
        let pids = fleet.pids()?;
        let peaks: Vec<u64> = pids.into_iter().map(processes::peak_rss).collect::<anyhow::Result<_>>()?;
        let timetable = setup
            .otp_per_second
            .map(|per_second| Timetable::read(&fleet.first_log()?, per_second.into()))
            .transpose()?;
        if setup.webhooks.is_some() {
            self.receiver.unhook().await?;
        }
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
            api: asked
                .map(|asked| asked.figures(&arrivals, (times.launched_us, times.done_us)))
                .transpose()?,
            bare,
        })
    }

    /// Callers of the API, if the scenario has any.
    async fn load(&self, fleet: &Fleet, campaign: CampaignId) -> anyhow::Result<Option<Load>> {
        let Some(wanted) = self.plan.setup.api else { return Ok(None) };
        let name = format!("owner-{}", campaign.uuid());
        let access = Access::make(&self.binary, self.folder, fleet.address(), &name).await?;
        let calls = Calls::prepare(&self.pool, access, campaign, self.plan.how.recipients).await?;
        Load::begin(fleet.address(), self.receiver.url(), wanted, calls).await.map(Some)
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
            let state = State::of(&self.pool, &ids).await?;
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
            || webhooks::all_applied(&self.pool, self.receiver, self.plan.how.recipients).await?)
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

/// Waits until every recipient of these campaigns has an outcome.
pub(crate) async fn settled(
    pool: &PgPool,
    fleet: &mut Fleet,
    campaigns: &[CampaignId],
    people: u64,
) -> anyhow::Result<()> {
    let ids: Vec<Uuid> = campaigns.iter().map(|campaign| campaign.uuid()).collect();
    let bar = bar("sending", people);
    let (mut last, mut changed) = (State::default(), Instant::now());
    while !last.is_done(people) {
        tokio::time::sleep(LOOK).await;
        let state = State::of(pool, &ids).await?;
        if state != last {
            (last, changed) = (state, Instant::now());
            bar.set_position(state.settled);
        }
        fleet.check()?;
        ensure!(changed.elapsed() < STALLED, "nothing has moved for {STALLED:?}: {state:?}");
    }
    bar.finish();
    Ok(())
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
    async fn of(pool: &PgPool, campaigns: &[Uuid]) -> anyhow::Result<Self> {
        let row = sqlx::query(
            "select (select bool_or(state = 'launching') from campaigns where id = any ($1)) as launching,
                    (select sum(frozen) from campaigns where id = any ($1)) as frozen,
                    count(*) filter (where done_at is null) as open,
                    coalesce(sum(accepted + failed + suppressed + unknown), 0) as settled
             from chunks where campaign_id = any ($1)",
        )
        .bind(campaigns)
        .fetch_one(pool)
        .await?;
        Ok(Self {
            launching: row.get("launching"),
            frozen: u64::try_from(row.get::<i64, _>("frozen"))?,
            open: u64::try_from(row.get::<i64, _>("open"))?,
            settled: u64::try_from(row.get::<i64, _>("settled"))?,
        })
    }

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
