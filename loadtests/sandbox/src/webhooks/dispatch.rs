//! The dispatcher: takes events when they are due, posts them, and keeps each provider's retry times.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::sign::signature;
use super::{Event, Job, brevo, whatsapp};
use crate::config::{Channel, WebhookAuth};
use crate::world::World;

const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 3_600;
/// Brevo: the first try and four more.
const BREVO_RETRIES_S: [u64; 4] = [10 * MINUTE_S, HOUR_S, 2 * HOUR_S, 8 * HOUR_S];
/// Meta: rarer and rarer, for seven days.
const META_RETRIES_S: [u64; 12] = [
    15,
    MINUTE_S,
    5 * MINUTE_S,
    30 * MINUTE_S,
    2 * HOUR_S,
    6 * HOUR_S,
    12 * HOUR_S,
    24 * HOUR_S,
    24 * HOUR_S,
    24 * HOUR_S,
    24 * HOUR_S,
    24 * HOUR_S,
];

/// How many jobs are moved at once from the queue into the order of their times.
const TAKE: usize = 1_024;

impl Job {
    fn key(&self) -> (u64, Channel, u16, u64) {
        (self.due_us, self.sent.channel, self.sent.account, self.number)
    }

    /// Whether both can be in one request.
    fn joins(&self, other: &Self) -> bool {
        self.sent.channel == other.sent.channel
            && self.sent.account == other.sent.account
            && self.sent.url == other.sent.url
            && !matches!(self.event, Event::Raw(_))
            && !matches!(other.event, Event::Raw(_))
    }
}

impl PartialEq for Job {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Job {}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Job {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// A client for webhooks and the handshake: no redirects, one deadline for the whole exchange.
#[expect(clippy::disallowed_methods, reason = "the provider's client, not the engine's")]
pub(crate) fn client(timeout: Duration) -> reqwest::Result<Client> {
    // Someone else in the process may have installed a provider; either will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(timeout).redirect(redirect::Policy::none()).tcp_nodelay(true).no_proxy().build()
}

/// Runs until `stop`; the second call for one world does nothing.
pub(crate) async fn run(world: Arc<World>, client: Client, stop: CancellationToken) {
    let taken = world.webhooks.taken_by_dispatcher.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut queue) = taken else { return };
    let permits = Arc::new(Semaphore::new(world.webhooks.settings.concurrency.max(1)));
    let mut waiting = BinaryHeap::new();
    let mut taken = Vec::with_capacity(TAKE);
    loop {
        let due_us = waiting.peek().map(|Reverse(job): &Reverse<Job>| job.due_us);
        let until_due =
            Duration::from_micros(due_us.unwrap_or(u64::MAX).saturating_sub(world.clock.now_us()));
        tokio::select! {
            () = stop.cancelled() => return,
            _ = queue.recv_many(&mut taken, TAKE) => waiting.extend(taken.drain(..).map(Reverse)),
            () = tokio::time::sleep(until_due), if due_us.is_some() => {
                let Some(group) = next_group(&world, &mut waiting) else { continue };
                let permit = tokio::select! {
                    () = stop.cancelled() => return,
                    permit = Arc::clone(&permits).acquire_owned() => permit,
                };
                let (world, client) = (Arc::clone(&world), client.clone());
                #[expect(clippy::disallowed_methods, reason = "ends with its delivery; the queue counts it")]
                tokio::spawn(async move {
                    let _permit = permit;
                    deliver(&world, &client, group).await;
                });
            }
        }
    }
}

fn next_group(world: &World, waiting: &mut BinaryHeap<Reverse<Job>>) -> Option<Vec<Job>> {
    let now_us = world.clock.now_us();
    let mut pop_due = |fits: &dyn Fn(&Job) -> bool| {
        let ready = waiting.peek().is_some_and(|Reverse(job)| job.due_us <= now_us && fits(job));
        ready.then(|| waiting.pop()).flatten().map(|Reverse(job)| job)
    };
    let first = pop_due(&|_| true)?;
    let faults = world.faults.current();
    let faults = &faults.of(first.sent.channel).webhooks;
    let most = if faults.batched { faults.batch_max } else { 1 };
    let mut group = vec![first];
    while group.len() < most {
        let Some(next) = pop_due(&|job| job.joins(&group[0])) else { break };
        group.push(next);
    }
    Some(group)
}

async fn deliver(world: &World, client: &Client, group: Vec<Job>) {
    let counts = &world.webhooks.counts;
    let events = group.len();
    let Some(request) = request(world, client, &group) else {
        counts.outstanding.fetch_sub(events, Relaxed);
        counts.discarded.fetch_add(events as u64, Relaxed);
        return;
    };
    counts.requests.fetch_add(1, Relaxed);
    counts.in_flight.fetch_add(1, Relaxed);
    let status = match request.send().await {
        // The body is read so that the connection can be used again.
        Ok(response) => {
            let status = response.status();
            let _ = response.bytes().await;
            Some(status)
        }
        Err(_) => None,
    };
    counts.in_flight.fetch_sub(1, Relaxed);
    if status.is_some_and(|status| status.is_success()) {
        counts.outstanding.fetch_sub(events, Relaxed);
        counts.delivered.fetch_add(events as u64, Relaxed);
        return;
    }
    for job in group {
        try_later(world, job, status);
    }
}

fn try_later(world: &World, mut job: Job, status: Option<StatusCode>) {
    let webhooks = &world.webhooks;
    let (retries, retried): (&[u64], bool) = match job.sent.channel {
        Channel::Whatsapp => (&META_RETRIES_S, true),
        Channel::Email | Channel::Sms => {
            let retried = status.is_none_or(|status| {
                status == StatusCode::TOO_MANY_REQUESTS
                    || (status.is_server_error() && webhooks.settings.retry_5xx)
            });
            (&BREVO_RETRIES_S, retried)
        }
    };
    match retries.get(job.attempt) {
        Some(wait_s) if retried => {
            let wait_us = *wait_s as f64 * 1e6 * webhooks.settings.retry_time_factor.max(0.0);
            job.due_us = world.clock.now_us() + wait_us as u64;
            job.attempt += 1;
            webhooks.counts.retried.fetch_add(1, Relaxed);
            webhooks.put(job);
        }
        _ => {
            webhooks.counts.outstanding.fetch_sub(1, Relaxed);
            webhooks.counts.discarded.fetch_add(1, Relaxed);
        }
    }
}

/// None when the receiver was taken away meanwhile.
fn request(world: &World, client: &Client, group: &[Job]) -> Option<RequestBuilder> {
    let first = group.first()?;
    let url = world.webhooks.url(&first.sent)?;
    let body = serde_json::to_vec(&body(world, group)?).ok()?;
    let receivers = world.webhooks.receivers();
    let request = client.post(url).header("content-type", "application/json");
    let request = match first.sent.channel {
        Channel::Email => authorized(request, &receivers.email.auth),
        Channel::Sms => authorized(request, &receivers.sms.auth),
        Channel::Whatsapp => {
            let account = world.whatsapp_account(first.sent.account)?;
            request.header("x-hub-signature-256", signature(&account.app_secret, &body))
        }
    };
    Some(request.body(body))
}

fn authorized(request: RequestBuilder, auth: &WebhookAuth) -> RequestBuilder {
    match auth {
        WebhookAuth::None => request,
        WebhookAuth::Bearer(token) => request.header("authorization", format!("Bearer {token}")),
        WebhookAuth::Basic { user, password } => request
            .header("authorization", format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))),
    }
}

