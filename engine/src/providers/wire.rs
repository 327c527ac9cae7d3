//! Connections to providers, kept and used again.
//!
//! A connection carries one request at a time, and whoever sends drives it ([`super::exchange`]): no task stands between a
//! request and its socket, so an answer wakes nobody but its sender. The connection that was used last is used next, so that no
//! more are warm than are needed. One that the other side has closed meanwhile is noticed before a byte is written to it.
//!
//! HTTP/1.1 only: the connections of a process are never more than its places on the wire. There may be thousands, each waiting
//! for an answer most of the time, so what a waiting one holds is what the process holds.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use hyper::{Uri, http::uri::Authority};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tower::{Service as _, ServiceExt as _};

use super::{
    exchange::{Exchange, Request},
    reply::{Received, Reply},
    settings::{ConfigError, HttpSettings},
};
use crate::domain::outcome::Reason;

type Stream = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// No answer came.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection came about.
    NotSent(Request),
    /// Connecting took all the time that it is given.
    TooSlow,
    /// The request, or a part of it, may have been read.
    Lost(Reason),
}

/// Why there is no connection.
enum Unconnected {
    Failed,
    TimedOut,
}

/// How long an exchange may last, and how large its answer may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) until: Instant,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Wires {
    https: HttpsConnector<HttpConnector>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    most_idle: usize,
    /// By origin; the last used last.
    idle: Mutex<HashMap<Origin, VecDeque<Wire>>>,
}

/// Scheme, and where to.
type Origin = (bool, Authority);

#[derive(Debug)]
struct Wire {
    /// Boxed: what TLS holds would make every row of idle ones as large.
    stream: Box<Stream>,
    used: Instant,
}

impl Wires {
    pub(super) fn new(settings: &HttpSettings) -> Result<Self, ConfigError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(Duration::from_secs(15)));
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(rustls::crypto::ring::default_provider())
            .map_err(|error| {
                ConfigError::new("base_url", format!("cannot be reached over TLS on this machine: {error}"))
            })?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self {
            https,
            connect_timeout: settings.connect_timeout,
            idle_timeout: settings.pool_idle_timeout,
            most_idle: settings.pool_max_idle,
            idle: Mutex::default(),
        })
    }

    /// Sends one request to where `url` says, and reads its answer to the end.
    pub(super) async fn exchange(
        &self,
        url: &Uri,
        request: Request,
        bounds: Bounds,
    ) -> Result<Reply, Failure> {
        let Some(authority) = url.authority() else { return Err(Failure::NotSent(request)) };
        let origin = (url.scheme_str() == Some("https"), authority.clone());
        let mut stream = match self.take(&origin) {
            Some(stream) => stream,
            // Boxed: it is rare, and would make every exchange as large as itself.
            None => match Box::pin(self.connect(url)).await {
                Ok(stream) => stream,
                Err(Unconnected::Failed) => return Err(Failure::NotSent(request)),
                Err(Unconnected::TimedOut) => return Err(Failure::TooSlow),
            },
        };
        let mut exchange = Exchange::new(&mut *stream, request, bounds.bytes);
        let received = match timeout_at(bounds.until, &mut exchange).await {
            Ok(received) => received,
            Err(_) => exchange.time_out(),
        };
        let Received { reply, leaves_open } = received.map_err(Failure::Lost)?;
        if leaves_open {
            self.keep(origin, Wire { stream, used: Instant::now() });
        }
        Ok(reply)
    }

    async fn connect(&self, url: &Uri) -> Result<Box<Stream>, Unconnected> {
        let connecting = async { self.https.clone().ready().await?.call(url.clone()).await };
        match timeout(self.connect_timeout, connecting).await {
            Ok(Ok(stream)) => Ok(Box::new(TokioIo::new(stream))),
            Ok(Err(_)) => Err(Unconnected::Failed),
            Err(_) => Err(Unconnected::TimedOut),
        }
    }

    /// The connection that was used last of those that are still open.
    fn take(&self, origin: &Origin) -> Option<Box<Stream>> {
        loop {
            // The last one is the youngest: if it is too old, all are.
            let last = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(origin)?.pop_back();
            let mut wire = last.filter(|wire| wire.used.elapsed() < self.idle_timeout)?;
            // Nobody was asked for anything: what can be read is the end, or no answer of ours.
            let ended = tokio::task::unconstrained(wire.stream.read_u8()).now_or_never();
            if ended.is_none() {
                return Some(wire.stream);
            }
        }
    }

    fn keep(&self, origin: Origin, wire: Wire) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(origin).or_default();
        kept.push_back(wire);
        let first_is_old = kept.front().is_some_and(|wire| wire.used.elapsed() >= self.idle_timeout);
        if first_is_old || kept.len() > self.most_idle {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
