//! Places on the wire. An intent holds one for each of its members from before it is committed, so that what a killed
//! process leaves open is never more than its places. There are many where the provider honours idempotency keys, since
//! sending again under the same key harms nobody, and few where whatever is open becomes `unknown`.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::accounts::AccountHandle;

#[derive(Debug, Clone)]
pub struct Places {
    /// For everybody who has none of their own.
    common: Lot,
    keyless: Option<Lot>,
}

#[derive(Debug, Clone)]
struct Lot {
    free: Arc<Semaphore>,
    size: usize,
}

impl Lot {
    fn new(size: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(size)), size }
    }
}

impl Places {
    /// So many for providers that honour keys, and so many for those that do not.
    pub fn new(repeatable: usize, keyless: usize) -> Self {
        Self { common: Lot::new(repeatable), keyless: Some(Lot::new(keyless)) }
    }

    /// So many for all of them together.
    pub fn shared(size: usize) -> Self {
        Self { common: Lot::new(size), keyless: None }
    }

    fn lot(&self, account: &AccountHandle) -> &Lot {
        self.keyless.as_ref().filter(|_| account.adapter.key_lifetime().is_none()).unwrap_or(&self.common)
    }

    /// Waits for places; `None` only when the process ends.
    pub(super) async fn take(&self, account: &AccountHandle, count: usize) -> Option<OwnedSemaphorePermit> {
        let lot = self.lot(account);
        let count = u32::try_from(count.min(lot.size)).unwrap_or(u32::MAX);
        Arc::clone(&lot.free).acquire_many_owned(count).await.ok()
    }

    /// Half of the places, so that one slice is intended while another is sent.
    pub(super) fn largest_slice(&self, account: &AccountHandle) -> usize {
        self.lot(account).size.div_ceil(2)
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        let lots = std::iter::once(&self.common).chain(&self.keyless);
        lots.map(|lot| lot.size.saturating_sub(lot.free.available_permits())).sum()
    }
}
