//! A receiver that does nothing but answer and count, for the highest rates: it judges no contract.
//!
//! Of each message it keeps the address, the message id, a hash of subject and HTML as they stood in the request, and the
//! time. It looks for them in the bytes of the request, in the order in which Fanfare writes them, since reading the JSON
//! would cost more than everything else that it does; a request that it can't read so is refused and counted. It tells
//! what it holds in the sandbox's words (`/sandbox/…`), so that whoever checks need not know which of the two it asks. One
//! thread.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use fanfare_sandbox::{Channel, LaneSummary, MessageRecord, Summary};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode, Uri, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use twox_hash::XxHash3_64;

const SECOND_US: u64 = 1_000_000;

/// One message, as it came.
#[derive(Debug)]
struct Entry {
    at_us: u64,
    digest: u64,
    address: Box<str>,
    message_id: Box<str>,
}

#[derive(Debug)]
struct Sink {
    started: Instant,
    latency: Duration,
    ledger: Mutex<Vec<Entry>>,
    requests: AtomicU64,
    unreadable: AtomicU64,
}

/// Serves until standard input ends; tells its URL on standard output.
pub(crate) async fn serve(latency: Duration) -> anyhow::Result<()> {
    let sink = Arc::new(Sink {
        started: Instant::now(),
        latency,
        ledger: Mutex::default(),
        requests: AtomicU64::default(),
        unreadable: AtomicU64::default(),
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("http://{}", listener.local_addr()?);
    let mut connections = JoinSet::new();
    let mut end = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            ended = &mut end => return ended?.map(drop).map_err(Into::into),
        };
        stream.set_nodelay(true)?;
        let sink = Arc::clone(&sink);
        let serve = service_fn(move |request| {
            let sink = Arc::clone(&sink);
            async move { Ok::<_, Infallible>(sink.answer(request).await) }
        });
        // A sender that goes away in the middle is none of a sink's business.
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), serve));
        while connections.try_join_next().is_some() {}
    }
}

impl Sink {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if head.method == Method::POST {
            let Ok(body) = body.collect().await else { return reply(StatusCode::BAD_REQUEST, Bytes::new()) };
            let answer = self.take(&body.to_bytes());
            if !self.latency.is_zero() {
                tokio::time::sleep(self.latency).await;
            }
            return answer;
        }
        match (head.method, head.uri.path()) {
            (Method::DELETE, "/sandbox/audit") => {
                self.ledger().clear();
                self.requests.store(0, Relaxed);
                self.unreadable.store(0, Relaxed);
                reply(StatusCode::OK, Bytes::new())
            }
            (Method::GET, "/sandbox/audit") => reply(StatusCode::OK, json_bytes(&self.summary())),
            (Method::GET, "/sandbox/audit/messages") => reply(StatusCode::OK, self.page(&head.uri)),
            (Method::GET, "/sandbox/clock") => {
                reply(StatusCode::OK, json_bytes(&json!({"monotonic_us": self.now_us()})))
            }
            _ => reply(StatusCode::NOT_FOUND, Bytes::new()),
        }
    }

    /// Enters the messages of a request.
    fn take(&self, body: &[u8]) -> Response<Full<Bytes>> {
        self.requests.fetch_add(1, Relaxed);
        let at_us = self.now_us();
        let mut entries: Vec<Entry> = Vec::with_capacity(1);
        let mut rest = body;
        while let Some((message, after)) = Message::next(rest) {
            let Some(entry) = message.entry(at_us) else { break };
            entries.push(entry);
            rest = after;
        }
        let ids: Vec<String> =
            entries.iter().map(|entry| format!("<{}>", provider_id(entry.digest))).collect();
        let batch = memmem::find(body, b"\"messageVersions\":[").is_some();
        let answer = match &ids[..] {
            ids if batch && !ids.is_empty() => json_bytes(&json!({"messageIds": ids})),
            [only] => json_bytes(&json!({"messageId": only})),
            _ => {
                self.unreadable.fetch_add(1, Relaxed);
                return reply(StatusCode::BAD_REQUEST, json_bytes(&json!({"code": "invalid_parameter"})));
            }
        };
        self.ledger().append(&mut entries);
        reply(StatusCode::CREATED, answer)
    }

    fn summary(&self) -> Summary {
        let ledger = self.ledger();
        let mut times: Vec<u64> = ledger.iter().map(|entry| entry.at_us).collect();
        times.sort_unstable();
        let refused = BTreeMap::from([("400".to_owned(), self.unreadable.load(Relaxed))]);
        let lane = LaneSummary {
            channel: Channel::Email,
            account: "sink".to_owned(),
            requests: self.requests.load(Relaxed),
            accepted_requests: self.requests.load(Relaxed) - self.unreadable.load(Relaxed),
            deduplicated: 0,
            unanswered: 0,
            messages: ledger.len() as u64,
            // Whoever reads the pages counts each once.
            distinct_messages: ledger.len() as u64,
            distinct_message_ids: ledger.len() as u64,
            duplicates: 0,
            digest_conflicts: 0,
            refused,
            max_requests_in_a_second: busiest_second(&times),
            max_batches_in_a_minute: 0,
            first_us: times.first().copied(),
            last_us: times.last().copied(),
        };
        Summary { started_epoch_us: 0, lanes: vec![lane] }
    }

    /// Records as lines of JSON, from the position `after` on, then where the next page begins.
    fn page(&self, uri: &Uri) -> Bytes {
        let parameter = |name: &str| -> Option<usize> {
            let query = uri.query()?;
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        };
        let (after, limit) = (parameter("after").unwrap_or(0), parameter("limit").unwrap_or(1_000));
        let ledger = self.ledger();
        let mut lines = Vec::new();
        for entry in ledger.iter().skip(after).take(limit) {
            lines.extend_from_slice(&json_bytes(&entry.record()));
            lines.push(b'\n');
        }
        if after + limit < ledger.len() {
            lines.extend_from_slice(&json_bytes(&json!({"next": after + limit})));
        }
        lines.into()
    }

    fn ledger(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Entry {
    fn record(&self) -> MessageRecord {
        MessageRecord {
            channel: Channel::Email,
            account: "sink".to_owned(),
            address: self.address.to_string(),
            message_id: self.message_id.to_string(),
            count: 1,
            first_us: self.at_us,
            last_us: self.at_us,
            first_epoch_us: 0,
            last_epoch_us: 0,
            provider_id: format!("<{}>", provider_id(self.digest)),
            digest: hex::encode(self.digest.to_be_bytes()),
            tags: Vec::new(),
        }
    }
}

/// A message where it stands in a request, every part as JSON writes it.
#[derive(Debug, Clone, Copy)]
struct Message<'a> {
    address: &'a [u8],
    subject: &'a [u8],
    html: &'a [u8],
    message_id: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message, and what follows it. A quotation mark within a text is escaped, so that none of the marks
    /// between the parts can stand in one.
    fn next(body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (_, rest) = cut(body, b"\"to\":[{\"email\":\"")?;
        let (address, rest) = cut(rest, b"\"")?;
        let (_, rest) = cut(rest, b"\"subject\":\"")?;
        let (subject, rest) = cut(rest, b"\",\"htmlContent\":\"")?;
        let (html, rest) = cut(rest, b"\",\"textContent\":\"")?;
        let (_, rest) = cut(rest, b"\"X-Mailin-custom\":\"")?;
        let (message_id, rest) = cut(rest, b"\"")?;
        Some((Self { address, subject, html, message_id }, rest))
    }

    fn entry(self, at_us: u64) -> Option<Entry> {
        Some(Entry {
            at_us,
            digest: hash([self.address, self.message_id, self.subject, self.html]),
            address: std::str::from_utf8(self.address).ok()?.into(),
            message_id: std::str::from_utf8(self.message_id).ok()?.into(),
        })
    }
}

