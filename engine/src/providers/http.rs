//! The one place that makes HTTP clients and speaks HTTP.
//!
//! What it guarantees to the adapters:
//!
//! - A failure says whether the request was *certainly not sent* (no connection came about) or whether nobody can tell.
//!   Only the former is tried again here, shortly; a redirect is never followed, because it would send twice.
//! - Every request ends: connecting, the whole exchange and the size of the (inflated) answer are bounded. An answer is
//!   read to its end, so that its connection can be used again.
//! - No proxy is taken from the environment: keys go where the configuration says.

use std::{
    error::Error as _,
    io,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use backon::{ExponentialBuilder, Retryable};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, Uri,
    body::{Body as _, Incoming},
    header::{self, HeaderName, HeaderValue},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tower::Service;

use super::{
    Quota,
    settings::{ConfigError, HttpSettings},
};
use crate::domain::outcome::Reason;

/// Largest answer to a request for one message.
const ANSWER_BYTES: usize = 1 << 20;
/// Largest answer to a request for many messages, and to a question about many.
const LARGE_ANSWER_BYTES: usize = 8 << 20;

/// Tries after the first, when no connection came about. Short: delivery-level retries have their own schedule.
const CONNECT_RETRIES: usize = 2;
const CONNECT_WAIT: Duration = Duration::from_millis(50);

const AGENT: HeaderValue = HeaderValue::from_static(concat!("fanfare/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How large the answer to a request may be, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Size {
    One,
    Many,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Of a 429 or 503, as it was asked for: not yet clamped.
    pub(super) retry_after: Option<Duration>,
    pub(super) quota: Option<Quota>,
    /// `Err`: the status came, but the body did not.
    pub(super) body: Result<Bytes, Reason>,
}

/// No answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendError {
    /// Not a byte of the request was written.
    NotSent,
    /// The request, or a part of it, may have been read.
    Ambiguous(Reason),
}

/// A long-lived client with its pool of connections.
///
/// It is hyper's own: on the loopback reqwest takes a third more CPU for the same request (see `benches/`).
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: legacy::Client<Connector, Full<Bytes>>,
    key: (HeaderName, HeaderValue),
    one: Duration,
    many: Duration,
}

impl Http {
    /// `header` goes with every request and is never logged.
    pub(super) fn new(settings: &HttpSettings, header: (&'static str, &str)) -> Result<Self, ConfigError> {
        let (name, value) = header;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| ConfigError::new(name, "holds what no HTTP header can: copy it again"))?;
        value.set_sensitive(true);
        let client = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.pool_idle_timeout)
            .pool_max_idle_per_host(settings.pool_max_idle)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .build(Connector::new(settings)?);
        Ok(Self {
            client,
            key: (HeaderName::from_static(name), value),
            one: settings.request_timeout,
            many: settings.batch_timeout,
        })
    }

    pub(super) async fn post(&self, url: &Uri, body: Vec<u8>, size: Size) -> Result<Reply, SendError> {
        let body = Bytes::from(body);
        let request = || {
            let mut request = self.request(Method::POST, url, body.clone());
            request.headers_mut().insert(header::CONTENT_TYPE, JSON);
            request
        };
        self.exchange(request, size).await
    }

    pub(super) async fn get(&self, url: &Uri, size: Size) -> Result<Reply, SendError> {
        self.exchange(|| self.request(Method::GET, url, Bytes::new()), size).await
    }

    fn request(&self, method: Method, url: &Uri, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = url.clone();
        let (name, value) = &self.key;
        let headers = request.headers_mut();
        headers.insert(name, value.clone());
        headers.insert(header::ACCEPT, JSON);
        headers.insert(header::USER_AGENT, AGENT);
        request
    }

    async fn exchange(
        &self,
        request: impl Fn() -> Request<Full<Bytes>>,
        size: Size,
    ) -> Result<Reply, SendError> {
        let (timeout, limit) = match size {
            Size::One => (self.one, ANSWER_BYTES),
            Size::Many => (self.many, LARGE_ANSWER_BYTES),
        };
        let waits = ExponentialBuilder::default()
            .with_min_delay(CONNECT_WAIT)
            .with_max_times(CONNECT_RETRIES)
            .with_jitter();
        let send = || async {
            let until = Instant::now() + timeout;
            let response = timeout_at(until, self.client.request(request()))
                .await
                .map_err(|_| Failure::NO_TIME_LEFT)?
                .map_err(|error| Failure::of(&error))?;
            Ok((response, until))
        };
        let (response, until) = send
            .retry(waits)
            .when(|failure: &Failure| failure.again)
            .await
            .map_err(|failure| failure.error)?;
        let (status, headers) = (response.status().as_u16(), response.headers());
        let (retry_after, quota) = (retry_after(headers), quota(headers));
        let body =
            timeout_at(until, read(response.into_body(), limit)).await.unwrap_or(Err(Reason::TimedOut));
        Ok(Reply { status, retry_after, quota, body })
    }
}

/// A request without an answer, and whether it is worth another try at once.
struct Failure {
    error: SendError,
    again: bool,
}

impl Failure {
    const NO_TIME_LEFT: Self = Self { error: SendError::Ambiguous(Reason::TimedOut), again: false };

    fn of(error: &legacy::Error) -> Self {
        if error.is_connect() {
            // A connection that took its whole time has used up the patience of whoever waits for it.
            Self { error: SendError::NotSent, again: !timed_out(error) }
        } else {
            Self { error: SendError::Ambiguous(Reason::ConnectionLost), again: false }
        }
    }
}

fn timed_out(error: &legacy::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        source = error.source();
    }
    false
}

/// Connects, with TLS where the URL says so, within its time.
#[derive(Debug, Clone)]
struct Connector {
    https: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

impl Connector {
    fn new(settings: &HttpSettings) -> Result<Self, ConfigError> {
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
            .enable_all_versions()
            .wrap_connector(http);
        Ok(Self { https, timeout: settings.connect_timeout })
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let (connecting, timeout) = (self.https.call(url), self.timeout);
        Box::pin(async move {
            tokio::time::timeout(timeout, connecting)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        })
    }
}

/// The body to its end, so that the connection can be used again.
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

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// `Retry-After` in seconds, or as a date, which is read against the answer's own `Date`: no clock of ours matters.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let asked = text(headers, "retry-after")?;
    if !asked.is_empty() && asked.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(asked.parse().unwrap_or(u64::MAX)));
    }
    let moment = |text: &str| -> Option<SystemTime> { httpdate::parse_http_date(text).ok() };
    let (until, now) = (moment(asked)?, moment(text(headers, "date")?)?);
    Some(until.duration_since(now).unwrap_or_default())
}

fn quota(headers: &HeaderMap) -> Option<Quota> {
    let number = |name| text(headers, name)?.parse::<u64>().ok();
    Some(Quota {
        limit: number("x-sib-ratelimit-limit")?,
        remaining: number("x-sib-ratelimit-remaining")?,
        reset: Duration::from_secs(number("x-sib-ratelimit-reset")?),
    })
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
