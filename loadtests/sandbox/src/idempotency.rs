//! Idempotency keys of Brevo e-mail. A key is kept as a 64-bit fingerprint with the time of its use: at a million live
//! keys the chance of one false match in a run is below 1 in 10 million, and a million keys cost about 20 MB.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

const SHARDS: usize = 64;
const FIRST_SWEEP: usize = 4_096;

#[derive(Debug)]
pub(crate) struct UsedKeys {
    ttl_us: u64,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Debug)]
struct Shard {
    used_at_us: HashMap<u64, u64, RandomState>,
    sweep_at: usize,
}

impl UsedKeys {
    pub(crate) fn new(ttl_us: u64) -> Self {
        let shard = || Mutex::new(Shard { used_at_us: HashMap::default(), sweep_at: FIRST_SWEEP });
        Self { ttl_us, hasher: RandomState::new(), shards: (0..SHARDS).map(|_| shard()).collect() }
    }

    /// True if the key was free and is now used; one caller of many at the same time gets true.
    pub(crate) fn claim(&self, account: u16, key: &str, now_us: u64) -> bool {
        let fingerprint = self.hasher.hash_one((account, key));
        let mut shard = self.shard(fingerprint);
        if shard.used_at_us.len() >= shard.sweep_at {
            let ttl = self.ttl_us;
            shard.used_at_us.retain(|_, used| *used + ttl > now_us);
            shard.sweep_at = (shard.used_at_us.len() * 2).max(FIRST_SWEEP);
        }
        match shard.used_at_us.entry(fingerprint) {
            Entry::Occupied(used) if *used.get() + self.ttl_us > now_us => false,
            Entry::Occupied(mut expired) => {
                expired.insert(now_us);
                true
            }
            Entry::Vacant(free) => {
                free.insert(now_us);
                true
            }
        }
    }

    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).used_at_us.clear();
        }
    }

    fn shard(&self, fingerprint: u64) -> MutexGuard<'_, Shard> {
        // The map uses other bits of its own second hash, so the low ones may choose the shard.
        self.shards[fingerprint as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
