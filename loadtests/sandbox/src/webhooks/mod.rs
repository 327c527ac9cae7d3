//! Events sent back to the sender of the messages.
//!
//! An accepted message is *announced*: its events are planned at once (which, in which order, with which delay and how
//! often, as target, script and faults say) and put into one queue. One *dispatcher* takes them out when they are due,
//! gathers batches, and posts with bounded concurrency; a refused event goes back into the queue for the provider's
//! next retry time. The queue is bounded: what does not fit is counted as overflowed and never sent. Events live in
//! memory only, and are gone when the sandbox ends.

mod brevo;
mod dispatch;
mod plan;
mod sign;
mod whatsapp;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

pub(crate) use self::dispatch::{client, run, verify};
pub use self::sign::signature;
use crate::config::{Channel, EmailEvent, SmsEvent, WebhookTarget, WebhooksConfig, WhatsappEvent};
use crate::script::Scripted;
use crate::world::World;

/// An accepted message, as far as its events tell of it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) channel: Channel,
    pub(crate) at_us: u64,
    pub(crate) scripted: Option<Scripted>,
    pub(crate) address: String,
    pub(crate) message_id: String,
    pub(crate) provider_id: String,
    pub(crate) subject: String,
    pub(crate) tags: Vec<String>,
    pub(crate) template_id: Option<i64>,
    pub(crate) reference: String,
    pub(crate) segments: u32,
    /// Used and left.
    pub(crate) credits: (f64, f64),
    pub(crate) category: String,
    /// Where its events go instead of to the configured receiver.
    pub(crate) url: Option<String>,
    pub(crate) account: u16,
}

impl Sent {
    pub(crate) fn new(channel: Channel, at_us: u64, scripted: Option<Scripted>) -> Self {
        Self {
            channel,
            at_us,
            scripted,
            address: String::new(),
            message_id: String::new(),
            provider_id: String::new(),
            subject: String::new(),
            tags: Vec::new(),
            template_id: None,
            reference: String::new(),
            segments: 1,
            credits: (0.0, 0.0),
            category: String::new(),
            url: None,
            account: 0,
        }
    }
}

/// What is told of a message, or on its own.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Email(EmailEvent),
    Sms(SmsEvent),
    Status(WhatsappEvent),
    /// The status `failed` with its code.
    Failed(u32),
    /// Something a person wrote or pressed.
    Inbound(Inbound),
    /// The person stopped (or resumed) marketing messages.
    Preference {
        stop: bool,
    },
    /// Exactly this body, for tests.
    Raw(Arc<Value>),
}

/// `POST /sandbox/whatsapp/inbound`, without the sender's number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Inbound {
    Text { body: String },
    Button { payload: String, text: String },
    ButtonReply { id: String, title: String },
}

/// One event on its way.
#[derive(Debug)]
struct Job {
    due_us: u64,
    /// Makes the order total and stable.
    number: u64,
    attempt: usize,
    sent: Arc<Sent>,
    event: Event,
    /// When it happened.
    at_us: u64,
}

/// The receivers, which can be changed while running.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<WebhookTarget<EmailEvent>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sms: Option<WebhookTarget<SmsEvent>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whatsapp: Option<WebhookTarget<WhatsappEvent>>,
}

#[derive(Debug, Clone)]
struct Receivers {
    email: WebhookTarget<EmailEvent>,
    sms: WebhookTarget<SmsEvent>,
    whatsapp: WebhookTarget<WhatsappEvent>,
}

#[derive(Debug, Default)]
struct Counts {
    outstanding: AtomicUsize,
    in_flight: AtomicUsize,
    delivered: AtomicU64,
    requests: AtomicU64,
    retried: AtomicU64,
    discarded: AtomicU64,
    withheld: AtomicU64,
    overflowed: AtomicU64,
}

/// `GET /sandbox/webhooks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookCounts {
    /// Events that wait or are in flight.
    pub outstanding: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests made.
    pub requests: u64,
    /// Events that were answered 2xx.
    pub delivered: u64,
    /// Events that were tried again.
    pub retried: u64,
    /// Events given up: an answer that is not retried, or no retry left.
    pub discarded: u64,
    /// Events that a fault kept back.
    pub withheld: u64,
    /// Events that found the queue full.
    pub overflowed: u64,
}

#[derive(Debug)]
pub(crate) struct Webhooks {
    settings: WebhooksConfig,
    receivers: RwLock<Arc<Receivers>>,
    counts: Counts,
    numbers: AtomicU64,
    queue: mpsc::UnboundedSender<Job>,
    taken_by_dispatcher: Mutex<Option<mpsc::UnboundedReceiver<Job>>>,
}

