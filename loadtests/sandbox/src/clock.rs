//! One clock for everything the sandbox stamps: microseconds since start, from the monotonic clock, with the wall
//! time of the start beside it. A step of the wall clock therefore moves neither a rate window nor the audit.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    epoch_us: u64,
}

/// What `GET /sandbox/clock` answers: two readings of one moment.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Reading {
    /// Microseconds since the sandbox started, never going back.
    pub monotonic_us: u64,
    /// Microseconds since 1970 that correspond to `monotonic_us`.
    pub epoch_us: u64,
    /// Microseconds since 1970 at which `monotonic_us` was 0.
    pub started_epoch_us: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the simulator's clock is the machine's")]
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), epoch_us: micros(epoch) }
    }

    pub(crate) fn now_us(&self) -> u64 {
        micros(self.start.elapsed())
    }

    pub(crate) fn wall_us(&self, at_us: u64) -> u64 {
        self.epoch_us + at_us
    }

    pub(crate) fn reading(&self) -> Reading {
        let monotonic_us = self.now_us();
        Reading { monotonic_us, epoch_us: self.wall_us(monotonic_us), started_epoch_us: self.epoch_us }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A wall-clock moment as the providers write it.
pub(crate) fn timestamp(wall_us: u64) -> jiff::Timestamp {
    i64::try_from(wall_us)
        .ok()
        .and_then(|us| jiff::Timestamp::from_microsecond(us).ok())
        .unwrap_or(jiff::Timestamp::MAX)
}
