//! Turns at what there is little of. Whoever waits too long for one hears so, and holds nothing meanwhile.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use fanfare_engine::id::TenantId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::http::problem::{Code, Problem};

const WAIT: Duration = Duration::from_secs(20);
/// Bodies on the disk at once: it must have room for so many of the largest.
const SPOOLED: usize = 8;
/// Of these, one tenant's: however slowly theirs come, others have room.
const SPOOLED_OF_ONE: usize = 4;

pub(crate) async fn turn(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    match timeout(WAIT, Arc::clone(of).acquire_owned()).await {
        Ok(turn) => Ok(turn.expect("never closed")),
        Err(_) => Err(Problem::say(Code::TooMany, "Other large requests are under way: try again soon.")
            .retry_after(WAIT)),
    }
}

/// Bodies that come to the disk of this process before anything else.
#[derive(Debug)]
pub(crate) struct Spools {
    all: Arc<Semaphore>,
    /// Of tenants that have one there, or wait.
    own: Mutex<HashMap<TenantId, Weak<Semaphore>>>,
}

/// Room for one body, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Default for Spools {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(SPOOLED)), own: Mutex::default() }
    }
}

impl Spools {
    pub(crate) async fn room(&self, tenant: TenantId) -> Result<Room, Problem> {
        // Whoever has too many waits here and keeps nobody else's place.
        let _own = turn(&self.of(tenant)).await?;
        Ok(Room { _own, _all: turn(&self.all).await? })
    }

    fn of(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|_, turns| turns.strong_count() > 0);
        if let Some(known) = own.get(&tenant).and_then(Weak::upgrade) {
            return known;
        }
        let turns = Arc::new(Semaphore::new(SPOOLED_OF_ONE));
        own.insert(tenant, Arc::downgrade(&turns));
        turns
    }
}
