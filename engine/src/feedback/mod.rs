//! Feedback: what providers and recipients tell about messages.
//!
//! Actors:
//!
//! - the API verifies a webhook and hands its raw body to [`Inbox::store`], which returns when the body is committed: only
//!   then may the provider be told that it was taken;
//! - [`InboxWriter`] commits bodies of many callers together;
//! - [`Worker`] takes bodies out of the inbox, has the account's adapter read them, and applies what they say;
//! - [`reconcile`] asks providers that can be asked about messages whose answer was lost, and applies the answers the
//!   same way;
//! - [`visits`] applies what links and pictures of our own tell.
//!
//! They meet in the table `inbox` only. A body leaves it in the transaction that applies it, so a crash anywhere applies
//! it once: before the commit it is still there, after it it is gone. What is told twice changes nothing: events have
//! names that follow from what happened, and states only move forward. A body that makes no sense, or that the database
//! refuses, goes to `inbox_rejected` by itself and holds nobody up.
//!
//! A stop by webhook needs no grace period: the provider's 2xx says that it was stored, not that it was honoured.

mod inbox;
pub mod reconcile;
pub mod visits;
mod worker;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

pub use inbox::{Inbox, InboxError, InboxSettings, InboxWriter};
pub use worker::{Pass, Worker};

use crate::{
    deliver::accounts::Accounts,
    domain::channel::Channel,
    id::{AccountId, TenantId},
    metrics,
    providers::Adapter,
    store::{Store, events::Applied},
};

/// Transactions that apply webhooks side by side. More would wait for each other's suppressions and counters.
const WORKERS: usize = 2;
/// How often an empty inbox is looked at.
const IDLE: Duration = Duration::from_millis(100);
/// How long a database that cannot be reached is left alone.
const AWAY: Duration = Duration::from_secs(1);
/// How often events are looked at that came before the result that they settle.
const SETTLE_EVERY: Duration = Duration::from_secs(5);
const SETTLE_BATCH: i64 = 1_000;

/// An account whose feedback this process can read.
#[derive(Debug, Clone)]
pub struct HookAccount {
    pub tenant: TenantId,
    pub channel: Channel,
    pub adapter: Arc<dyn Adapter>,
}

/// The accounts of this process. Webhooks of others stay in the inbox for a process that has them.
#[derive(Debug, Clone, Default)]
pub struct HookAccounts(HashMap<AccountId, HookAccount>);

impl FromIterator<(AccountId, HookAccount)> for HookAccounts {
    fn from_iter<I: IntoIterator<Item = (AccountId, HookAccount)>>(accounts: I) -> Self {
        Self(accounts.into_iter().collect())
    }
}

impl From<&Accounts> for HookAccounts {
    fn from(accounts: &Accounts) -> Self {
        let handles = accounts.all();
        let hooked = handles.iter().map(|handle| {
            let account = HookAccount {
                tenant: handle.account.tenant,
                channel: handle.account.provider.channel(),
                adapter: Arc::clone(&handle.adapter),
            };
            (handle.account.id, account)
        });
        hooked.collect()
    }
}

impl HookAccounts {
    pub fn get(&self, account: AccountId) -> Option<&HookAccount> {
        self.0.get(&account)
    }

    fn uuids(&self) -> Vec<Uuid> {
        self.0.keys().map(|id| id.uuid()).collect()
    }
}

/// Starts what applies the feedback of these accounts, until `stop`. A stop never leaves a webhook half applied.
pub fn start(store: &Store, accounts: &Accounts, tasks: &TaskTracker, stop: &CancellationToken) {
    for _ in 0..WORKERS {
        let (worker, accounts, stop) = (Worker::new(store.clone()), accounts.clone(), stop.clone());
        tasks.spawn(async move { stop.run_until_cancelled(apply_for_ever(worker, accounts)).await });
    }
    let (store, stop) = (store.clone(), stop.clone());
    tasks.spawn(async move { stop.run_until_cancelled(settle_for_ever(store)).await });
}

async fn apply_for_ever(worker: Worker, accounts: Accounts) {
    loop {
        match worker.pass(&HookAccounts::from(&accounts)).await {
            Ok(pass) if pass.taken > 0 => {}
            Ok(_) => sleep(IDLE).await,
            Err(error) => {
                tracing::warn!(%error, "webhooks cannot be applied now; they stay in the inbox");
                sleep(AWAY).await;
            }
        }
    }
}

async fn settle_for_ever(store: Store) {
    loop {
        match store.settle_from_events(SETTLE_BATCH).await {
            Ok(settled) => count(&Applied { settled, ..Applied::default() }),
            Err(error) => tracing::warn!(%error, "unknown messages cannot be settled now"),
        }
        sleep(SETTLE_EVERY).await;
    }
}

fn count(applied: &Applied) {
    for (kind, number) in &applied.events {
        ::metrics::counter!(metrics::EVENTS, "kind" => kind.as_str()).increment(*number);
    }
    for (effect, number) in [
        ("repeated", applied.repeated),
        ("orphan", applied.orphans),
        ("suppressed", applied.suppressed),
        ("resumed", applied.resumed),
        ("settled", applied.settled),
    ] {
        ::metrics::counter!(metrics::FEEDBACK, "effect" => effect).increment(number);
    }
}
