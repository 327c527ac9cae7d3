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
    sync::Once,
    time::{Duration, SystemTime},
};

use backon::{ExponentialBuilder, Retryable};
use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, RequestBuilder, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};

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
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client,
    one: Duration,
    many: Duration,
}

impl Http {
    /// `header` goes with every request and is never logged.
    #[expect(clippy::disallowed_methods, reason = "the one place that builds clients")]
    pub(super) fn new(settings: &HttpSettings, header: (&'static str, &str)) -> Result<Self, ConfigError> {
        static TLS: Once = Once::new();
        // An error says that the process has chosen a provider before; any will do.
        TLS.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let (name, value) = header;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| ConfigError::new(name, "holds what no HTTP header can: copy it again"))?;
        value.set_sensitive(true);
        let client = Client::builder()
            .user_agent(concat!("fanfare/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([(HeaderName::from_static(name), value)]))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(settings.pool_idle_timeout)
            .pool_max_idle_per_host(settings.pool_max_idle)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(15))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| {
                ConfigError::new("base_url", format!("cannot be reached over TLS on this machine: {error}"))
            })?;
        Ok(Self { client, one: settings.request_timeout, many: settings.batch_timeout })
    }

    pub(super) async fn post(&self, url: &Url, body: Vec<u8>, size: Size) -> Result<Reply, SendError> {
        let body = Bytes::from(body);
        let request =
            || self.client.post(url.clone()).header("content-type", "application/json").body(body.clone());
        self.exchange(request, size).await
    }

    pub(super) async fn get(&self, url: &Url, size: Size) -> Result<Reply, SendError> {
        self.exchange(|| self.client.get(url.clone()), size).await
    }

    async fn exchange(&self, request: impl Fn() -> RequestBuilder, size: Size) -> Result<Reply, SendError> {
        let (timeout, limit) = match size {
            Size::One => (self.one, ANSWER_BYTES),
            Size::Many => (self.many, LARGE_ANSWER_BYTES),
        };
        let send = || async { request().header("accept", "application/json").timeout(timeout).send().await };
        let waits = ExponentialBuilder::default()
            .with_min_delay(CONNECT_WAIT)
            .with_max_times(CONNECT_RETRIES)
            .with_jitter();
        // One that took its whole time to connect has used up the patience of whoever waits for it.
        let response = send
            .retry(waits)
            .when(|error| not_sent(error) && !error.is_timeout())
            .await
            .map_err(|e| classify(&e))?;
        let (status, headers) = (response.status().as_u16(), response.headers());
        let (retry_after, quota) = (retry_after(headers), quota(headers));
        Ok(Reply { status, retry_after, quota, body: read(response, limit).await })
    }
}

fn not_sent(error: &reqwest::Error) -> bool {
    error.is_connect() || error.is_builder()
}

fn classify(error: &reqwest::Error) -> SendError {
    match error {
        error if not_sent(error) => SendError::NotSent,
        error if error.is_timeout() => SendError::Ambiguous(Reason::TimedOut),
        _ => SendError::Ambiguous(Reason::ConnectionLost),
    }
}

async fn read(mut response: reqwest::Response, limit: usize) -> Result<Bytes, Reason> {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(Reason::UnreadableAnswer),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(error) if error.is_timeout() => return Err(Reason::TimedOut),
            Err(_) => return Err(Reason::UnreadableAnswer),
        }
    }
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
