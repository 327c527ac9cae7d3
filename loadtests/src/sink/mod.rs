//! A receiver that does nothing but answer and count, for the highest rates: it judges no contract.
//!
//! Of each message it keeps the address, the message id, a hash of subject and HTML as they stood in the request, the
//! idempotency key and the time. It looks for them in the bytes of the request, in the order in which Fanfare writes them,
//! since reading the JSON would cost more than everything else that it does; a request that it can't read so is refused and
//! counted, and so is one to an address that says so itself. It tells what it holds in the sandbox's words (`/sandbox/…`), so
//! that whoever checks need not know which of the two it asks. One thread.

mod entry;
mod hooks;
mod message;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use fanfare_sandbox::{Channel, LaneSummary, Summary};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode, Uri, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use serde_json::json;
use tokio::{net::TcpSocket, task::JoinSet, time::Instant};

use self::{
    entry::{Entry, accepted},
    hooks::Hooks,
    message::{Message, channel},
};
pub(crate) use self::{
    hooks::{CONNECTIONS, Hooked, Wanted},
    message::digest,
};

const SECOND_US: u64 = 1_000_000;
/// What the address of a message begins with that is refused.
const REFUSED: &[u8] = b"rejected.";
/// Events of the ledger that are written ahead of what is answered, beyond what is on its way: bounds their memory.
const AHEAD: usize = 20_000;
/// How often the teller of the ledger looks whether there is room.
const PACE: Duration = Duration::from_millis(1);
/// Connections that may wait to be accepted: of more than the usual 1,024 at once, as four processes open them, the kernel dropped some, and
/// who was not connected within the time is tried again half a minute later.
const WAITING_CONNECTIONS: u32 = 4_096;

#[derive(Debug)]
struct Sink {
    started: Instant,
    latency: Duration,
    ledger: Mutex<Vec<Entry>>,
    requests: AtomicU64,
    /// Requests that could not be read, or had a message to an address that is refused.
    refused: AtomicU64,
    hooks: Mutex<Option<Hooks>>,
    /// What tells of messages that were taken before.
    tellers: Mutex<JoinSet<()>>,
}

