//! Where permitted requests arrive, and how many of them in the worst second.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use fanfare_engine::limit::{AccountPacer, Priority};
use tokio::task::JoinSet;

#[derive(Debug, Clone, Default)]
pub(super) struct Sink {
    arrivals: Arc<Mutex<Vec<Instant>>>,
}

impl Sink {
    fn arrive(&self) {
        self.arrivals.lock().expect("not poisoned").push(Instant::now());
    }

    /// Counts what arrived at `other` as well.
    pub(super) fn take_in(&self, other: &Self) {
        self.arrivals.lock().expect("not poisoned").extend(other.arrivals());
    }

    pub(super) fn arrivals(&self) -> Vec<Instant> {
        let mut arrivals = self.arrivals.lock().expect("not poisoned").clone();
        arrivals.sort_unstable();
        arrivals
    }

    /// The most arrivals in any second.
    pub(super) fn worst_second(&self) -> usize {
        let arrivals = self.arrivals();
        let mut from = 0;
        (0..arrivals.len())
            .map(|to| {
                while arrivals[to] - arrivals[from] >= Duration::from_secs(1) {
                    from += 1;
                }
                to - from + 1
            })
            .max()
            .unwrap_or(0)
    }

    /// Arrivals a second between the first and the last.
    pub(super) fn pace(&self) -> f64 {
        let arrivals = self.arrivals();
        let (first, last) = (arrivals.first().expect("arrivals"), arrivals.last().expect("arrivals"));
        (arrivals.len() - 1) as f64 / (*last - *first).as_secs_f64()
    }

    pub(super) fn within(&self, from: Instant, to: Instant) -> usize {
        self.arrivals().iter().filter(|&&at| at >= from && at < to).count()
    }
}

/// Sends as fast as `senders` at a time are permitted to, for so long.
pub(super) async fn flood(pacer: &Arc<AccountPacer>, senders: usize, lasting: Duration, sink: &Sink) {
    let until = Instant::now() + lasting;
    let mut tasks = JoinSet::new();
    for _ in 0..senders {
        let (pacer, sink) = (Arc::clone(pacer), sink.clone());
        tasks.spawn(async move {
            while Instant::now() < until {
                if pacer.permit(Priority::Bulk).await.is_ok() && Instant::now() < until {
                    sink.arrive();
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic");
    }
}
