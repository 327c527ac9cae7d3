//! The one place that speaks HTTP, over the connections that `wire` keeps.
//!
//! What it guarantees to the adapters:
//!
//! - A failure says whether the request was *certainly not sent* (no connection came about) or whether nobody can tell.
//!   Only the former is tried again here, shortly; a redirect is never followed, because it would send twice.
//! - Every request ends: connecting, the whole exchange and the size of the answer are bounded. An answer is read to its
//!   end, so that its connection can be used again.
//! - No proxy is taken from the environment: keys go where the configuration says.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use hyper::{
    Uri,
    http::{HeaderName, HeaderValue, Method},
};
use tokio::time::{Instant, sleep};

pub(super) use super::reply::Reply;
use super::{
    exchange::Request,
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

const AGENT: &str = concat!("fanfare/", env!("CARGO_PKG_VERSION"));

/// How large the answer to a request may be, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Size {
    One,
    Many,
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
pub(super) struct Http {
    wires: Wires,
    /// Lines of the head that every request has; they hold the key.
    headers: String,
    one: Duration,
    many: Duration,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("wires", &self.wires).finish_non_exhaustive()
    }
}

impl Http {
    /// `header` goes with every request and is never logged.
    pub(super) fn new(settings: &HttpSettings, header: (&'static str, &str)) -> Result<Self, ConfigError> {
        let (name, value) = header;
        let wrong = || ConfigError::new(name, "holds what no HTTP header can: copy it again");
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        HeaderValue::from_str(value).map_err(|_| wrong())?;
        Ok(Self {
            wires: Wires::new(settings)?,
            headers: format!("{name}: {value}\r\naccept: application/json\r\nuser-agent: {AGENT}\r\n"),
            one: settings.request_timeout,
            many: settings.batch_timeout,
        })
    }

    pub(super) async fn post(&self, url: &Uri, body: Vec<u8>, size: Size) -> Result<Reply, SendError> {
        self.exchange(url, self.request(&Method::POST, url, body), size).await
    }

    pub(super) async fn get(&self, url: &Uri, size: Size) -> Result<Reply, SendError> {
        self.exchange(url, self.request(&Method::GET, url, Vec::new()), size).await
    }

    /// A URI holds nothing that could end a line.
    fn request(&self, method: &Method, url: &Uri, body: Vec<u8>) -> Request {
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let mut head = String::with_capacity(self.headers.len() + path.len() + host.len() + 96);
        let _ = write!(head, "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{}", self.headers);
        if method == Method::POST {
            let _ = write!(head, "content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        Request { head: head.into_bytes(), body }
    }

    async fn exchange(&self, url: &Uri, mut request: Request, size: Size) -> Result<Reply, SendError> {
        let (timeout, bytes) = match size {
            Size::One => (self.one, ANSWER_BYTES),
            Size::Many => (self.many, LARGE_ANSWER_BYTES),
        };
        let mut waits = ExponentialBuilder::default()
            .with_min_delay(CONNECT_WAIT)
            .with_max_times(CONNECT_RETRIES)
            .with_jitter()
            .build();
        loop {
            let bounds = Bounds { until: Instant::now() + timeout, bytes };
            match self.wires.exchange(url, request, bounds).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Lost(reason)) => return Err(SendError::Ambiguous(reason)),
                // One that took its whole time to connect has used up the patience of whoever waits for it.
                Err(Failure::TooSlow) => return Err(SendError::NotSent),
                Err(Failure::NotSent(unsent)) => {
                    sleep(waits.next().ok_or(SendError::NotSent)?).await;
                    request = unsent;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
