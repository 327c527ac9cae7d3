//! The keeper: what a process does for its accounts beside handing out permits.
//!
//! - Ten times a second it looks at Redis' clock. Three failures in a row over 300 ms mean that it is cut off.
//! - Four times a second, and after every refusal, it reads the rows of its accounts. Cut off, it moves them to
//!   Postgres, and reports each second that it still is; when nobody has reported for 5 s, it moves them back.
//! - It writes refusals down, and once a second what the long windows hold.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Registry, account::Refusals, pacer::Shared, source::Sources};
use crate::{
    id::AccountId,
    store::{StoreResult, pace::Source},
};

const CLOCK_EVERY: Duration = Duration::from_millis(100);
const ROWS_EVERY: Duration = Duration::from_millis(250);
const USED_EVERY: Duration = Duration::from_secs(1);
/// Cut off: so many failures in a row, over so long. A process that was stopped fails once when it wakes.
const CUT_AFTER: (u32, Duration) = (3, Duration::from_millis(300));
/// A statement that takes longer tells nothing about now any more.
const STATEMENT_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) registry: Arc<Registry>,
    pub(super) sources: Arc<Sources>,
    pub(super) wake: Arc<Notify>,
    pub(super) closed: CancellationToken,
    pub(super) cut: AtomicBool,
}

impl Keeper {
    #[expect(clippy::disallowed_methods, reason = "they end with the limiter, whose token they hold")]
    pub(super) fn start(self: Arc<Self>) {
        let closed = self.closed.clone();
        let (clock, rows, used) = (Arc::clone(&self), Arc::clone(&self), self);
        tokio::spawn(closed.clone().run_until_cancelled_owned(async move { clock.watch_clock().await }));
        tokio::spawn(closed.clone().run_until_cancelled_owned(async move { rows.watch_rows().await }));
        tokio::spawn(closed.run_until_cancelled_owned(async move { used.keep_used().await }));
    }

    async fn watch_clock(&self) {
        let mut ticks = interval(CLOCK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut failures, mut failing_since) = (0, Instant::now());
        loop {
            ticks.tick().await;
            let begun = Instant::now();
            if self.sources.look_at_clock().await {
                failures = 0;
                self.note_cut(false);
                continue;
            }
            if failures == 0 {
                failing_since = begun;
            }
            failures += 1;
            if failures >= CUT_AFTER.0 && failing_since.elapsed() >= CUT_AFTER.1 {
                self.note_cut(true);
            }
        }
    }

    fn note_cut(&self, cut: bool) {
        if self.cut.swap(cut, Ordering::AcqRel) != cut {
            if cut {
                tracing::warn!("Redis cannot be reached: permits will come from Postgres");
            } else {
                tracing::info!("Redis can be reached again");
            }
            self.wake.notify_one();
        }
    }

    async fn watch_rows(&self) {
        let mut ticks = interval(ROWS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.wake.notified() => {}
            }
            match timeout(STATEMENT_WITHIN, self.look_at_rows()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the pace of the accounts could not be read"),
                Err(_) => tracing::debug!("the pace of the accounts could not be read in time"),
            }
        }
    }

    async fn look_at_rows(&self) -> StoreResult<()> {
        let pacers = self.registry.all();
        for shared in &pacers {
            let Some(refusals) = shared.account.take_refusals() else { continue };
            // Written within the statement's time, or noted again: a cancelled attempt must not lose them.
            let written = timeout(STATEMENT_WITHIN / 2, self.write_refusals(shared, refusals)).await;
            if !matches!(written, Ok(Ok(()))) {
                shared.account.put_back(refusals);
            }
        }
        let ids: Vec<AccountId> = pacers.iter().map(|shared| shared.account.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        if pacers.iter().any(|shared| shared.account.row().is_none()) {
            self.sources.store.ensure_pace(&ids).await?;
        }
        if self.read_rows(&pacers, &ids).await? {
            self.read_rows(&pacers, &ids).await?;
        }
        Ok(())
    }

    /// Reads the rows, and changes their source where that is due; answers whether it did.
    async fn read_rows(&self, pacers: &[Arc<Shared>], ids: &[AccountId]) -> StoreResult<bool> {
        let looked_at = Instant::now();
        let rows = self.sources.store.pace_rows(ids).await?;
        let (mut on_redis, mut on_postgres) = (Vec::new(), Vec::new());
        for row in rows {
            let Some(shared) = pacers.iter().find(|shared| shared.account.id == row.account) else {
                continue;
            };
            shared.account.learn(row, looked_at);
            if shared.account.limits.is_some() {
                match row.source {
                    Source::Redis => on_redis.push(row.account),
                    Source::Postgres => on_postgres.push(row.account),
                }
            }
        }
        let store = &self.sources.store;
        if self.cut.load(Ordering::Acquire) {
            if !on_postgres.is_empty() {
                store.report_cut(&on_postgres).await?;
            }
            return Ok(!on_redis.is_empty() && store.leave_redis(&on_redis).await? > 0);
        }
        Ok(!on_postgres.is_empty() && store.return_to_redis(&on_postgres).await? > 0)
    }

    async fn write_refusals(&self, shared: &Shared, refusals: Refusals) -> StoreResult<()> {
        let (account, Refusals { generation, block_until }) = (&shared.account, refusals);
        let wait = block_until.map(|until| until.saturating_duration_since(Instant::now()));
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            self.sources.block(account, wait).await;
            self.sources.store.block_pace(account.id, wait).await?;
        }
        if let (Some(generation), Some(limits)) = (generation, &account.limits)
            && self.sources.store.lower_pace(account.id, generation, limits.per_second()).await?
        {
            tracing::info!(account = %account.id, "the provider throttles: the account's pace is lowered for all");
        }
        Ok(())
    }

    /// Keeps what the long windows hold where Redis can't lose it.
    async fn keep_used(&self) {
        let mut ticks = interval(USED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for shared in self.registry.all() {
                let account = &shared.account;
                let (Some(limits), Some(row)) = (&account.limits, account.row()) else { continue };
                if limits.long().is_empty() || row.source != Source::Redis {
                    continue;
                }
                let held = self.sources.redis.windows(account.id, limits, row.epoch).await;
                if let Ok(Some(windows)) = held
                    && let Err(error) = self.sources.store.keep_used(account.id, row.epoch, &windows).await
                {
                    tracing::debug!(%error, account = %account.id, "the long windows could not be kept");
                }
            }
        }
    }
}
