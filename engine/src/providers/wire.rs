//! Connections to providers, kept and used again.
//!
//! A connection carries one request at a time, and whoever sends drives it: no task stands between a request and its
//! socket, so an answer wakes nobody but its sender. The connection that was used last is used next, so that no more are
//! warm than are needed. One that the other side has closed meanwhile is noticed before a byte is written to it.
//!
//! HTTP/1.1 only: the connections of a process are never more than its places on the wire. There may be thousands, each waiting
//! for an answer most of the time, so what a waiting one holds is what the process holds: a request is handed over, given up
//! as it is written, and given back only if not a byte of it was.

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::{Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request, StatusCode, Uri,
    body::{Body as _, Incoming},
    client::conn::http1,
    header::{HOST, HeaderValue},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tower::{Service as _, ServiceExt as _};

use super::settings::{ConfigError, HttpSettings};
use crate::domain::outcome::Reason;

/// What an answer's head and its ids fit into; a larger answer is read piece by piece.
const READ_BUFFER: usize = 4_096;

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// An answer's head, and its body if that came whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<Bytes, Reason>,
}

/// No answer came.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection came about, or it was closed before a byte of the request was written.
    NotSent(Box<Request<Full<Bytes>>>),
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
    idle: Mutex<HashMap<Origin, VecDeque<Box<Wire>>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Origin {
    secure: bool,
    authority: HeaderValue,
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

    /// Sends one request to `url` and reads its answer to the end.
    pub(super) async fn exchange(
        &self,
        url: &Uri,
        mut request: Box<Request<Full<Bytes>>>,
        bounds: Bounds,
    ) -> Result<Answer, Failure> {
        let Some(origin) = Origin::of(url) else {
            return Err(Failure::NotSent(request));
        };
        request.headers_mut().insert(HOST, origin.authority.clone());
        *request.uri_mut() = url.path_and_query().map_or_else(Uri::default, |path| path.clone().into());
        loop {
            let kept = self.take(&origin);
            let fresh = kept.is_none();
            let mut wire = match kept {
                Some(wire) => wire,
                // Boxed: it is rare, and would make every exchange as large as itself.
                None => match Box::pin(self.connect(url)).await {
                    Ok(wire) => wire,
                    Err(Unconnected::Failed) => return Err(Failure::NotSent(request)),
                    Err(Unconnected::TimedOut) => return Err(Failure::TooSlow),
                },
            };
            match timeout_at(bounds.until, wire.exchange(request, bounds)).await {
                Ok(Ok(answer)) => {
                    if answer.body.is_ok() && wire.connection.is_some() {
                        self.keep(origin, wire);
                    }
                    return Ok(answer);
                }
                Ok(Err(Undone::Unsent(request))) if fresh => return Err(Failure::NotSent(request)),
                Ok(Err(Undone::Unsent(unsent))) => request = unsent,
                Ok(Err(Undone::Lost)) => return Err(Failure::Lost(Reason::ConnectionLost)),
                Err(_) => return Err(Failure::Lost(Reason::TimedOut)),
            }
        }
    }

    async fn connect(&self, url: &Uri) -> Result<Box<Wire>, Unconnected> {
        let connecting = async {
            let stream = self.https.clone().ready().await?.call(url.clone()).await?;
            let (sender, connection) =
                http1::Builder::new().read_buf_exact_size(Some(READ_BUFFER)).handshake(stream).await?;
            let wire = Wire { sender, connection: Some(connection), used: Instant::now() };
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Box::new(wire))
        };
        match timeout(self.connect_timeout, connecting).await {
            Ok(Ok(wire)) => Ok(wire),
            Ok(Err(_)) => Err(Unconnected::Failed),
            Err(_) => Err(Unconnected::TimedOut),
        }
    }

    fn take(&self, origin: &Origin) -> Option<Box<Wire>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one is the youngest: if it is too old, all are.
        idle.get_mut(origin)?.pop_back().filter(|wire| wire.used.elapsed() < self.idle_timeout)
    }

    fn keep(&self, origin: Origin, mut wire: Box<Wire>) {
        wire.used = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(origin).or_default();
        kept.push_back(wire);
        let first_is_old = kept.front().is_some_and(|wire| wire.used.elapsed() >= self.idle_timeout);
        if first_is_old || kept.len() > self.most_idle {
            kept.pop_front();
        }
    }
}

impl Origin {
    fn of(url: &Uri) -> Option<Self> {
        let authority = url.authority()?.as_str();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        Some(Self { secure: url.scheme_str() == Some("https"), authority: HeaderValue::from_str(host).ok()? })
    }
}

#[derive(Debug)]
struct Wire {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Gone once it has ended.
    connection: Option<http1::Connection<Stream, Full<Bytes>>>,
    used: Instant,
}

enum Undone {
    /// Not a byte was written.
    Unsent(Box<Request<Full<Bytes>>>),
    Lost,
}

impl Wire {
    async fn exchange(
        &mut self,
        request: Box<Request<Full<Bytes>>>,
        bounds: Bounds,
    ) -> Result<Answer, Undone> {
        let Self { sender, connection, .. } = self;
        let mut exchange = pin!(async {
            if sender.ready().await.is_err() {
                return Err(Undone::Unsent(request));
            }
            let response = sender.try_send_request(*request).await.map_err(|mut error| {
                error.take_message().map_or(Undone::Lost, |request| Undone::Unsent(Box::new(request)))
            })?;
            let (head, body) = response.into_parts();
            let reading = timeout_at(bounds.until, read(body, bounds.bytes)).await;
            let body = reading.unwrap_or(Err(Reason::TimedOut));
            Ok(Answer { status: head.status, headers: head.headers, body })
        });
        std::future::poll_fn(|context| {
            if let Poll::Ready(done) = exchange.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            // How it ended is told to the exchange.
            if connection.as_mut().is_some_and(|connection| connection.poll_unpin(context).is_ready()) {
                *connection = None;
            }
            exchange.as_mut().poll(context)
        })
        .await
    }
}

async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Reason> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Reason::UnreadableAnswer)?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Err(Reason::UnreadableAnswer);
        }
        // Nearly every answer is one frame: it is not copied.
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