fn body(world: &World, group: &[Job]) -> Option<Value> {
    let first = group.first()?;
    if let Event::Raw(value) = &first.event {
        return Some(Value::clone(value));
    }
    let wall = |job: &Job| world.clock.wall_us(job.at_us);
    if first.sent.channel == Channel::Whatsapp {
        let account = world.whatsapp_account(first.sent.account)?;
        return Some(whatsapp::notification(account, group.iter().map(|job| (job, wall(job)))));
    }
    let mut events: Vec<_> = group
        .iter()
        .filter_map(|job| match job.event {
            Event::Email(event) => Some(brevo::email(job, event, wall(job))),
            Event::Sms(event) => Some(brevo::sms(job, event, wall(job))),
            _ => None,
        })
        .collect();
    let batched = world.faults.current().of(first.sent.channel).webhooks.batched;
    match (batched, world.webhooks.settings.batch_as_object) {
        (false, _) => events.pop(),
        (true, false) => Some(events.into()),
        (true, true) => Some(serde_json::json!({ "events": events })),
    }
}

/// What the handshake showed.
#[derive(Debug, Serialize)]
pub(crate) struct Handshake {
    /// Whether the receiver answered 200 with exactly the challenge.
    pub(crate) verified: bool,
    pub(crate) status: u16,
    pub(crate) challenge: String,
}

/// Meta's verification of a webhook: a GET with a challenge that must come back.
pub(crate) async fn verify(
    world: &World,
    url: &str,
    verify_token: &str,
    timeout: Duration,
) -> reqwest::Result<Handshake> {
    let challenge = (world.dice.draw() % 10_000_000_000).to_string();
    let query =
        [("hub.mode", "subscribe"), ("hub.challenge", &challenge), ("hub.verify_token", verify_token)];
    let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    let separator = if url.contains('?') { '&' } else { '?' };
    let response = client(timeout)?.get(format!("{url}{separator}{}", query.join("&"))).send().await?;
    let status = response.status();
    let body = response.text().await?;
    Ok(Handshake {
        verified: status == StatusCode::OK && body == challenge,
        status: status.as_u16(),
        challenge,
    })
}

fn escaped(value: &str) -> String {
    let keep = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
    value.bytes().map(|c| if keep(c) { char::from(c).to_string() } else { format!("%{c:02X}") }).collect()
}