/// Serves until standard input ends; tells its URL on standard output.
pub(crate) async fn serve(latency: Duration) -> anyhow::Result<()> {
    let sink = Arc::new(Sink {
        started: Instant::now(),
        latency,
        ledger: Mutex::default(),
        requests: AtomicU64::default(),
        refused: AtomicU64::default(),
        hooks: Mutex::default(),
        tellers: Mutex::default(),
    });
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(WAITING_CONNECTIONS)?;
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
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if head.method == Method::POST {
            let Ok(body) = body.collect().await else { return reply(StatusCode::BAD_REQUEST, Bytes::new()) };
            let body = body.to_bytes();
            match head.uri.path() {
                "/sandbox/hooks" => return self.hook(&body),
                "/sandbox/hooks/ledger" => return self.tell(),
                _ => {}
            }
            let answer = self.take(head.uri.path(), &body);
            if !self.latency.is_zero() {
                tokio::time::sleep(self.latency).await;
            }
            return answer;
        }
        match (head.method, head.uri.path()) {
            (Method::DELETE, "/sandbox/audit") => {
                self.ledger().clear();
                self.requests.store(0, Relaxed);
                self.refused.store(0, Relaxed);
                *self.hooks() = None;
                reply(StatusCode::OK, Bytes::new())
            }
            (Method::DELETE, "/sandbox/hooks") => {
                *self.hooks() = None;
                reply(StatusCode::OK, Bytes::new())
            }
            (Method::GET, "/sandbox/hooks") => reply(
                StatusCode::OK,
                json_bytes(&self.hooks().as_ref().map(Hooks::hooked).unwrap_or_default()),
            ),
            (Method::GET, "/sandbox/audit") => reply(StatusCode::OK, json_bytes(&self.summary())),
            (Method::GET, "/sandbox/audit/messages") => reply(StatusCode::OK, self.page(&head.uri)),
            (Method::GET, "/sandbox/clock") => {
                reply(StatusCode::OK, json_bytes(&json!({"monotonic_us": self.now_us()})))
            }
            _ => reply(StatusCode::NOT_FOUND, Bytes::new()),
        }
    }

    /// From now on every message gets its webhook.
    fn hook(&self, body: &[u8]) -> Response<Full<Bytes>> {
        match serde_json::from_slice::<Wanted>(body) {
            Ok(wanted) => {
                *self.hooks() = Some(Hooks::start(&wanted));
                reply(StatusCode::OK, Bytes::new())
            }
            Err(error) => reply(StatusCode::BAD_REQUEST, error.to_string().into()),
        }
    }

    /// Every message of the ledger gets its webhook now.
    fn tell(self: Arc<Self>) -> Response<Full<Bytes>> {
        let sink = Arc::clone(&self);
        self.tellers.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            let mut told = 0;
            while let Some(more) = sink.tell_some(told) {
                told += more;
                tokio::time::sleep(PACE).await;
            }
        });
        reply(StatusCode::OK, Bytes::new())
    }

    /// As many as there is room for after those that were told; `None` when there are no more, or nobody to tell.
    fn tell_some(&self, told: usize) -> Option<usize> {
        let (hooks, ledger) = (self.hooks(), self.ledger());
        let (hooks, rest) = (hooks.as_ref()?, ledger.get(told..).filter(|rest| !rest.is_empty())?);
        let waiting = (told as u64).saturating_sub(hooks.hooked().answered);
        let room =
            (AHEAD + hooks.on_their_way()).saturating_sub(usize::try_from(waiting).unwrap_or(usize::MAX));
        let now: &[Entry] = &rest[..rest.len().min(room)];
        now.iter().for_each(|entry| entry.tell(hooks, epoch_ms()));
        Some(now.len())
    }

    /// Enters the messages of a request.
    fn take(&self, path: &str, body: &[u8]) -> Response<Full<Bytes>> {
        self.requests.fetch_add(1, Relaxed);
        let at_us = self.now_us();
        let mut entries: Vec<Entry> = Vec::with_capacity(1);
        if let Some(channel) = channel(path) {
            let mut rest = body;
            while let Some((message, after)) = Message::next(channel, rest) {
                let Some(entry) = Entry::of(channel, &message, at_us) else { break };
                entries.push(entry);
                rest = after;
            }
        }
        if entries.iter().any(|entry| entry.address.as_bytes().starts_with(REFUSED)) {
            return self.refuse("email is not valid in to");
        }
        let batch = memmem::find(body, b"\"messageVersions\":[").is_some();
        let Some(answer) = accepted(&entries, batch) else { return self.refuse("the sink can't read it") };
        if let Some(hooks) = &*self.hooks() {
            entries.iter().for_each(|entry| entry.tell(hooks, epoch_ms()));
        }
        self.ledger().append(&mut entries);
        reply(StatusCode::CREATED, answer)
    }

    fn refuse(&self, message: &str) -> Response<Full<Bytes>> {
        self.refused.fetch_add(1, Relaxed);
        let answer = json!({"code": "invalid_parameter", "message": message});
        reply(StatusCode::BAD_REQUEST, json_bytes(&answer))
    }

    fn summary(&self) -> Summary {
        let ledger = self.ledger();
        let mut times: Vec<u64> = ledger.iter().map(|entry| entry.at_us).collect();
        times.sort_unstable();
        let refused = BTreeMap::from([("400".to_owned(), self.refused.load(Relaxed))]);
        let lane = LaneSummary {
            channel: Channel::Email,
            account: "sink".to_owned(),
            requests: self.requests.load(Relaxed),
            accepted_requests: self.requests.load(Relaxed) - self.refused.load(Relaxed),
            deduplicated: 0,
            unanswered: 0,
            messages: ledger.len() as u64,
            // Whoever reads the pages counts each once.
            distinct_messages: ledger.len() as u64,
            distinct_message_ids: ledger.len() as u64,
            duplicates: 0,
            digest_conflicts: 0,
            refused,
            max_requests_in_a_second: busiest_second(&times).0,
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

    fn hooks(&self) -> MutexGuard<'_, Option<Hooks>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Most of these times, ascending, in any second, and when the first such second begins.
pub(crate) fn busiest_second(times: &[u64]) -> (u64, u64) {
    let mut first = 0;
    let (mut most, mut begin) = (0, 0);
    for (last, &time) in times.iter().enumerate() {
        while times[first] + SECOND_US <= time {
            first += 1;
        }
        if most < last + 1 - first {
            (most, begin) = (last + 1 - first, times[first]);
        }
    }
    (most as u64, begin)
}

fn epoch_ms() -> u128 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis()
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
    fn a_second_slides() {
        assert_eq!(busiest_second(&[]), (0, 0));
        let times = [0, 400_000, 999_999, 1_000_000, 1_399_999, 1_400_000];
        assert_eq!(busiest_second(&times), (4, 400_000));
    }
}
