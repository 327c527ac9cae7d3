//! What a send route decides, and how it becomes an answer on the wire: after a delay, never, by a cut connection, or
//! with a spoilt body.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::Value;

use crate::clock::timestamp;
use crate::faults::{After, Malformed, RetryAfter};

/// Marks a response that must not be sent: the connection is cut instead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut;

/// The decision of a send route.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) response: Response<Body>,
    pub(crate) delay: Duration,
    pub(crate) ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Answer,
    Hang,
    Drop,
}

pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What gateways answer for the providers when these are not there.
pub(crate) fn gateway_page(status: StatusCode) -> Response<Body> {
    let reason = status.canonical_reason().unwrap_or("Error");
    let page = format!(
        "<html><head><title>{0} {reason}</title></head><body><h1>{reason}</h1></body></html>",
        status.as_u16()
    );
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

pub(crate) fn add_retry_after(response: &mut Response<Body>, retry_after: RetryAfter, wall_us: u64) {
    let value = match retry_after {
        RetryAfter::Absent => return,
        RetryAfter::Seconds(seconds) => seconds.to_string(),
        RetryAfter::Absurd => "1000000000".to_owned(),
        RetryAfter::Date(ahead) => {
            let at = timestamp(wall_us.saturating_add(ahead.saturating_mul(1_000_000)));
            jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default()
        }
    };
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
}

impl Reply {
    pub(crate) fn now(response: Response<Body>) -> Self {
        Self { response, delay: Duration::ZERO, ending: Ending::Answer }
    }

    pub(crate) fn after(response: Response<Body>, delay: Duration) -> Self {
        Self { response, delay, ending: Ending::Answer }
    }

    pub(crate) fn silent(ending: Ending) -> Self {
        Self { response: Response::default(), delay: Duration::ZERO, ending }
    }

    /// The answer to something accepted, `body` being the good one.
    pub(crate) fn accepted(status: StatusCode, body: String, delay: Duration, after: After) -> Self {
        match after {
            After::Answer => Self::after(json(status, body), delay),
            After::Hang => Self { delay, ..Self::silent(Ending::Hang) },
            After::Drop => Self { delay, ..Self::silent(Ending::Drop) },
            After::Spoil(how) => Self::after(spoil(how, status, &body), delay),
        }
    }

    /// Waits as decided; a response with [`Cut`] means that the connection must end without one.
    pub(crate) async fn send(self, hang: Duration) -> Response<Body> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        match self.ending {
            Ending::Answer => return self.response,
            Ending::Hang => tokio::time::sleep(hang).await,
            Ending::Drop => {}
        }
        let mut nothing = Response::default();
        nothing.extensions_mut().insert(Cut);
        nothing
    }
}

fn spoil(how: Malformed, status: StatusCode, good: &str) -> Response<Body> {
    let half = &good[..good.floor_char_boundary(good.len() / 2)];
    match how {
        Malformed::NotJson => json(status, half.to_owned()),
        Malformed::WrongType => json(status, r#"{"messageId":{"id":1},"messageIds":"none","messages":7}"#),
        Malformed::Html => gateway_page(StatusCode::OK),
        Malformed::DuplicateKeys => {
            let body = good.strip_suffix('}').unwrap_or(good);
            json(status, format!("{body},{}", good.strip_prefix('{').unwrap_or(good)))
        }
        Malformed::Empty => json(status, ""),
        Malformed::FewerIds => json(status, with_ids(good, |ids| drop(ids.pop()))),
        Malformed::MoreIds => {
            json(status, with_ids(good, |ids| ids.push(Value::from("<202001010000.1@smtp-relay.mailin.fr>"))))
        }
        Malformed::PermutedIds => json(status, with_ids(good, |ids| ids.reverse())),
        Malformed::SameIdTwice => json(
            status,
            with_ids(good, |ids| {
                if let Some(first) = ids.first().cloned() {
                    ids.iter_mut().for_each(|id| *id = first.clone());
                    ids.resize(ids.len().max(2), first);
                }
            }),
        ),
        Malformed::Truncated => truncated(status, half.to_owned(), good.len()),
        Malformed::SlowBody => slow(status, good.to_owned()),
        Malformed::HugeBody => huge(status),
    }
}

fn truncated(status: StatusCode, half: String, promised: usize) -> Response<Body> {
    let head = stream::once(async { Ok(Bytes::from(half)) });
    // The pause lets the first half leave; an error at once would take it back.
    let cut = stream::once(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut on purpose"))
    });
    let mut response = json(status, "");
    *response.body_mut() = Body::from_stream(head.chain(cut));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(promised));
    response
}

fn slow(status: StatusCode, good: String) -> Response<Body> {
    let bytes = stream::unfold(good.into_bytes().into_iter(), |mut rest| async move {
        let next = rest.next()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, Infallible>(Bytes::from(vec![next])), rest))
    });
    let mut response = json(status, "");
    *response.body_mut() = Body::from_stream(bytes);
    response
}

fn huge(status: StatusCode) -> Response<Body> {
    let block = Bytes::from(vec![b' '; 1 << 20]);
    let mut response = json(status, "");
    *response.body_mut() =
        Body::from_stream(stream::iter(std::iter::repeat_n(block, 1 << 10).map(Ok::<_, Infallible>)));
    response
}

/// Changes the ids of a good answer, whichever provider's it is. A single id becomes a list of one.
fn with_ids(good: &str, change: impl FnOnce(&mut Vec<Value>)) -> String {
    let mut body: Value = serde_json::from_str(good).unwrap_or_default();
    if let Some(object) = body.as_object_mut() {
        let single = object.remove("messageId");
        let name = if object.contains_key("messages") { "messages" } else { "messageIds" };
        let mut ids = match (single, object.remove(name)) {
            (Some(id), _) => vec![id],
            (None, Some(Value::Array(ids))) => ids,
            _ => Vec::new(),
        };
        change(&mut ids);
        object.insert(name.to_owned(), Value::Array(ids));
    }
    body.to_string()
}
