//! What a process knows of one account: the shared row as it last read it, and who may speak for it now.
//!
//! **Which source.** Permits come from Redis, or, while some process can't reach it, from Postgres; never from both.
//! The row says which. A process uses Redis only while its last look at the row is younger than a second and says
//! Redis; grants from a new source begin 1.5 s after the change. So when Postgres begins, everybody has stopped using
//! Redis, also those who still see it, and those who see neither.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::window::Limits;
use crate::{
    id::AccountId,
    store::pace::{PaceRow, QUIET, Source},
};

/// A look at the row that is older than this says nothing about now.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// A provider may ask for any wait; more than this is not believed.
const LONGEST_BLOCK: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    row: Option<(PaceRow, Instant)>,
    /// Nothing may leave until then; this process may know it before the row does.
    blocked_until: Option<Instant>,
}

/// A refusal that the keeper has yet to write down.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Refusals {
    /// Of the permit of the latest refused request.
    pub(super) generation: Option<i64>,
    pub(super) block_until: Option<Instant>,
}

/// Who grants permits at the moment, and at which pace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Speaker {
    Redis {
        epoch: i64,
        pace: f64,
        generation: i64,
    },
    Postgres {
        epoch: i64,
        pace: f64,
        generation: i64,
    },
    /// A change of source, or no news: ask again after so long.
    Nobody(Duration),
}

#[derive(Debug)]
pub(super) struct Account {
    pub(super) id: AccountId,
    /// Without limits nothing is paced, and nobody is asked.
    pub(super) limits: Option<Limits>,
    known: Mutex<Known>,
    refusals: Mutex<Refusals>,
}

impl Account {
    pub(super) fn new(id: AccountId, limits: Option<Limits>) -> Self {
        Self { id, limits, known: Mutex::default(), refusals: Mutex::default() }
    }

    /// `looked_at` is the moment before the row was read.
    pub(super) fn learn(&self, row: PaceRow, looked_at: Instant) {
        let mut known = self.known();
        known.row = Some((row, looked_at));
        // Slots that Postgres has given are a few milliseconds ahead: no block.
        let ahead = if row.source == Source::Postgres { 50_000 } else { 0 };
        if row.blocked > ahead {
            known.blocked_until =
                known.blocked_until.max(Some(looked_at + micros(row.blocked).min(LONGEST_BLOCK)));
        }
    }

    pub(super) fn row(&self) -> Option<PaceRow> {
        self.known().row.map(|(row, _)| row)
    }

    pub(super) fn speaker(&self, now: Instant) -> Speaker {
        let soon = Duration::from_millis(20);
        let (Some((row, looked_at)), Some(limits)) = (self.known().row, &self.limits) else {
            return Speaker::Nobody(soon);
        };
        let since = now.saturating_duration_since(looked_at);
        if since >= TRUSTED_FOR {
            return Speaker::Nobody(soon);
        }
        if let Some(quiet) =
            QUIET.checked_sub(micros(row.source_age) + since).filter(|quiet| !quiet.is_zero())
        {
            return Speaker::Nobody(quiet);
        }
        let pace = limits.pace(row.lowered, micros(row.lowered_age) + since);
        let (epoch, generation) = (row.epoch, row.generation);
        match row.source {
            Source::Redis => Speaker::Redis { epoch, pace, generation },
            Source::Postgres => Speaker::Postgres { epoch, pace, generation },
        }
    }

    /// How much longer nothing may leave.
    pub(super) fn blocked(&self, now: Instant) -> Option<Duration> {
        self.known()
            .blocked_until
            .and_then(|until| until.checked_duration_since(now))
            .filter(|left| !left.is_zero())
    }

    /// Nothing may leave for `wait`, as whoever grants says.
    pub(super) fn hear_of_block(&self, wait: Duration, now: Instant) {
        let mut known = self.known();
        known.blocked_until = known.blocked_until.max(Some(now + wait.min(LONGEST_BLOCK)));
    }

    /// Notes that the provider wants `wait` of silence, and, with a `generation`, a slower pace.
    pub(super) fn refuse(&self, generation: Option<i64>, wait: Option<Duration>, now: Instant) {
        let until = wait.map(|wait| now + wait.min(LONGEST_BLOCK));
        let mut known = self.known();
        known.blocked_until = known.blocked_until.max(until);
        drop(known);
        self.put_back(Refusals { generation, block_until: until });
    }

    pub(super) fn take_refusals(&self) -> Option<Refusals> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *refusals);
        (taken != Refusals::default()).then_some(taken)
    }

    /// Notes what is to be written down, for the first time or again.
    pub(super) fn put_back(&self, taken: Refusals) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.generation = refusals.generation.max(taken.generation);
        refusals.block_until = refusals.block_until.max(taken.block_until);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

pub(super) fn as_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
