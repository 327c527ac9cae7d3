//! Feedback: what providers and recipients tell about messages.
//!
//! Actors:
//!
//! - the API verifies a webhook and hands its raw body to [`Inbox::store`], which returns when the body is committed: only
//!   then may the provider be told that it was taken;
//! - [`InboxWriter`] commits bodies of many callers together;
//! - [`Worker`] takes bodies out of the inbox, has the account's adapter read them, and applies what they say;
//! - [`Reconciler`] asks providers that can be asked about messages whose answer was lost, and applies the answers the
//!   same way.
//!
//! They meet in the table `inbox` only. A body leaves it in the transaction that applies it, so a crash anywhere applies
//! it once: before the commit it is still there, after it it is gone. What is told twice changes nothing: events have
//! names that follow from what happened, and states only move forward. A body that makes no sense, or that the database
//! refuses, goes to `inbox_rejected` by itself and holds nobody up.
//!
//! A stop by webhook needs no grace period: the provider's 2xx says that it was stored, not that it was honoured.

mod inbox;
mod reconcile;
mod worker;

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

pub use inbox::{Inbox, InboxError, InboxSettings, InboxWriter};
pub use reconcile::{Reconciled, Reconciler};
pub use worker::{Pass, Worker};

use crate::{
    id::{AccountId, TenantId},
    providers::Adapter,
};

/// Webhooks stored, by no label.
pub const INBOX_STORED: &str = "fanfare_inbox_stored_total";
/// Webhooks per commit.
pub const INBOX_COMMIT_ROWS: &str = "fanfare_inbox_commit_rows";
/// From the hand-over of a webhook's body to its commit.
pub const INBOX_STORE_SECONDS: &str = "fanfare_inbox_store_seconds";
/// Webhooks not stored, by `reason`: `busy`, `database`.
pub const INBOX_REFUSED: &str = "fanfare_inbox_refused_total";
/// Webhooks taken out of the inbox, by `result`: `applied`, `rejected`.
pub const WEBHOOKS: &str = "fanfare_webhooks_total";
/// Items of webhooks and look-ups, by `kind`: `event`, `repeated`, `orphan`, `foreign`, `suppressed`, `resumed`, `settled`.
pub const FEEDBACK_ITEMS: &str = "fanfare_feedback_items_total";
/// Questions to providers about unknown messages, by `result`: `answered`, `failed`.
pub const LOOK_UPS: &str = "fanfare_look_ups_total";

/// An account whose feedback this process can read.
#[derive(Debug, Clone)]
pub struct HookAccount {
    pub tenant: TenantId,
    pub adapter: Arc<dyn Adapter>,
}

/// The accounts of this process. Webhooks of others stay in the inbox for a process that has them.
#[derive(Debug, Clone, Default)]
pub struct HookAccounts(Arc<HashMap<AccountId, HookAccount>>);

impl FromIterator<(AccountId, HookAccount)> for HookAccounts {
    fn from_iter<I: IntoIterator<Item = (AccountId, HookAccount)>>(accounts: I) -> Self {
        Self(Arc::new(accounts.into_iter().collect()))
    }
}

impl HookAccounts {
    pub fn get(&self, account: AccountId) -> Option<&HookAccount> {
        self.0.get(&account)
    }

    fn iter(&self) -> impl Iterator<Item = (AccountId, &HookAccount)> {
        self.0.iter().map(|(id, account)| (*id, account))
    }

    fn uuids(&self) -> Vec<Uuid> {
        self.0.keys().map(|id| id.uuid()).collect()
    }
}

fn count(applied: crate::store::events::Applied, foreign: u64) {
    for (kind, number) in [
        ("event", applied.events),
        ("repeated", applied.repeated),
        ("orphan", applied.orphans),
        ("foreign", foreign),
        ("suppressed", applied.suppressed),
        ("resumed", applied.resumed),
        ("settled", applied.settled),
    ] {
        if number > 0 {
            metrics::counter!(FEEDBACK_ITEMS, "kind" => kind).increment(number);
        }
    }
}
