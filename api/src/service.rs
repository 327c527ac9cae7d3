//! The HTTP service of one process.

use std::{num::NonZeroU32, ops::Deref, sync::Arc, time::Duration};

use fanfare_engine::{
    blobs::Blobs,
    clock::Clock,
    config::sections::{ApiConfig, AuthConfig, ImportConfig, PublicConfig},
    contacts::Limits as ImportLimits,
    deliver::{accounts::Accounts, direct::DirectPath},
    domain::token::PublicLinks,
    engine::Engine,
    feedback::{
        Inbox, InboxSettings, InboxWriter,
        visits::{Visits, VisitsWriter},
    },
    id::Ids,
    queue::Queue,
    roster::Roster,
    seal::Seal,
    store::Store,
};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{Auth, passwords::Passwords, tokens::AccessTokens},
    http::{
        limits::{Allowances, Limits},
        problem::Problem,
    },
    listen,
    router::Routes,
    telemetry,
    together::{Answerers, Together},
    turns::{Spools, turn},
};

/// What the configuration says about the API.
#[derive(Debug, Clone, Copy)]
pub struct ApiSettings<'a> {
    pub api: &'a ApiConfig,
    pub auth: &'a AuthConfig,
    pub imports: &'a ImportConfig,
    pub public: &'a PublicConfig,
}

/// What the routes share; cheap to clone.
#[derive(Debug, Clone)]
pub struct Service(Arc<Parts>);

impl Deref for Service {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// See [`Service`].
#[derive(Debug)]
pub struct Parts {
    pub(crate) store: Store,
    pub(crate) queue: Queue,
    pub(crate) accounts: Accounts,
    /// Takes single messages in.
    pub(crate) direct: DirectPath,
    /// How long whoever sends one waits for the provider.
    pub(crate) send_wait: Duration,
    /// How long a connection may say nothing, in the midst of a body, too.
    pub(crate) idle: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) inbox: Inbox,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) auth: Arc<Auth>,
    pub(crate) seal: Arc<Seal>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) cors_origins: Arc<[String]>,
    pub(crate) files: Arc<Files>,
    /// Recipients of a chunk of messages that are sent once more.
    pub(crate) retry_chunk: i32,
    pub(crate) roster: Arc<Roster>,
    pub(crate) provider_base_urls: Arc<[String]>,
    /// What links begin with, without a slash at the end: the public address, or that of this process.
    pub(crate) base_url: Arc<str>,
    /// Whether others than this machine's can follow those links.
    pub(crate) has_public_url: bool,
    /// Work that holds a connection and a processor for seconds: a pre-flight, contacts and suppressions by the million.
    pub(crate) heavy: Arc<Semaphore>,
    pub(crate) spools: Spools,
    /// Mails with links for those who forgot their password are written after the answer, so many at once.
    pub(crate) forgotten: Arc<Semaphore>,
    /// What recipients can do without signing in.
    pub(crate) links: PublicLinks,
    pub(crate) visits: Visits,
    pub(crate) together: Together,
}

/// What requests share: what is taken in and committed by the way, and what is asked together.
#[derive(Debug)]
pub struct Writers {
    inbox: InboxWriter,
    visits: VisitsWriter,
    answerers: Answerers,
}

/// Files on their way in.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) limits: ImportLimits,
    /// Of the files of one request.
    pub(crate) max_upload_bytes: u64,
    /// A look at a file takes a processor for a second or two: so many at once, the others wait.
    pub(crate) looks: Semaphore,
}

const LOOKS: usize = 2;
const FORGOTTEN: usize = 16;
const HEAVY: usize = 4;

impl Service {
    /// The service, and the tasks that commit what it takes in, over the connections of `store`. `direct` is that of the engine
    /// at work: it is let go of when the last request has been answered, and only then the engine has ended.
    pub fn new(
        engine: &Engine,
        store: Store,
        direct: DirectPath,
        settings: ApiSettings<'_>,
    ) -> (Self, Writers) {
        let (inbox, writer) = Inbox::new(store.clone(), InboxSettings::default());
        let (visits, visits_writer) = Visits::new(store.clone());
        let (together, answerers) = Together::new(store.clone());
        let parts = Parts {
            store,
            queue: engine.queue.clone(),
            accounts: engine.accounts.clone(),
            direct,
            send_wait: Duration::from_millis(settings.api.send_wait_ms),
            idle: Duration::from_secs(settings.api.idle_s),
            clock: Arc::clone(&engine.clock),
            ids: Arc::clone(&engine.ids),
            inbox,
            metrics: telemetry::metrics(),
            auth: Arc::new(auth(settings.auth, &engine.ids)),
            // Checked when the configuration was read.
            seal: Arc::new(Seal::parse(settings.auth.sealing_keys.expose()).unwrap_or_default()),
            limits: Arc::new(limits(settings.api, settings.public)),
            cors_origins: settings.api.cors_origins.clone().into(),
            files: Arc::new(Files {
                blobs: Arc::clone(&engine.blobs),
                limits: engine.settings.imports,
                max_upload_bytes: settings.imports.max_upload_bytes,
                looks: Semaphore::new(LOOKS),
            }),
            retry_chunk: engine.settings.launch.chunk,
            roster: Arc::clone(&engine.roster),
            provider_base_urls: settings.api.provider_base_urls.clone().into(),
            base_url: settings.api.base().into(),
            has_public_url: !settings.api.public_url.is_empty(),
            heavy: Arc::new(Semaphore::new(HEAVY)),
            spools: Spools::default(),
            forgotten: Arc::new(Semaphore::new(FORGOTTEN)),
            links: engine.settings.links.clone(),
            visits,
            together,
        };
        (Self(Arc::new(parts)), Writers { inbox: writer, visits: visits_writer, answerers })
    }

    /// A turn for heavy work.
    pub(crate) async fn heavy_turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        turn(&self.heavy).await
    }

    /// Serves until `stop`, then answers what has come in, and returns when all of it is stored.
    pub async fn serve(self, writers: Writers, listener: TcpListener, stop: CancellationToken) {
        let (metrics, limits) = (self.metrics.clone(), Arc::clone(&self.limits));
        let idle = self.idle;
        let http = async {
            tokio::select! {
                () = listen::serve(listener, Routes::new(self), idle, &stop) => {}
                () = tidy(metrics, limits) => {}
            }
        };
        // The writers end when the last route that holds their other end is gone.
        tokio::join!(http, writers.inbox.run(), writers.visits.run(), Box::pin(writers.answerers.run()));
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
        answers: Seal::derived("fanfare: answers kept under an Idempotency-Key", secret.as_bytes()),
        access: AccessTokens::new(&SecretString::from(secret), Duration::from_mins(config.access_minutes)),
        refresh_lifetime: Duration::from_hours(24 * config.refresh_days),
        passwords: Passwords::new(),
    }
}

fn limits(config: &ApiConfig, public: &PublicConfig) -> Limits {
    let allowed = |per_second| NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
    Limits::new(Allowances {
        tenant: allowed(config.tenant_per_second),
        key: allowed(config.program_per_second),
        stranger: allowed(config.stranger_per_second),
        visitor: allowed(public.per_second),
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
