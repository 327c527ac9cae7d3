//! Bulk steps aside for the urgent: while transactional messages of this process take long from acceptance to the wire,
//! fewer chunks are worked on at once.
//!
//! On a small machine commits and rendering of campaigns compete with a transactional message for the same cores; the
//! number of chunks at work is the lever. It is halved a step at a time while the latency is too high, and given back
//! one by one when it is not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// From acceptance to the wire; above it bulk steps aside.
const TOO_LONG: Duration = Duration::from_millis(50);
const STEP: Duration = Duration::from_millis(100);

/// The recent latency of the direct path; shared by those who measure and those who heed it.
#[derive(Debug, Clone, Default)]
pub struct UrgentLatency {
    micros: Arc<AtomicU64>,
}

impl UrgentLatency {
    /// Follows upward at once and downward slowly, so that a single slow message counts.
    pub fn observe(&self, latency: Duration) {
        let seen = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let follow = |known: u64| Some(seen.max(known - known / 8));
        let _ = self.micros.fetch_update(Ordering::Relaxed, Ordering::Relaxed, follow);
    }

    /// Forgets a little: without urgent messages there is nothing to step aside for.
    fn fade(&self) -> Duration {
        let fade = |known: u64| Some(known - known.div_ceil(16).min(known));
        Duration::from_micros(
            self.micros.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fade).unwrap_or(0),
        )
    }
}

/// Shrinks and widens `room` until `stop`; at least one chunk is always at work.
pub async fn tame(room: Arc<Semaphore>, total: usize, latency: UrgentLatency, stop: CancellationToken) {
    let mut held: Vec<OwnedSemaphorePermit> = Vec::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(STEP) => {}
            () = stop.cancelled() => return,
        }
        if latency.fade() > TOO_LONG {
            let take = (total - held.len()) / 2;
            // Only room that is free: chunks at work are finished.
            held.extend((0..take).map_while(|_| Arc::clone(&room).try_acquire_owned().ok()));
        } else {
            held.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bulk_shrinks_while_the_urgent_are_slow_and_comes_back() {
        let (room, latency, stop) =
            (Arc::new(Semaphore::new(8)), UrgentLatency::default(), CancellationToken::new());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(tame(Arc::clone(&room), 8, latency.clone(), stop.clone()));
        for _ in 0..10 {
            latency.observe(Duration::from_millis(200));
            tokio::time::sleep(STEP).await;
        }
        assert_eq!(room.available_permits(), 1, "one chunk goes on");
        tokio::time::sleep(STEP * 60).await;
        assert_eq!(room.available_permits(), 8);
        stop.cancel();
        while tasks.join_next().await.is_some() {}
    }
}
