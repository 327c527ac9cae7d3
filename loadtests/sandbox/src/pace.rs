//! WhatsApp's pace between one number and one person: a message every six seconds, of which up to `burst` may come
//! at once and are then waited for. A pair is one number, the time at which its debt is paid off.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;

use crate::clock::Clock;
use crate::config::PairLimit;

#[derive(Debug)]
pub(crate) struct PairPace {
    limit: PairLimit,
    hasher: RandomState,
    shards: Box<[Mutex<Pairs>]>,
}

#[derive(Debug)]
struct Pairs {
    paid_off_us: HashMap<u64, u64, RandomState>,
    sweep_at: usize,
}

const SHARDS: usize = 16;
/// Pairs without debt are swept out when a shard has doubled since the last time.
const FIRST_SWEEP: usize = 4_096;

impl PairPace {
    pub(crate) fn new(limit: PairLimit) -> Self {
        let pairs = || Mutex::new(Pairs { paid_off_us: HashMap::default(), sweep_at: FIRST_SWEEP });
        let shards = (0..SHARDS).map(|_| pairs()).collect();
        Self { limit, hasher: RandomState::new(), shards }
    }

    pub(crate) fn admit(&self, clock: &Clock, sender: &str, recipient: &str) -> bool {
        let PairLimit::Paced { interval_ms, burst } = self.limit else { return true };
        let interval = u64::from(interval_ms) * 1_000;
        let key = self.hasher.hash_one((sender, recipient));
        let mut pairs = self.shards[key as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.now_us();
        if pairs.paid_off_us.len() >= pairs.sweep_at {
            pairs.paid_off_us.retain(|_, paid_off| *paid_off > now);
            pairs.sweep_at = (pairs.paid_off_us.len() * 2).max(FIRST_SWEEP);
        }
        let paid_off = pairs.paid_off_us.entry(key).or_insert(now);
        let after = (*paid_off).max(now) + interval;
        let admitted = after <= now + interval * u64::from(burst);
        if admitted {
            *paid_off = after;
        }
        admitted
    }
}
