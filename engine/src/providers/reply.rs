//! An answer of HTTP/1.1, read as it comes. No input or output.
//!
//! As much of the protocol as whoever asks an API meets: heads and sizes of chunks are parsed by `httparse`; an answer ends
//! by its length, by its last chunk, or with its connection. Whatever leaves a doubt about where it ends makes its body
//! unreadable and its connection unfit for another request. Nothing grows beyond [`HEAD_BYTES`] and the limit that is given.

use std::time::{Duration, SystemTime};

use bytes::{Buf as _, Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Header, Status};

use super::Quota;
use crate::domain::outcome::Reason;

/// Largest head of an answer; also the largest line between two chunks, and all that may follow the last one.
const HEAD_BYTES: usize = 16 << 10;
const MOST_HEADERS: usize = 100;

/// An answer's head, as far as anybody here wants it, and its body if that came whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Of a 429 or 503, as it was asked for: not yet clamped.
    pub(super) retry_after: Option<Duration>,
    pub(super) quota: Option<Quota>,
    /// `Err`: the status came, but the body did not.
    pub(super) body: Result<Bytes, Reason>,
}

/// An answer to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) reply: Reply,
    /// Whether its connection may carry another request.
    pub(super) leaves_open: bool,
}

/// What came was no answer of HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoReply;

/// What has come of an answer so far.
#[derive(Debug)]
pub(super) struct Reading {
    /// Largest body.
    limit: usize,
    head: Option<Head>,
    body: Body,
    /// What came and has no place yet.
    raw: BytesMut,
}

#[derive(Debug)]
struct Head {
    status: u16,
    retry_after: Option<Duration>,
    quota: Option<Quota>,
    keeps_alive: bool,
}

/// How much of the body has come, and what ends it.
#[derive(Debug)]
enum Body {
    /// To be so long.
    Bytes(usize),
    /// What was in its chunks.
    Chunks(BytesMut),
    UntilClosed,
    Whole(Bytes),
    Unreadable,
}

impl Reading {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, head: None, body: Body::Bytes(0), raw: BytesMut::new() }
    }

    /// Takes the next bytes in; true once nothing more is wanted.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<bool, NoReply> {
        self.raw.extend_from_slice(bytes);
        while self.head.is_none() {
            let Some((length, head, body)) = parse_head(&self.raw)? else { return Ok(false) };
            self.raw.advance(length);
            // After "continue" and the like another answer follows.
            if head.status >= 200 {
                (self.head, self.body) = (Some(head), body);
            }
        }
        let body = std::mem::replace(&mut self.body, Body::Unreadable);
        self.body = body.grow(&mut self.raw, self.limit);
        Ok(matches!(self.body, Body::Whole(_) | Body::Unreadable))
    }

    /// The answer, once nothing more is wanted or nothing more comes; `None` without a head.
    pub(super) fn finish(mut self) -> Option<Received> {
        if matches!(self.body, Body::UntilClosed) {
            self.body = Body::Whole(self.raw.split().freeze());
        }
        self.cut_off(Reason::UnreadableAnswer)
    }

    /// The answer, when its connection broke or no time was left; `reason` is why the rest is missing. `None` without a head.
    pub(super) fn cut_off(self, reason: Reason) -> Option<Received> {
        let Head { status, retry_after, quota, keeps_alive } = self.head?;
        let body = match self.body {
            Body::Whole(body) => Ok(body),
            Body::Unreadable => Err(Reason::UnreadableAnswer),
            Body::Bytes(_) | Body::Chunks(_) | Body::UntilClosed => Err(reason),
        };
        let leaves_open = keeps_alive && body.is_ok() && self.raw.is_empty();
        Some(Received { reply: Reply { status, retry_after, quota, body }, leaves_open })
    }
}

