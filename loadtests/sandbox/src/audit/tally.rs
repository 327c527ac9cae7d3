//! What a lane counts. Atomics, because every request touches them; the refusals by code are a locked map, because a
//! refused request costs little otherwise.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::shard::Seen;
use crate::clock::Clock;
use crate::config::Channel;
use crate::window::{MINUTE_US, SECOND_US, SlidingPeak};

#[derive(Debug)]
pub(crate) struct Tally {
    channel: Channel,
    account: String,
    second: SlidingPeak,
    batch_minute: SlidingPeak,
    counts: Counts,
    refused: Mutex<BTreeMap<String, u64>>,
}

#[derive(Debug)]
struct Counts {
    requests: AtomicU64,
    accepted_requests: AtomicU64,
    deduplicated: AtomicU64,
    unanswered: AtomicU64,
    messages: AtomicU64,
    entries: AtomicU64,
    ids: AtomicU64,
    conflicts: AtomicU64,
    first_us: AtomicU64,
    last_us: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            accepted_requests: AtomicU64::new(0),
            deduplicated: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            ids: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            first_us: AtomicU64::new(u64::MAX),
            last_us: AtomicU64::new(0),
        }
    }
}

/// `GET /sandbox/audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Wall time of microsecond 0.
    pub started_epoch_us: u64,
    pub lanes: Vec<LaneSummary>,
}

/// One account on one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneSummary {
    pub channel: Channel,
    pub account: String,
    /// Send requests of any outcome.
    pub requests: u64,
    /// Send requests that were accepted, answered or not.
    pub accepted_requests: u64,
    /// Requests turned away because their idempotency key was used: what a sender's retry must lead to.
    pub deduplicated: u64,
    /// Requests that were cut or left without an answer on purpose, accepted or not.
    pub unanswered: u64,
    /// Accepted messages, one for each recipient and receipt.
    pub messages: u64,
    /// Accepted messages counted once each.
    pub distinct_messages: u64,
    pub distinct_message_ids: u64,
    /// Extra receipts of a message.
    pub duplicates: u64,
    /// Receipts whose id came before with other content or for somebody else.
    pub digest_conflicts: u64,
    /// Refused requests by code or HTTP status.
    pub refused: BTreeMap<String, u64>,
    /// Most requests of any outcome in any window of one second.
    pub max_requests_in_a_second: u64,
    /// Most calls with `messageVersions` in any window of one minute.
    pub max_batches_in_a_minute: u64,
    /// Arrival of the first and last accepted message, microseconds since start; none while there is none.
    pub first_us: Option<u64>,
    pub last_us: Option<u64>,
}

impl Tally {
    pub(super) fn new(channel: Channel, account: &str) -> Self {
        Self {
            channel,
            account: account.to_owned(),
            second: SlidingPeak::new(SECOND_US),
            batch_minute: SlidingPeak::new(MINUTE_US),
            counts: Counts::default(),
            refused: Mutex::default(),
        }
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel
    }

    pub(super) fn account(&self) -> &str {
        &self.account
    }

    /// Stamps a send request on its arrival, whatever becomes of it.
    pub(crate) fn arrive(&self, clock: &Clock) -> u64 {
        self.counts.requests.fetch_add(1, Relaxed);
        self.second.arrive(clock)
    }

    pub(crate) fn batch(&self, clock: &Clock) {
        self.batch_minute.arrive(clock);
    }

    pub(crate) fn accept_request(&self) {
        self.counts.accepted_requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn deduplicate(&self) {
        self.counts.deduplicated.fetch_add(1, Relaxed);
    }

    pub(crate) fn leave_unanswered(&self) {
        self.counts.unanswered.fetch_add(1, Relaxed);
    }

    pub(crate) fn refuse(&self, code: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match refused.get_mut(code) {
            Some(count) => *count += 1,
            None => {
                refused.insert(code.to_owned(), 1);
            }
        }
    }

    pub(super) fn accepted(&self, seen: Seen, at_us: u64) {
        let counts = &self.counts;
        counts.messages.fetch_add(1, Relaxed);
        counts.entries.fetch_add(u64::from(seen.new_entry), Relaxed);
        counts.ids.fetch_add(u64::from(seen.new_id), Relaxed);
        counts.conflicts.fetch_add(u64::from(seen.conflict), Relaxed);
        counts.first_us.fetch_min(at_us, Relaxed);
        counts.last_us.fetch_max(at_us, Relaxed);
    }

    pub(super) fn summary(&self) -> LaneSummary {
        let counts = &self.counts;
        let messages = counts.messages.load(Relaxed);
        let distinct_messages = counts.entries.load(Relaxed);
        LaneSummary {
            channel: self.channel,
            account: self.account.clone(),
            requests: counts.requests.load(Relaxed),
            accepted_requests: counts.accepted_requests.load(Relaxed),
            deduplicated: counts.deduplicated.load(Relaxed),
            unanswered: counts.unanswered.load(Relaxed),
            messages,
            distinct_messages,
            distinct_message_ids: counts.ids.load(Relaxed),
            duplicates: messages.saturating_sub(distinct_messages),
            digest_conflicts: counts.conflicts.load(Relaxed),
            refused: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            max_requests_in_a_second: self.second.peak() as u64,
            max_batches_in_a_minute: self.batch_minute.peak() as u64,
            first_us: (messages > 0).then(|| counts.first_us.load(Relaxed)),
            last_us: (messages > 0).then(|| counts.last_us.load(Relaxed)),
        }
    }

    pub(super) fn reset(&self) {
        let zero = Counts::default();
        let pairs = [
            (&self.counts.requests, &zero.requests),
            (&self.counts.accepted_requests, &zero.accepted_requests),
            (&self.counts.deduplicated, &zero.deduplicated),
            (&self.counts.unanswered, &zero.unanswered),
            (&self.counts.messages, &zero.messages),
            (&self.counts.entries, &zero.entries),
            (&self.counts.ids, &zero.ids),
            (&self.counts.conflicts, &zero.conflicts),
            (&self.counts.first_us, &zero.first_us),
            (&self.counts.last_us, &zero.last_us),
        ];
        for (count, start) in pairs {
            count.store(start.load(Relaxed), Relaxed);
        }
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.second.reset();
        self.batch_minute.reset();
    }
}
