//! Providers: an adapter each, behind one trait.
//!
//! An adapter knows one provider's HTTP contract and nothing of campaigns, queues or rows. It turns a rendered message
//! into a request, every possible answer into an [`Answer`], and webhooks into [`HookItem`]s. A new provider is a new
//! file here, an entry in the registry, and a row in the shared conformance test.

mod brevo;
mod classify;
mod exchange;
mod hook_auth;
mod http;
pub mod in_app;
mod loose;
mod reply;
pub mod settings;
mod stop_words;
pub mod stored;
#[cfg(test)]
mod testing;
mod whatsapp;
mod wire;

use std::{net::IpAddr, time::Duration};

use fanfare_templates::Rendered;
use futures::future::BoxFuture;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    domain::{
        approval::{ApprovalStatus, Submission},
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
    /// In its normal form: an e-mail address, a phone number in E.164, or the id of a contact.
    pub to: &'a str,
    pub class: MessageClass,
    pub content: &'a Rendered,
    /// The same for every resend of the same attempt.
    pub key: Uuid,
    /// Where its recipient ends such messages with one click: stands in the header `List-Unsubscribe` of an e-mail.
    pub unsubscribe: Option<&'a str>,
}

/// What an answer says about the account, beside the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    None,
    /// Slow down; `retry_after` as the provider gave it.
    Throttled {
        retry_after: Option<Duration>,
    },
    /// The provider refuses the account itself: key, credit, permission. Nobody's fault among the recipients.
    Blocked {
        reason: Reason,
    },
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
    /// The provider's own words and code about a refusal, without addresses: for a person who looks into it.
    pub words: Option<String>,
    /// The recipient does not want such messages: to be kept as if a webhook had said it.
    pub stop: Option<Stop>,
}

/// A recipient's word that came with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub channel: Channel,
    /// In its normal form.
    pub address: String,
    pub scope: Scope,
}

impl Answer {
    /// Keeps whose message was turned down because they unsubscribed.
    fn about(mut self, channel: Channel, to: &str) -> Self {
        if self.outcome == (Outcome::Suppressed { reason: Reason::Unsubscribed }) {
            self.stop = Some(Stop { channel, address: to.to_owned(), scope: Scope::Marketing });
        }
        self
    }
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
    /// A recipient's word about an address, not about one message: STOP, or a preference of the WhatsApp app. `address`
    /// is in its normal form.
    Wish {
        channel: Channel,
        address: String,
        stop: bool,
        scope: Scope,
        at: Timestamp,
    },
    /// Where a template of the account stands.
    Template(TemplateNews),
    /// Well-formed, but not about a message of ours.
    Foreign,
}

/// Where a template that the provider has to approve stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateNews {
    /// The provider's.
    pub id: Option<String>,
    pub name: String,
    pub language: String,
    pub status: ApprovalStatus,
    /// Why it is not approved.
    pub reason: Option<String>,
    pub at: Timestamp,
}

/// What came of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The provider's.
    pub id: String,
    pub status: ApprovalStatus,
}

/// Why a template could not be submitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// In the provider's words.
    #[error("Meta refuses it: {0}")]
    Refused(String),
    #[error("Meta can't be asked at the moment, or did not say whether it took it: {0}")]
    Away(String),
    #[error("the account does not say whose templates it sends: set `business_account_id` in its settings")]
    NoBusiness,
}

/// Where an account's templates are approved.
pub trait TemplateDesk: Send + Sync {
    /// Submits a template; with the provider's id of one, in its place.
    fn submit<'a>(
        &'a self,
        template: &'a Submission,
        id: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Submitted, SubmitError>>;

    /// Where all templates of the account stand.
    fn list(&self, now: Timestamp) -> BoxFuture<'_, Result<Vec<TemplateNews>, SubmitError>>;
}

/// A message whose fate is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    pub message: MessageId,
    pub to: String,
}

/// Events of the messages that a provider was asked for, or a sentence about why it could not be asked.
pub type LookUp = Result<Vec<Event>, String>;

pub trait Adapter: std::fmt::Debug + Send + Sync {
    fn provider(&self) -> Provider;

    /// Whether the provider honours an idempotency key, and for how long it may be relied on.
    fn key_lifetime(&self) -> Option<Duration>;

    /// How many messages one request may carry; 1 where there is no batch call.
    fn batch_limit(&self) -> usize;

    /// Writes the request at once, and sends it when it is polled: nothing of the envelope is kept meanwhile.
    fn send(&self, envelope: Envelope<'_>) -> BoxFuture<'_, Answer>;

    /// One request for several messages, one key for all. Only called with 2..=`batch_limit` envelopes.
    fn send_batch<'a>(&'a self, key: Uuid, envelopes: &'a [Envelope<'a>]) -> BoxFuture<'a, BatchAnswer>;

    /// How many messages one call of [`Adapter::look_up`] may ask for; 0 where the provider has no such call.
    fn look_up_limit(&self) -> usize {
        0
    }

    /// Asks the provider what became of messages that were sent between `since` and `now`, in one request. What it does
    /// not know is missing from the answer.
    fn look_up<'a>(
        &'a self,
        sought: &'a [Sought],
        since: Timestamp,
        now: Timestamp,
    ) -> BoxFuture<'a, LookUp> {
        let _ = (sought, since, now);
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Where templates are approved, at providers that do so.
    fn templates(&self) -> Option<&dyn TemplateDesk> {
        None
    }

    /// Cheap request that proves that the provider is reachable and the key is good. `Err` is a sentence for a person.
    fn probe(&self) -> BoxFuture<'_, Result<(), String>>;

    fn verify(&self, request: &HookRequest<'_>) -> Result<(), HookError>;

    /// Answers the provider's GET that asks whether this URL is ours; `None` when it is not a handshake or wrong.
    fn handshake(&self, query: &[(String, String)]) -> Option<String>;

    /// Pure: what a verified body says. Tolerates unknown fields. `received` stands in for a time that the provider does
    /// not give, and is the latest that is believed.
    fn parse(&self, body: &[u8], received: Timestamp) -> Result<Vec<HookItem>, HookError>;
}
