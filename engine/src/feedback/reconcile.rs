//! Asks providers about messages whose answer was lost.
//!
//! Only where a provider can be asked (Brevo's e-mail), and seldom: its event log takes 300 questions an hour from an
//! account, so each question is about as many messages as it can name, and one pass asks at most once per account. A
//! pass is idempotent: what it learns is applied as webhooks are, and what it does not learn stays unknown until its
//! deadline.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use super::{HookAccount, HookAccounts, LOOK_UPS, count};
use crate::{
    id::AccountId,
    providers::Sought,
    store::{
        Store, StoreResult,
        events::{self, Applied, TenantEvent, UnknownMessage},
    },
};

/// Younger ones are left to their webhooks; older ones are past what a look-up is worth.
const AGE: Range<Duration> = Duration::from_secs(120)..Duration::from_secs(24 * 3_600);
/// The log may be behind, and its clock differ.
const MARGIN: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

#[derive(Debug)]
pub struct Reconciler {
    store: Store,
    accounts: HookAccounts,
    age: Range<Duration>,
    /// The last message that each account was asked about: the next pass goes on behind it, so that messages that a
    /// provider does not know do not keep others waiting. Soft: a new process begins with the oldest again.
    asked: Mutex<HashMap<AccountId, UnknownMessage>>,
}

/// What a pass came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Messages that were asked for.
    pub asked: u64,
    /// Accounts that could not be asked.
    pub failed: u64,
    pub applied: Applied,
}

impl Reconciler {
    pub fn new(store: Store, accounts: HookAccounts) -> Self {
        Self { store, accounts, age: AGE, asked: Mutex::default() }
    }

    /// With another age of the messages that are asked for.
    #[must_use]
    pub fn with_age(mut self, age: Range<Duration>) -> Self {
        self.age = age;
        self
    }

    /// One question per account that has unknown messages. To be repeated no more often than every 15 seconds.
    pub async fn pass(&self, now: Timestamp) -> StoreResult<Reconciled> {
        let mut sum = Reconciled::default();
        for (id, account) in self.accounts.iter() {
            if account.adapter.look_up_limit() > 0 {
                self.ask(id, account, now, &mut sum).await?;
            }
        }
        Ok(sum)
    }

    async fn ask(&self, id: AccountId, account: &HookAccount, now: Timestamp, sum: &mut Reconciled) -> StoreResult<()> {
        let unknown = self.next(id, account.adapter.look_up_limit()).await?;
        let Some(oldest) = unknown.iter().map(|message| message.since).min() else { return Ok(()) };
        let sought: Vec<Sought> =
            unknown.into_iter().map(|unknown| Sought { message: unknown.message, to: unknown.to }).collect();
        sum.asked += sought.len() as u64;
        match account.adapter.look_up(&sought, oldest - MARGIN, now).await {
            Ok(events) => {
                metrics::counter!(LOOK_UPS, "result" => "answered").increment(1);
                let tenant = account.tenant;
                let events: Vec<TenantEvent> = events.into_iter().map(|event| TenantEvent { tenant, event }).collect();
                let mut tx = self.store.begin().await?;
                let applied = events::apply(&mut tx, &events, &[], "look_up").await?;
                tx.commit().await?;
                count(applied, 0);
                sum.applied.add(applied);
            }
            Err(problem) => {
                metrics::counter!(LOOK_UPS, "result" => "failed").increment(1);
                tracing::warn!(account = %id, problem, "unknown messages could not be looked up");
                sum.failed += 1;
            }
        }
        Ok(())
    }

    /// The messages to ask about next; from the start again when the end was reached.
    async fn next(&self, id: AccountId, limit: usize) -> StoreResult<Vec<UnknownMessage>> {
        let rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let after = self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let unknown = self.store.unknown_messages(id, self.age.clone(), after.as_ref(), rows).await?;
        if let Some(last) = unknown.last().filter(|_| unknown.len() == limit) {
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(id, last.clone());
        }
        Ok(unknown)
    }
}
