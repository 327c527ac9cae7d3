//! An account's pacer: how a process gets leave to send over one provider account.
//!
//! First [`AccountPacer::admit`], before intents are written: how many may get one, so that those who have are on the
//! wire soon. Then, for each request, [`AccountPacer::permit`], right before it is sent.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    NoCapacity, Priority,
    account::{Account, Speaker, micros},
    desk::{Desk, LONGEST_WAIT},
    source::Sources,
    timeline::EXPIRY,
};
use crate::{providers::Quota, store::pace::Source};

/// Requests that are admitted and not yet sent are at most what the account takes in this time.
const ADMITTED_FOR: f64 = 0.25;
/// Without a word from the provider a throttled account is silent for so long.
const THROTTLED_FOR: Duration = Duration::from_millis(200);

/// Leave to send one request, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    due: Instant,
    generation: i64,
}

impl Permit {
    /// Whether it is too late to use it; see [`AccountPacer::permit`].
    pub fn is_late(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.due) > micros(EXPIRY)
    }
}

/// What the pump and the pacer of an account share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) account: Account,
    pub(super) sources: Arc<Sources>,
    pub(super) desk: Desk,
    pub(super) closed: CancellationToken,
    pub(super) refusals: Arc<Notify>,
    pub(super) granted: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) asked: AtomicU64,
    admitted: AtomicUsize,
    room: Notify,
    /// Requests a second that this process is given lately.
    share: Mutex<f64>,
    exhausted_until: Mutex<Option<Instant>>,
}

impl Shared {
    pub(super) fn new(
        account: Account,
        sources: Arc<Sources>,
        closed: CancellationToken,
        refusals: Arc<Notify>,
    ) -> Self {
        let share = Mutex::new(account.limits.as_ref().map_or(f64::INFINITY, |limits| limits.per_second()));
        Self {
            account,
            sources,
            desk: Desk::default(),
            closed,
            refusals,
            granted: AtomicU64::default(),
            late: AtomicU64::default(),
            asked: AtomicU64::default(),
            admitted: AtomicUsize::default(),
            room: Notify::default(),
            share,
            exhausted_until: Mutex::default(),
        }
    }

    /// Whether slots of this source may still be used.
    pub(super) fn speaks(&self, by: (Source, i64), now: Instant) -> bool {
        let speaking = match self.account.speaker(now) {
            Speaker::Redis { epoch, .. } => Some((Source::Redis, epoch)),
            Speaker::Postgres { epoch, .. } => Some((Source::Postgres, epoch)),
            Speaker::Nobody(_) => None,
        };
        speaking == Some(by) && self.account.blocked(now).is_none()
    }

    pub(super) fn follow_share(&self, seen: f64, weight: f64) {
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        *share += weight * (seen - *share);
    }

    pub(super) fn note_exhausted(&self, until: Option<Instant>) {
        *self.exhausted_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Why nothing at all can leave in the next second.
    fn closed_for(&self, now: Instant) -> Option<NoCapacity> {
        if let Some(retry_after) = self.account.blocked(now).filter(|wait| *wait > LONGEST_WAIT) {
            return Some(NoCapacity::Blocked { retry_after });
        }
        let until = *self.exhausted_until.lock().unwrap_or_else(PoisonError::into_inner);
        let retry_after = until?.checked_duration_since(now).filter(|wait| *wait > LONGEST_WAIT)?;
        Some(NoCapacity::Exhausted { retry_after })
    }

    /// How many requests may be admitted and unsent.
    fn budget(&self) -> usize {
        let share = *self.share.lock().unwrap_or_else(PoisonError::into_inner);
        ((share * ADMITTED_FOR) as usize).max(1)
    }

    fn release(&self, count: usize) {
        if count > 0 {
            self.admitted.fetch_sub(count, Ordering::AcqRel);
            self.room.notify_waiters();
        }
    }
}

/// One provider account, as one process uses it. See the module.
#[derive(Debug)]
pub struct AccountPacer {
    pub(super) shared: Arc<Shared>,
}

/// What a pacer has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PaceCounts {
    /// Slots that were given to this process.
    pub granted: u64,
    /// Slots that passed unused, because nobody took them in time.
    pub late: u64,
    /// Calls to Redis or Postgres.
    pub asked: u64,
}

impl AccountPacer {
    /// Admits up to `k` requests, so that their intents can be written: as many as the account takes in 250 ms, at the
    /// pace that this process has lately been given, less those that are admitted already. Waits up to a second.
    pub async fn admit(&self, k: usize) -> Result<Admission, NoCapacity> {
        let deadline = Instant::now() + LONGEST_WAIT;
        loop {
            let room = self.shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if let Some(closed) = self.shared.closed_for(Instant::now()) {
                return Err(closed);
            }
            // A handful at a time would cost a transaction a handful.
            if let Some(admission) = self.try_admit(k, self.shared.budget().div_ceil(2)) {
                return Ok(admission);
            }
            if tokio::time::timeout_at(deadline, room).await.is_err() {
                return Err(NoCapacity::busy(Duration::from_millis(250)));
            }
        }
    }

