//! The listener. Send requests go straight to `sends.rs`, everything else through the router. Each connection is a task;
//! a decision to cut one ends its task without an answer. Shutting down ends all of them at once: a simulator owes no
//! grace to what is in flight.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::audit::Audit;
use crate::clock::Reading;
use crate::config::SandboxConfig;
use crate::faults::FaultsChange;
use crate::reply::Cut;
use crate::routes;
use crate::sends::{self, SendRoute};
use crate::webhooks::{self, Targets, WebhookCounts};
use crate::world::World;

/// Why a sandbox did not start, or was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("cannot listen on 127.0.0.1:{port}: {source}; choose another port, or 0 for a free one")]
    Listen { port: u16, source: io::Error },
    #[error("cannot make the client for webhooks: {0}")]
    Client(#[from] reqwest::Error),
    #[error("{0}")]
    Faults(String),
}

/// The simulator of the providers.
#[derive(Debug)]
pub struct Sandbox;

impl Sandbox {
    /// Listens on the loopback and serves until [`RunningSandbox::shutdown`], or until that is dropped.
    pub async fn start(config: SandboxConfig) -> Result<RunningSandbox, SandboxError> {
        config.faults.check().map_err(SandboxError::Faults)?;
        let port = config.port;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(|source| SandboxError::Listen { port, source })?;
        let address = listener.local_addr().map_err(|source| SandboxError::Listen { port, source })?;
        let client = webhooks::client(Duration::from_millis(config.webhooks.timeout_ms))?;
        let world = Arc::new(World::new(config));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(webhooks::run(Arc::clone(&world), client, stop.clone()));
        tasks.spawn(accept(listener, Arc::clone(&world), stop.clone(), tasks.clone()));
        tracing::info!(%address, "sandbox listens");
        Ok(RunningSandbox { world, address, tasks, stop: Some(stop.drop_guard()) })
    }
}

/// All routes of a sandbox without a listener, for in-process calls. Nothing dispatches its webhooks, and a connection
/// that would be cut reads as an empty 200: start a [`Sandbox`] where those matter.
pub fn router(config: SandboxConfig) -> Router {
    routes::router(Arc::new(World::new(config)))
}

/// A sandbox that serves. Dropping it ends it.
#[derive(Debug)]
pub struct RunningSandbox {
    world: Arc<World>,
    address: SocketAddr,
    tasks: TaskTracker,
    stop: Option<tokio_util::sync::DropGuard>,
}

impl RunningSandbox {
    /// `http://127.0.0.1:port`, without a slash at the end. Brevo's clients add `/v3` themselves or want it added;
    /// WhatsApp's add the version.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn audit(&self) -> &Audit {
        &self.world.audit
    }

    pub fn clock(&self) -> Reading {
        self.world.clock.reading()
    }

    /// As `DELETE /sandbox/audit`.
    pub fn reset_audit(&self) {
        self.world.audit.reset();
        self.world.used_keys.clear();
    }

    /// As `POST /sandbox/faults`.
    pub fn set_faults(&self, change: FaultsChange) -> Result<(), SandboxError> {
        self.world.faults.change(change, self.world.clock.now_us()).map_err(SandboxError::Faults)
    }

    /// As `PUT /sandbox/webhooks`.
    pub fn set_webhooks(&self, targets: Targets) {
        self.world.webhooks.change(targets);
    }

    pub fn webhook_counts(&self) -> WebhookCounts {
        self.world.webhooks.counts()
    }

    /// Ends all connections and waits until their tasks are gone.
    pub async fn shutdown(mut self) {
        drop(self.stop.take());
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(listener: TcpListener, world: Arc<World>, stop: CancellationToken, tasks: TaskTracker) {
    let router = routes::router(Arc::clone(&world));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, Arc::clone(&world), router.clone());
                let stop = stop.clone();
                tasks.spawn(async move { stop.run_until_cancelled(connection).await });
            }
            Err(error) => {
                // Out of file descriptors, most likely: waiting lets some go.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The connection ends here without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut on purpose")]
struct CutShort;

async fn connection(stream: TcpStream, world: Arc<World>, router: Router) {
    // Small answers must not wait for an acknowledgment; without it the sandbox is slower, and no more.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| serve(Arc::clone(&world), router.clone(), request));
    // A caller that goes away, and a cut, end in an error that nobody needs to hear of.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn serve(
    world: Arc<World>,
    router: Router,
    request: Request<Incoming>,
) -> Result<Response<Body>, CutShort> {
    let (parts, body) = request.into_parts();
    let response = match SendRoute::of(&parts.method, parts.uri.path()) {
        Some(route) => sends::answer(&world, route, &parts, body).await,
        None => {
            let request = Request::from_parts(parts, Body::new(body));
            router.oneshot(request).await.unwrap_or_else(|never| match never {})
        }
    };
    if response.extensions().get::<Cut>().is_some() { Err(CutShort) } else { Ok(response) }
}
