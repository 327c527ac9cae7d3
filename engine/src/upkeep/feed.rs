//! The feeder: keeps each lane as full as it should be, and no fuller.
//!
//! It compares the whole lane with the chunks that are due, and adds the difference. So a hint that was lost, by a
//! FLUSHALL, a failover or a crash between commit and XADD, comes back with the next look; and a lane stays short, so
//! that a pause works at once and a small campaign does not wait behind a big one. A chunk is added only while its
//! account is not blocked and has not more chunks out than its quota can use.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::Upkeep;
use crate::{
    domain::{
        channel::{Lane, MessageClass},
        chunk::ChunkRef,
    },
    id::AccountId,
    store::StoreResult,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedSettings {
    /// Hints that a lane holds at most.
    pub high_water: usize,
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self { high_water: 128 }
    }
}

/// Chunks that an account may have out for each second of its quota that one of them takes.
const AHEAD_SECONDS: f64 = 2.0;
/// However small its quota, an account has this many out.
const LEAST_OUT: i64 = 4;

impl Upkeep {
    pub(super) async fn feed(&self, urgent: bool) -> StoreResult<()> {
        let lanes = Lane::all().filter(|lane| (lane.class == MessageClass::Transactional) == urgent);
        for lane in lanes {
            self.feed_lane(lane).await?;
        }
        Ok(())
    }

    async fn feed_lane(&self, lane: Lane) -> StoreResult<()> {
        let hinted: HashSet<ChunkRef> = match self.queue.contents(lane).await {
            Ok(contents) => contents.into_iter().collect(),
            // Workers look into Postgres themselves while Redis is away.
            Err(error) => {
                tracing::debug!(%error, %lane, "the lane cannot be looked at");
                return Ok(());
            }
        };
        let room = self.feed.high_water.saturating_sub(hinted.len());
        if room == 0 {
            return Ok(());
        }
        let limit = i64::try_from(room + hinted.len()).unwrap_or(i64::MAX);
        let due = self.store.due_chunks(lane, limit, limit).await?;
        if due.is_empty() {
            return Ok(());
        }
        let mut out: HashMap<AccountId, i64> = self.store.owned_chunks().await?.into_iter().collect();
        for chunk in due.iter().filter(|due| hinted.contains(&due.chunk)) {
            *out.entry(chunk.account).or_default() += 1;
        }
        let mut add = Vec::with_capacity(room);
        for chunk in due.into_iter().filter(|due| !hinted.contains(&due.chunk)) {
            let out = out.entry(chunk.account).or_default();
            if *out < self.may_have_out(chunk.account) && add.len() < room {
                *out += 1;
                add.push(chunk.chunk);
            }
        }
        if let Err(error) = self.queue.publish(lane, &add).await {
            tracing::debug!(%error, %lane, "hints could not be added");
        }
        Ok(())
    }

    fn may_have_out(&self, account: AccountId) -> i64 {
        let Some(handle) = self.accounts.get(account) else { return LEAST_OUT };
        if !handle.breaker.is_closed() {
            return 0;
        }
        let per_second = handle.account.limits.iter().map(|window| window.per_second()).reduce(f64::min);
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        per_second.map_or(i64::MAX, |rate| {
            (rate * AHEAD_SECONDS / f64::from(self.launch.chunk.max(1))).ceil() as i64 + LEAST_OUT
        })
    }
}
