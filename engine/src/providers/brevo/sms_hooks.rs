//! Events of Brevo's SMS. Few of their forms are documented: words are taken in every spelling that was seen.

use jiff::Timestamp;
use serde_json::Value;

use super::hooks;
use crate::{
    domain::{
        address::{normalised, without_addresses},
        channel::Channel,
        event::{Event, EventKind, Scope},
        outcome::Reason,
    },
    id::MessageId,
    providers::{HookError, HookItem, loose, stop_words::is_stop},
};

/// What a status says; the words are compared in lower case, without anything but letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Happened(EventKind),
    /// The recipient wants messages again.
    Subscribed,
}

use Says::{Happened, Subscribed};

const WORDS: &[(&str, Says)] = &[
    ("accepted", Happened(EventKind::Sent)),
    ("sent", Happened(EventKind::Sent)),
    ("delivered", Happened(EventKind::Delivered)),
    ("softbounce", Happened(EventKind::SoftBounced)),
    ("softbounces", Happened(EventKind::SoftBounced)),
    ("hardbounce", Happened(EventKind::Bounced)),
    ("hardbounces", Happened(EventKind::Bounced)),
    ("bl", Happened(EventKind::Blocked)),
    ("blacklisted", Happened(EventKind::Blocked)),
    ("blocked", Happened(EventKind::Blocked)),
    ("rej", Happened(EventKind::Failed)),
    ("rejected", Happened(EventKind::Failed)),
    ("skip", Happened(EventKind::Failed)),
    ("skipped", Happened(EventKind::Failed)),
    ("reply", Happened(EventKind::Replied)),
    ("replied", Happened(EventKind::Replied)),
    ("replies", Happened(EventKind::Replied)),
    ("unsubscribe", Happened(EventKind::Unsubscribed)),
    ("unsubscribed", Happened(EventKind::Unsubscribed)),
    ("unsubscription", Happened(EventKind::Unsubscribed)),
    ("subscribe", Subscribed),
    ("subscribed", Subscribed),
];

pub(super) fn parse(body: &[u8], received: Timestamp) -> Result<Vec<HookItem>, HookError> {
    hooks::parse(body, |event| items(event, received))
}

fn items(event: &Value, received: Timestamp) -> Vec<HookItem> {
    let word = loose::text(event, "msg_status").or_else(|| loose::text(event, "event")).unwrap_or_default();
    let word: String =
        word.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect();
    let Some((_, says)) = WORDS.iter().find(|(known, _)| *known == word) else {
        return vec![HookItem::Foreign];
    };
    let at = ["ts_event", "ts_epoch", "ts"].iter().find_map(|name| loose::epoch(event, name));
    let at = at.map_or(received, |at| at.min(received));
    let message = hooks::tagged(event);
    let mut items: Vec<HookItem> = match (says, message) {
        (Happened(kind), Some(message)) => vec![HookItem::Event(happened(event, *kind, message, at))],
        _ => Vec::new(),
    };
    // An unsubscription of a known message suppresses by its event; of another one, by its number.
    let stop = match says {
        Happened(EventKind::Unsubscribed) => message.is_none().then_some(true),
        Happened(EventKind::Replied) => reply(event).is_some_and(|text| is_stop(&text)).then_some(true),
        Happened(_) => None,
        Subscribed => Some(false),
    };
    let address = loose::text(event, "to").and_then(|text| normalised(Channel::Sms, &text).ok());
    if let (Some(stop), Some(address)) = (stop, address) {
        items.push(HookItem::Wish { channel: Channel::Sms, address, stop, scope: Scope::Marketing, at });
    }
    if items.is_empty() { vec![HookItem::Foreign] } else { items }
}

fn happened(event: &Value, kind: EventKind, message: MessageId, at: Timestamp) -> Event {
    let provider_id = ["messageId", "message_id"]
        .iter()
        .find_map(|name| loose::text(event, name))
        .or_else(|| reference(event));
    let words = ["error_code", "bounce_type", "description", "reason"].map(|name| loose::text(event, name));
    let detail = without_addresses(&words.into_iter().flatten().collect::<Vec<_>>().join(" "));
    let id = provider_id.as_deref().unwrap_or_default();
    let dedup = if hooks::repeats(kind) {
        let (second, reply) = (at.as_second().to_string(), reply(event).unwrap_or_default());
        loose::fingerprint(&["brevo_sms", id, kind.as_str(), &second, &reply])
    } else {
        loose::fingerprint(&["brevo_sms", id, kind.as_str()])
    };
    let reason = (kind == EventKind::Failed).then_some(Reason::RecipientRejected);
    // What the recipient wrote stays in the provider's hands; that they did is what we keep.
    Event {
        message,
        kind,
        at,
        provider_id,
        dedup,
        reason,
        detail: Some(detail).filter(|text| !text.is_empty()),
    }
}

fn reply(event: &Value) -> Option<String> {
    loose::text(event, "reply")
}

/// A text, or a map from segment to text.
fn reference(event: &Value) -> Option<String> {
    let reference = event.get("reference")?;
    loose::text(event, "reference")
        .or_else(|| reference.as_object()?.values().find_map(Value::as_str).map(str::to_owned))
}

#[cfg(test)]
#[path = "sms_hooks_tests.rs"]
mod tests;
