//! The sink's webhooks: a `delivered` event for each message, posted to whoever sent it, one a request or many.
//!
//! A few tasks, each on a connection of its own, take events from one queue; what is not answered by a 2xx is posted again
//! after a moment, as a provider would.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::Instant,
};

use crate::receiver::HOOK_TOKEN;

/// Webhooks on their way at once, where nothing else is wanted.
pub(crate) const CONNECTIONS: usize = 256;
const AGAIN: Duration = Duration::from_millis(50);

/// Where to post, how many events a request may hold, and over how many connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) most: usize,
    pub(crate) connections: usize,
}

/// What has become of the events.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hooked {
    /// Events that were answered by a 2xx.
    pub(crate) answered: u64,
    /// Webhooks that were to come again later, and so did.
    pub(crate) put_off: u64,
    /// From the first request to the last 2xx so far.
    pub(crate) took_us: u64,
}

#[derive(Debug)]
pub(super) struct Hooks {
    events: mpsc::UnboundedSender<String>,
    tally: Arc<Tally>,
    /// Events that all requests together hold.
    on_their_way: usize,
    /// Ended with this.
    _posters: JoinSet<()>,
}

impl Hooks {
    pub(super) fn start(wanted: &Wanted) -> Self {
        let (events, queue) = mpsc::unbounded_channel();
        let (queue, tally) = (Arc::new(Mutex::new(queue)), Arc::new(Tally::new()));
        let mut posters = JoinSet::new();
        for _ in 0..wanted.connections {
            let poster =
                Poster { wanted: wanted.clone(), queue: Arc::clone(&queue), tally: Arc::clone(&tally) };
            posters.spawn(poster.run());
        }
        Self { events, tally, on_their_way: wanted.connections * wanted.most, _posters: posters }
    }

    pub(super) fn delivered(&self, address: &str, message_id: &str, provider_id: &str, epoch_ms: u128) {
        let (seconds, id) = (epoch_ms / 1_000, message_id);
        let event = format!(
            r#"{{"event":"delivered","email":"{address}","id":26224,"date":"2026-11-21 12:00:00","ts":{seconds},"message-id":"<{provider_id}>","ts_event":{seconds},"subject":"Your policy","X-Mailin-custom":"{id}","sending_ip":"192.0.2.1","ts_epoch":{epoch_ms},"tag":"[\"{id}\"]","tags":["{id}"],"mirror_link":"https://app-smtp.example/log/preview/1a2000f4","contact_id":0}}"#
        );
        // Its tasks live as long as this sender.
        let _ = self.events.send(event);
    }

    pub(super) const fn on_their_way(&self) -> usize {
        self.on_their_way
    }

    pub(super) fn hooked(&self) -> Hooked {
        self.tally.hooked()
    }
}

#[derive(Debug)]
struct Tally {
    started: Instant,
    answered: AtomicU64,
    put_off: AtomicU64,
    /// Microseconds since the start; `u64::MAX` before any.
    first_request_us: AtomicU64,
    last_answer_us: AtomicU64,
}

impl Tally {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            answered: AtomicU64::default(),
            put_off: AtomicU64::default(),
            first_request_us: AtomicU64::new(u64::MAX),
            last_answer_us: AtomicU64::default(),
        }
    }

    fn begins(&self) {
        self.first_request_us.fetch_min(self.now_us(), Relaxed);
    }

    fn answered(&self, events: usize) {
        self.answered.fetch_add(events as u64, Relaxed);
        self.last_answer_us.fetch_max(self.now_us(), Relaxed);
    }

    fn hooked(&self) -> Hooked {
        let (first, last) = (self.first_request_us.load(Relaxed), self.last_answer_us.load(Relaxed));
        Hooked {
            answered: self.answered.load(Relaxed),
            put_off: self.put_off.load(Relaxed),
            took_us: last.saturating_sub(first),
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

struct Poster {
    wanted: Wanted,
    queue: Arc<Mutex<mpsc::UnboundedReceiver<String>>>,
    tally: Arc<Tally>,
}

impl Poster {
    async fn run(self) {
        let mut unanswered = Vec::new();
        while let Err(error) = self.post(&mut unanswered).await {
            eprintln!("sink: a webhook is posted again: {error:#}");
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// On one connection, until it breaks or nothing more can come.
    async fn post(&self, events: &mut Vec<String>) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.wanted.address).await?;
        stream.set_nodelay(true)?;
        let mut answer = Vec::new();
        loop {
            if events.is_empty() && self.queue.lock().await.recv_many(events, self.wanted.most).await == 0 {
                return Ok(());
            }
            let body = self.body(events);
            let request = format!(
                "POST {} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {HOOK_TOKEN}\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                self.wanted.path,
                body.len()
            );
            self.tally.begins();
            stream.write_all(request.as_bytes()).await?;
            match read(&mut stream, &mut answer).await? {
                200..300 => {
                    self.tally.answered(events.len());
                    events.clear();
                }
                429 => {
                    self.tally.put_off.fetch_add(1, Relaxed);
                    tokio::time::sleep(AGAIN).await;
                }
                status => bail!("{status}: {}", String::from_utf8_lossy(&answer)),
            }
        }
    }

    fn body(&self, events: &[String]) -> String {
        match events {
            [only] if self.wanted.most == 1 => only.clone(),
            many => format!("[{}]", many.join(",")),
        }
    }
}

/// Reads one answer, which says how long it is; its status. By hand, since what telling costs is not to be measured.
async fn read(stream: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<u16> {
    answer.clear();
    loop {
        ensure!(stream.read_buf(answer).await? > 0, "the connection ended");
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(answer)? else { continue };
        let (status, headers) = (head.code.context("an answer has a status")?, head.headers);
        let body = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let body: usize = std::str::from_utf8(body.context("an answer tells its length")?.value)?.parse()?;
        while answer.len() < length + body {
            ensure!(stream.read_buf(answer).await? > 0, "the connection ended");
        }
        return Ok(status);
    }
}
