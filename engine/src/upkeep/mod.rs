//! Upkeep: reconcilers without input, each idempotent, each owned by one process at a time.
//!
//! A task looks at the rows, sees what is not as it should be, and puts that right; it keeps nothing in memory that
//! matters. Whatever was lost (a hint, a process, a webhook) comes back here. The owner of a task holds its lease row,
//! ten seconds by the database's clock, renewed every three (the feeder's: one second); when the owner dies another
//! process takes over. The owner's writes check that it still is the owner (`store::duties`), so one that wakes after its
//! lease changes nothing.
//!
//! [`TASKS`] lists them all: name, role, period, what it does.

mod feed;
mod tasks;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::feed::FeedSettings;
use crate::{
    contacts::intake::Intake,
    deliver::accounts::Accounts,
    id::ProcessId,
    launch::freeze::{Freezing, LaunchSettings},
    queue::Queue,
    store::{Store, StoreResult, duties::DutyProof},
};

const LEASE: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(3);
/// Lanes run dry within a second or two: a feeder that stands still is replaced before that.
const FEED_LEASE: Duration = Duration::from_millis(1_000);
const FEED_RENEW: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpkeepSettings {
    /// After this an unknown message that nobody confirmed is given up, in seconds.
    pub unknown_deadline_s: u64,
    /// The age at which a provider that can be asked is first asked about an unknown message, in seconds. How often it is
    /// asked follows from how many questions it takes.
    pub look_up_s: u64,
    /// Months after which the rows of old campaigns are dropped.
    pub retention_months: i32,
}

impl Default for UpkeepSettings {
    fn default() -> Self {
        Self { unknown_deadline_s: 3_600, look_up_s: 5, retention_months: 13 }
    }
}

/// What the tasks work with.
#[derive(Debug, Clone)]
pub struct Upkeep {
    pub process: ProcessId,
    pub store: Store,
    pub queue: Queue,
    pub accounts: Accounts,
    pub launch: LaunchSettings,
    /// Tells the workers of this process that an audience is being frozen.
    pub freezing: Freezing,
    pub feed: FeedSettings,
    /// How long a worker owns a chunk without a word: a hint that it has had for longer may be somebody else's.
    pub lease: Duration,
    pub settings: UpkeepSettings,
    pub intake: Intake,
}

/// Which role runs a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Scheduler,
    Upkeep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    FeedUrgent,
    FeedBulk,
    LaunchDue,
    Freeze,
    Finish,
    CloseCancelled,
    RepairCounters,
    Rollups,
    LookUpUnknown,
    AbandonUnknown,
    Reclaim,
    TakeFiles,
    TidyFiles,
    Partitions,
    Retention,
    Notifications,
    Spent,
    DeletedAccounts,
    Approvals,
    AuditLog,
}

/// Every task: the name of its lease row, who runs it, how often.
const TASKS: &[(Task, &str, Role, Duration)] = &[
    (Task::FeedUrgent, "feed_urgent", Role::Scheduler, Duration::from_millis(250)),
    (Task::FeedBulk, "feed_bulk", Role::Scheduler, Duration::from_millis(200)),
    (Task::LaunchDue, "launch_due", Role::Scheduler, Duration::from_secs(1)),
    (Task::Freeze, "freeze", Role::Scheduler, Duration::from_millis(200)),
    (Task::Finish, "finish", Role::Upkeep, Duration::from_secs(1)),
    (Task::CloseCancelled, "close_cancelled", Role::Upkeep, Duration::from_secs(1)),
    (Task::RepairCounters, "repair_counters", Role::Upkeep, Duration::from_secs(60)),
    (Task::Rollups, "rollups", Role::Upkeep, Duration::from_secs(1)),
    (Task::LookUpUnknown, "look_up_unknown", Role::Upkeep, Duration::from_secs(5)),
    (Task::AbandonUnknown, "abandon_unknown", Role::Upkeep, Duration::from_secs(30)),
    (Task::Reclaim, "reclaim", Role::Upkeep, Duration::from_secs(2)),
    (Task::TakeFiles, "take_files", Role::Upkeep, Duration::from_millis(500)),
    (Task::TidyFiles, "tidy_files", Role::Upkeep, Duration::from_secs(60)),
    (Task::Partitions, "partitions", Role::Upkeep, Duration::from_secs(3_600)),
    (Task::Retention, "retention", Role::Upkeep, Duration::from_secs(6 * 3_600)),
    (Task::Notifications, "notifications", Role::Upkeep, Duration::from_secs(60)),
    (Task::Spent, "spent", Role::Upkeep, Duration::from_secs(600)),
    (Task::DeletedAccounts, "deleted_accounts", Role::Upkeep, Duration::from_secs(30)),
    (Task::Approvals, "approvals", Role::Upkeep, Duration::from_secs(60)),
    (Task::AuditLog, "audit_log", Role::Upkeep, Duration::from_secs(1)),
];

impl Task {
    /// How long its lease lasts, and how often the holder renews it and others look whether it has ended.
    const fn lease(self) -> (Duration, Duration) {
        match self {
            Self::FeedUrgent | Self::FeedBulk => (FEED_LEASE, FEED_RENEW),
            _ => (LEASE, RENEW),
        }
    }
}

impl Upkeep {
    /// Runs the tasks of a role until `stop`.
    pub fn start(self: &Arc<Self>, role: Role, tracker: &TaskTracker, stop: &CancellationToken) {
        for &(task, name, _, period) in TASKS.iter().filter(|(_, _, of, _)| *of == role) {
            let (upkeep, stop) = (Arc::clone(self), stop.clone());
            tracker.spawn(async move { upkeep.repeat(task, name, period, stop).await });
        }
    }

    /// Every task of every role once, in order: for tests that drain, and for whoever does not want to wait.
    pub async fn once(&self) -> StoreResult<()> {
        for &(task, ..) in TASKS {
            self.run(task).await?;
        }
        Ok(())
    }

    async fn repeat(&self, task: Task, name: &'static str, period: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (lease, renew) = task.lease();
        let mut held: Option<(Instant, DutyProof)> = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            if held.is_none_or(|(since, _)| since.elapsed() > renew) {
                held = self.hold(name, lease).await;
            }
            let Some((_, proof)) = held else {
                // Somebody else does it; look again when their lease may have ended.
                tokio::select! {
                    () = tokio::time::sleep(renew) => continue,
                    () = stop.cancelled() => return,
                }
            };
            let turn = self.on_duty(proof);
            let outcome = tokio::select! {
                outcome = turn.run(task) => outcome,
                // A file can take minutes: it is let go, and whoever claims it next begins anew.
                () = stop.cancelled(), if task == Task::TakeFiles => return,
            };
            let result = match outcome {
                Ok(()) => "done",
                Err(error) => {
                    tracing::warn!(%error, task = name, "a task of upkeep failed; it is tried again");
                    held = None;
                    "failed"
                }
            };
            metrics::counter!(crate::metrics::UPKEEP, "task" => name, "result" => result).increment(1);
        }
    }

    /// For one turn of a duty: its writes check that it is still held.
    fn on_duty(&self, proof: DutyProof) -> Self {
        Self { store: self.store.on_duty(proof), ..self.clone() }
    }

    async fn hold(&self, name: &'static str, lease: Duration) -> Option<(Instant, DutyProof)> {
        let asked = Instant::now();
        match self.store.hold_duty(name, self.process, lease).await {
            Ok(proof) => proof.map(|proof| (asked, proof)),
            Err(error) => {
                tracing::debug!(%error, task = name, "no lease could be had");
                None
            }
        }
    }
}
