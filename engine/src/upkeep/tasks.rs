//! What each task of upkeep does.

use std::{collections::BTreeMap, time::Duration};

use super::{Task, Upkeep};
use crate::{
    domain::channel::Lane,
    feedback::reconcile,
    id::{AccountId, MessageId},
    launch::{self, LaunchError, freeze::Launcher},
    store::{StoreError, StoreResult, campaigns::ChangeError},
};

/// Facts older than this are not looked at again: whatever was unknown then has been abandoned.
const OLDEST_UNKNOWN: Duration = Duration::from_secs(48 * 3_600);
/// Messages that one run asks about, or gives up.
const UNKNOWN_BATCH: i64 = 1_000;
/// Blobs that one run removes.
const CONDEMNED: i64 = 100;
/// Notifications that one statement deletes, and statements a run: the lease is renewed between runs.
const ENDED_BATCH: i64 = 5_000;
const ENDED_BATCHES: usize = 20;
/// Rows that proved something once, of each table and statement.
const SPENT_BATCH: i64 = 1_000;
/// Whoever has read a route, a launch or a request, has committed what goes over it within this.
const CHOSEN_WITHIN: Duration = Duration::from_secs(120);
/// A reader that has not come back for so long is gone.
const IDLE_READER: Duration = Duration::from_secs(600);

impl Upkeep {
    pub(super) async fn run(&self, task: Task) -> StoreResult<()> {
        match task {
            Task::FeedUrgent => self.feed(true).await,
            Task::FeedBulk => self.feed(false).await,
            Task::LaunchDue => self.launch_due().await,
            Task::Freeze => self.freeze().await,
            Task::Finish => self.finish().await,
            Task::CloseCancelled => self.store.close_cancelled(100).await.map(drop),
            Task::RepairCounters => self.repair_counters().await,
            Task::Rollups => self.rollups().await,
            Task::LookUpUnknown => self.look_up_unknown().await,
            Task::AbandonUnknown => self.abandon_unknown().await,
            Task::Reclaim => self.reclaim().await,
            // Its imports are fenced by their claims: they may outlast the duty.
            Task::TakeFiles => self.intake.drain().await,
            Task::TidyFiles => self.tidy_files().await,
            Task::Partitions => self.partitions().await,
            Task::Retention => self.retention().await,
            Task::Notifications => self.notifications().await,
            Task::Spent => self.spent().await,
            Task::DeletedAccounts => self.deleted_accounts().await,
            Task::Approvals => self.approvals().await,
            Task::AuditLog => self.store.chain_audit_logs().await,
        }
    }

    async fn launch_due(&self) -> StoreResult<()> {
        for (tenant, campaign) in self.store.due_campaigns().await? {
            match launch::launch_due(&self.store, tenant, campaign).await {
                Ok(None) => {}
                Ok(Some(_)) => tracing::info!(%campaign, "scheduled campaign launched"),
                Err(LaunchError::Change(ChangeError::Store(lost @ StoreError::Superseded(_)))) => {
                    return Err(lost);
                }
                Err(error) => {
                    tracing::error!(%error, %campaign, "a scheduled campaign cannot be launched");
                    self.store.note_refused_launch(campaign, &error.to_string()).await?;
                }
            }
        }
        Ok(())
    }

    async fn freeze(&self) -> StoreResult<()> {
        let launcher = Launcher {
            store: self.store.clone(),
            settings: self.launch.clone(),
            freezing: self.freezing.clone(),
        };
        // A few slices a run: the lease is renewed between runs.
        for _ in 0..5 {
            if !launcher.step().await? {
                break;
            }
        }
        Ok(())
    }

    async fn finish(&self) -> StoreResult<()> {
        self.store.advance_done_through().await?;
        let finished = self.store.finish_campaigns().await?;
        if finished > 0 {
            tracing::info!(campaigns = finished, "campaigns finished");
        }
        Ok(())
    }

    async fn repair_counters(&self) -> StoreResult<()> {
        for campaign in self.store.counted_campaigns().await? {
            let repaired = self.store.repair_counters(campaign).await?;
            if repaired > 0 {
                metrics::counter!(crate::metrics::REPAIRED).increment(repaired);
                tracing::warn!(%campaign, chunks = repaired, "counters differed from their rows and were put right");
            }
        }
        Ok(())
    }

    async fn rollups(&self) -> StoreResult<()> {
        // A few portions a run: the lease is renewed between runs.
        for _ in 0..20 {
            if self.store.fold_notes().await? == 0 {
                break;
            }
        }
        // One a run: a campaign of a million takes a second or two, for which its numbers stand still.
        if let Some(campaign) = self.store.unchecked_rollup().await?
            && self.store.check_rollup(campaign).await?
        {
            metrics::counter!(crate::metrics::REPAIRED).increment(1);
            tracing::warn!(%campaign, "numbers differed from their rows and are counted anew");
        }
        Ok(())
    }

