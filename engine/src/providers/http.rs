//! The one place that speaks HTTP, over the connections that `wire` keeps.
//!
//! What it guarantees to the adapters:
//!
//! - A failure says whether the request was *certainly not sent* (no connection came about) or whether nobody can tell.
//!   Only the former is tried again here, shortly; a redirect is never followed, because it would send twice.
//! - Every request ends: connecting, the whole exchange and the size of the answer are bounded. An answer is read to its
//!   end, so that its connection can be used again.
//! - No proxy is taken from the environment: keys go where the configuration says.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Uri,
    header::{self, HeaderName, HeaderValue},
};
use tokio::time::{Instant, sleep};

use super::{
    Quota,
    settings::{ConfigError, HttpSettings},
    wire::{Bounds, Failure, Wires},
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

/// A long-lived client with the connections of its own.
#[derive(Debug)]
pub(super) struct Http {
    wires: Wires,
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
        Ok(Self {
            wires: Wires::new(settings)?,
            key: (HeaderName::from_static(name), value),
            one: settings.request_timeout,
            many: settings.batch_timeout,
        })
    }

    pub(super) async fn post(&self, url: &Uri, body: Vec<u8>, size: Size) -> Result<Reply, SendError> {
        let mut request = self.request(Method::POST, body.into());
        request.headers_mut().insert(header::CONTENT_TYPE, JSON);
        self.exchange(url, request, size).await
    }

    pub(super) async fn get(&self, url: &Uri, size: Size) -> Result<Reply, SendError> {
        self.exchange(url, self.request(Method::GET, Bytes::new()), size).await
    }

    fn request(&self, method: Method, body: Bytes) -> Box<Request<Full<Bytes>>> {
        let mut request = Box::new(Request::new(Full::new(body)));
        *request.method_mut() = method;
        let (name, value) = &self.key;
        let headers = request.headers_mut();
        headers.insert(name, value.clone());
        headers.insert(header::ACCEPT, JSON);
        headers.insert(header::USER_AGENT, AGENT);
        request
    }

    async fn exchange(
        &self,
        url: &Uri,
        mut request: Box<Request<Full<Bytes>>>,
        size: Size,
    ) -> Result<Reply, SendError> {
        let (timeout, bytes) = match size {
            Size::One => (self.one, ANSWER_BYTES),
            Size::Many => (self.many, LARGE_ANSWER_BYTES),
        };
        let mut waits = ExponentialBuilder::default()
            .with_min_delay(CONNECT_WAIT)
            .with_max_times(CONNECT_RETRIES)
            .with_jitter()
            .build();
        let answer = loop {
            let bounds = Bounds { until: Instant::now() + timeout, bytes };
            match self.wires.exchange(url, request, bounds).await {
                Ok(answer) => break answer,
                Err(Failure::Lost(reason)) => return Err(SendError::Ambiguous(reason)),
                // One that took its whole time to connect has used up the patience of whoever waits for it.
                Err(Failure::TooSlow) => return Err(SendError::NotSent),
                Err(Failure::NotSent(unsent)) => {
                    sleep(waits.next().ok_or(SendError::NotSent)?).await;
                    request = unsent;
                }
            }
        };
        Ok(Reply {
            status: answer.status.as_u16(),
            retry_after: retry_after(&answer.headers),
            quota: quota(&answer.headers),
            body: answer.body,
        })
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
