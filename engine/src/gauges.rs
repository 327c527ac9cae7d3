//! What a process looks like from outside, now: gauges that nobody's work sets by itself, looked at every few seconds.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    deliver::{accounts::Accounts, places::Places},
    domain::channel::Lane,
    limit::breaker::State,
    metrics::{BREAKER, IN_FLIGHT, PACE, POOL, QUEUE_DEPTH, QUEUE_OLDEST_SECONDS, QUEUE_PENDING},
    queue::Queue,
    store::Store,
};

const PERIOD: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Gauges {
    pub store: Store,
    pub queue: Queue,
    pub accounts: Accounts,
    pub clock: Arc<dyn Clock>,
    pub places: Places,
}

impl Gauges {
    pub async fn report(self, stop: CancellationToken) {
        loop {
            self.look().await;
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    async fn look(&self) {
        let idle = self.store.pool().num_idle();
        let open = usize::try_from(self.store.pool().size()).unwrap_or(usize::MAX);
        metrics::gauge!(POOL, "state" => "idle").set(idle as f64);
        metrics::gauge!(POOL, "state" => "used").set(open.saturating_sub(idle) as f64);
        metrics::gauge!(IN_FLIGHT).set(self.places.taken() as f64);
        for account in self.accounts.all() {
            let state = match account.breaker.state() {
                State::Closed(_) => 0.0,
                State::HalfOpen { .. } => 1.0,
                State::Open { .. } => 2.0,
            };
            // Tenants may call theirs the same.
            let labels =
                [("account", account.account.slug.clone()), ("account_id", account.account.id.to_string())];
            metrics::gauge!(BREAKER, &labels).set(state);
            if let Some(pace) = account.pacer.pace() {
                metrics::gauge!(PACE, &labels).set(pace);
            }
        }
        for lane in Lane::all() {
            let Ok(depth) = self.queue.depth(lane, self.clock.now()).await else { return };
            let name = lane.to_string();
            metrics::gauge!(QUEUE_DEPTH, "lane" => name.clone()).set(depth.length as f64);
            metrics::gauge!(QUEUE_PENDING, "lane" => name.clone()).set(depth.pending as f64);
            let oldest = depth.oldest.map_or(0.0, |age| age.as_secs_f64());
            metrics::gauge!(QUEUE_OLDEST_SECONDS, "lane" => name).set(oldest);
        }
    }
}
