//! The limiter: no provider account sees more than its limit in any stretch of time, however many processes send.
//!
//! **A permit is a time slot.** A script in Redis gives an account's slots one after the other, a little slower than the
//! limit (`window`) and at most 20 ms ahead of Redis' clock. A process waits for a slot by its own monotonic clock, and
//! throws away one that is 10 ms past: so a process that was stopped, or is slow, sends less, never later and therefore
//! too much. Slots that nobody asked for in time are gone; there are no bursts.
//!
//! **The urgent first.** Bulk may take slots up to 15 ms ahead, the urgent up to 20: over all processes the next free
//! slot is never further away for them. Within a process the urgent take whatever slots there are before bulk does.
//!
//! Who does what: [`AccountPacer`] is what senders talk to; its `pump` asks for slots and hands them out (`desk`); the
//! `keeper` watches the clock of Redis and the rows in Postgres; `source` asks whoever speaks for the account;
//! `timeline` and `offset` are the arithmetic.
//!
//! **When things break.** A process killed: its slots, at most 20 ms of them, are lost. FLUSHALL: the account's key is
//! missing, which means an empty bucket, and long windows come back from Postgres, where they are written each
//! second; what was used since counts as full pace. Redis away: see `account` and `keeper`; 300 ms to notice, 1.5 s of
//! silence, then permits from Postgres until nobody has been cut off for 5 s. Postgres away: a second later nothing
//! leaves, as no intent could be written either. Redis' clock set: the slots of that moment are not used.
//!
//! **Slower when asked.** A 429 lowers the account's pace for everybody to 70 %, at most once a second and only for
//! requests that were permitted at the pace that holds; it recovers by 2 % of the limit a second. Retry-After and an
//! exhausted quota silence the account, up to an hour.

mod account;
pub mod breaker;
mod desk;
mod keeper;
mod offset;
mod pacer;
mod people;
mod pump;
mod redis;
mod source;
pub(crate) mod timeline;
pub(crate) mod window;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use tokio::{runtime::Handle, sync::Notify};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::{
    pacer::{AccountPacer, Admission, PaceCounts, Permit},
    people::PeopleError,
    window::{Limits, Span, Window},
};
use crate::{id::AccountId, link::RedisLink, store::Store};

/// Who is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// One person waits for it.
    Urgent,
    Bulk,
}

/// Why there is no permit, and when to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoCapacity {
    #[error("others use up the account's pace")]
    Busy { retry_after: Duration },
    #[error("the provider asked for silence")]
    Blocked { retry_after: Duration },
    #[error("the account's limit for a minute, an hour or a day is used up")]
    Exhausted { retry_after: Duration },
}

impl NoCapacity {
    const fn busy(retry_after: Duration) -> Self {
        Self::Busy { retry_after }
    }

    pub const fn retry_after(&self) -> Duration {
        match self {
            Self::Busy { retry_after } | Self::Blocked { retry_after } | Self::Exhausted { retry_after } => {
                *retry_after
            }
        }
    }
}

/// The pacers of a process' accounts.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pacers: Mutex<HashMap<AccountId, Arc<AccountPacer>>>,
}

impl Registry {
    fn all(&self) -> Vec<Arc<pacer::Shared>> {
        self.lock().values().map(|pacer| Arc::clone(&pacer.shared)).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AccountId, Arc<AccountPacer>>> {
        self.pacers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Paces the accounts of a process. One a process: its tasks end when it is dropped.
#[derive(Debug)]
pub struct Limiter {
    registry: Arc<Registry>,
    sources: Arc<source::Sources>,
    wake: Arc<Notify>,
    local_pairs: people::LocalPairs,
    closed: CancellationToken,
    /// Pumps run where the limiter was made: on the runtime that bulk work does not fill.
    runtime: Handle,
    _close: DropGuard,
}

impl Limiter {
    /// Inside a tokio runtime, which then runs the pumps. `prefix` is that of the keys in Redis.
    pub fn new(link: RedisLink, store: Store, prefix: &str) -> Self {
        let registry = Arc::new(Registry::default());
        let sources = Arc::new(source::Sources::new(redis::Redis::new(link, prefix), store));
        let (wake, closed) = (Arc::new(Notify::new()), CancellationToken::new());
        let keeper = keeper::Keeper {
            registry: Arc::clone(&registry),
            sources: Arc::clone(&sources),
            wake: Arc::clone(&wake),
            closed: closed.clone(),
            cut: AtomicBool::new(false),
        };
        Arc::new(keeper).start();
        let close = closed.clone().drop_guard();
        let local_pairs = people::LocalPairs::default();
        Self { registry, sources, wake, local_pairs, closed, runtime: Handle::current(), _close: close }
    }

    /// The pacer of an account: the same one for every caller, as long as its limits are the same.
    pub fn account(&self, id: AccountId, windows: &[Window]) -> Arc<AccountPacer> {
        let limits = Limits::new(windows);
        let mut pacers = self.registry.lock();
        if let Some(known) = pacers.get(&id).filter(|known| known.shared.account.limits == limits) {
            return Arc::clone(known);
        }
        let limited = limits.is_some();
        let account = account::Account::new(id, limits);
        let closed = self.closed.child_token();
        let shared = pacer::Shared::new(account, Arc::clone(&self.sources), closed, Arc::clone(&self.wake));
        let pacer = Arc::new(AccountPacer { shared: Arc::new(shared) });
        if limited {
            self.runtime.spawn(pump::Pump::new(Arc::clone(&pacer.shared)).run());
        }
        if let Some(replaced) = pacers.insert(id, Arc::clone(&pacer)) {
            replaced.shared.closed.cancel();
        }
        drop(pacers);
        self.wake.notify_one();
        pacer
    }

    /// WhatsApp's pace for one sender and recipient. For each address: `None` when a message is taken and may go now,
    /// else how long the pair has to wait.
    pub async fn pairs(&self, account: AccountId, addresses: &[&str]) -> Vec<Option<Duration>> {
        people::pairs(&self.sources, &self.local_pairs, account, addresses).await
    }

    /// WhatsApp's tier: at most `per_day` distinct people in any 24 hours. For each address: `None` when the account may
    /// write to its owner, else how long until somebody makes room.
    pub async fn people(
        &self,
        account: AccountId,
        per_day: u64,
        addresses: &[&str],
    ) -> Result<Vec<Option<Duration>>, PeopleError> {
        people::people(&self.sources, account, per_day, addresses).await
    }
}
