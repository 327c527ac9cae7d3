//! The grace period of a stop.
//!
//! Every intent to send takes the shared side of its tenant's advisory lock and then looks at what stands in its way. A
//! stop commits first and then takes the exclusive side for a moment: once it has had that, every intent that did not see
//! the stop has committed, and no later one can miss it. Only then is the stop acknowledged.
//!
//! Callers of one tenant share a period, but only one that *started* after they called: a period that was already waiting
//! for the lock may have been granted it before their commit.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Store, StoreError, StoreResult};
use crate::id::TenantId;

/// The grace periods of a process, by tenant.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<TenantId, Arc<Turn>>>);

#[derive(Debug, Default)]
struct Turn {
    /// Periods that have begun; the number of the latest.
    begun: AtomicU64,
    /// Held during a period; the number of the latest that ended well.
    ended: tokio::sync::Mutex<u64>,
}

impl Turns {
    fn of(&self, tenant: TenantId) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(tenant).or_default())
    }
}

impl Store {
    /// To be called after a stop has committed. Returns when no intent of the tenant can be committed any more that did
    /// not see what was committed before the call; without an `Ok` the stop must not be acknowledged.
    pub async fn grace(&self, tenant: TenantId) -> StoreResult<()> {
        let turn = self.turns.of(tenant);
        let begun = turn.begun.load(Ordering::SeqCst);
        let mut ended = turn.ended.lock().await;
        if *ended > begun {
            return Ok(());
        }
        let number = turn.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.take_grace(tenant).await?;
        *ended = number;
        Ok(())
    }

    /// The statement is its own transaction: the lock is given back as soon as it was granted.
    async fn take_grace(&self, tenant: TenantId) -> StoreResult<()> {
        let taken =
            sqlx::query!("select pg_advisory_xact_lock(lock_key) from tenants where id = $1", tenant.uuid())
                .fetch_optional(self.pool())
                .await?;
        taken.map(drop).ok_or_else(|| StoreError::not_found(tenant))
    }
}
