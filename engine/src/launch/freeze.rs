//! The launcher: freezes audiences, the newest launches first, so that a small campaign does not wait behind a big one.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _, future::OptionFuture, stream};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    id::CampaignId,
    store::{
        Store, StoreResult,
        recipients::{Slice, SliceSizes},
    },
};

/// Campaigns frozen at once: small ones cost more waiting than work, and their commits share a sync of the log.
const AT_ONCE: usize = 4;
/// While people wait, a slice is this much smaller, and so is the rest after it: a whole one keeps a processor busy for longer
/// than they should have to.
const SMALLER: i32 = 5;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaunchSettings {
    /// Recipients frozen in one transaction.
    pub slice: i32,
    /// Recipients of the first slice: small, so that the first message leaves at once.
    pub first_slice: i32,
    /// Recipients of a chunk.
    pub chunk: i32,
}

impl Default for LaunchSettings {
    fn default() -> Self {
        Self { slice: 10_000, first_slice: 1_000, chunk: 500 }
    }
}

/// Whether this process freezes an audience at the moment (the last slice that left something to do is not long ago), and how
/// long it is to rest between one step and the next.
#[derive(Debug, Clone, Default)]
pub struct Freezing {
    last: Arc<Mutex<Option<Instant>>>,
    rest_ms: Arc<AtomicU32>,
}

impl Freezing {
    /// A slice takes less.
    const RECENT: Duration = Duration::from_millis(500);
    const LONGEST_REST: Duration = Duration::from_millis(300);

    pub fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// People wait for what a freeze keeps busy. At most 300 ms, so that it is still seen to be under way.
    pub fn rest(&self, rest: Duration) {
        let millis = rest.min(Self::LONGEST_REST).as_millis();
        self.rest_ms.store(u32::try_from(millis).unwrap_or_default(), Ordering::Relaxed);
    }

    fn wanted_rest(&self) -> Duration {
        Duration::from_millis(self.rest_ms.load(Ordering::Relaxed).into())
    }

    pub fn is_under_way(&self) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < Self::RECENT)
    }
}

#[derive(Debug, Clone)]
pub struct Launcher {
    pub store: Store,
    pub settings: LaunchSettings,
    pub freezing: Freezing,
}

impl Launcher {
    /// One slice of every launching campaign, and of one that is alone two beside each other while nobody waits; says whether there
    /// is more to do.
    pub async fn step(&self) -> StoreResult<bool> {
        let launching = self.store.launching_campaigns().await?;
        let ahead = launching.len() == 1 && self.freezing.wanted_rest().is_zero();
        let more = stream::iter(launching)
            .map(|(campaign, frozen)| self.freeze(campaign, frozen, ahead))
            .buffer_unordered(AT_ONCE)
            .try_fold(false, async |more, unfinished| Ok(more | unfinished))
            .await?;
        if more {
            tokio::time::sleep(self.freezing.wanted_rest() / SMALLER.unsigned_abs()).await;
            self.freezing.note();
        }
        Ok(more)
    }

    async fn freeze(&self, campaign: CampaignId, frozen: i32, ahead: bool) -> StoreResult<bool> {
        let LaunchSettings { first_slice: first, slice, chunk } = self.settings;
        let slice = if self.freezing.wanted_rest().is_zero() { slice } else { (slice / SMALLER).max(chunk) };
        let sizes = SliceSizes { first, slice, chunk };
        let next = timed(self.store.freeze_slice(campaign, sizes));
        // The first slice is small, and nothing is kept from it.
        let ahead = OptionFuture::from(
            (ahead && frozen > 0)
                .then(|| timed(self.store.write_slice_ahead(campaign, frozen + slice, sizes))),
        );
        let (next, ahead) = tokio::join!(next, ahead);
        let more = self.noted(campaign, next?);
        Ok(match ahead.transpose()?.flatten() {
            Some(ahead) if more => match ahead.commit().await? {
                // The next step sees why.
                Slice::Stopped => true,
                slice => self.noted(campaign, slice),
            },
            _ => more,
        })
    }

    /// Says whether there may be more of the audience.
    fn noted(&self, campaign: CampaignId, slice: Slice) -> bool {
        let Slice::Frozen { recipients, complete } = slice else { return false };
        tracing::debug!(%campaign, recipients, complete, "slice frozen");
        if !complete {
            self.freezing.note();
        }
        !complete
    }
}

async fn timed<T>(slice: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let slice = slice.await;
    metrics::histogram!(crate::metrics::STAGE_SECONDS, "stage" => "freeze")
        .record(started.elapsed().as_secs_f64());
    slice
}