impl Webhooks {
    pub(crate) fn new(settings: &WebhooksConfig) -> Self {
        // Unbounded by type; `outstanding` bounds it, and counts what was already taken out as well.
        let (queue, jobs) = mpsc::unbounded_channel();
        let receivers = Receivers {
            email: settings.email.clone(),
            sms: settings.sms.clone(),
            whatsapp: settings.whatsapp.clone(),
        };
        Self {
            settings: settings.clone(),
            receivers: RwLock::new(Arc::new(receivers)),
            counts: Counts::default(),
            numbers: AtomicU64::new(0),
            queue,
            taken_by_dispatcher: Mutex::new(Some(jobs)),
        }
    }

    fn receivers(&self) -> Arc<Receivers> {
        Arc::clone(&self.receivers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the receivers that are named.
    pub(crate) fn change(&self, targets: Targets) {
        let mut receivers = Receivers::clone(&self.receivers());
        if let Some(email) = targets.email {
            receivers.email = email;
        }
        if let Some(sms) = targets.sms {
            receivers.sms = sms;
        }
        if let Some(whatsapp) = targets.whatsapp {
            receivers.whatsapp = whatsapp;
        }
        *self.receivers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(receivers);
    }

    /// Whether an accepted message on this channel is told of at all.
    pub(crate) fn wants(&self, channel: Channel) -> bool {
        let receivers = self.receivers.read().unwrap_or_else(PoisonError::into_inner);
        match channel {
            Channel::Email => receivers.email.url.is_some() && !receivers.email.events.is_empty(),
            // An SMS may bring its own receiver.
            Channel::Sms => !receivers.sms.events.is_empty(),
            Channel::Whatsapp => receivers.whatsapp.url.is_some() && !receivers.whatsapp.events.is_empty(),
        }
    }

    /// Plans the events of an accepted message.
    pub(crate) fn announce(&self, world: &World, sent: Sent) {
        if sent.url.is_none() && self.url(&sent).is_none() {
            return;
        }
        let events = plan::events(&self.receivers(), &sent);
        self.enqueue_all(world, sent, events);
    }

    /// Sends something that follows from no message: what a person wrote, or a body made by a test.
    pub(crate) fn tell(&self, world: &World, sent: Sent, event: Event) {
        self.enqueue_all(world, sent, vec![event]);
    }

    fn enqueue_all(&self, world: &World, sent: Sent, events: Vec<Event>) {
        let faults = world.faults.current();
        let faults = &faults.of(sent.channel).webhooks;
        let sent = Arc::new(sent);
        for planned in plan::schedule(faults, &world.dice, &sent, events, self.settings.gap_ms) {
            if planned.withheld {
                self.counts.withheld.fetch_add(1, Relaxed);
            } else if self.counts.outstanding.fetch_add(1, Relaxed) >= self.settings.queue_limit {
                self.counts.outstanding.fetch_sub(1, Relaxed);
                self.counts.overflowed.fetch_add(1, Relaxed);
            } else {
                self.put(planned.into_job(&sent, self.numbers.fetch_add(1, Relaxed)));
            }
        }
    }

    /// A job that is counted in `outstanding` already. Without a dispatcher (shut down) it is let go.
    fn put(&self, job: Job) {
        let _ = self.queue.send(job);
    }

    fn url(&self, sent: &Sent) -> Option<String> {
        let receivers = self.receivers();
        sent.url.clone().or_else(|| match sent.channel {
            Channel::Email => receivers.email.url.clone(),
            Channel::Sms => receivers.sms.url.clone(),
            Channel::Whatsapp => receivers.whatsapp.url.clone(),
        })
    }

    pub(crate) fn whatsapp_url(&self) -> Option<String> {
        self.receivers().whatsapp.url.clone()
    }

    pub(crate) fn counts(&self) -> WebhookCounts {
        let counts = &self.counts;
        WebhookCounts {
            outstanding: counts.outstanding.load(Relaxed),
            in_flight: counts.in_flight.load(Relaxed),
            requests: counts.requests.load(Relaxed),
            delivered: counts.delivered.load(Relaxed),
            retried: counts.retried.load(Relaxed),
            discarded: counts.discarded.load(Relaxed),
            withheld: counts.withheld.load(Relaxed),
            overflowed: counts.overflowed.load(Relaxed),
        }
    }

    /// Where events go, without credentials.
    pub(crate) fn urls(&self) -> Value {
        let receivers = self.receivers();
        serde_json::json!({
            "email": {"url": receivers.email.url, "events": receivers.email.events},
            "sms": {"url": receivers.sms.url, "events": receivers.sms.events},
            "whatsapp": {"url": receivers.whatsapp.url, "events": receivers.whatsapp.events},
        })
    }
}