impl Body {
    /// What the head says about the body's end. A length beside chunks, or two lengths, are a doubt: others may read another end.
    fn announced(status: u16, headers: &[Header<'_>]) -> Self {
        let mut lengths = values(headers, "content-length");
        match (values(headers, "transfer-encoding").next(), lengths.next()) {
            _ if status == 204 || status == 304 => Self::Bytes(0),
            (Some(encoding), None) if encoding.eq_ignore_ascii_case("chunked") => {
                Self::Chunks(BytesMut::new())
            }
            (None, None) => Self::UntilClosed,
            (None, Some(length)) if lengths.all(|other| other == length) && is_number(length) => {
                length.parse().map_or(Self::Unreadable, Self::Bytes)
            }
            _ => Self::Unreadable,
        }
    }

    fn grow(self, raw: &mut BytesMut, limit: usize) -> Self {
        match self {
            Self::Bytes(length) if length > limit => Self::Unreadable,
            Self::Bytes(length) if raw.len() >= length => Self::Whole(raw.split_to(length).freeze()),
            Self::UntilClosed if raw.len() > limit => Self::Unreadable,
            Self::Chunks(body) => unchunk(body, raw, limit),
            other => other,
        }
    }
}

/// Moves whole chunks from `raw` to `body`.
fn unchunk(mut body: BytesMut, raw: &mut BytesMut, limit: usize) -> Body {
    const LINE: &[u8] = b"\r\n";
    loop {
        let (start, size) = match httparse::parse_chunk_size(raw) {
            Ok(Status::Complete(chunk)) => chunk,
            Ok(Status::Partial) if raw.len() <= HEAD_BYTES => return Body::Chunks(body),
            _ => return Body::Unreadable,
        };
        if size == 0 {
            let mut trailers = [EMPTY_HEADER; MOST_HEADERS];
            return match httparse::parse_headers(&raw[start..], &mut trailers) {
                Ok(Status::Complete((end, _))) => {
                    raw.advance(start + end);
                    Body::Whole(body.freeze())
                }
                Ok(Status::Partial) if raw.len() <= HEAD_BYTES => Body::Chunks(body),
                _ => Body::Unreadable,
            };
        }
        let Some(size) = usize::try_from(size).ok().filter(|size| *size <= limit - body.len()) else {
            return Body::Unreadable;
        };
        let end = start + size;
        match raw.get(end..end + LINE.len()) {
            None => return Body::Chunks(body),
            Some(LINE) => body.extend_from_slice(&raw[start..end]),
            Some(_) => return Body::Unreadable,
        }
        raw.advance(end + LINE.len());
    }
}

/// A head that has come whole, and its length.
fn parse_head(raw: &[u8]) -> Result<Option<(usize, Head, Body)>, NoReply> {
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(raw) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if raw.len() <= HEAD_BYTES => return Ok(None),
        _ => return Err(NoReply),
    };
    let (Some(status), Some(version)) = (response.code, response.version) else { return Err(NoReply) };
    let headers = &*response.headers;
    let closes = values(headers, "connection")
        .any(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close")));
    let body = Body::announced(status, headers);
    let head = Head {
        status,
        retry_after: retry_after(headers),
        quota: quota(headers),
        keeps_alive: version == 1 && !closes && !matches!(body, Body::UntilClosed),
    };
    Ok(Some((length, head, body)))
}

/// The values of a header, as far as they are text.
fn values<'h>(headers: &'h [Header<'h>], name: &str) -> impl Iterator<Item = &'h str> {
    let of_name = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    // What is no text is no value that anybody here knows, but it is one.
    of_name.map(|header| std::str::from_utf8(header.value).unwrap_or("?").trim())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `Retry-After` in seconds, or as a date, which is read against the answer's own `Date`: no clock of ours matters.
fn retry_after(headers: &[Header<'_>]) -> Option<Duration> {
    let asked = values(headers, "retry-after").next()?;
    if is_number(asked) {
        return Some(Duration::from_secs(asked.parse().unwrap_or(u64::MAX)));
    }
    let moment = |text: &str| -> Option<SystemTime> { httpdate::parse_http_date(text).ok() };
    let (until, now) = (moment(asked)?, moment(values(headers, "date").next()?)?);
    Some(until.duration_since(now).unwrap_or_default())
}

fn quota(headers: &[Header<'_>]) -> Option<Quota> {
    let number = |name| values(headers, name).next()?.parse::<u64>().ok();
    Some(Quota {
        limit: number("x-sib-ratelimit-limit")?,
        remaining: number("x-sib-ratelimit-remaining")?,
        reset: Duration::from_secs(number("x-sib-ratelimit-reset")?),
    })
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
