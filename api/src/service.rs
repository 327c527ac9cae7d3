//! The HTTP service of one process.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use fanfare_engine::{
    clock::Clock,
    config::sections::{ApiConfig, AuthConfig},
    deliver::accounts::Accounts,
    engine::Engine,
    feedback::{Inbox, InboxSettings, InboxWriter},
    id::Ids,
    queue::Queue,
    roster::Roster,
    seal::Seal,
    store::Store,
};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{Auth, passwords::Passwords, tokens::AccessTokens},
    http::limits::{Allowances, Limits},
    router::router,
    telemetry,
};

/// What the configuration says about the API.
#[derive(Debug, Clone, Copy)]
pub struct ApiSettings<'a> {
    pub api: &'a ApiConfig,
    pub auth: &'a AuthConfig,
}

/// What the routes share; cheap to clone.
#[derive(Debug, Clone)]
pub struct Service {
    pub(crate) store: Store,
    pub(crate) queue: Queue,
    pub(crate) accounts: Accounts,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) inbox: Inbox,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) auth: Arc<Auth>,
    pub(crate) seal: Arc<Seal>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) cors_origins: Arc<[String]>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) provider_base_urls: Arc<[String]>,
}

impl Service {
    /// The service, and the task that commits the webhooks it takes in.
    pub fn new(engine: &Engine, settings: ApiSettings<'_>) -> (Self, InboxWriter) {
        let (inbox, writer) = Inbox::new(engine.store.clone(), InboxSettings::default());
        let service = Self {
            store: engine.store.clone(),
            queue: engine.queue.clone(),
            accounts: engine.accounts.clone(),
            clock: Arc::clone(&engine.clock),
            ids: Arc::clone(&engine.ids),
            inbox,
            metrics: telemetry::metrics(),
            auth: Arc::new(auth(settings.auth, &engine.ids)),
            // Checked when the configuration was read.
            seal: Arc::new(Seal::parse(settings.auth.sealing_keys.expose()).unwrap_or_default()),
            limits: Arc::new(limits(settings.api)),
            cors_origins: settings.api.cors_origins.clone().into(),
            roster: Arc::clone(&engine.roster),
            provider_base_urls: settings.api.provider_base_urls.clone().into(),
        };
        (service, writer)
    }

    /// Serves until `stop`, then answers what has come in, and returns when all of it is stored.
    pub async fn serve(
        self,
        writer: InboxWriter,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let (metrics, limits) = (self.metrics.clone(), Arc::clone(&self.limits));
        let routes = router(self).into_make_service_with_connect_info::<SocketAddr>();
        let serve = axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
        let http = async {
            tokio::select! {
                served = serve => served,
                () = tidy(metrics, limits) => Ok(()),
            }
        };
        // The writer ends when the last route that holds the inbox is gone.
        tokio::join!(http, writer.run()).0
    }
}

fn auth(config: &AuthConfig, ids: &Ids) -> Auth {
    let secret = if config.jwt_secret.is_empty() {
        tracing::warn!("JWT_SECRET is not set: whoever signs in is signed out when this process ends");
        hex::encode(ids.random_bytes::<32>())
    } else {
        config.jwt_secret.expose().to_owned()
    };
    Auth {
        access: AccessTokens::new(&SecretString::from(secret), Duration::from_mins(config.access_minutes)),
        refresh_lifetime: Duration::from_hours(24 * config.refresh_days),
        passwords: Passwords::new(),
    }
}

fn limits(config: &ApiConfig) -> Limits {
    let allowed = |per_second| NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
    Limits::new(Allowances {
        tenant: allowed(config.tenant_per_second),
        key: allowed(config.program_per_second),
        stranger: allowed(config.stranger_per_second),
    })
}

/// Histograms gather samples until somebody folds them, and limits callers until somebody forgets them.
async fn tidy(metrics: PrometheusHandle, limits: Arc<Limits>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
        limits.tidy();
    }
}