    /// Admits up to `k` urgent requests if they would get their slots at once: beside the bulk that is admitted, not
    /// behind it. `None` means that the queue is the better place to wait.
    pub fn admit_now(&self, k: usize) -> Option<Admission> {
        if self.shared.closed_for(Instant::now()).is_some() {
            return None;
        }
        if self.shared.account.limits.is_none() {
            return Some(Admission::new(&self.shared, k, 0));
        }
        let room =
            self.shared.budget().checked_sub(self.shared.desk.urgent_waiting()).filter(|room| *room > 0)?;
        Some(Admission::new(&self.shared, k.min(room), 0))
    }

    fn try_admit(&self, k: usize, at_least: usize) -> Option<Admission> {
        if self.shared.account.limits.is_none() {
            return Some(Admission::new(&self.shared, k, 0));
        }
        let budget = self.shared.budget();
        let add = |admitted: usize| {
            let room = budget.saturating_sub(admitted);
            (room > 0 && room >= k.min(at_least)).then(|| admitted + k.min(room))
        };
        let before = self.shared.admitted.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok()?;
        let count = k.min(budget.saturating_sub(before));
        Some(Admission::new(&self.shared, count, count))
    }

    /// Waits for this request's time slot, up to a second, and returns when it is there: send at once. A slot that is
    /// more than 10 ms past at the hand-over is thrown away for another. Dropping the future costs nothing.
    pub async fn permit(&self, priority: Priority) -> Result<Permit, NoCapacity> {
        let since = Instant::now();
        if self.shared.account.limits.is_none() {
            let permit = Permit { due: since, generation: 0 };
            return self
                .shared
                .account
                .blocked(since)
                .map_or(Ok(permit), |retry_after| Err(NoCapacity::Blocked { retry_after }));
        }
        if let Some(closed) = self.shared.closed_for(since) {
            return Err(closed);
        }
        let mut verdict = self.shared.desk.enter(priority, since, false);
        loop {
            // Checked after entering: whoever entered before the pump ended was sent away by it.
            if self.shared.closed.is_cancelled() {
                return Err(NoCapacity::busy(LONGEST_WAIT));
            }
            let slot = verdict.await.unwrap_or(Err(NoCapacity::busy(LONGEST_WAIT)))?;
            let permit = Permit { due: slot.due, generation: slot.generation };
            if !permit.is_late(Instant::now()) {
                return Ok(permit);
            }
            self.shared.late.fetch_add(1, Ordering::Relaxed);
            verdict = self.shared.desk.enter(priority, since, true);
        }
    }

    /// The provider refused the request that had `permit` because we are too fast: everybody slows down, at most once a
    /// second however many are refused, and is silent for as long as the provider asks, up to an hour. Does not wait.
    pub fn throttled(&self, retry_after: Option<Duration>, permit: Permit) {
        self.shared.account.refuse(
            Some(permit.generation),
            Some(retry_after.unwrap_or(THROTTLED_FOR)),
            Instant::now(),
        );
        self.shared.refusals.notify_one();
    }

    /// Heeds what the provider says is left: when that is nothing, nobody sends until its reset. Does not wait.
    pub fn quota(&self, quota: &Quota) {
        if quota.remaining == 0 && !quota.reset.is_zero() {
            self.shared.account.refuse(None, Some(quota.reset), Instant::now());
            self.shared.refusals.notify_one();
        }
    }

    /// The pace that all processes share now, in requests a second; `None` for an account without limits.
    pub fn pace(&self) -> Option<f64> {
        let limits = self.shared.account.limits.as_ref()?;
        Some(match self.shared.account.speaker(Instant::now()) {
            Speaker::Redis { pace, .. } | Speaker::Postgres { pace, .. } => pace,
            Speaker::Nobody(_) => limits.per_second(),
        })
    }

    /// Where permits come from, as this process last heard.
    pub fn source(&self) -> Option<Source> {
        self.shared.account.row().map(|row| row.source)
    }

    pub fn counts(&self) -> PaceCounts {
        PaceCounts {
            granted: self.shared.granted.load(Ordering::Relaxed),
            late: self.shared.late.load(Ordering::Relaxed),
            asked: self.shared.asked.load(Ordering::Relaxed),
        }
    }
}

/// Requests that may have their intents written. Give them back as they are sent, or all that are left by dropping it.
#[derive(Debug)]
pub struct Admission {
    shared: Arc<Shared>,
    count: usize,
    unsent: AtomicUsize,
}

impl Admission {
    fn new(shared: &Arc<Shared>, count: usize, counted: usize) -> Self {
        Self { shared: Arc::clone(shared), count, unsent: AtomicUsize::new(counted) }
    }

    pub const fn count(&self) -> usize {
        self.count
    }

    /// One of them has been sent, or never will be: makes room for another.
    pub fn sent(&self) {
        let less = |unsent: usize| unsent.checked_sub(1);
        if self.unsent.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok() {
            self.shared.release(1);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.shared.release(*self.unsent.get_mut());
    }
}
