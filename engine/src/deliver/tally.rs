//! What a process' requests came to, hour by hour: counted in memory, and added to the database every few seconds.
//!
//! It is for reports alone. Nothing waits for it: while the database is away it is kept, an entry for each account, hour and
//! country, and a process that is killed takes the last seconds along.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::answers::{self, BOUNDS},
    id::AccountId,
    store::{
        Store,
        account_hours::{Hour, HourOf},
    },
};

const EVERY: Duration = Duration::from_secs(5);

/// Shared by all that sends; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    hours: Arc<Mutex<BTreeMap<HourOf, Hour>>>,
}

/// A request, or one of many messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) account: AccountId,
    /// [`crate::domain::price::calling_code`] of whom it is to.
    pub(super) code: i16,
    /// How often its price is due, if it was accepted.
    pub(super) units: u32,
    pub(super) took: Duration,
}

impl Tally {
    pub(super) fn count(&self, now: Timestamp, request: Request) {
        let hour = now.as_second().div_euclid(3_600) * 3_600;
        let of = HourOf { account: request.account, hour, code: request.code };
        let mut one = Hour { requests: 1, units: request.units.into(), ..Hour::default() };
        one.answer_us = i64::try_from(request.took.as_micros()).unwrap_or(i64::MAX);
        one.answers[answers::bound(request.took).min(BOUNDS.len())] = 1;
        self.hours.lock().unwrap_or_else(PoisonError::into_inner).entry(of).or_default().add(&one);
    }

    /// Adds what was counted to the database; what can't be added is kept for the next time.
    pub async fn flush(&self, store: &Store) {
        let taken = std::mem::take(&mut *self.hours.lock().unwrap_or_else(PoisonError::into_inner));
        if taken.is_empty() {
            return;
        }
        if let Err(error) = store.add_account_hours(&taken).await {
            tracing::debug!(%error, "the numbers of the accounts are kept for the next time");
            let mut hours = self.hours.lock().unwrap_or_else(PoisonError::into_inner);
            for (of, hour) in taken {
                hours.entry(of).or_default().add(&hour);
            }
        }
    }

    /// Flushes again and again, until `stop`; what comes in afterwards is its owner's to flush.
    pub async fn keep(self, store: Store, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.flush(&store).await,
                () = stop.cancelled() => return,
            }
        }
    }
}
