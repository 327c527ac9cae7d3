//! The HTTP service of one process.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use fanfare_engine::{
    clock::Clock,
    deliver::accounts::Accounts,
    engine::Engine,
    id::AccountId,
    queue::Queue,
    store::{Store, StoreResult},
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{router::router, telemetry};

/// What the routes share; cheap to clone.
#[derive(Debug, Clone)]
pub struct Service {
    pub(crate) store: Store,
    pub(crate) queue: Queue,
    pub(crate) accounts: Accounts,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) inbox: Inbox,
    pub(crate) metrics: PrometheusHandle,
}

/// Where webhooks wait until they are applied.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    store: Store,
}

impl Inbox {
    /// Durable when it returns.
    pub(crate) async fn keep(&self, account: AccountId, body: Bytes) -> StoreResult<()> {
        self.store.keep_webhook(account, &body).await
    }
}

impl Service {
    pub fn new(engine: &Engine) -> Self {
        Self {
            store: engine.store.clone(),
            queue: engine.queue.clone(),
            accounts: engine.accounts.clone(),
            clock: Arc::clone(&engine.clock),
            inbox: Inbox { store: engine.store.clone() },
            metrics: telemetry::metrics(),
        }
    }

    /// Serves until `stop`, then answers what has come in and returns.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        let metrics = self.metrics.clone();
        let routes = router(self).into_make_service_with_connect_info::<SocketAddr>();
        let serve = axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::select! {
            served = serve => served,
            // Histograms gather samples until somebody folds them.
            () = fold(metrics) => Ok(()),
        }
    }
}

async fn fold(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}