    async fn look_up_unknown(&self) -> StoreResult<()> {
        // Not before a webhook could have told.
        let after = Duration::from_secs(self.settings.look_up_s);
        let unknown = self.store.unknown_messages(after, OLDEST_UNKNOWN, UNKNOWN_BATCH).await?;
        let mut by_account: BTreeMap<AccountId, Vec<MessageId>> = BTreeMap::new();
        let mut since = jiff::Timestamp::MAX;
        for message in unknown {
            since = since.min(message.at);
            by_account.entry(message.account).or_default().push(message.message);
        }
        for (account, messages) in by_account {
            let Some(handle) = self.accounts.get(account) else { continue };
            match reconcile::look_up(&self.store, handle.adapter.as_ref(), account, &messages, since).await {
                Ok(resolved) => {
                    tracing::info!(%account, asked = messages.len(), resolved, "asked about unknown messages")
                }
                Err(error) => {
                    tracing::warn!(%error, %account, "the provider could not be asked about unknown messages")
                }
            }
        }
        Ok(())
    }

    async fn abandon_unknown(&self) -> StoreResult<()> {
        let deadline = Duration::from_secs(self.settings.unknown_deadline_s);
        let late = self.store.unknown_messages(deadline, OLDEST_UNKNOWN, UNKNOWN_BATCH).await?;
        if !late.is_empty() {
            tracing::warn!(
                messages = late.len(),
                "unknown messages were given up: no confirmation came in time"
            );
            self.store.abandon(&late).await?;
        }
        Ok(())
    }

    async fn reclaim(&self) -> StoreResult<()> {
        for lane in Lane::all() {
            // What was read and not acknowledged within a lease is taken out: the feeder adds it again if it is still
            // due. As long as it stands in the lane, nobody else gets to know of a dead worker's chunk.
            let reclaimed = match self.queue.reclaim(lane, &self.process.to_string(), self.lease, 100).await {
                Ok(deliveries) => deliveries,
                Err(error) => {
                    tracing::debug!(%error, %lane, "no hints reclaimed");
                    continue;
                }
            };
            let entries: Vec<_> = reclaimed.into_iter().map(|delivery| delivery.entry).collect();
            if let Err(error) = self.queue.done(lane, &entries).await {
                tracing::debug!(%error, %lane, "reclaimed hints could not be taken out");
            }
            if let Err(error) = self.queue.forget_consumers(lane, IDLE_READER).await {
                tracing::debug!(%error, %lane, "idle readers could not be forgotten");
            }
        }
        Ok(())
    }

    async fn tidy_files(&self) -> StoreResult<()> {
        let forgotten = self.store.forget_unreceived().await?;
        if forgotten > 0 {
            tracing::info!(files = forgotten, "files that nobody sent to their end were forgotten");
        }
        for blob in self.store.condemned_blobs(CONDEMNED).await? {
            match self.intake.blobs.remove(blob).await {
                Ok(()) => self.store.forget_blob(blob).await?,
                // Its row stays, so the next run tries again.
                Err(error) => {
                    tracing::warn!(%error, blob = %blob.id, "the bytes of a file could not be removed")
                }
            }
        }
        Ok(())
    }

    async fn partitions(&self) -> StoreResult<()> {
        let made = self.store.ensure_partitions().await?;
        if made > 0 {
            tracing::info!(partitions = made, "partitions made ahead");
        }
        Ok(())
    }

    async fn retention(&self) -> StoreResult<()> {
        for partition in self.store.drop_partitions(self.settings.retention_months).await? {
            tracing::info!(partition, "partition dropped: its campaigns are past the retention");
        }
        self.store.forget_account_hours(self.settings.retention_months).await
    }

    async fn notifications(&self) -> StoreResult<()> {
        for _ in 0..ENDED_BATCHES {
            if self.store.delete_ended_notifications(ENDED_BATCH).await? < ENDED_BATCH.unsigned_abs() {
                break;
            }
        }
        Ok(())
    }

    async fn spent(&self) -> StoreResult<()> {
        for _ in 0..ENDED_BATCHES {
            if self.store.delete_spent(SPENT_BATCH).await? < SPENT_BATCH.unsigned_abs() {
                break;
            }
        }
        Ok(())
    }

    async fn deleted_accounts(&self) -> StoreResult<()> {
        // Until then a webhook, or the provider when asked, may still tell what became of a message.
        let after = Duration::from_secs(self.settings.unknown_deadline_s) + CHOSEN_WITHIN;
        let forgotten = self.store.forget_deleted_accounts(after).await?;
        if forgotten > 0 {
            tracing::info!(accounts = forgotten, "the secrets of deleted accounts are gone");
        }
        Ok(())
    }

    async fn approvals(&self) -> StoreResult<()> {
        for account in self.store.accounts_to_ask().await? {
            let handle = self.accounts.get(account);
            let Some(desk) = handle.as_ref().and_then(|handle| handle.adapter.templates()) else {
                // This process does not have it, or can't ask it: others are not to wait behind it.
                self.store.note_asked(account).await?;
                continue;
            };
            match desk.list(self.store.now().await?).await {
                Ok(listed) => self.store.note_listed(account, &listed).await?,
                Err(error) => {
                    tracing::warn!(%error, %account, "where the account's templates stand could not be asked");
                    self.store.note_asked(account).await?;
                }
            }
        }
        Ok(())
    }
}
