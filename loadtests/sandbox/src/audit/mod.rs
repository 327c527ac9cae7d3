//! Who got what, how often and when: the ledger by which tests judge a sender.
//!
//! A *lane* is an account on a channel; it counts its requests and refusals. A *message* is one recipient of an
//! accepted request, known by (channel, message id, address); receiving it again is a duplicate, receiving its id with
//! other content or for somebody else is a conflict. Memory is bounded by what was accepted (see `shard.rs`), and time
//! under a lock by one message. `DELETE /sandbox/audit` begins anew, also with the idempotency keys.

mod digest;
mod export;
mod shard;
mod tally;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

pub use self::digest::digest;
pub(crate) use self::export::{LogFilter, Logged, ndjson};
pub use self::export::{MessageRecord, Page};
use self::shard::{Arrival, Shard};
pub(crate) use self::tally::Tally;
pub use self::tally::{LaneSummary, Summary};
use crate::clock::Clock;
use crate::config::Channel;
use crate::provider_id::ProviderIds;

const SHARDS: u64 = 64;

/// One key for all shards, so that a checker's counting does not depend on it.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn hash_of(message_id: &str) -> u64 {
    HASHER.hash_one(message_id)
}

/// Position of an account's channel in the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct LaneId(pub(crate) u16);

/// What became of a message after acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Delivered,
    HardBounced,
    SoftBounced,
    Blocked,
    Invalid,
    Spam,
    Unsubscribed,
    Failed,
    Replied,
}

/// One recipient of an accepted message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipient<'a> {
    pub(crate) address: &'a str,
    pub(crate) digest: [u8; 16],
    pub(crate) fate: Fate,
}

/// An accepted message without its recipients.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) lane: LaneId,
    pub(crate) at_us: u64,
    /// Ours, empty if the sender gave none: then nothing is ever its duplicate.
    pub(crate) message_id: &'a str,
    /// One a line.
    pub(crate) tags: &'a str,
}

#[derive(Debug)]
pub struct Audit {
    shards: Box<[Mutex<Shard>]>,
    tallies: Box<[Tally]>,
    ids: ProviderIds,
    started_epoch_us: u64,
}

impl Audit {
    /// `lanes`: the accounts by channel, in the order of their [`LaneId`]s.
    pub(crate) fn new(lanes: &[(Channel, String)], clock: &Clock) -> Self {
        let started_epoch_us = clock.wall_us(0);
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            tallies: lanes.iter().map(|(channel, account)| Tally::new(*channel, account)).collect(),
            ids: ProviderIds::new(started_epoch_us),
            started_epoch_us,
        }
    }

    pub(crate) fn lane(&self, lane: LaneId) -> &Tally {
        &self.tallies[usize::from(lane.0)]
    }

    pub(crate) fn ids(&self) -> &ProviderIds {
        &self.ids
    }

    /// Enters a message and gives it its number.
    pub(crate) fn receive<'a>(
        &self,
        received: &Received<'a>,
        recipients: impl Iterator<Item = Recipient<'a>>,
    ) -> u64 {
        let tally = self.lane(received.lane);
        let salted = hash_of(received.message_id);
        let hash = if received.message_id.is_empty() { received.at_us } else { salted };
        let which = Self::shard_of(hash);
        let mut shard = self.shard(which);
        let serial = shard.next_local() * SHARDS + which;
        let arrivals = recipients.map(|recipient| Arrival {
            lane: received.lane,
            at_us: received.at_us,
            hash: salted,
            message_id: received.message_id,
            address: recipient.address,
            tags: received.tags,
            digest: recipient.digest,
            fate: recipient.fate,
        });
        shard.receive(serial, arrivals, |seen| tally.accepted(seen, received.at_us));
        serial
    }

    fn shard(&self, which: u64) -> MutexGuard<'_, Shard> {
        self.shards[which as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard_of(hash: u64) -> u64 {
        (hash ^ (hash >> 32)) % SHARDS
    }

    /// Counts per channel and account.
    pub fn summary(&self) -> Summary {
        Summary {
            started_epoch_us: self.started_epoch_us,
            lanes: self.tallies.iter().map(Tally::summary).collect(),
        }
    }

    /// How many messages arrived from `from_us` (inclusive) to `to_us` (exclusive), microseconds since start.
    pub fn arrivals(&self, from_us: u64, to_us: u64) -> usize {
        (0..SHARDS).map(|which| self.shard(which).arrivals_between(from_us, to_us)).sum()
    }

    /// All recipients that a message id was received for.
    pub fn message(&self, message_id: &str) -> Vec<MessageRecord> {
        let hash = hash_of(message_id);
        let shard = self.shard(Self::shard_of(hash));
        shard.by_message_id(hash, message_id).map(|entry| self.record(&shard, entry)).collect()
    }

    pub(crate) fn reset(&self) {
        for which in 0..SHARDS {
            *self.shard(which) = Shard::default();
        }
        self.tallies.iter().for_each(Tally::reset);
        self.ids.next_generation();
    }

    /// Refusals of all accounts by code.
    pub fn refused(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for lane in self.summary().lanes {
            for (code, count) in lane.refused {
                *all.entry(code).or_default() += count;
            }
        }
        all
    }
}
