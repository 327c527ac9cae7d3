//! Limits that count the people written to, not the requests: WhatsApp's pace for one pair of sender and recipient,
//! and its tier, the distinct people that a sender may address in 24 hours.
//!
//! **Pairs**: one message every 6 s, up to 45 at once, which then cost their wait. Redis counts for all processes.
//! After it was emptied every pair begins with its burst used up. While it is away each process lets a pair have one
//! message every 6 s by itself; a handful of processes stays within the burst.
//!
//! **People**: Redis holds the hashes of those addressed in 24 hours, Postgres how many they were, written before the
//! answer is given. Redis emptied, that many count as gone to unknown others for a day: an account may then get to
//! fewer people than its tier, never to more. While Redis is away nobody is admitted.

use std::{num::NonZeroU32, time::Duration};

use governor::{Quota, RateLimiter, clock::Clock, clock::DefaultClock, state::keyed::DefaultKeyedStateStore};

use super::{account::micros, redis, source::Sources};
use crate::{id::AccountId, link::LinkError, store::StoreError};

const PAIR_EVERY: Duration = Duration::from_secs(6);
/// Pairs that are remembered while Redis is away, before the idle ones are forgotten.
const PAIRS_HELD: usize = 100_000;

/// Addresses in one call to Redis, whose scripts let nobody else in.
const AT_ONCE: usize = 500;

#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    #[error("people cannot be counted while Redis is away: {0}")]
    Redis(#[from] LinkError),
    #[error("people cannot be counted: {0}")]
    Store(#[from] StoreError),
}

type Pairs = RateLimiter<String, DefaultKeyedStateStore<String>, DefaultClock>;

/// Pairs while Redis is away.
#[derive(Debug)]
pub(super) struct LocalPairs {
    pairs: Pairs,
    clock: DefaultClock,
}

impl Default for LocalPairs {
    fn default() -> Self {
        let quota = Quota::with_period(PAIR_EVERY).expect("not zero").allow_burst(NonZeroU32::MIN);
        Self { pairs: RateLimiter::keyed(quota), clock: DefaultClock::default() }
    }
}

impl LocalPairs {
    fn wait(&self, hash: &String) -> Option<Duration> {
        if self.pairs.len() > PAIRS_HELD {
            self.pairs.retain_recent();
        }
        self.pairs.check_key(hash).err().map(|not_yet| not_yet.wait_time_from(self.clock.now()))
    }
}

/// For each address: `None` when a message is taken and may go now, else how long the pair has to wait.
pub(super) async fn pairs(
    sources: &Sources,
    local: &LocalPairs,
    account: AccountId,
    addresses: &[&str],
) -> Vec<Option<Duration>> {
    let hashes: Vec<String> = addresses.iter().map(|address| redis::hash(account, address)).collect();
    let mut waits = Vec::with_capacity(hashes.len());
    for some in hashes.chunks(AT_ONCE) {
        match sources.redis.pairs(account, some).await {
            Ok(answer) => waits.extend(answer.into_iter().map(as_wait)),
            Err(error) => {
                tracing::debug!(%error, %account, "pairs are paced by this process alone");
                waits.extend(some.iter().map(|hash| local.wait(hash)));
            }
        }
    }
    waits
}

/// For each address: `None` when the account may write to its owner, else how long until somebody makes room.
pub(super) async fn people(
    sources: &Sources,
    account: AccountId,
    per_day: u64,
    addresses: &[&str],
) -> Result<Vec<Option<Duration>>, PeopleError> {
    let hashes: Vec<String> = addresses.iter().map(|address| redis::hash(account, address)).collect();
    let mut waits = Vec::with_capacity(hashes.len());
    for some in hashes.chunks(AT_ONCE) {
        let answer = match sources.redis.people(account, per_day, None, some).await? {
            Some(answer) => answer,
            None => {
                let ghosts = sources.store.people(account).await?;
                let seeded = sources.redis.people(account, per_day, Some(ghosts), some).await?;
                seeded.ok_or_else(|| LinkError::Unavailable("the answer could not be read".to_owned()))?
            }
        };
        sources.store.keep_people(account, answer.counted, answer.at).await?;
        waits.extend(answer.waits.into_iter().map(as_wait));
    }
    Ok(waits)
}

fn as_wait(wait: i64) -> Option<Duration> {
    (wait > 0).then(|| micros(wait))
}
