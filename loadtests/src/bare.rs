//! The bare loop: what this machine can do without a database, a queue or a promise.
//!
//! Some tasks in flight, each rendering a letter, serialising it as the engine does, posting it to the receiver and reading
//! the 201, all for the same people with the same templates. It is tried with both HTTP clients and several numbers in
//! flight for a moment; the best of them is what the engine is compared with.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use fanfare_engine::{
    domain::channel::Channel,
    id::{CampaignId, MessageId},
};
use fanfare_templates::{Compiled, Locale};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use reqwest::redirect;
use serde::Serialize;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};

use crate::{
    letter,
    people::Person,
    processes,
    receiver::{API_KEY, Receiver},
};

mod body;

/// Where Meta's messages go.
const WHATSAPP_PATH: &str = "/v23.0/106540352242922/messages";

/// Requests of one trial.
const TRIAL: u64 = 20_000;
/// Requests of the measurement.
const MEASURED: u64 = 200_000;
/// People whose variables are ready; addresses and ids are different for every request.
const READY: u64 = 4_096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Client {
    Reqwest,
    Hyper,
}

/// How the bare loop is run.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Setting {
    pub(crate) client: Client,
    pub(crate) in_flight: usize,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Measured {
    #[serde(flatten)]
    pub(crate) setting: Setting,
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) client_cpu_micros: f64,
    pub(crate) receiver_cpu_micros: f64,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} in flight", self.client, self.in_flight)
    }
}

/// The client for one receiver, without the bounds of the engine's.
#[expect(clippy::disallowed_methods, reason = "what the engine's clients are measured against")]
pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
    // An error says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(4_096)
        .build()?)
}

/// What every request needs.
#[derive(Debug)]
struct Post {
    path: &'static str,
    compiled: Compiled,
    locale: Locale,
    variables: Vec<Value>,
    campaign: CampaignId,
    address: SocketAddr,
    url: String,
    client: reqwest::Client,
    /// The next number; never one twice, so that no id or key is met twice.
    next: AtomicU64,
}

/// A bare loop for one receiver.
#[derive(Debug, Clone)]
pub(crate) struct Bare {
    post: Arc<Post>,
}

impl Bare {
    pub(crate) fn new(receiver: &Receiver, channel: Channel, campaign: CampaignId) -> anyhow::Result<Self> {
        let path = match channel {
            Channel::Email => "/v3/smtp/email",
            Channel::Sms => "/v3/transactionalSMS/send",
            Channel::Whatsapp => WHATSAPP_PATH,
            Channel::InApp => bail!("notifications in the application are no requests"),
        };
        let address =
            receiver.url().trim_start_matches("http://").parse().context("the receiver's address")?;
        Ok(Self {
            post: Arc::new(Post {
                path,
                compiled: Compiled::new(&letter::published(channel)?)?,
                locale: Locale::parse("en")?,
                variables: (0..READY).map(|index| Person::number(index, 0).variables()).collect(),
                campaign,
                address,
                url: format!("{}{path}", receiver.url()),
                client: client()?,
                next: AtomicU64::new(0),
            }),
        })
    }

    /// The best of a few settings. Where answers take time, more requests have to be in flight.
    pub(crate) async fn best(&self, receiver: &Receiver, latency_ms: u64) -> anyhow::Result<Setting> {
        let candidates: &[usize] = if latency_ms == 0 { &[32, 64, 128] } else { &[1_024, 2_048, 4_096] };
        // Many connections have to be opened first.
        let trial = if latency_ms == 0 { TRIAL } else { 4 * TRIAL };
        let mut best: Option<Measured> = None;
        for client in [Client::Hyper, Client::Reqwest] {
            for &in_flight in candidates {
                let measured = self.run(receiver, Setting { client, in_flight }, trial).await?;
                println!("  bare loop, {}: {:.0}/s", measured.setting, measured.requests_per_second);
                if best.is_none_or(|best| best.requests_per_second < measured.requests_per_second) {
                    best = Some(measured);
                }
            }
        }
        Ok(best.context("there are candidates")?.setting)
    }

    pub(crate) async fn measure(&self, receiver: &Receiver, setting: Setting) -> anyhow::Result<Measured> {
        self.run(receiver, setting, MEASURED).await
    }

    async fn run(&self, receiver: &Receiver, setting: Setting, requests: u64) -> anyhow::Result<Measured> {
        receiver.reset().await?;
        let (own, other) = (processes::cpu(std::process::id())?, processes::cpu(receiver.pid()?)?);
        let end = self.post.next.load(Ordering::Relaxed) + requests;
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..setting.in_flight {
            let post = Arc::clone(&self.post);
            tasks.spawn(async move {
                match setting.client {
                    Client::Hyper => post.with_hyper(end).await,
                    Client::Reqwest => post.with_reqwest(end).await,
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        let took = started.elapsed();
        let own = processes::cpu(std::process::id())?.saturating_sub(own);
        let other = processes::cpu(receiver.pid()?)?.saturating_sub(other);
        // Every task took one number too many.
        self.post.next.store(end, Ordering::Relaxed);
        let accepted: u64 = receiver.summary().await?.lanes.iter().map(|lane| lane.distinct_messages).sum();
        ensure!(
            accepted == requests,
            "the receiver holds {accepted} of {requests} messages of the bare loop"
        );
        Ok(Measured {
            setting,
            requests,
            requests_per_second: per(requests, took),
            client_cpu_micros: micros_each(own, requests),
            receiver_cpu_micros: micros_each(other, requests),
        })
    }
}

impl Post {
    async fn with_hyper(&self, end: u64) -> anyhow::Result<()> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
        let requests = async {
            while let Some(body) = self.next_body(end)? {
                let request = Request::post(self.path)
                    .header(header::HOST, "127.0.0.1")
                    .header("api-key", API_KEY)
                    .header(header::CONTENT_TYPE, "application/json")
                    .body(Full::from(body))?;
                sender.ready().await?;
                let response = sender.send_request(request).await?;
                ensure!(response.status() == 201, "the receiver answered {}", response.status());
                response.into_body().collect().await?;
            }
            Ok(())
        };
        // In one task: a connection with a task of its own costs a switch for every request.
        tokio::select! {
            done = requests => done,
            broken = connection => bail!("the connection ended: {broken:?}"),
        }
    }

    async fn with_reqwest(&self, end: u64) -> anyhow::Result<()> {
        while let Some(body) = self.next_body(end)? {
            let request = self
                .client
                .post(&self.url)
                .header("api-key", API_KEY)
                .header("content-type", "application/json");
            let response = request.body(body).send().await?;
            ensure!(response.status() == 201, "the receiver answered {}", response.status());
            response.bytes().await?;
        }
        Ok(())
    }

    /// Renders and serialises the next letter.
    fn next_body(&self, end: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        if index >= end {
            return Ok(None);
        }
        let variables = &self.variables[usize::try_from(index % READY)?];
        let rendered = self.compiled.render(variables, &self.locale)?;
        let message = MessageId { campaign: self.campaign, n: i32::try_from(index)? };
        Ok(Some(body::encode(Person::number(index, 0), message, &rendered)?))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
pub(crate) fn per(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a mean")]
pub(crate) fn micros_each(cpu: Duration, count: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / count.max(1) as f64
}
