//! What WhatsApp's webhooks say: statuses of our messages, what people write, and what they set in their app.
//!
//! An answer of a person names our message only by Meta's id, which has no index here; so it makes no event. A STOP is
//! about the number anyway.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    domain::{
        address::{normalised, without_addresses},
        approval::ApprovalStatus,
        channel::Channel,
        event::{Event, EventKind, Scope},
        outcome::Reason,
    },
    id::MessageId,
    providers::{HookError, HookItem, TemplateNews, classify::whatsapp::by_code, loose, stop_words::is_stop},
};

const STATUSES: &[(&str, EventKind)] = &[
    ("sent", EventKind::Sent),
    ("delivered", EventKind::Delivered),
    ("read", EventKind::Read),
    // A voice message that was listened to.
    ("played", EventKind::Read),
    ("failed", EventKind::Failed),
];

pub(super) fn parse(body: &[u8], received: Timestamp) -> Result<Vec<HookItem>, HookError> {
    let body: Value = serde_json::from_slice(body).map_err(|_| HookError::Malformed)?;
    let entries = body.get("entry").and_then(Value::as_array).ok_or(HookError::Malformed)?;
    let changes = entries.iter().flat_map(|entry| items(entry, "changes"));
    Ok(changes.flat_map(|change| self::change(change, received)).collect())
}

fn items<'v>(object: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    object.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn change(change: &Value, received: Timestamp) -> Vec<HookItem> {
    let Some(value) = change.get("value") else { return vec![HookItem::Foreign] };
    let found: Vec<HookItem> = match change.get("field").and_then(Value::as_str) {
        Some("messages") => {
            let statuses = items(value, "statuses").flat_map(|item| status(item, received));
            statuses.chain(items(value, "messages").map(|item| inbound(item, received))).collect()
        }
        Some("user_preferences") => {
            items(value, "user_preferences").map(|item| preference(item, received)).collect()
        }
        Some("message_template_status_update") => template(value, received).into_iter().collect(),
        _ => Vec::new(),
    };
    if found.is_empty() { vec![HookItem::Foreign] } else { found }
}

fn at(item: &Value, received: Timestamp) -> Timestamp {
    loose::epoch(item, "timestamp").map_or(received, |at| at.min(received))
}

/// Meta says no time: what was stored last is taken to be the last.
fn template(value: &Value, received: Timestamp) -> Option<HookItem> {
    let reason = loose::text(value, "reason").filter(|reason| !reason.eq_ignore_ascii_case("none"));
    let more = value.get("other_info").and_then(|info| loose::text(info, "description"));
    Some(HookItem::Template(TemplateNews {
        id: loose::text(value, "message_template_id"),
        name: loose::text(value, "message_template_name")?,
        language: loose::text(value, "message_template_language")?,
        status: ApprovalStatus::of_meta(&loose::text(value, "event")?)?,
        reason: reason.or(more),
        at: received,
    }))
}

fn status(item: &Value, received: Timestamp) -> Vec<HookItem> {
    let word = loose::text(item, "status").unwrap_or_default();
    let kind = STATUSES.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
    let message = loose::text(item, "biz_opaque_callback_data").and_then(|text| text.parse().ok());
    let at = at(item, received);
    let error = items(item, "errors").next();
    let code = error.and_then(|error| error.get("code")).and_then(Value::as_i64);
    let reason = code.and_then(by_code).map(|verdict| verdict.reason());
    let mut found = match (kind, message) {
        (Some(kind), Some(message)) => vec![HookItem::Event(happened(item, kind, message, at))],
        _ => vec![HookItem::Foreign],
    };
    if reason == Some(Reason::Unsubscribed) {
        found.extend(wish(loose::text(item, "recipient_id"), true, at));
    }
    found
}

fn happened(item: &Value, kind: EventKind, message: MessageId, at: Timestamp) -> Event {
    let provider_id = loose::text(item, "id");
    let error = items(item, "errors").next();
    let code = error.and_then(|error| error.get("code")).and_then(Value::as_i64);
    let title = error.and_then(|error| loose::text(error, "title").or_else(|| loose::text(error, "message")));
    let detail = code.map(|code| without_addresses(&format!("{code} {}", title.unwrap_or_default())));
    Event {
        message,
        kind,
        at,
        // Each status is told once of a message; a repetition has the same words.
        dedup: loose::fingerprint(&[
            "whatsapp_cloud",
            provider_id.as_deref().unwrap_or_default(),
            kind.as_str(),
        ]),
        provider_id,
        reason: (kind == EventKind::Failed)
            .then(|| code.and_then(by_code).map_or(Reason::RecipientRejected, |verdict| verdict.reason())),
        detail,
    }
}

/// What a person wrote or pressed; only a wish to stop matters.
fn inbound(item: &Value, received: Timestamp) -> HookItem {
    let said: &[(&str, &str)] = match item.get("type").and_then(Value::as_str) {
        Some("text") => &[("/text", "body")],
        Some("button") => &[("/button", "payload"), ("/button", "text")],
        Some("interactive") => &[
            ("/interactive/button_reply", "id"),
            ("/interactive/button_reply", "title"),
            ("/interactive/list_reply", "id"),
            ("/interactive/list_reply", "title"),
        ],
        _ => &[],
    };
    let stop = said
        .iter()
        .filter_map(|(path, name)| loose::text(item.pointer(path)?, name))
        .any(|text| is_stop(&text));
    let wish = stop.then(|| wish(loose::text(item, "from"), true, at(item, received))).flatten();
    wish.unwrap_or(HookItem::Foreign)
}

fn preference(item: &Value, received: Timestamp) -> HookItem {
    let stop = match loose::text(item, "value").as_deref() {
        Some("stop") => true,
        Some("resume") => false,
        _ => return HookItem::Foreign,
    };
    match loose::text(item, "category").as_deref() {
        Some("marketing_messages") => {
            wish(loose::text(item, "wa_id"), stop, at(item, received)).unwrap_or(HookItem::Foreign)
        }
        _ => HookItem::Foreign,
    }
}

fn wish(number: Option<String>, stop: bool, at: Timestamp) -> Option<HookItem> {
    let address = normalised(Channel::Whatsapp, &number?).ok()?;
    Some(HookItem::Wish { channel: Channel::Whatsapp, address, stop, scope: Scope::Marketing, at })
}
