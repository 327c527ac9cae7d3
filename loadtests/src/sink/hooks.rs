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

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpStream,
    sync::{Mutex, mpsc},
    task::JoinSet,
};

use crate::receiver::HOOK_TOKEN;

/// Webhooks on their way at once.
const CONNECTIONS: usize = 256;
const AGAIN: Duration = Duration::from_millis(50);

/// Where to post, and how many events a request may hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) most: usize,
}

#[derive(Debug)]
pub(super) struct Hooks {
    events: mpsc::UnboundedSender<String>,
    answered: Arc<AtomicU64>,
    /// Ended with this.
    _posters: JoinSet<()>,
}

impl Hooks {
    pub(super) fn start(wanted: &Wanted) -> Self {
        let (events, queue) = mpsc::unbounded_channel();
        let (queue, answered) = (Arc::new(Mutex::new(queue)), Arc::new(AtomicU64::default()));
        let mut posters = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let poster =
                Poster { wanted: wanted.clone(), queue: Arc::clone(&queue), answered: Arc::clone(&answered) };
            posters.spawn(poster.run());
        }
        Self { events, answered, _posters: posters }
    }

    pub(super) fn delivered(&self, address: &str, message_id: &str, provider_id: &str, epoch_ms: u128) {
        let (seconds, id) = (epoch_ms / 1_000, message_id);
        let event = format!(
            r#"{{"event":"delivered","email":"{address}","id":26224,"date":"2026-11-21 12:00:00","ts":{seconds},"message-id":"<{provider_id}>","ts_event":{seconds},"subject":"Your policy","X-Mailin-custom":"{id}","sending_ip":"192.0.2.1","ts_epoch":{epoch_ms},"tag":"[\"{id}\"]","tags":["{id}"],"mirror_link":"https://app-smtp.example/log/preview/1a2000f4","contact_id":0}}"#
        );
        // Its tasks live as long as this sender.
        let _ = self.events.send(event);
    }

    /// Events that have been answered by a 2xx.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }
}

struct Poster {
    wanted: Wanted,
    queue: Arc<Mutex<mpsc::UnboundedReceiver<String>>>,
    answered: Arc<AtomicU64>,
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
        let stream = TcpStream::connect(self.wanted.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
        let requests = async {
            loop {
                if events.is_empty() && self.queue.lock().await.recv_many(events, self.wanted.most).await == 0
                {
                    return Ok(());
                }
                let request = Request::post(&self.wanted.path)
                    .header(header::HOST, "127.0.0.1")
                    .header(header::AUTHORIZATION, format!("Bearer {HOOK_TOKEN}"))
                    .header(header::CONTENT_TYPE, "application/json")
                    .body(Full::from(self.body(events)))?;
                sender.ready().await?;
                let response = sender.send_request(request).await?;
                let status = response.status();
                let body = response.into_body().collect().await?.to_bytes();
                if !status.is_success() {
                    bail!("{status} {}", String::from_utf8_lossy(&body));
                }
                self.answered.fetch_add(events.len() as u64, Relaxed);
                events.clear();
            }
        };
        tokio::select! {
            done = requests => done,
            broken = connection => broken.context("the connection").and_then(|()| bail!("the connection ended")),
        }
    }

    fn body(&self, events: &[String]) -> String {
        match events {
            [only] if self.wanted.most == 1 => only.clone(),
            many => format!("[{}]", many.join(",")),
        }
    }
}
