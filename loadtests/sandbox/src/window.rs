//! Sliding windows that are true ones: a window of one second is `(t - 1 s, t]` for *every* t, so a burst that
//! straddles a full second is seen. Each holds the times themselves; it holds at most as many as fit the window.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::clock::Clock;
use crate::config::Limit;

pub(crate) const SECOND_US: u64 = 1_000_000;
pub(crate) const MINUTE_US: u64 = 60 * SECOND_US;
pub(crate) const HOUR_US: u64 = 60 * MINUTE_US;

/// At most this many times are kept for a peak; beyond it the peak reads as this number.
const PEAK_CAP: usize = 1 << 20;

/// Admits at most `limit` calls in any window; a refused call does not count.
#[derive(Debug)]
pub(crate) struct SlidingLimit {
    limit: Limit,
    window_us: u64,
    admitted: Mutex<VecDeque<u64>>,
}

/// The answer of a limit, with what the `x-sib-ratelimit-*` headers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) admitted: bool,
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    pub(crate) reset_s: u64,
}

/// What the headers show when there is no limit: the largest number that every client can read.
const UNLIMITED: u64 = i32::MAX as u64;

impl SlidingLimit {
    pub(crate) fn new(limit: Limit, window_us: u64) -> Self {
        Self { limit, window_us, admitted: Mutex::default() }
    }

    pub(crate) fn admit(&self, clock: &Clock) -> Quota {
        let Limit::AtMost(limit) = self.limit else {
            return Quota { admitted: true, limit: UNLIMITED, remaining: UNLIMITED, reset_s: 1 };
        };
        let mut times = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.now_us();
        expire(&mut times, now, self.window_us);
        let admitted = times.len() < limit as usize;
        if admitted {
            times.push_back(now);
        }
        quota(&times, now, limit, self.window_us, admitted)
    }

    /// The state of the window, without using any of it.
    pub(crate) fn peek(&self, clock: &Clock) -> Quota {
        let Limit::AtMost(limit) = self.limit else {
            return Quota { admitted: true, limit: UNLIMITED, remaining: UNLIMITED, reset_s: 1 };
        };
        let mut times = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.now_us();
        expire(&mut times, now, self.window_us);
        quota(&times, now, limit, self.window_us, true)
    }
}

fn quota(times: &VecDeque<u64>, now: u64, limit: u32, window_us: u64, admitted: bool) -> Quota {
    let frees_at = times.front().map_or(now + window_us, |first| first + window_us);
    Quota {
        admitted,
        limit: u64::from(limit),
        remaining: u64::from(limit).saturating_sub(times.len() as u64),
        reset_s: frees_at.saturating_sub(now).div_ceil(SECOND_US),
    }
}

fn expire(times: &mut VecDeque<u64>, now: u64, window_us: u64) {
    while times.front().is_some_and(|first| first + window_us <= now) {
        times.pop_front();
    }
}

/// The most calls seen in any window so far.
#[derive(Debug)]
pub(crate) struct SlidingPeak {
    window_us: u64,
    seen: Mutex<(VecDeque<u64>, usize)>,
}

impl SlidingPeak {
    pub(crate) fn new(window_us: u64) -> Self {
        Self { window_us, seen: Mutex::default() }
    }

    /// Stamps an arrival. The clock is read under the lock, so that times are in order.
    pub(crate) fn arrive(&self, clock: &Clock) -> u64 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (times, peak) = &mut *seen;
        let now = clock.now_us();
        expire(times, now, self.window_us);
        if times.len() < PEAK_CAP {
            times.push_back(now);
        }
        *peak = times.len().max(*peak);
        now
    }

    pub(crate) fn peak(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    pub(crate) fn reset(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Default::default();
    }
}
