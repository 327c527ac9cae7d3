//! Providers: an adapter each, behind one trait.
//!
//! An adapter knows one provider's HTTP contract and nothing of campaigns, queues or rows. It turns a rendered message
//! into a request, every possible answer into an [`Answer`], and webhooks into [`HookItem`]s. A new provider is a new
//! file here, an entry in the registry, and a row in the shared conformance test.

use std::{net::IpAddr, time::Duration};

use fanfare_templates::Rendered;
use futures::future::BoxFuture;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    domain::{
        channel::{Channel, MessageClass, Provider},
        event::{Event, Scope},
        outcome::{Outcome, Reason},
    },
    id::MessageId,
};

/// One message, ready for the wire.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    pub message: MessageId,
    /// In its normal form: an e-mail address, or a phone number in E.164.
    pub to: &'a str,
    pub class: MessageClass,
    pub content: &'a Rendered,
    /// The same for every resend of the same attempt.
    pub key: Uuid,
}

/// What an answer says about the account, beside the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    None,
    /// Slow down; `retry_after` as the provider gave it.
    Throttled { retry_after: Option<Duration> },
    /// The provider refuses the account itself: key, credit, permission. Nobody's fault among the recipients.
    Blocked { reason: Reason },
    /// The provider is in trouble: counts towards the circuit breaker.
    Failing,
}

/// What the provider says is left of the quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub limit: u64,
    pub remaining: u64,
    pub reset: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub outcome: Outcome,
    pub effect: Effect,
    pub quota: Option<Quota>,
}

/// What became of a batch request. The caller decides what to do about the refusals (pipeline: bisect, new keys).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchAnswer {
    /// One outcome a member, in order.
    Each { answers: Vec<Outcome>, quota: Option<Quota> },
    /// All members share one fate, e.g. accepted without ids, unknown, or to be tried again.
    All(Answer),
    /// Certainly refused because of something in it: halve it, with new keys.
    Bisect,
}

/// A webhook request as it came, before anything is believed.
#[derive(Debug, Clone, Copy)]
pub struct HookRequest<'a> {
    pub peer: Option<IpAddr>,
    /// Looks a header up by its lower-case name.
    pub headers: &'a dyn HeaderLookup,
    pub body: &'a [u8],
}

pub trait HeaderLookup: std::fmt::Debug + Sync {
    fn get(&self, name: &str) -> Option<&str>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    #[error("the webhook does not prove that it comes from the provider")]
    Forged,
    #[error("the webhook does not come from an address of the provider")]
    ForeignPeer,
    #[error("the webhook's body is not what the provider documents")]
    Malformed,
}

/// One thing that a webhook says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookItem {
    Event(Event),
    /// A recipient's word about an address, not about one message: STOP, or a preference of the WhatsApp app.
    Wish { channel: Channel, address: String, stop: bool, scope: Scope },
    /// Well-formed, but not about a message of ours.
    Foreign,
}

pub trait Adapter: std::fmt::Debug + Send + Sync {
    fn provider(&self) -> Provider;

    /// Whether the provider honours an idempotency key, and for how long it may be relied on.
    fn key_lifetime(&self) -> Option<Duration>;

    /// How many messages one request may carry; 1 where there is no batch call.
    fn batch_limit(&self) -> usize;

    fn send<'a>(&'a self, envelope: Envelope<'a>) -> BoxFuture<'a, Answer>;

    /// One request for several messages, one key for all. Only called with 2..=`batch_limit` envelopes.
    fn send_batch<'a>(&'a self, key: Uuid, envelopes: &'a [Envelope<'a>]) -> BoxFuture<'a, BatchAnswer>;

    /// Asks the provider what became of messages; `None` where it has no such call.
    fn look_up<'a>(&'a self, messages: &'a [MessageId], since: Timestamp) -> Option<BoxFuture<'a, anyhow::Result<Vec<Event>>>>;

    /// Cheap request that proves that the provider is reachable and the key is good. `Err` is a sentence for a person.
    fn probe(&self) -> BoxFuture<'_, Result<(), String>>;

    fn verify(&self, request: &HookRequest<'_>) -> Result<(), HookError>;

    /// Answers the provider's GET that asks whether this URL is ours; `None` when it is not a handshake or wrong.
    fn handshake(&self, query: &[(String, String)]) -> Option<String>;

    /// Pure: what a verified body says. Tolerates unknown fields.
    fn parse(&self, body: &[u8]) -> Result<Vec<HookItem>, HookError>;
}