/// What is before a mark, and what is after it.
fn cut<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memmem::find(text, mark)?;
    Some((&text[..at], &text[at + mark.len()..]))
}

fn hash(parts: [&[u8]; 4]) -> u64 {
    parts.iter().fold(0, |seed, part| XxHash3_64::oneshot_with_seed(seed, part))
}

/// The digest of a message whose parts are known, in hexadecimal.
pub(crate) fn digest(address: &str, message_id: &str, subject: &str, html: &str) -> String {
    let as_written = |text: &str| {
        let quoted = serde_json::to_string(text).expect("a text is always JSON");
        quoted[1..quoted.len() - 1].to_owned()
    };
    let (subject, html) = (as_written(subject), as_written(html));
    let digest = hash([address.as_bytes(), message_id.as_bytes(), subject.as_bytes(), html.as_bytes()]);
    hex::encode(digest.to_be_bytes())
}

fn provider_id(digest: u64) -> String {
    format!("{digest:016x}@sink")
}

/// Most of these times, ascending, in any second.
fn busiest_second(times: &[u64]) -> u64 {
    let mut first = 0;
    let mut most = 0;
    for (last, &time) in times.iter().enumerate() {
        while times[first] + SECOND_US <= time {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most as u64
}

fn json_bytes(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value).expect("counts and texts are always JSON").into()
}

fn reply(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_as_they_are_written() {
        let one = r#"{"sender":{"email":"a@b.example"},"to":[{"email":"x@y.example"}],"subject":"Hi \"you\"","htmlContent":"<p>1</p>","textContent":"1","headers":{"Idempotency-Key":"k","X-Mailin-custom":"msg_1"},"tags":["msg_1"]}"#;
        let (message, rest) = Message::next(one.as_bytes()).expect("it is there");
        let entry = message.entry(5).expect("texts");
        assert_eq!((&*entry.address, &*entry.message_id), ("x@y.example", "msg_1"));
        assert_eq!(entry.record().digest, digest("x@y.example", "msg_1", "Hi \"you\"", "<p>1</p>"));
        assert!(Message::next(rest).is_none());
    }

    #[test]
    fn a_batch_is_read_version_by_version() {
        let version = |n: u32| {
            format!(
                r#"{{"to":[{{"email":"{n}@y.example"}}],"subject":"S","htmlContent":"{n}","textContent":"t","headers":{{"X-Mailin-custom":"msg_{n}"}}}}"#
            )
        };
        let body = format!(
            r#"{{"subject":"-","htmlContent":"<p></p>","textContent":"-","messageVersions":[{},{}]}}"#,
            version(1),
            version(2)
        );
        let (first, rest) = Message::next(body.as_bytes()).expect("the first");
        let (second, _) = Message::next(rest).expect("the second");
        assert_eq!((first.address, second.html), (&b"1@y.example"[..], &b"2"[..]));
        assert_eq!(second.message_id, b"msg_2");
    }

    #[test]
    fn a_second_slides() {
        assert_eq!(busiest_second(&[]), 0);
        assert_eq!(busiest_second(&[0, 400_000, 999_999, 1_000_000, 1_399_999, 1_400_000]), 4);
    }
}
