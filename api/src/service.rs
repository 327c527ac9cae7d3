//! The HTTP service of one process.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use fanfare_engine::{
    clock::Clock,
    deliver::accounts::Accounts,
    engine::Engine,
    feedback::{Inbox, InboxSettings, InboxWriter},
    queue::Queue,
    store::Store,
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

impl Service {
    /// The service, and the task that commits the webhooks it takes in.
    pub fn new(engine: &Engine) -> (Self, InboxWriter) {
        let (inbox, writer) = Inbox::new(engine.store.clone(), InboxSettings::default());
        let service = Self {
            store: engine.store.clone(),
            queue: engine.queue.clone(),
            accounts: engine.accounts.clone(),
            clock: Arc::clone(&engine.clock),
            inbox,
            metrics: telemetry::metrics(),
        };
        (service, writer)
    }

    /// Serves until `stop`, then answers what has come in, and returns when all of it is stored.
    pub async fn serve(self, writer: InboxWriter, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        let metrics = self.metrics.clone();
        let routes = router(self).into_make_service_with_connect_info::<SocketAddr>();
        let serve = axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
        let http = async {
            tokio::select! {
                served = serve => served,
                // Histograms gather samples until somebody folds them.
                () = fold(metrics) => Ok(()),
            }
        };
        // The writer ends when the last route that holds the inbox is gone.
        tokio::join!(http, writer.run()).0
    }
}

async fn fold(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}
