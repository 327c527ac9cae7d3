//! Events of Brevo's e-mail, from webhooks and from the event log.
//!
//! No event has an id. Kinds that a message meets once are named by message and kind alone, so that a webhook, its
//! repetition and the log agree; opens and clicks are told apart by their second and link.

use jiff::Timestamp;
use serde_json::Value;

use super::{email::bare, hooks};
use crate::{
    domain::{
        address::{EmailAddress, without_addresses},
        channel::Channel,
        event::{Event, EventKind, Scope},
        outcome::Reason,
    },
    id::MessageId,
    providers::{HookError, HookItem, loose},
};

/// `event` of a webhook, and of the log, which has words of its own.
const KINDS: &[(&str, EventKind)] = &[
    ("request", EventKind::Sent),
    ("delivered", EventKind::Delivered),
    ("deferred", EventKind::Deferred),
    ("soft_bounce", EventKind::SoftBounced),
    ("hard_bounce", EventKind::Bounced),
    ("spam", EventKind::Complained),
    ("complaint", EventKind::Complained),
    ("blocked", EventKind::Blocked),
    ("invalid_email", EventKind::Bounced),
    ("error", EventKind::Failed),
    ("click", EventKind::Clicked),
    ("opened", EventKind::Opened),
    ("unique_opened", EventKind::Opened),
    // A mail client's proxy fetched the pictures: proof of delivery, but no person has opened anything.
    ("proxy_open", EventKind::Delivered),
    ("unique_proxy_open", EventKind::Delivered),
    ("unsubscribe", EventKind::Unsubscribed),
    ("unsubscribed", EventKind::Unsubscribed),
    // The log's words.
    ("requests", EventKind::Sent),
    ("softbounces", EventKind::SoftBounced),
    ("hardbounces", EventKind::Bounced),
    ("bounces", EventKind::SoftBounced),
    ("invalid", EventKind::Bounced),
    ("clicks", EventKind::Clicked),
    ("loadedbyproxy", EventKind::Delivered),
];

pub(super) fn parse(body: &[u8], received: Timestamp) -> Result<Vec<HookItem>, HookError> {
    hooks::parse(body, |event| vec![item(event, received)])
}

fn item(event: &Value, received: Timestamp) -> HookItem {
    let at = ["ts_epoch", "s_epoch", "ts_event", "ts"].iter().find_map(|name| loose::epoch(event, name));
    let at = at.map_or(received, |at| at.min(received));
    let word = loose::text(event, "event").unwrap_or_default();
    let message = loose::any_case(event, "X-Mailin-custom")
        .and_then(|text| text.parse().ok())
        .or_else(|| hooks::tagged(event));
    let provider_id = loose::text(event, "message-id").and_then(|id| bare(&id));
    match message {
        Some(message) => {
            logged(message, &word, provider_id, at, event).map_or(HookItem::Foreign, HookItem::Event)
        }
        None => wish(event, &word, at),
    }
}

/// Somebody unsubscribed from, or complained about, a mail that is not of ours: their address is to be left alone.
fn wish(event: &Value, word: &str, at: Timestamp) -> HookItem {
    let unwanted = matches!(kind(word), Some(EventKind::Unsubscribed | EventKind::Complained));
    match loose::text(event, "email").and_then(|text| EmailAddress::parse(&text).ok()) {
        Some(address) if unwanted => HookItem::Wish {
            channel: Channel::Email,
            address: address.as_str().to_owned(),
            stop: true,
            scope: Scope::Marketing,
            at,
        },
        _ => HookItem::Foreign,
    }
}

fn kind(word: &str) -> Option<EventKind> {
    KINDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, kind)| *kind)
}

/// An event of a message of ours; `None` when `word` is none that we know.
pub(super) fn logged(
    message: MessageId,
    word: &str,
    provider_id: Option<String>,
    at: Timestamp,
    event: &Value,
) -> Option<Event> {
    let kind = kind(word)?;
    let link =
        loose::text(event, "link").map(|link| without_query(&link)).filter(|_| kind == EventKind::Clicked);
    let reason = loose::text(event, "reason").map(|text| without_addresses(&text));
    let id = provider_id.as_deref().unwrap_or_default();
    let dedup = if hooks::repeats(kind) {
        let second = at.as_second().to_string();
        loose::fingerprint(&["brevo_email", id, kind.as_str(), &second, link.as_deref().unwrap_or_default()])
    } else {
        loose::fingerprint(&["brevo_email", id, kind.as_str()])
    };
    let refused = matches!(word, "invalid_email" | "invalid");
    Some(Event {
        message,
        kind,
        at,
        provider_id,
        dedup,
        reason: match kind {
            EventKind::Bounced if refused => Some(Reason::InvalidAddress),
            EventKind::Failed => Some(Reason::ContentRejected),
            _ => None,
        },
        detail: link.or(reason).filter(|text| !text.is_empty()),
    })
}

/// A link as far as it names a page: what follows may hold the person's own token.
fn without_query(link: &str) -> String {
    link.split(['?', '#']).next().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
#[path = "email_hooks_tests.rs"]
mod tests;
